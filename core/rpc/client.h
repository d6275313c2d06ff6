/* SPDX-License-Identifier: BSD-3-Clause */
/* core/rpc/client.h - a gRPC client on one connected stream. */
#pragma once

#include <stdint.h>

#include "core/rpc/metadata.h"
#include "core/rpc/rpc.h"

struct ProtobufCMessage;
struct ProtobufCMessageDescriptor;
struct rpc_client;
struct rpc_client_call;
struct stream;
struct vmt_clock;
struct vmt_err;

struct rpc_client_config {
    const char *authority; /* value of :authority, copied; NULL: "localhost" */
    /* The connection broke, then all calls have been answered UNAVAILABLE; or the server
     * said GOAWAY, and the calls that it still served are over. Runs at most once, from
     * the loop; the client may be freed from inside. May be NULL. */
    void (*on_closed)(void *arg, const char *reason);
    /* The server's SETTINGS came: it speaks HTTP/2 and is there, which the connection
     * alone does not say. At most once, from the loop; the client may be freed from
     * inside. May be NULL. */
    void (*on_ready)(void *arg);
    /* The server said GOAWAY: it takes no new calls, those in flight go on.
     * too_many_pings: because of our keepalive. At most once, from the loop, before
     * on_closed; the client may be freed from inside. May be NULL. */
    void (*on_goaway)(void *arg, bool too_many_pings);
    void *arg; /* borrowed for the life of the client */
    /* Bytes of one reply, decompressed, above which a call ends RESOURCE_EXHAUSTED; 0:
     * VMT_RPC_MESSAGE_MAX. And of one request, before compression, which is not sent; 0:
     * no limit, as with gRPC. */
    uint32_t message_max, send_max;
    /* When nothing came for keepalive_ms the server is asked by a PING, and when then
     * nothing comes for keepalive_timeout_ms the connection is closed and every call
     * ends UNAVAILABLE. 0 for never and 20 s, as in grpc doc/keepalive.md. Servers
     * refuse clients that ask more often than every 5 minutes, or without a call more
     * often than every 2 hours, unless told otherwise; over a unix socket the kernel
     * tells of every death, and a guest that is paused does not answer. */
    uint32_t keepalive_ms, keepalive_timeout_ms;
    bool keepalive_without_calls; /* ask also while no call is open */
    /* For the server's SETTINGS, and for the rest of each header block that has begun; 0:
     * 20 s, RPC_NEVER_MS. Then the connection is closed. */
    uint32_t setup_ms;
};

/* Speak HTTP/2 with prior knowledge over stream, which the client owns from success on.
 * Returns 0 or -ENOMEM. */
int rpc_client_new(struct vmt_clock *clock, struct stream *stream,
                   const struct rpc_client_config *config, struct rpc_client **ret_client,
                   struct vmt_err *err);

/* Close at once; no callback of any call runs any more. NULL is legal. */
void rpc_client_free(struct rpc_client *client);

/* Every callback runs from the loop, never from inside the call that started it, and none
 * after on_done or rpc_client_cancel. */
struct rpc_client_handler {
    /* One reply message; borrowed for the call. Unary calls get at most one. fds are the
     * descriptors that came with it (unix sockets): the callee owns them. May be NULL,
     * then descriptors are closed. */
    void (*on_message)(void *arg, const struct ProtobufCMessage *reply, const int *fds,
                       size_t nfds);
    /* The call is over. Exactly once unless cancelled. A unary call that got OK without a
     * message ends as INTERNAL. */
    void (*on_done)(void *arg, const struct rpc_status *status);
    /* The server's initial metadata, borrowed for the call; once, before the first
     * message, and not at all when the server answers with nothing but a status. May be
     * NULL. */
    void (*on_initial)(void *arg, const struct rpc_metadata *metadata);
    /* The metadata that came with the status, borrowed for the call; at most once, right
     * before on_done, and only when on_done gets the server's own status. May be NULL. */
    void (*on_trailing)(void *arg, const struct rpc_metadata *metadata);
    /* All that was queued by rpc_client_send went to the connection: each time, until the
     * half-close. A producer stops while rpc_client_queued is large and goes on from
     * here. May be NULL. */
    void (*on_drain)(void *arg);
};

struct rpc_client_request {
    const char *path; /* "/vm_tools.Maitred/Mount", copied */
    const struct ProtobufCMessageDescriptor *reply;
    bool server_streams; /* more than one reply may come */
    uint32_t timeout_ms; /* 0: no deadline; else sent as grpc-timeout and enforced here */
    const struct rpc_client_handler *handler; /* borrowed until the call is over */
    void *arg;                                /* likewise */
    const int *fds; /* travel with the request (unix sockets), duplicated; NULL if none */
    size_t nfds;
    bool client_streams; /* messages follow by rpc_client_send until rpc_client_half_close
                          */
    const struct rpc_metadata *metadata; /* sent along, copied; NULL if none */
    bool wait_for_ready; /* of a channel only: no failed attempt to connect ends the call
                          */
    /* RPC_GZIP: requests go compressed, but for those that would not get smaller and
     * those after rpc_client_compress(call, false). A server that does not know it
     * answers UNIMPLEMENTED. Replies may be compressed in any case. */
    enum rpc_encoding encoding;
    uint32_t reply_max; /* in place of the client's message_max; 0: that one */
};

/* Calls that are not over. */
size_t rpc_client_calls(const struct rpc_client *client);

/* Start a call with its one request message (borrowed for the call), which may be NULL
 * when the request says client_streams. Returns 0, -ENOMEM,
 * -ENOTCONN when the connection is lost or the server said GOAWAY (on_closed follows when
 * the calls in flight are over), -ENOTSUP for fds on a stream that cannot carry them,
 * -EINVAL for more than VMT_FDS_MAX / 2 of them, -EMSGSIZE.
 * *ret_call is valid until on_done or rpc_client_cancel; ret_call may be NULL. */
int rpc_client_start(struct rpc_client *client, const struct rpc_client_request *request,
                     const struct ProtobufCMessage *message,
                     struct rpc_client_call **ret_call, struct vmt_err *err);

/* Queue one more request of a call that client_streams. Returns 0, -ENOMEM, -EMSGSIZE, or
 * -EPIPE after rpc_client_half_close or when the server has ended the call. */
int rpc_client_send(struct rpc_client_call *call, const struct ProtobufCMessage *message);
/* Compress the requests that are sent from now on, or send them as they are. Without
 * effect unless the request said RPC_GZIP. */
void rpc_client_compress(struct rpc_client_call *call, bool on);
/* Did the reply that on_message gets, or got last, come compressed? */
bool rpc_client_compressed(const struct rpc_client_call *call);
/* Bytes queued for this call that the server has not taken yet. */
size_t rpc_client_queued(const struct rpc_client_call *call);
/* Take no more replies for now, or go on, from the loop. The server is held back once it
 * has sent what its window allows, 64 KiB; other calls are not. The status comes behind
 * the replies; a deadline, a reset by the server and the loss of the connection end the
 * call although it is paused, and drop what waits. But an answer that came whole before
 * the connection was lost is handed out then. */
void rpc_client_pause(struct rpc_client_call *call, bool paused);
/* There are no more requests. Replies go on to come. */
void rpc_client_half_close(struct rpc_client_call *call);

/* RST_STREAM the call; its callbacks do not run any more. NULL is legal. */
void rpc_client_cancel(struct rpc_client_call *call);
