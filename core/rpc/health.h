/* SPDX-License-Identifier: BSD-3-Clause */
/* core/rpc/health.h - grpc.health.v1.Health: may a server and its services be called?
 *
 * The server as a whole, whose name is "", and every service that was added to it are
 * SERVING until the daemon says otherwise; any other name is unknown until it is set.
 * Source: grpc doc/health-checking.md. */
#pragma once

struct rpc_server;
struct vmt_err;

/* As on the wire. */
enum rpc_health_status {
    RPC_HEALTH_SERVING = 1,
    RPC_HEALTH_NOT_SERVING = 2,
    RPC_HEALTH_SERVICE_UNKNOWN = 3, /* Check gives NOT_FOUND */
};

/* Bytes of a service name that is set or asked for. */
#define RPC_HEALTH_NAME_MAX 200

/* Names that can be set on one server. */
#define RPC_HEALTH_NAMES_MAX 64

/* Serve the health service on server, which owns what it takes. Returns 0, -EEXIST,
 * -ENOMEM. */
int rpc_health_add(struct rpc_server *server, struct vmt_err *err);

/* Set the status of a service, "" for the server as a whole, and tell who watches it.
 * Returns 0, -ENOMEM, -ENOSPC above RPC_HEALTH_NAMES_MAX, -EINVAL for a name that is too
 * long, -ENOENT when server has no health service. */
int rpc_health_set(struct rpc_server *server, const char *service,
                   enum rpc_health_status status);

/* The server is about to end: all that it serves is NOT_SERVING from now on, whatever is
 * set. Who watches is told, and its call ends with UNAVAILABLE, for it must not hold up a
 * drain. Without effect when server has no health service. */
void rpc_health_shutdown(struct rpc_server *server);
