#include "envelope/charset.h"
#include "envelope/encoded_word.h"
#include "envelope/text.h"
#include "tests/envelope/mailgen.h"

#include <iconv.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct encoded_word_text decode(char *dst, size_t room, const char *src, size_t src_bytes)
{
    struct encoded_word_text text;
    encoded_word_decode(&text, (uint8_t *)dst, room - 1, (const uint8_t *)src, src_bytes);
    assert_true(text.bytes <= room - 1);
    dst[text.bytes] = '\0';
    return text;
}

static void decodes_to(const char *src, const char *expected)
{
    char dst[512];
    (void)decode(dst, sizeof(dst), src, strlen(src));
    assert_string_equal(dst, expected);
}

static void encoded_word_decodes_the_examples_of_rfc_2047(void **state)
{
    (void)state;
    decodes_to("=?ISO-8859-1?Q?a?=", "a");
    decodes_to("=?ISO-8859-1?Q?a?= b", "a b");
    decodes_to("=?ISO-8859-1?Q?a?= =?ISO-8859-1?Q?b?=", "ab");
    decodes_to("=?ISO-8859-1?Q?a?=  =?ISO-8859-1?Q?b?=", "ab");
    decodes_to("=?ISO-8859-1?Q?a?=\r\n    =?ISO-8859-1?Q?b?=", "ab");
    decodes_to("=?ISO-8859-1?Q?a_b?=", "a b");
    decodes_to("=?ISO-8859-1?Q?a?= =?ISO-8859-2?Q?_b?=", "a b");
    decodes_to("=?ISO-8859-1?B?SWYgeW91IGNhbiByZWFkIHRoaXMgeW8=?=\r\n"
               " =?ISO-8859-2?B?dSB1bmRlcnN0YW5kIHRoZSBleGFtcGxlLg==?=",
               "If you can read this you understand the example.");
    decodes_to("=?US-ASCII*EN?Q?Keith_Moore?=", "Keith Moore");
}

static void encoded_word_decodes_what_programs_send(void **state)
{
    (void)state;
    decodes_to("plain text", "plain text");
    decodes_to("two\r\n lines\t tab", "two lines tab");
    decodes_to("=?utf-8?b?w7ZsYmVyZw?=", "\xc3\xb6lberg");     /* no padding     */
    decodes_to("=?utf-8?q?=C3?= =?utf-8?q?=B6?=", "\xc3\xb6"); /* split character */
    decodes_to("pre=?utf-8?q?x?=post", "prexpost");            /* no white space  */
    decodes_to("=?utf-8?q?50=?=", "50=");                      /* broken escape   */
    decodes_to("=?iso-2022-jp?B?GyRCJF8kaCQmGyhC?=", "\xe3\x81\xbf\xe3\x82\x88\xe3\x81\x86");
    decodes_to("=?shift_jis?B?k/qWe4zq?=", "\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e");
    decodes_to("=?euc-jp?B?xvzL3Ljs?=", "\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e");
    decodes_to("=?gb2312?B?1tDOxA==?=", "\xe4\xb8\xad\xe6\x96\x87");
    decodes_to("=?big5?B?pKSk5Q==?=", "\xe4\xb8\xad\xe6\x96\x87");
    decodes_to("=?euc-kr?B?x9GxuQ==?=", "\xed\x95\x9c\xea\xb5\xad");
    decodes_to("=?koi8-r?B?8NLJ18XU?=", "\xd0\x9f\xd1\x80\xd0\xb8\xd0\xb2\xd0\xb5\xd1\x82");
    decodes_to("=?windows-1252?Q?=80?=", "\xe2\x82\xac");
    decodes_to("caf\xe9", "caf\xc3\xa9");     /* raw latin-1 */
    decodes_to("caf\xc3\xa9", "caf\xc3\xa9"); /* raw UTF-8   */
}

static void encoded_word_shows_what_it_cannot_decode(void **state)
{
    (void)state;
    static const char *const broken[] = {
        "=?",       "=?x",          "=?x?q?",    "=?utf-8?x?a?=",    "=?utf-8?q?a", "=?utf-8?q?a b",
        "=??q?a?=", "=?utf-8?q?a?", "= ?utf-8?", "=?x-no-such?q?a?="};
    for (size_t i = 0; i < ARRAY_COUNT(broken); i++)
        decodes_to(broken[i], broken[i]);
    char dst[64];
    assert_true(decode(dst, sizeof(dst), "=?x-no-such?q?a?=", 17).unknown);
    assert_false(decode(dst, sizeof(dst), "=?x-no-such?q?a?=", 17).dirty);
    assert_true(decode(dst, sizeof(dst), "=?x-no-such?q?=00?=", 19).dirty);
}

static void encoded_word_notes_what_must_not_go_on(void **state)
{
    (void)state;
    static const char *const dirty[] = {"=?utf-8?q?a=0D=0ABcc:_x?=",
                                        "=?utf-8?q?a=0Ab?=",
                                        "=?utf-8?b?AA==?=",
                                        "=?utf-8?q?=E2=80=AEx?=",
                                        "=?utf-8?q?=FF?=",
                                        "a\rb",
                                        "a\x01"
                                        "b",
                                        "=?utf-8?q?=1B[0m?=",
                                        "=?iso-2022-jp?q?=1B(=07abc?=",
                                        "=?iso-2022-jp?q?=1B$=0A?=",
                                        "=?utf-7?q?+AA0ACg-Bcc:x?=",
                                        "=?unicode-1-1-UTF-7*en?b?K0FBMEFDZy0=?=",
                                        "\x7f"};
    for (size_t i = 0; i < ARRAY_COUNT(dirty); i++) {
        char dst[64];
        const struct encoded_word_text text = decode(dst, sizeof(dst), dirty[i], strlen(dirty[i]));
        if (!text.dirty)
            fail_msg("%s was called clean", dirty[i]);
        assert_null(strpbrk(dst, "\r\n\x01\x1b\x7f"));
    }
}

static void encoded_word_cuts_between_characters(void **state)
{
    (void)state;
    const char *src = "=?utf-8?q?=E4=B8=AD=E6=96=87?= abc";
    for (size_t room = 1; room < 12; room++) {
        char dst[16];
        const struct encoded_word_text text = decode(dst, room, src, strlen(src));
        assert_true(text_is_utf8((uint8_t *)dst, text.bytes));
        assert_int_equal(text.cut, room - 1 < 10);
    }
}

/* What iconv says of `src`, or U+FFFD. */
static void iconv_agrees(const char *name, const char *iconv_name, const uint8_t *src, size_t bytes)
{
    uint8_t dst[64];
    struct text text = text_make(dst, sizeof(dst));
    charset_decode(charset_find((const uint8_t *)name, strlen(name)), &text, src, bytes);

    const iconv_t cd = iconv_open("UTF-8", iconv_name);
    assert_ptr_not_equal(cd, (iconv_t)-1);
    char expected[64];
    char *in_at = (char *)(uintptr_t)src;
    char *out_at = expected;
    size_t in_left = bytes;
    size_t out_left = sizeof(expected);
    const bool converted = iconv(cd, &in_at, &in_left, &out_at, &out_left) != (size_t)-1 &&
                           iconv(cd, NULL, NULL, &out_at, &out_left) != (size_t)-1;
    assert_int_equal(iconv_close(cd), 0);
    if (!converted) {
        assert_true(text.dirty);
        return;
    }
    /* Through the same cleaning: charsets hold controls and blanks too. */
    uint8_t clean[64];
    struct text again = text_make(clean, sizeof(clean));
    text_put_utf8(&again, (uint8_t *)expected, sizeof(expected) - out_left);
    if (text.bytes != again.bytes || memcmp(dst, clean, again.bytes) != 0)
        fail_msg("%s %02x %02x", name, src[0], bytes > 1 ? src[1] : 0);
}

static void charset_agrees_with_iconv(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        const char *iconv_name;
        uint8_t lead_first; /* 0: one byte a character */
    } charsets[] = {
        {"windows-1252", "CP1252", 0},
        {"iso-8859-2", "ISO-8859-2", 0},
        {"iso-8859-15", "ISO-8859-15", 0},
        {"koi8-r", "KOI8-R", 0},
        {"koi8-u", "KOI8-U", 0},
        {"windows-1251", "CP1251", 0},
        {"windows-1256", "CP1256", 0},
        {"iso-8859-7", "ISO-8859-7", 0},
        {"cp850", "CP850", 0},
        {"gbk", "GBK", 0x81},
        {"big5", "BIG5", 0xa1},
        {"cp949", "UHC", 0x81},
        {"shift_jis", "CP932", 0x81},
    };
    for (size_t n = 0; n < ARRAY_COUNT(charsets); n++) {
        for (uint32_t c = 0x80; charsets[n].lead_first == 0 && c <= 0xff; c++) {
            const uint8_t src[] = {(uint8_t)c};
            iconv_agrees(charsets[n].name, charsets[n].iconv_name, src, 1);
        }
        for (uint32_t c = charsets[n].lead_first; c >= 0x81 && c <= 0xfe; c += 3) {
            /* Half-width kana and the like are one byte in Shift_JIS. */
            if (strcmp(charsets[n].name, "shift_jis") == 0 && c >= 0xa0 && c <= 0xe0)
                continue;
            for (uint32_t trail = 0x40; trail <= 0xfe; trail++) {
                const uint8_t src[] = {(uint8_t)c, (uint8_t)trail};
                iconv_agrees(charsets[n].name, charsets[n].iconv_name, src, 2);
            }
        }
    }
}

static void charset_is_found_by_any_spelling(void **state)
{
    (void)state;
    static const char *const names[] = {"UTF-8", "utf8", "Utf_8", "ISO-8859-1", "latin1", "x-sjis"};
    for (size_t i = 0; i < ARRAY_COUNT(names); i++)
        assert_non_null(charset_find((const uint8_t *)names[i], strlen(names[i])));
    static const char *const unknown[] = {
        "", "-", "utf", "utf-88", "x-unknown", "a-name-that-is-much-too-long-for-a-charset"};
    for (size_t i = 0; i < ARRAY_COUNT(unknown); i++)
        assert_null(charset_find((const uint8_t *)unknown[i], strlen(unknown[i])));
}

static size_t write_text(uint8_t *dst, size_t room, const uint8_t *src, size_t bytes,
                         enum encoded_word_place place, size_t column)
{
    struct writer writer = writer_make(dst, room);
    encoded_word_write(&writer, src, bytes, place, &column);
    return (size_t)(writer.at - dst);
}

static void writes_as(const char *src, enum encoded_word_place place, const char *expected)
{
    char dst[512];
    const size_t bytes =
        write_text((uint8_t *)dst, sizeof(dst) - 1, (const uint8_t *)src, strlen(src), place, 9);
    dst[bytes] = '\0';
    assert_string_equal(dst, expected);
}

static void encoded_word_writes_plain_text_plainly(void **state)
{
    (void)state;
    writes_as("", ENCODED_WORD_UNSTRUCTURED, "");
    writes_as("Hello, world: 1+1=2", ENCODED_WORD_UNSTRUCTURED, "Hello, world: 1+1=2");
    writes_as("John Doe", ENCODED_WORD_PHRASE, "John Doe");
    writes_as("Doe, John", ENCODED_WORD_PHRASE, "\"Doe, John\"");
    writes_as("a \"b\" \\", ENCODED_WORD_PHRASE, "\"a \\\"b\\\" \\\\\"");
    writes_as("a@b <c>", ENCODED_WORD_PHRASE, "\"a@b <c>\"");
}

static void encoded_word_encodes_the_rest(void **state)
{
    (void)state;
    writes_as("J\xc3\xb6rg", ENCODED_WORD_PHRASE, "=?UTF-8?Q?J=C3=B6rg?=");
    writes_as("caf\xc3\xa9 (open)", ENCODED_WORD_UNSTRUCTURED, "=?UTF-8?Q?caf=C3=A9_=28open=29?=");
    writes_as("\xe4\xb8\xad\xe6\x96\x87", ENCODED_WORD_PHRASE, "=?UTF-8?B?5Lit5paH?=");
    /* Text that looks like an encoded word must not become one. */
    writes_as("=?utf-8?q?x?=", ENCODED_WORD_UNSTRUCTURED, "=?UTF-8?Q?=3D=3Futf-8=3Fq=3Fx=3F=3D?=");
}

/* Whatever clean text is written, it is ASCII in short folded lines, within the bound, and reads
 * back the same. */
static void encoded_word_round_trips_any_text(void **state)
{
    (void)state;
    static const uint32_t ranges[][2] = {{' ', '~'},       {' ', '~'},         {0xa1, 0x17f},
                                         {0x4e00, 0x9fff}, {0x1f300, 0x1f64f}, {'a', 'z'}};
    struct mailgen gen = mailgen_seeded();
    for (uint32_t n = 0; n < 20000; n++) {
        uint8_t raw[900];
        struct text text = text_make(raw, mailgen_below(&gen, 4) == 0 ? 900 : 60);
        const uint32_t count = mailgen_below(&gen, 400);
        uint32_t range = mailgen_below(&gen, ARRAY_COUNT(ranges));
        for (uint32_t i = 0; i < count; i++) {
            if (mailgen_below(&gen, 30) == 0)
                range = mailgen_below(&gen, ARRAY_COUNT(ranges));
            text_put(&text, mailgen_below(&gen, 8) == 0
                                ? ' '
                                : ranges[range][0] +
                                      mailgen_below(&gen, ranges[range][1] - ranges[range][0] + 1));
        }
        /* The name limit of a phrase; see ADDRESS_NAME_BYTES_MAX. */
        const enum encoded_word_place place = text.bytes <= 256 && mailgen_below(&gen, 2) == 0
                                                  ? ENCODED_WORD_PHRASE
                                                  : ENCODED_WORD_UNSTRUCTURED;
        const size_t room = encoded_word_write_bytes_max(text.bytes);
        uint8_t *out = malloc(room);
        assert_non_null(out);
        const size_t column = mailgen_below(&gen, 40);
        const size_t bytes = write_text(out, room, raw, text.bytes, place, column);
        size_t line = column;
        for (size_t i = 0; i < bytes; i++) {
            line++;
            if (out[i] == '\r') {
                assert_int_equal(out[i + 1], '\n');
                assert_int_equal(out[i + 2], ' ');
                i++;
                line = 0;
                continue;
            }
            assert_in_range(out[i], ' ', '~');
            assert_true(line <= 76 || place == ENCODED_WORD_PHRASE);
            assert_true(line <= 600);
        }
        if (place == ENCODED_WORD_UNSTRUCTURED || memchr(out, '"', bytes) == NULL) {
            char back[1024];
            (void)decode(back, sizeof(back), (char *)out, bytes);
            assert_int_equal(strlen(back), text.bytes);
            assert_memory_equal(back, raw, text.bytes);
        }
        free(out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(encoded_word_decodes_the_examples_of_rfc_2047),
        cmocka_unit_test(encoded_word_decodes_what_programs_send),
        cmocka_unit_test(encoded_word_shows_what_it_cannot_decode),
        cmocka_unit_test(encoded_word_notes_what_must_not_go_on),
        cmocka_unit_test(encoded_word_cuts_between_characters),
        cmocka_unit_test(charset_agrees_with_iconv),
        cmocka_unit_test(charset_is_found_by_any_spelling),
        cmocka_unit_test(encoded_word_writes_plain_text_plainly),
        cmocka_unit_test(encoded_word_encodes_the_rest),
        cmocka_unit_test(encoded_word_round_trips_any_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
