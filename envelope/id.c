#include "envelope/id.h"

#include "base/assert.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "envelope/window.h"

#include <errno.h>
#include <string.h>

#define ID_VERSION_7      0x70
#define ID_VARIANT_RFC    0x80
#define ID_FRACTION_STEPS 4096 /* 12 bits of a millisecond: 244 ns each */
#define ID_RANDOM_AT      8
#define ID_UNIX_MS_BITS   48
#define ID_CONTEXT_TEXT   "bulla/1" /* its terminating NUL is the 0x00 of the context */
#define ID_CONTEXT_ID_AT  (sizeof(ID_CONTEXT_TEXT) + 1)

_Static_assert(sizeof(struct id) == ID_BYTES, "docs/format/envelope.md, field m");
_Static_assert(ID_CONTEXT_ID_AT + ID_BYTES == ID_CONTEXT_BYTES, "docs/format/envelope.md, context");

void id_make(struct id *id, struct crypto_core *core, uint64_t now_unix_ns)
{
    const uint64_t unix_ms = now_unix_ns / NS_PER_MS;
    const uint64_t fraction = now_unix_ns % NS_PER_MS * ID_FRACTION_STEPS / NS_PER_MS;

    /* 64 bits of nanoseconds are fewer than 48 bits of milliseconds, whatever the clock says. */
    ASSERT(unix_ms >> ID_UNIX_MS_BITS == 0);
    ASSERT(fraction < ID_FRACTION_STEPS);
    bytes_store_be64(id->bytes, unix_ms << 16 | ID_VERSION_7 << 8 | fraction);
    crypto_random(core, id->bytes + ID_RANDOM_AT, ID_BYTES - ID_RANDOM_AT);
    id->bytes[ID_RANDOM_AT] = (uint8_t)(ID_VARIANT_RFC | (id->bytes[ID_RANDOM_AT] & 0x3f));
}

void id_to_hex(char hex[ID_HEX_CHARS], const struct id *id)
{
    const __m128i low_half = window_byte(0x0f);
    const __m128i bytes = window_lanes(id->bytes);
    const __m128i high = _mm_and_si128(_mm_srli_epi16(bytes, 4), low_half);
    const __m128i low = _mm_and_si128(bytes, low_half);
    const __m128i digits[2] = {_mm_unpacklo_epi8(high, low), _mm_unpackhi_epi8(high, low)};
    for (uint32_t n = 0; n < 2; n++) {
        const __m128i letter = _mm_cmpgt_epi8(digits[n], window_byte(9));
        const __m128i first = _mm_and_si128(letter, window_byte('a' - '0' - 10));
        const __m128i text = _mm_add_epi8(_mm_add_epi8(digits[n], window_byte('0')), first);
        window_put((uint8_t *)hex + (size_t)n * WINDOW_LANES, text);
    }
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return -1;
}

int id_from_hex(struct id *id, const char *hex, size_t hex_chars)
{
    struct id read;

    if (hex_chars != ID_HEX_CHARS)
        return -EINVAL;
    for (uint32_t i = 0; i < ID_BYTES; i++) {
        const int high = hex_digit(hex[2 * i]);
        const int low = hex_digit(hex[2 * i + 1]);
        if (high < 0 || low < 0)
            return -EINVAL;
        read.bytes[i] = (uint8_t)(high << 4 | low);
    }
    *id = read;
    return 0;
}

void id_context(uint8_t context[ID_CONTEXT_BYTES], uint32_t suite, const struct id *id)
{
    ASSERT(suite >= 1 && suite <= UINT8_MAX);
    memcpy(context, ID_CONTEXT_TEXT, sizeof(ID_CONTEXT_TEXT));
    context[sizeof(ID_CONTEXT_TEXT)] = (uint8_t)suite;
    memcpy(context + ID_CONTEXT_ID_AT, id->bytes, ID_BYTES);
}
