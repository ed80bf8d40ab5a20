#include "tests/engine/pump.h"

#include "base/clock.h"
#include "base/macros.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct running {
    const struct pump *pump;
    struct bulla *bulla;
    const uint8_t *mail; /* of the largest size; smaller ones are its start */
    struct bulla_completion held[PUMP_HELD_MAX];
    uint32_t held_count;
    uint32_t submitted;
    uint32_t done;
};

static void pump_submit(struct running *running)
{
    const struct pump *pump = running->pump;
    const char *const recipients[] = {"b@example.org"};
    while (running->submitted < pump->count) {
        const size_t *size = &pump->sizes[running->submitted % pump->sizes_count];
        const struct bulla_request request = {.profile = pump->profile,
                                              .sender = "a@example.com",
                                              .recipients = recipients,
                                              .recipients_count = 1,
                                              .mail_bytes = *size,
                                              .user = (void *)(uintptr_t)size};
        struct bulla_reservation reservation;
        if (bulla_reserve(running->bulla, &request, &reservation) != 0)
            return;
        memcpy(reservation.mail, running->mail, *size);
        assert_int_equal(bulla_submit(running->bulla, &reservation), 0);
        running->submitted++;
    }
}

static void pump_check(const struct running *running, const struct bulla_completion *completion)
{
    const size_t bytes = *(const size_t *)completion->user;
    if (completion->status != BULLA_SEALED)
        print_error("status %d: %s\n", (int)completion->status, completion->text);
    assert_int_equal(completion->status, BULLA_SEALED);
    if (running->pump->check != NULL)
        running->pump->check(completion);
    if (!running->pump->opens)
        return;
    struct outcome outcome = {.status = BULLA_SEALED};
    outcome.sealed = malloc(completion->mail_bytes);
    assert_non_null(outcome.sealed);
    outcome.sealed_bytes = bulla_flatten(completion, outcome.sealed, completion->mail_bytes);
    daemon_expect_opens(running->pump->daemon, &outcome, running->mail, bytes);
    free(outcome.sealed);
}

static void pump_take(struct running *running)
{
    const struct pump *pump = running->pump;
    if (running->held_count == pump->held_max) {
        for (uint32_t i = 0; i < running->held_count; i++)
            bulla_release(running->bulla, &running->held[i]);
        running->held_count = 0;
    }
    struct bulla_completion *free_at = running->held + running->held_count;
    const int n = bulla_poll(running->bulla, free_at, pump->held_max - running->held_count);
    assert_true(n >= 0);
    for (int i = 0; i < n; i++) {
        pump_check(running, &free_at[i]);
        running->done++;
    }
    running->held_count += (uint32_t)n;
    if (n == 0 && running->held_count > 0)
        bulla_release(running->bulla, &running->held[--running->held_count]);
    else if (n == 0 && running->done < running->submitted)
        assert_true(bulla_wait(running->bulla, DAEMON_WAIT_MS) >= 0);
}

void pump_run(const struct pump *pump)
{
    const struct bulla_config config = {.socket_path = pump->daemon->socket,
                                        .slots_count = pump->slots_count,
                                        .input_bytes = pump->input_bytes};
    struct running running = {.pump = pump};
    size_t largest = 0;
    const uint64_t until_ns = clock_monotonic_ns() + DAEMON_WAIT_MS * NS_PER_MS * 6;
    assert_true(pump->held_max > 0 && pump->held_max <= PUMP_HELD_MAX);
    for (uint32_t i = 0; i < pump->sizes_count; i++)
        largest = MAX(largest, pump->sizes[i]);
    uint8_t *mail = daemon_mail(largest, 5);
    running.mail = mail;
    assert_int_equal(bulla_attach(&running.bulla, &config), 0);
    while (running.done < pump->count && clock_monotonic_ns() < until_ns) {
        pump_submit(&running);
        pump_take(&running);
    }
    assert_int_equal(running.done, pump->count);
    for (uint32_t i = 0; i < running.held_count; i++)
        bulla_release(running.bulla, &running.held[i]);
    bulla_detach(running.bulla);
    free(mail);
}
