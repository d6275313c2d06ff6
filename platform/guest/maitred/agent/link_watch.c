/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/guest/maitred/agent/link_watch.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/vm_sockets.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/event.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/log.h"
#include "core/base/str.h"
#include "platform/guest/maitred/init/uevent.h"

#define UEVENT_MAX 8192
#define EVENTS_MAX 64 /* that are read in one turn of the loop */
/* Device 19 of virtio 1.2, 5.10, as Linux spells it: drivers/virtio/virtio.c,
 * virtio_uevent, v6.1. */
#define VSOCK_ALIAS "virtio:d00000013v"

struct link_watch {
    int fd;           /* owned */
    struct event *ev; /* owned */
    link_changed_fn *fn;
    void *arg; /* borrowed */
};

uint32_t
link_cid(void)
{
    VMT_CLEANUP(vmt_closep) int fd = open("/dev/vsock", O_RDONLY | O_CLOEXEC);
    uint32_t cid = LINK_NO_CID;

    if (fd < 0 || ioctl(fd, IOCTL_VM_SOCKETS_GET_LOCAL_CID, &cid) < 0)
        return LINK_NO_CID;
    return cid;
}

enum link_event
link_event_of(const char *event, unsigned long len)
{
    const char *action = uevent_find(event, len, "ACTION");
    const char *alias = uevent_find(event, len, "MODALIAS");

    if (!action || !alias || !vmt_str_has_prefix(alias, VSOCK_ALIAS))
        return LINK_EVENT_OTHER;
    if (vmt_str_has_prefix(action, "bind"))
        return LINK_EVENT_BOUND;
    return vmt_str_has_prefix(action, "unbind") ? LINK_EVENT_UNBOUND : LINK_EVENT_OTHER;
}

static void
on_uevent(evutil_socket_t fd, short what, void *arg)
{
    struct link_watch *w = arg;
    char event[UEVENT_MAX];
    bool changed = false;

    (void)what;
    for (int i = 0; i < EVENTS_MAX; i++) {
        int len = uevent_read(fd, event, sizeof(event));

        if (len < 0 && len != -ENOBUFS)
            break;
        /* Events were lost: look for ourselves. */
        changed |=
            len < 0 || link_event_of(event, (unsigned long)len) != LINK_EVENT_OTHER;
    }
    if (changed)
        w->fn(w->arg, link_cid()); /* may free w */
}

int
link_watch_new(struct event_base *base, link_changed_fn *fn, void *arg,
               struct link_watch **ret_watch, struct vmt_err *err)
{
    struct link_watch *w = calloc(1, sizeof(*w));
    int r;

    if (!w)
        return vmt_err_set(err, ENOMEM, "watch the vsock device");
    *w = (struct link_watch){.fd = -1, .fn = fn, .arg = arg};
    r = uevent_open(&w->fd, err);
    if (r == 0) {
        w->ev = event_new(base, w->fd, EV_READ | EV_PERSIST, on_uevent, w);
        if (!w->ev || event_add(w->ev, NULL) < 0)
            r = vmt_err_set(err, ENOMEM, "watch the vsock device");
    }
    if (r < 0) {
        link_watch_free(w);
        return r;
    }
    *ret_watch = w;
    return 0;
}

void
link_watch_free(struct link_watch *w)
{
    if (!w)
        return;
    if (w->ev)
        event_free(w->ev);
    vmt_closep(&w->fd);
    free(w);
}
