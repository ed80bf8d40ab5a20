#include "tests/engine/canary.h"

#include "base/macros.h"
#include "envelope/sealer.h"
#include "envelope/unsealed.h"
#include "mta/attachment.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CANARY_WAIT_MS     20000
#define CANARY_SLOTS       128
#define CANARY_INPUT_BYTES (4 * 1024 * 1024)
#define CANARY_LARGE_EVERY 250 /* one in so many is sealed in slices */
#define CANARY_LARGE_MAX   (100 * 1024)
#define CANARY_HUGE_EVERY  1500         /* and one is base64 that the cache shall not keep */
#define CANARY_HUGE_MIN    (380 * 1024) /* packed that is more than SEALER_CACHED_BYTES */
#define CANARY_BYTES_MAX   (420 * 1024)
#define CANARY_SCANS       8         /* looks through shared memory, and one at the end */
#define MARK_BYTES         28        /* "<canary-0:00000001:9e3779b9>" */
#define MARK_NUMBER_END    100000000 /* its eight digits */
#define MARK_OWNER_BYTES   10        /* "<canary-0:" */
#define MARK_STEP_BYTES    78        /* one a line */
#define MARK_BASE64_BYTES  57        /* of them, as base64, are a line too */
_Static_assert(CANARY_HUGE_MIN / MARK_STEP_BYTES * MARK_BASE64_BYTES > SEALER_CACHED_BYTES,
               "packed it is too large for the cache");

struct running {
    const struct canary_client *client;
    struct bulla *bulla;
    struct crypto_core *core;
    uint8_t *expected;
    uint8_t *sealed;
    size_t sealed_room;
    uint32_t submitted;
    uint32_t opened;
};

static bool fault(const struct running *running, const char *what, uint32_t message)
{
    (void)fprintf(stderr, "client %u, message %u: %s\n", running->client->number, message, what);
    return false;
}

static uint32_t mixed(uint32_t n)
{
    n = (n ^ n >> 16) * 0x45d9f3bU;
    n = (n ^ n >> 16) * 0x45d9f3bU;
    return n ^ n >> 16;
}

static bool mail_is_huge(uint32_t message)
{
    return message % CANARY_HUGE_EVERY == CANARY_HUGE_EVERY - 1;
}

static uint32_t mail_bytes(const struct running *running, uint32_t message)
{
    const uint32_t random = mixed(message * CANARY_CLIENTS + running->client->number);
    if (mail_is_huge(message))
        return CANARY_HUGE_MIN + random % (CANARY_BYTES_MAX - CANARY_HUGE_MIN);
    if (message % CANARY_LARGE_EVERY == CANARY_LARGE_EVERY - 1)
        return 66000 + random % (CANARY_LARGE_MAX - 66000);
    return 400 + random % 2600;
}

static void base64_group(const uint8_t *at, char out[4])
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const uint32_t group = (uint32_t)at[0] << 16 | (uint32_t)at[1] << 8 | at[2];
    for (uint32_t n = 0; n < 4; n++)
        out[n] = digits[group >> (18 - 6 * n) & 63];
}

/* The mark and dots, as they stand or as base64, and a line's end. */
static void line_make(const char *mark, bool base64, uint8_t line[MARK_STEP_BYTES])
{
    uint8_t text[MARK_STEP_BYTES];
    memset(text, '.', sizeof(text));
    memcpy(text, mark, MARK_BYTES);
    memcpy(line, text, MARK_STEP_BYTES);
    for (size_t i = 0; base64 && i < MARK_BASE64_BYTES / 3; i++)
        base64_group(text + 3 * i, (char *)line + 4 * i);
    memcpy(line + MARK_STEP_BYTES - 2, "\r\n", 2);
}

/* A header with a subject of its own, then one mark a line. */
static void mail_write(const struct running *running, uint32_t message, uint8_t *mail, size_t bytes)
{
    char mark[MARK_BYTES + 1];
    uint8_t line[MARK_STEP_BYTES];
    const uint32_t number = running->client->number;
    const bool base64 = mail_is_huge(message);
    const int head =
        snprintf((char *)mail, bytes,
                 "From: a@example.com\r\nTo: b@example.org\r\n"
                 "Subject: outside %u/%08u\r\n%s\r\n",
                 number, message, base64 ? "Content-Transfer-Encoding: base64\r\n" : "");
    (void)snprintf(mark, sizeof(mark), "<canary-%u:%08u:%08" PRIx32 ">", number % 10,
                   message % MARK_NUMBER_END, mixed(message + number));
    line_make(mark, base64, line);
    for (size_t at = (size_t)head; at < bytes; at += MARK_STEP_BYTES)
        memcpy(mail + at, line, MIN(bytes - at, (size_t)MARK_STEP_BYTES));
}

static bool key_ask(const struct running *running, const uint8_t id[16], uint8_t key[32])
{
    uint8_t answer[33];
    const int fd = running->client->keys_fd;
    if (write(fd, id, 16) != 16 || read(fd, answer, sizeof(answer)) != sizeof(answer))
        return false;
    memcpy(key, answer + 1, 32);
    return answer[0] == 1;
}

static bool mail_opens(struct running *running, const struct bulla_completion *completion,
                       uint32_t message)
{
    struct unsealed unsealed;
    uint8_t key[32];
    uint8_t *opened = NULL;
    size_t opened_bytes = 0;
    char subject[64];
    if (completion->mail_bytes > running->sealed_room)
        return fault(running, "larger than any sealed mail is", message);
    const size_t bytes = bulla_flatten(completion, running->sealed, running->sealed_room);
    const int subject_bytes =
        snprintf(subject, sizeof(subject), "outside %u/%08u", running->client->number, message);
    if (memmem(running->sealed, bytes, subject, (size_t)subject_bytes) == NULL)
        return fault(running, "the subject outside is another's", message);
    if (unsealed_read(&unsealed, running->sealed, bytes) != 0)
        return fault(running, "no envelope in it", message);
    bool right = key_ask(running, unsealed.id.bytes, key) ||
                 fault(running, "released before its key was stored", message);
    if (right && unsealed_open(&unsealed, running->core, key, &opened, &opened_bytes) != 0)
        right = fault(running, "does not open", message);
    const uint32_t expected_bytes = mail_bytes(running, message);
    mail_write(running, message, running->expected, expected_bytes);
    if (right &&
        (opened_bytes != expected_bytes || memcmp(opened, running->expected, expected_bytes) != 0))
        right = fault(running, "opens to another message", message);
    free(opened);
    unsealed_fini(&unsealed);
    return right;
}

/* `text` as it would stand in the middle of base64, whatever stands before it: without the
 * characters that its neighbours have a part in. `shift` bytes begin the group it starts in. */
static size_t base64_inside(const char *text, size_t bytes, size_t shift, char *out)
{
    size_t used = 0;
    for (size_t at = (3 - shift) % 3; at + 3 <= bytes; at += 3, used += 4)
        base64_group((const uint8_t *)text + at, out + used);
    return used;
}

static bool memory_holds(const uint8_t *at, size_t bytes, const char *text)
{
    char encoded[2 * MARK_BYTES];
    if (memmem(at, bytes, text, MARK_OWNER_BYTES) != NULL)
        return true;
    for (size_t shift = 0; shift < 3; shift++) {
        const size_t encoded_bytes = base64_inside(text, MARK_OWNER_BYTES, shift, encoded);
        if (memmem(at, bytes, encoded, encoded_bytes) != NULL)
            return true;
    }
    return false;
}

static bool memory_is_clean(const struct running *running)
{
    const struct bulla *bulla = running->bulla;
    const struct memfd *engine = &bulla->engine_memfd;
    const struct memfd *client = &bulla->client_memfd;
    for (uint32_t number = 0; number < CANARY_CLIENTS; number++) {
        char owner[MARK_OWNER_BYTES + 1];
        (void)snprintf(owner, sizeof(owner), "<canary-%u:", number % 10);
        if (memory_holds(engine->at, engine->bytes, owner))
            return fault(running, "a message in clear in the engine's memory", running->opened);
        const bool own = number == running->client->number;
        const size_t bytes = own ? bulla->client.arena_offset : client->bytes;
        if (memory_holds(client->at, bytes, owner))
            return fault(running, "a message in clear where none was written", running->opened);
    }
    return true;
}

/* False at a fault; what finds no room waits for the next turn. */
static bool submit_some(struct running *running)
{
    const char *const recipients[] = {"b@example.org"};
    while (running->submitted < running->client->count) {
        struct bulla_reservation reservation;
        const uint32_t bytes = mail_bytes(running, running->submitted);
        /* Both suites meet in one vector: a key made ahead for the other one seals nothing. */
        const struct bulla_request request = {.profile =
                                                  running->submitted % 3 == 0 ? "short" : NULL,
                                              .sender = "a@example.com",
                                              .recipients = recipients,
                                              .recipients_count = 1,
                                              .mail_bytes = bytes,
                                              .user = (void *)(uintptr_t)running->submitted};
        if (bulla_reserve(running->bulla, &request, &reservation) != 0)
            return true;
        mail_write(running, running->submitted, reservation.mail, bytes);
        if (bulla_submit(running->bulla, &reservation) != 0)
            return fault(running, "not submitted", running->submitted);
        running->submitted++;
    }
    return true;
}

static bool take_some(struct running *running)
{
    struct bulla_completion completions[32];
    const uint32_t step = running->client->count / CANARY_SCANS + 1;
    if (bulla_wait(running->bulla, CANARY_WAIT_MS) != 1)
        return fault(running, "no answer comes", running->opened);
    const int count = bulla_poll(running->bulla, completions, ARRAY_COUNT(completions));
    for (int i = 0; i < count; i++) {
        const uint32_t message = (uint32_t)(uintptr_t)completions[i].user;
        if (completions[i].status != BULLA_SEALED)
            return fault(running, completions[i].text, message);
        if (!mail_opens(running, &completions[i], message))
            return false;
        bulla_release(running->bulla, &completions[i]);
        if (++running->opened % step == 0 && !memory_is_clean(running))
            return false;
    }
    return count >= 0 || fault(running, "the engine hung up", running->opened);
}

int canary_client(const struct canary_client *client)
{
    struct running running = {.client = client, .sealed_room = 4 * CANARY_BYTES_MAX};
    const struct bulla_config config = {.socket_path = client->socket,
                                        .slots_count = CANARY_SLOTS,
                                        .input_bytes = CANARY_INPUT_BYTES};
    running.expected = malloc(CANARY_BYTES_MAX);
    running.sealed = malloc(running.sealed_room);
    bool right = running.expected != NULL && running.sealed != NULL &&
                 crypto_core_open(&running.core, isa_best()) == 0 &&
                 bulla_attach(&running.bulla, &config) == 0;
    while (right && running.opened < client->count)
        right = submit_some(&running) && take_some(&running);
    right = right && memory_is_clean(&running);
    bulla_detach(running.bulla);
    crypto_core_close(running.core);
    free(running.sealed);
    free(running.expected);
    return right ? 0 : 1;
}
