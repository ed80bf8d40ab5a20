#include "keyservice/server/kwp.h"

#include "base/assert.h"
#include "base/bytes.h"
#include "crypto/secret.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>

#define KWP_HALF   8
#define KWP_BLOCK  16
#define KWP_ROUNDS 6
/* RFC 5649, 3: the alternative initial value's constant half. */
#define KWP_AIV UINT64_C(0xa65959a6)

typedef uint8_t kwp_blocks[KWP_LANES][KWP_BLOCK];

/* Looked up once: finding one anew by name costs more than a key. */
static struct {
    EVP_CIPHER *ecb_128;
    EVP_CIPHER *ecb_192;
    EVP_CIPHER *ecb_256;
} ciphers;

static void ciphers_find(void)
{
    ciphers.ecb_128 = EVP_CIPHER_fetch(NULL, "AES-128-ECB", NULL);
    ciphers.ecb_192 = EVP_CIPHER_fetch(NULL, "AES-192-ECB", NULL);
    ciphers.ecb_256 = EVP_CIPHER_fetch(NULL, "AES-256-ECB", NULL);
}

static bool key_fits(size_t key_bytes)
{
    return key_bytes == 32 || key_bytes == 24 || key_bytes == 16;
}

/* NULL where OpenSSL has no memory for it. */
static const EVP_CIPHER *cipher_find(size_t key_bytes)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    ASSERT(key_fits(key_bytes));
    (void)pthread_once(&once, ciphers_find);
    return key_bytes == 32 ? ciphers.ecb_256 : key_bytes == 24 ? ciphers.ecb_192 : ciphers.ecb_128;
}

int kwp_open(EVP_CIPHER_CTX **ecb, const uint8_t *key, size_t key_bytes)
{
    if (!key_fits(key_bytes))
        return -EINVAL;
    const EVP_CIPHER *cipher = cipher_find(key_bytes);
    EVP_CIPHER_CTX *made = cipher == NULL ? NULL : EVP_CIPHER_CTX_new();
    if (made == NULL)
        return -ENOMEM;
    if (EVP_EncryptInit_ex2(made, cipher, key, NULL, NULL) != 1 ||
        EVP_CIPHER_CTX_set_padding(made, 0) != 1) {
        EVP_CIPHER_CTX_free(made);
        return -EIO;
    }
    *ecb = made;
    return 0;
}

static int blocks_encrypt(EVP_CIPHER_CTX *ecb, kwp_blocks blocks, uint32_t lanes_count)
{
    int done = 0;
    const int bytes = (int)lanes_count * KWP_BLOCK;
    return EVP_EncryptUpdate(ecb, blocks[0], &done, blocks[0], bytes) == 1 && done == bytes ? 0
                                                                                            : -EIO;
}

/* RFC 3394, 2.2.1, index based: the first half of a block is A, the second R[half]. */
static int lanes_wrap(EVP_CIPHER_CTX *ecb, kwp_blocks blocks, uint8_t *const *wrapped,
                      uint32_t halves_count, uint32_t lanes_count)
{
    uint64_t step = 0;
    for (uint32_t round = 0; round < KWP_ROUNDS; round++) {
        for (uint32_t half = 1; half <= halves_count; half++) {
            for (uint32_t lane = 0; lane < lanes_count; lane++)
                memcpy(blocks[lane] + KWP_HALF, wrapped[lane] + (size_t)half * KWP_HALF, KWP_HALF);
            const int rc = blocks_encrypt(ecb, blocks, lanes_count);
            if (rc != 0)
                return rc;
            step++;
            for (uint32_t lane = 0; lane < lanes_count; lane++) {
                bytes_store_be64(blocks[lane], bytes_load_be64(blocks[lane]) ^ step);
                memcpy(wrapped[lane] + (size_t)half * KWP_HALF, blocks[lane] + KWP_HALF, KWP_HALF);
            }
        }
    }
    return 0;
}

static int lanes_run(EVP_CIPHER_CTX *ecb, const uint8_t *const *plain, size_t plain_bytes,
                     uint8_t *const *wrapped, uint32_t lanes_count)
{
    kwp_blocks blocks;
    const uint32_t halves_count = (uint32_t)(KWP_WRAPPED_BYTES(plain_bytes) / KWP_HALF) - 1;
    int rc = 0;
    for (uint32_t lane = 0; lane < lanes_count; lane++) {
        memset(wrapped[lane] + (size_t)halves_count * KWP_HALF, 0, KWP_HALF); /* the padding */
        memcpy(wrapped[lane] + KWP_HALF, plain[lane], plain_bytes);
        bytes_store_be64(blocks[lane], KWP_AIV << 32 | plain_bytes);
    }
    if (halves_count == 1) { /* RFC 5649, 4.1: a single block, encrypted once */
        for (uint32_t lane = 0; lane < lanes_count; lane++)
            memcpy(blocks[lane] + KWP_HALF, wrapped[lane] + KWP_HALF, KWP_HALF);
        rc = blocks_encrypt(ecb, blocks, lanes_count);
        for (uint32_t lane = 0; lane < lanes_count; lane++)
            memcpy(wrapped[lane] + KWP_HALF, blocks[lane] + KWP_HALF, KWP_HALF);
    } else {
        rc = lanes_wrap(ecb, blocks, wrapped, halves_count, lanes_count);
    }
    for (uint32_t lane = 0; lane < lanes_count; lane++) {
        memcpy(wrapped[lane], blocks[lane], KWP_HALF);
        if (rc != 0) /* else bytes of a key would be left */
            secret_wipe(wrapped[lane], KWP_WRAPPED_BYTES(plain_bytes));
    }
    secret_wipe(blocks, sizeof(blocks));
    return rc;
}

int kwp_wrap(EVP_CIPHER_CTX *ecb, const uint8_t *const *plain, size_t plain_bytes,
             uint8_t *const *wrapped, uint32_t count)
{
    int rc = 0;
    if (plain_bytes == 0 || plain_bytes > KWP_PLAIN_BYTES_MAX)
        return -EINVAL;
    for (uint32_t at = 0; at < count && rc == 0; at += KWP_LANES)
        rc = lanes_run(ecb, plain + at, plain_bytes, wrapped + at,
                       MIN(count - at, (uint32_t)KWP_LANES));
    return rc;
}

/* RFC 3394, 2.2.2, index based: leaves A in `block`'s first half, the text in `plain`. */
static int chain_unwrap(EVP_CIPHER_CTX *ecb, uint8_t block[KWP_BLOCK], const uint8_t *wrapped,
                        uint32_t halves_count, uint8_t *plain)
{
    int done = 0;
    memcpy(block, wrapped, KWP_BLOCK);
    if (halves_count == 1) { /* RFC 5649, 4.2: a single block */
        const int fine = EVP_DecryptUpdate(ecb, block, &done, block, KWP_BLOCK);
        memcpy(plain, block + KWP_HALF, KWP_HALF);
        return fine == 1 && done == KWP_BLOCK ? 0 : -EIO;
    }
    memcpy(plain, wrapped + KWP_HALF, (size_t)halves_count * KWP_HALF);
    for (uint64_t step = (uint64_t)KWP_ROUNDS * halves_count; step > 0; step--) {
        uint8_t *half = plain + (step - 1) % halves_count * KWP_HALF;
        bytes_store_be64(block, bytes_load_be64(block) ^ step);
        memcpy(block + KWP_HALF, half, KWP_HALF);
        if (EVP_DecryptUpdate(ecb, block, &done, block, KWP_BLOCK) != 1 || done != KWP_BLOCK)
            return -EIO;
        memcpy(half, block + KWP_HALF, KWP_HALF);
    }
    return 0;
}

/* RFC 5649, 3: the constant, a length that fits these halves, zeros behind it. All of it is looked
 * at, whatever the first part says. */
static bool initial_fits(const uint8_t block[KWP_BLOCK], const uint8_t *plain, size_t plain_room,
                         size_t *plain_bytes)
{
    const uint64_t initial = bytes_load_be64(block);
    const uint64_t bytes = initial & UINT32_MAX;
    uint64_t wrong = (initial >> 32) ^ KWP_AIV;
    wrong |= (uint64_t)(bytes > plain_room) | (uint64_t)(bytes + KWP_HALF <= plain_room);
    for (size_t back = 1; back < KWP_HALF; back++) {
        const size_t at = plain_room - back;
        wrong |= (uint64_t)(at >= bytes) & (uint64_t)(plain[at] != 0);
    }
    *plain_bytes = (size_t)bytes;
    return wrong == 0;
}

int kwp_unwrap(const uint8_t *key, size_t key_bytes, const uint8_t *wrapped, size_t wrapped_bytes,
               uint8_t *plain, size_t *plain_bytes)
{
    uint8_t block[KWP_BLOCK];
    if (!key_fits(key_bytes))
        return -EINVAL;
    if (wrapped_bytes < KWP_BLOCK || wrapped_bytes % KWP_HALF != 0 ||
        wrapped_bytes > KWP_WRAPPED_BYTES(KWP_PLAIN_BYTES_MAX))
        return -EBADMSG;
    const size_t room = wrapped_bytes - KWP_HALF;
    size_t bytes = 0;
    const EVP_CIPHER *cipher = cipher_find(key_bytes);
    EVP_CIPHER_CTX *ecb = cipher == NULL ? NULL : EVP_CIPHER_CTX_new();
    int rc = ecb == NULL ? -ENOMEM : 0;
    if (rc == 0 && (EVP_DecryptInit_ex2(ecb, cipher, key, NULL, NULL) != 1 ||
                    EVP_CIPHER_CTX_set_padding(ecb, 0) != 1))
        rc = -EIO;
    if (rc == 0)
        rc = chain_unwrap(ecb, block, wrapped, (uint32_t)(room / KWP_HALF), plain);
    if (rc == 0 && !initial_fits(block, plain, room, &bytes))
        rc = -EBADMSG;
    EVP_CIPHER_CTX_free(ecb);
    secret_wipe(block, sizeof(block));
    if (rc != 0)
        secret_wipe(plain, room);
    else
        *plain_bytes = bytes;
    return rc;
}
