/* The addresses of a submission: written, read back, and every cut and mutation refused. */
#include "ipc/meta.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char *const two[] = {"ann@example.net", "j\xc3\xb6rg@example.net"};

static const struct meta_source usual = {
    .profile = "default", .sender = "bob@example.org", .recipients = two, .recipients_count = 2};

static void what_is_written_is_read_back(void **state)
{
    (void)state;
    uint8_t bytes_at[256];
    size_t bytes;
    struct meta meta;
    assert_int_equal(meta_measure(&usual, &bytes), 0);
    meta_write(&usual, bytes_at, bytes);
    assert_int_equal(meta_read(&meta, bytes_at, bytes), 0);
    assert_int_equal(meta.profile_bytes, 7);
    assert_memory_equal(meta.profile, "default", 7);
    assert_int_equal(meta.sender_bytes, 15);
    assert_memory_equal(meta.sender, "bob@example.org", 15);
    assert_int_equal(meta.recipients_count, 2);
    uint32_t offset = 0;
    const uint8_t *address;
    uint16_t address_bytes;
    for (uint32_t n = 0; n < 2; n++) {
        assert_true(meta_recipient(&meta, &offset, &address, &address_bytes));
        assert_int_equal(address_bytes, strlen(two[n]));
        assert_memory_equal(address, two[n], address_bytes);
    }
    assert_false(meta_recipient(&meta, &offset, &address, &address_bytes));
}

static void a_control_character_is_refused_wherever_it_stands(void **state)
{
    (void)state;
    static const char long_address[] = "a.rather.long.address.of.somebody@example.net";
    char address[sizeof(long_address)];
    const char *const recipients[] = {"ann@example.net", address};
    struct meta_source source = usual;
    uint8_t bytes_at[256];
    size_t bytes;
    struct meta meta;
    source.recipients = recipients;
    memcpy(address, long_address, sizeof(address));
    assert_int_equal(meta_measure(&source, &bytes), 0);
    meta_write(&source, bytes_at, bytes);
    const size_t first = bytes - strlen(address);
    for (size_t at = first; at < bytes; at++) {
        static const uint8_t controls[] = {0x00, 0x0d, 0x1f, 0x7f};
        const uint8_t before = bytes_at[at];
        for (size_t n = 0; n < sizeof(controls); n++) {
            bytes_at[at] = controls[n];
            assert_int_equal(meta_read(&meta, bytes_at, bytes), -EBADMSG);
            assert_int_equal(meta_fault(bytes_at, bytes), META_RECIPIENT + 1);
        }
        bytes_at[at] = 0xc3;
        assert_int_equal(meta_read(&meta, bytes_at, bytes), 0);
        bytes_at[at] = before;
        address[at - first] = '\x7f';
        assert_int_equal(meta_measure(&source, &bytes), -EINVAL);
        address[at - first] = (char)before;
    }
}

static void the_document_s_example_is_what_is_written(void **state)
{
    (void)state;
    /* docs/format/shared-memory.md, "Meta". */
    static const uint8_t expected[] = {0x07, 0x00, 'd', 'e', 'f', 'a', 'u', 'l',  't',
                                       0x05, 0x00, 'b', '@', 'b', '.', 'c', 0x01, 0x00,
                                       0x05, 0x00, 'a', '@', 'a', '.', 'c'};
    static const char *const recipients[] = {"a@a.c"};
    const struct meta_source source = {
        .profile = "default", .sender = "b@b.c", .recipients = recipients, .recipients_count = 1};
    uint8_t bytes_at[64];
    size_t bytes;
    assert_int_equal(meta_measure(&source, &bytes), 0);
    assert_int_equal(bytes, sizeof(expected));
    meta_write(&source, bytes_at, bytes);
    assert_memory_equal(bytes_at, expected, bytes);
}

static void every_cut_is_refused(void **state)
{
    (void)state;
    uint8_t bytes_at[257] = {0};
    size_t bytes;
    struct meta meta;
    assert_int_equal(meta_measure(&usual, &bytes), 0);
    meta_write(&usual, bytes_at, bytes);
    for (size_t cut = 0; cut < bytes; cut++) {
        uint8_t *exact = malloc(cut + 1); /* so that a sanitizer sees one byte too far */
        assert_non_null(exact);
        memcpy(exact, bytes_at, cut);
        assert_int_equal(meta_read(&meta, exact, cut), -EBADMSG);
        free(exact);
    }
    assert_int_equal(meta_read(&meta, bytes_at, bytes + 1), -EBADMSG); /* one left over */
}

static void hostile_bytes_are_refused(void **state)
{
    (void)state;
    uint8_t bytes_at[256];
    size_t bytes;
    struct meta meta;
    assert_int_equal(meta_measure(&usual, &bytes), 0);
    static const uint8_t hostile[] = {'\r', '\n', '\0', '\t', 0x1b, 0x7f};
    static const size_t places[] = {2, 8, 11, 25, 30, 44}; /* in a name or address */
    for (size_t n = 0; n < ARRAY_COUNT(places); n++) {
        for (size_t m = 0; m < ARRAY_COUNT(hostile); m++) {
            meta_write(&usual, bytes_at, bytes);
            assert_in_range(bytes_at[places[n]], 0x20, 0xff);
            bytes_at[places[n]] = hostile[m];
            assert_int_equal(meta_read(&meta, bytes_at, bytes), -EBADMSG);
        }
    }
}

static void empty_and_long_fields_are_refused(void **state)
{
    (void)state;
    struct meta meta;
    static const uint8_t no_profile[] = {0, 0, 0, 0, 1, 0, 1, 0, 'a'};
    static const uint8_t no_recipient[] = {1, 0, 'p', 0, 0, 0, 0};
    static const uint8_t empty_recipient[] = {1, 0, 'p', 0, 0, 1, 0, 0, 0};
    static const uint8_t null_sender[] = {1, 0, 'p', 0, 0, 1, 0, 1, 0, 'a'};
    assert_int_equal(meta_read(&meta, no_profile, sizeof(no_profile)), -EBADMSG);
    assert_int_equal(meta_read(&meta, no_recipient, sizeof(no_recipient)), -EBADMSG);
    assert_int_equal(meta_read(&meta, empty_recipient, sizeof(empty_recipient)), -EBADMSG);
    assert_int_equal(meta_read(&meta, null_sender, sizeof(null_sender)), 0);
    assert_int_equal(meta_fault(no_profile, sizeof(no_profile)), META_PROFILE);
    assert_int_equal(meta_fault(no_recipient, sizeof(no_recipient)), META_COUNT);
    assert_int_equal(meta_fault(empty_recipient, sizeof(empty_recipient)), META_RECIPIENT);
    assert_int_equal(meta_fault(null_sender, sizeof(null_sender)), META_SOUND);
    assert_int_equal(meta_fault(null_sender, 4), META_SENDER);
    static uint8_t large[IPC_META_BYTES_MAX + 1];
    assert_int_equal(meta_read(&meta, large, sizeof(large)), -EBADMSG);
    /* A recipient as long as may be, and one byte longer. */
    static uint8_t address[9 + IPC_ADDRESS_BYTES_MAX + 1] = {1, 0, 'p', 0, 0, 1, 0};
    memset(address + 9, 'a', IPC_ADDRESS_BYTES_MAX + 1);
    address[7] = IPC_ADDRESS_BYTES_MAX % 256;
    address[8] = IPC_ADDRESS_BYTES_MAX / 256;
    assert_int_equal(meta_read(&meta, address, sizeof(address) - 1), 0);
    address[7]++;
    assert_int_equal(meta_read(&meta, address, sizeof(address)), -EBADMSG);
}

static void sources_that_could_not_be_read_are_refused(void **state)
{
    (void)state;
    size_t bytes;
    char address[IPC_ADDRESS_BYTES_MAX + 2];
    memset(address, 'a', sizeof(address));
    address[IPC_ADDRESS_BYTES_MAX + 1] = '\0';
    const char *const recipients[] = {address};
    struct meta_source source = usual;
    source.recipients = recipients;
    source.recipients_count = 1;
    assert_int_equal(meta_measure(&source, &bytes), -EINVAL);
    address[IPC_ADDRESS_BYTES_MAX] = '\0'; /* the longest */
    assert_int_equal(meta_measure(&source, &bytes), 0);
    source.profile = "";
    assert_int_equal(meta_measure(&source, &bytes), -EINVAL);
    source = usual;
    source.sender = "a\r\nb";
    assert_int_equal(meta_measure(&source, &bytes), -EINVAL);
    source = usual;
    source.recipients_count = 0;
    assert_int_equal(meta_measure(&source, &bytes), -EINVAL);
    source.recipients_count = IPC_RECIPIENTS_MAX + 1;
    assert_int_equal(meta_measure(&source, &bytes), -EMSGSIZE);
}

static void options_are_what_the_document_shows(void **state)
{
    (void)state;
    /* docs/format/shared-memory.md, "Meta". */
    static const uint8_t expected[IPC_OPTIONS_BYTES] = {0x8c, 0, 0,    0,    8,   0,
                                                        0,    0, 0x80, 0x3a, 0x09};
    const struct meta_options options = {.set = IPC_OPTION_FORWARD | IPC_OPTION_RECEIPT |
                                                IPC_OPTION_EXPIRES,
                                         .values = IPC_OPTION_RECEIPT,
                                         .expires_after_s = 604800};
    struct meta_source source = usual;
    uint8_t bytes_at[256];
    size_t bare_bytes, bytes;
    struct meta meta;
    assert_int_equal(meta_measure(&source, &bare_bytes), 0);
    source.options = &options;
    assert_int_equal(meta_measure(&source, &bytes), 0);
    assert_int_equal(bytes, bare_bytes + IPC_OPTIONS_BYTES);
    meta_write(&source, bytes_at, bytes);
    assert_memory_equal(bytes_at + bare_bytes, expected, sizeof(expected));
    assert_int_equal(meta_read(&meta, bytes_at, bytes), 0);
    assert_int_equal(meta.options.set, options.set);
    assert_int_equal(meta.options.values, options.values);
    assert_int_equal(meta.options.expires_after_s, 604800);
    assert_int_equal(meta.options.read_by_after_s, 0);
    assert_int_equal(meta.recipients_bytes, 2 * 2 + 15 + 17);
    /* None given: nothing is written, and nothing is read. */
    const struct meta_options none = {0};
    source.options = &none;
    assert_int_equal(meta_measure(&source, &bytes), 0);
    assert_int_equal(bytes, bare_bytes);
    assert_int_equal(meta_read(&meta, bytes_at, bare_bytes), 0);
    assert_int_equal(meta.options.set, 0);
}

static void options_out_of_range_are_refused(void **state)
{
    (void)state;
    static const struct meta_options wrong[] = {
        {.set = 512},
        {.set = UINT32_C(1) << 31},
        {.values = 1},
        {.set = IPC_OPTION_REPLY, .values = IPC_OPTION_FORWARD},
        {.set = IPC_OPTION_EXPIRES, .values = IPC_OPTION_EXPIRES},
        {.set = IPC_OPTION_READ_BY, .expires_after_s = 1},
        {.set = IPC_OPTION_EXPIRES, .read_by_after_s = 1},
        {.set = IPC_OPTION_EXPIRES, .expires_after_s = IPC_OPTION_S_MAX + 1},
        {.set = IPC_OPTION_READ_BY, .read_by_after_s = UINT64_MAX},
    };
    const struct meta_options most = {.set = IPC_OPTIONS_ALL,
                                      .values = IPC_OPTIONS_ON_OFF,
                                      .expires_after_s = IPC_OPTION_S_MAX,
                                      .read_by_after_s = IPC_OPTION_S_MAX};
    struct meta_source source = usual;
    uint8_t bytes_at[256];
    size_t bytes, other;
    struct meta meta;
    source.options = &most;
    assert_int_equal(meta_measure(&source, &bytes), 0);
    meta_write(&source, bytes_at, bytes);
    assert_int_equal(meta_read(&meta, bytes_at, bytes), 0);
    uint8_t *const at = bytes_at + bytes - IPC_OPTIONS_BYTES;
    for (size_t n = 0; n < ARRAY_COUNT(wrong); n++) {
        source.options = &wrong[n];
        assert_int_equal(meta_measure(&source, &other), -EINVAL);
        memcpy(at, &wrong[n], sizeof(wrong[n]));
        assert_int_equal(meta_read(&meta, bytes_at, bytes), -EBADMSG);
        assert_int_equal(meta_fault(bytes_at, bytes), META_OPTIONS);
    }
    memcpy(at, &most, sizeof(most));
    for (size_t n = 24; n < IPC_OPTIONS_BYTES; n++) {
        at[n] = 1;
        assert_int_equal(meta_read(&meta, bytes_at, bytes), -EBADMSG);
        at[n] = 0;
    }
    for (size_t cut = 1; cut < IPC_OPTIONS_BYTES; cut++)
        assert_int_equal(meta_read(&meta, bytes_at, bytes - cut), -EBADMSG);
    assert_int_equal(meta_read(&meta, bytes_at, bytes), 0);
    assert_int_equal(meta_read(&meta, bytes_at, bytes + 1), -EBADMSG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read_back),
        cmocka_unit_test(a_control_character_is_refused_wherever_it_stands),
        cmocka_unit_test(the_document_s_example_is_what_is_written),
        cmocka_unit_test(every_cut_is_refused),
        cmocka_unit_test(hostile_bytes_are_refused),
        cmocka_unit_test(empty_and_long_fields_are_refused),
        cmocka_unit_test(sources_that_could_not_be_read_are_refused),
        cmocka_unit_test(options_are_what_the_document_shows),
        cmocka_unit_test(options_out_of_range_are_refused),
    };
    return cmocka_run_group_tests_name("meta", tests, NULL, NULL);
}
