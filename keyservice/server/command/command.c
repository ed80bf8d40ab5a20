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

int command_open(struct command_parts *parts, const char *config_path)
{
    char why[CONFIG_WHY_BYTES] = "";
    *parts = (struct command_parts){.master = NULL};
    if (config_read(&parts->config, config_path, why) != 0)
        return command_fail(EX_CONFIG, "%s", why);
    int rc = master_open(&parts->master, parts->config.master_key_file, why);
    if (rc != 0)
        return command_fail(rc == -EACCES || rc == -EPERM ? EX_NOPERM : EX_CONFIG, "%s", why);
    const struct store_config store_config = {
        .path = parts->config.database, .master = parts->master, .readers_count = 2};
    rc = store_open(&parts->store, &store_config, why);
    if (rc != 0) {
        command_close(parts);
        return command_fail(rc == -EACCES ? EX_NOPERM : EX_CONFIG, "%s", why);
    }
    return 0;
}

void command_close(struct command_parts *parts)
{
    store_close(parts->store);
    master_close(parts->master);
    parts->store = NULL;
    parts->master = NULL;
}
