/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/unix_ipc/unix_server.h - the IPC of a daemon as gRPC on a unix socket.
 *
 * Each method of the service is a unary method of the same name; descriptors travel as
 * SCM_RIGHTS with the first byte of the request or reply. Each signal is a method of the
 * signal's name that streams the signal's messages, and SubscribeSignals streams all of
 * them as vmt.Signal; vmt.Daemon tells the properties: proto/vmt_ipc.proto. Errors map as
 * core/adapter/ipc.h says. */
#pragma once

#include "core/adapter/ipc.h"

struct ipc;
struct os_loop;
struct vmt_err;

struct unix_server_config {
    int listen_fd; /* listening stream socket */
    /* Further clients are closed at once; 0: 256. Uids other than root and the daemon's
     * get a quarter each, and three quarters together. */
    size_t connections_max;
    /* The number of connected clients changed. Called from the loop, possibly deep inside
     * the server: it may start timers, but not free the server. May be NULL. */
    void (*on_clients)(void *arg, size_t clients);
    void *arg; /* borrowed for the life of the server */
};

/* Serve ipc's service; ipc is borrowed and must outlive the server, which it does when
 * the server is given to it with ipc_add_server. config is borrowed for the call. Returns
 * 0, then listen_fd is the server's; -ENOMEM or what watching listen_fd gave, then it is
 * still the caller's. */
int unix_server_new(struct os_loop *loop, struct ipc *ipc,
                    const struct unix_server_config *config,
                    struct ipc_server **ret_server, struct vmt_err *err);

/* The daemon is about to end: health checks say NOT_SERVING from now on. Calls are served
 * as before. */
void unix_server_leaving(struct ipc_server *server);

/* Stop in peace, as rpc_server_drain does: subscriptions end UNAVAILABLE, calls in flight
 * are answered, further clients are closed at once. on_drained runs once, from the loop,
 * when the last client is gone or grace_ms are over, unless the server is freed before.
 * Returns 0, -EALREADY, -ENOMEM: nothing happens then. */
int unix_server_drain(struct ipc_server *server, uint32_t grace_ms,
                      void (*on_drained)(void *arg), void *arg, struct vmt_err *err);

/* How many clients are connected now; server was made by unix_server_new. */
size_t unix_server_clients(const struct ipc_server *server);
