/* What a page without scripts shows of a mail, and the process that reads it. */
#include "keyservice/server/mail/mailview.h"

#include "base/assert.h"
#include "keyservice/server/mail/html_text.h"
#include "keyservice/server/mail/reader.h"
#include "keyservice/server/plain.h"

#include <dirent.h>
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define CORPUS     BULLA_SOURCE_DIR "/../shared/corpus/torture"
#define FILE_ROOM  (4 << 20)
#define FILES_MAX  2000
#define ITEMS_ROOM MAILVIEW_SHOW_BYTES_MAX

#define HEAD "From: =?utf-8?q?J=C3=B6rg?= <j@example.org>\r\nTo: b@example.net\r\nSubject: Hi\r\n"

static const char mixed[] =
    HEAD "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n"
         "--x\r\nContent-Type: multipart/alternative; boundary=y\r\n\r\n"
         "--y\r\nContent-Type: text/plain; charset=iso-8859-15\r\n"
         "Content-Transfer-Encoding: quoted-printable\r\n\r\nZehn =A4 &amp; <b>\r\n"
         "--y\r\nContent-Type: text/html\r\n\r\n<p>not this</p>\r\n--y--\r\n"
         "--x\r\nContent-Type: application/pdf\r\n"
         "Content-Disposition: attachment; filename*=utf-8''..%2Fa%2FBericht%20%E2%82%AC.pdf\r\n"
         "Content-Transfer-Encoding: base64\r\n\r\nJVBERi0=\r\n"
         "--x\r\nContent-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\ninside\r\n--x--\r\n";

/* All texts of a mail, and its other items as "tag:bytes" lines. */
static char *read_items(const uint8_t *items, size_t items_bytes)
{
    struct mailview_item item;
    size_t offset = 0;
    char *text = NULL;
    size_t bytes = 0;
    FILE *file = open_memstream(&text, &bytes);
    assert_non_null(file);
    while (mailview_next(&item, items, items_bytes, &offset))
        (void)fprintf(file, "%c:%.*s\n", (char)item.tag, (int)item.bytes,
                      (const char *)item.bytes_at);
    assert_int_equal(offset, items_bytes);
    assert_int_equal(fclose(file), 0);
    return text;
}

static char *view(const char *mail, size_t mail_bytes, uint32_t part, int wanted)
{
    size_t written = 0;
    uint8_t *items = malloc(ITEMS_ROOM);
    assert_non_null(items);
    assert_int_equal(mailview_write(items, ITEMS_ROOM, &written, (const uint8_t *)mail, mail_bytes,
                                    part),
                     wanted);
    char *text = wanted == 0 ? read_items(items, written) : NULL;
    free(items);
    return text;
}

static void mailview_shows_text_and_names_files(void **state)
{
    (void)state;
    char *text = view(mixed, sizeof(mixed) - 1, 0, 0);
    assert_string_equal(text,
                        "f:J\xc3\xb6rg <j@example.org>\nt:b@example.net\ns:Hi\n"
                        "x:Zehn \xe2\x82\xac &amp; <b>\na:Bericht \xe2\x82\xac.pdf\na:inner.eml\n");
    free(text);
    text = view(mixed, sizeof(mixed) - 1, 1, 0);
    assert_string_equal(text, "n:Bericht \xe2\x82\xac.pdf\nb:%PDF-\n");
    free(text);
    text = view(mixed, sizeof(mixed) - 1, 2, 0);
    assert_non_null(strstr(text, "b:Subject: inner\r\n\r\ninside"));
    free(text);
    (void)view(mixed, sizeof(mixed) - 1, 3, -ENOENT);
}

static void plain_links_to_an_answer_that_keeps_the_thread(void **state)
{
    (void)state;
    static const char mail[] =
        "From: a@example.org\r\nTo: \"Doe, J\" <j@example.net>\r\nCc: =?utf-8?q?J=C3=B6rg?= "
        "<c@example.com>\r\nMessage-ID: <1.a@example.org>\r\nReferences: <x@example.org>\r\n "
        "<y@example.org>\r\n\r\nHi\r\n";
    struct plain plain;
    size_t written = 0;
    uint8_t *items = malloc(ITEMS_ROOM);
    assert_non_null(items);
    assert_int_equal(
        mailview_write(items, ITEMS_ROOM, &written, (const uint8_t *)mail, sizeof(mail) - 1, 0), 0);
    assert_int_equal(plain_read(&plain, items, written, "View"), 0);
    char *link = plain_answer_link(&plain, "0123");
    assert_string_equal(link, "/write?m=0123#%3C1.a%40example.org%3E,"
                              "%3Cx%40example.org%3E%20%3Cy%40example.org%3E,"
                              "%22Doe%2C%20J%22%20%3Cj%40example.net%3E,"
                              "J%C3%B6rg%20%3Cc%40example.com%3E");
    free(link);
    plain_fini(&plain);
    link = plain_answer_link(&plain, "0123"); /* of a message that says nothing */
    assert_string_equal(link, "/write?m=0123#,,,");
    free(link);
    free(items);
}

static void mailview_gives_html_as_text(void **state)
{
    (void)state;
    static const char mail[] =
        HEAD "Content-Type: text/html; charset=utf-8\r\n\r\n<p>Hello\r\n<b>you</b>";
    char *text = view(mail, sizeof(mail) - 1, 0, 0);
    assert_non_null(strstr(text, "x:Hello you\n"));
    free(text);
}

static void mailview_takes_html_where_the_text_says_nothing(void **state)
{
    (void)state;
    static const char mail[] =
        HEAD "Content-Type: multipart/alternative; boundary=y\r\n\r\n"
             "--y\r\nContent-Type: text/plain\r\n\r\n\r\n--y\r\nContent-Type: "
             "text/html\r\n\r\n<p>this\r\n--y--\r\n";
    char *text = view(mail, sizeof(mail) - 1, 0, 0);
    assert_non_null(strstr(text, "x:this\n"));
    free(text);
}

static void mailview_bounds_text_parts_and_depth(void **state)
{
    (void)state;
    size_t bytes = 0;
    char *mail = NULL;
    FILE *file = open_memstream(&mail, &bytes);
    (void)fputs(HEAD "\r\n", file);
    for (uint32_t i = 0; i < MAILVIEW_TEXT_BYTES_MAX / 32; i++)
        (void)fputs("012345678901234567890123456789012345678901234567890\r\n", file);
    assert_int_equal(fclose(file), 0);
    char *text = view(mail, bytes, 0, 0);
    assert_true(strlen(text) <= MAILVIEW_TEXT_BYTES_MAX + 200);
    assert_non_null(strstr(text, "\nk:\n"));
    free(text);
    free(mail);

    file = open_memstream(&mail, &bytes);
    (void)fputs(HEAD, file);
    for (uint32_t i = 0; i < 3000; i++)
        (void)fprintf(file, "Content-Type: multipart/mixed; boundary=b%u\r\n\r\n--b%u\r\n", i, i);
    (void)fputs("Content-Type: text/plain\r\n\r\ndeep\r\n", file);
    assert_int_equal(fclose(file), 0);
    text = view(mail, bytes, 0, 0);
    free(text);
    free(mail);

    file = open_memstream(&mail, &bytes);
    (void)fputs(HEAD "Content-Type: multipart/mixed; boundary=b\r\n\r\n", file);
    for (uint32_t i = 0; i < 3000; i++)
        (void)fputs("--b\r\nContent-Type: image/png\r\n\r\nx\r\n", file);
    assert_int_equal(fclose(file), 0);
    text = view(mail, bytes, 0, 0);
    assert_non_null(strstr(text, "\nk:\n"));
    assert_non_null(strstr(text, "a:200.png\n"));
    assert_null(strstr(text, "a:201.png\n"));
    free(text);
    free(mail);
}

static void mailview_refuses_items_that_lie_about_their_length(void **state)
{
    (void)state;
    static const uint8_t items[] = {'x', 2, 0, 0, 0, 'a', 'b', 'x', 0xff, 0xff, 0xff, 0xff, 'c'};
    struct mailview_item item;
    size_t offset = 0;
    assert_true(mailview_next(&item, items, sizeof(items), &offset));
    assert_int_equal(item.bytes, 2);
    assert_false(mailview_next(&item, items, sizeof(items), &offset));
}

static void check_html(const char *html, const char *wanted)
{
    char dst[512];
    struct html_text text = {.dst = (uint8_t *)dst, .room = sizeof(dst) - 1};
    html_text_write(&text, (const uint8_t *)html, strlen(html));
    dst[text.bytes] = '\0';
    assert_string_equal(dst, wanted);
}

static void html_text_gives_what_a_reader_sees(void **state)
{
    (void)state;
    check_html("<p>one\n two</p><p>three<br>four", "one two\n\nthree\nfour\n");
    check_html("a<style>p{}</style><script>x='</p>'</SCRIPT >b<!-- <p> -->c", "abc\n");
    check_html(
        "&lt;b&gt; &amp;amp; &#8364; &#x20AC; &euro; &nope; & x &#0; &#xd800;",
        "<b> &amp; \xe2\x82\xac \xe2\x82\xac \xe2\x82\xac &nope; & x \xef\xbf\xbd \xef\xbf\xbd\n");
    check_html("<a href='https://example.org/?a=1&amp;b=2' title='>'>here</a> now",
               "here <https://example.org/?a=1&b=2> now\n");
    check_html("<a href=\"javascript:x()\">no</a>", "no\n");
    check_html("<ul><li>a<li>b</ul>", "* a\n* b\n\n");
    check_html("<table><tr><td>a</td><td>b</td></tr></table>", "a b\n\n");
    check_html("<pre>a  b\n  c</pre>d", "a  b\n  c\n\nd\n");
    check_html("1 < 2 <", "1 < 2 <\n");
    check_html("x\xe2\x80\xaey\x01z\xff", "xyz\xef\xbf\xbd\n");
    check_html("<", "<\n");
    check_html("<a", "");
    check_html("<script>", "");
    check_html("<!--", "");
    check_html("a<p title=\"", "a\n\n");
}

static void html_text_stops_at_its_room(void **state)
{
    (void)state;
    uint8_t dst[4];
    struct html_text text = {.dst = dst, .room = sizeof(dst)};
    html_text_write(&text, (const uint8_t *)"ab\xe2\x82\xac", 5);
    assert_true(text.cut);
    assert_int_equal(text.bytes, 2);
}

static void plain_offers_a_look_at_what_its_name_calls_a_picture(void **state)
{
    (void)state;
    static const uint8_t items[] = {MAILVIEW_FILE, 5, 0, 0, 0, 'a', '.', 'p', 'n', 'g',
                                    MAILVIEW_FILE, 5, 0, 0, 0, 'b', '.', 's', 'v', 'g'};
    struct plain plain;
    assert_int_equal(plain_read(&plain, items, sizeof(items), "<Look>"), 0);
    assert_non_null(
        strstr(plain.files, "name=\"look\" value=\"1\" formtarget=\"_blank\">&lt;Look&gt;"));
    assert_non_null(strstr(plain.files, "name=\"part\" value=\"2\"><bdi>b.svg</bdi>"));
    assert_null(strstr(plain.files, "name=\"look\" value=\"2\""));
    plain_fini(&plain);
}

static void plain_escapes_whatever_items_say(void **state)
{
    (void)state;
    static const uint8_t items[] = {'x', 9,    0,   0,    0,   '<', 'b', '>', '"',  '\'',
                                    '&', 0xff, 1,   '\n', 'a', 3,   0,   0,   0,    '<',
                                    'x', '>',  's', 3,    0,   0,   0,   'a', '\r', '\n'};
    struct plain plain;
    assert_int_equal(plain_read(&plain, items, sizeof(items), "View"), 0);
    assert_string_equal(plain.body, "<div class=\"text\" dir=\"auto\">&lt;b&gt;&quot;&#39;&amp;"
                                    "\xef\xbf\xbd\n</div>\n");
    assert_non_null(strstr(plain.files, "<bdi>&lt;x&gt;</bdi>"));
    assert_string_equal(plain.subject, "a");
    plain_fini(&plain);
}

static void reader_reads_mail_after_mail_in_a_process_of_its_own(void **state)
{
    (void)state;
    struct reader *reader = NULL;
    uint8_t *items = NULL;
    size_t items_bytes = 0;
    assert_int_equal(reader_open(&reader, ""), 0);
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(reader_read(reader, (const uint8_t *)mixed, sizeof(mixed) - 1, 0, &items,
                                     &items_bytes),
                         0);
        char *text = read_items(items, items_bytes);
        assert_non_null(strstr(text, "x:Zehn \xe2\x82\xac"));
        free(text);
        free(items);
        assert_int_equal(reader_read(reader, (const uint8_t *)mixed, sizeof(mixed) - 1, 9, &items,
                                     &items_bytes),
                         -ENOENT);
    }
    assert_int_equal(reader_read(reader, (const uint8_t *)"", 0, 0, &items, &items_bytes),
                     -EBADMSG);
    reader_close(reader);
}

/* Every mail that other readers have stumbled over: shown or refused, never more than is bounded.
 */
static void reader_survives_the_corpus(void **state)
{
    (void)state;
    struct reader *reader = NULL;
    uint32_t read_count = 0;
    DIR *folder = opendir(CORPUS);
    if (folder == NULL)
        skip();
    assert_int_equal(reader_open(&reader, ""), 0);
    uint8_t *mail = malloc(FILE_ROOM);
    assert_non_null(mail);
    const struct dirent *entry;
    for (uint32_t n = 0; n < FILES_MAX && (entry = readdir(folder)) != NULL; n++) {
        char path[1024];
        uint8_t *items = NULL;
        size_t items_bytes = 0;
        (void)snprintf(path, sizeof(path), "%s/%s", CORPUS, entry->d_name);
        FILE *file = strstr(entry->d_name, ".eml") == NULL ? NULL : fopen(path, "re");
        if (file == NULL)
            continue;
        const size_t bytes = fread(mail, 1, FILE_ROOM, file);
        (void)fclose(file);
        const int rc = reader_read(reader, mail, bytes, 0, &items, &items_bytes);
        assert_true(rc == 0 || rc == -EBADMSG);
        struct plain plain;
        if (rc == 0) {
            assert_int_equal(plain_read(&plain, items, items_bytes, "View"), 0);
            plain_fini(&plain);
            free(items);
        }
        read_count += rc == 0;
        if (reader_read(reader, mail, bytes, 1, &items, &items_bytes) == 0)
            free(items);
    }
    (void)closedir(folder);
    free(mail);
    reader_close(reader);
    assert_true(read_count > 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reader_reads_mail_after_mail_in_a_process_of_its_own),
        cmocka_unit_test(reader_survives_the_corpus),
        cmocka_unit_test(mailview_shows_text_and_names_files),
        cmocka_unit_test(mailview_gives_html_as_text),
        cmocka_unit_test(mailview_takes_html_where_the_text_says_nothing),
        cmocka_unit_test(mailview_bounds_text_parts_and_depth),
        cmocka_unit_test(mailview_refuses_items_that_lie_about_their_length),
        cmocka_unit_test(html_text_gives_what_a_reader_sees),
        cmocka_unit_test(html_text_stops_at_its_room),
        cmocka_unit_test(plain_offers_a_look_at_what_its_name_calls_a_picture),
        cmocka_unit_test(plain_escapes_whatever_items_say),
        cmocka_unit_test(plain_links_to_an_answer_that_keeps_the_thread),
    };
    mailview_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
