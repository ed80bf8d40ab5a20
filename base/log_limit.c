#include "base/log_limit.h"

#include "base/clock.h"

bool log_limit_admits(struct log_limit *limit, uint64_t now_ns)
{
    const uint64_t second = now_ns / NS_PER_S;
    if (second != limit->second) {
        limit->second = second;
        limit->lines_count = 0;
    }
    if (limit->lines_count < LOG_LIMIT_LINES_MAX) {
        limit->lines_count++;
        return true;
    }
    if (limit->left_out_count < UINT32_MAX)
        limit->left_out_count++;
    return false;
}

uint32_t log_limit_left_out(struct log_limit *limit, uint64_t now_ns)
{
    if (limit->left_out_count == 0 || now_ns / NS_PER_S == limit->second)
        return 0;
    const uint32_t count = limit->left_out_count;
    limit->left_out_count = 0;
    return count;
}
