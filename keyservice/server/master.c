#include "keyservice/server/master.h"

#include "base/assert.h"
#include "base/clock.h"
#include "crypto/secret.h"
#include "keyservice/server/kwp.h"

#include <errno.h>
#include <fcntl.h>
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
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#define MASTER_FILE_HEAD      "bulla-master-key 1\n"
#define MASTER_FILE_BYTES_MAX 8192
#define MASTER_REFRESH_NS     NS_PER_S
#define MASTER_HEX_CHARS      (2 * MASTER_KEY_BYTES)

struct master_key {
    uint8_t bytes[MASTER_KEY_BYTES];
};

/* What grows while the handle stays: versions that were added to the file meanwhile. */
struct master_state {
    pthread_mutex_t mutex; /* of reading the file again */
    uint64_t read_ns;
    _Atomic uint32_t versions_count; /* released after its key is in place */
};

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

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* One line "<version> <64 hex>\n"; returns the characters it took, 0 when it is not that. */
static size_t master_line_parse(const char *text, size_t text_bytes, uint32_t version, uint8_t *key)
{
    char head[16];
    const int head_chars = snprintf(head, sizeof(head), "%u ", version);
    const size_t line_chars = (size_t)head_chars + MASTER_HEX_CHARS + 1;
    if (text_bytes < line_chars || memcmp(text, head, (size_t)head_chars) != 0 ||
        text[line_chars - 1] != '\n')
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
    const size_t head_chars = sizeof(MASTER_FILE_HEAD) - 1;
    if (text_bytes < head_chars || memcmp(text, MASTER_FILE_HEAD, head_chars) != 0)
        return -EBADMSG;
    for (size_t at = head_chars; at < text_bytes;) {
        if (count == MASTER_VERSIONS_MAX)
            return -EBADMSG;
        const size_t chars =
            master_line_parse(text + at, text_bytes - at, count + 1, master->keys[count].bytes);
        if (chars == 0)
            return -EBADMSG;
        count++;
        at += chars;
    }
    versions_set(master, count);
    return count == 0 ? -EBADMSG : 0;
}

/* Reads the file, refusing one that others than its owner may read. */
static int master_file_read(const char *path, char *text, size_t *text_bytes,
                            char why[MASTER_WHY_BYTES])
{
    struct stat info;
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) {
        const int rc = -errno;
        (void)snprintf(why, MASTER_WHY_BYTES, "%s: %s", path, strerror(-rc));
        return rc;
    }
    int rc = fstat(fd, &info) != 0 ? -errno : 0;
    if (rc == 0 && (!S_ISREG(info.st_mode) || (info.st_mode & 077) != 0)) {
        (void)snprintf(why, MASTER_WHY_BYTES, "%s: others may read it; chmod 0600", path);
        rc = -EPERM;
        goto close_fd;
    }
    size_t used = 0;
    while (rc == 0 && used < MASTER_FILE_BYTES_MAX) {
        const ssize_t n = read(fd, text + used, MASTER_FILE_BYTES_MAX - used);
        if (n <= 0) {
            rc = n < 0 ? -errno : 0;
            break;
        }
        used += (size_t)n;
    }
    *text_bytes = used;
    if (rc != 0)
        (void)snprintf(why, MASTER_WHY_BYTES, "%s: %s", path, strerror(-rc));

close_fd:
    (void)close(fd);
    return rc;
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

/* Takes over what the file has behind the versions that there are, which must still stand in it. */
static void versions_add(const struct master *master, const struct master *fresh)
{
    const uint32_t have = versions_get(master);
    const uint32_t count = versions_get(fresh);
    if (count <= have || !ct_equal(master->keys, fresh->keys, have * sizeof(struct master_key)))
        return;
    memcpy(master->keys + have, fresh->keys + have, (count - have) * sizeof(struct master_key));
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

static int random_fill(uint8_t *dst, size_t bytes)
{
    /* Reads of up to 256 bytes are never cut short once the pool is ready (getrandom(2)). */
    ASSERT(bytes <= 256);
    return getrandom(dst, bytes, 0) == (ssize_t)bytes ? 0 : -EIO;
}

static int file_write_all(int fd, const char *text, size_t bytes)
{
    size_t done = 0;
    while (done < bytes) {
        const ssize_t n = write(fd, text + done, bytes - done);
        if (n < 0)
            return -errno;
        done += (size_t)n;
    }
    return fsync(fd) != 0 ? -errno : 0;
}

/* Appends a line with a fresh key to `text`; returns the new length, 0 without entropy. */
static size_t master_line_append(char *text, size_t used, uint32_t version)
{
    uint8_t key[MASTER_KEY_BYTES];
    if (random_fill(key, sizeof(key)) != 0)
        return 0;
    used += (size_t)snprintf(text + used, 16, "%u ", version);
    for (size_t i = 0; i < sizeof(key); i++)
        used += (size_t)snprintf(text + used, 3, "%02x", key[i]);
    text[used++] = '\n';
    secret_wipe(key, sizeof(key));
    return used;
}

static int master_file_make(const char *path, const char *text, size_t text_bytes)
{
    const int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    const int rc = file_write_all(fd, text, text_bytes);
    if (close(fd) != 0 && rc == 0)
        return -errno;
    return rc;
}

int master_create(const char *path)
{
    char text[256] = MASTER_FILE_HEAD;
    const size_t used = master_line_append(text, sizeof(MASTER_FILE_HEAD) - 1, 1);
    const int rc = used == 0 ? -EIO : master_file_make(path, text, used);
    secret_wipe(text, sizeof(text));
    return rc;
}

int master_add(const char *path, char why[MASTER_WHY_BYTES])
{
    char text[MASTER_FILE_BYTES_MAX + 128];
    char fresh_path[4096];
    size_t used = 0;
    struct master *master = NULL;

    int rc = master_open(&master, path, why);
    if (rc != 0)
        return rc;
    const uint32_t version = versions_get(master) + 1;
    master_close(master);
    if (version > MASTER_VERSIONS_MAX) {
        (void)snprintf(why, MASTER_WHY_BYTES, "%s: holds %d keys already", path,
                       MASTER_VERSIONS_MAX);
        return -ENOSPC;
    }
    (void)snprintf(fresh_path, sizeof(fresh_path), "%s.new", path);
    rc = master_file_read(path, text, &used, why);
    if (rc == 0) {
        used = master_line_append(text, used, version);
        rc = used == 0 ? -EIO : master_file_make(fresh_path, text, used);
    }
    secret_wipe(text, sizeof(text));
    if (rc == 0 && rename(fresh_path, path) != 0)
        rc = -errno;
    if (rc != 0)
        (void)snprintf(why, MASTER_WHY_BYTES, "%.200s: %s", fresh_path, strerror(-rc));
    return rc;
}

static int hkdf_sha256(const uint8_t *ikm, size_t ikm_bytes, const char *info, uint8_t *okm,
                       size_t okm_bytes)
{
    int rc = -EIO;
    EVP_KDF *kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
    EVP_KDF_CTX *ctx = kdf == NULL ? NULL : EVP_KDF_CTX_new(kdf);
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, (char *)(uintptr_t) "SHA256", 0),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, (void *)(uintptr_t)ikm, ikm_bytes),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, (void *)(uintptr_t)info,
                                          strlen(info)),
        OSSL_PARAM_construct_end(),
    };
    if (ctx != NULL && EVP_KDF_derive(ctx, okm, okm_bytes, params) == 1)
        rc = 0;
    EVP_KDF_CTX_free(ctx);
    EVP_KDF_free(kdf);
    return rc;
}

int master_derive(const struct master *master, const char *purpose, uint8_t key[MASTER_KEY_BYTES])
{
    return hkdf_sha256(master->keys[0].bytes, MASTER_KEY_BYTES, purpose, key, MASTER_KEY_BYTES);
}

int master_proof(const struct master *master, uint32_t version, uint8_t proof[MASTER_PROOF_BYTES])
{
    _Static_assert(MASTER_PROOF_BYTES == MASTER_KEY_BYTES, "a derived key's length");
    if (!master_has(master, version))
        return -ENOKEY;
    return hkdf_sha256(master->keys[version - 1].bytes, MASTER_KEY_BYTES, "bulla-keyd proof", proof,
                       MASTER_PROOF_BYTES);
}

int master_burst_open(struct master_burst **burst, const struct master *master, uint32_t version)
{
    if (!master_has(master, version))
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

/* One key a release: OpenSSL's own does. */
int master_kwp_unwrap(const uint8_t *kek, size_t kek_bytes, const uint8_t *wrapped,
                      size_t wrapped_bytes, uint8_t *plain, size_t *plain_bytes)
{
    const EVP_CIPHER *cipher = kek_bytes == 32   ? EVP_aes_256_wrap_pad()
                               : kek_bytes == 24 ? EVP_aes_192_wrap_pad()
                               : kek_bytes == 16 ? EVP_aes_128_wrap_pad()
                                                 : NULL;
    int done = 0;
    if (cipher == NULL || wrapped_bytes == 0 || wrapped_bytes > KWP_PLAIN_BYTES_MAX + 8)
        return -EINVAL;
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    if (ctx == NULL)
        return -ENOMEM;
    EVP_CIPHER_CTX_set_flags(ctx, EVP_CIPHER_CTX_FLAG_WRAP_ALLOW);
    const bool fine = EVP_DecryptInit_ex(ctx, cipher, NULL, kek, NULL) == 1 &&
                      EVP_DecryptUpdate(ctx, plain, &done, wrapped, (int)wrapped_bytes) == 1 &&
                      done > 0;
    EVP_CIPHER_CTX_free(ctx);
    if (!fine)
        return -EBADMSG;
    *plain_bytes = (size_t)done;
    return 0;
}

int master_unwrap(const struct master *master, uint32_t version, const uint8_t id[MASTER_ID_BYTES],
                  const uint8_t *wrapped, size_t wrapped_bytes, uint8_t key[MASTER_PLAIN_BYTES_MAX],
                  size_t *key_bytes)
{
    /* OpenSSL may write as much as it reads before it has checked the padding. */
    uint8_t plain[MASTER_WRAPPED_BYTES_MAX + 8] = {0};
    size_t plain_bytes = 0;
    if (!master_has(master, version))
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
