/*
 * Claim:   packing and sealing run at the speed of the three passes they cannot do without: base64
 *          decode, AES-256-GCM, base64 encode; the sealer adds no pass of its own.
 * Metric:  GB/s of original message, best of the rounds, one thread; and the sealer's share of the
 *          roofline 1 / (1/decode + r/GCM + r/encode) that is measured in the same run, r being
 *          packed bytes for each byte of message.
 * Command: build/release/bench/envelope/pack_bench
 */
#include "base/assert.h"
#include "base/clock.h"
#include "base/macros.h"
#include "crypto/base64.h"
#include "crypto/cobblestone.h"
#include "crypto/core.h"
#include "envelope/pack.h"
#include "envelope/sealer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Many short rounds, the best counts: on a busy machine some are left alone. */
#define ROUNDS_COUNT      150
#define ROUND_BYTES       (2u << 20) /* worked on in a round, at least */
#define LARGE_BYTES       (25u << 20)
#define SMALL_BYTES_MAX   (64u << 10)
#define TURN_STRIDE_BYTES (16u << 10)

struct bench {
    struct crypto_core *core;
    const struct base64_codec *codec;
    struct sealer *sealer;
    struct sealer_scratch *scratch;
    struct cobble derived;
    uint8_t *src;
    uint8_t *packed;
    uint8_t *dst;
    size_t dst_bytes;
    size_t turn_bytes; /* of dst that small messages are sealed into, one behind the other */
    size_t turn;
};

/* Work on one message of mail_bytes at bench->src. */
typedef void (*work_fn)(struct bench *bench, size_t mail_bytes);

static double gigabytes_per_second(struct bench *bench, work_fn work, size_t mail_bytes)
{
    const uint32_t repeats_count = (uint32_t)MAX(ROUND_BYTES / mail_bytes, 1u);
    uint64_t best_ns = UINT64_MAX;

    work(bench, mail_bytes);
    for (uint32_t round = 0; round < ROUNDS_COUNT; round++) {
        const uint64_t start_ns = clock_monotonic_ns();
        for (uint32_t i = 0; i < repeats_count; i++)
            work(bench, mail_bytes);
        best_ns = MIN(best_ns, clock_monotonic_ns() - start_ns);
    }
    return (double)mail_bytes * repeats_count / (double)best_ns;
}

static void work_decode(struct bench *bench, size_t mail_bytes)
{
    const size_t lines_count =
        bench->codec->decode_lines(bench->packed, bench->src, mail_bytes, 76, 2);
    ASSERT(lines_count == mail_bytes / 78);
}

static void work_encode(struct bench *bench, size_t mail_bytes)
{
    bench->codec->encode_lines(bench->dst, bench->src, mail_bytes / BASE64_LINE_BYTES);
}

static void work_gcm(struct bench *bench, size_t mail_bytes)
{
    struct cobble *cobble = sealer_cobble(bench->sealer);

    memcpy(cobble, &bench->derived, sizeof(*cobble));
    (void)cobble_seal(bench->core, cobble, bench->packed, bench->src, mail_bytes, true);
}

static void work_pack(struct bench *bench, size_t mail_bytes)
{
    struct pack pack;

    pack_init(&pack, bench->codec);
    for (size_t at = 0; at < mail_bytes;) {
        const size_t bytes = MIN(mail_bytes - at, (size_t)PACK_SLICE_BYTES);
        (void)pack_step(&pack, bench->packed, 0, bench->src + at, bytes, at + bytes == mail_bytes);
        at += bytes;
    }
}

static void work_seal(struct bench *bench, size_t mail_bytes)
{
    size_t out = 0;

    sealer_init(bench->sealer, bench->codec, false);
    memcpy(sealer_cobble(bench->sealer), &bench->derived, sizeof(bench->derived));
    for (size_t at = 0; at < mail_bytes;) {
        const size_t bytes = MIN(mail_bytes - at, (size_t)SEALER_SLICE_BYTES);
        const size_t next = at + bytes;
        sealer_ahead(bench->sealer, bench->src + next,
                     MIN(mail_bytes - next, (size_t)SEALER_SLICE_BYTES));
        out += sealer_step(bench->sealer, bench->core, bench->scratch, bench->src + at, bytes,
                           at + bytes == mail_bytes, bench->dst + out, bench->dst_bytes - out);
        at += bytes;
    }
    sealer_wipe(bench->sealer);
}

/* As an arena that many messages pass through. */
static void work_seal_in_turn(struct bench *bench, size_t mail_bytes)
{
    sealer_init(bench->sealer, bench->codec, false);
    memcpy(sealer_cobble(bench->sealer), &bench->derived, sizeof(bench->derived));
    (void)sealer_step(bench->sealer, bench->core, bench->scratch, bench->src, mail_bytes, true,
                      bench->dst + bench->turn, bench->dst_bytes - bench->turn);
    sealer_wipe(bench->sealer);
    bench->turn = (bench->turn + TURN_STRIDE_BYTES) % bench->turn_bytes;
}

static void fill_base64(struct bench *bench, size_t bytes)
{
    const size_t lines_count = bytes / BASE64_LINE_STRIDE;

    memset(bench->src, '\n', bytes);
    crypto_random(bench->core, bench->dst, lines_count * BASE64_LINE_BYTES);
    bench->codec->encode_lines(bench->src, bench->dst, lines_count);
}

/* Words and blanks, lines of about 66 characters, as letters are written. */
static void fill_text(struct bench *bench, size_t bytes)
{
    uint32_t column = 0;
    uint32_t state = 1; /* the same text in every run: how often words are long decides */

    for (size_t i = 0; i < bytes; i++) {
        state = state * 1664525 + 1013904223;
        const uint8_t random = (uint8_t)(state >> 24);
        bench->src[i] = (uint8_t)(random % 6 == 0 ? ' ' : 'a' + random / 6 % 26);
        if (++column > 66 && bench->src[i] == ' ' && i + 1 < bytes) {
            bench->src[i++] = '\r';
            bench->src[i] = '\n';
            column = 0;
        }
    }
}

static void report(struct bench *bench, const char *kind, size_t mail_bytes, double decode,
                   double ratio)
{
    const size_t piece_bytes = MIN(mail_bytes, (size_t)SMALL_BYTES_MAX);
    const size_t packed_bytes = (size_t)((double)piece_bytes * ratio);
    const double gcm = gigabytes_per_second(bench, work_gcm, packed_bytes);
    const double encode = gigabytes_per_second(bench, work_encode, packed_bytes);
    const double roofline = 1 / (1 / decode + ratio / gcm + ratio / encode);
    const double seal = gigabytes_per_second(bench, work_seal, mail_bytes);

    printf("seal %-6s %9zu bytes  %5.2f GB/s  roofline %5.2f  share %3.0f %%  (GCM %.1f, encode "
           "%.1f)\n",
           kind, mail_bytes, seal, roofline, 100 * seal / roofline, gcm, encode);
}

static void *room(size_t bytes)
{
    void *at = aligned_alloc(CACHE_LINE, (bytes + CACHE_LINE - 1) / CACHE_LINE * CACHE_LINE);

    ASSERT(at != NULL);
    memset(at, 0, bytes);
    return at;
}

static void bench_open(struct bench *bench)
{
    static const uint8_t key[COBBLE_KEY_BYTES_MAX] = {1};
    struct cobble_derivation derivation = {.suite = COBBLE_AES_256,
                                           .key = key,
                                           .salt = key,
                                           .context = key,
                                           .context_bytes = 25,
                                           .cobble = &bench->derived};

    ASSERT(crypto_core_open(&bench->core, isa_best()) == 0);
    bench->codec = base64_codec(isa_best());
    bench->sealer = room(sealer_bytes());
    bench->scratch = room(sealer_scratch_bytes());
    bench->dst_bytes = sealer_fields_bytes_max(LARGE_BYTES);
    bench->src = room(LARGE_BYTES);
    bench->packed = room(PACK_STEP_ROOM(PACK_SLICE_BYTES) + SMALL_BYTES_MAX);
    bench->dst = room(bench->dst_bytes);
    cobble_derive_burst(bench->core, &derivation, 1);
}

int main(void)
{
    static const size_t sizes[] = {4096, SMALL_BYTES_MAX, 1 << 20, LARGE_BYTES};
    struct bench bench;

    bench_open(&bench);
    printf("instructions: %s\n", isa_name(isa_best()));
    fill_base64(&bench, LARGE_BYTES);
    const double decode = gigabytes_per_second(&bench, work_decode, SMALL_BYTES_MAX / 78 * 78);
    printf("decode base64 76 CRLF   %6.2f GB/s\n", decode);
    printf("pack base64 64 KiB      %6.2f GB/s\n",
           gigabytes_per_second(&bench, work_pack, SMALL_BYTES_MAX));
    printf("pack base64 25 MiB      %6.2f GB/s\n",
           gigabytes_per_second(&bench, work_pack, LARGE_BYTES));
    for (uint32_t i = 0; i < ARRAY_COUNT(sizes); i++)
        report(&bench, "base64", sizes[i], decode, 57.0 / 78);

    fill_text(&bench, LARGE_BYTES);
    const double text = gigabytes_per_second(&bench, work_pack, SMALL_BYTES_MAX);
    printf("pack text 4 KiB         %6.2f GB/s\n", gigabytes_per_second(&bench, work_pack, 4096));
    printf("pack text 64 KiB        %6.2f GB/s\n", text);
    for (uint32_t i = 0; i < ARRAY_COUNT(sizes); i++)
        report(&bench, "text", sizes[i], text, 1);
    for (uint32_t mib = 1; mib <= 16; mib *= 4) {
        bench.turn_bytes = (size_t)mib << 20;
        bench.turn = 0;
        printf("seal text 4 KiB, output in turn through %2u MiB %5.2f GB/s\n", mib,
               gigabytes_per_second(&bench, work_seal_in_turn, 4096));
    }
    cobble_wipe(&bench.derived);
    crypto_core_close(bench.core);
    return 0;
}
