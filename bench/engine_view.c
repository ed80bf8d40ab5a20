#include "bench/engine_view.h"

#include "tools/bulla/control.h"

#include <errno.h>
#include <string.h>

static uint64_t member(const json_t *worker, const char *name)
{
    const json_int_t value = json_integer_value(json_object_get(worker, name));
    return value < 0 ? 0 : (uint64_t)value;
}

static int engine_view_read(struct engine_view *view, const json_t *status)
{
    const json_t *workers = json_object_get(status, "workers");
    const size_t count = json_array_size(workers);
    if (count == 0 || count > ENGINE_VIEW_WORKERS_MAX)
        return -EPROTO;
    for (size_t i = 0; i < count; i++) {
        const json_t *worker = json_array_get(workers, i);
        view->workers[i] = (struct engine_view_worker){
            .cpu = (uint32_t)member(worker, "cpu"),
            .sealed_count = member(worker, "sealed"),
            .mail_bytes = member(worker, "mail_bytes"),
            .waiting = member(worker, "waiting"),
            .recovered = member(worker, "recovered"),
            .spool_bytes = member(worker, "spool_bytes"),
            .spool_commits = member(worker, "spool_commits"),
        };
    }
    view->workers_count = (uint32_t)count;
    return 0;
}

int engine_view_take(struct engine_view *view, const char *socket_path)
{
    int session;
    json_t *status = NULL;
    memset(view, 0, sizeof(*view));
    int rc = control_open(&session, socket_path);
    if (rc != 0)
        return rc;
    rc = control_ask(session, "status", &status);
    if (rc == 0)
        rc = engine_view_read(view, status);
    json_decref(status);
    control_close(session);
    return rc;
}

uint32_t engine_view_active(const struct engine_view *before, const struct engine_view *after)
{
    uint32_t active = 0;
    const uint32_t count = MIN(before->workers_count, after->workers_count);
    for (uint32_t i = 0; i < count; i++)
        active += after->workers[i].sealed_count > before->workers[i].sealed_count;
    return active;
}
