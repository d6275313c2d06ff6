/* SPDX-License-Identifier: BSD-3-Clause */
/* core/rpc/client_internal.h - the client's connection and calls. */
#pragma once

#include "core/rpc/arena_internal.h"
#include "core/rpc/client.h"
#include "core/rpc/conn_internal.h"
#include "core/rpc/rpc.h"

struct rpc_client {
    struct rpc_conn base;
    struct rpc_client_config config;
    char *authority;   /* owned */
    bool ready;        /* the server's SETTINGS came */
    bool draining;     /* GOAWAY came: no new calls */
    bool ended;        /* on_closed is due or has run */
    char farewell[64]; /* ": " and what the server said with GOAWAY, escaped; or "" */
};

struct rpc_client_call {
    struct rpc_call base;
    struct rpc_client *client;                           /* borrowed */
    const struct rpc_client_handler *handler;            /* borrowed */
    void *arg;                                           /* borrowed */
    const struct ProtobufCMessageDescriptor *reply_type; /* borrowed */
    bool server_streams;
    struct vmt_timer *deadline;
    struct rpc_arena arena;
    struct ProtobufCMessage *reply; /* in arena; unary: waits for the status */
    uint32_t http_status;           /* 0: not seen yet */
    uint32_t fds_expected;
    bool is_grpc, has_status;
    int metadata_error;        /* of the current block, 0: none */
    struct rpc_metadata block; /* metadata of the current header block */
    struct rpc_status status;  /* grpc-status and grpc-message */
};

/* client_call.c: callbacks of a call, and its end. */
extern const struct rpc_call_ops rpc_client_call_ops;

/* The call is over: tell the handler and free. Runs busy. */
void rpc_client_call_end(struct rpc_client_call *call, const struct rpc_status *status);
/* Reset the stream, if any, and end the call. */
void rpc_client_call_fail(struct rpc_client_call *call, enum rpc_code code,
                          const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* Detach and free without a word. */
void rpc_client_call_drop(struct rpc_client_call *call);
void rpc_client_call_on_deadline(void *arg);

/* client.c: after the last call of a draining connection the client is closed. */
void rpc_client_check_drained(struct rpc_client *client);
