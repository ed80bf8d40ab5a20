#include "bench/machine.h"

#include "base/assert.h"
#include "bench/process.h"
#include "bench/spawn.h"
#include "crypto/isa.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#define MACHINE_TEXT_BYTES 256
#define MACHINE_NICE       (-15)

/* What follows `name` and its colon in a file such as /proc/cpuinfo. */
static void machine_line(const char *path, const char *name, char text[MACHINE_TEXT_BYTES])
{
    char line[MACHINE_TEXT_BYTES];
    FILE *file = fopen(path, "re");
    (void)snprintf(text, MACHINE_TEXT_BYTES, "unknown");
    while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
        if (strncmp(line, name, strlen(name)) != 0)
            continue;
        const char *from = name[0] == '\0' ? line : strchr(line, ':');
        if (from == NULL)
            continue;
        from += strspn(from, ": \t");
        (void)snprintf(text, MACHINE_TEXT_BYTES, "%.*s", (int)strcspn(from, "\n"), from);
        break;
    }
    if (file != NULL)
        (void)fclose(file);
}

static json_t *machine_commit(void)
{
    static const char *const head[] = {"git",         "-C",          BULLA_SOURCE_DIR,
                                       "describe",    "--always",    "--dirty",
                                       "--abbrev=12", "--exclude=*", NULL};
    char text[MACHINE_TEXT_BYTES] = "";
    if (!spawn_in_build_tree() || process_run(head, NULL, 10, text, sizeof(text)) != 0)
        return json_string("unknown");
    text[strcspn(text, "\n")] = '\0';
    return json_string(text);
}

static const char *machine_compiler(void)
{
#if defined(__clang__)
    return "clang " __VERSION__;
#else
    return "gcc " __VERSION__;
#endif
}

static const char *machine_build(void)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    return "sanitizer";
#elif defined(__OPTIMIZE__)
    return "optimised";
#else
    return "debug";
#endif
}

json_t *machine_json(void)
{
    struct utsname name;
    double load[1] = {0};
    char processor[MACHINE_TEXT_BYTES];
    char cache[MACHINE_TEXT_BYTES];
    char memory[MACHINE_TEXT_BYTES];
    char huge[MACHINE_TEXT_BYTES];
    char thp[MACHINE_TEXT_BYTES];
    char shmem[MACHINE_TEXT_BYTES];
    machine_line("/proc/cpuinfo", "model name", processor);
    machine_line("/proc/cpuinfo", "cache size", cache);
    machine_line("/proc/meminfo", "MemTotal", memory);
    machine_line("/proc/meminfo", "HugePages_Total", huge);
    machine_line("/sys/kernel/mm/transparent_hugepage/enabled", "", thp);
    machine_line("/sys/kernel/mm/transparent_hugepage/shmem_enabled", "", shmem);
    (void)uname(&name);
    (void)!getloadavg(load, 1);
    return json_pack("{s:s, s:I, s:s, s:I, s:s, s:s, s:s, s:s, s:I, s:s, s:s, s:s, s:o, s:i, s:f}",
                     "processor", processor, "cores", (json_int_t)sysconf(_SC_NPROCESSORS_ONLN),
                     "cache", cache, "memory_kib", (json_int_t)strtoll(memory, NULL, 10), "kernel",
                     name.release, "architecture", name.machine, "isa", isa_name(isa_best()),
                     "compiler", machine_compiler(), "hugepages_2mib",
                     (json_int_t)strtoll(huge, NULL, 10), "transparent_hugepages", thp,
                     "transparent_hugepages_shmem", shmem, "build", machine_build(), "commit",
                     machine_commit(), "nice", getpriority(PRIO_PROCESS, 0), "load_average",
                     load[0]);
}

double machine_shared_huge_mib(void)
{
    char text[MACHINE_TEXT_BYTES];
    machine_line("/proc/self/smaps_rollup", "ShmemPmdMapped", text);
    return (double)strtoull(text, NULL, 10) / 1024;
}

/* True when `cpu` shares its core with one of the workers', or is one. */
static bool machine_beside_worker(size_t cpu, const uint32_t *worker_cpus, uint32_t workers_count)
{
    char path[128];
    char text[MACHINE_TEXT_BYTES];
    (void)snprintf(path, sizeof(path),
                   "/sys/devices/system/cpu/cpu%zu/topology/thread_siblings_list", cpu);
    machine_line(path, "", text);
    for (uint32_t i = 0; i < workers_count; i++) {
        if (worker_cpus[i] == cpu)
            return true;
        for (const char *at = text; *at != '\0';) { /* "0,4" or "0-1" */
            char *end;
            const unsigned long first = strtoul(at, &end, 10);
            if (end == at)
                break;
            const unsigned long last = *end == '-' ? strtoul(end + 1, &end, 10) : first;
            if (worker_cpus[i] >= first && worker_cpus[i] <= last)
                return true;
            at = *end == ',' ? end + 1 : end;
        }
    }
    return false;
}

static bool machine_is_worker(size_t cpu, const uint32_t *worker_cpus, uint32_t workers_count)
{
    for (uint32_t i = 0; i < workers_count; i++)
        if (worker_cpus[i] == cpu)
            return true;
    return false;
}

void machine_unpin(void)
{
    static cpu_set_t before;
    static bool known;
    if (!known)
        known = sched_getaffinity(0, sizeof(before), &before) == 0;
    if (known)
        (void)sched_setaffinity(0, sizeof(before), &before);
}

int machine_pin(const uint32_t *worker_cpus, uint32_t workers_count, int cpu)
{
    cpu_set_t allowed;
    cpu_set_t one;
    size_t chosen = cpu < 0 ? CPU_SETSIZE : (size_t)cpu;
    machine_unpin();
    if (sched_getaffinity(0, sizeof(allowed), &allowed) != 0)
        return -1;
    for (size_t i = 0; chosen == CPU_SETSIZE && i < CPU_SETSIZE; i++)
        if (CPU_ISSET(i, &allowed) && !machine_beside_worker(i, worker_cpus, workers_count))
            chosen = i;
    for (size_t i = 0; chosen == CPU_SETSIZE && i < CPU_SETSIZE; i++)
        if (CPU_ISSET(i, &allowed) && !machine_is_worker(i, worker_cpus, workers_count))
            chosen = i;
    if (chosen == CPU_SETSIZE)
        return -1;
    CPU_ZERO(&one);
    CPU_SET(chosen, &one);
    return sched_setaffinity(0, sizeof(one), &one) == 0 ? (int)chosen : -1;
}

bool machine_has_cores(uint32_t cores_count)
{
    cpu_set_t allowed;
    uint32_t cores[MACHINE_CORES_MAX];
    uint32_t found_count = 0;
    ASSERT(cores_count <= MACHINE_CORES_MAX);
    machine_unpin();
    if (sched_getaffinity(0, sizeof(allowed), &allowed) != 0)
        return false;
    for (size_t i = 0; i < CPU_SETSIZE && found_count < cores_count; i++)
        if (CPU_ISSET(i, &allowed) && !machine_beside_worker(i, cores, found_count))
            cores[found_count++] = (uint32_t)i;
    return found_count == cores_count;
}

void machine_go_first(void)
{
    if (setpriority(PRIO_PROCESS, 0, MACHINE_NICE) != 0)
        (void)fprintf(stderr, "bulla-bench: --priority: %s\n", strerror(errno));
}

void machine_go_along(void)
{
    if (getpriority(PRIO_PROCESS, 0) < 0)
        (void)setpriority(PRIO_PROCESS, 0, 0);
}
