/* SPDX-License-Identifier: BSD-3-Clause */
/* core/rpc/server.h - a gRPC server on any number of accepted streams. */
#pragma once

#include <stdint.h>

#include "core/rpc/metadata.h"
#include "core/rpc/rpc.h"

struct ProtobufCMessage;
struct ProtobufCMessageDescriptor;
struct proto_file;
struct rpc_server;
struct rpc_server_call;
struct stream;
struct stream_peer;
struct vmt_clock;
struct vmt_err;

/* The request is complete and parsed; NULL for a method that client_streams: then the
 * headers came, and messages follow, see rpc_server_call_receive. The handler sends zero
 * or more messages and finishes the call exactly once, now or later. request is valid
 * until the call is finished. */
typedef void rpc_handler_fn(void *ctx, struct rpc_server_call *call,
                            const struct ProtobufCMessage *request);

struct rpc_server_method {
    const char *name;
    const struct ProtobufCMessageDescriptor *request;
    rpc_handler_fn *handle;
    bool server_streams;
    bool client_streams; /* any number of requests may come */
};

struct rpc_server_service {
    const char *name; /* "vm_tools.Maitred" */
    const struct rpc_server_method *methods;
    size_t nmethods;
    const struct proto_file *file; /* where reflection finds it; NULL: nowhere */
};

struct rpc_server_config {
    size_t connections_max; /* further streams are closed at once; 0: 64 */
    size_t streams_max;     /* concurrent calls per connection; 0: 100 */
    size_t message_max;     /* bytes of one received message, decompressed, above which
                             * a call ends RESOURCE_EXHAUSTED; 0: VMT_RPC_MESSAGE_MAX */
    uint32_t send_max;      /* bytes of one message that is sent, before compression; 0:
                             * no limit, as with gRPC */
    uint32_t idle_ms;       /* drain a connection without calls after that; 0: never */
    /* As in grpc doc/keepalive.md: after keepalive_ms without a byte the client is asked
     * by a PING, and closed when nothing comes for keepalive_timeout_ms. 0: 2 h and 20 s;
     * RPC_NEVER_MS: never, for unix sockets, where the kernel tells of every death. */
    uint32_t keepalive_ms, keepalive_timeout_ms;
    /* PINGs of a client that come sooner than this after the one before, without a reply
     * in between, are strikes: one more than ping_strikes gets GOAWAY too_many_pings. 0:
     * 5 min and 2 strikes; ping_strikes of UINT32_MAX: all are forgiven. Without a call
     * in flight it is 2 h, unless ping_without_calls. */
    uint32_t ping_min_ms, ping_strikes;
    bool ping_without_calls;
    /* For a client's preface and SETTINGS, and for the rest of each header block that has
     * begun; 0: 20 s, RPC_NEVER_MS. Then the connection is closed. */
    uint32_t setup_ms;
    /* Drain a connection after age_ms, 10 % more or less; 0: never. Calls that are not
     * over age_grace_ms later are cut; 0: none is. */
    uint32_t age_ms, age_grace_ms;
};

int rpc_server_new(struct vmt_clock *clock, const struct rpc_server_config *config,
                   struct rpc_server **ret_server, struct vmt_err *err);
void
rpc_server_free(struct rpc_server *server); /* closes all; calls in flight are dropped */

/* service and ctx are borrowed for the life of the server. Returns 0, -EEXIST, -ENOMEM.
 */
int rpc_server_add(struct rpc_server *server, const struct rpc_server_service *service,
                   void *ctx, struct vmt_err *err);

/* Add what every server of ours has: health checking, see core/rpc/health.h, and
 * reflection, see core/rpc/reflection.h. Services may be added before and after. Returns
 * 0, -EEXIST, -ENOMEM. */
int rpc_server_add_standard(struct rpc_server *server, struct vmt_err *err);

/* Serve HTTP/2 with prior knowledge on stream, which the server owns from now on, also on
 * failure. */
void rpc_server_accept(struct rpc_server *server, struct stream *stream,
                       const struct stream_peer *peer);

/* Stop in peace: take no more connections, and tell the clients of those there are. Calls
 * that they have on the way are still served, up to the moment that they know; what they
 * send after that is not. Health checks say NOT_SERVING, see rpc_health_shutdown. A
 * connection closes when its last call is over, or after
 * grace_ms whatever happens: then handlers hear of it by their cancel callbacks.
 * on_drained runs once, from the loop, when no connection is left; the server may be
 * freed from inside, and must still be freed. If the server is freed before, it does not
 * run. Returns 0, -EALREADY, -ENOMEM: nothing happens then. */
int rpc_server_drain(struct rpc_server *server, uint32_t grace_ms,
                     void (*on_drained)(void *arg), void *arg, struct vmt_err *err);

/* The row of the method table that the client called; valid as long as the table. */
const struct rpc_server_method *
rpc_server_call_method(const struct rpc_server_call *call);

/* Who calls; valid until the call is finished, its identity (of a client with a
 * certificate) too. */
const struct stream_peer *rpc_server_call_peer(const struct rpc_server_call *call);

/* What the client sent along; valid until the call is finished. */
const struct rpc_metadata *rpc_server_call_metadata(const struct rpc_server_call *call);

/* Add to the metadata that goes out before the first message. Returns what
 * rpc_metadata_add gives, or -EALREADY when it went out: with the first message or by
 * rpc_server_call_send_initial. */
int rpc_server_call_add_initial(struct rpc_server_call *call, const char *key,
                                const void *value, size_t len);
/* Send the initial metadata without waiting for the first message, which cannot carry
 * descriptors then. A second time it does nothing. Returns 0, or -EPIPE when the client
 * is gone or the deadline passed. */
int rpc_server_call_send_initial(struct rpc_server_call *call);
/* Add to the metadata that goes out with the status; RPC_STATUS_DETAILS_KEY belongs here.
 * Returns what rpc_metadata_add gives. */
int rpc_server_call_add_trailing(struct rpc_server_call *call, const char *key,
                                 const void *value, size_t len);

/* How the messages of this call go from now on, if the client takes it: one that does not
 * offer RPC_GZIP gets them as they are. So does every message that would not get smaller,
 * and every one after rpc_server_call_compress(call, false). Returns 0, or -EALREADY when
 * the initial metadata went out. */
int rpc_server_call_set_encoding(struct rpc_server_call *call,
                                 enum rpc_encoding encoding);
/* Compress the messages that are sent from now on, or send them as they are. Without
 * effect unless rpc_server_call_set_encoding said RPC_GZIP. */
void rpc_server_call_compress(struct rpc_server_call *call, bool on);
/* Did the request come compressed? Of a method that client_streams: the one that
 * on_message gets, or got last. */
bool rpc_server_call_compressed(const struct rpc_server_call *call);

/* Take the descriptors that came with the request: the caller owns them. What nobody
 * takes is closed with the call. Returns how many were written. */
size_t rpc_server_call_take_fds(struct rpc_server_call *call, int *fds, size_t max);

/* The client went away, cancelled, or its deadline passed: fn runs once, from the loop,
 * and the call is gone afterwards: it must not be finished. Without fn the call swallows
 * what is sent after that and is finished as usual. */
void rpc_server_call_on_cancel(struct rpc_server_call *call, void (*fn)(void *arg),
                               void *arg);

/* How the requests of a method that client_streams come, each as soon as it is there.
 * None after the call is finished or its cancel callback ran; both may finish the call.
 */
struct rpc_server_receiver {
    void (*on_message)(void *arg, const struct ProtobufCMessage *request); /* borrowed */
    void (*on_half_close)(void *arg); /* once: the client has sent its last request */
};
/* Say where they go, from inside the handler: what comes without a receiver is dropped.
 * receiver and arg are borrowed until the call is over. A request that cannot be read
 * ends the call like a deadline does, by its cancel callback. */
void rpc_server_call_receive(struct rpc_server_call *call,
                             const struct rpc_server_receiver *receiver, void *arg);

/* Take no more requests of a method that client_streams for now, or go on, from the loop.
 * The client is held back once it has sent what its window allows, 64 KiB; its other
 * calls are not. The half-close comes behind the requests; deadline and cancel end the
 * call although it is paused. */
void rpc_server_call_pause(struct rpc_server_call *call, bool paused);

/* fn runs from the loop each time that all queued messages have gone to the connection;
 * a producer stops while rpc_server_call_queued is large and goes on from there. NULL:
 * none. */
void rpc_server_call_on_drain(struct rpc_server_call *call, void (*fn)(void *arg),
                              void *arg);

/* Queue one message. fds are duplicated and may come with the first message only.
 * Returns 0, -ENOMEM, -EPIPE when the client is gone or the deadline passed, -EMSGSIZE,
 * -ENOTSUP for fds on a stream that cannot carry them, -EINVAL for fds with a later
 * message or after rpc_server_call_send_initial, for more than VMT_FDS_MAX / 2 of them,
 * and for a second message of a method that does not stream. */
int rpc_server_call_send(struct rpc_server_call *call,
                         const struct ProtobufCMessage *message, const int *fds,
                         size_t nfds);
/* Bytes queued for this call that the client has not taken yet. */
size_t rpc_server_call_queued(const struct rpc_server_call *call);
/* End the call. It is gone afterwards. OK without a message becomes INTERNAL when the
 * method does not stream. */
void rpc_server_call_finish(struct rpc_server_call *call,
                            const struct rpc_status *status);
/* Send message and finish with OK. */
void rpc_server_call_reply(struct rpc_server_call *call,
                           const struct ProtobufCMessage *message);
/* End the call at once and drop what the client has not taken: it sees
 * RESOURCE_EXHAUSTED. For one that does not read. The call is gone afterwards. */
void rpc_server_call_abort(struct rpc_server_call *call);
/* Finish with a status in words. */
void rpc_server_call_fail(struct rpc_server_call *call, enum rpc_code code,
                          const char *fmt, ...) __attribute__((format(printf, 3, 4)));
