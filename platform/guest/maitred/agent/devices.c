/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/guest/maitred/agent/devices.h"

#include <errno.h>
#include <limits.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/event.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/log.h"
#include "core/base/str.h"
#include "platform/guest/maitred/agent/agent.h"
#include "platform/guest/maitred/agent/drivers.h"
#include "platform/guest/maitred/init/file.h"
#include "platform/guest/maitred/init/uevent.h"
#include "platform/guest/maitred/proc/worker.h"
#include "platform/guest/maitred/rpc/netlink.h"
#include "platform/linux/os/loop.h"

#define UEVENT_MAX 8192
#define EVENTS_MAX 64 /* that are read in one turn of the loop */
#define BOOT_EVENTS_MAX 4096
#define DISKS_TIMEOUT_MS 20000u
#define ONLINE_TIMEOUT_MS 20000u /* the kernel waits 10 s for a processor */
/* Source: Linux 6.1, Documentation/admin-guide/mm/memory-hotplug.rst. */
#define MEMORY_POLICY "/sys/devices/system/memory/auto_online_blocks"

struct devices {
    struct agent *agent;     /* borrowed */
    int fd;                  /* owned */
    struct event *ev;        /* owned */
    struct drivers *drivers; /* owned */
    bool booted;             /* what comes now was plugged in */
    bool is_looking;         /* a worker looks at the disks */
    bool again;              /* they changed meanwhile */
};

const char *
devices_new_card(const char *event, size_t len)
{
    const char *subsystem = uevent_find(event, len, "SUBSYSTEM");
    const char *path = uevent_find(event, len, "DEVPATH");

    if (!vmt_str_has_prefix(event, "add@") || !subsystem || !path ||
        strcmp(subsystem, "net") != 0 ||
        vmt_str_has_prefix(path, "/devices/virtual/")) /* bridges and the like */
        return NULL;
    return uevent_find(event, len, "INTERFACE");
}

static void look_at_disks(struct devices *d);

/* A worker_fn. */
static int
do_link_disks(void *arg, struct vmt_err *err)
{
    (void)arg;
    return devices_link_disks("/sys/block", DEVICES_BY_ID, err);
}

/* A worker_done_fn. */
static void
on_disks_linked(void *arg, int status, const struct vmt_err *err)
{
    struct agent *agent = arg;
    struct devices *d = agent->devices;

    if (status < 0)
        vmt_log_warning("names of disks: %s", vmt_err_text(err));
    if (!d)
        return;
    d->is_looking = false;
    if (d->again)
        look_at_disks(d);
}

static void
look_at_disks(struct devices *d)
{
    const struct worker_spec spec = {.fn = do_link_disks,
                                     .timeout_ms = DISKS_TIMEOUT_MS,
                                     .on_done = on_disks_linked,
                                     .arg = d->agent};
    struct vmt_err err;

    d->again = d->is_looking;
    if (d->is_looking)
        return;
    d->is_looking = worker_start(&d->agent->procs, &spec, &err) == 0;
    if (!d->is_looking)
        vmt_log_warning("names of disks: %s", err.msg);
}

static void
on_block(struct devices *d, const char *event, size_t len)
{
    (void)event;
    (void)len;
    look_at_disks(d);
}

/* A worker_fn. */
static int
do_online(void *arg, struct vmt_err *err)
{
    const char *path = arg;
    int r = file_write(path, "1");

    return r < 0 ? vmt_err_set(err, -r, "%s", path) : 0;
}

/* A worker_done_fn. */
static void
on_online(void *arg, int status, const struct vmt_err *err)
{
    (void)arg;
    if (status < 0)
        vmt_log_warning("a processor does not come up: %s", vmt_err_text(err));
    else
        vmt_log_notice("a processor was plugged in");
}

static void
on_cpu(struct devices *d, const char *event, size_t len)
{
    const char *device = uevent_find(event, len, "DEVPATH");
    char path[PATH_MAX];
    const struct worker_spec spec = {.fn = do_online,
                                     .fn_arg = path,
                                     .timeout_ms = ONLINE_TIMEOUT_MS,
                                     .on_done = on_online,
                                     .arg = d};
    struct vmt_err err;

    if (!vmt_str_has_prefix(event, "add@") || !device ||
        snprintf(path, sizeof(path), "/sys%s/online", device) >= PATH_MAX)
        return;
    if (worker_start(&d->agent->procs, &spec, &err) < 0)
        vmt_log_warning("a processor does not come up: %s", err.msg);
}

/* Up is all: routers give it addresses, the host or the user others. */
static void
on_net(struct devices *d, const char *event, size_t len)
{
    VMT_CLEANUP(vmt_closep) int fd = -1;
    const char *name = devices_new_card(event, len);
    unsigned ifindex = name && d->booted ? if_nametoindex(name) : 0;
    struct vmt_err err;

    if (ifindex == 0)
        return;
    if (netlink_open(&fd, &err) < 0 || netlink_link_up(fd, (int)ifindex, &err) < 0)
        vmt_log_warning("%s was plugged in and stays down: %s", name, err.msg);
    else
        vmt_log_notice("%s was plugged in", name);
}

static const struct {
    const char *subsystem;
    void (*fn)(struct devices *d, const char *event, size_t len);
} handlers[] = {
    {"block", on_block},
    {"cpu", on_cpu},
    {"net", on_net},
};

/* A proc_start_fn. */
static void
on_modprobe(void *arg, int r, const struct vmt_err *err)
{
    (void)arg;
    if (r < 0)
        vmt_log_debug("no driver: %s", vmt_err_text(err));
}

/* A drivers_load_fn: as udev does for a device. */
static void
load_driver(void *arg, const char *modalias)
{
    struct devices *d = arg;
    char modprobe[] = "modprobe", quiet[] = "-q", end[] = "--";
    char *const argv[] = {modprobe, quiet, end, (char *)(uintptr_t)modalias, NULL};
    const struct proc_spec spec = {.argv = argv, .on_start = on_modprobe};
    struct vmt_err err;

    if (proc_start(&d->agent->procs, &spec, NULL, &err) < 0)
        vmt_log_debug("no driver for %s: %s", modalias, err.msg);
}

static void
handle(struct devices *d, const char *event, size_t len)
{
    const char *subsystem = uevent_find(event, len, "SUBSYSTEM");

    for (size_t i = 0; subsystem && i < VMT_ARRAY_SIZE(handlers); i++)
        if (strcmp(subsystem, handlers[i].subsystem) == 0)
            handlers[i].fn(d, event, len);
    if (d->booted)
        drivers_event(d->drivers, event, len);
}

static void
take_events(struct devices *d, int max)
{
    char event[UEVENT_MAX];

    for (int i = 0; i < max; i++) {
        int len = uevent_read(d->fd, event, sizeof(event));

        if (len < 0 && len != -ENOBUFS)
            return;
        if (len < 0) /* events were lost: disks at least can be looked for */
            look_at_disks(d);
        else if (len > 0)
            handle(d, event, (size_t)len);
    }
}

static void
on_uevent(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    take_events(arg, EVENTS_MAX);
}

int
devices_new(struct agent *agent, struct devices **ret_devices, struct vmt_err *err)
{
    struct devices *d = calloc(1, sizeof(*d));
    struct drivers_config config;
    int r;

    if (!d)
        return vmt_err_set(err, ENOMEM, "watch devices");
    *d = (struct devices){.agent = agent, .fd = -1};
    config = (struct drivers_config){
        .clock = agent->clock, .sys = "/sys", .load = load_driver, .arg = d};
    r = uevent_open(&d->fd, err);
    if (r == 0 && drivers_new(&config, &d->drivers) < 0)
        r = vmt_err_set(err, ENOMEM, "watch devices");
    if (r == 0) {
        d->ev = event_new(os_loop_base(agent->loop), d->fd, EV_READ | EV_PERSIST,
                          on_uevent, d);
        if (!d->ev || event_add(d->ev, NULL) < 0)
            r = vmt_err_set(err, ENOMEM, "watch devices");
    }
    if (r < 0) {
        devices_free(d);
        return r;
    }
    (void)file_write(MEMORY_POLICY, "online"); /* not every kernel takes memory */
    look_at_disks(d);
    *ret_devices = d;
    return 0;
}

void
devices_booted(struct devices *d)
{
    take_events(d, BOOT_EVENTS_MAX);
    d->booted = true;
}

void
devices_free(struct devices *d)
{
    if (!d)
        return;
    if (d->ev)
        event_free(d->ev);
    drivers_free(d->drivers);
    vmt_closep(&d->fd);
    free(d);
}
