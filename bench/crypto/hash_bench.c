/*
 * Claim:   HKDF of a burst by our compression in lanes takes about half the time of ipsec-mb's HMAC
 *          jobs, which need each key's padded blocks hashed one at a time first; and AES-256-GCM's
 *          expansion of keys in fours about half of what it takes with the library's powers of H.
 * Metric:  ns of processor time a block or a message: best, median and worst of 101 runs in which
 *          the candidates take turns, so that a busy machine is as busy for each.
 * Command: cmake --preset release && ninja -C build/release hash_bench &&
 *          build/release/bench/crypto/hash_bench
 */
#include "base/assert.h"
#include "base/clock.h"
#include "crypto/core_internal.h"
#include "crypto/gcm_internal.h"
#include "crypto/hkdf_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define RUNS_COUNT 101
#define TIMES      50
#define BURST      32
#define INFO_BYTES 97 /* bulla's: prefix, AEAD name, salt, context of 25 bytes */

static struct crypto_core *core;
static uint8_t keys[BURST][32];
static uint8_t infos[BURST][INFO_BYTES];
static uint8_t okms[BURST][76];
static uint8_t second_messages[BURST][SHA512_DIGEST_BYTES + INFO_BYTES + 1];
static _Alignas(CACHE_LINE) sha512_row some_block[SHA512_BLOCK_ROWS];
static _Alignas(CACHE_LINE) sha512_row state[SHA512_STATE_ROWS];

static void run_scalar(void)
{
    sha512_compress_scalar(state, state, some_block, 1);
}

static void run_one(void)
{
    sha512_compress(core->isa)(state, state, some_block, 1);
}

static void run_half(void)
{
    sha512_compress(core->isa)(state, state, some_block, SHA512_LANES / 2);
}

static void run_vector(void)
{
    sha512_compress(core->isa)(state, state, some_block, SHA512_LANES);
}

static void hkdf(uint32_t count)
{
    struct hkdf_expansion expansions[BURST];
    for (uint32_t i = 0; i < count; i++)
        expansions[i] = (struct hkdf_expansion){.prk = keys[i],
                                                .prk_bytes = sizeof(keys[i]),
                                                .info = infos[i],
                                                .info_bytes = INFO_BYTES,
                                                .okm = okms[i],
                                                .okm_bytes = sizeof(okms[i])};
    hkdf_expand_burst(core, expansions, count, NULL);
}

static void run_hkdf_alone(void)
{
    hkdf(1);
}

static void run_hkdf_two(void)
{
    hkdf(2);
}

static void run_hkdf_four(void)
{
    hkdf(4);
}

static void run_hkdf(void)
{
    hkdf(BURST);
}

static void burst_hmac(uint8_t inner[][64], uint8_t outer[][64], uint64_t message_bytes)
{
    static IMB_JOB jobs[BURST];
    static uint8_t tags[BURST][SHA512_DIGEST_BYTES];
    for (uint32_t i = 0; i < BURST; i++) {
        jobs[i].src = second_messages[i];
        jobs[i].hash_start_src_offset_in_bytes = 0;
        jobs[i].msg_len_to_hash_in_bytes = message_bytes;
        jobs[i].auth_tag_output = tags[i];
        jobs[i].auth_tag_output_len_in_bytes = sizeof(tags[i]);
        jobs[i].hash_alg = IMB_AUTH_HMAC_SHA_512;
        jobs[i].u.HMAC._hashed_auth_key_xor_ipad = inner[i];
        jobs[i].u.HMAC._hashed_auth_key_xor_opad = outer[i];
    }
    const uint32_t done = IMB_SUBMIT_HASH_BURST(core->mgr, jobs, BURST, IMB_AUTH_HMAC_SHA_512);
    ASSERT(done == BURST);
}

/* The same two HMACs of the same lengths a message, by the library. */
static void run_ipsec_mb(void)
{
    static uint8_t inner[BURST][64];
    static uint8_t outer[BURST][64];
    for (uint32_t i = 0; i < BURST; i++) {
        uint8_t block[SHA512_BLOCK_BYTES];
        memset(block, 0x36, sizeof(block));
        for (uint32_t j = 0; j < sizeof(keys[i]); j++)
            block[j] ^= keys[i][j];
        IMB_SHA512_ONE_BLOCK(core->mgr, block, inner[i]);
        for (uint32_t j = 0; j < sizeof(block); j++)
            block[j] ^= 0x36 ^ 0x5c;
        IMB_SHA512_ONE_BLOCK(core->mgr, block, outer[i]);
    }
    burst_hmac(inner, outer, INFO_BYTES + 1);
    burst_hmac(inner, outer, sizeof(second_messages[0]));
}

static void expand(uint32_t count)
{
    static _Alignas(CACHE_LINE) uint8_t expanded[BURST][GCM_EXPANDED_BYTES];
    struct gcm_expansion expansions[BURST];
    for (uint32_t i = 0; i < count; i++)
        expansions[i] = (struct gcm_expansion){
            .expanded = expanded[i], .key = keys[i], .key_bytes = sizeof(keys[i])};
    gcm_expand_burst(core, expansions, count);
}

static void run_key_alone(void)
{
    expand(1);
}

static void run_keys_two(void)
{
    expand(2);
}

static void run_keys(void)
{
    expand(BURST);
}

static void run_keys_by_the_library(void)
{
    const bool has_powers = core->has_powers;
    core->has_powers = false;
    run_keys();
    core->has_powers = has_powers;
}

/* For one message's key alone. */
static void run_small_draw(void)
{
    static uint8_t bytes[CRYPTO_RANDOM_LARGE_BYTES];
    crypto_random(core, bytes, sizeof(bytes));
}

/* The most that the generator makes at once. */
static void run_generation(void)
{
    static uint8_t bytes[RANDOM_BUFFER_BYTES - RANDOM_KEY_BYTES];
    crypto_random(core, bytes, sizeof(bytes));
}

static uint64_t thread_ns(void)
{
    struct timespec now;
    const int rc = clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    ASSERT(rc == 0);
    return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

static int compare_doubles(const void *a, const void *b)
{
    const double left = *(const double *)a;
    const double right = *(const double *)b;
    return left < right ? -1 : left > right;
}

int main(void)
{
    static const struct {
        const char *name;
        void (*run)(void);
        double parts;
    } candidates[] = {
        {"one block, plain, 1 lane", run_scalar, 1},
        {"one block, 1 lane", run_one, 1},
        {"one block, vectors, 4 lanes together", run_half, 1},
        {"one block, vectors, 8 lanes together", run_vector, 1},
        {"HKDF of a message alone", run_hkdf_alone, 1},
        {"HKDF of two", run_hkdf_two, 1},
        {"HKDF of four", run_hkdf_four, 1},
        {"HKDF a message, of 32", run_hkdf, BURST},
        {"the same by ipsec-mb's HMAC jobs", run_ipsec_mb, BURST},
        {"key expansion of one alone", run_key_alone, 1},
        {"key expansion of two", run_keys_two, 1},
        {"key expansion a message, of 32", run_keys, BURST},
        {"the same with the library's powers of H", run_keys_by_the_library, BURST},
        {"random generation of 256 bytes", run_small_draw, 1},
        {"random generation of 4,064 bytes", run_generation, 1},
    };
    static double ns[ARRAY_COUNT(candidates)][RUNS_COUNT];
    for (enum isa isa = isa_best(); isa >= ISA_AVX2; isa--) {
        const int rc = crypto_core_open(&core, isa);
        ASSERT(rc == 0);
        crypto_random(core, keys[0], sizeof(keys));
        for (uint32_t run = 0; run < RUNS_COUNT; run++) {
            for (size_t i = 0; i < ARRAY_COUNT(candidates); i++) {
                const uint64_t start_ns = thread_ns();
                for (uint32_t j = 0; j < TIMES; j++)
                    candidates[i].run();
                ns[i][run] = (double)(thread_ns() - start_ns) / TIMES / candidates[i].parts;
            }
        }
        for (size_t i = 0; i < ARRAY_COUNT(candidates); i++) {
            qsort(ns[i], RUNS_COUNT, sizeof(ns[i][0]), compare_doubles);
            printf("%-7s %-40s %9.1f %9.1f %9.1f ns\n", isa_name(isa), candidates[i].name, ns[i][0],
                   ns[i][RUNS_COUNT / 2], ns[i][RUNS_COUNT - 1]);
        }
        crypto_core_close(core);
    }
    return 0;
}
