/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/linux/vm_disk/pace.h"

#include <errno.h>
#include <time.h>

#include "platform/linux/os/monotonic.h"

/* Short sleeps are not worth it, and are never exact. */
#define SLEEP_MIN_US 10000u

void
pace_add(struct pace *pace, uint64_t bytes)
{
    const uint64_t now = os_monotonic_us();
    uint64_t due;

    if (!pace->max_rate)
        return;
    if (!pace->since_us)
        pace->since_us = now;
    pace->bytes += bytes;
    due = pace->since_us + (uint64_t)((double)pace->bytes / (double)pace->max_rate * 1e6);
    if (due > now + SLEEP_MIN_US) {
        struct timespec left = {.tv_sec = (time_t)((due - now) / 1000000),
                                .tv_nsec = (long)((due - now) % 1000000 * 1000)};

        while (clock_nanosleep(CLOCK_MONOTONIC, 0, &left, &left) == EINTR) {
        }
    }
}
