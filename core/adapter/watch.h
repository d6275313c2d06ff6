/* SPDX-License-Identifier: BSD-3-Clause */
/* core/adapter/watch.h - what happens to the host while VMs run. */
#pragma once

#include <stdint.h>

struct host_sleep;
struct host_watch;
struct vmt_err;

enum host_change {
    HOST_CHANGE_DNS = 0, /* what struct host_fact_ops.dns reads */
    HOST_CHANGE_ZONE,    /* what zone reads */
    HOST_CHANGE_CLOCK,   /* the wall clock was set, or the host slept */
    HOST_CHANGE_COUNT
};

/* From the loop. It may come without a change, and once for several. */
typedef void host_watch_fn(void *arg, enum host_change what);

struct host_watch_ops {
    /* Tell fn from now on. arg is borrowed until stop. Returns 0 or -errno. */
    int (*start)(struct host_watch *watch, host_watch_fn *fn, void *arg,
                 struct vmt_err *err);
    void (*stop)(struct host_watch *watch);
};

struct host_watch {
    const struct host_watch_ops *ops;
};

/* Callbacks run from the loop, in turns, never from inside a call. */
struct host_sleep_events {
    /* The host is about to sleep and waits up to budget_ms (0: not at all) for ready. */
    void (*on_prepare)(void *arg, uint32_t budget_ms);
    /* It is awake again, or did not sleep after all. */
    void (*on_wake)(void *arg);
};

struct host_sleep_ops {
    /* Tell events from now on; whether anybody ever announces a sleep is not known. The
     * table and arg are borrowed until stop. */
    void (*start)(struct host_sleep *sleep, const struct host_sleep_events *events,
                  void *arg);
    /* Do not keep the host awake any longer. */
    void (*ready)(struct host_sleep *sleep);
    void (*stop)(struct host_sleep *sleep);
};

struct host_sleep {
    const struct host_sleep_ops *ops;
};
