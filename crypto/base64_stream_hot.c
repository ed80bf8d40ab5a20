#include "crypto/base64.h"

#include "base/assert.h"

#include <emmintrin.h>
#include <string.h>

/* Lines that are encoded in the first-level cache before they leave for memory. */
#define BATCH_LINES 16

_Static_assert(CACHE_LINE % sizeof(__m128i) == 0, "a line is whole vectors");

/* Whole cache lines to an aligned place, without reading what stood there. */
static inline void whole_store(uint8_t *dst, const uint8_t *src, size_t bytes)
{
    ASSERT_HOT((uintptr_t)dst % CACHE_LINE == 0);
    for (size_t i = 0; i < bytes; i += sizeof(__m128i))
        _mm_stream_si128((__m128i *)(void *)(dst + i),
                         _mm_load_si128((const __m128i *)(const void *)(src + i)));
}

/* Asks for the next `bytes` of what comes ahead, as far as it goes; nothing is read. */
static inline void ahead_fetch(struct base64_ahead *ahead, size_t bytes)
{
    const size_t now_bytes = MIN(bytes - bytes % CACHE_LINE, ahead->bytes);
    for (size_t i = 0; i < now_bytes; i += CACHE_LINE)
        _mm_prefetch((const char *)ahead->bytes_at + i, _MM_HINT_T1);
    ahead->bytes_at += now_bytes;
    ahead->bytes -= now_bytes;
}

void base64_stream_lines(const struct base64_codec *codec, uint8_t *dst, const uint8_t *src,
                         size_t lines_count, struct base64_ahead *ahead, size_t ahead_bytes)
{
    _Alignas(CACHE_LINE)
        uint8_t stage[BASE64_LINE_STRIDE + BATCH_LINES * BASE64_LINE_STRIDE + BASE64_SLACK_BYTES];
    size_t staged_bytes = 0; /* they belong at dst, which is aligned from here on */

    if (lines_count == 0)
        return;
    const size_t lead_bytes = -(uintptr_t)dst % CACHE_LINE;
    if (lead_bytes != 0) {
        codec->encode_lines(stage, src, 1);
        memcpy(dst, stage, lead_bytes);
        staged_bytes = BASE64_LINE_STRIDE - lead_bytes;
        memmove(stage, stage + lead_bytes, staged_bytes);
        dst += lead_bytes;
        src += BASE64_LINE_BYTES;
        lines_count--;
    }
    const size_t batches_count = (lines_count + BATCH_LINES - 1) / BATCH_LINES;
    const size_t fetched_bytes = ahead_bytes / MAX(batches_count, (size_t)1) + CACHE_LINE;
    while (lines_count > 0) {
        const size_t batch_lines = MIN(lines_count, (size_t)BATCH_LINES);
        ahead_fetch(ahead, fetched_bytes);
        codec->encode_lines(stage + staged_bytes, src, batch_lines);
        staged_bytes += batch_lines * BASE64_LINE_STRIDE;
        const size_t whole_bytes = staged_bytes - staged_bytes % CACHE_LINE;
        whole_store(dst, stage, whole_bytes);
        staged_bytes -= whole_bytes;
        memcpy(stage, stage + whole_bytes, CACHE_LINE);
        dst += whole_bytes;
        src += batch_lines * BASE64_LINE_BYTES;
        lines_count -= batch_lines;
    }
    memcpy(dst, stage, staged_bytes);
}

void base64_stream_end(void)
{
    _mm_sfence();
}
