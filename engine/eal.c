#include "engine/eal.h"

#include "base/assert.h"
#include "base/kept.h"
#include "engine/node.h"

#include <errno.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define EAL_ARGS_MAX     20
#define EAL_LCORES_BYTES 8192
#define EAL_PAGE_BYTES   4096
#define EAL_HUGEPAGE_KIB 2048
#define EAL_OWN_MIB      32 /* EAL's own heap: its tables */

struct eal_node {
    uint32_t node;
    int socket;
    void *memory; /* NULL with hugepages */
    size_t bytes;
    char heap[16];
};

static struct {
    bool open;
    bool hugepages;
    struct eal_node nodes[PLACEMENT_NODES_MAX];
    uint32_t nodes_count;
} eal;

static uint64_t eal_count_read(const char *path)
{
    unsigned long long count = 0;
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return 0;
    if (fscanf(file, "%llu", &count) != 1)
        count = 0;
    (void)fclose(file);
    return count;
}

/* Free 2 MiB hugepages of a node. The kernel counts those as free that others have mapped and not
 * yet touched; of which node these are it does not say, so they count against each. */
static uint64_t eal_hugepages_free(uint32_t node)
{
    char path[128];
    (void)snprintf(path, sizeof(path),
                   "/sys/devices/system/node/node%u/hugepages/hugepages-%ukB/free_hugepages", node,
                   EAL_HUGEPAGE_KIB);
    const uint64_t free_count = eal_count_read(path);
    (void)snprintf(path, sizeof(path), "/sys/kernel/mm/hugepages/hugepages-%ukB/resv_hugepages",
                   EAL_HUGEPAGE_KIB);
    const uint64_t reserved_count = eal_count_read(path);
    return free_count > reserved_count ? free_count - reserved_count : 0;
}

static bool eal_hugepages_suffice(const struct eal_config *config)
{
    const uint64_t pages =
        (config->node_bytes + ((uint64_t)EAL_OWN_MIB << 20)) / (EAL_HUGEPAGE_KIB << 10);
    for (uint32_t i = 0; i < config->placement->nodes_count; i++) {
        if (eal_hugepages_free(config->placement->nodes[i].memory_node) < pages + 1)
            return false;
    }
    return true;
}

/* "0@(0,3),1@1,2@2": control floats over the rest, each worker is bound to its processor. */
static int eal_lcores(char *text, size_t room, const struct placement *placement)
{
    size_t used = (size_t)snprintf(text, room, "--lcores=0@(");
    for (uint32_t i = 0; i < placement->rest_count && used < room; i++)
        used += (size_t)snprintf(text + used, room - used, "%s%u", i == 0 ? "" : ",",
                                 placement->rest[i]);
    if (used < room)
        used += (size_t)snprintf(text + used, room - used, ")");
    for (uint32_t i = 0; i < placement->workers_count && used < room; i++)
        used +=
            (size_t)snprintf(text + used, room - used, ",%u@%u", i + 1, placement->workers[i].cpu);
    return used < room ? 0 : -E2BIG;
}

static int eal_init(const struct eal_config *config)
{
    static char lcores[EAL_LCORES_BYTES];
    static char memory[32];
    static char program[] = "bullad";
    static char common[][40] = {"--no-pci", "--iova-mode=va", "--file-prefix=bulla"};
    static char huge[][40] = {"--in-memory", "--single-file-segments"};
    static char small[][40] = {"--no-huge", "--no-shconf"};
    static char quiet[] = "--log-level=*:error";
    char *args[EAL_ARGS_MAX] = {program};
    int args_count = 1;
    const int rc = eal_lcores(lcores, sizeof(lcores), config->placement);
    if (rc != 0)
        return rc;
    for (size_t i = 0; i < ARRAY_COUNT(common); i++)
        args[args_count++] = common[i];
    for (size_t i = 0; i < 2; i++)
        args[args_count++] = eal.hugepages ? huge[i] : small[i];
    if (!eal.hugepages) {
        (void)snprintf(memory, sizeof(memory), "-m%u", EAL_OWN_MIB);
        args[args_count++] = memory;
    }
    if (!config->verbose)
        args[args_count++] = quiet;
    args[args_count++] = lcores;
    return rte_eal_init(args_count, args) < 0 ? -rte_errno : 0;
}

/* Memory of our own for one node: left out of cores, touched now, added as a heap. */
static int eal_add_heap(struct eal_node *node, const struct placement_node *place, size_t bytes)
{
    struct node_stay stay;
    node->bytes = (bytes + EAL_PAGE_BYTES - 1) / EAL_PAGE_BYTES * EAL_PAGE_BYTES;
    void *memory =
        mmap(NULL, node->bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return -errno;
    node->memory = memory;
    (void)madvise(memory, node->bytes, MADV_DONTDUMP);
    node_enter(&stay, place);
    memset(memory, 0, node->bytes);
    kept_stay(memory, node->bytes);
    node_leave(&stay);
    (void)snprintf(node->heap, sizeof(node->heap), "bulla%u", node->node);
    if (rte_malloc_heap_create(node->heap) != 0 ||
        rte_malloc_heap_memory_add(node->heap, memory, node->bytes, NULL, 0, EAL_PAGE_BYTES) != 0)
        return -rte_errno;
    node->socket = rte_malloc_heap_get_socket(node->heap);
    return node->socket < 0 ? -rte_errno : 0;
}

static int eal_add_nodes(const struct eal_config *config)
{
    for (uint32_t i = 0; i < config->placement->nodes_count; i++) {
        const struct placement_node *place = &config->placement->nodes[i];
        struct eal_node *node = &eal.nodes[eal.nodes_count++];
        *node = (struct eal_node){.node = place->node, .socket = (int)place->memory_node};
        const int rc = eal.hugepages ? 0 : eal_add_heap(node, place, config->node_bytes);
        if (rc != 0)
            return rc;
    }
    return 0;
}

int eal_open(const struct eal_config *config, char why[EAL_WHY_BYTES])
{
    ASSERT(!eal.open);
    const bool suffice = eal_hugepages_suffice(config);
    if (config->hugepages == CONFIG_HUGEPAGES_ON && !suffice) {
        (void)snprintf(why, EAL_WHY_BYTES,
                       "hugepages = on, but a node has fewer than %zu MiB of them free; raise "
                       "vm.nr_hugepages or set hugepages = auto",
                       (config->node_bytes >> 20) + EAL_OWN_MIB);
        return -ENOMEM;
    }
    eal.hugepages = suffice && config->hugepages != CONFIG_HUGEPAGES_OFF;
    /* EAL puts its telemetry socket below this folder, for root too. */
    if (setenv("RUNTIME_DIRECTORY", config->runtime_dir, 1) != 0 ||
        setenv("XDG_RUNTIME_DIR", config->runtime_dir, 1) != 0)
        return -errno;
    int rc = eal_init(config);
    if (rc != 0) {
        (void)snprintf(
            why, EAL_WHY_BYTES,
            "DPDK's environment cannot start (%s); log_level = debug shows its own words",
            strerror(-rc));
        return rc;
    }
    eal.open = true;
    rc = eal_add_nodes(config);
    if (rc != 0) {
        (void)snprintf(why, EAL_WHY_BYTES, "%zu MiB cannot be had on each NUMA node (%s)",
                       config->node_bytes >> 20, strerror(-rc));
        eal_close();
    }
    return rc;
}

void eal_close(void)
{
    if (!eal.open)
        return;
    eal.open = false;
    (void)rte_eal_cleanup();
    /* The heaps' memory goes with the process: the telemetry thread has no end before that, and
     * may be looking at a counter. */
    eal.nodes_count = 0;
}

bool eal_uses_hugepages(void)
{
    return eal.hugepages;
}

static int eal_socket(uint32_t node)
{
    for (uint32_t i = 0; i < eal.nodes_count; i++) {
        if (eal.nodes[i].node == node)
            return eal.nodes[i].socket;
    }
    return eal.nodes[0].socket;
}

/* Whole pages: rte_malloc's own words stand between two pieces, so one more is used up. */
size_t eal_bytes(size_t bytes)
{
    return (bytes + 2 * EAL_PAGE_BYTES - 1) / EAL_PAGE_BYTES * EAL_PAGE_BYTES;
}

void *eal_alloc(uint32_t node, size_t bytes)
{
    ASSERT(eal.open);
    return rte_zmalloc_socket("bulla", eal_bytes(bytes) - EAL_PAGE_BYTES, EAL_PAGE_BYTES,
                              eal_socket(node));
}
