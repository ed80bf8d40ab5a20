/* Tickets: taken back from the browser that got them, for what they were made, in time. */
#include "keyservice/server/account/ticket.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define NOW_MS UINT64_C(1700000000000)

static const uint8_t secret[TICKET_SECRET_BYTES] = {1, 2, 3};

struct made {
    struct session_token cookie;
    char text[TICKET_CHARS + 1];
};

static void make(struct made *made)
{
    assert_int_equal(session_make(&made->cookie), 0);
    const struct ticket ticket = {.purpose = "one",
                                  .cookie = &made->cookie,
                                  .hangs_on = "password",
                                  .number = 7,
                                  .expires_unix_ms = NOW_MS + TICKET_LIFE_MS};
    assert_int_equal(ticket_make(secret, &ticket, made->text), 0);
}

static int check(const struct made *made, const char *purpose, const struct session_token *cookie,
                 const char *hangs_on, uint64_t now_ms)
{
    struct ticket ticket = {.purpose = purpose, .cookie = cookie, .hangs_on = hangs_on};
    const int rc = ticket_check(secret, &ticket, made->text, now_ms);
    if (rc == 0)
        assert_int_equal(ticket.number, 7);
    return rc;
}

static void a_ticket_is_taken_for_what_it_was_made(void **state)
{
    struct made made;
    struct made other;
    (void)state;
    make(&made);
    make(&other);
    assert_string_not_equal(made.text, other.text);
    assert_int_equal(check(&made, "one", &made.cookie, "password", NOW_MS), 0);
    assert_int_equal(check(&made, "two", &made.cookie, "password", NOW_MS), -EACCES);
    assert_int_equal(check(&made, "one", &other.cookie, "password", NOW_MS), -EACCES);
    assert_int_equal(check(&made, "one", &made.cookie, "other", NOW_MS), -EACCES);
    assert_int_equal(check(&made, "one", &made.cookie, "password", NOW_MS + TICKET_LIFE_MS - 1), 0);
    assert_int_equal(check(&made, "one", &made.cookie, "password", NOW_MS + TICKET_LIFE_MS),
                     -EACCES);
}

static void a_changed_ticket_is_refused_at_every_character(void **state)
{
    struct made made;
    (void)state;
    make(&made);
    for (size_t i = 0; i < TICKET_CHARS - 1; i++) { /* the last one holds spare bits */
        struct made bad = made;
        bad.text[i] = bad.text[i] == 'A' ? 'B' : 'A';
        assert_int_equal(check(&bad, "one", &bad.cookie, "password", NOW_MS), -EACCES);
    }
    made.text[TICKET_CHARS - 1] = '\0';
    assert_int_equal(check(&made, "one", &made.cookie, "password", NOW_MS), -EACCES);
    made.text[0] = '\0';
    assert_int_equal(check(&made, "one", &made.cookie, "password", NOW_MS), -EACCES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_ticket_is_taken_for_what_it_was_made),
        cmocka_unit_test(a_changed_ticket_is_refused_at_every_character),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
