#include "base/assert.h"
#include "base/macros.h"
#include "envelope/pack.h"
#include "envelope/sealer.h"
#include "envelope/unsealed.h"
#include "tests/envelope/mailgen.h"
#include "tests/envelope/sealing.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MAIL_ROOM        (256 * 1024)
#define FIELD_OPEN       "<input type=\"hidden\" name=\"c\" value=\"\r\n"
#define FIELD_CLOSE      "\">\r\n"
#define FULL_FIELD_LINES 16400

static struct crypto_core *core;

static int setup(void **state)
{
    (void)state;
    return crypto_core_open(&core, isa_best());
}

static int teardown(void **state)
{
    (void)state;
    crypto_core_close(core);
    return 0;
}

static void opens_to(const struct sealing *sealing, const struct text *html, const uint8_t *mail,
                     size_t mail_bytes)
{
    struct unsealed unsealed;
    uint8_t *opened = NULL;
    size_t opened_bytes = 0;

    assert_int_equal(unsealed_read(&unsealed, html->at, html->bytes), 0);
    assert_memory_equal(unsealed.id.bytes, sealing->id.bytes, ID_BYTES);
    assert_int_equal(unsealed.suite, sealing->suite);
    assert_int_equal(unsealed_open(&unsealed, core, sealing->key, &opened, &opened_bytes), 0);
    assert_int_equal(opened_bytes, mail_bytes);
    assert_memory_equal(opened, mail, mail_bytes);
    free(opened);
    unsealed_fini(&unsealed);
}

static size_t round_trip(const struct sealing *sealing, struct mailgen *gen, const uint8_t *mail,
                         size_t mail_bytes)
{
    struct text html = sealing_html(sealing, core, gen, mail, mail_bytes);
    const size_t html_bytes = html.bytes;

    opens_to(sealing, &html, mail, mail_bytes);
    free(html.at);
    return html_bytes;
}

static void sealer_gives_back_generated_mail(void **state)
{
    struct mailgen gen = mailgen_seeded();
    uint8_t *mail = malloc(MAIL_ROOM);

    (void)state;
    assert_non_null(mail);
    for (uint32_t round = 0; round < 1500; round++) {
        struct sealing sealing = sealing_random(&gen);
        sealing.isa = (enum isa)(round % ((uint32_t)isa_best() + 1));
        sealing.suite = round % 3 == 0 ? COBBLE_AES_192 : COBBLE_AES_256;
        sealing.slice_bytes = round % 2 == 0 ? 0 : SEALER_SLICE_BYTES;
        sealing.compress = round % 5 < 2;
        (void)round_trip(&sealing, &gen, mail, mailgen_mail(&gen, mail, MAIL_ROOM));
    }
    free(mail);
}

/* Sizes around every edge: chunk, batch, slice, field, with literal mail of that packed size. */
static void sealer_gives_back_mail_of_every_edge_size(void **state)
{
    static const size_t edges[] = {0,          1,     57,        16384 - 11,      16384,
                                   4 * 16384,  65536, 2 * 65536, 57 * 16384 - 11, 57 * 16384,
                                   114 * 16384};
    struct mailgen gen = mailgen_seeded();
    uint8_t *mail = malloc(115 * 16384);

    (void)state;
    assert_non_null(mail);
    mailgen_bytes(&gen, mail, 115 * 16384);
    for (uint32_t i = 0; i < ARRAY_COUNT(edges); i++) {
        const size_t from = edges[i] < 300 ? 0 : edges[i] - 130;
        for (size_t mail_bytes = from; mail_bytes < edges[i] + 20;
             mail_bytes += 1 + edges[i] / 20000) {
            const struct sealing sealing = sealing_random(&gen);
            (void)round_trip(&sealing, &gen, mail, mail_bytes);
        }
    }
    free(mail);
}

/* docs/format/envelope.md, c: 57 chunks a field are 16,400 lines of 76. */
static void sealer_writes_the_documented_layout(void **state)
{
    struct mailgen gen = mailgen_seeded();
    const size_t mail_bytes = 3 * 57 * 16384;
    uint8_t *mail = malloc(mail_bytes);
    uint8_t commitment[COBBLE_COMMITMENT_BYTES];
    const struct sealing sealing = sealing_random(&gen);
    uint32_t fields_count = 0;

    (void)state;
    assert_non_null(mail);
    mailgen_bytes(&gen, mail, mail_bytes);
    struct text fields = sealing_fields(&sealing, core, &gen, mail, mail_bytes, commitment);
    const uint8_t *at = fields.at;
    const uint8_t *end = fields.at + fields.bytes;
    while (at != end) {
        uint32_t lines_count = 0;
        assert_true(end - at > (ptrdiff_t)sizeof(FIELD_OPEN));
        assert_memory_equal(at, FIELD_OPEN, sizeof(FIELD_OPEN) - 1);
        at += sizeof(FIELD_OPEN) - 1;
        while (*at != '"') {
            const uint8_t *lf = memchr(at, '\n', (size_t)(end - at));
            assert_non_null(lf);
            assert_true(lf[-1] == '\r');
            assert_true(lf - at <= 77);
            assert_true(lf - at == 77 || lf[1] == '"'); /* only the last line is short */
            at = lf + 1;
            lines_count++;
        }
        assert_memory_equal(at, FIELD_CLOSE, sizeof(FIELD_CLOSE) - 1);
        at += sizeof(FIELD_CLOSE) - 1;
        fields_count++;
        assert_true(lines_count == FULL_FIELD_LINES || at == end);
    }
    assert_int_equal(fields_count, 4);
    free(fields.at);
    free(mail);
}

static void sealer_gives_the_same_whoever_cuts_the_slices(void **state)
{
    struct mailgen gen = mailgen_seeded();
    uint8_t *mail = malloc(MAIL_ROOM);
    uint8_t commitment[COBBLE_COMMITMENT_BYTES];

    (void)state;
    assert_non_null(mail);
    mailgen_bytes(&gen, mail, 5000);
    struct sealing sealing = sealing_random(&gen);
    struct text whole = sealing_fields(&sealing, core, &gen, mail, 5000, commitment);
    for (uint32_t round = 0; round < 20; round++) {
        sealing.slice_bytes = 0;
        struct text sliced = sealing_fields(&sealing, core, &gen, mail, 5000, commitment);
        assert_int_equal(sliced.bytes, whole.bytes);
        assert_memory_equal(sliced.at, whole.at, whole.bytes);
        free(sliced.at);
    }
    free(whole.at);
    free(mail);
}

/* The bound is asserted at each step by the sealer and by sealing_fields(); here is the mail that
 * costs most: slices of one byte, and runs that are barely worth their header. */
static void sealer_stays_in_bounds_with_the_worst_mail(void **state)
{
    static const size_t slices[] = {1, 2, 5, 77, 78, 79, 16384, SEALER_SLICE_BYTES};
    struct mailgen gen = mailgen_seeded();
    uint8_t *mail = malloc(MAIL_ROOM);

    (void)state;
    assert_non_null(mail);
    for (uint32_t kind = 0; kind < 4; kind++) {
        size_t bytes = 0;
        while (bytes < MAIL_ROOM - 5 * 78) {
            if (kind == 0)
                mail[bytes++] = 0xff;
            if (kind == 1)
                bytes += mailgen_base64(&gen, mail + bytes, 44, true, 1); /* saves exactly 13 */
            if (kind == 1 || kind == 2)
                mail[bytes++] = '\n';
            if (kind == 2)
                bytes += mailgen_base64(&gen, mail + bytes, 4, false, 7);
            if (kind == 3)
                bytes += mailgen_base64(&gen, mail + bytes, 4 + mailgen_below(&gen, 19) * 4, true,
                                        1 + mailgen_below(&gen, 5));
        }
        for (uint32_t i = 0; i < ARRAY_COUNT(slices); i++) {
            struct sealing sealing = sealing_random(&gen);
            sealing.slice_bytes = slices[i];
            sealing.compress = mailgen_below(&gen, 2) == 0;
            (void)round_trip(&sealing, &gen, mail, bytes);
        }
    }
    free(mail);
}

static void sealer_bound_is_tight(void **state)
{
    (void)state;
    for (size_t mail_bytes = 0; mail_bytes < 40000000; mail_bytes += 1 + mail_bytes / 3) {
        const size_t bound = sealer_fields_bytes_max(mail_bytes);
        const size_t base64_bytes = (mail_bytes + 2) / 3 * 4;
        assert_true(bound > base64_bytes);
        assert_true(bound < base64_bytes + base64_bytes / 35 + 400);
    }
}

static void sealer_costs_an_attachment_one_percent(void **state)
{
    struct mailgen gen = mailgen_seeded();
    const size_t sizes[] = {100000, 1 << 20, 25 * 1024 * 1024};
    uint8_t *mail = malloc(sizes[ARRAY_COUNT(sizes) - 1]);

    (void)state;
    assert_non_null(mail);
    for (uint32_t i = 0; i < ARRAY_COUNT(sizes); i++) {
        const struct sealing sealing = sealing_random(&gen);
        mailgen_attachment(&gen, mail, sizes[i]);
        const size_t html_bytes = round_trip(&sealing, &gen, mail, sizes[i]);
        printf("%zu bytes: %.4f\n", sizes[i], (double)html_bytes / (double)sizes[i]);
        assert_true(html_bytes <= sizes[i] + sizes[i] / 100 + 2048);
    }
    free(mail);
}

static void corpus_message(const uint8_t *mail, size_t mail_bytes, void *context)
{
    struct mailgen *gen = context;
    struct sealing sealing = sealing_random(gen);

    sealing.slice_bytes = mail_bytes % 2 == 0 ? 0 : SEALER_SLICE_BYTES;
    sealing.compress = mail_bytes % 3 != 0;
    (void)round_trip(&sealing, gen, mail, mail_bytes);
}

static void sealer_gives_back_the_corpus(void **state)
{
    struct mailgen gen = mailgen_seeded();

    (void)state;
    if (!mailgen_corpus(corpus_message, &gen))
        skip();
}

/* docs/format/envelope.md, worked example. */
static void sealer_writes_the_documented_bytes(void **state)
{
    static const char mail[] = "Subject: x\r\n\r\nHi\r\n";
    static const char expected[] =
        FIELD_OPEN "GL9ufPPQxwUUUGIBWpZXOed2nGDJKcoIQXwxPQ7HZ43Vn2ltET3cqS+GECPm\r\n" FIELD_CLOSE;
    static const char expected_k[] =
        "WlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaI5dBslF0Nt0tw60C+IWAn3t4vefaDJ6BHksNyQi/I8E=";
    struct sealing sealing = {
        .isa = ISA_SCALAR, .suite = COBBLE_AES_256, .slice_bytes = SEALER_SLICE_BYTES};
    uint8_t header[COBBLE_HEADER_BYTES];
    uint8_t k[BASE64_LINE_CHARS + BASE64_SLACK_BYTES];

    (void)state;
    for (uint32_t i = 0; i < sizeof(sealing.key); i++)
        sealing.key[i] = (uint8_t)i;
    memset(sealing.salt, 0x5a, sizeof(sealing.salt));
    assert_int_equal(id_from_hex(&sealing.id, "0192f0c1d2e37abc8def0123456789ab", ID_HEX_CHARS), 0);
    struct text fields = sealing_fields(&sealing, core, NULL, (const uint8_t *)mail,
                                        sizeof(mail) - 1, header + COBBLE_SALT_BYTES);
    memcpy(header, sealing.salt, COBBLE_SALT_BYTES);
    assert_int_equal(base64_encode_run(k, header, sizeof(header)), 76);
    assert_memory_equal(k, expected_k, sizeof(expected_k) - 1);
    assert_int_equal(fields.bytes, sizeof(expected) - 1);
    assert_memory_equal(fields.at, expected, sizeof(expected) - 1);
    free(fields.at);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sealer_gives_back_generated_mail),
        cmocka_unit_test(sealer_gives_back_mail_of_every_edge_size),
        cmocka_unit_test(sealer_writes_the_documented_layout),
        cmocka_unit_test(sealer_gives_the_same_whoever_cuts_the_slices),
        cmocka_unit_test(sealer_stays_in_bounds_with_the_worst_mail),
        cmocka_unit_test(sealer_bound_is_tight),
        cmocka_unit_test(sealer_costs_an_attachment_one_percent),
        cmocka_unit_test(sealer_gives_back_the_corpus),
        cmocka_unit_test(sealer_writes_the_documented_bytes),
    };
    return mailgen_verdict(cmocka_run_group_tests(tests, setup, teardown));
}
