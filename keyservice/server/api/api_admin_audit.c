/* /v1/admin/audit: the log in pages, newest first; as it stands; and whether its chain is whole. */
#include "base/clock.h"
#include "keyservice/server/admin_call.h"

#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define ROWS_MAX        100
#define WINDOW_LINES    4096
#define WINDOWS_MAX     16 /* of one answer: where nothing fits, the next one goes on */
#define LINES_BYTES_MAX (4 * 1024 * 1024)

struct filter {
    const char *event; /* "": any */
    const char *user;  /* or who did it */
    const char *id;
    int64_t from_ms;
    int64_t until_ms; /* 0: now */
};

/* The newest lines of a window that fit, in a ring. */
struct window {
    const struct filter *filter;
    uint64_t before; /* number of the line that ends it */
    uint32_t found_count;
    json_t *rows[ROWS_MAX];
};

static uint64_t line_time(const char *at)
{
    struct tm utc = {.tm_isdst = 0};
    const char *rest = strptime(at, "%Y-%m-%dT%H:%M:%S", &utc);
    const time_t unix_s = timegm(&utc);
    if (rest == NULL || unix_s < 0)
        return 0;
    return (uint64_t)unix_s * 1000 + (*rest == '.' ? strtoull(rest + 1, NULL, 10) : 0);
}

static bool member_is(const json_t *root, const char *name, const char *wanted)
{
    const char *text = json_string_value(json_object_get(root, name));
    return text != NULL && strcmp(text, wanted) == 0;
}

static bool line_fits(const struct filter *filter, const json_t *root, uint64_t at_ms)
{
    return (filter->event[0] == '\0' || member_is(root, "event", filter->event)) &&
           (filter->user[0] == '\0' || member_is(root, "user", filter->user) ||
            member_is(root, "by", filter->user)) &&
           (filter->id[0] == '\0' || member_is(root, "m", filter->id)) &&
           at_ms >= (uint64_t)filter->from_ms &&
           (filter->until_ms == 0 || at_ms < (uint64_t)filter->until_ms);
}

static int line_look(void *context, const char *line, size_t bytes)
{
    struct window *window = context;
    if (bytes < AUDIT_HASH_CHARS + 2)
        return -EBADMSG;
    json_t *root = json_loadb(line + AUDIT_HASH_CHARS + 1, bytes - AUDIT_HASH_CHARS - 1,
                              JSON_REJECT_DUPLICATES, NULL);
    const json_int_t sequence = json_integer_value(json_object_get(root, "seq"));
    if (sequence <= 0 || (uint64_t)sequence >= window->before) {
        json_decref(root);
        return sequence <= 0 ? -EBADMSG : 1; /* behind the window */
    }
    const uint64_t at_ms = line_time(json_string_value(json_object_get(root, "at")));
    if (!line_fits(window->filter, root, at_ms) ||
        json_object_set_new(root, "at", json_integer((json_int_t)at_ms)) != 0) {
        json_decref(root);
        return 0;
    }
    json_t **row = &window->rows[window->found_count++ % ROWS_MAX];
    json_decref(*row);
    *row = root;
    return 0;
}

/* Takes the window's rows, newest first, until there are ROWS_MAX; the number of the last one. */
static uint64_t window_take(struct window *window, json_t *rows)
{
    uint64_t last = 0;
    const uint32_t kept = MIN(window->found_count, ROWS_MAX);
    for (uint32_t i = 1; i <= kept; i++) {
        json_t **row = &window->rows[(window->found_count - i) % ROWS_MAX];
        if (json_array_size(rows) < ROWS_MAX) {
            last = (uint64_t)json_integer_value(json_object_get(*row, "seq"));
            (void)json_array_append_new(rows, *row);
        } else {
            json_decref(*row);
        }
        *row = NULL;
    }
    window->found_count = 0;
    return last;
}

/* 0 with *before where the next page begins, 0 at the log's start. */
static int page_fill(const struct service *service, const struct filter *filter, json_t *rows,
                     uint64_t *before)
{
    struct window window = {.filter = filter};
    int rc = 0;
    for (uint32_t n = 0; n < WINDOWS_MAX && rc == 0 && *before > 1; n++) {
        const uint64_t after = *before > WINDOW_LINES ? *before - 1 - WINDOW_LINES : 0;
        window.before = *before;
        rc = audit_read(service->audit, after, line_look, &window);
        rc = rc == 1 ? 0 : rc;
        const uint64_t last = window_take(&window, rows);
        *before = json_array_size(rows) == ROWS_MAX ? last : after + 1;
        if (json_array_size(rows) == ROWS_MAX)
            break;
    }
    return rc;
}

void api_admin_audit(void *context, struct http_request *request)
{
    const struct service *service = context;
    struct admin_actor actor;
    struct filter filter = {.event = http_query(request, "event"),
                            .user = http_query(request, "user"),
                            .id = http_query(request, "m")};
    char hash[AUDIT_HASH_CHARS + 1];
    int64_t after = 0;
    uint64_t head = 0;
    if (!admin_enter(service, request, RIGHT_AUDIT, ADMIN_LOOK, &actor))
        return;
    if (!admin_number(http_query(request, "after"), true, &after) ||
        !admin_number(http_query(request, "from"), true, &filter.from_ms) ||
        !admin_number(http_query(request, "until"), true, &filter.until_ms)) {
        api_refuse(request, API_BAD_REQUEST, NULL);
        return;
    }
    json_t *rows = json_array();
    int rc = audit_head(service->audit, &head, hash);
    uint64_t before = after > 0 ? MIN((uint64_t)after, head + 1) : head + 1;
    if (rc == 0)
        rc = page_fill(service, &filter, rows, &before);
    if (rc != 0) {
        json_decref(rows);
        api_refuse(request, API_AWAY, NULL);
        return;
    }
    json_t *root = json_pack("{s:o}", "lines", rows);
    if (before > 1) {
        char next[24];
        (void)snprintf(next, sizeof(next), "%" PRIu64, before);
        (void)json_object_set_new(root, "after", json_string(next));
    }
    api_answer(request, 200, root);
}

struct lines {
    char *text;
    size_t bytes;
    uint64_t count;
};

static int line_copy(void *context, const char *line, size_t bytes)
{
    struct lines *lines = context;
    if (lines->bytes + bytes > LINES_BYTES_MAX)
        return 1;
    memcpy(lines->text + lines->bytes, line, bytes);
    lines->bytes += bytes;
    lines->count++;
    return 0;
}

/* The lines themselves, from the one after number `after`, as many as fit. */
void api_admin_audit_lines(void *context, struct http_request *request)
{
    const struct service *service = context;
    struct admin_actor actor;
    struct lines lines = {.bytes = 0};
    int64_t after = 0;
    if (!admin_enter(service, request, RIGHT_AUDIT, ADMIN_LOOK, &actor))
        return;
    if (!admin_number(http_query(request, "after"), true, &after)) {
        api_refuse(request, API_BAD_REQUEST, NULL);
        return;
    }
    lines.text = malloc(LINES_BYTES_MAX);
    const int rc = lines.text == NULL
                       ? -ENOMEM
                       : audit_read(service->audit, (uint64_t)after, line_copy, &lines);
    if (rc < 0) {
        free(lines.text);
        api_refuse(request, API_AWAY, NULL);
        return;
    }
    http_answer(request, 200, "text/plain; charset=utf-8", lines.text, lines.bytes);
    if (rc == 1)
        http_answer_header(request, "X-Bulla-After", "%" PRIu64, (uint64_t)after + lines.count);
}

void api_admin_audit_verify(void *context, struct http_request *request)
{
    static atomic_flag busy = ATOMIC_FLAG_INIT; /* the whole log is read: by one at a time */
    const struct service *service = context;
    struct admin_actor actor;
    struct audit_check check;
    if (!admin_enter(service, request, RIGHT_AUDIT, ADMIN_CHANGE, &actor))
        return;
    if (api_fields(request->body, request->body_bytes, NULL, 0) != 0) {
        api_refuse(request, API_BAD_REQUEST, NULL);
        return;
    }
    if (atomic_flag_test_and_set(&busy)) {
        api_refuse(request, API_AWAY, NULL);
        return;
    }
    const int rc = audit_check(service->audit, &check);
    atomic_flag_clear(&busy);
    if (rc != 0 && rc != -EBADMSG) {
        api_refuse(request, API_AWAY, NULL);
        return;
    }
    api_answer(request, 200,
               json_pack("{s:I,s:I,s:s}", "lines", (json_int_t)check.lines_count, "bad_line",
                         (json_int_t)(rc == 0 ? 0 : check.bad_line), "hash", check.hash));
}
