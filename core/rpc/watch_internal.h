/* SPDX-License-Identifier: BSD-3-Clause */
/* core/rpc/watch_internal.h - how much a peer may send that gets it nothing. Embedded in
 * struct rpc_conn, see conn_internal.h. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct rpc_conn;

enum rpc_watch_kind {
    RPC_WATCH_OTHER = 0, /* unknown types, acknowledgements, GOAWAY */
    RPC_WATCH_SETTINGS,
    RPC_WATCH_PING,
    RPC_WATCH_RESET,
    RPC_WATCH_FAULT, /* a stream that we reset for what the peer did on it, or a call
                        whose stream is gone and whose handler is not done: no frame */
    RPC_WATCH_WINDOW,
    RPC_WATCH_PRIORITY,
    RPC_WATCH_EMPTY, /* DATA */
    RPC_WATCH_COUNT
};

#define RPC_WATCH_HEAD_MAX 24u
#define RPC_WATCH_RESET_BYTES 13u /* of a RST_STREAM frame */

struct rpc_watch {
    struct rpc_purse {
        uint32_t tokens;
        uint64_t filled_ms; /* when, and how many useful frames there were then */
        uint64_t useful;
    } purses[RPC_WATCH_COUNT];
    uint64_t useful;                  /* HEADERS and DATA, both ways */
    uint8_t head[RPC_WATCH_HEAD_MAX]; /* as much as came of a frame's head */
    size_t head_len;
    /* What came of a frame that may be none for the session, which has not got it. */
    uint8_t kept[RPC_WATCH_RESET_BYTES];
    size_t kept_len;
    uint32_t left; /* bytes of the frame that are still to come */
    uint8_t type, flags;
    uint32_t last_id;       /* the largest stream that HEADERS came for */
    uint32_t continuations; /* of the block */
    bool preface;           /* the head is the client's preface */
    bool block;             /* a header block has begun and has not ended */
    bool off;               /* this is no HTTP/2 */
};

/* conn->server and conn->clock are set. */
void rpc_watch_init(struct rpc_conn *conn);
/* Bytes came, and kept_len is 0. Returns how many of them the session gets next, unless
 * the connection is lost then; after those, *ret_drop bytes are for nobody or kept, and
 * the rest is for another call. */
size_t rpc_watch_feed(struct rpc_conn *conn, const uint8_t *data, size_t len,
                      size_t *ret_drop);
/* The same while kept_len is not 0: takes at least one byte to those that are kept.
 * Returns how many it took; *ret_give is how many bytes at kept the session gets next,
 * unless the connection is lost then. */
size_t rpc_watch_feed_kept(struct rpc_conn *conn, const uint8_t *data, size_t len,
                           size_t *ret_give);
/* One of kind; may end the connection. */
void rpc_watch_charge(struct rpc_conn *conn, enum rpc_watch_kind kind);
