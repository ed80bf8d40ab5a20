/* The real bullad under contention: for its arenas, its jobs, its constants and its control. */
#include "base/clock.h"
#include "base/macros.h"
#include "tests/engine/daemon.h"
#include "tests/engine/pump.h"
#include "tests/ipc/raw_client.h"

#include <errno.h>
#include <jansson.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static struct daemon bullad;

static void finish(void)
{
    assert_int_equal(daemon_stop(&bullad), 0);
    daemon_fini(&bullad);
}

/* Small ones that find no room, and in the same burst large ones behind them. */
static void bullad_keeps_small_and_large_apart_when_both_wait(void **state)
{
    (void)state;
    size_t sizes[32];
    for (size_t i = 0; i < ARRAY_COUNT(sizes); i++)
        sizes[i] = i < 20 ? 60000 : 800000;
    daemon_start(&bullad, "workers = 1\noutput_arena = 46MB", "", 0);
    const struct pump mixed = {.daemon = &bullad,
                               .sizes = sizes,
                               .sizes_count = ARRAY_COUNT(sizes),
                               .count = 320,
                               .held_max = 64,
                               .slots_count = 1024};
    pump_run(&mixed);
    assert_int_equal(stand_in_stored(bullad.service), 320);
    finish();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bullad_keeps_small_and_large_apart_when_both_wait),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
