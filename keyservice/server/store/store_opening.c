#include "keyservice/server/store/store_opening.h"

#include "base/assert.h"
#include "keyservice/server/account/account.h"
#include "keyservice/server/mail/outbox.h"
#include "keyservice/server/sent/sent_run.h"
#include "keyservice/server/store/store_report.h"
#include "keyservice/server/store/store_row.h"
#include "keyservice/server/store/store_sql.h"

#include <errno.h>
#include <string.h>

#define UNREAD_BURST 64 /* dates looked at in one write */

struct opening_write {
    const struct store_envelope *envelope;
    const uint8_t *id;
    const char *address;
    uint64_t value;
    uint64_t now_unix_ms;
    enum sql_id statement;
};

static int notice_add(struct store_writer *writer, enum store_notice_kind kind, const uint8_t *id,
                      const char *address, uint64_t now_unix_ms)
{
    struct sql_statement *add = sql_use(&writer->sql, SQL_NOTICE_ADD);
    sql_bind_u64(add, 1, kind);
    sql_bind_blob(add, 2, id, RECORD_ID_BYTES);
    sql_bind_string(add, 3, address);
    sql_bind_u64(add, 4, now_unix_ms);
    return sql_run(add) < 0 ? -EIO : 0;
}

/* A number that a statement of one parameter, an id, gives; -errno. */
static int id_number(struct sql *sql, enum sql_id statement, const uint8_t *id, uint64_t *number)
{
    struct sql_statement *get = sql_use(sql, statement);
    sql_bind_blob(get, 1, id, RECORD_ID_BYTES);
    const int step = sql_step(get);
    if (step == 1)
        *number = sql_column_u64(get, 0);
    sql_done(get);
    return step == 1 ? 0 : -EIO;
}

/* The first time that this address opens it. */
static int first_opening(struct store_writer *writer, const struct opening_write *write)
{
    char sender[STORE_ADDRESS_BYTES];
    uint64_t readers_count = 0;
    const struct store_envelope *envelope = write->envelope;
    int rc = 0;
    if ((envelope->flags & RECORD_FLAG_RECEIPT) != 0)
        rc = notice_add(writer, NOTICE_OPENED, envelope->id, write->address, write->now_unix_ms);
    if (rc == 0)
        rc = id_number(&writer->sql, SQL_OPENING_READERS, envelope->id, &readers_count);
    if (rc != 0 || readers_count != 1)
        return rc;
    const struct store_report_event event = {
        .day = (uint32_t)(write->now_unix_ms / SENT_DAY_MS),
        .count = 1,
        .profile = (const uint8_t *)envelope->profile,
        .profile_bytes = (uint16_t)strlen(envelope->profile),
        .sender = (const uint8_t *)sender,
        .sender_bytes = (uint16_t)account_normalise_bytes(sender, (const uint8_t *)envelope->sender,
                                                          strlen(envelope->sender))};
    return store_report_apply(writer, REPORT_OPENED, &event, 1);
}

static int note_apply(struct store_writer *writer, void *argument)
{
    const struct opening_write *write = argument;
    struct sql_statement *note = sql_use(&writer->sql, SQL_OPENING_NOTE);
    sql_bind_blob(note, 1, write->envelope->id, RECORD_ID_BYTES);
    sql_bind_string(note, 2, write->address);
    sql_bind_u64(note, 3, write->now_unix_ms);
    sql_bind_u64(note, 4, write->value);
    const int step = sql_step(note);
    const uint64_t times = step == 1 ? sql_column_u64(note, 0) : 0;
    /* To its end: a statement that changes rows counts once it has finished. */
    const int end = step == 1 ? sql_step(note) : step;
    sql_done(note);
    if (end < 0)
        return -EIO;
    if (step == 0)
        return -EACCES;
    return times == 1 ? first_opening(writer, write) : 0;
}

int store_opening_note(struct store *store, const struct store_envelope *envelope,
                       const char *address, enum store_opening_how how, uint64_t now_unix_ms,
                       struct store_line *line)
{
    struct opening_write write = {
        .envelope = envelope, .address = address, .value = how, .now_unix_ms = now_unix_ms};
    return store_write_line(store, note_apply, &write, line);
}

int store_opening_check(struct store *store, const uint8_t id[RECORD_ID_BYTES], const char *address)
{
    struct sql *sql = store_reader_take(store);
    struct sql_statement *get = sql_use(sql, SQL_OPENING_LOCKED);
    sql_bind_blob(get, 1, id, RECORD_ID_BYTES);
    sql_bind_string(get, 2, address);
    const int step = sql_step(get);
    const bool locked = step == 1 && sql_column_u64(get, 0) != 0;
    sql_done(get);
    store_reader_give(store, sql);
    return step < 0 ? -EIO : locked ? -EACCES : 0;
}

static int lock_apply(struct store_writer *writer, void *argument)
{
    const struct opening_write *write = argument;
    struct sql_statement *lock = sql_use(&writer->sql, SQL_OPENING_LOCK);
    sql_bind_blob(lock, 1, write->id, RECORD_ID_BYTES);
    sql_bind_string(lock, 2, write->address);
    sql_bind_u64(lock, 3, write->value);
    return sql_run(lock) < 0 ? -EIO : 0;
}

int store_opening_lock(struct store *store, const uint8_t id[RECORD_ID_BYTES], const char *address,
                       bool locked)
{
    struct opening_write write = {.id = id, .address = address, .value = locked ? 1 : 0};
    return store_write(store, lock_apply, &write);
}

int store_opening_list(struct store *store, const uint8_t id[RECORD_ID_BYTES],
                       store_opening_visit *visit, void *context)
{
    int step = 0;
    struct sql *sql = store_reader_take(store);
    struct sql_statement *list = sql_use(sql, SQL_OPENING_LIST);
    sql_bind_blob(list, 1, id, RECORD_ID_BYTES);
    sql_bind_u64(list, 2, STORE_OPENINGS_MAX);
    while ((step = sql_step(list)) == 1) { /* the statement's own limit bounds it */
        struct store_opening opening = {.locked = sql_column_u64(list, 1) != 0,
                                        .first_unix_ms = sql_column_u64(list, 2),
                                        .last_unix_ms = sql_column_u64(list, 3),
                                        .times = sql_column_u64(list, 4),
                                        .how = (uint32_t)sql_column_u64(list, 5)};
        if (sql_column_string(list, 0, opening.address, sizeof(opening.address)))
            visit(context, &opening);
    }
    sql_done(list);
    store_reader_give(store, sql);
    return step < 0 ? -EIO : 0;
}

static int due_add(struct store_writer *writer, uint64_t due_unix_ms, const uint8_t *id)
{
    struct sql_statement *due = sql_use(&writer->sql, SQL_SENT_DUE_ADD);
    sql_bind_u64(due, 1, due_unix_ms);
    sql_bind_blob(due, 2, id, RECORD_ID_BYTES);
    return sql_run(due) < 0 ? -EIO : 0;
}

static int change_apply(struct store_writer *writer, void *argument)
{
    const struct opening_write *write = argument;
    struct sql_statement *change = sql_use(&writer->sql, write->statement);
    sql_bind_blob(change, 1, write->id, RECORD_ID_BYTES);
    sql_bind_u64(change, 2, write->value);
    if (sql_run(change) < 0)
        return -EIO;
    if (write->statement != SQL_CHANGE_READ_BY || write->value == 0)
        return 0;
    return due_add(writer, write->value, write->id);
}

int store_change_expires(struct store *store, const uint8_t id[RECORD_ID_BYTES],
                         uint64_t at_unix_ms)
{
    struct opening_write write = {.id = id, .value = at_unix_ms, .statement = SQL_CHANGE_EXPIRES};
    return store_write(store, change_apply, &write);
}

int store_change_read_by(struct store *store, const uint8_t id[RECORD_ID_BYTES],
                         uint64_t at_unix_ms)
{
    struct opening_write write = {.id = id, .value = at_unix_ms, .statement = SQL_CHANGE_READ_BY};
    return store_write(store, change_apply, &write);
}

int store_notice_list(struct store *store, uint32_t notices_max, store_notice_visit *visit,
                      void *context)
{
    int step = 0;
    struct sql *sql = store_reader_take(store);
    struct sql_statement *list = sql_use(sql, SQL_NOTICE_LIST);
    sql_bind_u64(list, 1, notices_max);
    while ((step = sql_step(list)) == 1) { /* the statement's own limit bounds it */
        struct store_notice notice = {.number = sql_column_u64(list, 0),
                                      .kind = (enum store_notice_kind)sql_column_u64(list, 1),
                                      .at_unix_ms = sql_column_u64(list, 4)};
        if (sql_column_blob(list, 2, notice.id, sizeof(notice.id)) &&
            sql_column_string(list, 3, notice.address, sizeof(notice.address)))
            visit(context, &notice);
    }
    sql_done(list);
    store_reader_give(store, sql);
    return step < 0 ? -EIO : 0;
}

struct notice_write {
    const struct store_notice *notice;
    const struct outbox_mail *mail;
    uint64_t now_unix_ms;
};

static int notice_end_apply(struct store_writer *writer, void *argument)
{
    const struct notice_write *write = argument;
    const struct store_notice *notice = write->notice;
    struct sql_statement *end = sql_use(&writer->sql, SQL_NOTICE_REMOVE);
    sql_bind_u64(end, 1, notice->number);
    const int changed = sql_run(end);
    if (changed <= 0)
        return changed < 0 ? -EIO : -ENOENT;
    if (write->mail == NULL)
        return 0;
    const int rc = outbox_put_apply(writer, write->mail, write->now_unix_ms);
    if (rc == -EINVAL) /* nobody can be reached at such an address */
        return 0;
    if (rc != -EACCES)
        return rc;
    /* A refusal keeps what was done: it stands there again, behind the others. */
    const int again =
        notice_add(writer, notice->kind, notice->id, notice->address, notice->at_unix_ms);
    return again != 0 ? again : -EACCES;
}

int store_notice_end(struct store *store, const struct store_notice *notice,
                     const struct outbox_mail *mail, uint64_t now_unix_ms)
{
    struct notice_write write = {.notice = notice, .mail = mail, .now_unix_ms = now_unix_ms};
    return store_write(store, notice_end_apply, &write);
}

/* A date of sent_due that has come. */
struct due {
    uint64_t due_unix_ms;
    uint8_t id[RECORD_ID_BYTES];
};

struct unread_write {
    uint64_t now_unix_ms;
    uint32_t count;
    struct due dues[UNREAD_BURST];
};

static int dues_read(struct store_writer *writer, struct unread_write *write)
{
    int step = 0;
    struct sql_statement *list = sql_use(&writer->sql, SQL_SENT_DUE_LIST);
    sql_bind_u64(list, 1, write->now_unix_ms);
    sql_bind_u64(list, 2, UNREAD_BURST);
    write->count = 0;
    while (write->count < UNREAD_BURST && (step = sql_step(list)) == 1) {
        struct due *due = &write->dues[write->count];
        due->due_unix_ms = sql_column_u64(list, 0);
        if (!sql_column_blob(list, 1, due->id, sizeof(due->id)))
            step = -EIO;
        if (step < 0)
            break;
        write->count++;
    }
    sql_done(list);
    return step < 0 ? -EIO : 0;
}

/* Whether the envelope's date, as it is now, is this one, and nobody was told. */
static int due_stands(struct store_writer *writer, const struct due *due, bool *stands)
{
    struct sql_statement *get = sql_use(&writer->sql, SQL_ENVELOPE_GET);
    sql_bind_blob(get, 1, due->id, RECORD_ID_BYTES);
    const int step = sql_step(get);
    const uint64_t parts = step == 1 ? sql_column_u64(get, 4) : 0;
    *stands = step == 1 && (parts & STORE_CHANGE_TOLD) == 0 &&
              ((parts & STORE_CHANGE_READ_BY) == 0 || sql_column_u64(get, 6) == due->due_unix_ms);
    sql_done(get);
    return step < 0 ? -EIO : 0;
}

static int due_apply(struct store_writer *writer, const struct due *due, uint64_t now_unix_ms)
{
    bool stands = false;
    int rc = due_stands(writer, due, &stands);
    if (rc == 0 && stands) {
        rc = notice_add(writer, NOTICE_UNREAD, due->id, "", now_unix_ms);
        struct sql_statement *told = sql_use(&writer->sql, SQL_CHANGE_TOLD);
        sql_bind_blob(told, 1, due->id, RECORD_ID_BYTES);
        if (rc == 0 && sql_run(told) < 0)
            rc = -EIO;
    }
    if (rc != 0)
        return rc;
    struct sql_statement *gone = sql_use(&writer->sql, SQL_SENT_DUE_REMOVE);
    sql_bind_u64(gone, 1, due->due_unix_ms);
    sql_bind_blob(gone, 2, due->id, RECORD_ID_BYTES);
    return sql_run(gone) < 0 ? -EIO : 0;
}

static int unread_apply(struct store_writer *writer, void *argument)
{
    struct unread_write *write = argument;
    int rc = dues_read(writer, write);
    for (uint32_t i = 0; i < write->count && rc == 0; i++)
        rc = due_apply(writer, &write->dues[i], write->now_unix_ms);
    return rc;
}

int store_unread_find(struct store *store, uint64_t now_unix_ms, uint32_t *done_count)
{
    struct unread_write write = {.now_unix_ms = now_unix_ms};
    const int rc = store_write(store, unread_apply, &write);
    if (rc == 0)
        *done_count = write.count;
    return rc;
}

/* The index's hash of its sender; -ENOENT when there is no such envelope. */
static int envelope_hash(struct store_writer *writer, const uint8_t *id,
                         uint8_t hash[SENT_HASH_BYTES])
{
    uint8_t wire[STORE_ROW_WIRE_BYTES_MAX];
    char sender[STORE_ADDRESS_BYTES];
    struct record record;
    size_t bytes = 0;
    struct sql_statement *get = sql_use(&writer->sql, SQL_ENVELOPE_GET);
    sql_bind_blob(get, 1, id, RECORD_ID_BYTES);
    const int step = sql_step(get);
    const void *row = step == 1 ? sql_column_bytes(get, 3, &bytes) : NULL;
    memset(hash, 0, SENT_HASH_BYTES);
    if (row != NULL && store_row_read(&record, wire, id, row, bytes) == 0) {
        (void)account_normalise_bytes(sender, record.sender, record.sender_bytes);
        sent_hash(hash, sender);
    }
    sql_done(get);
    return step < 0 ? -EIO : step == 0 ? -ENOENT : 0;
}

int store_envelope_forget(struct store_writer *writer, const uint8_t id[RECORD_ID_BYTES])
{
    static const enum sql_id each[] = {SQL_ENVELOPE_REMOVE, SQL_CHANGE_REMOVE, SQL_OPENING_REMOVE,
                                       SQL_NOTICE_FORGET};
    uint8_t hash[SENT_HASH_BYTES];
    const int rc = envelope_hash(writer, id, hash);
    if (rc != 0)
        return rc;
    for (size_t i = 0; i < ARRAY_COUNT(each); i++) {
        struct sql_statement *gone = sql_use(&writer->sql, each[i]);
        sql_bind_blob(gone, 1, id, RECORD_ID_BYTES);
        if (sql_run(gone) < 0)
            return -EIO;
    }
    struct sql_statement *index = sql_use(&writer->sql, SQL_SENT_REMOVE);
    sql_bind_blob(index, 1, hash, sizeof(hash));
    sql_bind_blob(index, 2, id, RECORD_ID_BYTES);
    return sql_run(index) < 0 ? -EIO : 0;
}

static int envelope_remove_apply(struct store_writer *writer, void *argument)
{
    const struct opening_write *write = argument;
    return store_envelope_forget(writer, write->id);
}

int store_envelope_remove(struct store *store, const uint8_t id[RECORD_ID_BYTES])
{
    struct opening_write write = {.id = id};
    return store_write(store, envelope_remove_apply, &write);
}
