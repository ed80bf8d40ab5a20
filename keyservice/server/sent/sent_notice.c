#include "keyservice/server/sent/sent_notice.h"

#include "base/clock.h"
#include "base/log.h"
#include "keyservice/server/api/api.h"
#include "keyservice/server/language.h"
#include "keyservice/server/mail/outbox.h"
#include "keyservice/server/store/store_opening.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>
#include <time.h>

#define WHEN_BYTES     32
#define WHO_HEAD_BYTES 120 /* of a name in a subject line */
#define URL_BYTES      (CONFIG_TEXT_BYTES + 64)
#define ABOUT_BYTES    (CONFIG_TEXT_BYTES + 64)

/* U+2068 and U+2069: what stands between them is put in order by itself, whatever is around it. */
#define ISOLATE     "\xe2\x81\xa8"
#define ISOLATE_END "\xe2\x81\xa9"

/* A text's {name} and what stands for it. */
struct value {
    const char *name;
    const char *text;
    bool isolated; /* it stands within a line of the other direction */
};
#define VALUES_COUNT 5

/* What a notice says. */
struct words {
    struct value values[VALUES_COUNT];
    char sender[STORE_ADDRESS_BYTES];
    char when[WHEN_BYTES];
    char sent[WHEN_BYTES];
    char url[URL_BYTES];
    char who[SENT_NOTICE_NAMES_MAX * (STORE_ADDRESS_BYTES + 8) + 16];
};

static void when_print(char text[WHEN_BYTES], uint64_t unix_ms)
{
    struct tm utc;
    const time_t at = (time_t)(unix_ms / 1000);
    text[0] = '\0';
    if (gmtime_r(&at, &utc) != NULL)
        (void)strftime(text, WHEN_BYTES, "%Y-%m-%d %H:%M", &utc);
}

/* Less a character of UTF-8 at the end that is not all there. */
static size_t whole_chars(const char *text, size_t bytes)
{
    size_t at = bytes;
    while (at > 0 && ((unsigned char)text[at - 1] & 0xc0) == 0x80)
        at--;
    if (at == 0)
        return bytes;
    const unsigned char lead = (unsigned char)text[at - 1];
    const size_t follow = lead < 0xc0 ? 0 : lead < 0xe0 ? 1 : lead < 0xf0 ? 2 : 3;
    return bytes - at >= follow ? bytes : at - 1;
}

static size_t append(char *dst, size_t used, size_t room, const char *text)
{
    const size_t chars = MIN(strlen(text), room - 1 - used);
    memcpy(dst + used, text, chars);
    return used + chars;
}

/* Cut at `room`, between characters. */
static void expand(char *dst, size_t room, const char *text, const struct value *values)
{
    size_t used = 0;
    while (*text != '\0' && used + 1 < room) {
        const struct value *put = NULL;
        for (size_t i = 0; i < VALUES_COUNT && put == NULL && *text == '{'; i++) {
            const size_t chars = strlen(values[i].name);
            if (strncmp(text + 1, values[i].name, chars) == 0 && text[1 + chars] == '}') {
                put = &values[i];
                text += chars + 2;
            }
        }
        if (put == NULL) {
            dst[used++] = *text++;
            continue;
        }
        used = append(dst, used, room, put->isolated ? ISOLATE : "");
        used = append(dst, used, room, put->text);
        used = append(dst, used, room, put->isolated ? ISOLATE_END : "");
    }
    dst[whole_chars(dst, used)] = '\0';
}

/* Who has not opened it: recipients less openings. */
struct unread {
    struct words *words;
    char (*readers)[STORE_ADDRESS_BYTES];
    uint32_t readers_count;
    uint32_t names_count;
    size_t used;
};

static void reader_keep(void *context, const struct store_opening *opening)
{
    struct unread *unread = context;
    if (opening->times > 0 && unread->readers_count < STORE_OPENINGS_MAX)
        (void)snprintf(unread->readers[unread->readers_count++], STORE_ADDRESS_BYTES, "%s",
                       opening->address);
}

static void unread_name(void *context, const char *address)
{
    struct unread *unread = context;
    struct words *words = unread->words;
    for (uint32_t i = 0; i < unread->readers_count; i++)
        if (strcmp(unread->readers[i], address) == 0)
            return;
    unread->names_count++;
    if (unread->names_count > SENT_NOTICE_NAMES_MAX + 1)
        return;
    const bool more = unread->names_count == SENT_NOTICE_NAMES_MAX + 1;
    const int chars = snprintf(words->who + unread->used, sizeof(words->who) - unread->used,
                               "%s    %s", unread->used == 0 ? "" : "\n", more ? "…" : address);
    unread->used = MIN(unread->used + (size_t)MAX(chars, 0), sizeof(words->who) - 1);
}

/* -ENOENT: everybody has opened it. */
static int unread_list(const struct service *service, const uint8_t *id, struct words *words)
{
    struct unread unread = {.words = words};
    unread.readers = malloc(STORE_OPENINGS_MAX * sizeof(*unread.readers));
    int rc = unread.readers == NULL ? -ENOMEM : 0;
    if (rc == 0)
        rc = store_opening_list(service->store, id, reader_keep, &unread);
    if (rc == 0)
        rc = store_envelope_recipients(service->store, id, unread_name, &unread);
    free(unread.readers);
    return rc != 0 ? rc : unread.names_count == 0 ? -ENOENT : 0;
}

/* 0, or -ENOENT when there is nothing to tell, or nobody. */
static int words_fill(const struct service *service, const struct store_notice *notice,
                      struct words *words, uint32_t *locale)
{
    char hex[2 * RECORD_ID_BYTES + 1];
    struct store_envelope envelope;
    int rc = store_envelope_get(service->store, notice->id, &envelope);
    if (rc == 0)
        rc = account_normalise(words->sender, envelope.sender, strlen(envelope.sender)) == 0
                 ? 0
                 : -ENOENT;
    if (rc != 0)
        return rc;
    if (strcasecmp(words->sender, mail_from(service->mail)) == 0)
        return -ENOENT; /* the service tells itself nothing */
    *locale = account_language(service, words->sender, 0);
    if (notice->kind == NOTICE_UNREAD)
        rc = unread_list(service, notice->id, words);
    else
        (void)snprintf(words->who, sizeof(words->who), "%s",
                       notice->address[0] != '\0'
                           ? notice->address
                           : pages_string(service->pages, *locale, "mail_somebody"));
    api_to_hex(hex, notice->id, RECORD_ID_BYTES);
    when_print(words->when,
               notice->kind == NOTICE_UNREAD ? envelope.read_by_unix_ms : notice->at_unix_ms);
    when_print(words->sent, envelope.sent_unix_ms);
    (void)snprintf(words->url, sizeof(words->url), "%s/sent?m=%s", service->public_url, hex);
    return rc;
}

/* Addresses and links on lines of their own need no isolation, and a link takes none. */
static void values_fill(const struct service *service, const struct store_notice *notice,
                        struct words *words, uint32_t locale, const char *subject)
{
    const bool turned = pages_right_to_left(locale);
    const char *shown =
        subject[0] != '\0' ? subject : pages_string(service->pages, locale, "no_subject");
    words->values[0] = (struct value){"who", words->who, turned && notice->kind == NOTICE_OPENED};
    words->values[1] = (struct value){"when", words->when, turned};
    words->values[2] = (struct value){"sent", words->sent, turned};
    words->values[3] = (struct value){"url", words->url, false};
    words->values[4] = (struct value){"subject", shown, turned};
}

/* The mail's bytes; 0 when it cannot be written. */
static size_t mail_make(const struct service *service, const struct store_notice *notice,
                        struct words *words, uint32_t locale, char mail[MAIL_BYTES_MAX],
                        const uint8_t unique[OUTBOX_ID_BYTES])
{
    char head[MAIL_SUBJECT_BYTES_MAX + 1];
    char text[MAIL_TEXT_BYTES_MAX + 1];
    char who[WHO_HEAD_BYTES];
    char hex[2 * RECORD_ID_BYTES + 1];
    char about[ABOUT_BYTES];
    const bool opened = notice->kind == NOTICE_OPENED;
    struct value *values = words->values;
    expand(text, sizeof(text),
           pages_string(service->pages, locale, opened ? "mail_opened_text" : "mail_unread_text"),
           values);
    who[whole_chars(who, append(who, 0, sizeof(who), words->who))] = '\0';
    values[0].text = who;
    expand(head, sizeof(head),
           pages_string(service->pages, locale,
                        opened ? "mail_opened_subject" : "mail_unread_subject"),
           values);
    api_to_hex(hex, notice->id, RECORD_ID_BYTES);
    /* The Message-ID of what was written here; of other mail none is known, and this holds what is
     * told of one message together. */
    (void)snprintf(about, sizeof(about), "%s@%s", hex, service->host);
    const struct mail_receipt receipt = {
        .reader = notice->address, .envelope = hex, .opened_unix_ms = notice->at_unix_ms};
    const struct mail_message message = {.to = words->sender,
                                         .subject = head,
                                         .text = text,
                                         .language = pages_locale_name(locale),
                                         .about = about,
                                         .receipt = opened && notice->address[0] != '\0' ? &receipt
                                                                                         : NULL};
    return mail_format(mail, mail_from(service->mail), &message, unique, clock_unix_ns());
}

/* One notice into the outbox, or dropped: also when its envelope is damaged, which no later try
 * mends. */
static int notice_send(struct service *service, const struct store_notice *notice)
{
    char mail[MAIL_BYTES_MAX];
    uint8_t unique[OUTBOX_ID_BYTES];
    uint32_t locale = 0;
    struct store_envelope envelope = {.suite = 0};
    size_t mail_bytes = 0;
    struct words *words = malloc(sizeof(*words));
    if (words == NULL)
        return -ENOMEM;
    int rc = getrandom(unique, sizeof(unique), 0) == (ssize_t)sizeof(unique) ? 0 : -EIO;
    if (rc == 0)
        rc = words_fill(service, notice, words, &locale);
    if (rc == 0)
        rc = store_envelope_get(service->store, notice->id, &envelope);
    if (rc == 0) {
        values_fill(service, notice, words, locale, envelope.subject);
        mail_bytes = mail_make(service, notice, words, locale, mail, unique);
    }
    const bool dropped = rc == -EBADMSG || (rc == 0 && mail_bytes == 0);
    if (dropped)
        log_line(LOG_LEVEL_WARNING, "notice_dropped", "number=%llu",
                 (unsigned long long)notice->number);
    const char *to = words->sender;
    const struct outbox_mail queued = {.id = unique,
                                       .from_envelope = "",
                                       .to = &to,
                                       .to_count = 1,
                                       .mail = mail,
                                       .mail_bytes = mail_bytes,
                                       .kind = OUTBOX_NOTICE};
    if (rc == 0 || rc == -ENOENT || dropped)
        rc = store_notice_end(service->store, notice, rc == 0 && !dropped ? &queued : NULL,
                              api_now_ms());
    free(words);
    return rc == -ENOENT ? 0 : rc;
}

struct notices {
    struct store_notice list[SENT_NOTICE_BURST];
    uint32_t count;
};

static void notice_keep(void *context, const struct store_notice *notice)
{
    struct notices *notices = context;
    if (notices->count < SENT_NOTICE_BURST)
        notices->list[notices->count++] = *notice;
}

int sent_notice_run(struct service *service, uint32_t *done_count)
{
    struct notices *notices = calloc(1, sizeof(*notices));
    *done_count = 0;
    if (notices == NULL)
        return -ENOMEM;
    int rc = store_notice_list(service->store, SENT_NOTICE_BURST, notice_keep, notices);
    int sent = rc;
    for (uint32_t i = 0; i < notices->count && sent != -EACCES; i++) { /* the outbox is full */
        sent = notice_send(service, &notices->list[i]);
        *done_count += sent == 0;
        rc = rc == 0 ? sent : rc;
    }
    if (*done_count > 0)
        outbox_wake(service->outbox);
    free(notices);
    return rc;
}
