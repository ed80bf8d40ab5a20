#include "keyservice/server/store/store_outbox.h"

#include "base/assert.h"
#include "base/log.h"
#include "keyservice/server/mail/relay.h"
#include "keyservice/server/store/store_sql.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

/* Columns of SQL_OUTBOX_DUE. */
enum due_column {
    COLUMN_ID,
    COLUMN_ADDRESS,
    COLUMN_PLACE,
    COLUMN_DUE,
    COLUMN_ATTEMPTS,
    COLUMN_SENDER,
    COLUMN_ACCOUNT,
    COLUMN_KIND,
    COLUMN_BYTES,
    COLUMN_CREATED,
    COLUMN_BODY,
};

struct part_write {
    const uint8_t *body;
    const uint8_t *bytes_at;
    size_t bytes;
    uint32_t place;
    uint64_t now_ms;
};

struct head_write {
    const struct outbox_mail *mail;
    const uint8_t *body;
    uint64_t now_ms;
};

struct claim_write {
    const struct outbox_due *due;
    uint64_t until_ms;
    enum sql_id statement;
};

struct end_write {
    const struct outbox_due *due;
    const struct outbox_mail *notice;
    uint64_t now_ms;
};

struct parts_write {
    const struct outbox_due *due;
    int removed_count; /* out */
};

static const char *account_of(const struct outbox_mail *mail)
{
    return mail->account == NULL ? "" : mail->account;
}

static int mail_check(const struct outbox_mail *mail)
{
    if (mail->to_count == 0 || mail->to_count > OUTBOX_TO_MAX || mail->mail_bytes == 0 ||
        mail->mail_bytes > OUTBOX_MAIL_BYTES_MAX ||
        strlen(account_of(mail)) >= STORE_ADDRESS_BYTES ||
        (mail->from_envelope[0] != '\0' && !relay_address_plain(mail->from_envelope)))
        return -EINVAL;
    for (uint32_t i = 0; i < mail->to_count; i++)
        if (!relay_address_plain(mail->to[i]))
            return -EINVAL;
    return 0;
}

static int part_apply(struct store_writer *writer, void *argument)
{
    const struct part_write *part = argument;
    struct sql_statement *add = sql_use(&writer->sql, SQL_OUTBOX_PART_ADD);
    sql_bind_blob(add, 1, part->body, OUTBOX_ID_BYTES);
    sql_bind_u64(add, 2, part->place);
    sql_bind_u64(add, 3, part->now_ms);
    sql_bind_blob(add, 4, part->bytes_at, part->bytes);
    return sql_run(add) < 0 ? -EIO : 0;
}

/* Rows and bytes: of an account, or of all mails of a kind where that is NULL. */
static int count_get(struct sql *sql, enum outbox_kind kind, const char *account, uint64_t *rows,
                     uint64_t *bytes)
{
    struct sql_statement *get =
        sql_use(sql, account == NULL ? SQL_OUTBOX_COUNT : SQL_OUTBOX_COUNT_OF);
    if (account != NULL)
        sql_bind_string(get, 1, account);
    else
        sql_bind_u64(get, 1, kind);
    const int step = sql_step(get);
    if (step == 1) {
        *rows = sql_column_u64(get, 0);
        *bytes = sql_column_u64(get, 1);
    }
    sql_done(get);
    return step == 1 ? 0 : -EIO;
}

/* -EACCES when the mail would go past a bound. */
static int room_check(struct sql *sql, const struct outbox_mail *mail)
{
    uint64_t rows = 0;
    uint64_t bytes = 0;
    int rc = count_get(sql, mail->kind, NULL, &rows, &bytes);
    if (rc == 0 && (rows >= OUTBOX_ROWS_MAX || bytes + mail->mail_bytes > OUTBOX_BYTES_MAX))
        rc = -EACCES;
    if (rc != 0 || account_of(mail)[0] == '\0')
        return rc;
    rc = count_get(sql, mail->kind, mail->account, &rows, &bytes);
    if (rc == 0 && (rows >= OUTBOX_ROWS_SHARE || bytes + mail->mail_bytes > OUTBOX_BYTES_SHARE))
        rc = -EACCES;
    return rc;
}

static int recipients_add(struct store_writer *writer, const struct outbox_mail *mail,
                          uint64_t now_ms)
{
    for (uint32_t i = 0; i < mail->to_count; i++) {
        struct sql_statement *add = sql_use(&writer->sql, SQL_OUTBOX_TO_ADD);
        sql_bind_blob(add, 1, mail->id, OUTBOX_ID_BYTES);
        sql_bind_u64(add, 2, i);
        sql_bind_string(add, 3, mail->to[i]);
        sql_bind_u64(add, 4, MAX(now_ms, mail->not_before_unix_ms));
        const int changed = sql_run(add);
        if (changed < 0)
            return -EIO;
    }
    return 0;
}

static int head_add(struct store_writer *writer, const struct outbox_mail *mail,
                    const uint8_t body[OUTBOX_ID_BYTES], uint64_t now_ms)
{
    int rc = room_check(&writer->sql, mail);
    if (rc != 0)
        return rc;
    struct sql_statement *add = sql_use(&writer->sql, SQL_OUTBOX_ADD);
    sql_bind_blob(add, 1, mail->id, OUTBOX_ID_BYTES);
    sql_bind_string(add, 2, account_of(mail));
    sql_bind_string(add, 3, mail->from_envelope);
    sql_bind_u64(add, 4, mail->kind);
    sql_bind_u64(add, 5, mail->mail_bytes);
    sql_bind_u64(add, 6, now_ms);
    sql_bind_blob(add, 7, body, OUTBOX_ID_BYTES);
    const int changed = sql_run(add);
    if (changed <= 0)
        return changed == 0 ? -EEXIST : changed;
    return recipients_add(writer, mail, now_ms);
}

static int head_apply(struct store_writer *writer, void *argument)
{
    const struct head_write *head = argument;
    return head_add(writer, head->mail, head->body, head->now_ms);
}

int outbox_put_apply(struct store_writer *writer, const struct outbox_mail *mail,
                     uint64_t now_unix_ms)
{
    uint8_t body[OUTBOX_ID_BYTES];
    ASSERT(mail->id != NULL);
    ASSERT(mail->mail_bytes <= OUTBOX_PART_BYTES);
    int rc = mail_check(mail);
    if (rc == 0 && getrandom(body, sizeof(body), 0) != (ssize_t)sizeof(body))
        rc = -EIO;
    if (rc == 0)
        rc = head_add(writer, mail, body, now_unix_ms);
    if (rc != 0)
        return rc;
    struct part_write part = {
        .body = body, .bytes_at = mail->mail, .bytes = mail->mail_bytes, .now_ms = now_unix_ms};
    return part_apply(writer, &part);
}

/* Is a mail of that id there, or was it? -ENOENT: no. */
static int head_find(struct store *store, const struct outbox_mail *mail)
{
    struct sql *sql = store_reader_take(store);
    struct sql_statement *get = sql_use(sql, SQL_OUTBOX_GET);
    sql_bind_blob(get, 1, mail->id, OUTBOX_ID_BYTES);
    const int step = sql_step(get);
    int rc = step == 1 ? -EEXIST : step == 0 ? 0 : -EIO;
    sql_done(get);
    if (rc == 0)
        rc = room_check(sql, mail);
    store_reader_give(store, sql);
    return rc;
}

/*
 * The parts first, each a commit of its own, so that a large mail holds up no other write for long;
 * it is in the outbox with the head, which names them and its recipients. Parts without one go when
 * the outbox is pruned. They have a name of their own: what is put twice at the same time is mixed
 * with nothing.
 */
int outbox_put(struct store *store, const struct outbox_mail *mail, uint64_t now_unix_ms)
{
    uint8_t random[2 * OUTBOX_ID_BYTES];
    struct outbox_mail named = *mail;
    if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
        return -EIO;
    const uint8_t *body = random + OUTBOX_ID_BYTES;
    if (named.id == NULL)
        named.id = random;
    int rc = mail_check(&named);
    if (rc == 0)
        rc = head_find(store, &named);
    for (size_t at = 0; rc == 0 && at < named.mail_bytes; at += OUTBOX_PART_BYTES) {
        struct part_write part = {.body = body,
                                  .bytes_at = (const uint8_t *)named.mail + at,
                                  .bytes = MIN(named.mail_bytes - at, (size_t)OUTBOX_PART_BYTES),
                                  .place = (uint32_t)(at / OUTBOX_PART_BYTES),
                                  .now_ms = now_unix_ms};
        rc = store_write(store, part_apply, &part);
    }
    struct head_write head = {.mail = &named, .body = body, .now_ms = now_unix_ms};
    return rc != 0 ? rc : store_write(store, head_apply, &head);
}

static bool due_columns(struct sql_statement *get, struct outbox_due *due)
{
    due->place = (uint32_t)sql_column_u64(get, COLUMN_PLACE);
    due->due_unix_ms = sql_column_u64(get, COLUMN_DUE);
    due->attempts_count = (uint32_t)sql_column_u64(get, COLUMN_ATTEMPTS);
    due->kind = sql_column_u64(get, COLUMN_KIND) == OUTBOX_MESSAGE ? OUTBOX_MESSAGE : OUTBOX_NOTICE;
    due->bytes = sql_column_u64(get, COLUMN_BYTES);
    due->created_unix_ms = sql_column_u64(get, COLUMN_CREATED);
    return sql_column_blob(get, COLUMN_ID, due->id, sizeof(due->id)) &&
           sql_column_blob(get, COLUMN_BODY, due->body, sizeof(due->body)) &&
           sql_column_string(get, COLUMN_ADDRESS, due->address, sizeof(due->address)) &&
           sql_column_string(get, COLUMN_SENDER, due->sender, sizeof(due->sender)) &&
           sql_column_string(get, COLUMN_ACCOUNT, due->account, sizeof(due->account));
}

int store_outbox_due(struct store *store, uint64_t now_unix_ms, struct outbox_due *due,
                     uint32_t room, uint32_t *count)
{
    int step = 0;
    uint32_t found = 0;
    struct sql *sql = store_reader_take(store);
    struct sql_statement *list = sql_use(sql, SQL_OUTBOX_DUE);
    sql_bind_u64(list, 1, now_unix_ms);
    sql_bind_u64(list, 2, room);
    while (found < room && (step = sql_step(list)) == 1)
        if (due_columns(list, &due[found]))
            found++;
    sql_done(list);
    store_reader_give(store, sql);
    if (step < 0)
        return -EIO;
    *count = found;
    return 0;
}

static int claim_apply(struct store_writer *writer, void *argument)
{
    const struct claim_write *claim = argument;
    struct sql_statement *update = sql_use(&writer->sql, claim->statement);
    sql_bind_blob(update, 1, claim->due->id, OUTBOX_ID_BYTES);
    sql_bind_u64(update, 2, claim->due->place);
    sql_bind_u64(update, 3, claim->due->due_unix_ms);
    sql_bind_u64(update, 4, claim->until_ms);
    const int changed = sql_run(update);
    return changed < 0 ? changed : changed == 0 ? -EACCES : 0;
}

int store_outbox_claim(struct store *store, struct outbox_due *due, uint64_t until_unix_ms)
{
    struct claim_write claim = {
        .due = due, .until_ms = until_unix_ms, .statement = SQL_OUTBOX_CLAIM};
    const int rc = store_write(store, claim_apply, &claim);
    if (rc != 0)
        return rc;
    due->due_unix_ms = until_unix_ms;
    due->attempts_count++;
    return 0;
}

int store_outbox_defer(struct store *store, const struct outbox_due *due, uint64_t at_unix_ms)
{
    struct claim_write claim = {.due = due, .until_ms = at_unix_ms, .statement = SQL_OUTBOX_DEFER};
    return store_write(store, claim_apply, &claim);
}

/* Two that end the last two recipients wait for each other here, so that one of them is the last.
 */
static int head_hold(struct store_writer *writer, const uint8_t *id)
{
    struct sql_statement *hold = sql_use(&writer->sql, SQL_OUTBOX_HOLD);
    sql_bind_blob(hold, 1, id, OUTBOX_ID_BYTES);
    const int step = sql_step(hold);
    sql_done(hold);
    return step == 1 ? 0 : step == 0 ? -ENOENT : -EIO;
}

static int end_apply(struct store_writer *writer, void *argument)
{
    const struct end_write *end = argument;
    int rc = head_hold(writer, end->due->id);
    if (rc != 0)
        return rc;
    struct sql_statement *remove = sql_use(&writer->sql, SQL_OUTBOX_TO_REMOVE);
    sql_bind_blob(remove, 1, end->due->id, OUTBOX_ID_BYTES);
    sql_bind_u64(remove, 2, end->due->place);
    sql_bind_u64(remove, 3, end->due->due_unix_ms);
    const int changed = sql_run(remove);
    if (changed <= 0)
        return changed < 0 ? changed : -EACCES;
    struct sql_statement *empty = sql_use(&writer->sql, SQL_OUTBOX_EMPTY);
    sql_bind_blob(empty, 1, end->due->id, OUTBOX_ID_BYTES);
    if (sql_run(empty) < 0)
        return -EIO;
    rc = end->notice == NULL ? 0 : outbox_put_apply(writer, end->notice, end->now_ms);
    return rc == -EACCES || rc == -EINVAL ? 0 : rc; /* no room for the notice: the end stands */
}

static int parts_remove_apply(struct store_writer *writer, void *argument)
{
    struct parts_write *write = argument;
    struct sql_statement *remove = sql_use(&writer->sql, SQL_OUTBOX_PARTS_REMOVE);
    sql_bind_blob(remove, 1, write->due->body, OUTBOX_ID_BYTES);
    sql_bind_blob(remove, 2, write->due->id, OUTBOX_ID_BYTES);
    sql_bind_u64(remove, 3, OUTBOX_REMOVE_PARTS);
    write->removed_count = sql_run(remove);
    return write->removed_count < 0 ? -EIO : 0;
}

/* Some a commit, as they came: what is removed is overwritten, and that takes its time. None, while
 * somebody is still to get the mail; what is left here goes when the outbox is pruned. */
static void parts_remove(struct store *store, const struct outbox_due *due)
{
    struct parts_write write = {.due = due};
    int rc = 0;
    do /* a mail's parts bound it */
        rc = store_write(store, parts_remove_apply, &write);
    while (rc == 0 && write.removed_count == OUTBOX_REMOVE_PARTS);
    if (rc != 0)
        log_line(LOG_LEVEL_WARNING, "outbox_parts_stay", "errno=%d", -rc);
}

int store_outbox_end(struct store *store, const struct outbox_due *due,
                     const struct outbox_mail *notice, uint64_t now_unix_ms)
{
    struct end_write end = {.due = due, .notice = notice, .now_ms = now_unix_ms};
    const int rc = store_write(store, end_apply, &end);
    if (rc == 0)
        parts_remove(store, due);
    return rc;
}

int store_outbox_part(struct store *store, const uint8_t body[OUTBOX_ID_BYTES], uint32_t place,
                      uint8_t *part, size_t *bytes)
{
    size_t found_bytes = 0;
    struct sql *sql = store_reader_take(store);
    struct sql_statement *get = sql_use(sql, SQL_OUTBOX_PART_GET);
    sql_bind_blob(get, 1, body, OUTBOX_ID_BYTES);
    sql_bind_u64(get, 2, place);
    const int step = sql_step(get);
    const void *found = step == 1 ? sql_column_bytes(get, 0, &found_bytes) : NULL;
    int rc = step == 1 ? 0 : step == 0 ? -ENOENT : -EIO;
    if (rc == 0 && (found == NULL || found_bytes > *bytes))
        rc = -EIO;
    if (rc == 0) {
        memcpy(part, found, found_bytes);
        *bytes = found_bytes;
    }
    sql_done(get);
    store_reader_give(store, sql);
    return rc;
}

static int prune_apply(struct store_writer *writer, void *argument)
{
    static const enum sql_id prunes[] = {SQL_OUTBOX_PARTS_PRUNE, SQL_OUTBOX_PRUNE};
    const uint64_t *before_ms = argument;
    for (size_t i = 0; i < ARRAY_COUNT(prunes); i++) {
        struct sql_statement *prune = sql_use(&writer->sql, prunes[i]);
        sql_bind_u64(prune, 1, *before_ms);
        sql_bind_u64(prune, 2, OUTBOX_PRUNE_ROWS);
        if (sql_run(prune) < 0)
            return -EIO;
    }
    return 0;
}

int outbox_prune(struct store *store, uint64_t now_unix_ms)
{
    uint64_t before_ms = now_unix_ms - MIN(now_unix_ms, OUTBOX_KEPT_MS);
    return store_write(store, prune_apply, &before_ms);
}
