/*
 * The engine's key client as a program, for tests that stand between it and a real key service:
 *
 *     key_client_drive URL CA CERTIFICATE KEY TIMEOUT_MS PAUSE_MS PROBE_MS
 *
 * Each line "FIRST COUNT DEADLINE_MS" on standard input adds COUNT records, numbered from FIRST, of
 * made-up but always the same content; each result is a line "NUMBER stored|conflict|invalid|away"
 * on standard output. It ends with 0 when standard input has ended and every result was told.
 */
#include "base/bytes.h"
#include "base/clock.h"
#include "base/macros.h"
#include "crypto/cobblestone.h"
#include "keyservice/key_client.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ARGUMENTS_COUNT 8
#define LINE_BYTES      128
#define RECORD_ROOM     512
#define RESULTS_MAX     256
#define TURN_MS         10

static char line[LINE_BYTES];
static size_t line_bytes;
static uint64_t open_count; /* added, and not told of */

static uint32_t record_of(uint8_t *dst, uint32_t number)
{
    static const uint8_t recipient[] = "\x15\x00reader@recipient.test";
    struct record record = {
        .suite = COBBLE_AES_256,
        .level = RECORD_LEVEL_HIGH,
        .sent_unix_ms = 1,
        .profile = (const uint8_t *)"default",
        .profile_bytes = 7,
        .sender = (const uint8_t *)"sender@sender.test",
        .sender_bytes = 18,
        .recipients = recipient,
        .recipients_bytes = sizeof(recipient) - 1,
        .recipients_count = 1,
    };
    bytes_store_le32(record.id, number);
    record.id[6] = 0x70;
    record.id[8] = 0x80;
    memset(record.key, (int)(number & 0xff), sizeof(record.key));
    return (uint32_t)record_write(dst, RECORD_ROOM, &record);
}

static int line_take(struct key_client *client)
{
    uint32_t first;
    uint32_t count;
    uint32_t deadline_ms;
    if (sscanf(line, "%" SCNu32 " %" SCNu32 " %" SCNu32, &first, &count, &deadline_ms) != 3)
        return 64;
    const uint64_t deadline_ns = clock_monotonic_ns() + deadline_ms * NS_PER_MS;
    for (uint32_t i = 0; i < count; i++) {
        uint8_t record[RECORD_ROOM];
        const uint32_t bytes = record_of(record, first + i);
        if (bytes == 0 || !key_client_add(client, first + i, record, bytes, deadline_ns))
            return 70;
        open_count++;
    }
    return 0;
}

/* What is there to read, a byte at a time; *ended at the end. */
static int input_take(struct key_client *client, bool *ended)
{
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    while (!*ended && poll(&input, 1, 0) == 1) {
        const ssize_t got = read(STDIN_FILENO, line + line_bytes, 1);
        *ended = got <= 0;
        if (got <= 0 || line[line_bytes++] != '\n') {
            if (line_bytes == sizeof(line))
                return 64;
            continue;
        }
        line[line_bytes - 1] = '\0';
        line_bytes = 0;
        const int status = line_take(client);
        if (status != 0)
            return status;
    }
    return 0;
}

static const char *status_word(enum key_result_status status)
{
    switch (status) {
    case KEY_STORED: return "stored";
    case KEY_CONFLICT: return "conflict";
    case KEY_INVALID: return "invalid";
    case KEY_AWAY: break;
    }
    return "away";
}

static int drive(struct key_client *client)
{
    bool ended = false;
    while (!ended || open_count > 0) {
        struct key_result results[RESULTS_MAX];
        const int status = input_take(client, &ended);
        if (status != 0)
            return status;
        const uint32_t count =
            key_client_run(client, clock_monotonic_ns(), TURN_MS, results, RESULTS_MAX);
        for (uint32_t i = 0; i < count; i++)
            (void)printf("%" PRIu64 " %s\n", results[i].tag, status_word(results[i].status));
        open_count -= count;
        if (fflush(stdout) != 0)
            return 74;
    }
    return 0;
}

static uint64_t milliseconds(const char *text)
{
    return strtoul(text, NULL, 10) * NS_PER_MS;
}

int main(int argc, char **argv)
{
    struct key_client *client;
    char why[KEY_CLIENT_WHY_BYTES];
    if (argc != ARGUMENTS_COUNT) {
        (void)fputs("usage: key_client_drive URL CA CERTIFICATE KEY TIMEOUT_MS PAUSE_MS PROBE_MS\n",
                    stderr);
        return 64;
    }
    const struct key_client_config config = {.url = argv[1],
                                             .ca_file = argv[2],
                                             .certificate_file = argv[3],
                                             .private_key_file = argv[4],
                                             .request_timeout_ns = milliseconds(argv[5]),
                                             .backoff_ns_max = milliseconds(argv[6]),
                                             .probe_ns_min = milliseconds(argv[7])};
    if (key_client_open(&client, &config, why) != 0) {
        (void)fprintf(stderr, "key_client_drive: %s\n", why);
        return 69;
    }
    const int status = drive(client);
    key_client_close(client);
    return status;
}
