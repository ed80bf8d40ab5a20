/* Small mail that never ends keeps no large one from being begun and sealed. The engine has instant
 * keys (bench/engine), so that sealing is what holds up and every vector is full. */
#include "tests/engine/daemon.h"

#include "base/clock.h"
#include "base/macros.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SMALL_CLIENTS     3
#define SMALL_BYTES       1024
#define SMALL_SLOTS       1024
#define SMALL_INPUT_BYTES (8U * 1024 * 1024)
#define SMALL_BURST       64
/* Small ones answered after a large one was submitted and before it was: all that were under way
 * are a seventh of these, and while one large is sealed some 500 more are. */
#define SMALL_MAX   20000
#define LARGE_BYTES 800000
#define LARGE_COUNT 20

struct beside {
    struct daemon engine;
    struct bulla *small[SMALL_CLIENTS];
    struct bulla *large;
    uint8_t *mail; /* of the large size; small ones are its start */
    uint64_t small_answered;
    uint64_t until_ns;
};

static struct bulla *attached(const struct beside *beside, uint32_t slots_count, size_t input_bytes)
{
    const struct bulla_config config = {.socket_path = beside->engine.socket,
                                        .slots_count = slots_count,
                                        .input_bytes = input_bytes};
    struct bulla *bulla = NULL;
    assert_int_equal(bulla_attach(&bulla, &config), 0);
    return bulla;
}

/* False when there is no room. */
static bool submitted(const struct beside *beside, struct bulla *bulla, size_t bytes)
{
    const char *const recipients[] = {"b@example.org"};
    const struct bulla_request request = {.sender = "a@example.com",
                                          .recipients = recipients,
                                          .recipients_count = 1,
                                          .mail_bytes = bytes};
    struct bulla_reservation reservation;
    if (bulla_reserve(bulla, &request, &reservation) != 0)
        return false;
    memcpy(reservation.mail, beside->mail, bytes);
    assert_int_equal(bulla_submit(bulla, &reservation), 0);
    return true;
}

static uint32_t answered(struct bulla *bulla)
{
    struct bulla_completion completions[SMALL_BURST];
    const int count = bulla_poll(bulla, completions, SMALL_BURST);
    assert_true(count >= 0);
    for (int i = 0; i < count; i++) {
        if (completions[i].status != BULLA_SEALED)
            print_error("status %d: %s\n", (int)completions[i].status, completions[i].text);
        assert_int_equal(completions[i].status, BULLA_SEALED);
        bulla_release(bulla, &completions[i]);
    }
    return (uint32_t)count;
}

/* One turn of all small clients: each ring is filled anew. */
static void small_turn(struct beside *beside)
{
    for (uint32_t i = 0; i < SMALL_CLIENTS; i++) {
        beside->small_answered += answered(beside->small[i]);
        for (uint32_t n = 0; n < SMALL_SLOTS; n++)
            if (!submitted(beside, beside->small[i], SMALL_BYTES))
                break;
    }
    assert_true(clock_monotonic_ns() < beside->until_ns);
}

static void large_mail_is_sealed_beside_small_mail_that_never_ends(void **state)
{
    (void)state;
    static struct beside beside;
    uint64_t most = 0;
    daemon_start(&beside.engine, "workers = 1", "", 0);
    beside.mail = daemon_mail(LARGE_BYTES, 11);
    beside.until_ns = clock_monotonic_ns() + 6 * DAEMON_WAIT_MS * NS_PER_MS;
    for (uint32_t i = 0; i < SMALL_CLIENTS; i++)
        beside.small[i] = attached(&beside, SMALL_SLOTS, SMALL_INPUT_BYTES);
    beside.large = attached(&beside, 8, 2 * LARGE_BYTES);
    for (uint32_t n = 0; n < LARGE_COUNT; n++) {
        /* The small ones are at their full rate again. */
        const uint64_t full = beside.small_answered + 2 * SMALL_CLIENTS * SMALL_SLOTS;
        while (beside.small_answered < full)
            small_turn(&beside);
        assert_true(submitted(&beside, beside.large, LARGE_BYTES));
        const uint64_t before = beside.small_answered;
        while (answered(beside.large) == 0 && beside.small_answered - before <= SMALL_MAX)
            small_turn(&beside);
        most = MAX(most, beside.small_answered - before);
        assert_true(beside.small_answered - before <= SMALL_MAX);
    }
    print_message("at most %llu small ones were answered first\n", (unsigned long long)most);
    for (uint32_t i = 0; i < SMALL_CLIENTS; i++)
        bulla_detach(beside.small[i]);
    bulla_detach(beside.large);
    free(beside.mail);
    assert_int_equal(daemon_stop(&beside.engine), 0);
    daemon_fini(&beside.engine);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(large_mail_is_sealed_beside_small_mail_that_never_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
