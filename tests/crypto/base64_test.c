#include "crypto/base64.h"
#include "tests/crypto/guard.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <openssl/evp.h>

#include <cmocka.h>

#define CANARY 0xc5

/* SplitMix64 (Steele, Lea, Flood 2014): enough for test data, and its seed can be printed. */
static uint64_t test_random_state;

static uint64_t test_random(void)
{
    uint64_t z = test_random_state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static void test_random_fill(uint8_t *dst, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        dst[i] = (uint8_t)(test_random() >> 32);
}

#define FOR_EACH_ISA(isa)                                                                          \
    for (enum isa isa = ISA_SCALAR; isa <= ISA_AVX512; isa++)                                      \
        if (isa_supported(isa))

static const struct base64_codec *reference(void)
{
    return base64_codec(ISA_SCALAR);
}

/* The plain one against another's: OpenSSL's block encoder, line by line. */
static void encode_agrees_with_openssl(void **state)
{
    (void)state;
    uint8_t src[400];
    test_random_fill(src, sizeof(src));
    for (size_t bytes = 0; bytes <= sizeof(src); bytes++) {
        uint8_t want[1024];
        uint8_t got[1024 + BASE64_SLACK_BYTES];
        size_t want_chars = 0;
        for (size_t at = 0; at < bytes; at += BASE64_LINE_BYTES) {
            const size_t now = bytes - at < BASE64_LINE_BYTES ? bytes - at : BASE64_LINE_BYTES;
            want_chars += (size_t)EVP_EncodeBlock(want + want_chars, src + at, (int)now);
            memcpy(want + want_chars, "\r\n", 2);
            want_chars += 2;
        }
        assert_int_equal(base64_encode(reference(), got, src, bytes), want_chars);
        assert_int_equal(base64_lines_chars(bytes), want_chars);
        assert_memory_equal(got, want, want_chars);
    }
}

static void encode_agrees_with_rfc_4648(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {
        {"", ""},
        {"f", "Zg=="},
        {"fo", "Zm8="},
        {"foo", "Zm9v"},
        {"foob", "Zm9vYg=="},
        {"fooba", "Zm9vYmE="},
        {"foobar", "Zm9vYmFy"},
    };
    for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
        uint8_t got[16];
        const size_t bytes = strlen(pairs[i][0]);
        const size_t chars = base64_encode_run(got, (const uint8_t *)pairs[i][0], bytes);
        assert_int_equal(chars, strlen(pairs[i][1]));
        assert_memory_equal(got, pairs[i][1], chars);
    }
    uint8_t got[8];
    assert_int_equal(base64url_encode_run(got, (const uint8_t *)"\xfb\xff\xfe\x00", 4), 6);
    assert_memory_equal(got, "-__-AA", 6);
}

/* At every place in a cache line; what comes ahead stands where reading it would be a SIGSEGV. */
static void one_stream(enum isa isa, const struct guard *in, const struct guard *out, size_t lines)
{
    const struct base64_codec *codec = base64_codec(isa);
    const size_t chars = lines * BASE64_LINE_STRIDE;
    const uint8_t *src = in->end - lines * BASE64_LINE_BYTES;
    uint8_t *want = malloc(chars + BASE64_SLACK_BYTES);
    assert_non_null(want);
    reference()->encode_lines(want, src, lines);
    for (size_t before = 0; before < CACHE_LINE; before++) {
        uint8_t *dst = out->end - chars - before;
        struct base64_ahead ahead = {.bytes_at = in->end, .bytes = before * 100};
        memset(out->end - chars - CACHE_LINE, CANARY, chars + CACHE_LINE);
        base64_stream_lines(codec, dst, src, lines, &ahead, before * 200);
        base64_stream_end();
        assert_memory_equal(dst, want, chars);
        for (const uint8_t *at = out->end - chars - CACHE_LINE; at < dst; at++)
            assert_int_equal(*at, CANARY);
        for (const uint8_t *at = dst + chars; at < out->end; at++)
            assert_int_equal(*at, CANARY);
        assert_true(ahead.bytes <= before * 100);
        assert_ptr_equal(ahead.bytes_at + ahead.bytes, in->end + before * 100);
    }
    free(want);
}

static void stream_agrees_with_the_plain_one_and_stays_inside(void **state)
{
    (void)state;
    struct guard in;
    struct guard out;
    guard_open(&in, 300 * BASE64_LINE_BYTES);
    guard_open(&out, 300 * BASE64_LINE_STRIDE + CACHE_LINE);
    test_random_fill(in.first, (size_t)(in.end - in.first));
    FOR_EACH_ISA(isa)
    {
        for (size_t lines = 0; lines <= 50; lines++)
            one_stream(isa, &in, &out, lines);
        one_stream(isa, &in, &out, 287);
    }
    guard_close(&out);
    guard_close(&in);
}

/* Source against the page that may not be read, at both ends; destination up to its slack. */
static void one_encode(enum isa isa, const struct guard *in, const struct guard *out, size_t bytes)
{
    const struct base64_codec *codec = base64_codec(isa);
    const size_t chars = base64_lines_chars(bytes);
    uint8_t *want = malloc(chars + BASE64_SLACK_BYTES);
    assert_non_null(want);
    for (int at_end = 0; at_end <= 1; at_end++) {
        uint8_t *src = at_end ? in->end - bytes : in->first;
        uint8_t *dst = at_end ? out->end - chars - BASE64_SLACK_BYTES : out->first;
        test_random_fill(src, bytes);
        assert_int_equal(base64_encode(reference(), want, src, bytes), chars);
        memset(dst, CANARY, chars + BASE64_SLACK_BYTES);
        assert_int_equal(base64_encode(codec, dst, src, bytes), chars);
        assert_memory_equal(dst, want, chars);
        /* And decoding gives back what went in. */
        uint8_t *back = malloc(chars / 4 * 3 + BASE64_SLACK_BYTES + 4);
        assert_non_null(back);
        size_t back_bytes = SIZE_MAX;
        assert_int_equal(base64_decode(codec, back, dst, chars, &back_bytes), 0);
        assert_int_equal(back_bytes, bytes);
        assert_memory_equal(back, src, bytes);
        free(back);
    }
    free(want);
}

static void encode_agrees_with_the_plain_one_and_stays_inside(void **state)
{
    (void)state;
    struct guard in;
    struct guard out;
    guard_open(&in, 70000);
    guard_open(&out, base64_lines_chars(70000) + BASE64_SLACK_BYTES);
    FOR_EACH_ISA(isa)
    {
        for (size_t bytes = 0; bytes <= 400; bytes++)
            one_encode(isa, &in, &out, bytes);
        for (uint32_t round = 0; round < 200; round++)
            one_encode(isa, &in, &out, test_random() % 70000);
    }
    guard_close(&in);
    guard_close(&out);
}

/* `lines_count` lines of `width` random characters; returns the bytes written. */
static size_t lines_make(uint8_t *dst, uint32_t lines_count, uint32_t width, uint32_t eol_bytes)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint8_t *at = dst;
    for (uint32_t line = 0; line < lines_count; line++) {
        for (uint32_t i = 0; i < width; i++)
            *at++ = (uint8_t)alphabet[test_random() % 64];
        if (eol_bytes == 2)
            *at++ = '\r';
        *at++ = '\n';
    }
    return (size_t)(at - dst);
}

static void one_decode_lines(enum isa isa, const struct guard *in, const struct guard *out,
                             uint32_t lines_count, uint32_t width, uint32_t eol_bytes)
{
    const size_t src_bytes = (size_t)lines_count * (width + eol_bytes);
    uint8_t *src = in->end - src_bytes;
    assert_int_equal(lines_make(src, lines_count, width, eol_bytes), src_bytes);
    const size_t decoded_bytes = (size_t)lines_count * width / 4 * 3;
    uint8_t *want = malloc(decoded_bytes + BASE64_SLACK_BYTES);
    assert_non_null(want);
    assert_int_equal(reference()->decode_lines(want, src, src_bytes, width, eol_bytes),
                     lines_count);
    uint8_t *dst = out->end - decoded_bytes - BASE64_SLACK_BYTES;
    memset(dst, CANARY, decoded_bytes);
    const struct base64_codec *codec = base64_codec(isa);
    assert_int_equal(codec->decode_lines(dst, src, src_bytes, width, eol_bytes), lines_count);
    assert_memory_equal(dst, want, decoded_bytes);
    if (src_bytes > 0) {
        /* Without its last byte the last line is not whole, wherever the text is cut. */
        const size_t cut = 1 + test_random() % (width + eol_bytes);
        memmove(src + cut, src, src_bytes - cut);
        memset(dst, CANARY, decoded_bytes);
        assert_int_equal(codec->decode_lines(dst, src + cut, src_bytes - cut, width, eol_bytes),
                         lines_count - 1);
        assert_memory_equal(dst, want, (size_t)(lines_count - 1) * width / 4 * 3);
    }
    free(want);
}

static void decode_lines_agrees_with_the_plain_one_and_stays_inside(void **state)
{
    (void)state;
    struct guard in;
    struct guard out;
    guard_open(&in, 40 * BASE64_LINE_STRIDE);
    guard_open(&out, 40 * BASE64_LINE_BYTES + BASE64_SLACK_BYTES);
    FOR_EACH_ISA(isa)
    {
        for (uint32_t width = 4; width <= BASE64_LINE_CHARS; width += 4)
            for (uint32_t eol_bytes = 1; eol_bytes <= 2; eol_bytes++)
                for (uint32_t lines_count = 0; lines_count <= 21; lines_count++)
                    one_decode_lines(isa, &in, &out, lines_count, width, eol_bytes);
    }
    guard_close(&in);
    guard_close(&out);
}

/* The plain reference itself, on text that OpenSSL made. */
static void decode_lines_of_the_plain_one_is_right(void **state)
{
    (void)state;
    uint8_t bytes[BASE64_LINE_BYTES];
    for (uint32_t round = 0; round < 1000; round++) {
        uint8_t line[BASE64_LINE_STRIDE + 1];
        uint8_t got[BASE64_LINE_BYTES + BASE64_SLACK_BYTES];
        const uint32_t width = 4 * (1 + (uint32_t)(test_random() % 19));
        test_random_fill(bytes, sizeof(bytes));
        assert_int_equal(EVP_EncodeBlock(line, bytes, (int)(width / 4 * 3)), width);
        memcpy(line + width, "\n", 1);
        assert_int_equal(reference()->decode_lines(got, line, width + 1, width, 1), 1);
        assert_memory_equal(got, bytes, width / 4 * 3);
    }
}

static int stands_in_alphabet(int c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' ||
           c == '/';
}

/* Every byte value at every place of one of nine lines: accepted just when canonical. */
static void every_wrong_byte(enum isa isa, uint32_t width, uint32_t eol_bytes, uint32_t bad_line)
{
    enum { LINES = 9 };
    const struct base64_codec *codec = base64_codec(isa);
    uint8_t src[LINES * BASE64_LINE_STRIDE];
    uint8_t dst[LINES * BASE64_LINE_BYTES + BASE64_SLACK_BYTES];
    uint8_t want[LINES * BASE64_LINE_BYTES + BASE64_SLACK_BYTES];
    const size_t src_bytes = lines_make(src, LINES, width, eol_bytes);
    const size_t kept_bytes = (size_t)bad_line * width / 4 * 3;
    assert_int_equal(reference()->decode_lines(want, src, src_bytes, width, eol_bytes), LINES);
    for (uint32_t column = 0; column < width + eol_bytes; column++) {
        uint8_t *at = src + bad_line * (width + eol_bytes) + column;
        const uint8_t was = *at;
        for (int value = 0; value <= 255; value++) {
            *at = (uint8_t)value;
            const int good = column < width ? stands_in_alphabet(value) : value == was;
            const size_t lines = codec->decode_lines(dst, src, src_bytes, width, eol_bytes);
            if (lines != (good ? LINES : bad_line))
                fail_msg("%s: width %u, line %u, column %u, byte 0x%02x: %zu lines", isa_name(isa),
                         width, bad_line, column, (unsigned)value, lines);
            if (memcmp(dst, want, kept_bytes) != 0)
                fail_msg("%s: lines before the wrong one differ", isa_name(isa));
        }
        *at = was;
    }
}

static void decode_lines_refuses_every_wrong_byte_at_every_place(void **state)
{
    (void)state;
    FOR_EACH_ISA(isa)
    {
        for (uint32_t bad_line = 0; bad_line < 9; bad_line++)
            every_wrong_byte(isa, 76, 2, bad_line);
        for (uint32_t width = 4; width <= 76; width += 4)
            every_wrong_byte(isa, width, 1 + width / 4 % 2, width / 4 % 9);
        every_wrong_byte(isa, 76, 1, 3);
    }
}

static void decode_of(enum isa isa, const char *text, int want_rc, const char *want)
{
    uint8_t dst[256 + BASE64_SLACK_BYTES];
    size_t dst_bytes = 12345;
    const size_t chars = strlen(text);
    const int rc = base64_decode(base64_codec(isa), dst, (const uint8_t *)text, chars, &dst_bytes);
    if (rc != want_rc)
        fail_msg("%s: \"%s\" gave %d", isa_name(isa), text, rc);
    if (want == NULL) {
        assert_int_not_equal(rc, 0);
        assert_int_equal(dst_bytes, 12345);
        return;
    }
    assert_int_equal(rc, 0);
    assert_int_equal(dst_bytes, strlen(want));
    assert_memory_equal(dst, want, dst_bytes);
}

static void decode_ignores_white_space_only(void **state)
{
    (void)state;
    FOR_EACH_ISA(isa)
    {
        decode_of(isa, "", 0, "");
        decode_of(isa, " \t\r\n\f", 0, "");
        decode_of(isa, "Zm9vYmFy", 0, "foobar");
        decode_of(isa, "Zm9v\nYmFy", 0, "foobar");
        decode_of(isa, "Z m\t9\r\nv\fYm\n\n\nFy\n", 0, "foobar");
        decode_of(isa, "\r\nZm9vYg==\r\n", 0, "foob");
        decode_of(isa, "Zm9vYg=\n=", 0, "foob");
        decode_of(isa, "Zm9vYmE=  ", 0, "fooba");
        decode_of(isa, "Zm9v\vYmFy", -EBADMSG, NULL);
        decode_of(isa, "Zm9v-mFy", -EBADMSG, NULL);
        decode_of(isa, "Zm9v\xc2\xa0YmFy", -EBADMSG, NULL);
    }
}

static void decode_refuses_what_is_not_canonical(void **state)
{
    (void)state;
    static const char *const refused[] = {
        "Z",
        "Zm",
        "Zm9",
        "Zm9v=",
        "Zm9v==",
        "Zm9v====",
        "=",
        "====",
        "Z===",
        "Zg=",
        "Zg===",
        "Zh==",
        "Zm9=",
        "Zm+=",
        "Zg==Zg==",
        "Zg==\nZg==",
        "Zm9vYg==A",
        "Zm9v!",
        "Zg=g",
        "Zg==\n=",
        "=Zm9v",
        "Zm9vYmFy\nZm9vYmF",
        "Zm9vYmFy\nZ\nZm9vYmFy",
        "Zm9v\nZg==\nZm9v\n",
    };
    FOR_EACH_ISA(isa)
    {
        for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
            decode_of(isa, refused[i], -EBADMSG, NULL);
    }
}

/* A gateway may wrap the same characters in any way: what comes out must not change. */
static void decode_gives_the_same_however_lines_are_wrapped(void **state)
{
    (void)state;
    enum { BYTES = 5000 };
    uint8_t *src = malloc(BYTES);
    uint8_t *run = malloc(BYTES * 2);
    uint8_t *text = malloc(BYTES * 8);
    uint8_t *back = malloc(BYTES * 8);
    assert_true(src != NULL && run != NULL && text != NULL && back != NULL);
    for (uint32_t round = 0; round < 300; round++) {
        const size_t bytes = test_random() % BYTES;
        test_random_fill(src, bytes);
        const size_t run_chars = base64_encode_run(run, src, bytes);
        size_t text_chars = 0;
        const uint32_t width = 1 + (uint32_t)(test_random() % 90);
        const int ragged = test_random() % 2 == 0;
        for (size_t i = 0; i < run_chars; i++) {
            text[text_chars++] = run[i];
            if (ragged ? test_random() % width == 0 : (i + 1) % width == 0) {
                const uint64_t kind = test_random() % 8;
                if (kind < 5)
                    text[text_chars++] = '\r';
                text[text_chars++] = kind == 7 ? ' ' : '\n';
            }
        }
        FOR_EACH_ISA(isa)
        {
            size_t back_bytes = SIZE_MAX;
            assert_int_equal(base64_decode(base64_codec(isa), back, text, text_chars, &back_bytes),
                             0);
            assert_int_equal(back_bytes, bytes);
            assert_memory_equal(back, src, bytes);
        }
    }
    free(src);
    free(run);
    free(text);
    free(back);
}

static void url_alphabet_round_trips_and_refuses(void **state)
{
    (void)state;
    static const char *const refused[] = {"A",  "AAAAA", "AA==", "AAA=", "AB",      "AAB",
                                          "+_", "AA/A",  "A A",  "AA\n", "AAA\xff", "A\vAA"};
    uint8_t src[200];
    uint8_t text[300];
    uint8_t back[300 + BASE64_SLACK_BYTES];
    test_random_fill(src, sizeof(src));
    for (size_t bytes = 0; bytes <= sizeof(src); bytes++) {
        size_t back_bytes = SIZE_MAX;
        const size_t chars = base64url_encode_run(text, src, bytes);
        assert_int_equal(chars, (bytes * 4 + 2) / 3);
        assert_int_equal(base64url_decode(back, text, chars, &back_bytes), 0);
        assert_int_equal(back_bytes, bytes);
        assert_memory_equal(back, src, bytes);
    }
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        size_t back_bytes = 12345;
        assert_int_equal(base64url_decode(back, (const uint8_t *)refused[i], strlen(refused[i]),
                                          &back_bytes),
                         -EBADMSG);
        assert_int_equal(back_bytes, 12345);
    }
}

int main(void)
{
    test_random_state = (uint64_t)time(NULL);
    const char *seed = getenv("BULLA_TEST_SEED");
    if (seed != NULL)
        test_random_state = strtoull(seed, NULL, 0);
    print_message("BULLA_TEST_SEED=%llu\n", (unsigned long long)test_random_state);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(encode_agrees_with_openssl),
        cmocka_unit_test(encode_agrees_with_rfc_4648),
        cmocka_unit_test(encode_agrees_with_the_plain_one_and_stays_inside),
        cmocka_unit_test(stream_agrees_with_the_plain_one_and_stays_inside),
        cmocka_unit_test(decode_lines_of_the_plain_one_is_right),
        cmocka_unit_test(decode_lines_agrees_with_the_plain_one_and_stays_inside),
        cmocka_unit_test(decode_lines_refuses_every_wrong_byte_at_every_place),
        cmocka_unit_test(decode_ignores_white_space_only),
        cmocka_unit_test(decode_refuses_what_is_not_canonical),
        cmocka_unit_test(decode_gives_the_same_however_lines_are_wrapped),
        cmocka_unit_test(url_alphabet_round_trips_and_refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
