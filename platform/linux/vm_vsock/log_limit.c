/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/linux/vm_vsock/log_limit.h"

#include <time.h>

#include "core/base/log.h"

#define WINDOW_MS 10000u
#define WINDOW_LINES 8u

static uint64_t
now_ms(void)
{
    struct timespec ts = {0};

    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

bool
log_limit_pass(struct log_limit *limit)
{
    uint64_t now = now_ms();

    if (!limit->window_ms || now - limit->window_ms >= WINDOW_MS) {
        limit->window_ms = now;
        limit->lines = 0;
    }
    if (limit->lines == WINDOW_LINES) {
        limit->dropped++;
        return false;
    }
    limit->lines++;
    if (limit->dropped)
        vmt_log_warning("left out %u messages", limit->dropped);
    limit->dropped = 0;
    return true;
}
