#include "tests/mta/fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char *const one_recipient[] = {"ann@example.net"};

struct bulla_request request_for(const char *profile, size_t mail_bytes, void *user)
{
    return (struct bulla_request){.profile = profile,
                                  .sender = "bob@example.org",
                                  .recipients = one_recipient,
                                  .recipients_count = 1,
                                  .mail_bytes = mail_bytes,
                                  .user = user};
}

struct echo_engine *engine_with(struct echo_engine_config config)
{
    struct echo_engine *engine;
    assert_int_equal(echo_engine_open(&engine, &config), 0);
    return engine;
}

struct bulla *attach_to(const struct echo_engine *engine, uint32_t slots_count, size_t input_bytes)
{
    struct bulla *bulla;
    const struct bulla_config config = {.socket_path = echo_engine_path(engine),
                                        .slots_count = slots_count,
                                        .input_bytes = input_bytes};
    assert_int_equal(bulla_attach(&bulla, &config), 0);
    return bulla;
}

uint8_t pattern(uint64_t seed, size_t n)
{
    const uint64_t mixed = (seed + 1) * UINT64_C(0x9e3779b97f4a7c15) + n * UINT64_C(0x85ebca6b);
    return (uint8_t)(mixed >> 29 ^ mixed);
}

void pattern_write(uint8_t *at, uint64_t seed, size_t bytes)
{
    for (size_t n = 0; n < bytes; n++)
        at[n] = pattern(seed, n);
}

void submit(struct bulla *bulla, const char *profile, uint64_t seed, size_t mail_bytes)
{
    const struct bulla_request request = request_for(profile, mail_bytes, (void *)(uintptr_t)seed);
    struct bulla_reservation reservation;
    assert_int_equal(bulla_reserve(bulla, &request, &reservation), 0);
    pattern_write(reservation.mail, seed, mail_bytes);
    assert_int_equal(bulla_submit(bulla, &reservation), 0);
}

void assert_echo(const struct bulla_completion *completion, uint64_t seed, size_t mail_bytes)
{
    const size_t head_bytes = sizeof(ECHO_HEAD) - 1;
    const size_t tail_bytes = sizeof(ECHO_TAIL) - 1;
    assert_int_equal(completion->status, BULLA_SEALED);
    assert_int_equal(completion->mail_bytes, head_bytes + mail_bytes + tail_bytes);
    uint8_t *flat = malloc(completion->mail_bytes);
    assert_non_null(flat);
    assert_int_equal(bulla_flatten(completion, flat, completion->mail_bytes),
                     completion->mail_bytes);
    assert_memory_equal(flat, ECHO_HEAD, head_bytes);
    for (size_t n = 0; n < mail_bytes; n++) {
        if (flat[head_bytes + n] != pattern(seed, n))
            fail_msg("mail %llu differs at byte %zu", (unsigned long long)seed, n);
    }
    assert_memory_equal(flat + head_bytes + mail_bytes, ECHO_TAIL, tail_bytes);
    free(flat);
}

struct bulla_completion wait_one(struct bulla *bulla)
{
    struct bulla_completion completion;
    assert_int_equal(bulla_wait(bulla, WAIT_MS), 1);
    assert_int_equal(bulla_poll(bulla, &completion, 1), 1);
    return completion;
}

uint64_t next_random(uint64_t *random)
{
    *random ^= *random >> 12;
    *random ^= *random << 25;
    *random ^= *random >> 27;
    return *random * UINT64_C(0x2545f4914f6cdd1d);
}
