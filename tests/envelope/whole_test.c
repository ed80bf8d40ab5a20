/* A whole sealed mail, from the frame's real shell and the sealer's fields, through to the message.
 */
#include "envelope/frame.h"
#include "envelope/unsealed.h"
#include "tests/envelope/framing.h"
#include "tests/envelope/mailgen.h"
#include "tests/envelope/sealing.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/macros.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MAIL_ROOM (128 * 1024)

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

static struct frame *frame_of(enum cobble_suite suite, const char *locale)
{
    struct frame_config config = framing_config();
    struct frame *frame = NULL;
    char why[FRAME_WHY_BYTES];

    config.suite = suite;
    config.locale = locale;
    if (frame_open(&frame, &config, why) != 0)
        fail_msg("%s", why);
    return frame;
}

/* The five spans, one after the other. *html_at: where the second began. */
static struct text whole_mail(const struct frame *frame, const struct sealing *sealing,
                              struct mailgen *gen, const uint8_t *mail, size_t mail_bytes,
                              size_t *html_at)
{
    uint8_t salt_commitment[COBBLE_HEADER_BYTES];
    uint8_t boundary[FRAME_BOUNDARY_BYTES];
    struct header header;

    struct text c =
        sealing_fields(sealing, core, gen, mail, mail_bytes, salt_commitment + COBBLE_SALT_BYTES);
    memcpy(salt_commitment, sealing->salt, COBBLE_SALT_BYTES);
    mailgen_bytes(gen, boundary, sizeof(boundary));
    header_read(&header, mail, mail_bytes, mail_bytes);
    struct frame_time time = {0};
    frame_time_set(&time, FRAMING_NOW_UNIX_S * NS_PER_S);
    const struct frame_message message = {.id = &sealing->id,
                                          .mail = mail,
                                          .header = &header,
                                          .sender = (const uint8_t *)"a@example.com",
                                          .sender_bytes = 13,
                                          .recipient = (const uint8_t *)"b@example.com",
                                          .recipient_bytes = 13,
                                          .time = &time,
                                          .salt_commitment = salt_commitment,
                                          .boundary_random = boundary};
    struct frame_shown shown;
    frame_show(frame, &message, &shown);
    const size_t room = frame_bytes_max(frame, &message, &shown);
    uint8_t *own = malloc(room);
    ASSERT(own != NULL);
    struct frame_spans spans;
    frame_write(frame, &message, &shown, own, room, &spans);
    *html_at = spans.prologue_bytes;
    struct text whole = {0};
    whole.at = (uint8_t *)framing_join(frame, own, &spans, c.at, c.bytes, &whole.bytes);
    free(c.at);
    free(own);
    return whole;
}

static void opens_to(const struct sealing *sealing, const uint8_t *text, size_t text_bytes,
                     const uint8_t *mail, size_t mail_bytes)
{
    struct unsealed unsealed;
    uint8_t *opened = NULL;
    size_t opened_bytes = 0;

    assert_int_equal(unsealed_read(&unsealed, text, text_bytes), 0);
    assert_memory_equal(unsealed.id.bytes, sealing->id.bytes, ID_BYTES);
    assert_int_equal(unsealed_open(&unsealed, core, sealing->key, &opened, &opened_bytes), 0);
    assert_int_equal(opened_bytes, mail_bytes);
    assert_memory_equal(opened, mail, mail_bytes);
    free(opened);
    unsealed_fini(&unsealed);
}

static void whole_opens_as_mail_and_as_html(void **state)
{
    struct mailgen gen = mailgen_seeded();
    uint8_t *mail = malloc(MAIL_ROOM);
    struct frame *frames[] = {frame_of(COBBLE_AES_256, "en"), frame_of(COBBLE_AES_192, "ja")};

    (void)state;
    assert_non_null(mail);
    for (uint32_t round = 0; round < 200; round++) {
        struct sealing sealing = sealing_random(&gen);
        size_t html_at = 0;
        sealing.suite = round % 2 == 0 ? COBBLE_AES_256 : COBBLE_AES_192;
        sealing.slice_bytes = round % 3 == 0 ? 0 : sealing.slice_bytes;
        sealing.compress = round % 5 < 2;
        const size_t mail_bytes = mailgen_mail(&gen, mail, MAIL_ROOM);
        struct text whole =
            whole_mail(frames[round % 2], &sealing, &gen, mail, mail_bytes, &html_at);
        opens_to(&sealing, whole.at, whole.bytes, mail, mail_bytes);
        opens_to(&sealing, whole.at + html_at, whole.bytes - html_at, mail, mail_bytes);
        free(whole.at);
    }
    frame_close(frames[0]);
    frame_close(frames[1]);
    free(mail);
}

/* Wherever the file ends, it is told from damage and from something that is no envelope. */
static void whole_tells_a_cut(void **state)
{
    static const char mail[] = "Subject: x\r\n\r\nHi\r\n";
    struct mailgen gen = mailgen_seeded();
    const struct sealing sealing = sealing_random(&gen);
    struct frame *frame = frame_of(COBBLE_AES_256, "de");
    size_t html_at = 0;
    struct text whole =
        whole_mail(frame, &sealing, &gen, (const uint8_t *)mail, sizeof(mail) - 1, &html_at);
    const uint8_t *form_end = memmem(whole.at, whole.bytes, "</form>\r\n", 9);
    const uint8_t *strings = memmem(whole.at, whole.bytes, "bulla-strings", 13);

    (void)state;
    assert_non_null(form_end);
    assert_non_null(strings);
    for (size_t cut = html_at; cut < whole.bytes; cut += 1 + mailgen_below(&gen, 60)) {
        struct unsealed unsealed;
        /* As mail the attachment's name tells what it was; as HTML its first script does. */
        const bool ended = whole.at + cut >= form_end;
        int rc = unsealed_read(&unsealed, whole.at, cut);
        if (rc != (ended ? 0 : -ENODATA) && whole.at + cut < form_end - 4)
            fail_msg("mail cut at %zu: %d", cut, rc);
        if (rc == 0)
            unsealed_fini(&unsealed);
        rc = unsealed_read(&unsealed, whole.at + html_at, cut - html_at);
        if (whole.at + cut > strings + 64 && whole.at + cut < form_end - 4)
            assert_int_equal(rc, -ENODATA);
        if (rc == 0)
            unsealed_fini(&unsealed);
    }
    free(whole.at);
    frame_close(frame);
}

struct corpus_run {
    struct mailgen gen;
    struct frame *frame;
};

static void corpus_message(const uint8_t *mail, size_t mail_bytes, void *context)
{
    struct corpus_run *run = context;
    struct sealing sealing = sealing_random(&run->gen);
    sealing.compress = mail_bytes % 2 == 0;
    size_t html_at = 0;
    struct text whole = whole_mail(run->frame, &sealing, &run->gen, mail, mail_bytes, &html_at);

    opens_to(&sealing, whole.at, whole.bytes, mail, mail_bytes);
    free(whole.at);
}

static void whole_opens_to_the_corpus(void **state)
{
    struct corpus_run run = {.gen = mailgen_seeded(), .frame = frame_of(COBBLE_AES_256, "en")};
    const bool any = mailgen_corpus(corpus_message, &run);

    (void)state;
    frame_close(run.frame);
    if (!any)
        skip();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_opens_as_mail_and_as_html),
        cmocka_unit_test(whole_tells_a_cut),
        cmocka_unit_test(whole_opens_to_the_corpus),
    };
    return mailgen_verdict(cmocka_run_group_tests(tests, setup, teardown));
}
