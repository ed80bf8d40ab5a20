/*
 * sealed_mail_emit: seals every message of the corpus, and generated ones, for another program to
 * judge (sealed_mail_check.py).
 * Ownership: none.
 * Threads:   one.
 * Units:     bytes; to stdout: "ORIGINAL SEALED HIDDEN\n", then so many bytes of each.
 * Errors:    exit status 1 when stdout cannot be written.
 */
#include "tests/envelope/framing.h"
#include "tests/envelope/mailgen.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define GENERATED_COUNT 300
#define MAIL_ROOM       (64 * 1024)

struct frames {
    struct frame *shown;
    struct frame *hidden;
    uint32_t count;
};

static void emit(const uint8_t *mail, size_t mail_bytes, void *context)
{
    struct frames *frames = context;
    const bool hidden = frames->count++ % 2 != 0;
    size_t bytes;
    char *sealed = framing_mail(hidden ? frames->hidden : frames->shown, mail, mail_bytes,
                                "env@sender.example", "env@recipient.example", &bytes);
    const size_t kept = MIN(mail_bytes, (size_t)HEADER_BYTES_MAX);
    printf("%zu %zu %d\n", kept, bytes, hidden ? 1 : 0);
    (void)fwrite(mail, 1, kept, stdout);
    (void)fwrite(sealed, 1, bytes, stdout);
    free(sealed);
}

int main(void)
{
    struct frame_config config = framing_config();
    struct frames frames = {0};
    config.keep_references = true;
    frames.shown = framing_open(&config);
    config.hide_subject = true;
    config.notification_subject = "Sealed";
    frames.hidden = framing_open(&config);

    /* What mailgen says goes to stdout as well: a line that starts with no digit. */
    (void)mailgen_corpus(emit, &frames);
    struct mailgen gen = mailgen_seeded();
    static uint8_t mail[MAIL_ROOM];
    for (uint32_t n = 0; n < GENERATED_COUNT; n++)
        emit(mail, mailgen_mail(&gen, mail, sizeof(mail)), &frames);
    frame_close(frames.shown);
    frame_close(frames.hidden);
    return fflush(stdout) == 0 && ferror(stdout) == 0 ? 0 : 1;
}
