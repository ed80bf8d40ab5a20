/*
 * table_bench: claim: with 100 million envelopes in the table, what a release asks of the database
 * and a sender's page of "my sent" are answered in milliseconds.
 * Metric:  p50, p99 and the longest of LOOKS_COUNT lookups each, of ids and senders drawn at
 * random: first with the database's pages dropped from memory, then with what that left there; and
 * the bytes a row takes. Rows are those of the store, each with its key wrapped and its place in
 * the index of senders, put in by a bare loop that syncs nothing. With --pages, too, how many pages
 * each of the three trees has, by kind, and how many entries stand in one. Command: table_bench
 * [--count N] [--senders N] [--pages] [FOLDER]; 100 million rows take some 30 GB and a
 * quarter of an hour: nice them.
 */
#include "base/bytes.h"
#include "base/clock.h"
#include "bench/folder.h"
#include "bench/keyservice/example.h"
#include "keyservice/server/store/store.h"
#include "keyservice/server/store/store_row.h"
#include "keyservice/server/store/store_sent.h"

#include <fcntl.h>
#include <getopt.h>
#include <openssl/sha.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOOKS_COUNT    2000
#define PAGES_COUNT    500
#define PAGE_ROWS      50
#define READERS_COUNT  18 /* as the service has */
#define ROWS_STATEMENT 64
#define ROWS_COMMIT    65536
#define SENDER_HASH    8 /* docs/keyservice/sent.md */
#define SENT_UNIX_MS   UINT64_C(1700000000000)
#define RECIPIENT      "reader@example.org"
#define FOLDER_BYTES   256
#define RECORD_ROOM    512

struct table {
    uint64_t rows_count;
    uint64_t senders_count;
    bool pages; /* to be counted */
    struct master *master;
    sqlite3 *db;
};

/* What a number stands for is worked out anew wherever it is needed. */
static uint64_t mix(uint64_t number)
{
    number = (number ^ (number >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    number = (number ^ (number >> 27)) * UINT64_C(0x94d049bb133111eb);
    return number ^ (number >> 31);
}

/* A UUIDv7; ids ascend with their numbers. */
static void id_make(uint8_t id[RECORD_ID_BYTES], uint64_t number)
{
    bytes_store_be64(id, (SENT_UNIX_MS + number / 64) << 16 | 0x7000 | (number % 64) << 4);
    bytes_store_le64(id + 8, mix(number + 1));
    id[8] = (uint8_t)((id[8] & 0x3f) | 0x80);
}

static uint32_t sender_make(char *sender, size_t room, uint64_t index)
{
    return (uint32_t)snprintf(sender, room, "sender%07llu@company.example",
                              (unsigned long long)index);
}

/* The record of a number, written as it goes over the wire. */
static uint32_t wire_make(const struct table *table, uint8_t *wire, struct record *record,
                          uint64_t number)
{
    static uint8_t recipient[2 + sizeof(RECIPIENT)];
    static char sender[64];
    bytes_store_le16(recipient, sizeof(RECIPIENT) - 1);
    memcpy(recipient + 2, RECIPIENT, sizeof(RECIPIENT));
    example_record(record, SENT_UNIX_MS + number / 64, recipient, sizeof(RECIPIENT) + 1);
    record->sender_bytes =
        (uint16_t)sender_make(sender, sizeof(sender), number % table->senders_count);
    record->sender = (const uint8_t *)sender;
    id_make(record->id, number);
    bytes_store_le64(record->key, mix(number));
    return (uint32_t)record_write(wire, RECORD_ROOM, record);
}

struct block {
    struct record records[ROWS_STATEMENT];
    struct master_wrap wraps[ROWS_STATEMENT];
    uint8_t wrapped[ROWS_STATEMENT][MASTER_WRAPPED_BYTES_MAX];
    uint8_t packed[ROWS_STATEMENT][RECORD_ROOM];
    uint32_t packed_bytes[ROWS_STATEMENT];
};

static int block_put(const struct table *table, struct master_burst *burst, struct block *block,
                     sqlite3_stmt *add, uint64_t first)
{
    uint8_t wire[RECORD_ROOM];
    for (uint32_t i = 0; i < ROWS_STATEMENT; i++) {
        const uint32_t bytes = wire_make(table, wire, &block->records[i], first + i);
        block->packed_bytes[i] = store_row_pack(block->packed[i], wire, bytes);
        block->wraps[i] = (struct master_wrap){.id = block->records[i].id,
                                               .key = block->records[i].key,
                                               .key_bytes = 32,
                                               .wrapped = block->wrapped[i]};
    }
    if (master_burst_wrap(burst, block->wraps, ROWS_STATEMENT) != 0)
        return -1;
    for (uint32_t i = 0; i < ROWS_STATEMENT; i++) {
        const int column = (int)(1 + 3 * i);
        (void)sqlite3_bind_blob(add, column, block->records[i].id, RECORD_ID_BYTES, SQLITE_STATIC);
        (void)sqlite3_bind_blob(add, column + 1, block->wrapped[i],
                                (int)block->wraps[i].wrapped_bytes, SQLITE_STATIC);
        (void)sqlite3_bind_blob(add, column + 2, block->packed[i], (int)block->packed_bytes[i],
                                SQLITE_STATIC);
    }
    const int step = sqlite3_step(add);
    (void)sqlite3_reset(add);
    return step == SQLITE_DONE ? 0 : -1;
}

static int exec(const struct table *table, const char *statements)
{
    return sqlite3_exec(table->db, statements, NULL, NULL, NULL) == SQLITE_OK ? 0 : -1;
}

static int envelopes_make(const struct table *table)
{
    char text[64 + ROWS_STATEMENT * 16] =
        "INSERT INTO envelope (key_version, id, wrapped, record) VALUES ";
    struct master_burst *burst = NULL;
    struct block *block = malloc(sizeof(*block));
    sqlite3_stmt *add = NULL;
    for (uint32_t i = 0; i < ROWS_STATEMENT; i++)
        memcpy(text + strlen(text), i == 0 ? "(1, ?, ?, ?)" : ",(1, ?, ?, ?)", i == 0 ? 13 : 14);
    int rc = block != NULL && master_burst_open(&burst, table->master, 1) == 0 &&
                     sqlite3_prepare_v2(table->db, text, -1, &add, NULL) == SQLITE_OK
                 ? exec(table, "BEGIN")
                 : -1;
    for (uint64_t at = 0; at < table->rows_count && rc == 0; at += ROWS_STATEMENT) {
        rc = block_put(table, burst, block, add, at);
        if (rc == 0 && at % ROWS_COMMIT == 0 && at > 0)
            rc = exec(table, "COMMIT; BEGIN");
    }
    if (rc == 0)
        rc = exec(table, "COMMIT");
    (void)sqlite3_finalize(add);
    master_burst_close(burst);
    free(block);
    return rc;
}

struct sender {
    uint8_t hash[SENDER_HASH];
    uint64_t index;
};

static int senders_compare(const void *one, const void *other)
{
    return memcmp(one, other, SENDER_HASH);
}

/* The index of senders in its own order, as if all runs were folded. */
static int sent_put(const struct table *table, const struct sender *senders, sqlite3_stmt *add)
{
    uint8_t id[RECORD_ID_BYTES];
    uint64_t put_count = 0;
    for (uint64_t s = 0; s < table->senders_count; s++)
        for (uint64_t n = senders[s].index; n < table->rows_count; n += table->senders_count) {
            id_make(id, n);
            (void)sqlite3_bind_blob(add, 1, senders[s].hash, SENDER_HASH, SQLITE_STATIC);
            (void)sqlite3_bind_blob(add, 2, id, sizeof(id), SQLITE_STATIC);
            const int step = sqlite3_step(add);
            (void)sqlite3_reset(add);
            if (step != SQLITE_DONE)
                return -1;
            if (++put_count % ROWS_COMMIT == 0 && exec(table, "COMMIT; BEGIN") != 0)
                return -1;
        }
    return 0;
}

static int sent_make(const struct table *table)
{
    sqlite3_stmt *add = NULL;
    struct sender *senders = calloc(table->senders_count, sizeof(*senders));
    int rc = senders != NULL && sqlite3_prepare_v2(table->db, "INSERT INTO sent VALUES (?, ?)", -1,
                                                   &add, NULL) == SQLITE_OK
                 ? exec(table, "BEGIN")
                 : -1;
    for (uint64_t i = 0; i < table->senders_count && rc == 0; i++) {
        char address[64];
        uint8_t digest[SHA256_DIGEST_LENGTH];
        (void)SHA256((const uint8_t *)address, sender_make(address, sizeof(address), i), digest);
        memcpy(senders[i].hash, digest, SENDER_HASH);
        senders[i].index = i;
    }
    if (rc == 0) {
        qsort(senders, table->senders_count, sizeof(*senders), senders_compare);
        rc = sent_put(table, senders, add);
    }
    if (rc == 0)
        rc = exec(table, "COMMIT");
    (void)sqlite3_finalize(add);
    free(senders);
    return rc;
}

/* Rows without a journal, then the file as the service has it. */
static int table_make(struct table *table)
{
    struct stat info;
    if (sqlite3_open("keys.db", &table->db) != SQLITE_OK)
        return -1;
    const uint64_t start_ns = clock_monotonic_ns();
    int rc = exec(table, "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;"
                         "PRAGMA locking_mode = EXCLUSIVE; PRAGMA cache_size = -262144");
    if (rc == 0)
        rc = envelopes_make(table);
    const uint64_t middle_ns = clock_monotonic_ns();
    if (rc == 0)
        rc = sent_make(table);
    const uint64_t end_ns = clock_monotonic_ns();
    if (rc != 0)
        (void)fprintf(stderr, "table_bench: %s\n", sqlite3_errmsg(table->db));
    (void)sqlite3_close(table->db);
    if (rc != 0 || stat("keys.db", &info) != 0)
        return -1;
    (void)printf("%llu envelopes of %llu senders, %.1f GB, %.0f bytes each; made at %.0f a second,"
                 " their index at %.0f\n",
                 (unsigned long long)table->rows_count, (unsigned long long)table->senders_count,
                 (double)info.st_size / 1e9, (double)info.st_size / (double)table->rows_count,
                 (double)table->rows_count * 1e9 / (double)(middle_ns - start_ns),
                 (double)table->rows_count * 1e9 / (double)(end_ns - middle_ns));
    return 0;
}

/* What each of the trees that grow with the envelopes takes: all pages are read for it. */
static int pages_print(void)
{
    sqlite3 *db = NULL;
    sqlite3_stmt *list = NULL;
    int step = SQLITE_ERROR;
    if (sqlite3_open_v2("keys.db", &db, SQLITE_OPEN_READONLY, NULL) == SQLITE_OK &&
        sqlite3_prepare_v2(
            db,
            "SELECT name, pagetype, count(*), 1.0 * sum(ncell) / count(*) FROM dbstat"
            " WHERE name IN ('envelope', 'sqlite_autoindex_envelope_1', 'sent')"
            " GROUP BY name, pagetype ORDER BY name, pagetype DESC",
            -1, &list, NULL) == SQLITE_OK)
        while ((step = sqlite3_step(list)) == SQLITE_ROW) /* at most two a tree */
            (void)printf("%-28s %-8s %9lld pages of %5.1f\n",
                         (const char *)sqlite3_column_text(list, 0),
                         (const char *)sqlite3_column_text(list, 1), sqlite3_column_int64(list, 2),
                         sqlite3_column_double(list, 3));
    if (step != SQLITE_DONE)
        (void)fprintf(stderr, "table_bench: %s\n", sqlite3_errmsg(db));
    (void)sqlite3_finalize(list);
    (void)sqlite3_close(db);
    return step == SQLITE_DONE ? 0 : -1;
}

/* All that a release asks of the database, and its key opened. */
static int release_look(struct store *store, const struct table *table, uint64_t random)
{
    uint8_t id[RECORD_ID_BYTES];
    uint8_t key[MASTER_PLAIN_BYTES_MAX];
    size_t key_bytes = 0;
    struct store_envelope envelope;
    id_make(id, random % table->rows_count);
    if (store_envelope_get(store, id, &envelope) != 0 ||
        store_envelope_recipient(store, id, RECIPIENT) != 0 ||
        store_envelope_key(store, &envelope, key, &key_bytes) != 0)
        return -1;
    return bytes_load_le64(key) == mix(random % table->rows_count) ? 0 : -1;
}

/* A page of "my sent", its rows as the list shows them. */
static int rows_look(struct store *store, const struct table *table, uint64_t random,
                     uint64_t patience_ns)
{
    char sender[64];
    uint8_t before[RECORD_ID_BYTES];
    uint8_t ids[PAGE_ROWS][RECORD_ID_BYTES];
    uint32_t ids_count = PAGE_ROWS;
    static struct store_sent_look looks[PAGE_ROWS];
    memset(before, 0xff, sizeof(before));
    (void)sender_make(sender, sizeof(sender), random % table->senders_count);
    if (store_sent_ids(store, sender, before, ids, &ids_count) != 0 || ids_count == 0)
        return -1;
    for (uint32_t i = 0; i < ids_count; i++)
        memcpy(looks[i].id, ids[i], RECORD_ID_BYTES);
    store_sent_burst(store, looks, ids_count, sender, NULL, patience_ns);
    for (uint32_t i = 0; i < ids_count; i++)
        if (looks[i].rc != 0)
            return -1;
    return 0;
}

static int sent_look(struct store *store, const struct table *table, uint64_t random)
{
    return rows_look(store, table, random, STORE_SENT_PATIENCE_NS);
}

static int sent_look_alone(struct store *store, const struct table *table, uint64_t random)
{
    return rows_look(store, table, random, UINT64_MAX);
}

typedef int look(struct store *store, const struct table *table, uint64_t random);

static int times_compare(const void *one, const void *other)
{
    const uint64_t a = *(const uint64_t *)one;
    const uint64_t b = *(const uint64_t *)other;
    return a < b ? -1 : a > b;
}

static int looks_measure(struct store *store, const struct table *table, const char *name,
                         look *look_at, uint32_t looks_count, uint64_t seed)
{
    static uint64_t times_ns[LOOKS_COUNT];
    for (uint32_t i = 0; i < looks_count; i++) {
        const uint64_t start_ns = clock_monotonic_ns();
        if (look_at(store, table, mix(seed + i)) != 0) {
            (void)fprintf(stderr, "table_bench: %s: a row is not what was put in\n", name);
            return -1;
        }
        times_ns[i] = clock_monotonic_ns() - start_ns;
    }
    qsort(times_ns, looks_count, sizeof(times_ns[0]), times_compare);
    (void)printf("%-48s p50 %8.3f ms  p99 %8.3f ms  max %8.3f ms\n", name,
                 (double)times_ns[looks_count / 2] / 1e6,
                 (double)times_ns[looks_count * 99 / 100] / 1e6,
                 (double)times_ns[looks_count - 1] / 1e6);
    return 0;
}

/* The file's pages leave memory, as far as the kernel lets them. */
static void pages_drop(void)
{
    const int fd = open("keys.db", O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fdatasync(fd) != 0 || posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) != 0)
        (void)fprintf(stderr, "table_bench: the pages stay in memory\n");
    (void)close(fd);
}

static int table_measure(const struct table *table, const struct store_config *config)
{
    char why[STORE_WHY_BYTES] = "";
    struct store *store = NULL;
    pages_drop();
    if (store_open(&store, config, why) != 0) {
        (void)fprintf(stderr, "table_bench: %s\n", why);
        return -1;
    }
    int rc = looks_measure(store, table, "release, from the disk", release_look, LOOKS_COUNT, 1);
    if (rc == 0)
        rc = looks_measure(store, table, "release, the same once more", release_look, LOOKS_COUNT,
                           1);
    if (rc == 0)
        rc = looks_measure(store, table, "my sent, 50 rows, from the disk", sent_look, PAGES_COUNT,
                           1000000);
    if (rc == 0)
        rc = looks_measure(store, table, "my sent, the same once more", sent_look, PAGES_COUNT,
                           1000000);
    pages_drop();
    if (rc == 0)
        rc = looks_measure(store, table, "my sent, one row after the other, from the disk",
                           sent_look_alone, PAGES_COUNT, 1000000);
    store_close(store);
    return rc;
}

static int bench_run(struct table *table, const char *folder)
{
    static const char *const made[] = {"keys.db", "keys.db-wal", "keys.db-shm", "master.key"};
    char why[STORE_WHY_BYTES] = "";
    struct store *store = NULL;
    if (chdir(folder) != 0 || master_create("master.key") != 0 ||
        master_open(&table->master, "master.key", why) != 0) {
        (void)fprintf(stderr, "table_bench: %s: %s\n", folder, why);
        return 1;
    }
    const struct store_config config = {
        .path = "keys.db", .master = table->master, .readers_count = READERS_COUNT, .create = true};
    int rc = store_open(&store, &config, why); /* its tables */
    store_close(store);
    if (rc == 0)
        rc = table_make(table);
    if (rc == 0 && table->pages)
        rc = pages_print();
    if (rc == 0)
        rc = table_measure(table, &config);
    master_close(table->master);
    for (size_t i = 0; i < ARRAY_COUNT(made); i++)
        (void)unlink(made[i]);
    return rc == 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
    static const struct option known[] = {
        {"count", required_argument, NULL, 'c'},
        {"senders", required_argument, NULL, 's'},
        {"pages", no_argument, NULL, 'p'},
        {NULL, 0, NULL, 0},
    };
    char folder[FOLDER_BYTES];
    struct table table = {.rows_count = 1000000, .senders_count = 10000};
    int option;
    while ((option = getopt_long(argc, argv, "", known, NULL)) != -1) {
        switch (option) {
        case 'c':
            table.rows_count = strtoull(optarg, NULL, 10) / ROWS_STATEMENT * ROWS_STATEMENT;
            break;
        case 's': table.senders_count = strtoull(optarg, NULL, 10); break;
        case 'p': table.pages = true; break;
        default: table.rows_count = 0; break;
        }
    }
    if (table.senders_count == 0 || table.rows_count < table.senders_count) {
        (void)fprintf(stderr, "usage: table_bench [--count N] [--senders N] [--pages] [FOLDER]\n");
        return 64;
    }
    if (optind < argc)
        return bench_run(&table, argv[optind]);
    if (folder_make(folder, sizeof(folder), "bulla-table-bench") != 0)
        return 73;
    const int status = bench_run(&table, folder);
    folder_remove(folder);
    return status;
}
