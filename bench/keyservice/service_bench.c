/*
 * service_bench: claim: the key service registers more than 100,000 keys a second end to end, the
 * engine's client and the service on the same two cores: mutual TLS, HTTP, checking, wrapping and a
 * commit on stable storage before each answer.
 * Metric:  keys a second by the clock; processor time a key of either side; how long a lone record
 *          takes; and beside it, in the same run, what the disk alone would allow: as many bytes as
 *          the service wrote for a batch, and an fdatasync, one after another.
 * Command: service_bench [--json] [--runs N] [--seconds S] [--people N] [--keyd PROGRAM]
 *          It starts a service of its own, in a folder of its own, on free ports.
 */
#include "base/bytes.h"
#include "base/clock.h"
#include "bench/folder.h"
#include "bench/keyservice/example.h"
#include "keyservice/key_client.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <libgen.h>
#include <limits.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define RUNS_MAX         64
#define BATCH_KEYS       RECORD_BATCH_RECORDS_MAX
#define RESULTS_COUNT    1024
#define RECORD_ROOM      512
#define LONE_COUNT       200
#define DISK_COUNT       200
#define DISK_FILE_WRITES 16
#define START_S          20
#define WARM_NS          (NS_PER_S / 2)
#define DEADLINE_NS      (60 * NS_PER_S)
#define PEOPLE_AT        6 /* of "personNNNNNN@example.org" */
#define PEOPLE_DIGITS    6
#define PATH_BYTES       PATH_MAX

extern char **environ;

struct bench {
    char keyd[PATH_BYTES];
    char folder[PATH_BYTES];
    uint32_t runs_count;
    uint32_t people_count;
    uint64_t run_ns;
    pid_t service;
    struct key_client *client;
    uint64_t random;
    uint64_t added;
    uint64_t stored;
    uint8_t wire[RECORD_ROOM];
    uint32_t wire_bytes;
    uint8_t *person; /* the digits inside `wire` */
};

/* One figure of every run. */
struct figure {
    double values[RUNS_MAX];
    uint32_t count;
};

static uint64_t random_next(struct bench *bench)
{
    bench->random ^= bench->random << 13;
    bench->random ^= bench->random >> 7;
    bench->random ^= bench->random << 17;
    return bench->random;
}

static int fail(const char *what, const char *why)
{
    (void)fprintf(stderr, "service_bench: %s: %s\n", what, why);
    return -1;
}

/* PATH_BYTES hold it, or the bench ends. */
static void path_make(char path[PATH_BYTES], const char *folder, const char *name)
{
    const int chars = snprintf(path, PATH_BYTES, "%s/%s", folder, name);
    if (chars < 0 || chars >= PATH_BYTES) {
        (void)fail(folder, "the name is too long");
        exit(73);
    }
}

static int spawn(pid_t *pid, char *const *words, const char *log)
{
    posix_spawn_file_actions_t actions;
    (void)posix_spawn_file_actions_init(&actions);
    (void)posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, log,
                                           O_WRONLY | O_CREAT | O_APPEND, 0600);
    (void)posix_spawn_file_actions_adddup2(&actions, STDOUT_FILENO, STDERR_FILENO);
    const int rc = posix_spawn(pid, words[0], &actions, NULL, words, environ);
    (void)posix_spawn_file_actions_destroy(&actions);
    return rc == 0 ? 0 : fail(words[0], strerror(rc));
}

static int service_init(const struct bench *bench, char *dir, char *log)
{
    char init[] = "init";
    char listen[] = "--listen";
    char engine[] = "--engine-listen";
    char url[] = "--public-url";
    char any[] = "127.0.0.1:0";
    char none[] = "";
    char program[PATH_BYTES];
    char *const words[] = {program, init, dir, listen, any, engine, any, url, none, NULL};
    pid_t pid = 0;
    int status = 0;
    memcpy(program, bench->keyd, sizeof(program));
    if (spawn(&pid, words, log) != 0)
        return -1;
    if (waitpid(pid, &status, 0) != pid || status != 0)
        return fail(bench->keyd, "init failed");
    return 0;
}

/* The engine listener's port, once the service has written its ports; 0: it did not. */
static uint32_t service_port(const struct bench *bench, const char *ports)
{
    const struct timespec pause = {.tv_nsec = 20 * 1000 * 1000};
    const uint64_t until_ns = clock_monotonic_ns() + START_S * NS_PER_S;
    while (clock_monotonic_ns() < until_ns && waitpid(bench->service, NULL, WNOHANG) == 0) {
        char line[256];
        uint32_t port = 0;
        FILE *file = fopen(ports, "re");
        while (file != NULL && fgets(line, sizeof(line), file) != NULL)
            if (strncmp(line, "engine=", 7) == 0)
                port = (uint32_t)strtoul(line + 7, NULL, 10);
        if (file != NULL)
            (void)fclose(file);
        if (port != 0)
            return port;
        (void)nanosleep(&pause, NULL);
    }
    return 0;
}

static int service_start(struct bench *bench)
{
    char serve[] = "serve";
    char config_word[] = "--config";
    char ports_word[] = "--ports-file";
    char program[PATH_BYTES];
    char dir[PATH_BYTES];
    char log[PATH_BYTES];
    char config[PATH_BYTES];
    char ports[PATH_BYTES];
    char files[3][PATH_BYTES];
    char url[64];
    char why[KEY_CLIENT_WHY_BYTES] = "";
    char *const words[] = {program, serve, config_word, config, ports_word, ports, NULL};
    memcpy(program, bench->keyd, sizeof(program));
    path_make(dir, bench->folder, "keyd");
    path_make(log, bench->folder, "log");
    path_make(ports, bench->folder, "ports");
    path_make(config, dir, "keyd.conf");
    path_make(files[0], dir, "ca.crt");
    path_make(files[1], dir, "engine.crt");
    path_make(files[2], dir, "engine.key");
    if (service_init(bench, dir, log) != 0 || spawn(&bench->service, words, log) != 0)
        return -1;
    const uint32_t port = service_port(bench, ports);
    if (port == 0)
        return fail(bench->keyd, "the service did not start");
    (void)snprintf(url, sizeof(url), "https://localhost:%u", port);
    const struct key_client_config client_config = {.url = url,
                                                    .ca_file = files[0],
                                                    .certificate_file = files[1],
                                                    .private_key_file = files[2],
                                                    .request_timeout_ns = 30 * NS_PER_S,
                                                    .backoff_ns_max = NS_PER_S};
    return key_client_open(&bench->client, &client_config, why) == 0 ? 0 : fail("client", why);
}

static void service_stop(struct bench *bench)
{
    key_client_close(bench->client);
    if (bench->service > 0) {
        (void)kill(bench->service, SIGTERM);
        (void)waitpid(bench->service, NULL, 0);
    }
    folder_remove(bench->folder);
}

/* What every record has in common, written once; id, key and person change from one to the next. */
static int wire_make(struct bench *bench)
{
    uint8_t recipient[] = "..person000000@example.org";
    bytes_store_le16(recipient, sizeof(recipient) - 3);
    struct record record;
    example_record(&record, clock_unix_ns() / NS_PER_MS, recipient, sizeof(recipient) - 1);
    bench->wire_bytes = (uint32_t)record_write(bench->wire, RECORD_ROOM, &record);
    bench->person = bench->wire + bench->wire_bytes - record.recipients_bytes + 2 + PEOPLE_AT;
    return bench->wire_bytes == 0 ? fail("record", "too large") : 0;
}

/* The next record: a UUIDv7 that ascends, as engines make them, a fresh key, somebody. */
static bool record_add(struct bench *bench, uint64_t now_ns)
{
    const uint64_t made_ms = clock_unix_ns() / NS_PER_MS;
    uint64_t person = random_next(bench) % bench->people_count;
    bytes_store_be64(bench->wire + 8, made_ms << 16 | 0x7000 | (bench->added & 0xfff));
    bytes_store_le64(bench->wire + 16, random_next(bench));
    bench->wire[16] = (uint8_t)((bench->wire[16] & 0x3f) | 0x80);
    for (uint32_t i = 0; i < 4; i++)
        bytes_store_le64(bench->wire + 56 + (size_t)i * 8, random_next(bench));
    for (uint32_t i = PEOPLE_DIGITS; i > 0; i--) {
        bench->person[i - 1] = (uint8_t)('0' + person % 10);
        person /= 10;
    }
    if (!key_client_add(bench->client, bench->added, bench->wire, bench->wire_bytes,
                        now_ns + DEADLINE_NS))
        return false;
    bench->added++;
    return true;
}

/* Takes results; -1 unless all are "stored". */
static int results_take(struct bench *bench, uint64_t now_ns)
{
    struct key_result results[RESULTS_COUNT];
    const uint32_t count = key_client_run(bench->client, now_ns, 100, results, RESULTS_COUNT);
    for (uint32_t i = 0; i < count; i++)
        if (results[i].status != KEY_STORED)
            return fail("a record", "was not stored");
    bench->stored += count;
    return 0;
}

static int drain(struct bench *bench)
{
    const uint64_t until_ns = clock_monotonic_ns() + DEADLINE_NS;
    while (bench->stored < bench->added) {
        const uint64_t now_ns = clock_monotonic_ns();
        if (now_ns > until_ns)
            return fail("the service", "does not answer");
        if (results_take(bench, now_ns) != 0)
            return -1;
    }
    return 0;
}

static int flood(struct bench *bench, uint64_t flood_ns)
{
    uint64_t now_ns = clock_monotonic_ns();
    const uint64_t until_ns = now_ns + flood_ns;
    while (now_ns < until_ns) {
        while (record_add(bench, now_ns)) /* the client's own room bounds it */
            ;
        if (results_take(bench, now_ns) != 0)
            return -1;
        now_ns = clock_monotonic_ns();
    }
    return 0;
}

static double processor_ns(clockid_t clock)
{
    struct timespec spent;
    (void)clock_gettime(clock, &spent);
    return (double)spent.tv_sec * 1e9 + (double)spent.tv_nsec;
}

/* Bytes that the service has had written to its files; sockets are not counted. */
static double service_written(const struct bench *bench)
{
    char path[64];
    char line[128];
    double bytes = 0;
    (void)snprintf(path, sizeof(path), "/proc/%d/io", (int)bench->service);
    FILE *file = fopen(path, "re");
    while (file != NULL && fgets(line, sizeof(line), file) != NULL)
        if (strncmp(line, "write_bytes:", 12) == 0)
            bytes = strtod(line + 12, NULL);
    if (file != NULL)
        (void)fclose(file);
    return bytes;
}

static int doubles_compare(const void *one, const void *two)
{
    const double difference = *(const double *)one - *(const double *)two;
    return difference < 0 ? -1 : difference > 0;
}

static void figure_sort(struct figure *figure)
{
    qsort(figure->values, figure->count, sizeof(double), doubles_compare);
}

static double figure_median(const struct figure *figure)
{
    return figure->values[figure->count / 2];
}

/* Keys a second that writing `bytes` and an fdatasync for each batch leaves room for. */
static int disk_measure(const struct bench *bench, size_t bytes, double *keys_per_s)
{
    char path[PATH_BYTES];
    path_make(path, bench->folder, "disk");
    uint8_t *block = calloc(1, bytes);
    const int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    bool fine = block != NULL && fd >= 0;
    uint64_t start_ns = 0;
    for (uint32_t i = 0; fine && i < DISK_FILE_WRITES + DISK_COUNT; i++) {
        if (i == DISK_FILE_WRITES) /* from here on the file has its size, as a log has */
            start_ns = clock_monotonic_ns();
        fine = pwrite(fd, block, bytes, (off_t)(i % DISK_FILE_WRITES * bytes)) == (ssize_t)bytes &&
               fdatasync(fd) == 0;
    }
    *keys_per_s = BATCH_KEYS * (double)DISK_COUNT * 1e9 / (double)(clock_monotonic_ns() - start_ns);
    if (fd >= 0)
        (void)close(fd);
    free(block);
    return fine ? 0 : fail(path, strerror(errno));
}

/* One record with nothing else on its way: from the call to "stored". */
static int lone_measure(struct bench *bench, struct figure *lone_us)
{
    static double values[LONE_COUNT];
    for (uint32_t i = 0; i < LONE_COUNT; i++) {
        const uint64_t start_ns = clock_monotonic_ns();
        if (!record_add(bench, start_ns) || drain(bench) != 0)
            return -1;
        values[i] = (double)(clock_monotonic_ns() - start_ns) / 1e3;
    }
    qsort(values, LONE_COUNT, sizeof(double), doubles_compare);
    lone_us->values[lone_us->count++] = values[LONE_COUNT / 2];
    return 0;
}

struct figures {
    struct figure keys_per_s;
    struct figure client_us;
    struct figure service_us;
    struct figure disk_keys_per_s;
    struct figure lone_us;
    struct figure batch_bytes; /* written by the service for BATCH_KEYS */
};

static void figure_add(struct figure *figure, double value)
{
    figure->values[figure->count++] = value;
}

static int run_measure(struct bench *bench, clockid_t service, struct figures *figures)
{
    double disk = 0;
    if (flood(bench, WARM_NS) != 0)
        return -1;
    const double client_ns = processor_ns(CLOCK_PROCESS_CPUTIME_ID);
    const double service_ns = processor_ns(service);
    const double written = service_written(bench);
    const uint64_t stored = bench->stored;
    const uint64_t start_ns = clock_monotonic_ns();
    if (flood(bench, bench->run_ns) != 0)
        return -1;
    const double keys = (double)(bench->stored - stored);
    const double clock_ns = (double)(clock_monotonic_ns() - start_ns);
    figure_add(&figures->keys_per_s, keys * 1e9 / clock_ns);
    figure_add(&figures->client_us,
               (processor_ns(CLOCK_PROCESS_CPUTIME_ID) - client_ns) / keys / 1e3);
    figure_add(&figures->service_us, (processor_ns(service) - service_ns) / keys / 1e3);
    const double bytes = (service_written(bench) - written) / keys * BATCH_KEYS;
    figure_add(&figures->batch_bytes, bytes);
    if (drain(bench) != 0 || lone_measure(bench, &figures->lone_us) != 0 ||
        disk_measure(bench, (size_t)(bytes < 4096 ? 4096 : bytes), &disk) != 0)
        return -1;
    figure_add(&figures->disk_keys_per_s, disk);
    return 0;
}

static void figure_json(const char *name, const struct figure *figure, const char *end)
{
    (void)printf("\"%s\":{\"min\":%.2f,\"median\":%.2f,\"max\":%.2f}%s", name, figure->values[0],
                 figure_median(figure), figure->values[figure->count - 1], end);
}

static void figure_print(const char *name, const struct figure *figure)
{
    (void)printf("%-44s %11.2f %11.2f %11.2f\n", name, figure->values[0], figure_median(figure),
                 figure->values[figure->count - 1]);
}

static void figures_print(const struct bench *bench, struct figures *figures, bool json)
{
    figure_sort(&figures->keys_per_s);
    figure_sort(&figures->client_us);
    figure_sort(&figures->service_us);
    figure_sort(&figures->disk_keys_per_s);
    figure_sort(&figures->lone_us);
    figure_sort(&figures->batch_bytes);
    if (json) {
        (void)printf("{\"bench\":\"service_bench\",\"runs\":%u,\"seconds\":%.1f,\"batch\":%d,"
                     "\"connections\":%d,\"people\":%u,\"cores\":%ld,",
                     bench->runs_count, (double)bench->run_ns / 1e9, BATCH_KEYS,
                     KEY_CLIENT_CONNECTIONS_MAX, bench->people_count,
                     sysconf(_SC_NPROCESSORS_ONLN));
        figure_json("keys_per_s", &figures->keys_per_s, ",");
        figure_json("client_cpu_us_per_key", &figures->client_us, ",");
        figure_json("service_cpu_us_per_key", &figures->service_us, ",");
        figure_json("lone_record_us", &figures->lone_us, ",");
        figure_json("written_bytes_per_batch", &figures->batch_bytes, ",");
        figure_json("disk_limit_keys_per_s", &figures->disk_keys_per_s, "}\n");
        return;
    }
    (void)printf("%u runs of %.1f s, batches of up to %d, %d connections, %u people, %ld cores\n"
                 "%-44s %11s %11s %11s\n",
                 bench->runs_count, (double)bench->run_ns / 1e9, BATCH_KEYS,
                 KEY_CLIENT_CONNECTIONS_MAX, bench->people_count, sysconf(_SC_NPROCESSORS_ONLN), "",
                 "min", "median", "max");
    figure_print("keys a second, end to end", &figures->keys_per_s);
    figure_print("us of the client's processor a key", &figures->client_us);
    figure_print("us of the service's processor a key", &figures->service_us);
    figure_print("us for a lone record", &figures->lone_us);
    figure_print("bytes that the service wrote for a batch", &figures->batch_bytes);
    figure_print("keys a second that the disk alone allows", &figures->disk_keys_per_s);
}

static int bench_run(struct bench *bench, bool json)
{
    static struct figures figures;
    clockid_t service = 0;
    if (wire_make(bench) != 0 || service_start(bench) != 0)
        return -1;
    const int error = clock_getcpuclockid(bench->service, &service);
    if (error != 0)
        return fail("the service's clock", strerror(error));
    for (uint32_t i = 0; i < bench->runs_count; i++)
        if (run_measure(bench, service, &figures) != 0)
            return -1;
    figures_print(bench, &figures, json);
    return 0;
}

/* Beside this program in the build's folders, unless told otherwise. */
static void keyd_find(struct bench *bench)
{
    char own[PATH_BYTES] = "";
    const ssize_t chars = readlink("/proc/self/exe", own, sizeof(own) - 1);
    if (chars > 0)
        path_make(bench->keyd, dirname(own), "../../keyservice/server/bulla-keyd");
}

int main(int argc, char **argv)
{
    static const struct option known[] = {
        {"json", no_argument, NULL, 'j'},          {"runs", required_argument, NULL, 'r'},
        {"seconds", required_argument, NULL, 's'}, {"people", required_argument, NULL, 'p'},
        {"keyd", required_argument, NULL, 'k'},    {NULL, 0, NULL, 0},
    };
    static struct bench bench = {.runs_count = 5,
                                 .people_count = 20000,
                                 .run_ns = 2 * NS_PER_S,
                                 .random = UINT64_C(88172645463325252)};
    bool json = false;
    int option;
    keyd_find(&bench);
    while ((option = getopt_long(argc, argv, "", known, NULL)) != -1) {
        switch (option) {
        case 'j': json = true; break;
        case 'r': bench.runs_count = (uint32_t)strtoul(optarg, NULL, 10); break;
        case 's': bench.run_ns = (uint64_t)(strtod(optarg, NULL) * 1e9); break;
        case 'p': bench.people_count = (uint32_t)strtoul(optarg, NULL, 10); break;
        case 'k': (void)snprintf(bench.keyd, sizeof(bench.keyd), "%s", optarg); break;
        default: optind = argc + 1; break;
        }
    }
    if (optind != argc || bench.runs_count == 0 || bench.runs_count > RUNS_MAX ||
        bench.people_count == 0 || bench.run_ns == 0) {
        (void)fprintf(stderr, "usage: service_bench [--json] [--runs N] [--seconds S] [--people N]"
                              " [--keyd PROGRAM]\n");
        return 64;
    }
    int rc = folder_make(bench.folder, sizeof(bench.folder), "bulla-service-bench");
    if (rc != 0)
        return fail("no folder for this run: set TMPDIR", strerror(-rc)) == 0 ? 0 : 73;
    rc = bench_run(&bench, json);
    service_stop(&bench);
    return rc == 0 ? 0 : 1;
}
