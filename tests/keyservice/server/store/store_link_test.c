/* One-time links in the database: spent once, bounded, and gone when their time is over. */
#include "keyservice/server/store/store_link.h"

#include "keyservice/server/store/store_outbox.h"
#include "tests/keyservice/server/store/store_fixture.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define LONG_BYTES (2 * STORE_LINK_PART_BYTES + 4321)
#define TO         "bob@example.org"

static struct store_link link_of(uint8_t number, const char *address, uint64_t sealed_bytes)
{
    struct store_link link = {.name = {number}, .suite = 1, .sealed_bytes = sealed_bytes};
    memset(link.id, 7, sizeof(link.id));
    (void)snprintf(link.address, sizeof(link.address), "%s", address);
    return link;
}

static int send(const struct store_fixture *fixture, const struct store_link *link, uint64_t now_ms)
{
    static const char *const to = TO;
    uint8_t id[OUTBOX_ID_BYTES] = {link->name[0], link->name[1]};
    const struct outbox_mail mail = {.id = id,
                                     .from_envelope = "",
                                     .to = &to,
                                     .to_count = 1,
                                     .mail = "x\r\n",
                                     .mail_bytes = 3,
                                     .kind = OUTBOX_NOTICE};
    return store_link_send(fixture->store, link->name, &mail, now_ms);
}

static uint32_t mails_count(const struct store_fixture *fixture)
{
    struct outbox_due due[16];
    uint32_t count = 0;
    assert_int_equal(store_outbox_due(fixture->store, NOW_MS + 1, due, 16, &count), 0);
    return count;
}

static void a_link_is_taken_once_and_gives_back_what_was_kept(void **state)
{
    const struct store_fixture *fixture = *state;
    const struct store_link link = link_of(1, TO, LONG_BYTES);
    struct store_link taken = {.name = {1}};
    uint8_t *sealed = malloc(LONG_BYTES);
    uint8_t *back = malloc(LONG_BYTES);
    assert_non_null(sealed);
    assert_non_null(back);
    for (size_t i = 0; i < LONG_BYTES; i++)
        sealed[i] = (uint8_t)(i * 31 + i / 4096);
    assert_int_equal(store_link_add(fixture->store, &link, sealed, NOW_MS), 0);
    assert_int_equal(store_link_look(fixture->store, link.name, NOW_MS), -ENOENT);
    assert_int_equal(store_link_take(fixture->store, &taken, NOW_MS), -ENOENT);
    assert_int_equal(mails_count(fixture), 0);
    assert_int_equal(send(fixture, &link, NOW_MS), 0);
    assert_int_equal(mails_count(fixture), 1);
    for (uint32_t i = 0; i < 3; i++) /* looking spends nothing */
        assert_int_equal(store_link_look(fixture->store, link.name, NOW_MS), 0);
    assert_int_equal(store_link_take(fixture->store, &taken, NOW_MS), 0);
    assert_int_equal(taken.sealed_bytes, LONG_BYTES);
    assert_int_equal(taken.suite, 1);
    assert_string_equal(taken.address, TO);
    assert_memory_equal(taken.id, link.id, sizeof(link.id));
    assert_int_equal(store_link_read(fixture->store, &taken, back), 0);
    assert_memory_equal(back, sealed, LONG_BYTES);
    assert_int_equal(store_link_take(fixture->store, &taken, NOW_MS), -ENOENT);
    assert_int_equal(store_link_look(fixture->store, link.name, NOW_MS), -ENOENT);
    assert_int_equal(store_link_give(fixture->store, link.name), 0);
    assert_int_equal(store_link_take(fixture->store, &taken, NOW_MS), 0);
    assert_int_equal(store_link_spend(fixture->store, link.name), 0);
    assert_int_equal(store_link_spend(fixture->store, link.name), -ENOENT);
    assert_int_equal(store_link_give(fixture->store, link.name), 0);
    assert_int_equal(store_link_take(fixture->store, &taken, NOW_MS), -ENOENT);
    assert_int_equal(store_fixture_number(fixture, "SELECT count(*) FROM link_part"), 0);
    free(sealed);
    free(back);
}

static void its_time_ends_and_then_it_goes(void **state)
{
    const struct store_fixture *fixture = *state;
    const struct store_link link = link_of(1, TO, 80);
    const uint8_t sealed[80] = {1};
    struct store_link taken = {.name = {1}};
    const uint64_t end_ms = NOW_MS + STORE_LINK_LIFE_MS;
    bool more = true;
    assert_int_equal(store_link_add(fixture->store, &link, sealed, NOW_MS), 0);
    assert_int_equal(send(fixture, &link, NOW_MS), 0);
    assert_int_equal(store_link_prune(fixture->store, end_ms - 1, &more), 0);
    assert_false(more);
    assert_int_equal(store_link_look(fixture->store, link.name, end_ms - 1), 0);
    assert_int_equal(store_link_look(fixture->store, link.name, end_ms), -ENOENT);
    assert_int_equal(store_link_take(fixture->store, &taken, end_ms), -ENOENT);
    assert_int_equal(store_link_prune(fixture->store, end_ms, &more), 0);
    assert_false(more);
    assert_int_equal(store_fixture_number(fixture, "SELECT count(*) FROM link"), 0);
    assert_int_equal(store_fixture_number(fixture, "SELECT count(*) FROM link_part"), 0);
}

/* What is removed is overwritten: all of it at once would hold up every release meanwhile. */
static void what_is_over_goes_some_parts_a_commit_and_its_head_last(void **state)
{
    const struct store_fixture *fixture = *state;
    const uint64_t parts_count = 2 * STORE_LINK_PRUNE_PARTS + 1;
    const uint64_t end_ms = NOW_MS + STORE_LINK_LIFE_MS;
    const struct store_link old = link_of(1, TO, parts_count * STORE_LINK_PART_BYTES);
    const struct store_link fresh = link_of(2, TO, 80);
    uint8_t *sealed = calloc(parts_count, STORE_LINK_PART_BYTES);
    bool more = false;
    assert_non_null(sealed);
    assert_int_equal(store_link_add(fixture->store, &old, sealed, NOW_MS), 0);
    assert_int_equal(store_link_add(fixture->store, &fresh, sealed, NOW_MS + 1), 0);
    for (uint64_t left = parts_count; left > STORE_LINK_PRUNE_PARTS;) {
        assert_int_equal(store_link_prune(fixture->store, end_ms, &more), 0);
        assert_true(more);
        left -= STORE_LINK_PRUNE_PARTS;
        assert_int_equal(store_fixture_number(fixture, "SELECT count(*) FROM link_part"), left + 1);
        assert_int_equal(store_fixture_number(fixture, "SELECT count(*) FROM link"), 2);
    }
    assert_int_equal(store_link_prune(fixture->store, end_ms, &more), 0);
    assert_false(more);
    assert_int_equal(store_fixture_number(fixture, "SELECT count(*) FROM link_part"), 1);
    assert_int_equal(store_fixture_number(fixture, "SELECT count(*) FROM link"), 1);
    assert_int_equal(store_link_remove(fixture->store, fresh.name), 0);
    free(sealed);
}

static void an_address_has_its_share_spent_ones_included(void **state)
{
    const struct store_fixture *fixture = *state;
    const uint8_t sealed[80] = {1};
    struct store_link link;
    for (uint8_t i = 0; i <= STORE_LINK_SHARE; i++) {
        link = link_of(i, TO, sizeof(sealed));
        link.id[0] = i;
        assert_int_equal(store_link_add(fixture->store, &link, sealed, NOW_MS),
                         i < STORE_LINK_SHARE ? 0 : -EACCES);
        if (i == 0) {
            assert_int_equal(send(fixture, &link, NOW_MS), 0);
            assert_int_equal(store_link_take(fixture->store, &link, NOW_MS), 0);
            assert_int_equal(store_link_spend(fixture->store, link.name), 0);
        }
    }
    link = link_of(200, "sue@example.org", sizeof(sealed));
    assert_int_equal(store_link_add(fixture->store, &link, sealed, NOW_MS), 0);
    link = link_of(201, TO, sizeof(sealed));
    assert_int_equal(store_link_add(fixture->store, &link, sealed, NOW_MS + STORE_LINK_LIFE_MS), 0);
}

static void mails_about_one_envelope_use_up_no_more_than_its_own_share(void **state)
{
    const struct store_fixture *fixture = *state;
    const uint8_t sealed[80] = {1};
    for (uint8_t i = 0; i <= STORE_LINK_SHARE_ONE; i++) {
        const struct store_link link = link_of(i, TO, sizeof(sealed));
        assert_int_equal(store_link_add(fixture->store, &link, sealed, NOW_MS),
                         i < STORE_LINK_SHARE_ONE ? 0 : -EACCES);
    }
    struct store_link other = link_of(100, TO, sizeof(sealed));
    other.id[0] ^= 1;
    assert_int_equal(store_link_add(fixture->store, &other, sealed, NOW_MS), 0);
}

static void all_places_taken_is_no_end_but_a_wait(void **state)
{
    const struct store_fixture *fixture = *state;
    const uint8_t sealed[80] = {1};
    const struct store_link first = link_of(1, "sue@example.org", sizeof(sealed));
    const struct store_link link = link_of(2, TO, sizeof(sealed));
    char statement[96];
    assert_int_equal(store_link_add(fixture->store, &first, sealed, NOW_MS), 0);
    (void)snprintf(statement, sizeof(statement), "UPDATE link SET bytes = %llu",
                   (unsigned long long)STORE_LINK_BYTES_MAX - 79);
    store_fixture_sql(fixture, statement);
    assert_int_equal(store_link_add(fixture->store, &link, sealed, NOW_MS), -ENOSPC);
    store_fixture_sql(fixture, "UPDATE link SET bytes = 0");
    assert_int_equal(store_link_add(fixture->store, &link, sealed, NOW_MS), 0);
}

/* Many recipients, or who forges their mails, and one message. */
static void one_envelope_has_its_share_of_the_room_whoever_asks(void **state)
{
    const struct store_fixture *fixture = *state;
    const uint8_t sealed[80] = {1};
    const struct store_link first = link_of(1, "sue@example.org", sizeof(sealed));
    const struct store_link same = link_of(2, TO, sizeof(sealed));
    struct store_link other = link_of(3, TO, sizeof(sealed));
    char statement[96];
    other.id[0] ^= 1;
    assert_int_equal(store_link_add(fixture->store, &first, sealed, NOW_MS), 0);
    (void)snprintf(statement, sizeof(statement), "UPDATE link SET bytes = %llu",
                   (unsigned long long)STORE_LINK_ONE_MAX - 79);
    store_fixture_sql(fixture, statement);
    assert_int_equal(store_link_add(fixture->store, &same, sealed, NOW_MS), -ENOSPC);
    assert_int_equal(store_link_add(fixture->store, &other, sealed, NOW_MS), 0);
    store_fixture_sql(fixture, "UPDATE link SET bytes = bytes - 1");
    assert_int_equal(store_link_add(fixture->store, &same, sealed, NOW_MS), 0);
}

/* A disk may hang for longer than a link's time: its bytes would lie there for ever. */
static void bytes_whose_head_is_gone_are_not_kept(void **state)
{
    const struct store_fixture *fixture = *state;
    const uint8_t sealed[80] = {1};
    const struct store_link link = link_of(1, TO, sizeof(sealed));
    const struct store_link fine = link_of(2, TO, sizeof(sealed));
    const bool shared = store_is_url(fixture->database);
    store_fixture_sql(fixture, shared ? "CREATE RULE gone AS ON INSERT TO link DO ALSO DELETE"
                                        " FROM link"
                                      : "CREATE TRIGGER gone AFTER INSERT ON link BEGIN"
                                        " DELETE FROM link; END");
    assert_int_equal(store_link_add(fixture->store, &link, sealed, NOW_MS), -ENOENT);
    assert_int_equal(store_fixture_number(fixture, "SELECT count(*) FROM link_part"), 0);
    store_fixture_sql(fixture, shared ? "DROP RULE gone ON link" : "DROP TRIGGER gone");
    assert_int_equal(store_link_add(fixture->store, &fine, sealed, NOW_MS), 0);
}

static void what_is_removed_was_never_there(void **state)
{
    const struct store_fixture *fixture = *state;
    const uint8_t sealed[80] = {1};
    const struct store_link link = link_of(1, TO, sizeof(sealed));
    assert_int_equal(store_link_add(fixture->store, &link, sealed, NOW_MS), 0);
    assert_int_equal(store_link_remove(fixture->store, link.name), 0);
    assert_int_equal(store_link_remove(fixture->store, link.name), 0);
    assert_int_equal(store_fixture_number(fixture, "SELECT count(*) FROM link_part"), 0);
    assert_int_equal(send(fixture, &link, NOW_MS), -EIO);
    assert_int_equal(mails_count(fixture), 0);
}

#define WITH_STORE(test)                                                                           \
    cmocka_unit_test_setup_teardown(test, store_fixture_setup, store_fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_STORE(a_link_is_taken_once_and_gives_back_what_was_kept),
        WITH_STORE(its_time_ends_and_then_it_goes),
        WITH_STORE(what_is_over_goes_some_parts_a_commit_and_its_head_last),
        WITH_STORE(an_address_has_its_share_spent_ones_included),
        WITH_STORE(mails_about_one_envelope_use_up_no_more_than_its_own_share),
        WITH_STORE(all_places_taken_is_no_end_but_a_wait),
        WITH_STORE(one_envelope_has_its_share_of_the_room_whoever_asks),
        WITH_STORE(bytes_whose_head_is_gone_are_not_kept),
        WITH_STORE(what_is_removed_was_never_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
