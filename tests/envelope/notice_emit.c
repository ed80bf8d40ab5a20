/*
 * notice_emit: writes failure notifications for another program to judge (notice_check.py).
 * Ownership: none.
 * Threads:   one.
 * Units:     bytes; to stdout: "LOCALE BYTES\n", then so many bytes.
 * Errors:    exit status 1 when stdout cannot be written.
 */
#include "tests/envelope/noticing.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static void emit(const char *locale, bool needs_utf8)
{
    static const uint8_t recipients[] = "\x0f\x00"
                                        "j\xc3\xb6rg@b.example"
                                        "\x0d\x00"
                                        "bob@b.example";
    struct notice_config config = noticing_config();
    struct notice_message message = noticing_message();
    size_t bytes;
    config.locale = locale;
    message.recipients = recipients;
    message.recipients_bytes = sizeof(recipients) - 1;
    if (needs_utf8) {
        message.sender = (const uint8_t *)"zo\xc3\xab@a.example";
        message.sender_bytes = 14;
        message.reason = NOTICE_REFUSED;
        message.remote_text = "554 5.7.1 no, sorry";
        message.enhanced[0] = 5;
        message.enhanced[1] = 7;
        message.enhanced[2] = 1;
    }
    struct notice *notice = noticing_open(&config);
    char *text = noticing_write(notice, &message, &bytes);
    printf("%s %zu\n", locale, bytes);
    (void)fwrite(text, 1, bytes, stdout);
    free(text);
    notice_close(notice);
}

int main(void)
{
    static const char *const locales[] = {"en", "de", "fr", "es", "it", "pt",
                                          "nl", "pl", "sv", "ja", "zh", "ar"};
    for (size_t l = 0; l < ARRAY_COUNT(locales); l++) {
        emit(locales[l], false);
        emit(locales[l], true);
    }
    return fflush(stdout) == 0 && ferror(stdout) == 0 ? 0 : 1;
}
