#include "crypto/cobblestone.h"
#include "tests/crypto/guard.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <cmocka.h>

#define MESSAGE_BYTES_MAX 60000
#define SEALED_BYTES_MAX  (MESSAGE_BYTES_MAX + COBBLE_HEADER_BYTES + 5 * COBBLE_TAG_BYTES)

static const enum cobble_suite all_suites[] = {COBBLE_AES_256, COBBLE_AES_192, COBBLE_AES_128};

/* One message, its key and its place in memory. */
struct sample {
    struct crypto_core *core;
    enum cobble_suite suite;
    uint8_t key[COBBLE_KEY_BYTES_MAX];
    uint8_t salt[COBBLE_SALT_BYTES];
    uint8_t context[COBBLE_CONTEXT_BYTES_MAX];
    uint32_t context_bytes;
    uint8_t plain[MESSAGE_BYTES_MAX];
    size_t plain_bytes;
    uint8_t sealed[SEALED_BYTES_MAX];
    size_t sealed_bytes;
    uint8_t opened[SEALED_BYTES_MAX];
};

static struct sample *sample_open(enum isa isa, enum cobble_suite suite, size_t plain_bytes)
{
    struct sample *sample = calloc(1, sizeof(*sample));
    assert_non_null(sample);
    assert_int_equal(crypto_core_open(&sample->core, isa), 0);
    sample->suite = suite;
    sample->context_bytes = 25;
    sample->plain_bytes = plain_bytes;
    crypto_random(sample->core, sample->key, sizeof(sample->key));
    crypto_random(sample->core, sample->salt, sizeof(sample->salt));
    crypto_random(sample->core, sample->context, sizeof(sample->context));
    crypto_random(sample->core, sample->plain, plain_bytes);
    return sample;
}

static void sample_close(struct sample *sample)
{
    crypto_core_close(sample->core);
    free(sample);
}

static void sample_derive(struct sample *sample, struct cobble *cobble, uint8_t *commitment)
{
    struct cobble_derivation derivation = {
        .suite = sample->suite,
        .key = sample->key,
        .salt = sample->salt,
        .context = sample->context,
        .context_bytes = sample->context_bytes,
        .cobble = cobble,
    };
    cobble_derive_burst(sample->core, &derivation, 1);
    if (commitment != NULL)
        memcpy(commitment, derivation.commitment, COBBLE_COMMITMENT_BYTES);
}

static void sample_seal(struct sample *sample)
{
    struct cobble cobble;
    memcpy(sample->sealed, sample->salt, COBBLE_SALT_BYTES);
    sample_derive(sample, &cobble, sample->sealed + COBBLE_SALT_BYTES);
    const size_t bytes = cobble_seal(sample->core, &cobble, sample->sealed + COBBLE_HEADER_BYTES,
                                     sample->plain, sample->plain_bytes, true);
    assert_int_equal(bytes, cobble_sealed_bytes(sample->plain_bytes));
    sample->sealed_bytes = COBBLE_HEADER_BYTES + bytes;
    cobble_wipe(&cobble);
}

static int sample_try(struct sample *sample, size_t *plain_bytes)
{
    return cobble_open_message(sample->core, sample->suite, sample->key, sample->context,
                               sample->context_bytes, sample->sealed, sample->sealed_bytes,
                               sample->opened, plain_bytes);
}

static void sample_must_open(struct sample *sample)
{
    size_t plain_bytes = SIZE_MAX;
    assert_int_equal(sample_try(sample, &plain_bytes), 0);
    assert_int_equal(plain_bytes, sample->plain_bytes);
    assert_memory_equal(sample->opened, sample->plain, plain_bytes);
}

/* Refused, and not a byte of it given away. */
static void sample_must_not_open(struct sample *sample)
{
    size_t plain_bytes = 12345;
    memset(sample->opened, 0, sizeof(sample->opened));
    assert_int_equal(sample_try(sample, &plain_bytes), -EBADMSG);
    assert_int_equal(plain_bytes, 12345);
    uint8_t seen = 0;
    for (size_t i = 0; i < sizeof(sample->opened); i++)
        seen |= sample->opened[i];
    assert_int_equal(seen, 0);
}

/* The construction built a second time from its text, out of OpenSSL's parts. */
static size_t seal_by_openssl(const struct sample *sample, uint8_t *sealed)
{
    static const char *const names[] = {
        [COBBLE_AES_256] = "AEAD_AES_256_GCM",
        [COBBLE_AES_192] = "AEAD_AES_192_GCM",
        [COBBLE_AES_128] = "AEAD_AES_128_GCM",
    };
    const EVP_CIPHER *ciphers[] = {
        [COBBLE_AES_256] = EVP_aes_256_gcm(),
        [COBBLE_AES_192] = EVP_aes_192_gcm(),
        [COBBLE_AES_128] = EVP_aes_128_gcm(),
    };
    const size_t key_bytes = (size_t)EVP_CIPHER_get_key_length(ciphers[sample->suite]);
    uint8_t info[256];
    size_t info_bytes =
        (size_t)snprintf((char *)info, sizeof(info), "c2sp.org/chunked-encryption@v1+%s",
                         names[sample->suite]) +
        1;
    memcpy(info + info_bytes, sample->salt, COBBLE_SALT_BYTES);
    info_bytes += COBBLE_SALT_BYTES;
    memcpy(info + info_bytes, sample->context, sample->context_bytes);
    info_bytes += sample->context_bytes;
    uint8_t okm[128];
    uint8_t second[64 + sizeof(info) + 1];
    info[info_bytes] = 1;
    assert_non_null(
        HMAC(EVP_sha512(), sample->key, (int)key_bytes, info, info_bytes + 1, okm, NULL));
    memcpy(second, okm, 64);
    memcpy(second + 64, info, info_bytes);
    second[64 + info_bytes] = 2;
    assert_non_null(HMAC(EVP_sha512(), sample->key, (int)key_bytes, second, 64 + info_bytes + 1,
                         okm + 64, NULL));

    memcpy(sealed, sample->salt, COBBLE_SALT_BYTES);
    memcpy(sealed + COBBLE_SALT_BYTES, okm + key_bytes + 12, COBBLE_COMMITMENT_BYTES);
    uint8_t *at = sealed + COBBLE_HEADER_BYTES;
    EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
    size_t done = 0;
    for (uint32_t chunk = 0;; chunk++) {
        const size_t now = sample->plain_bytes - done < 16384 ? sample->plain_bytes - done : 16384;
        uint8_t nonce[12];
        int written = 0;
        memcpy(nonce, okm + key_bytes, sizeof(nonce));
        nonce[11] ^= (uint8_t)chunk;
        assert_int_equal(EVP_EncryptInit_ex(context, ciphers[sample->suite], NULL, okm, nonce), 1);
        assert_int_equal(EVP_EncryptUpdate(context, at, &written, sample->plain + done, (int)now),
                         1);
        assert_int_equal(EVP_EncryptFinal_ex(context, at + now, &written), 1);
        assert_int_equal(EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, 16, at + now), 1);
        at += now + 16;
        done += now;
        if (now < 16384)
            break;
    }
    EVP_CIPHER_CTX_free(context);
    return (size_t)(at - sealed);
}

static void sealing_agrees_with_openssl_in_every_suite(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 15, 16, 17, 255, 4096, 16383, 16384, 16385, 32768, 50001};
    static uint8_t want[SEALED_BYTES_MAX];
    for (enum isa isa = ISA_SCALAR; isa <= isa_best(); isa++) {
        for (size_t s = 0; s < ARRAY_COUNT(all_suites); s++) {
            for (size_t i = 0; i < ARRAY_COUNT(sizes); i++) {
                struct sample *sample = sample_open(isa, all_suites[s], sizes[i]);
                sample->context_bytes = (uint32_t)(i * 7 % (COBBLE_CONTEXT_BYTES_MAX + 1));
                sample_seal(sample);
                assert_int_equal(seal_by_openssl(sample, want), sample->sealed_bytes);
                assert_memory_equal(sample->sealed, want, sample->sealed_bytes);
                sample_must_open(sample);
                sample_close(sample);
            }
        }
    }
}

/* A large message is sealed between small ones, some chunks at a time: nobody sees the seams. */
static void slices_give_the_same_bytes_as_one_call(void **state)
{
    (void)state;
    static uint8_t whole[SEALED_BYTES_MAX];
    for (size_t bytes = 3 * COBBLE_CHUNK_BYTES - 1; bytes <= 3 * COBBLE_CHUNK_BYTES + 1; bytes++) {
        struct sample *sample = sample_open(isa_best(), COBBLE_AES_256, bytes);
        struct cobble cobble;
        sample_seal(sample);
        memcpy(whole, sample->sealed, sample->sealed_bytes);
        sample_derive(sample, &cobble, NULL);
        uint8_t *at = sample->sealed + COBBLE_HEADER_BYTES;
        memset(at, 0, sample->sealed_bytes - COBBLE_HEADER_BYTES);
        at += cobble_seal(sample->core, &cobble, at, sample->plain, COBBLE_CHUNK_BYTES, false);
        at += cobble_seal(sample->core, &cobble, at, sample->plain, 0, false);
        at += cobble_seal(sample->core, &cobble, at, sample->plain + COBBLE_CHUNK_BYTES,
                          bytes - COBBLE_CHUNK_BYTES, true);
        assert_int_equal(at - sample->sealed, sample->sealed_bytes);
        assert_memory_equal(sample->sealed, whole, sample->sealed_bytes);
        cobble_wipe(&cobble);
        sample_close(sample);
    }
}

static void a_burst_gives_what_one_by_one_gives(void **state)
{
    (void)state;
    for (enum isa isa = ISA_SCALAR; isa <= isa_best(); isa++) {
        struct sample *sample = sample_open(isa, COBBLE_AES_256, 0);
        static uint8_t keys[COBBLE_DERIVE_BURST_MAX][COBBLE_KEY_BYTES_MAX];
        static uint8_t salts[COBBLE_DERIVE_BURST_MAX][COBBLE_SALT_BYTES];
        static struct cobble cobbles[COBBLE_DERIVE_BURST_MAX];
        for (uint32_t count = 0; count <= COBBLE_DERIVE_BURST_MAX; count++) {
            struct cobble_derivation derivations[COBBLE_DERIVE_BURST_MAX];
            crypto_random(sample->core, keys[0], sizeof(keys));
            crypto_random(sample->core, salts[0], sizeof(salts));
            for (uint32_t i = 0; i < count; i++)
                derivations[i] = (struct cobble_derivation){
                    .suite = all_suites[(i + count) % 3],
                    .key = keys[i],
                    .salt = salts[i],
                    .context = sample->context,
                    .context_bytes = i * 5 % (COBBLE_CONTEXT_BYTES_MAX + 1),
                    .cobble = &cobbles[i],
                };
            cobble_derive_burst(sample->core, derivations, count);
            for (uint32_t i = 0; i < count; i++) {
                struct cobble alone;
                struct cobble_derivation derivation = derivations[i];
                derivation.cobble = &alone;
                memset(derivation.commitment, 0, sizeof(derivation.commitment));
                cobble_derive_burst(sample->core, &derivation, 1);
                assert_memory_equal(derivation.commitment, derivations[i].commitment,
                                    COBBLE_COMMITMENT_BYTES);
                uint8_t a[100 + COBBLE_TAG_BYTES];
                uint8_t b[100 + COBBLE_TAG_BYTES];
                uint8_t plain[100] = {0};
                assert_int_equal(cobble_seal(sample->core, &alone, a, plain, 100, true), 116);
                assert_int_equal(cobble_seal(sample->core, &cobbles[i], b, plain, 100, true), 116);
                assert_memory_equal(a, b, sizeof(a));
            }
        }
        sample_close(sample);
    }
}

static void every_flipped_bit_is_refused(void **state)
{
    (void)state;
    for (enum isa isa = ISA_SCALAR; isa <= isa_best(); isa++) {
        struct sample *sample = sample_open(isa, COBBLE_AES_256, 100);
        sample_seal(sample);
        for (size_t bit = 0; bit < sample->sealed_bytes * 8; bit++) {
            sample->sealed[bit / 8] ^= (uint8_t)(1 << bit % 8);
            sample_must_not_open(sample);
            sample->sealed[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
        sample_must_open(sample);
        sample_close(sample);
    }
}

static void every_shorter_and_longer_message_is_refused(void **state)
{
    (void)state;
    struct sample *sample = sample_open(isa_best(), COBBLE_AES_256, 2 * COBBLE_CHUNK_BYTES + 50);
    sample_seal(sample);
    const size_t whole = sample->sealed_bytes;
    for (size_t bytes = 0; bytes < whole; bytes += bytes < 200 || bytes + 200 > whole ? 1 : 97) {
        sample->sealed_bytes = bytes;
        sample_must_not_open(sample);
    }
    /* Cut exactly between chunks, where every tag that is left verifies. */
    for (size_t chunks = 0; chunks <= 2; chunks++) {
        sample->sealed_bytes = COBBLE_HEADER_BYTES + chunks * COBBLE_SEALED_CHUNK_BYTES;
        sample_must_not_open(sample);
    }
    for (size_t more = 1; more <= 20; more++) {
        sample->sealed_bytes = whole + more;
        sample_must_not_open(sample);
    }
    sample->sealed_bytes = whole;
    sample_must_open(sample);
    sample_close(sample);
}

static void chunks_out_of_place_are_refused(void **state)
{
    (void)state;
    struct sample *sample = sample_open(isa_best(), COBBLE_AES_192, 3 * COBBLE_CHUNK_BYTES);
    sample_seal(sample);
    static uint8_t was[SEALED_BYTES_MAX];
    memcpy(was, sample->sealed, sizeof(was));
    uint8_t *first = sample->sealed + COBBLE_HEADER_BYTES;
    uint8_t *second = first + COBBLE_SEALED_CHUNK_BYTES;
    /* Swapped, doubled, dropped. */
    memcpy(first, was + COBBLE_HEADER_BYTES + COBBLE_SEALED_CHUNK_BYTES, COBBLE_SEALED_CHUNK_BYTES);
    memcpy(second, was + COBBLE_HEADER_BYTES, COBBLE_SEALED_CHUNK_BYTES);
    sample_must_not_open(sample);
    memcpy(second, first, COBBLE_SEALED_CHUNK_BYTES);
    sample_must_not_open(sample);
    memcpy(sample->sealed, was, sizeof(was));
    memcpy(second, was, COBBLE_SEALED_CHUNK_BYTES);
    sample_must_not_open(sample);
    memcpy(sample->sealed, was, sizeof(was));
    memmove(first, second, sample->sealed_bytes - COBBLE_HEADER_BYTES - COBBLE_SEALED_CHUNK_BYTES);
    sample->sealed_bytes -= COBBLE_SEALED_CHUNK_BYTES;
    sample_must_not_open(sample);
    sample_close(sample);
}

static void another_key_salt_context_or_suite_is_refused(void **state)
{
    (void)state;
    struct sample *sample = sample_open(isa_best(), COBBLE_AES_256, 1000);
    sample_seal(sample);
    sample->key[31] ^= 1;
    sample_must_not_open(sample);
    sample->key[31] ^= 1;
    sample->context[24] ^= 0x80;
    sample_must_not_open(sample);
    sample->context[24] ^= 0x80;
    sample->context_bytes--;
    sample_must_not_open(sample);
    sample->context_bytes += 2;
    sample_must_not_open(sample);
    sample->context_bytes--;
    sample->suite = COBBLE_AES_192;
    sample_must_not_open(sample);
    sample->suite = COBBLE_AES_256;
    sample_must_open(sample);
    sample_close(sample);
}

static void after_a_fault_nothing_more_is_opened(void **state)
{
    (void)state;
    struct sample *sample = sample_open(isa_best(), COBBLE_AES_256, 3 * COBBLE_CHUNK_BYTES + 7);
    struct cobble cobble;
    size_t plain_bytes = 0;
    sample_seal(sample);
    uint8_t *chunks = sample->sealed + COBBLE_HEADER_BYTES;
    chunks[COBBLE_SEALED_CHUNK_BYTES + 5] ^= 1;
    sample_derive(sample, &cobble, NULL);
    memset(sample->opened, 0, sizeof(sample->opened));
    /* The first chunk of this call verifies, the second does not: neither is given out. */
    assert_int_equal(cobble_open(sample->core, &cobble, sample->opened, chunks,
                                 2 * COBBLE_SEALED_CHUNK_BYTES, false, &plain_bytes),
                     -EBADMSG);
    for (size_t i = 0; i < sizeof(sample->opened); i++)
        assert_int_equal(sample->opened[i], 0);
    assert_int_equal(plain_bytes, 0);
    assert_int_equal(cobble_open(sample->core, &cobble, sample->opened,
                                 chunks + 2 * COBBLE_SEALED_CHUNK_BYTES, COBBLE_SEALED_CHUNK_BYTES,
                                 false, &plain_bytes),
                     -EBADMSG);
    sample_close(sample);
}

static void a_whole_chunk_is_asked_for_before_the_last(void **state)
{
    (void)state;
    struct sample *sample = sample_open(isa_best(), COBBLE_AES_256, COBBLE_CHUNK_BYTES);
    struct cobble cobble;
    size_t plain_bytes = 0;
    sample_seal(sample);
    sample_derive(sample, &cobble, NULL);
    assert_int_equal(cobble_open(sample->core, &cobble, sample->opened,
                                 sample->sealed + COBBLE_HEADER_BYTES,
                                 COBBLE_SEALED_CHUNK_BYTES - 1, false, &plain_bytes),
                     -EBADMSG);
    sample_close(sample);
}

static void a_message_ends_before_its_counter_does(void **state)
{
    (void)state;
    struct sample *sample = sample_open(isa_best(), COBBLE_AES_256, 10);
    struct cobble cobble;
    size_t plain_bytes = 0;
    sample_derive(sample, &cobble, NULL);
    cobble.chunk_index = (UINT64_C(1) << 38) - 1;
    struct cobble receiving = cobble;
    assert_int_equal(cobble_seal(sample->core, &cobble, sample->sealed, sample->plain, 10, true),
                     26);
    assert_int_equal(cobble_open(sample->core, &receiving, sample->opened, sample->sealed, 26, true,
                                 &plain_bytes),
                     0);
    sample_derive(sample, &receiving, NULL);
    receiving.chunk_index = UINT64_C(1) << 38;
    assert_int_equal(cobble_open(sample->core, &receiving, sample->opened, sample->sealed, 26, true,
                                 &plain_bytes),
                     -EBADMSG);
    sample_close(sample);
}

static void seal_after_the_last(void *argument)
{
    struct sample *sample = argument;
    struct cobble cobble;
    sample_derive(sample, &cobble, NULL);
    (void)cobble_seal(sample->core, &cobble, sample->sealed, sample->plain, 10, true);
    (void)cobble_seal(sample->core, &cobble, sample->sealed, sample->plain, 10, true);
}

static void seal_when_wiped(void *argument)
{
    struct sample *sample = argument;
    struct cobble cobble;
    sample_derive(sample, &cobble, NULL);
    cobble_wipe(&cobble);
    (void)cobble_seal(sample->core, &cobble, sample->sealed, sample->plain, 10, true);
}

static void seal_a_short_chunk_midway(void *argument)
{
    struct sample *sample = argument;
    struct cobble cobble;
    sample_derive(sample, &cobble, NULL);
    (void)cobble_seal(sample->core, &cobble, sample->sealed, sample->plain, 10, false);
}

static void seal_past_the_counter(void *argument)
{
    struct sample *sample = argument;
    struct cobble cobble;
    sample_derive(sample, &cobble, NULL);
    cobble.chunk_index = UINT64_C(1) << 38;
    (void)cobble_seal(sample->core, &cobble, sample->sealed, sample->plain, 10, true);
}

static void seal_a_number_twice(void *argument)
{
    struct sample *sample = argument;
    struct cobble cobble;
    sample_derive(sample, &cobble, NULL);
    (void)cobble_seal_numbered(sample->core, &cobble, 3, sample->sealed, sample->plain, 10);
    (void)cobble_seal_numbered(sample->core, &cobble, 4, sample->sealed, sample->plain, 10);
    (void)cobble_seal_numbered(sample->core, &cobble, 3, sample->sealed, sample->plain, 10);
}

static void seal_a_number_that_there_is_not(void *argument)
{
    struct sample *sample = argument;
    struct cobble cobble;
    sample_derive(sample, &cobble, NULL);
    (void)cobble_seal_numbered(sample->core, &cobble, COBBLE_NUMBERS_MAX, sample->sealed,
                               sample->plain, 10);
}

static void seal_a_number_after_one_without(void *argument)
{
    struct sample *sample = argument;
    struct cobble cobble;
    sample_derive(sample, &cobble, NULL);
    (void)cobble_seal(sample->core, &cobble, sample->sealed, sample->plain, 10, true);
    (void)cobble_seal_numbered(sample->core, &cobble, 1, sample->sealed, sample->plain, 10);
}

static void seal_without_a_number_after_one(void *argument)
{
    struct sample *sample = argument;
    struct cobble cobble;
    sample_derive(sample, &cobble, NULL);
    (void)cobble_seal_numbered(sample->core, &cobble, 1, sample->sealed, sample->plain, 10);
    (void)cobble_seal(sample->core, &cobble, sample->sealed, sample->plain, 10, true);
}

static void sealing_where_it_never_may_aborts(void **state)
{
    (void)state;
    struct sample *sample = sample_open(isa_best(), COBBLE_AES_256, 10);
    expect_abort(seal_after_the_last, sample);
    expect_abort(seal_when_wiped, sample);
    expect_abort(seal_a_short_chunk_midway, sample);
    expect_abort(seal_past_the_counter, sample);
    expect_abort(seal_a_number_twice, sample);
    expect_abort(seal_a_number_that_there_is_not, sample);
    expect_abort(seal_a_number_after_one_without, sample);
    expect_abort(seal_without_a_number_after_one, sample);
    sample_close(sample);
}

/* Number 0 is what has none; equal plaintexts differ under each; each opens under its own number
 * alone, in any order and again. */
static void messages_that_share_a_derivation_open_under_their_numbers_alone(void **state)
{
    enum { BYTES = COBBLE_CHUNK_BYTES + 10, SEALED = BYTES + 2 * COBBLE_TAG_BYTES };
    static uint8_t sealed[COBBLE_NUMBERS_MAX][SEALED];
    struct cobble cobble;
    size_t plain_bytes;
    (void)state;
    struct sample *sample = sample_open(isa_best(), COBBLE_AES_256, BYTES);
    sample_seal(sample);
    sample_derive(sample, &cobble, NULL);
    for (uint32_t n = COBBLE_NUMBERS_MAX; n-- > 0;)
        assert_int_equal(cobble_seal_numbered(sample->core, &cobble, n, sealed[n], sample->plain,
                                              BYTES),
                         SEALED);
    assert_memory_equal(sealed[0], sample->sealed + COBBLE_HEADER_BYTES, SEALED);
    for (uint32_t n = 0; n < COBBLE_NUMBERS_MAX; n++) {
        for (uint32_t other = 0; other < COBBLE_NUMBERS_MAX; other++) {
            const int rc = cobble_open_numbered(sample->core, &cobble, other, sample->opened,
                                                sealed[n], SEALED, &plain_bytes);
            assert_int_equal(rc, n == other ? 0 : -EBADMSG);
            if (n == other)
                assert_memory_equal(sample->opened, sample->plain, BYTES);
            else
                assert_memory_not_equal(sealed[n], sealed[other], COBBLE_CHUNK_BYTES);
        }
    }
    cobble_wipe(&cobble);
    sample_close(sample);
}

static void a_wiped_cobble_holds_no_key(void **state)
{
    (void)state;
    struct sample *sample = sample_open(isa_best(), COBBLE_AES_256, 10);
    struct cobble cobble;
    sample_derive(sample, &cobble, NULL);
    cobble_wipe(&cobble);
    for (size_t i = 0; i < sizeof(cobble.expanded); i++)
        assert_int_equal(cobble.expanded[i], 0);
    for (size_t i = 0; i < sizeof(cobble.base_nonce); i++)
        assert_int_equal(cobble.base_nonce[i], 0);
    sample_close(sample);
}

/* One that was changed is refused, one that is cut is refused, and neither harms its neighbours. */
static void a_burst_opens_all_but_the_forged(void **state)
{
    enum { COUNT = COBBLE_DERIVE_BURST_MAX, FORGED = 3, CUT = 11, BYTES = 200 };
    struct sample *samples[COUNT];
    struct cobble_opening openings[COUNT];
    (void)state;
    for (uint32_t i = 0; i < COUNT; i++) {
        struct sample *sample = sample_open(isa_best(), COBBLE_AES_256, BYTES + i);
        samples[i] = sample;
        sample_seal(sample);
        openings[i] = (struct cobble_opening){.key = sample->key,
                                              .context = sample->context,
                                              .context_bytes = sample->context_bytes,
                                              .sealed = sample->sealed,
                                              .sealed_bytes = sample->sealed_bytes,
                                              .plain = sample->opened};
    }
    samples[FORGED]->sealed[COBBLE_SALT_BYTES] ^= 1;
    openings[CUT].sealed_bytes = COBBLE_HEADER_BYTES;
    cobble_open_burst(samples[0]->core, COBBLE_AES_256, openings, COUNT);
    for (uint32_t i = 0; i < COUNT; i++) {
        assert_int_equal(openings[i].rc, i == FORGED || i == CUT ? -EBADMSG : 0);
        if (openings[i].rc == 0) {
            assert_int_equal(openings[i].plain_bytes, samples[i]->plain_bytes);
            assert_memory_equal(samples[i]->opened, samples[i]->plain, samples[i]->plain_bytes);
        }
        sample_close(samples[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sealing_agrees_with_openssl_in_every_suite),
        cmocka_unit_test(slices_give_the_same_bytes_as_one_call),
        cmocka_unit_test(a_burst_gives_what_one_by_one_gives),
        cmocka_unit_test(a_burst_opens_all_but_the_forged),
        cmocka_unit_test(every_flipped_bit_is_refused),
        cmocka_unit_test(every_shorter_and_longer_message_is_refused),
        cmocka_unit_test(chunks_out_of_place_are_refused),
        cmocka_unit_test(another_key_salt_context_or_suite_is_refused),
        cmocka_unit_test(after_a_fault_nothing_more_is_opened),
        cmocka_unit_test(a_whole_chunk_is_asked_for_before_the_last),
        cmocka_unit_test(a_message_ends_before_its_counter_does),
        cmocka_unit_test(sealing_where_it_never_may_aborts),
        cmocka_unit_test(messages_that_share_a_derivation_open_under_their_numbers_alone),
        cmocka_unit_test(a_wiped_cobble_holds_no_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
