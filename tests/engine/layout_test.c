/* That no worker writes for its messages what another one reads: pages of its own, whole ones. */
#include "tests/engine/areas.h"
#include "tests/engine/inside.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define PAGE_BYTES   4096
#define WORKERS      2
#define CLIENTS_EACH 2
#define MAILS        40

/* Of what a worker writes, other threads look at these alone, each on lines without its neighbours:
 * counters (control), asleep (whoever wakes it), used and beat (control). */
_Static_assert(sizeof(struct worker) % CACHE_LINE == 0, "workers share no line");
_Static_assert(offsetof(struct worker, counters) % CACHE_LINE == 0, "counters begin a line");
_Static_assert(offsetof(struct worker, asleep) % CACHE_LINE == 0, "asleep has a line");
_Static_assert(offsetof(struct worker, used) - offsetof(struct worker, asleep) >= CACHE_LINE,
               "asleep shares its line with nothing");
_Static_assert(offsetof(struct worker, used) % CACHE_LINE == 0, "what control reads begins a line");
_Static_assert(offsetof(struct worker_key, asleep) % CACHE_LINE == 0, "the key thread's word, too");
_Static_assert(sizeof(struct worker_key) - offsetof(struct worker_key, asleep) == CACHE_LINE,
               "and nothing behind it");
_Static_assert(sizeof(struct job) % CACHE_LINE == 0, "a job's lines are its own");

static struct inside inside;
static struct areas areas[WORKERS];
static uint8_t *mail;

static uintptr_t first_page(const struct area *area)
{
    return (uintptr_t)area->at / PAGE_BYTES;
}

static uintptr_t last_page(const struct area *area)
{
    return ((uintptr_t)area->at + area->bytes - 1) / PAGE_BYTES;
}

static bool overlap(const struct area *one, const struct area *other)
{
    return first_page(one) <= last_page(other) && first_page(other) <= last_page(one);
}

static void seal(struct bulla *bulla)
{
    const char *const recipients[] = {"b@example.org"};
    const struct bulla_request request = {.sender = "a@example.com",
                                          .recipients = recipients,
                                          .recipients_count = 1,
                                          .mail_bytes = PAGE_BYTES};
    struct bulla_reservation reservation;
    struct bulla_completion completion;
    assert_int_equal(bulla_reserve(bulla, &request, &reservation), 0);
    memcpy(reservation.mail, mail, request.mail_bytes);
    assert_int_equal(bulla_submit(bulla, &reservation), 0);
    while (bulla_poll(bulla, &completion, 1) == 0)
        assert_true(bulla_wait(bulla, DAEMON_WAIT_MS) > 0);
    assert_int_equal(completion.status, BULLA_SEALED);
    bulla_release(bulla, &completion);
}

static void clients_run(struct inside *of)
{
    struct bulla *attached[WORKERS * CLIENTS_EACH];
    const struct bulla_config wish = {
        .socket_path = of->daemon.socket, .slots_count = 16, .input_bytes = 1 << 20};
    for (uint32_t i = 0; i < WORKERS * CLIENTS_EACH; i++)
        assert_int_equal(bulla_attach(&attached[i], &wish), 0);
    for (uint32_t n = 0; n < MAILS; n++)
        seal(attached[n % (WORKERS * CLIENTS_EACH)]);
    for (uint32_t i = 0; i < WORKERS; i++) {
        assert_int_equal(worker_counter(of->engine.workers[i], COUNTER_SEALED), MAILS / WORKERS);
        areas_read(&areas[i], of->engine.workers[i]);
    }
    for (uint32_t i = 0; i < WORKERS * CLIENTS_EACH; i++)
        bulla_detach(attached[i]);
}

static int engine_setup(void **state)
{
    (void)state;
    if (sysconf(_SC_NPROCESSORS_ONLN) < WORKERS) {
        print_message("SKIP: two workers want two processors\n");
        exit(77);
    }
    mail = daemon_mail(PAGE_BYTES, 3);
    inside_open(&inside, "workers = 2\n hugepages = off");
    inside_run(&inside, clients_run);
    return 0;
}

static int engine_teardown(void **state)
{
    (void)state;
    inside_close(&inside);
    free(mail);
    return 0;
}

/* But for two structs of the allocator's, which gives each thread memory of its own. */
static void worker_shares_no_page_with_another(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < areas[0].count; i++) {
        for (uint32_t k = 0; k < areas[1].count; k++) {
            if (overlap(&areas[0].area[i], &areas[1].area[k]))
                fail_msg("worker 0's %s and worker 1's %s are on one page", areas[0].area[i].name,
                         areas[1].area[k].name);
        }
    }
}

static void worker_has_whole_pages_for_what_it_writes_most(void **state)
{
    (void)state;
    for (uint32_t w = 0; w < WORKERS; w++) {
        assert_int_equal(areas[w].count, 14 + 3 * CLIENTS_EACH);
        for (uint32_t i = 0; i < areas[w].count; i++) {
            const struct area *area = &areas[w].area[i];
            assert_true(area->bytes == 1 || (uintptr_t)area->at % PAGE_BYTES == 0);
            for (uint32_t k = i + 1; k < areas[w].count; k++)
                assert_false(area->bytes > 1 && overlap(area, &areas[w].area[k]));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(worker_shares_no_page_with_another),
        cmocka_unit_test(worker_has_whole_pages_for_what_it_writes_most),
    };
    return cmocka_run_group_tests(tests, engine_setup, engine_teardown);
}
