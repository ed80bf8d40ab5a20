#include "base/clock.h"
#include "crypto/core.h"
#include "envelope/frame.h"
#include "envelope/unsealed.h"
#include "tests/envelope/framing.h"
#include "tests/envelope/mailgen.h"
#include "tests/envelope/sealing.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MAIL_ROOM (256 * 1024)

struct whole {
    struct crypto_core *core;
    struct frame *frames[2]; /* by suite */
    struct mailgen gen;
};

/* The five spans as the engine writes them, ciphertext included. */
static char *seal(struct whole *whole, const struct sealing *sealing, const uint8_t *mail,
                  size_t mail_bytes, size_t *sealed_bytes)
{
    const struct frame *frame = whole->frames[sealing->suite == COBBLE_AES_256 ? 0 : 1];
    struct header header;
    uint8_t salt_commitment[COBBLE_HEADER_BYTES];
    uint8_t boundary[FRAME_BOUNDARY_BYTES];
    const struct text fields = sealing_fields(sealing, whole->core, &whole->gen, mail, mail_bytes,
                                              salt_commitment + COBBLE_SALT_BYTES);
    memcpy(salt_commitment, sealing->salt, COBBLE_SALT_BYTES);
    mailgen_bytes(&whole->gen, boundary, sizeof(boundary));
    header_read(&header, mail, mail_bytes, mail_bytes);
    struct frame_time time = {0};
    frame_time_set(&time, FRAMING_NOW_UNIX_S * NS_PER_S);
    const struct frame_message message = {.id = &sealing->id,
                                          .mail = mail,
                                          .header = &header,
                                          .time = &time,
                                          .salt_commitment = salt_commitment,
                                          .boundary_random = boundary};
    struct frame_shown shown;
    frame_show(frame, &message, &shown);
    const size_t room = frame_bytes_max(frame, &message, &shown);
    uint8_t *own = malloc(room);
    assert_non_null(own);
    struct frame_spans spans;
    frame_write(frame, &message, &shown, own, room, &spans);
    char *sealed = framing_join(frame, own, &spans, fields.at, fields.bytes, sealed_bytes);
    free(own);
    free(fields.at);
    return sealed;
}

static void comes_back(const uint8_t *mail, size_t mail_bytes, void *context)
{
    struct whole *whole = context;
    struct sealing sealing = sealing_random(&whole->gen);
    sealing.suite = mailgen_below(&whole->gen, 2) == 0 ? COBBLE_AES_256 : COBBLE_AES_192;
    size_t sealed_bytes;
    char *sealed = seal(whole, &sealing, mail, mail_bytes, &sealed_bytes);
    framing_check(sealed, sealed_bytes);

    struct unsealed unsealed;
    uint8_t *back = NULL;
    size_t back_bytes = 0;
    assert_int_equal(unsealed_read(&unsealed, (uint8_t *)sealed, sealed_bytes), 0);
    assert_int_equal(unsealed.suite, sealing.suite);
    assert_memory_equal(unsealed.id.bytes, sealing.id.bytes, ID_BYTES);
    assert_int_equal(unsealed_open(&unsealed, whole->core, sealing.key, &back, &back_bytes), 0);
    assert_int_equal(back_bytes, mail_bytes);
    if (mail_bytes > 0)
        assert_memory_equal(back, mail, mail_bytes);
    free(back);
    unsealed_fini(&unsealed);
    free(sealed);
}

static void sealed_mail_gives_back_generated_mail(void **state)
{
    struct whole *whole = *state;
    uint8_t *mail = malloc(MAIL_ROOM);
    assert_non_null(mail);
    comes_back(mail, 0, whole);
    for (uint32_t n = 0; n < 200; n++)
        comes_back(mail, mailgen_mail(&whole->gen, mail, MAIL_ROOM), whole);
    free(mail);
}

static void sealed_mail_gives_back_the_corpus(void **state)
{
    if (!mailgen_corpus(comes_back, *state))
        skip();
}

/* A mail whose text is a sealed mail, with delimiters and fields of its own. */
static void sealed_mail_gives_back_a_sealed_mail(void **state)
{
    struct whole *whole = *state;
    static const char mail[] = "From: a@b\r\nTo: c@d\r\n\r\nhello\r\n";
    struct sealing sealing = sealing_random(&whole->gen);
    size_t sealed_bytes;
    char *sealed = seal(whole, &sealing, (const uint8_t *)mail, sizeof(mail) - 1, &sealed_bytes);
    comes_back((uint8_t *)sealed, sealed_bytes, whole);
    free(sealed);
}

static int whole_open(void **state)
{
    static struct whole whole;
    struct frame_config config = framing_config();
    char why[FRAME_WHY_BYTES];
    whole.gen = mailgen_seeded();
    if (crypto_core_open(&whole.core, isa_best()) != 0 ||
        frame_open(&whole.frames[0], &config, why) != 0)
        return 1;
    config.suite = COBBLE_AES_192;
    config.locale = "ar";
    config.hide_subject = true;
    *state = &whole;
    return frame_open(&whole.frames[1], &config, why) == 0 ? 0 : 1;
}

static int whole_close(void **state)
{
    struct whole *whole = *state;
    frame_close(whole->frames[0]);
    frame_close(whole->frames[1]);
    crypto_core_close(whole->core);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sealed_mail_gives_back_generated_mail),
        cmocka_unit_test(sealed_mail_gives_back_the_corpus),
        cmocka_unit_test(sealed_mail_gives_back_a_sealed_mail),
    };
    return mailgen_verdict(cmocka_run_group_tests(tests, whole_open, whole_close));
}
