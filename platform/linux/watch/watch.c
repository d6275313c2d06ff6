/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/linux/watch/watch.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/inotify.h>

#include <event2/event.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/log.h"
#include "platform/linux/os/loop.h"
#include "platform/linux/watch/watch_internal.h"

/* How often the machine's sleep is looked for where the kernel does not tell of it. */
#define LOOK_S 10

struct linux_watch {
    struct host_watch base;
    const struct linux_watch_config *config; /* borrowed */
    struct event_base *loop;                 /* borrowed */
    struct watch_files files;
    struct watch_clock clock;
    struct event *files_event, *clock_event, *look; /* owned while watching */
    host_watch_fn *fn;
    void *arg;
};

static const char *const dns_files[] = {"/etc/resolv.conf",
                                        "/run/systemd/resolve/resolv.conf", NULL};
static const char *const zone_files[] = {"/etc/localtime", "/etc/timezone", NULL};
const struct linux_watch_config linux_watch_files = {.dns = dns_files,
                                                     .zone = zone_files};

/* The paths are walked anew before anybody is told: whoever looks then misses nothing. */
static void
on_files(evutil_socket_t fd, short what, void *arg)
{
    struct linux_watch *w = arg;
    bool changed[HOST_CHANGE_COUNT] = {false};

    (void)fd;
    (void)what;
    watch_files_read(&w->files, changed);
    if (!changed[HOST_CHANGE_DNS] && !changed[HOST_CHANGE_ZONE])
        return;
    if (watch_files_set(&w->files, w->config) < 0)
        vmt_log_debug("not every file of the host can be watched");
    for (int i = 0; i < HOST_CHANGE_COUNT && w->fn; i++)
        if (changed[i])
            w->fn(w->arg, (enum host_change)i);
}

static void
on_clock(evutil_socket_t fd, short what, void *arg)
{
    struct linux_watch *w = arg;

    (void)fd;
    (void)what;
    if (watch_clock_changed(&w->clock) && w->fn)
        w->fn(w->arg, HOST_CHANGE_CLOCK);
}

static struct linux_watch *
self_of(struct host_watch *watch)
{
    return VMT_CONTAINER_OF(watch, struct linux_watch, base);
}

static void
drop_event(struct event **event)
{
    if (*event)
        event_free(*event);
    *event = NULL;
}

static void
watch_stop(struct host_watch *watch)
{
    struct linux_watch *w = self_of(watch);

    drop_event(&w->files_event);
    drop_event(&w->clock_event);
    drop_event(&w->look);
    vmt_closep(&w->files.fd);
    vmt_closep(&w->clock.fd);
    w->files.fd = w->clock.fd = -1;
    w->files.n = 0;
    w->fn = NULL;
}

static int
open_all(struct linux_watch *w, struct vmt_err *err)
{
    static const struct timeval look = {.tv_sec = LOOK_S};
    int r = watch_clock_open(&w->clock);

    if (r < 0)
        vmt_log_debug("steps of the clock are not noticed at once");
    w->files.fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (w->files.fd < 0)
        return vmt_err_set(err, errno, "watch files of the host");
    w->files_event = event_new(w->loop, w->files.fd, EV_READ | EV_PERSIST, on_files, w);
    w->look = event_new(w->loop, -1, EV_PERSIST, on_clock, w);
    if (w->clock.fd >= 0)
        w->clock_event =
            event_new(w->loop, w->clock.fd, EV_READ | EV_PERSIST, on_clock, w);
    if (!w->files_event || !w->look || event_add(w->files_event, NULL) < 0 ||
        event_add(w->look, &look) < 0 ||
        (w->clock_event && event_add(w->clock_event, NULL) < 0))
        return vmt_err_set(err, ENOMEM, "watch the host");
    return 0;
}

static int
watch_start(struct host_watch *watch, host_watch_fn *fn, void *arg, struct vmt_err *err)
{
    struct linux_watch *w = self_of(watch);
    int r = open_all(w, err);

    if (r < 0) {
        watch_stop(watch);
        return r;
    }
    w->fn = fn;
    w->arg = arg;
    if (watch_files_set(&w->files, w->config) < 0)
        vmt_log_debug("not every file of the host can be watched");
    return 0;
}

static const struct host_watch_ops ops = {.start = watch_start, .stop = watch_stop};

int
linux_watch_new(struct os_loop *loop, const struct linux_watch_config *config,
                struct host_watch **ret_watch, struct vmt_err *err)
{
    struct linux_watch *w = calloc(1, sizeof(*w));

    if (!w)
        return vmt_err_set(err, ENOMEM, "watch the host");
    w->base.ops = &ops;
    w->loop = os_loop_base(loop);
    w->config = config;
    w->files.fd = w->clock.fd = -1;
    *ret_watch = &w->base;
    return 0;
}

void
linux_watch_free(struct host_watch *watch)
{
    if (!watch)
        return;
    watch_stop(watch);
    free(self_of(watch));
}
