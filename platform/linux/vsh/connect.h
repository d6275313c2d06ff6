/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/vsh/connect.h - open a stream to vshd, whatever the transport. */
#pragma once

#include "core/adapter/transport.h"

struct os_loop;
struct vmt_err;
struct vsh_connect;
struct vsh_endpoint;

/* A vshd that is starting, or is being started again, is there within that time. */
#define VSH_RETRY_MS 5000u

struct vsh_connect_config {
    const struct vsh_endpoint *endpoint; /* borrowed for the call */
    unsigned timeout_ms;                 /* for one attempt */
    unsigned retry_ms; /* for how long to try again while nobody listens: a VM or a vshd
                          that is just starting */
    transport_done_fn *on_done;
    void *arg; /* borrowed until on_done or free */
};

/* Start to connect. on_done runs exactly once, from the loop, unless freed before. */
int vsh_connect_new(struct os_loop *loop, const struct vsh_connect_config *config,
                    struct vsh_connect **ret_connect, struct vmt_err *err);
/* Streams that were handed out live on. NULL is legal. Not from inside on_done. */
void vsh_connect_free(struct vsh_connect *connect);
