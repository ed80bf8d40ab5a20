#include "tests/engine/spool_folder.h"

#include "engine/spool_key.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#define OPTIONS_BYTES (4 * DAEMON_PATH_BYTES)

static void options_of(const struct spool_folder *folder, const char *engine,
                       char options[OPTIONS_BYTES])
{
    const int chars = snprintf(options, OPTIONS_BYTES,
                               "%s\n spool = \"%s\"\n spool_key = \"%s\"\n spool_segment = 4MB\n",
                               engine, folder->path, folder->key);
    assert_true(chars > 0 && chars < OPTIONS_BYTES);
}

void spool_folder_start(struct spool_folder *folder, struct daemon *daemon, const char *engine,
                        const char *profiles)
{
    const char *under = getenv("TMPDIR");
    char options[OPTIONS_BYTES];
    char why[SPOOL_KEY_WHY_BYTES] = "";
    (void)snprintf(folder->path, sizeof(folder->path), "%.200s/bulla-spool-XXXXXX",
                   under == NULL ? "/tmp" : under);
    assert_non_null(mkdtemp(folder->path));
    (void)snprintf(folder->key, sizeof(folder->key), "%s.key", folder->path);
    assert_int_equal(spool_key_make(folder->key, why), 0);
    options_of(folder, engine, options);
    daemon_start(daemon, options, profiles, 0);
}

void spool_folder_config(const struct spool_folder *folder, const struct daemon *daemon,
                         const char *engine)
{
    char options[OPTIONS_BYTES];
    options_of(folder, engine, options);
    daemon_write_config(daemon, options, "");
}

void spool_folder_finish(const struct spool_folder *folder, struct daemon *daemon)
{
    char path[DAEMON_PATH_BYTES + 256];
    assert_int_equal(daemon_stop(daemon), 0);
    daemon_fini(daemon);
    DIR *entries = opendir(folder->path);
    assert_non_null(entries);
    const struct dirent *entry;
    while ((entry = readdir(entries)) != NULL) {
        (void)snprintf(path, sizeof(path), "%s/%s", folder->path, entry->d_name);
        (void)unlink(path); /* . and .. stay */
    }
    (void)closedir(entries);
    assert_int_equal(rmdir(folder->path), 0);
    assert_int_equal(unlink(folder->key), 0);
}
