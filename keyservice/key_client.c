#include "keyservice/key_client.h"

#include "base/assert.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "crypto/secret.h"
#include "keyservice/breaker.h"
#include "keyservice/key_answer.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

/* Most records fit a small slot; those with many recipients take one of a few large ones. */
#define SMALL_BYTES     512
#define LARGE_COUNT     64
#define LARGE_NONE      UINT32_MAX
#define BATCH_BYTES_MAX (512 * 1024)
#define ANSWER_BYTES    (128 * 1024)
#define BACKOFF_NS_MIN  (50 * NS_PER_MS)
#define INDEX_NONE      UINT32_MAX
#define RECORD_ID_AT    8
#define HEADERS_COUNT   3
#define HOLD_NS_MAX     (2 * NS_PER_MS) /* what waits for company goes without it after that */
#define BATCH_HEADER    "X-Bulla-Batch: "

/* Records that must wait before one more request goes out, by how many are out. With none out a
 * lone record leaves at once; else it waits for the answer, and all that came meanwhile goes with
 * it: a request costs both sides as much as a hundred records do. */
static const uint32_t batch_min[KEY_CLIENT_CONNECTIONS_MAX] = {1, 64, 256, 512};

_Static_assert(BATCH_BYTES_MAX >= RECORD_BATCH_HEAD_BYTES + RECORD_BYTES_MAX, "one always fits");
_Static_assert(BATCH_BYTES_MAX <= RECORD_BATCH_BYTES_MAX, "as the service takes it");
_Static_assert(ANSWER_BYTES >= RECORD_BATCH_RECORDS_MAX * 128, "a result is under 128 bytes");

enum entry_state {
    ENTRY_FREE,      /* in the free list                                             */
    ENTRY_WAITING,   /* in the waiting list; to be sent                              */
    ENTRY_FLYING,    /* part of a request                                            */
    ENTRY_ABANDONED, /* its deadline passed in flight: reported, free after the request */
    ENTRY_ENDED,     /* in the ended list: its result waits to be taken              */
};

struct entry {
    uint64_t tag;
    uint64_t deadline_ns;
    uint32_t record_bytes;
    uint32_t large_index; /* LARGE_NONE: the record stands in its small slot */
    uint32_t next;
    uint32_t batch_max; /* halves when a batch with this record was refused whole */
    enum entry_state state;
    enum key_result_status status;
};

struct list {
    uint32_t first;
    uint32_t last;
};

struct request {
    CURL *easy;
    struct curl_slist headers[HEADERS_COUNT]; /* linked, of our own strings */
    char batch_header[sizeof(BATCH_HEADER) + KEY_ANSWER_BATCH_CHARS];
    struct key_client *client;
    uint8_t *body; /* secret: wiped as far as it was filled */
    uint32_t body_bytes;
    char *answer;
    size_t answer_bytes;
    uint32_t entries[RECORD_BATCH_RECORDS_MAX];
    uint32_t entries_count;
    bool busy;
};

struct key_client {
    CURLM *multi;
    struct request requests[KEY_CLIENT_CONNECTIONS_MAX];
    uint32_t requests_busy;
    struct entry entries[KEY_CLIENT_RECORDS_MAX];
    struct list free;
    struct list waiting;
    uint32_t waiting_count;
    struct list ended;
    uint32_t large_free[LARGE_COUNT];
    uint32_t large_free_count;
    uint8_t *small;           /* secret: KEY_CLIENT_RECORDS_MAX × SMALL_BYTES */
    uint8_t *large;           /* secret: LARGE_COUNT × RECORD_BYTES_MAX       */
    uint8_t *bodies;          /* secret: one BATCH_BYTES_MAX a request        */
    uint64_t deadline_ns_min; /* no deadline is earlier              */
    uint64_t held_ns;         /* since when something waits for company; 0: nothing does */
    struct breaker breaker;
    uint64_t jitter_state;
    const char *fault; /* of the last request that had no answer */
};

static uint8_t *entry_record(struct key_client *client, uint32_t index)
{
    const struct entry *entry = &client->entries[index];
    return entry->large_index == LARGE_NONE
               ? client->small + (size_t)index * SMALL_BYTES
               : client->large + (size_t)entry->large_index * RECORD_BYTES_MAX;
}

static void list_append(struct key_client *client, struct list *list, uint32_t index)
{
    client->entries[index].next = INDEX_NONE;
    if (list->first == INDEX_NONE)
        list->first = index;
    else
        client->entries[list->last].next = index;
    list->last = index;
}

static void list_prepend(struct key_client *client, struct list *list, uint32_t index)
{
    client->entries[index].next = list->first;
    if (list->first == INDEX_NONE)
        list->last = index;
    list->first = index;
}

static uint32_t list_take(struct key_client *client, struct list *list)
{
    const uint32_t index = list->first;
    if (index == INDEX_NONE)
        return INDEX_NONE;
    list->first = client->entries[index].next;
    if (list->first == INDEX_NONE)
        list->last = INDEX_NONE;
    return index;
}

static void entry_release(struct key_client *client, uint32_t index)
{
    struct entry *entry = &client->entries[index];
    secret_wipe(entry_record(client, index), entry->record_bytes);
    if (entry->large_index != LARGE_NONE) {
        ASSERT(client->large_free_count < LARGE_COUNT);
        client->large_free[client->large_free_count++] = entry->large_index;
        entry->large_index = LARGE_NONE;
    }
    entry->state = ENTRY_FREE;
    list_append(client, &client->free, index);
}

static void entry_end(struct key_client *client, uint32_t index, enum key_result_status status)
{
    client->entries[index].state = ENTRY_ENDED;
    client->entries[index].status = status;
    list_append(client, &client->ended, index);
}

static size_t request_take_answer(char *bytes_at, size_t size, size_t count, void *user)
{
    struct request *request = user;
    const size_t bytes = size * count;
    if (bytes > ANSWER_BYTES - request->answer_bytes)
        return 0; /* curl ends the transfer: no honest answer is that long */
    memcpy(request->answer + request->answer_bytes, bytes_at, bytes);
    request->answer_bytes += bytes;
    return bytes;
}

static uint64_t client_random(struct key_client *client)
{
    client->jitter_state ^= client->jitter_state << 13;
    client->jitter_state ^= client->jitter_state >> 7;
    client->jitter_state ^= client->jitter_state << 17;
    return client->jitter_state;
}

/* `easy` had no answer that counts; the service may have said when it wants to be asked again. */
static void client_failed(struct key_client *client, CURL *easy, uint64_t now_ns)
{
    curl_off_t asked_s = 0;
    (void)curl_easy_getinfo(easy, CURLINFO_RETRY_AFTER, &asked_s);
    const uint64_t asked_ns =
        MIN((uint64_t)MAX(asked_s, 0), BREAKER_ASKED_NS_MAX / NS_PER_S) * NS_PER_S;
    breaker_failed(&client->breaker, now_ns, asked_ns, client_random(client));
}

/* Back to the front of the queue, in their order, or gone when their time was over. */
static void request_return(struct key_client *client, struct request *request, uint32_t batch_max)
{
    for (uint32_t i = request->entries_count; i > 0; i--) {
        const uint32_t index = request->entries[i - 1];
        struct entry *entry = &client->entries[index];
        if (entry->state == ENTRY_ABANDONED) {
            entry_release(client, index);
            continue;
        }
        ASSERT(entry->state == ENTRY_FLYING);
        entry->state = ENTRY_WAITING;
        entry->batch_max = MIN(entry->batch_max, batch_max);
        list_prepend(client, &client->waiting, index);
        client->waiting_count++;
    }
}

static void request_settle(struct key_client *client, struct request *request,
                           const enum key_result_status *statuses)
{
    for (uint32_t i = 0; i < request->entries_count; i++) {
        const uint32_t index = request->entries[i];
        if (client->entries[index].state == ENTRY_ABANDONED)
            entry_release(client, index);
        else
            entry_end(client, index, statuses[i]);
    }
}

/* The service refused the batch whole: the halves are sent apart until the one bad record is. */
static void request_split(struct key_client *client, struct request *request)
{
    const enum key_result_status invalid = KEY_INVALID;
    if (request->entries_count == 1)
        request_settle(client, request, &invalid);
    else
        request_return(client, request, request->entries_count / 2);
}

static char *request_batch(struct request *request)
{
    return request->batch_header + sizeof(BATCH_HEADER) - 1;
}

static void request_finish(struct key_client *client, struct request *request, CURLcode code,
                           uint64_t now_ns)
{
    enum key_result_status statuses[RECORD_BATCH_RECORDS_MAX];
    const uint8_t *ids[RECORD_BATCH_RECORDS_MAX];
    long http_status = 0;
    (void)curl_easy_getinfo(request->easy, CURLINFO_RESPONSE_CODE, &http_status);
    for (uint32_t i = 0; i < request->entries_count; i++)
        ids[i] = entry_record(client, request->entries[i]) + RECORD_ID_AT;

    if (code == CURLE_OK && (http_status == 400 || http_status == 413) &&
        key_answer_refuses(request->answer, request->answer_bytes)) {
        breaker_answered(&client->breaker);
        request_split(client, request);
    } else if (code == CURLE_OK && (http_status == 200 || http_status == 409) &&
               key_answer_read(request->answer, request->answer_bytes,
                               http_status == 200 ? request_batch(request) : NULL, ids,
                               request->entries_count, statuses) == 0) {
        breaker_answered(&client->breaker);
        request_settle(client, request, statuses);
    } else {
        client->fault =
            code == CURLE_OK ? "its answer is none of a key service" : curl_easy_strerror(code);
        client_failed(client, request->easy, now_ns);
        request_return(client, request, RECORD_BATCH_RECORDS_MAX);
    }
    secret_wipe(request->body, request->body_bytes);
    request->entries_count = 0;
    request->busy = false;
    client->requests_busy--;
}

/* Fills a request with what waits; returns the bytes of the batch. */
static uint32_t request_fill(struct key_client *client, struct request *request)
{
    uint32_t bytes = RECORD_BATCH_HEAD_BYTES;
    uint32_t count_max = RECORD_BATCH_RECORDS_MAX;
    uint32_t count = 0;
    while (count < count_max && client->waiting.first != INDEX_NONE) {
        struct entry *entry = &client->entries[client->waiting.first];
        if (bytes + entry->record_bytes > BATCH_BYTES_MAX || entry->batch_max <= count)
            break;
        count_max = MIN(count_max, entry->batch_max);
        const uint32_t index = list_take(client, &client->waiting);
        client->waiting_count--;
        ASSERT(entry->state == ENTRY_WAITING);
        entry->state = ENTRY_FLYING;
        memcpy(request->body + bytes, entry_record(client, index), entry->record_bytes);
        bytes += entry->record_bytes;
        request->entries[count++] = index;
    }
    ASSERT(count > 0);
    request->entries_count = count;
    request->body_bytes = bytes;
    record_batch_head(request->body, count, bytes);
    return bytes;
}

/* A name that no other request has, so that no other request's answer is taken for this one's. */
static void request_name(struct request *request)
{
    static const char digits[] = "0123456789abcdef";
    uint8_t name[KEY_ANSWER_BATCH_CHARS / 2];
    /* Up to 256 bytes come whole once the pool is ready (getrandom(2)), as it was at open. */
    const ssize_t got = getrandom(name, sizeof(name), 0);
    ASSERT(got == (ssize_t)sizeof(name));
    char *hex = request_batch(request);
    for (size_t i = 0; i < sizeof(name); i++) {
        hex[2 * i] = digits[name[i] >> 4];
        hex[2 * i + 1] = digits[name[i] & 15];
    }
}

static void client_start_request(struct key_client *client, struct request *request,
                                 uint64_t now_ns)
{
    const uint32_t bytes = request_fill(client, request);
    request_name(request);
    request->answer_bytes = 0;
    (void)curl_easy_setopt(request->easy, CURLOPT_POSTFIELDS, request->body);
    (void)curl_easy_setopt(request->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)bytes);
    const CURLMcode code = curl_multi_add_handle(client->multi, request->easy);
    ASSERT(code == CURLM_OK);
    breaker_begin(&client->breaker, now_ns);
    request->busy = true;
    client->requests_busy++;
}

/* Whether what waits is worth one more request now. */
static bool client_batch_ready(struct key_client *client, uint64_t now_ns)
{
    if (client->waiting_count >= batch_min[client->requests_busy])
        return true;
    if (client->entries[client->waiting.first].batch_max < RECORD_BATCH_RECORDS_MAX)
        return true; /* a part of a batch that was refused: no company is looked for */
    if (client->held_ns == 0)
        client->held_ns = now_ns;
    return now_ns - client->held_ns >= HOLD_NS_MAX;
}

/* While the service is away one probe at a time is out, and none before its time. */
static void client_start(struct key_client *client, uint64_t now_ns)
{
    const bool up = breaker_is_closed(&client->breaker);
    if (!up || client->waiting.first == INDEX_NONE)
        client->held_ns = 0;
    if (!up && (client->requests_busy > 0 || !breaker_allows(&client->breaker, now_ns)))
        return;
    const uint32_t busy_max = up ? KEY_CLIENT_CONNECTIONS_MAX : 1;
    for (uint32_t i = 0; i < KEY_CLIENT_CONNECTIONS_MAX; i++) {
        struct request *request = &client->requests[i];
        if (client->waiting.first == INDEX_NONE || client->requests_busy >= busy_max)
            return;
        if (request->busy)
            continue;
        if (!client_batch_ready(client, now_ns))
            return;
        client->held_ns = 0;
        client_start_request(client, request, now_ns);
    }
}

static void client_drive(struct key_client *client, uint64_t now_ns)
{
    int running;
    int left;
    (void)curl_multi_perform(client->multi, &running);
    for (uint32_t i = 0; i < KEY_CLIENT_CONNECTIONS_MAX; i++) {
        CURLMsg *message = curl_multi_info_read(client->multi, &left);
        struct request *request = NULL;
        if (message == NULL)
            return;
        if (message->msg != CURLMSG_DONE)
            continue;
        /* The message is gone once its handle is removed. */
        const CURLcode code = message->data.result;
        CURL *easy = message->easy_handle;
        (void)curl_easy_getinfo(easy, CURLINFO_PRIVATE, (char **)&request);
        (void)curl_multi_remove_handle(client->multi, easy);
        request_finish(client, request, code, now_ns);
    }
}

/* Ends what has waited too long; a walk over all entries, only when some deadline has passed. */
static void client_expire(struct key_client *client, uint64_t now_ns)
{
    struct list waiting = {.first = INDEX_NONE, .last = INDEX_NONE};
    uint64_t deadline_ns_min = UINT64_MAX;
    uint32_t index;
    if (now_ns < client->deadline_ns_min)
        return;
    while ((index = list_take(client, &client->waiting)) != INDEX_NONE) {
        if (client->entries[index].deadline_ns <= now_ns) {
            client->waiting_count--;
            entry_end(client, index, KEY_AWAY);
        } else {
            list_append(client, &waiting, index);
        }
    }
    client->waiting = waiting;
    for (index = 0; index < KEY_CLIENT_RECORDS_MAX; index++) {
        const struct entry *entry = &client->entries[index];
        if (entry->state == ENTRY_WAITING || entry->state == ENTRY_FLYING)
            deadline_ns_min = MIN(deadline_ns_min, entry->deadline_ns);
    }
    client->deadline_ns_min = deadline_ns_min;
}

/* In flight past its deadline: the owner hears so now, whatever the answer will be. */
static uint32_t client_abandon(struct key_client *client, uint64_t now_ns,
                               struct key_result *results, uint32_t results_max)
{
    uint32_t count = 0;
    for (uint32_t r = 0; r < KEY_CLIENT_CONNECTIONS_MAX; r++) {
        struct request *request = &client->requests[r];
        for (uint32_t i = 0; i < request->entries_count && count < results_max; i++) {
            struct entry *entry = &client->entries[request->entries[i]];
            if (entry->state != ENTRY_FLYING || entry->deadline_ns > now_ns)
                continue;
            entry->state = ENTRY_ABANDONED;
            results[count++] = (struct key_result){.tag = entry->tag, .status = KEY_AWAY};
        }
    }
    return count;
}

static uint32_t client_results(struct key_client *client, struct key_result *results,
                               uint32_t results_max)
{
    uint32_t count = 0;
    while (count < results_max && client->ended.first != INDEX_NONE) {
        const uint32_t index = list_take(client, &client->ended);
        const struct entry *entry = &client->entries[index];
        results[count++] = (struct key_result){.tag = entry->tag, .status = entry->status};
        entry_release(client, index);
    }
    return count;
}

/* Never longer than to the next deadline or probe. */
static int client_wait_ms(const struct key_client *client, uint64_t now_ns, uint32_t wait_ms)
{
    uint64_t until_ns = client->deadline_ns_min;
    const bool up = breaker_is_closed(&client->breaker);
    if (!up && client->waiting.first != INDEX_NONE && client->requests_busy == 0)
        until_ns = MIN(until_ns, breaker_due_ns(&client->breaker));
    /* What is held is sent by then, unless nothing may start: then a reply or the probe wakes. */
    if (client->held_ns != 0 && up && client->waiting.first != INDEX_NONE &&
        client->requests_busy < KEY_CLIENT_CONNECTIONS_MAX)
        until_ns = MIN(until_ns, client->held_ns + HOLD_NS_MAX);
    if (until_ns <= now_ns)
        return 0;
    return (int)MIN((until_ns - now_ns) / NS_PER_MS + 1, (uint64_t)MIN(wait_ms, 60000U));
}

bool key_client_add(struct key_client *client, uint64_t tag, const uint8_t *record,
                    uint32_t record_bytes, uint64_t deadline_ns)
{
    ASSERT(record_bytes >= RECORD_FIXED_BYTES);
    ASSERT(record_bytes <= RECORD_BYTES_MAX);
    const bool is_large = record_bytes > SMALL_BYTES;
    if (client->free.first == INDEX_NONE || (is_large && client->large_free_count == 0))
        return false;
    const uint32_t index = list_take(client, &client->free);
    struct entry *entry = &client->entries[index];
    ASSERT(entry->state == ENTRY_FREE);
    *entry = (struct entry){.tag = tag,
                            .deadline_ns = deadline_ns,
                            .record_bytes = record_bytes,
                            .large_index = LARGE_NONE,
                            .batch_max = RECORD_BATCH_RECORDS_MAX,
                            .state = ENTRY_WAITING};
    if (is_large)
        entry->large_index = client->large_free[--client->large_free_count];
    memcpy(entry_record(client, index), record, record_bytes);
    client->deadline_ns_min = MIN(client->deadline_ns_min, deadline_ns);
    list_append(client, &client->waiting, index);
    client->waiting_count++;
    return true;
}

uint32_t key_client_run(struct key_client *client, uint64_t now_ns, uint32_t wait_ms,
                        struct key_result *results, uint32_t results_max)
{
    ASSERT(results_max > 0);
    uint32_t count = 0;
    if (now_ns >= client->deadline_ns_min)
        count = client_abandon(client, now_ns, results, results_max);
    client_expire(client, now_ns);
    client_start(client, now_ns);
    client_drive(client, now_ns);
    if (count == 0 && client->ended.first == INDEX_NONE) {
        const int poll_ms = client_wait_ms(client, now_ns, wait_ms);
        if (poll_ms > 0) {
            const uint64_t before_ns = clock_monotonic_ns();
            (void)curl_multi_poll(client->multi, NULL, 0, poll_ms, NULL);
            now_ns += clock_monotonic_ns() - before_ns; /* or probes would come too soon */
            client_drive(client, now_ns);
        }
    }
    client_start(client, now_ns);
    return count + client_results(client, results + count, results_max - count);
}

void key_client_wake(struct key_client *client)
{
    (void)curl_multi_wakeup(client->multi);
}

bool key_client_busy(const struct key_client *client)
{
    return client->requests_busy > 0;
}

const char *key_client_fault(const struct key_client *client)
{
    return breaker_is_closed(&client->breaker) ? NULL : client->fault;
}

static int client_check(const struct key_client_config *config, char why[KEY_CLIENT_WHY_BYTES])
{
    const char *const files[] = {config->ca_file, config->certificate_file,
                                 config->private_key_file};
    if (strncmp(config->url, "https://", 8) != 0 || config->url[8] == '\0') {
        (void)snprintf(why, KEY_CLIENT_WHY_BYTES, "engine_url \"%.100s\" is not https://host:port",
                       config->url);
        return -EINVAL;
    }
    for (size_t i = 0; i < ARRAY_COUNT(files); i++) {
        if (files[i] != NULL && access(files[i], R_OK) != 0) {
            const int rc = -errno;
            (void)snprintf(why, KEY_CLIENT_WHY_BYTES, "%.180s cannot be read: %s", files[i],
                           strerror(-rc));
            return rc;
        }
    }
    return 0;
}

static void request_headers(struct request *request)
{
    static char type[] = "Content-Type: application/vnd.bulla.key-batch";
    /* Without this curl waits a second for a "100 Continue" before it sends the body. */
    static char expect[] = "Expect:";
    memcpy(request->batch_header, BATCH_HEADER, sizeof(BATCH_HEADER) - 1);
    char *const texts[HEADERS_COUNT] = {type, expect, request->batch_header};
    for (uint32_t i = 0; i < HEADERS_COUNT; i++)
        request->headers[i] = (struct curl_slist){
            .data = texts[i], .next = i + 1 < HEADERS_COUNT ? &request->headers[i + 1] : NULL};
}

static int request_open(struct key_client *client, struct request *request,
                        const struct key_client_config *config)
{
    char url[512];
    CURL *easy = curl_easy_init();
    request->easy = easy;
    request->client = client;
    request_headers(request);
    request->answer = malloc(ANSWER_BYTES);
    if (easy == NULL || request->answer == NULL)
        return -ENOMEM;
    const size_t url_bytes = strlen(config->url);
    const bool has_slash = config->url[url_bytes - 1] == '/';
    const int n = snprintf(url, sizeof(url), "%s%sv1/envelopes", config->url, has_slash ? "" : "/");
    if (n < 0 || (size_t)n >= sizeof(url))
        return -EINVAL;

    const long timeout_ms = (long)MAX(config->request_timeout_ns / NS_PER_MS, UINT64_C(1));
    bool done = curl_easy_setopt(easy, CURLOPT_URL, url) == CURLE_OK;
    done = done && curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "https") == CURLE_OK;
    done = done && curl_easy_setopt(easy, CURLOPT_PROXY,
                                    config->proxy == NULL ? "" : config->proxy) == CURLE_OK;
    if (config->ca_file != NULL) {
        done = done && curl_easy_setopt(easy, CURLOPT_CAINFO, config->ca_file) == CURLE_OK;
        done = done && curl_easy_setopt(easy, CURLOPT_CAPATH, NULL) == CURLE_OK;
    }
    if (config->certificate_file != NULL)
        done =
            done && curl_easy_setopt(easy, CURLOPT_SSLCERT, config->certificate_file) == CURLE_OK;
    if (config->private_key_file != NULL)
        done = done && curl_easy_setopt(easy, CURLOPT_SSLKEY, config->private_key_file) == CURLE_OK;
    done = done &&
           curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2) == CURLE_OK;
    done = done && curl_easy_setopt(easy, CURLOPT_HTTPHEADER, request->headers) == CURLE_OK;
    done = done && curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, timeout_ms) == CURLE_OK;
    if (!done)
        return -EINVAL;
    /* These cannot fail: they store a number or a pointer. */
    (void)curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    (void)curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    (void)curl_easy_setopt(easy, CURLOPT_POST, 1L);
    (void)curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
    (void)curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, request_take_answer);
    (void)curl_easy_setopt(easy, CURLOPT_WRITEDATA, request);
    (void)curl_easy_setopt(easy, CURLOPT_PRIVATE, request);
    return 0;
}

static int client_open_memory(struct key_client *client)
{
    void *pages[3] = {NULL, NULL, NULL};
    const size_t bytes[3] = {(size_t)KEY_CLIENT_RECORDS_MAX * SMALL_BYTES,
                             (size_t)LARGE_COUNT * RECORD_BYTES_MAX,
                             (size_t)KEY_CLIENT_CONNECTIONS_MAX * BATCH_BYTES_MAX};
    for (uint32_t i = 0; i < 3; i++) {
        const int rc = secret_pages_open(&pages[i], bytes[i]);
        client->small = pages[0];
        client->large = pages[1];
        client->bodies = pages[2];
        if (rc != 0)
            return rc;
    }
    for (uint32_t i = 0; i < KEY_CLIENT_CONNECTIONS_MAX; i++)
        client->requests[i].body = client->bodies + (size_t)i * BATCH_BYTES_MAX;
    return 0;
}

static void client_init_lists(struct key_client *client)
{
    const struct list empty = {.first = INDEX_NONE, .last = INDEX_NONE};
    client->free = empty;
    client->waiting = empty;
    client->ended = empty;
    for (uint32_t i = 0; i < KEY_CLIENT_RECORDS_MAX; i++) {
        client->entries[i].large_index = LARGE_NONE;
        list_append(client, &client->free, i);
    }
    for (uint32_t i = 0; i < LARGE_COUNT; i++)
        client->large_free[i] = i;
    client->large_free_count = LARGE_COUNT;
}

static int client_open_curl(struct key_client *client, const struct key_client_config *config)
{
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return -EIO;
    client->multi = curl_multi_init();
    if (client->multi == NULL)
        return -ENOMEM;
    (void)curl_multi_setopt(client->multi, CURLMOPT_MAXCONNECTS, (long)KEY_CLIENT_CONNECTIONS_MAX);
    for (uint32_t i = 0; i < KEY_CLIENT_CONNECTIONS_MAX; i++) {
        const int rc = request_open(client, &client->requests[i], config);
        if (rc != 0)
            return rc;
    }
    return 0;
}

int key_client_open(struct key_client **client, const struct key_client_config *config,
                    char why[KEY_CLIENT_WHY_BYTES])
{
    int rc = client_check(config, why);
    if (rc != 0)
        return rc;
    struct key_client *made = calloc(1, sizeof(*made));
    if (made == NULL) {
        (void)snprintf(why, KEY_CLIENT_WHY_BYTES, "out of memory");
        return -ENOMEM;
    }
    client_init_lists(made);
    made->deadline_ns_min = UINT64_MAX;
    const uint64_t backoff_ns_max = MAX(config->backoff_ns_max, NS_PER_MS);
    const struct breaker_config breaker = {.pause_ns_min = MIN(BACKOFF_NS_MIN, backoff_ns_max),
                                           .pause_ns_max = backoff_ns_max,
                                           .probe_ns_min = config->probe_ns_min};
    breaker_init(&made->breaker, &breaker);
    rc = getrandom(&made->jitter_state, sizeof(made->jitter_state), 0) ==
                 (ssize_t)sizeof(made->jitter_state)
             ? 0
             : -EIO;
    made->jitter_state |= 1; /* xorshift never leaves zero */
    if (rc == 0)
        rc = client_open_memory(made);
    if (rc == 0)
        rc = client_open_curl(made, config);
    if (rc != 0) {
        (void)snprintf(why, KEY_CLIENT_WHY_BYTES, "the key client for %.100s cannot start: %s",
                       config->url, strerror(-rc));
        key_client_close(made);
        return rc;
    }
    *client = made;
    return 0;
}

void key_client_close(struct key_client *client)
{
    if (client == NULL)
        return;
    for (uint32_t i = 0; i < KEY_CLIENT_CONNECTIONS_MAX; i++) {
        struct request *request = &client->requests[i];
        if (request->busy)
            (void)curl_multi_remove_handle(client->multi, request->easy);
        if (request->easy != NULL)
            curl_easy_cleanup(request->easy);
        free(request->answer);
    }
    if (client->multi != NULL)
        (void)curl_multi_cleanup(client->multi);
    if (client->small != NULL)
        secret_pages_close(client->small, (size_t)KEY_CLIENT_RECORDS_MAX * SMALL_BYTES);
    if (client->large != NULL)
        secret_pages_close(client->large, (size_t)LARGE_COUNT * RECORD_BYTES_MAX);
    if (client->bodies != NULL)
        secret_pages_close(client->bodies, (size_t)KEY_CLIENT_CONNECTIONS_MAX * BATCH_BYTES_MAX);
    free(client);
}
