/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/os/loop_internal.h - what the files of this room know about the loop. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/list.h"
#include "platform/linux/os/loop.h"
#include "platform/linux/os/spin_internal.h"

struct event;
struct event_base;
struct vmt_timer;

/* One read at most; what arrives in one go on a busy socket. */
#define OS_LOOP_SCRATCH (64u * 1024)

/* Timers in a binary heap over one timerfd: libevent's own timers count CLOCK_MONOTONIC,
 * which stands still while the host sleeps. */
struct os_timers {
    struct vmt_clock clock;
    struct event_base *base; /* borrowed */
    struct event *fd_event;  /* owned; pending while the heap is not empty */
    struct event *now_event; /* owned; the next turn, for what is due already */
    struct vmt_timer **heap; /* owned, as are the timers */
    size_t n, cap;
    uint64_t seq;      /* of the last timer made */
    uint64_t armed_ns; /* what timer_fd is set to; 0: not set */
    int timer_fd;      /* owned */
};

struct os_loop {
    struct event_base *base; /* owned */
    struct os_timers timers;
    struct vmt_list signals; /* struct loop_signal, owned */
    bool stopped;
    uint64_t ran;      /* times that a stream had bytes */
    uint64_t quiet_ns; /* since when it had none; CLOCK_MONOTONIC */
    struct os_spin spin;
    int code;
    uint8_t scratch[OS_LOOP_SCRATCH]; /* for the callback that runs; never kept over it */
};

int os_timers_init(struct os_timers *timers, struct event_base *base,
                   struct vmt_err *err);
void os_timers_done(struct os_timers *timers);
