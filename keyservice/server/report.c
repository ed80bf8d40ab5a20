#include "keyservice/server/report.h"

#include "keyservice/server/sent/sent_run.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define DAY_BYTES        16
#define DAY_S            86400
#define RANGE_DAYS       365
#define REPORT_JSON_ROWS 1000 /* a list of more is for the table of values */

static const char *const by_names[] = {
    [REPORT_BY_DAY] = "day",
    [REPORT_BY_POLICY] = "policy",
    [REPORT_BY_DOMAIN] = "domain",
    [REPORT_BY_USER] = "user",
};
static const char *const kind_names[STORE_REPORT_KINDS_COUNT] = {
    [REPORT_SEALED] = "sealed", [REPORT_OPENED] = "opened", [REPORT_EXPIRED] = "expired",
    [REPORT_LOCKED] = "locked", [REPORT_FAILED] = "failed",
};

static bool day_parse(uint32_t *day, const char *text)
{
    struct tm utc = {.tm_mday = 0};
    const char *end = strptime(text, "%Y-%m-%d", &utc);
    const time_t at = end == NULL || *end != '\0' ? -1 : timegm(&utc);
    if (at < 0)
        return false;
    *day = (uint32_t)(at / DAY_S);
    return true;
}

static void day_print(char text[DAY_BYTES], uint32_t day)
{
    struct tm utc;
    const time_t at = (time_t)day * DAY_S;
    text[0] = '\0';
    if (gmtime_r(&at, &utc) != NULL)
        (void)strftime(text, DAY_BYTES, "%Y-%m-%d", &utc);
}

bool report_range_parse(struct report_range *range, const char *by, const char *from,
                        const char *to, uint64_t now_unix_ms)
{
    const uint32_t today = (uint32_t)(now_unix_ms / SENT_DAY_MS);
    *range = (struct report_range){
        .by = REPORT_BY_DAY, .day_first = today - MIN(today, RANGE_DAYS), .day_last = today};
    bool known = by == NULL || by[0] == '\0';
    for (size_t i = 0; i < ARRAY_COUNT(by_names) && !known; i++)
        if (strcmp(by, by_names[i]) == 0) {
            range->by = (enum store_report_by)i;
            known = true;
        }
    return known && (from == NULL || from[0] == '\0' || day_parse(&range->day_first, from)) &&
           (to == NULL || to[0] == '\0' || day_parse(&range->day_last, to)) &&
           range->day_first <= range->day_last;
}

static uint64_t unopened(const struct store_report_row *row)
{
    const uint64_t sealed = row->counts[REPORT_SEALED];
    const uint64_t opened = row->counts[REPORT_OPENED];
    return sealed > opened ? sealed - opened : 0;
}

/* A field in quotes: commas, quotes and whatever else may stand in an address. */
static void field_print(FILE *file, const char *text)
{
    (void)fputc('"', file);
    if (text[0] != '\0' && strchr("=+-@\t\r", text[0]) != NULL)
        (void)fputc('\'', file);
    for (; *text != '\0'; text++) {
        if (*text == '"')
            (void)fputc('"', file);
        (void)fputc(*text, file);
    }
    (void)fputc('"', file);
}

struct printing {
    FILE *file;
    json_t *rows;
    enum store_report_by by;
};

static void row_print(void *context, const struct store_report_row *row)
{
    char day[DAY_BYTES];
    const struct printing *printing = context;
    if (printing->by == REPORT_BY_DAY) {
        day_print(day, row->day);
        (void)fputs(day, printing->file);
    } else {
        field_print(printing->file, row->name);
    }
    for (size_t i = 0; i < STORE_REPORT_KINDS_COUNT; i++) {
        (void)fprintf(printing->file, ",%llu", (unsigned long long)row->counts[i]);
        if (i == REPORT_OPENED)
            (void)fprintf(printing->file, ",%llu", (unsigned long long)unopened(row));
    }
    (void)fputs("\r\n", printing->file);
}

int report_csv(struct store *store, const struct report_range *range, char **text,
               size_t *text_bytes)
{
    char *made = NULL;
    FILE *file = open_memstream(&made, text_bytes);
    if (file == NULL)
        return -ENOMEM;
    struct printing printing = {.file = file, .by = range->by};
    (void)fputs(by_names[range->by], file);
    for (size_t i = 0; i < STORE_REPORT_KINDS_COUNT; i++)
        (void)fprintf(file, ",%s%s", kind_names[i], i == REPORT_OPENED ? ",unopened" : "");
    (void)fputs("\r\n", file);
    int rc = store_report_list(store, range->by, range->day_first, range->day_last, row_print,
                               &printing);
    if (fclose(file) != 0 && rc == 0)
        rc = -ENOMEM;
    if (rc != 0) {
        free(made);
        return rc;
    }
    *text = made;
    return 0;
}

static void row_append(void *context, const struct store_report_row *row)
{
    char day[DAY_BYTES];
    const struct printing *printing = context;
    if (json_array_size(printing->rows) >= REPORT_JSON_ROWS)
        return;
    day_print(day, row->day);
    json_t *made = json_pack("{s:s}", "name", printing->by == REPORT_BY_DAY ? day : row->name);
    for (size_t i = 0; i < STORE_REPORT_KINDS_COUNT; i++)
        (void)json_object_set_new(made, kind_names[i], json_integer((json_int_t)row->counts[i]));
    (void)json_object_set_new(made, "unopened", json_integer((json_int_t)unopened(row)));
    (void)json_array_append_new(printing->rows, made);
}

int report_json(struct store *store, const struct report_range *range, json_t **rows)
{
    struct printing printing = {.rows = json_array(), .by = range->by};
    if (printing.rows == NULL)
        return -ENOMEM;
    const int rc = store_report_list(store, range->by, range->day_first, range->day_last,
                                     row_append, &printing);
    if (rc != 0) {
        json_decref(printing.rows);
        return rc;
    }
    *rows = printing.rows;
    return 0;
}
