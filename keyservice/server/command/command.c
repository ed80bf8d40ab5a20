#include "keyservice/server/command/command.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <sysexits.h>

int command_fail(int status, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)fputs("bulla-keyd: ", stderr);
    (void)vfprintf(stderr, format, args);
    (void)fputc('\n', stderr);
    va_end(args);
    return status;
}

static int keys_open(struct command_parts *parts, const char *config_path)
{
    char why[CONFIG_WHY_BYTES] = "";
    *parts = (struct command_parts){.master = NULL};
    if (config_read(&parts->config, config_path, why) != 0)
        return command_fail(EX_CONFIG, "%s", why);
    const int rc = master_open(&parts->master, parts->config.master_key_file, why);
    if (rc != 0)
        return command_fail(rc == -EACCES || rc == -EPERM ? EX_NOPERM : EX_CONFIG, "%s", why);
    return 0;
}

static int database_open(struct command_parts *parts, bool alone, char why[STORE_WHY_BYTES])
{
    const struct store_config config = {.path = parts->config.database,
                                        .master = parts->master,
                                        .readers_count = 2,
                                        .alone = alone};
    return store_open(&parts->store, &config, why);
}

static int open_end(struct command_parts *parts, int rc, const char *why)
{
    if (rc == 0)
        return 0;
    command_close(parts);
    return command_fail(rc == -EACCES  ? EX_NOPERM
                        : rc == -EBUSY ? EX_TEMPFAIL
                                       : EX_CONFIG,
                        "%s", why);
}

int command_open(struct command_parts *parts, const char *config_path)
{
    char why[STORE_WHY_BYTES] = "";
    const int status = keys_open(parts, config_path);
    return status != 0 ? status : open_end(parts, database_open(parts, false, why), why);
}

int command_open_alone(struct command_parts *parts, const char *config_path, bool *served)
{
    char why[STORE_WHY_BYTES] = "";
    const int status = keys_open(parts, config_path);
    if (status != 0)
        return status;
    int rc = database_open(parts, true, why);
    if (served != NULL)
        *served = rc == -EBUSY;
    if (rc == -EBUSY && served != NULL)
        rc = database_open(parts, false, why);
    return open_end(parts, rc, why);
}

void command_close(struct command_parts *parts)
{
    store_close(parts->store);
    master_close(parts->master);
    parts->store = NULL;
    parts->master = NULL;
}
