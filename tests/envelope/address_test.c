#include "envelope/address_internal.h"
#include "envelope/header.h"
#include "envelope/text.h"
#include "tests/envelope/mailgen.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void address_is(const char *src, const char *expected)
{
    struct address address;
    assert_int_equal(address_parse(&address, (const uint8_t *)src, strlen(src)), 0);
    assert_int_equal(address.bytes, strlen(expected));
    assert_memory_equal(address.text, expected, address.bytes);
    assert_int_equal(address.text[address.domain_offset - 1], '@');
}

static void address_accepts_what_the_standards_allow(void **state)
{
    (void)state;
    address_is("a@b", "a@b");
    address_is("first.last+tag@sub.example.co.uk", "first.last+tag@sub.example.co.uk");
    address_is("<path@example.com>", "path@example.com");
    address_is("\"john doe\"@example.com", "\"john doe\"@example.com");
    address_is("\"john\"@example.com", "john@example.com");
    address_is("\"a\\\"b\"@example.com", "\"a\\\"b\"@example.com");
    address_is("user@[192.0.2.1]", "user@[192.0.2.1]");
    address_is("user@[IPv6:2001:db8::1]", "user@[IPv6:2001:db8::1]");
    address_is("!#$%&'*+/=?^_`{|}~-@example.com", "!#$%&'*+/=?^_`{|}~-@example.com");
    address_is("a@example.com.", "a@example.com");
    /* Telephone companies gave these out; in quotes they are lawful. */
    address_is("dots..here.@example.jp", "\"dots..here.\"@example.jp");
}

static void address_tells_what_needs_smtputf8(void **state)
{
    (void)state;
    struct address address;
    assert_int_equal(address_parse(&address, (const uint8_t *)"a@example.com", 13), 0);
    assert_true(address.ascii);
    const char *international = "j\xc3\xb6rg@b\xc3\xbc"
                                "cher.example";
    assert_int_equal(address_parse(&address, (const uint8_t *)international, strlen(international)),
                     0);
    assert_false(address.ascii);
}

static void address_refuses_the_rest(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "@",
        "a",
        "a@",
        "@b",
        "a@@b",
        "a@b@c",
        "a b@c",
        "a@b c",
        "a@b..c",
        "a@.b",
        "a@-b",
        "a@b-",
        "a@b-.c",
        "a@b,c@d",
        "a@b;",
        "a@b\r\nBcc: x@y",
        "a@b\n",
        "\ta@b",
        "a@[1.2.3.4",
        "a@[]",
        "a@[1.2.3.4\\]",
        "a<b@c",
        "a>b@c",
        "\"a<b\"@c",
        "<a@b> c",
        "<a@b> <c@d>",
        "name <a@b>",
        "a@b (comment)",
        "\"\"@b",
        "a@\"b\"",
        "a(b)@c",
        "a:b@c;",
        "=?utf-8?q?a?=@b",
        "\"=?utf-8?q?a?=\"@b",
        "a@b!c",
        "a\x7f@b",
        "j\xf6rg@example.com",       /* not UTF-8 */
        "a\xe2\x80\xae@example.com", /* right-to-left override */
        "a@ex\xc2\xa0mple.com",      /* no-break space */
        "a@l23456789012345678901234567890123456789012345678901234567890123456.example",
    };
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        struct address address;
        if (address_parse(&address, (const uint8_t *)bad[i], strlen(bad[i])) != -EINVAL)
            fail_msg("\"%s\" was taken for an address", bad[i]);
    }
    uint8_t nul[] = {'a', 0, 'b', '@', 'c'};
    struct address address;
    assert_int_equal(address_parse(&address, nul, sizeof(nul)), -EINVAL);
    uint8_t longest[400];
    memset(longest, 'a', sizeof(longest));
    memcpy(longest + sizeof(longest) - 10, "@b.example", 10);
    assert_int_equal(address_parse(&address, longest, sizeof(longest)), -EINVAL);
    assert_int_equal(address_parse(&address, longest + 100, 300), 0);
}

/* `expected` is "name|address;name|address;". */
static void list_is(const char *src, const char *expected)
{
    struct address_list list = address_list_make((const uint8_t *)src, strlen(src));
    struct address_mailbox mailbox;
    char got[4096];
    size_t bytes = 0;
    while (address_list_next(&list, &mailbox)) {
        memcpy(got + bytes, mailbox.name, mailbox.name_bytes);
        bytes += mailbox.name_bytes;
        got[bytes++] = '|';
        memcpy(got + bytes, mailbox.address.text, mailbox.address.bytes);
        bytes += mailbox.address.bytes;
        got[bytes++] = ';';
        assert_true(bytes < 3000);
    }
    got[bytes] = '\0';
    assert_string_equal(got, expected);
}

static void address_list_reads_mailboxes(void **state)
{
    (void)state;
    list_is("a@b", "|a@b;");
    list_is("a@b, c@d", "|a@b;|c@d;");
    list_is("Alice <a@b>", "Alice|a@b;");
    list_is("\"Doe, John\" <a@b>,\r\n\tBob <c@d>", "Doe, John|a@b;Bob|c@d;");
    list_is("\"say \\\"hi\\\"\" <a@b>", "say \"hi\"|a@b;");
    list_is("a@b (Alice in Chains)", "Alice in Chains|a@b;");
    list_is("(pre) a@b", "pre|a@b;");
    list_is("Alice (comment) <a@b>", "Alice|a@b;");
    list_is("Alice <a@b> trailing words", "Alice|a@b;");
    list_is("=?utf-8?q?J=C3=B6rg?= <a@b>", "J\xc3\xb6rg|a@b;");
    list_is("\"=?iso-8859-1?q?J=F6rg?=\" <a@b>", "J\xc3\xb6rg|a@b;");
    list_is("J. R. R. Tolkien <a@b>", "J. R. R. Tolkien|a@b;");
    list_is("J\xc3\xb6rg <a@b>", "J\xc3\xb6rg|a@b;");
    list_is("J\xf6rg <a@b>", "J\xc3\xb6rg|a@b;");
    list_is("a . b @ c . d", "|a.b@c.d;");
    list_is("<@route,@other:a@b>", "|a@b;");
    list_is("Name <@route:a@b>", "Name|a@b;");
}

static void address_list_reads_groups_and_nothings(void **state)
{
    (void)state;
    list_is("", "");
    list_is(" \r\n ", "");
    list_is(",,;,", "");
    list_is("undisclosed-recipients:;", "");
    list_is("Team: a@b, Bob <c@d>; e@f", "|a@b;Bob|c@d;|e@f;");
    list_is("A:a@b;,B:c@d;", "|a@b;|c@d;");
}

static void address_list_leaves_out_what_is_no_address(void **state)
{
    (void)state;
    list_is("nobody, a@b", "|a@b;");
    list_is("John Doe john@x.example, a@b", "|a@b;");
    list_is("<>, a@b", "|a@b;");
    list_is("Alice <a@b", "Alice|a@b;");
    list_is("x <a@b <c@d>, e@f", "|e@f;");
    list_is("\"unterminated <a@b>, c@d", "");
    list_is("(unterminated a@b, c@d", "");
    list_is("a\xe2\x80\xae@b, c@d", "|c@d;");
    list_is("a@b c@d, e@f", "|e@f;");
}

static void address_list_cleans_names(void **state)
{
    (void)state;
    list_is("=?utf-8?q?a=0D=0ABcc=3A_x=40y?= <a@b>", "a Bcc: x@y|a@b;");
    list_is("=?utf-8?q?=E2=80=AEevil=00?= <a@b>", "evil|a@b;");
    list_is("a\x01\x02 \x7f"
            "b <a@b>",
            "a b|a@b;");
    list_is("a\xc2\x85"
            "b <a@b>",
            "ab|a@b;");
}

/* Of a list whose field is not the last, each mailbox: the next field's text is in none. */
static void mailboxes_hold_nothing_of(const char *list_text, const char *next)
{
    enum { PART_BYTES = 6 };
    uint8_t mail[512] = {0};
    const size_t list_bytes = strlen(list_text);
    memcpy(mail, list_text, list_bytes);
    memcpy(mail + list_bytes, next, strlen(next));
    struct address_list list = address_list_within(mail, list_bytes, mail + sizeof(mail));
    struct address_mailbox mailbox;
    bool more = true;
    while (more) {
        memset(&mailbox, 0, sizeof(mailbox));
        more = address_list_next(&list, &mailbox);
        for (size_t at = 0; at + PART_BYTES <= strlen(next); at++)
            if (memmem(&mailbox, sizeof(mailbox), next + at, PART_BYTES) != NULL)
                fail_msg("\"%s\" stands in a mailbox of: %s", next + at, list_text);
    }
}

static void address_list_copies_nothing_of_the_next_field(void **state)
{
    (void)state;
    static const char *const lists[] = {
        "",
        "a@b",
        "Al <a@b.example>",
        "\"Al\" <a@b>",
        "a@b.example, Bob <c@d>",
        "Team: a@b, Bob <c@d>;",
        "=?utf-8?q?J=C3=B6rg?= <a@b>",
        "J\xf6rg <a@b>",
        "J\xc3\xb6rg <a@b>",
        "a@b (Al)",
        "nobody",
        "a@b,",
        "<a@b",
        "\"Al",
    };
    static const char *const nexts[] = {
        "\r\nCc: carol.copied@hidden.test\r\nX-More: of it\r\n\r\n",
        "\nBcc: Dan <blind.dan@hidden.test>\n\n",
        "\nSubject: MergerOfXandY12345\n\nand the first words of its text, which go on\n",
        "\nTo: to.whom@hidden.test\n\n",
    };
    for (size_t l = 0; l < ARRAY_COUNT(lists); l++)
        for (size_t n = 0; n < ARRAY_COUNT(nexts); n++)
            mailboxes_hold_nothing_of(lists[l], nexts[n]);
}

static void address_list_output_is_always_clean(void **state)
{
    (void)state;
    static const char *const pieces[] = {"a@b",
                                         "<",
                                         ">",
                                         "\"",
                                         "(",
                                         ")",
                                         ",",
                                         ";",
                                         ":",
                                         "@",
                                         " ",
                                         "\r\n ",
                                         "\\",
                                         "\r",
                                         "\n",
                                         "\0x",
                                         "J\xc3\xb6rg",
                                         "\xff",
                                         "=?utf-8?q?=0a=0d=00?=",
                                         "=?x?b?/w==?=",
                                         "[1]",
                                         ".",
                                         "name",
                                         "\xe2\x80\xae"};
    struct mailgen gen = mailgen_seeded();
    for (uint32_t n = 0; n < 30000; n++) {
        char src[512];
        size_t bytes = 0;
        for (uint32_t i = mailgen_below(&gen, 24); i > 0; i--) {
            const char *piece = pieces[mailgen_below(&gen, ARRAY_COUNT(pieces))];
            const size_t piece_bytes = piece[0] == '\0' ? 1 : strlen(piece);
            memcpy(src + bytes, piece, piece_bytes);
            bytes += piece_bytes;
        }
        uint8_t *copy = malloc(bytes + (bytes == 0 ? 1 : 0));
        assert_non_null(copy);
        memcpy(copy, src, bytes);
        struct address_list list = address_list_make(copy, bytes);
        struct address_mailbox mailbox;
        while (address_list_next(&list, &mailbox)) {
            struct address again;
            for (uint32_t i = 0; i < mailbox.name_bytes; i++)
                assert_true(mailbox.name[i] >= ' ' && mailbox.name[i] != 0x7f);
            assert_true(text_is_utf8(mailbox.name, mailbox.name_bytes));
            /* Canonical: reading it again changes nothing. */
            assert_int_equal(address_parse(&again, mailbox.address.text, mailbox.address.bytes), 0);
            assert_int_equal(again.bytes, mailbox.address.bytes);
            assert_memory_equal(again.text, mailbox.address.text, again.bytes);
        }
        free(copy);
    }
}

struct compared {
    uint64_t plain_count;
    uint64_t all_count;
};

/* Both readers over one list, member by member: what the plain one takes, the other reads alike. */
static void readers_agree(const uint8_t *src, size_t bytes, struct compared *compared)
{
    uint8_t *copy = malloc(bytes + (bytes == 0 ? 1 : 0));
    assert_non_null(copy);
    memcpy(copy, src, bytes);
    struct address_list list = address_list_make(copy, bytes);
    bool more = true;
    while (more) {
        struct address_list plain_list = list;
        struct address_mailbox plain;
        struct address_mailbox any;
        const bool taken = address_list_try(&plain_list, &plain);
        more = address_list_next_any(&list, &any);
        compared->all_count += more;
        if (!taken)
            continue;
        compared->plain_count++;
        assert_true(more);
        assert_ptr_equal(plain_list.at, list.at);
        assert_int_equal(plain.address.bytes, any.address.bytes);
        assert_memory_equal(plain.address.text, any.address.text, any.address.bytes);
        assert_int_equal(plain.address.domain_offset, any.address.domain_offset);
        assert_int_equal(plain.address.ascii, any.address.ascii);
        assert_int_equal(plain.name_bytes, any.name_bytes);
        assert_memory_equal(plain.name, any.name, any.name_bytes);
    }
    free(copy);
}

static void address_readers_agree_on_generated_lists(void **state)
{
    (void)state;
    static const char *const pieces[] = {"Alice Example ",
                                         "\"Doe, John\" ",
                                         "<a.b@c-d.example>",
                                         "bob@example.org",
                                         "a@b",
                                         ",",
                                         ", ",
                                         ";",
                                         " ",
                                         "  ",
                                         "\r\n ",
                                         "<",
                                         ">",
                                         "@",
                                         ".",
                                         "-",
                                         "_",
                                         "\"",
                                         "\\",
                                         "=?",
                                         "?=",
                                         "=?utf-8?q?J=C3=B6rg?= ",
                                         "(c)",
                                         ":",
                                         "[1.2.3.4]",
                                         "\xc3\xa9",
                                         "\x01",
                                         "J. Q. Public ",
                                         "<a@b>, ",
                                         "x",
                                         "word word "};
    struct mailgen gen = mailgen_seeded();
    struct compared compared = {0};
    for (uint32_t n = 0; n < 60000; n++) {
        uint8_t src[512];
        size_t bytes = 0;
        for (uint32_t i = mailgen_below(&gen, 10); i > 0; i--) {
            const char *piece = pieces[mailgen_below(&gen, ARRAY_COUNT(pieces))];
            memcpy(src + bytes, piece, strlen(piece));
            bytes += strlen(piece);
            if (mailgen_below(&gen, 30) == 0)
                src[bytes++] = (uint8_t)mailgen_next(&gen);
        }
        readers_agree(src, bytes, &compared);
    }
    assert_true(compared.plain_count > 1000);
    assert_true(compared.all_count > compared.plain_count);
}

static void corpus_lists(const uint8_t *mail, size_t mail_bytes, void *context)
{
    static const enum header_field fields[] = {HEADER_FROM, HEADER_TO, HEADER_CC, HEADER_REPLY_TO};
    struct header header;
    header_read(&header, mail, mail_bytes, mail_bytes);
    for (size_t i = 0; i < ARRAY_COUNT(fields); i++) {
        const struct header_span span = header.field[fields[i]];
        readers_agree(mail + span.offset, span.bytes, context);
    }
}

static void address_readers_agree_on_the_corpus(void **state)
{
    (void)state;
    struct compared compared = {0};
    if (!mailgen_corpus(corpus_lists, &compared))
        skip();
    /* Most of real mail is plain, or the plain reader is not worth its while. */
    assert_true(compared.plain_count * 2 > compared.all_count);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(address_accepts_what_the_standards_allow),
        cmocka_unit_test(address_tells_what_needs_smtputf8),
        cmocka_unit_test(address_refuses_the_rest),
        cmocka_unit_test(address_list_reads_mailboxes),
        cmocka_unit_test(address_list_reads_groups_and_nothings),
        cmocka_unit_test(address_list_leaves_out_what_is_no_address),
        cmocka_unit_test(address_list_cleans_names),
        cmocka_unit_test(address_list_copies_nothing_of_the_next_field),
        cmocka_unit_test(address_list_output_is_always_clean),
        cmocka_unit_test(address_readers_agree_on_generated_lists),
        cmocka_unit_test(address_readers_agree_on_the_corpus),
    };
    return mailgen_verdict(cmocka_run_group_tests(tests, NULL, NULL));
}
