/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/guest/maitred/agent/link_watch.h - the vsock device, our link to the host, may
 * come, go, and come again with another context id. */
#pragma once

#include <stdint.h>

struct event_base;
struct link_watch;
struct vmt_err;

/* No device: VMADDR_CID_ANY. */
#define LINK_NO_CID UINT32_MAX

/* Runs from the loop: the device is there now and we are cid, or it is gone and cid is
 * LINK_NO_CID. A device that went and came between two looks is told as there, again. */
typedef void link_changed_fn(void *arg, uint32_t cid);

/* Tell of changes from now on. */
int link_watch_new(struct event_base *base, link_changed_fn *fn, void *arg,
                   struct link_watch **ret_watch, struct vmt_err *err);
void link_watch_free(struct link_watch *w); /* NULL is legal */

/* Our own context id now, LINK_NO_CID without a device. */
uint32_t link_cid(void);

enum link_event {
    LINK_EVENT_OTHER,
    LINK_EVENT_BOUND,   /* a driver took a vsock device */
    LINK_EVENT_UNBOUND, /* it lost it */
};

/* What a device event (init/uevent.h) of len bytes says about vsock devices. */
enum link_event link_event_of(const char *event, unsigned long len);
