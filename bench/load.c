#include "bench/load.h"

#include "base/assert.h"
#include "base/clock.h"
#include "bench/hotpath.h"
#include "bench/machine.h"
#include "mta/bulla.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LOAD_POLL_MAX      64
#define LOAD_SUBMIT_MAX    64              /* between two polls */
#define LOAD_DRAIN_NS      (30 * NS_PER_S) /* for answers still out at the end */
#define LOAD_SLOTS_DEFAULT 256
#define LOAD_BACKLOG_MAX   (UINT64_C(1) << 30) /* arrivals left behind that are still counted */

#define LOAD_PLACES_MAX  16
#define LOAD_META_BYTES  4096 /* what may stand before a mail in the arena, at most */
#define LOAD_SLEEP_MS    1
#define LOAD_STREAMS_MAX 2
/* Of a message that falls due at a time of its own, copied between looking at all else: the one
 * thread stands for several submitters, of which none waits for another's copying. */
#define LOAD_COPY_BYTES (32 * 1024)

/* A message under way. */
struct load_flight {
    uint64_t due_ns;
    uint64_t mail_bytes;
    uint32_t stream;
    bool out;
    uint32_t next_free;
};

/* Arrivals of one kind of mail. */
struct load_stream {
    const struct mailset *set;
    double rate_per_s;
    uint64_t due_ns;         /* of the next arrival */
    uint64_t arrivals_count; /* that fell due in the measured time */
    struct histogram *latency;
    const struct mailset_mail *waiting; /* picked for it, not yet taken */
    struct load_flight *flight;         /* its place, while it is copied; NULL: none is */
    struct bulla *client;
    struct bulla_reservation reservation;
    size_t copied_bytes;
};

/* Where a mail stands in the arena since it was copied there. */
struct load_place {
    const uint8_t *at;
    const struct mailset_mail *mail;
};

struct load {
    const struct load_config *config;
    struct load_result *result;
    struct load_stream streams[LOAD_STREAMS_MAX];
    uint32_t streams_count;
    struct bulla *clients[LOAD_CLIENTS_MAX];
    uint32_t clients_open;
    uint32_t turn;
    struct load_flight *flights;
    uint32_t flights_count;
    uint32_t free_head; /* index, or flights_count when none is free */
    uint32_t out_count;
    uint64_t state;
    uint64_t measure_start_ns;
    uint64_t measure_end_ns;
    struct load_place places[LOAD_PLACES_MAX];
    uint32_t places_next; /* the oldest, to be forgotten first */
    uint8_t *flat;
    size_t flat_bytes;
};

static int load_attach(struct load *load, char why[MAILSET_WHY_BYTES])
{
    const struct load_config *config = load->config;
    const struct bulla_config attach = {
        .socket_path = config->socket_path,
        .slots_count = config->slots_count,
        .input_bytes = config->input_bytes,
    };
    for (uint32_t i = 0; i < config->clients_count; i++) {
        const int rc = bulla_attach(&load->clients[i], &attach);
        if (rc != 0) {
            (void)snprintf(why, MAILSET_WHY_BYTES, "no engine at %.150s: %s",
                           config->socket_path == NULL ? BULLA_SOCKET_DEFAULT : config->socket_path,
                           strerror(-rc));
            return rc;
        }
        load->clients_open++;
    }
    return 0;
}

/* Exponential gaps; (0, 1] keeps the logarithm finite. */
static uint64_t load_gap_ns(uint64_t *state, double rate_per_s)
{
    const double unit = ((double)(mailset_random(state) >> 11) + 1.0) / 9007199254740992.0;
    return (uint64_t)(-log(unit) / rate_per_s * (double)NS_PER_S);
}

/* One arrival is dealt with; when is the next one due? */
static void load_advance_due(struct load *load, struct load_stream *stream, uint64_t now_ns)
{
    stream->arrivals_count +=
        stream->due_ns >= load->measure_start_ns && stream->due_ns < load->measure_end_ns;
    stream->waiting = NULL;
    if (stream->rate_per_s <= 0) {
        stream->due_ns = now_ns;
        return;
    }
    stream->due_ns += load_gap_ns(&load->state, stream->rate_per_s);
}

/* What stood where a mail is written now stands there no longer. */
static void load_forget(struct load *load, const uint8_t *at, size_t bytes)
{
    for (uint32_t i = 0; i < LOAD_PLACES_MAX; i++) {
        struct load_place *place = &load->places[i];
        if (place->at != NULL && at - LOAD_META_BYTES < place->at + place->mail->bytes &&
            place->at < at + bytes)
            *place = (struct load_place){.at = NULL};
    }
}

/* True when the mail stands at `at` already; else it will, and what it runs over is forgotten. A
 * small one is always copied: it would push large ones out of the list. */
static bool load_stands(struct load *load, const uint8_t *at, const struct mailset_mail *mail)
{
    for (uint32_t i = 0; i < LOAD_PLACES_MAX; i++)
        if (load->places[i].at == at && load->places[i].mail == mail)
            return true;
    load_forget(load, at, mail->bytes);
    if (mail->bytes <= LOAD_META_BYTES)
        return false;
    load->places[load->places_next] = (struct load_place){.at = at, .mail = mail};
    load->places_next = (load->places_next + 1) % LOAD_PLACES_MAX;
    return false;
}

/* With two kinds each has its own attachment; else all are served in turn. */
static struct bulla *load_client(struct load *load, uint32_t stream_index)
{
    if (load->streams_count > 1)
        return load->clients[stream_index];
    struct bulla *client = load->clients[load->turn];
    load->turn = (load->turn + 1) % load->clients_open;
    return client;
}

/* Room for the stream's next due message; false when there is none. */
static bool load_reserve(struct load *load, uint32_t stream_index)
{
    struct load_stream *stream = &load->streams[stream_index];
    if (load->free_head == load->flights_count)
        return false;
    if (stream->waiting == NULL)
        stream->waiting = mailset_pick(stream->set, mailset_random(&load->state));
    struct bulla *client = load_client(load, stream_index);
    struct load_flight *flight = &load->flights[load->free_head];
    const struct bulla_request request = {
        .profile = load->config->profile,
        .sender = load->config->sender,
        .recipients = &load->config->recipient,
        .recipients_count = 1,
        .flags = load->config->queue ? BULLA_QUEUE : 0,
        .mail_bytes = stream->waiting->bytes,
        .user = flight,
    };
    if (bulla_reserve(client, &request, &stream->reservation) != 0)
        return false;
    const bool stands =
        load->config->in_place && load_stands(load, stream->reservation.mail, stream->waiting);
    stream->client = client;
    stream->copied_bytes = stands ? stream->waiting->bytes : 0;
    stream->flight = flight;
    load->free_head = flight->next_free;
    return true;
}

/* True when all of it stands in the arena. */
static bool load_copy(struct load_stream *stream)
{
    const struct mailset_mail *mail = stream->waiting;
    const size_t left_bytes = mail->bytes - stream->copied_bytes;
    const size_t bytes =
        stream->rate_per_s > 0 ? MIN(left_bytes, (size_t)LOAD_COPY_BYTES) : left_bytes;
    memcpy((uint8_t *)stream->reservation.mail + stream->copied_bytes,
           mail->bytes_at + stream->copied_bytes, bytes);
    stream->copied_bytes += bytes;
    return bytes == left_bytes;
}

static void load_cancel(struct load *load, struct load_stream *stream)
{
    if (stream->flight == NULL)
        return;
    load_forget(load, stream->reservation.mail, stream->waiting->bytes);
    bulla_cancel(stream->client, &stream->reservation);
    stream->flight->next_free = load->free_head;
    load->free_head = (uint32_t)(stream->flight - load->flights);
    stream->flight = NULL;
}

/* True when the stream's next due message was handed over. */
static bool load_submit(struct load *load, uint32_t stream_index, uint64_t now_ns)
{
    struct load_stream *stream = &load->streams[stream_index];
    if (stream->flight == NULL && !load_reserve(load, stream_index))
        return false;
    if (!load_copy(stream))
        return false;
    if (bulla_submit(stream->client, &stream->reservation) != 0) {
        load_cancel(load, stream);
        return false;
    }
    struct load_flight *flight = stream->flight;
    stream->flight = NULL;
    flight->due_ns = stream->due_ns;
    flight->mail_bytes = stream->waiting->bytes;
    flight->stream = stream_index;
    flight->out = true;
    load->out_count++;
    load_advance_due(load, stream, now_ns);
    return true;
}

static void load_count_series(struct load *load, bool sealed, uint64_t now_ns)
{
    if (load->config->series_ns == 0 || now_ns < load->measure_start_ns)
        return;
    const uint64_t step = (now_ns - load->measure_start_ns) / load->config->series_ns;
    if (step >= LOAD_SERIES_MAX)
        return;
    load->result->series[step] += sealed;
    load->result->series_retries[step] += !sealed;
}

/* One that was not sealed was late until the end at least, however soon that was said. */
static void load_late(struct load *load, const struct load_flight *flight, uint64_t now_ns)
{
    if (flight->due_ns >= load->measure_start_ns)
        histogram_record(load->streams[flight->stream].latency,
                         MAX(now_ns, load->measure_end_ns) - flight->due_ns);
}

static void load_count(struct load *load, const struct bulla_completion *completion,
                       uint64_t now_ns)
{
    struct load_flight *flight = completion->user;
    struct load_result *result = load->result;
    const bool measured = flight->due_ns >= load->measure_start_ns;

    if (completion->status == BULLA_SEALED) {
        if (load->config->flatten) {
            ASSERT(completion->mail_bytes <= load->flat_bytes);
            (void)bulla_flatten(completion, load->flat, load->flat_bytes);
        }
        if (measured)
            histogram_record(load->streams[flight->stream].latency, now_ns - flight->due_ns);
        if (now_ns >= load->measure_start_ns && now_ns < load->measure_end_ns) {
            result->sealed_count++;
            result->other_sealed_count += flight->stream != 0;
            result->mail_bytes += flight->mail_bytes;
            result->sealed_bytes += completion->mail_bytes;
        }
    } else if (completion->status == BULLA_QUEUED && load->config->queue) {
        if (measured)
            histogram_record(load->streams[flight->stream].latency, now_ns - flight->due_ns);
        result->queued_count += now_ns >= load->measure_start_ns && now_ns < load->measure_end_ns;
    } else {
        load_late(load, flight, now_ns);
        if (result->other_count++ == 0)
            (void)snprintf(result->other_text, sizeof(result->other_text), "%s %s",
                           completion->enhanced_status, completion->text);
    }
    load_count_series(load, completion->status == BULLA_SEALED, now_ns);
    flight->out = false;
    flight->next_free = load->free_head;
    load->free_head = (uint32_t)(flight - load->flights);
    load->out_count--;
}

static int load_poll(struct load *load)
{
    struct bulla_completion completions[LOAD_POLL_MAX];
    for (uint32_t i = 0; i < load->clients_open; i++) {
        const int count = bulla_poll(load->clients[i], completions, LOAD_POLL_MAX);
        if (count < 0)
            return count;
        const uint64_t now_ns = count > 0 ? clock_monotonic_ns() : 0;
        for (int j = 0; j < count; j++) {
            load_count(load, &completions[j], now_ns);
            bulla_release(load->clients[i], &completions[j]);
        }
    }
    return 0;
}

/* Arrivals that fell due and could not be handed over: their wait so far is part of the answer. */
static uint64_t load_charge_backlog(struct load *load, struct load_stream *stream)
{
    uint64_t backlog_count = 0;
    while (stream->rate_per_s > 0 && stream->due_ns < load->measure_end_ns &&
           backlog_count < LOAD_BACKLOG_MAX) {
        if (stream->due_ns >= load->measure_start_ns) {
            histogram_record(stream->latency, load->measure_end_ns - stream->due_ns);
            backlog_count++;
        }
        load_advance_due(load, stream, load->measure_end_ns);
    }
    return backlog_count;
}

static void load_charge_unanswered(struct load *load, uint64_t now_ns)
{
    for (uint32_t i = 0; i < load->flights_count; i++)
        if (load->flights[i].out)
            load_late(load, &load->flights[i], now_ns);
}

static void load_submit_due(struct load *load, uint64_t now_ns)
{
    for (uint32_t i = 0; i < load->streams_count; i++)
        for (uint32_t n = 0; n < LOAD_SUBMIT_MAX && load->streams[i].due_ns <= now_ns; n++) {
            if (!load_submit(load, i, now_ns))
                break;
        }
}

static void load_hook(const struct load *load, void (*hook)(void *user))
{
    if (hook != NULL)
        hook(load->config->hooks.user);
}

static int load_loop(struct load *load)
{
    const uint64_t start_ns = clock_monotonic_ns();
    for (uint32_t i = 0; i < load->streams_count; i++)
        load->streams[i].due_ns = start_ns;
    load->measure_start_ns = start_ns + load->config->warmup_ns;
    load->measure_end_ns = load->measure_start_ns + load->config->duration_ns;
    int rc = 0;
    uint64_t now_ns = start_ns;
    bool started = false;
    while (rc == 0 && now_ns < load->measure_end_ns) {
        if (!started && now_ns >= start_ns + load->config->warmup_ns / 2) {
            started = true;
            load_hook(load, load->config->hooks.start);
            load->measure_start_ns = MAX(load->measure_start_ns, clock_monotonic_ns());
            load->measure_end_ns = load->measure_start_ns + load->config->duration_ns;
        }
        load_submit_due(load, now_ns);
        if (load->config->sleeps && load->out_count > 0)
            (void)bulla_wait(load->clients[0], LOAD_SLEEP_MS); /* its end is the poll's to tell */
        rc = load_poll(load);
        now_ns = clock_monotonic_ns();
        if (started && load->config->hooks.turn != NULL &&
            !load->config->hooks.turn(load->config->hooks.user))
            load->measure_end_ns = MAX(now_ns, load->measure_start_ns + 1);
    }
    load_hook(load, load->config->hooks.end);
    for (uint32_t i = 0; i < load->streams_count; i++)
        load_cancel(load, &load->streams[i]);
    load->result->backlog_count = load_charge_backlog(load, &load->streams[0]);
    if (load->streams_count > 1)
        (void)load_charge_backlog(load, &load->streams[1]);
    const uint64_t drain_end_ns = now_ns + LOAD_DRAIN_NS;
    while (rc == 0 && load->out_count > 0 && now_ns < drain_end_ns) {
        rc = load_poll(load);
        now_ns = clock_monotonic_ns();
    }
    load_charge_unanswered(load, now_ns);
    load->result->unanswered_count = load->out_count;
    load->result->other_offered_count = load->streams[1].arrivals_count;
    load->result->seconds =
        (double)(load->measure_end_ns - load->measure_start_ns) / (double)NS_PER_S;
    load->result->offered_per_s = (double)load->streams[0].arrivals_count / load->result->seconds;
    return rc;
}

/* The loop, and what the machine did to the worker meanwhile: looked up outside of it, since that
 * would delay messages. */
static int load_watched_loop(struct load *load)
{
    const struct spawn *engine = load->config->engine;
    const uint64_t before = engine == NULL ? 0 : hotpath_preemptions(engine);
    const uint64_t start_ns = clock_monotonic_ns();
    const int rc = load_loop(load);
    const double seconds = (double)(clock_monotonic_ns() - start_ns) / (double)NS_PER_S;
    load->result->shared_huge_mib = machine_shared_huge_mib();
    load->result->worker_preempted_per_s =
        engine == NULL ? -1 : (double)(hotpath_preemptions(engine) - before) / seconds;
    return rc;
}

static void load_fini(struct load *load)
{
    for (uint32_t i = 0; i < load->clients_open; i++)
        bulla_detach(load->clients[i]);
    free(load->flights);
    free(load->flat);
}

void load_gaps(const struct load_config *config, struct histogram *gaps)
{
    uint64_t state = config->seed;
    uint64_t now_ns = clock_monotonic_ns();
    const uint64_t end_ns = now_ns + config->duration_ns;
    ASSERT(config->rate_per_s > 0);
    histogram_init(gaps);
    for (uint64_t due_ns = now_ns; due_ns < end_ns; now_ns = clock_monotonic_ns())
        for (; due_ns <= now_ns && due_ns < end_ns;
             due_ns += load_gap_ns(&state, config->rate_per_s))
            histogram_record(gaps, now_ns - due_ns);
}

bool load_sound(const struct load_result *result, char why[MAILSET_WHY_BYTES])
{
    if (result->other_count > 0)
        (void)snprintf(why, MAILSET_WHY_BYTES, "%lu messages were not sealed: %.150s",
                       (unsigned long)result->other_count, result->other_text);
    else if (result->unanswered_count > 0)
        (void)snprintf(why, MAILSET_WHY_BYTES, "%lu messages were never answered",
                       (unsigned long)result->unanswered_count);
    else if (result->sealed_count + result->queued_count == 0 || result->latency.count == 0)
        (void)snprintf(why, MAILSET_WHY_BYTES, "nothing was sealed in the measured time");
    else
        return true;
    return false;
}

int load_run(const struct load_config *config, const struct mailset *set,
             struct load_result *result, char why[MAILSET_WHY_BYTES])
{
    ASSERT(config->clients_count > 0 && config->clients_count <= LOAD_CLIENTS_MAX);
    struct load load = {.config = config, .result = result, .state = config->seed};
    memset(result, 0, sizeof(*result));
    histogram_init(&result->latency);
    histogram_init(&result->other_latency);
    load.streams[load.streams_count++] = (struct load_stream){
        .set = set, .rate_per_s = config->rate_per_s, .latency = &result->latency};
    if (config->other_set != NULL) {
        ASSERT(config->clients_count == LOAD_STREAMS_MAX);
        load.streams[load.streams_count++] =
            (struct load_stream){.set = config->other_set,
                                 .rate_per_s = config->other_rate_per_s,
                                 .latency = &result->other_latency};
    }

    const uint32_t slots_count =
        config->slots_count == 0 ? LOAD_SLOTS_DEFAULT : config->slots_count;
    load.flights_count = slots_count * config->clients_count;
    load.flights = calloc(load.flights_count, sizeof(*load.flights));
    /* A sealed mail is at most the base64 of the original, a kilobyte a megabyte and fixed parts.
     */
    load.flat_bytes =
        MAX(set->bytes_max, config->other_set == NULL ? 0 : config->other_set->bytes_max) * 3 / 2 +
        256 * 1024;
    load.flat = config->flatten ? malloc(load.flat_bytes) : NULL;
    int rc = load.flights == NULL || (config->flatten && load.flat == NULL) ? -ENOMEM : 0;
    if (rc == 0) {
        for (uint32_t i = 0; i < load.flights_count; i++)
            load.flights[i].next_free = i + 1;
        rc = load_attach(&load, why);
    }
    if (rc == 0) {
        rc = load_watched_loop(&load);
        if (rc != 0)
            (void)snprintf(why, MAILSET_WHY_BYTES, "the engine went away: %s", strerror(-rc));
    }
    load_fini(&load);
    return rc;
}
