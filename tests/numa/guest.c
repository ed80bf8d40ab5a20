#include "tests/numa/guest.h"

#include "base/macros.h"
#include "engine/eal.h"
#include "engine/worker_internal.h"
#include "tests/engine/areas.h"
#include "tests/engine/inside.h"

#include <dirent.h>
#include <limits.h>
#include <numaif.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define GUEST_NODES_MAX    8
#define GUEST_PAGE_BYTES   4096
#define GUEST_MAILS        50 /* of each client                    */
#define GUEST_OPENED       3  /* of them, opened and compared      */
#define GUEST_CLIENTS_EACH 2  /* clients of a worker               */
#define GUEST_SMALL_BYTES  4096
#define GUEST_LARGE_BYTES  300000
#define GUEST_LINE_BYTES   4096

static uint8_t *mail_small;
static uint8_t *mail_large;

struct spots {
    uint64_t pages[GUEST_NODES_MAX];
};

/* The kernel's word for each page; one that was never touched is nowhere. */
static struct spots spots_of(const void *at, size_t bytes)
{
    struct spots spots = {0};
    const uintptr_t first = (uintptr_t)at / GUEST_PAGE_BYTES;
    const uintptr_t last = ((uintptr_t)at + bytes - 1) / GUEST_PAGE_BYTES;
    for (uintptr_t page = first; page <= last; page++) {
        void *address = (void *)(page * GUEST_PAGE_BYTES);
        int node = -1;
        assert_int_equal(move_pages(0, 1, &address, NULL, &node, 0), 0);
        assert_true(node < GUEST_NODES_MAX);
        if (node >= 0)
            spots.pages[node]++;
    }
    return spots;
}

static void spots_print(const struct spots *spots)
{
    for (uint32_t n = 0; n < GUEST_NODES_MAX; n++) {
        if (spots->pages[n] > 0)
            (void)printf(" %u:%llu", n, (unsigned long long)spots->pages[n]);
    }
    (void)printf("\n");
}

static void area_print(uint32_t worker, const struct area *area)
{
    const struct spots spots = spots_of(area->at, area->bytes);
    const uintptr_t first = (uintptr_t)area->at / GUEST_PAGE_BYTES;
    const uintptr_t last = ((uintptr_t)area->at + area->bytes - 1) / GUEST_PAGE_BYTES;
    (void)printf("area %u %s %llu", worker, area->name, (unsigned long long)(last - first + 1));
    spots_print(&spots);
}

static void worker_print(const struct worker *worker, const struct placement *placement)
{
    static struct areas areas;
    const uint32_t index = worker_index(worker);
    const struct placement_worker *place = &placement->workers[index];
    (void)printf("worker %u cpu %u node %u memory %u\n", index, place->cpu, place->node,
                 place->memory_node);
    areas_read(&areas, worker);
    for (uint32_t i = 0; i < areas.count; i++)
        area_print(index, &areas.area[i]);
}

/* "may" of /proc/…/status, "last" of /proc/…/stat: the 37th field after the name's bracket. */
static void thread_print(const char *id)
{
    char path[NAME_MAX + 64];
    char line[GUEST_LINE_BYTES] = "";
    char name[64] = "";
    char may[128] = "";
    int last = -1;
    (void)snprintf(path, sizeof(path), "/proc/self/task/%s/status", id);
    FILE *file = fopen(path, "re");
    assert_non_null(file);
    while (fgets(line, sizeof(line), file) != NULL) {
        (void)sscanf(line, "Name: %63s", name);
        (void)sscanf(line, "Cpus_allowed_list: %127s", may);
    }
    (void)fclose(file);
    (void)snprintf(path, sizeof(path), "/proc/self/task/%s/stat", id);
    file = fopen(path, "re");
    assert_non_null(file);
    if (fgets(line, sizeof(line), file) == NULL)
        line[0] = '\0';
    (void)fclose(file);
    char *at = strrchr(line, ')');
    for (uint32_t field = 0; at != NULL && field < 37; field++)
        at = strchr(at + 1, ' ');
    if (at != NULL)
        last = (int)strtol(at, NULL, 10);
    (void)printf("thread %s last %d may %s\n", name, last, may);
}

static void threads_print(void)
{
    DIR *folder = opendir("/proc/self/task");
    assert_non_null(folder);
    for (struct dirent *entry = readdir(folder); entry != NULL; entry = readdir(folder)) {
        if (entry->d_name[0] != '.')
            thread_print(entry->d_name);
    }
    (void)closedir(folder);
}

/* Adds what one line of numa_maps says: "… N0=12 N1=3 kernelpagesize_kB=4". */
static void line_add(struct spots *spots, const char *line)
{
    for (const char *at = strstr(line, " N"); at != NULL; at = strstr(at + 1, " N")) {
        char *end;
        const unsigned long node = strtoul(at + 2, &end, 10);
        if (end != at + 2 && *end == '=' && node < GUEST_NODES_MAX)
            spots->pages[node] += strtoul(end + 1, NULL, 10);
    }
}

enum share { SHARE_PRIVATE, SHARE_MEMFD, SHARE_HUGE, SHARE_FILES, SHARES };

static void shares_read(struct spots shares[SHARES])
{
    char line[GUEST_LINE_BYTES];
    FILE *file = fopen("/proc/self/numa_maps", "re");
    assert_non_null(file);
    memset(shares, 0, SHARES * sizeof(shares[0]));
    while (fgets(line, sizeof(line), file) != NULL) {
        enum share share = SHARE_PRIVATE;
        if (strstr(line, " huge ") != NULL)
            share = SHARE_HUGE;
        else if (strstr(line, "file=/memfd:") != NULL)
            share = SHARE_MEMFD;
        else if (strstr(line, "file=") != NULL)
            share = SHARE_FILES;
        line_add(&shares[share], line);
    }
    (void)fclose(file);
}

/* Both ends of every session are in this process. */
static void arenas_print(void)
{
    char line[GUEST_LINE_BYTES];
    unsigned long huge_kib = 0;
    unsigned long all_kib = 0;
    bool arena = false;
    FILE *file = fopen("/proc/self/smaps", "re");
    assert_non_null(file);
    while (fgets(line, sizeof(line), file) != NULL) {
        unsigned long kib;
        if (strchr(line, '-') != NULL && strchr(line, '-') < strchr(line, ' '))
            arena = strstr(line, "/memfd:bulla-") != NULL;
        if (arena && sscanf(line, "Rss: %lu kB", &kib) == 1)
            all_kib += kib;
        if (arena && sscanf(line, "ShmemPmdMapped: %lu kB", &kib) == 1)
            huge_kib += kib;
    }
    (void)fclose(file);
    (void)printf("arenas huge %lu small %lu\n", huge_kib, all_kib - huge_kib);
}

static void shares_print(void)
{
    static const char *const names[SHARES] = {"private", "memfd", "huge", "files"};
    struct spots shares[SHARES];
    shares_read(shares);
    for (uint32_t i = 0; i < SHARES; i++) {
        (void)printf("share %s", names[i]);
        spots_print(&shares[i]);
    }
}

/* What the opening of a key thread takes of each node. */
static void keys_print(const struct inside *inside)
{
    const struct placement *placement = &inside->engine.placement;
    for (uint32_t n = 0; n < placement->nodes_count; n++) {
        const struct placement_node *node = &placement->nodes[n];
        const struct key_thread_config wish = {
            .name = "measured",
            .client = {.url = stand_in_url(inside->daemon.service), .request_timeout_ns = NS_PER_S},
            .node = node};
        char why[KEY_CLIENT_WHY_BYTES] = "";
        struct key_thread *thread;
        struct spots before[SHARES];
        struct spots after[SHARES];
        shares_read(before);
        assert_int_equal(key_thread_open(&thread, &wish, why), 0);
        shares_read(after);
        for (uint32_t i = 0; i < GUEST_NODES_MAX; i++)
            after[SHARE_PRIVATE].pages[i] -=
                MIN(after[SHARE_PRIVATE].pages[i], before[SHARE_PRIVATE].pages[i]);
        (void)printf("keys %u memory %u", node->node, node->memory_node);
        spots_print(&after[SHARE_PRIVATE]);
        key_thread_close(thread);
        (void)printf("float %u", node->node);
        for (uint32_t i = 0; i < node->keys_count; i++)
            (void)printf("%c%u", i == 0 ? ' ' : ',', node->keys[i]);
        (void)printf("\n");
    }
}

static void seal_one(const struct daemon *daemon, struct bulla *bulla, uint32_t number, bool opens)
{
    const char *const recipients[] = {"b@example.org"};
    const bool large = number % 10 == 9;
    const uint8_t *mail = large ? mail_large : mail_small;
    const struct bulla_request request = {.sender = "a@example.com",
                                          .recipients = recipients,
                                          .recipients_count = 1,
                                          .mail_bytes =
                                              large ? GUEST_LARGE_BYTES : GUEST_SMALL_BYTES};
    struct bulla_reservation reservation;
    struct bulla_completion completion;
    assert_int_equal(bulla_reserve(bulla, &request, &reservation), 0);
    memcpy(reservation.mail, mail, request.mail_bytes);
    assert_int_equal(bulla_submit(bulla, &reservation), 0);
    while (bulla_poll(bulla, &completion, 1) == 0)
        assert_true(bulla_wait(bulla, DAEMON_WAIT_MS) > 0);
    assert_int_equal(completion.status, BULLA_SEALED);
    if (opens) {
        struct outcome outcome = {.status = BULLA_SEALED};
        outcome.sealed = malloc(completion.mail_bytes);
        assert_non_null(outcome.sealed);
        outcome.sealed_bytes = bulla_flatten(&completion, outcome.sealed, completion.mail_bytes);
        daemon_expect_opens(daemon, &outcome, mail, request.mail_bytes);
        free(outcome.sealed);
    }
    bulla_release(bulla, &completion);
}

/* Attached all at once, so that each worker is seen to get its share. */
static void clients_run(struct inside *inside)
{
    struct bulla *attached[CONFIG_WORKERS_MAX * GUEST_CLIENTS_EACH];
    const struct engine *engine = &inside->engine;
    const uint32_t count = engine->workers_count * GUEST_CLIENTS_EACH;
    const uint32_t each = GUEST_MAILS / count;
    for (uint32_t i = 0; i < count; i++) {
        const struct bulla_config wish = {
            .socket_path = inside->daemon.socket, .slots_count = 64, .input_bytes = 4 << 20};
        assert_int_equal(bulla_attach(&attached[i], &wish), 0);
    }
    for (uint32_t number = 0; number < each; number++) {
        for (uint32_t i = 0; i < count; i++)
            seal_one(&inside->daemon, attached[i], number, number + GUEST_OPENED >= each);
    }
    for (uint32_t i = 0; i < engine->workers_count; i++) {
        const struct worker *worker = engine->workers[i];
        assert_int_equal(worker_counter(worker, COUNTER_CLIENTS), GUEST_CLIENTS_EACH);
        assert_int_equal(worker_counter(worker, COUNTER_SEALED), GUEST_CLIENTS_EACH * each);
        worker_print(worker, &engine->placement);
    }
    threads_print();
    shares_print();
    (void)printf("hugepages %s\n", eal_uses_hugepages() ? "yes" : "no");
    arenas_print();
    for (uint32_t i = 0; i < count; i++)
        bulla_detach(attached[i]);
}

static void engine_keeps_to_its_nodes(void **state)
{
    static struct inside inside; /* large */
    (void)state;
    mail_small = daemon_mail(GUEST_SMALL_BYTES, 1);
    mail_large = daemon_mail(GUEST_LARGE_BYTES, 2);
    inside_open(&inside, "workers = 0\n key_wait = 20s");
    placement_print(&inside.engine.placement, stdout);
    keys_print(&inside);
    inside_run(&inside, clients_run);
    inside_close(&inside);
    free(mail_small);
    free(mail_large);
}

int guest_check(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(engine_keeps_to_its_nodes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
