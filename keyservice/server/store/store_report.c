#include "keyservice/server/store/store_report.h"

#include "base/assert.h"
#include "keyservice/server/account/account.h"
#include "keyservice/server/sent/sent_run.h"
#include "keyservice/server/store/store_sql.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define DAY_S 86400

/* A count under the names that it is added up by, while a write is put together. */
struct tally {
    uint32_t period; /* a day, or a month's first */
    uint64_t count;
    const uint8_t *first;
    const uint8_t *second;
    uint16_t first_bytes;
    uint16_t second_bytes;
};

uint32_t store_report_month(uint32_t day)
{
    struct tm utc;
    const time_t at = (time_t)day * DAY_S;
    if (gmtime_r(&at, &utc) == NULL)
        return day;
    return day - (uint32_t)(utc.tm_mday - 1);
}

static int bytes_compare(const uint8_t *one, size_t one_bytes, const uint8_t *two, size_t two_bytes)
{
    const int order = memcmp(one, two, MIN(one_bytes, two_bytes));
    return order != 0 ? order : (one_bytes > two_bytes) - (one_bytes < two_bytes);
}

static int tally_compare(const void *one_at, const void *two_at)
{
    const struct tally *one = one_at;
    const struct tally *two = two_at;
    if (one->period != two->period)
        return one->period < two->period ? -1 : 1;
    const int order = bytes_compare(one->first, one->first_bytes, two->first, two->first_bytes);
    return order != 0
               ? order
               : bytes_compare(one->second, one->second_bytes, two->second, two->second_bytes);
}

/* Sorted, each name once; returns how many are left. */
static uint32_t tallies_merge(struct tally *tallies, uint32_t count)
{
    uint32_t kept = 0;
    qsort(tallies, count, sizeof(tallies[0]), tally_compare);
    for (uint32_t i = 0; i < count; i++) {
        if (kept > 0 && tally_compare(&tallies[kept - 1], &tallies[i]) == 0)
            tallies[kept - 1].count += tallies[i].count;
        else
            tallies[kept++] = tallies[i];
    }
    return kept;
}

/* Names stand in the tables in hex: plain letters whatever the bytes, in either database's JSON. */
static void hex_print(FILE *file, const uint8_t *bytes_at, size_t bytes)
{
    (void)fputc('"', file);
    for (size_t i = 0; i < bytes; i++)
        (void)fprintf(file, "%02x", bytes_at[i]);
    (void)fputs("\",", file);
}

/* The rows of one period, in one statement. */
static int period_add(struct store_writer *writer, enum sql_id id, enum store_report_kind kind,
                      const struct tally *tallies, uint32_t count)
{
    char *json = NULL;
    size_t json_bytes = 0;
    FILE *file = open_memstream(&json, &json_bytes);
    if (file == NULL)
        return -ENOMEM;
    for (uint32_t i = 0; i < count; i++) {
        (void)fputs(i == 0 ? "[[" : ",[", file);
        hex_print(file, tallies[i].first, tallies[i].first_bytes);
        if (id == SQL_REPORT_ADD)
            hex_print(file, tallies[i].second, tallies[i].second_bytes);
        (void)fprintf(file, "%llu]", (unsigned long long)tallies[i].count);
    }
    (void)fputc(']', file);
    if (fclose(file) != 0) {
        free(json);
        return -ENOMEM;
    }
    struct sql_statement *add = sql_use(&writer->sql, id);
    sql_bind_u64(add, 1, tallies[0].period);
    sql_bind_u64(add, 2, kind);
    sql_bind_string(add, 3, json);
    const int changed = sql_run(add);
    free(json);
    return changed < 0 ? -EIO : 0;
}

static int tallies_add(struct store_writer *writer, enum sql_id id, enum store_report_kind kind,
                       struct tally *tallies, uint32_t count)
{
    int rc = 0;
    const uint32_t kept = tallies_merge(tallies, count);
    for (uint32_t first = 0; first < kept && rc == 0;) {
        uint32_t end = first + 1;
        while (end < kept && tallies[end].period == tallies[first].period)
            end++;
        rc = period_add(writer, id, kind, &tallies[first], end - first);
        first = end;
    }
    return rc;
}

int store_report_apply(struct store_writer *writer, enum store_report_kind kind,
                       const struct store_report_event *events, uint32_t events_count)
{
    if (events_count == 0)
        return 0;
    struct tally *tallies = malloc(events_count * sizeof(*tallies));
    if (tallies == NULL)
        return -ENOMEM;
    for (uint32_t i = 0; i < events_count; i++) {
        const struct store_report_event *event = &events[i];
        const uint8_t *at = memrchr(event->sender, '@', event->sender_bytes);
        const uint8_t *domain = at == NULL ? event->sender : at + 1;
        tallies[i] = (struct tally){.period = event->day,
                                    .count = event->count,
                                    .first = event->profile,
                                    .first_bytes = event->profile_bytes,
                                    .second = domain,
                                    .second_bytes =
                                        (uint16_t)(event->sender + event->sender_bytes - domain)};
    }
    int rc = tallies_add(writer, SQL_REPORT_ADD, kind, tallies, events_count);
    for (uint32_t i = 0; i < events_count; i++)
        tallies[i] = (struct tally){.period = store_report_month(events[i].day),
                                    .count = events[i].count,
                                    .first = events[i].sender,
                                    .first_bytes = events[i].sender_bytes,
                                    .second = events[i].sender};
    if (rc == 0)
        rc = tallies_add(writer, SQL_REPORT_USER_ADD, kind, tallies, events_count);
    free(tallies);
    return rc;
}

struct report_write {
    enum store_report_kind kind;
    struct store_report_event event;
    char sender[STORE_ADDRESS_BYTES];
};

static int count_apply(struct store_writer *writer, void *argument)
{
    const struct report_write *write = argument;
    return store_report_apply(writer, write->kind, &write->event, 1);
}

int store_report_count(struct store *store, enum store_report_kind kind,
                       const struct store_envelope *envelope, uint64_t now_unix_ms)
{
    struct report_write write = {.kind = kind};
    write.event = (struct store_report_event){.day = (uint32_t)(now_unix_ms / SENT_DAY_MS),
                                              .count = 1,
                                              .profile = (const uint8_t *)envelope->profile,
                                              .profile_bytes = (uint16_t)strlen(envelope->profile),
                                              .sender = (const uint8_t *)write.sender,
                                              .sender_bytes = (uint16_t)account_normalise_bytes(
                                                  write.sender, (const uint8_t *)envelope->sender,
                                                  strlen(envelope->sender))};
    return store_write(store, count_apply, &write);
}

static int digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Out of hex; false for what hex_print() cannot have written. */
static bool name_column(struct sql_statement *get, int index, char name[STORE_ADDRESS_BYTES])
{
    char hex[2 * STORE_ADDRESS_BYTES];
    if (!sql_column_string(get, index, hex, sizeof(hex)))
        return false;
    const size_t chars = strlen(hex) / 2;
    for (size_t i = 0; i < chars; i++) {
        const int high = digit(hex[2 * i]);
        const int low = digit(hex[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        name[i] = (char)(high * 16 + low);
    }
    name[chars] = '\0';
    return true;
}

static enum sql_id report_statement(enum store_report_by by)
{
    switch (by) {
    case REPORT_BY_DAY: return SQL_REPORT_BY_DAY;
    case REPORT_BY_POLICY: return SQL_REPORT_BY_POLICY;
    case REPORT_BY_DOMAIN: return SQL_REPORT_BY_DOMAIN;
    case REPORT_BY_USER: return SQL_REPORT_BY_USER;
    }
    ASSERT(false);
    return SQL_REPORT_BY_DAY;
}

int store_report_list(struct store *store, enum store_report_by by, uint32_t day_first,
                      uint32_t day_last, store_report_visit *visit, void *context)
{
    int step = 0;
    bool any = false;
    struct store_report_row row = {.day = 0};
    struct sql *sql = store_reader_take(store);
    struct sql_statement *list = sql_use(sql, report_statement(by));
    sql_bind_u64(list, 1, by == REPORT_BY_USER ? store_report_month(day_first) : day_first);
    sql_bind_u64(list, 2, day_last);
    sql_bind_u64(list, 3, STORE_REPORT_ROWS_MAX);
    while ((step = sql_step(list)) == 1) { /* the statement's own limit bounds it */
        struct store_report_row next = {.day = 0};
        const uint64_t kind = sql_column_u64(list, 1);
        if (by == REPORT_BY_DAY)
            next.day = (uint32_t)sql_column_u64(list, 0);
        else if (!name_column(list, 0, next.name))
            continue;
        if (any && (row.day != next.day || strcmp(row.name, next.name) != 0))
            visit(context, &row);
        if (!any || row.day != next.day || strcmp(row.name, next.name) != 0)
            row = next;
        any = true;
        if (kind < STORE_REPORT_KINDS_COUNT)
            row.counts[kind] = sql_column_u64(list, 2);
    }
    if (any && step == 0)
        visit(context, &row);
    sql_done(list);
    store_reader_give(store, sql);
    return step < 0 ? step : 0;
}

static int prune_apply(struct store_writer *writer, void *argument)
{
    const uint32_t *day = argument;
    struct sql_statement *days = sql_use(&writer->sql, SQL_REPORT_PRUNE);
    sql_bind_u64(days, 1, *day);
    if (sql_run(days) < 0)
        return -EIO;
    struct sql_statement *users = sql_use(&writer->sql, SQL_REPORT_USER_PRUNE);
    sql_bind_u64(users, 1, *day);
    return sql_run(users) < 0 ? -EIO : 0;
}

int store_report_prune(struct store *store, uint64_t now_unix_ms)
{
    uint32_t day = (uint32_t)(now_unix_ms / SENT_DAY_MS);
    day = day > STORE_REPORT_KEEP_DAYS ? day - STORE_REPORT_KEEP_DAYS : 0;
    return store_write(store, prune_apply, &day);
}
