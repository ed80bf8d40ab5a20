/* fuzz: links engine_config */
/*
 * bulla.conf: whatever stands in the file, config_load() takes it or says file, line and mend.
 *
 * The input is the file. It stands in a folder of its own with the files that a sound one names.
 */
#include "base/assert.h"
#include "engine/config.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fcntl.h>
#include <stdio.h>

#define INPUT_BYTES_MAX (64 * 1024)
#define PATH_BYTES      128

static char folder[PATH_BYTES / 2];
static char config_path[PATH_BYTES];

static void file_write(const char *name, const uint8_t *bytes_at, size_t bytes)
{
    char path[PATH_BYTES];
    const int n = snprintf(path, sizeof(path), "%s/%s", folder, name);
    ASSERT(n > 0 && n < (int)sizeof(path));
    const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    ASSERT(fd >= 0);
    const ssize_t written = write(fd, bytes_at, bytes);
    ASSERT(written == (ssize_t)bytes);
    (void)close(fd);
}

static void folder_remove(void)
{
    static const char *const names[] = {"ca.pem", "engine.pem", "engine.key", "bulla.conf"};
    char path[PATH_BYTES];
    for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
        (void)snprintf(path, sizeof(path), "%s/%s", folder, names[i]);
        (void)unlink(path);
    }
    (void)rmdir(folder);
}

static void set_up_once(void)
{
    if (folder[0] != '\0')
        return;
    const char *tmp = getenv("TMPDIR");
    (void)snprintf(folder, sizeof(folder), "%s/bulla-config-XXXXXX", tmp == NULL ? "/tmp" : tmp);
    const char *made = mkdtemp(folder);
    ASSERT(made != NULL);
    (void)snprintf(config_path, sizeof(config_path), "%s/bulla.conf", folder);
    file_write("ca.pem", (const uint8_t *)"x", 1);
    file_write("engine.pem", (const uint8_t *)"x", 1);
    file_write("engine.key", (const uint8_t *)"x", 1);
    (void)atexit(folder_remove);
}

/* Includes may name any file, and some of a system's have no end. */
static bool names_devices(const uint8_t *bytes_at, size_t bytes)
{
    return memmem(bytes_at, bytes, "/dev", 4) != NULL ||
           memmem(bytes_at, bytes, "/proc", 5) != NULL;
}

static void check_taken(const struct config *config)
{
    char why[PROFILE_WHY_BYTES];
    ASSERT(config->key_services_count <= CONFIG_KEY_SERVICES_MAX);
    ASSERT(config->profiles_count > 0 && config->profiles_count <= PROFILES_MAX);
    for (uint32_t i = 0; i < config->profiles_count; i++) {
        const int rc = profile_check(&config->profiles[i], why);
        ASSERT(rc == 0);
        ASSERT(config->profile_key_service[i] < config->key_services_count);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes_at, size_t bytes);

int LLVMFuzzerTestOneInput(const uint8_t *bytes_at, size_t bytes)
{
    static struct config config;
    char why[CONFIG_WHY_BYTES] = "";
    if (bytes > INPUT_BYTES_MAX || names_devices(bytes_at, bytes))
        return 0;
    set_up_once();
    file_write("bulla.conf", bytes_at, bytes);
    if (config_load(&config, config_path, why) == 0) {
        check_taken(&config);
        return 0;
    }
    /* One line that begins with the file's name. */
    ASSERT(memchr(why, '\0', sizeof(why)) != NULL && why[0] != '\0');
    ASSERT(strchr(why, '\n') == NULL);
    return 0;
}
