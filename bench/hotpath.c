#include "bench/hotpath.h"

#include "base/assert.h"
#include "base/clock.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#define HOTPATH_PAUSE_MS    1
#define HOTPATH_START_MS    2000
#define HOTPATH_TRAPS_MAX   64 /* stops handled between two looks at the flag */
#define HOTPATH_SYSCALL_SIG (SIGTRAP | 0x80)

enum hotpath_phase {
    HOTPATH_STARTING,
    HOTPATH_TRACING,
    HOTPATH_REFUSED,
    HOTPATH_STOPPING,
};

/* Shared with the tracing process. */
struct hotpath_shared {
    _Atomic uint32_t phase;
    _Atomic uint64_t stops;
    _Atomic uint32_t by_number[HOTPATH_SYSCALLS_MAX];
};

struct hotpath {
    const struct counts_thread *thread;
    pid_t engine_pid;
    pid_t tracer_pid;
    pid_t tid;
    struct hotpath_shared *shared;
    struct hotpath_counts before;
};

static void hotpath_read_proc(struct hotpath *hotpath, struct hotpath_counts *counts)
{
    char path[64];
    char line[1024];
    (void)snprintf(path, sizeof(path), "/proc/%d/task/%d/stat", (int)hotpath->engine_pid,
                   (int)hotpath->tid);
    FILE *file = fopen(path, "re");
    if (file != NULL && fgets(line, sizeof(line), file) != NULL) {
        const char *end = strrchr(line, ')'); /* fields from the third on follow */
        unsigned long long minor;
        unsigned long long major;
        if (end != NULL &&
            sscanf(end + 1, " %*c %*d %*d %*d %*d %*d %*u %llu %*u %llu", &minor, &major) == 2) {
            counts->minor_faults = minor;
            counts->major_faults = major;
        }
    }
    if (file != NULL)
        (void)fclose(file);
    (void)snprintf(path, sizeof(path), "/proc/%d/task/%d/status", (int)hotpath->engine_pid,
                   (int)hotpath->tid);
    file = fopen(path, "re");
    while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
        unsigned long long number;
        if (sscanf(line, "voluntary_ctxt_switches: %llu", &number) == 1)
            counts->voluntary_switches = number;
        if (sscanf(line, "nonvoluntary_ctxt_switches: %llu", &number) == 1)
            counts->involuntary_switches = number;
    }
    if (file != NULL)
        (void)fclose(file);
}

static void hotpath_read(struct hotpath *hotpath, struct hotpath_counts *counts)
{
    const struct counts_thread *thread = hotpath->thread;
    memset(counts, 0, sizeof(*counts));
    counts->messages = atomic_load_explicit(&thread->key_records, memory_order_relaxed);
    counts->allocator_calls = atomic_load_explicit(&thread->allocator_calls, memory_order_relaxed);
    counts->lock_calls = atomic_load_explicit(&thread->lock_calls, memory_order_relaxed);
    counts->log_calls = atomic_load_explicit(&thread->log_calls, memory_order_relaxed);
    hotpath_read_proc(hotpath, counts);
}

/* One stop of the traced thread: a system call's beginning or end, or a signal. */
static void hotpath_handle(struct hotpath *hotpath, int status)
{
    struct hotpath_shared *shared = hotpath->shared;
    long signal_on = 0;
    if (WSTOPSIG(status) == HOTPATH_SYSCALL_SIG) {
        struct user_regs_struct registers;
        (void)atomic_fetch_add_explicit(&shared->stops, 1, memory_order_relaxed);
        if (ptrace(PTRACE_GETREGS, hotpath->tid, NULL, &registers) == 0 &&
            registers.orig_rax < HOTPATH_SYSCALLS_MAX)
            (void)atomic_fetch_add_explicit(&shared->by_number[registers.orig_rax], 1,
                                            memory_order_relaxed);
    } else if (status >> 16 == 0) {
        signal_on = WSTOPSIG(status);
    }
    (void)ptrace(PTRACE_SYSCALL, hotpath->tid, NULL, signal_on);
}

/* The tracing process. */
static _Noreturn void hotpath_trace(struct hotpath *hotpath)
{
    struct hotpath_shared *shared = hotpath->shared;
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (ptrace(PTRACE_SEIZE, hotpath->tid, NULL, (long)PTRACE_O_TRACESYSGOOD) != 0 ||
        ptrace(PTRACE_INTERRUPT, hotpath->tid, NULL, NULL) != 0) {
        atomic_store_explicit(&shared->phase, HOTPATH_REFUSED, memory_order_release);
        _exit(1);
    }
    bool told = false;
    int status;
    while (atomic_load_explicit(&shared->phase, memory_order_acquire) != HOTPATH_STOPPING) {
        uint32_t stops = 0;
        while (stops < HOTPATH_TRAPS_MAX &&
               waitpid(hotpath->tid, &status, __WALL | WNOHANG) == hotpath->tid) {
            if (!WIFSTOPPED(status))
                _exit(0);
            hotpath_handle(hotpath, status);
            stops++;
        }
        if (!told && stops > 0) {
            told = true;
            atomic_store_explicit(&shared->phase, HOTPATH_TRACING, memory_order_release);
        }
        if (stops == 0)
            (void)poll(NULL, 0, HOTPATH_PAUSE_MS);
    }
    if (ptrace(PTRACE_INTERRUPT, hotpath->tid, NULL, NULL) == 0)
        (void)waitpid(hotpath->tid, &status, __WALL);
    (void)ptrace(PTRACE_DETACH, hotpath->tid, NULL, NULL);
    _exit(0);
}

static const struct counts_thread *hotpath_worker(const struct spawn *engine)
{
    const uint32_t count =
        MIN(atomic_load_explicit(&engine->counts->threads_count, memory_order_acquire),
            (uint32_t)COUNTS_THREADS_MAX);
    for (uint32_t i = 0; i < count; i++) {
        const struct counts_thread *thread = &engine->counts->threads[i];
        if (atomic_load_explicit(&thread->tid, memory_order_acquire) != 0 &&
            atomic_load_explicit(&thread->worker_index, memory_order_relaxed) == 0)
            return thread;
    }
    return NULL;
}

int hotpath_start(struct hotpath **hotpath, const struct spawn *engine, char why[MAILSET_WHY_BYTES])
{
    struct hotpath *made = calloc(1, sizeof(*made));
    if (made == NULL)
        return -ENOMEM;
    made->thread = hotpath_worker(engine);
    if (made->thread == NULL) {
        (void)snprintf(why, MAILSET_WHY_BYTES, "the worker has not sealed anything yet");
        free(made);
        return -EAGAIN;
    }
    made->engine_pid = engine->pid;
    made->tid = (pid_t)atomic_load_explicit(&made->thread->tid, memory_order_acquire);
    made->shared = mmap(NULL, sizeof(*made->shared), PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (made->shared == MAP_FAILED) {
        free(made);
        return -ENOMEM;
    }
    made->tracer_pid = fork();
    if (made->tracer_pid == 0)
        hotpath_trace(made);
    if (made->tracer_pid > 0)
        for (uint32_t ms = 0; ms < HOTPATH_START_MS; ms += HOTPATH_PAUSE_MS) {
            if (atomic_load_explicit(&made->shared->phase, memory_order_acquire) !=
                HOTPATH_STARTING)
                break;
            (void)poll(NULL, 0, HOTPATH_PAUSE_MS);
        }
    hotpath_read(made, &made->before);
    *hotpath = made;
    return 0;
}

void hotpath_stop(struct hotpath *hotpath, struct hotpath_counts *counts)
{
    struct hotpath_shared *shared = hotpath->shared;
    const struct hotpath_counts *before = &hotpath->before;
    hotpath_read(hotpath, counts);
    counts->messages -= before->messages;
    counts->allocator_calls -= before->allocator_calls;
    counts->lock_calls -= before->lock_calls;
    counts->log_calls -= before->log_calls;
    counts->minor_faults -= before->minor_faults;
    counts->major_faults -= before->major_faults;
    counts->voluntary_switches -= before->voluntary_switches;
    counts->involuntary_switches -= before->involuntary_switches;
    /* A call stops the thread twice, at its beginning and at its end. */
    counts->system_calls = (atomic_load_explicit(&shared->stops, memory_order_relaxed) + 1) / 2;
    for (uint32_t i = 0; i < HOTPATH_SYSCALLS_MAX; i++)
        counts->system_calls_by_number[i] =
            (atomic_load_explicit(&shared->by_number[i], memory_order_relaxed) + 1) / 2;
    counts->traced = atomic_load_explicit(&shared->phase, memory_order_acquire) == HOTPATH_TRACING;
    atomic_store_explicit(&shared->phase, HOTPATH_STOPPING, memory_order_release);
    if (hotpath->tracer_pid > 0)
        (void)waitpid(hotpath->tracer_pid, NULL, 0);
    (void)munmap(shared, sizeof(*shared));
    free(hotpath);
}

uint64_t hotpath_preemptions(const struct spawn *engine)
{
    struct hotpath_counts counts = {.messages = 0};
    struct hotpath hotpath = {.thread = hotpath_worker(engine), .engine_pid = engine->pid};
    if (hotpath.thread == NULL)
        return 0;
    hotpath.tid = (pid_t)atomic_load_explicit(&hotpath.thread->tid, memory_order_acquire);
    hotpath_read_proc(&hotpath, &counts);
    return counts.involuntary_switches;
}
