#include "mta/milter/relay.h"

#include "base/assert.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define RELAY_URL_BYTES 640
#define RELAY_CONNECT_S 10L
#define RELAY_TIMEOUT_S 600 /* RFC 5321, 4.5.3.2.6 */
#define RELAY_FDS_MAX   4

/* What the next reply is to. */
enum stage {
    STAGE_GREETING,
    STAGE_HELLO,
    STAGE_SENDER,
    STAGE_RECIPIENT,
    STAGE_DATA,
    STAGE_DOT,
    STAGE_OTHER,
};

struct transfer {
    CURL *easy;
    struct relay_mail mail;
    struct curl_slist *recipients;
    bool busy;
    enum stage stage;
    uint32_t span_index;
    size_t span_offset;
    uint32_t asked_count; /* recipients that were named so far */
    uint32_t put_off_count;
    uint32_t refused_count;         /* recipients */
    struct relay_refusal *refusals; /* as many as there are recipients, once one is refused */
    bool no_memory;                 /* for them */
    bool mail_refused;              /* sender, data or final dot: for whoever was taken */
    uint32_t code; /* of the reply that decided, 0: none; a refused recipient's decides nothing */
    char text[RELAY_TEXT_BYTES];
};

struct relay {
    CURLM *multi;
    uint32_t connections;
    uint32_t busy_count;
    long timeout_s;
    char url[RELAY_URL_BYTES];
    struct transfer transfers[RELAY_CONNECTIONS_MAX];
};

/* --- the conversation
 * ----------------------------------------------------------------------------- */

static void stage_of_command(struct transfer *transfer, const char *command, size_t bytes)
{
    static const struct {
        const char *verb;
        enum stage stage;
    } verbs[] = {
        {"EHLO", STAGE_HELLO},     {"HELO", STAGE_HELLO}, {"MAIL", STAGE_SENDER},
        {"RCPT", STAGE_RECIPIENT}, {"DATA", STAGE_DATA},
    };
    transfer->stage = STAGE_OTHER;
    for (size_t i = 0; i < ARRAY_COUNT(verbs) && bytes >= 4; i++) {
        if (strncasecmp(command, verbs[i].verb, 4) == 0)
            transfer->stage = verbs[i].stage;
    }
    if (transfer->stage == STAGE_SENDER) /* from the beginning, on a new connection perhaps */
        transfer->asked_count = transfer->put_off_count = transfer->refused_count = 0;
    transfer->asked_count += transfer->stage == STAGE_RECIPIENT;
}

/* In printable ASCII, without its line end. */
static void text_keep(char *dst, size_t room, const char *text, size_t bytes)
{
    size_t used = 0;
    for (size_t i = 0; i < bytes && used < room - 1; i++) {
        if (text[i] != '\r' && text[i] != '\n')
            dst[used++] = text[i] < 0x20 || text[i] > 0x7e ? '?' : text[i];
    }
    dst[used] = '\0';
}

/* The first bad reply is the one to tell of; else the last good one. */
static void reply_keep(struct transfer *transfer, uint32_t code, const char *text, size_t bytes)
{
    if (transfer->code >= 400)
        return;
    transfer->code = code;
    text_keep(transfer->text, sizeof(transfer->text), text, bytes);
}

/* "5.1.1 no such user": the status, if one is there. */
static void status_read(const char *text, char status[RELAY_STATUS_BYTES])
{
    unsigned int parts[3];
    int used = 0;
    status[0] = '\0';
    if (sscanf(text, "%1u.%3u.%3u%n", &parts[0], &parts[1], &parts[2], &used) == 3 && used > 0)
        (void)snprintf(status, RELAY_STATUS_BYTES, "%u.%u.%u", parts[0], parts[1], parts[2]);
}

/* What is said of the one that was named last. Each has one refusal at the most, in their order,
 * whatever a server says: so there is room for all, and nobody else counts as refused. */
static void refusal_keep(struct transfer *transfer, uint32_t code, const char *text, size_t bytes)
{
    const uint32_t recipients_count = transfer->mail.recipients_count;
    const uint32_t kept_count = transfer->refused_count;
    if (transfer->asked_count == 0 || transfer->asked_count > recipients_count ||
        (kept_count > 0 &&
         transfer->refusals[kept_count - 1].recipient == transfer->asked_count - 1))
        return; /* more replies than there were questions */
    ASSERT(kept_count < transfer->asked_count);
    if (transfer->refusals == NULL)
        transfer->refusals = calloc(recipients_count, sizeof(*transfer->refusals));
    if (transfer->refusals == NULL) {
        transfer->no_memory = true;
        return;
    }
    struct relay_refusal *refusal = &transfer->refusals[transfer->refused_count++];
    refusal->recipient = transfer->asked_count - 1;
    refusal->code = code;
    text_keep(refusal->text, sizeof(refusal->text), text, bytes);
    status_read(refusal->text, refusal->enhanced_status);
}

/* As libcurl sees it, so that both hear the same replies: RFC 5321, 4.2, or a code and CRLF. */
static bool is_last_line(const char *line, size_t bytes)
{
    return bytes >= 4 && line[0] >= '2' && line[0] <= '5' && line[1] >= '0' && line[1] <= '9' &&
           line[2] >= '0' && line[2] <= '9' && (line[3] == ' ' || bytes == 5);
}

static void reply_hear(struct transfer *transfer, const char *line, size_t bytes)
{
    if (!is_last_line(line, bytes))
        return;
    const uint32_t code = (uint32_t)(line[0] - '0') * 100 + (uint32_t)(line[1] - '0') * 10 +
                          (uint32_t)(line[2] - '0');
    const char *text = line + MIN(bytes, (size_t)4);
    const size_t text_bytes = bytes - MIN(bytes, (size_t)4);
    if (transfer->stage == STAGE_RECIPIENT && code >= 500) {
        refusal_keep(transfer, code, text, text_bytes);
        return;
    }
    transfer->put_off_count += transfer->stage == STAGE_RECIPIENT && code >= 400;
    if (transfer->stage == STAGE_OTHER)
        return;
    transfer->mail_refused =
        code >= 500 && (transfer->stage == STAGE_SENDER || transfer->stage == STAGE_DATA ||
                        transfer->stage == STAGE_DOT);
    reply_keep(transfer, code, text, text_bytes);
    if (transfer->stage == STAGE_DATA && code == 354)
        transfer->stage = STAGE_DOT;
}

/* libcurl tells the status of the last command alone; this tells every one. */
static int on_conversation(CURL *easy, curl_infotype type, char *bytes_at, size_t bytes,
                           void *context)
{
    struct transfer *transfer = context;
    (void)easy;
    if (type == CURLINFO_HEADER_OUT)
        stage_of_command(transfer, bytes_at, bytes);
    else if (type == CURLINFO_HEADER_IN)
        reply_hear(transfer, bytes_at, bytes);
    return 0;
}

static size_t on_read(char *dst, size_t size, size_t count, void *context)
{
    struct transfer *transfer = context;
    const size_t room = size * count;
    size_t used = 0;
    if (transfer->put_off_count > 0 || transfer->no_memory)
        return CURL_READFUNC_ABORT; /* to all or to none; without its final dot it is nothing */
    while (used < room && transfer->span_index < transfer->mail.spans_count) {
        const struct iovec *span = &transfer->mail.spans[transfer->span_index];
        const size_t part = MIN(span->iov_len - transfer->span_offset, room - used);
        memcpy(dst + used, (const uint8_t *)span->iov_base + transfer->span_offset, part);
        used += part;
        transfer->span_offset += part;
        if (transfer->span_offset == span->iov_len) {
            transfer->span_index++;
            transfer->span_offset = 0;
        }
    }
    return used;
}

/* --- ends
 * ----------------------------------------------------------------------------------------- */

static void end_set(struct relay_end *end, enum relay_result result,
                    const struct transfer *transfer)
{
    end->result = result;
    end->code = transfer->code;
    status_read(transfer->text, end->enhanced_status);
    (void)snprintf(end->text, sizeof(end->text), "%s", transfer->text);
}

/* Those that were taken, of a mail that was refused after that: what was said of it goes for them.
 */
static void refusals_complete(struct transfer *transfer)
{
    const uint32_t named_count = transfer->refused_count;
    uint32_t named = 0;
    for (uint32_t n = 0; n < transfer->mail.recipients_count; n++) {
        if (named < named_count && transfer->refusals[named].recipient == n) {
            named++;
            continue;
        }
        struct relay_refusal *refusal = &transfer->refusals[transfer->refused_count++];
        refusal->recipient = n;
        refusal->code = transfer->code;
        text_keep(refusal->text, sizeof(refusal->text), transfer->text, strlen(transfer->text));
        status_read(refusal->text, refusal->enhanced_status);
    }
}

static void end_refused(struct relay_end *end, struct transfer *transfer)
{
    const uint32_t refused_count = transfer->refused_count;
    if (refused_count > 0 && transfer->mail_refused)
        refusals_complete(transfer);
    end_set(end, RELAY_REFUSED, transfer);
    if (refused_count == 0)
        return;
    end->refusals = transfer->refusals;
    end->refusals_count = transfer->refused_count;
    end->code = transfer->refusals[0].code;
    (void)snprintf(end->enhanced_status, sizeof(end->enhanced_status), "%s",
                   transfer->refusals[0].enhanced_status);
    (void)snprintf(end->text, sizeof(end->text), "%u of %u recipients: %s", transfer->refused_count,
                   transfer->mail.recipients_count, transfer->refusals[0].text);
}

static void transfer_end(struct transfer *transfer, CURLcode code, struct relay_end *end)
{
    const bool delivered = code == CURLE_OK && transfer->stage == STAGE_DOT;
    const bool all_refused = transfer->refused_count == transfer->mail.recipients_count;
    *end = (struct relay_end){.user = transfer->mail.user};
    if (delivered && transfer->refused_count == 0) {
        end_set(end, RELAY_SENT, transfer);
    } else if (delivered || all_refused ||
               (transfer->mail_refused && transfer->put_off_count == 0)) {
        end_refused(end, transfer);
    } else {
        end_set(end, RELAY_LATER, transfer);
        end->unreachable = transfer->stage <= STAGE_HELLO;
        if (transfer->no_memory || transfer->code < 400) {
            end->code = 0; /* the good reply before it explains nothing */
            end->enhanced_status[0] = '\0';
            (void)snprintf(end->text, sizeof(end->text), "%s",
                           transfer->no_memory ? "out of memory" : curl_easy_strerror(code));
        }
    }
}

static void transfer_clear(struct relay *relay, struct transfer *transfer)
{
    curl_slist_free_all(transfer->recipients);
    transfer->recipients = NULL;
    transfer->busy = false;
    relay->busy_count--;
}

/* --- everybody else
 * ------------------------------------------------------------------------------- */

static bool host_text_sound(const char *text)
{
    static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                  "0123456789._-:[]";
    return strspn(text, allowed) == strlen(text);
}

int relay_open(struct relay **relay, const struct relay_config *config)
{
    ASSERT(config->connections > 0 && config->connections <= RELAY_CONNECTIONS_MAX);
    if (config->address[0] == '\0' || !host_text_sound(config->address) ||
        !host_text_sound(config->hostname))
        return -EINVAL;
    struct relay *made = calloc(1, sizeof(*made));
    if (made == NULL)
        return -ENOMEM;
    made->connections = config->connections;
    made->timeout_s = config->timeout_s == 0 ? RELAY_TIMEOUT_S : (long)config->timeout_s;
    const int n =
        snprintf(made->url, sizeof(made->url), "smtp://%s/%s", config->address, config->hostname);
    made->multi = n > 0 && n < RELAY_URL_BYTES ? curl_multi_init() : NULL;
    if (made->multi == NULL) {
        free(made);
        return n < RELAY_URL_BYTES ? -ENOMEM : -EINVAL;
    }
    (void)curl_multi_setopt(made->multi, CURLMOPT_MAXCONNECTS, (long)config->connections);
    (void)curl_multi_setopt(made->multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, (long)config->connections);
    *relay = made;
    return 0;
}

void relay_close(struct relay *relay)
{
    if (relay == NULL)
        return;
    for (uint32_t i = 0; i < relay->connections; i++) {
        struct transfer *transfer = &relay->transfers[i];
        if (transfer->busy) {
            (void)curl_multi_remove_handle(relay->multi, transfer->easy);
            transfer_clear(relay, transfer);
        }
        curl_easy_cleanup(transfer->easy);
        free(transfer->refusals);
    }
    (void)curl_multi_cleanup(relay->multi);
    free(relay);
}

uint32_t relay_busy_count(const struct relay *relay)
{
    return relay->busy_count;
}

static bool recipients_make(struct transfer *transfer)
{
    for (uint32_t i = 0; i < transfer->mail.recipients_count; i++) {
        struct curl_slist *longer =
            curl_slist_append(transfer->recipients, transfer->mail.recipients[i]);
        if (longer == NULL)
            return false;
        transfer->recipients = longer;
    }
    return transfer->recipients != NULL;
}

static bool transfer_prepare(const struct relay *relay, struct transfer *transfer)
{
    CURL *easy = transfer->easy;
    const struct relay_mail *mail = &transfer->mail;
    curl_easy_reset(easy);
    bool good = curl_easy_setopt(easy, CURLOPT_URL, relay->url) == CURLE_OK;
    good = good && curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "smtp") == CURLE_OK;
    good = good && curl_easy_setopt(easy, CURLOPT_PROXY, "") == CURLE_OK;
    good = good && curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L) == CURLE_OK;
    good = good && curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT, RELAY_CONNECT_S) == CURLE_OK;
    good = good && curl_easy_setopt(easy, CURLOPT_TIMEOUT, relay->timeout_s) == CURLE_OK;
    good = good && curl_easy_setopt(easy, CURLOPT_UPLOAD, 1L) == CURLE_OK;
    good = good && curl_easy_setopt(easy, CURLOPT_READFUNCTION, on_read) == CURLE_OK;
    good = good && curl_easy_setopt(easy, CURLOPT_READDATA, transfer) == CURLE_OK;
    good = good && curl_easy_setopt(easy, CURLOPT_INFILESIZE_LARGE, (curl_off_t)mail->mail_bytes) ==
                       CURLE_OK;
    good = good && curl_easy_setopt(easy, CURLOPT_VERBOSE, 1L) == CURLE_OK;
    good = good && curl_easy_setopt(easy, CURLOPT_DEBUGFUNCTION, on_conversation) == CURLE_OK;
    good = good && curl_easy_setopt(easy, CURLOPT_DEBUGDATA, transfer) == CURLE_OK;
    good = good && curl_easy_setopt(easy, CURLOPT_PRIVATE, transfer) == CURLE_OK;
    good = good && curl_easy_setopt(easy, CURLOPT_MAIL_RCPT, transfer->recipients) == CURLE_OK;
    good = good && curl_easy_setopt(easy, CURLOPT_MAIL_RCPT_ALLLOWFAILS, 1L) == CURLE_OK;
    /* Without one libcurl writes the null sender, <>. */
    return good && (mail->sender[0] == '\0' ||
                    curl_easy_setopt(easy, CURLOPT_MAIL_FROM, mail->sender) == CURLE_OK);
}

bool relay_start(struct relay *relay, const struct relay_mail *mail)
{
    struct transfer *transfer = NULL;
    for (uint32_t i = 0; i < relay->connections && transfer == NULL; i++) {
        if (!relay->transfers[i].busy)
            transfer = &relay->transfers[i];
    }
    if (transfer == NULL)
        return false;
    CURL *easy = transfer->easy == NULL ? curl_easy_init() : transfer->easy;
    if (easy == NULL)
        return false;
    free(transfer->refusals);
    *transfer = (struct transfer){.easy = easy, .mail = *mail, .stage = STAGE_GREETING};
    if (!recipients_make(transfer) || !transfer_prepare(relay, transfer) ||
        curl_multi_add_handle(relay->multi, easy) != CURLM_OK) {
        curl_slist_free_all(transfer->recipients);
        transfer->recipients = NULL;
        return false;
    }
    transfer->busy = true;
    relay->busy_count++;
    return true;
}

static uint32_t ends_take(struct relay *relay, struct relay_end *ends, uint32_t ends_max)
{
    uint32_t count = 0;
    int left = 0;
    while (count < ends_max) {
        const CURLMsg *message = curl_multi_info_read(relay->multi, &left);
        if (message == NULL)
            break;
        if (message->msg != CURLMSG_DONE)
            continue;
        struct transfer *transfer = NULL;
        CURL *easy = message->easy_handle;
        const CURLcode code = message->data.result;
        (void)curl_easy_getinfo(easy, CURLINFO_PRIVATE, (char **)&transfer);
        transfer_end(transfer, code, &ends[count++]);
        (void)curl_multi_remove_handle(relay->multi, easy);
        transfer_clear(relay, transfer);
    }
    return count;
}

uint32_t relay_run(struct relay *relay, const int *fds, uint32_t fds_count, int wait_ms,
                   struct relay_end *ends, uint32_t ends_max)
{
    struct curl_waitfd bells[RELAY_FDS_MAX];
    int running = 0;
    ASSERT(fds_count <= RELAY_FDS_MAX);
    (void)curl_multi_perform(relay->multi, &running);
    uint32_t count = ends_take(relay, ends, ends_max);
    if (count > 0)
        return count;
    for (uint32_t i = 0; i < fds_count; i++)
        bells[i] = (struct curl_waitfd){.fd = fds[i], .events = CURL_WAIT_POLLIN};
    (void)curl_multi_poll(relay->multi, bells, fds_count, wait_ms, NULL);
    (void)curl_multi_perform(relay->multi, &running);
    return ends_take(relay, ends, ends_max);
}
