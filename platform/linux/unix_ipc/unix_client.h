/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/unix_ipc/unix_client.h - call a daemon over its unix socket. */
#pragma once

#include "core/rpc/rpc.h"

struct ProtobufCMessage;
struct ProtobufCMessageDescriptor;
struct os_loop;
struct unix_client;
struct unix_client_call;
struct vmt_err;

struct unix_client_config {
    const char *path;    /* of the daemon's socket, copied */
    const char *service; /* "vm_tools.concierge.VmConcierge", copied */
    /* A connection broke: the daemon ended, maybe to start again. All calls on it have
     * been answered UNAVAILABLE, the next call connects anew. From the loop, once for
     * each connection. May be NULL. */
    void (*on_closed)(void *arg, const char *reason);
    void *arg; /* borrowed for the life of the client */
};

/* Connect. config is borrowed for the call but for arg. Later connections are made as
 * calls need them, see core/rpc/channel.h. Returns 0, -ENOENT or -ECONNREFUSED when
 * nobody listens there, -ENOMEM. */
int unix_client_new(struct os_loop *loop, const struct unix_client_config *config,
                    struct unix_client **ret_client, struct vmt_err *err);
/* Close at once; no callback of any call runs any more, every call is gone. NULL is
 * legal. Not from inside a callback of this client. */
void unix_client_free(struct unix_client *client);

/* The answer to a call. reply is NULL unless the status is OK and the method has a
 * result; it is borrowed. The nfds descriptors are the callee's. */
typedef void unix_client_done_fn(void *arg, const struct rpc_status *status,
                                 const struct ProtobufCMessage *reply, const int *fds,
                                 size_t nfds);

struct unix_client_request {
    const char *method;                     /* "StartVm" */
    const struct ProtobufCMessage *message; /* NULL: no argument; borrowed for the call */
    const struct ProtobufCMessageDescriptor *reply; /* NULL: no result */
    const int *fds;                                 /* duplicated; NULL if none */
    size_t nfds;
    uint32_t timeout_ms; /* 0: no deadline */
    uint32_t reply_max;  /* bytes of the answer; 0: VMT_RPC_MESSAGE_MAX */
    unix_client_done_fn *on_done;
    void *arg; /* borrowed until on_done or cancel */
};

/* Start a call. on_done runs exactly once, from the loop, unless the call is cancelled.
 * Without a connection it ends UNAVAILABLE. Returns 0, -ENOMEM, -ENOBUFS when too many
 * wait for one. ret_call may be NULL; the call is gone after on_done. */
int unix_client_start(struct unix_client *client,
                      const struct unix_client_request *request,
                      struct unix_client_call **ret_call, struct vmt_err *err);

struct unix_client_subscription {
    /* The subscription stands: every signal from now on will come. May be NULL. */
    void (*on_ready)(void *arg);
    /* One signal and its serialized message; both borrowed for the call. */
    void (*on_signal)(void *arg, const char *name, const uint8_t *bytes, size_t len);
    /* No signal comes any more; the status says why. Exactly once unless cancelled. */
    void (*on_end)(void *arg, const struct rpc_status *status);
    void *arg; /* borrowed until on_end or cancel */
};

/* Get all signals of the service. subscription is borrowed for the call but for arg.
 * Returns as unix_client_start. */
int unix_client_subscribe(struct unix_client *client,
                          const struct unix_client_subscription *subscription,
                          struct unix_client_call **ret_call, struct vmt_err *err);

/* Give a call or subscription up; its callbacks do not run any more. NULL is legal. */
void unix_client_cancel(struct unix_client_call *call);
