#include "tests/envelope/noticing.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct id ID = {{0x01, 0x92, 0xf0, 0xc1, 0xd2, 0xe3, 0x7a, 0xbc, 0x8d, 0xef, 0x01,
                              0x23, 0x45, 0x67, 0x89, 0xab}};

struct notice_config noticing_config(void)
{
    return (struct notice_config){.locale = "en",
                                  .key_service_url = "https://keys.example.com",
                                  .message_id_host = "mail.example.com"};
}

struct notice_message noticing_message(void)
{
    static const uint8_t recipients[] = NOTICING_RECIPIENTS;
    static const uint8_t outer[] = NOTICING_OUTER;
    return (struct notice_message){
        .id = &ID,
        .reason = NOTICE_AWAY,
        .sender = (const uint8_t *)"alice@a.example",
        .sender_bytes = 15,
        .recipients = recipients,
        .recipients_bytes = sizeof(recipients) - 1,
        .arrived_unix_ms = UINT64_C(1795295700123),
        .ended_unix_ms = UINT64_C(1795310100456),
        .outer = outer,
        .outer_bytes = sizeof(outer) - 1,
    };
}

struct notice *noticing_open(const struct notice_config *config)
{
    struct notice *notice = NULL;
    char why[NOTICE_WHY_BYTES] = "";
    if (notice_open(&notice, config, why) != 0)
        fail_msg("%s", why);
    return notice;
}

char *noticing_write(const struct notice *notice, const struct notice_message *message,
                     size_t *bytes)
{
    const size_t room = notice_bytes_max(notice, message);
    uint8_t *exact = malloc(room);
    assert_non_null(exact);
    *bytes = notice_write(notice, message, exact, room);
    assert_true(*bytes <= room);
    size_t line = 0;
    for (size_t i = 0; i < *bytes; i++) {
        if (exact[i] == '\r') {
            assert_true(i + 1 < *bytes && exact[i + 1] == '\n');
            i++;
            line = 0;
            continue;
        }
        assert_true(exact[i] == '\t' || (exact[i] >= ' ' && exact[i] <= '~'));
        assert_true(++line <= 998);
    }
    assert_int_equal(line, 0);
    char *text = malloc(*bytes + 1);
    assert_non_null(text);
    memcpy(text, exact, *bytes);
    text[*bytes] = '\0';
    free(exact);
    return text;
}
