/* fuzz: links crypto base */
#include "base/assert.h"
#include "crypto/base64.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define INPUT_BYTES_MAX 65536

static uint8_t *room(size_t bytes)
{
    uint8_t *at = malloc(bytes + BASE64_SLACK_BYTES);
    ASSERT(at != NULL);
    return at;
}

/* Every codec takes the same lines and makes the same bytes of them. */
static void check_decode_lines(const uint8_t *src, size_t src_bytes, uint32_t width,
                               uint32_t eol_bytes)
{
    uint8_t *want = room(src_bytes);
    uint8_t *got = room(src_bytes);
    const struct base64_codec *plain = base64_codec(ISA_SCALAR);
    const size_t want_lines = plain->decode_lines(want, src, src_bytes, width, eol_bytes);
    for (enum isa isa = ISA_SSE; isa <= isa_best(); isa++) {
        const size_t lines = base64_codec(isa)->decode_lines(got, src, src_bytes, width, eol_bytes);
        ASSERT(lines == want_lines);
        ASSERT(memcmp(got, want, lines * (width / 4 * 3)) == 0);
    }
    free(want);
    free(got);
}

/* What decodes is the only text, white space aside, that its bytes encode to. */
static void check_decode(const uint8_t *src, size_t src_bytes)
{
    uint8_t *bytes = room(src_bytes);
    uint8_t *text = room(src_bytes + 8);
    size_t want_bytes = 0;
    const int want_rc = base64_decode(base64_codec(ISA_SCALAR), bytes, src, src_bytes, &want_bytes);
    for (enum isa isa = ISA_SSE; isa <= isa_best(); isa++) {
        size_t got_bytes = 0;
        ASSERT(base64_decode(base64_codec(isa), text, src, src_bytes, &got_bytes) == want_rc);
        ASSERT(got_bytes == want_bytes);
        ASSERT(memcmp(text, bytes, want_bytes) == 0);
    }
    if (want_rc == 0) {
        const size_t chars = base64_encode_run(text, bytes, want_bytes);
        size_t at = 0;
        for (size_t i = 0; i < src_bytes; i++) {
            if (strchr(" \t\r\n\f", src[i]) != NULL && src[i] != '\0')
                continue;
            ASSERT(at < chars && text[at] == src[i]);
            at++;
        }
        ASSERT(at == chars);
    }
    free(bytes);
    free(text);
}

static void check_url(const uint8_t *src, size_t src_bytes)
{
    uint8_t *bytes = room(src_bytes);
    uint8_t *text = room(src_bytes + 4);
    size_t got_bytes = 0;
    if (base64url_decode(bytes, src, src_bytes, &got_bytes) == 0) {
        ASSERT(base64url_encode_run(text, bytes, got_bytes) == src_bytes);
        ASSERT(memcmp(text, src, src_bytes) == 0);
    }
    free(bytes);
    free(text);
}

static void check_encode(const uint8_t *src, size_t src_bytes)
{
    const size_t chars = base64_lines_chars(src_bytes);
    uint8_t *want = room(chars);
    uint8_t *got = room(chars);
    uint8_t *back = room(chars);
    ASSERT(base64_encode(base64_codec(ISA_SCALAR), want, src, src_bytes) == chars);
    for (enum isa isa = ISA_SSE; isa <= isa_best(); isa++) {
        size_t back_bytes = 0;
        ASSERT(base64_encode(base64_codec(isa), got, src, src_bytes) == chars);
        ASSERT(memcmp(got, want, chars) == 0);
        ASSERT(base64_decode(base64_codec(isa), back, got, chars, &back_bytes) == 0);
        ASSERT(back_bytes == src_bytes);
        ASSERT(memcmp(back, src, src_bytes) == 0);
    }
    free(want);
    free(got);
    free(back);
}

/* Byte 0 chooses the width and the line end; the rest is text, and once more bytes to encode. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0 || size > INPUT_BYTES_MAX)
        return 0;
    /* A copy of just the size, so that a sanitizer sees the first byte read past the end. */
    const size_t text_bytes = size - 1;
    uint8_t *text = malloc(text_bytes + 1);
    ASSERT(text != NULL);
    memcpy(text + 1, data + 1, text_bytes);
    check_decode_lines(text + 1, text_bytes, 4 * (data[0] % 19 + 1u), 1 + (data[0] >> 7));
    check_decode_lines(text + 1, text_bytes, BASE64_LINE_CHARS, 2);
    check_decode(text + 1, text_bytes);
    check_url(text + 1, text_bytes);
    check_encode(text + 1, text_bytes);
    free(text);
    return 0;
}
