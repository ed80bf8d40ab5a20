/*
 * counts: what each thread of the bench's engine called that a hot path must not, and a switch.
 * Ownership: counts_open() maps a file that the bench has mapped too; it stays until the end.
 * Threads:   each writes its own entry; the bench reads them all, and throws the switch, at any
 *            time.
 * Units:     calls, records and bytes since the start.
 * Errors:    -errno; a thread beyond COUNTS_THREADS_MAX shares the last entry.
 *
 * Calls are seen that bulla's and DPDK's objects make (the linker's --wrap), not those that shared
 * libraries make among themselves; what these do in the kernel, bench/hotpath counts by ptrace.
 */
#ifndef BENCH_ENGINE_COUNTS_H
#define BENCH_ENGINE_COUNTS_H

#include "base/macros.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define COUNTS_MAGIC       UINT32_C(0x31544e43) /* "CNT1" */
#define COUNTS_THREADS_MAX 288
#define COUNTS_NOT_WORKER  UINT32_MAX

/* One writer, so a load, an add and a store. */
struct counts_thread {
    _Atomic uint32_t tid;
    _Atomic uint32_t worker_index; /* COUNTS_NOT_WORKER until it asks for its first key */
    _Atomic uint64_t allocator_calls;
    _Atomic uint64_t lock_calls;
    _Atomic uint64_t log_calls;
    _Atomic uint64_t key_records; /* acknowledged */
    _Atomic uint64_t key_bytes;
    uint64_t reserved[2];
};
_Static_assert(sizeof(struct counts_thread) == 64, "a line each");

struct counts_page {
    _Atomic uint32_t magic;
    _Atomic uint32_t threads_count;
    _Atomic uint32_t keys_away; /* the bench writes it: the key service answers nothing */
    uint32_t reserved[13];
    struct counts_thread threads[COUNTS_THREADS_MAX];
};

/* Before any other thread is started. */
MUST_USE int counts_open(const char *path);
/* The bench's switch; false without a file. */
bool counts_keys_away(void);
/* The calling thread's. */
struct counts_thread *counts_mine(void);

static inline void counts_add(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n,
                          memory_order_relaxed);
}

#endif
