/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/fake/fake_watch.h - a host that changes and sleeps when the test says so. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "core/adapter/watch.h"

/* All zeroes but the tables, by fake_watch_init. */
struct fake_watch {
    struct host_watch watch;
    struct host_sleep sleep;
    host_watch_fn *fn;
    void *fn_arg;
    const struct host_sleep_events *events;
    void *events_arg;
    unsigned readies; /* calls of ready, ever */
};

void fake_watch_init(struct fake_watch *w);
/* Nothing happens while nobody watches. Called from the test, which is the loop. */
void fake_watch_change(struct fake_watch *w, enum host_change what);
void fake_watch_prepare(struct fake_watch *w, uint32_t budget_ms);
void fake_watch_wake(struct fake_watch *w);
