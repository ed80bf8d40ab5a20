#include "keyservice/server/retention.h"

#include "keyservice/server/service.h"
#include "keyservice/server/store/store_profile.h"
#include "keyservice/server/store/store_retention.h"

#include "base/bytes.h"
#include "base/clock.h"
#include "base/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define DAY_MS UINT64_C(86400000)

struct rules_reading {
    struct retention *retention;
    uint64_t days[RETENTION_RULES_MAX]; /* as they are read, 0 where a rule is not found again */
};

static void rule_add(void *context, const struct store_profile *profile)
{
    struct rules_reading *reading = context;
    struct retention *retention = reading->retention;
    uint32_t i = 0;
    if (profile->retention_days == 0)
        return;
    while (i < retention->rules_count && strcmp(retention->rules[i].profile, profile->name) != 0)
        i++;
    if (i == RETENTION_RULES_MAX) /* only where others went during this pass: the next has it */
        return;
    if (i == retention->rules_count) {
        struct retention_rule *rule = &retention->rules[retention->rules_count++];
        *rule = (struct retention_rule){.days = 0};
        memcpy(rule->profile, profile->name, sizeof(rule->profile));
    }
    reading->days[i] = profile->retention_days;
}

/* The rules as they stand; a rule keeps its place and its count. *changed: they were others. */
static int rules_read(struct retention *retention, bool *changed)
{
    struct rules_reading reading = {.retention = retention};
    const int rc = store_profile_list(retention->store, rule_add, &reading);
    *changed = false;
    if (rc != 0)
        return rc;
    for (uint32_t i = 0; i < retention->rules_count; i++) {
        struct retention_rule *rule = &retention->rules[i];
        const uint64_t life_ms = reading.days[i] * DAY_MS;
        *changed = *changed || rule->days != reading.days[i];
        rule->days = reading.days[i];
        rule->before_unix_ms = rule->days != 0 && retention->now_unix_ms > life_ms
                                   ? retention->now_unix_ms - life_ms
                                   : 0;
    }
    return 0;
}

int retention_begin(struct retention *retention, uint64_t now_unix_ms)
{
    bool changed = false;
    memset(retention->after, 0, sizeof(retention->after));
    retention->rules_count = 0;
    retention->now_unix_ms = now_unix_ms;
    return rules_read(retention, &changed);
}

/* What a round found. */
struct found {
    struct retention *retention;
    uint8_t last[RECORD_ID_BYTES];
    uint32_t rows_count;
    uint32_t ids_count;
    uint8_t ids[RETENTION_DESTROY_MAX][RECORD_ID_BYTES];
    uint32_t rules[RETENTION_DESTROY_MAX]; /* by which of them */
};

static bool row_look(void *context, const struct store_retention_row *row)
{
    struct found *found = context;
    const struct retention *retention = found->retention;
    found->rows_count++;
    memcpy(found->last, row->id, RECORD_ID_BYTES);
    if (row->damaged) { /* others must not wait for a row that nobody can read */
        log_line(LOG_LEVEL_ERROR, "retention_damaged", "m=%016" PRIx64 "%016" PRIx64,
                 bytes_load_be64(row->id), bytes_load_be64(row->id + 8));
        return true;
    }
    for (uint32_t i = 0; i < retention->rules_count; i++) {
        const struct retention_rule *rule = &retention->rules[i];
        if (strcmp(rule->profile, row->profile) != 0 || row->sent_unix_ms >= rule->before_unix_ms)
            continue;
        found->rules[found->ids_count] = i;
        memcpy(found->ids[found->ids_count++], row->id, RECORD_ID_BYTES);
    }
    return found->ids_count < RETENTION_DESTROY_MAX;
}

/* TEND_AGAIN: the rules have changed since they were found, and nothing was destroyed. */
static int found_destroy(struct retention *retention, const struct found *found)
{
    char detail[64];
    bool changed = false;
    if (found->ids_count == 0 || retention->dry)
        return 0;
    const int read = rules_read(retention, &changed);
    if (read != 0 || changed)
        return read != 0 ? read : TEND_AGAIN;
    (void)snprintf(detail, sizeof(detail), "%u envelopes", found->ids_count);
    const struct audit_event event = {.event = "retention", .detail = detail};
    const int rc = audit_append(retention->audit, &event, true, clock_unix_ns());
    if (rc != 0)
        return rc;
    return store_retention_remove(retention->store, found->ids, found->ids_count);
}

int retention_round(struct retention *retention)
{
    struct found found = {.retention = retention};
    uint64_t before_ms = 0;
    bool changed = false;
    int rc = rules_read(retention, &changed);
    if (rc != 0)
        return rc;
    for (uint32_t i = 0; i < retention->rules_count; i++)
        before_ms = MAX(before_ms, retention->rules[i].before_unix_ms);
    if (before_ms == 0)
        return 0;
    rc = store_retention_scan(retention->store, retention->after, before_ms, RETENTION_ROWS_MAX,
                              row_look, &found);
    if (rc == 0)
        rc = found_destroy(retention, &found);
    if (rc != 0)
        return rc;
    for (uint32_t i = 0; i < found.ids_count; i++)
        retention->rules[found.rules[i]].count++;
    memcpy(retention->after, found.last, RECORD_ID_BYTES);
    return found.rows_count == RETENTION_ROWS_MAX || found.ids_count == RETENTION_DESTROY_MAX
               ? TEND_AGAIN
               : 0;
}

/* One pass after another; a pass that tend interrupts goes on at its next time. */
static int retention_run(void *context)
{
    static struct retention pass; /* of tend's one thread */
    static bool begun;
    const struct service *service = context;
    int rc = 0;
    if (!begun) {
        pass.store = service->store;
        pass.audit = service->audit;
        rc = retention_begin(&pass, clock_unix_ns() / NS_PER_MS);
    }
    if (rc == 0)
        rc = retention_round(&pass);
    begun = rc == TEND_AGAIN;
    return rc;
}

int retention_tend(struct tend *tend, struct service *service)
{
    return tend_add(tend, "retention", RETENTION_EVERY_S, retention_run, service);
}
