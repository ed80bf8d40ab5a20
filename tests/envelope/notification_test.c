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
    for (size_t i = 0; i < ARRAY_COUNT(LOCALES) * 2; i++) {
        struct frame_config config = framing_config();
        struct frame *frame = NULL;
        char why[FRAME_WHY_BYTES] = "";
        size_t bytes;
        config.locale = LOCALES[i / 2];
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
        (void)snprintf(language, sizeof(language), "<html lang=\"%s\" dir=\"%s\">", LOCALES[i],
                       strcmp(LOCALES[i], "ar") == 0 ? "rtl" : "ltr");
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_locale_seals_in_both_suites),
        cmocka_unit_test(every_template_says_what_it_must),
        cmocka_unit_test(an_unknown_locale_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
