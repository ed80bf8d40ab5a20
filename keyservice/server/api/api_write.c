/* Writing: a message that a browser sealed gets its key stored, its envelope built, and is sent. */
#include "base/assert.h"
#include "base/bytes.h"
#include "base/log.h"
#include "crypto/secret.h"
#include "envelope/chunk_fields.h"
#include "keyservice/server/api/api.h"
#include "keyservice/server/language.h"
#include "keyservice/server/store/store_opening.h"
#include "keyservice/server/store/store_profile.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define WRITE_TYPE           "application/vnd.bulla.letter"
#define WRITE_PREFIX         "/v1/write/"
#define WRITE_HEAD_BYTES_MAX (64 * 1024)
#define WRITE_EARLY_MS       (5 * 60 * 1000)
#define WRITE_LATE_MS        (60 * 60 * 1000) /* shorter than the outbox knows an id */
#define WRITE_PROFILE        "write"
#define WRITE_SHARE_WAIT_NS  (600 * NS_PER_S)
#define WRITE_MIB            (UINT64_C(1) << 20)
#define WRITE_SLACK_BYTES    (UINT64_C(1) << 20) /* what packing and header add to the limit */

_Static_assert(WRITE_LATE_MS < OUTBOX_KEPT_MS, "a mail is never sent twice for being posted twice");
_Static_assert(LETTER_ADDRESSES_MAX + 1 <= OUTBOX_TO_MAX, "with the writer's copy");

enum write_kind {
    WRITE_COMPOSE,
    WRITE_REPLY,
    WRITE_REPLY_ALL,
    WRITE_FORWARD,
    WRITE_CONTACT,
};
static const char *const kind_names[] = {
    [WRITE_COMPOSE] = "compose", [WRITE_REPLY] = "reply",     [WRITE_REPLY_ALL] = "reply_all",
    [WRITE_FORWARD] = "forward", [WRITE_CONTACT] = "contact",
};

/* One request; texts are borrowed from `head`. */
struct write {
    json_t *head;
    enum write_kind kind;
    struct id id;
    char id_hex[2 * RECORD_ID_BYTES + 1];
    uint64_t sent_unix_ms; /* what the id says */
    uint64_t mail_bytes;
    const char *profile; /* of /contact/NAME; "": none */
    const char *subject;
    const char *name;
    const char *in_reply_to;
    const char *references;
    bool copy;
    const uint8_t *key; /* in the body, as the rest */
    const uint8_t *sealed;
    size_t sealed_bytes;
    struct store_session session;
    struct store_envelope of; /* what is answered or forwarded */
    uint32_t to_count;
    uint32_t all_count;                         /* To, Cc and the writer's copy */
    const char *list[LETTER_ADDRESSES_MAX + 1]; /* of `addresses` */
    char addresses[LETTER_ADDRESSES_MAX + 1][STORE_ADDRESS_BYTES];
    uint8_t batch[RECORD_BATCH_HEAD_BYTES + RECORD_BYTES_MAX];
    uint8_t recipients[RECORD_BYTES_MAX];
};

static bool text_take(const json_t *head, const char *name, const char **text)
{
    const json_t *value = json_object_get(head, name);
    *text = value == NULL ? "" : json_string_value(value);
    return *text != NULL && record_text_sound((const uint8_t *)*text, strlen(*text));
}

/* Appends what stands there to the addresses, normalised; each at most once. */
static bool addresses_take(struct write *write, const char *name)
{
    const json_t *list = json_object_get(write->head, name);
    const size_t count = json_array_size(list);
    if (list != NULL && !json_is_array(list))
        return false;
    for (size_t i = 0; i < count; i++) {
        const char *typed = json_string_value(json_array_get(list, i));
        if (typed == NULL || write->all_count == LETTER_ADDRESSES_MAX)
            return false;
        char *address = write->addresses[write->all_count];
        if (account_normalise(address, typed, strlen(typed)) != 0 || !relay_address_plain(address))
            return false;
        bool known = false;
        for (uint32_t n = 0; n < write->all_count; n++)
            known = known || strcmp(write->addresses[n], address) == 0;
        if (!known) {
            write->list[write->all_count] = address;
            write->all_count++;
        }
    }
    return true;
}

static bool kind_take(struct write *write)
{
    const char *name = NULL;
    if (!text_take(write->head, "kind", &name))
        return false;
    for (uint32_t i = 0; i < ARRAY_COUNT(kind_names); i++) {
        if (strcmp(kind_names[i], name) == 0) {
            write->kind = (enum write_kind)i;
            return true;
        }
    }
    return false;
}

/* The id is the browser's, since the seal hangs on it: its time must be about now. */
static bool id_take(struct write *write)
{
    const char *text = NULL;
    uint64_t now_ms = api_now_ms();
    if (!text_take(write->head, "m", &text) || strlen(text) != 2 * RECORD_ID_BYTES ||
        api_hex(write->id.bytes, RECORD_ID_BYTES, text) != 0)
        return false;
    memcpy(write->id_hex, text, sizeof(write->id_hex));
    write->sent_unix_ms = bytes_load_be64(write->id.bytes) >> 16;
    return write->id.bytes[6] >> 4 == 7 && write->id.bytes[8] >> 6 == 2 &&
           write->sent_unix_ms <= now_ms + WRITE_EARLY_MS &&
           write->sent_unix_ms + WRITE_LATE_MS >= now_ms;
}

static bool head_take(struct write *write)
{
    static const char *const known[] = {"m",          "kind",    "of",    "to",
                                        "cc",         "subject", "name",  "in_reply_to",
                                        "references", "copy",    "bytes", "profile"};
    size_t members = 0;
    const char *of = NULL;
    for (size_t i = 0; i < ARRAY_COUNT(known); i++)
        members += json_object_get(write->head, known[i]) != NULL;
    const json_t *bytes = json_object_get(write->head, "bytes");
    write->copy = json_is_true(json_object_get(write->head, "copy"));
    write->mail_bytes = (uint64_t)json_integer_value(bytes);
    if (members != json_object_size(write->head) || !json_is_integer(bytes) ||
        json_integer_value(bytes) < 0 || !kind_take(write) || !id_take(write) ||
        !text_take(write->head, "subject", &write->subject) ||
        !text_take(write->head, "name", &write->name) ||
        !text_take(write->head, "in_reply_to", &write->in_reply_to) ||
        !text_take(write->head, "references", &write->references) ||
        !text_take(write->head, "profile", &write->profile) || !text_take(write->head, "of", &of) ||
        !addresses_take(write, "to"))
        return false;
    if (write->profile[0] != '\0' &&
        (write->kind != WRITE_CONTACT || !roles_profile_valid(write->profile)))
        return false;
    write->to_count = write->all_count;
    const bool about = write->kind == WRITE_REPLY || write->kind == WRITE_REPLY_ALL ||
                       write->kind == WRITE_FORWARD;
    return addresses_take(write, "cc") && write->to_count > 0 &&
           strlen(write->subject) <= RECORD_SUBJECT_BYTES_MAX && letter_name_plain(write->name) &&
           (about ? api_hex(write->of.id, RECORD_ID_BYTES, of) == 0 : of[0] == '\0');
}

/* docs/api/keyservice.md: length, JSON, key, salt and commitment, chunks. */
static bool body_take(struct write *write, const struct http_request *request)
{
    const uint8_t *body = request->body;
    const size_t bytes = request->body_bytes;
    if (body == NULL || bytes < 4)
        return false;
    const size_t head_bytes = bytes_load_le32(body);
    const size_t fixed_bytes = RECORD_KEY_BYTES_MAX + COBBLE_HEADER_BYTES;
    if (head_bytes > WRITE_HEAD_BYTES_MAX || bytes - 4 < head_bytes + fixed_bytes)
        return false;
    write->key = body + 4 + head_bytes;
    write->sealed = write->key + RECORD_KEY_BYTES_MAX;
    write->sealed_bytes = bytes - 4 - head_bytes - RECORD_KEY_BYTES_MAX;
    write->head = json_loadb((const char *)body + 4, head_bytes, JSON_REJECT_DUPLICATES, NULL);
    return json_is_object(write->head) &&
           chunk_fields_whole(write->sealed_bytes - COBBLE_HEADER_BYTES) && head_take(write);
}

bool api_write_to_anyone(const struct service *service, const char *address)
{
    const char *domain = strrchr(address, '@');
    for (uint32_t i = 0; domain != NULL && i < CONFIG_DOMAINS_MAX; i++)
        if (service->config->write_domains[i][0] != '\0' &&
            strcmp(service->config->write_domains[i], domain + 1) == 0)
            return true;
    return false;
}

/* The message that is answered: whoever asks is among its recipients, and it is open to them. */
static int of_get(const struct service *service, const char *user, struct store_envelope *of,
                  enum api_error *error)
{
    uint8_t id[RECORD_ID_BYTES];
    memcpy(id, of->id, sizeof(id));
    int rc = store_envelope_get(service->store, id, of);
    *error = rc == -ENOENT ? API_UNKNOWN : API_AWAY;
    if (rc == 0) {
        rc = store_envelope_recipient(service->store, id, user);
        *error = rc == -ENOENT ? API_NOT_RECIPIENT : API_AWAY;
    }
    if (rc == 0) {
        rc = store_opening_check(service->store, id, user);
        *error = rc == -EACCES ? API_LOCKED : API_AWAY;
    }
    if (rc != 0)
        return rc;
    if (of->locked) {
        *error = API_LOCKED;
        return -EPERM;
    }
    if (of->expires_unix_ms != 0 && of->expires_unix_ms <= api_now_ms()) {
        *error = API_EXPIRED;
        return -ETIME;
    }
    return 0;
}

/* Everyone that a reply to all names had the message, or sent it. */
static int among_all(const struct service *service, const struct write *write)
{
    char sender[ACCOUNT_ADDRESS_BYTES];
    (void)account_normalise_bytes(sender, (const uint8_t *)write->of.sender,
                                  strlen(write->of.sender));
    for (uint32_t i = 0; i < write->all_count; i++) {
        if (strcmp(write->addresses[i], sender) == 0)
            continue;
        const int rc = store_envelope_recipient(service->store, write->of.id, write->addresses[i]);
        if (rc != 0)
            return rc == -ENOENT ? -EPERM : rc;
    }
    return 0;
}

static bool only_to(const struct write *write, const char *address)
{
    char normal[ACCOUNT_ADDRESS_BYTES];
    (void)account_normalise_bytes(normal, (const uint8_t *)address, strlen(address));
    return address[0] != '\0' && write->all_count == 1 && strcmp(write->addresses[0], normal) == 0;
}

/* The mailbox of /contact, or of /contact/NAME; "": there is none. */
static int contact_get(const struct service *service, const char *profile,
                       char contact[STORE_ADDRESS_BYTES])
{
    struct store_profile found = {.contact = ""};
    int rc = 0;
    if (profile[0] == '\0')
        (void)snprintf(found.contact, sizeof(found.contact), "%s",
                       service->config->contact_mailbox);
    else
        rc = store_profile_get(service->store, profile, &found);
    if (rc == -ENOENT) {
        found.contact[0] = '\0';
        rc = 0;
    }
    memcpy(contact, found.contact, sizeof(found.contact));
    return rc;
}

/* May this account write to these people? The flags are the sender's wish, and hold here. */
static int write_permit(const struct service *service, struct write *write, enum api_error *error)
{
    const uint16_t flags = write->of.flags;
    char contact[STORE_ADDRESS_BYTES];
    int rc = 0;
    *error = API_FORBIDDEN;
    switch (write->kind) {
    case WRITE_COMPOSE: return api_write_to_anyone(service, write->session.address) ? 0 : -EPERM;
    case WRITE_CONTACT:
        rc = contact_get(service, write->profile, contact);
        if (rc != 0)
            *error = API_AWAY;
        return rc == 0 && !only_to(write, contact) ? -EPERM : rc;
    case WRITE_REPLY:
        return (flags & RECORD_FLAG_REPLY) != 0 && only_to(write, write->of.sender) ? 0 : -EPERM;
    case WRITE_FORWARD: return (flags & RECORD_FLAG_FORWARD) != 0 ? 0 : -EPERM;
    case WRITE_REPLY_ALL:
        rc = (flags & RECORD_FLAG_REPLY_ALL) != 0 ? among_all(service, write) : -EPERM;
        if (rc != 0 && rc != -EPERM)
            *error = API_AWAY;
        return rc;
    }
    return -EPERM;
}

static bool about_another(const struct write *write)
{
    return write->kind != WRITE_COMPOSE && write->kind != WRITE_CONTACT;
}

struct write_taking {
    enum guess_kind kind;
    const char *key;
    uint32_t count;
};

static void taking_give(const struct service *service, const struct write_taking *taking,
                        uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        guess_give(service->guess, taking->kind, taking->key, strlen(taking->key),
                   clock_monotonic_ns());
}

/* All of it or nothing. */
static uint64_t taking_take(const struct service *service, const struct write_taking *taking)
{
    for (uint32_t i = 0; i < taking->count; i++) {
        const uint64_t wait_ns = guess_take(service->guess, taking->kind, taking->key,
                                            strlen(taking->key), clock_monotonic_ns());
        if (wait_ns != 0) {
            taking_give(service, taking, i);
            return wait_ns;
        }
    }
    return 0;
}

/* Whom an account that writes to nobody of its own accord forwards to: people of write_domains are
 * no strangers. */
static uint32_t strangers_count(const struct service *service, const struct write *write)
{
    uint32_t count = 0;
    if (write->kind != WRITE_FORWARD || api_write_to_anyone(service, write->session.address))
        return 0;
    for (uint32_t i = 0; i < write->all_count; i++)
        if (!api_write_to_anyone(service, write->addresses[i]) &&
            strcmp(write->addresses[i], write->session.address) != 0)
            count++;
    return count;
}

/* Takes from the allowances, from all of them or none; false: answered. */
static bool write_allow(const struct service *service, struct http_request *request,
                        const struct write *write)
{
    const char *user = write->session.address;
    const struct write_taking takings[] = {
        {.kind = GUESS_WRITE, .key = user, .count = 1},
        {.kind = GUESS_WRITE_TO, .key = user, .count = write->all_count},
        {.kind = GUESS_FORWARD_TO, .key = user, .count = strangers_count(service, write)},
        /* The mailbox: it is the first of the addresses, before the writer's copy. */
        {.kind = GUESS_CONTACT,
         .key = write->addresses[0],
         .count = write->kind == WRITE_CONTACT ? 1 : 0},
    };
    uint64_t wait_ns = 0;
    uint32_t taken = 0;
    while (taken < ARRAY_COUNT(takings)) {
        wait_ns = taking_take(service, &takings[taken]);
        if (wait_ns != 0)
            break;
        taken++;
    }
    if (wait_ns == 0)
        return true;
    while (taken > 0) {
        taken--;
        taking_give(service, &takings[taken], takings[taken].count);
    }
    api_refuse_wait(request, wait_ns);
    return false;
}

/*
 * The outbox or the memory had no room: its recipients were not written to. The message itself
 * stays counted, since its key is stored and its line written.
 */
static void write_unsent(const struct service *service, const struct write *write)
{
    const struct write_taking to = {
        .kind = GUESS_WRITE_TO, .key = write->session.address, .count = write->all_count};
    const struct write_taking strangers = {.kind = GUESS_FORWARD_TO,
                                           .key = write->session.address,
                                           .count = strangers_count(service, write)};
    taking_give(service, &to, to.count);
    taking_give(service, &strangers, strangers.count);
}

static void record_fill(struct record *record, struct write *write)
{
    const bool about = about_another(write);
    const char *own = write->profile[0] != '\0' ? write->profile : WRITE_PROFILE;
    const char *profile = about ? write->of.profile : own;
    const uint16_t kept = RECORD_FLAG_REPLY_ALL | RECORD_FLAG_FORWARD;
    *record = (struct record){
        .suite = COBBLE_AES_256,
        .level =
            about && write->of.level != RECORD_LEVEL_HIGH ? RECORD_LEVEL_MEDIUM : RECORD_LEVEL_HIGH,
        .flags = (uint16_t)(RECORD_FLAG_REPLY |
                            (about ? write->of.flags & kept : RECORD_FLAG_REPLY_ALL)),
        .sent_unix_ms = write->sent_unix_ms,
        .mail_bytes = write->mail_bytes,
        .profile = (const uint8_t *)profile,
        .sender = (const uint8_t *)write->session.address,
        .subject = (const uint8_t *)write->subject,
        .profile_bytes = (uint16_t)strlen(profile),
        .sender_bytes = (uint16_t)strlen(write->session.address),
        .subject_bytes = (uint16_t)strlen(write->subject),
        .recipients_count = (uint16_t)write->all_count,
        .recipients = write->recipients,
    };
    memcpy(record->id, write->id.bytes, RECORD_ID_BYTES);
    memcpy(record->key, write->key, RECORD_KEY_BYTES_MAX);
    for (uint32_t i = 0; i < write->all_count; i++) {
        const size_t bytes = strlen(write->addresses[i]);
        bytes_store_le16(write->recipients + record->recipients_bytes, (uint16_t)bytes);
        memcpy(write->recipients + record->recipients_bytes + 2, write->addresses[i], bytes);
        record->recipients_bytes += 2 + (uint32_t)bytes;
    }
}

/* The key, on stable storage before anything of the envelope is; as an engine registers one. */
static int key_register(const struct service *service, struct write *write)
{
    struct record record;
    struct store_put put = {.record = &record, .wire = write->batch + RECORD_BATCH_HEAD_BYTES};
    record_fill(&record, write);
    const size_t bytes =
        record_write(write->batch + RECORD_BATCH_HEAD_BYTES, RECORD_BYTES_MAX, &record);
    size_t offset = RECORD_BATCH_HEAD_BYTES;
    record_batch_head(write->batch, 1, (uint32_t)(RECORD_BATCH_HEAD_BYTES + bytes));
    /* Read back as any batch is: what an engine could not register, nobody can. */
    int rc = bytes == 0
                 ? -EBADMSG
                 : record_read(&record, write->batch, RECORD_BATCH_HEAD_BYTES + bytes, &offset);
    if (rc == 0) {
        put.wire_bytes = (uint32_t)bytes;
        rc = store_register_batch(service->store, &put, 1);
    }
    if (rc == 0 && put.result == STORE_PUT_CONFLICT)
        rc = -EEXIST;
    secret_wipe(&record, sizeof(record));
    secret_wipe(write->batch, sizeof(write->batch));
    return rc;
}

/* A key that does not open the chunks would make a message that nobody can read. */
static bool key_fits(const struct service *service, const struct write *write)
{
    /* Borrowed: nothing is written through it. */
    const struct unsealed unsealed = {.id = write->id,
                                      .suite = COBBLE_AES_256,
                                      .sealed = (uint8_t *)(uintptr_t)write->sealed,
                                      .sealed_bytes = write->sealed_bytes};
    struct crypto_core *core = online_core_take(service->online);
    const bool fits = unsealed_key_fits(&unsealed, core, write->key);
    online_core_give(service->online);
    return fits;
}

static int letter_send(struct service *service, struct http_request *request,
                       const struct write *write)
{
    uint8_t *mail = NULL;
    size_t mail_bytes = 0;
    const bool own = api_write_to_anyone(service, write->session.address);
    const uint32_t cc_count =
        write->all_count - write->to_count - (write->copy ? 1U : 0U); /* the copy is the last */
    const struct letter letter = {.id = &write->id,
                                  .locale = language_of_request(request),
                                  .name = write->name,
                                  .address = write->session.address,
                                  .service = own ? NULL : mail_from(service->mail),
                                  .to = write->list,
                                  .cc = write->list + write->to_count,
                                  .to_count = write->to_count,
                                  .cc_count = cc_count,
                                  .subject = write->subject,
                                  .in_reply_to = write->in_reply_to,
                                  .references = write->references,
                                  .sealed = write->sealed,
                                  .sealed_bytes = write->sealed_bytes,
                                  .now_unix_ns = clock_unix_ns()};
    int rc = letter_write(service->letters, &letter, &mail, &mail_bytes);
    if (rc == 0 && !api_online_charge(service, request, mail_bytes)) {
        free(mail);
        rc = -EAGAIN;
    }
    if (rc != 0)
        return rc;
    const struct outbox_mail put = {.id = write->id.bytes,
                                    .account = write->session.address,
                                    .from_envelope =
                                        own ? write->session.address : mail_from(service->mail),
                                    .to = write->list,
                                    .to_count = write->all_count,
                                    .mail = mail,
                                    .mail_bytes = mail_bytes,
                                    .kind = OUTBOX_MESSAGE};
    rc = outbox_put(service->store, &put, api_now_ms());
    free(mail);
    if (rc == 0)
        outbox_wake(service->outbox);
    return rc == -EEXIST ? 0 : rc; /* the very same was posted before, and its answer lost */
}

static void write_commit(struct service *service, struct http_request *request, struct write *write)
{
    if (!key_fits(service, write)) {
        api_refuse(request, API_WRONG_KEY, NULL);
        return;
    }
    int rc = key_register(service, write);
    if (rc == -EEXIST || rc == -EBADMSG) {
        api_refuse(request, rc == -EEXIST ? API_CONFLICT : API_BAD_REQUEST, NULL);
        return;
    }
    if (rc == 0)
        rc = api_audit(service, request, "write", kind_names[write->kind], write->id_hex,
                       write->session.address, true);
    if (rc == 0)
        rc = letter_send(service, request, write);
    if (rc == -EACCES || rc == -EAGAIN)
        write_unsent(service, write);
    if (rc == 0)
        api_answer(request, 200, json_pack("{s:s}", "m", write->id_hex));
    else if (rc == -EACCES)
        api_refuse_wait(request, WRITE_SHARE_WAIT_NS);
    else if (rc == -EINVAL)
        api_refuse(request, API_BAD_REQUEST, NULL);
    else
        api_refuse(request, API_AWAY, NULL);
    if (rc != 0)
        log_line(LOG_LEVEL_WARNING, "write_failed", "m=%s errno=%d", write->id_hex, -rc);
}

/* The writer's own copy is one more recipient, whom no header names. */
static void copy_add(struct write *write)
{
    const char *user = write->session.address;
    for (uint32_t i = 0; i < write->all_count; i++)
        if (strcmp(write->addresses[i], user) == 0)
            write->copy = false;
    if (!write->copy)
        return;
    (void)snprintf(write->addresses[write->all_count], STORE_ADDRESS_BYTES, "%s", user);
    write->list[write->all_count] = write->addresses[write->all_count];
    write->all_count++;
}

/* So many lines, and no more, can one account write. */
static void write_refuse(const struct service *service, struct http_request *request,
                         const struct write *write, enum api_error error)
{
    const char *user = write->session.address;
    const uint64_t wait_ns =
        guess_take(service->guess, GUESS_REFUSE, user, strlen(user), clock_monotonic_ns());
    if (wait_ns != 0) {
        api_refuse_wait(request, wait_ns);
        return;
    }
    api_audit_note(service, request, "refuse", "write", write->id_hex, user);
    api_refuse(request, error,
               error == API_FORBIDDEN ? "You may not write to these addresses here." : NULL);
}

static void write_handle(struct service *service, struct http_request *request, struct write *write)
{
    enum api_error error = API_AWAY;
    const int signed_in = api_session(service, request, &write->session);
    if (signed_in != 0) {
        api_refuse(request, signed_in == -ENOENT ? API_CREDENTIALS : API_AWAY, NULL);
        return;
    }
    if (!body_take(write, request)) {
        api_refuse(request, API_BAD_REQUEST, NULL);
        return;
    }
    if (write->sealed_bytes > service->config->write_size_mib * WRITE_MIB + WRITE_SLACK_BYTES) {
        api_refuse(request, API_TOO_LARGE, NULL);
        return;
    }
    int rc = about_another(write) ? of_get(service, write->session.address, &write->of, &error) : 0;
    if (rc == 0)
        rc = write_permit(service, write, &error);
    if (rc != 0) {
        write_refuse(service, request, write, error);
        return;
    }
    copy_add(write);
    if (write_allow(service, request, write))
        write_commit(service, request, write);
}

void api_write_post(void *context, struct http_request *request)
{
    struct service *service = context;
    struct session_token cookie;
    if (request->refused != 0) {
        api_refuse(request, request->refused == 413 ? API_TOO_LARGE : API_AWAY, NULL);
        return;
    }
    if (!api_own_page_of(service, request, WRITE_TYPE, &cookie))
        return;
    struct write *write = calloc(1, sizeof(*write));
    if (write == NULL) {
        api_refuse(request, API_AWAY, NULL);
        return;
    }
    write_handle(service, request, write);
    json_decref(write->head);
    secret_wipe(write, sizeof(*write));
    free(write);
}

/* What the page needs before it seals: who writes, what may be done, and the service's clock. */
void api_write_look(void *context, struct http_request *request)
{
    const struct service *service = context;
    const struct config *config = service->config;
    struct store_session session;
    struct store_envelope of = {.flags = 0};
    enum api_error error = API_AWAY;
    const size_t prefix_chars = sizeof(WRITE_PREFIX) - 1;
    const bool about = strncmp(request->path, WRITE_PREFIX, prefix_chars) == 0;
    const char *profile = http_query(request, "profile");
    char contact[STORE_ADDRESS_BYTES];
    const int signed_in = api_session(service, request, &session);
    if (signed_in != 0) {
        api_refuse(request, signed_in == -ENOENT ? API_CREDENTIALS : API_AWAY, NULL);
        return;
    }
    if ((about && api_hex(of.id, sizeof(of.id), request->path + prefix_chars) != 0) ||
        (profile[0] != '\0' && (about || !roles_profile_valid(profile)))) {
        api_refuse(request, API_UNKNOWN, NULL);
        return;
    }
    if (about && of_get(service, session.address, &of, &error) != 0) {
        api_refuse(request, error, NULL);
        return;
    }
    if (contact_get(service, profile, contact) != 0) {
        api_refuse(request, API_AWAY, NULL);
        return;
    }
    if (about)
        profile = of.profile;
    else if (profile[0] == '\0')
        profile = WRITE_PROFILE;
    api_answer(request, 200,
               json_pack("{s:s,s:s,s:I,s:I,s:b,s:s,s:s,s:s,s:s,s:b,s:b,s:b}", "user",
                         session.address, "host", service->host, "now", (json_int_t)api_now_ms(),
                         "size", (json_int_t)(config->write_size_mib * WRITE_MIB), "anyone",
                         api_write_to_anyone(service, session.address) ? 1 : 0, "contact", contact,
                         "profile", profile, "from", of.sender, "subject", of.subject, "reply",
                         (of.flags & RECORD_FLAG_REPLY) != 0 && of.sender[0] != '\0' ? 1 : 0,
                         "reply_all",
                         (of.flags & RECORD_FLAG_REPLY_ALL) != 0 && of.sender[0] != '\0' ? 1 : 0,
                         "forward", (of.flags & RECORD_FLAG_FORWARD) != 0 ? 1 : 0));
}

size_t api_write_failed(void *context, char mail[MAIL_BYTES_MAX], const char *account,
                        const char *to)
{
    const struct service *service = context;
    char text[MAIL_TEXT_BYTES_MAX];
    uint8_t unique[OUTBOX_ID_BYTES];
    const uint32_t locale = account_language(service, account, 0);
    if (getrandom(unique, sizeof(unique), 0) != (ssize_t)sizeof(unique))
        return 0;
    pages_expand(text, sizeof(text), pages_string(service->pages, locale, "mail_failed_text"), to,
                 service->public_url);
    const struct mail_message message = {.to = account,
                                         .subject = pages_string(service->pages, locale,
                                                                 "mail_failed_subject"),
                                         .text = text,
                                         .language = pages_locale_name(locale)};
    return mail_format(mail, mail_from(service->mail), &message, unique, clock_unix_ns());
}
