/*
 * A hostile client: each wrong hello, slot and index ends that client's session and nothing else.
 * An honest client of the same engine is served before and after every attack.
 */
#include "ipc/memfd.h"
#include "mta/bulla.h"
#include "tests/ipc/raw_client.h"
#include "tests/mta/echo_engine.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define WAIT_MS 60000

struct scene {
    struct echo_engine *engine;
    struct bulla *honest;
    uint64_t served;
};

static int scene_up(void **state)
{
    struct scene *scene = calloc(1, sizeof(*scene));
    const struct echo_engine_config config = {.allow_io_uring = true, .arena_bytes = 1024 * 1024};
    if (scene == NULL || echo_engine_open(&scene->engine, &config) != 0)
        return -1;
    const struct bulla_config attach = {
        .socket_path = echo_engine_path(scene->engine), .slots_count = 8, .input_bytes = 4096};
    *state = scene;
    return bulla_attach(&scene->honest, &attach);
}

static int scene_down(void **state)
{
    struct scene *scene = *state;
    bulla_detach(scene->honest);
    echo_engine_close(scene->engine);
    free(scene);
    return 0;
}

/* The honest client gets its own mail back, whole. */
static void assert_others_are_served(struct scene *scene)
{
    static const char *const recipients[] = {"ann@example.net"};
    const struct bulla_request request = {
        .recipients = recipients, .recipients_count = 1, .mail_bytes = sizeof(scene->served)};
    struct bulla_reservation reservation;
    struct bulla_completion completion;
    uint8_t flat[sizeof(scene->served) + sizeof(ECHO_HEAD) + sizeof(ECHO_TAIL)];
    scene->served++;
    assert_int_equal(bulla_reserve(scene->honest, &request, &reservation), 0);
    memcpy(reservation.mail, &scene->served, sizeof(scene->served));
    assert_int_equal(bulla_submit(scene->honest, &reservation), 0);
    assert_int_equal(bulla_wait(scene->honest, WAIT_MS), 1);
    assert_int_equal(bulla_poll(scene->honest, &completion, 1), 1);
    assert_int_equal(completion.status, BULLA_SEALED);
    assert_in_range(completion.mail_bytes, 1, sizeof(flat));
    (void)bulla_flatten(&completion, flat, sizeof(flat));
    assert_memory_equal(flat + sizeof(ECHO_HEAD) - 1, &scene->served, sizeof(scene->served));
    bulla_release(scene->honest, &completion);
}

static void assert_hello_is_refused(struct scene *scene, struct raw_hello hello, int error)
{
    struct raw_client client;
    hello.path = echo_engine_path(scene->engine);
    assert_int_equal(raw_client_open(&client, &hello), error);
    assert_true(raw_client_is_thrown_out(&client));
    raw_client_close(&client);
    assert_others_are_served(scene);
}

static struct raw_client client_new(struct scene *scene)
{
    struct raw_client client;
    const struct raw_hello hello = {.path = echo_engine_path(scene->engine), .seals = -1};
    assert_int_equal(raw_client_open(&client, &hello), 0);
    return client;
}

static void assert_thrown_out(struct scene *scene, struct raw_client *client)
{
    assert_true(raw_client_is_thrown_out(client));
    raw_client_close(client);
    assert_others_are_served(scene);
}

/* ---- hello ---- */

enum edit {
    EDIT_MAGIC,
    EDIT_VERSION,
    EDIT_SLOTS,
    EDIT_ARENA,
    EDIT_MEMFD,
    EDIT_KIND,
    EDIT_WANTED,
    EDIT_RESERVED,
};

static void hello_edit(struct ipc_hello *hello, uint64_t argument)
{
    const uint64_t value = argument >> 8;
    switch ((enum edit)(argument & 0xff)) {
    case EDIT_MAGIC: hello->magic ^= value; break;
    case EDIT_VERSION: hello->version = (uint32_t)value; break;
    case EDIT_SLOTS: hello->slots_count = (uint32_t)value; break;
    case EDIT_ARENA: hello->arena_bytes = value; break;
    case EDIT_MEMFD: hello->memfd_bytes = value; break;
    case EDIT_KIND: hello->kind = (uint32_t)value; break;
    case EDIT_WANTED: hello->worker_wanted = (uint32_t)value; break;
    case EDIT_RESERVED: hello->reserved[value] = 1; break;
    }
}

static void mutated_hellos_are_refused(void **state)
{
    static const struct {
        enum edit edit;
        uint64_t value;
        int error;
    } cases[] = {
        {EDIT_MAGIC, 1, EBADMSG},
        {EDIT_MAGIC, 0x80000000000000, EBADMSG},
        {EDIT_VERSION, 0, EPROTO},
        {EDIT_VERSION, IPC_VERSION - 1, EPROTO},
        {EDIT_VERSION, IPC_VERSION + 1, EPROTO},
        {EDIT_VERSION, UINT32_MAX, EPROTO},
        {EDIT_SLOTS, 0, EBADMSG},
        {EDIT_SLOTS, 4, EBADMSG},
        {EDIT_SLOTS, 9, EBADMSG},
        {EDIT_SLOTS, 16384, EBADMSG},
        {EDIT_SLOTS, 0x80000000, EBADMSG},
        {EDIT_SLOTS, 128, EBADMSG}, /* sound, but not what the memory holds */
        {EDIT_ARENA, 0, EBADMSG},
        {EDIT_ARENA, 4096, EBADMSG},
        {EDIT_ARENA, 1024 * 1024 + 1, EBADMSG},
        {EDIT_ARENA, UINT64_MAX >> 8, EBADMSG},
        {EDIT_ARENA, 2 * 1024 * 1024, EBADMSG},
        {EDIT_MEMFD, 0, EBADMSG},
        {EDIT_MEMFD, 4096, EBADMSG},
        {EDIT_MEMFD, UINT64_MAX >> 8, EBADMSG},
        {EDIT_KIND, 0, EBADMSG},
        {EDIT_KIND, IPC_KIND_CONTROL, EBADMSG}, /* which has no memory */
        {EDIT_KIND, 4, EBADMSG},
        {EDIT_KIND, UINT32_MAX, EBADMSG},
        {EDIT_WANTED, 1, EBADMSG}, /* a collector's */
        {EDIT_RESERVED, 0, EBADMSG},
        {EDIT_RESERVED, 23, EBADMSG},
    };
    for (size_t n = 0; n < ARRAY_COUNT(cases); n++)
        assert_hello_is_refused(*state,
                                (struct raw_hello){.seals = -1,
                                                   .edit = hello_edit,
                                                   .argument = cases[n].value << 8 | cases[n].edit},
                                cases[n].error);
}

static void hellos_of_another_length_are_refused(void **state)
{
    static const uint32_t lengths[] = {1, 8, 63, 65, 128, 256};
    for (size_t n = 0; n < ARRAY_COUNT(lengths); n++)
        assert_hello_is_refused(*state, (struct raw_hello){.seals = -1, .hello_bytes = lengths[n]},
                                EBADMSG);
}

static void memory_without_every_seal_is_refused(void **state)
{
    static const int seals[] = {F_SEAL_SEAL, F_SEAL_SHRINK, F_SEAL_GROW, 0x0010};
    for (size_t n = 0; n < ARRAY_COUNT(seals); n++)
        assert_hello_is_refused(*state, (struct raw_hello){.seals = MEMFD_SEALS & ~seals[n]},
                                EBADMSG);
    assert_hello_is_refused(*state, (struct raw_hello){.seals = 0}, EBADMSG);
}

static void memory_of_another_size_is_refused(void **state)
{
    static const int64_t deltas[] = {-4096, -1, 1, 4096, 1 << 20};
    for (size_t n = 0; n < ARRAY_COUNT(deltas); n++)
        assert_hello_is_refused(*state, (struct raw_hello){.seals = -1, .size_delta = deltas[n]},
                                EBADMSG);
}

static void memory_with_holes_is_refused(void **state)
{
    assert_hello_is_refused(*state, (struct raw_hello){.seals = -1, .sparse = true}, EBADMSG);
}

static void a_wrong_number_of_descriptors_is_refused(void **state)
{
    assert_hello_is_refused(*state, (struct raw_hello){.seals = -1, .no_memfd = true}, EBADMSG);
    for (uint32_t count = 2; count <= RAW_FDS_MAX; count += 2)
        assert_hello_is_refused(*state, (struct raw_hello){.seals = -1, .memfds_count = count},
                                EBADMSG);
}

static void a_pipe_is_no_memory(void **state)
{
    assert_hello_is_refused(*state, (struct raw_hello){.seals = -1, .pipe_instead = true}, EBADMSG);
}

/* ---- slots ---- */

static void mutated_slots_end_the_session(void **state)
{
    struct scene *scene = *state;
    for (uint32_t n = 0; n < 24; n++) {
        struct raw_client client = client_new(scene);
        struct ipc_submission slot = raw_client_honest(&client);
        const uint64_t arena = client.geometry.arena_offset;
        const uint64_t end = client.geometry.memfd_bytes;
        switch (n) {
        case 0: slot.meta_offset = arena - 1; break;
        case 1: slot.meta_offset = 0; break;
        case 2: slot.meta_offset = end; break;
        case 3: slot.meta_offset = end - slot.meta_bytes + 1; break;
        case 4: slot.meta_offset = UINT64_MAX; break;
        case 5: slot.meta_offset = UINT64_MAX - slot.meta_bytes + 1; break; /* sum wraps to 0 */
        case 6: slot.mail_offset = arena - 1; break;
        case 7: slot.mail_offset = end; break;
        case 8: slot.mail_offset = end - 9; break;
        case 9: slot.mail_offset = UINT64_MAX - 9; break;
        case 10: slot.mail_offset = UINT64_C(1) << 63; break;
        case 11: slot.mail_bytes = UINT32_MAX; break;
        case 12: slot.mail_bytes = (uint32_t)client.geometry.arena_bytes; break;
        case 13: slot.meta_bytes = IPC_META_BYTES_MAX + 1; break;
        case 14: slot.meta_bytes = UINT32_MAX; break;
        case 15: slot.flags = 2; break;
        case 16: slot.flags = UINT32_C(1) << 31; break;
        case 17: slot.flags = UINT32_MAX; break;
        case 18: slot.reserved[0] = 1; break;
        case 19: slot.reserved[23] = 0x80; break;
        case 20: memset(&slot, 0xff, sizeof(slot)); break;
        case 21: slot.done_result = IPC_DONE_SENT; break;
        case 22: slot.done_enhanced[2] = 1; break;
        case 23: slot.flags = IPC_SUBMIT_QUEUE | IPC_SUBMIT_DONE; break;
        default: break;
        }
        raw_client_submit(&client, &slot);
        assert_thrown_out(scene, &client);
    }
    assert_int_equal(atomic_load(&echo_engine_counters(scene->engine)->faults), 24);
}

/* The far edges are inside. */
static void slots_at_the_edge_are_served(void **state)
{
    struct scene *scene = *state;
    struct raw_client client = client_new(scene);
    struct ipc_submission slot = raw_client_honest(&client);
    slot.mail_offset = client.geometry.memfd_bytes - 10;
    raw_client_submit(&client, &slot);
    slot.mail_offset = client.geometry.memfd_bytes;
    slot.mail_bytes = 0;
    raw_client_submit(&client, &slot);
    for (uint32_t n = 0; n < 2000 && atomic_load(&client.peer->tail) < 2; n++)
        (void)usleep(10000);
    assert_int_equal(atomic_load(&client.peer->tail), 2);
    raw_client_close(&client);
    assert_others_are_served(scene);
    assert_int_equal(atomic_load(&echo_engine_counters(scene->engine)->faults), 0);
}

/* Wrong addresses cost that message only: refused, and the session lives. */
static void bad_addresses_are_refused_one_by_one(void **state)
{
    struct scene *scene = *state;
    struct raw_client client = client_new(scene);
    struct ipc_submission slot = raw_client_honest(&client);
    for (uint32_t n = 0; n < slot.meta_bytes; n++) {
        struct ipc_submission cut = slot;
        cut.meta_bytes = n;
        raw_client_submit(&client, &cut);
        for (uint32_t m = 0; m < 2000 && atomic_load(&client.peer->tail) <= n; m++)
            (void)usleep(1000);
        atomic_store(&client.page->head, n + 1);
        assert_int_equal(atomic_load(&client.peer->tail), n + 1);
    }
    raw_client_close(&client);
    assert_others_are_served(scene);
    assert_int_equal(atomic_load(&echo_engine_counters(scene->engine)->bad_metas), slot.meta_bytes);
    assert_int_equal(atomic_load(&echo_engine_counters(scene->engine)->faults), 0);
}

/* ---- indices ---- */

static void tail_jumps_end_the_session(void **state)
{
    struct scene *scene = *state;
    static const uint32_t tails[] = {9, 10, 1000, 0x7fffffff, 0x80000000, UINT32_MAX};
    for (size_t n = 0; n < ARRAY_COUNT(tails); n++) {
        struct raw_client client = client_new(scene);
        atomic_store(&client.page->tail, tails[n]);
        raw_client_ring(&client);
        assert_thrown_out(scene, &client);
    }
}

static void a_tail_that_goes_back_ends_the_session(void **state)
{
    struct scene *scene = *state;
    struct raw_client client = client_new(scene);
    const struct ipc_submission slot = raw_client_honest(&client);
    raw_client_submit(&client, &slot);
    for (uint32_t n = 0; n < 2000 && atomic_load(&client.peer->head) < 1; n++)
        (void)usleep(10000);
    atomic_store(&client.page->tail, 0);
    raw_client_ring(&client);
    assert_thrown_out(scene, &client);
}

static void head_jumps_end_the_session(void **state)
{
    struct scene *scene = *state;
    static const uint32_t heads[] = {2, 8, 9, 0x80000000, UINT32_MAX};
    for (size_t n = 0; n < ARRAY_COUNT(heads); n++) {
        struct raw_client client = client_new(scene);
        const struct ipc_submission slot = raw_client_honest(&client);
        atomic_store(&client.page->head, heads[n]);
        raw_client_submit(&client, &slot);
        assert_thrown_out(scene, &client);
    }
}

/* Releases what it has not got, then what it had released already. */
static void a_head_that_goes_back_ends_the_session(void **state)
{
    struct scene *scene = *state;
    struct raw_client client = client_new(scene);
    const struct ipc_submission slot = raw_client_honest(&client);
    raw_client_submit(&client, &slot);
    for (uint32_t n = 0; n < 2000 && atomic_load(&client.peer->tail) < 1; n++)
        (void)usleep(10000);
    atomic_store(&client.page->head, 1);
    raw_client_submit(&client, &slot);
    for (uint32_t n = 0; n < 2000 && atomic_load(&client.peer->tail) < 2; n++)
        (void)usleep(10000);
    atomic_store(&client.page->head, 0);
    raw_client_submit(&client, &slot);
    assert_thrown_out(scene, &client);
}

static void more_messages_than_slots_end_the_session(void **state)
{
    struct scene *scene = *state;
    struct raw_client client = client_new(scene);
    const struct ipc_submission slot = raw_client_honest(&client);
    for (uint32_t n = 0; n < 9; n++) { /* eight, none released, and one more */
        raw_client_submit(&client, &slot);
        for (uint32_t m = 0; m < 2000 && n < 8 && atomic_load(&client.peer->tail) <= n; m++)
            (void)usleep(10000);
    }
    assert_thrown_out(scene, &client);
}

/* ---- the socket and the doorbell ---- */

static void a_client_that_talks_on_is_thrown_out(void **state)
{
    struct scene *scene = *state;
    struct raw_client client = client_new(scene);
    assert_int_equal(send(client.socket_fd, "hello?", 6, MSG_NOSIGNAL), 6);
    assert_thrown_out(scene, &client);
}

static void a_client_that_never_reads_its_bell_blocks_nobody(void **state)
{
    struct scene *scene = *state;
    struct raw_client client = client_new(scene);
    const struct ipc_submission slot = raw_client_honest(&client);
    atomic_store(&client.page->asleep, UINT32_MAX);
    for (uint32_t n = 0; n < 3000; n++) {
        raw_client_submit(&client, &slot);
        for (uint32_t m = 0; m < 200000 && atomic_load(&client.peer->tail) <= n; m++)
            __builtin_ia32_pause();
        for (uint32_t m = 0; m < 2000 && atomic_load(&client.peer->tail) <= n; m++)
            (void)usleep(10000);
        atomic_store(&client.page->head, n + 1);
    }
    assert_int_equal(atomic_load(&client.peer->tail), 3000);
    assert_others_are_served(scene);
    raw_client_close(&client);
}

static void a_doorbell_with_other_flags_blocks_nobody(void **state)
{
    struct scene *scene = *state;
    struct raw_client client = client_new(scene);
    const uint64_t most = UINT64_MAX - 1;
    assert_int_equal(fcntl(client.doorbell, F_SETFL, O_NONBLOCK), 0);
    assert_int_equal(write(client.doorbell, &most, sizeof(most)), sizeof(most));
    assert_others_are_served(scene);
    uint64_t stolen;
    for (uint32_t n = 0; n < 1000; n++)
        (void)!read(client.doorbell, &stolen, sizeof(stolen));
    assert_others_are_served(scene);
    raw_client_close(&client);
    assert_others_are_served(scene);
}

static void a_client_that_says_nothing_blocks_nobody(void **state)
{
    struct scene *scene = *state;
    int fds[20];
    for (size_t n = 0; n < ARRAY_COUNT(fds); n++) {
        struct raw_client client;
        /* Zero bytes are a packet too: on this kind of socket they read as a hang-up. */
        const struct raw_hello hello = {.path = echo_engine_path(scene->engine),
                                        .seals = -1,
                                        .hello_bytes = 1,
                                        .no_memfd = true};
        assert_int_equal(raw_client_open(&client, &hello), EBADMSG);
        fds[n] = dup(client.socket_fd);
        raw_client_close(&client);
        assert_others_are_served(scene);
    }
    for (size_t n = 0; n < ARRAY_COUNT(fds); n++)
        assert_int_equal(close(fds[n]), 0);
}

/* ---- everything at once ---- */

static uint64_t next_random(uint64_t *random)
{
    *random ^= *random >> 12;
    *random ^= *random << 25;
    *random ^= *random >> 27;
    return *random * UINT64_C(0x2545f4914f6cdd1d);
}

struct vandal {
    struct raw_client client;
    uint64_t random;
};

/* Writes bytes all over its slots and indices while the engine reads them. */
static void *vandal_run(void *argument)
{
    struct vandal *vandal = argument;
    const struct ipc_submission slot = raw_client_honest(&vandal->client);
    for (uint32_t n = 0; n < 3000; n++) {
        const uint64_t choice = next_random(&vandal->random);
        const uint64_t place = choice >> 8;
        uint8_t *slots = vandal->client.at + vandal->client.geometry.slots_offset;
        switch (choice % 8) {
        case 0: slots[place % 512] = (uint8_t)(choice >> 40); break;
        case 1: vandal->client.at[place % IPC_PAGE_BYTES] = (uint8_t)(choice >> 40); break;
        case 2: vandal->client.at[vandal->client.geometry.arena_offset + place % 80] ^= 0x40; break;
        case 3: atomic_fetch_add(&vandal->client.page->head, (uint32_t)(place % 3)); break;
        default: raw_client_submit(&vandal->client, &slot); break;
        }
    }
    return NULL;
}

static void random_bytes_in_the_shared_page_harm_nobody_else(void **state)
{
    struct scene *scene = *state;
    print_message("seeds 1 to 40\n");
    for (uint64_t seed = 1; seed <= 40; seed++) {
        struct vandal vandals[2];
        pthread_t threads[2];
        for (uint32_t n = 0; n < 2; n++) {
            vandals[n] = (struct vandal){.client = client_new(scene), .random = seed * 977 + n};
            assert_int_equal(pthread_create(&threads[n], NULL, vandal_run, &vandals[n]), 0);
        }
        for (uint32_t n = 0; n < 20; n++)
            assert_others_are_served(scene);
        for (uint32_t n = 0; n < 2; n++) {
            assert_int_equal(pthread_join(threads[n], NULL), 0);
            raw_client_close(&vandals[n].client);
        }
    }
    assert_others_are_served(scene);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, scene_up, scene_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(mutated_hellos_are_refused),
        TEST(hellos_of_another_length_are_refused),
        TEST(memory_without_every_seal_is_refused),
        TEST(memory_of_another_size_is_refused),
        TEST(memory_with_holes_is_refused),
        TEST(a_wrong_number_of_descriptors_is_refused),
        TEST(a_pipe_is_no_memory),
        TEST(mutated_slots_end_the_session),
        TEST(slots_at_the_edge_are_served),
        TEST(bad_addresses_are_refused_one_by_one),
        TEST(tail_jumps_end_the_session),
        TEST(a_tail_that_goes_back_ends_the_session),
        TEST(head_jumps_end_the_session),
        TEST(a_head_that_goes_back_ends_the_session),
        TEST(more_messages_than_slots_end_the_session),
        TEST(a_client_that_talks_on_is_thrown_out),
        TEST(a_client_that_never_reads_its_bell_blocks_nobody),
        TEST(a_doorbell_with_other_flags_blocks_nobody),
        TEST(a_client_that_says_nothing_blocks_nobody),
        TEST(random_bytes_in_the_shared_page_harm_nobody_else),
    };
    return cmocka_run_group_tests_name("hostile client", tests, NULL, NULL);
}
