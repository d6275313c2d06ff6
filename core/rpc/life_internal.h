/* SPDX-License-Identifier: BSD-3-Clause */
/* core/rpc/life_internal.h - what a connection waits for, whether its peer is there, and
 * whether it behaves. Embedded in struct rpc_conn, see conn_internal.h. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct rpc_conn;
struct vmt_timer;

/* Everything a connection waits for. One timer serves all of them, so that an idle
 * connection costs one and a call none. */
enum rpc_due {
    RPC_DUE_SETUP,                /* the peer's SETTINGS */
    RPC_DUE_HEADERS,              /* the end of a header block that has begun */
    RPC_DUE_KEEPALIVE,            /* the next PING, or a sign of life after one */
    RPC_DUE_TURN,                 /* the turn that rpc_conn_kick has no timer for */
    RPC_DUE_LINGER,               /* the peer takes our last bytes and closes */
    RPC_DUE_OWNER,                /* from here on by on_due of the owner */
    RPC_DUE_IDLE = RPC_DUE_OWNER, /* calls */
    RPC_DUE_AGE,                  /* the end of a long life */
    RPC_DUE_NOTICE,               /* the peer has seen the first GOAWAY */
    RPC_DUE_GRACE,                /* the calls in flight are over */
    RPC_DUE_COUNT
};

struct rpc_life {
    struct vmt_timer *timer;
    uint64_t timer_ms;              /* when it runs */
    uint64_t due_ms[RPC_DUE_COUNT]; /* 0: not waited for */
    size_t linger_queued;           /* unsent bytes at the last look */
    uint32_t linger_looks;
};

/* From here on there always is a timer, for rpc_life_turn if for nothing else. */
void rpc_life_begin(struct rpc_conn *conn);
/* Have a turn of the loop without memory for one more timer: the one that is there comes
 * now. Returns whether it does; else the connection has failed. */
bool rpc_life_turn(struct rpc_conn *conn);
/* Wait for which from now on, or again. A connection without memory for the timer fails.
 */
void rpc_life_set(struct rpc_conn *conn, enum rpc_due which, uint64_t delay_ms);
void rpc_life_clear(struct rpc_conn *conn, enum rpc_due which);
/* Wait for nothing any more. */
void rpc_life_stop(struct rpc_conn *conn);
/* The last bytes are with the stream: give the peer time to take them. */
void rpc_life_linger(struct rpc_conn *conn);

/* When to ask whether the peer is there, and how often it may ask. */
struct rpc_keepalive_config {
    uint32_t time_ms;      /* of silence before a PING; RPC_NEVER_MS: never */
    uint32_t timeout_ms;   /* for any byte after it */
    bool without_calls;    /* also when no call is open */
    bool enforce;          /* the peer's PINGs are judged: servers */
    uint32_t ping_min_ms;  /* between the peer's PINGs */
    bool ping_always;      /* also when no call is open */
    uint32_t ping_strikes; /* too early PINGs that are forgiven; UINT32_MAX: all */
};

struct rpc_keepalive {
    struct rpc_keepalive_config config;
    uint64_t heard_ms;  /* when the last bytes came */
    bool waiting;       /* a PING is out */
    bool pinged;        /* the peer sent one since we last sent HEADERS or DATA */
    uint64_t pinged_ms; /* when */
    uint32_t strikes;
};

/* Take the settings, 0 standing for the defaults, and begin. */
void rpc_keepalive_start(struct rpc_conn *conn,
                         const struct rpc_keepalive_config *config);
void rpc_keepalive_on_due(struct rpc_conn *conn);
/* Bytes came. */
void rpc_keepalive_heard(struct rpc_conn *conn);
/* The peer sent a PING that is no acknowledgement. */
void rpc_keepalive_pinged(struct rpc_conn *conn);
/* HEADERS or DATA went out: the peer may ask whether they arrived. */
static inline void
rpc_keepalive_forgive(struct rpc_keepalive *k)
{
    k->pinged = false;
    k->strikes = 0;
}
