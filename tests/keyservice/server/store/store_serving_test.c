/* Who may serve a database, with which master keys, and what services of one database share. */
#include "tests/keyservice/server/store/store_fixture.h"

#include "base/clock.h"
#include "keyservice/server/guess.h"
#include "keyservice/server/online.h"
#include "keyservice/server/pickup.h"
#include "keyservice/server/store/store_parked.h"
#include "keyservice/server/store/store_rewrap.h"
#include "keyservice/server/store/store_shared.h"
#include "keyservice/server/store/store_wrapping.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define PAIR_BURST 10 /* docs/keyservice/guesses.md */
#define TRIES      40
#define OPEN_TRIES 3000 /* half a minute */

static const uint8_t secret[GUESS_SECRET_BYTES] = {42};

static struct store *serving_open(const struct store_fixture *fixture, bool alone, int expected)
{
    char why[STORE_WHY_BYTES] = "";
    struct store *store = NULL;
    const struct store_config config = {.path = fixture->database,
                                        .master = fixture->master,
                                        .readers_count = 1,
                                        .serves = !alone,
                                        .alone = alone};
    int rc = store_open(&store, &config, why);
    /* A session of PostgreSQL ends, and its locks with it, a moment after it was closed. */
    for (uint32_t tries = 0; rc == -EBUSY && expected == 0 && tries < OPEN_TRIES; tries++) {
        (void)usleep(10000);
        why[0] = '\0';
        rc = store_open(&store, &config, why);
    }
    assert_int_equal(rc, expected);
    assert_int_equal(strlen(why) > 0, expected != 0);
    return store;
}

static void nobody_is_alone_beside_a_service(void **state)
{
    const struct store_fixture *fixture = *state;
    struct store *service = serving_open(fixture, false, 0);
    assert_null(serving_open(fixture, true, -EBUSY));
    store_close(service);
    struct store *mover = serving_open(fixture, true, 0);
    assert_null(serving_open(fixture, false, -EBUSY));
    store_close(mover);
    store_close(serving_open(fixture, false, 0));
}

static void services_share_postgresql_and_not_sqlite(void **state)
{
    const struct store_fixture *fixture = *state;
    const bool shares = fixture->schema[0] != '\0';
    struct store *one = serving_open(fixture, false, 0);
    struct store *other = serving_open(fixture, false, shares ? 0 : -EBUSY);
    assert_int_equal(store_shares(one), shares);
    store_close(other);
    store_close(one);
}

static void a_master_key_that_is_missing_or_another_is_named(void **state)
{
    struct store_fixture *fixture = *state;
    char why[STORE_WHY_BYTES] = "";
    char path[128];
    assert_int_equal(store_wrapping_check(fixture->store, why), 0);
    assert_int_equal(store_fixture_number(fixture, "SELECT count(*) FROM wrapping"), 1);
    assert_int_equal(store_wrapping_check(fixture->store, why), 0);
    store_fixture_sql(fixture, "INSERT INTO wrapping (version, proof) SELECT 2, proof FROM"
                               " wrapping");
    assert_int_equal(store_wrapping_check(fixture->store, why), -ENOKEY);
    assert_non_null(strstr(why, "under master key 2"));

    store_fixture_sql(fixture, "DELETE FROM wrapping WHERE version = 2");
    store_close(fixture->store);
    struct master *own = fixture->master;
    (void)snprintf(path, sizeof(path), "%s/other.key", fixture->folder);
    assert_int_equal(master_create(path), 0);
    assert_int_equal(master_open(&fixture->master, path, why), 0);
    store_fixture_open(fixture);
    assert_int_equal(store_wrapping_check(fixture->store, why), -ENOKEY);
    assert_non_null(strstr(why, "master key 1"));
    store_close(fixture->store);
    master_close(fixture->master);
    fixture->master = own;
    assert_int_equal(unlink(path), 0);
    store_fixture_open(fixture);
}

#define REWRAP_COUNT (STORE_REWRAP_ROWS + 44)

static void key_expect(const struct store_fixture *fixture, const struct store_made *made,
                       uint32_t version)
{
    struct store_envelope envelope;
    uint8_t key[MASTER_PLAIN_BYTES_MAX];
    size_t key_bytes = 0;
    assert_int_equal(store_envelope_get(fixture->store, made->record.id, &envelope), 0);
    assert_int_equal(envelope.key_version, version);
    assert_int_equal(store_envelope_key(fixture->store, &envelope, key, &key_bytes), 0);
    assert_int_equal(key_bytes, 32);
    assert_memory_equal(key, made->record.key, 32);
}

static void every_key_comes_under_the_newest_master_key(void **state)
{
    struct store_fixture *fixture = *state;
    char why[MASTER_WHY_BYTES] = "";
    bool more = true;
    struct store_rewrap rewrap;
    struct store_made *made = calloc(REWRAP_COUNT, sizeof(*made));
    assert_non_null(made);
    for (uint32_t i = 0; i < REWRAP_COUNT; i++) {
        store_made_fill(&made[i], 1 + i, "bob@example.org");
        assert_int_equal(store_made_put(fixture, &made[i]), STORE_PUT_STORED);
    }
    store_close(fixture->store);
    master_close(fixture->master);
    assert_int_equal(master_add(fixture->master_path, why), 0);
    assert_int_equal(master_open(&fixture->master, fixture->master_path, why), 0);
    store_fixture_open(fixture);
    key_expect(fixture, &made[0], 1);
    assert_int_equal(store_rewrap_some(fixture->store, &more), 0);
    assert_true(more);
    assert_int_equal(store_fixture_number(fixture,
                                          "SELECT count(*) FROM envelope WHERE key_version = 2"),
                     STORE_REWRAP_ROWS);
    /* Whatever ended it: another process goes on from there. */
    store_close(fixture->store);
    store_fixture_open(fixture);
    assert_int_equal(store_rewrap_some(fixture->store, &more), 0);
    assert_false(more);
    assert_int_equal(store_rewrap_look(fixture->store, &rewrap), 0);
    assert_true(rewrap.done);
    assert_int_equal(rewrap.rows_count, REWRAP_COUNT);
    for (uint32_t i = 0; i < REWRAP_COUNT; i++)
        key_expect(fixture, &made[i], 2);
    /* The same record is known again, and nothing is left to do. */
    assert_int_equal(store_made_put(fixture, &made[0]), STORE_PUT_STORED);
    assert_int_equal(store_rewrap_some(fixture->store, &more), 0);
    assert_false(more);
    free(made);
}

static void a_key_that_does_not_open_stays_as_it_is(void **state)
{
    struct store_fixture *fixture = *state;
    char why[MASTER_WHY_BYTES] = "";
    bool more = true;
    struct store_made made[2];
    for (uint32_t i = 0; i < 2; i++) {
        store_made_fill(&made[i], 1 + i, "bob@example.org");
        assert_int_equal(store_made_put(fixture, &made[i]), STORE_PUT_STORED);
    }
    store_fixture_sql(fixture, "UPDATE envelope SET wrapped = record WHERE id ="
                               " (SELECT id FROM envelope ORDER BY id LIMIT 1)");
    store_fixture_sql(fixture, fixture->schema[0] != '\0'
                                   ? "UPDATE envelope SET wrapped = substring(wrapped for 56)"
                                   : "UPDATE envelope SET wrapped = substr(wrapped, 1, 56)");
    store_close(fixture->store);
    master_close(fixture->master);
    assert_int_equal(master_add(fixture->master_path, why), 0);
    assert_int_equal(master_open(&fixture->master, fixture->master_path, why), 0);
    store_fixture_open(fixture);
    assert_int_equal(store_rewrap_some(fixture->store, &more), 0);
    assert_int_equal(
        store_fixture_number(fixture, "SELECT count(*) FROM envelope WHERE key_version = 1"), 1);
    key_expect(fixture, &made[1], 2);
}

struct node {
    struct store *store;
    struct guess *guess;
    struct pickup *pickup;
    uint32_t allowed_count;
};

static void node_start(struct node *node, const struct store_fixture *fixture)
{
    node->store = serving_open(fixture, false, 0);
    assert_int_equal(guess_open(&node->guess), 0);
    assert_int_equal(pickup_open(&node->pickup), 0);
    guess_share(node->guess, node->store, secret);
    pickup_share(node->pickup, node->store, secret);
}

static void node_stop(struct node *node)
{
    pickup_close(node->pickup);
    guess_close(node->guess);
    store_close(node->store);
}

static void *node_guess(void *argument)
{
    struct node *node = argument;
    for (uint32_t i = 0; i < TRIES; i++)
        node->allowed_count += guess_take(node->guess, GUESS_PAIR, "bob", 3, 0) == 0;
    return NULL;
}

static void tries_at_two_nodes_count_together(void **state)
{
    struct node nodes[2] = {{.allowed_count = 0}};
    pthread_t threads[2];
    for (uint32_t i = 0; i < 2; i++)
        node_start(&nodes[i], *state);
    for (uint32_t i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, node_guess, &nodes[i]), 0);
    for (uint32_t i = 0; i < 2; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_int_equal(nodes[0].allowed_count + nodes[1].allowed_count, PAIR_BURST);
    const uint64_t wait_ns = guess_take(nodes[0].guess, GUESS_PAIR, "bob", 3, 0);
    assert_true(wait_ns > 0);
    assert_true(wait_ns <= 60 * NS_PER_S);
    assert_int_equal(guess_take(nodes[0].guess, GUESS_PAIR, "eve", 3, 0), 0);
    assert_int_equal(guess_take(nodes[0].guess, GUESS_ACCOUNT, "bob", 3, 0), 0);
    guess_give(nodes[1].guess, GUESS_PAIR, "bob", 3, 0);
    assert_int_equal(guess_take(nodes[0].guess, GUESS_PAIR, "bob", 3, 0), 0);
    assert_true(guess_take(nodes[0].guess, GUESS_PAIR, "bob", 3, 0) > 0);
    assert_false(guess_known(nodes[0].guess, "bob", 3));
    guess_known_add(nodes[1].guess, "bob", 3);
    assert_true(guess_known(nodes[0].guess, "bob", 3));
    for (uint32_t i = 0; i < 2; i++)
        node_stop(&nodes[i]);
}

static void a_try_that_cannot_be_counted_is_not_allowed(void **state)
{
    struct node node;
    node_start(&node, *state);
    store_fixture_sql(*state, "ALTER TABLE guess RENAME TO gone");
    assert_true(guess_take(node.guess, GUESS_PAIR, "bob", 3, 0) > 0);
    store_fixture_sql(*state, "ALTER TABLE gone RENAME TO guess");
    assert_int_equal(guess_take(node.guess, GUESS_PAIR, "bob", 3, 0), 0);
    node_stop(&node);
}

static void a_key_parked_at_one_node_is_given_once_by_another(void **state)
{
    struct node nodes[2];
    char text[PICKUP_TEXT_BYTES] = "";
    const uint8_t name[PICKUP_NAME_BYTES] = {1};
    for (uint32_t i = 0; i < 2; i++)
        node_start(&nodes[i], *state);
    assert_int_equal(pickup_take(nodes[1].pickup, name, 0, text), -ENOENT);
    assert_int_equal(pickup_park(nodes[0].pickup, "o", 1, name, "first", 0), 0);
    assert_int_equal(pickup_park(nodes[0].pickup, "o", 1, name, "text", 0), 0);
    assert_int_equal(pickup_take(nodes[1].pickup, name, 0, text), 0);
    assert_string_equal(text, "text");
    for (uint32_t i = 0; i < 2; i++)
        assert_int_equal(pickup_take(nodes[i].pickup, name, 0, text), -ENOENT);
    assert_int_equal(pickup_park(nodes[0].pickup, "o", 1, name, "late", 0), 0);
    store_fixture_sql(*state, "UPDATE pickup SET until = until - 61000000");
    assert_int_equal(pickup_take(nodes[1].pickup, name, 0, text), -ENOENT);
    for (uint32_t i = 0; i < 2; i++)
        node_stop(&nodes[i]);
}

static void an_owner_has_a_share_of_the_pickups(void **state)
{
    struct node node;
    char text[PICKUP_TEXT_BYTES];
    uint8_t name[PICKUP_NAME_BYTES] = {0};
    node_start(&node, *state);
    for (uint32_t i = 0; i <= STORE_SHARED_PICKUP_SHARE; i++) {
        name[0] = (uint8_t)i;
        name[1] = (uint8_t)(i >> 8);
        assert_int_equal(pickup_park(node.pickup, "o", 1, name, "text", 0), 0);
    }
    assert_int_equal(store_fixture_number(*state, "SELECT count(*) FROM pickup"),
                     STORE_SHARED_PICKUP_SHARE);
    assert_int_equal(pickup_take(node.pickup, name, 0, text), 0);
    memset(name, 0, sizeof(name));
    assert_int_equal(pickup_take(node.pickup, name, 0, text), -ENOENT);
    node_stop(&node);
}

#define SEALED_BYTES (3 * STORE_PARKED_PART_BYTES / 2)

static struct online *online_start(const struct node *node)
{
    struct online *online = NULL;
    assert_int_equal(online_open(&online), 0);
    online_share(online, node->store, secret);
    return online;
}

static void message_park(struct online *online, size_t bytes, uint8_t first,
                         char handle[ONLINE_HANDLE_CHARS + 1])
{
    struct unsealed unsealed = {
        .id = {{first}}, .suite = 1, .sealed = malloc(bytes), .sealed_bytes = bytes};
    assert_non_null(unsealed.sealed);
    memset(unsealed.sealed, first, bytes);
    assert_int_equal(online_park(online, 1, &unsealed, 0, handle), 0);
}

static void a_message_posted_at_one_node_is_opened_once_at_another(void **state)
{
    struct node nodes[2];
    struct online *online[2];
    struct online_message message;
    struct online_message other;
    const uint8_t browsers[2][ONLINE_BROWSER_BYTES] = {{1}, {2}};
    char handle[ONLINE_HANDLE_CHARS + 1];
    struct id id;
    for (uint32_t i = 0; i < 2; i++) {
        node_start(&nodes[i], *state);
        online[i] = online_start(&nodes[i]);
    }
    message_park(online[0], SEALED_BYTES, 7, handle);
    assert_int_equal(online_look(online[1], handle, 0, &id), 0);
    assert_int_equal(id.bytes[0], 7);
    assert_int_equal(online_take(online[1], handle, NULL, 0, &message), 0);
    assert_int_equal(message.unsealed.sealed_bytes, SEALED_BYTES);
    for (size_t i = 0; i < SEALED_BYTES; i++)
        assert_int_equal(message.unsealed.sealed[i], 7);
    assert_int_equal(online_take(online[0], handle, NULL, 0, &other), -ENOENT);
    online_give(online[1], &message);
    assert_int_equal(online_take(online[0], handle, NULL, 0, &message), 0);
    online_opened(online[0], &message, browsers[0]);
    assert_int_equal(online_look(online[1], handle, 0, &id), -ENOENT);
    assert_int_equal(online_take(online[1], handle, NULL, 0, &message), -ENOENT);
    assert_int_equal(online_take(online[1], handle, browsers[1], 0, &message), -ENOENT);
    assert_int_equal(online_take(online[1], handle, browsers[0], 0, &message), 0);
    online_give(online[1], &message);
    assert_int_equal(online_take(online[0], handle, browsers[0], 0, &message), 0);
    online_end(online[0], &message);
    assert_int_equal(online_take(online[1], handle, NULL, 0, &message), -ENOENT);
    assert_int_equal(store_fixture_number(*state, "SELECT count(*) FROM parked_part"), 0);
    for (uint32_t i = 0; i < 2; i++) {
        online_close(online[i]);
        node_stop(&nodes[i]);
    }
}

static void messages_of_one_owner_that_wait_are_bounded_at_all_nodes(void **state)
{
    struct node node;
    struct id id;
    char handles[ONLINE_SHARE + 1][ONLINE_HANDLE_CHARS + 1];
    node_start(&node, *state);
    struct online *online = online_start(&node);
    for (uint32_t i = 0; i <= ONLINE_SHARE; i++)
        message_park(online, 1, (uint8_t)i, handles[i]);
    assert_int_equal(store_fixture_number(*state, "SELECT count(*) FROM parked"), ONLINE_SHARE);
    assert_int_equal(online_look(online, handles[0], 0, &id), -ENOENT);
    assert_int_equal(online_look(online, handles[ONLINE_SHARE], 0, &id), 0);
    store_fixture_sql(*state, "UPDATE parked SET until = until - 601000000");
    assert_int_equal(online_look(online, handles[ONLINE_SHARE], 0, &id), -ENOENT);
    assert_int_equal(store_parked_prune(node.store), 0);
    assert_int_equal(store_fixture_number(*state, "SELECT count(*) FROM parked_part"), 0);
    online_close(online);
    node_stop(&node);
}

static void a_lease_has_one_holder_until_it_is_over(void **state)
{
    const uint8_t holders[2][STORE_SHARED_HOLDER_BYTES] = {{1}, {2}};
    struct node nodes[2];
    for (uint32_t i = 0; i < 2; i++)
        node_start(&nodes[i], *state);
    assert_true(store_lease_take(nodes[0].store, "tend", holders[0], NS_PER_S * 60));
    assert_false(store_lease_take(nodes[1].store, "tend", holders[1], NS_PER_S * 60));
    assert_true(store_lease_take(nodes[0].store, "tend", holders[0], NS_PER_S * 60));
    assert_true(store_lease_take(nodes[1].store, "other", holders[1], NS_PER_S * 60));
    store_fixture_sql(*state, "UPDATE lease SET until = until - 61000000");
    assert_true(store_lease_take(nodes[1].store, "tend", holders[1], NS_PER_S * 60));
    assert_false(store_lease_take(nodes[0].store, "tend", holders[0], NS_PER_S * 60));
    for (uint32_t i = 0; i < 2; i++)
        node_stop(&nodes[i]);
}

static void a_prune_leaves_what_still_counts(void **state)
{
    struct node node;
    node_start(&node, *state);
    const uint8_t name[PICKUP_NAME_BYTES] = {1};
    assert_int_equal(guess_take(node.guess, GUESS_PAIR, "bob", 3, 0), 0);
    assert_int_equal(pickup_park(node.pickup, "o", 1, name, "text", 0), 0);
    guess_known_add(node.guess, "bob", 3);
    assert_int_equal(store_shared_prune(node.store), 0);
    assert_int_equal(store_fixture_number(*state, "SELECT count(*) FROM guess"), 1);
    assert_int_equal(store_fixture_number(*state, "SELECT count(*) FROM pickup"), 1);
    store_fixture_sql(*state, "UPDATE guess SET full_at = full_at - 61000000");
    store_fixture_sql(*state, "UPDATE pickup SET until = until - 61000000");
    assert_int_equal(store_shared_prune(node.store), 0);
    assert_int_equal(store_fixture_number(*state, "SELECT count(*) FROM guess"), 0);
    assert_int_equal(store_fixture_number(*state, "SELECT count(*) FROM pickup"), 0);
    assert_true(guess_known(node.guess, "bob", 3));
    node_stop(&node);
}

#define TEST(name)                                                                                 \
    cmocka_unit_test_setup_teardown(name, store_fixture_setup, store_fixture_teardown)

int main(void)
{
    const struct CMUnitTest any[] = {
        TEST(nobody_is_alone_beside_a_service),
        TEST(services_share_postgresql_and_not_sqlite),
        TEST(a_master_key_that_is_missing_or_another_is_named),
        TEST(every_key_comes_under_the_newest_master_key),
        TEST(a_key_that_does_not_open_stays_as_it_is),
    };
    const struct CMUnitTest shared[] = {
        TEST(tries_at_two_nodes_count_together),
        TEST(a_try_that_cannot_be_counted_is_not_allowed),
        TEST(a_key_parked_at_one_node_is_given_once_by_another),
        TEST(an_owner_has_a_share_of_the_pickups),
        TEST(a_message_posted_at_one_node_is_opened_once_at_another),
        TEST(messages_of_one_owner_that_wait_are_bounded_at_all_nodes),
        TEST(a_lease_has_one_holder_until_it_is_over),
        TEST(a_prune_leaves_what_still_counts),
    };
    const int failed = cmocka_run_group_tests(any, NULL, NULL);
    if (getenv("BULLA_POSTGRESQL") == NULL)
        return failed;
    return failed + cmocka_run_group_tests(shared, NULL, NULL);
}
