/* SPDX-License-Identifier: BSD-3-Clause */
/* How a server ends connections in peace: for idleness, for age, or all of them.
 * Sources: RFC 9113 section 6.8; gRPC proposal A9. */
#include <errno.h>
#include <string.h>

#include "core/adapter/clock.h"
#include "core/base/err.h"
#include "core/base/log.h"
#include "core/rpc/health.h"
#include "core/rpc/jitter_internal.h"
#include "core/rpc/server_internal.h"

/* For the client to answer the PING between the two GOAWAYs; then the second follows
 * anyhow. */
#define NOTICE_MS 5000u

/* For the goodbye of an idle connection. */
#define IDLE_GRACE_MS 10000u

/* Ages differ by so much to either side: connections that began together must not all
 * come back together. */
#define AGE_JITTER_PERCENT 10u

/* What the PING between the two GOAWAYs carries, to know its answer. */
static const uint8_t notice_opaque[8] = {'g', 'o', 'i', 'n', 'g', 'a', 'w', 'y'};

static struct server_conn *
conn_of(struct rpc_conn *base)
{
    return VMT_CONTAINER_OF(base, struct server_conn, base);
}

static uint64_t
drain_now(const struct rpc_server *server)
{
    return server->clock->ops->now_ms(server->clock);
}

void
rpc_server_conn_begin(struct server_conn *conn)
{
    struct rpc_server *server = conn->server;

    if (server->config.idle_ms > 0)
        rpc_life_set(&conn->base, RPC_DUE_IDLE, server->config.idle_ms);
    if (server->config.age_ms > 0)
        rpc_life_set(
            &conn->base, RPC_DUE_AGE,
            rpc_jitter(&server->random, server->config.age_ms, AGE_JITTER_PERCENT));
}

/* Calls do not touch the time of idleness; it looks after them when it comes. */
static void
drain_on_idle(struct server_conn *conn)
{
    uint64_t idle = drain_now(conn->server) - conn->active_ms;
    uint64_t wait = conn->server->config.idle_ms;

    if (conn->nhandled > 0 || idle < wait) {
        rpc_life_set(&conn->base, RPC_DUE_IDLE, conn->nhandled > 0 ? wait : wait - idle);
        return;
    }
    conn->spares_calls = true;
    rpc_server_conn_drain(conn, "max_idle", IDLE_GRACE_MS);
}

static void
drain_on_age(struct server_conn *conn)
{
    uint32_t grace = conn->server->config.age_grace_ms;

    rpc_server_conn_drain(conn, "max_age", grace ? grace : RPC_NEVER_MS);
}

/* The second GOAWAY. */
static void
drain_leave(struct server_conn *conn)
{
    nghttp2_session *session = conn->base.session;

    if (conn->state != SERVER_CONN_NOTICED)
        return;
    conn->state = SERVER_CONN_LEAVING;
    rpc_life_clear(&conn->base, RPC_DUE_NOTICE);
    if (nghttp2_submit_goaway(session, NGHTTP2_FLAG_NONE,
                              nghttp2_session_get_last_proc_stream_id(session),
                              NGHTTP2_NO_ERROR, (const uint8_t *)conn->farewell,
                              strlen(conn->farewell)) != 0)
        rpc_conn_fail(&conn->base, "out of memory");
    rpc_conn_kick(&conn->base);
}

static void
drain_cut(struct server_conn *conn)
{
    rpc_conn_fail(&conn->base, "the time to end calls is over");
}

/* Calls that came before the client knew must not pay for an idleness that they ended. */
static void
drain_on_grace_over(struct server_conn *conn)
{
    if (conn->spares_calls && conn->nhandled > 0)
        rpc_life_set(&conn->base, RPC_DUE_GRACE, IDLE_GRACE_MS);
    else
        drain_cut(conn);
}

void
rpc_server_conn_on_due(struct rpc_conn *base, enum rpc_due which)
{
    static void (*const handlers[RPC_DUE_COUNT])(struct server_conn * conn) = {
        [RPC_DUE_IDLE] = drain_on_idle,
        [RPC_DUE_AGE] = drain_on_age,
        [RPC_DUE_NOTICE] = drain_leave,
        [RPC_DUE_GRACE] = drain_on_grace_over,
    };

    handlers[which](conn_of(base));
}

void
rpc_server_conn_on_pong(struct rpc_conn *base, const uint8_t *opaque)
{
    if (memcmp(opaque, notice_opaque, sizeof(notice_opaque)) == 0)
        drain_leave(conn_of(base));
}

/* The session sends PINGs before all else, so it gets this one only now: its answer says
 * that the client has read what came before. */
void
rpc_server_conn_on_goaway_sent(struct rpc_conn *base)
{
    if (conn_of(base)->state != SERVER_CONN_NOTICED)
        return;
    if (nghttp2_submit_ping(base->session, NGHTTP2_FLAG_NONE, notice_opaque) != 0)
        rpc_conn_fail(base, "out of memory");
}

void
rpc_server_conn_drain(struct server_conn *conn, const char *farewell, uint32_t grace_ms)
{
    struct rpc_conn *base = &conn->base;

    if (base->lost)
        return;
    rpc_life_clear(base, RPC_DUE_IDLE);
    rpc_life_clear(base, RPC_DUE_AGE);
    if (grace_ms != RPC_NEVER_MS)
        rpc_life_set(base, RPC_DUE_GRACE, grace_ms);
    if (conn->state != SERVER_CONN_OPEN)
        return;
    conn->state = SERVER_CONN_NOTICED;
    conn->farewell = farewell;
    if (nghttp2_submit_shutdown_notice(base->session) != 0)
        rpc_conn_fail(base, "out of memory");
    rpc_life_set(base, RPC_DUE_NOTICE, NOTICE_MS);
    rpc_conn_kick(base);
}

/* The whole server. */

static void
drain_report(struct rpc_server *server)
{
    void (*fn)(void *arg) = server->on_drained;

    server->on_drained = NULL;
    rpc_server_drain_stop(server);
    fn(server->drained_arg);
}

static void
drain_on_drained(void *arg)
{
    struct rpc_server *server = arg;

    server->drained_timer = NULL;
    drain_report(server);
}

void
rpc_server_check_drained(struct rpc_server *server)
{
    struct vmt_clock *clock = server->clock;

    if (!server->on_drained || server->nconns > 0 || server->drained_timer)
        return;
    /* Without memory for a timer the one of the grace reports. */
    (void)clock->ops->timer_start(clock, 0, drain_on_drained, server,
                                  &server->drained_timer);
}

void
rpc_server_drain_stop(struct rpc_server *server)
{
    struct vmt_clock *clock = server->clock;

    clock->ops->timer_cancel(clock, server->grace_timer);
    clock->ops->timer_cancel(clock, server->drained_timer);
    server->grace_timer = server->drained_timer = NULL;
}

/* Time is over. A cancel callback may free the server. */
static void
drain_on_grace(void *arg)
{
    struct rpc_server *server = arg;
    bool freed = false;

    server->grace_timer = NULL;
    server->freed = &freed;
    while (!freed && !vmt_list_empty(&server->conns)) {
        struct server_conn *conn =
            VMT_CONTAINER_OF(server->conns.next, struct server_conn, node);

        if (conn->base.told_lost) { /* it only lingers */
            rpc_server_conn_close(conn);
            continue;
        }
        rpc_conn_enter(&conn->base);
        drain_cut(conn);
        rpc_conn_leave(&conn->base);
    }
    if (freed)
        return;
    server->freed = NULL;
    if (server->on_drained)
        drain_report(server);
}

int
rpc_server_drain(struct rpc_server *server, uint32_t grace_ms,
                 void (*on_drained)(void *arg), void *arg, struct vmt_err *err)
{
    struct vmt_clock *clock = server->clock;

    if (server->draining)
        return vmt_err_set(err, EALREADY, "drain rpc server");
    if (clock->ops->timer_start(clock, grace_ms, drain_on_grace, server,
                                &server->grace_timer) < 0)
        return vmt_err_set(err, ENOMEM, "drain rpc server");
    server->draining = true;
    server->on_drained = on_drained;
    server->drained_arg = arg;
    rpc_health_shutdown(server);
    VMT_LIST_FOREACH(node, next, &server->conns)
    {
        struct server_conn *conn = VMT_CONTAINER_OF(node, struct server_conn, node);

        rpc_server_conn_drain(conn, "shutting_down", RPC_NEVER_MS);
    }
    rpc_server_check_drained(server);
    return 0;
}
