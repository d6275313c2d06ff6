/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/os/timers.c - struct vmt_clock over CLOCK_BOOTTIME and one timerfd. */
#include <errno.h>
#include <stdlib.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include <event2/event.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "platform/linux/os/loop_internal.h"

#define NS_PER_MS 1000000u
#define NS_PER_SEC 1000000000u
/* A century; far beyond any deadline, and no sum below overflows. */
#define DELAY_MAX_MS (100ull * 366 * 24 * 3600 * 1000)

struct vmt_timer {
    uint64_t due_ns;
    uint64_t seq; /* order among equals */
    size_t index; /* place in the heap */
    vmt_timer_fn *fn;
    void *arg; /* borrowed */
};

static uint64_t
now_ns(void)
{
    struct timespec ts;

    (void)clock_gettime(CLOCK_BOOTTIME, &ts);
    return (uint64_t)ts.tv_sec * NS_PER_SEC + (uint64_t)ts.tv_nsec;
}

static bool
timer_before(const struct vmt_timer *a, const struct vmt_timer *b)
{
    return a->due_ns != b->due_ns ? a->due_ns < b->due_ns : a->seq < b->seq;
}

static void
heap_place(struct os_timers *timers, size_t index, struct vmt_timer *timer)
{
    timers->heap[index] = timer;
    timer->index = index;
}

static void
heap_up(struct os_timers *timers, size_t i, struct vmt_timer *timer)
{
    while (i > 0 && timer_before(timer, timers->heap[(i - 1) / 2])) {
        heap_place(timers, i, timers->heap[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    heap_place(timers, i, timer);
}

static void
heap_down(struct os_timers *timers, size_t i, struct vmt_timer *timer)
{
    for (;;) {
        size_t child = 2 * i + 1;

        if (child + 1 < timers->n &&
            timer_before(timers->heap[child + 1], timers->heap[child]))
            child++;
        if (child >= timers->n || !timer_before(timers->heap[child], timer))
            break;
        heap_place(timers, i, timers->heap[child]);
        i = child;
    }
    heap_place(timers, i, timer);
}

static int
heap_push(struct os_timers *timers, struct vmt_timer *timer)
{
    if (timers->n == timers->cap) {
        size_t cap = timers->cap ? 2 * timers->cap : 16;
        struct vmt_timer **grown =
            reallocarray(timers->heap, cap, sizeof(struct vmt_timer *));

        if (!grown)
            return -ENOMEM;
        timers->heap = grown;
        timers->cap = cap;
    }
    heap_up(timers, timers->n++, timer);
    return 0;
}

static void
heap_remove(struct os_timers *timers, struct vmt_timer *timer)
{
    size_t i = timer->index;
    struct vmt_timer *last = timers->heap[--timers->n];

    if (last == timer)
        return;
    if (i > 0 && timer_before(last, timers->heap[(i - 1) / 2]))
        heap_up(timers, i, last);
    else
        heap_down(timers, i, last);
}

/* Make the loop wake up in time for the first timer. An alarm that is too early stays: a
 * wake-up in vain is cheaper than a system call for each cancelled timer. */
static void
timers_arm(struct os_timers *timers, uint64_t now)
{
    struct itimerspec spec = {0};
    uint64_t due;

    if (timers->n == 0) {
        (void)event_del(timers->fd_event);
        (void)event_del(timers->now_event);
        return;
    }
    due = timers->heap[0]->due_ns;
    if (due <= now) {
        /* A timeout of zero rather than event_active: descriptors get their turn first.
         */
        (void)event_add(timers->now_event, &(struct timeval){0});
        return;
    }
    if (!timers->armed_ns || due < timers->armed_ns) {
        spec.it_value.tv_sec = (time_t)(due / NS_PER_SEC);
        spec.it_value.tv_nsec = (long)(due % NS_PER_SEC);
        (void)timerfd_settime(timers->timer_fd, TFD_TIMER_ABSTIME, &spec, NULL);
        timers->armed_ns = due;
    }
    if (!event_pending(timers->fd_event, EV_READ, NULL))
        (void)event_add(timers->fd_event, NULL);
}

static void
timers_run(evutil_socket_t fd, short what, void *arg)
{
    struct os_timers *timers = arg;
    uint64_t now = now_ns(), last = timers->seq, count;

    (void)fd;
    (void)what;
    if (timers->armed_ns && timers->armed_ns <= now) {
        (void)!read(timers->timer_fd, &count, sizeof(count));
        timers->armed_ns = 0;
    }
    /* What these callbacks start waits for the next turn, or a chain of zero delays would
     * keep everything else out. */
    while (timers->n > 0 && timers->heap[0]->due_ns <= now &&
           timers->heap[0]->seq <= last) {
        VMT_CLEANUP(vmt_freep) struct vmt_timer *timer = timers->heap[0];

        heap_remove(timers, timer);
        timer->fn(timer->arg);
    }
    timers_arm(timers, now_ns());
}

static uint64_t
clock_now_ms(struct vmt_clock *clock)
{
    (void)clock;
    return now_ns() / NS_PER_MS;
}

static uint64_t
clock_now_us(struct vmt_clock *clock)
{
    (void)clock;
    return now_ns() / 1000;
}

static void
clock_wall(struct vmt_clock *clock, int64_t *ret_sec, int32_t *ret_nsec)
{
    struct timespec ts;

    (void)clock;
    (void)clock_gettime(CLOCK_REALTIME, &ts);
    *ret_sec = ts.tv_sec;
    *ret_nsec = (int32_t)ts.tv_nsec;
}

static int
clock_timer_start(struct vmt_clock *clock, uint64_t delay_ms, vmt_timer_fn *fn, void *arg,
                  struct vmt_timer **ret_timer)
{
    struct os_timers *timers = VMT_CONTAINER_OF(clock, struct os_timers, clock);
    VMT_CLEANUP(vmt_freep) struct vmt_timer *timer = calloc(1, sizeof(*timer));
    uint64_t now = now_ns();
    int r;

    if (!timer)
        return -ENOMEM;
    if (delay_ms > DELAY_MAX_MS)
        delay_ms = DELAY_MAX_MS;
    timer->due_ns = now + delay_ms * NS_PER_MS;
    timer->seq = ++timers->seq;
    timer->fn = fn;
    timer->arg = arg;
    r = heap_push(timers, timer);
    if (r < 0)
        return r;
    if (timer->index == 0)
        timers_arm(timers, now);
    *ret_timer = vmt_take_ptr(&timer);
    return 0;
}

static void
clock_timer_cancel(struct vmt_clock *clock, struct vmt_timer *timer)
{
    struct os_timers *timers = VMT_CONTAINER_OF(clock, struct os_timers, clock);

    if (!timer)
        return;
    heap_remove(timers, timer);
    free(timer);
    if (timers->n == 0)
        timers_arm(timers, 0);
}

static const struct vmt_clock_ops clock_ops = {
    .now_ms = clock_now_ms,
    .now_us = clock_now_us,
    .wall = clock_wall,
    .timer_start = clock_timer_start,
    .timer_cancel = clock_timer_cancel,
};

int
os_timers_init(struct os_timers *timers, struct event_base *base, struct vmt_err *err)
{
    timers->clock.ops = &clock_ops;
    timers->base = base;
    timers->timer_fd = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK);
    if (timers->timer_fd < 0)
        return vmt_err_set(err, errno, "make a timer");
    timers->fd_event =
        event_new(base, timers->timer_fd, EV_READ | EV_PERSIST, timers_run, timers);
    timers->now_event = evtimer_new(base, timers_run, timers);
    if (!timers->fd_event || !timers->now_event)
        return vmt_err_set(err, ENOMEM, "make a timer");
    return 0;
}

void
os_timers_done(struct os_timers *timers)
{
    if (timers->fd_event)
        event_free(timers->fd_event);
    if (timers->now_event)
        event_free(timers->now_event);
    for (size_t i = 0; i < timers->n; i++)
        free(timers->heap[i]);
    free(timers->heap);
    vmt_closep(&timers->timer_fd);
}
