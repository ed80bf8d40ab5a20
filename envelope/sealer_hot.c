#include "envelope/sealer.h"

#include "base/assert.h"
#include "crypto/secret.h"
#include "envelope/deflate.h"
#include "envelope/pack.h"

#include <string.h>

/* docs/format/envelope.md, field c */
#define FIELD_OPEN         "<input type=\"hidden\" name=\"c\" value=\"\r\n"
#define FIELD_OPEN_BYTES   (sizeof(FIELD_OPEN) - 1)
#define FIELD_CLOSE        "\">\r\n"
#define FIELD_CLOSE_BYTES  (sizeof(FIELD_CLOSE) - 1)
#define FIELD_CHUNKS_COUNT 57

_Static_assert(FIELD_CHUNKS_COUNT *COBBLE_SEALED_CHUNK_BYTES % BASE64_LINE_BYTES == 0,
               "a full field ends with a full line");
_Static_assert(SEALER_SLICE_BYTES <= PACK_SLICE_BYTES, "a slice is one packing step");

/* Of what a chunk becomes, that much is asked for before GCM: more would stand in GCM's own way. */
#define OUTPUT_LINES_MAX 48

/* What the next slice has for each chunk of this one, were it all base64: what is asked for sooner
 * than it can come stands in the way of what is written. */
#define AHEAD_BYTES (COBBLE_CHUNK_BYTES / 57 * 78)

struct sealer {
    struct cobble cobble;
    struct pack pack;
    const struct base64_codec *codec;
    uint32_t field_chunks_count; /* sealed into the open field; 0: no field is open       */
    uint32_t carry_bytes;        /* sealed bytes that wait for a full line                */
    uint32_t partial_bytes;      /* packed bytes that wait for a full chunk               */
    uint32_t partial_bytes_used; /* most that partial ever held: what there is to wipe    */
    uint32_t cached_chunks_left; /* before what is written goes past the caches           */
    struct base64_ahead ahead;   /* of the step under way                                 */
    bool compress;               /* literals are deflated                                 */
    uint8_t carry[BASE64_LINE_BYTES];
    _Alignas(CACHE_LINE) uint8_t partial[COBBLE_CHUNK_BYTES];
};

struct sealer_scratch {
    _Alignas(CACHE_LINE) uint8_t packed[COBBLE_CHUNK_BYTES + PACK_STEP_ROOM(SEALER_SLICE_BYTES)];
    _Alignas(CACHE_LINE) uint8_t sealed[BASE64_LINE_BYTES + COBBLE_SEALED_CHUNK_BYTES];
    size_t packed_bytes_used; /* of `packed`, since it was wiped; `sealed` is no secret */
};

/* It stands behind the scratch; profiles that do not compress never touch it. */
static struct deflate *scratch_deflate(struct sealer_scratch *scratch)
{
    return (struct deflate *)(void *)(scratch + 1);
}

size_t sealer_bytes(void)
{
    return sizeof(struct sealer);
}

size_t sealer_scratch_bytes(void)
{
    return sizeof(struct sealer_scratch) + deflate_bytes();
}

size_t sealer_fields_bytes_max(size_t mail_bytes)
{
    /*
     * The sealer keeps what is packed until its chunk is full, so a literal's header is out of
     * reach at most once a chunk: packed ≤ mail + magic + header × (1 + packed / chunk).
     */
    const size_t once_bytes = mail_bytes + PACK_MAGIC_BYTES + PACK_LITERAL_HEADER;
    const size_t packed_bytes =
        once_bytes +
        PACK_LITERAL_HEADER * (once_bytes / (COBBLE_CHUNK_BYTES - PACK_LITERAL_HEADER) + 1);
    const size_t chunks_count = packed_bytes / COBBLE_CHUNK_BYTES + 1;
    const size_t fields_count = (chunks_count + FIELD_CHUNKS_COUNT - 1) / FIELD_CHUNKS_COUNT;

    return base64_lines_chars(packed_bytes + chunks_count * COBBLE_TAG_BYTES) +
           fields_count * (FIELD_OPEN_BYTES + FIELD_CLOSE_BYTES) + BASE64_SLACK_BYTES;
}

void sealer_init(struct sealer *sealer, const struct base64_codec *codec, bool compress)
{
    ASSERT((uintptr_t)sealer % CACHE_LINE == 0);
    pack_init(&sealer->pack, codec);
    sealer->compress = compress;
    sealer->codec = codec;
    sealer->field_chunks_count = 0;
    sealer->carry_bytes = 0;
    sealer->partial_bytes = 0;
    sealer->partial_bytes_used = 0;
    sealer->cached_chunks_left = SEALER_CACHED_BYTES / COBBLE_CHUNK_BYTES;
    sealer->ahead = (struct base64_ahead){.bytes_at = NULL};
}

struct cobble *sealer_cobble(struct sealer *sealer)
{
    return &sealer->cobble;
}

void sealer_ahead(struct sealer *sealer, const uint8_t *bytes_at, size_t bytes)
{
    sealer->ahead = (struct base64_ahead){.bytes_at = bytes_at, .bytes = bytes};
}

/* Encodes the sealed bytes in scratch, carried ones first; whole lines only, unless `last`. */
static uint8_t *encode(struct sealer *sealer, const uint8_t *sealed, size_t sealed_bytes, bool last,
                       uint8_t *dst)
{
    if (last) {
        sealer->carry_bytes = 0;
        return dst + base64_encode(sealer->codec, dst, sealed, sealed_bytes);
    }
    const size_t lines_count = sealed_bytes / BASE64_LINE_BYTES;
    const size_t encoded_bytes = lines_count * BASE64_LINE_BYTES;

    if (sealer->cached_chunks_left > 0) {
        sealer->codec->encode_lines(dst, sealed, lines_count);
        sealer->cached_chunks_left--;
    } else {
        base64_stream_lines(sealer->codec, dst, sealed, lines_count, &sealer->ahead, AHEAD_BYTES);
    }
    sealer->carry_bytes = (uint32_t)(sealed_bytes - encoded_bytes);
    memcpy(sealer->carry, sealed + encoded_bytes, sealer->carry_bytes);
    return dst + lines_count * BASE64_LINE_STRIDE;
}

/*
 * The output has seldom been written lately: its cache lines come while GCM works. -mprfchw makes
 * this PREFETCHW, which gets them for writing; processors that have none pass over it.
 */
static inline void output_fetch(const uint8_t *dst, size_t sealed_bytes)
{
    const size_t lines_count = base64_lines_chars(sealed_bytes) / CACHE_LINE;
    for (size_t i = 0; i < MIN(lines_count, (size_t)OUTPUT_LINES_MAX); i++)
        __builtin_prefetch(dst + i * CACHE_LINE, 1, 3);
}

/*
 * Seals one chunk and writes it; the message's last is short. One at a time, since what lies
 * between GCM and base64 then stays in the first-level cache: two or four at a time were slower
 * (bench/envelope/pack_bench.c).
 */
static uint8_t *chunk(struct sealer *sealer, struct crypto_core *core, uint8_t *sealed,
                      const uint8_t *plain, size_t plain_bytes, bool last, uint8_t *dst)
{
    if (sealer->field_chunks_count == 0) {
        ASSERT(sealer->carry_bytes == 0);
        memcpy(dst, FIELD_OPEN, FIELD_OPEN_BYTES);
        dst += FIELD_OPEN_BYTES;
    }
    if (sealer->cached_chunks_left > 0)
        output_fetch(dst, plain_bytes);
    memcpy(sealed, sealer->carry, sealer->carry_bytes);
    const size_t sealed_bytes =
        sealer->carry_bytes +
        cobble_seal(core, &sealer->cobble, sealed + sealer->carry_bytes, plain, plain_bytes, last);
    dst = encode(sealer, sealed, sealed_bytes, last, dst);
    sealer->field_chunks_count++;
    ASSERT(sealer->field_chunks_count <= FIELD_CHUNKS_COUNT);
    if (last || sealer->field_chunks_count == FIELD_CHUNKS_COUNT) {
        memcpy(dst, FIELD_CLOSE, FIELD_CLOSE_BYTES);
        dst += FIELD_CLOSE_BYTES;
        sealer->field_chunks_count = 0;
    }
    return dst;
}

/* What this step may touch of dst. */
static size_t step_bytes_max(const struct sealer *sealer, size_t packed_bytes, bool last)
{
    const size_t chunks_count = packed_bytes / COBBLE_CHUNK_BYTES + (last ? 1 : 0);
    const size_t plain_bytes = last ? packed_bytes : chunks_count * COBBLE_CHUNK_BYTES;
    const size_t sealed_bytes = sealer->carry_bytes + plain_bytes + chunks_count * COBBLE_TAG_BYTES;
    const size_t fields_count =
        (sealer->field_chunks_count + chunks_count + FIELD_CHUNKS_COUNT - 1) / FIELD_CHUNKS_COUNT;

    const size_t opened_count = fields_count - (sealer->field_chunks_count != 0 ? 1 : 0);

    return base64_lines_chars(sealed_bytes) + BASE64_SLACK_BYTES + opened_count * FIELD_OPEN_BYTES +
           fields_count * FIELD_CLOSE_BYTES;
}

static size_t pack_slice(struct sealer *sealer, struct sealer_scratch *scratch, const uint8_t *src,
                         size_t src_bytes, bool last)
{
    return sealer->compress
               ? pack_step_deflated(&sealer->pack, scratch_deflate(scratch), scratch->packed,
                                    sealer->partial_bytes, src, src_bytes, last)
               : pack_step(&sealer->pack, scratch->packed, sealer->partial_bytes, src, src_bytes,
                           last);
}

size_t sealer_step(struct sealer *sealer, struct crypto_core *core, struct sealer_scratch *scratch,
                   const uint8_t *src, size_t src_bytes, bool last, uint8_t *dst, size_t dst_room)
{
    const uint8_t *plain = scratch->packed;
    uint8_t *dst_end = dst;

    ASSERT(src_bytes <= SEALER_SLICE_BYTES);
    ASSERT(src_bytes != 0 || last);
    memcpy(scratch->packed, sealer->partial, sealer->partial_bytes);
    scratch->packed_bytes_used =
        MAX(scratch->packed_bytes_used, sealer->partial_bytes + PACK_STEP_ROOM(src_bytes));
    size_t left_bytes = sealer->partial_bytes + pack_slice(sealer, scratch, src, src_bytes, last);
    sealer->partial_bytes = 0;
    ASSERT(step_bytes_max(sealer, left_bytes, last) <= dst_room); /* before a byte is written */
    for (; left_bytes >= COBBLE_CHUNK_BYTES; left_bytes -= COBBLE_CHUNK_BYTES) {
        dst_end = chunk(sealer, core, scratch->sealed, plain, COBBLE_CHUNK_BYTES, false, dst_end);
        plain += COBBLE_CHUNK_BYTES;
    }
    if (last) {
        dst_end = chunk(sealer, core, scratch->sealed, plain, left_bytes, true, dst_end);
    } else {
        memcpy(sealer->partial, plain, left_bytes);
        sealer->partial_bytes = (uint32_t)left_bytes;
        sealer->partial_bytes_used = MAX(sealer->partial_bytes_used, sealer->partial_bytes);
    }
    if (sealer->cached_chunks_left == 0)
        base64_stream_end();
    sealer->ahead = (struct base64_ahead){.bytes_at = NULL};
    return (size_t)(dst_end - dst);
}

void sealer_wipe(struct sealer *sealer)
{
    cobble_wipe(&sealer->cobble);
    pack_wipe(&sealer->pack);
    secret_wipe(sealer->partial, sealer->partial_bytes_used);
    sealer->partial_bytes = 0;
    sealer->partial_bytes_used = 0;
}

void sealer_scratch_wipe(struct sealer_scratch *scratch)
{
    ASSERT(scratch->packed_bytes_used <= sizeof(scratch->packed));
    secret_wipe(scratch->packed, scratch->packed_bytes_used);
    scratch->packed_bytes_used = 0;
    deflate_wipe(scratch_deflate(scratch));
}
