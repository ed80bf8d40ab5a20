/* bulla-keyd backup, restore: the operator's copies of the database. */
#include "base/clock.h"
#include "keyservice/server/audit/audit.h"
#include "keyservice/server/command/command.h"
#include "keyservice/server/store/store_backup.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

struct backup_options {
    const char *config;
    const char *file;
    bool keep_outbox; /* of a restore */
};

static int options_read(struct backup_options *options, int argc, char **argv)
{
    static const struct option known[] = {
        {"config", required_argument, NULL, 'c'},
        {"keep-outbox", no_argument, NULL, 'k'},
        {NULL, 0, NULL, 0},
    };
    const bool restore = strcmp(argv[0], "restore") == 0;
    int option;
    *options = (struct backup_options){.config = COMMAND_CONFIG};
    while ((option = getopt_long(argc, argv, "", known, NULL)) != -1) {
        if (option == 'k' && restore)
            options->keep_outbox = true;
        else if (option == 'c')
            options->config = optarg;
        else
            break;
    }
    if (option != -1 || argc - optind != 1)
        return command_fail(EX_USAGE, "usage: bulla-keyd %s [--config FILE] %sFILE", argv[0],
                            restore ? "[--keep-outbox] " : "");
    options->file = argv[optind];
    return 0;
}

static int status_of(int rc)
{
    return rc == -EEXIST ? EX_CANTCREAT : rc == -EBUSY ? EX_TEMPFAIL : EX_IOERR;
}

/* What the operator does is part of the chain first, or it is not done. */
static int line_write(const struct config *config, const char *event)
{
    struct audit *audit = NULL;
    const struct audit_event line = {.event = event, .from = "operator"};
    int rc = audit_open(&audit, config->audit);
    if (rc == 0)
        rc = audit_append(audit, &line, true, clock_unix_ns());
    audit_close(audit);
    return rc == 0 ? 0 : command_fail(EX_IOERR, "the audit log: %s", strerror(-rc));
}

int command_backup(int argc, char **argv)
{
    char why[CONFIG_WHY_BYTES] = "";
    struct backup_options options;
    struct config config;
    int status = options_read(&options, argc, argv);
    if (status != 0)
        return status;
    if (config_read(&config, options.config, why) != 0)
        return command_fail(EX_CONFIG, "%s", why);
    if (store_is_url(config.database))
        return command_fail(EX_USAGE,
                            "the database is PostgreSQL's, which copies itself: pg_dump "
                            "--format=custom --no-unlogged-table-data --file=%s URL",
                            options.file);
    status = line_write(&config, "backup");
    if (status != 0)
        return status;
    const int rc = store_backup(config.database, options.file, why);
    if (rc != 0)
        return command_fail(status_of(rc), "%s", why);
    (void)printf("%s holds what was stored when this began. It opens with the master keys alone, "
                 "which are not in it: keep a copy of %s elsewhere\n",
                 options.file, config.master_key_file);
    return 0;
}

static int restore_run(const struct config *config, const struct backup_options *options,
                       const struct master *master)
{
    char why[STORE_WHY_BYTES] = "";
    int lock_fd = -1;
    const struct store_restore restore = {.database = config->database,
                                          .file = options->file,
                                          .master = master,
                                          .keep_outbox = options->keep_outbox};
    struct store_restored restored;
    int rc = store_restore_prepare(&restore, &restored, &lock_fd, why);
    if (rc != 0)
        return command_fail(status_of(rc), "%s", why);
    int status = line_write(config, "restore");
    if (status == 0) {
        rc = store_restore_finish(&restore, why);
        if (rc != 0)
            status = command_fail(status_of(rc), "%s", why);
    }
    (void)close(lock_fd);
    if (status == 0 && restored.mails_count + restored.notices_count > 0)
        (void)printf("%" PRIu64 " mails and %" PRIu64
                     " notices that waited then are not sent: they "
                     "may have been since. To have them sent, restore with --keep-outbox\n",
                     restored.mails_count, restored.notices_count);
    if (status == 0)
        (void)printf("%s is what %s holds; what it was is %s.before. Locks, revocations and "
                     "passwords are those of the backup; everybody is signed out\n",
                     config->database, options->file, config->database);
    return status;
}

int command_restore(int argc, char **argv)
{
    char why[CONFIG_WHY_BYTES] = "";
    struct backup_options options;
    struct config config;
    struct master *master = NULL;
    int status = options_read(&options, argc, argv);
    if (status != 0)
        return status;
    if (config_read(&config, options.config, why) != 0)
        return command_fail(EX_CONFIG, "%s", why);
    if (store_is_url(config.database))
        return command_fail(EX_USAGE,
                            "the database is PostgreSQL's; with every service stopped: pg_restore "
                            "--clean --if-exists --single-transaction --dbname=URL %s; then, as "
                            "docs/keyservice/store.md says, what waited to be mailed then",
                            options.file);
    if (master_open(&master, config.master_key_file, why) != 0)
        return command_fail(EX_CONFIG, "%s", why);
    status = restore_run(&config, &options, master);
    master_close(master);
    return status;
}
