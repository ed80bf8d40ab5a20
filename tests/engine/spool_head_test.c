/* The head of a waiting mail: what was written is read, and nothing else is. */
#include "engine/spool_head.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define HEAD_BYTES 512

static const char service[] = "main";
static const uint8_t sealed[] = {1, 2, 3, 4, 5};

static size_t head_make(uint8_t bytes[HEAD_BYTES])
{
    const char *const recipients[] = {"b@example.org", "c@example.net"};
    const struct meta_source source = {.profile = "default",
                                       .sender = "a@example.com",
                                       .recipients = recipients,
                                       .recipients_count = 2};
    size_t meta_bytes;
    assert_int_equal(meta_measure(&source, &meta_bytes), 0);
    const struct spool_head head = {.notify = true,
                                    .number = 31,
                                    .service_bytes = sizeof(service) - 1,
                                    .meta_bytes = (uint32_t)meta_bytes,
                                    .sealed_bytes = sizeof(sealed)};
    spool_head_write(bytes, &head);
    uint8_t *at = bytes + SPOOL_HEAD_FIXED_BYTES;
    memcpy(at, service, sizeof(service) - 1);
    at += sizeof(service) - 1;
    meta_write(&source, at, meta_bytes);
    at += meta_bytes;
    memcpy(at, sealed, sizeof(sealed));
    return (size_t)(at + sizeof(sealed) - bytes);
}

static void head_reads_what_was_written(void **state)
{
    uint8_t bytes[HEAD_BYTES];
    struct spool_head head;
    (void)state;
    const size_t used = head_make(bytes);
    assert_int_equal(spool_head_read(&head, bytes, used), 0);
    assert_true(head.notify);
    assert_false(head.alone);
    assert_int_equal(head.number, 31);
    assert_int_equal(head.service_bytes, 4);
    assert_memory_equal(head.service, service, 4);
    assert_int_equal(head.meta.sender_bytes, 13);
    assert_int_equal(head.meta.recipients_count, 2);
    assert_int_equal(head.sealed_bytes, sizeof(sealed));
    assert_memory_equal(head.sealed, sealed, sizeof(sealed));
}

static void head_refuses_each_length_but_its_own(void **state)
{
    uint8_t bytes[HEAD_BYTES] = {0};
    struct spool_head head;
    (void)state;
    const size_t used = head_make(bytes);
    for (size_t n = 0; n < HEAD_BYTES; n++) {
        if (n != used)
            assert_int_equal(spool_head_read(&head, bytes, n), -EBADMSG);
    }
}

static void head_refuses_what_it_does_not_know(void **state)
{
    static const struct {
        size_t at;
        uint8_t value;
    } faults[] = {{0, 0}, {3, '3'}, {4, 3},    {5, 32}, {5, 255}, {6, 64},
                  {8, 0}, {8, 255}, {11, 255}, {12, 6}, {15, 255}};
    uint8_t bytes[HEAD_BYTES];
    struct spool_head head;
    (void)state;
    for (size_t n = 0; n < sizeof(faults) / sizeof(faults[0]); n++) {
        const size_t used = head_make(bytes);
        bytes[faults[n].at] = faults[n].value;
        assert_int_equal(spool_head_read(&head, bytes, used), -EBADMSG);
    }
}

/* "BSH1", whose records are alone with their salts. */
static void head_of_the_former_format_is_read_and_has_no_number(void **state)
{
    uint8_t bytes[HEAD_BYTES];
    struct spool_head head;
    (void)state;
    const size_t used = head_make(bytes);
    bytes[3] = '1';
    assert_int_equal(spool_head_read(&head, bytes, used), -EBADMSG);
    bytes[5] = 0;
    assert_int_equal(spool_head_read(&head, bytes, used), 0);
    assert_true(head.alone);
    assert_true(head.notify);
}

/* A control character in an address. */
static void head_refuses_addresses_that_are_malformed(void **state)
{
    uint8_t bytes[HEAD_BYTES];
    struct spool_head head;
    (void)state;
    const size_t used = head_make(bytes);
    for (size_t n = 0; n < used; n++) {
        if (bytes[n] == '@')
            bytes[n] = '\n';
    }
    assert_int_equal(spool_head_read(&head, bytes, used), -EBADMSG);
}

static void context_is_a_name_and_of_one_alone_its_id_too(void **state)
{
    uint8_t context[SPOOL_HEAD_CONTEXT_BYTES];
    struct id id;
    (void)state;
    memset(id.bytes, 0x5a, sizeof(id.bytes));
    assert_int_equal(spool_head_context(context, true, &id), 30);
    assert_memory_equal(context, "bulla/spool/1", 14);
    assert_memory_equal(context + 14, id.bytes, sizeof(id.bytes));
    assert_int_equal(spool_head_context(context, false, &id), 14);
    assert_memory_equal(context, "bulla/spool/2", 14);
    for (size_t n = 14; n < sizeof(context); n++)
        assert_int_equal(context[n], 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(head_reads_what_was_written),
        cmocka_unit_test(head_refuses_each_length_but_its_own),
        cmocka_unit_test(head_refuses_what_it_does_not_know),
        cmocka_unit_test(head_of_the_former_format_is_read_and_has_no_number),
        cmocka_unit_test(head_refuses_addresses_that_are_malformed),
        cmocka_unit_test(context_is_a_name_and_of_one_alone_its_id_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
