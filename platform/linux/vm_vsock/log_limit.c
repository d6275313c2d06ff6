/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/linux/vm_vsock/log_limit.h"

#include "core/base/log.h"
#include "platform/linux/os/monotonic.h"

#define WINDOW_MS 10000u
#define WINDOW_LINES 8u

bool
log_limit_pass(struct log_limit *limit)
{
    uint64_t now = os_monotonic_ms();

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
