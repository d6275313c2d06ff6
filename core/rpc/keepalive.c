/* SPDX-License-Identifier: BSD-3-Clause */
/* Is the peer there? And does it ask so too often?
 * Sources: grpc doc/keepalive.md; gRPC proposals A8 (client) and A9 (server). */
#include "core/adapter/clock.h"
#include "core/rpc/conn_internal.h"
#include "core/rpc/rpc.h"

#define TIMEOUT_DEFAULT_MS 20000u
#define PING_MIN_DEFAULT_MS (5u * 60 * 1000)
#define STRIKES_DEFAULT 2u

/* Without calls nobody needs to know so soon. */
#define PING_MIN_IDLE_MS (2u * 60 * 60 * 1000)

void
rpc_keepalive_start(struct rpc_conn *conn, const struct rpc_keepalive_config *config)
{
    struct rpc_keepalive *k = &conn->keepalive;

    k->config = *config;
    if (!k->config.timeout_ms)
        k->config.timeout_ms = TIMEOUT_DEFAULT_MS;
    if (!k->config.ping_min_ms)
        k->config.ping_min_ms = PING_MIN_DEFAULT_MS;
    if (!k->config.ping_strikes)
        k->config.ping_strikes = STRIKES_DEFAULT;
    k->heard_ms = conn->clock->ops->now_ms(conn->clock);
    if (k->config.time_ms != RPC_NEVER_MS)
        rpc_life_set(conn, RPC_DUE_KEEPALIVE, k->config.time_ms);
}

void
rpc_keepalive_heard(struct rpc_conn *conn)
{
    struct rpc_keepalive *k = &conn->keepalive;

    if (k->config.time_ms == RPC_NEVER_MS)
        return;
    k->heard_ms = conn->clock->ops->now_ms(conn->clock);
    if (!k->waiting)
        return;
    k->waiting = false;
    rpc_life_set(conn, RPC_DUE_KEEPALIVE, k->config.time_ms);
}

static void
keepalive_ask(struct rpc_conn *conn)
{
    struct rpc_keepalive *k = &conn->keepalive;

    if (nghttp2_submit_ping(conn->session, NGHTTP2_FLAG_NONE, NULL) != 0) {
        rpc_conn_fail(conn, "out of memory");
        return;
    }
    k->waiting = true;
    rpc_life_set(conn, RPC_DUE_KEEPALIVE, k->config.timeout_ms);
    rpc_conn_kick(conn);
}

void
rpc_keepalive_on_due(struct rpc_conn *conn)
{
    struct rpc_keepalive *k = &conn->keepalive;
    uint64_t silence = conn->clock->ops->now_ms(conn->clock) - k->heard_ms;

    if (k->waiting)
        rpc_conn_fail(conn, "keepalive timeout: the peer did not answer for %u ms",
                      k->config.timeout_ms);
    else if (silence < k->config.time_ms)
        rpc_life_set(conn, RPC_DUE_KEEPALIVE, k->config.time_ms - silence);
    else if (conn->ncalls == 0 && !k->config.without_calls)
        rpc_life_set(conn, RPC_DUE_KEEPALIVE, k->config.time_ms);
    else
        keepalive_ask(conn);
}

void
rpc_keepalive_pinged(struct rpc_conn *conn)
{
    struct rpc_keepalive *k = &conn->keepalive;
    uint64_t now, apart;

    if (!k->config.enforce || k->config.ping_strikes == UINT32_MAX)
        return;
    now = conn->clock->ops->now_ms(conn->clock);
    apart = conn->ncalls == 0 && !k->config.ping_always ? PING_MIN_IDLE_MS
                                                        : k->config.ping_min_ms;
    if (k->pinged && now - k->pinged_ms < apart && ++k->strikes > k->config.ping_strikes)
        rpc_conn_goodbye(conn, NGHTTP2_ENHANCE_YOUR_CALM, "too_many_pings",
                         "the peer pings too often");
    k->pinged = true;
    k->pinged_ms = now;
}
