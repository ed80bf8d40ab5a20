#include "base/clock.h"
#include "envelope/frame_internal.h"
#include "envelope/text.h"
#include "tests/envelope/framing.h"
#include "web/assets.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char *const LOCALES[] = {"en", "de", "fr", "es", "it", "pt",
                                      "nl", "pl", "sv", "ja", "zh", "ar"};

static const char *template_text(const char *locale, const char *kind)
{
    char name[64];
    (void)snprintf(name, sizeof(name), "templates/%s/notification.%s", locale, kind);
    const struct asset *asset = asset_find(name);
    if (asset == NULL)
        fail_msg("%s was not built", name);
    return (const char *)asset->bytes_at;
}

static void every_locale_seals_in_both_suites(void **state)
{
    (void)state;
    static const char mail[] = "From: \"Z\xc3\xb6"
                               "e\" <zoe@example.com>\r\nTo: b@example.org\r\n"
                               "Subject: Gr\xc3\xbc\xc3\x9f"
                               "e\r\n\r\nbody";
    for (size_t i = 0; i < ARRAY_COUNT(LOCALES) * 4; i++) {
        struct frame_config config = framing_config();
        struct frame *frame = NULL;
        char why[FRAME_WHY_BYTES] = "";
        size_t bytes;
        config.locale = LOCALES[i / 4];
        config.remember_key = i % 4 >= 2;
        config.suite = i % 2 == 0 ? COBBLE_AES_256 : COBBLE_AES_192;
        config.hide_subject = i % 2 == 0;
        if (frame_open(&frame, &config, why) != 0)
            fail_msg("%s: %s", config.locale, why);
        char *sealed = framing_mail(frame, (const uint8_t *)mail, sizeof(mail) - 1,
                                    "zoe@example.com", "", &bytes);
        framing_check(sealed, bytes);
        assert_null(strstr(sealed, "{{"));
        free(sealed);
        frame_close(frame);
    }
}

static void every_template_says_what_it_must(void **state)
{
    (void)state;
    static const char *const needed[] = {"{{sender}}", "{{attachment}}", "{{key_service}}"};
    for (size_t i = 0; i < ARRAY_COUNT(LOCALES); i++) {
        const char *text = template_text(LOCALES[i], "txt");
        const char *html = template_text(LOCALES[i], "html");
        assert_true(text_is_utf8((const uint8_t *)text, strlen(text)));
        assert_true(text_is_utf8((const uint8_t *)html, strlen(html)));
        for (size_t n = 0; n < ARRAY_COUNT(needed); n++) {
            assert_non_null(strstr(text, needed[n]));
            assert_non_null(strstr(html, needed[n]));
        }
        const char *subject;
        size_t subject_bytes;
        assert_ptr_not_equal(template_subject(text, &subject, &subject_bytes), text);
        assert_in_range(subject_bytes, 10, 100);
        char language[32];
        (void)snprintf(language, sizeof(language), "<html lang=%s%s ", LOCALES[i],
                       strcmp(LOCALES[i], "ar") == 0 ? " dir=rtl" : "");
        assert_non_null(strstr(html, language));
        assert_non_null(strstr(html, "{{logo}}"));
        /* A link would teach readers to click on one. */
        assert_null(strstr(html, "<a "));
        assert_null(strstr(html, "<script"));
    }
}

static void an_unknown_locale_is_refused(void **state)
{
    (void)state;
    static const char *const unknown[] = {"",  "xx", "EN", "en/../de", "a-locale-that-is-too-long",
                                          NULL};
    for (size_t i = 0; i < ARRAY_COUNT(unknown); i++) {
        struct frame_config config = framing_config();
        struct frame *frame = NULL;
        char why[FRAME_WHY_BYTES] = "";
        config.locale = unknown[i];
        assert_int_equal(frame_open(&frame, &config, why), -EINVAL);
        assert_non_null(strstr(why, "choose one of en, de"));
        assert_null(frame);
    }
}

/* Of each of LOCALES. English, in which others are measured: 24 KiB. */
static const size_t FIXED_BYTES_MAX[] = {24576, 25700, 25700, 25300, 25200, 25200,
                                         25200, 25600, 25300, 29000, 26200, 28200};
_Static_assert(ARRAY_COUNT(FIXED_BYTES_MAX) == ARRAY_COUNT(LOCALES), "one for each locale");

/* Fixed: all that a sealed mail has beside its ciphertext, around a message like most. */
static void the_fixed_part_stays_small(void **state)
{
    (void)state;
    static const char mail[] =
        "From: Alice Example <alice@example.com>\r\nTo: Bob Example <bob@example.org>\r\n"
        "Subject: The figures for November, as we discussed\r\n"
        "Date: Sat, 21 Nov 2026 10:00:00 +0100\r\n"
        "Message-ID: <20261121090000.4F2A1B@mail.example.com>\r\n\r\nbody";
    for (size_t i = 0; i < ARRAY_COUNT(LOCALES); i++) {
        struct frame_config config = framing_config();
        struct frame *frame = NULL;
        char why[FRAME_WHY_BYTES] = "";
        size_t bytes;
        config.locale = LOCALES[i];
        if (frame_open(&frame, &config, why) != 0)
            fail_msg("%s: %s", config.locale, why);
        char *sealed = framing_mail(frame, (const uint8_t *)mail, sizeof(mail) - 1,
                                    "alice@example.com", "bob@example.org", &bytes);
        print_message("fixed part, %s: %zu bytes\n", config.locale, bytes);
        assert_true(bytes <= FIXED_BYTES_MAX[i]);
        free(sealed);
        frame_close(frame);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_locale_seals_in_both_suites),
        cmocka_unit_test(every_template_says_what_it_must),
        cmocka_unit_test(an_unknown_locale_is_refused),
        cmocka_unit_test(the_fixed_part_stays_small),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
