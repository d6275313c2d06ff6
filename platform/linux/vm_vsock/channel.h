/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/vm_vsock/channel.h - messages of vhost-user with their descriptors, on a
 * stream socket: between the VMM and the keeper, and between the keeper and the worker.
 * Source: QEMU 7.2, docs/interop/vhost-user.rst, "Message Specification". */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "platform/linux/vm_vsock/memory.h"

struct vmt_err;

/* Request, flags and size of the body, each 32 bits in the host's byte order. */
#define VHOST_HEADER_BYTES 12u
#define VHOST_REGION_BYTES 32u
#define VHOST_CONFIG_HEADER_BYTES 12u
#define VHOST_CONFIG_MAX_BYTES 256u /* VHOST_USER_MAX_CONFIG_SIZE */
/* The longest is a memory table. */
#define VHOST_BODY_MAX_BYTES (8u + VHOST_REGION_BYTES * GUEST_MEMORY_REGIONS_MAX)
#define VHOST_FDS_MAX GUEST_MEMORY_REGIONS_MAX

/* The flags: version, and whether it is or wants a reply. */
#define VHOST_FLAG_VERSION_MASK 3u
#define VHOST_FLAG_VERSION 1u
#define VHOST_FLAG_REPLY 4u
#define VHOST_FLAG_NEED_REPLY 8u

/* The requests that we know, "Front-end message types". */
enum vhost_request {
    VHOST_GET_FEATURES = 1,
    VHOST_SET_FEATURES = 2,
    VHOST_SET_OWNER = 3,
    VHOST_RESET_OWNER = 4,
    VHOST_SET_MEM_TABLE = 5,
    VHOST_SET_VRING_NUM = 8,
    VHOST_SET_VRING_ADDR = 9,
    VHOST_SET_VRING_BASE = 10,
    VHOST_GET_VRING_BASE = 11,
    VHOST_SET_VRING_KICK = 12,
    VHOST_SET_VRING_CALL = 13,
    VHOST_SET_VRING_ERR = 14,
    VHOST_GET_PROTOCOL_FEATURES = 15,
    VHOST_SET_PROTOCOL_FEATURES = 16,
    VHOST_GET_QUEUE_NUM = 17,
    VHOST_SET_VRING_ENABLE = 18,
    VHOST_GET_CONFIG = 24,
};

/* Protocol feature: the VMM may ask that a request without a reply is acknowledged. */
#define VHOST_PROTOCOL_F_REPLY_ACK (1ull << 3)

struct vhost_message {
    uint32_t request, flags, size;
    const uint8_t *body; /* borrowed; size bytes */
};

/* What was read of the next message. fd is owned; -1: none. */
struct vhost_channel {
    int fd;
    uint8_t in[VHOST_HEADER_BYTES + VHOST_BODY_MAX_BYTES];
    size_t got;
    int fds[VHOST_FDS_MAX]; /* owned; came with the message. Take what you keep. */
    size_t nfds;
};

/* Read on, without blocking. Returns 1: *ret_msg is a message, borrowed until
 * vhost_channel_next; 0: it is not all there yet; -ECONNRESET: the peer closed; -EPROTO:
 * nothing of the protocol; another -errno. */
int vhost_channel_read(struct vhost_channel *ch, struct vhost_message *ret_msg,
                       struct vmt_err *err);

/* Forget the message that was read, and close what is left of its descriptors. */
void vhost_channel_next(struct vhost_channel *ch);

/* Send a message whole. Messages are few and small: a peer that does not take one at once
 * is broken. Returns 0, -EPIPE or what sending gave. fds are borrowed, may be NULL. */
int vhost_channel_send(const struct vhost_channel *ch, const struct vhost_message *msg,
                       const int *fds, size_t nfds, struct vmt_err *err);

/* Close it; it may be used again with another fd. */
void vhost_channel_close(struct vhost_channel *ch);

/* The first of the message's descriptors, then the caller's; -1: there is none. */
int vhost_channel_take_fd(struct vhost_channel *ch);
