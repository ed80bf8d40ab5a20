/* What only PostgreSQL's store can meet: other processes beside it, and a server that goes away. */
#include "tests/keyservice/server/store/store_fixture.h"

#include "base/bytes.h"

#include <errno.h>
#include <libpq-fe.h>
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

#define BATCH_COUNT  100
#define BATCHES      20
#define WAIT_TRIES   200
#define LARGE_COUNT  24
#define LARGE_PEOPLE 900

/* Another process's view of the same database. */
static struct store *second_open(const struct store_fixture *fixture)
{
    char why[STORE_WHY_BYTES] = "";
    struct store *store = NULL;
    const struct store_config config = {
        .path = fixture->database, .master = fixture->master, .readers_count = 1};
    assert_int_equal(store_open(&store, &config, why), 0);
    return store;
}

static void sessions_end(const struct store_fixture *fixture)
{
    store_fixture_sql(fixture, "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                               " WHERE application_name = 'bulla-keyd'");
}

static void batch_fill(struct store_made *made, struct store_put *puts, uint32_t first)
{
    for (uint32_t i = 0; i < BATCH_COUNT; i++) {
        store_made_fill(&made[i], first + i, "bob@example.org");
        puts[i] = made[i].put;
    }
}

struct rival {
    struct store *store;
    uint32_t faults_count;
};

static void *rival_run(void *argument)
{
    struct rival *rival = argument;
    struct store_made *made = calloc(BATCH_COUNT, sizeof(*made));
    struct store_put puts[BATCH_COUNT];
    for (uint32_t n = 0; made != NULL && n < BATCHES; n++) {
        batch_fill(made, puts, 1 + n * BATCH_COUNT);
        if (store_register_batch(rival->store, puts, BATCH_COUNT) != 0) {
            rival->faults_count++;
            continue;
        }
        for (uint32_t i = 0; i < BATCH_COUNT; i++)
            rival->faults_count += puts[i].result != STORE_PUT_STORED;
    }
    free(made);
    return NULL;
}

/* As when an engine sends a batch again, to another node than before. */
static void the_same_batches_at_two_nodes_are_stored_once(void **state)
{
    const struct store_fixture *fixture = *state;
    pthread_t threads[2];
    struct rival rivals[2] = {{.store = fixture->store}, {.store = second_open(fixture)}};
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, rival_run, &rivals[i]), 0);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(rivals[i].faults_count, 0);
    }
    assert_int_equal(store_fixture_number(fixture, "SELECT count(*) FROM envelope"),
                     BATCHES * BATCH_COUNT);
    store_close(rivals[1].store);
}

static void a_code_has_five_tries_at_all_nodes_together(void **state)
{
    const struct store_fixture *fixture = *state;
    static const uint8_t browser[STORE_HASH_BYTES] = {1};
    static const uint8_t code[STORE_HASH_BYTES] = {2};
    static const uint8_t other[STORE_HASH_BYTES] = {3};
    struct store *second = second_open(fixture);
    struct store_pending pending = {.address = "new@example.org",
                                    .browser = browser,
                                    .code_hash = code,
                                    .password = "hash",
                                    .now_unix_ms = NOW_MS,
                                    .expires_unix_ms = NOW_MS + 1000};
    assert_int_equal(store_pending_put(fixture->store, &pending), 0);
    pending.code_hash = other;
    for (uint32_t i = 0; i < STORE_CODE_TRIES_MAX; i++)
        assert_int_equal(store_pending_spend(i % 2 == 0 ? fixture->store : second, &pending),
                         -EACCES);
    pending.code_hash = code;
    assert_int_equal(store_pending_spend(fixture->store, &pending), -EACCES);
    assert_int_equal(store_pending_spend(second, &pending), -EACCES);
    store_close(second);
}

static void lost_connections_are_made_again(void **state)
{
    const struct store_fixture *fixture = *state;
    struct store_made made;
    for (uint32_t i = 1; i <= 3; i++) {
        store_made_fill(&made, i, "bob@example.org");
        assert_int_equal(store_made_put(fixture, &made), STORE_PUT_STORED);
        sessions_end(fixture);
        assert_int_equal(
            store_envelope_recipient(fixture->store, made.record.id, "bob@example.org"), 0);
        sessions_end(fixture);
    }
    assert_true(store_healthy(fixture->store));
}

static void *late_run(void *argument)
{
    struct rival *late = argument;
    struct store_made *made = calloc(BATCH_COUNT, sizeof(*made));
    struct store_put puts[BATCH_COUNT];
    if (made != NULL) {
        batch_fill(made, puts, 1);
        late->faults_count = store_register_batch(late->store, puts, BATCH_COUNT) != 0;
    }
    free(made);
    return NULL;
}

/* The server goes while a batch is on its way: it is not told as stored, and may be sent again. */
static void a_connection_lost_amid_a_batch_is_no_success(void **state)
{
    const struct store_fixture *fixture = *state;
    pthread_t thread;
    struct rival late = {.store = fixture->store};
    PGconn *conn = PQconnectdb(fixture->database);
    PQclear(PQexec(conn, "BEGIN; LOCK TABLE envelope IN EXCLUSIVE MODE"));
    assert_int_equal(pthread_create(&thread, NULL, late_run, &late), 0);
    uint64_t waiting = 0;
    for (uint32_t i = 0; i < WAIT_TRIES && waiting == 0; i++) {
        (void)usleep(10000);
        waiting = store_fixture_number(fixture, "SELECT count(*) FROM pg_stat_activity WHERE"
                                                " application_name = 'bulla-keyd' AND"
                                                " wait_event_type = 'Lock'");
    }
    assert_int_equal(waiting, 1);
    sessions_end(fixture);
    assert_int_equal(pthread_join(thread, NULL), 0);
    PQclear(PQexec(conn, "ROLLBACK"));
    PQfinish(conn);
    assert_int_equal(late.faults_count, 1);
    assert_false(store_healthy(fixture->store));
    assert_int_equal(store_fixture_number(fixture, "SELECT count(*) FROM envelope"), 0);
    assert_null(late_run(&late));
    assert_int_equal(late.faults_count, 0);
    assert_true(store_healthy(fixture->store));
    assert_int_equal(store_fixture_number(fixture, "SELECT count(*) FROM envelope"), BATCH_COUNT);
}

/* More than one buffer of COPY, and an id of it taken. */
static void large_records_are_stored_whole(void **state)
{
    static uint8_t recipients[LARGE_PEOPLE * 64];
    static uint8_t wires[LARGE_COUNT][RECORD_BYTES_MAX];
    const struct store_fixture *fixture = *state;
    struct store_made made[LARGE_COUNT];
    struct store_put puts[LARGE_COUNT];
    uint32_t used = 0;
    for (uint32_t i = 0; i < LARGE_PEOPLE; i++) {
        const int chars = snprintf((char *)recipients + used + 2, 62,
                                   "p%03u.with.a.name.of.more.than.forty.letters@example.org", i);
        bytes_store_le16(recipients + used, (uint16_t)chars);
        used += 2 + (uint32_t)chars;
    }
    for (uint32_t i = 0; i < LARGE_COUNT; i++) {
        store_made_fill(&made[i], 1 + i, "x@y");
        made[i].record.recipients = recipients;
        made[i].record.recipients_bytes = used;
        made[i].record.recipients_count = LARGE_PEOPLE;
        made[i].put.wire = wires[i];
        made[i].put.wire_bytes =
            (uint32_t)record_write(wires[i], sizeof(wires[i]), &made[i].record);
        assert_int_not_equal(made[i].put.wire_bytes, 0);
        puts[i] = made[i].put;
    }
    for (uint32_t again = 0; again < 2; again++) {
        assert_int_equal(store_register_batch(fixture->store, puts, LARGE_COUNT), 0);
        for (uint32_t i = 0; i < LARGE_COUNT; i++) {
            assert_int_equal(puts[i].result, STORE_PUT_STORED);
            assert_int_equal(
                store_envelope_recipient(fixture->store, made[i].record.id,
                                         "p899.with.a.name.of.more.than.forty.letters@example.org"),
                0);
        }
    }
}

static void a_refusal_names_no_password(void **state)
{
    static const char *const urls[] = {
        "postgresql://bulla:hunter2@localhost:port/keys",
        "postgresql://bulla:hunter2@127.0.0.1:1/keys?sslmode=disable",
        "postgresql://bulla:hunter2@/keys?host=/nonexistent",
        "postgresql://bulla:hunter2@localhost/keys?nonsense=1",
    };
    const struct store_fixture *fixture = *state;
    for (size_t i = 0; i < ARRAY_COUNT(urls); i++) {
        char why[STORE_WHY_BYTES] = "";
        struct store *store = NULL;
        const struct store_config config = {
            .path = urls[i], .master = fixture->master, .readers_count = 1};
        assert_int_not_equal(store_open(&store, &config, why), 0);
        assert_string_not_equal(why, "");
        assert_null(strstr(why, "hunter2"));
        assert_null(store);
    }
}

static void a_server_that_does_not_sync_is_refused(void **state)
{
    const struct store_fixture *fixture = *state;
    char why[STORE_WHY_BYTES] = "";
    struct store *store = NULL;
    const struct store_config config = {
        .path = fixture->database, .master = fixture->master, .readers_count = 1};
    store_fixture_sql(fixture, "ALTER SYSTEM SET fsync = off");
    store_fixture_sql(fixture, "SELECT pg_reload_conf(), pg_sleep(0.3)");
    const int rc = store_open(&store, &config, why);
    store_fixture_sql(fixture, "ALTER SYSTEM RESET fsync");
    store_fixture_sql(fixture, "SELECT pg_reload_conf(), pg_sleep(0.3)");
    assert_int_equal(rc, -EIO);
    assert_non_null(strstr(why, "fsync"));
}

#define TEST(name)                                                                                 \
    cmocka_unit_test_setup_teardown(name, store_fixture_setup, store_fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_same_batches_at_two_nodes_are_stored_once),
        TEST(a_code_has_five_tries_at_all_nodes_together),
        TEST(lost_connections_are_made_again),
        TEST(a_connection_lost_amid_a_batch_is_no_success),
        TEST(large_records_are_stored_whole),
        TEST(a_refusal_names_no_password),
        TEST(a_server_that_does_not_sync_is_refused),
    };
    if (getenv("BULLA_POSTGRESQL") == NULL) {
        (void)fprintf(stderr, "skipped: run it by tools/private-postgresql\n");
        return 77;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
