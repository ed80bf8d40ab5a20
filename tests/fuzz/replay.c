/*
 * replay: runs a fuzz target where there is no libFuzzer: on its vectors, then on mutations.
 * Ownership: inputs live in one malloc'ed buffer each, of their exact size, so that a sanitizer
 * sees the first byte read past them. Threads:   one. Units:     bytes; REPLAY_RUNS mutated inputs.
 * Errors:    none: a fault of the target ends the program.
 */
#include "base/macros.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define REPLAY_RUNS       3000
#define REPLAY_SEEDS_MAX  256
#define REPLAY_BYTES_MAX  (64 * 1024)
#define REPLAY_EDITS_MAX  8
#define REPLAY_PATH_BYTES 4096

int LLVMFuzzerTestOneInput(const uint8_t *bytes_at, size_t bytes);

struct replay_seed {
    uint8_t *at;
    size_t bytes;
};

static struct replay_seed seeds[REPLAY_SEEDS_MAX];
static uint32_t seeds_count;

/* xorshift64*: the same inputs in every run, so that a failure can be had again. */
static uint64_t replay_random(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * UINT64_C(2685821657736338717);
}

static void replay_add(const uint8_t *bytes_at, size_t bytes)
{
    if (seeds_count == REPLAY_SEEDS_MAX)
        return;
    uint8_t *copy = malloc(MAX(bytes, (size_t)1));
    if (copy == NULL)
        return;
    if (bytes > 0)
        memcpy(copy, bytes_at, bytes);
    seeds[seeds_count++] = (struct replay_seed){copy, bytes};
}

static void replay_add_file(const char *path)
{
    static uint8_t room[REPLAY_BYTES_MAX];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    ssize_t got = read(fd, room, sizeof(room));
    if (got >= 0)
        replay_add(room, (size_t)got);
    close(fd);
}

static void replay_add_folder(const char *folder)
{
    DIR *entries = opendir(folder);
    if (entries == NULL)
        return;
    const struct dirent *entry = NULL;
    while ((entry = readdir(entries)) != NULL) {
        char path[REPLAY_PATH_BYTES];
        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
        replay_add_file(path);
    }
    closedir(entries);
}

static void replay_run(const uint8_t *bytes_at, size_t bytes)
{
    uint8_t *exact = malloc(MAX(bytes, (size_t)1));
    if (exact == NULL)
        abort();
    if (bytes > 0)
        memcpy(exact, bytes_at, bytes);
    (void)LLVMFuzzerTestOneInput(exact, bytes);
    free(exact);
}

/* Flips, overwrites, cuts, doubles and splices: what transit and enemies do. */
static size_t replay_mutate(uint8_t *room, size_t bytes, uint64_t *state)
{
    uint32_t edits = (uint32_t)(replay_random(state) % REPLAY_EDITS_MAX) + 1;
    for (uint32_t i = 0; i < edits; i++) {
        uint64_t dice = replay_random(state);
        size_t at = bytes == 0 ? 0 : (size_t)((dice >> 8) % bytes);
        size_t span = (size_t)(replay_random(state) % 64) + 1;
        switch (dice % 6) {
        case 0: bytes = at; break;
        case 1: room[at] = (uint8_t)(room[at] ^ (1u << (dice >> 40 & 7))); break;
        case 2: room[at] = (uint8_t)(dice >> 40); break;
        case 3:
            span = MIN(span, REPLAY_BYTES_MAX - bytes);
            memmove(room + at + span, room + at, bytes - at);
            bytes += span;
            break;
        case 4:
            for (size_t n = at; n < MIN(at + span, bytes); n++)
                room[n] = (uint8_t)replay_random(state);
            break;
        default:
            span = MIN(span, bytes - at);
            memmove(room + at, room + at + span, bytes - at - span);
            bytes -= span;
            break;
        }
    }
    return bytes;
}

int main(int argc, char **argv)
{
    static uint8_t room[REPLAY_BYTES_MAX + 1];
    replay_add(NULL, 0);
    for (int i = 1; i < argc; i++)
        replay_add_folder(argv[i]);
    for (uint32_t i = 0; i < seeds_count; i++)
        replay_run(seeds[i].at, seeds[i].bytes);
    uint64_t state = UINT64_C(0x9e3779b97f4a7c15);
    for (uint32_t run = 0; run < REPLAY_RUNS; run++) {
        const struct replay_seed *seed = &seeds[replay_random(&state) % seeds_count];
        size_t bytes = seed->bytes;
        if (bytes == 0) { /* nothing to start from: noise */
            bytes = (size_t)(replay_random(&state) % 512);
            for (size_t n = 0; n < bytes; n++)
                room[n] = (uint8_t)replay_random(&state);
        } else {
            memcpy(room, seed->at, bytes);
        }
        replay_run(room, replay_mutate(room, bytes, &state));
    }
    printf("replayed %u vectors, %d mutations\n", seeds_count, REPLAY_RUNS);
    for (uint32_t i = 0; i < seeds_count; i++)
        free(seeds[i].at);
    return 0;
}
