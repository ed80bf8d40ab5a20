#include "crypto/base64.h"

#include "base/assert.h"
#include "crypto/base64_internal.h"

#include <errno.h>
#include <string.h>

#define GROUP_BYTES 3
#define GROUP_CHARS 4

/* RFC 4648, table 1. The arrays are exactly 64 characters: no terminator. */
#define ALPHABET_COMMON "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
const uint8_t base64_alphabet[64] = ALPHABET_COMMON "+/";
static const uint8_t url_alphabet[64] = ALPHABET_COMMON "-_";

const uint8_t base64_values[256] = {
    0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80,
    0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80,
    0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x3e, 0x80, 0x80, 0x80, 0x3f,
    0x34, 0x35, 0x36, 0x37, 0x38, 0x39, 0x3a, 0x3b, 0x3c, 0x3d, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80,
    0x80, 0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x0e,
    0x0f, 0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, 0x19, 0x80, 0x80, 0x80, 0x80, 0x80,
    0x80, 0x1a, 0x1b, 0x1c, 0x1d, 0x1e, 0x1f, 0x20, 0x21, 0x22, 0x23, 0x24, 0x25, 0x26, 0x27, 0x28,
    0x29, 0x2a, 0x2b, 0x2c, 0x2d, 0x2e, 0x2f, 0x30, 0x31, 0x32, 0x33, 0x80, 0x80, 0x80, 0x80, 0x80,
    0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80,
    0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80,
    0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80,
    0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80,
    0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80,
    0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80,
    0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80,
    0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80,
};

static const struct base64_codec codecs[ISA_COUNT] = {
    [ISA_SCALAR] = {ISA_SCALAR, base64_scalar_encode_lines, base64_scalar_encode_short,
                    base64_scalar_decode_lines},
    /* A processor with SSE4.2 and no AVX2 is from before 2013: the plain one serves it. */
    [ISA_SSE] = {ISA_SSE, base64_scalar_encode_lines, base64_scalar_encode_short,
                 base64_scalar_decode_lines},
    [ISA_AVX2] = {ISA_AVX2, base64_avx2_encode_lines, base64_avx2_encode_short,
                  base64_avx2_decode_lines},
    [ISA_AVX512] = {ISA_AVX512, base64_avx512_encode_lines, base64_avx512_encode_short,
                    base64_avx512_decode_lines},
};

const struct base64_codec *base64_codec(enum isa isa)
{
    ASSERT(isa_supported(isa));
    return &codecs[isa];
}

static void group_encode(uint8_t *dst, const uint8_t *src, const uint8_t *alphabet)
{
    dst[0] = alphabet[src[0] >> 2];
    dst[1] = alphabet[(src[0] & 0x03) << 4 | src[1] >> 4];
    dst[2] = alphabet[(src[1] & 0x0f) << 2 | src[2] >> 6];
    dst[3] = alphabet[src[2] & 0x3f];
}

/* Whole groups, then one or two bytes as two or three characters. Returns characters written. */
static size_t run_encode(uint8_t *dst, const uint8_t *src, size_t bytes, const uint8_t *alphabet)
{
    uint8_t *at = dst;
    size_t done = 0;
    for (; bytes - done >= GROUP_BYTES; done += GROUP_BYTES) {
        group_encode(at, src + done, alphabet);
        at += GROUP_CHARS;
    }
    if (done < bytes) {
        uint8_t group[GROUP_BYTES] = {0};
        uint8_t chars[GROUP_CHARS];
        const size_t rest = bytes - done;
        memcpy(group, src + done, rest);
        group_encode(chars, group, alphabet);
        memcpy(at, chars, rest + 1);
        at += rest + 1;
    }
    return (size_t)(at - dst);
}

void base64_scalar_encode_lines(uint8_t *dst, const uint8_t *src, size_t lines_count)
{
    for (size_t line = 0; line < lines_count; line++) {
        uint8_t *end = dst + run_encode(dst, src, BASE64_LINE_BYTES, base64_alphabet);
        end[0] = '\r';
        end[1] = '\n';
        dst += BASE64_LINE_STRIDE;
        src += BASE64_LINE_BYTES;
    }
}

/* One group of four values, each below 64. */
static void group_pack(uint8_t *dst, const uint8_t values[GROUP_CHARS])
{
    dst[0] = (uint8_t)(values[0] << 2 | values[1] >> 4);
    dst[1] = (uint8_t)(values[1] << 4 | values[2] >> 2);
    dst[2] = (uint8_t)(values[2] << 6 | values[3]);
}

static bool line_decode(uint8_t *dst, const uint8_t *src, uint32_t width)
{
    uint8_t seen = 0;
    for (uint32_t i = 0; i < width; i += GROUP_CHARS) {
        uint8_t values[GROUP_CHARS];
        for (uint32_t j = 0; j < GROUP_CHARS; j++) {
            values[j] = base64_values[src[i + j]];
            seen |= values[j];
        }
        group_pack(dst + i / GROUP_CHARS * GROUP_BYTES, values);
    }
    return (seen & BASE64_INVALID) == 0;
}

size_t base64_scalar_decode_lines(uint8_t *dst, const uint8_t *src, size_t src_bytes,
                                  uint32_t width, uint32_t eol_bytes)
{
    ASSERT(width >= GROUP_CHARS && width <= BASE64_LINE_CHARS && width % GROUP_CHARS == 0);
    ASSERT(eol_bytes == 1 || eol_bytes == 2);
    const size_t stride = width + eol_bytes;
    const size_t whole_lines = src_bytes / stride;
    for (size_t line = 0; line < whole_lines; line++) {
        if (!base64_eol_is(src + width, eol_bytes) || !line_decode(dst, src, width))
            return line;
        src += stride;
        dst += width / GROUP_CHARS * GROUP_BYTES;
    }
    return whole_lines;
}

size_t base64_lines_chars(size_t bytes)
{
    const size_t rest = bytes % BASE64_LINE_BYTES;
    const size_t whole_chars = bytes / BASE64_LINE_BYTES * BASE64_LINE_STRIDE;
    return rest == 0 ? whole_chars : whole_chars + base64_padded_chars(rest) + 2;
}

/* One to 56 bytes: a full line of them and zeros, cut where RFC 4648, 4 pads. */
static size_t short_line_encode(void (*encode_lines)(uint8_t *, const uint8_t *, size_t),
                                uint8_t *dst, const uint8_t *src, size_t bytes)
{
    uint8_t whole[BASE64_LINE_BYTES] = {0};
    uint8_t line[BASE64_LINE_STRIDE + BASE64_SLACK_BYTES];
    const size_t chars = base64_padded_chars(bytes);
    ASSERT(bytes > 0 && bytes < BASE64_LINE_BYTES);
    memcpy(whole, src, bytes);
    encode_lines(line, whole, 1);
    if (bytes % GROUP_BYTES != 0)
        line[chars - 1] = '=';
    if (bytes % GROUP_BYTES == 1)
        line[chars - 2] = '=';
    memcpy(dst, line, chars);
    memcpy(dst + chars, "\r\n", 2);
    return chars + 2;
}

size_t base64_scalar_encode_short(uint8_t *dst, const uint8_t *src, size_t bytes)
{
    return short_line_encode(base64_scalar_encode_lines, dst, src, bytes);
}

size_t base64_avx2_encode_short(uint8_t *dst, const uint8_t *src, size_t bytes)
{
    return short_line_encode(base64_avx2_encode_lines, dst, src, bytes);
}

size_t base64_encode(const struct base64_codec *codec, uint8_t *dst, const uint8_t *src,
                     size_t bytes)
{
    const size_t lines_count = bytes / BASE64_LINE_BYTES;
    const size_t rest = bytes % BASE64_LINE_BYTES;
    codec->encode_lines(dst, src, lines_count);
    uint8_t *at = dst + lines_count * BASE64_LINE_STRIDE;
    if (rest > 0)
        at += codec->encode_short(at, src + lines_count * BASE64_LINE_BYTES, rest);
    ASSERT_HOT((size_t)(at - dst) == base64_lines_chars(bytes));
    return (size_t)(at - dst);
}

size_t base64_encode_run(uint8_t *dst, const uint8_t *src, size_t bytes)
{
    const size_t unpadded = run_encode(dst, src, bytes, base64_alphabet);
    const size_t padded = base64_padded_chars(bytes);
    memset(dst + unpadded, '=', padded - unpadded);
    return padded;
}

size_t base64url_encode_run(uint8_t *dst, const uint8_t *src, size_t bytes)
{
    return run_encode(dst, src, bytes, url_alphabet);
}

/* HTML's ASCII white space, which mail gateways put in: tab, LF, FF, CR, space. */
static bool is_white(uint8_t c)
{
    return c == ' ' || (c >= '\t' && c <= '\r' && c != '\v');
}

/* A text being decoded: groups may be torn apart by white space. */
struct decoder {
    uint8_t *dst;                /* next byte to write                    */
    uint8_t values[GROUP_CHARS]; /* of the group that is being collected  */
    uint32_t values_count;
    uint32_t padding_count;
};

/* Any character of the text; false when it cannot stand there. */
static bool decoder_take(struct decoder *decoder, uint8_t c)
{
    if (is_white(c))
        return true;
    if (c == '=') {
        /* Only in the third and fourth place of a group, and the bits it cuts off are zero. */
        decoder->padding_count++;
        return decoder->values_count >= 2 && decoder->values_count + decoder->padding_count <= 4;
    }
    const uint8_t value = base64_values[c];
    if ((value & BASE64_INVALID) != 0 || decoder->padding_count > 0)
        return false;
    decoder->values[decoder->values_count++] = value;
    if (decoder->values_count == GROUP_CHARS) {
        group_pack(decoder->dst, decoder->values);
        decoder->dst += GROUP_BYTES;
        decoder->values_count = 0;
    }
    return true;
}

/* The end of the text: what is left is nothing, or a group of two or three values whose cut-off
 * bits are zero. */
static bool decoder_finish(struct decoder *decoder)
{
    const uint32_t count = decoder->values_count;
    if (count == 0)
        return decoder->padding_count == 0;
    if (count == 1 || (decoder->values[count - 1] & (count == 2 ? 0x0f : 0x03)) != 0)
        return false;
    uint8_t group[GROUP_BYTES];
    memset(decoder->values + count, 0, GROUP_CHARS - count);
    group_pack(group, decoder->values);
    memcpy(decoder->dst, group, count - 1);
    decoder->dst += count - 1;
    return true;
}

/*
 * Whole lines from the start of a group at `src`, by the codec, when they look like lines: a line
 * end no later than column 76 says how wide they are. Returns source bytes used, possibly 0.
 */
static size_t lines_take(const struct base64_codec *codec, struct decoder *decoder,
                         const uint8_t *src, size_t src_bytes)
{
    const uint8_t *lf = memchr(src, '\n', MIN(src_bytes, (size_t)BASE64_LINE_STRIDE));
    if (lf == NULL)
        return 0;
    const uint32_t line_bytes = (uint32_t)(lf - src) + 1;
    const uint32_t eol_bytes = line_bytes >= 2 && lf[-1] == '\r' ? 2 : 1;
    const uint32_t width = line_bytes - eol_bytes;
    if (width == 0 || width > BASE64_LINE_CHARS || width % GROUP_CHARS != 0)
        return 0;
    const size_t lines = codec->decode_lines(decoder->dst, src, src_bytes, width, eol_bytes);
    decoder->dst += lines * (width / GROUP_CHARS * GROUP_BYTES);
    return lines * line_bytes;
}

int base64_decode(const struct base64_codec *codec, uint8_t *dst, const uint8_t *src,
                  size_t src_bytes, size_t *dst_bytes)
{
    struct decoder decoder = {.dst = dst};
    size_t at = 0;
    while (at < src_bytes) {
        if (decoder.values_count == 0 && decoder.padding_count == 0)
            at += lines_take(codec, &decoder, src + at, src_bytes - at);
        /* What the codec left, up to the next line: each try is paid for by a line gone by. */
        bool line_over = false;
        while (at < src_bytes && !line_over) {
            const uint8_t c = src[at++];
            if (!decoder_take(&decoder, c))
                return -EBADMSG;
            line_over = c == '\n';
        }
    }
    if (decoder.padding_count > 0 && decoder.values_count + decoder.padding_count != GROUP_CHARS)
        return -EBADMSG;
    if (decoder.values_count > 0 && decoder.padding_count == 0)
        return -EBADMSG;
    if (!decoder_finish(&decoder))
        return -EBADMSG;
    *dst_bytes = (size_t)(decoder.dst - dst);
    return 0;
}

int base64url_decode(uint8_t *dst, const uint8_t *src, size_t src_bytes, size_t *dst_bytes)
{
    struct decoder decoder = {.dst = dst};
    for (size_t i = 0; i < src_bytes; i++) {
        const uint8_t c = src[i];
        /* The other alphabet's two characters are not of this one, nor is white space or '='. */
        if (c == '+' || c == '/' || c == '=' || is_white(c))
            return -EBADMSG;
        const uint8_t common = c == '-' ? '+' : c == '_' ? '/' : c;
        if (!decoder_take(&decoder, common))
            return -EBADMSG;
    }
    if (!decoder_finish(&decoder))
        return -EBADMSG;
    *dst_bytes = (size_t)(decoder.dst - dst);
    return 0;
}
