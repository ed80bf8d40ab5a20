/* bulla-keyd move: from SQLite to PostgreSQL. */
#include "base/clock.h"
#include "crypto/secret.h"
#include "keyservice/server/audit/audit.h"
#include "keyservice/server/command/command.h"
#include "keyservice/server/store/store_move.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

struct move_options {
    const char *config;
    char url[sizeof(((struct config *)NULL)->database)];
};

static int options_read(struct move_options *options, int argc, char **argv)
{
    static const struct option known[] = {
        {"config", required_argument, NULL, 'c'},
        {"to", required_argument, NULL, 't'},
        {NULL, 0, NULL, 0},
    };
    int option;
    *options = (struct move_options){.config = COMMAND_CONFIG};
    while ((option = getopt_long(argc, argv, "", known, NULL)) != -1) {
        if (option == 'c') {
            options->config = optarg;
        } else if (option == 't' && strlen(optarg) < sizeof(options->url)) {
            memcpy(options->url, optarg, strlen(optarg) + 1);
            secret_wipe(optarg, strlen(optarg)); /* a password may stand in it: ps shows it */
        } else {
            break;
        }
    }
    if (option != -1 || argc != optind || !store_is_url(options->url))
        return command_fail(EX_USAGE, "usage: bulla-keyd move [--config FILE] --to postgresql://…");
    return 0;
}

static int line_write(const char *place, const char *event, const char *detail)
{
    struct audit *audit = NULL;
    const struct audit_event line = {.event = event, .from = "operator", .detail = detail};
    int rc = audit_open(&audit, place);
    if (rc == 0)
        rc = audit_append(audit, &line, true, clock_unix_ns());
    audit_close(audit);
    return rc;
}

static int move_run(const struct config *config, const struct move_options *options)
{
    char why[STORE_WHY_BYTES] = "";
    struct store_move *move = NULL;
    struct store_move_count count;
    const struct store_move_config sides = {
        .database = config->database, .audit = config->audit, .url = options->url};
    int rc = store_move_open(&move, &sides, why);
    if (rc != 0)
        return command_fail(rc == -EBUSY    ? EX_TEMPFAIL
                            : rc == -EEXIST ? EX_CANTCREAT
                                            : EX_IOERR,
                            "%s", why);
    /* What the operator does is part of the chain first, or it is not done. */
    rc = line_write(config->audit, "move", "PostgreSQL");
    if (rc != 0)
        (void)snprintf(why, sizeof(why), "the audit log: %s", strerror(-rc));
    else
        rc = store_move_run(move, &count, why);
    store_move_close(move);
    if (rc != 0)
        return command_fail(EX_IOERR, "%s; %.500s is as it was", why, config->database);
    rc = line_write(options->url, "moved", config->audit);
    (void)printf("%" PRIu64 " rows are in PostgreSQL, compared: %" PRIu64 " envelopes, %" PRIu64
                 " accounts; and %" PRIu64 " audit lines. Now set `database` in %s to the URL;"
                 " everybody signs in again. %s and %s are kept as they were: never serve them"
                 " again\n",
                 count.rows, count.envelopes, count.accounts, count.audit_lines, options->config,
                 config->database, config->audit);
    return rc == 0 ? 0
                   : command_fail(EX_IOERR,
                                  "the move is done, but its line at the audit log's end"
                                  " could not be written: %s",
                                  strerror(-rc));
}

int command_move(int argc, char **argv)
{
    char why[CONFIG_WHY_BYTES] = "";
    struct move_options options;
    struct config config;
    int status = options_read(&options, argc, argv);
    if (status != 0)
        return status;
    if (config_read(&config, options.config, why) != 0)
        status = command_fail(EX_CONFIG, "%s", why);
    else if (store_is_url(config.database))
        status = command_fail(EX_USAGE, "the database is PostgreSQL's already");
    else
        status = move_run(&config, &options);
    secret_wipe(options.url, sizeof(options.url));
    return status;
}
