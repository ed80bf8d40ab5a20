/* The hub's attachments: what an engine does to one of them is not felt by the messages of another.
 */
#include "mta/milter/hub.h"

#include "base/clock.h"
#include "mta/attachment.h"
#include "tests/mta/fixture.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define PATIENCE_MS 3000
#define LOOK_MS     10

static struct hub *hub_with(const struct echo_engine *engine)
{
    struct hub *hub;
    const struct hub_config config = {.socket_path = echo_engine_path(engine),
                                      .mail_bytes_max = 1 << 20,
                                      .timeout_ms = WAIT_MS,
                                      .patience_ms = PATIENCE_MS};
    assert_int_equal(hub_open(&hub, &config), 0);
    return hub;
}

static enum bulla_status ask(struct hub *hub, const char *profile)
{
    static const char *const recipients[] = {"ann@example.net"};
    static char mail[] = "Subject: x\r\n\r\nbody\r\n";
    const struct hub_request request = {.profile = profile,
                                        .sender = "bob@example.org",
                                        .recipients = recipients,
                                        .recipients_count = 1,
                                        .parts = {{mail, sizeof(mail) - 1}}};
    struct hub_answer answer;
    hub_seal(hub, &request, &answer);
    hub_answer_fini(&answer);
    return answer.status;
}

static void wait_for_count(const _Atomic uint64_t *counter, uint64_t count)
{
    const uint64_t end_ns = clock_monotonic_ns() + WAIT_MS * NS_PER_MS;
    while (atomic_load(counter) < count && clock_monotonic_ns() < end_ns)
        (void)poll(NULL, 0, LOOK_MS);
    assert_true(atomic_load(counter) >= count);
}

static void hub_uses_all_that_the_engine_gives(void **state)
{
    (void)state;
    struct echo_engine *engine = engine_with((struct echo_engine_config){.workers_count = 3});
    struct hub *hub = hub_with(engine);
    wait_for_count(&echo_engine_counters(engine)->welcomed, 3);
    assert_int_equal(ask(hub, "pass"), BULLA_PASSED);
    hub_close(hub);
    assert_int_equal(atomic_load(&echo_engine_counters(engine)->welcomed), 3);
    echo_engine_close(engine);
}

/* A further attachment may take a second, not the ten that the first is given. */
static void hub_answers_though_a_further_attachment_is_not_answered(void **state)
{
    (void)state;
    struct echo_engine *engine =
        engine_with((struct echo_engine_config){.workers_count = 2, .mute_after = 1});
    struct hub *hub = hub_with(engine);
    wait_for_count(&echo_engine_counters(engine)->unanswered, 1);
    const uint64_t begin_ns = clock_monotonic_ns();
    assert_int_equal(ask(hub, "pass"), BULLA_PASSED);
    assert_true(clock_monotonic_ns() - begin_ns < ATTACH_TIMEOUT_MS_DEFAULT / 2 * NS_PER_MS);
    hub_close(hub);
    echo_engine_close(engine);
}

static void hub_puts_off_what_an_engine_that_declines_leaves(void **state)
{
    (void)state;
    struct echo_engine *engine = engine_with((struct echo_engine_config){.hang_up = true});
    struct hub *hub = hub_with(engine);
    assert_int_equal(ask(hub, "pass"), BULLA_RETRY);
    hub_close(hub);
    echo_engine_close(engine);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hub_uses_all_that_the_engine_gives),
        cmocka_unit_test(hub_answers_though_a_further_attachment_is_not_answered),
        cmocka_unit_test(hub_puts_off_what_an_engine_that_declines_leaves),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
