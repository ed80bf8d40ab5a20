/* fuzz: links envelope crypto base */
#include "base/assert.h"
#include "base/clock.h"
#include "envelope/frame_internal.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct frame *open_frame(bool hide_subject)
{
    const struct frame_config config = {.suite = COBBLE_AES_256,
                                        .key_service_url = "https://keys.example.com",
                                        .message_id_host = "mail.example.com",
                                        .hide_subject = hide_subject,
                                        .keep_references = true};
    struct frame *frame = NULL;
    char why[FRAME_WHY_BYTES];
    static const char shell[] = "{{logo}}\n{{fields}}\n</form>\n";
    static const struct frame_parts parts = {
        {shell, shell},
        "Subject: s\n\n{{sender}} {{subject}} {{sender_name}}\n",
        "<p>{{sender}} {{subject}}</p>\n"};
    ASSERT(frame_open_parts(&frame, &config, &parts, why) == 0);
    return frame;
}

/* ASCII, CRLF, short lines, and no field but ours before the empty line. */
static void check(const uint8_t *dst, size_t bytes, bool fields)
{
    static const char starts[] = "FSRTCDMIA"; /* of the allowed names */
    size_t line = 0;
    bool header = !fields;
    for (size_t i = 0; i < bytes; i++) {
        const uint8_t c = dst[i];
        if (c == '\r') {
            ASSERT(i + 1 < bytes && dst[i + 1] == '\n');
            header = header && line > 0;
            line = 0;
            i++;
            continue;
        }
        ASSERT(c == '\t' || (c >= ' ' && c <= '~'));
        ASSERT(!header || line > 0 || c == ' ' || c == '\t' || strchr(starts, c) != NULL);
        ASSERT(++line <= 998);
    }
}

/* The first byte cuts the input: the SMTP envelope's sender, then the message. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct frame *frames[2];
    static const uint8_t salt_commitment[COBBLE_HEADER_BYTES];
    static const uint8_t random[FRAME_BOUNDARY_BYTES];
    static const struct id id;
    static struct frame_time time;
    struct header header;
    struct frame_shown shown;
    struct frame_spans spans;

    if (frames[0] == NULL) {
        frames[0] = open_frame(false);
        frames[1] = open_frame(true);
        frame_time_set(&time, 1795295700 * NS_PER_S);
    }
    if (size == 0)
        return 0;
    const uint32_t sender_bytes = (uint32_t)MIN((size_t)data[0] / 4, size - 1);
    const uint8_t *mail = data + 1 + sender_bytes;
    header_read(&header, mail, size - 1 - sender_bytes, size - 1 - sender_bytes);
    const struct frame_message message = {.id = &id,
                                          .mail = mail,
                                          .header = &header,
                                          .sender = data + 1,
                                          .sender_bytes = sender_bytes,
                                          .recipient = data + 1,
                                          .recipient_bytes = sender_bytes,
                                          .recipients_count = 1,
                                          .time = &time,
                                          .salt_commitment = salt_commitment,
                                          .boundary_random = random};
    for (uint32_t n = 0; n < ARRAY_COUNT(frames); n++) {
        frame_show(frames[n], &message, &shown);
        const size_t room = frame_bytes_max(frames[n], &message, &shown);
        uint8_t *dst = malloc(room);
        ASSERT(dst != NULL);
        frame_write(frames[n], &message, &shown, dst, room, &spans);
        const size_t fields_at = spans.prologue_bytes + spans.epilogue_bytes;
        ASSERT(fields_at + spans.fields_bytes <= room);
        check(dst, spans.prologue_bytes, false);
        check(dst + spans.prologue_bytes, spans.epilogue_bytes, true);
        check(dst + fields_at, spans.fields_bytes, true);
        free(dst);
    }
    return 0;
}
