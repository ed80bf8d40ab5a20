#include "bench/roofline.h"

#include "base/assert.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "crypto/base64.h"
#include "crypto/cobblestone.h"
#include "crypto/gcm_internal.h"
#include "envelope/pack.h"
#include "envelope/sealer.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROOFLINE_PIECE_BYTES (64 * 1024)
#define ROOFLINE_PIECE_LINES (ROOFLINE_PIECE_BYTES / BASE64_LINE_BYTES)
#define ROOFLINE_STEP_LINES  64          /* decoded between two askings for what comes  */
#define ROOFLINE_AHEAD_BYTES (32 * 1024) /* how long before it is decoded mail is asked for */
#define ROOFLINE_RUNS_MAX    64 /* of base64 in one message; more are left to GCM and encode */

struct roofline_run {
    size_t at; /* in the message */
    size_t lines_count;
    uint32_t width;
    uint32_t eol_bytes;
};

struct roofline_mail {
    const uint8_t *mail;
    uint8_t *packed;
    size_t packed_bytes;
    struct roofline_run *runs;
    uint32_t runs_count;
};

struct roofline {
    struct crypto_core *core;
    const struct base64_codec *codec;
    struct roofline_mail *mails;
    uint32_t mails_count;
    uint64_t bytes_total;
    uint64_t nonces_used;
    uint8_t *expanded;
    uint8_t *work; /* packed or sealed bytes of the largest message */
    uint8_t *out;  /* encoded bytes of it */
};

struct roofline_times {
    uint64_t decode_ns;
    uint64_t gcm_ns;
    uint64_t encode_ns;
};

static void roofline_pack(struct roofline_mail *made, const struct mailset_mail *mail,
                          const struct base64_codec *codec)
{
    struct pack pack;
    pack_init(&pack, codec);
    for (size_t at = 0; at < mail->bytes;) {
        const size_t bytes = MIN(mail->bytes - at, (size_t)PACK_SLICE_BYTES);
        made->packed_bytes += pack_step(&pack, made->packed, made->packed_bytes,
                                        mail->bytes_at + at, bytes, at + bytes == mail->bytes);
        at += bytes;
    }
}

/* The packed segments say where the message's base64 lines stand; full lines are decoded. */
static void roofline_find(struct roofline_mail *made)
{
    size_t at = PACK_MAGIC_BYTES;
    size_t mail_at = 0;
    while (at < made->packed_bytes && made->runs_count < ROOFLINE_RUNS_MAX) {
        const uint8_t *segment = made->packed + at;
        if (segment[0] == PACK_TAG_LITERAL) {
            const uint32_t bytes = bytes_load_le32(segment + 1);
            at += PACK_LITERAL_HEADER + bytes;
            mail_at += bytes;
            continue;
        }
        ASSERT(segment[0] == PACK_TAG_RUN);
        const uint32_t width = segment[1];
        const uint32_t eol_bytes = segment[2];
        const uint32_t bytes = bytes_load_le32(segment + 4);
        const size_t lines_count = bytes / (width / 4 * 3);
        const size_t rest_bytes = bytes % (width / 4 * 3);
        made->runs[made->runs_count++] = (struct roofline_run){
            .at = mail_at, .lines_count = lines_count, .width = width, .eol_bytes = eol_bytes};
        mail_at += lines_count * (width + eol_bytes);
        if (rest_bytes > 0)
            mail_at += (rest_bytes + 2) / 3 * 4 + eol_bytes;
        if ((segment[3] & PACK_FLAG_LAST_NO_EOL) != 0)
            mail_at -= eol_bytes;
        at += PACK_RUN_HEADER + bytes;
    }
}

static int roofline_add(struct roofline *roofline, const struct mailset_mail *mail)
{
    struct roofline_mail *made = &roofline->mails[roofline->mails_count];
    const size_t steps_count = mail->bytes / PACK_SLICE_BYTES + 1;
    *made = (struct roofline_mail){.mail = mail->bytes_at};
    made->packed =
        malloc(pack_bytes_max(mail->bytes, steps_count) + PACK_STEP_ROOM(PACK_SLICE_BYTES));
    made->runs = calloc(ROOFLINE_RUNS_MAX, sizeof(*made->runs));
    roofline->mails_count++;
    if (made->packed == NULL || made->runs == NULL)
        return -ENOMEM;
    roofline_pack(made, mail, roofline->codec);
    roofline_find(made);
    roofline->bytes_total += mail->bytes;
    return 0;
}

int roofline_open(struct roofline **roofline, const struct mailset *set,
                  char why[MAILSET_WHY_BYTES])
{
    uint8_t key[COBBLE_KEY_BYTES_MAX];
    struct roofline *made = calloc(1, sizeof(*made));
    if (made == NULL)
        return -ENOMEM;
    /* Tags, line ends and what codecs may scribble on. */
    const size_t room = set->bytes_max * 3 / 2 + 65536;
    made->codec = base64_codec(isa_best());
    made->mails = calloc(set->mails_count, sizeof(*made->mails));
    made->expanded = aligned_alloc(CACHE_LINE, GCM_EXPANDED_BYTES);
    made->work = malloc(room);
    made->out = malloc(room);
    int rc =
        made->mails == NULL || made->expanded == NULL || made->work == NULL || made->out == NULL
            ? -ENOMEM
            : crypto_core_open(&made->core, isa_best());
    for (uint32_t i = 0; rc == 0 && i < set->mails_count; i++)
        rc = roofline_add(made, &set->mails[i]);
    if (rc != 0) {
        (void)snprintf(why, MAILSET_WHY_BYTES, "the roofline cannot be prepared: %s",
                       strerror(-rc));
        roofline_close(made);
        return rc;
    }
    memset(made->work, 1, room);
    memset(made->out, 1, room);
    crypto_random(made->core, key, sizeof(key));
    gcm_expand(made->core, made->expanded, key, sizeof(key));
    *roofline = made;
    return 0;
}

void roofline_close(struct roofline *roofline)
{
    if (roofline == NULL)
        return;
    for (uint32_t i = 0; i < roofline->mails_count; i++) {
        free(roofline->mails[i].packed);
        free(roofline->mails[i].runs);
    }
    free(roofline->mails);
    free(roofline->expanded);
    free(roofline->work);
    free(roofline->out);
    if (roofline->core != NULL)
        crypto_core_close(roofline->core);
    free(roofline);
}

/* Which buffers are walked through; of the others the first piece is used each time. */
struct roofline_walk {
    bool mail; /* decode's source, encode's result                       */
    bool work; /* decode's result, both of GCM's buffers, encode's source */
};

static const struct roofline_walk roofline_walks[ROOFLINE_PLACES] = {
    [ROOFLINE_ONE_PASS] = {.mail = true, .work = false},
    [ROOFLINE_BUFFERS] = {.mail = true, .work = true},
    [ROOFLINE_CACHE] = {.mail = false, .work = false},
};

/* The mail that is decoded soon comes meanwhile, as the engine has it; nothing is read. */
static void roofline_fetch(const uint8_t *bytes_at, size_t bytes)
{
    for (size_t i = 0; i < bytes; i += CACHE_LINE)
        __builtin_prefetch(bytes_at + i, 0, 2);
}

/* Results go to pieces as the engine's slices. */
static void roofline_decode(const struct roofline *roofline, const struct roofline_mail *mail,
                            struct roofline_walk walk)
{
    for (uint32_t r = 0; r < mail->runs_count; r++) {
        const struct roofline_run *run = &mail->runs[r];
        const size_t stride = run->width + run->eol_bytes;
        const size_t piece = MAX(ROOFLINE_PIECE_BYTES / stride, (size_t)ROOFLINE_STEP_LINES) /
                             ROOFLINE_STEP_LINES * ROOFLINE_STEP_LINES;
        const size_t ahead = ROOFLINE_AHEAD_BYTES / stride;
        for (size_t line = 0; line < run->lines_count; line += ROOFLINE_STEP_LINES) {
            const size_t lines = MIN(run->lines_count - line, (size_t)ROOFLINE_STEP_LINES);
            const size_t to = walk.work ? line : line % piece;
            const size_t from = walk.mail ? line : line % piece;
            const uint8_t *src = mail->mail + run->at + from * stride;
            if (walk.mail && line + ahead + lines <= run->lines_count)
                roofline_fetch(src + ahead * stride, lines * stride);
            const size_t decoded =
                roofline->codec->decode_lines(roofline->work + to * (run->width / 4 * 3), src,
                                              lines * stride, run->width, run->eol_bytes);
            ASSERT(decoded == lines);
        }
    }
}

static void roofline_gcm(struct roofline *roofline, const struct roofline_mail *mail,
                         struct roofline_walk walk)
{
    static const struct gcm_aad no_aad = {.bytes_at = NULL, .bytes = 0};
    size_t sealed_at = 0;
    for (size_t at = 0; at < mail->packed_bytes; at += COBBLE_CHUNK_BYTES) {
        uint8_t nonce[GCM_NONCE_BYTES] = {0};
        const size_t bytes = MIN(mail->packed_bytes - at, (size_t)COBBLE_CHUNK_BYTES);
        const size_t back = walk.work ? 0 : at % ROOFLINE_PIECE_BYTES;
        bytes_store_be64(nonce + 4, roofline->nonces_used++);
        gcm_seal(roofline->core, roofline->expanded, COBBLE_KEY_BYTES_MAX, nonce, no_aad,
                 roofline->work + (walk.work ? sealed_at : back),
                 mail->packed + (walk.work ? at : back), bytes);
        sealed_at += bytes + GCM_TAG_BYTES;
    }
}

static void roofline_encode(const struct roofline *roofline, const struct roofline_mail *mail,
                            struct roofline_walk walk)
{
    const size_t chunks = (mail->packed_bytes + COBBLE_CHUNK_BYTES - 1) / COBBLE_CHUNK_BYTES;
    const size_t sealed_bytes = mail->packed_bytes + chunks * GCM_TAG_BYTES;
    const size_t lines_count = sealed_bytes / BASE64_LINE_BYTES;
    /* Past the caches where the sealer does so too: that is our best for texts of that size. */
    const bool stream = walk.mail && mail->packed_bytes > SEALER_CACHED_BYTES;
    struct base64_ahead none = {.bytes_at = NULL, .bytes = 0};
    for (size_t line = 0; line < lines_count; line += ROOFLINE_PIECE_LINES) {
        const size_t lines = MIN(lines_count - line, (size_t)ROOFLINE_PIECE_LINES);
        const uint8_t *src = roofline->work + (walk.work ? line : 0) * BASE64_LINE_BYTES;
        uint8_t *dst = roofline->out + (walk.mail ? line : 0) * BASE64_LINE_STRIDE;
        if (stream)
            base64_stream_lines(roofline->codec, dst, src, lines, &none, 0);
        else
            roofline->codec->encode_lines(dst, src, lines);
    }
    if (stream)
        base64_stream_end();
    (void)base64_encode(roofline->codec, roofline->out, roofline->work,
                        sealed_bytes % BASE64_LINE_BYTES);
}

/* All messages through each step; what each took is added. */
static void roofline_round(struct roofline *roofline, struct roofline_walk walk,
                           struct roofline_times *times)
{
    const uint64_t start_ns = clock_monotonic_ns();
    for (uint32_t i = 0; i < roofline->mails_count; i++)
        roofline_decode(roofline, &roofline->mails[i], walk);
    const uint64_t decoded_ns = clock_monotonic_ns();
    for (uint32_t i = 0; i < roofline->mails_count; i++)
        roofline_gcm(roofline, &roofline->mails[i], walk);
    const uint64_t sealed_ns = clock_monotonic_ns();
    for (uint32_t i = 0; i < roofline->mails_count; i++)
        roofline_encode(roofline, &roofline->mails[i], walk);
    times->decode_ns += decoded_ns - start_ns;
    times->gcm_ns += sealed_ns - decoded_ns;
    times->encode_ns += clock_monotonic_ns() - sealed_ns;
}

void roofline_measure(struct roofline *roofline, enum roofline_place place, uint64_t duration_ns,
                      struct roofline_rates *rates)
{
    const struct roofline_walk walk = roofline_walks[place];
    struct roofline_times times = {.decode_ns = 0};
    uint64_t rounds_count = 0;
    bool base64 = false;
    for (uint32_t i = 0; i < roofline->mails_count; i++)
        base64 = base64 || roofline->mails[i].runs_count > 0;
    roofline_round(roofline, walk, &times); /* memory and caches get to know it: not counted */
    times = (struct roofline_times){.decode_ns = 0};
    while (times.decode_ns + times.gcm_ns + times.encode_ns < duration_ns || rounds_count == 0) {
        roofline_round(roofline, walk, &times);
        rounds_count++;
    }
    const double bytes = (double)roofline->bytes_total * (double)rounds_count;
    *rates = (struct roofline_rates){
        .decode_mb_per_s = base64 ? bytes / (double)times.decode_ns * 1e3 : 0,
        .gcm_mb_per_s = bytes / (double)times.gcm_ns * 1e3,
        .encode_mb_per_s = bytes / (double)times.encode_ns * 1e3,
        .mb_per_s = bytes / (double)(times.decode_ns + times.gcm_ns + times.encode_ns) * 1e3,
    };
}
