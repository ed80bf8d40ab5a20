#include "keyservice/server/mail/mail.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#define MAIL_ADDRESS_BYTES RELAY_ADDRESS_BYTES
#define MAIL_NAME_BYTES    64

struct mail_item {
    uint32_t attempts_count;
    uint64_t due_ns; /* monotonic */
    size_t bytes;
    char to[MAIL_ADDRESS_BYTES];
    char name[MAIL_NAME_BYTES];
    char *text;
};

struct mail {
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t waiting;
    bool stop;
    uint32_t count;
    struct mail_item items[MAIL_WAITING_MAX]; /* in no order; the earliest due goes first */
    /* Written once by mail_close(), read by the sending thread: a hint, no order. */
    _Atomic uint64_t give_up_ns;
    uint32_t attempt_ms;
    uint32_t retry_ms;
    struct relay relay;
    char from[MAIL_ADDRESS_BYTES];
};

/* Takes the earliest mail that is due, waiting for one; false at the end. */
static bool item_take(struct mail *mail, struct mail_item *item)
{
    (void)pthread_mutex_lock(&mail->mutex);
    for (;;) { /* until a mail is due or the service ends */
        uint32_t first = 0;
        const uint64_t now_ns = clock_monotonic_ns();
        for (uint32_t i = 1; i < mail->count; i++)
            if (mail->items[i].due_ns < mail->items[first].due_ns)
                first = i;
        if (mail->count > 0 && (mail->stop || mail->items[first].due_ns <= now_ns)) {
            *item = mail->items[first];
            mail->items[first] = mail->items[--mail->count];
            break;
        }
        if (mail->count == 0 && mail->stop) {
            (void)pthread_mutex_unlock(&mail->mutex);
            return false;
        }
        if (mail->count == 0) {
            (void)pthread_cond_wait(&mail->waiting, &mail->mutex);
        } else {
            const uint64_t due_ns = mail->items[first].due_ns;
            const struct timespec until = {.tv_sec = (time_t)(due_ns / NS_PER_S),
                                           .tv_nsec = (long)(due_ns % NS_PER_S)};
            (void)pthread_cond_timedwait(&mail->waiting, &mail->mutex, &until);
        }
    }
    (void)pthread_mutex_unlock(&mail->mutex);
    return true;
}

/* Puts a mail back for later; false when its attempts are over or there is no later. */
static bool item_defer(struct mail *mail, struct mail_item *item)
{
    (void)pthread_mutex_lock(&mail->mutex);
    const bool keep =
        !mail->stop && item->attempts_count < MAIL_ATTEMPTS_MAX && mail->count < MAIL_WAITING_MAX;
    if (keep) {
        const uint64_t pause_ms = (uint64_t)mail->retry_ms << (item->attempts_count - 1);
        item->due_ns = clock_monotonic_ns() + pause_ms * NS_PER_MS;
        mail->items[mail->count++] = *item;
    }
    (void)pthread_mutex_unlock(&mail->mutex);
    return keep;
}

/* One item on its way. */
struct mail_source {
    const struct mail *mail;
    const char *text;
    size_t left;
};

static size_t source_read(void *context, char *dst, size_t room)
{
    struct mail_source *source = context;
    const size_t take = MIN(room, source->left);
    memcpy(dst, source->text, take);
    source->text += take;
    source->left -= take;
    return take;
}

static bool source_over(void *context)
{
    const struct mail_source *source = context;
    return clock_monotonic_ns() >=
           atomic_load_explicit(&source->mail->give_up_ns, memory_order_relaxed);
}

static int item_send(const struct mail *mail, struct mail_item *item)
{
    struct mail_source source = {.mail = mail, .text = item->text, .left = item->bytes};
    if (source_over(&source))
        return -ECANCELED;
    item->attempts_count++;
    const struct relay_mail attempt = {.name = item->name,
                                       .from = mail->from,
                                       .to = item->to,
                                       .bytes = item->bytes,
                                       .read = source_read,
                                       .over = source_over,
                                       .context = &source,
                                       .attempt_ms = mail->attempt_ms,
                                       .attempts_count = item->attempts_count};
    return relay_try(&mail->relay, &attempt);
}

static void *mail_run(void *argument)
{
    struct mail *mail = argument;
    struct mail_item item;
    while (item_take(mail, &item)) {
        const int rc = item_send(mail, &item);
        if (rc == 0)
            log_line(LOG_LEVEL_INFO, "mail_sent", "name=%s", item.name);
        else if (rc != -EPERM && rc != -ECANCELED && item_defer(mail, &item))
            continue;
        else
            log_line(LOG_LEVEL_ERROR, "mail_dropped", "name=%s attempts=%u", item.name,
                     item.attempts_count);
        explicit_bzero(item.text, item.bytes); /* a code stands in it */
        free(item.text);
    }
    return NULL;
}

int mail_open(struct mail **mail, const struct mail_config *config)
{
    pthread_condattr_t monotonic;
    struct mail *made = calloc(1, sizeof(*made));
    if (made == NULL)
        return -ENOMEM;
    const struct relay_config relay_config = {.url = config->smtp_relay,
                                              .ca_file = config->ca_file,
                                              .folder = config->spool_dir,
                                              .tls = config->tls};
    if (!relay_address_plain(config->from) || relay_init(&made->relay, &relay_config) != 0) {
        free(made);
        return -EINVAL;
    }
    made->attempt_ms = config->attempt_ms == 0 ? MAIL_ATTEMPT_MS : config->attempt_ms;
    made->retry_ms = config->retry_ms == 0 ? MAIL_RETRY_MS : config->retry_ms;
    atomic_store_explicit(&made->give_up_ns, UINT64_MAX, memory_order_relaxed);
    (void)snprintf(made->from, sizeof(made->from), "%s", config->from);
    (void)pthread_mutex_init(&made->mutex, NULL);
    (void)pthread_condattr_init(&monotonic);
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&made->waiting, &monotonic);
    (void)pthread_condattr_destroy(&monotonic);
    const int rc = -pthread_create(&made->thread, NULL, mail_run, made);
    if (rc != 0) {
        free(made);
        return rc;
    }
    *mail = made;
    return 0;
}

const struct relay *mail_relay(const struct mail *mail)
{
    return &mail->relay;
}

const char *mail_from(const struct mail *mail)
{
    return mail->from;
}

void mail_close(struct mail *mail)
{
    if (mail == NULL)
        return;
    (void)pthread_mutex_lock(&mail->mutex);
    mail->stop = true;
    atomic_store_explicit(&mail->give_up_ns, clock_monotonic_ns() + MAIL_DRAIN_MS * NS_PER_MS,
                          memory_order_relaxed);
    (void)pthread_cond_signal(&mail->waiting);
    (void)pthread_mutex_unlock(&mail->mutex);
    (void)pthread_join(mail->thread, NULL);
    (void)pthread_cond_destroy(&mail->waiting);
    (void)pthread_mutex_destroy(&mail->mutex);
    free(mail);
}

int mail_send(struct mail *mail, const struct mail_message *message, uint64_t now_unix_ns)
{
    uint8_t unique[16];
    struct mail_item item = {0};
    if (getrandom(unique, sizeof(unique), 0) != (ssize_t)sizeof(unique))
        return -EIO;
    char *text = malloc(MAIL_BYTES_MAX);
    if (text == NULL)
        return -ENOMEM;
    item.bytes = mail_format(text, mail->from, message, unique, now_unix_ns);
    if (item.bytes == 0) {
        free(text);
        return -EINVAL;
    }
    item.text = text;
    (void)snprintf(item.to, sizeof(item.to), "%s", message->to);
    (void)snprintf(item.name, sizeof(item.name), "%020llu-%02x%02x%02x%02x",
                   (unsigned long long)now_unix_ns, unique[0], unique[1], unique[2], unique[3]);
    (void)pthread_mutex_lock(&mail->mutex);
    const bool room = !mail->stop && mail->count < MAIL_WAITING_MAX;
    if (room)
        mail->items[mail->count++] = item;
    (void)pthread_cond_signal(&mail->waiting);
    (void)pthread_mutex_unlock(&mail->mutex);
    if (!room) {
        free(text);
        return -EAGAIN;
    }
    return 0;
}
