#include "envelope/markup.h"
#include "envelope/template.h"
#include "envelope/text.h"
#include "tests/envelope/mailgen.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct template_constants CONSTANTS = {"https://keys.example.com?a=1&b",
                                                    "<img src=\"data:x\">"};

/* The strictest reading of RFC 2045, 6.7: canonical escapes, short lines, no blank before an end.
 */
static size_t quoted_printable_read(char *dst, const uint8_t *src, size_t bytes)
{
    size_t out = 0;
    size_t line = 0;
    for (size_t i = 0; i < bytes; i++) {
        const uint8_t c = src[i];
        if (c == '\r') {
            assert_true(i + 1 < bytes && src[i + 1] == '\n');
            if (i > 0)
                assert_true(src[i - 1] != ' ' && src[i - 1] != '\t');
            dst[out++] = '\n';
            i++;
            line = 0;
            continue;
        }
        assert_true(c == '\t' || (c >= ' ' && c <= '~'));
        line++;
        assert_true(line <= 76);
        if (c != '=') {
            dst[out++] = (char)c;
            continue;
        }
        assert_true(i + 2 < bytes);
        if (src[i + 1] == '\r') {
            assert_int_equal(src[i + 2], '\n');
            line = 0;
        } else {
            char hex[3] = {(char)src[i + 1], (char)src[i + 2], '\0'};
            assert_int_equal(strspn(hex, "0123456789ABCDEF"), 2);
            dst[out++] = (char)strtoul(hex, NULL, 16);
            line += 2;
            assert_true(line <= 76);
        }
        i += 2;
    }
    dst[out] = '\0';
    return out;
}

static struct template *compile(enum template_kind kind, const char *text)
{
    struct template *template = NULL;
    char why[TEMPLATE_WHY_BYTES] = "";
    if (template_open(&template, kind, "template", text, &CONSTANTS, why) != 0)
        fail_msg("%s", why);
    return template;
}

/* Renders with these values, the bound checked in memory of exactly that size; decoded. */
static void renders_as(enum template_kind kind, const char *text, const char *const strings[],
                       const char *expected)
{
    struct template_value values[TEMPLATE_VARIABLE_COUNT];
    for (uint32_t v = 0; v < TEMPLATE_VARIABLE_COUNT; v++)
        values[v] = (struct template_value){(const uint8_t *)strings[v], strlen(strings[v])};
    struct template *template = compile(kind, text);
    const size_t room = template_bytes_max(template, values);
    uint8_t *dst = malloc(room);
    char *decoded = malloc(room + 1);
    assert_non_null(dst);
    assert_non_null(decoded);
    struct writer writer = writer_make(dst, room);
    template_render(template, &writer, values);
    (void)quoted_printable_read(decoded, dst, (size_t)(writer.at - dst));
    assert_string_equal(decoded, expected);
    free(dst);
    free(decoded);
    template_close(template);
}

static const char *const PLAIN[TEMPLATE_VARIABLE_COUNT] = {"Alice <a@b>", "Alice", "Hi", "today",
                                                           "s.html"};
static const char *const HOSTILE[TEMPLATE_VARIABLE_COUNT] = {
    "<script>\"'&=</script>", "\xc3\xa9\xe4\xb8\xad", "", "=3D=\x20", "{{sender}}"};

static void template_fills_in_values(void **state)
{
    (void)state;
    renders_as(TEMPLATE_TEXT, "From {{sender}}: {{ subject }}.\n", PLAIN,
               "From Alice <a@b>: Hi.\n");
    renders_as(TEMPLATE_TEXT, "{{sender}}{{sender_name}}{{date}}{{attachment}}", PLAIN,
               "Alice <a@b>Alicetodays.html");
    renders_as(TEMPLATE_TEXT, "no variable at all", PLAIN, "no variable at all\n");
    renders_as(TEMPLATE_TEXT, "", PLAIN, "");
    renders_as(TEMPLATE_TEXT, "a \nb\t\n.\nFrom x\n=\n", PLAIN, "a \nb\t\n.\nFrom x\n=\n");
    renders_as(TEMPLATE_TEXT, "crlf\r\nlf\n", PLAIN, "crlf\nlf\n");
    renders_as(TEMPLATE_TEXT, "\xef\xbb\xbfmark", PLAIN, "mark\n");
    renders_as(TEMPLATE_TEXT, "{{key_service}}", PLAIN, "https://keys.example.com?a=1&b\n");
    renders_as(TEMPLATE_HTML, "{{key_service}} {{logo}}", PLAIN,
               "https://keys.example.com?a&#61;1&#38;b <img src=\"data:x\">\n");
}

static void template_lets_no_value_out_of_its_place(void **state)
{
    (void)state;
    renders_as(TEMPLATE_HTML, "<b title='{{sender}}'>{{sender}}</b>{{subject}}|{{attachment}}\n",
               HOSTILE,
               "<b title='&#60;script&#62;&#34;&#39;&#38;&#61;&#60;/script&#62;'>"
               "&#60;script&#62;&#34;&#39;&#38;&#61;&#60;/script&#62;</b>|"
               "&#123;&#123;sender&#125;&#125;\n");
    renders_as(TEMPLATE_HTML, "{{sender_name}}", HOSTILE, "&#233;&#20013;");
    renders_as(TEMPLATE_TEXT, "{{sender}}{{attachment}}{{date}}!", HOSTILE,
               "<script>\"'&=</script>{{sender}}=3D= !\n");
}

static void template_keeps_lines_short_whatever_the_value(void **state)
{
    (void)state;
    struct mailgen gen = mailgen_seeded();
    for (uint32_t n = 0; n < 3000; n++) {
        char value[401];
        char text[1024];
        char expected[2048];
        const size_t bytes = mailgen_below(&gen, sizeof(value) - 1);
        for (size_t i = 0; i < bytes; i++)
            value[i] = "aAzZ09 .=@-\x7e"[mailgen_below(&gen, 12)];
        value[bytes] = '\0';
        const int before = (int)mailgen_below(&gen, 200);
        (void)snprintf(text, sizeof(text), "%0*d{{subject}}x %s{{subject}}\n", before, 7,
                       mailgen_below(&gen, 2) == 0 ? "\xc3\xa9\xc3\xa9\xc3\xa9\n" : "");
        char *hole = strstr(text, "{{subject}}");
        char *second = strstr(hole + 1, "{{subject}}");
        (void)snprintf(expected, sizeof(expected), "%.*s%s%.*s%s\n", (int)(hole - text), text,
                       value, (int)(second - hole - 11), hole + 11, value);
        const char *const strings[TEMPLATE_VARIABLE_COUNT] = {"", "", value, "", ""};
        renders_as(TEMPLATE_TEXT, text, strings, expected);
    }
}

static void refuses(enum template_kind kind, const char *text, const char *complaint)
{
    struct template *template = NULL;
    char why[TEMPLATE_WHY_BYTES] = "";
    assert_int_equal(template_open(&template, kind, "text template", text, &CONSTANTS, why),
                     -EINVAL);
    assert_null(template);
    if (strstr(why, complaint) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", why, complaint);
}

static void template_names_what_it_refuses_and_where(void **state)
{
    (void)state;
    refuses(TEMPLATE_TEXT, "one\ntwo {{sendr}}\n",
            "text template, line 2: unknown variable {{sendr}}");
    refuses(TEMPLATE_TEXT, "{{logo}}", "line 1: {{logo}} is for HTML templates alone");
    refuses(TEMPLATE_TEXT, "a\r\nb\r\n{{sender", "line 3: \"{{\" does not open a variable");
    refuses(TEMPLATE_TEXT, "{{}}", "line 1");
    refuses(TEMPLATE_TEXT, "{{ }}", "line 1");
    refuses(TEMPLATE_TEXT, "{{sender}", "line 1");
    refuses(TEMPLATE_TEXT, "{{Sender}}", "line 1");
    refuses(TEMPLATE_TEXT, "{{sender\n}}", "line 1");
    refuses(TEMPLATE_TEXT, "{{{sender}}}", "line 1");
    refuses(TEMPLATE_TEXT, "{{subject_of_a_name_that_is_far_too_long_for_any}}", "line 1");
    refuses(TEMPLATE_TEXT, "\n\xff", "line 2: not UTF-8");
    refuses(TEMPLATE_TEXT, "\xed\xa0\x80", "not UTF-8");
    refuses(TEMPLATE_TEXT, "\x1b[0m", "line 1: control character 0x1b");
    char many[TEMPLATE_SEGMENTS_MAX * 8 + 1] = "";
    for (uint32_t n = 0; n < TEMPLATE_SEGMENTS_MAX; n++)
        memcpy(many + (size_t)n * 8, "{{date}}", 9);
    refuses(TEMPLATE_TEXT, many, "more than 63 variables");
    char *huge = malloc(TEMPLATE_BYTES_MAX * 4);
    assert_non_null(huge);
    memset(huge, 'x', TEMPLATE_BYTES_MAX * 4);
    huge[TEMPLATE_BYTES_MAX * 4 - 1] = '\0';
    refuses(TEMPLATE_TEXT, huge, "larger than");
    free(huge);
}

static void template_takes_its_subject_line_off(void **state)
{
    (void)state;
    const char *subject;
    size_t bytes;
    const char *rest = template_subject("Subject: Hello there\r\n\r\nText\n", &subject, &bytes);
    assert_string_equal(rest, "Text\n");
    assert_int_equal(bytes, 11);
    assert_memory_equal(subject, "Hello there", 11);
    rest = template_subject("Text\nSubject: no\n", &subject, &bytes);
    assert_string_equal(rest, "Text\nSubject: no\n");
    assert_null(subject);
    rest = template_subject("Subject:", &subject, &bytes);
    assert_string_equal(rest, "");
    assert_int_equal(bytes, 0);
}

/* The plainest reading of envelope/markup.h. */
static size_t markup_plainly(char *dst, const uint8_t *src, size_t bytes, size_t chars_max)
{
    static const char harmless[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                   "0123456789 !()+,-./:?@_";
    const uint8_t *end = src + bytes;
    size_t out = 0;
    while (src < end) {
        char one[16] = {(char)*src};
        if (*src != 0 && strchr(harmless, *src) != NULL) {
            src++;
        } else {
            const uint32_t c = text_next(&src, end);
            (void)snprintf(one, sizeof(one), "&#%u;", c == TEXT_MALFORMED ? TEXT_REPLACEMENT : c);
        }
        if (out + strlen(one) > chars_max)
            break;
        memcpy(dst + out, one, strlen(one));
        out += strlen(one);
    }
    return out;
}

static void markup_agrees_with_the_plain_reading(void **state)
{
    (void)state;
    static const char *const pieces[] = {"Alice ", "<", "&",        "\xc3\xa9", "\xf0\x9f\x98\x80",
                                         "\x80",   "=", "_?@Z[`az", "09:;/*+",  "'\"{}~"};
    struct mailgen gen = mailgen_seeded();
    for (uint32_t n = 0; n < 100000; n++) {
        uint8_t src[300];
        size_t bytes = 0;
        for (uint32_t i = mailgen_below(&gen, 20); i > 0; i--) {
            const char *piece = pieces[mailgen_below(&gen, ARRAY_COUNT(pieces))];
            memcpy(src + bytes, piece, strlen(piece));
            bytes += strlen(piece);
            if (mailgen_below(&gen, 10) == 0)
                src[bytes++] = (uint8_t)(1 + mailgen_below(&gen, 255));
        }
        char expected[2400];
        uint8_t dst[2400];
        const size_t chars_max =
            mailgen_below(&gen, 2) == 0 ? sizeof(dst) : mailgen_below(&gen, 99);
        const size_t chars = markup_plainly(expected, src, bytes, chars_max);
        struct writer writer = writer_make(dst, chars_max);
        markup_write(&writer, src, bytes, chars_max);
        assert_int_equal(writer.at - dst, chars);
        assert_memory_equal(dst, expected, chars);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(template_fills_in_values),
        cmocka_unit_test(template_lets_no_value_out_of_its_place),
        cmocka_unit_test(template_keeps_lines_short_whatever_the_value),
        cmocka_unit_test(template_names_what_it_refuses_and_where),
        cmocka_unit_test(template_takes_its_subject_line_off),
        cmocka_unit_test(markup_agrees_with_the_plain_reading),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
