/* What a sender sees of his messages and changes of them; what changes bites at the next release.
 */
#include "base/clock.h"
#include "base/log.h"
#include "keyservice/server/api/api.h"
#include "keyservice/server/roles.h"
#include "keyservice/server/store/store_opening.h"
#include "keyservice/server/store/store_sent.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SENT_PREFIX     "/v1/sent/"
#define SENT_PAGE       50
#define SENT_TEXT_BYTES 256
#define SENT_DATE_MAX   UINT64_C(253402300799999) /* the year 9999 */
#define SENT_ID_CHARS   (2 * RECORD_ID_BYTES + 1)

_Static_assert(SENT_PAGE <= STORE_SENT_BURST, "a page is one burst");

/* What a list may be narrowed to. */
enum sent_filter {
    FILTER_ALL,
    FILTER_UNOPENED,
    FILTER_OPENED,
    FILTER_LOCKED,
    FILTER_EXPIRED,
    FILTER_OVERDUE,
};

static const char *const filter_names[] = {
    [FILTER_ALL] = "all",       [FILTER_UNOPENED] = "unopened", [FILTER_OPENED] = "opened",
    [FILTER_LOCKED] = "locked", [FILTER_EXPIRED] = "expired",   [FILTER_OVERDUE] = "overdue",
};

static bool filter_parse(enum sent_filter *filter, const char *name)
{
    for (size_t i = 0; i < ARRAY_COUNT(filter_names); i++)
        if (strcmp(name, filter_names[i]) == 0) {
            *filter = (enum sent_filter)i;
            return true;
        }
    return false;
}

static bool sent_is(const struct store_sent *sent, enum sent_filter filter, uint64_t now_ms)
{
    const struct store_envelope *envelope = &sent->envelope;
    switch (filter) {
    case FILTER_ALL: return true;
    case FILTER_UNOPENED: return sent->readers_count == 0;
    case FILTER_OPENED: return sent->readers_count > 0;
    case FILTER_LOCKED: return envelope->locked || sent->locked_count > 0;
    case FILTER_EXPIRED:
        return envelope->expires_unix_ms != 0 && envelope->expires_unix_ms <= now_ms;
    case FILTER_OVERDUE:
        return envelope->read_by_unix_ms != 0 && envelope->read_by_unix_ms <= now_ms &&
               sent->readers_count < sent->recipients_count;
    }
    return false;
}

/* The one word that says most. */
static const char *state_name(const struct store_sent *sent, uint64_t now_ms)
{
    if (sent->envelope.locked)
        return filter_names[FILTER_LOCKED];
    if (sent_is(sent, FILTER_EXPIRED, now_ms))
        return filter_names[FILTER_EXPIRED];
    if (sent_is(sent, FILTER_OVERDUE, now_ms))
        return filter_names[FILTER_OVERDUE];
    return filter_names[sent->readers_count > 0 ? FILTER_OPENED : FILTER_UNOPENED];
}

static json_t *sent_json(const struct store_sent *sent, uint64_t now_ms)
{
    char hex[SENT_ID_CHARS];
    const struct store_envelope *envelope = &sent->envelope;
    api_to_hex(hex, envelope->id, sizeof(envelope->id));
    return json_pack(
        "{s:s,s:s,s:s,s:I,s:I,s:I,s:I,s:I,s:I,s:s,s:b,s:b,s:s}", "m", hex, "to", sent->first_to,
        "subject", envelope->subject, "recipients", (json_int_t)sent->recipients_count, "opened",
        (json_int_t)sent->readers_count, "locked_for", (json_int_t)sent->locked_count, "sent",
        (json_int_t)envelope->sent_unix_ms, "expires", (json_int_t)envelope->expires_unix_ms,
        "read_by", (json_int_t)envelope->read_by_unix_ms, "state", state_name(sent, now_ms),
        "locked", envelope->locked ? 1 : 0, "receipt",
        (envelope->flags & RECORD_FLAG_RECEIPT) != 0 ? 1 : 0, "profile", envelope->profile);
}

/* False: nobody is signed in, or it cannot be known; answered. */
static bool sender_get(const struct service *service, struct http_request *request,
                       struct store_session *session)
{
    const int rc = api_session(service, request, session);
    if (rc != 0)
        api_refuse(request, rc == -ENOENT ? API_CREDENTIALS : API_AWAY, NULL);
    return rc == 0;
}

/* Takes from an allowance of the account; false: answered that it is used up. */
static bool sender_take(const struct service *service, struct http_request *request,
                        const struct store_session *session, enum guess_kind kind)
{
    const uint64_t wait_ns = guess_take(service->guess, kind, session->address,
                                        strlen(session->address), clock_monotonic_ns());
    if (wait_ns != 0)
        api_refuse_wait(request, wait_ns);
    return wait_ns == 0;
}

/* A page of the list, while it is put together. */
struct sent_page {
    const char *sender;
    const char *text;
    enum sent_filter filter;
    uint8_t after[RECORD_ID_BYTES];
    json_t *messages;
    char next[SENT_ID_CHARS]; /* "": there are no more */
};

/* Takes in what was found of some ids, the first `*used` of which the page then has seen. */
static int looks_take(struct sent_page *page, const struct store_sent_look *looks, uint32_t count,
                      uint64_t now_ms, uint32_t *used)
{
    for (*used = 0; *used < count && json_array_size(page->messages) < SENT_PAGE; (*used)++) {
        const struct store_sent_look *look = &looks[*used];
        if (look->rc == -ENOENT || look->rc == -ENODATA || look->rc == -EBADMSG)
            continue; /* a damaged row hides no other */
        if (look->rc != 0)
            return look->rc;
        if (sent_is(&look->sent, page->filter, now_ms) &&
            json_array_append_new(page->messages, sent_json(&look->sent, now_ms)) != 0)
            return -ENOMEM;
    }
    return 0;
}

/* Looks at STORE_SENT_LIST_MAX messages at most: who filters may be given an empty page with more
 * to come. */
static int page_fill(const struct service *service, struct sent_page *page)
{
    const bool all = page->filter == FILTER_ALL && (page->text == NULL || page->text[0] == '\0');
    const uint32_t room = all ? SENT_PAGE + 1 : STORE_SENT_LIST_MAX; /* one more: is there one? */
    uint8_t(*ids)[RECORD_ID_BYTES] = malloc(STORE_SENT_LIST_MAX * sizeof(*ids));
    struct store_sent_look *looks = malloc(SENT_PAGE * sizeof(*looks));
    const uint64_t now_ms = api_now_ms();
    uint32_t ids_count = room;
    uint32_t seen = 0;
    int rc = ids == NULL || looks == NULL ? -ENOMEM : 0;
    if (rc == 0)
        rc = store_sent_ids(service->store, page->sender, page->after, ids, &ids_count);
    while (rc == 0 && seen < ids_count && json_array_size(page->messages) < SENT_PAGE) {
        const uint32_t count = MIN(ids_count - seen, (uint32_t)SENT_PAGE);
        uint32_t used = 0;
        for (uint32_t i = 0; i < count; i++)
            memcpy(looks[i].id, ids[seen + i], RECORD_ID_BYTES);
        store_sent_burst(service->store, looks, count, page->sender, page->text,
                         STORE_SENT_PATIENCE_NS);
        rc = looks_take(page, looks, count, now_ms, &used);
        seen += used;
    }
    if (rc == 0 && seen > 0 && (seen < ids_count || ids_count == room))
        api_to_hex(page->next, ids[seen - 1], RECORD_ID_BYTES);
    free(looks);
    free(ids);
    return rc;
}

void api_sent_list(void *context, struct http_request *request)
{
    const struct service *service = context;
    struct store_session session;
    const char *after = http_query(request, "after");
    const char *text = http_query(request, "text");
    const char *state = http_query(request, "state");
    struct sent_page page = {.text = text};
    memset(page.after, 0xff, sizeof(page.after));
    if (!sender_get(service, request, &session))
        return;
    if ((after != NULL && after[0] != '\0' &&
         api_hex(page.after, sizeof(page.after), after) != 0) ||
        (text != NULL && strlen(text) > SENT_TEXT_BYTES) ||
        (state != NULL && state[0] != '\0' && !filter_parse(&page.filter, state))) {
        api_refuse(request, API_BAD_REQUEST, NULL);
        return;
    }
    if ((text != NULL && text[0] != '\0') || page.filter != FILTER_ALL) {
        if (!sender_take(service, request, &session, GUESS_SEARCH))
            return;
    }
    page.sender = session.address;
    page.messages = json_array();
    const int rc = page_fill(service, &page);
    if (rc != 0) {
        json_decref(page.messages);
        api_refuse(request, API_AWAY, NULL);
        return;
    }
    api_answer(request, 200, json_pack("{s:o,s:s}", "messages", page.messages, "after", page.next));
}

/* --- one message --- */

struct recipients_json {
    json_t *list;
    json_t *openings; /* by address */
};

static void opening_keep(void *context, const struct store_opening *opening)
{
    struct recipients_json *made = context;
    const bool released = (opening->how & OPENING_RELEASED) != 0;
    const bool online = (opening->how & OPENING_ONLINE) != 0;
    (void)json_object_set_new(
        made->openings, opening->address,
        json_pack("{s:s,s:b,s:I,s:I,s:I,s:b,s:b}", "address", opening->address, "locked",
                  opening->locked ? 1 : 0, "first", (json_int_t)opening->first_unix_ms, "last",
                  (json_int_t)opening->last_unix_ms, "times", (json_int_t)opening->times,
                  "released", released ? 1 : 0, "online", online ? 1 : 0));
}

static void recipient_keep(void *context, const char *address)
{
    struct recipients_json *made = context;
    json_t *opening = json_object_get(made->openings, address);
    if (opening == NULL)
        (void)json_array_append_new(
            made->list, json_pack("{s:s,s:b,s:I,s:I,s:I,s:b,s:b}", "address", address, "locked", 0,
                                  "first", (json_int_t)0, "last", (json_int_t)0, "times",
                                  (json_int_t)0, "released", 0, "online", 0));
    else
        (void)json_array_append(made->list, opening);
    (void)json_object_del(made->openings, address);
}

/* Recipients as the record has them, then who else opened it: anybody may, at level none. */
static int recipients_json_make(const struct service *service, const uint8_t *id, json_t **list)
{
    const char *address;
    json_t *opening;
    struct recipients_json made = {.list = json_array(), .openings = json_object()};
    int rc = made.list == NULL || made.openings == NULL ? -ENOMEM : 0;
    if (rc == 0)
        rc = store_opening_list(service->store, id, opening_keep, &made);
    if (rc == 0)
        rc = store_envelope_recipients(service->store, id, recipient_keep, &made);
    if (rc == 0) {
        json_object_foreach(made.openings, address, opening)(void)
            json_array_append(made.list, opening);
        *list = made.list;
    } else {
        json_decref(made.list);
    }
    json_decref(made.openings);
    return rc;
}

static void message_answer(const struct service *service, struct http_request *request,
                           const struct store_sent *sent)
{
    json_t *recipients = NULL;
    json_t *root = NULL;
    if (recipients_json_make(service, sent->envelope.id, &recipients) == 0)
        root = sent_json(sent, api_now_ms());
    if (root == NULL || json_object_set_new(root, "openings", recipients) != 0) {
        json_decref(root);
        api_refuse(request, API_AWAY, NULL);
        return;
    }
    api_answer(request, 200, root);
}

/* The message, and whether it is the asker's own; false: answered. Who may lock anybody's may look
 * at it too. */
static bool message_get(const struct service *service, struct http_request *request,
                        struct store_session *session, struct store_sent *sent, bool *own)
{
    uint8_t id[RECORD_ID_BYTES];
    if (!sender_get(service, request, session))
        return false;
    int rc = api_hex(id, sizeof(id), request->path + sizeof(SENT_PREFIX) - 1);
    if (rc != 0) {
        api_refuse(request, API_UNKNOWN, NULL);
        return false;
    }
    rc = store_sent_get(service->store, id, session->address, NULL, sent);
    *own = rc == 0;
    if (rc == -ENOENT) {
        rc = store_sent_get(service->store, id, NULL, NULL, sent);
        const int may =
            roles_may(service, session, RIGHT_LOCKS, rc == 0 ? sent->envelope.profile : NULL);
        if (rc == 0 || may == -EPERM) /* which tells nothing of the id */
            rc = may == -EACCES ? -ENOENT : may;
    }
    if (rc != 0)
        api_refuse(request,
                   rc == -ENOENT  ? API_UNKNOWN
                   : rc == -EPERM ? API_WITHHELD
                                  : API_AWAY,
                   NULL);
    return rc == 0;
}

void api_sent_get(void *context, struct http_request *request)
{
    const struct service *service = context;
    struct store_session session;
    struct store_sent sent;
    bool own = false;
    if (message_get(service, request, &session, &sent, &own))
        message_answer(service, request, &sent);
}

/* --- changes --- */

enum sent_change_kind {
    CHANGE_LOCK, /* or unlock; for `recipient` alone unless that is "" */
    CHANGE_EXPIRES,
    CHANGE_READ_BY,
};

struct sent_change {
    enum sent_change_kind kind;
    bool locked;
    uint64_t at_unix_ms;
    char recipient[STORE_ADDRESS_BYTES];
};

/* One of "locked" (with a "recipient" or without), "expires" and "read_by". */
static int change_read(const struct http_request *request, struct sent_change *change)
{
    static const char *const names[] = {"locked", "recipient", "expires", "read_by"};
    char typed[STORE_ADDRESS_BYTES];
    json_t *root = NULL;
    *change = (struct sent_change){.kind = CHANGE_LOCK};
    if (api_json_body(request, &root) != 0)
        return -EBADMSG;
    const json_t *locked = json_object_get(root, "locked");
    const bool with_recipient = json_object_get(root, "recipient") != NULL;
    bool fine = api_json_known(root, names, ARRAY_COUNT(names)) &&
                json_object_size(root) == (with_recipient ? 2 : 1) &&
                api_json_string(root, "recipient", true, typed, sizeof(typed));
    if (fine && locked != NULL) {
        fine = json_is_boolean(locked);
        change->locked = json_is_true(locked);
        if (fine && with_recipient)
            fine = account_normalise(change->recipient, typed, strlen(typed)) == 0;
    } else if (fine) {
        change->kind = json_object_get(root, "expires") != NULL ? CHANGE_EXPIRES : CHANGE_READ_BY;
        fine = !with_recipient &&
               api_json_u64(root, change->kind == CHANGE_EXPIRES ? "expires" : "read_by", false,
                            SENT_DATE_MAX, &change->at_unix_ms);
    }
    json_decref(root);
    return fine ? 0 : -EBADMSG;
}

/* False: answered. Who may open what anybody may need not say who he is, so that a lock for one
 * would hold nobody. A date that has passed would be told of at once, and each change is a line of
 * the audit log. */
static bool change_take(const struct service *service, struct http_request *request,
                        const struct store_session *session, const struct store_envelope *envelope,
                        const struct sent_change *change)
{
    if (change->locked && change->recipient[0] != '\0' && envelope->level == RECORD_LEVEL_NONE) {
        api_refuse(request, API_BAD_REQUEST, "Anybody may open this message: lock it for all.");
        return false;
    }
    if (change->kind == CHANGE_READ_BY && change->at_unix_ms != 0 &&
        change->at_unix_ms <= api_now_ms()) {
        api_refuse(request, API_BAD_REQUEST, "This date has passed: choose one to come.");
        return false;
    }
    return sender_take(service, request, session, GUESS_CHANGE);
}

static const char *change_event(const struct sent_change *change)
{
    switch (change->kind) {
    case CHANGE_LOCK: return change->locked ? "lock" : "unlock";
    case CHANGE_EXPIRES: return "change_expiry";
    case CHANGE_READ_BY: return "change_read_by";
    }
    return "";
}

static int change_apply(const struct service *service, const uint8_t *id,
                        const struct sent_change *change)
{
    switch (change->kind) {
    case CHANGE_LOCK:
        return change->recipient[0] == '\0'
                   ? store_envelope_lock(service->store, id, change->locked)
                   : store_opening_lock(service->store, id, change->recipient, change->locked);
    case CHANGE_EXPIRES: return store_change_expires(service->store, id, change->at_unix_ms);
    case CHANGE_READ_BY: return store_change_read_by(service->store, id, change->at_unix_ms);
    }
    return -EINVAL;
}

/* For whom it is locked, or to which time the date is moved. */
static void change_print(char text[STORE_ADDRESS_BYTES], const struct sent_change *change)
{
    struct tm utc;
    const time_t at_s = (time_t)(change->at_unix_ms / 1000);
    (void)snprintf(text, STORE_ADDRESS_BYTES, "%s",
                   change->kind == CHANGE_LOCK ? change->recipient : "none");
    if (change->at_unix_ms != 0 && gmtime_r(&at_s, &utc) != NULL)
        (void)strftime(text, STORE_ADDRESS_BYTES, "%Y-%m-%dT%H:%M:%SZ", &utc);
}

/* The line of what is about to be done is durable before it is done. */
static int change_do(const struct service *service, const struct http_request *request,
                     const struct store_session *session, const uint8_t *id,
                     const struct sent_change *change)
{
    char hex[SENT_ID_CHARS];
    char detail[STORE_ADDRESS_BYTES];
    api_to_hex(hex, id, RECORD_ID_BYTES);
    change_print(detail, change);
    const struct audit_event line = {.event = change_event(change),
                                     .id = hex,
                                     .user = session->address,
                                     .from = request->client,
                                     .detail = detail};
    int rc = change->recipient[0] == '\0'
                 ? 0
                 : store_envelope_recipient(service->store, id, change->recipient);
    if (rc == 0)
        rc = audit_append(service->audit, &line, true, clock_unix_ns());
    if (rc != 0)
        return rc;
    rc = change_apply(service, id, change);
    if (rc != 0)
        api_audit_note(service, request, change_event(change),
                       api_error_code(rc == -ENOENT ? API_UNKNOWN : API_AWAY), hex,
                       session->address);
    return rc;
}

void api_sent_change(void *context, struct http_request *request)
{
    const struct service *service = context;
    struct session_token cookie;
    struct store_session session;
    struct store_sent sent;
    struct sent_change change;
    bool own = false;
    if (!api_own_page(service, request, &cookie) ||
        !message_get(service, request, &session, &sent, &own))
        return;
    if (change_read(request, &change) != 0) {
        api_refuse(request, API_BAD_REQUEST, NULL);
        return;
    }
    if (!own && change.kind != CHANGE_LOCK) {
        api_refuse(request, API_RIGHTS, NULL);
        return;
    }
    if (!change_take(service, request, &session, &sent.envelope, &change))
        return;
    int rc = change_do(service, request, &session, sent.envelope.id, &change);
    if (rc == 0)
        rc = store_sent_get(service->store, sent.envelope.id, own ? session.address : NULL, NULL,
                            &sent);
    if (rc == 0)
        message_answer(service, request, &sent);
    else
        api_refuse(request, rc == -ENOENT ? API_UNKNOWN : API_AWAY, NULL);
}
