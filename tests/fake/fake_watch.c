/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/fake/fake_watch.h"

#include <stddef.h>

#include "core/base/cleanup.h"

static int
watch_start(struct host_watch *watch, host_watch_fn *fn, void *arg, struct vmt_err *err)
{
    struct fake_watch *w = VMT_CONTAINER_OF(watch, struct fake_watch, watch);

    (void)err;
    w->fn = fn;
    w->fn_arg = arg;
    return 0;
}

static void
watch_stop(struct host_watch *watch)
{
    VMT_CONTAINER_OF(watch, struct fake_watch, watch)->fn = NULL;
}

static const struct host_watch_ops watch_ops = {.start = watch_start, .stop = watch_stop};

static void
sleep_start(struct host_sleep *sleep, const struct host_sleep_events *events, void *arg)
{
    struct fake_watch *w = VMT_CONTAINER_OF(sleep, struct fake_watch, sleep);

    w->events = events;
    w->events_arg = arg;
}

static void
sleep_ready(struct host_sleep *sleep)
{
    VMT_CONTAINER_OF(sleep, struct fake_watch, sleep)->readies++;
}

static void
sleep_stop(struct host_sleep *sleep)
{
    VMT_CONTAINER_OF(sleep, struct fake_watch, sleep)->events = NULL;
}

static const struct host_sleep_ops sleep_ops = {
    .start = sleep_start, .ready = sleep_ready, .stop = sleep_stop};

void
fake_watch_init(struct fake_watch *w)
{
    *w = (struct fake_watch){.watch.ops = &watch_ops, .sleep.ops = &sleep_ops};
}

void
fake_watch_change(struct fake_watch *w, enum host_change what)
{
    if (w->fn)
        w->fn(w->fn_arg, what);
}

void
fake_watch_prepare(struct fake_watch *w, uint32_t budget_ms)
{
    if (w->events)
        w->events->on_prepare(w->events_arg, budget_ms);
}

void
fake_watch_wake(struct fake_watch *w)
{
    if (w->events)
        w->events->on_wake(w->events_arg);
}
