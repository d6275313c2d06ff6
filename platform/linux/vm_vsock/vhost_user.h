/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/vm_vsock/vhost_user.h - the vhost-user protocol, back-end side, on one
 * connection.
 *
 * That is the channel of a keeper, which hands the VMM's messages on (see keeper.h). When
 * the keeper goes away, the connection to the VMM itself takes its place, so that the VM
 * does not notice. Unless the VMM had a message with the keeper at that moment: what the
 * keeper read, in whole or in part, and had not answered is lost. A VMM that waits for
 * the answer waits on, and after part of a message the stream is out of step.
 * Source: QEMU 7.2, docs/interop/vhost-user.rst. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct event_base;
struct vhost_user;
struct vmt_err;
struct vsock_device;

/* What is not the device's. Called from inside vhost_user's own events. */
struct vhost_user_owner {
    /* The keeper said hello, and how often a worker before us ended. */
    void (*on_hello)(void *arg, uint64_t restarts);
    /* A VMM begins, after vsock_device_detach; resume as in VHOST_PRIVATE_BEGIN. */
    void (*on_begin)(void *arg, bool resume);
    /* Accept programs of the host. Returns 0 or -errno. */
    int (*on_serve)(void *arg, struct vmt_err *err);
    /* Nobody is left to serve. The last call. */
    void (*on_end)(void *arg);
    void *arg;
};

/* Serve on fd, owned on success; kept: a keeper is at its other end, else a VMM. base,
 * dev and owner are borrowed until free. */
int vhost_user_new(struct event_base *base, int fd, bool kept, uint32_t guest_cid,
                   struct vsock_device *dev, struct vhost_user **ret_vu,
                   struct vmt_err *err);
void vhost_user_set_owner(struct vhost_user *vu, const struct vhost_user_owner *owner);
void vhost_user_free(struct vhost_user *vu);
