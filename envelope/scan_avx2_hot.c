#include "envelope/scan_internal.h"

#include <immintrin.h>
#include <stdbool.h>
#include <string.h>

#define TURN_BYTES (4 * SCAN_BLOCK_BYTES)

/*
 * A byte is dense when the classes of its two halves have a bit in common. By the upper half:
 * 0 is 0x01, 2 is 0x02, 3 is 0x04, 4 and 6 are 0x08, 5 and 7 are 0x10; a lower half has the bits of
 * the rows in which it stands for a dense byte. The lookup gives 0 for bytes of 0x80 and up.
 */
static bool all_dense(__m256i bytes)
{
    const __m256i upper_class =
        _mm256_setr_epi8(0x01, 0, 0x02, 0x04, 0x08, 0x10, 0x08, 0x10, 0, 0, 0, 0, 0, 0, 0,
                         0, /* both lanes alike */
                         0x01, 0, 0x02, 0x04, 0x08, 0x10, 0x08, 0x10, 0, 0, 0, 0, 0, 0, 0, 0);
    const __m256i lower_class =
        _mm256_setr_epi8(0x14, 0x1c, 0x1c, 0x1c, 0x1c, 0x1c, 0x1c, 0x1c, 0x1c, 0x1c, 0x19, 0x0a,
                         0x08, 0x0d, 0x08, 0x0a, 0x14, 0x1c, 0x1c, 0x1c, 0x1c, 0x1c, 0x1c, 0x1c,
                         0x1c, 0x1c, 0x19, 0x0a, 0x08, 0x0d, 0x08, 0x0a);
    const __m256i upper = _mm256_and_si256(_mm256_srli_epi16(bytes, 4), _mm256_set1_epi8(0x0f));
    const __m256i in = _mm256_and_si256(_mm256_shuffle_epi8(upper_class, upper),
                                        _mm256_shuffle_epi8(lower_class, bytes));

    return _mm256_movemask_epi8(_mm256_cmpeq_epi8(in, _mm256_setzero_si256())) == 0;
}

static inline bool has_blank(__m256i bytes)
{
    return _mm256_movemask_epi8(_mm256_cmpeq_epi8(bytes, _mm256_set1_epi8(' '))) != 0;
}

static inline __m256i load(const uint8_t *at)
{
    return _mm256_loadu_si256((const __m256i *)(const void *)at);
}

static inline void store(uint8_t *at, __m256i bytes)
{
    _mm256_storeu_si256((__m256i *)(void *)at, bytes);
}

/*
 * Copies while each block has a blank; returns the bytes of whole turns. Four loads go before the
 * first store: where source and destination lie alike within their pages, a load that follows a
 * store closely waits for it.
 */
static inline size_t pass_blanks(uint8_t *dst, const uint8_t *src, size_t src_bytes)
{
    size_t at = 0;

    for (; src_bytes - at >= TURN_BYTES; at += TURN_BYTES) {
        const __m256i a = load(src + at);
        const __m256i b = load(src + at + SCAN_BLOCK_BYTES);
        const __m256i c = load(src + at + 2 * SCAN_BLOCK_BYTES);
        const __m256i d = load(src + at + 3 * SCAN_BLOCK_BYTES);

        store(dst + at, a);
        store(dst + at + SCAN_BLOCK_BYTES, b);
        store(dst + at + 2 * SCAN_BLOCK_BYTES, c);
        store(dst + at + 3 * SCAN_BLOCK_BYTES, d);
        if (!(has_blank(a) & has_blank(b) & has_blank(c) & has_blank(d)))
            break;
    }
    return at;
}

HOT size_t scan_avx2(uint8_t *dst, const uint8_t *src, size_t src_bytes)
{
    size_t at = pass_blanks(dst, src, src_bytes);

    while (src_bytes - at >= SCAN_BLOCK_BYTES) {
        const __m256i block = load(src + at);

        if (!has_blank(block) && all_dense(block))
            return at;
        store(dst + at, block);
        at += SCAN_BLOCK_BYTES;
        if (at % TURN_BYTES == 0)
            at += pass_blanks(dst + at, src + at, src_bytes - at);
    }
    memcpy(dst + at, src + at, src_bytes - at);
    return src_bytes;
}
