/* Which messages a profile seals: what its lists name, and nothing else; doubt seals. */
#include "policy/select.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static char why[SELECT_WHY_BYTES];

static struct select_rules *rules_with(enum select_kind kind, const char *entry)
{
    static struct select_rules rules;
    select_init(&rules);
    if (entry != NULL && select_add(&rules, kind, entry, why) != 0)
        fail_msg("%s: %s", entry, why);
    return &rules;
}

static bool seals_address(enum select_kind kind, const char *entry, const char *address)
{
    const char *const others[] = {"zoe@elsewhere.example", address};
    const struct select_message message = {
        .sender = kind == SELECT_SENDER ? address : "x@y.example",
        .recipients = others,
        .recipients_count = kind == SELECT_SENDER ? 1 : 2,
    };
    return select_matches(rules_with(kind, entry), &message);
}

static bool seals_field(enum select_kind kind, const char *entry, const char *name,
                        const char *value)
{
    const char *const recipients[] = {"a@b.example"};
    const struct select_field fields[] = {
        {"From", " x@y.example", 4, 12},
        {name, value, strlen(name), strlen(value)},
    };
    const struct select_message message = {.sender = "x@y.example",
                                           .recipients = recipients,
                                           .recipients_count = 1,
                                           .fields = fields,
                                           .fields_count = 2};
    return select_matches(rules_with(kind, entry), &message);
}

static void select_without_lists_seals_nothing_and_all_seals_everything(void **state)
{
    (void)state;
    const struct select_message message = {.sender = ""};
    assert_false(select_matches(rules_with(SELECT_SCOPE, NULL), &message));
    assert_false(select_matches(rules_with(SELECT_SCOPE, "selected"), &message));
    assert_true(select_matches(rules_with(SELECT_SCOPE, "all"), &message));
}

static void select_finds_addresses_and_domains(void **state)
{
    (void)state;
    static const struct {
        const char *entry;
        const char *address;
        bool matches;
    } cases[] = {
        {"ann@example.com", "ann@example.com", true},
        {"ann@example.com", "Ann@EXAMPLE.com", true},
        {"ann@example.com", "<ann@example.com>", true},
        {"ann@example.com", "\"ann\"@example.com", true},
        {"ann@example.com", "ann@example.com.", true},
        {"ann@example.com", "joann@example.com", false},
        {"ann@example.com", "ann@example.com.evil.example", false},
        {"@example.com", "who@example.com", true},
        {"@example.com", "who@sub.example.com", false},
        {"@example.com", "who@notexample.com", false},
        {"@example.com", "\"who@other.example\"@example.com", true},
        {"@.example.com", "who@sub.example.com", true},
        {"@.example.com", "who@a.b.example.com", true},
        {"@.example.com", "who@example.com", false},
        {"@.example.com", "who@notexample.com", false},
        {"@example.com", "postmaster", false},
        {"@example.com", "", false},
        {"@example.com", "b\xc3\xa4r@example.com", true},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        if (seals_address(SELECT_RECIPIENT, cases[i].entry, cases[i].address) != cases[i].matches ||
            seals_address(SELECT_SENDER, cases[i].entry, cases[i].address) != cases[i].matches)
            fail_msg("%s, %s", cases[i].entry, cases[i].address);
    }
}

/* A mail server rewrites these to the address behind them, or sends them on to one that does. */
static void select_finds_addresses_behind_a_route(void **state)
{
    (void)state;
    static const struct {
        const char *entry;
        const char *address;
        bool matches;
    } cases[] = {
        {"@example.com", "who%example.com@relay.example", true},
        {"@example.com", "who%example.com", true},
        {"@example.com", "who%EXAMPLE.com%b.example@relay.example", true},
        {"@example.com", "example.com!who", true},
        {"@example.com", "example.com!who@relay.example", true},
        {"@example.com", "b.example!example.com!who", true},
        {"@example.com", "\"who@example.com\"@relay.example", true},
        {"@example.com", "\"who%example.com\"@relay.example", true},
        {"@example.com", "@relay.example:who@example.com", true},
        {"@.example.com", "who%sub.example.com@relay.example", true},
        {"ann@example.com", "ann%example.com@relay.example", true},
        {"ann@example.com", "example.com!ann", true},
        {"ann@example.com", "joann%example.com@relay.example", false},
        {"@example.com", "example.com%who@relay.example", false},
        {"@example.com", "who!example.com@relay.example", false},
        {"@example.com", "%", false},
        {"@example.com", "!", false},
        {"@example.com", "!!!!!!!!!!!!!!!!!!!!@%%%%%%%%%", false},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        if (seals_address(SELECT_RECIPIENT, cases[i].entry, cases[i].address) != cases[i].matches)
            fail_msg("%s, %s", cases[i].entry, cases[i].address);
    }
}

/* Postfix hands on what the client wrote, and reads more out of it than is an address. */
static void select_seals_addresses_that_it_cannot_read(void **state)
{
    (void)state;
    static const char *const doubtful[] = {
        "who@example.com (his place)",
        "who@exam\\ple.com",
        "Who <who@example.com>",
        "who@\"example\".com",
        "who@example.com;",
        "list: who@example.com;",
        "\"@",
        "who@example.com,",
        "who@example.com>",
    };
    static const char *const odd[] = {".who.@docomo.example", "who@other.example", "postmaster",
                                      "who..are@other.example"};
    for (size_t i = 0; i < ARRAY_COUNT(doubtful); i++) {
        if (!seals_address(SELECT_RECIPIENT, "@example.com", doubtful[i]) ||
            !seals_address(SELECT_SENDER, "@example.com", doubtful[i]))
            fail_msg("%s", doubtful[i]);
    }
    for (size_t i = 0; i < ARRAY_COUNT(odd); i++) {
        if (seals_address(SELECT_RECIPIENT, "@example.com", odd[i]))
            fail_msg("%s", odd[i]);
    }
    assert_true(seals_address(SELECT_RECIPIENT, "@docomo.example", ".who.@docomo.example"));
    assert_true(seals_address(SELECT_RECIPIENT, "@example.com", "who@example.com.."));
}

static void select_reads_the_subject_as_a_reader_would(void **state)
{
    (void)state;
    static const struct {
        const char *subject;
        bool matches;
    } cases[] = {
        {" [secure] offer", true},
        {" Re: [SECURE] offer", true},
        {" =?utf-8?B?W3NlY3VyZV0gw7xiZXI=?=", true},
        {" =?iso-8859-1?q?=5Bsec?=\n =?iso-8859-1?q?ure=5D?=", true},
        {" [secure\n ] offer", false},
        {" secure offer", false},
        {"", false},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        if (seals_field(SELECT_SUBJECT, "[secure]", "Subject", cases[i].subject) !=
            cases[i].matches)
            fail_msg("%s", cases[i].subject);
    }
    assert_true(seals_field(SELECT_SUBJECT, "top secret", "sUBJECT", " it is top\n\t secret"));
    assert_false(seals_field(SELECT_SUBJECT, "[secure]", "X-Subject", " [secure]"));
    assert_true(seals_field(SELECT_SUBJECT, "[secure]", "Subject \t", " [secure]"));
    assert_true(seals_field(SELECT_HEADER, "X-Confidential", "X-Confidential ", "yes"));
}

static void select_compares_headers_whole(void **state)
{
    (void)state;
    assert_true(seals_field(SELECT_HEADER, "X-Confidential: yes", "x-confidential", " YES "));
    assert_true(seals_field(SELECT_HEADER, "X-Confidential:yes", "X-Confidential", "yes"));
    assert_false(seals_field(SELECT_HEADER, "X-Confidential: yes", "X-Confidential", " yes, no"));
    assert_false(seals_field(SELECT_HEADER, "X-Confidential: yes", "X-Confidential-2", " yes"));
    assert_true(seals_field(SELECT_HEADER, "Sensitivity", "Sensitivity", " Company-Confidential"));
    assert_true(seals_field(SELECT_HEADER, "Sensitivity:", "Sensitivity", ""));
    assert_true(seals_field(SELECT_HEADER, "Sensitivity: Company Confidential", "Sensitivity",
                            " Company\n Confidential"));
}

/* A reader's program may know more charsets than we do. */
static void select_seals_what_it_cannot_decode(void **state)
{
    (void)state;
    assert_true(
        seals_field(SELECT_SUBJECT, "[secure]", "Subject", " =?utf-7?Q?+AFs-secure+AF0-?="));
    assert_true(seals_field(SELECT_SUBJECT, "[secure]", "Subject", " a =?x-own?B?W3NlY3VyZV0=?="));
    assert_true(seals_field(SELECT_HEADER, "X-Class: secret", "X-Class", "=?x-own?Q?secret?="));
    assert_false(seals_field(SELECT_SUBJECT, "[secure]", "Subject", " what =?is?= this"));
}

/* The decoder leaves out what one run of words has beyond its bound. */
static void select_seals_more_encoded_words_than_are_decoded(void **state)
{
    (void)state;
    enum { WORDS = 160 };
    char *subject = malloc(WORDS * 64 + 64);
    assert_non_null(subject);
    size_t used = 0;
    for (uint32_t n = 0; n < WORDS; n++)
        used += (size_t)snprintf(subject + used, 64, " =?utf-8?Q?%032u?=\n", n);
    (void)snprintf(subject + used, 64, " =?utf-8?Q?=5Bsecure=5D?=");
    assert_true(seals_field(SELECT_SUBJECT, "[secure]", "Subject", subject));
    free(subject);
}

/* A phrase may stand behind what is looked at: such a subject is sealed. */
static void select_seals_what_it_cannot_read_to_the_end(void **state)
{
    (void)state;
    const size_t bytes = 100000;
    char *subject = malloc(bytes + 1);
    assert_non_null(subject);
    memset(subject, 'x', bytes);
    subject[bytes] = '\0';
    assert_true(seals_field(SELECT_SUBJECT, "[secure]", "Subject", subject));
    free(subject);
}

static void select_refuses_entries_that_could_never_match(void **state)
{
    (void)state;
    static const struct {
        enum select_kind kind;
        const char *entry;
    } cases[] = {
        {SELECT_SCOPE, "some"},      {SELECT_SUBJECT, ""},
        {SELECT_SUBJECT, " \t"},     {SELECT_HEADER, ""},
        {SELECT_HEADER, ": yes"},    {SELECT_HEADER, "two words: yes"},
        {SELECT_SENDER, ""},         {SELECT_SENDER, "@"},
        {SELECT_SENDER, "@."},       {SELECT_SENDER, "example.com"},
        {SELECT_RECIPIENT, "a b@c"}, {SELECT_RECIPIENT, "@a b"},
    };
    struct select_rules *rules = rules_with(SELECT_SCOPE, NULL);
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        why[0] = '\0';
        if (select_add(rules, cases[i].kind, cases[i].entry, why) != -EINVAL || why[0] == '\0')
            fail_msg("\"%s\" was taken", cases[i].entry);
    }
    assert_int_equal(rules->entries_count, 0);
    assert_int_equal(rules->text_bytes, 0);
}

static void select_says_when_its_lists_are_full(void **state)
{
    (void)state;
    struct select_rules *rules = rules_with(SELECT_SCOPE, NULL);
    char entry[64];
    int rc = 0;
    uint32_t n = 0;
    for (; rc == 0 && n < 100000; n++) {
        (void)snprintf(entry, sizeof(entry), "@d%06u.example.com", n);
        rc = select_add(rules, SELECT_RECIPIENT, entry, why);
    }
    assert_int_equal(rc, -ENOSPC);
    assert_true(n > 500);
    assert_true(rules->text_bytes <= SELECT_TEXT_BYTES_MAX);
    const char *const last[] = {"x@d000500.example.com"};
    const struct select_message message = {.sender = "", .recipients = last, .recipients_count = 1};
    assert_true(select_matches(rules, &message));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(select_without_lists_seals_nothing_and_all_seals_everything),
        cmocka_unit_test(select_finds_addresses_and_domains),
        cmocka_unit_test(select_reads_the_subject_as_a_reader_would),
        cmocka_unit_test(select_finds_addresses_behind_a_route),
        cmocka_unit_test(select_seals_addresses_that_it_cannot_read),
        cmocka_unit_test(select_compares_headers_whole),
        cmocka_unit_test(select_seals_what_it_cannot_decode),
        cmocka_unit_test(select_seals_more_encoded_words_than_are_decoded),
        cmocka_unit_test(select_seals_what_it_cannot_read_to_the_end),
        cmocka_unit_test(select_refuses_entries_that_could_never_match),
        cmocka_unit_test(select_says_when_its_lists_are_full),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
