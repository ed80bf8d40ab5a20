#include "tests/engine/waiting_rig.h"

#include "base/bytes.h"
#include "base/clock.h"
#include "engine/key_link.h"
#include "keyservice/key_client.h"
#include "keyservice/record.h"
#include "tests/engine/outage.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct disk_model *model;
struct waiting *waiting;
struct crypto_core *core;
uint8_t *buffers;
uint8_t body[LARGE_BYTES];
uint32_t body_bytes;
uint32_t wait_s;
bool notify;
struct id last_id;
uint64_t last_end_unix_ms;
uint8_t key[32];
uint8_t put_key;
struct worker worker;
uint64_t now_ns;
uint64_t start_unix_s;
const struct snapshot *snapshot;
uint32_t ended_count;
uint32_t asked[ASKS_MAX];
uint32_t asks_count;
bool answers;
bool up;

static bool op_key_up(void *user, uint32_t key_service)
{
    (void)user;
    (void)key_service;
    return up;
}

static void op_ask(void *user, uint32_t key_service, const struct key_request *request)
{
    (void)user;
    assert_true(asks_count < ASKS_MAX);
    assert_true(key_service < ASKS_MAX);
    asked[asks_count++] = request->job_index;
}

static const struct snapshot *op_snapshot(void *user)
{
    (void)user;
    assert_non_null(snapshot);
    return snapshot;
}

static bool op_put_ended(void *user, uint32_t job_index, int error)
{
    (void)user;
    (void)job_index;
    assert_int_equal(error, 0);
    ended_count++;
    return true;
}

static void op_broken(void *user, uint32_t session)
{
    (void)user;
    (void)session;
}

static const struct waiting_ops ops = {.key_up = op_key_up,
                                       .ask = op_ask,
                                       .snapshot = op_snapshot,
                                       .put_ended = op_put_ended,
                                       .broken = op_broken};

uint64_t unix_ns(void)
{
    return start_unix_s * NS_PER_S + now_ns;
}

static void model_open(struct disk_model **made)
{
    const struct disk_model_config config = {.seed = 7, .file_bytes_max = SEGMENT_BYTES};
    *made = disk_model_open(&config);
}

void waiting_begin(uint32_t key_services_count)
{
    char why[WAITING_WHY_BYTES] = "";
    const struct waiting_config config = {
        .disk = disk_model_disk(model),
        .lanes_count = 1,
        .segment_bytes = SEGMENT_BYTES,
        .bytes_max = SEGMENTS * SEGMENT_BYTES,
        .buffers = buffers,
        .buffers_bytes = SPOOL_BUFFERS_MIN,
        .key = key,
        .core = core,
        .key_services_count = key_services_count,
        .key_names = {"one", "two"},
        .ask_ns = OUTAGE_ASK_S * NS_PER_S,
        .now_ns = now_ns,
        .now_unix_ns = unix_ns(),
        .ops = &ops,
    };
    if (waiting_open(&waiting, &config, why) != 0)
        fail_msg("%s", why);
    worker.waiting = waiting;
}

int rig_begin(void **state)
{
    (void)state;
    now_ns = NS_PER_S;
    start_unix_s = START_UNIX_S;
    snapshot = NULL;
    ended_count = 0;
    asks_count = 0;
    answers = true;
    up = false;
    notify = true;
    body_bytes = BODY_BYTES;
    wait_s = WAIT_S;
    put_key = key[0] = 1;
    buffers = aligned_alloc(DISK_BLOCK_BYTES, SPOOL_BUFFERS_MIN);
    model_open(&model);
    return buffers == NULL || crypto_core_open(&core, isa_best()) != 0 ? -1 : 0;
}

int rig_end(void **state)
{
    (void)state;
    assert_true(waiting_close(waiting));
    waiting = NULL;
    crypto_core_close(core);
    free(buffers);
    return 0;
}

/* All that can be done in this second. */
void passes(void)
{
    for (uint32_t n = 0; n < PASSES; n++) {
        (void)waiting_run(waiting, now_ns, unix_ns(), 32);
        while (answers && asks_count > 0)
            waiting_take_verdict(waiting, asked[--asks_count], up ? KEY_STORED : KEY_AWAY);
    }
}

/* A second later. */
void step(void)
{
    now_ns += NS_PER_S;
    passes();
}

void mail_make(struct made *made, struct waiting_mail *mail, uint32_t key_service)
{
    static const uint8_t to[] = {13,  0,   'b', '@', 'e', 'x', 'a', 'm',
                                 'p', 'l', 'e', '.', 'o', 'r', 'g'};
    id_make(&made->id, core, unix_ns());
    struct record wrote = {.suite = 1,
                           .level = RECORD_LEVEL_HIGH,
                           .sent_unix_ms = START_UNIX_S * 1000,
                           .mail_bytes = body_bytes,
                           .profile = (const uint8_t *)"default",
                           .profile_bytes = 7,
                           .sender = (const uint8_t *)"a@example.com",
                           .sender_bytes = 13,
                           .recipients = to,
                           .recipients_count = 1,
                           .recipients_bytes = sizeof(to)};
    memcpy(wrote.id, made->id.bytes, sizeof(wrote.id));
    const size_t record_bytes = record_write(made->record, sizeof(made->record), &wrote);
    assert_true(record_bytes > 0);
    last_id = made->id;
    made->span = (struct spool_span){.at = body, .bytes = body_bytes};
    const uint64_t unix_ms = unix_ns() / NS_PER_MS;
    last_end_unix_ms = unix_ms + wait_s * UINT64_C(1000);
    *mail = (struct waiting_mail){.id = &made->id,
                                  .arrived_unix_ms = unix_ms,
                                  .end_unix_ms = last_end_unix_ms,
                                  .record = made->record,
                                  .record_bytes = (uint32_t)record_bytes,
                                  .key_service = key_service,
                                  .notify = notify,
                                  .head = made->head,
                                  .head_room = HEAD_ROOM,
                                  .spans = &made->span,
                                  .spans_count = 1};
}

void put_settle(uint32_t ended_wanted)
{
    for (uint32_t steps = 0; ended_count != ended_wanted; steps++) {
        assert_true(steps < STEPS_MAX);
        step();
    }
}

void put(uint32_t key_service)
{
    struct made made;
    struct waiting_mail mail;
    const uint32_t wanted = ended_count + 1;
    const uint32_t job_index = 0;
    mail_make(&made, &mail, key_service);
    key[0] = put_key;
    assert_int_equal(waiting_put_burst(waiting, &mail, &job_index, 1), 1);
    key[0] = 1;
    put_settle(wanted);
}

uint64_t in_state(enum waiting_state state)
{
    return waiting_counts(waiting)->states[state];
}

/* As after a kill: nothing that was read before is in memory. */
void start_again(uint32_t key_services_count)
{
    struct disk_model *next;
    model_open(&next);
    disk_model_kill(model, next, 1);
    disk_model_keep(next);
    assert_true(waiting_close(waiting));
    model = next;
    asks_count = 0;
    waiting_begin(key_services_count);
}

const struct ipc_completion *emission_of(const struct pair *pair, uint32_t n)
{
    assert_true(n < atomic_load(&pair->peer->tail));
    const uint8_t *slots = pair->peer_at + pair->peer->slots_offset;
    return (const struct ipc_completion *)(const void *)(slots + n % pair->client.slots_count *
                                                                     sizeof(struct ipc_completion));
}

struct pair *collector_begin(uint32_t session)
{
    return collector_begin_slots(session, PAIR_SLOTS);
}

struct pair *collector_begin_slots(uint32_t session, uint32_t slots_count)
{
    void *made = NULL;
    assert_int_equal(pair_up_slots(&made, IPC_KIND_COLLECTOR, 0, slots_count), 0);
    struct pair *pair = made;
    assert_true(waiting_collector_add(waiting, session, pair->channel));
    return pair;
}

/* Without a word about what it has. */
void collector_finish(struct pair *pair, uint32_t session)
{
    void *made = pair;
    waiting_collector_end(waiting, session);
    for (uint32_t n = 0; !waiting_collector_gone(waiting, session); n++) {
        assert_true(n < STEPS_MAX);
        passes();
    }
    assert_int_equal(pair_down(&made), 0);
}

/* The nth emission is sent, and its memory given back. */
void collector_sent(struct pair *pair, uint32_t session, uint32_t n)
{
    const struct ipc_submission done = {.request_id = emission_of(pair, n)->request_id,
                                        .flags = IPC_SUBMIT_DONE,
                                        .done_result = IPC_DONE_SENT};
    pair_submit(pair, &done);
    atomic_store(&pair->page->head, n + 1);
    assert_true(waiting_collector_serve(waiting, session) > 0);
}

bool is_about(const struct ipc_completion *emission, const struct id *id)
{
    return memcmp(emission->envelope_id, id->bytes, ID_BYTES) == 0;
}
