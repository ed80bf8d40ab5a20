/*
 * Claim:   every byte of a message passes GCM at ipsec-mb's speed, and what is done once a message
 *          (derivation, key schedule, random bytes, base64 of the result) costs less than that.
 * Metric:  GB/s of message bytes (10^9; for base64 the binary side), or ns an operation; minimum,
 *          median and maximum of 9 runs of at least 30 ms each of processor time, after a warm-up,
 *          on one thread.
 *          OpenSSL and getrandom(2) do the same work in the same process, for comparison.
 * Command: cmake --preset bench && ninja -C build/bench crypto_bench &&
 *          build/bench/bench/crypto/crypto_bench [--json FILE]
 */
#include "base/assert.h"
#include "base/clock.h"
#include "crypto/base64.h"
#include "crypto/cobblestone.h"
#include "crypto/gcm_internal.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include <jansson.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>

#define RUNS_COUNT  9
#define RUN_NS_MIN  (30 * NS_PER_MS)
#define BUFFER_ROOM (2 << 20)

/* Everything a case works on. */
struct bench {
    struct crypto_core *core;
    enum isa isa;
    size_t bytes; /* an operation's message bytes; 0 where an operation has none */
    uint32_t count;
    uint8_t *src;
    uint8_t *dst;
    struct cobble *cobbles;
    EVP_CIPHER_CTX *openssl_cipher;
    EVP_KDF_CTX *openssl_kdf;
    json_t *json;
};

typedef void operation(struct bench *bench);

struct figures {
    double min;
    double median;
    double max;
};

static int compare_doubles(const void *a, const void *b)
{
    const double left = *(const double *)a;
    const double right = *(const double *)b;
    return left < right ? -1 : left > right;
}

/* Time on the processor, so that what else the machine does counts for less. */
static uint64_t thread_ns(void)
{
    struct timespec now;
    const int rc = clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    ASSERT(rc == 0);
    return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

static uint64_t time_of(struct bench *bench, operation *run, uint64_t times)
{
    const uint64_t start_ns = thread_ns();
    for (uint64_t i = 0; i < times; i++)
        run(bench);
    return thread_ns() - start_ns;
}

/* Nanoseconds an operation. The warm-up also finds how often it fits into a run. */
static struct figures measure(struct bench *bench, operation *run)
{
    uint64_t times = 1;
    while (time_of(bench, run, times) < RUN_NS_MIN)
        times *= 2;
    double ns[RUNS_COUNT];
    for (uint32_t i = 0; i < RUNS_COUNT; i++)
        ns[i] = (double)time_of(bench, run, times) / (double)times;
    qsort(ns, RUNS_COUNT, sizeof(ns[0]), compare_doubles);
    return (struct figures){ns[0], ns[RUNS_COUNT / 2], ns[RUNS_COUNT - 1]};
}

static void report(struct bench *bench, const char *name, const char *unit, struct figures figures)
{
    printf("%-44s %10.2f %10.2f %10.2f  %s\n", name, figures.min, figures.median, figures.max,
           unit);
    (void)fflush(stdout);
    json_t *row = json_pack("{s:s, s:s, s:f, s:f, s:f}", "name", name, "unit", unit, "min",
                            figures.min, "median", figures.median, "max", figures.max);
    ASSERT(row != NULL);
    (void)json_array_append_new(bench->json, row);
}

/* The slowest run gives the least throughput. */
static void report_throughput(struct bench *bench, const char *name, operation *run)
{
    const struct figures ns = measure(bench, run);
    const double bytes = (double)bench->bytes;
    report(bench, name, "GB/s",
           (struct figures){bytes / ns.max, bytes / ns.median, bytes / ns.min});
}

/* `parts` operations are done in one call: one of them is reported. */
static void report_time(struct bench *bench, const char *name, operation *run, double parts)
{
    const struct figures ns = measure(bench, run);
    report(bench, name, "ns", (struct figures){ns.min / parts, ns.median / parts, ns.max / parts});
}

static void run_seal(struct bench *bench)
{
    struct cobble *cobble = &bench->cobbles[0];
    cobble->chunk_index = 0;
    (void)cobble_seal(bench->core, cobble, bench->dst, bench->src, bench->bytes, true);
}

static void run_open(struct bench *bench)
{
    struct cobble *cobble = &bench->cobbles[0];
    size_t plain_bytes = 0;
    cobble->chunk_index = 0;
    const int rc = cobble_open(bench->core, cobble, bench->src, bench->dst,
                               cobble_sealed_bytes(bench->bytes), true, &plain_bytes);
    ASSERT(rc == 0);
}

/* As run_seal: the same chunks under the same key, a new nonce for each. */
static void run_openssl_seal(struct bench *bench)
{
    size_t done = 0;
    uint8_t *at = bench->dst;
    for (;;) {
        const size_t now = MIN(bench->bytes - done, (size_t)COBBLE_CHUNK_BYTES);
        uint8_t nonce[12] = {0};
        int written = 0;
        nonce[11] = (uint8_t)(done / COBBLE_CHUNK_BYTES);
        int ok = EVP_EncryptInit_ex(bench->openssl_cipher, NULL, NULL, NULL, nonce);
        ok &= EVP_EncryptUpdate(bench->openssl_cipher, at, &written, bench->src + done, (int)now);
        ok &= EVP_EncryptFinal_ex(bench->openssl_cipher, at + now, &written);
        ok &= EVP_CIPHER_CTX_ctrl(bench->openssl_cipher, EVP_CTRL_AEAD_GET_TAG, 16, at + now);
        ASSERT(ok == 1);
        at += now + COBBLE_TAG_BYTES;
        done += now;
        if (now < COBBLE_CHUNK_BYTES)
            return;
    }
}

static void run_expand(struct bench *bench)
{
    bench->src[0]++;
    gcm_expand(bench->core, bench->cobbles[0].expanded, bench->src, 32);
}

static void run_openssl_expand(struct bench *bench)
{
    bench->src[0]++;
    const int ok =
        EVP_EncryptInit_ex(bench->openssl_cipher, NULL, NULL, bench->src, bench->src + 32);
    ASSERT(ok == 1);
}

static void run_derive(struct bench *bench)
{
    struct cobble_derivation derivations[COBBLE_DERIVE_BURST_MAX];
    bench->src[0]++;
    for (uint32_t i = 0; i < bench->count; i++)
        derivations[i] = (struct cobble_derivation){.suite = COBBLE_AES_256,
                                                    .key = bench->src + (size_t)i * 32,
                                                    .salt = bench->src + 2048 + (size_t)i * 24,
                                                    .context = bench->src + 4096,
                                                    .context_bytes = 25,
                                                    .cobble = &bench->cobbles[i]};
    cobble_derive_burst(bench->core, derivations, bench->count);
}

/* Everything that cobble_derive_burst() does for one message: 76 bytes of HKDF, key schedule. */
static void run_openssl_derive(struct bench *bench)
{
    int mode = EVP_KDF_HKDF_MODE_EXPAND_ONLY;
    char digest[] = "SHA512";
    uint8_t okm[76];
    bench->src[0]++;
    const OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_int(OSSL_KDF_PARAM_MODE, &mode),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, bench->src, 32),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, bench->src + 2048, 97),
        OSSL_PARAM_construct_end(),
    };
    int ok = EVP_KDF_derive(bench->openssl_kdf, okm, sizeof(okm), params);
    ok &= EVP_EncryptInit_ex(bench->openssl_cipher, NULL, NULL, okm, okm + 32);
    ASSERT(ok == 1);
}

static void run_random(struct bench *bench)
{
    crypto_random(bench->core, bench->dst, bench->bytes);
}

static void run_getrandom(struct bench *bench)
{
    const ssize_t got = getrandom(bench->dst, bench->bytes, 0);
    ASSERT(got == (ssize_t)bench->bytes);
}

static void run_encode(struct bench *bench)
{
    base64_codec(bench->isa)
        ->encode_lines(bench->dst, bench->src, bench->bytes / BASE64_LINE_BYTES);
}

static void run_decode(struct bench *bench)
{
    const size_t lines_count = bench->bytes / BASE64_LINE_BYTES;
    const size_t lines = base64_codec(bench->isa)
                             ->decode_lines(bench->src, bench->dst,
                                            lines_count * BASE64_LINE_STRIDE, BASE64_LINE_CHARS, 2);
    ASSERT(lines == lines_count);
}

static void run_openssl_encode(struct bench *bench)
{
    (void)EVP_EncodeBlock(bench->dst, bench->src, (int)bench->bytes);
}

static void run_openssl_decode(struct bench *bench)
{
    const int bytes = EVP_DecodeBlock(bench->src, bench->dst, (int)(bench->bytes / 3 * 4));
    ASSERT(bytes == (int)bench->bytes);
}

static void bench_gcm(struct bench *bench)
{
    static const size_t sizes[] = {256, 4096, 16383, 65536, 1 << 20};
    char name[64];
    for (size_t i = 0; i < ARRAY_COUNT(sizes); i++) {
        bench->bytes = sizes[i];
        (void)snprintf(name, sizeof(name), "seal %zu bytes, %s", sizes[i], isa_name(bench->isa));
        report_throughput(bench, name, run_seal);
        (void)snprintf(name, sizeof(name), "open %zu bytes, %s", sizes[i], isa_name(bench->isa));
        report_throughput(bench, name, run_open);
        (void)snprintf(name, sizeof(name), "seal %zu bytes, OpenSSL", sizes[i]);
        if (bench->isa == isa_best())
            report_throughput(bench, name, run_openssl_seal);
    }
}

static void bench_keys(struct bench *bench)
{
    char name[64];
    (void)snprintf(name, sizeof(name), "key schedule, %s", isa_name(bench->isa));
    report_time(bench, name, run_expand, 1);
    static const uint32_t counts[] = {1, 8, COBBLE_DERIVE_BURST_MAX};
    for (size_t i = 0; i < ARRAY_COUNT(counts); i++) {
        bench->count = counts[i];
        (void)snprintf(name, sizeof(name), "derive and schedule, of %u, %s", counts[i],
                       isa_name(bench->isa));
        report_time(bench, name, run_derive, counts[i]);
    }
    if (bench->isa == isa_best()) {
        report_time(bench, "key schedule, OpenSSL", run_openssl_expand, 1);
        report_time(bench, "derive and schedule, OpenSSL", run_openssl_derive, 1);
    }
}

static void bench_random(struct bench *bench)
{
    char name[64];
    bench->bytes = 32;
    (void)snprintf(name, sizeof(name), "random 32 bytes, %s", isa_name(bench->isa));
    report_time(bench, name, run_random, 1);
    bench->bytes = 56 * (size_t)32;
    (void)snprintf(name, sizeof(name), "random 56 bytes, drawn for 32, %s", isa_name(bench->isa));
    report_time(bench, name, run_random, 32);
    bench->bytes = 32;
    if (bench->isa == isa_best())
        report_time(bench, "random 32 bytes, getrandom(2)", run_getrandom, 1);
}

static void bench_base64(struct bench *bench)
{
    static const size_t lines_counts[] = {200, 1152, 16384};
    char name[64];
    for (size_t i = 0; i < ARRAY_COUNT(lines_counts); i++) {
        bench->bytes = lines_counts[i] * BASE64_LINE_BYTES;
        (void)snprintf(name, sizeof(name), "base64 encode %zu lines, %s", lines_counts[i],
                       isa_name(bench->isa));
        report_throughput(bench, name, run_encode);
        (void)snprintf(name, sizeof(name), "base64 decode %zu lines, %s", lines_counts[i],
                       isa_name(bench->isa));
        report_throughput(bench, name, run_decode);
    }
    if (bench->isa != isa_best())
        return;
    bench->bytes = lines_counts[1] * BASE64_LINE_BYTES;
    report_throughput(bench, "base64 encode, OpenSSL, no lines", run_openssl_encode);
    report_throughput(bench, "base64 decode, OpenSSL, no lines", run_openssl_decode);
}

static void bench_isa(struct bench *bench, enum isa isa)
{
    bench->isa = isa;
    const int rc = crypto_core_open(&bench->core, isa);
    ASSERT(rc == 0);
    bench->count = 1;
    crypto_random(bench->core, bench->src, BUFFER_ROOM);
    run_derive(bench);
    bench_gcm(bench);
    bench_keys(bench);
    bench_random(bench);
    bench_base64(bench);
    crypto_core_close(bench->core);
}

static bool bench_openssl_open(struct bench *bench)
{
    static const uint8_t zeros[32];
    EVP_KDF *kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
    EVP_CIPHER *cipher = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
    bench->openssl_kdf = EVP_KDF_CTX_new(kdf);
    bench->openssl_cipher = EVP_CIPHER_CTX_new();
    const bool ok = kdf != NULL && cipher != NULL && bench->openssl_kdf != NULL &&
                    EVP_EncryptInit_ex(bench->openssl_cipher, cipher, NULL, zeros, zeros) == 1;
    EVP_KDF_free(kdf);
    EVP_CIPHER_free(cipher);
    return ok;
}

int main(int argc, char **argv)
{
    const char *json_path = NULL;
    if (argc == 3 && strcmp(argv[1], "--json") == 0) {
        json_path = argv[2];
    } else if (argc != 1) {
        (void)fprintf(stderr, "usage: crypto_bench [--json FILE]\n");
        return 64;
    }
    struct bench bench = {
        .src = aligned_alloc(4096, BUFFER_ROOM),
        .dst = aligned_alloc(4096, BUFFER_ROOM),
        .cobbles = aligned_alloc(CACHE_LINE, COBBLE_DERIVE_BURST_MAX * sizeof(struct cobble)),
        .json = json_array(),
    };
    ASSERT(bench.src != NULL && bench.dst != NULL && bench.cobbles != NULL);
    if (!bench_openssl_open(&bench)) {
        (void)fprintf(stderr, "crypto_bench: OpenSSL lacks HKDF or AES-256-GCM\n");
        return 69;
    }
    printf("%-44s %10s %10s %10s\n", "", "min", "median", "max");
    for (enum isa isa = isa_best(); isa >= ISA_SSE; isa--)
        bench_isa(&bench, isa);
    int status = 0;
    if (json_path != NULL && json_dump_file(bench.json, json_path, JSON_INDENT(2)) != 0) {
        (void)fprintf(stderr, "crypto_bench: cannot write %s\n", json_path);
        status = 73;
    }
    json_decref(bench.json);
    EVP_CIPHER_CTX_free(bench.openssl_cipher);
    EVP_KDF_CTX_free(bench.openssl_kdf);
    free(bench.cobbles);
    free(bench.dst);
    free(bench.src);
    return status;
}
