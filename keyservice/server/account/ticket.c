#include "keyservice/server/account/ticket.h"

#include "base/assert.h"
#include "base/bytes.h"
#include "crypto/base64.h"
#include "crypto/secret.h"

#include <errno.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <string.h>
#include <sys/random.h>

#define EXPIRES_AT        8
#define RANDOM_AT         16
#define MAC_AT            32
#define MAC_BYTES         32
#define PURPOSE_BYTES_MAX 32
#define HANGS_BYTES_MAX   256

_Static_assert(MAC_AT + MAC_BYTES == TICKET_BYTES, "the MAC is last");

/* Over purpose NUL cookie, what it hangs on NUL, and the ticket's own bytes. */
static void ticket_mac(const uint8_t secret[TICKET_SECRET_BYTES], const struct ticket *ticket,
                       const uint8_t bytes[TICKET_BYTES], uint8_t mac[MAC_BYTES])
{
    uint8_t text[PURPOSE_BYTES_MAX + SESSION_TOKEN_CHARS + HANGS_BYTES_MAX + MAC_AT];
    size_t used = strlen(ticket->purpose) + 1;
    const size_t hangs_bytes = strlen(ticket->hangs_on) + 1;
    unsigned int mac_bytes = 0;
    ASSERT(used <= PURPOSE_BYTES_MAX);
    ASSERT(hangs_bytes <= HANGS_BYTES_MAX);
    memcpy(text, ticket->purpose, used);
    memcpy(text + used, ticket->cookie->text, SESSION_TOKEN_CHARS);
    used += SESSION_TOKEN_CHARS;
    memcpy(text + used, ticket->hangs_on, hangs_bytes);
    used += hangs_bytes;
    memcpy(text + used, bytes, MAC_AT);
    used += MAC_AT;
    const uint8_t *done =
        HMAC(EVP_sha256(), secret, TICKET_SECRET_BYTES, text, used, mac, &mac_bytes);
    ASSERT(done != NULL && mac_bytes == MAC_BYTES);
    secret_wipe(text, sizeof(text));
}

int ticket_make(const uint8_t secret[TICKET_SECRET_BYTES], const struct ticket *ticket,
                char text[TICKET_CHARS + 1])
{
    uint8_t bytes[TICKET_BYTES];
    uint8_t encoded[TICKET_CHARS + BASE64_SLACK_BYTES];
    bytes_store_le64(bytes, (uint64_t)ticket->number);
    bytes_store_le64(bytes + EXPIRES_AT, ticket->expires_unix_ms);
    if (getrandom(bytes + RANDOM_AT, MAC_AT - RANDOM_AT, 0) != MAC_AT - RANDOM_AT)
        return -EIO;
    ticket_mac(secret, ticket, bytes, bytes + MAC_AT);
    const size_t chars = base64url_encode_run(encoded, bytes, sizeof(bytes));
    ASSERT(chars == TICKET_CHARS);
    memcpy(text, encoded, chars);
    text[chars] = '\0';
    return 0;
}

int ticket_check(const uint8_t secret[TICKET_SECRET_BYTES], struct ticket *ticket, const char *text,
                 uint64_t now_unix_ms)
{
    uint8_t decoded[TICKET_CHARS + BASE64_SLACK_BYTES];
    uint8_t mac[MAC_BYTES];
    size_t bytes = 0;
    if (strnlen(text, TICKET_CHARS + 1) != TICKET_CHARS ||
        base64url_decode(decoded, (const uint8_t *)text, TICKET_CHARS, &bytes) != 0 ||
        bytes != TICKET_BYTES)
        return -EACCES;
    ticket_mac(secret, ticket, decoded, mac);
    const uint64_t expires_unix_ms = bytes_load_le64(decoded + EXPIRES_AT);
    if (!ct_equal(mac, decoded + MAC_AT, MAC_BYTES) || expires_unix_ms <= now_unix_ms)
        return -EACCES;
    ticket->number = (int64_t)bytes_load_le64(decoded);
    ticket->expires_unix_ms = expires_unix_ms;
    return 0;
}
