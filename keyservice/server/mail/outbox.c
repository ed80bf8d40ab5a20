#include "keyservice/server/mail/outbox.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/log.h"
#include "keyservice/server/store/store_outbox.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define OUTBOX_LOOK_MS    2000
#define OUTBOX_NAME_BYTES 64
#define OUTBOX_HEX_BYTES  (2 * OUTBOX_ID_BYTES + 1)
#define OUTBOX_SHIFT_MAX  16

struct outbox {
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t due;
    bool woken;
    /* Written once by outbox_close(), read by the sending thread: a hint, no order. */
    atomic_bool stop;
    struct outbox_config config;
    struct outbox_due batch[OUTBOX_SEND_BATCH];
    uint8_t part[OUTBOX_PART_BYTES];
};

/* One mail on its way: its parts are read one by one. */
struct outbox_source {
    struct outbox *outbox;
    const uint8_t *body;
    uint32_t place;
    size_t at;
    size_t bytes; /* of the part that is there */
    uint64_t left;
};

static uint64_t now_ms(void)
{
    return clock_unix_ns() / NS_PER_MS;
}

static size_t source_read(void *context, char *dst, size_t room)
{
    struct outbox_source *source = context;
    if (source->left == 0)
        return 0;
    if (source->at == source->bytes) {
        size_t bytes = OUTBOX_PART_BYTES;
        if (store_outbox_part(source->outbox->config.store, source->body, source->place,
                              source->outbox->part, &bytes) != 0 ||
            bytes == 0 || bytes > source->left)
            return RELAY_READ_FAILED;
        source->place++;
        source->at = 0;
        source->bytes = bytes;
    }
    const size_t take = MIN(room, source->bytes - source->at);
    memcpy(dst, source->outbox->part + source->at, take);
    source->at += take;
    source->left -= take;
    return take;
}

static bool source_over(void *context)
{
    const struct outbox_source *source = context;
    return atomic_load_explicit(&source->outbox->stop, memory_order_relaxed);
}

static void id_hex(char hex[OUTBOX_HEX_BYTES], const uint8_t id[OUTBOX_ID_BYTES])
{
    for (size_t i = 0; i < OUTBOX_ID_BYTES; i++)
        (void)snprintf(hex + 2 * i, 3, "%02x", id[i]);
}

static int due_send(struct outbox *outbox, const struct outbox_due *due,
                    const char name[OUTBOX_NAME_BYTES])
{
    struct outbox_source source = {.outbox = outbox, .body = due->body, .left = due->bytes};
    const struct relay_mail attempt = {.name = name,
                                       .from = due->sender,
                                       .to = due->address,
                                       .bytes = due->bytes,
                                       .read = source_read,
                                       .over = source_over,
                                       .context = &source,
                                       .attempt_ms = OUTBOX_ATTEMPT_MS,
                                       .attempts_count = due->attempts_count};
    return relay_try(mail_relay(outbox->config.mail), &attempt);
}

/* Never again: recorded, and the account whose message it was is told in the same commit. */
static void due_drop(struct outbox *outbox, const struct outbox_due *due, const char *outcome)
{
    char hex[OUTBOX_HEX_BYTES];
    char text[MAIL_BYTES_MAX];
    uint8_t notice_id[OUTBOX_ID_BYTES];
    const char *const to[] = {due->account};
    struct outbox_mail notice = {
        .id = notice_id, .from_envelope = "", .to = to, .to_count = 1, .mail = text};
    const struct outbox_config *config = &outbox->config;
    id_hex(hex, due->id);
    const struct audit_event event = {.event = "outbox",
                                      .outcome = outcome,
                                      .id = hex,
                                      .user = due->account[0] == '\0' ? NULL : due->account,
                                      .from = "outbox"};
    if (audit_append(config->audit, &event, false, clock_unix_ns()) != 0)
        log_line(LOG_LEVEL_ERROR, "audit_failed", "event=outbox");
    if (due->kind == OUTBOX_MESSAGE && due->account[0] != '\0' && config->failed != NULL &&
        getrandom(notice_id, sizeof(notice_id), 0) == (ssize_t)sizeof(notice_id))
        notice.mail_bytes = config->failed(config->context, text, due->account, due->address);
    const int rc =
        store_outbox_end(config->store, due, notice.mail_bytes > 0 ? &notice : NULL, now_ms());
    log_line(LOG_LEVEL_ERROR, "outbox_dropped", "m=%s place=%u attempts=%u outcome=%s errno=%d",
             hex, due->place, due->attempts_count, outcome, -rc);
}

static uint64_t retry_ms(const struct outbox *outbox, const struct outbox_due *due)
{
    const uint64_t first_ms =
        outbox->config.retry_ms == 0 ? OUTBOX_RETRY_MS : outbox->config.retry_ms;
    ASSERT(due->attempts_count > 0);
    return MIN(first_ms << MIN(due->attempts_count - 1, (uint32_t)OUTBOX_SHIFT_MAX),
               (uint64_t)OUTBOX_RETRY_MS_MAX);
}

static void due_finish(struct outbox *outbox, const struct outbox_due *due, const char *name,
                       int sent)
{
    const struct outbox_config *config = &outbox->config;
    const uint64_t life_ms = config->life_ms == 0 ? OUTBOX_LIFE_MS : config->life_ms;
    const uint64_t at_ms = now_ms() + retry_ms(outbox, due);
    int rc = 0;
    if (sent == 0) {
        log_line(LOG_LEVEL_INFO, "outbox_sent", "name=%s", name);
        rc = store_outbox_end(config->store, due, NULL, now_ms());
    } else if (atomic_load_explicit(&outbox->stop, memory_order_relaxed)) {
        rc =
            store_outbox_defer(config->store, due, now_ms()); /* whoever comes next tries at once */
    } else if (sent == -EPERM) {
        due_drop(outbox, due, "refused");
    } else if (at_ms > due->created_unix_ms + life_ms) {
        due_drop(outbox, due, "late");
    } else {
        rc = store_outbox_defer(config->store, due, at_ms);
    }
    /* What could not be written is mended by time: the claim runs out, and the mail goes again. */
    if (rc != 0)
        log_line(LOG_LEVEL_ERROR, "outbox_unwritten", "name=%s sent=%d errno=%d", name, sent == 0,
                 -rc);
}

/* Everything that is due, once. */
static void outbox_pass(struct outbox *outbox)
{
    uint32_t count = 0;
    uint32_t claimed = 0;
    int failed = 0;
    char hex[OUTBOX_HEX_BYTES];
    char name[OUTBOX_NAME_BYTES];
    if (store_outbox_due(outbox->config.store, now_ms(), outbox->batch, OUTBOX_SEND_BATCH,
                         &count) != 0)
        return;
    for (uint32_t i = 0; i < count; i++) {
        struct outbox_due *due = &outbox->batch[i];
        if (atomic_load_explicit(&outbox->stop, memory_order_relaxed))
            return;
        const int rc = store_outbox_claim(outbox->config.store, due, now_ms() + OUTBOX_LEASE_MS);
        if (rc != 0 && rc != -EACCES)
            failed = rc; /* the database cannot be written */
        if (rc != 0)
            continue; /* -EACCES: another node has it */
        claimed++;
        id_hex(hex, due->id);
        (void)snprintf(name, sizeof(name), "%s-%u", hex, due->place);
        due_finish(outbox, due, name, due_send(outbox, due, name));
    }
    if (failed != 0)
        log_line(LOG_LEVEL_ERROR, "outbox_unclaimed", "due=%u claimed=%u errno=%d", count, claimed,
                 -failed);
    /* There may be more. What nobody could claim is still due: the next look is for that. */
    if (count == OUTBOX_SEND_BATCH && claimed > 0)
        outbox_wake(outbox);
}

static void *outbox_run(void *argument)
{
    struct outbox *outbox = argument;
    while (!atomic_load_explicit(&outbox->stop, memory_order_relaxed)) {
        outbox_pass(outbox);
        const uint64_t until_ns = clock_monotonic_ns() + OUTBOX_LOOK_MS * NS_PER_MS;
        const struct timespec until = {.tv_sec = (time_t)(until_ns / NS_PER_S),
                                       .tv_nsec = (long)(until_ns % NS_PER_S)};
        int rc = 0;
        (void)pthread_mutex_lock(&outbox->mutex);
        while (!outbox->woken && rc != ETIMEDOUT)
            rc = pthread_cond_timedwait(&outbox->due, &outbox->mutex, &until);
        outbox->woken = false;
        (void)pthread_mutex_unlock(&outbox->mutex);
    }
    return NULL;
}

void outbox_wake(struct outbox *outbox)
{
    (void)pthread_mutex_lock(&outbox->mutex);
    outbox->woken = true;
    (void)pthread_cond_signal(&outbox->due);
    (void)pthread_mutex_unlock(&outbox->mutex);
}

int outbox_open(struct outbox **outbox, const struct outbox_config *config)
{
    pthread_condattr_t monotonic;
    struct outbox *made = calloc(1, sizeof(*made));
    if (made == NULL)
        return -ENOMEM;
    made->config = *config;
    (void)pthread_mutex_init(&made->mutex, NULL);
    (void)pthread_condattr_init(&monotonic);
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&made->due, &monotonic);
    (void)pthread_condattr_destroy(&monotonic);
    const int rc = -pthread_create(&made->thread, NULL, outbox_run, made);
    if (rc != 0) {
        free(made);
        return rc;
    }
    *outbox = made;
    return 0;
}

void outbox_close(struct outbox *outbox)
{
    if (outbox == NULL)
        return;
    atomic_store_explicit(&outbox->stop, true, memory_order_relaxed);
    outbox_wake(outbox);
    (void)pthread_join(outbox->thread, NULL);
    (void)pthread_cond_destroy(&outbox->due);
    (void)pthread_mutex_destroy(&outbox->mutex);
    free(outbox);
}
