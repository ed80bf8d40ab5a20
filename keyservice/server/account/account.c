#include "keyservice/server/account/account.h"

#include "base/assert.h"
#include "crypto/secret.h"
#include "keyservice/record.h"
#include "keyservice/server/account/password_words.h"
#include "keyservice/server/store/store.h"

#include <argon2.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define ACCOUNT_LANES      1
#define ACCOUNT_SALT_BYTES 16
#define ACCOUNT_TAG_BYTES  32

size_t account_normalise_bytes(char normal[ACCOUNT_ADDRESS_BYTES], const uint8_t *address,
                               size_t address_bytes)
{
    ASSERT(address_bytes < ACCOUNT_ADDRESS_BYTES);
    for (size_t i = 0; i < address_bytes; i++) {
        const uint8_t byte = address[i];
        normal[i] = (char)(byte >= 'A' && byte <= 'Z' ? byte + ('a' - 'A') : byte);
    }
    normal[address_bytes] = '\0';
    return address_bytes;
}

/* Characters of a valid text without controls; 0 when it is not that. */
static size_t text_chars(const char *text, size_t bytes)
{
    size_t chars = 0;
    if (!record_text_sound((const uint8_t *)text, bytes))
        return 0;
    for (size_t i = 0; i < bytes; i++)
        chars += ((uint8_t)text[i] & 0xc0) != 0x80;
    return chars;
}

int account_normalise(char normal[ACCOUNT_ADDRESS_BYTES], const char *typed, size_t typed_bytes)
{
    while (typed_bytes > 0 && strchr(" \t\r\n", typed[0]) != NULL && typed[0] != '\0') {
        typed++;
        typed_bytes--;
    }
    while (typed_bytes > 0 && strchr(" \t\r\n", typed[typed_bytes - 1]) != NULL &&
           typed[typed_bytes - 1] != '\0')
        typed_bytes--;
    if (typed_bytes < 3 || typed_bytes >= ACCOUNT_ADDRESS_BYTES ||
        text_chars(typed, typed_bytes) == 0)
        return -EINVAL;

    size_t at_index = 0;
    uint32_t ats_count = 0;
    for (size_t i = 0; i < typed_bytes; i++) {
        /* These would let one address read as several, or as something else, in a mail header. */
        if (strchr(" <>()[]\\,;:\"", typed[i]) != NULL)
            return -EINVAL;
        if (typed[i] == '@') {
            at_index = i;
            ats_count++;
        }
    }
    if (ats_count != 1 || at_index == 0 || at_index + 1 == typed_bytes)
        return -EINVAL;
    (void)account_normalise_bytes(normal, (const uint8_t *)typed, typed_bytes);
    return 0;
}

int account_password_check(const char *password, size_t password_bytes, const char *address,
                           char why[ACCOUNT_WHY_BYTES])
{
    const size_t chars = text_chars(password, password_bytes);
    if (password_bytes > ACCOUNT_PASSWORD_BYTES_MAX) {
        (void)snprintf(why, ACCOUNT_WHY_BYTES, "the password has more than %d bytes",
                       ACCOUNT_PASSWORD_BYTES_MAX);
        return -EINVAL;
    }
    if (chars < ACCOUNT_PASSWORD_CHARS_MIN) {
        (void)snprintf(why, ACCOUNT_WHY_BYTES, "the password needs %d characters or more",
                       ACCOUNT_PASSWORD_CHARS_MIN);
        return -EINVAL;
    }
    if (password_bytes == strlen(address) && strncasecmp(password, address, password_bytes) == 0) {
        (void)snprintf(why, ACCOUNT_WHY_BYTES, "the password is the address itself");
        return -EINVAL;
    }
    if (password_words_of_address(password, password_bytes, address)) {
        (void)snprintf(why, ACCOUNT_WHY_BYTES, "the password is little more than the address");
        return -EINVAL;
    }
    if (password_words_common(password, password_bytes)) {
        (void)snprintf(why, ACCOUNT_WHY_BYTES, "many people have this password; choose another");
        return -EINVAL;
    }
    return 0;
}

int account_password_hash(const char *password, size_t password_bytes,
                          char encoded[ACCOUNT_HASH_BYTES])
{
    uint8_t salt[ACCOUNT_SALT_BYTES];
    if (getrandom(salt, sizeof(salt), 0) != (ssize_t)sizeof(salt))
        return -EIO;
    const int rc = argon2id_hash_encoded(ACCOUNT_HASH_PASSES, ACCOUNT_HASH_KIB, ACCOUNT_LANES,
                                         password, password_bytes, salt, sizeof(salt),
                                         ACCOUNT_TAG_BYTES, encoded, ACCOUNT_HASH_BYTES);
    return rc == ARGON2_OK ? 0 : -ENOMEM;
}

int account_password_hash_made(const char *password, size_t password_bytes, uint64_t until_unix_ms,
                               char encoded[ACCOUNT_HASH_BYTES])
{
    char hash[ACCOUNT_HASH_BYTES];
    ASSERT(until_unix_ms != 0);
    const int rc = account_password_hash(password, password_bytes, hash);
    if (rc != 0)
        return rc;
    const int chars = snprintf(encoded, ACCOUNT_HASH_BYTES, STORE_PASSWORD_MADE "%" PRIu64 "%s",
                               until_unix_ms, hash);
    return chars > 0 && chars < ACCOUNT_HASH_BYTES ? 0 : -EMSGSIZE;
}

/* Past what stands before the hash of a made one; *until_unix_ms 0: nothing. */
static const char *hash_of(const char *encoded, uint64_t *until_unix_ms)
{
    char *end = NULL;
    *until_unix_ms = 0;
    if (strncmp(encoded, STORE_PASSWORD_MADE, sizeof(STORE_PASSWORD_MADE) - 1) != 0)
        return encoded;
    *until_unix_ms = strtoull(encoded + sizeof(STORE_PASSWORD_MADE) - 1, &end, 10);
    return end;
}

uint64_t account_password_until(const char *encoded)
{
    uint64_t until_unix_ms = 0;
    (void)hash_of(encoded, &until_unix_ms);
    return until_unix_ms;
}

bool account_password_verify(const char *encoded, const char *password, size_t password_bytes)
{
    uint64_t until_unix_ms = 0;
    return argon2id_verify(hash_of(encoded, &until_unix_ms), password, password_bytes) == ARGON2_OK;
}

int account_password_make(char password[ACCOUNT_GENERATED_PASS_CHARS + 1])
{
    /* 32 of them, so that a byte's low five bits choose without bias. */
    static const char letters[] = "abcdefghjkmnpqrstuvwxyz23456789-";
    uint8_t random[ACCOUNT_GENERATED_PASS_CHARS];
    if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
        return -EIO;
    for (size_t i = 0; i < sizeof(random); i++)
        password[i] = letters[random[i] & 31];
    password[sizeof(random)] = '\0';
    secret_wipe(random, sizeof(random));
    return 0;
}
