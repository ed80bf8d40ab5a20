#include "base/clock.h"

#include "base/assert.h"

#include <time.h>

static uint64_t clock_read_ns(clockid_t clock_id)
{
    struct timespec now;
    const int rc = clock_gettime(clock_id, &now);
    ASSERT(rc == 0);
    return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

uint64_t clock_monotonic_ns(void)
{
    return clock_read_ns(CLOCK_MONOTONIC);
}

uint64_t clock_unix_ns(void)
{
    return clock_read_ns(CLOCK_REALTIME);
}
