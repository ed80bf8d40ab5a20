/* The key client against a service that stores, lies, stammers and dies. */
#include "keyservice/key_client.h"

#include "base/bytes.h"
#include "base/clock.h"
#include "crypto/cobblestone.h"
#include "keyservice/key_answer.h"
#include "tests/keyservice/stand_in.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define TEST_WAIT_NS  (20 * NS_PER_S)
#define TEST_SHORT_NS (400 * NS_PER_MS)
#define TEST_RECORDS  2000

struct fixture {
    struct stand_in *service;
    struct key_client *client;
    uint32_t results_count;
    struct key_result results[KEY_CLIENT_RECORDS_MAX];
};

static struct fixture fixture;
static int taken[8]; /* connections of a black hole */
static uint32_t taken_count;

static void client_open(const char *url)
{
    char why[KEY_CLIENT_WHY_BYTES] = "";
    const struct key_client_config config = {
        .url = url,
        .ca_file = stand_in_ca(fixture.service),
        .certificate_file = stand_in_certificate(fixture.service),
        .private_key_file = stand_in_private_key(fixture.service),
        .request_timeout_ns = 5 * NS_PER_S,
        .backoff_ns_max = 50 * NS_PER_MS,
    };
    const int rc = key_client_open(&fixture.client, &config, why);
    if (rc != 0)
        print_error("%s\n", why);
    assert_int_equal(rc, 0);
}

static int setup(void **state)
{
    (void)state;
    memset(&fixture, 0, sizeof(fixture));
    fixture.service = stand_in_open();
    client_open(stand_in_url(fixture.service));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    key_client_close(fixture.client);
    stand_in_close(fixture.service);
    return 0;
}

static uint32_t record_make(uint8_t *dst, size_t room, uint32_t number, const char *profile,
                            uint32_t recipients_count)
{
    static uint8_t recipients[RECORD_BYTES_MAX];
    uint32_t used = 0;
    for (uint32_t i = 0; i < recipients_count; i++) {
        bytes_store_le16(recipients + used, 64);
        memset(recipients + used + 2, 'r', 64);
        used += 66;
    }
    struct record record = {
        .suite = COBBLE_AES_256,
        .level = RECORD_LEVEL_HIGH,
        .sent_unix_ms = 1,
        .profile = (const uint8_t *)profile,
        .profile_bytes = (uint16_t)strlen(profile),
        .recipients = recipients,
        .recipients_bytes = used,
        .recipients_count = (uint16_t)recipients_count,
    };
    record.id[6] = 0x70;
    record.id[8] = 0x80;
    bytes_store_le32(record.id + 12, number);
    memset(record.key, (int)(number & 0xff), sizeof(record.key));
    const size_t bytes = record_write(dst, room, &record);
    assert_true(bytes > 0);
    return (uint32_t)bytes;
}

static bool add(uint32_t number, const char *profile, uint32_t recipients_count,
                uint64_t deadline_ns)
{
    static uint8_t record[RECORD_BYTES_MAX];
    const uint32_t bytes = record_make(record, sizeof(record), number, profile, recipients_count);
    return key_client_add(fixture.client, number, record, bytes, deadline_ns);
}

/* Runs until `wanted` results are there or the time is over. */
static void run(uint32_t wanted, uint64_t wait_ns)
{
    const uint64_t until_ns = clock_monotonic_ns() + wait_ns;
    while (fixture.results_count < wanted && clock_monotonic_ns() < until_ns) {
        fixture.results_count += key_client_run(fixture.client, clock_monotonic_ns(), 50,
                                                fixture.results + fixture.results_count,
                                                KEY_CLIENT_RECORDS_MAX - fixture.results_count);
    }
}

static uint64_t soon(void)
{
    return clock_monotonic_ns() + TEST_WAIT_NS;
}

static void expect_one(enum key_result_status status)
{
    assert_int_equal(fixture.results_count, 1);
    assert_int_equal(fixture.results[0].status, status);
}

static void key_client_stores_a_record_with_its_key(void **state)
{
    (void)state;
    const uint8_t id[16] = {[6] = 0x70, [8] = 0x80, [12] = 7};
    uint8_t key[32];
    assert_true(add(7, "default", 1, soon()));
    run(1, TEST_WAIT_NS);
    expect_one(KEY_STORED);
    assert_int_equal(fixture.results[0].tag, 7);
    assert_true(stand_in_has(fixture.service, id, key));
    assert_int_equal(key[0], 7);
    assert_true(key_client_up(fixture.client));
}

static void key_client_sends_many_in_few_batches(void **state)
{
    (void)state;
    static bool seen[TEST_RECORDS];
    memset(seen, 0, sizeof(seen));
    for (uint32_t i = 0; i < TEST_RECORDS; i++)
        assert_true(add(i, "default", 1, soon()));
    run(TEST_RECORDS, TEST_WAIT_NS);
    assert_int_equal(fixture.results_count, TEST_RECORDS);
    for (uint32_t i = 0; i < TEST_RECORDS; i++) {
        assert_int_equal(fixture.results[i].status, KEY_STORED);
        assert_false(seen[fixture.results[i].tag]);
        seen[fixture.results[i].tag] = true;
    }
    assert_int_equal(stand_in_stored(fixture.service), TEST_RECORDS);
    assert_true(stand_in_requests(fixture.service) <= TEST_RECORDS / 512 + 4);
}

static void key_client_sends_records_of_every_size(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 20; i++)
        assert_true(add(i, "default", 1 + i * 45, soon()));
    run(20, TEST_WAIT_NS);
    assert_int_equal(fixture.results_count, 20);
    assert_int_equal(stand_in_stored(fixture.service), 20);
}

static void key_client_pushes_back_when_it_is_full(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < KEY_CLIENT_RECORDS_MAX; i++)
        assert_true(add(i, "default", 1, soon()));
    assert_false(add(KEY_CLIENT_RECORDS_MAX, "default", 1, soon()));
    run(KEY_CLIENT_RECORDS_MAX, TEST_WAIT_NS);
    assert_int_equal(fixture.results_count, KEY_CLIENT_RECORDS_MAX);
    assert_true(add(KEY_CLIENT_RECORDS_MAX, "default", 1, soon()));
}

static void key_client_reports_conflicts(void **state)
{
    (void)state;
    stand_in_set(fixture.service, STAND_IN_CONFLICTS);
    assert_true(add(1, "default", 1, soon()));
    run(1, TEST_WAIT_NS);
    expect_one(KEY_CONFLICT);
    assert_true(key_client_up(fixture.client));
}

static void key_client_reports_what_the_service_never_takes(void **state)
{
    (void)state;
    stand_in_set(fixture.service, STAND_IN_INVALID);
    assert_true(add(1, "default", 1, soon()));
    run(1, TEST_WAIT_NS);
    expect_one(KEY_INVALID);
}

static void key_client_finds_the_one_bad_record_of_a_refused_batch(void **state)
{
    (void)state;
    stand_in_set(fixture.service, STAND_IN_REFUSES_WHOLE);
    for (uint32_t i = 0; i < 100; i++)
        assert_true(add(i, i == 61 ? "bad" : "default", 1, soon()));
    run(100, TEST_WAIT_NS);
    assert_int_equal(fixture.results_count, 100);
    for (uint32_t i = 0; i < 100; i++)
        assert_int_equal(fixture.results[i].status,
                         fixture.results[i].tag == 61 ? KEY_INVALID : KEY_STORED);
}

/* Nothing but an exact answer counts; once the service is honest again all is stored. */
static void unstored_until_honest(enum stand_in_mode mode)
{
    stand_in_set(fixture.service, mode);
    for (uint32_t i = 0; i < 3; i++)
        assert_true(add(i, "default", 1, soon()));
    const uint64_t until_ns = clock_monotonic_ns() + TEST_WAIT_NS;
    while (key_client_up(fixture.client) && clock_monotonic_ns() < until_ns)
        run(1, NS_PER_MS);
    assert_int_equal(fixture.results_count, 0);
    assert_false(key_client_up(fixture.client));
    stand_in_set(fixture.service, STAND_IN_STORES);
    run(3, TEST_WAIT_NS);
    assert_int_equal(fixture.results_count, 3);
    for (uint32_t i = 0; i < 3; i++)
        assert_int_equal(fixture.results[i].status, KEY_STORED);
    assert_int_equal(stand_in_stored(fixture.service), 3);
    assert_true(key_client_up(fixture.client));
}

static void key_client_sends_again_after_a_lost_answer(void **state)
{
    (void)state;
    unstored_until_honest(STAND_IN_LOSES_ANSWER);
}

static void key_client_does_not_believe_garbage(void **state)
{
    (void)state;
    unstored_until_honest(STAND_IN_GARBAGE);
}

static void key_client_does_not_believe_cut_json(void **state)
{
    (void)state;
    unstored_until_honest(STAND_IN_CUT_JSON);
}

static void key_client_does_not_believe_a_cut_body(void **state)
{
    (void)state;
    unstored_until_honest(STAND_IN_CUT_BODY);
}

static void key_client_does_not_believe_another_ids_acknowledgement(void **state)
{
    (void)state;
    unstored_until_honest(STAND_IN_OTHER_ID);
}

static void key_client_does_not_believe_one_result_too_few(void **state)
{
    (void)state;
    unstored_until_honest(STAND_IN_SHORT);
}

static void key_client_believes_one_result_a_record(void **state)
{
    (void)state;
    stand_in_set(fixture.service, STAND_IN_STORES_LONG);
    for (uint32_t i = 0; i < 600; i++)
        assert_true(add(i, "default", 1, soon()));
    run(600, TEST_WAIT_NS);
    assert_int_equal(fixture.results_count, 600);
    for (uint32_t i = 0; i < 600; i++)
        assert_int_equal(fixture.results[i].status, KEY_STORED);
    assert_int_equal(stand_in_stored(fixture.service), 600);
}

/* Each sending has a name of its own: even the answer to the same records' last one is another's.
 */
static void key_client_does_not_believe_another_batchs_answer(void **state)
{
    (void)state;
    assert_true(add(1000, "default", 1, soon()));
    run(1, TEST_WAIT_NS);
    expect_one(KEY_STORED);
    fixture.results_count = 0;
    stand_in_set(fixture.service, STAND_IN_OTHER_BATCH);
    assert_true(add(1001, "default", 1, soon()));
    const uint32_t requests = stand_in_requests(fixture.service);
    const uint64_t until_ns = clock_monotonic_ns() + TEST_WAIT_NS;
    while (stand_in_requests(fixture.service) < requests + 3 && clock_monotonic_ns() < until_ns)
        run(1, NS_PER_MS);
    assert_true(stand_in_requests(fixture.service) >= requests + 3);
    assert_int_equal(fixture.results_count, 0);
    assert_int_equal(stand_in_stored(fixture.service), 1);
    stand_in_set(fixture.service, STAND_IN_STORES);
    run(1, TEST_WAIT_NS);
    expect_one(KEY_STORED);
    assert_int_equal(stand_in_stored(fixture.service), 2);
}

static void key_client_does_not_believe_another_number_of_records(void **state)
{
    (void)state;
    unstored_until_honest(STAND_IN_OTHER_COUNT);
}

static void key_client_does_not_believe_a_conflict_that_says_stored(void **state)
{
    (void)state;
    unstored_until_honest(STAND_IN_SHORT_409);
}

static void key_client_does_not_believe_an_answer_doubled(void **state)
{
    (void)state;
    unstored_until_honest(STAND_IN_TWICE);
}

static int answer_read(const char *text)
{
    static const uint8_t first[RECORD_ID_BYTES] = {1};
    static const uint8_t second[RECORD_ID_BYTES] = {2};
    const uint8_t *const ids[] = {first, second};
    enum key_result_status statuses[2] = {KEY_AWAY, KEY_AWAY};
    const int rc =
        key_answer_read(text, strlen(text), "00112233445566778899aabbccddeeff", ids, 2, statuses);
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(statuses[i], rc == 0 ? KEY_STORED : KEY_AWAY);
    return rc;
}

#define NAMED "\"batch\":\"00112233445566778899aabbccddeeff\""

static void short_answers_are_exact_or_nothing(void **state)
{
    static const char *const bad[] = {
        "{" NAMED "}",
        "{\"stored\":2}",
        "{\"stored\":1," NAMED "}",
        "{\"stored\":3," NAMED "}",
        "{\"stored\":-2," NAMED "}",
        "{\"stored\":2.0," NAMED "}",
        "{\"stored\":\"2\"," NAMED "}",
        "{\"stored\":true," NAMED "}",
        "{\"stored\":null," NAMED "}",
        "{\"stored\":4294967298," NAMED "}",
        "{\"stored\":2," NAMED ",\"more\":1}",
        "{\"stored\":2,\"stored\":2," NAMED "}",
        "{\"stored\":2," NAMED ",\"results\":[]}",
        "{\"stored\":2,\"batch\":\"00112233445566778899aabbccddeefe\"}",
        "{\"stored\":2,\"batch\":\"00112233445566778899AABBCCDDEEFF\"}",
        "{\"stored\":2,\"batch\":\"00112233445566778899aabbccddeef\"}",
        "{\"stored\":2,\"batch\":\"00112233445566778899aabbccddeeff0\"}",
        "{\"stored\":2,\"batch\":\"\"}",
        "{\"stored\":2,\"batch\":null}",
        "[{\"stored\":2," NAMED "}]",
        "{\"stored\":2," NAMED "}{\"stored\":2," NAMED "}",
        "{\"stored\":2," NAMED "} x",
    };
    static const char good[] = "{\"stored\":2," NAMED "}";
    (void)state;
    assert_int_equal(answer_read(good), 0);
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++)
        assert_int_equal(answer_read(bad[i]), -EBADMSG);
    for (size_t cut = 0; cut < sizeof(good) - 1; cut++) {
        char text[sizeof(good)];
        memcpy(text, good, cut);
        text[cut] = '\0';
        assert_int_equal(answer_read(text), -EBADMSG);
    }
}

/* Only then may a record be given up for ever: a page of a proxy between says nothing of it. */
static void refusals_are_the_services_own_or_nothing(void **state)
{
    static const char *const good[] = {
        "{\"error\":{\"code\":\"bad_request\",\"message\":\"The request is malformed.\"}}",
        "{\"error\":{\"code\":\"too_large\",\"message\":\"\"}}",
    };
    static const char *const bad[] = {
        "",
        "{}",
        "[]",
        "{\"error\":\"bad_request\"}",
        "{\"error\":{\"code\":400}}",
        "{\"error\":{\"code\":\"forbidden\"}}",
        "{\"error\":{\"code\":\"away\"}}",
        "{\"error\":{\"code\":\"bad_request\"}",
        "<html><title>400 Bad Request</title></html>",
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(good); i++)
        assert_true(key_answer_refuses(good[i], strlen(good[i])));
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++)
        assert_false(key_answer_refuses(bad[i], strlen(bad[i])));
}

static void key_client_does_not_read_for_ever(void **state)
{
    (void)state;
    unstored_until_honest(STAND_IN_ENDLESS);
}

static void key_client_survives_500s(void **state)
{
    (void)state;
    unstored_until_honest(STAND_IN_FAILS);
}

static void key_client_comes_back_after_a_refused_connection(void **state)
{
    (void)state;
    stand_in_stop(fixture.service);
    assert_true(add(1, "default", 1, soon()));
    const uint64_t until_ns = clock_monotonic_ns() + TEST_WAIT_NS;
    while (key_client_up(fixture.client) && clock_monotonic_ns() < until_ns)
        run(1, NS_PER_MS);
    assert_non_null(strstr(key_client_fault(fixture.client), "connect"));
    stand_in_start(fixture.service);
    run(1, TEST_WAIT_NS);
    expect_one(KEY_STORED);
}

static void key_client_gives_up_at_the_deadline(void **state)
{
    (void)state;
    stand_in_set(fixture.service, STAND_IN_FAILS);
    assert_true(add(1, "default", 1, clock_monotonic_ns() + TEST_SHORT_NS));
    run(1, TEST_WAIT_NS);
    expect_one(KEY_AWAY);
    assert_int_equal(stand_in_stored(fixture.service), 0);
}

/* The client's service from now on: it takes connections, and then says nothing. */
static int black_hole_open(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t address_bytes = sizeof(address);
    char url[64];
    const int hole = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_true(hole >= 0);
    assert_int_equal(bind(hole, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(hole, 8), 0);
    assert_int_equal(getsockname(hole, (struct sockaddr *)&address, &address_bytes), 0);
    (void)snprintf(url, sizeof(url), "https://127.0.0.1:%u", ntohs(address.sin_port));
    key_client_close(fixture.client);
    client_open(url);
    return hole;
}

static void key_client_gives_up_on_a_black_hole_in_flight(void **state)
{
    (void)state;
    const int hole = black_hole_open();
    assert_true(add(1, "default", 1, clock_monotonic_ns() + TEST_SHORT_NS));
    run(1, TEST_WAIT_NS);
    expect_one(KEY_AWAY);
    /* Its place comes back once the request itself has ended. */
    assert_true(add(2, "default", 1, clock_monotonic_ns() + TEST_SHORT_NS));
    run(2, TEST_WAIT_NS);
    assert_int_equal(fixture.results_count, 2);
    (void)close(hole);
}

/* Connections that come while the client believes it to be `now_ns`. */
static uint32_t connections_until(int hole, uint32_t wanted, uint64_t now_ns)
{
    const struct timespec pause = {.tv_nsec = 5 * 1000 * 1000};
    uint32_t count = 0;
    for (uint32_t i = 0; i < 20 || (count < wanted && i < 1000); i++) {
        assert_int_equal(key_client_run(fixture.client, now_ns, 0, fixture.results, 1), 0);
        const int fd = accept(hole, NULL, NULL);
        count += fd >= 0;
        if (fd >= 0)
            taken[taken_count++] = fd;
        (void)nanosleep(&pause, NULL);
    }
    return count;
}

static void key_client_holds_records_for_company_but_not_for_long(void **state)
{
    (void)state;
    const int hole = black_hole_open();
    const uint64_t now_ns = clock_monotonic_ns();
    taken_count = 0;
    assert_true(add(0, "default", 1, soon()));
    assert_int_equal(connections_until(hole, 1, now_ns), 1);
    for (uint32_t i = 1; i < 10; i++)
        assert_true(add(i, "default", 1, soon()));
    assert_int_equal(connections_until(hole, 0, now_ns), 0);
    assert_int_equal(connections_until(hole, 1, now_ns + 10 * NS_PER_MS), 1);
    /* A good batch waits for nobody. */
    for (uint32_t i = 10; i < 10 + RECORD_BATCH_RECORDS_MAX; i++)
        assert_true(add(i, "default", 1, soon()));
    assert_int_equal(connections_until(hole, 1, now_ns + 10 * NS_PER_MS), 1);
    for (uint32_t i = 0; i < taken_count; i++)
        (void)close(taken[i]);
    (void)close(hole);
}

/* With a request out and nothing to send, turns must be few: each waits for the time it is given.
 */
static void key_client_sleeps_when_what_it_held_has_expired(void **state)
{
    (void)state;
    const int hole = black_hole_open();
    const uint64_t now_ns = clock_monotonic_ns();
    taken_count = 0;
    assert_true(add(0, "default", 1, soon()));
    assert_int_equal(connections_until(hole, 1, now_ns), 1);
    assert_true(add(1, "default", 1, now_ns + NS_PER_MS)); /* is over before it is sent */
    assert_int_equal(key_client_run(fixture.client, now_ns, 0, fixture.results, 1), 0);
    assert_int_equal(key_client_run(fixture.client, now_ns + NS_PER_MS, 0, fixture.results, 1), 1);
    uint32_t turns = 0;
    for (const uint64_t until_ns = clock_monotonic_ns() + TEST_SHORT_NS;
         clock_monotonic_ns() < until_ns; turns++)
        (void)key_client_run(fixture.client, clock_monotonic_ns(), 50, fixture.results, 1);
    assert_true(turns < 100); /* eight, and those that the connection itself brings */
    for (uint32_t i = 0; i < taken_count; i++)
        (void)close(taken[i]);
    (void)close(hole);
}

static void key_client_refuses_a_service_of_another_authority(void **state)
{
    (void)state;
    struct stand_in *other = stand_in_open();
    key_client_close(fixture.client);
    client_open(stand_in_url(other)); /* with the first one's authority and identity */
    assert_true(add(1, "default", 1, clock_monotonic_ns() + TEST_SHORT_NS));
    run(1, TEST_WAIT_NS);
    expect_one(KEY_AWAY);
    assert_int_equal(stand_in_requests(other), 0);
    stand_in_close(other);
}

static void *wake_later(void *user)
{
    (void)usleep(50000);
    key_client_wake(user);
    return NULL;
}

static void key_client_can_be_woken_while_it_waits(void **state)
{
    (void)state;
    pthread_t thread;
    struct key_result result;
    assert_int_equal(pthread_create(&thread, NULL, wake_later, fixture.client), 0);
    /* Without the wake-up this would take a minute, and the test would time out. */
    assert_int_equal(key_client_run(fixture.client, clock_monotonic_ns(), 60000, &result, 1), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
}

static void key_client_open_says_what_is_wrong(void **state)
{
    (void)state;
    struct key_client *client = NULL;
    char why[KEY_CLIENT_WHY_BYTES] = "";
    struct key_client_config config = {.url = "http://127.0.0.1:1", .request_timeout_ns = 1};
    assert_int_equal(key_client_open(&client, &config, why), -EINVAL);
    assert_non_null(strstr(why, "https://"));
    config.url = "https://127.0.0.1:1";
    config.private_key_file = "/nonexistent/engine.key";
    assert_int_equal(key_client_open(&client, &config, why), -ENOENT);
    assert_non_null(strstr(why, "/nonexistent/engine.key"));
    assert_null(client);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(key_client_stores_a_record_with_its_key),
        CASE(key_client_sends_many_in_few_batches),
        CASE(key_client_sends_records_of_every_size),
        CASE(key_client_pushes_back_when_it_is_full),
        CASE(key_client_reports_conflicts),
        CASE(key_client_reports_what_the_service_never_takes),
        CASE(key_client_finds_the_one_bad_record_of_a_refused_batch),
        CASE(key_client_sends_again_after_a_lost_answer),
        CASE(key_client_does_not_believe_garbage),
        CASE(key_client_does_not_believe_cut_json),
        CASE(key_client_does_not_believe_a_cut_body),
        CASE(key_client_does_not_believe_another_ids_acknowledgement),
        CASE(key_client_does_not_believe_one_result_too_few),
        CASE(key_client_believes_one_result_a_record),
        CASE(key_client_does_not_believe_another_batchs_answer),
        CASE(key_client_does_not_believe_another_number_of_records),
        CASE(key_client_does_not_believe_a_conflict_that_says_stored),
        CASE(key_client_does_not_believe_an_answer_doubled),
        cmocka_unit_test(short_answers_are_exact_or_nothing),
        cmocka_unit_test(refusals_are_the_services_own_or_nothing),
        CASE(key_client_does_not_read_for_ever),
        CASE(key_client_survives_500s),
        CASE(key_client_comes_back_after_a_refused_connection),
        CASE(key_client_gives_up_at_the_deadline),
        CASE(key_client_gives_up_on_a_black_hole_in_flight),
        CASE(key_client_holds_records_for_company_but_not_for_long),
        CASE(key_client_sleeps_when_what_it_held_has_expired),
        CASE(key_client_refuses_a_service_of_another_authority),
        CASE(key_client_can_be_woken_while_it_waits),
        cmocka_unit_test(key_client_open_says_what_is_wrong),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
