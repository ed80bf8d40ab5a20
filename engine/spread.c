#include "engine/spread.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/macros.h"

#include <stdbool.h>
#include <string.h>

#define SPREAD_ONE      UINT64_C(256)
#define SPREAD_FULL     (NS_PER_S * 7 / 8) /* busier than that is busy: the clients decide */
#define SPREAD_STEP     (NS_PER_S / 64)    /* less of a difference is none                 */
#define SPREAD_LOAD_MIN (NS_PER_S / 32)    /* of a client of which nothing is known        */

void spread_init(struct spread *spread, uint32_t workers_count, uint64_t now_ns)
{
    ASSERT(workers_count > 0);
    ASSERT(workers_count <= CONFIG_WORKERS_MAX);
    memset(spread, 0, sizeof(*spread));
    spread->workers_count = workers_count;
    spread->sampled_ns = now_ns;
}

void spread_note(struct spread *spread, const struct spread_sample *samples, uint64_t now_ns)
{
    const uint64_t passed_ns = now_ns - spread->sampled_ns;
    if (now_ns < spread->sampled_ns || passed_ns < SPREAD_SAMPLE_NS)
        return;
    spread->sampled_ns = now_ns;
    for (uint32_t i = 0; i < spread->workers_count; i++) {
        struct spread_worker *worker = &spread->workers[i];
        const uint64_t busy_ns = samples[i].busy_ns - worker->busy_ns;
        /* In parts of 2^20 first, so that no number of days overflows. */
        const uint64_t rate = MIN(busy_ns, passed_ns) / (passed_ns >> 20) * NS_PER_S >> 20;
        worker->busy_ns = samples[i].busy_ns;
        /* A quarter of what is new comes in, and a quarter of what was assumed goes. */
        worker->load = worker->load - worker->load / 4 + rate / 4;
        worker->fresh -= (worker->fresh + 3) / 4;
    }
}

/* What those that were measured make on average. */
static uint64_t spread_expected(const struct spread *spread)
{
    uint64_t load = 0;
    uint64_t measured = 0; /* in SPREAD_ONE */
    for (uint32_t i = 0; i < spread->workers_count; i++) {
        const struct spread_worker *worker = &spread->workers[i];
        load += worker->load;
        measured += worker->sessions * SPREAD_ONE - worker->fresh;
    }
    if (measured == 0)
        return SPREAD_LOAD_MIN;
    return MIN(MAX(load * SPREAD_ONE / measured, SPREAD_LOAD_MIN), NS_PER_S);
}

static uint64_t spread_steps(const struct spread_worker *worker, uint64_t expected)
{
    const uint64_t load = worker->load + worker->fresh * expected / SPREAD_ONE;
    return MIN(load, SPREAD_FULL) / SPREAD_STEP;
}

uint32_t spread_pick(const struct spread *spread, const struct spread_sample *samples)
{
    const uint64_t expected = spread_expected(spread);
    uint32_t best = 0;
    for (uint32_t i = 1; i < spread->workers_count; i++) {
        const struct spread_worker *one = &spread->workers[i];
        const struct spread_worker *other = &spread->workers[best];
        const uint64_t steps = spread_steps(one, expected);
        const uint64_t other_steps = spread_steps(other, expected);
        const bool fewer =
            one->sessions < other->sessions ||
            (one->sessions == other->sessions && samples[i].jobs < samples[best].jobs);
        if (steps < other_steps || (steps == other_steps && fewer))
            best = i;
    }
    return best;
}

void spread_join(struct spread *spread, uint32_t worker)
{
    ASSERT(worker < spread->workers_count);
    spread->workers[worker].sessions++;
    spread->workers[worker].fresh += SPREAD_ONE;
}

void spread_leave(struct spread *spread, uint32_t worker)
{
    struct spread_worker *from = &spread->workers[worker];
    ASSERT(worker < spread->workers_count);
    ASSERT(from->sessions > 0);
    from->sessions--;
    /* No more of them can be fresh than there are. */
    from->fresh = MIN(from->fresh, from->sessions * SPREAD_ONE);
}
