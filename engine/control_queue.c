#include "engine/control_internal.h"

#include "base/log.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define QUEUE_WORDS_MAX  4 /* after "queue" */
#define QUEUE_WORD_BYTES 48

struct queue_words {
    char words[QUEUE_WORDS_MAX][QUEUE_WORD_BYTES];
    uint32_t count;
};

/* More words, or longer ones, than any command has: refused. */
static bool words_read(struct queue_words *read, const char *text)
{
    read->count = 0;
    for (;;) {
        text += strspn(text, " ");
        const size_t bytes = strcspn(text, " ");
        if (bytes == 0)
            return true;
        if (read->count == QUEUE_WORDS_MAX || bytes >= QUEUE_WORD_BYTES)
            return false;
        memcpy(read->words[read->count], text, bytes);
        read->words[read->count++][bytes] = '\0';
        text += bytes;
    }
}

static void set_number(json_t *object, const char *name, uint64_t value)
{
    (void)json_object_set_new(object, name, json_integer((json_int_t)value));
}

/* An address may hold any bytes from 0x80 up; JSON takes UTF-8 alone. */
static json_t *text_json(const char *text, size_t bytes)
{
    json_t *string = json_stringn(text, bytes);
    if (string != NULL)
        return string;
    char plain[IPC_ADDRESS_BYTES_MAX];
    for (size_t n = 0; n < MIN(bytes, sizeof(plain)); n++)
        plain[n] = (unsigned char)text[n] < 0x80 ? text[n] : '?';
    return json_stringn(plain, MIN(bytes, sizeof(plain)));
}

/* Takes the answer. */
static void queue_answer(struct control *control, json_t *answer)
{
    struct queue_run *run = &control->queue;
    struct session *session = session_find(control, run->session);
    run->busy = false;
    char *text = answer == NULL ? NULL : json_dumps(answer, JSON_COMPACT);
    json_decref(answer);
    /* It may have hung up meanwhile. */
    if (session != NULL && session->state == SESSION_COMMAND &&
        (text == NULL || session_say(session, text) != 0))
        session_end(control, session, "does not read");
    free(text);
}

static int queue_refuse(const struct session *session, const char *code, const char *why)
{
    char text[160];
    (void)snprintf(text, sizeof(text), "{\"error\":\"%s\",\"code\":\"%s\"}", why, code);
    return session_say(session, text);
}

static json_t *queue_error(const char *code, const char *why)
{
    return json_pack("{s:s,s:s}", "error", why, "code", code);
}

static json_t *item_json(const struct control *control, uint32_t worker,
                         const struct waiting_item *item)
{
    const struct config *config = &control->engine->config;
    char hex[ID_HEX_CHARS];
    json_t *object = json_object();
    id_to_hex(hex, &item->id);
    (void)json_object_set_new(object, "id", json_stringn(hex, sizeof(hex)));
    (void)json_object_set_new(object, "kind",
                              json_string(item->notification ? "notification" : "mail"));
    (void)json_object_set_new(object, "state", json_string(waiting_state_name(item->state)));
    (void)json_object_set_new(object, "held", json_boolean(item->held));
    set_number(object, "bytes", item->body_bytes);
    set_number(object, "tries", item->tries);
    if (item->pause_s > 0)
        set_number(object, "pause_s", item->pause_s);
    set_number(object, "arrived_ms", item->arrived_unix_ms);
    if (item->end_unix_ms != 0 && !item->held)
        set_number(object, "end_ms", item->end_unix_ms);
    if (item->key_service < config->key_services_count)
        (void)json_object_set_new(object, "key_service",
                                  json_string(config->key_services[item->key_service].name));
    set_number(object, "worker", worker);
    return object;
}

/* Where the next question goes on; null behind the last worker. */
static json_t *next_json(const struct control *control, const struct queue_run *run)
{
    char text[32];
    if (run->errand.next_cursor != 0)
        (void)snprintf(text, sizeof(text), "%" PRIu32 ":%" PRIu32, run->worker,
                       run->errand.next_cursor);
    else if (run->worker + 1 < control->engine->workers_count)
        (void)snprintf(text, sizeof(text), "%" PRIu32 ":0", run->worker + 1);
    else
        return json_null();
    return json_string(text);
}

static json_t *list_json(const struct control *control, const struct queue_run *run)
{
    json_t *messages = json_array();
    for (uint32_t n = 0; n < run->errand.items_count; n++) {
        const struct errand_item *item = &run->errand.items[n];
        json_t *object = item_json(control, run->worker, &item->item);
        if (item->has_addresses) {
            (void)json_object_set_new(object, "sender",
                                      text_json(item->sender, strlen(item->sender)));
            (void)json_object_set_new(object, "recipient",
                                      text_json(item->recipient, strlen(item->recipient)));
            set_number(object, "recipients", item->recipients_count);
        }
        (void)json_array_append_new(messages, object);
    }
    return json_pack("{s:o,s:o}", "messages", messages, "next", next_json(control, run));
}

static json_t *show_json(const struct control *control, const struct queue_run *run)
{
    const struct errand *errand = &run->errand;
    json_t *object = item_json(control, run->worker, &errand->items[0].item);
    struct meta meta;
    uint32_t offset = 0;
    const uint8_t *address;
    uint16_t address_bytes;
    if (errand->rc != 0 || meta_read(&meta, errand->meta, errand->meta_bytes) != 0)
        return object; /* it is damaged, as its state says */
    json_t *recipients = json_array();
    while (meta_recipient(&meta, &offset, &address, &address_bytes))
        (void)json_array_append_new(recipients, text_json((const char *)address, address_bytes));
    (void)json_object_set_new(object, "profile",
                              text_json((const char *)meta.profile, meta.profile_bytes));
    (void)json_object_set_new(object, "sender",
                              text_json((const char *)meta.sender, meta.sender_bytes));
    (void)json_object_set_new(object, "recipients", recipients);
    return object;
}

static void stats_add(struct waiting_stats *total, const struct waiting_stats *more)
{
    for (uint32_t n = 0; n < WAITING_STATES; n++)
        total->counts[n] += more->counts[n];
    total->held += more->held;
    total->bytes_live += more->bytes_live;
    total->segments += more->segments;
    total->segments_free += more->segments_free;
    total->segments_bad += more->segments_bad;
    total->damaged += more->damaged;
    total->failed += more->failed;
    if (more->oldest_unix_ms != 0 &&
        (total->oldest_unix_ms == 0 || more->oldest_unix_ms < total->oldest_unix_ms))
        total->oldest_unix_ms = more->oldest_unix_ms;
}

static json_t *stats_json(const struct waiting_stats *stats)
{
    json_t *object = json_object();
    json_t *states = json_object();
    uint64_t messages = 0;
    for (uint32_t n = WAITING_FREE + 1; n < WAITING_STATES; n++) {
        messages += stats->counts[n];
        set_number(states, waiting_state_name((enum waiting_state)n), stats->counts[n]);
    }
    set_number(object, "messages", messages);
    set_number(object, "held", stats->held);
    set_number(object, "oldest_ms", stats->oldest_unix_ms);
    set_number(object, "bytes", stats->bytes_live);
    set_number(object, "segments", stats->segments);
    set_number(object, "segments_free", stats->segments_free);
    set_number(object, "segments_bad", stats->segments_bad);
    set_number(object, "damaged", stats->damaged);
    set_number(object, "write_failures", stats->failed);
    (void)json_object_set_new(object, "states", states);
    return object;
}

static void queue_send(struct control *control)
{
    struct queue_run *run = &control->queue;
    const struct worker_order order = {.kind = WORKER_ERRAND, .errand = &run->errand};
    if (!control_tell(control, run->worker, &order))
        queue_answer(control, queue_error("in_use", "the worker has too many orders"));
}

/* The same of the next worker, from its first message; false behind the last. */
static bool queue_go_on(struct control *control)
{
    struct queue_run *run = &control->queue;
    if (run->worker + 1 >= control->engine->workers_count)
        return false;
    run->worker++;
    run->errand.cursor = 0;
    queue_send(control);
    return true;
}

static json_t *queue_error_of(int rc)
{
    if (rc == -ENOENT)
        return queue_error("not_found", "nothing waits under this id");
    if (rc == -EBUSY)
        return queue_error("busy", "it is with a mail server or the disk now");
    return queue_error("io", "it cannot be read");
}

static json_t *acted_json(const struct control *control, const struct queue_run *run)
{
    return json_pack("{s:I,s:I,s:o}", "done", (json_int_t)run->errand.done_count, "busy",
                     (json_int_t)run->errand.busy_count, "next",
                     run->errand.all ? next_json(control, run) : json_null());
}

void queue_hear(struct control *control)
{
    struct queue_run *run = &control->queue;
    const struct errand *errand = &run->errand;
    json_t *answer = NULL;
    switch (errand->kind) {
    case ERRAND_LIST:
        if (errand->items_count == 0 && queue_go_on(control))
            return;
        answer = list_json(control, run);
        break;
    case ERRAND_SHOW:
        if (errand->rc == -ENOENT && errand->items_count == 0 && queue_go_on(control))
            return;
        answer = errand->items_count == 0 || errand->rc == -EBUSY ? queue_error_of(errand->rc)
                                                                  : show_json(control, run);
        break;
    case ERRAND_HOLD:
    case ERRAND_RELEASE:
    case ERRAND_REMOVE:
        if (!errand->all && errand->rc == -ENOENT && queue_go_on(control))
            return;
        answer = errand->rc == 0 ? acted_json(control, run) : queue_error_of(errand->rc);
        break;
    case ERRAND_FLUSH:
        run->flushed_count += errand->done_count;
        if (queue_go_on(control))
            return;
        answer = json_pack("{s:I}", "done", (json_int_t)run->flushed_count);
        break;
    case ERRAND_STATS:
        stats_add(&run->stats, &errand->stats);
        if (queue_go_on(control))
            return;
        answer = stats_json(&run->stats);
        break;
    }
    queue_answer(control, answer);
}

/* "WORKER:CURSOR", as an answer's `next` gave it. */
static bool cursor_read(const struct control *control, struct queue_run *run, const char *text)
{
    char *end;
    if (*text < '0' || *text > '9')
        return false;
    const unsigned long worker = strtoul(text, &end, 10);
    if (*end != ':' || end[1] < '0' || end[1] > '9' || worker >= control->engine->workers_count)
        return false;
    const unsigned long cursor = strtoul(end + 1, &end, 10);
    if (*end != '\0' || cursor > UINT32_MAX)
        return false;
    run->worker = (uint32_t)worker;
    run->errand.cursor = (uint32_t)cursor;
    return true;
}

/* list CURSOR MAX [brief]; 0: as many as a page has. */
static bool list_read(const struct control *control, struct queue_run *run,
                      const struct queue_words *read)
{
    char *end;
    if (read->count < 3 || read->words[2][0] < '0' || read->words[2][0] > '9')
        return false;
    const unsigned long items_max = strtoul(read->words[2], &end, 10);
    run->errand.kind = ERRAND_LIST;
    run->errand.items_max = items_max == 0 || items_max > ERRAND_ITEMS_MAX
                                ? (uint32_t)ERRAND_ITEMS_MAX
                                : (uint32_t)items_max;
    run->errand.brief = read->count == 4 && strcmp(read->words[3], "brief") == 0;
    return *end == '\0' && read->count == (run->errand.brief ? 4U : 3U) &&
           cursor_read(control, run, read->words[1]);
}

/* show ID, hold ID, hold all CURSOR, … */
static bool act_read(const struct control *control, struct queue_run *run,
                     const struct queue_words *read, enum errand_kind kind)
{
    run->errand.kind = kind;
    run->errand.all = read->count == 3 && kind != ERRAND_SHOW && strcmp(read->words[1], "all") == 0;
    if (run->errand.all)
        return cursor_read(control, run, read->words[2]);
    return read->count == 2 &&
           id_from_hex(&run->errand.id, read->words[1], strlen(read->words[1])) == 0;
}

static bool run_read(const struct control *control, struct queue_run *run,
                     const struct queue_words *read)
{
    static const struct {
        const char *word;
        enum errand_kind kind;
    } kinds[] = {
        {"show", ERRAND_SHOW},     {"hold", ERRAND_HOLD},   {"release", ERRAND_RELEASE},
        {"remove", ERRAND_REMOVE}, {"flush", ERRAND_FLUSH}, {"stats", ERRAND_STATS},
    };
    if (read->count == 0)
        return false;
    if (strcmp(read->words[0], "list") == 0)
        return list_read(control, run, read);
    for (size_t n = 0; n < ARRAY_COUNT(kinds); n++) {
        if (strcmp(read->words[0], kinds[n].word) != 0)
            continue;
        run->errand.kind = kinds[n].kind;
        if (kinds[n].kind == ERRAND_FLUSH || kinds[n].kind == ERRAND_STATS)
            return read->count == 1;
        return act_read(control, run, read, kinds[n].kind);
    }
    return false;
}

/* Who changed what, without addresses. */
static void queue_log(const struct session *session, const struct queue_words *read)
{
    if (strcmp(read->words[0], "list") == 0 || strcmp(read->words[0], "show") == 0 ||
        strcmp(read->words[0], "stats") == 0)
        return;
    log_line(LOG_LEVEL_INFO, "queue_command", "uid=%u pid=%d command=%s what=%s",
             (unsigned)session->uid, (int)session->pid, read->words[0],
             read->count > 1 ? read->words[1] : "all");
}

int queue_command(struct control *control, struct session *session, const char *text)
{
    struct queue_run *run = &control->queue;
    struct queue_words read;
    if (!session->operates)
        return queue_refuse(session, "denied", "only root, the engine's own user and allow_users");
    if (control->engine->config.engine.spool[0] == '\0')
        return queue_refuse(session, "no_spool", "the engine has no spool");
    if (run->busy)
        return queue_refuse(session, "in_use", "another command is under way");
    run->worker = 0;
    run->session = session->id;
    run->flushed_count = 0;
    run->stats = (struct waiting_stats){0};
    run->errand.all = false;
    run->errand.brief = false;
    run->errand.cursor = 0;
    if (!words_read(&read, text) || !run_read(control, run, &read))
        return queue_refuse(session, "bad_request", "unknown queue command");
    queue_log(session, &read);
    run->busy = true;
    queue_send(control);
    return 0;
}
