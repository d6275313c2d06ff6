/* SPDX-License-Identifier: BSD-3-Clause */
/* The times of a connection, and its end. */
#include "core/rpc/life_internal.h"

#include <string.h>

#include "core/adapter/clock.h"
#include "core/rpc/conn_internal.h"

/* For the peer to take what it was told last. While it takes something it gets as much
 * again, but not for ever. */
#define LINGER_MS 1000u
#define LINGER_LOOKS 30u

/* When the timer that is there for rpc_life_turn runs for nothing. */
#define SPARE_MS (24u * 60 * 60 * 1000)

static void
life_on_setup(struct rpc_conn *conn)
{
    if (conn->server)
        rpc_conn_goodbye(conn, NGHTTP2_SETTINGS_TIMEOUT, "no_settings",
                         "the client sent no SETTINGS in time");
    else
        rpc_conn_fail(conn, "the server sent no SETTINGS in time");
}

static void
life_on_headers(struct rpc_conn *conn)
{
    rpc_conn_goodbye(conn, NGHTTP2_ENHANCE_YOUR_CALM, "slow_headers",
                     "a header block was not complete in time");
}

static void
life_on_linger(struct rpc_conn *conn)
{
    size_t queued = conn->stream ? conn->stream->ops->queued(conn->stream) : 0;

    if (queued > 0 && queued < conn->life.linger_queued &&
        conn->life.linger_looks++ < LINGER_LOOKS) {
        conn->life.linger_queued = queued;
        rpc_life_set(conn, RPC_DUE_LINGER, LINGER_MS);
        return;
    }
    rpc_conn_gone(conn);
}

/* The turn itself is all there is to do. */
static void
life_on_turn(struct rpc_conn *conn)
{
    rpc_life_begin(conn);
}

static void (*const life_on_due[RPC_DUE_OWNER])(struct rpc_conn *conn) = {
    [RPC_DUE_SETUP] = life_on_setup,
    [RPC_DUE_HEADERS] = life_on_headers,
    [RPC_DUE_KEEPALIVE] = rpc_keepalive_on_due,
    [RPC_DUE_TURN] = life_on_turn,
    [RPC_DUE_LINGER] = life_on_linger,
};

static void life_on_timer(void *arg);

/* Have the timer run when the first time is there. One that runs earlier is left alone:
 * times move on far more often than they come. */
static void
life_arm(struct rpc_conn *conn)
{
    struct rpc_life *life = &conn->life;
    struct vmt_clock *clock = conn->clock;
    uint64_t first = UINT64_MAX;
    uint64_t now;

    for (size_t i = 0; i < RPC_DUE_COUNT; i++)
        if (life->due_ms[i] && life->due_ms[i] < first)
            first = life->due_ms[i];
    if (first == UINT64_MAX || (life->timer && life->timer_ms <= first))
        return;
    /* First this, then that: the new one finds the memory of the old. */
    clock->ops->timer_cancel(clock, life->timer);
    life->timer = NULL;
    now = clock->ops->now_ms(clock);
    life->timer_ms = first;
    if (clock->ops->timer_start(clock, first > now ? first - now : 0, life_on_timer, conn,
                                &life->timer) == 0)
        return;
    if (conn->told_lost)
        rpc_conn_gone(conn); /* it lingered */
    else
        rpc_conn_fail(conn, "out of memory");
}

static void
life_run(struct rpc_conn *conn, enum rpc_due which)
{
    conn->life.due_ms[which] = 0;
    if (which < RPC_DUE_OWNER)
        life_on_due[which](conn);
    else
        conn->ops->on_due(conn, which);
}

static void
life_on_timer(void *arg)
{
    struct rpc_conn *conn = arg;
    uint64_t now = conn->clock->ops->now_ms(conn->clock);

    conn->life.timer = NULL;
    rpc_conn_enter(conn);
    for (int i = 0; i < RPC_DUE_COUNT && !conn->closed; i++) {
        if (conn->life.due_ms[i] && conn->life.due_ms[i] <= now &&
            (!conn->lost || i == RPC_DUE_LINGER))
            life_run(conn, (enum rpc_due)i);
    }
    if (!conn->closed && conn->lost == conn->told_lost)
        life_arm(conn);
    rpc_conn_leave(conn);
}

void
rpc_life_set(struct rpc_conn *conn, enum rpc_due which, uint64_t delay_ms)
{
    if (conn->closed)
        return;
    conn->life.due_ms[which] = conn->clock->ops->now_ms(conn->clock) + delay_ms;
    life_arm(conn);
}

void
rpc_life_begin(struct rpc_conn *conn)
{
    rpc_life_set(conn, RPC_DUE_TURN, SPARE_MS);
}

bool
rpc_life_turn(struct rpc_conn *conn)
{
    rpc_life_set(conn, RPC_DUE_TURN, 0);
    return conn->life.timer != NULL;
}

void
rpc_life_clear(struct rpc_conn *conn, enum rpc_due which)
{
    conn->life.due_ms[which] = 0;
}

void
rpc_life_stop(struct rpc_conn *conn)
{
    conn->clock->ops->timer_cancel(conn->clock, conn->life.timer);
    conn->life.timer = NULL;
    memset(conn->life.due_ms, 0, sizeof(conn->life.due_ms));
}

void
rpc_life_linger(struct rpc_conn *conn)
{
    conn->life.linger_queued = conn->stream->ops->queued(conn->stream);
    conn->stream->ops->shutdown_send(conn->stream);
    rpc_life_set(conn, RPC_DUE_LINGER, LINGER_MS);
}
