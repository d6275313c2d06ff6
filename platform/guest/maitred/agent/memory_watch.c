/* SPDX-License-Identifier: BSD-3-Clause */
/* Sources: Linux v6.1, Documentation/admin-guide/cgroup-v2.rst (memory.events, which is
 * announced as a modified file), Documentation/accounting/psi.rst, mm/vmstat.c (oom_kill
 * in /proc/vmstat). */
#include "platform/guest/maitred/agent/memory_watch.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <event2/event.h>

#include "core/adapter/clock.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/str.h"
#include "platform/guest/maitred/init/cgroup.h"
#include "platform/guest/maitred/init/file.h"
#include "platform/guest/maitred/proc/group.h"
#include "platform/guest/maitred/proc/table.h"
#include "platform/linux/os/loop.h"

#define PRESSURE_FILE "/proc/pressure/memory"
/* Some program waited 150 ms within a second: the thrashing has begun. */
#define PRESSURE_TRIGGER "some 150000 1000000"
#define PRESSURE_QUIET_MS 10000u
/* The averages of the file lag behind: the waiting is measured for so long. */
#define PRESSURE_MEASURE_MS 2000u
#define VMSTAT_BYTES_MAX 65536
/* The counter in memory.events rises before the dying process is gone, and several die
 * one after the other: one look for all of them. */
#define LOOK_MS 100u

/* Microseconds that programs waited, since the boot. */
struct pressure {
    uint64_t some_us, full_us;
};

struct memory_watch {
    struct memory_watch_config config;
    int inotify;               /* owned; -1: no memory controller */
    int pressure;              /* owned; -1: no PSI */
    int epoll;                 /* owned: of pressure, which libevent cannot watch */
    struct event *events[2];   /* owned; of inotify and epoll */
    struct vmt_timer *look;    /* owned by the clock */
    struct vmt_timer *measure; /* owned by the clock: of the pressure */
    struct pressure before;    /* when that began */
    uint64_t killed;           /* in all, when we looked last */
    uint64_t pressure_ms;      /* when it was told last; 0: never */
    uint64_t seen_in_groups;   /* since the last look, in groups of ours */
    bool is_first;             /* of all looks: what was before us is no news */
};

static uint64_t
count_all(void)
{
    VMT_CLEANUP(vmt_freep) char *text = NULL;
    const char *at;

    if (file_read("/proc/vmstat", VMSTAT_BYTES_MAX, &text) < 0)
        return 0;
    at = strstr(text, "\noom_kill ");
    return at ? strtoull(at + strlen("\noom_kill "), NULL, 10) : 0;
}

/* A proc_group_fn. */
static void
look_at_group(void *arg, const char *group, int cgroup, uint64_t *note)
{
    struct memory_watch *w = arg;
    uint64_t now = group_count(cgroup, "memory.events", "oom_kill");

    if (now > *note && !w->is_first) {
        w->seen_in_groups += now - *note;
        w->config.on_killed(w->config.arg, group, now - *note);
    }
    *note = now;
}

static void
look(struct memory_watch *w)
{
    uint64_t all = count_all();

    proc_table_each_group(w->config.procs, look_at_group, w);
    if (all > w->killed + w->seen_in_groups && !w->is_first)
        w->config.on_killed(w->config.arg, "", all - w->killed - w->seen_in_groups);
    w->killed = all;
    w->seen_in_groups = 0;
    w->is_first = false;
}

static void
on_look(void *arg)
{
    struct memory_watch *w = arg;

    w->look = NULL;
    look(w);
}

static void
look_soon(struct memory_watch *w)
{
    struct vmt_clock *clock = os_loop_clock(w->config.loop);

    if (!w->look && clock->ops->timer_start(clock, LOOK_MS, on_look, w, &w->look) < 0)
        look(w);
}

static void
on_modified(evutil_socket_t fd, short what, void *arg)
{
    char events[4096];

    (void)what;
    while (read(fd, events, sizeof(events)) > 0)
        ;
    look_soon(arg);
}

/* The microseconds of waiting that a line of the file has, since the boot. */
static uint64_t
total_of(const char *text, const char *line)
{
    const char *at = strstr(text, line);

    at = at ? strstr(at, "total=") : NULL;
    return at ? strtoull(at + strlen("total="), NULL, 10) : 0;
}

static void
read_pressure(struct pressure *ret)
{
    VMT_CLEANUP(vmt_freep) char *text = NULL;

    *ret = (struct pressure){.some_us = 0};
    if (file_read(PRESSURE_FILE, VMSTAT_BYTES_MAX, &text) < 0)
        return;
    ret->some_us = total_of(text, "some");
    ret->full_us = total_of(text, "full");
}

static unsigned
permille(uint64_t before_us, uint64_t after_us, uint64_t time_ms)
{
    uint64_t waited_us = after_us > before_us ? after_us - before_us : 0;
    uint64_t n = time_ms ? waited_us / time_ms : 0;

    return n > 1000 ? 1000 : (unsigned)n;
}

static void
on_measured(void *arg)
{
    struct memory_watch *w = arg;
    struct vmt_clock *clock = os_loop_clock(w->config.loop);
    uint64_t time_ms = clock->ops->now_ms(clock) - w->pressure_ms;
    struct pressure now;

    w->measure = NULL;
    read_pressure(&now);
    w->config.on_pressure(w->config.arg,
                          permille(w->before.some_us, now.some_us, time_ms),
                          permille(w->before.full_us, now.full_us, time_ms));
}

static void
on_pressure(evutil_socket_t fd, short what, void *arg)
{
    struct memory_watch *w = arg;
    struct vmt_clock *clock = os_loop_clock(w->config.loop);
    uint64_t now = clock->ops->now_ms(clock);
    struct epoll_event event;

    (void)what;
    (void)epoll_wait(fd, &event, 1, 0);
    look_soon(w); /* containers have groups that we do not know */
    if (w->measure || (w->pressure_ms && now - w->pressure_ms < PRESSURE_QUIET_MS))
        return;
    w->pressure_ms = now;
    read_pressure(&w->before);
    (void)clock->ops->timer_start(clock, PRESSURE_MEASURE_MS, on_measured, w,
                                  &w->measure);
}

static int
watch_fd(struct memory_watch *w, int fd, event_callback_fn fn, struct event **ret)
{
    *ret = event_new(os_loop_base(w->config.loop), fd, EV_READ | EV_PERSIST, fn, w);
    return *ret && event_add(*ret, NULL) == 0 ? 0 : -ENOMEM;
}

/* The counter of the common group holds those of all below it. */
static int
watch_groups(struct memory_watch *w)
{
    w->inotify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (w->inotify < 0)
        return -errno;
    if (inotify_add_watch(w->inotify, CGROUP_GUEST "/memory.events", IN_MODIFY) < 0)
        return 0; /* no memory controller: in the boot report, if it should be there */
    return watch_fd(w, w->inotify, on_modified, &w->events[0]);
}

static int
watch_pressure(struct memory_watch *w)
{
    struct epoll_event event = {.events = EPOLLPRI};

    w->pressure = open(PRESSURE_FILE, O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (w->pressure < 0 ||
        write(w->pressure, PRESSURE_TRIGGER, strlen(PRESSURE_TRIGGER) + 1) < 0)
        return 0; /* psi=0, the default of some distributions */
    w->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (w->epoll < 0 || epoll_ctl(w->epoll, EPOLL_CTL_ADD, w->pressure, &event) < 0)
        return -errno;
    return watch_fd(w, w->epoll, on_pressure, &w->events[1]);
}

int
memory_watch_new(const struct memory_watch_config *config,
                 struct memory_watch **ret_watch, struct vmt_err *err)
{
    struct memory_watch *w = calloc(1, sizeof(*w));
    int r;

    if (!w)
        return vmt_err_set(err, ENOMEM, "watch the memory");
    *w = (struct memory_watch){
        .config = *config, .inotify = -1, .pressure = -1, .epoll = -1, .is_first = true};
    r = watch_groups(w);
    if (r == 0)
        r = watch_pressure(w);
    if (r < 0) {
        memory_watch_free(w);
        return vmt_err_set(err, -r, "watch the memory");
    }
    look(w);
    config->procs->on_group_over = look_at_group;
    config->procs->group_arg = w;
    *ret_watch = w;
    return 0;
}

void
memory_watch_free(struct memory_watch *w)
{
    struct vmt_clock *clock;

    if (!w)
        return;
    w->config.procs->on_group_over = NULL;
    clock = os_loop_clock(w->config.loop);
    clock->ops->timer_cancel(clock, w->look);
    clock->ops->timer_cancel(clock, w->measure);
    for (size_t i = 0; i < VMT_ARRAY_SIZE(w->events); i++)
        if (w->events[i])
            event_free(w->events[i]);
    vmt_closep(&w->epoll);
    vmt_closep(&w->pressure);
    vmt_closep(&w->inotify);
    free(w);
}
