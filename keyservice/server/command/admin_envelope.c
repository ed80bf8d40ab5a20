/* bulla-keyd envelope: what is known of one, its locks and its dates. */
#include "base/assert.h"
#include "keyservice/server/account/account.h"
#include "keyservice/server/api/api.h"
#include "keyservice/server/command/admin.h"
#include "keyservice/server/store/store_opening.h"
#include "keyservice/server/store/store_sent.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>

#define ENVELOPE_LIST_MAX   100 /* of a sender */
#define ENVELOPE_ID_CHARS   (2 * RECORD_ID_BYTES + 1)
#define ENVELOPE_TIME_BYTES 32

static const char usage[] =
    "usage: bulla-keyd envelope [--config FILE] show ID | lock [--recipient ADDRESS] ID | "
    "unlock [--recipient ADDRESS] ID | expire [--at TIME | --never] ID | "
    "read-by --at TIME | --never ID | list ADDRESS";

struct envelope_options {
    const char *config;
    const char *verb;
    const char *name;      /* an id, or a sender's address */
    const char *recipient; /* NULL: for all  */
    const char *at;        /* NULL: not given */
    bool never;
};

enum change_kind {
    CHANGE_LOCK, /* or unlock; for `recipient` alone unless that is "" */
    CHANGE_EXPIRES,
    CHANGE_READ_BY,
};

struct envelope_change {
    enum change_kind kind;
    bool locked;
    uint64_t at_unix_ms; /* 0: no such date */
    const char *event;
    uint8_t id[RECORD_ID_BYTES];
    char hex[ENVELOPE_ID_CHARS];
    char recipient[STORE_ADDRESS_BYTES];
};

static bool word_is(const char *word, const char *one, const char *other)
{
    return strcmp(word, one) == 0 || strcmp(word, other) == 0;
}

/* An option with a verb that has no use for it is a misunderstanding: nothing is done then. */
static bool options_fit(const struct envelope_options *options)
{
    const bool dated = options->at != NULL || options->never;
    if (word_is(options->verb, "show", "list"))
        return options->recipient == NULL && !dated;
    if (word_is(options->verb, "lock", "unlock"))
        return !dated;
    if (options->recipient != NULL || (options->at != NULL && options->never))
        return false;
    return strcmp(options->verb, "expire") == 0 || (strcmp(options->verb, "read-by") == 0 && dated);
}

static int options_read(struct envelope_options *options, int argc, char **argv)
{
    static const struct option known[] = {
        {"config", required_argument, NULL, 'c'},
        {"recipient", required_argument, NULL, 'r'},
        {"at", required_argument, NULL, 'a'},
        {"never", no_argument, NULL, 'n'},
        {NULL, 0, NULL, 0},
    };
    int option;
    *options = (struct envelope_options){.config = COMMAND_CONFIG};
    while ((option = getopt_long(argc, argv, "", known, NULL)) != -1) {
        switch (option) {
        case 'c': options->config = optarg; break;
        case 'r': options->recipient = optarg; break;
        case 'a': options->at = optarg; break;
        case 'n': options->never = true; break;
        default: return command_fail(EX_USAGE, "%s", usage);
        }
    }
    if (argc - optind != 2)
        return command_fail(EX_USAGE, "%s", usage);
    options->verb = argv[optind];
    options->name = argv[optind + 1];
    return options_fit(options) ? 0 : command_fail(EX_USAGE, "%s", usage);
}

/* Strict: what is read is printed back the same, so that no 31st of February becomes a day of
 * March. */
static bool time_parse(uint64_t *unix_ms, const char *text)
{
    char again[ENVELOPE_TIME_BYTES];
    struct tm utc = {.tm_isdst = 0};
    const char *end = strptime(text, "%Y-%m-%dT%H:%M:%SZ", &utc);
    const time_t unix_s = end == NULL || *end != '\0' ? -1 : timegm(&utc);
    if (unix_s <= 0)
        return false;
    admin_time(again, (uint64_t)unix_s * 1000);
    if (strcmp(again, text) != 0)
        return false;
    *unix_ms = (uint64_t)unix_s * 1000;
    return true;
}

/* --- looking --- */

struct openings {
    uint32_t count;
    struct opening_row {
        struct store_opening opening;
        bool shown;
    } rows[STORE_OPENINGS_MAX];
};

static void opening_keep(void *context, const struct store_opening *opening)
{
    struct openings *openings = context;
    ASSERT(openings->count < STORE_OPENINGS_MAX);
    openings->rows[openings->count++] = (struct opening_row){.opening = *opening};
}

static void opening_print(const char *what, const char *address,
                          const struct store_opening *opening)
{
    char first[ENVELOPE_TIME_BYTES];
    char last[ENVELOPE_TIME_BYTES];
    (void)printf("%s  %s  ", what, address[0] == '\0' ? "(not signed in)" : address);
    if (opening == NULL || opening->times == 0) {
        (void)printf("not opened");
    } else {
        admin_time(first, opening->first_unix_ms);
        admin_time(last, opening->last_unix_ms);
        (void)printf("opened %" PRIu64 " times, first %s, last %s%s%s", opening->times, first, last,
                     (opening->how & OPENING_RELEASED) != 0 ? ", key released" : "",
                     (opening->how & OPENING_ONLINE) != 0 ? ", shown online" : "");
    }
    (void)printf("%s\n", opening != NULL && opening->locked ? ", locked" : "");
}

static int row_compare(const void *address, const void *row)
{
    return strcmp(address, ((const struct opening_row *)row)->opening.address);
}

/* Openings come in the order of their addresses. */
static void recipient_print(void *context, const char *address)
{
    struct openings *openings = context;
    struct opening_row *row =
        bsearch(address, openings->rows, openings->count, sizeof(openings->rows[0]), row_compare);
    if (row != NULL)
        row->shown = true;
    opening_print("recipient", address, row == NULL ? NULL : &row->opening);
}

/* Recipients as the record has them, then who else opened it: anybody may, at level none. */
static int recipients_print(const struct command_parts *parts, const uint8_t *id)
{
    struct openings *openings = calloc(1, sizeof(*openings));
    int rc = openings == NULL ? -ENOMEM : 0;
    if (rc == 0)
        rc = store_opening_list(parts->store, id, opening_keep, openings);
    if (rc == 0)
        rc = store_envelope_recipients(parts->store, id, recipient_print, openings);
    for (uint32_t i = 0; rc == 0 && i < openings->count; i++)
        if (!openings->rows[i].shown)
            opening_print("reader   ", openings->rows[i].opening.address,
                          &openings->rows[i].opening);
    free(openings);
    return rc;
}

static const char *level_name(const struct store_envelope *envelope)
{
    switch (envelope->level) {
    case RECORD_LEVEL_HIGH: return "high";
    case RECORD_LEVEL_MEDIUM: return "medium";
    case RECORD_LEVEL_NONE: return "none";
    default: return "unknown";
    }
}

static int envelope_show(const struct command_parts *parts, const uint8_t *id)
{
    char sent[ENVELOPE_TIME_BYTES];
    char expires[ENVELOPE_TIME_BYTES];
    char read_by[ENVELOPE_TIME_BYTES];
    struct store_envelope envelope;
    const int rc = store_envelope_get(parts->store, id, &envelope);
    if (rc != 0)
        return rc;
    admin_time(sent, envelope.sent_unix_ms);
    admin_time(expires, envelope.expires_unix_ms);
    admin_time(read_by, envelope.read_by_unix_ms);
    (void)printf("sender     %s\nsent       %s\nexpires    %s\nread by    %s\nstate      %s\n"
                 "profile    %s\nlevel      %s\nbytes      %" PRIu64 "\nmaster key %u\n",
                 envelope.sender, sent, expires, read_by, envelope.locked ? "locked" : "open",
                 envelope.profile, level_name(&envelope), envelope.mail_bytes,
                 envelope.key_version);
    return recipients_print(parts, id);
}

/* A sender's newest messages. */
static int envelope_list(const struct command_parts *parts, const char *typed)
{
    char sender[ACCOUNT_ADDRESS_BYTES];
    uint8_t before[RECORD_ID_BYTES];
    uint8_t ids[ENVELOPE_LIST_MAX][RECORD_ID_BYTES];
    uint32_t ids_count = ENVELOPE_LIST_MAX;
    struct store_sent sent;
    if (account_normalise(sender, typed, strlen(typed)) != 0)
        return command_fail(EX_DATAERR, "\"%s\" is not an address", typed);
    memset(before, 0xff, sizeof(before));
    int rc = store_sent_ids(parts->store, sender, before, ids, &ids_count);
    for (uint32_t i = 0; i < ids_count && rc == 0; i++) {
        char hex[ENVELOPE_ID_CHARS];
        char at[ENVELOPE_TIME_BYTES];
        rc = store_sent_get(parts->store, ids[i], sender, NULL, &sent);
        if (rc == 0) {
            api_to_hex(hex, ids[i], RECORD_ID_BYTES);
            admin_time(at, sent.envelope.sent_unix_ms);
            (void)printf("%s  %s  %-6s  opened by %u of %u\n", hex, at,
                         sent.envelope.locked ? "locked" : "open", sent.readers_count,
                         sent.recipients_count);
        }
        rc = rc == -ENOENT ? 0 : rc;
    }
    return rc == 0 ? 0 : command_fail(EX_IOERR, "%s: %s", sender, strerror(-rc));
}

/* --- changes --- */

static int date_read(struct envelope_change *change, const struct envelope_options *options)
{
    const uint64_t now_ms = api_now_ms();
    if (options->never)
        return 0;
    change->at_unix_ms = now_ms;
    if (options->at != NULL && !time_parse(&change->at_unix_ms, options->at))
        return command_fail(EX_DATAERR,
                            "\"%s\" is not a time: write it in UTC, like 2026-12-24T18:00:00Z",
                            options->at);
    if (change->kind == CHANGE_READ_BY && change->at_unix_ms <= now_ms)
        return command_fail(EX_DATAERR, "%s has passed: give a time to come", options->at);
    return 0;
}

static int change_read(struct envelope_change *change, const struct envelope_options *options)
{
    const char *typed = options->recipient;
    if (word_is(options->verb, "lock", "unlock")) {
        change->kind = CHANGE_LOCK;
        change->locked = strcmp(options->verb, "lock") == 0;
        change->event = change->locked ? "lock" : "unlock";
        if (typed != NULL && account_normalise(change->recipient, typed, strlen(typed)) != 0)
            return command_fail(EX_DATAERR, "\"%s\" is not an address", typed);
        return 0;
    }
    const bool expires = strcmp(options->verb, "expire") == 0;
    change->kind = expires ? CHANGE_EXPIRES : CHANGE_READ_BY;
    change->event = expires ? "change_expiry" : "change_read_by";
    return date_read(change, options);
}

/* 0, -errno, or an exit status after saying why. A lock for all finds out by itself whether there
 * is such an envelope. Who may open what anybody may need not say who he is, so that a lock for one
 * would hold nobody. */
static int change_check(const struct command_parts *parts, const struct envelope_change *change)
{
    struct store_envelope envelope;
    if (change->kind == CHANGE_LOCK && change->recipient[0] == '\0')
        return 0;
    int rc = store_envelope_get(parts->store, change->id, &envelope);
    if (rc != 0 || change->kind != CHANGE_LOCK)
        return rc;
    rc = store_envelope_recipient(parts->store, change->id, change->recipient);
    if (rc == -ENOENT)
        return command_fail(EX_DATAERR, "%s is not a recipient of %s", change->recipient,
                            change->hex);
    if (rc == 0 && change->locked && envelope.level == RECORD_LEVEL_NONE)
        return command_fail(EX_DATAERR, "anybody may open %s: lock it without --recipient",
                            change->hex);
    return rc;
}

static int change_apply(const struct command_parts *parts, const struct envelope_change *change)
{
    switch (change->kind) {
    case CHANGE_LOCK:
        return change->recipient[0] == '\0'
                   ? store_envelope_lock(parts->store, change->id, change->locked)
                   : store_opening_lock(parts->store, change->id, change->recipient,
                                        change->locked);
    case CHANGE_EXPIRES: return store_change_expires(parts->store, change->id, change->at_unix_ms);
    case CHANGE_READ_BY: return store_change_read_by(parts->store, change->id, change->at_unix_ms);
    }
    return -EINVAL;
}

/* The line of what is about to be done is durable before it is done. */
static int change_do(const struct command_parts *parts, const struct envelope_change *change)
{
    char at[ENVELOPE_TIME_BYTES] = "none";
    int rc = change_check(parts, change);
    if (rc != 0)
        return rc;
    if (change->at_unix_ms != 0)
        admin_time(at, change->at_unix_ms);
    const struct audit_event line = {.event = change->event,
                                     .id = change->hex,
                                     .detail =
                                         change->kind == CHANGE_LOCK ? change->recipient : at};
    rc = admin_begin(parts, &line);
    return rc == 0 ? admin_end(parts, change_apply(parts, change), &line) : rc;
}

static int envelope_do(const struct command_parts *parts, const struct envelope_options *options)
{
    struct envelope_change change = {.kind = CHANGE_LOCK};
    int rc = 0;
    if (strcmp(options->verb, "list") == 0)
        return envelope_list(parts, options->name);
    if (api_hex(change.id, sizeof(change.id), options->name) != 0)
        return command_fail(EX_DATAERR,
                            "\"%s\": an envelope id has 32 hex digits, letters in lower case",
                            options->name);
    api_to_hex(change.hex, change.id, sizeof(change.id));
    if (strcmp(options->verb, "show") == 0) {
        rc = envelope_show(parts, change.id);
    } else {
        rc = change_read(&change, options);
        if (rc == 0)
            rc = change_do(parts, &change);
    }
    if (rc > 0) /* an exit status: why is said */
        return rc;
    if (rc == -ENOENT)
        return command_fail(EX_DATAERR, "no envelope %s is known here", options->name);
    return rc == 0 ? 0 : command_fail(EX_IOERR, "%s: %s", options->name, strerror(-rc));
}

int command_envelope(int argc, char **argv)
{
    struct envelope_options options;
    struct command_parts parts;
    int status = options_read(&options, argc, argv);
    if (status == 0)
        status = command_open(&parts, options.config);
    if (status != 0)
        return status;
    status = envelope_do(&parts, &options);
    command_close(&parts);
    return status;
}
