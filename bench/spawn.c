#include "bench/spawn.h"

#include "base/clock.h"
#include "bench/engine_view.h"
#include "bench/folder.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SPAWN_START_MS_MAX 20000
#define SPAWN_STOP_MS_MAX  20000
#define SPAWN_PAUSE_MS     5
#define SPAWN_FILE_BYTES   (SPAWN_PATH_BYTES + 32)

#define SPAWN_SPOOL_KEY_BYTES 32 /* engine/spool_key.h */

static void spawn_pause(void)
{
    const struct timespec pause = {.tv_nsec = SPAWN_PAUSE_MS * (long)NS_PER_MS};
    (void)nanosleep(&pause, NULL);
}

int spawn_program_folder(char *folder, size_t folder_bytes)
{
    const ssize_t bytes = readlink("/proc/self/exe", folder, folder_bytes - 1);
    if (bytes < 0)
        return -errno;
    folder[bytes] = '\0';
    char *slash = strrchr(folder, '/');
    if (slash == NULL)
        return -ENOENT;
    *slash = '\0';
    return 0;
}

bool spawn_in_build_tree(void)
{
    char folder[PATH_MAX];
    char built[PATH_MAX];
    return spawn_program_folder(folder, sizeof(folder)) == 0 &&
           realpath(BULLA_BINARY_DIR "/bench", built) != NULL && strcmp(folder, built) == 0;
}

uint64_t spawn_memory_kib(pid_t pid, const char *name)
{
    char path[64];
    char line[256];
    uint64_t kib = 0;
    (void)snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
    FILE *file = fopen(path, "re");
    while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
        if (strncmp(line, name, strlen(name)) == 0) {
            kib = strtoull(line + strlen(name), NULL, 10);
            break;
        }
    }
    if (file != NULL)
        (void)fclose(file);
    return kib;
}

/* The one that an earlier engine had of the same spool is taken again. */
static int spawn_write_spool_key(const char *spool)
{
    char path[PATH_MAX];
    uint8_t key[SPAWN_SPOOL_KEY_BYTES];
    (void)snprintf(path, sizeof(path), "%s.key", spool);
    const int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return errno == EEXIST ? 0 : -errno;
    const bool written = getrandom(key, sizeof(key), 0) == (ssize_t)sizeof(key) &&
                         write(fd, key, sizeof(key)) == (ssize_t)sizeof(key);
    (void)close(fd);
    return written ? 0 : -EIO;
}

/* The switch, before anybody has mapped its page. */
static int spawn_write_away(const struct spawn *spawn)
{
    char path[SPAWN_FILE_BYTES];
    const uint32_t away = 1;
    (void)snprintf(path, sizeof(path), "%s/counts", spawn->folder);
    const int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    const bool written = pwrite(fd, &away, sizeof(away), offsetof(struct counts_page, keys_away)) ==
                         (ssize_t)sizeof(away);
    (void)close(fd);
    return written ? 0 : -EIO;
}

/* The key service is named and never spoken to; its files must only be there. */
static int spawn_write_files(const struct spawn *spawn, const struct spawn_config *config)
{
    static const char *const empty[] = {"ca.pem", "engine.pem", "engine.key", "counts"};
    char path[SPAWN_FILE_BYTES];
    for (size_t i = 0; i < ARRAY_COUNT(empty); i++) {
        (void)snprintf(path, sizeof(path), "%s/%s", spawn->folder, empty[i]);
        const int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        if (fd < 0)
            return -errno;
        (void)close(fd);
    }
    int rc = config->keys_away ? spawn_write_away(spawn) : 0;
    if (rc == 0 && config->spool != NULL)
        rc = spawn_write_spool_key(config->spool);
    if (rc != 0)
        return rc;
    (void)snprintf(path, sizeof(path), "%s/bulla.conf", spawn->folder);
    FILE *file = fopen(path, "wxe");
    if (file == NULL)
        return -errno;
    (void)fprintf(
        file,
        "engine {\n  socket = \"%s\"\n  socket_mode = 0600\n  workers = %u\n"
        "  busy_poll = %s\n  log_level = warning\n  message_id_host = \"mail.example.com\"\n",
        spawn->socket_path, config->workers, config->sleeping ? "no" : "yes");
    if (config->output_arena_bytes != 0)
        (void)fprintf(file, "  output_arena = %luKiB\n",
                      (unsigned long)((config->output_arena_bytes + 1023) / 1024));
    if (config->jobs_count != 0)
        (void)fprintf(file, "  jobs = %u\n", config->jobs_count);
    if (config->spool != NULL)
        (void)fprintf(file, "  spool = \"%s\"\n  spool_key = \"%s.key\"\n  spool_size = %luKiB\n",
                      config->spool, config->spool, (unsigned long)(config->spool_bytes / 1024));
    (void)fprintf(file,
                  "}\nkey_service \"instant\" {\n  url = \"https://keys.example.com\"\n"
                  "  engine_url = \"https://127.0.0.1:9\"\n  ca = \"ca.pem\"\n"
                  "  certificate = \"engine.pem\"\n  private_key = \"engine.key\"\n}\n"
                  "profile \"default\" {\n  key_service = \"instant\"\n  size_limit = 40MB\n"
                  "  size_warning = 40MB\n}\n%s",
                  config->profiles == NULL ? "" : config->profiles);
    return fclose(file) == 0 ? 0 : -errno;
}

/* In the child, between fork and exec. */
static _Noreturn void spawn_exec(const struct spawn *spawn, const char *program)
{
    char config[SPAWN_FILE_BYTES];
    char counts[SPAWN_FILE_BYTES];
    char log[SPAWN_FILE_BYTES];
    (void)snprintf(config, sizeof(config), "%s/bulla.conf", spawn->folder);
    (void)snprintf(counts, sizeof(counts), "%s/counts", spawn->folder);
    (void)snprintf(log, sizeof(log), "%s/log", spawn->folder);
    const int fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (fd < 0 || dup2(fd, STDERR_FILENO) < 0 || dup2(fd, STDOUT_FILENO) < 0)
        _exit(126);
    (void)execl(program, program, "--config", config, "--counts", counts, (char *)NULL);
    _exit(127);
}

static void spawn_say_log(const struct spawn *spawn, const char *program,
                          char why[MAILSET_WHY_BYTES])
{
    char path[SPAWN_FILE_BYTES];
    char line[256];
    (void)snprintf(why, MAILSET_WHY_BYTES, "%.200s did not start", program);
    (void)snprintf(path, sizeof(path), "%s/log", spawn->folder);
    FILE *file = fopen(path, "re");
    while (file != NULL && fgets(line, sizeof(line), file) != NULL)
        (void)snprintf(why, MAILSET_WHY_BYTES, "%.*s", (int)strcspn(line, "\n"), line);
    if (file != NULL)
        (void)fclose(file);
}

/* Until it answers, at most SPAWN_START_MS_MAX. */
static int spawn_await(struct spawn *spawn)
{
    struct engine_view *view = malloc(sizeof(*view));
    int rc = view == NULL ? -ENOMEM : -ETIMEDOUT;
    for (uint32_t ms = 0; rc == -ETIMEDOUT && ms < SPAWN_START_MS_MAX; ms += SPAWN_PAUSE_MS) {
        if (waitpid(spawn->pid, NULL, WNOHANG) == spawn->pid) {
            spawn->pid = 0;
            rc = -ECHILD;
        } else if (engine_view_take(view, spawn->socket_path) == 0) {
            rc = 0;
        } else {
            spawn_pause();
        }
    }
    free(view);
    return rc;
}

static int spawn_map_counts(struct spawn *spawn)
{
    char path[SPAWN_FILE_BYTES];
    (void)snprintf(path, sizeof(path), "%s/counts", spawn->folder);
    const int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    void *at = mmap(NULL, sizeof(struct counts_page), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    const int rc = at == MAP_FAILED ? -errno : 0;
    (void)close(fd);
    if (rc == 0)
        spawn->counts = at;
    return rc;
}

/* A build tree keeps it in engine/, anything else beside this program. */
static int spawn_find(char *program, size_t program_bytes)
{
    char folder[2048];
    const int rc = spawn_program_folder(folder, sizeof(folder));
    if (rc != 0)
        return rc;
    (void)snprintf(program, program_bytes, "%s/engine/bulla-bench-engine", folder);
    if (access(program, X_OK) != 0)
        (void)snprintf(program, program_bytes, "%s/bulla-bench-engine", folder);
    return access(program, X_OK) == 0 ? 0 : -errno;
}

int spawn_open(struct spawn **spawn, const struct spawn_config *config, char why[MAILSET_WHY_BYTES])
{
    char program[2048 + 32];
    int rc = spawn_find(program, sizeof(program));
    if (rc != 0) {
        (void)snprintf(why, MAILSET_WHY_BYTES,
                       "bulla-bench-engine is not beside this program: run from a build tree");
        return rc;
    }
    struct spawn *made = calloc(1, sizeof(*made));
    if (made == NULL)
        return -ENOMEM;
    rc = folder_make(made->folder, sizeof(made->folder), "bulla-bench");
    if (rc != 0) {
        (void)snprintf(why, MAILSET_WHY_BYTES, "no folder for this run (%s): set TMPDIR",
                       strerror(-rc));
        free(made);
        return rc;
    }
    (void)snprintf(made->socket_path, sizeof(made->socket_path), "%s/socket", made->folder);
    rc = spawn_write_files(made, config);
    if (rc == 0) {
        made->pid = fork();
        if (made->pid == 0)
            spawn_exec(made, program);
        rc = made->pid < 0 ? -errno : spawn_await(made);
    }
    if (rc == 0)
        rc = spawn_map_counts(made);
    if (rc != 0) {
        spawn_say_log(made, program, why);
        spawn_close(made);
        return rc;
    }
    *spawn = made;
    return 0;
}

void spawn_keys_away(struct spawn *spawn, bool away)
{
    /* Relaxed: nothing else is told by it. */
    atomic_store_explicit(&spawn->counts->keys_away, away ? 1 : 0, memory_order_relaxed);
}

void spawn_halt(const struct spawn *spawn)
{
    /* One that ended instead is left for others to find: it is not waited for here. */
    siginfo_t info;
    if (kill(spawn->pid, SIGSTOP) == 0)
        (void)waitid(P_PID, (id_t)spawn->pid, &info, WSTOPPED | WEXITED | WNOWAIT);
}

void spawn_go_on(const struct spawn *spawn)
{
    (void)kill(spawn->pid, SIGCONT);
}

void spawn_kill(struct spawn *spawn)
{
    if (spawn->pid <= 0)
        return;
    (void)kill(spawn->pid, SIGKILL);
    (void)waitpid(spawn->pid, NULL, 0);
    spawn->pid = 0;
}

void spawn_close(struct spawn *spawn)
{
    if (spawn == NULL)
        return;
    if (spawn->pid > 0) {
        (void)kill(spawn->pid, SIGTERM);
        bool ended = false;
        for (uint32_t ms = 0; !ended && ms < SPAWN_STOP_MS_MAX; ms += SPAWN_PAUSE_MS) {
            ended = waitpid(spawn->pid, NULL, WNOHANG) != 0;
            if (!ended)
                spawn_pause();
        }
        if (!ended) {
            (void)kill(spawn->pid, SIGKILL);
            (void)waitpid(spawn->pid, NULL, 0);
        }
    }
    if (spawn->counts != NULL)
        (void)munmap(spawn->counts, sizeof(*spawn->counts));
    folder_remove(spawn->folder);
    free(spawn);
}
