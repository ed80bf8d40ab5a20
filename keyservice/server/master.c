#include "keyservice/server/master.h"

#include "base/assert.h"
#include "base/clock.h"
#include "crypto/secret.h"
#include "keyservice/server/kwp.h"
#include "keyservice/server/master_file.h"

#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MASTER_REFRESH_NS NS_PER_S

struct master_key {
    uint8_t bytes[MASTER_KEY_BYTES]; /* of a retired version what HKDF-Extract made of its key */
};

/* What grows while the handle stays: versions that were added to the file meanwhile. */
struct master_state {
    pthread_mutex_t mutex; /* of reading the file again */
    uint64_t read_ns;
    _Atomic uint64_t retired;        /* a bit a version, the first the lowest */
    _Atomic uint32_t versions_count; /* released after its key and bit are in place */
};

_Static_assert(MASTER_VERSIONS_MAX <= 64, "a bit each");

struct master {
    struct master_state *state;
    char *path;
    size_t pages_bytes;
    struct master_key *keys; /* secret pages; version v stands at v - 1 */
};

struct master_burst {
    EVP_CIPHER_CTX *wrap;
};

/* Acquire pairs with the release in versions_set(): the keys are readable. */
static uint32_t versions_get(const struct master *master)
{
    return atomic_load_explicit(&master->state->versions_count, memory_order_acquire);
}

static void versions_set(const struct master *master, uint32_t count)
{
    atomic_store_explicit(&master->state->versions_count, count, memory_order_release);
}

bool master_retired(const struct master *master, uint32_t version)
{
    ASSERT(version >= 1 && version <= MASTER_VERSIONS_MAX);
    /* What versions_get() acquired has its bit in place. */
    const uint64_t bits = atomic_load_explicit(&master->state->retired, memory_order_relaxed);
    return (bits >> (version - 1) & 1) != 0;
}

static void retired_set(const struct master *master, uint32_t version)
{
    (void)atomic_fetch_or_explicit(&master->state->retired, UINT64_C(1) << (version - 1),
                                   memory_order_relaxed);
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* One line "<version> [retired ]<64 hex>\n"; returns the characters it took, 0 when it is not
 * that. */
static size_t master_line_parse(const char *text, size_t text_bytes, uint32_t version, uint8_t *key,
                                bool *retired)
{
    char head[16];
    const size_t mark_chars = sizeof(MASTER_FILE_RETIRED) - 1;
    size_t head_chars = (size_t)snprintf(head, sizeof(head), "%u ", version);
    if (text_bytes < head_chars + mark_chars || memcmp(text, head, head_chars) != 0)
        return 0;
    *retired = memcmp(text + head_chars, MASTER_FILE_RETIRED, mark_chars) == 0;
    if (*retired)
        head_chars += mark_chars;
    const size_t line_chars = head_chars + MASTER_HEX_CHARS + 1;
    if (text_bytes < line_chars || text[line_chars - 1] != '\n')
        return 0;
    const char *hex = text + head_chars;
    for (size_t i = 0; i < MASTER_KEY_BYTES; i++) {
        const int high = hex_digit(hex[2 * i]);
        const int low = hex_digit(hex[2 * i + 1]);
        if (high < 0 || low < 0)
            return 0;
        key[i] = (uint8_t)(high * 16 + low);
    }
    return line_chars;
}

static int master_parse(struct master *master, const char *text, size_t text_bytes)
{
    uint32_t count = 0;
    bool retired = false;
    const size_t head_chars = sizeof(MASTER_FILE_HEAD) - 1;
    if (text_bytes < head_chars || memcmp(text, MASTER_FILE_HEAD, head_chars) != 0)
        return -EBADMSG;
    for (size_t at = head_chars; at < text_bytes;) {
        if (count == MASTER_VERSIONS_MAX)
            return -EBADMSG;
        const size_t chars = master_line_parse(text + at, text_bytes - at, count + 1,
                                               master->keys[count].bytes, &retired);
        if (chars == 0)
            return -EBADMSG;
        count++;
        if (retired)
            retired_set(master, count);
        at += chars;
    }
    versions_set(master, count);
    return count == 0 || retired ? -EBADMSG : 0; /* the newest one is in use */
}

static void master_free(struct master *master)
{
    if (master->keys != NULL)
        secret_pages_close(master->keys, master->pages_bytes);
    if (master->state != NULL)
        (void)pthread_mutex_destroy(&master->state->mutex);
    free(master->state);
    free(master->path);
    free(master);
}

/* Room for all versions that there may ever be. */
static int master_alloc(struct master **master, const char *path)
{
    void *pages = NULL;
    struct master *made = calloc(1, sizeof(*made));
    if (made == NULL)
        return -ENOMEM;
    made->pages_bytes = MASTER_VERSIONS_MAX * sizeof(struct master_key);
    made->path = strdup(path);
    made->state = calloc(1, sizeof(*made->state));
    int rc = made->path == NULL || made->state == NULL ? -ENOMEM : 0;
    if (made->state != NULL)
        (void)pthread_mutex_init(&made->state->mutex, NULL);
    if (rc == 0)
        rc = secret_pages_open(&pages, made->pages_bytes);
    if (rc != 0) {
        master_free(made);
        return rc;
    }
    made->keys = pages;
    *master = made;
    return 0;
}

int master_open(struct master **master, const char *path, char why[MASTER_WHY_BYTES])
{
    char text[MASTER_FILE_BYTES_MAX];
    size_t text_bytes = 0;
    struct master *made = NULL;
    int rc = master_alloc(&made, path);
    if (rc != 0) {
        (void)snprintf(why, MASTER_WHY_BYTES, "no memory for keys: %s", strerror(-rc));
        return rc;
    }
    rc = master_file_read(path, text, &text_bytes, why);
    if (rc == 0) {
        rc = master_parse(made, text, text_bytes);
        if (rc != 0)
            (void)snprintf(why, MASTER_WHY_BYTES, "%s: not a master key file", path);
    }
    secret_wipe(text, sizeof(text));
    if (rc != 0) {
        master_free(made);
        return rc;
    }
    *master = made;
    return 0;
}

/* The first `count` versions of both are the same, though one may have been retired since. */
static bool same_keys(const struct master *master, const struct master *fresh, uint32_t count)
{
    uint8_t left[2][MASTER_KEY_BYTES];
    bool same = true;
    for (uint32_t version = 1; version <= count && same; version++)
        same = master_extract(master, version, left[0]) == 0 &&
               master_extract(fresh, version, left[1]) == 0 &&
               ct_equal(left[0], left[1], MASTER_KEY_BYTES);
    secret_wipe(left, sizeof(left));
    return same;
}

/* Takes over what the file has behind the versions that there are, which must still stand in it. */
static void versions_add(const struct master *master, const struct master *fresh)
{
    const uint32_t have = versions_get(master);
    const uint32_t count = versions_get(fresh);
    if (count <= have || !same_keys(master, fresh, have))
        return;
    memcpy(master->keys + have, fresh->keys + have, (count - have) * sizeof(struct master_key));
    for (uint32_t version = have + 1; version <= count; version++)
        if (master_retired(fresh, version))
            retired_set(master, version);
    versions_set(master, count);
}

/* Is there this version, now or since the file was read? Looks at most once a second. */
static bool master_has(const struct master *master, uint32_t version)
{
    char why[MASTER_WHY_BYTES];
    struct master_state *state = master->state;
    struct master *fresh = NULL;
    if (version == 0 || version > MASTER_VERSIONS_MAX)
        return false;
    if (version <= versions_get(master))
        return true;
    (void)pthread_mutex_lock(&state->mutex);
    const uint64_t now_ns = clock_monotonic_ns();
    const bool due = state->read_ns == 0 || now_ns - state->read_ns >= MASTER_REFRESH_NS;
    if (version > versions_get(master) && due) {
        state->read_ns = now_ns;
        if (master_open(&fresh, master->path, why) == 0)
            versions_add(master, fresh);
        master_close(fresh);
    }
    (void)pthread_mutex_unlock(&state->mutex);
    return version <= versions_get(master);
}

/* It opens and wraps, too. */
static bool master_usable(const struct master *master, uint32_t version)
{
    return master_has(master, version) && !master_retired(master, version);
}

void master_close(struct master *master)
{
    if (master == NULL)
        return;
    master_free(master);
}

uint32_t master_version(const struct master *master)
{
    return versions_get(master);
}

static int hkdf_sha256(int mode, const uint8_t *ikm, const char *info,
                       uint8_t okm[MASTER_KEY_BYTES])
{
    int rc = -EIO;
    EVP_KDF *kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
    EVP_KDF_CTX *ctx = kdf == NULL ? NULL : EVP_KDF_CTX_new(kdf);
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, (char *)(uintptr_t) "SHA256", 0),
        OSSL_PARAM_construct_int(OSSL_KDF_PARAM_MODE, &mode),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, (void *)(uintptr_t)ikm,
                                          MASTER_KEY_BYTES),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, (void *)(uintptr_t)info,
                                          strlen(info)),
        OSSL_PARAM_construct_end(),
    };
    if (ctx != NULL && EVP_KDF_derive(ctx, okm, MASTER_KEY_BYTES, params) == 1)
        rc = 0;
    EVP_KDF_CTX_free(ctx);
    EVP_KDF_free(kdf);
    return rc;
}

int master_extract(const struct master *master, uint32_t version, uint8_t left[MASTER_KEY_BYTES])
{
    const uint8_t *bytes = master->keys[version - 1].bytes;
    ASSERT(version <= versions_get(master));
    if (!master_retired(master, version))
        return hkdf_sha256(EVP_KDF_HKDF_MODE_EXTRACT_ONLY, bytes, "", left);
    memcpy(left, bytes, MASTER_KEY_BYTES);
    return 0;
}

/* The same of a retired version as before: of what it left, HKDF's second half makes it. */
static int version_derive(const struct master *master, uint32_t version, const char *purpose,
                          uint8_t key[MASTER_KEY_BYTES])
{
    const int mode = master_retired(master, version) ? EVP_KDF_HKDF_MODE_EXPAND_ONLY
                                                     : EVP_KDF_HKDF_MODE_EXTRACT_AND_EXPAND;
    return hkdf_sha256(mode, master->keys[version - 1].bytes, purpose, key);
}

int master_derive(const struct master *master, const char *purpose, uint8_t key[MASTER_KEY_BYTES])
{
    return version_derive(master, 1, purpose, key);
}

int master_proof(const struct master *master, uint32_t version, uint8_t proof[MASTER_PROOF_BYTES])
{
    _Static_assert(MASTER_PROOF_BYTES == MASTER_KEY_BYTES, "a derived key's length");
    if (!master_has(master, version))
        return -ENOKEY;
    return version_derive(master, version, "bulla-keyd proof", proof);
}

int master_burst_open(struct master_burst **burst, const struct master *master, uint32_t version)
{
    if (!master_usable(master, version))
        return -ENOKEY;
    struct master_burst *made = calloc(1, sizeof(*made));
    if (made == NULL)
        return -ENOMEM;
    const int rc = kwp_open(&made->wrap, master->keys[version - 1].bytes, MASTER_KEY_BYTES);
    if (rc != 0) {
        free(made);
        return rc;
    }
    *burst = made;
    return 0;
}

void master_burst_close(struct master_burst *burst)
{
    if (burst == NULL)
        return;
    EVP_CIPHER_CTX_free(burst->wrap); /* wipes its key */
    free(burst);
}

/* At most KWP_LANES keys of one length. */
static int lanes_wrap(struct master_burst *burst, struct master_wrap *wraps, uint32_t lanes_count)
{
    uint8_t texts[KWP_LANES][MASTER_ID_BYTES + MASTER_PLAIN_BYTES_MAX];
    const uint8_t *plain[KWP_LANES];
    uint8_t *wrapped[KWP_LANES];
    const size_t plain_bytes = MASTER_ID_BYTES + (size_t)wraps[0].key_bytes;
    for (uint32_t i = 0; i < lanes_count; i++) {
        memcpy(texts[i], wraps[i].id, MASTER_ID_BYTES);
        memcpy(texts[i] + MASTER_ID_BYTES, wraps[i].key, wraps[i].key_bytes);
        plain[i] = texts[i];
        wrapped[i] = wraps[i].wrapped;
        wraps[i].wrapped_bytes = (uint32_t)KWP_WRAPPED_BYTES(plain_bytes);
    }
    const int rc = kwp_wrap(burst->wrap, plain, plain_bytes, wrapped, lanes_count);
    secret_wipe(texts, sizeof(texts));
    return rc;
}

int master_burst_wrap(struct master_burst *burst, struct master_wrap *wraps, uint32_t wraps_count)
{
    int rc = 0;
    for (uint32_t at = 0; at < wraps_count && rc == 0;) {
        const uint32_t key_bytes = wraps[at].key_bytes;
        uint32_t lanes_count = 1;
        ASSERT(key_bytes > 0 && key_bytes <= MASTER_PLAIN_BYTES_MAX);
        while (lanes_count < KWP_LANES && at + lanes_count < wraps_count &&
               wraps[at + lanes_count].key_bytes == key_bytes)
            lanes_count++;
        rc = lanes_wrap(burst, wraps + at, lanes_count);
        at += lanes_count;
    }
    return rc;
}

int master_kwp_wrap(const uint8_t *kek, size_t kek_bytes, const uint8_t *plain, size_t plain_bytes,
                    uint8_t *wrapped, size_t *wrapped_bytes)
{
    EVP_CIPHER_CTX *ecb = NULL;
    int rc = kwp_open(&ecb, kek, kek_bytes);
    if (rc != 0)
        return rc;
    rc = kwp_wrap(ecb, &plain, plain_bytes, &wrapped, 1);
    EVP_CIPHER_CTX_free(ecb);
    if (rc == 0)
        *wrapped_bytes = KWP_WRAPPED_BYTES(plain_bytes);
    return rc;
}

int master_kwp_unwrap(const uint8_t *kek, size_t kek_bytes, const uint8_t *wrapped,
                      size_t wrapped_bytes, uint8_t *plain, size_t *plain_bytes)
{
    return kwp_unwrap(kek, kek_bytes, wrapped, wrapped_bytes, plain, plain_bytes);
}

int master_unwrap(const struct master *master, uint32_t version, const uint8_t id[MASTER_ID_BYTES],
                  const uint8_t *wrapped, size_t wrapped_bytes, uint8_t key[MASTER_PLAIN_BYTES_MAX],
                  size_t *key_bytes)
{
    uint8_t plain[MASTER_WRAPPED_BYTES_MAX] = {0};
    size_t plain_bytes = 0;
    if (!master_usable(master, version))
        return -ENOKEY;
    if (wrapped_bytes > MASTER_WRAPPED_BYTES_MAX)
        return -EBADMSG;
    int rc = master_kwp_unwrap(master->keys[version - 1].bytes, MASTER_KEY_BYTES, wrapped,
                               wrapped_bytes, plain, &plain_bytes);
    if (rc == 0 &&
        (plain_bytes <= MASTER_ID_BYTES || plain_bytes > MASTER_ID_BYTES + MASTER_PLAIN_BYTES_MAX ||
         !ct_equal(plain, id, MASTER_ID_BYTES)))
        rc = -EBADMSG;
    if (rc == 0) {
        *key_bytes = plain_bytes - MASTER_ID_BYTES;
        memcpy(key, plain + MASTER_ID_BYTES, *key_bytes);
    }
    secret_wipe(plain, sizeof(plain));
    return rc;
}
