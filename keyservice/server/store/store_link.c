#include "keyservice/server/store/store_link.h"

#include "base/assert.h"
#include "keyservice/server/store/store_sql.h"

#include <errno.h>
#include <string.h>

/* Columns of SQL_LINK_GET. */
enum link_column {
    COLUMN_ENVELOPE,
    COLUMN_ADDRESS,
    COLUMN_SUITE,
    COLUMN_BYTES,
};

struct head_write {
    const struct store_link *link;
    uint64_t now_ms;
    bool full; /* out: all places are taken */
};

struct part_write {
    const uint8_t *name;
    const uint8_t *bytes_at;
    uint64_t bytes;
    uint64_t place;
};

struct send_write {
    const uint8_t *name;
    const struct outbox_mail *mail;
    uint64_t now_ms;
};

struct prune_write {
    uint64_t now_ms;
    bool more; /* out */
};

struct take_write {
    const uint8_t *name;
    uint64_t now_ms;
};

static int name_run(struct store_writer *writer, enum sql_id id, const uint8_t *name)
{
    struct sql_statement *statement = sql_use(&writer->sql, id);
    sql_bind_blob(statement, 1, name, STORE_LINK_NAME_BYTES);
    return sql_run(statement);
}

/* -EACCES when one more would go past a bound. */
static int room_check(struct sql *sql, struct head_write *head)
{
    struct sql_statement *get = sql_use(sql, SQL_LINK_COUNT);
    sql_bind_u64(get, 1, head->now_ms);
    sql_bind_string(get, 2, head->link->address);
    sql_bind_blob(get, 3, head->link->id, sizeof(head->link->id));
    const int step = sql_step(get);
    const uint64_t rows = step == 1 ? sql_column_u64(get, 0) : 0;
    const uint64_t bytes = step == 1 ? sql_column_u64(get, 1) : 0;
    const uint64_t own = step == 1 ? sql_column_u64(get, 2) : 0;
    const uint64_t same = step == 1 ? sql_column_u64(get, 3) : 0;
    const uint64_t same_bytes = step == 1 ? sql_column_u64(get, 4) : 0;
    sql_done(get);
    if (step != 1)
        return -EIO;
    const bool served = own >= STORE_LINK_SHARE || same >= STORE_LINK_SHARE_ONE;
    head->full = !served && (rows >= STORE_LINK_ROWS_MAX ||
                             bytes + head->link->sealed_bytes > STORE_LINK_BYTES_MAX ||
                             same_bytes + head->link->sealed_bytes > STORE_LINK_ONE_MAX);
    return head->full || served ? -EACCES : 0;
}

static int head_apply(struct store_writer *writer, void *argument)
{
    struct head_write *head = argument;
    const struct store_link *link = head->link;
    const int rc = room_check(&writer->sql, head);
    if (rc != 0)
        return rc;
    struct sql_statement *add = sql_use(&writer->sql, SQL_LINK_ADD);
    sql_bind_blob(add, 1, link->name, sizeof(link->name));
    sql_bind_blob(add, 2, link->id, sizeof(link->id));
    sql_bind_string(add, 3, link->address);
    sql_bind_u64(add, 4, link->suite);
    sql_bind_u64(add, 5, link->sealed_bytes);
    sql_bind_u64(add, 6, head->now_ms + STORE_LINK_LIFE_MS);
    return sql_run(add) == 1 ? 0 : -EIO;
}

/* Beside its head alone: one whose time was over meanwhile takes no more, and leaves no bytes that
 * nothing would remove. */
static int part_apply(struct store_writer *writer, void *argument)
{
    const struct part_write *part = argument;
    struct sql_statement *add = sql_use(&writer->sql, SQL_LINK_PART_ADD);
    sql_bind_blob(add, 1, part->name, STORE_LINK_NAME_BYTES);
    sql_bind_u64(add, 2, part->place);
    sql_bind_blob(add, 3, part->bytes_at, part->bytes);
    return sql_run_some(add, -ENOENT);
}

/* The head first, which takes the room; then the parts, each a commit of its own, so that a large
 * one holds up no other write for long. One that a crash leaves halfway goes when its time is over.
 */
int store_link_add(struct store *store, const struct store_link *link, const uint8_t *sealed,
                   uint64_t now_unix_ms)
{
    struct head_write head = {.link = link, .now_ms = now_unix_ms};
    int rc = store_write(store, head_apply, &head);
    if (rc == -EACCES && head.full)
        return -ENOSPC;
    if (rc != 0)
        return rc;
    for (uint64_t at = 0; rc == 0 && at < link->sealed_bytes; at += STORE_LINK_PART_BYTES) {
        struct part_write part = {.name = link->name,
                                  .bytes_at = sealed + at,
                                  .bytes =
                                      MIN(link->sealed_bytes - at, (uint64_t)STORE_LINK_PART_BYTES),
                                  .place = at / STORE_LINK_PART_BYTES};
        rc = store_write(store, part_apply, &part);
    }
    if (rc != 0) {
        const int removed = store_link_remove(store, link->name);
        (void)removed; /* then it goes when its time is over */
    }
    return rc;
}

/* The mail first: where there is no room for it, nothing was changed. */
static int send_apply(struct store_writer *writer, void *argument)
{
    const struct send_write *send = argument;
    const int rc = outbox_put_apply(writer, send->mail, send->now_ms);
    if (rc != 0)
        return rc;
    return name_run(writer, SQL_LINK_READY, send->name) == 1 ? 0 : -EIO;
}

int store_link_send(struct store *store, const uint8_t name[STORE_LINK_NAME_BYTES],
                    const struct outbox_mail *mail, uint64_t now_unix_ms)
{
    struct send_write send = {.name = name, .mail = mail, .now_ms = now_unix_ms};
    return store_write(store, send_apply, &send);
}

struct parts_write {
    const uint8_t *name;
    int removed_count; /* out */
};

static int parts_remove_apply(struct store_writer *writer, void *argument)
{
    struct parts_write *write = argument;
    struct sql_statement *remove = sql_use(&writer->sql, SQL_LINK_PARTS_REMOVE);
    sql_bind_blob(remove, 1, write->name, STORE_LINK_NAME_BYTES);
    sql_bind_u64(remove, 2, STORE_LINK_PRUNE_PARTS);
    write->removed_count = sql_run(remove);
    return write->removed_count < 0 ? -EIO : 0;
}

/* Some a commit, as they came: what is removed is overwritten, and that takes its time. */
static int parts_remove(struct store *store, const uint8_t *name)
{
    struct parts_write write = {.name = name};
    int rc = 0;
    do /* a link's parts bound it */
        rc = store_write(store, parts_remove_apply, &write);
    while (rc == 0 && write.removed_count == STORE_LINK_PRUNE_PARTS);
    return rc;
}

static int remove_apply(struct store_writer *writer, void *argument)
{
    return name_run(writer, SQL_LINK_REMOVE, argument) < 0 ? -EIO : 0;
}

int store_link_remove(struct store *store, const uint8_t name[STORE_LINK_NAME_BYTES])
{
    uint8_t copy[STORE_LINK_NAME_BYTES];
    memcpy(copy, name, sizeof(copy));
    const int rc = parts_remove(store, copy);
    return rc == 0 ? store_write(store, remove_apply, copy) : rc;
}

int store_link_look(struct store *store, const uint8_t name[STORE_LINK_NAME_BYTES],
                    uint64_t now_unix_ms)
{
    struct sql *sql = store_reader_take(store);
    struct sql_statement *look = sql_use(sql, SQL_LINK_LOOK);
    sql_bind_blob(look, 1, name, STORE_LINK_NAME_BYTES);
    sql_bind_u64(look, 2, now_unix_ms);
    const int step = sql_step(look);
    sql_done(look);
    store_reader_give(store, sql);
    return step == 1 ? 0 : step == 0 ? -ENOENT : -EIO;
}

/* Whoever comes second changes nothing. */
static int take_apply(struct store_writer *writer, void *argument)
{
    const struct take_write *take = argument;
    struct sql_statement *update = sql_use(&writer->sql, SQL_LINK_TAKE);
    sql_bind_blob(update, 1, take->name, STORE_LINK_NAME_BYTES);
    sql_bind_u64(update, 2, take->now_ms);
    const int changed = sql_run(update);
    return changed < 0 ? -EIO : changed == 0 ? -ENOENT : 0;
}

static int head_read(struct store *store, struct store_link *link)
{
    struct sql *sql = store_reader_take(store);
    struct sql_statement *get = sql_use(sql, SQL_LINK_GET);
    sql_bind_blob(get, 1, link->name, sizeof(link->name));
    const int step = sql_step(get);
    int rc = step == 1 ? 0 : step == 0 ? -ENOENT : -EIO;
    if (rc == 0 && (!sql_column_blob(get, COLUMN_ENVELOPE, link->id, sizeof(link->id)) ||
                    !sql_column_string(get, COLUMN_ADDRESS, link->address, sizeof(link->address))))
        rc = -EIO;
    link->suite = rc == 0 ? (uint32_t)sql_column_u64(get, COLUMN_SUITE) : 0;
    link->sealed_bytes = rc == 0 ? sql_column_u64(get, COLUMN_BYTES) : 0;
    sql_done(get);
    store_reader_give(store, sql);
    return rc;
}

/* Read first, where nothing is changed yet: what cannot be read is not taken either. */
int store_link_take(struct store *store, struct store_link *link, uint64_t now_unix_ms)
{
    struct take_write take = {.name = link->name, .now_ms = now_unix_ms};
    const int rc = head_read(store, link);
    return rc == 0 ? store_write(store, take_apply, &take) : rc;
}

int store_link_read(struct store *store, const struct store_link *link, uint8_t *sealed)
{
    struct sql *sql = store_reader_take(store);
    int rc = 0;
    for (uint64_t at = 0; rc == 0 && at < link->sealed_bytes; at += STORE_LINK_PART_BYTES) {
        const uint64_t bytes = MIN(link->sealed_bytes - at, (uint64_t)STORE_LINK_PART_BYTES);
        struct sql_statement *get = sql_use(sql, SQL_LINK_PART_GET);
        sql_bind_blob(get, 1, link->name, sizeof(link->name));
        sql_bind_u64(get, 2, at / STORE_LINK_PART_BYTES);
        const int step = sql_step(get);
        rc = step == 1 ? 0 : step == 0 ? -ENOENT : -EIO;
        if (rc == 0 && !sql_column_blob(get, 0, sealed + at, bytes))
            rc = -EIO;
        sql_done(get);
    }
    store_reader_give(store, sql);
    return rc;
}

static int give_apply(struct store_writer *writer, void *argument)
{
    return name_run(writer, SQL_LINK_GIVE, argument) < 0 ? -EIO : 0;
}

int store_link_give(struct store *store, const uint8_t name[STORE_LINK_NAME_BYTES])
{
    uint8_t copy[STORE_LINK_NAME_BYTES];
    memcpy(copy, name, sizeof(copy));
    return store_write(store, give_apply, copy);
}

static int spend_apply(struct store_writer *writer, void *argument)
{
    const int changed = name_run(writer, SQL_LINK_SPEND, argument);
    return changed < 0 ? -EIO : changed == 0 ? -ENOENT : 0;
}

int store_link_spend(struct store *store, const uint8_t name[STORE_LINK_NAME_BYTES])
{
    uint8_t copy[STORE_LINK_NAME_BYTES];
    memcpy(copy, name, sizeof(copy));
    const int rc = store_write(store, spend_apply, copy);
    if (rc == 0) {
        const int removed = parts_remove(store, copy);
        (void)removed; /* then they go when its time is over */
    }
    return rc;
}

static int prune_apply(struct store_writer *writer, void *argument)
{
    static const struct {
        enum sql_id statement;
        int rows_max;
    } prunes[] = {{SQL_LINK_PARTS_PRUNE, STORE_LINK_PRUNE_PARTS},
                  {SQL_LINK_PRUNE, STORE_LINK_PRUNE_ROWS}};
    struct prune_write *write = argument;
    write->more = false;
    for (size_t i = 0; i < ARRAY_COUNT(prunes); i++) {
        struct sql_statement *prune = sql_use(&writer->sql, prunes[i].statement);
        sql_bind_u64(prune, 1, write->now_ms);
        sql_bind_u64(prune, 2, (uint64_t)prunes[i].rows_max);
        const int changed = sql_run(prune);
        if (changed < 0)
            return -EIO;
        write->more = write->more || changed >= prunes[i].rows_max;
    }
    return 0;
}

int store_link_prune(struct store *store, uint64_t now_unix_ms, bool *more)
{
    struct prune_write write = {.now_ms = now_unix_ms};
    const int rc = store_write(store, prune_apply, &write);
    *more = rc == 0 && write.more;
    return rc;
}
