/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/fake/fake_clock.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "core/base/list.h"

/* More in one instant is a chain of zero delays that feeds itself. */
#define FAKE_CLOCK_RUNAWAY 10000000u

struct fake_clock {
    struct vmt_clock base;
    struct vmt_list timers; /* struct vmt_timer by due_ms, equals by start; owned */
    size_t n;
    uint64_t now_ms;
    int64_t wall_offset_ms; /* wall minus now */
};

struct vmt_timer {
    struct vmt_list node;
    uint64_t due_ms;
    vmt_timer_fn *fn;
    void *arg; /* borrowed */
};

static struct fake_clock *
self_of(struct vmt_clock *clock)
{
    return VMT_CONTAINER_OF(clock, struct fake_clock, base);
}

static struct vmt_timer *
timer_of(struct vmt_list *node)
{
    return VMT_CONTAINER_OF(node, struct vmt_timer, node);
}

static uint64_t
fake_now_ms(struct vmt_clock *clock)
{
    return self_of(clock)->now_ms;
}

static uint64_t
fake_now_us(struct vmt_clock *clock)
{
    return self_of(clock)->now_ms * 1000;
}

static void
fake_wall(struct vmt_clock *clock, int64_t *ret_sec, int32_t *ret_nsec)
{
    struct fake_clock *c = self_of(clock);
    int64_t ms = (int64_t)c->now_ms + c->wall_offset_ms;

    *ret_sec = ms / 1000;
    *ret_nsec = (int32_t)(ms % 1000) * 1000000;
}

static int
fake_timer_start(struct vmt_clock *clock, uint64_t delay_ms, vmt_timer_fn *fn, void *arg,
                 struct vmt_timer **ret_timer)
{
    struct fake_clock *c = self_of(clock);
    struct vmt_timer *timer = calloc(1, sizeof(*timer));
    struct vmt_list *after = c->timers.prev;

    if (!timer)
        return -ENOMEM;
    timer->due_ms = delay_ms < UINT64_MAX - c->now_ms ? c->now_ms + delay_ms : UINT64_MAX;
    timer->fn = fn;
    timer->arg = arg;
    while (after != &c->timers && timer_of(after)->due_ms > timer->due_ms)
        after = after->prev;
    /* Appending to the list that begins at the next node puts it before that node. */
    vmt_list_append(after->next, &timer->node);
    c->n++;
    *ret_timer = timer;
    return 0;
}

static void
fake_timer_cancel(struct vmt_clock *clock, struct vmt_timer *timer)
{
    if (!timer)
        return;
    vmt_list_remove(&timer->node);
    self_of(clock)->n--;
    free(timer);
}

static const struct vmt_clock_ops fake_clock_ops = {
    .now_ms = fake_now_ms,
    .now_us = fake_now_us,
    .wall = fake_wall,
    .timer_start = fake_timer_start,
    .timer_cancel = fake_timer_cancel,
};

struct fake_clock *
fake_clock_new(void)
{
    struct fake_clock *c = calloc(1, sizeof(*c));

    if (!c)
        return NULL;
    c->base.ops = &fake_clock_ops;
    c->now_ms = 1000;
    vmt_list_init(&c->timers);
    fake_clock_set_wall(c, 1700000000);
    return c;
}

void
fake_clock_free(struct fake_clock *c)
{
    if (!c)
        return;
    VMT_LIST_FOREACH(node, next, &c->timers)
    fake_timer_cancel(&c->base, timer_of(node));
    free(c);
}

void
fake_clock_sleep(struct fake_clock *c, uint64_t ms)
{
    c->now_ms += ms;
    VMT_LIST_FOREACH(node, next, &c->timers)
    {
        struct vmt_timer *timer = timer_of(node);

        if (timer->due_ms < c->now_ms)
            timer->due_ms = c->now_ms;
    }
}

struct vmt_clock *
fake_clock_base(struct fake_clock *c)
{
    return &c->base;
}

/* Run the first timer if it is due at until_ms at the latest. */
static bool
run_first(struct fake_clock *c, uint64_t until_ms)
{
    struct vmt_timer *timer;

    if (vmt_list_empty(&c->timers))
        return false;
    timer = timer_of(c->timers.next);
    if (timer->due_ms > until_ms)
        return false;
    if (timer->due_ms > c->now_ms)
        c->now_ms = timer->due_ms;
    vmt_list_remove(&timer->node);
    c->n--;
    timer->fn(timer->arg);
    free(timer);
    return true;
}

void
fake_clock_advance(struct fake_clock *c, uint64_t ms)
{
    uint64_t until_ms = c->now_ms + ms;
    unsigned runs = 0;

    while (run_first(c, until_ms))
        assert(++runs < FAKE_CLOCK_RUNAWAY);
    c->now_ms = until_ms;
}

bool
fake_clock_run_until(struct fake_clock *c, const bool *done, uint64_t max_ms)
{
    uint64_t until_ms = c->now_ms + max_ms;
    unsigned runs = 0;

    while (!*done && run_first(c, until_ms))
        assert(++runs < FAKE_CLOCK_RUNAWAY);
    return *done;
}

size_t
fake_clock_pending(const struct fake_clock *c)
{
    return c->n;
}

uint64_t
fake_clock_next_ms(const struct fake_clock *c)
{
    uint64_t due_ms;

    if (vmt_list_empty(&c->timers))
        return UINT64_MAX;
    due_ms = timer_of(c->timers.next)->due_ms;
    return due_ms > c->now_ms ? due_ms - c->now_ms : 0;
}

void
fake_clock_set_wall(struct fake_clock *c, int64_t sec)
{
    c->wall_offset_ms = sec * 1000 - (int64_t)c->now_ms;
}
