/*
 * machine: on what a bench ran, so that its figures can be compared with another's.
 * Ownership: machine_json() gives a new reference.
 * Threads:   one.
 * Units:     in the names.
 * Errors:    what cannot be found out is "unknown" or 0.
 */
#ifndef BENCH_MACHINE_H
#define BENCH_MACHINE_H

#include "base/macros.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#define MACHINE_CORES_MAX 16

json_t *machine_json(void);

/* Memory that this process shares with others and has mapped in huge pages: of a client, what it
 * shares with its engines. */
double machine_shared_huge_mib(void);

/* Pins the caller to a processor: `cpu`, or with -1 the first that is neither a worker's nor shares
 * a core with one. The processor, or -1 when all are workers': then nothing was done. */
int machine_pin(const uint32_t *worker_cpus, uint32_t workers_count, int cpu);

/* Takes pinning back: to the processors that this process had at first. What it starts inherits. */
void machine_unpin(void);
/* False where this process may use fewer cores than that; hyperthreads of one core are one. */
bool machine_has_cores(uint32_t cores_count);

/* --priority: nice -15, which what is started later inherits. Says so where it may not. */
void machine_go_first(void);
/* Takes that back for this process: it shares its processor with what it measures. */
void machine_go_along(void);

#endif
