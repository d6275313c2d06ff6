/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/os/dial_internal.h - one connection in the making, for all transports.
 */
#pragma once

#include <stdbool.h>

#include <event2/event_struct.h>

#include "core/adapter/stream.h"
#include "core/adapter/transport.h"
#include "core/base/list.h"

struct os_loop;

/* Do the next step of a connection. Called from the loop only. Returns 1 to be called
 * again, for op->want; 0 when op->fd is connected; -errno, with err set. */
typedef int dial_step_fn(struct transport_op *op, struct vmt_err *err);

/* First member of each transport's own struct, which is one block of memory from malloc.
 */
struct transport_op {
    struct vmt_list node; /* in the list of its transport */
    struct os_loop *loop; /* borrowed */
    dial_step_fn *step;
    struct transport_dial dial;
    struct stream_peer peer;    /* of the stream in the end; kind 0: ask the kernel */
    struct event ev;            /* for the next step */
    struct vmt_timer *deadline; /* NULL: none */
    short want;       /* EV_READ or EV_WRITE on fd; 0: come back after DIAL_RETRY_MS */
    int fd;           /* owned; -1: none yet */
    const char *name; /* of the peer, for messages, borrowed; NULL: that of dial */
};

/* How long to wait when a unix listener's backlog is full: no event tells its end. */
#define DIAL_RETRY_MS 10

/* Begin: the first step runs on the next turn of the loop. op holds loop, step, dial,
 * peer and fd; on success it belongs to ops. Returns 0 or -ENOMEM. */
int dial_start(struct transport_op *op, struct vmt_list *ops);

struct sockaddr;

/* A step for op->fd: first connect to address, then read the outcome when the socket
 * becomes writable. *started is false at first. */
int dial_socket_step(struct transport_op *op, bool *started,
                     const struct sockaddr *address, unsigned address_len,
                     struct vmt_err *err);

/* End it without a word. */
void dial_cancel(struct transport_op *op);
/* The same for all in a list. */
void dial_cancel_all(struct vmt_list *ops);
