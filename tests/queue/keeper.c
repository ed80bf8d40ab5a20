/*
 * A spool in a folder, driven by a script that takes the disk away: `write` keeps records and says
 * of each what it was told; `read` recovers and says of each what it found.
 *
 *     spool_keeper write FOLDER SEED FIRST COUNT MILLISECONDS BACKEND
 *     spool_keeper read FOLDER BACKEND
 *
 * BACKEND is uring or thread. One line an event, written at once: `S n` stored, `X n` failed, `f n`
 * to be forgotten, `F n` forgotten, `h n` to be held, `H n` held; `R n held|free
 * whole|damaged|broken|unread` found. A record's bytes follow from its number, so `read` needs no
 * other knowledge.
 */
#include "base/bytes.h"
#include "base/clock.h"
#include "queue/disk.h"
#include "queue/spool.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define KEEPER_RECORDS_MAX    200000
#define KEEPER_SEGMENT_BYTES  ((uint64_t)4 << 20)
#define KEEPER_SPOOL_BYTES    (16 * KEEPER_SEGMENT_BYTES)
#define KEEPER_BUFFERS_BYTES  (2 * SPOOL_BUFFERS_MIN)
#define KEEPER_BODY_BYTES_MAX (1 << 20)
#define KEEPER_CONSTANT_BYTES 20000
#define KEEPER_HEAD_BYTES     24
#define KEEPER_OUT_MAX        64 /* records under way */
#define KEEPER_POLL_US        200
#define KEEPER_EVENTS         64
#define KEEPER_TAG_SLOT_SHIFT 32

#define EXIT_USAGE 64

/* A record under way: what the spool borrows. */
struct keeper_out {
    uint8_t head[KEEPER_HEAD_BYTES];
    uint8_t body[KEEPER_BODY_BYTES_MAX];
};

struct keeper_found {
    uint64_t place;
    uint32_t number;
    bool held;
    bool as_stored; /* its times and lengths are those that were given */
};

struct keeper {
    struct disk *disk;
    struct spool *spool;
    struct disk_memory memory;
    uint8_t constant[KEEPER_CONSTANT_BYTES];
    uint64_t seed;
    struct keeper_out *out; /* KEEPER_OUT_MAX */
    uint32_t out_free[KEEPER_OUT_MAX];
    uint32_t out_free_count;
    struct keeper_found found[KEEPER_RECORDS_MAX];
    uint32_t found_count;
};

static struct keeper keeper;

static uint64_t mix(uint64_t x)
{
    x ^= x >> 30;
    x *= UINT64_C(0xbf58476d1ce4e5b9);
    x ^= x >> 27;
    x *= UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

static void fill(uint8_t *dst, size_t bytes, uint64_t from)
{
    for (size_t i = 0; i < bytes; i += 8) {
        const uint64_t word = mix(from + i);
        memcpy(dst + i, &word, bytes - i < 8 ? bytes - i : 8);
    }
}

/* Mostly small, some of several pages, one in 64 of many buffers. */
static uint32_t body_bytes(uint32_t number)
{
    const uint64_t random = mix(number);
    if (random % 64 == 0)
        return (uint32_t)(1 + random / 64 % KEEPER_BODY_BYTES_MAX);
    return (uint32_t)(1 + random / 64 % (random % 4 == 0 ? 30000 : 3000));
}

static void fill_record(uint32_t number, uint8_t *head, uint8_t *body)
{
    fill(head, KEEPER_HEAD_BYTES, number);
    fill(body, body_bytes(number), (uint64_t)number << 24 | UINT64_C(1) << 56);
}

static void say(char what, uint64_t number)
{
    char line[32];
    const int n = snprintf(line, sizeof(line), "%c %llu\n", what, (unsigned long long)number);
    if (n <= 0 || write(STDOUT_FILENO, line, (size_t)n) != n)
        exit(EXIT_FAILURE);
}

static int keeper_open(const char *folder, const char *backend,
                       void (*found)(void *, const struct spool_found *))
{
    char why[SPOOL_WHY_BYTES] = "";
    keeper.memory.bytes = KEEPER_BUFFERS_BYTES;
    keeper.memory.at =
        mmap(NULL, keeper.memory.bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (keeper.memory.at == MAP_FAILED)
        return -ENOMEM;
    int rc = strcmp(backend, "uring") == 0
                 ? disk_uring_open(&keeper.disk, folder, &keeper.memory, why)
                 : disk_thread_open(&keeper.disk, folder, why);
    if (rc == 0) {
        const struct spool_config config = {
            .disk = keeper.disk,
            .lane = 0,
            .lanes_count = 1,
            .segment_bytes = KEEPER_SEGMENT_BYTES,
            .bytes_max = KEEPER_SPOOL_BYTES,
            .buffers = keeper.memory.at,
            .buffers_bytes = keeper.memory.bytes,
        };
        rc = spool_open(&keeper.spool, &config, found, NULL, why);
    }
    if (rc != 0)
        (void)fprintf(stderr, "spool_keeper: %s: %s: %s\n", folder, why, strerror(-rc));
    return rc;
}

static void found_none(void *user, const struct spool_found *found)
{
    (void)user;
    (void)found;
}

static bool put(uint32_t number, uint32_t slot)
{
    struct keeper_out *out = &keeper.out[slot];
    const uint32_t bytes = body_bytes(number);
    struct spool_record record = {
        .kind = SPOOL_MAIL,
        .arrived_unix_ms = number + UINT64_C(1),
        .end_unix_ms = number + UINT64_C(1000000),
        .head = out->head,
        .head_bytes = sizeof(out->head),
        .spans_count = 3,
        .spans = {{.at = out->body, .bytes = bytes / 2},
                  {.at = keeper.constant, .bytes = KEEPER_CONSTANT_BYTES, .constant = 7},
                  {.at = out->body + bytes / 2, .bytes = bytes - bytes / 2}},
        .replaces = SPOOL_NOWHERE,
    };
    fill_record(number, out->head, out->body);
    memcpy(record.id, &number, sizeof(number));
    return spool_put(keeper.spool, &record, (uint64_t)slot << KEEPER_TAG_SLOT_SHIFT | number);
}

/* Two of three stored records are forgotten at once, one of nine is held. */
static void take(const struct spool_event *event)
{
    const uint32_t number = (uint32_t)event->tag;
    if (event->kind == SPOOL_FORGOTTEN || event->kind == SPOOL_MARKED) {
        if (event->error == 0)
            say(event->kind == SPOOL_FORGOTTEN ? 'F' : 'H', number);
        return;
    }
    keeper.out_free[keeper.out_free_count++] = (uint32_t)(event->tag >> KEEPER_TAG_SLOT_SHIFT);
    if (event->kind == SPOOL_FAILED) {
        say('X', number);
        return;
    }
    say('S', number);
    const uint64_t random = mix(number ^ keeper.seed);
    if (random % 3 != 0) {
        say('f', number);
        (void)spool_forget(keeper.spool, event->place, number);
    } else if (random % 9 == 0) {
        say('h', number);
        (void)spool_mark(keeper.spool, event->place, true, number);
    }
}

/* Ends as a kill would: nothing is closed, nothing is waited for. */
static int keeper_write(const char *folder, uint32_t first, uint32_t count, uint64_t milliseconds,
                        const char *backend)
{
    struct spool_event events[KEEPER_EVENTS];
    const uint64_t until_ns = clock_monotonic_ns() + milliseconds * NS_PER_MS;
    const uint32_t end = first + count;
    uint32_t next = first;
    keeper.out = calloc(KEEPER_OUT_MAX, sizeof(*keeper.out));
    if (keeper.out == NULL || keeper_open(folder, backend, found_none) != 0)
        return EXIT_FAILURE;
    for (uint32_t i = 0; i < KEEPER_OUT_MAX; i++)
        keeper.out_free[keeper.out_free_count++] = i;
    say('O', first);
    while (clock_monotonic_ns() < until_ns &&
           (next < end || keeper.out_free_count < KEEPER_OUT_MAX)) {
        while (next < end && keeper.out_free_count > 0 &&
               put(next, keeper.out_free[keeper.out_free_count - 1])) {
            keeper.out_free_count--;
            next++;
        }
        const uint32_t n = spool_run(keeper.spool, events, KEEPER_EVENTS);
        for (uint32_t i = 0; i < n; i++)
            take(&events[i]);
        if (n == 0)
            (void)usleep(KEEPER_POLL_US);
    }
    say('E', next);
    return EXIT_SUCCESS;
}

static void found_note(void *user, const struct spool_found *found)
{
    uint32_t number;
    (void)user;
    memcpy(&number, found->id, sizeof(number));
    if (keeper.found_count == KEEPER_RECORDS_MAX || number >= KEEPER_RECORDS_MAX) {
        (void)fprintf(stderr, "spool_keeper: a record that nobody wrote: %u\n", number);
        exit(EXIT_FAILURE);
    }
    keeper.found[keeper.found_count++] = (struct keeper_found){
        .place = found->place,
        .number = number,
        .held = found->held,
        .as_stored = found->arrived_unix_ms == number + UINT64_C(1) &&
                     found->end_unix_ms == number + UINT64_C(1000000) &&
                     found->head_bytes == KEEPER_HEAD_BYTES &&
                     found->body_bytes == body_bytes(number) + KEEPER_CONSTANT_BYTES,
    };
}

/* What `write` gave under this number, head, body and constants, in this order of bytes. */
static bool whole(const uint8_t *at, size_t bytes, uint32_t number)
{
    static uint8_t body[KEEPER_BODY_BYTES_MAX];
    uint8_t head[KEEPER_HEAD_BYTES];
    const uint32_t length = body_bytes(number);
    const uint32_t half = length / 2;
    if (bytes != sizeof(head) + length + KEEPER_CONSTANT_BYTES)
        return false;
    fill_record(number, head, body);
    if (memcmp(at, head, sizeof(head)) != 0)
        return false;
    at += sizeof(head);
    return memcmp(at, body, half) == 0 &&
           memcmp(at + half, keeper.constant, KEEPER_CONSTANT_BYTES) == 0 &&
           memcmp(at + half + KEEPER_CONSTANT_BYTES, body + half, length - half) == 0;
}

/* "damaged" is what the spool itself says of a record; "broken" is what it gave for good. */
static const char *read_state(const struct keeper_found *found, uint8_t *dst, size_t room)
{
    struct spool_event event;
    if (!spool_read_all(keeper.spool, found->place, dst, room, found->number))
        return "unread";
    while (spool_run(keeper.spool, &event, 1) == 0)
        (void)usleep(KEEPER_POLL_US);
    if (event.kind == SPOOL_READ && event.error == -EBADMSG)
        return "damaged";
    if (event.kind != SPOOL_READ || event.error != 0 || event.tag != found->number)
        return "unread";
    return found->as_stored && whole(dst, event.bytes, found->number) ? "whole" : "broken";
}

static int keeper_read(const char *folder, const char *backend)
{
    const size_t room = KEEPER_HEAD_BYTES + KEEPER_BODY_BYTES_MAX + KEEPER_CONSTANT_BYTES;
    uint8_t *dst = malloc(room);
    if (dst == NULL || keeper_open(folder, backend, found_note) != 0)
        return EXIT_FAILURE;
    for (uint32_t i = 0; i < keeper.found_count; i++) {
        const struct keeper_found *found = &keeper.found[i];
        (void)printf("R %u %s %s\n", found->number, found->held ? "held" : "free",
                     read_state(found, dst, room));
    }
    spool_close(keeper.spool);
    disk_close(keeper.disk);
    free(dst);
    return EXIT_SUCCESS;
}

static bool number_parse(const char *text, uint64_t max, uint64_t *number)
{
    char *end;
    errno = 0;
    *number = strtoull(text, &end, 10);
    return errno == 0 && end != text && *end == '\0' && *number <= max;
}

int main(int argc, char **argv)
{
    uint64_t seed;
    uint64_t first;
    uint64_t count;
    uint64_t milliseconds;
    fill(keeper.constant, sizeof(keeper.constant), UINT64_C(1) << 60);
    if (argc == 4 && strcmp(argv[1], "read") == 0)
        return keeper_read(argv[2], argv[3]);
    if (argc == 8 && strcmp(argv[1], "write") == 0 && number_parse(argv[3], UINT64_MAX, &seed) &&
        number_parse(argv[4], KEEPER_RECORDS_MAX, &first) &&
        number_parse(argv[5], KEEPER_RECORDS_MAX - first, &count) &&
        number_parse(argv[6], 600000, &milliseconds)) {
        keeper.seed = seed;
        return keeper_write(argv[2], (uint32_t)first, (uint32_t)count, milliseconds, argv[7]);
    }
    (void)fputs("usage: spool_keeper write FOLDER SEED FIRST COUNT MILLISECONDS uring|thread\n"
                "       spool_keeper read FOLDER uring|thread\n",
                stderr);
    return EXIT_USAGE;
}
