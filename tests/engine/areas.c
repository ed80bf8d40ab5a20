#include "tests/engine/areas.h"

#include "ipc/channel_internal.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void areas_add(struct areas *areas, const char *name, const void *at, size_t bytes)
{
    assert_true(areas->count < AREAS_MAX);
    assert_non_null(at);
    areas->area[areas->count++] = (struct area){.name = name, .at = at, .bytes = bytes};
}

static void areas_add_ring(struct areas *areas, const char *name, const struct rte_ring *ring,
                           uint32_t item_bytes)
{
    const ssize_t bytes = rte_ring_get_memsize_elem(item_bytes, ring->size);
    assert_true(bytes > 0);
    areas_add(areas, name, ring, (size_t)bytes);
}

static void areas_add_clients(struct areas *areas, const struct worker *worker)
{
    for (uint32_t n = 0; n < worker->live_count; n++) {
        const struct channel *channel = worker->clients[worker->live[n]].channel;
        areas_add(areas, "channel", channel, channel->mapped_bytes);
        areas_add(areas, "gaps", channel->arena.gaps, channel->arena.gaps_bytes);
        areas_add(areas, "arena", channel->engine_memfd.at, channel->engine_memfd.bytes);
    }
}

void areas_read(struct areas *areas, const struct worker *worker)
{
    const uint32_t jobs_count = worker->config.jobs_count;
    areas->count = 0;
    areas_add(areas, "worker", worker, sizeof(*worker));
    areas_add(areas, "jobs", worker->jobs, jobs_count * sizeof(*worker->jobs));
    areas_add(areas, "jobs_free", worker->jobs_free, jobs_count * sizeof(*worker->jobs_free));
    areas_add(areas, "clients", worker->clients, WORKER_CLIENTS_MAX * sizeof(*worker->clients));
    areas_add_ring(areas, "orders", worker->orders, sizeof(struct worker_order));
    areas_add_ring(areas, "notices", worker->notices, sizeof(struct worker_notice));
    for (uint32_t k = 0; k < worker->config.key_services_count; k++) {
        const struct key_link *link = &worker->keys[k].link;
        areas_add_ring(areas, "requests", link->requests, sizeof(struct key_request));
        areas_add_ring(areas, "verdicts", link->verdicts, sizeof(struct key_verdict));
    }
    areas_add(areas, "secrets", worker->secrets, sizeof(*worker->secrets));
    areas_add(areas, "records", worker->records, (size_t)jobs_count * WORKER_RECORD_BYTES);
    areas_add(areas, "sealers", worker->sealers, worker->sealer_stride * WORKER_SEALERS);
    areas_add(areas, "scratch", worker->scratch, sealer_scratch_bytes());
    areas_add(areas, "core", worker->core, 1); /* how large they are, they keep to themselves */
    areas_add(areas, "wait", worker->wait, 1);
    areas_add_clients(areas, worker);
}
