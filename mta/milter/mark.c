#include "mta/milter/mark.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MARK_MAC_BYTES 32
#define MARK_LABEL     "bulla/mark/1" /* its NUL is the zero byte */
#define MARK_VERSION   "1 "

struct mark {
    EVP_MAC_CTX *mac;
    bool good;
    char id[MARK_ID_CHARS + 1];
};

int mark_key_read(struct mark_key *key, const char *path)
{
    struct mark_key read_key = {0};
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return -errno;
    uint8_t bytes[MARK_KEY_BYTES_MAX + 1];
    ssize_t got = 0;
    size_t used = 0;
    while (used < sizeof(bytes) && (got = read(fd, bytes + used, sizeof(bytes) - used)) > 0)
        used += (size_t)got;
    int rc = got < 0 ? -errno : 0;
    (void)close(fd);
    if (rc == 0 && (used < MARK_KEY_BYTES_MIN || used > MARK_KEY_BYTES_MAX))
        rc = -EINVAL;
    if (rc == 0) {
        memcpy(read_key.at, bytes, used);
        read_key.bytes = used;
        *key = read_key;
    }
    explicit_bzero(bytes, sizeof(bytes));
    explicit_bzero(&read_key, sizeof(read_key));
    return rc;
}

static bool is_hex(const char *text, size_t chars)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < chars; i++) {
        if (text[i] == '\0' || strchr(digits, text[i]) == NULL)
            return false;
    }
    return true;
}

struct mark *mark_begin(const struct mark_key *key, const char *id)
{
    char digest[] = "SHA256";
    const OSSL_PARAM parameters[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_end(),
    };
    if (key->bytes == 0 || strlen(id) != MARK_ID_CHARS || !is_hex(id, MARK_ID_CHARS))
        return NULL;
    struct mark *mark = calloc(1, sizeof(*mark));
    EVP_MAC *hmac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    if (mark != NULL && hmac != NULL)
        mark->mac = EVP_MAC_CTX_new(hmac);
    EVP_MAC_free(hmac);
    if (mark == NULL || mark->mac == NULL ||
        EVP_MAC_init(mark->mac, key->at, key->bytes, parameters) != 1) {
        mark_end(mark);
        return NULL;
    }
    mark->good = true;
    memcpy(mark->id, id, MARK_ID_CHARS + 1);
    mark_update(mark, MARK_LABEL, sizeof(MARK_LABEL));
    mark_update(mark, id, MARK_ID_CHARS);
    return mark;
}

void mark_update(struct mark *mark, const void *bytes_at, size_t bytes)
{
    mark->good = mark->good && EVP_MAC_update(mark->mac, bytes_at, bytes) == 1;
}

bool mark_write(struct mark *mark, char value[MARK_VALUE_BYTES])
{
    uint8_t mac[MARK_MAC_BYTES];
    size_t mac_bytes = 0;
    const bool good = mark->good && EVP_MAC_final(mark->mac, mac, &mac_bytes, sizeof(mac)) == 1 &&
                      mac_bytes == sizeof(mac);
    int used = snprintf(value, MARK_VALUE_BYTES, MARK_VERSION "%s ", mark->id);
    for (size_t i = 0; good && i < sizeof(mac); i++)
        used += snprintf(value + used, MARK_VALUE_BYTES - (size_t)used, "%02x", mac[i]);
    mark_end(mark);
    return good;
}

/* Where the value begins, if it has the shape of a mark. */
static const char *value_begin(const char *value)
{
    const size_t chars = strlen(MARK_VERSION) + MARK_ID_CHARS + 1 + 2 * (size_t)MARK_MAC_BYTES;
    value += strspn(value, " \t\r\n");
    if (strlen(value) < chars || strncmp(value, MARK_VERSION, strlen(MARK_VERSION)) != 0)
        return NULL;
    const char *id = value + strlen(MARK_VERSION);
    const char *mac = id + MARK_ID_CHARS + 1;
    if (!is_hex(id, MARK_ID_CHARS) || id[MARK_ID_CHARS] != ' ' ||
        !is_hex(mac, 2 * (size_t)MARK_MAC_BYTES))
        return NULL;
    return value[chars + strspn(value + chars, " \t\r\n")] == '\0' ? value : NULL;
}

bool mark_matches(struct mark *mark, const char *value)
{
    char right[MARK_VALUE_BYTES];
    const char *given = value_begin(value);
    const bool made = mark_write(mark, right);
    return made && given != NULL && CRYPTO_memcmp(right, given, strlen(right)) == 0;
}

bool mark_mail(const struct mark_key *key, const char *id, const struct iovec *spans,
               uint32_t spans_count, char value[MARK_VALUE_BYTES])
{
    const uint8_t *first = spans_count == 0 ? NULL : spans[0].iov_base;
    const uint8_t *empty = first == NULL ? NULL : memmem(first, spans[0].iov_len, "\r\n\r\n", 4);
    struct mark *mark = empty == NULL ? NULL : mark_begin(key, id);
    if (mark == NULL)
        return false;
    const size_t header_bytes = (size_t)(empty - first) + 4;
    mark_update(mark, first + header_bytes, spans[0].iov_len - header_bytes);
    for (uint32_t i = 1; i < spans_count; i++)
        mark_update(mark, spans[i].iov_base, spans[i].iov_len);
    return mark_write(mark, value);
}

void mark_end(struct mark *mark)
{
    if (mark == NULL)
        return;
    EVP_MAC_CTX_free(mark->mac);
    free(mark);
}

bool mark_id(const char *value, char id[MARK_ID_CHARS + 1])
{
    const char *at = value_begin(value);
    if (at == NULL)
        return false;
    memcpy(id, at + strlen(MARK_VERSION), MARK_ID_CHARS);
    id[MARK_ID_CHARS] = '\0';
    return true;
}
