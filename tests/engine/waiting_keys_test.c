/* The keys of mail that waits: asked for, sealed together, opened, of both formats. */
#include "engine/waiting.h"

#include "base/bytes.h"
#include "base/clock.h"
#include "crypto/cobblestone.h"
#include "engine/spool_head.h"
#include "keyservice/key_client.h"
#include "tests/engine/waiting_rig.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void each_service_is_asked_though_another_does_not_answer(void **state)
{
    (void)state;
    waiting_begin(2);
    put(0);
    put(1);
    answers = false;
    start_again(2);
    assert_int_equal(waiting_counts(waiting)->recovered, 2);
    for (uint32_t n = 0; n < 8; n++)
        step();
    assert_int_equal(asks_count, 2);
    answers = true;
    step();
}

/* One of a burst was sealed under another spool key, as far as its tag can tell. */
static void a_tag_that_does_not_verify_fails_its_own_mail_alone(void **state)
{
    struct waiting_item item;
    (void)state;
    notify = false; /* so that its end needs no profile's text */
    answers = false;
    waiting_begin(1);
    put(0);
    step();
    assert_int_equal(asks_count, 1); /* this one is the probe, and the others wait for its answer */
    put(0);
    put_key = 2;
    put(0);
    put_key = 1;
    const struct id odd = last_id;
    put(0);
    up = true;
    passes();
    assert_int_equal(asks_count, 3);
    assert_int_equal(waiting_counts(waiting)->damaged, 1);
    answers = true;
    step();
    assert_int_equal(waiting_counts(waiting)->registered, 3);
    assert_int_equal(waiting_counts(waiting)->expired, 1);
    assert_int_equal(in_state(WAITING_READY), 3);
    assert_int_equal(waiting_find(&worker, &odd, &item), -ENOENT);
}

#define TOGETHER 6

/* What was sealed in one go: one salt and one commitment, and a number each. */
static void together_put(struct made made[TOGETHER])
{
    struct waiting_mail mails[TOGETHER];
    const uint32_t job_indexes[TOGETHER] = {0};
    for (uint32_t n = 0; n < TOGETHER; n++)
        mail_make(&made[n], &mails[n], 0);
    assert_int_equal(waiting_put_burst(waiting, mails, job_indexes, TOGETHER), TOGETHER);
}

static size_t head_bytes_of(const struct made *made)
{
    return SPOOL_HEAD_FIXED_BYTES + bytes_load_le16(made->head + 6) +
           bytes_load_le32(made->head + 8) + bytes_load_le32(made->head + 12);
}

static void head_read(const struct made *made, struct spool_head *head)
{
    assert_int_equal(spool_head_read(head, made->head, head_bytes_of(made)), 0);
}

static void records_of_one_write_have_one_key_and_a_number_each(void **state)
{
    struct made made[2][TOGETHER];
    struct spool_head first;
    struct spool_head head;
    (void)state;
    wait_s = 3600;
    waiting_begin(1);
    for (uint32_t burst = 0; burst < 2; burst++) {
        const uint32_t wanted = ended_count + TOGETHER;
        together_put(made[burst]);
        head_read(&made[burst][0], &first);
        for (uint32_t n = 0; n < TOGETHER; n++) {
            head_read(&made[burst][n], &head);
            assert_false(head.alone);
            assert_int_equal(head.number, n);
            assert_memory_equal(head.sealed, first.sealed, COBBLE_HEADER_BYTES);
        }
        put_settle(wanted);
    }
    head_read(&made[0][0], &head);
    assert_memory_not_equal(head.sealed, first.sealed, COBBLE_SALT_BYTES);
    up = true;
    start_again(1);
    for (uint32_t n = 0; n < 4; n++)
        step();
    assert_int_equal(waiting_counts(waiting)->registered, 2 * TOGETHER);
    assert_int_equal(waiting_counts(waiting)->damaged, 0);
}

/* The numbers of two are changed for each other's, and all of their records of two others; a fifth
 * has another commitment than its key. */
static void a_record_that_is_not_its_heads_fails_its_own_mail_alone(void **state)
{
    struct made made[TOGETHER];
    struct spool_head heads[TOGETHER];
    uint8_t sealed[RECORD_ROOM];
    (void)state;
    notify = false;
    waiting_begin(1);
    together_put(made);
    for (uint32_t n = 0; n < TOGETHER; n++)
        head_read(&made[n], &heads[n]);
    made[0].head[5] = 1;
    made[1].head[5] = 0;
    uint8_t *third = made[2].head + (heads[2].sealed - made[2].head);
    uint8_t *fourth = made[3].head + (heads[3].sealed - made[3].head);
    assert_true(heads[2].sealed_bytes <= sizeof(sealed));
    memcpy(sealed, third, heads[2].sealed_bytes);
    memcpy(third, fourth, heads[2].sealed_bytes);
    memcpy(fourth, sealed, heads[2].sealed_bytes);
    made[2].head[5] = 3; /* so that both open, to another mail's record */
    made[3].head[5] = 2;
    made[4].head[heads[4].sealed - made[4].head + COBBLE_SALT_BYTES] ^= 1;
    put_settle(TOGETHER);
    up = true;
    for (uint32_t n = 0; n < 4; n++)
        step();
    assert_int_equal(waiting_counts(waiting)->damaged, 5);
    assert_int_equal(waiting_counts(waiting)->registered, 1);
}

/* As the release before wrote it: docs/format/spool-head.md, "BSH1". */
static void make_alone(struct made *made, const struct waiting_mail *mail)
{
    struct spool_head read;
    struct cobble cobble;
    uint8_t context[SPOOL_HEAD_CONTEXT_BYTES];
    head_read(made, &read);
    uint8_t *sealed = made->head + (read.sealed - made->head);
    made->head[3] = '1';
    struct cobble_derivation derivation = {
        .suite = COBBLE_AES_256,
        .key = key,
        .salt = sealed,
        .context = context,
        .context_bytes = spool_head_context(context, true, &made->id),
        .cobble = &cobble,
    };
    cobble_derive_burst(core, &derivation, 1);
    memcpy(sealed + COBBLE_SALT_BYTES, derivation.commitment, COBBLE_COMMITMENT_BYTES);
    (void)cobble_seal(core, &cobble, sealed + COBBLE_HEADER_BYTES, mail->record, mail->record_bytes,
                      true);
}

static void mail_of_the_former_format_is_read(void **state)
{
    struct made made[3];
    struct waiting_mail mail;
    const uint32_t job_index = 0;
    (void)state;
    wait_s = 3600;
    waiting_begin(1);
    for (uint32_t n = 0; n < ARRAY_COUNT(made); n++) {
        mail_make(&made[n], &mail, 0);
        assert_int_equal(waiting_put_burst(waiting, &mail, &job_index, 1), 1);
        if (n != 1)
            make_alone(&made[n], &mail);
        put_settle(n + 1);
    }
    up = true;
    start_again(1);
    for (uint32_t n = 0; n < 4; n++)
        step();
    assert_int_equal(waiting_counts(waiting)->registered, ARRAY_COUNT(made));
    assert_int_equal(waiting_counts(waiting)->damaged, 0);
}

/* A collector that is full keeps keys from being registered far ahead, but no service that is away
 * from being asked; and that by one record at a time. */
static void one_that_is_away_is_probed_though_the_collector_is_full(void **state)
{
    (void)state;
    wait_s = 36000;
    up = true;
    body_bytes = LARGE_BYTES;
    waiting_begin(1);
    struct pair *pair = collector_begin(1);
    for (uint32_t n = 0; n < 130; n++)
        put(0);
    step();
    assert_true(in_state(WAITING_READY) >= 64);
    answers = false;
    put(0);
    for (uint32_t n = 0; n < 8; n++)
        step();
    assert_int_equal(asks_count, 0); /* it is up, and nobody needs the key yet */
    up = false;
    put(0);
    for (uint32_t n = 0; n < 8; n++)
        step();
    assert_int_equal(asks_count, 1);
    answers = true;
    step();
    collector_finish(pair, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(each_service_is_asked_though_another_does_not_answer,
                                        rig_begin, rig_end),
        cmocka_unit_test_setup_teardown(a_tag_that_does_not_verify_fails_its_own_mail_alone,
                                        rig_begin, rig_end),
        cmocka_unit_test_setup_teardown(records_of_one_write_have_one_key_and_a_number_each,
                                        rig_begin, rig_end),
        cmocka_unit_test_setup_teardown(a_record_that_is_not_its_heads_fails_its_own_mail_alone,
                                        rig_begin, rig_end),
        cmocka_unit_test_setup_teardown(mail_of_the_former_format_is_read, rig_begin, rig_end),
        cmocka_unit_test_setup_teardown(one_that_is_away_is_probed_though_the_collector_is_full,
                                        rig_begin, rig_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
