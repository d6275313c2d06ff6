/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/vm_vsock/log_limit.h - a cap on lines that a guest or VMM can cause. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* All zeroes: nothing was logged yet. */
struct log_limit {
    uint64_t window_ms; /* when the current window began */
    unsigned lines;     /* in it */
    unsigned dropped;   /* since the last line */
};

/* Whether one more line may be logged: at most 8 in 10 seconds. Says in a line of its own
 * how many were left out before. */
bool log_limit_pass(struct log_limit *limit);
