/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/os/monotonic.h - time that only goes forward, for code that has no
 * struct vmt_clock. */
#pragma once

#include <stdint.h>
#include <time.h>

/* Microseconds of CLOCK_MONOTONIC, which cannot fail on Linux. */
static inline uint64_t
os_monotonic_us(void)
{
    struct timespec ts = {0};

    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

/* The same in milliseconds. */
static inline uint64_t
os_monotonic_ms(void)
{
    return os_monotonic_us() / 1000;
}
