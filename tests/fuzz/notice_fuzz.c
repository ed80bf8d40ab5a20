/* fuzz: links envelope crypto base */
#include "base/assert.h"
#include "envelope/notice_internal.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char TEXT[] =
    "Subject: s\n\n{{sender}} {{recipients}} {{date}} {{reason}} {{message_id}}";
static const char REASONS[] = "away: a\nkey: k\nrefused: r\ndamaged: d\n";

/* Any bytes after it: ASCII, CRLF, short lines. The last delimiter is the end and stands once. */
static void check(const uint8_t *mail, size_t bytes)
{
    static const char end[] = "\r\n--=_r_00000000000000000000000000000000--\r\n";
    const size_t end_bytes = sizeof(end) - 1;
    size_t line = 0;
    ASSERT(bytes > end_bytes);
    for (size_t i = 0; i < bytes; i++) {
        if (mail[i] == '\r') {
            ASSERT(i + 1 < bytes && mail[i + 1] == '\n');
            line = 0;
            i++;
            continue;
        }
        ASSERT(mail[i] == '\t' || (mail[i] >= ' ' && mail[i] <= '~'));
        ASSERT(++line <= 998);
    }
    const uint8_t *found = memmem(mail, bytes, end, end_bytes);
    ASSERT(found == mail + bytes - end_bytes);
}

/* Two bytes say how long sender and recipients are; then those, then the outer header. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct id id;
    static struct notice *notice;
    static const struct notice_config config = {
        .locale = "en", .key_service_url = "https://k.example", .message_id_host = "h.example"};
    char why[NOTICE_WHY_BYTES];
    char remote[64] = "";
    if (notice == NULL)
        ASSERT(notice_open_parts(&notice, &config, TEXT, REASONS, why) == 0);
    if (size < 4)
        return 0;
    const size_t sender_bytes = 1 + MIN((size_t)data[0], size - 3);
    const size_t recipients_bytes = MIN((size_t)data[1], size - 2 - sender_bytes);
    const uint8_t *recipients = data + 2 + sender_bytes;
    const uint8_t *outer = recipients + recipients_bytes;
    const size_t outer_bytes = (size_t)(data + size - outer);
    memcpy(remote, data, MIN(size, sizeof(remote) - 1));
    const struct notice_message message = {
        .id = &id,
        .reason = (enum notice_reason)(data[0] % NOTICE_REASON_COUNT),
        .sender = data + 2,
        .sender_bytes = (uint32_t)sender_bytes,
        .recipients = recipients,
        .recipients_bytes = (uint32_t)recipients_bytes,
        .arrived_unix_ms = (uint64_t)data[1] << 52,
        .ended_unix_ms = (uint64_t)data[1] << 40,
        .outer = outer,
        .outer_bytes = outer_bytes,
        .remote_text = remote,
        .enhanced = {data[1], data[2], data[3]},
    };
    const size_t room = notice_bytes_max(notice, &message);
    uint8_t *mail = malloc(room);
    uint8_t *again = malloc(room);
    ASSERT(mail != NULL && again != NULL);
    const size_t bytes = notice_write(notice, &message, mail, room);
    check(mail, bytes);
    ASSERT(notice_write(notice, &message, again, room) == bytes);
    ASSERT(memcmp(mail, again, bytes) == 0);
    struct header header;
    header_read(&header, outer, outer_bytes, outer_bytes);
    (void)notice_due((uint32_t)sender_bytes, outer, &header);
    free(again);
    free(mail);
    return 0;
}
