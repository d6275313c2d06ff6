/* SPDX-License-Identifier: BSD-3-Clause */
/* core/rpc/server_internal.h - the server's connections and calls. */
#pragma once

#include "core/rpc/arena_internal.h"
#include "core/rpc/conn_internal.h"
#include "core/rpc/peer_internal.h"
#include "core/rpc/rpc.h"
#include "core/rpc/server.h"

#define RPC_SERVER_PATH_MAX 160

struct server_service {
    const struct rpc_server_service *service; /* borrowed */
    void *ctx;                                /* borrowed */
    size_t name_len;
    struct vmt_list node;
};

struct rpc_server {
    struct vmt_clock *clock;
    struct rpc_server_config config;
    struct vmt_list services;
    struct vmt_list conns;
    size_t nconns;
    struct vmt_list
        orphans;     /* calls whose client is gone and whose handler is not done */
    uint64_t random; /* state of the jitter */
    bool draining;   /* no connection is taken any more */
    void (*on_drained)(void *arg); /* NULL once it ran */
    void *drained_arg;
    struct vmt_timer *grace_timer, *drained_timer;
    bool *freed;               /* borrowed; set when the server is freed, may be NULL */
    struct rpc_health *health; /* owned; NULL: not served */
    struct rpc_reflection *reflection; /* owned; NULL: not served */
};

/* How a connection ends in peace: the first GOAWAY says that no new calls are welcome but
 * refuses none, since some may be on their way; when the client has seen it, the second
 * says which was the last. */
enum server_conn_state {
    SERVER_CONN_OPEN = 0,
    SERVER_CONN_NOTICED, /* the first GOAWAY is submitted */
    SERVER_CONN_LEAVING, /* the second too: closed when the last call is over */
};

struct server_conn {
    struct rpc_conn base;
    struct rpc_server *server; /* borrowed */
    struct rpc_peer *peer;     /* owned reference */
    struct vmt_list node;
    uint64_t active_ms; /* when the last call began or ended */
    size_t nhandled;    /* calls that went to a handler and still have a stream */
    enum server_conn_state state;
    const char *farewell; /* borrowed; said with the last GOAWAY */
    bool spares_calls;    /* its grace ends no call */
};

/* A call is being received while neither held nor ended. It is freed when it is not held
 * and its stream is closed. */
struct rpc_server_call {
    struct rpc_call base;
    struct server_conn *conn;  /* borrowed; NULL when the client is gone */
    struct rpc_server *server; /* borrowed */
    struct rpc_peer *peer;     /* owned reference */
    bool dispatched;           /* counted in conn->nhandled */
    bool held;                 /* the handler has it and has not finished it */
    bool ended; /* the status is decided; what the handler sends is dropped */
    const struct server_service *service;   /* borrowed */
    const struct rpc_server_method *method; /* borrowed; NULL: unknown */
    bool is_post, is_head, is_grpc, bad_timeout, has_timeout;
    bool takes_gzip;              /* the client says so */
    bool is_plain;                /* the answer is not gRPC */
    bool opened;                  /* the request's headers are complete */
    bool answered;                /* response headers are submitted */
    bool replied;                 /* a message is queued */
    int metadata_error;           /* of the request's metadata, 0: none */
    struct rpc_metadata metadata; /* of the request */
    struct rpc_metadata initial, trailing;
    uint64_t timeout_ms;
    uint32_t fds_expected;
    struct vmt_timer
        *timer; /* deadline, then late cancel or the moment after an answer */
    struct rpc_arena arena;
    struct ProtobufCMessage *request; /* in arena, NULL until it came */
    const struct rpc_server_receiver
        *receiver;      /* borrowed; methods that client_streams */
    void *receiver_arg; /* borrowed */
    void (*on_drain)(void *arg);
    void *drain_arg;
    void (*on_cancel)(void *arg);
    void *cancel_arg;
    struct rpc_status status;       /* trailers, once out_end is set */
    char path[RPC_SERVER_PATH_MAX]; /* cut, for messages */
};

/* server.c */
const struct rpc_server_method *
rpc_server_find(const struct rpc_server *server, const uint8_t *path, size_t len,
                const struct server_service **ret_service);

/* health.c, reflection.c: after the server's calls are gone. NULL is legal. */
void rpc_health_free(struct rpc_health *health);
void rpc_reflection_free(struct rpc_reflection *reflection);

/* drain.c */
/* Wait for the connection's idleness and age. */
void rpc_server_conn_begin(struct server_conn *conn);
void rpc_server_conn_on_due(struct rpc_conn *base, enum rpc_due which);
/* The peer answered a PING / our GOAWAY went out. */
void rpc_server_conn_on_pong(struct rpc_conn *base, const uint8_t *opaque);
void rpc_server_conn_on_goaway_sent(struct rpc_conn *base);
/* Let the calls in flight end within grace_ms, RPC_NEVER_MS: whenever they do. */
void rpc_server_conn_drain(struct server_conn *conn, const char *farewell,
                           uint32_t grace_ms);

/* The last connection may be gone: say so. */
void rpc_server_check_drained(struct rpc_server *server);
/* Nothing is to be said any more. */
void rpc_server_drain_stop(struct rpc_server *server);

/* server.c: close at once. */
void rpc_server_conn_close(struct server_conn *conn);

/* server_call.c: make the call of a new stream, NULL without memory. */
struct rpc_call *rpc_server_call_new(struct rpc_conn *conn);

/* server_reply.c: end the call with status towards the client. */
void rpc_server_call_end(struct rpc_server_call *call, enum rpc_code code,
                         const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* Answer what is no gRPC with an HTTP status and a line of text for whoever reads it. */
void rpc_server_call_end_http(struct rpc_server_call *call, const char *http_status);
/* Submit grpc-status and grpc-message as trailers. */
bool rpc_server_call_on_out_end(struct rpc_call *base);
/* Give the client a moment to end its request. */
void rpc_server_call_on_answered_early(struct rpc_call *base);
/* The same for a call that its handler may hold: it is told by its cancel callback. */
void rpc_server_call_break(struct rpc_server_call *call, enum rpc_code code,
                           const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* Tell the handler that it may send more. */
void rpc_server_call_on_drained(struct rpc_call *base);
/* The deadline passed. */
void rpc_server_call_on_deadline(void *arg);
/* The stream is closed, the call detached: free the call, or wait for its handler. */
void rpc_server_call_gone(struct rpc_server_call *call);
/* Free the call whatever its state; its handler must not use it any more. */
void rpc_server_call_drop(struct rpc_server_call *call);
