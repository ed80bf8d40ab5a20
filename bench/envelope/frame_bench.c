/*
 * Claim:   writing the outer mail around one message costs less than a microsecond: header,
 *          notification in text and HTML, attachment header, hidden fields.
 * Metric:  nanoseconds a message of header_read(), of frame_show() with frame_bytes_max(), and of
 *          frame_write(), best of the rounds, one thread, English templates; and the bytes that
 *          were reserved and used.
 * Command: build/release/bench/envelope/frame_bench
 */
#include "base/assert.h"
#include "base/clock.h"
#include "base/macros.h"
#include "envelope/frame.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROUNDS_COUNT   2000 /* short ones: the best was not interrupted */
#define ROUND_MESSAGES 50u

struct subject {
    const char *name;
    const char *mail;
};

static const struct subject SUBJECTS[] = {
    {"typical", "Received: from mx.example.com (mx.example.com [192.0.2.1])\r\n"
                "\tby mail.example.com with ESMTPS id 4F2A1B\r\n"
                "\tfor <bob@example.org>; Sat, 21 Nov 2026 10:00:00 +0100\r\n"
                "From: Alice Example <alice@example.com>\r\n"
                "To: Bob Example <bob@example.org>\r\n"
                "Subject: The figures for November, as we discussed\r\n"
                "Date: Sat, 21 Nov 2026 10:00:00 +0100\r\n"
                "Message-ID: <20261121090000.4F2A1B@mail.example.com>\r\n"
                "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n"},
    {"encoded words", "From: =?utf-8?q?J=C3=B6rg_M=C3=BCller?= <joerg@example.com>\r\n"
                      "To: =?iso-2022-jp?B?GyRCJF8kaCQmGyhC?= <miyou@example.jp>,\r\n"
                      " =?utf-8?b?5Lit5paH?= <zh@example.cn>\r\n"
                      "Subject: =?utf-8?b?5pel5pys6Kqe44Gu5Lu25ZCN44Gn44GZ?=\r\n"
                      "Date: Sat, 21 Nov 2026 10:00:00 +0100\r\n"
                      "Message-ID: <20261121090000.4F2A1B@mail.example.com>\r\n\r\n"},
    {"raw 8-bit", "From: J\xc3\xb6rg <joerg@example.com>\r\nTo: bob@example.org\r\n"
                  "Subject: Gr\xc3\xbc\xc3\x9f"
                  "e aus M\xc3\xbcnchen\r\n\r\n"},
};

struct best {
    uint64_t header_ns;
    uint64_t show_ns;
    uint64_t write_ns;
};

/* Keeps what was written from being thrown away unread. */
static volatile uint64_t sink;

static void round_run(const struct frame *frame, struct frame_message *message,
                      struct header *header, size_t mail_bytes, uint8_t *dst, size_t room,
                      struct best *best)
{
    struct frame_shown shown;
    struct frame_spans spans;
    const uint64_t t0 = clock_monotonic_ns();
    for (uint32_t n = 0; n < ROUND_MESSAGES; n++) {
        header_read(header, message->mail, mail_bytes, mail_bytes);
        sink += header->present;
    }
    const uint64_t t1 = clock_monotonic_ns();
    for (uint32_t n = 0; n < ROUND_MESSAGES; n++) {
        frame_show(frame, message, &shown);
        sink += frame_bytes_max(frame, message, &shown);
    }
    const uint64_t t2 = clock_monotonic_ns();
    for (uint32_t n = 0; n < ROUND_MESSAGES; n++) {
        frame_write(frame, message, &shown, dst, room, &spans);
        sink += spans.fields_bytes;
    }
    const uint64_t t3 = clock_monotonic_ns();
    best->header_ns = MIN(best->header_ns, (t1 - t0) / ROUND_MESSAGES);
    best->show_ns = MIN(best->show_ns, (t2 - t1) / ROUND_MESSAGES);
    best->write_ns = MIN(best->write_ns, (t3 - t2) / ROUND_MESSAGES);
}

static void subject_run(const struct frame *frame, const struct subject *subject)
{
    static const struct id id = {{1, 2, 3}};
    static const uint8_t salt_commitment[COBBLE_HEADER_BYTES];
    static const uint8_t random[FRAME_BOUNDARY_BYTES];
    static const char sender[] = "alice@example.com";
    const size_t mail_bytes = strlen(subject->mail);
    struct frame_time time = {0};
    struct header header;
    frame_time_set(&time, 1795295700 * NS_PER_S);
    header_read(&header, (const uint8_t *)subject->mail, mail_bytes, mail_bytes);
    struct frame_message message = {.id = &id,
                                    .mail = (const uint8_t *)subject->mail,
                                    .header = &header,
                                    .sender = (const uint8_t *)sender,
                                    .sender_bytes = sizeof(sender) - 1,
                                    .time = &time,
                                    .salt_commitment = salt_commitment,
                                    .boundary_random = random};
    struct frame_shown shown;
    struct frame_spans spans;
    frame_show(frame, &message, &shown);
    const size_t room = frame_bytes_max(frame, &message, &shown);
    uint8_t *dst = malloc(room);
    ASSERT(dst != NULL);
    struct best best = {UINT64_MAX, UINT64_MAX, UINT64_MAX};
    for (uint32_t n = 0; n < ROUNDS_COUNT; n++)
        round_run(frame, &message, &header, mail_bytes, dst, room, &best);
    frame_write(frame, &message, &shown, dst, room, &spans);
    printf("%-14s  header_read %4lu ns  show %4lu ns  write %4lu ns  all %4lu ns  "
           "%zu of %zu bytes\n",
           subject->name, (unsigned long)best.header_ns, (unsigned long)best.show_ns,
           (unsigned long)best.write_ns,
           (unsigned long)(best.header_ns + best.show_ns + best.write_ns),
           spans.prologue_bytes + spans.epilogue_bytes + spans.fields_bytes, room);
    free(dst);
}

int main(void)
{
    const struct frame_config config = {.suite = COBBLE_AES_256,
                                        .locale = "en",
                                        .key_service_url = "https://keys.example.com",
                                        .message_id_host = "mail.example.com"};
    struct frame *frame = NULL;
    char why[FRAME_WHY_BYTES];
    if (frame_open(&frame, &config, why) != 0) {
        (void)fprintf(stderr, "frame_bench: %s\n", why);
        return 1;
    }
    for (size_t n = 0; n < ARRAY_COUNT(SUBJECTS); n++)
        subject_run(frame, &SUBJECTS[n]);
    frame_close(frame);
    return 0;
}
