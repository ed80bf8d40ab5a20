#include "keyservice/server/retention.h"

#include "keyservice/server/service.h"
#include "keyservice/server/store_profile.h"
#include "keyservice/server/store_retention.h"

#include "base/clock.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define DAY_MS UINT64_C(86400000)

static void rule_add(void *context, const struct store_profile *profile)
{
    struct retention *retention = context;
    if (profile->retention_days == 0 || retention->rules_count == RETENTION_RULES_MAX)
        return;
    struct retention_rule *rule = &retention->rules[retention->rules_count++];
    *rule = (struct retention_rule){.days = profile->retention_days};
    memcpy(rule->profile, profile->name, sizeof(rule->profile));
}

int retention_begin(struct retention *retention, uint64_t now_unix_ms)
{
    memset(retention->after, 0, sizeof(retention->after));
    retention->rules_count = 0;
    const int rc = store_profile_list(retention->store, rule_add, retention);
    for (uint32_t i = 0; i < retention->rules_count; i++) {
        struct retention_rule *rule = &retention->rules[i];
        const uint64_t life_ms = rule->days * DAY_MS;
        rule->before_unix_ms = now_unix_ms > life_ms ? now_unix_ms - life_ms : 0;
    }
    return rc;
}

/* What a round found. */
struct found {
    struct retention *retention;
    uint8_t last[RECORD_ID_BYTES];
    uint32_t rows_count;
    uint32_t ids_count;
    uint8_t ids[RETENTION_DESTROY_MAX][RECORD_ID_BYTES];
};

static bool row_look(void *context, const struct store_retention_row *row)
{
    struct found *found = context;
    struct retention *retention = found->retention;
    found->rows_count++;
    memcpy(found->last, row->id, RECORD_ID_BYTES);
    for (uint32_t i = 0; i < retention->rules_count; i++) {
        struct retention_rule *rule = &retention->rules[i];
        if (strcmp(rule->profile, row->profile) != 0 || row->sent_unix_ms >= rule->before_unix_ms)
            continue;
        rule->count++;
        memcpy(found->ids[found->ids_count++], row->id, RECORD_ID_BYTES);
    }
    return found->ids_count < RETENTION_DESTROY_MAX;
}

static int found_destroy(const struct retention *retention, const struct found *found)
{
    char detail[64];
    if (found->ids_count == 0 || retention->dry)
        return 0;
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
    for (uint32_t i = 0; i < retention->rules_count; i++)
        before_ms = MAX(before_ms, retention->rules[i].before_unix_ms);
    if (before_ms == 0)
        return 0;
    int rc = store_retention_scan(retention->store, retention->after, before_ms, RETENTION_ROWS_MAX,
                                  row_look, &found);
    if (rc == 0)
        rc = found_destroy(retention, &found);
    if (rc != 0)
        return rc;
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
