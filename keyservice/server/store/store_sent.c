#include "keyservice/server/store/store_sent.h"

#include "base/assert.h"
#include "base/bytes.h"
#include "base/log.h"
#include "keyservice/server/account/account.h"
#include "keyservice/server/sent/sent_run.h"
#include "keyservice/server/store/store_opening.h"
#include "keyservice/server/store/store_report.h"
#include "keyservice/server/store/store_row.h"
#include "keyservice/server/store/store_sql.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define FOLD_ENTRIES_BYTES (STORE_SENT_FOLD_RUNS * RECORD_BATCH_RECORDS_MAX * SENT_ENTRY_BYTES)
#define FOLD_PIECE_BYTES   (8192 * SENT_ENTRY_BYTES) /* of one statement */
#define BURST_HELPERS      7

int store_sent_append(struct store_writer *writer, const uint8_t *run, uint32_t run_bytes)
{
    struct sql_statement *add = sql_use(&writer->sql, SQL_SENT_RUN_ADD);
    sql_bind_blob(add, 1, run, run_bytes);
    return sql_run(add) < 0 ? -EIO : 0;
}

/* --- taking runs in --- */

struct fold_run {
    uint64_t number;
    uint8_t *bytes_at;
    struct sent_run view;
    bool sound;
};

struct fold {
    uint32_t runs_max;
    uint32_t runs_count;
    struct fold_run runs[STORE_SENT_FOLD_RUNS];
};

static void fold_free(struct fold *fold)
{
    for (uint32_t i = 0; i < fold->runs_count; i++)
        free(fold->runs[i].bytes_at);
    fold->runs_count = 0;
}

static int runs_take(struct store_writer *writer, struct fold *fold)
{
    int step = 0;
    struct sql_statement *take = sql_use(&writer->sql, SQL_SENT_RUN_TAKE);
    sql_bind_u64(take, 1, fold->runs_max);
    while (fold->runs_count < fold->runs_max && (step = sql_step(take)) == 1) {
        size_t bytes = 0;
        struct fold_run *run = &fold->runs[fold->runs_count];
        const void *at = sql_column_bytes(take, 1, &bytes);
        *run = (struct fold_run){.number = sql_column_u64(take, 0), .bytes_at = malloc(bytes + 1)};
        if (run->bytes_at == NULL) {
            step = -ENOMEM;
            break;
        }
        if (at != NULL)
            memcpy(run->bytes_at, at, bytes);
        run->sound = at != NULL && sent_run_read(&run->view, run->bytes_at, bytes) == 0;
        if (!run->sound) /* it would stand in the way of all others */
            log_line(LOG_LEVEL_ERROR, "sent_run_damaged", "number=%llu",
                     (unsigned long long)run->number);
        fold->runs_count++;
    }
    sql_done(take);
    return step < 0 ? step : 0;
}

static int entry_compare(const void *one, const void *two)
{
    return memcmp(one, two, SENT_ENTRY_BYTES);
}

/* In the index's order, so that pages are touched once. */
static int entries_add(struct store_writer *writer, const struct fold *fold)
{
    size_t bytes = 0;
    int rc = 0;
    uint8_t *entries = malloc(FOLD_ENTRIES_BYTES);
    if (entries == NULL)
        return -ENOMEM;
    for (uint32_t i = 0; i < fold->runs_count; i++) {
        if (!fold->runs[i].sound)
            continue;
        const struct sent_run *view = &fold->runs[i].view;
        const size_t run_bytes = (size_t)view->entries_count * SENT_ENTRY_BYTES;
        ASSERT(bytes + run_bytes <= FOLD_ENTRIES_BYTES);
        memcpy(entries + bytes, view->entries, run_bytes);
        bytes += run_bytes;
    }
    qsort(entries, bytes / SENT_ENTRY_BYTES, SENT_ENTRY_BYTES, entry_compare);
    for (size_t at = 0; at < bytes && rc == 0; at += FOLD_PIECE_BYTES) {
        struct sql_statement *add = sql_use(&writer->sql, SQL_SENT_ADD);
        sql_bind_blob(add, 1, entries + at, MIN(bytes - at, (size_t)FOLD_PIECE_BYTES));
        rc = sql_run(add) < 0 ? -EIO : 0;
    }
    free(entries);
    return rc;
}

static int dues_add(struct store_writer *writer, const struct sent_run *view)
{
    for (uint32_t i = 0; i < view->dues_count; i++) {
        const uint8_t *due = view->dues + (size_t)i * SENT_DUE_BYTES;
        struct sql_statement *add = sql_use(&writer->sql, SQL_SENT_DUE_ADD);
        sql_bind_u64(add, 1, bytes_load_be64(due) & INT64_MAX);
        sql_bind_blob(add, 2, due + 8, RECORD_ID_BYTES);
        if (sql_run(add) < 0)
            return -EIO;
    }
    return 0;
}

static int groups_count(struct store_writer *writer, const struct fold *fold)
{
    uint32_t count = 0;
    uint32_t used = 0;
    for (uint32_t i = 0; i < fold->runs_count; i++)
        count += fold->runs[i].sound ? fold->runs[i].view.groups_count : 0;
    struct store_report_event *events = malloc((count + 1) * sizeof(*events));
    if (events == NULL)
        return -ENOMEM;
    for (uint32_t i = 0; i < fold->runs_count; i++) {
        struct sent_group group;
        size_t offset = 0;
        while (fold->runs[i].sound && used < count &&
               sent_run_group(&fold->runs[i].view, &offset, &group))
            events[used++] = (struct store_report_event){.day = group.day,
                                                         .count = group.count,
                                                         .profile = group.profile,
                                                         .profile_bytes = group.profile_bytes,
                                                         .sender = group.sender,
                                                         .sender_bytes = group.sender_bytes};
    }
    const int rc = store_report_apply(writer, REPORT_SEALED, events, used);
    free(events);
    return rc;
}

static int fold_apply(struct store_writer *writer, void *argument)
{
    struct fold *fold = argument;
    fold_free(fold); /* of an earlier try */
    int rc = runs_take(writer, fold);
    if (rc != 0 || fold->runs_count == 0)
        return rc;
    rc = entries_add(writer, fold);
    for (uint32_t i = 0; i < fold->runs_count && rc == 0; i++)
        if (fold->runs[i].sound)
            rc = dues_add(writer, &fold->runs[i].view);
    if (rc == 0)
        rc = groups_count(writer, fold);
    for (uint32_t i = 0; i < fold->runs_count && rc == 0; i++) {
        struct sql_statement *gone = sql_use(&writer->sql, SQL_SENT_RUN_REMOVE);
        sql_bind_u64(gone, 1, fold->runs[i].number);
        rc = sql_run(gone) < 0 ? -EIO : 0;
    }
    return rc;
}

int store_sent_fold(struct store *store, uint32_t runs_min, uint32_t *runs_count)
{
    ASSERT(runs_min > 0 && runs_min <= STORE_SENT_FOLD_RUNS);
    struct sql *sql = store_reader_take(store);
    struct sql_statement *get = sql_use(sql, SQL_SENT_RUN_COUNT);
    sql_bind_u64(get, 1, runs_min);
    const int step = sql_step(get);
    const uint64_t waiting = step == 1 ? sql_column_u64(get, 0) : 0;
    sql_done(get);
    store_reader_give(store, sql);
    *runs_count = 0;
    if (step < 0 || waiting < runs_min)
        return step < 0 ? -EIO : 0;
    struct fold *fold = calloc(1, sizeof(*fold));
    if (fold == NULL)
        return -ENOMEM;
    fold->runs_max = STORE_SENT_FOLD_RUNS;
    const int rc = store_write(store, fold_apply, fold);
    *runs_count = rc == 0 ? fold->runs_count : 0;
    fold_free(fold);
    free(fold);
    return rc;
}

/* --- what was there before the index --- */

struct back {
    struct record records[RECORD_BATCH_RECORDS_MAX];
    const struct record *list[RECORD_BATCH_RECORDS_MAX];
    uint8_t (*wires)[STORE_ROW_WIRE_BYTES_MAX];
    uint8_t last[RECORD_ID_BYTES]; /* of the rows, damaged ones too */
    uint32_t rows_count;
    uint32_t count; /* of records */
    bool more;
};

#define BACK_ROWS 32 /* records may be large, and are held until they are in the run */

/* Whatever cannot be read is passed over, or it would stand in the way of all that follow. Dates
 * stay out: who opened what before openings were noted is not known, so nobody is told it was
 * unread. */
static void back_keep(struct back *back, const void *row, size_t bytes)
{
    struct record *record = &back->records[back->count];
    if (row == NULL ||
        store_row_read(record, back->wires[back->count], back->last, row, bytes) != 0) {
        log_line(LOG_LEVEL_ERROR, "sent_back_damaged", "m=%016llx%016llx",
                 (unsigned long long)bytes_load_be64(back->last),
                 (unsigned long long)bytes_load_be64(back->last + 8));
        return;
    }
    record->read_by_unix_ms = 0;
    back->list[back->count] = record;
    back->count++;
}

static int back_read(struct store_writer *writer, struct back *back, const uint8_t *after,
                     size_t after_bytes, const uint8_t *until)
{
    int step = 0;
    struct sql_statement *list = sql_use(&writer->sql, SQL_SENT_BACK_LIST);
    sql_bind_blob(list, 1, after, after_bytes);
    sql_bind_blob(list, 2, until, RECORD_ID_BYTES);
    sql_bind_u64(list, 3, BACK_ROWS);
    while (back->rows_count < BACK_ROWS && (step = sql_step(list)) == 1) {
        size_t bytes = 0;
        if (!sql_column_blob(list, 0, back->last, sizeof(back->last))) {
            step = -EIO;
            break;
        }
        const void *row = sql_column_bytes(list, 1, &bytes);
        back_keep(back, row, bytes);
        back->rows_count++;
    }
    sql_done(list);
    return step < 0 ? -EIO : 0;
}

static int back_apply(struct store_writer *writer, void *argument)
{
    struct back *back = argument;
    uint8_t after[RECORD_ID_BYTES];
    uint8_t until[RECORD_ID_BYTES];
    size_t after_bytes = 0;
    uint8_t *run = NULL;
    uint32_t run_bytes = 0;
    back->count = 0;
    back->rows_count = 0;
    back->more = false;
    struct sql_statement *get = sql_use(&writer->sql, SQL_SENT_BACK_GET);
    const int step = sql_step(get);
    const void *at = step == 1 ? sql_column_bytes(get, 0, &after_bytes) : NULL;
    bool sound = at != NULL && after_bytes <= sizeof(after);
    if (sound) {
        memcpy(after, at, after_bytes);
        sound = sql_column_blob(get, 1, until, sizeof(until));
    }
    sql_done(get);
    if (step == 0)
        return 0;
    int rc = step == 1 && sound ? back_read(writer, back, after, after_bytes, until) : -EIO;
    if (rc == 0 && back->count > 0)
        rc = sent_run_make(back->list, back->count, &run, &run_bytes);
    if (rc == 0 && run != NULL)
        rc = store_sent_append(writer, run, run_bytes);
    free(run);
    if (rc != 0)
        return rc;
    back->more = back->rows_count == BACK_ROWS;
    struct sql_statement *move =
        sql_use(&writer->sql, back->more ? SQL_SENT_BACK_SET : SQL_SENT_BACK_END);
    if (back->more)
        sql_bind_blob(move, 1, back->last, RECORD_ID_BYTES);
    return sql_run(move) < 0 ? -EIO : 0;
}

int store_sent_back(struct store *store, bool *more)
{
    struct back *back = malloc(sizeof(*back));
    if (back == NULL)
        return -ENOMEM;
    back->wires = malloc((size_t)BACK_ROWS * sizeof(back->wires[0]));
    const int rc = back->wires == NULL ? -ENOMEM : store_write(store, back_apply, back);
    *more = rc == 0 && back->more;
    free(back->wires);
    free(back);
    return rc;
}

/* --- asking --- */

struct id_list {
    uint8_t (*ids)[RECORD_ID_BYTES]; /* newest first, each once */
    uint32_t count;
    uint32_t room;
};

static void list_put(struct id_list *list, const uint8_t *id)
{
    uint32_t low = 0;
    uint32_t high = list->count;
    while (low < high) {
        const uint32_t middle = (low + high) / 2;
        const int order = memcmp(list->ids[middle], id, RECORD_ID_BYTES);
        if (order == 0)
            return;
        if (order > 0)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == list->room)
        return;
    const uint32_t moved = MIN(list->count, list->room - 1) - low;
    memmove(list->ids[low + 1], list->ids[low], (size_t)moved * RECORD_ID_BYTES);
    memcpy(list->ids[low], id, RECORD_ID_BYTES);
    list->count = MIN(list->count + 1, list->room);
}

static int runs_look(struct sql *sql, struct id_list *list, const uint8_t *hash,
                     const uint8_t *before)
{
    int step = 0;
    struct sql_statement *get = sql_use(sql, SQL_SENT_RUN_LIST);
    sql_bind_u64(get, 1, STORE_SENT_LOOK_RUNS);
    while ((step = sql_step(get)) == 1) { /* the statement's own limit bounds it */
        struct sent_run view;
        size_t bytes = 0;
        const uint8_t *run = sql_column_bytes(get, 0, &bytes);
        if (sent_run_read(&view, run, bytes) != 0)
            continue;
        for (uint32_t i = 0; i < view.entries_count; i++) {
            const uint8_t *entry = view.entries + (size_t)i * SENT_ENTRY_BYTES;
            if (memcmp(entry, hash, SENT_HASH_BYTES) == 0 &&
                memcmp(entry + SENT_HASH_BYTES, before, RECORD_ID_BYTES) < 0)
                list_put(list, entry + SENT_HASH_BYTES);
        }
    }
    sql_done(get);
    return step < 0 ? -EIO : 0;
}

static int index_look(struct sql *sql, struct id_list *list, const uint8_t *hash,
                      const uint8_t *before)
{
    int step = 0;
    struct sql_statement *get = sql_use(sql, SQL_SENT_LIST);
    sql_bind_blob(get, 1, hash, SENT_HASH_BYTES);
    sql_bind_blob(get, 2, before, RECORD_ID_BYTES);
    sql_bind_u64(get, 3, list->room);
    while ((step = sql_step(get)) == 1) { /* the statement's own limit bounds it */
        uint8_t id[RECORD_ID_BYTES];
        if (sql_column_blob(get, 0, id, sizeof(id)))
            list_put(list, id);
    }
    sql_done(get);
    return step < 0 ? -EIO : 0;
}

int store_sent_ids(struct store *store, const char *sender, const uint8_t before[RECORD_ID_BYTES],
                   uint8_t (*ids)[RECORD_ID_BYTES], uint32_t *ids_count)
{
    uint8_t hash[SENT_HASH_BYTES];
    struct id_list list = {.ids = ids, .room = *ids_count};
    ASSERT(*ids_count > 0 && *ids_count <= STORE_SENT_LIST_MAX);
    sent_hash(hash, sender);
    struct sql *sql = store_reader_take(store);
    /* Runs first: what is taken in between the two is then seen twice, not missed. */
    int rc = runs_look(sql, &list, hash, before);
    if (rc == 0)
        rc = index_look(sql, &list, hash, before);
    store_reader_give(store, sql);
    if (rc == 0)
        *ids_count = list.count;
    return rc;
}

static uint8_t lower(uint8_t byte)
{
    return byte >= 'A' && byte <= 'Z' ? (uint8_t)(byte | 0x20) : byte;
}

static bool bytes_hold(const uint8_t *bytes_at, size_t bytes, const char *text)
{
    const size_t chars = strlen(text);
    for (size_t at = 0; at + chars <= bytes; at++) {
        size_t same = 0;
        while (same < chars && lower(bytes_at[at + same]) == lower((uint8_t)text[same]))
            same++;
        if (same == chars)
            return true;
    }
    return false;
}

static bool record_holds(const struct record *record, const char *text)
{
    uint32_t offset = 0;
    const uint8_t *at = NULL;
    uint16_t bytes = 0;
    if (text == NULL || text[0] == '\0' || bytes_hold(record->subject, record->subject_bytes, text))
        return true;
    while (record_recipient(record, &offset, &at, &bytes))
        if (bytes_hold(at, bytes, text))
            return true;
    return false;
}

static void sent_fill(struct store_sent *sent, const struct record *record,
                      struct sql_statement *get)
{
    const uint64_t parts = sql_column_u64(get, 2);
    struct store_envelope *envelope = &sent->envelope;
    *sent = (struct store_sent){.recipients_count = record->recipients_count,
                                .readers_count = (uint32_t)sql_column_u64(get, 5),
                                .locked_count = (uint32_t)sql_column_u64(get, 6)};
    uint32_t offset = 0;
    const uint8_t *first = NULL;
    uint16_t first_bytes = 0;
    if (record_recipient(record, &offset, &first, &first_bytes))
        memcpy(sent->first_to, first, first_bytes);
    memcpy(envelope->id, record->id, RECORD_ID_BYTES);
    envelope->suite = record->suite;
    envelope->level = record->level;
    envelope->flags = record->flags;
    envelope->locked = sql_column_u64(get, 0) != 0;
    envelope->sent_unix_ms = record->sent_unix_ms;
    envelope->mail_bytes = record->mail_bytes;
    envelope->expires_unix_ms =
        (parts & STORE_CHANGE_EXPIRES) != 0 ? sql_column_u64(get, 3) : record->expires_unix_ms;
    envelope->read_by_unix_ms =
        (parts & STORE_CHANGE_READ_BY) != 0 ? sql_column_u64(get, 4) : record->read_by_unix_ms;
    memcpy(envelope->profile, record->profile, record->profile_bytes);
    memcpy(envelope->sender, record->sender, record->sender_bytes);
    memcpy(envelope->subject, record->subject, record->subject_bytes);
}

static int sent_get(struct sql *sql, const uint8_t id[RECORD_ID_BYTES], const char *sender,
                    const char *text, struct store_sent *sent)
{
    uint8_t wire[STORE_ROW_WIRE_BYTES_MAX];
    char normal[STORE_ADDRESS_BYTES];
    struct record record;
    size_t bytes = 0;
    struct sql_statement *get = sql_use(sql, SQL_SENT_GET);
    sql_bind_blob(get, 1, id, RECORD_ID_BYTES);
    const int step = sql_step(get);
    int rc = step == 1 ? 0 : step == 0 ? -ENOENT : -EIO;
    const void *row = rc == 0 ? sql_column_bytes(get, 1, &bytes) : NULL;
    if (rc == 0 && store_row_read(&record, wire, id, row, bytes) != 0)
        rc = -EBADMSG;
    if (rc == 0) {
        (void)account_normalise_bytes(normal, record.sender, record.sender_bytes);
        rc = sender != NULL && strcmp(normal, sender) != 0 ? -ENOENT
             : record_holds(&record, text)                 ? 0
                                                           : -ENODATA;
    }
    if (rc == 0)
        sent_fill(sent, &record, get);
    sql_done(get);
    return rc;
}

int store_sent_get(struct store *store, const uint8_t id[RECORD_ID_BYTES], const char *sender,
                   const char *text, struct store_sent *sent)
{
    struct sql *sql = store_reader_take(store);
    const int rc = sent_get(sql, id, sender, text, sent);
    store_reader_give(store, sql);
    return rc;
}

/* --- several, side by side --- */

struct burst {
    struct store *store;
    struct store_sent_look *looks;
    uint32_t looks_count;
    const char *sender;
    const char *text;
    atomic_uint next; /* whoever adds to it has that look; the join orders what was found */
};

/* The next look; false: there is none any more. */
static bool burst_step(struct burst *burst, struct sql *sql)
{
    const uint32_t i = atomic_fetch_add_explicit(&burst->next, 1, memory_order_relaxed);
    if (i >= burst->looks_count)
        return false;
    struct store_sent_look *look = &burst->looks[i];
    look->rc = sent_get(sql, look->id, burst->sender, burst->text, &look->sent);
    return true;
}

static void *burst_help(void *argument)
{
    struct burst *burst = argument;
    struct sql *sql = store_reader_try(burst->store);
    if (sql == NULL)
        return NULL;
    while (burst_step(burst, sql)) /* the looks' count bounds it */
        ;
    store_reader_give(burst->store, sql);
    return NULL;
}

void store_sent_burst(struct store *store, struct store_sent_look *looks, uint32_t looks_count,
                      const char *sender, const char *text, uint64_t patience_ns)
{
    struct burst burst = {
        .store = store, .looks = looks, .looks_count = looks_count, .sender = sender, .text = text};
    pthread_t helpers[BURST_HELPERS];
    uint32_t helpers_count = 0;
    ASSERT(looks_count <= STORE_SENT_BURST);
    struct sql *sql = store_reader_take(store);
    const uint64_t start_ns = clock_monotonic_ns();
    bool more = looks_count > 0;
    while (more && clock_monotonic_ns() - start_ns <= patience_ns)
        more = burst_step(&burst, sql);
    /* Where a thread cannot be had, the others do its part. */
    while (more && helpers_count < BURST_HELPERS && helpers_count + 1 < looks_count &&
           pthread_create(&helpers[helpers_count], NULL, burst_help, &burst) == 0)
        helpers_count++;
    while (more)
        more = burst_step(&burst, sql);
    store_reader_give(store, sql);
    for (uint32_t i = 0; i < helpers_count; i++)
        (void)pthread_join(helpers[i], NULL);
}
