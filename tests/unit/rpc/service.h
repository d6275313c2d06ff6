/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/unit/rpc/service.h - the service of test.proto, for unit, integration and fuzz.
 */
#pragma once

#include <stddef.h>

#include "core/rpc/server.h"
#include "test.pb-c.h"

/* A call to Collect or Chat. */
struct rpctest_stream {
    struct rpctest *test;
    struct rpc_server_call *call; /* NULL: free */
    uint32_t sum;
    size_t bytes;
};

/* What the handlers saw and keep. */
struct rpctest {
    size_t requests;                /* that reached a handler */
    size_t cancels;                 /* of calls that Hang holds */
    struct rpc_server_call *hung;   /* the newest, NULL when none */
    size_t half_closes, drains;     /* of calls to Collect and Chat */
    size_t stream_cancels;          /* likewise */
    struct rpc_server_call *stream; /* the newest of them, NULL when over */
    bool enough;                    /* Chat fails at its next request */
    bool keep_on_cancel;            /* Hang asks for no cancel callback */
    bool pause_first;               /* Collect and Chat start paused */
    bool pause_each;                /* and pause at each request */
    size_t taken;                   /* requests of Collect and Chat */
    enum rpc_encoding encoding;     /* of all replies */
    size_t compressed;              /* requests that came compressed */
    int fds[16];                    /* came with the newest request */
    size_t nfds;
    struct rpctest_stream streams[8];
};

/* ctx is a struct rpctest. */
extern const struct rpc_server_service rpctest_service;

/* Shorthands for client requests. */
#define RPCTEST_PATH(method) "/vmt.rpctest.Test/" method

/* Empty messages; the INIT macros of protobuf-c cast const away. */
static inline Vmt__Rpctest__Request
rpctest_request(void)
{
    Vmt__Rpctest__Request request;

    vmt__rpctest__request__init(&request);
    return request;
}

static inline Vmt__Rpctest__Reply
rpctest_reply(void)
{
    Vmt__Rpctest__Reply reply;

    vmt__rpctest__reply__init(&reply);
    return reply;
}
