/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/vm_vsock/vhost_user_internal.h - shared by vhost_user.c (messages and
 * their framing) and requests.c (what they do). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "platform/linux/vm_vsock/log_limit.h"
#include "platform/linux/vm_vsock/memory.h"
#include "platform/linux/vm_vsock/vhost_user.h"

struct event;

#define HEADER_BYTES                                                                     \
    12u /* request, flags, size of the body; in the host's byte order                    \
         */
#define PROTOCOL_F_REPLY_ACK (1ull << 3)

#define REGION_BYTES 32u
#define CONFIG_HEADER_BYTES 12u
#define CONFIG_MAX_BYTES 256u /* VHOST_USER_MAX_CONFIG_SIZE */
#define BODY_MAX_BYTES (8u + REGION_BYTES * GUEST_MEMORY_REGIONS_MAX)
#define FDS_MAX GUEST_MEMORY_REGIONS_MAX

struct vhost_user {
    struct event_base *base; /* borrowed */
    struct vsock_device *dev;
    uint32_t guest_cid;
    int listen_fd;        /* owned */
    struct event *accept; /* owned; pending while there is no frontend */
    struct event *resume; /* owned */
    int fd;               /* owned; the frontend, -1: none */
    struct event *io;     /* owned */
    uint64_t protocol;    /* protocol features that were agreed */
    bool has_protocol;    /* F_PROTOCOL_FEATURES was agreed */
    uint8_t in[HEADER_BYTES + BODY_MAX_BYTES];
    size_t got;
    int fds[FDS_MAX]; /* owned; came with the message that is being read */
    size_t nfds;
    uint8_t reply[CONFIG_HEADER_BYTES + CONFIG_MAX_BYTES];
    size_t reply_len;
    struct log_limit log;
};

/* A message of the frontend; body is borrowed and has size bytes. */
struct message {
    uint32_t request, flags, size;
    const uint8_t *body;
};

/* Returns 0, then reply_len tells whether there is an answer; or -errno. Takes what it
 * keeps of vu->fds. */
typedef int request_fn(struct vhost_user *vu, const struct message *msg,
                       struct vmt_err *err);

struct request {
    const char *name;
    request_fn *handle;
    uint16_t min, max; /* bytes of the body */
    uint16_t fds_max;
};

/* NULL: not a request that is served here. */
const struct request *vhost_user_request(uint32_t number);

/* The body of the answer, at most sizeof(vu->reply) bytes. */
void vhost_user_reply(struct vhost_user *vu, const void *data, size_t len);
