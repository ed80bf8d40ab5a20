#include "keyservice/server/store/store_backup.h"

#include "base/assert.h"
#include "keyservice/server/store/store_sql.h"
#include "keyservice/server/store/store_wrapping.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define BUSY_MS 5000

static int path_beside(char path[STORE_BACKUP_PATH_BYTES], const char *file, const char *end)
{
    const int chars = snprintf(path, STORE_BACKUP_PATH_BYTES, "%s%s", file, end);
    return chars < 0 || chars >= STORE_BACKUP_PATH_BYTES ? -ENAMETOOLONG : 0;
}

static int path_sync(const char *path, int flags)
{
    const int fd = open(path, flags | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    const int rc = fsync(fd) != 0 ? -errno : 0;
    (void)close(fd);
    return rc;
}

static int folder_sync(const char *file)
{
    char copy[STORE_BACKUP_PATH_BYTES];
    const int rc = path_beside(copy, file, "");
    return rc != 0 ? rc : path_sync(dirname(copy), O_RDONLY | O_DIRECTORY);
}

/* An empty file of the owner's, which nobody else's takes the place of. */
static int file_make(const char *path)
{
    const int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    (void)close(fd);
    return 0;
}

static int database_open(sqlite3 **db, const char *path, int flags, char why[STORE_WHY_BYTES])
{
    if (sqlite3_open_v2(path, db, flags | SQLITE_OPEN_NOMUTEX, NULL) == SQLITE_OK &&
        sqlite3_busy_timeout(*db, BUSY_MS) == SQLITE_OK)
        return 0;
    (void)snprintf(why, STORE_WHY_BYTES, "%.150s: %.80s", path,
                   *db == NULL ? "no memory" : sqlite3_errmsg(*db));
    (void)sqlite3_close(*db);
    *db = NULL;
    return -EIO;
}

/* All pages of one snapshot: a reading holds it, so that no write makes the copy begin anew. */
static int pages_copy(sqlite3 *from, sqlite3 *to, char why[STORE_WHY_BYTES])
{
    int step = SQLITE_ERROR;
    if (sqlite3_exec(from, "BEGIN; SELECT count(*) FROM schema_version", NULL, NULL, NULL) !=
        SQLITE_OK) {
        (void)snprintf(why, STORE_WHY_BYTES, "not a key service's database: %.100s",
                       sqlite3_errmsg(from));
        return -EBADMSG;
    }
    if (sqlite3_exec(to, "PRAGMA synchronous = OFF; PRAGMA journal_mode = OFF", NULL, NULL, NULL) ==
        SQLITE_OK) {
        sqlite3_backup *backup = sqlite3_backup_init(to, "main", from, "main");
        if (backup != NULL) {
            do /* the pages of the snapshot bound it */
                step = sqlite3_backup_step(backup, STORE_BACKUP_PAGES);
            while (step == SQLITE_OK);
            (void)sqlite3_backup_finish(backup);
        }
    }
    if (step != SQLITE_DONE)
        (void)snprintf(why, STORE_WHY_BYTES, "the copy: %.100s", sqlite3_errstr(step));
    (void)sqlite3_exec(from, "ROLLBACK", NULL, NULL, NULL);
    return step == SQLITE_DONE ? 0 : -EIO;
}

/* `file` becomes a synced copy of `database`. */
static int database_copy(const char *database, const char *file, char why[STORE_WHY_BYTES])
{
    sqlite3 *from = NULL;
    sqlite3 *to = NULL;
    int rc = database_open(&from, database, SQLITE_OPEN_READWRITE, why);
    if (rc != 0)
        return rc;
    rc = file_make(file);
    if (rc != 0) {
        (void)snprintf(why, STORE_WHY_BYTES, "%.150s: %s", file, strerror(-rc));
        goto close_from;
    }
    rc = database_open(&to, file, SQLITE_OPEN_READWRITE, why);
    if (rc == 0)
        rc = pages_copy(from, to, why);
    (void)sqlite3_close(to);
    if (rc == 0) {
        rc = path_sync(file, O_RDWR);
        if (rc != 0)
            (void)snprintf(why, STORE_WHY_BYTES, "%.150s: %s", file, strerror(-rc));
    }
    if (rc != 0)
        (void)unlink(file);

close_from:
    (void)sqlite3_close(from);
    return rc;
}

int store_backup(const char *database, const char *file, char why[STORE_WHY_BYTES])
{
    char part[STORE_BACKUP_PATH_BYTES];
    int rc = path_beside(part, file, ".part");
    if (rc == 0)
        rc = database_copy(database, part, why);
    if (rc != 0)
        return rc;
    /* A link, not a rename: what is there already stays. */
    rc = link(part, file) != 0 ? -errno : 0;
    (void)unlink(part);
    if (rc == 0)
        rc = folder_sync(file);
    if (rc != 0)
        (void)snprintf(why, STORE_WHY_BYTES, "%.150s: %s", file, strerror(-rc));
    return rc;
}

static bool count_read(sqlite3 *db, const char *statement, uint64_t *count)
{
    sqlite3_stmt *read = NULL;
    const bool fine = sqlite3_prepare_v2(db, statement, -1, &read, NULL) == SQLITE_OK &&
                      sqlite3_step(read) == SQLITE_ROW;
    *count = fine ? (uint64_t)sqlite3_column_int64(read, 0) : 0;
    (void)sqlite3_finalize(read);
    return fine;
}

/* A backup knows of sessions and tokens that were ended since, of codes, and of mails that were
 * sent since: they do not come back. The heads of mails stay, as of any that were sent. */
static int past_forget(const char *path, bool keep_outbox, struct store_restored *restored,
                       char why[STORE_WHY_BYTES])
{
    sqlite3 *db = NULL;
    int rc = database_open(&db, path, SQLITE_OPEN_READWRITE, why);
    if (rc != 0)
        return rc;
    *restored = (struct store_restored){.mails_count = 0};
    bool fine = sqlite3_exec(db,
                             "PRAGMA synchronous = FULL; BEGIN IMMEDIATE; DELETE FROM session;"
                             "DELETE FROM pending; DELETE FROM enrol; DELETE FROM reset;"
                             "DELETE FROM link; DELETE FROM link_part; DELETE FROM token",
                             NULL, NULL, NULL) == SQLITE_OK;
    if (fine && !keep_outbox)
        fine = count_read(db, "SELECT count(DISTINCT id) FROM outbox_to", &restored->mails_count) &&
               count_read(db, "SELECT count(*) FROM notice", &restored->notices_count) &&
               sqlite3_exec(db,
                            "DELETE FROM outbox_to; DELETE FROM outbox_part; DELETE FROM notice;"
                            "UPDATE outbox SET bytes = 0",
                            NULL, NULL, NULL) == SQLITE_OK;
    if (!fine || sqlite3_exec(db, "COMMIT; PRAGMA wal_checkpoint(TRUNCATE)", NULL, NULL, NULL) !=
                     SQLITE_OK) {
        (void)snprintf(why, STORE_WHY_BYTES, "%.150s: %.80s", path, sqlite3_errmsg(db));
        rc = -EIO;
    }
    (void)sqlite3_close(db);
    return rc;
}

/* Taken forward to this version, and its master keys are those of the file. */
static int database_fits(const char *path, const struct master *master, char why[STORE_WHY_BYTES])
{
    struct store *store = NULL;
    const struct store_config config = {.path = path, .master = master, .readers_count = 1};
    int rc = store_open(&store, &config, why);
    if (rc == 0)
        rc = store_wrapping_check(store, why);
    store_close(store);
    return rc;
}

int store_restore_prepare(const struct store_restore *restore, struct store_restored *restored,
                          int *lock_fd, char why[STORE_WHY_BYTES])
{
    char fresh[STORE_BACKUP_PATH_BYTES];
    int fd = -1;
    int rc = path_beside(fresh, restore->database, ".restored");
    if (rc == 0)
        rc = sqlite_serve_lock(&fd, restore->database, why);
    if (rc != 0)
        return rc;
    (void)unlink(fresh); /* of a restore that was ended before its time */
    rc = database_copy(restore->file, fresh, why);
    if (rc == 0) {
        rc = database_fits(fresh, restore->master, why);
        if (rc == 0)
            rc = past_forget(fresh, restore->keep_outbox, restored, why);
        if (rc != 0)
            (void)unlink(fresh);
    }
    if (rc != 0) {
        (void)close(fd);
        return rc;
    }
    *lock_fd = fd;
    return 0;
}

static int file_move(const char *database, const char *from_end, const char *to_end)
{
    char from[STORE_BACKUP_PATH_BYTES];
    char to[STORE_BACKUP_PATH_BYTES];
    int rc = path_beside(from, database, from_end);
    if (rc == 0)
        rc = path_beside(to, database, to_end);
    if (rc == 0 && rename(from, to) != 0 && errno != ENOENT)
        rc = -errno;
    return rc;
}

int store_restore_finish(const struct store_restore *restore, char why[STORE_WHY_BYTES])
{
    char shared[STORE_BACKUP_PATH_BYTES];
    char fresh_log[STORE_BACKUP_PATH_BYTES];
    int rc = path_beside(shared, restore->database, "-shm");
    if (rc == 0)
        rc = path_beside(fresh_log, restore->database, ".restored-wal");
    if (rc == 0 && access(fresh_log, F_OK) == 0)
        rc = -EBUSY; /* somebody has it open: it was made for nobody */
    /* The log goes with what it belongs to; it is rebuilt from the file if either is moved alone.
     */
    if (rc == 0)
        rc = file_move(restore->database, "-wal", ".before-wal");
    if (rc == 0)
        rc = file_move(restore->database, "", ".before");
    if (rc == 0) {
        (void)unlink(shared);
        rc = file_move(restore->database, ".restored", "");
    }
    if (rc == 0)
        rc = folder_sync(restore->database);
    if (rc != 0)
        (void)snprintf(why, STORE_WHY_BYTES, "%.150s: %s", restore->database, strerror(-rc));
    return rc;
}
