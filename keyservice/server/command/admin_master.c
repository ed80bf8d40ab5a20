/* bulla-keyd master-key: adding one, bringing what is stored under it, taking old ones out. */
#include "keyservice/server/api/api.h"
#include "keyservice/server/command/admin.h"
#include "keyservice/server/store/store_rewrap.h"
#include "keyservice/server/store/store_wrapping.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

static const char usage[] = "usage: bulla-keyd master-key [--config FILE] add | list | status | "
                            "rewrap | retire [--leave-damaged] VERSION";

struct master_options {
    const char *config;
    const char *verb;
    uint32_t version; /* of `retire` */
    bool leave_damaged;
};

static bool version_read(uint32_t *version, const char *text)
{
    char *end = NULL;
    const unsigned long number = strtoul(text, &end, 10);
    *version = (uint32_t)MIN(number, (unsigned long)MASTER_VERSIONS_MAX + 1);
    return text[0] >= '1' && text[0] <= '9' && *end == '\0' && number <= MASTER_VERSIONS_MAX;
}

static int options_read(struct master_options *options, int argc, char **argv)
{
    static const struct option known[] = {
        {"config", required_argument, NULL, 'c'},
        {"leave-damaged", no_argument, NULL, 'd'},
        {NULL, 0, NULL, 0},
    };
    int option;
    *options = (struct master_options){.config = COMMAND_CONFIG};
    while ((option = getopt_long(argc, argv, "", known, NULL)) != -1) {
        if (option == 'd')
            options->leave_damaged = true;
        else if (option == 'c')
            options->config = optarg;
        else
            return command_fail(EX_USAGE, "%s", usage);
    }
    const int words_count = argc - optind;
    options->verb = words_count > 0 ? argv[optind] : "";
    const bool retire = strcmp(options->verb, "retire") == 0;
    if (words_count != (retire ? 2 : 1) || (options->leave_damaged && !retire))
        return command_fail(EX_USAGE, "%s", usage);
    if (retire && !version_read(&options->version, argv[optind + 1]))
        return command_fail(EX_USAGE, "\"%s\" is no version of a master key: a number from 1 to %d",
                            argv[optind + 1], MASTER_VERSIONS_MAX);
    return 0;
}

static int line_begin(const struct command_parts *parts, const char *event, const char *detail)
{
    const struct audit_event line = {.event = event, .detail = detail};
    const int rc = admin_begin(parts, &line);
    return rc == 0 ? 0 : command_fail(EX_IOERR, "the audit log: %s", strerror(-rc));
}

static int status_print(const struct command_parts *parts)
{
    char until[32];
    struct store_rewrap rewrap;
    const uint32_t newest = master_version(parts->master);
    const int rc = store_rewrap_look(parts->store, &rewrap);
    if (rc != 0)
        return command_fail(EX_IOERR, "the database cannot be read: %s", strerror(-rc));
    admin_time(until, rewrap.until_unix_ms);
    if (rewrap.version < newest)
        (void)printf("version %u is the newest; a running service will bring older keys under it\n",
                     newest);
    else if (rewrap.done)
        (void)printf("version %u: every key is under it; %" PRIu64 " were brought there\n",
                     rewrap.version, rewrap.rows_count);
    else
        (void)printf("version %u: keys of envelopes up to %s are under it; %" PRIu64
                     " were brought there\n",
                     rewrap.version, until, rewrap.rows_count);
    return 0;
}

static int versions_print(const struct command_parts *parts)
{
    struct store_wrapping list[MASTER_VERSIONS_MAX + 1];
    const uint32_t newest = master_version(parts->master);
    const int rc = store_wrapping_list(parts->store, list);
    if (rc != 0)
        return command_fail(EX_IOERR, "the database cannot be read: %s", strerror(-rc));
    (void)printf("version  state     messages  code apps  damaged  retired\n");
    for (uint32_t version = 1; version <= newest; version++) {
        char retired[32];
        const struct store_wrapping *of = &list[version];
        admin_time(retired, of->retired_unix_ms);
        const char *state = version == newest                        ? "newest"
                            : master_retired(parts->master, version) ? "retired"
                            : of->retired_unix_ms != 0               ? "left"
                                                                     : "older";
        (void)printf("%7u  %-9s %8" PRIu64 "  %9" PRIu64 "  %7" PRIu64 "  %s\n", version, state,
                     of->envelopes_count, of->factors_count, of->damaged_count, retired);
    }
    return 0;
}

static int key_add(const struct command_parts *parts)
{
    char why[CONFIG_WHY_BYTES];
    char detail[16];
    (void)snprintf(detail, sizeof(detail), "%u", master_version(parts->master) + 1);
    const int status = line_begin(parts, "master_key_add", detail);
    if (status != 0)
        return status;
    if (master_add(parts->config.master_key_file, why) != 0)
        return command_fail(EX_CANTCREAT, "%s", why);
    (void)printf("a new version was added; back the file up, then restart the service\n");
    return 0;
}

/* Where nobody serves the database all of it is done here. */
static int all_rewrap(const struct command_parts *parts, bool served)
{
    bool more = !served;
    const int status = line_begin(parts, "master_key_rewrap", NULL);
    if (status != 0)
        return status;
    int rc = store_rewrap_again(parts->store);
    while (rc == 0 && more) /* a page of rows a turn */
        rc = store_rewrap_some(parts->store, &more);
    return rc == 0 ? status_print(parts)
                   : command_fail(EX_IOERR, "the database cannot be written: %s", strerror(-rc));
}

/* The database first, durably: what it then no longer needs may go from the file. */
static int database_retire(const struct command_parts *parts, const struct master_options *options)
{
    char why[STORE_WHY_BYTES] = "";
    char detail[16];
    int rc = store_wrapping_check(parts->store, why);
    if (rc == 0)
        rc = store_wrapping_unneeded(parts->store, options->version, options->leave_damaged, why);
    if (rc != 0)
        return command_fail(rc == -ENOTEMPTY ? EX_DATAERR : EX_CONFIG, "%s", why);
    (void)snprintf(detail, sizeof(detail), "%u", options->version);
    const int status = line_begin(parts, "master_key_retire", detail);
    if (status != 0)
        return status;
    rc = store_wrapping_retire(parts->store, options->version, api_now_ms());
    return rc == 0 ? 0 : command_fail(EX_IOERR, "the database: %s", strerror(-rc));
}

static int file_retire(const struct config *config, const struct master_options *options)
{
    char why[MASTER_WHY_BYTES] = "";
    if (master_retire(config->master_key_file, options->version, why) != 0)
        return command_fail(EX_CANTCREAT,
                            "%s; the database has version %u as retired: run this once more", why,
                            options->version);
    (void)printf("version %u is retired: nothing needs it, and its key is no longer in %s. Run this"
                 " beside each other copy of that file too; backups of the database from before"
                 " need a copy from before\n",
                 options->version, config->master_key_file);
    return 0;
}

/* Marked as retired already: by a run that was cut off, or for another machine's copy of the file,
 * which may be mended beside running services. */
static int key_retire(const struct master_options *options)
{
    struct store_wrapping list[MASTER_VERSIONS_MAX + 1];
    struct command_parts parts;
    int status = command_open(&parts, options->config);
    if (status != 0)
        return status;
    const uint32_t newest = master_version(parts.master);
    if (options->version >= newest) {
        command_close(&parts);
        return command_fail(EX_DATAERR,
                            "the newest master key is %u: add one, restart the service and let it"
                            " bring all keys under it before this one is retired",
                            newest);
    }
    const int rc = store_wrapping_look(parts.store, list);
    command_close(&parts);
    if (rc != 0)
        return command_fail(EX_IOERR, "the database cannot be read: %s", strerror(-rc));
    if (list[options->version].retired_unix_ms == 0) {
        status = command_open_alone(&parts, options->config, NULL);
        if (status != 0)
            return status;
        status = database_retire(&parts, options);
        command_close(&parts);
    }
    return status == 0 ? file_retire(&parts.config, options) : status;
}

int command_master_key(int argc, char **argv)
{
    struct master_options options;
    struct command_parts parts;
    bool served = false;
    int status = options_read(&options, argc, argv);
    if (status != 0)
        return status;
    const bool rewrap = strcmp(options.verb, "rewrap") == 0;
    if (strcmp(options.verb, "retire") == 0)
        return key_retire(&options);
    status = rewrap ? command_open_alone(&parts, options.config, &served)
                    : command_open(&parts, options.config);
    if (status != 0)
        return status;
    if (rewrap)
        status = all_rewrap(&parts, served);
    else if (strcmp(options.verb, "status") == 0)
        status = status_print(&parts);
    else if (strcmp(options.verb, "list") == 0)
        status = versions_print(&parts);
    else if (strcmp(options.verb, "add") == 0)
        status = key_add(&parts);
    else
        status = command_fail(EX_USAGE, "%s", usage);
    command_close(&parts);
    return status;
}
