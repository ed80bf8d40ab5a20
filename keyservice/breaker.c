#include "keyservice/breaker.h"

#include "base/assert.h"
#include "base/macros.h"

static uint64_t add_bounded(uint64_t a, uint64_t b)
{
    return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

/* No probe is ever due later than this after now, unless the clock was set back. */
static uint64_t breaker_wait_ns_max(const struct breaker *breaker)
{
    const uint64_t asked_ns = add_bounded(BREAKER_ASKED_NS_MAX, breaker->config.pause_ns_max);
    return MAX(asked_ns, breaker->config.probe_ns_min);
}

void breaker_init(struct breaker *breaker, const struct breaker_config *config)
{
    ASSERT(config->pause_ns_min > 0);
    ASSERT(config->pause_ns_max >= config->pause_ns_min);
    *breaker = (struct breaker){
        .config = *config, .state = BREAKER_CLOSED, .pause_ns = config->pause_ns_min};
}

bool breaker_is_closed(const struct breaker *breaker)
{
    return breaker->state == BREAKER_CLOSED;
}

bool breaker_allows(struct breaker *breaker, uint64_t now_ns)
{
    switch (breaker->state) {
    case BREAKER_CLOSED: return true;
    case BREAKER_PROBING: return false;
    case BREAKER_OPEN: break;
    }
    breaker->due_ns = MIN(breaker->due_ns, add_bounded(now_ns, breaker_wait_ns_max(breaker)));
    return now_ns >= breaker->due_ns;
}

void breaker_begin(struct breaker *breaker, uint64_t now_ns)
{
    ASSERT(breaker->state != BREAKER_PROBING);
    if (breaker->state == BREAKER_CLOSED)
        return;
    breaker->state = BREAKER_PROBING;
    breaker->has_probed = true;
    breaker->probed_ns = now_ns;
}

void breaker_answered(struct breaker *breaker)
{
    breaker->state = BREAKER_CLOSED;
    breaker->pause_ns = breaker->config.pause_ns_min;
}

void breaker_failed(struct breaker *breaker, uint64_t now_ns, uint64_t asked_ns, uint64_t random)
{
    const uint64_t asked = add_bounded(now_ns, MIN(asked_ns, BREAKER_ASKED_NS_MAX));
    if (breaker->state == BREAKER_OPEN) {
        if (asked_ns > 0)
            breaker->due_ns = MAX(breaker->due_ns, asked);
        return;
    }
    breaker->state = BREAKER_OPEN;
    breaker->due_ns = add_bounded(asked, random % breaker->pause_ns);
    breaker->pause_ns =
        MIN(add_bounded(breaker->pause_ns, breaker->pause_ns), breaker->config.pause_ns_max);
    if (breaker->has_probed) {
        /* After a step back of the clock the last probe lies ahead: then it counts as now. */
        const uint64_t probed_ns = MIN(breaker->probed_ns, now_ns);
        breaker->due_ns =
            MAX(breaker->due_ns, add_bounded(probed_ns, breaker->config.probe_ns_min));
    }
}

uint64_t breaker_due_ns(const struct breaker *breaker)
{
    ASSERT(breaker->state != BREAKER_PROBING);
    return breaker->state == BREAKER_CLOSED ? 0 : breaker->due_ns;
}
