/* Opening online without any script: forms of ours, each a POST with the token of its browser. */
#include "keyservice/server/api/api_plain.h"
#include "base/assert.h"
#include "base/log.h"
#include "crypto/secret.h"
#include "keyservice/server/api/api_online.h"
#include "keyservice/server/http/form.h"
#include "keyservice/server/language.h"
#include "keyservice/server/plain.h"
#include "keyservice/server/preview.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <microhttpd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#define PLAIN_PREFIX     "/online/"
#define PLAIN_FORM       "application/x-www-form-urlencoded"
#define PLAIN_DATE_BYTES 32
#define PLAIN_MAIL_NAME  "message.eml"
#define PLAIN_BINARY     "application/octet-stream"

void api_plain_words(const struct api_plain_call *call, const char *name, const char *address,
                     char words[API_PLAIN_WORDS_BYTES])
{
    size_t used = 0;
    const struct pages *pages = call->service->pages;
    const char *at = pages_string(pages, call->locale, name);
    while (*at != '\0' && used + 1 < API_PLAIN_WORDS_BYTES) { /* every round moves on */
        const bool is_address = strncmp(at, "{address}", 9) == 0;
        const bool is_wait = strncmp(at, "{wait}", 6) == 0;
        if (!is_address && !is_wait) {
            words[used++] = *at++;
            continue;
        }
        const int n =
            snprintf(words + used, API_PLAIN_WORDS_BYTES - used, "%s",
                     is_address ? address : pages_string(pages, call->locale, "plain_wait"));
        used = MIN(used + (size_t)MAX(n, 0), (size_t)API_PLAIN_WORDS_BYTES - 1);
        at += is_address ? 9 : 6;
    }
    words[used] = '\0';
}

void api_plain_error(const struct api_plain_call *call, enum api_error error, const char *address,
                     char words[API_PLAIN_WORDS_BYTES])
{
    char name[64];
    (void)snprintf(name, sizeof(name), "error_%s", api_error_code(error));
    api_plain_words(call, name, address, words);
}

void api_plain_token(const struct api_plain_call *call, struct session_token *csrf)
{
    session_csrf(call->service->csrf_secret, &call->cookie, csrf);
}

void api_plain_cookie(struct api_plain_call *call)
{
    if (!call->cookie_told)
        api_cookie_set(call->request, &call->cookie);
    call->cookie_told = true;
}

static void date_write(char text[PLAIN_DATE_BYTES], uint64_t unix_ms)
{
    struct tm tm;
    const time_t seconds = (time_t)(unix_ms / 1000);
    text[0] = '\0';
    if (gmtime_r(&seconds, &tm) != NULL &&
        strftime(text, PLAIN_DATE_BYTES, "%Y-%m-%d %H:%M UTC", &tm) == 0)
        text[0] = '\0';
}

static void message_answer(struct api_plain_call *call, const struct open_look *look,
                           const char *error)
{
    struct session_token csrf;
    char sent[PLAIN_DATE_BYTES];
    char expires[PLAIN_DATE_BYTES];
    const struct store_envelope *envelope = &look->envelope;
    const struct pages *pages = call->service->pages;
    api_plain_token(call, &csrf);
    date_write(sent, envelope->sent_unix_ms);
    date_write(expires, envelope->expires_unix_ms);
    const struct pages_value values[] = {
        {.name = "csrf", .text = csrf.text},
        {.name = "from", .text = envelope->sender},
        {.name = "subject",
         .text = envelope->subject[0] != '\0' ? envelope->subject
                                              : pages_string(pages, call->locale, "no_subject")},
        {.name = "date", .text = sent},
        {.name = "expires", .text = expires},
        {.name = "expires_hidden", .text = envelope->expires_unix_ms == 0 ? API_PLAIN_HIDDEN : ""},
        {.name = "user", .text = look->signed_in ? look->session.address : ""},
        {.name = "user_hidden", .text = look->signed_in ? "" : API_PLAIN_HIDDEN},
        {.name = "error", .text = error},
    };
    pages_plain_answer(pages, call->request, 200, PAGES_PLAIN_MESSAGE, values, ARRAY_COUNT(values));
    api_plain_cookie(call);
}

/* A page that says one thing, with a way to sign in as somebody else where that may help. */
static void refusal_answer(struct api_plain_call *call, enum api_error error, const char *address)
{
    char words[API_PLAIN_WORDS_BYTES];
    struct session_token csrf;
    api_plain_error(call, error, address, words);
    api_plain_token(call, &csrf);
    const struct pages_value values[] = {
        {.name = "error", .text = words},
        {.name = "csrf", .text = csrf.text},
        {.name = "facts_hidden", .text = API_PLAIN_HIDDEN},
        {.name = "user", .text = address},
        {.name = "user_hidden", .text = address[0] != '\0' ? "" : API_PLAIN_HIDDEN},
    };
    pages_plain_answer(call->service->pages, call->request, 200, PAGES_PLAIN_MESSAGE, values,
                       ARRAY_COUNT(values));
    api_plain_cookie(call);
}

/* Who is there, and what may they open? */
void api_plain_stage(struct api_plain_call *call, const char *error)
{
    struct open_want want = {.user = NULL};
    struct open_look look;
    struct id id;
    if (online_look(call->service->online, call->handle, clock_monotonic_ns(), &id) != 0) {
        refusal_answer(call, API_GONE, "");
        return;
    }
    memcpy(want.id, id.bytes, sizeof(want.id));
    api_to_hex(want.id_hex, want.id, sizeof(want.id));
    api_open_look(call->service, call->request, &want, &look);
    const char *address = look.signed_in ? look.session.address : "";
    if (look.refused && look.error == API_CREDENTIALS)
        api_plain_signin(call, "open_lead", error);
    else if (look.refused)
        refusal_answer(call, look.error, address);
    else if (look.password_needed)
        api_plain_signin(call, look.signed_in ? "open_password_lead" : "open_lead", error);
    else
        message_answer(call, &look, error);
}

/* Any of these, and /write has something to offer. */
#define PLAIN_ANSWERS (RECORD_FLAG_REPLY | RECORD_FLAG_REPLY_ALL | RECORD_FLAG_FORWARD)

/* Puts what the mail shows into the page. */
static int shown_answer(struct api_plain_call *call, const struct open_want *want,
                        const struct store_envelope *envelope, const uint8_t *mail,
                        size_t mail_bytes)
{
    uint8_t *items = NULL;
    size_t items_bytes = 0;
    struct plain plain = {.files = NULL};
    struct session_token csrf;
    const struct pages *pages = call->service->pages;
    int rc = reader_read(call->service->reader, mail, mail_bytes, 0, &items, &items_bytes);
    if (rc == -EIO || rc == -ENOMEM || rc == -EAGAIN)
        return rc;
    if (rc == 0)
        rc =
            plain_read(&plain, items, items_bytes, pages_string(pages, call->locale, "plain_look"));
    if (items != NULL)
        secret_wipe(items, items_bytes);
    free(items);
    if (rc == -ENOMEM)
        return rc;
    const bool readable = rc == 0;
    const bool answers = readable && (envelope->flags & PLAIN_ANSWERS) != 0;
    char *link = answers ? plain_answer_link(&plain, want->id_hex) : NULL;
    api_plain_token(call, &csrf);
    const char *note = !readable ? "plain_unreadable" : plain.cut ? "plain_cut" : "plain_note";
    const struct pages_value values[] = {
        {.name = "csrf", .text = csrf.text},
        {.name = "from", .text = plain.from},
        {.name = "to", .text = plain.to},
        {.name = "cc", .text = plain.cc},
        {.name = "date", .text = plain.date},
        {.name = "subject",
         .text = plain.subject[0] != '\0' ? plain.subject
                                          : pages_string(pages, call->locale, "no_subject")},
        {.name = "from_hidden", .text = plain.from[0] != '\0' ? "" : API_PLAIN_HIDDEN},
        {.name = "to_hidden", .text = plain.to[0] != '\0' ? "" : API_PLAIN_HIDDEN},
        {.name = "cc_hidden", .text = plain.cc[0] != '\0' ? "" : API_PLAIN_HIDDEN},
        {.name = "date_hidden", .text = plain.date[0] != '\0' ? "" : API_PLAIN_HIDDEN},
        {.name = "files", .text = plain.files, .markup = true},
        {.name = "body", .text = plain.body, .markup = true},
        {.name = "note", .text = pages_string(pages, call->locale, note)},
        {.name = "link", .text = link},
        {.name = "link_hidden", .text = link != NULL ? "" : API_PLAIN_HIDDEN},
    };
    pages_plain_answer(pages, call->request, 200, PAGES_PLAIN_SHOWN, values, ARRAY_COUNT(values));
    if (link != NULL)
        secret_wipe(link, strlen(link));
    free(link);
    plain_fini(&plain);
    return 0;
}

/* RFC 6266: the name in UTF-8, and an ASCII one for who cannot read that. */
static void disposition_set(struct http_request *request, const char *kind, const char *name)
{
    char ascii[MAILVIEW_NAME_BYTES_MAX + 1];
    char encoded[3 * MAILVIEW_NAME_BYTES_MAX + 1];
    size_t used = 0;
    size_t i = 0;
    for (; name[i] != '\0' && i < MAILVIEW_NAME_BYTES_MAX; i++) {
        const uint8_t c = (uint8_t)name[i];
        const bool plain = c < 0x80 && (isalnum(c) || c == '.' || c == '-' || c == '_');
        ascii[i] = plain || c == ' ' ? (char)c : '_';
        if (plain)
            encoded[used++] = (char)c;
        else
            used += (size_t)snprintf(encoded + used, 4, "%%%02X", c);
    }
    ascii[i] = '\0';
    encoded[used] = '\0';
    http_answer_header(request, "Content-Disposition", "%s; filename=\"%s\"; filename*=UTF-8''%s",
                       kind, ascii, encoded);
}

/* Answers with a part's own bytes: as a file to be saved, or, where that was asked for and they are
 * of a kind that only shows something, to be looked at. The policy has a sandbox for both, in which
 * browsers' viewers of PDF work. */
static int part_answer(struct api_plain_call *call, const uint8_t *mail, size_t mail_bytes,
                       uint32_t part)
{
    struct mailview_item item;
    char name[MAILVIEW_NAME_BYTES_MAX + 1] = "";
    uint8_t *items = NULL;
    uint8_t *bytes_at = NULL;
    size_t items_bytes = 0;
    size_t bytes = 0;
    size_t offset = 0;
    int rc = reader_read(call->service->reader, mail, mail_bytes, part, &items, &items_bytes);
    if (rc != 0)
        return rc;
    while (mailview_next(&item, items, items_bytes, &offset)) {
        if (item.tag == MAILVIEW_NAME)
            plain_line(name, sizeof(name), item.bytes_at, item.bytes);
        if (item.tag == MAILVIEW_BYTES && bytes_at == NULL) {
            bytes = item.bytes;
            bytes_at = malloc(bytes + 1);
            if (bytes_at != NULL)
                memcpy(bytes_at, item.bytes_at, bytes);
        }
    }
    secret_wipe(items, items_bytes);
    free(items);
    if (bytes_at == NULL)
        return -ENOMEM;
    const char *type = call->look[0] == '\0' ? NULL : preview_type(bytes_at, bytes);
    http_answer(call->request, 200, type == NULL ? PLAIN_BINARY : type, bytes_at, bytes);
    disposition_set(call->request, type == NULL ? "attachment" : "inline",
                    name[0] != '\0' ? name : PLAIN_MAIL_NAME);
    return 0;
}

/* The whole message, as a file; takes the mail on success. */
static int mail_answer(const struct api_plain_call *call, uint8_t **mail, size_t mail_bytes)
{
    http_answer(call->request, 200, PLAIN_BINARY, *mail, mail_bytes);
    disposition_set(call->request, "attachment", PLAIN_MAIL_NAME);
    *mail = NULL;
    return 0;
}

/* What is asked of a message that waits. */
enum plain_what { PLAIN_SHOW, PLAIN_FILE };

/* Decrypts, records, answers. False: answered with a refusal, and *over says whether it can ever
 * be otherwise. */
static bool opened_answer(struct api_plain_call *call, const struct open_want *want,
                          const struct online_message *message,
                          const struct store_envelope *envelope, enum plain_what what, bool *over)
{
    uint8_t *mail = NULL;
    size_t mail_bytes = 0;
    const char *address = want->user == NULL ? "" : want->user;
    int rc = api_online_decrypt(call->service, message, envelope, &mail, &mail_bytes);
    *over = rc == -EKEYREJECTED || rc == -EBADMSG || rc == -EFBIG;
    if (rc != 0) {
        api_open_refuse(call->service, call->request, want, api_online_error(rc));
        refusal_answer(call, api_online_error(rc), address);
        return false;
    }
    if (!api_online_charge(call->service, call->request, mail_bytes))
        rc = -EAGAIN;
    else if (what == PLAIN_SHOW)
        rc = api_open_note(call->service, call->request, want, envelope, OPENING_ONLINE);
    else
        rc = api_open_still(call->service, want);
    if (rc == 0 && what == PLAIN_FILE)
        rc = api_audit(call->service, call->request, "release", "online_file", want->id_hex,
                       want->user, true);
    enum api_error error = rc == -EACCES ? API_LOCKED : API_AWAY;
    const uint32_t part =
        (uint32_t)strtoul(call->look[0] != '\0' ? call->look : call->part, NULL, 10);
    if (rc == 0 && what == PLAIN_SHOW)
        rc = shown_answer(call, want, envelope, mail, mail_bytes);
    else if (rc == 0 && part == 0)
        rc = mail_answer(call, &mail, mail_bytes);
    else if (rc == 0)
        rc = part_answer(call, mail, mail_bytes, part);
    if (mail != NULL)
        secret_wipe(mail, mail_bytes);
    free(mail);
    if (rc == -ENOENT)
        error = API_GONE;
    if (rc != 0)
        refusal_answer(call, error, address);
    return rc == 0;
}

/* The rules have answered a program; a person is told the same on a page. */
static void not_permitted_answer(struct api_plain_call *call, struct open_want *want)
{
    struct open_look look;
    if (call->request->status == MHD_HTTP_TOO_MANY_REQUESTS) {
        refusal_answer(call, API_TOO_MANY, "");
        return;
    }
    api_open_look(call->service, call->request, want, &look);
    if (look.refused && look.error != API_CREDENTIALS)
        refusal_answer(call, look.error, look.signed_in ? look.session.address : "");
    else
        api_plain_signin(call, look.signed_in ? "open_password_lead" : "open_lead", "");
}

/* Takes the message out, asks whether it may be opened, opens it, and puts it where it belongs. */
static void message_do(struct api_plain_call *call, enum plain_what what)
{
    struct open_want want = {.user = NULL};
    struct store_session session;
    struct store_envelope envelope;
    struct online_message message;
    uint8_t browser[SESSION_HASH_BYTES];
    bool over = false;
    struct service *service = call->service;
    session_hash(&call->cookie, browser);
    if (online_take(service->online, call->handle, what == PLAIN_FILE ? browser : NULL,
                    clock_monotonic_ns(), &message) != 0) {
        refusal_answer(call, API_GONE, "");
        return;
    }
    memcpy(want.id, message.unsealed.id.bytes, sizeof(want.id));
    api_to_hex(want.id_hex, want.id, sizeof(want.id));
    const int rc = what == PLAIN_FILE
                       ? api_open_permit_again(service, call->request, &want, &session, &envelope)
                       : api_open_permit(service, call->request, &want, &session, &envelope);
    if (rc != 0) {
        online_give(service->online, &message);
        not_permitted_answer(call, &want);
        return;
    }
    const bool opened = opened_answer(call, &want, &message, &envelope, what, &over);
    if (opened && what == PLAIN_SHOW)
        online_opened(service->online, &message, browser);
    else if (over)
        online_end(service->online, &message);
    else
        online_give(service->online, &message);
}

static void signout_do(struct api_plain_call *call)
{
    uint8_t hash[SESSION_HASH_BYTES];
    session_hash(&call->cookie, hash);
    const int rc = store_session_remove(call->service->store, hash);
    if ((rc != 0 && rc != -ENOENT) || session_make(&call->cookie) != 0) {
        refusal_answer(call, API_AWAY, "");
        return;
    }
    call->cookie_told = false;
    call->request->cookie = call->cookie.text;
    api_plain_stage(call, "");
    api_site_data_clear(call->request);
}

/* The form of one request; false: it is none. */
static bool call_read(struct api_plain_call *call)
{
    const struct http_request *request = call->request;
    const struct form_text texts[] = {
        {.name = "csrf", .text = call->csrf, .room = sizeof(call->csrf)},
        {.name = "act", .text = call->act, .room = sizeof(call->act)},
        {.name = "user", .text = call->user, .room = sizeof(call->user)},
        {.name = "password", .text = call->password, .room = sizeof(call->password)},
        {.name = "part", .text = call->part, .room = sizeof(call->part)},
        {.name = "look", .text = call->look, .room = sizeof(call->look)},
        {.name = "code", .text = call->code, .room = sizeof(call->code)},
        {.name = "ticket", .text = call->ticket, .room = sizeof(call->ticket)},
    };
    static const uint8_t nothing[1];
    const size_t chars = sizeof(PLAIN_FORM) - 1;
    return strncasecmp(request->content_type, PLAIN_FORM, chars) == 0 &&
           strchr("; ", request->content_type[chars]) != NULL &&
           form_read_texts(texts, ARRAY_COUNT(texts),
                           request->body == NULL ? nothing : request->body,
                           request->body_bytes) == 0;
}

/*
 * Any POST here shows what stands at the handle. One that does more names it in `act` or `part`,
 * and has the token of its browser's cookie.
 */
void api_plain_post(void *context, struct http_request *request)
{
    struct api_plain_call call = {.service = context,
                                  .request = request,
                                  .handle = request->path + sizeof(PLAIN_PREFIX) - 1,
                                  .locale = language_of_request(request)};
    if (!api_own_origin(request) || !call_read(&call)) {
        pages_notice_answer(call.service->pages, request, 403, PAGES_NOTICE_AWAY);
        return;
    }
    call.cookie_told = session_parse(&call.cookie, request->cookie);
    if (!call.cookie_told && session_make(&call.cookie) != 0) {
        pages_notice_answer(call.service->pages, request, 503, PAGES_NOTICE_AWAY);
        return;
    }
    const bool wants_file = call.part[0] != '\0' || call.look[0] != '\0';
    const bool acts = call.act[0] != '\0' || wants_file;
    const char *own_cookie = request->cookie;
    if (acts && !session_csrf_valid(call.service->csrf_secret, &call.cookie, call.csrf))
        api_plain_stage(&call, pages_string(call.service->pages, call.locale, "plain_again"));
    else if (wants_file)
        message_do(&call, PLAIN_FILE);
    else if (strcmp(call.act, "open") == 0)
        message_do(&call, PLAIN_SHOW);
    else if (strcmp(call.act, "signout") == 0)
        signout_do(&call);
    else if (!api_plain_account(&call))
        api_plain_stage(&call, "");
    request->cookie = own_cookie;
    secret_wipe(&call, sizeof(call));
}
