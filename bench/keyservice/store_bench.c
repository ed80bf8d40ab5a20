/*
 * store_bench: claim: registering batches of 512 keys through the store costs little more than the
 * database itself asks for the same rows, and passes 100,000 keys a second with synced commits into
 * SQLite, 200,000 into PostgreSQL.
 * Metric:  keys a second, each batch answered after its commit, the median of TURNS turns; beside
 * it, in the same run and turn about, the limit: the same rows put into the same tables with one
 * commit a batch, no wrapping, no digests, no threads: by a bare loop of prepared INSERTs, with
 * PostgreSQL by a bare COPY. Each with its processor time a key, PostgreSQL's server's beside ours,
 * which a busy machine hardly changes, and what a core does by both together.
 * Command: store_bench [--batches N] [--threads N] [--people N] [--senders N] [FOLDER]
 * tools/private-postgresql store_bench --postgresql […]
 * Instructions a key, the same on a busy machine, by function: valgrind --tool=callgrind
 * store_bench --batches 32
 * --threads 1 --people 200
 * Then, of the same store: what taking the runs into the index of senders costs a key, how long a
 * sender's list of 50 takes, and how many openings a second are noted durably by as many threads.
 */
#include "base/bytes.h"
#include "base/clock.h"
#include "bench/folder.h"
#include "bench/keyservice/example.h"
#include "keyservice/server/store/store.h"
#include "keyservice/server/store/store_opening.h"
#include "keyservice/server/store/store_row.h"
#include "keyservice/server/store/store_sent.h"
#include "keyservice/server/store/store_sql.h"

#include <dirent.h>
#include <getopt.h>
#include <libpq-fe.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define THREADS_MAX     16
#define TURNS           3
#define TARGET_SQLITE   100000
#define TARGET_SERVER   200000
#define STAT_BYTES      1024
#define RECORD_ROOM     512
#define RECIPIENT_CHARS 32
#define LIST_ROWS       50
#define LISTS_COUNT     200
#define OPENINGS_COUNT  2048 /* of each thread */
#define FOLDER_BYTES    256
#define SENT_UNIX_MS    UINT64_C(1700000000000)

struct bench_config {
    uint32_t batches_count; /* of each thread */
    uint32_t threads_count;
    uint32_t people_count; /* different recipients */
    uint32_t senders_count;
    const char *folder;
    const char *url;    /* NULL: SQLite */
    uint64_t server;    /* PostgreSQL's process; 0: none */
    uint64_t batch_add; /* to a batch's number, so that each turn's rows are new */
};

/* One batch, made before the clock starts. */
struct bench_batch {
    struct store_put puts[RECORD_BATCH_RECORDS_MAX];
    struct record records[RECORD_BATCH_RECORDS_MAX];
    uint8_t wires[RECORD_BATCH_RECORDS_MAX][RECORD_ROOM];
    uint8_t recipients[RECORD_BATCH_RECORDS_MAX][RECIPIENT_CHARS + 2];
    char senders[RECORD_BATCH_RECORDS_MAX][RECIPIENT_CHARS];
};

struct bench_thread {
    const struct bench_config *config;
    struct store *store;
    struct bench_batch *batch;
    uint32_t index;
    int rc;
};

static uint64_t random_next(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * UINT64_C(2685821657736338717);
}

/* A UUIDv7 whose first bytes ascend from batch to batch, as engines make them. */
static void id_make(uint8_t id[RECORD_ID_BYTES], uint64_t number, uint64_t *random)
{
    bytes_store_be64(id, (SENT_UNIX_MS + number / 64) << 16 | 0x7000 | number % 64);
    bytes_store_le64(id + 8, random_next(random));
    id[8] = (uint8_t)((id[8] & 0x3f) | 0x80);
}

static size_t sender_print(char sender[RECIPIENT_CHARS], uint64_t number)
{
    return (size_t)snprintf(sender, RECIPIENT_CHARS, "sender%06u@company.example",
                            (unsigned)number % 1000000);
}

static void batch_make(struct bench_batch *batch, uint64_t first, uint32_t people_count,
                       uint32_t senders_count)
{
    uint64_t random = first * 7919 + 1;
    for (uint32_t i = 0; i < RECORD_BATCH_RECORDS_MAX; i++) {
        struct record *record = &batch->records[i];
        const int chars =
            snprintf((char *)batch->recipients[i] + 2, RECIPIENT_CHARS, "person%06u@example.org",
                     (unsigned)(random_next(&random) % people_count));
        bytes_store_le16(batch->recipients[i], (uint16_t)chars);
        example_record(record, SENT_UNIX_MS, batch->recipients[i], (uint32_t)chars + 2);
        record->sender = (const uint8_t *)batch->senders[i];
        record->sender_bytes =
            (uint16_t)sender_print(batch->senders[i], random_next(&random) % senders_count);
        id_make(record->id, first + i, &random);
        bytes_store_le64(record->key, random_next(&random));
        batch->puts[i] = (struct store_put){
            .record = record,
            .wire = batch->wires[i],
            .wire_bytes = (uint32_t)record_write(batch->wires[i], RECORD_ROOM, record)};
    }
}

static void *thread_run(void *argument)
{
    struct bench_thread *thread = argument;
    for (uint32_t n = 0; n < thread->config->batches_count && thread->rc == 0; n++) {
        const uint64_t number =
            thread->config->batch_add + (uint64_t)n * thread->config->threads_count + thread->index;
        batch_make(thread->batch, number * RECORD_BATCH_RECORDS_MAX, thread->config->people_count,
                   thread->config->senders_count);
        thread->rc =
            store_register_batch(thread->store, thread->batch->puts, RECORD_BATCH_RECORDS_MAX);
    }
    return NULL;
}

/* What a run took: by the clock, and of the processor, which a busy machine does not blur. */
struct bench_time {
    uint64_t clock_ns;
    uint64_t processor_ns;
    uint64_t server_ns; /* of PostgreSQL's processes */
};

/* Of a process whose parent that is, or, with those that have ended, of it itself; else 0. */
static uint64_t stat_ns(const char *name, uint64_t server)
{
    char path[64];
    char text[STAT_BYTES] = "";
    unsigned long long parent = 0;
    unsigned long long ticks[4] = {0};
    (void)snprintf(path, sizeof(path), "/proc/%.20s/stat", name);
    FILE *file = fopen(path, "re");
    const size_t bytes = file == NULL ? 0 : fread(text, 1, sizeof(text) - 1, file);
    if (file != NULL)
        (void)fclose(file);
    const char *at = bytes == 0 ? NULL : strrchr(text, ')');
    if (at == NULL ||
        sscanf(at, ") %*c %llu %*s %*s %*s %*s %*s %*s %*s %*s %*s %llu %llu %llu %llu", &parent,
               &ticks[0], &ticks[1], &ticks[2], &ticks[3]) != 5)
        return 0;
    const bool is_server = strtoull(name, NULL, 10) == server;
    if (!is_server && parent != server)
        return 0;
    const uint64_t spent = ticks[0] + ticks[1] + (is_server ? ticks[2] + ticks[3] : 0);
    return spent * NS_PER_S / (uint64_t)sysconf(_SC_CLK_TCK);
}

static uint64_t server_ns(uint64_t server)
{
    uint64_t spent_ns = 0;
    DIR *folder = server == 0 ? NULL : opendir("/proc");
    for (struct dirent *entry = NULL; folder != NULL && (entry = readdir(folder)) != NULL;)
        if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9')
            spent_ns += stat_ns(entry->d_name, server);
    if (folder != NULL)
        (void)closedir(folder);
    return spent_ns;
}

static struct bench_time time_now(const struct bench_config *config)
{
    struct timespec spent;
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &spent);
    return (struct bench_time){.clock_ns = clock_monotonic_ns(),
                               .processor_ns =
                                   (uint64_t)spent.tv_sec * NS_PER_S + (uint64_t)spent.tv_nsec,
                               .server_ns = server_ns(config->server)};
}

static struct bench_time time_since(const struct bench_config *config, struct bench_time start)
{
    const struct bench_time now = time_now(config);
    return (struct bench_time){.clock_ns = now.clock_ns - start.clock_ns,
                               .processor_ns = now.processor_ns - start.processor_ns,
                               .server_ns = now.server_ns - start.server_ns};
}

static void time_print(const char *what, const struct bench_config *config, struct bench_time spent)
{
    const double keys =
        (double)config->batches_count * config->threads_count * RECORD_BATCH_RECORDS_MAX;
    (void)printf("%-34s%9.0f keys/s  %7.2f us of processor a key", what,
                 keys * 1e9 / (double)spent.clock_ns, (double)spent.processor_ns / keys / 1e3);
    if (config->server != 0)
        (void)printf(", %.2f us of the server's", (double)spent.server_ns / keys / 1e3);
    (void)printf("; by that %.0f keys/s and core\n",
                 keys * 1e9 / (double)(spent.processor_ns + spent.server_ns));
}

static int times_compare(const void *one, const void *other)
{
    const uint64_t a = ((const struct bench_time *)one)->clock_ns;
    const uint64_t b = ((const struct bench_time *)other)->clock_ns;
    return a < b ? -1 : a > b;
}

static struct bench_time times_median(struct bench_time times[TURNS])
{
    qsort(times, TURNS, sizeof(times[0]), times_compare);
    return times[TURNS / 2];
}

/* --- what a sender sees --- */

static int fold_measure(const struct bench_config *config, struct store *store,
                        struct bench_time *spent, uint32_t *runs_count)
{
    const struct bench_time start = time_now(config);
    uint32_t folded = 1;
    int rc = 0;
    for (*runs_count = 0; rc == 0 && folded > 0; *runs_count += folded)
        rc = store_sent_fold(store, 1, &folded);
    *spent = time_since(config, start);
    return rc;
}

/* The first page of each of LISTS_COUNT senders. */
static int list_measure(const struct bench_config *config, struct store *store,
                        struct bench_time *spent)
{
    static uint8_t ids[LIST_ROWS][RECORD_ID_BYTES];
    uint8_t newest[RECORD_ID_BYTES];
    static struct store_sent_look looks[LIST_ROWS];
    int rc = 0;
    memset(newest, 0xff, sizeof(newest));
    const struct bench_time start = time_now(config);
    for (uint32_t n = 0; n < LISTS_COUNT && rc == 0; n++) {
        char sender[RECIPIENT_CHARS];
        uint32_t count = LIST_ROWS;
        (void)sender_print(sender, (uint64_t)n * 7919 % config->senders_count);
        rc = store_sent_ids(store, sender, newest, ids, &count);
        for (uint32_t i = 0; i < count && rc == 0; i++)
            memcpy(looks[i].id, ids[i], RECORD_ID_BYTES);
        if (rc == 0)
            store_sent_burst(store, looks, count, sender, NULL, STORE_SENT_PATIENCE_NS);
        for (uint32_t i = 0; i < count && rc == 0; i++)
            rc = looks[i].rc;
    }
    *spent = time_since(config, start);
    return rc;
}

static void *opening_run(void *argument)
{
    struct bench_thread *thread = argument;
    char address[RECIPIENT_CHARS];
    struct store_envelope envelope;
    batch_make(thread->batch, 0, thread->config->people_count, thread->config->senders_count);
    for (uint32_t n = 0; n < OPENINGS_COUNT && thread->rc == 0; n++) {
        const uint8_t *id = thread->batch->records[n % RECORD_BATCH_RECORDS_MAX].id;
        (void)snprintf(address, sizeof(address), "p%u.%u@x.example", thread->index, n / 1024);
        thread->rc = store_envelope_get(thread->store, id, &envelope);
        if (thread->rc == 0)
            thread->rc = store_opening_note(thread->store, &envelope, address, OPENING_RELEASED,
                                            SENT_UNIX_MS + n, NULL);
    }
    return NULL;
}

static int threads_measure(const struct bench_config *config, struct store *store,
                           void *(*run)(void *), struct bench_time *spent)
{
    pthread_t threads[THREADS_MAX];
    struct bench_thread work[THREADS_MAX];
    int rc = 0;
    const struct bench_time start = time_now(config);
    for (uint32_t i = 0; i < config->threads_count; i++) {
        work[i] = (struct bench_thread){.config = config,
                                        .store = store,
                                        .batch = malloc(sizeof(struct bench_batch)),
                                        .index = i};
        if (work[i].batch == NULL || pthread_create(&threads[i], NULL, run, &work[i]) != 0)
            return -1;
    }
    for (uint32_t i = 0; i < config->threads_count; i++) {
        (void)pthread_join(threads[i], NULL);
        free(work[i].batch);
        rc = rc == 0 ? work[i].rc : rc;
    }
    *spent = time_since(config, start);
    return rc;
}

/* The reference: the same rows by hand, one a statement. */
static int raw_batch(struct sql *sql, const struct bench_batch *batch)
{
    static const uint8_t wrapped[MASTER_WRAPPED_BYTES_MAX];
    if (sql_run(sql_use(sql, SQL_BEGIN)) < 0)
        return -1;
    for (uint32_t i = 0; i < RECORD_BATCH_RECORDS_MAX; i++) {
        uint8_t row[RECORD_ROOM];
        struct sql_statement *add = sql_use(sql, SQL_ENVELOPE_ADD_1);
        sql_bind_u64(add, 1, 1);
        sql_bind_blob(add, 2, batch->records[i].id, RECORD_ID_BYTES);
        sql_bind_blob(add, 3, wrapped, sizeof(wrapped));
        sql_bind_blob(add, 4, row, store_row_pack(row, batch->wires[i], batch->puts[i].wire_bytes));
        if (sql_run(add) != 1)
            return -1;
    }
    return sql_run(sql_use(sql, SQL_COMMIT)) < 0 ? -1 : 0;
}

static int raw_measure(const struct bench_config *config, const char *path,
                       struct bench_time *spent)
{
    char why[STORE_WHY_BYTES] = "";
    struct sql sql;
    struct bench_batch *batch = malloc(sizeof(*batch));
    if (batch == NULL ||
        sql_open(&sql, &(struct sql_place){.path = path, .create = true}, why) != 0 ||
        sql_migrate(&sql, why) != 0) {
        (void)fprintf(stderr, "store_bench: %s\n", why);
        free(batch);
        return -1;
    }
    int rc = 0;
    const struct bench_time start = time_now(config);
    for (uint32_t n = 0; rc == 0 && n < config->batches_count * config->threads_count; n++) {
        batch_make(batch, (config->batch_add + n) * RECORD_BATCH_RECORDS_MAX, config->people_count,
                   config->senders_count);
        rc = raw_batch(&sql, batch);
    }
    *spent = time_since(config, start);
    sql_close(&sql);
    free(batch);
    return rc;
}

/* A row in COPY's binary form, as docs/format/key-row.md has it; returns its end. */
static uint8_t *copy_row(uint8_t *at, const struct bench_batch *batch, uint32_t index)
{
    static const uint8_t wrapped[MASTER_WRAPPED_BYTES_MAX];
    bytes_store_be16(at, 4);
    bytes_store_be32(at + 2, RECORD_ID_BYTES);
    memcpy(at + 6, batch->records[index].id, RECORD_ID_BYTES);
    at += 6 + RECORD_ID_BYTES;
    bytes_store_be32(at, 4);
    bytes_store_be32(at + 4, 1);
    bytes_store_be32(at + 8, sizeof(wrapped));
    memcpy(at + 12, wrapped, sizeof(wrapped));
    at += 12 + sizeof(wrapped);
    const uint32_t bytes =
        store_row_pack(at + 4, batch->wires[index], batch->puts[index].wire_bytes);
    bytes_store_be32(at, bytes);
    return at + 4 + bytes;
}

/* The reference of PostgreSQL: a COPY, which commits on its own, a batch. */
static int copy_batch(PGconn *conn, const struct bench_batch *batch)
{
    static const char head[19] = "PGCOPY\n\377\r\n";
    static uint8_t buffer[RECORD_BATCH_RECORDS_MAX * (RECORD_ROOM + 64)];
    uint8_t *at = buffer + sizeof(head);
    memcpy(buffer, head, sizeof(head));
    for (uint32_t i = 0; i < RECORD_BATCH_RECORDS_MAX; i++)
        at = copy_row(at, batch, i);
    bytes_store_be16(at, UINT16_MAX);
    PQclear(
        PQexec(conn, "COPY bare (id, key_version, wrapped, record) FROM STDIN (FORMAT binary)"));
    if (PQputCopyData(conn, (const char *)buffer, (int)(at + 2 - buffer)) != 1 ||
        PQputCopyEnd(conn, NULL) != 1)
        return -1;
    int rc = -1;
    for (PGresult *result = PQgetResult(conn); result != NULL; result = PQgetResult(conn)) {
        rc = PQresultStatus(result) == PGRES_COMMAND_OK ? 0 : -1;
        PQclear(result);
    }
    return rc;
}

static int copy_measure(const struct bench_config *config, struct bench_time *spent)
{
    PGconn *conn = PQconnectdb(config->url);
    struct bench_batch *batch = malloc(sizeof(*batch));
    PQclear(PQexec(conn, "CREATE TABLE IF NOT EXISTS bare (LIKE envelope INCLUDING ALL)"));
    int rc = batch != NULL ? 0 : -1;
    const struct bench_time start = time_now(config);
    for (uint32_t n = 0; rc == 0 && n < config->batches_count * config->threads_count; n++) {
        batch_make(batch, (config->batch_add + n) * RECORD_BATCH_RECORDS_MAX, config->people_count,
                   config->senders_count);
        rc = copy_batch(conn, batch);
    }
    *spent = time_since(config, start);
    if (rc != 0)
        (void)fprintf(stderr, "store_bench: %s\n", PQerrorMessage(conn));
    PQfinish(conn);
    free(batch);
    return rc;
}

/* Turn about, so that both meet the same machine; the medians. */
static int turns_measure(struct bench_config *config, struct store *store,
                         struct bench_time *raw_time, struct bench_time *store_time)
{
    struct bench_time raw[TURNS];
    struct bench_time ours[TURNS];
    int rc = 0;
    for (uint32_t turn = 0; turn < TURNS && rc == 0; turn++) {
        config->batch_add = (uint64_t)turn * config->batches_count * config->threads_count;
        rc = config->url != NULL ? copy_measure(config, &raw[turn])
                                 : raw_measure(config, "raw.db", &raw[turn]);
        if (rc == 0)
            rc = threads_measure(config, store, thread_run, &ours[turn]);
    }
    if (rc != 0)
        return rc;
    *raw_time = times_median(raw);
    *store_time = times_median(ours);
    return 0;
}

static void target_print(const struct bench_config *config, struct bench_time spent)
{
    const double target = config->url != NULL ? TARGET_SERVER : TARGET_SQLITE;
    const double keys =
        (double)config->batches_count * config->threads_count * RECORD_BATCH_RECORDS_MAX;
    (void)printf("%-34s%9.0f keys/s: %.2f of it\n", "target", target,
                 keys * 1e9 / (double)spent.clock_ns / target);
}

static int bench_run(struct bench_config *config)
{
    static const char *const made[] = {"keys.db",    "keys.db-wal", "keys.db-shm", "raw.db",
                                       "raw.db-wal", "raw.db-shm",  "master.key"};
    char why[STORE_WHY_BYTES] = "";
    struct master *master = NULL;
    struct store *store = NULL;
    struct bench_time store_time = {0};
    struct bench_time raw_time = {0};
    struct bench_time fold_time = {0};
    struct bench_time list_time = {0};
    struct bench_time opening_time = {0};
    uint32_t runs_count = 0;
    if (chdir(config->folder) != 0 || master_create("master.key") != 0 ||
        master_open(&master, "master.key", why) != 0) {
        (void)fprintf(stderr, "store_bench: %s: %s\n", config->folder, why);
        return 1;
    }
    const struct store_config store_config = {.path = config->url != NULL ? config->url : "keys.db",
                                              .master = master,
                                              .readers_count = 1,
                                              .create = true,
                                              .serves = config->url != NULL};
    int rc = store_open(&store, &store_config, why);
    if (rc == 0)
        rc = turns_measure(config, store, &raw_time, &store_time);
    if (rc == 0)
        rc = fold_measure(config, store, &fold_time, &runs_count);
    if (rc == 0)
        rc = list_measure(config, store, &list_time);
    if (rc == 0)
        rc = threads_measure(config, store, opening_run, &opening_time);
    store_close(store);
    master_close(master);
    for (size_t i = 0; i < ARRAY_COUNT(made); i++)
        (void)unlink(made[i]);
    if (rc != 0) {
        (void)fprintf(stderr, "store_bench: failed: %s\n", why);
        return 1;
    }
    (void)printf("%u threads of %u batches of %u keys, %u people, %u senders\n",
                 config->threads_count, config->batches_count, RECORD_BATCH_RECORDS_MAX,
                 config->people_count, config->senders_count);
    time_print(config->url != NULL ? "bare COPY, one commit a batch"
                                   : "bare SQLite, one commit a batch",
               config, raw_time);
    time_print("store_register_batch", config, store_time);
    target_print(config, store_time);
    config->batches_count *= TURNS; /* the runs of all turns */
    time_print("store_sent_fold, of all its runs", config, fold_time);
    (void)printf("%u senders: a list of %u in %.2f ms\n", config->senders_count, LIST_ROWS,
                 (double)list_time.clock_ns / LISTS_COUNT / 1e6);
    (void)printf("store_opening_note %24.0f openings/s\n", (double)OPENINGS_COUNT *
                                                               config->threads_count * 1e9 /
                                                               (double)opening_time.clock_ns);
    return 0;
}

int main(int argc, char **argv)
{
    static const struct option known[] = {
        {"batches", required_argument, NULL, 'b'}, {"threads", required_argument, NULL, 't'},
        {"people", required_argument, NULL, 'p'},  {"senders", required_argument, NULL, 's'},
        {"postgresql", no_argument, NULL, 'd'},    {NULL, 0, NULL, 0},
    };
    char folder[FOLDER_BYTES];
    struct bench_config config = {
        .batches_count = 100, .threads_count = 4, .people_count = 20000, .senders_count = 5000};
    const char *server = NULL;
    int option;
    while ((option = getopt_long(argc, argv, "", known, NULL)) != -1) {
        const uint32_t number = optarg == NULL ? 0 : (uint32_t)strtoul(optarg, NULL, 10);
        switch (option) {
        case 'b': config.batches_count = number; break;
        case 't': config.threads_count = MIN(number, (uint32_t)THREADS_MAX); break;
        case 'p': config.people_count = number; break;
        case 's': config.senders_count = number; break;
        case 'd':
            config.url = getenv("BULLA_POSTGRESQL");
            server = getenv("BULLA_POSTGRESQL_PID");
            config.server = server == NULL ? 0 : strtoull(server, NULL, 10);
            if (config.url == NULL) {
                (void)fprintf(stderr, "store_bench: run it by tools/private-postgresql\n");
                return 69;
            }
            break;
        default: config.batches_count = 0; break;
        }
    }
    if (config.batches_count == 0 || config.threads_count == 0 || config.people_count == 0 ||
        config.senders_count == 0) {
        (void)fprintf(stderr,
                      "usage: store_bench [--batches N] [--threads N] [--people N] [--senders N] "
                      "[--postgresql] [FOLDER]\n");
        return 64;
    }
    if (optind < argc) {
        config.folder = argv[optind];
        return bench_run(&config);
    }
    if (folder_make(folder, sizeof(folder), "bulla-store-bench") != 0)
        return 73;
    config.folder = folder;
    const int status = bench_run(&config);
    folder_remove(folder);
    return status;
}
