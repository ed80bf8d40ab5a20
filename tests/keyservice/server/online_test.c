/* Messages that wait to be opened online: how long, how many, how much, and whose goes first. */
#include "keyservice/server/online.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define START_NS (UINT64_C(1000) * NS_PER_S)
#define MIB      (UINT64_C(1) << 20)

static struct online *online_fine(void)
{
    struct online *online = NULL;
    assert_int_equal(online_open(&online), 0);
    return online;
}

static uint32_t group_of(const struct online *online, const char *owner)
{
    uint32_t group = 0;
    assert_int_equal(online_group(online, owner, strlen(owner), &group), 0);
    return group;
}

static bool charge(struct online *online, const char *owner, uint64_t bytes, uint64_t now_ns)
{
    return online_charge(online, group_of(online, owner), bytes, now_ns);
}

static void uncharge(struct online *online, const char *owner, uint64_t bytes)
{
    online_uncharge(online, group_of(online, owner), bytes);
}

/* Claims a size and holds one byte: the table only counts. */
static int park(struct online *online, const char *owner, uint8_t id, uint64_t bytes,
                uint64_t now_ns, char handle[ONLINE_HANDLE_CHARS + 1])
{
    struct unsealed unsealed = {
        .id = {.bytes = {id}}, .suite = COBBLE_AES_256, .sealed = malloc(1), .sealed_bytes = bytes};
    assert_non_null(unsealed.sealed);
    const int rc = online_park(online, group_of(online, owner), &unsealed, now_ns, handle);
    if (rc != 0)
        unsealed_fini(&unsealed);
    return rc;
}

static bool waits(struct online *online, const char *handle, uint64_t now_ns)
{
    struct id id;
    return online_look(online, handle, now_ns, &id) == 0;
}

static void a_message_waits_under_its_handle_alone(void **state)
{
    (void)state;
    struct online *online = online_fine();
    char one[ONLINE_HANDLE_CHARS + 1];
    char two[ONLINE_HANDLE_CHARS + 1];
    struct id id;
    assert_int_equal(park(online, "a", 1, 100, START_NS, one), 0);
    assert_int_equal(park(online, "a", 2, 100, START_NS, two), 0);
    assert_string_not_equal(one, two);
    assert_int_equal(online_look(online, one, START_NS, &id), 0);
    assert_int_equal(id.bytes[0], 1);
    assert_int_equal(online_look(online, two, START_NS, &id), 0);
    assert_int_equal(id.bytes[0], 2);
    one[7] = one[7] == 'A' ? 'B' : 'A';
    const char *const others[] = {one,         "",
                                  "A",         "../../etc/passwd",
                                  "AAAA AAAA", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"};
    for (size_t i = 0; i < ARRAY_COUNT(others); i++)
        assert_int_equal(online_look(online, others[i], START_NS, &id), -ENOENT);
    online_close(online);
}

static void a_message_is_lent_to_one_and_ends_once(void **state)
{
    (void)state;
    struct online *online = online_fine();
    struct online_message message;
    struct online_message other;
    char handle[ONLINE_HANDLE_CHARS + 1];
    assert_int_equal(park(online, "a", 1, 100, START_NS, handle), 0);
    assert_int_equal(online_take(online, handle, NULL, START_NS, &message), 0);
    assert_int_equal(online_take(online, handle, NULL, START_NS, &other), -ENOENT);
    online_give(online, &message);
    assert_int_equal(online_take(online, handle, NULL, START_NS, &message), 0);
    assert_int_equal(message.unsealed.sealed_bytes, 100);
    online_end(online, &message);
    assert_null(message.unsealed.sealed);
    assert_int_equal(online_take(online, handle, NULL, START_NS, &message), -ENOENT);
    online_close(online);
}

static void a_message_is_gone_after_its_time(void **state)
{
    (void)state;
    struct online *online = online_fine();
    struct online_message message;
    char early[ONLINE_HANDLE_CHARS + 1];
    char late[ONLINE_HANDLE_CHARS + 1];
    assert_int_equal(park(online, "a", 1, 100, START_NS, early), 0);
    assert_int_equal(park(online, "a", 1, 100, START_NS, late), 0);
    assert_true(waits(online, early, START_NS + ONLINE_LIFE_NS - 1));
    /* Who works on it is not disturbed; it is gone when it comes back. */
    assert_int_equal(online_take(online, late, NULL, START_NS + ONLINE_LIFE_NS - 1, &message), 0);
    online_prune(online, START_NS + ONLINE_LIFE_NS);
    assert_false(waits(online, early, START_NS));
    online_give(online, &message);
    assert_false(waits(online, late, START_NS + ONLINE_LIFE_NS));
    online_close(online);
}

static void too_many_cost_their_owners_earliest(void **state)
{
    (void)state;
    struct online *online = online_fine();
    char another[ONLINE_HANDLE_CHARS + 1];
    char handles[ONLINE_SHARE + 1][ONLINE_HANDLE_CHARS + 1];
    assert_int_equal(park(online, "another", 1, 100, START_NS, another), 0);
    for (uint32_t i = 0; i <= ONLINE_SHARE; i++)
        assert_int_equal(park(online, "flood", 1, 100, START_NS + i, handles[i]), 0);
    assert_true(waits(online, another, START_NS + 100));
    assert_false(waits(online, handles[0], START_NS + 100));
    for (uint32_t i = 1; i <= ONLINE_SHARE; i++)
        assert_true(waits(online, handles[i], START_NS + 100));
    online_close(online);
}

static void many_owners_never_fill_more_places_than_there_are(void **state)
{
    (void)state;
    struct online *online = online_fine();
    char handle[ONLINE_HANDLE_CHARS + 1];
    for (uint32_t i = 0; i < 4 * ONLINE_COUNT; i++) {
        char owner[16];
        (void)snprintf(owner, sizeof(owner), "owner %u", i);
        assert_int_equal(park(online, owner, 1, 100, START_NS + i, handle), 0);
        assert_true(waits(online, handle, START_NS + i));
    }
    online_close(online);
}

static void bytes_over_a_share_cost_their_owner_alone(void **state)
{
    (void)state;
    struct online *online = online_fine();
    char another[ONLINE_HANDLE_CHARS + 1];
    char first[ONLINE_HANDLE_CHARS + 1];
    char second[ONLINE_HANDLE_CHARS + 1];
    assert_int_equal(park(online, "another", 1, 60 * MIB, START_NS, another), 0);
    assert_int_equal(park(online, "flood", 1, ONLINE_SHARE_BYTES / 2, START_NS, first), 0);
    assert_int_equal(park(online, "flood", 1, ONLINE_SHARE_BYTES / 2, START_NS + 1, second), 0);
    assert_true(waits(online, first, START_NS + 2));
    assert_true(charge(online, "flood", 1, START_NS + 2));
    assert_false(waits(online, first, START_NS + 2));
    assert_true(waits(online, second, START_NS + 2));
    assert_true(waits(online, another, START_NS + 2));
    uncharge(online, "flood", 1);
    online_close(online);
}

static void what_is_arriving_or_lent_is_never_dropped_but_refuses_more(void **state)
{
    (void)state;
    struct online *online = online_fine();
    struct online_message message;
    char handle[ONLINE_HANDLE_CHARS + 1];
    assert_int_equal(park(online, "a", 1, MIB, START_NS, handle), 0);
    assert_int_equal(online_take(online, handle, NULL, START_NS, &message), 0);
    assert_true(charge(online, "a", ONLINE_SHARE_BYTES - MIB, START_NS));
    assert_false(charge(online, "a", 1, START_NS));
    assert_int_equal(park(online, "a", 1, 1, START_NS, handle), -EAGAIN);
    online_end(online, &message);
    assert_true(charge(online, "a", 1, START_NS));
    uncharge(online, "a", ONLINE_SHARE_BYTES - MIB + 1);
    online_close(online);
}

static void all_owners_together_hold_no_more_than_the_limit(void **state)
{
    (void)state;
    struct online *online = online_fine();
    uint64_t held_bytes = 0;
    char owner[16];
    char small[ONLINE_HANDLE_CHARS + 1];
    char large[ONLINE_HANDLE_CHARS + 1];
    assert_int_equal(park(online, "small", 1, MIB, START_NS, small), 0);
    assert_int_equal(park(online, "large", 1, 2 * MIB, START_NS + 1, large), 0);
    for (uint32_t i = 0; i < 1000; i++) {
        (void)snprintf(owner, sizeof(owner), "owner %u", i);
        if (!charge(online, owner, 16 * MIB, START_NS + 2))
            break;
        held_bytes += 16 * MIB;
        if (held_bytes == ONLINE_BYTES_MAX - 16 * MIB) {
            assert_true(waits(online, small, START_NS + 2));
            assert_true(waits(online, large, START_NS + 2));
            /* The one who holds the most gives way, though it came later. */
            assert_true(charge(online, "x", 14 * MIB, START_NS + 2));
            assert_true(waits(online, small, START_NS + 2));
            assert_false(waits(online, large, START_NS + 2));
            uncharge(online, "x", 14 * MIB);
        }
    }
    assert_true(held_bytes <= ONLINE_BYTES_MAX);
    assert_true(held_bytes > ONLINE_BYTES_MAX - 17 * MIB);
    online_close(online);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_message_waits_under_its_handle_alone),
        cmocka_unit_test(a_message_is_lent_to_one_and_ends_once),
        cmocka_unit_test(a_message_is_gone_after_its_time),
        cmocka_unit_test(too_many_cost_their_owners_earliest),
        cmocka_unit_test(many_owners_never_fill_more_places_than_there_are),
        cmocka_unit_test(bytes_over_a_share_cost_their_owner_alone),
        cmocka_unit_test(what_is_arriving_or_lent_is_never_dropped_but_refuses_more),
        cmocka_unit_test(all_owners_together_hold_no_more_than_the_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
