/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/vm_vsock/vhost_user_internal.h - shared by vhost_user.c (the connection)
 * and requests.c (what messages do). */
#pragma once

#include "platform/linux/vm_vsock/channel.h"
#include "platform/linux/vm_vsock/log_limit.h"
#include "platform/linux/vm_vsock/vhost_user.h"

struct event;

struct vhost_user {
    struct event_base *base; /* borrowed */
    struct vsock_device *dev;
    const struct vhost_user_owner *owner; /* borrowed; NULL: none */
    uint32_t guest_cid;
    struct vhost_channel channel;
    bool kept;         /* a keeper is at the other end */
    int vmm_fd;        /* owned; the VMM's own connection, -1: none */
    struct event *io;  /* owned */
    struct event *end; /* owned; time until we give up being alone */
    uint64_t protocol; /* protocol features that were agreed */
    bool has_protocol; /* F_PROTOCOL_FEATURES was agreed */
    uint8_t reply[VHOST_CONFIG_HEADER_BYTES + VHOST_CONFIG_MAX_BYTES];
    size_t reply_len;
    struct log_limit log;
};

/* Returns 0, then reply_len tells whether there is an answer; or -errno. Takes what it
 * keeps of the channel's descriptors. */
typedef int request_fn(struct vhost_user *vu, const struct vhost_message *msg,
                       struct vmt_err *err);

struct request {
    const char *name;
    request_fn *handle;
    uint16_t min, max; /* bytes of the body */
    uint16_t fds_max;
};

/* NULL: not a request that is served here; the private ones only for a keeper. */
const struct request *vhost_user_request(uint32_t number, bool kept);

/* The body of the answer, at most sizeof(vu->reply) bytes. */
void vhost_user_reply(struct vhost_user *vu, const void *data, size_t len);

/* The VMM begins, or is gone: forget what the last one set up. */
void vhost_user_forget(struct vhost_user *vu);
