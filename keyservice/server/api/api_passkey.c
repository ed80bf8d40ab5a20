/* Passkeys: made and named on the account's page, and signed in with. */
#include "base/assert.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "crypto/base64.h"
#include "crypto/secret.h"
#include "keyservice/server/account/code.h"
#include "keyservice/server/account/device.h"
#include "keyservice/server/account/signin.h"
#include "keyservice/server/account/ticket.h"
#include "keyservice/server/account/webauthn.h"
#include "keyservice/server/api/api_person.h"

#include <errno.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <string.h>

#define PASSKEYS_PREFIX "/v1/account/passkeys/"
#define PURPOSE         "passkey"
#define HANDLE_BYTES    16
#define HANDLE_CHARS    22
#define ENCODED(bytes)  ((bytes) / 3 * 4 + 4) /* characters of base64url, and a NUL */

_Static_assert(TICKET_CHARS == WEBAUTHN_CHALLENGE_CHARS, "a challenge is a ticket");

/* What an authenticator keeps of an account: its number, so that only this service knows it. */
static void handle_write(const struct service *service, int64_t number,
                         char handle[HANDLE_CHARS + 1])
{
    uint8_t text[8 + sizeof(PURPOSE)];
    uint8_t digest[SHA256_DIGEST_LENGTH];
    uint8_t encoded[HANDLE_CHARS + BASE64_SLACK_BYTES];
    unsigned int digest_bytes = 0;
    memcpy(text, PURPOSE, sizeof(PURPOSE));
    bytes_store_le64(text + sizeof(PURPOSE), (uint64_t)number);
    const uint8_t *done = HMAC(EVP_sha256(), service->ticket_secret, sizeof(service->ticket_secret),
                               text, sizeof(text), digest, &digest_bytes);
    ASSERT(done != NULL && digest_bytes == sizeof(digest));
    const size_t chars = base64url_encode_run(encoded, digest, HANDLE_BYTES);
    ASSERT(chars == HANDLE_CHARS);
    memcpy(handle, encoded, chars);
    handle[chars] = '\0';
}

/* Bytes that a page sent as base64url. */
struct sent {
    uint8_t bytes_at[WEBAUTHN_CLIENT_BYTES_MAX + BASE64_SLACK_BYTES];
    size_t bytes;
};

static bool sent_read(struct sent *sent, const char *text)
{
    const size_t chars = strlen(text);
    return chars > 0 && chars / 4 * 3 + 3 <= WEBAUTHN_CLIENT_BYTES_MAX &&
           base64url_decode(sent->bytes_at, (const uint8_t *)text, chars, &sent->bytes) == 0;
}

static struct webauthn_bytes sent_bytes(const struct sent *sent)
{
    return (struct webauthn_bytes){.at = sent->bytes_at, .bytes = sent->bytes};
}

/* A GET: nothing is stored. What was used is, when it was used. */
void api_passkey_challenge(void *context, struct http_request *request)
{
    const struct service *service = context;
    char text[TICKET_CHARS + 1];
    char handle[HANDLE_CHARS + 1] = "";
    struct webauthn_party party;
    struct session_token cookie;
    struct store_session session;
    if (!session_parse(&cookie, request->cookie)) {
        api_refuse(request, API_CREDENTIALS, NULL);
        return;
    }
    const int rc = api_session(service, request, &session);
    const struct ticket ticket = {.purpose = PURPOSE,
                                  .cookie = &cookie,
                                  .hangs_on = "",
                                  .expires_unix_ms = api_now_ms() + TICKET_LIFE_MS};
    if ((rc != 0 && rc != -ENOENT) || ticket_make(service->ticket_secret, &ticket, text) != 0) {
        api_refuse(request, API_AWAY, NULL);
        return;
    }
    if (rc == 0)
        handle_write(service, session.account_number, handle);
    webauthn_party_fill(&party, service->public_url);
    api_answer(request, 200,
               json_pack("{s:s,s:s,s:s}", "challenge", text, "rp", party.id, "handle", handle));
}

/* The challenge that was answered is this browser's and in time; its digest, to be spent. */
static int challenge_check(const struct service *service, const struct session_token *cookie,
                           const struct webauthn_party *party, const char *type,
                           const struct sent *client, uint8_t digest[STORE_HASH_BYTES],
                           uint64_t *expires_unix_ms)
{
    char challenge[TICKET_CHARS + 1];
    struct ticket ticket = {.purpose = PURPOSE, .cookie = cookie, .hangs_on = ""};
    if (webauthn_client(party, type, sent_bytes(client), challenge) != 0 ||
        ticket_check(service->ticket_secret, &ticket, challenge, api_now_ms()) != 0)
        return -EACCES;
    (void)SHA256((const uint8_t *)challenge, TICKET_CHARS, digest);
    *expires_unix_ms = ticket.expires_unix_ms;
    return 0;
}

/* One passkey's answer to one challenge. */
struct assertion {
    char id[ENCODED(STORE_CREDENTIAL_BYTES_MAX)];
    char client[ENCODED(WEBAUTHN_CLIENT_BYTES_MAX)];
    char authenticator[ENCODED(WEBAUTHN_DATA_BYTES_MAX)];
    char signature[ENCODED(WEBAUTHN_SIGNATURE_BYTES_MAX)];
    char handle[HANDLE_CHARS + 1];
    struct sent bytes[4];
};

/* 0 with the passkey and its account; -EACCES. -EUCLEAN: a counter that shows a copy. */
static int assertion_check(const struct service *service, const struct session_token *cookie,
                           struct assertion *assertion, struct store_passkey *passkey)
{
    struct sent *sent = assertion->bytes;
    struct webauthn_party party;
    char handle[HANDLE_CHARS + 1];
    uint8_t id[STORE_ID_BYTES];
    uint8_t challenge[STORE_HASH_BYTES];
    uint64_t expires_unix_ms = 0;
    uint32_t counter = 0;
    if (!sent_read(&sent[0], assertion->id) || !sent_read(&sent[1], assertion->client) ||
        !sent_read(&sent[2], assertion->authenticator) ||
        !sent_read(&sent[3], assertion->signature))
        return -EACCES;
    webauthn_party_fill(&party, service->public_url);
    webauthn_id(id, sent[0].bytes_at, sent[0].bytes);
    int rc = challenge_check(service, cookie, &party, "webauthn.get", &sent[1], challenge,
                             &expires_unix_ms);
    if (rc == 0)
        rc = store_passkey_get(service->store, id, passkey);
    if (rc != 0)
        return rc == -ENOENT ? -EACCES : rc;
    /* An authenticator that found the credential by itself says whose it is: so must we. */
    handle_write(service, passkey->account_number, handle);
    if (assertion->handle[0] != '\0' && strcmp(assertion->handle, handle) != 0)
        return -EACCES;
    rc = webauthn_assert(&party, passkey, sent_bytes(&sent[1]), sent_bytes(&sent[2]),
                         sent_bytes(&sent[3]), &counter);
    if (rc != 0)
        return rc == -ENOMEM ? rc : -EACCES;
    rc = store_passkey_use(service->store, id, counter, challenge, expires_unix_ms, api_now_ms());
    return rc == -EEXIST ? -EACCES : rc == -EACCES ? -EUCLEAN : rc;
}

/* The allowance that an answer takes from. */
struct allowance {
    enum guess_kind kind;
    uint8_t key[ACCOUNT_ADDRESS_BYTES + 1];
    size_t key_bytes;
};
_Static_assert(sizeof(((struct allowance *)NULL)->key) >= HTTP_NETWORK_BYTES, "either fits");

/* What others on its network try must not keep a known browser out: it has one of its own, that of
 * its passwords (signin.c). */
static void allowance_fill(struct allowance *allowance, const struct service *service,
                           const struct http_request *request, const char *credential)
{
    char phrase[STORE_PHRASE_BYTES];
    uint8_t id[STORE_ID_BYTES];
    struct sent sent;
    struct store_passkey passkey;
    *allowance = (struct allowance){.kind = GUESS_NETWORK, .key_bytes = HTTP_NETWORK_BYTES};
    memcpy(allowance->key, request->network, HTTP_NETWORK_BYTES);
    if (!sent_read(&sent, credential))
        return;
    webauthn_id(id, sent.bytes_at, sent.bytes);
    if (store_passkey_get(service->store, id, &passkey) != 0 ||
        !device_known(service, request, passkey.address, phrase))
        return;
    const size_t address_bytes = strlen(passkey.address) + 1;
    memcpy(allowance->key, passkey.address, address_bytes);
    allowance->key[address_bytes] = 'd';
    allowance->key_bytes = address_bytes + 1;
    allowance->kind = GUESS_PAIR;
}

static void assertion_answer(const struct service *service, struct http_request *request,
                             const struct session_token *cookie, struct assertion *assertion)
{
    struct store_passkey passkey = {.account_number = 0};
    struct store_account account;
    struct allowance taken;
    const uint64_t now_ns = clock_monotonic_ns();
    allowance_fill(&taken, service, request, assertion->id);
    const uint64_t wait_ns =
        guess_take(service->guess, taken.kind, taken.key, taken.key_bytes, now_ns);
    if (wait_ns != 0) {
        api_refuse_wait(request, wait_ns);
        return;
    }
    int rc = assertion_check(service, cookie, assertion, &passkey);
    if (rc == -EUCLEAN)
        api_audit_note(service, request, "passkey", "cloned", NULL, passkey.address);
    if (rc == 0)
        rc = store_account_get(service->store, passkey.address, &account);
    if (rc != 0) {
        const enum api_error error =
            rc == -EACCES || rc == -EUCLEAN || rc == -ENOENT ? API_CREDENTIALS : API_AWAY;
        signin_audit_refused(service, request, error, passkey.address);
        api_refuse(request, error, NULL);
        return;
    }
    guess_give(service->guess, taken.kind, taken.key, taken.key_bytes, now_ns);
    secret_wipe(account.password, sizeof(account.password));
    signin_begin(service, request, cookie, &account, STORE_FACTOR_PASSKEY);
}

void api_passkey_signin(void *context, struct http_request *request)
{
    const struct service *service = context;
    struct session_token cookie;
    struct assertion assertion;
    const struct api_field fields[] = {
        {.name = "id", .text = assertion.id, .room = sizeof(assertion.id)},
        {.name = "client", .text = assertion.client, .room = sizeof(assertion.client)},
        {.name = "authenticator",
         .text = assertion.authenticator,
         .room = sizeof(assertion.authenticator)},
        {.name = "signature", .text = assertion.signature, .room = sizeof(assertion.signature)},
        {.name = "handle", .text = assertion.handle, .room = sizeof(assertion.handle)},
    };
    if (!api_own_page(service, request, &cookie))
        return;
    if (api_fields(request->body, request->body_bytes, fields, ARRAY_COUNT(fields)) != 0)
        api_refuse(request, API_BAD_REQUEST, NULL);
    else
        assertion_answer(service, request, &cookie, &assertion);
}

/* A name of letters and signs, not empty, without controls. */
static bool name_fine(const char *name)
{
    return name[0] != '\0' && record_text_sound((const uint8_t *)name, strlen(name));
}

static int passkey_add(const struct service *service, const struct http_request *request,
                       const struct session_token *cookie, const struct store_session *session,
                       const struct sent *client, const struct sent *data,
                       struct store_passkey *passkey)
{
    struct webauthn_party party;
    uint8_t challenge[STORE_HASH_BYTES];
    uint64_t expires_unix_ms = 0;
    webauthn_party_fill(&party, service->public_url);
    int rc = challenge_check(service, cookie, &party, "webauthn.create", client, challenge,
                             &expires_unix_ms);
    if (rc == 0)
        rc = webauthn_register(&party, sent_bytes(client), sent_bytes(data), passkey);
    if (rc != 0)
        return -EACCES;
    passkey->account_number = session->account_number;
    passkey->created_unix_ms = api_now_ms();
    rc = store_challenge_spend(service->store, challenge, expires_unix_ms);
    if (rc == -EEXIST)
        return -EACCES;
    if (rc == 0)
        rc = api_audit(service, request, "passkey", "added", NULL, session->address, true);
    return rc == 0 ? store_passkey_add(service->store, passkey) : rc;
}

void api_passkey_add(void *context, struct http_request *request)
{
    const struct service *service = context;
    char client[ENCODED(WEBAUTHN_CLIENT_BYTES_MAX)];
    char data[ENCODED(WEBAUTHN_DATA_BYTES_MAX)];
    struct sent client_sent;
    struct sent data_sent;
    struct session_token cookie;
    struct store_session session;
    struct store_account account;
    struct store_passkey passkey = {.used_unix_ms = 0};
    const struct api_field fields[] = {
        {.name = "name", .text = passkey.name, .room = sizeof(passkey.name)},
        {.name = "client", .text = client, .room = sizeof(client)},
        {.name = "authenticator", .text = data, .room = sizeof(data)},
    };
    if (!api_person(service, request, API_PERSON_FRESH, &cookie, &session))
        return;
    if (api_fields(request->body, request->body_bytes, fields, ARRAY_COUNT(fields)) != 0 ||
        !name_fine(passkey.name) || !sent_read(&client_sent, client) ||
        !sent_read(&data_sent, data)) {
        api_refuse(request, API_BAD_REQUEST, NULL);
        return;
    }
    if (!api_person_factor_change(service, request, &session))
        return;
    const int rc =
        passkey_add(service, request, &cookie, &session, &client_sent, &data_sent, &passkey);
    if (rc == 0)
        api_person_factor_set(service, request, &session, STORE_FACTOR_PASSKEY);
    api_person_done(request, rc);
    if (rc != 0 || store_account_get(service->store, session.address, &account) != 0)
        return;
    secret_wipe(account.password, sizeof(account.password));
    code_notice(service, request, &account, "passkey");
}

void api_passkey_name(void *context, struct http_request *request)
{
    const struct service *service = context;
    char name[STORE_NAME_BYTES];
    uint8_t id[STORE_ID_BYTES];
    struct session_token cookie;
    struct store_session session;
    const struct api_field fields[] = {{.name = "name", .text = name, .room = sizeof(name)}};
    if (!api_person(service, request, API_PERSON_SIGNED_IN, &cookie, &session))
        return;
    if (api_fields(request->body, request->body_bytes, fields, ARRAY_COUNT(fields)) != 0 ||
        !name_fine(name))
        api_refuse(request, API_BAD_REQUEST, NULL);
    else if (!api_person_id(request, PASSKEYS_PREFIX, id))
        api_refuse(request, API_UNKNOWN, NULL);
    else
        api_person_done(request,
                        store_passkey_name(service->store, session.account_number, id, name));
}

void api_passkey_remove(void *context, struct http_request *request)
{
    const struct service *service = context;
    uint8_t id[STORE_ID_BYTES];
    struct session_token cookie;
    struct store_session session;
    if (!api_person(service, request, API_PERSON_FRESH, &cookie, &session))
        return;
    if (!api_person_id(request, PASSKEYS_PREFIX, id)) {
        api_refuse(request, API_UNKNOWN, NULL);
        return;
    }
    if (!api_person_factor_change(service, request, &session))
        return;
    int rc = api_audit(service, request, "passkey", "removed", NULL, session.address, true);
    if (rc == 0)
        rc = store_passkey_remove(service->store, session.account_number, id);
    api_person_done(request, rc);
}

static void passkey_json(void *context, const struct store_passkey *passkey)
{
    char id[2 * STORE_ID_BYTES + 1];
    uint8_t credential[ENCODED(STORE_CREDENTIAL_BYTES_MAX) + BASE64_SLACK_BYTES];
    api_to_hex(id, passkey->id, STORE_ID_BYTES);
    const size_t chars =
        base64url_encode_run(credential, passkey->credential, passkey->credential_bytes);
    (void)json_array_append_new(context,
                                json_pack("{s:s,s:s%,s:s,s:I,s:I}", "id", id, "credential",
                                          (const char *)credential, chars, "name", passkey->name,
                                          "created", (json_int_t)passkey->created_unix_ms, "used",
                                          (json_int_t)passkey->used_unix_ms));
}

json_t *api_passkey_list(const struct service *service, int64_t number)
{
    json_t *list = json_array();
    if (list != NULL && store_passkey_list(service->store, number, passkey_json, list) == 0)
        return list;
    json_decref(list);
    return NULL;
}
