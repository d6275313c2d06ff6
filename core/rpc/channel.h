/* SPDX-License-Identifier: BSD-3-Clause */
/* core/rpc/channel.h - a gRPC client that makes its connection when it is needed, and
 * makes it again when it is lost.
 *
 * Nothing is ever sent twice: a call that went to a connection ends with it, UNAVAILABLE.
 * A call that did not go to one waits for it, and fails with the attempt to connect, or,
 * if it waits for ready, goes on to wait until its deadline.
 *
 * Sources: grpc doc/connectivity-semantics-and-api.md, doc/wait-for-ready.md,
 * doc/connection-backoff.md. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/rpc/client.h"

struct connector;
struct rpc_channel;
struct rpc_channel_call;
struct stream;

enum rpc_channel_state {
    RPC_CHANNEL_IDLE = 0,   /* no connection, and nobody wants one */
    RPC_CHANNEL_CONNECTING, /* until the server's SETTINGS came */
    RPC_CHANNEL_READY,
    RPC_CHANNEL_TRANSIENT_FAILURE, /* the next attempt follows; see lazy */
    RPC_CHANNEL_SHUTDOWN,          /* for good */
    RPC_CHANNEL_STATE_COUNT
};

/* "TRANSIENT_FAILURE" and so on. */
const char *rpc_channel_state_name(enum rpc_channel_state state);

struct rpc_channel_config {
    /* For each connection; authority is copied, callbacks and arg are ignored: the
     * channel has its own. keepalive_ms doubles for later connections when a server says
     * that it is too little. */
    struct rpc_client_config client;
    /* Attempts begin at least so far apart, 1.6 times as far after each that failed, 20 %
     * more or less by chance. */
    uint32_t backoff_initial_ms; /* 0: 1000 */
    uint32_t backoff_max_ms;     /* 0: 120000 */
    uint32_t connect_timeout_ms; /* the least that an attempt gets; 0: 20000 */
    bool lazy; /* after a pause nobody waited for go to IDLE: no attempt without a call */
    uint64_t seed; /* of that chance; 0: another for each channel */
    /* Calls that wait for a connection, and the bytes of their messages. */
    size_t waiting_max;       /* 0: 1024 */
    size_t waiting_bytes_max; /* 0: 16 MiB */
    /* The state changed; of changes that follow at once the last is told. From the loop;
     * reason is "" or why the last attempt or connection ended, borrowed for the call.
     * The channel may be freed from inside. May be NULL. */
    void (*on_state)(void *arg, enum rpc_channel_state state, const char *reason);
    void *arg; /* borrowed for the life of the channel */
};

/* A channel in IDLE. config may be NULL and is borrowed for the call but for arg. The
 * channel owns connector from success on. Returns 0 or -ENOMEM. */
int rpc_channel_new(struct vmt_clock *clock, struct connector *connector,
                    const struct rpc_channel_config *config,
                    struct rpc_channel **ret_channel, struct vmt_err *err);

/* Begin with a stream that is connected already, which the channel owns from success on:
 * as if a first attempt had made it. Returns 0, -ENOMEM, -EALREADY when the channel is
 * not in IDLE. */
int rpc_channel_adopt(struct rpc_channel *channel, struct stream *stream,
                      struct vmt_err *err);

/* Close at once; no callback of any call runs any more. From anywhere. NULL is legal. */
void rpc_channel_free(struct rpc_channel *channel);

/* End in order: calls that wait end UNAVAILABLE, new ones are refused, those that were
 * sent go on; each connection is closed with its last call. Returns 0, or -ENOMEM, then
 * nothing changed. */
int rpc_channel_shutdown(struct rpc_channel *channel);

enum rpc_channel_state rpc_channel_state(const struct rpc_channel *channel);

/* Connect without a call; in TRANSIENT_FAILURE when the next attempt is due. Returns 0 or
 * -ENOMEM. */
int rpc_channel_connect(struct rpc_channel *channel);

/* Something changed: do not wait for the next attempt, and count failures anew. Returns 0
 * or -ENOMEM. */
int rpc_channel_reset_backoff(struct rpc_channel *channel);

/* rpc_client_start on a connection that exists or will: request and message are borrowed
 * for the call but for handler and arg. Its callbacks are those of rpc_client_start; the
 * deadline counts from now. Returns 0, what rpc_client_start gives but -ENOTCONN,
 * -ESHUTDOWN after rpc_channel_shutdown, -ENOBUFS when too much waits. *ret_call is valid
 * until on_done or rpc_channel_cancel; ret_call may be NULL. */
int rpc_channel_start(struct rpc_channel *channel,
                      const struct rpc_client_request *request,
                      const struct ProtobufCMessage *message,
                      struct rpc_channel_call **ret_call, struct vmt_err *err);

/* As rpc_client_send; -ENOBUFS when too much waits for the connection. */
int rpc_channel_send(struct rpc_channel_call *call,
                     const struct ProtobufCMessage *message);
/* As rpc_client_compress. */
void rpc_channel_compress(struct rpc_channel_call *call, bool on);
/* As rpc_client_compressed. */
bool rpc_channel_compressed(const struct rpc_channel_call *call);
/* As rpc_client_queued. */
size_t rpc_channel_queued(const struct rpc_channel_call *call);
/* As rpc_client_pause. */
void rpc_channel_pause(struct rpc_channel_call *call, bool paused);
/* As rpc_client_half_close. */
void rpc_channel_half_close(struct rpc_channel_call *call);
/* As rpc_client_cancel, in every state. */
void rpc_channel_cancel(struct rpc_channel_call *call);
