#include "base/macros.h"
#include "envelope/deflate.h"
#include "tests/envelope/mailgen.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include <cmocka.h>

static struct deflate *deflate_open(void)
{
    struct deflate *deflate = aligned_alloc(CACHE_LINE, deflate_bytes());

    assert_non_null(deflate);
    assert_int_equal(deflate_bytes() % CACHE_LINE, 0);
    memset(deflate, 0, deflate_bytes());
    return deflate;
}

/* Another implementation reads it: one whole stream, no byte more. */
static void inflates_to(const uint8_t *data, size_t data_bytes, const uint8_t *text,
                        size_t text_bytes)
{
    uint8_t *out = malloc(text_bytes + 1);
    z_stream stream = {.next_in = (z_const Bytef *)(uintptr_t)data,
                       .avail_in = (uInt)data_bytes,
                       .next_out = out,
                       .avail_out = (uInt)text_bytes + 1};

    assert_non_null(out);
    assert_int_equal(inflateInit2(&stream, -15), Z_OK);
    assert_int_equal(inflate(&stream, Z_FINISH), Z_STREAM_END);
    assert_int_equal(stream.avail_in, 0);
    assert_int_equal(stream.total_out, text_bytes);
    assert_memory_equal(out, text, text_bytes);
    assert_int_equal(inflateEnd(&stream), Z_OK);
    free(out);
}

/* Text in memory of exactly its size; in place and aside give the same. Returns the bytes. */
static size_t round_trip(struct deflate *deflate, const uint8_t *text, size_t text_bytes,
                         size_t bytes_max)
{
    const size_t room = MAX(bytes_max, text_bytes) + 1;
    uint8_t *src = malloc(text_bytes + 1);
    uint8_t *dst = malloc(room);
    uint8_t *over = malloc(room);

    assert_true(src != NULL && dst != NULL && over != NULL);
    memcpy(src, text, text_bytes);
    memset(dst, 0x5a, room);
    memcpy(over, text, text_bytes);
    const size_t bytes = deflate_try(deflate, dst, bytes_max, src, text_bytes);
    assert_true(bytes <= bytes_max);
    for (size_t i = bytes; i < room; i++)
        assert_int_equal(dst[i], 0x5a);
    assert_memory_equal(src, text, text_bytes);
    if (bytes != 0)
        inflates_to(dst, bytes, text, text_bytes);
    assert_int_equal(deflate_try(deflate, over, bytes_max, over, text_bytes), bytes);
    assert_memory_equal(over, bytes != 0 ? dst : src, bytes != 0 ? bytes : text_bytes);
    free(src);
    free(dst);
    free(over);
    return bytes;
}

static void words(struct mailgen *gen, uint8_t *text, size_t text_bytes)
{
    static const char source[] = "Dear all, the meeting of the board has been moved to Thursday. ";

    for (size_t i = 0; i < text_bytes;) {
        size_t at = mailgen_below(gen, sizeof(source) - 1);
        do
            text[i++] = (uint8_t)source[at];
        while (i < text_bytes && source[at++] != ' ' && at < sizeof(source) - 1);
    }
}

static void deflate_shrinks_text_of_every_size(void **state)
{
    struct mailgen gen = mailgen_seeded();
    struct deflate *deflate = deflate_open();
    uint8_t *text = malloc(DEFLATE_SRC_BYTES_MAX);

    (void)state;
    assert_non_null(text);
    words(&gen, text, DEFLATE_SRC_BYTES_MAX);
    for (size_t bytes = 1; bytes <= DEFLATE_SRC_BYTES_MAX; bytes += 1 + bytes / 9) {
        const size_t deflated_bytes = round_trip(deflate, text, bytes, bytes);
        if (bytes >= 400)
            assert_in_range(deflated_bytes, 1, bytes * 2 / 3);
    }
    assert_true(round_trip(deflate, text, DEFLATE_SRC_BYTES_MAX, DEFLATE_SRC_BYTES_MAX) != 0);
    free(text);
    free(deflate);
}

static void deflate_refuses_what_does_not_shrink(void **state)
{
    struct mailgen gen = mailgen_seeded();
    struct deflate *deflate = deflate_open();
    uint8_t text[5000];

    (void)state;
    for (uint32_t round = 0; round < 300; round++) {
        const size_t bytes = 1 + mailgen_below(&gen, sizeof(text));
        mailgen_bytes(&gen, text, bytes);
        assert_int_equal(round_trip(deflate, text, bytes, bytes - 1), 0);
    }
    free(deflate);
}

/* One byte less than it needs is refused; what it needs and a little more is taken. */
static void deflate_keeps_to_its_room(void **state)
{
    struct mailgen gen = mailgen_seeded();
    struct deflate *deflate = deflate_open();
    uint8_t text[4096];

    (void)state;
    words(&gen, text, sizeof(text));
    const size_t bytes = round_trip(deflate, text, sizeof(text), sizeof(text));
    assert_true(bytes != 0);
    for (size_t room = 0; room < sizeof(text); room += 1 + mailgen_below(&gen, 30)) {
        const size_t got = round_trip(deflate, text, sizeof(text), room);
        assert_true(got == 0 || got == bytes);
        if (room < bytes)
            assert_int_equal(got, 0);
        if (room > bytes + 16)
            assert_int_equal(got, bytes);
    }
    free(deflate);
}

static void deflate_takes_other_scripts(void **state)
{
    static const char russian[] = "Заседание совета перенесено на четверг, просим подтвердить. ";
    struct mailgen gen = mailgen_seeded();
    struct deflate *deflate = deflate_open();
    uint8_t text[6000];

    (void)state;
    for (size_t i = 0; i < sizeof(text); i++)
        text[i] = (uint8_t)russian[i % (sizeof(russian) - 1)];
    for (uint32_t i = 0; i < 200; i++)
        text[mailgen_below(&gen, sizeof(text))] = (uint8_t)mailgen_next(&gen);
    assert_in_range(round_trip(deflate, text, sizeof(text), sizeof(text)), 1, sizeof(text) / 3);
    free(deflate);
}

static void deflate_forgets_when_wiped(void **state)
{
    static const char canary[] = "what nobody else may read, 7f3a9c";
    struct mailgen gen = mailgen_seeded();
    struct deflate *deflate = deflate_open();
    uint8_t text[4096];

    (void)state;
    words(&gen, text, sizeof(text));
    memcpy(text + 1000, canary, sizeof(canary));
    assert_true(round_trip(deflate, text, sizeof(text), sizeof(text)) != 0);
    deflate_wipe(deflate);
    for (size_t i = 0; i < deflate_bytes(); i++)
        assert_int_equal(((const uint8_t *)deflate)[i], 0);
    assert_true(round_trip(deflate, text, sizeof(text), sizeof(text)) != 0);
    free(deflate);
}

static void corpus_message(const uint8_t *mail, size_t mail_bytes, void *context)
{
    for (size_t at = 0; at < mail_bytes; at += DEFLATE_SRC_BYTES_MAX) {
        const size_t bytes = MIN(mail_bytes - at, (size_t)DEFLATE_SRC_BYTES_MAX);
        (void)round_trip(context, mail + at, bytes, bytes);
    }
}

static void deflate_takes_the_corpus(void **state)
{
    struct deflate *deflate = deflate_open();
    const bool found = mailgen_corpus(corpus_message, deflate);

    (void)state;
    free(deflate);
    if (!found)
        skip();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(deflate_shrinks_text_of_every_size),
        cmocka_unit_test(deflate_refuses_what_does_not_shrink),
        cmocka_unit_test(deflate_keeps_to_its_room),
        cmocka_unit_test(deflate_takes_other_scripts),
        cmocka_unit_test(deflate_forgets_when_wiped),
        cmocka_unit_test(deflate_takes_the_corpus),
    };
    return mailgen_verdict(cmocka_run_group_tests(tests, NULL, NULL));
}
