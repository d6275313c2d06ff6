/* SPDX-License-Identifier: BSD-3-Clause */
/* core/adapter/clock.h - time and timers, as core sees them. */
#pragma once

#include <stdint.h>

struct vmt_clock;
struct vmt_timer;

/* Runs once, from the loop, never from inside vmt_timer_start. The timer is gone when it
 * runs: the callback drops its pointer and does not cancel it. */
typedef void vmt_timer_fn(void *arg);

struct vmt_clock_ops {
    /* Milliseconds and microseconds of a monotonic clock that counts from some fixed
     * point. */
    uint64_t (*now_ms)(struct vmt_clock *clock);
    uint64_t (*now_us)(struct vmt_clock *clock);
    /* Seconds and nanoseconds since 1970-01-01 UTC. */
    void (*wall)(struct vmt_clock *clock, int64_t *ret_sec, int32_t *ret_nsec);
    /* Run fn(arg) after delay_ms; 0 means on the next turn of the loop. arg is borrowed
     * until fn ran or the timer is cancelled. Returns 0 or -ENOMEM. */
    int (*timer_start)(struct vmt_clock *clock, uint64_t delay_ms, vmt_timer_fn *fn,
                       void *arg, struct vmt_timer **ret_timer);
    /* fn will not run any more. timer may be NULL. */
    void (*timer_cancel)(struct vmt_clock *clock, struct vmt_timer *timer);
};

struct vmt_clock {
    const struct vmt_clock_ops *ops;
};
