/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/vm_vsock/vhost_user.h - the vhost-user protocol, back-end side: one
 * frontend (a VMM) at a time on a listening socket; the next one may come after it left.
 * Source: QEMU 7.2, docs/interop/vhost-user.rst. */
#pragma once

#include <stdint.h>

struct event_base;
struct vhost_user;
struct vmt_err;
struct vsock_device;

/* Accept frontends on fd, owned on success. base and dev are borrowed until free. */
int vhost_user_new(struct event_base *base, int fd, uint32_t guest_cid,
                   struct vsock_device *dev, struct vhost_user **ret_vu,
                   struct vmt_err *err);
void vhost_user_free(struct vhost_user *vu);
