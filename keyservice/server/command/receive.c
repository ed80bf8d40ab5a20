/* bulla-keyd receive: one mail on standard input, from the mail server; perhaps a link goes back.
 * docs/keyservice/receive.md. */
#include "base/assert.h"
#include "base/clock.h"
#include "crypto/base64.h"
#include "crypto/secret.h"
#include "keyservice/server/api/api.h"
#include "keyservice/server/audit/audit.h"
#include "keyservice/server/command/command.h"
#include "keyservice/server/language.h"
#include "keyservice/server/link.h"
#include "keyservice/server/mail/mailview.h"
#include "keyservice/server/mail/reader.h"
#include "keyservice/server/mail/received.h"
#include "keyservice/server/store/store_profile.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>
#include <sysexits.h>
#include <syslog.h>
#include <unistd.h>

#define RECEIVE_FIRST_BYTES (UINT32_C(256) << 10)
#define RECEIVE_READ_BYTES  (UINT32_C(64) << 10)
#define SEALING_BYTES_MAX   (UINT32_C(64) << 10) /* what sealing adds at most, and 1/64 */

_Static_assert(ACCOUNT_ADDRESS_BYTES == STORE_ADDRESS_BYTES, "one address");

struct receive {
    const char *config_path;
    const char *sender; /* of SMTP; NULL: not told */
    bool debug;
    struct config config;
    struct reader *reader;
    struct store *store;
    struct pages *pages;
    uint8_t *mail;
    size_t mail_bytes;
    uint8_t *items;
    size_t items_bytes;
    struct received received;
};

/*
 * Standard error goes back to a mail's sender, and what a delivery printed may go there too: so
 * the reason stands in the system's log, and every end of the same kind looks alike.
 */
static int end(const struct receive *receive, int status, const char *reason)
{
    syslog(status == 0 ? LOG_INFO : LOG_ERR, "receive: %s: %s", status == 0 ? "done" : "put off",
           reason);
    if (receive->debug)
        (void)fprintf(stderr, "bulla-keyd: receive: %s\n", reason);
    return status;
}

static bool options_read(struct receive *receive, int argc, char **argv)
{
    static const struct option known[] = {
        {"config", required_argument, NULL, 'c'},
        {"sender", required_argument, NULL, 's'},
        {"debug", no_argument, NULL, 'd'},
        {NULL, 0, NULL, 0},
    };
    int option;
    *receive = (struct receive){.config_path = COMMAND_CONFIG};
    while ((option = getopt_long(argc, argv, "", known, NULL)) != -1) {
        switch (option) {
        case 'c': receive->config_path = optarg; break;
        case 's': receive->sender = optarg; break;
        case 'd': receive->debug = true; break;
        default: return false;
        }
    }
    return optind == argc;
}

/* Postfix's pipe(8) names the null sender so, unless it is told otherwise. */
static bool sender_null(const char *sender)
{
    return sender != NULL && (sender[0] == '\0' || strcmp(sender, "<>") == 0 ||
                              strcasecmp(sender, "MAILER-DAEMON") == 0);
}

/* All of standard input, of which no more than READER_MAIL_BYTES_MAX is kept. -EFBIG: there was
 * more, and it was read to its end all the same: else the mail server would try for ever. */
static int mail_read(struct receive *receive)
{
    static uint8_t part[RECEIVE_READ_BYTES];
    size_t room = 0;
    bool over = false;
    for (;;) { /* until its end: the mail server bounds it */
        const ssize_t got = read(STDIN_FILENO, part, sizeof(part));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -EIO;
        if (got == 0)
            return over ? -EFBIG : 0;
        const size_t bytes = (size_t)got;
        over = over || bytes > READER_MAIL_BYTES_MAX - receive->mail_bytes;
        if (over)
            continue;
        if (bytes > room - receive->mail_bytes) {
            room = MAX(2 * room, (size_t)RECEIVE_FIRST_BYTES);
            uint8_t *more = realloc(receive->mail, room);
            if (more == NULL)
                return -ENOMEM;
            receive->mail = more;
        }
        memcpy(receive->mail + receive->mail_bytes, part, bytes);
        receive->mail_bytes += bytes;
    }
}

static bool worth_retrying(int rc)
{
    return rc == -EIO || rc == -ENOMEM || rc == -EAGAIN;
}

/* What the confined process makes of the mail; this one, which may use the database, parses none
 * of it. */
static int mail_understand(struct receive *receive)
{
    int rc = reader_read(receive->reader, receive->mail, receive->mail_bytes, RECEIVED_PART,
                         &receive->items, &receive->items_bytes);
    if (rc == 0)
        rc = received_read(&receive->received, receive->items, receive->items_bytes);
    return rc;
}

/* A mail from ourselves would answer itself. */
static bool own_address(const struct receive *receive)
{
    char own[ACCOUNT_ADDRESS_BYTES];
    const char *const addresses[] = {receive->config.receive_address, receive->config.mail_from};
    for (size_t i = 0; i < ARRAY_COUNT(addresses); i++)
        if (account_normalise(own, addresses[i], strlen(addresses[i])) == 0 &&
            strcmp(own, receive->received.address) == 0)
            return true;
    return false;
}

static uint32_t mail_locale(struct store *store, const char *address, const char *profile)
{
    struct store_account account;
    uint32_t locale = 0;
    struct store_profile *shown = malloc(sizeof(*shown));
    if (shown != NULL && store_profile_get(store, profile, shown) == 0)
        locale = language_of_choice(shown->locale, 0);
    free(shown);
    const int found = store_account_get(store, address, &account);
    secret_wipe(account.password, sizeof(account.password));
    return found == 0 ? language_of_choice(account.language, locale) : locale;
}

/* The link is kept, its audit line is written, its mail is in the outbox, in this order. */
static int link_send(struct receive *receive, const struct store_envelope *envelope)
{
    struct audit *audit = NULL;
    struct link_mail mail;
    struct link_token token;
    char hex[2 * RECORD_ID_BYTES + 1];
    const struct received *received = &receive->received;
    struct store_link link = {.suite = received->suite, .sealed_bytes = received->sealed_bytes};
    memcpy(link.id, received->id.bytes, sizeof(link.id));
    memcpy(link.address, received->address, sizeof(link.address));
    api_to_hex(hex, link.id, sizeof(link.id));
    int rc = link_token_make(&token);
    if (rc != 0)
        return rc;
    link_name(&token, link.name);
    const struct link_mail_words words = {.pages = receive->pages,
                                          .locale = mail_locale(receive->store, received->address,
                                                                envelope->profile),
                                          .from = receive->config.mail_from,
                                          .to = received->address,
                                          .public_url = receive->config.public_url,
                                          .token = &token};
    rc = link_mail_write(&mail, &words, clock_unix_ns());
    secret_wipe(&token, sizeof(token));
    if (rc != 0)
        return rc;
    rc = store_link_add(receive->store, &link, received->sealed, api_now_ms());
    if (rc != 0)
        return rc;
    const struct audit_event event = {
        .event = "link", .outcome = "sent", .id = hex, .user = link.address, .from = "mail"};
    rc = audit_open(&audit, receive->config.audit);
    if (rc == 0)
        rc = audit_append(audit, &event, true, clock_unix_ns());
    audit_close(audit);
    if (rc == 0)
        rc = store_link_send(receive->store, link.name, &mail.outbox, api_now_ms());
    secret_wipe(&mail, sizeof(mail));
    if (rc != 0) {
        const int removed = store_link_remove(receive->store, link.name);
        (void)removed; /* then it goes when its time is over */
        return -EIO;
    }
    return 0;
}

/* Is the writer a recipient of this very envelope? Only then is there an answer. */
static int answer(struct receive *receive)
{
    struct store_envelope envelope;
    const struct received *received = &receive->received;
    int rc = store_envelope_get(receive->store, received->id.bytes, &envelope);
    if (rc == -ENOENT)
        return end(receive, 0, "no envelope of this service");
    if (rc == 0)
        rc = store_envelope_recipient(receive->store, received->id.bytes, received->address);
    if (rc == -ENOENT)
        return end(receive, 0, "not from one of its recipients");
    if (rc != 0)
        return end(receive, EX_TEMPFAIL, "the database cannot be read");
    if (envelope.suite != received->suite)
        return end(receive, 0, "the envelope is damaged");
    if (received->sealed_bytes > envelope.mail_bytes + envelope.mail_bytes / 64 + SEALING_BYTES_MAX)
        return end(receive, 0, "more bytes than were sealed");
    rc = link_send(receive, &envelope);
    if (rc == 0)
        return end(receive, 0, "a link was sent");
    if (rc == -EINVAL)
        return end(receive, 0, "no mail can be sent to this recipient's address");
    if (rc == -EACCES)
        return end(receive, 0, "this recipient was sent enough links for now");
    return end(receive, EX_TEMPFAIL,
               rc == -ENOSPC ? "there is no room for more links"
                             : "the database or the audit log cannot be written");
}

static int store_begin(struct receive *receive)
{
    char why[STORE_WHY_BYTES] = "no memory";
    /* Without the master keys: nothing is wrapped or unwrapped here. */
    const struct store_config config = {.path = receive->config.database, .readers_count = 1};
    int rc = store_open(&receive->store, &config, why);
    if (rc == 0)
        rc = pages_words_open(&receive->pages, why);
    return rc == 0 ? 0 : end(receive, EX_TEMPFAIL, why);
}

static int mail_answer(struct receive *receive)
{
    char why[CONFIG_WHY_BYTES] = "";
    int rc = mail_read(receive);
    if (rc == -EFBIG)
        return end(receive, 0, "larger than any sealed mail");
    if (rc != 0)
        return end(receive, EX_TEMPFAIL, "the mail cannot be read");
    if (sender_null(receive->sender))
        return end(receive, 0, "no sender: a bounce, or a program's");
    if (config_read(&receive->config, receive->config_path, why) != 0)
        return end(receive, EX_TEMPFAIL, why);
    if (receive->config.receive_address[0] == '\0')
        return end(receive, EX_TEMPFAIL, "receive_address is not set");
    rc = mail_understand(receive);
    if (worth_retrying(rc))
        return end(receive, EX_TEMPFAIL, "the process that reads mail failed");
    if (rc != 0)
        return end(receive, 0, "no envelope, or nobody to be answered");
    if (own_address(receive))
        return end(receive, 0, "from this service itself");
    rc = store_begin(receive);
    return rc == 0 ? answer(receive) : rc;
}

int command_receive(int argc, char **argv)
{
    struct receive receive;
    int status = 0;
    openlog("bulla-keyd", LOG_PID, LOG_MAIL);
    if (!options_read(&receive, argc, argv)) {
        (void)end(&receive, EX_TEMPFAIL, "wrong arguments");
        return command_fail(EX_TEMPFAIL,
                            "usage: bulla-keyd receive [--config FILE] [--sender ADDRESS] "
                            "[--debug] < MAIL");
    }
    /* Made while this process has no secret and no other thread. */
    if (reader_open(&receive.reader, "") != 0)
        status = end(&receive, EX_TEMPFAIL, "the process that reads mail does not start");
    if (status == 0)
        status = mail_answer(&receive);
    reader_close(receive.reader);
    pages_close(receive.pages);
    store_close(receive.store);
    free(receive.items);
    free(receive.mail);
    secret_wipe(&receive.config, sizeof(receive.config));
    return status;
}
