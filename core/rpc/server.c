/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/rpc/server.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/adapter/clock.h"
#include "core/base/err.h"
#include "core/base/log.h"
#include "core/rpc/jitter_internal.h"
#include "core/rpc/server_internal.h"

#define CONNECTIONS_DEFAULT 64u
#define STREAMS_DEFAULT 100u

/* gRPC's own. */
#define KEEPALIVE_DEFAULT_MS (2u * 60 * 60 * 1000)

static uint64_t
server_now(const struct rpc_server *server)
{
    return server->clock->ops->now_ms(server->clock);
}

void
rpc_server_conn_close(struct server_conn *conn)
{
    vmt_list_remove(&conn->node);
    conn->server->nconns--;
    rpc_server_check_drained(conn->server);
    rpc_conn_close(&conn->base);
}

static void
server_conn_on_lost(struct rpc_conn *base, const char *reason)
{
    struct server_conn *conn = VMT_CONTAINER_OF(base, struct server_conn, base);

    vmt_log_debug("rpc connection ended: %s", reason);
    /* A cancel callback may free the server, which closes us. */
    while (!base->closed && !vmt_list_empty(&base->calls)) {
        struct rpc_server_call *call =
            VMT_CONTAINER_OF(base->calls.next, struct rpc_server_call, base.node);

        rpc_call_detach(&call->base);
        rpc_server_call_gone(call);
    }
    if (!base->closed && !base->lingering)
        rpc_server_conn_close(conn);
}

static void
server_conn_on_gone(struct rpc_conn *base)
{
    rpc_server_conn_close(VMT_CONTAINER_OF(base, struct server_conn, base));
}

static void
server_conn_on_goaway(struct rpc_conn *base, const nghttp2_goaway *goaway)
{
    (void)base,
        (void)goaway; /* the client says that it opens no more calls; those open go on */
}

static void
server_conn_free(struct rpc_conn *base)
{
    struct server_conn *conn = VMT_CONTAINER_OF(base, struct server_conn, base);

    rpc_peer_unref(conn->peer);
    free(conn);
}

static const struct rpc_conn_ops server_conn_ops = {
    .on_request = rpc_server_call_new,
    .on_goaway = server_conn_on_goaway,
    .on_lost = server_conn_on_lost,
    .on_gone = server_conn_on_gone,
    .on_due = rpc_server_conn_on_due,
    .on_pong = rpc_server_conn_on_pong,
    .on_goaway_sent = rpc_server_conn_on_goaway_sent,
    .free = server_conn_free,
};

static struct rpc_keepalive_config
server_keepalive(const struct rpc_server_config *config)
{
    return (struct rpc_keepalive_config){
        .time_ms = config->keepalive_ms ? config->keepalive_ms : KEEPALIVE_DEFAULT_MS,
        .timeout_ms = config->keepalive_timeout_ms,
        .without_calls = true,
        .enforce = true,
        .ping_min_ms = config->ping_min_ms,
        .ping_always = config->ping_without_calls,
        .ping_strikes = config->ping_strikes,
    };
}

static int
server_conn_start(struct rpc_server *server, struct server_conn *conn,
                  struct stream *stream)
{
    struct rpc_conn_config config = {
        .ops = &server_conn_ops,
        .clock = server->clock,
        .server = true,
        .streams_max = (uint32_t)server->config.streams_max,
        .message_max = (uint32_t)server->config.message_max,
        .send_max = server->config.send_max,
        .setup_ms = server->config.setup_ms,
        .keepalive = server_keepalive(&server->config),
    };
    int r = rpc_conn_init(&conn->base, &config, stream, NULL);

    if (r == 0)
        rpc_server_conn_begin(conn);
    return r;
}

void
rpc_server_accept(struct rpc_server *server, struct stream *stream,
                  const struct stream_peer *peer)
{
    struct server_conn *conn = NULL;
    struct stream_peer found = {0};

    if (!server->draining && server->nconns < server->config.connections_max)
        conn = calloc(1, sizeof(*conn));
    if (!conn) {
        vmt_log_debug("rpc connection refused: %zu are open", server->nconns);
        stream_close(stream);
        return;
    }
    conn->server = server;
    conn->active_ms = server_now(server);
    if (!peer)
        stream->ops->peer(stream, &found);
    conn->peer = rpc_peer_new(peer ? peer : &found);
    if (!conn->peer || server_conn_start(server, conn, stream) < 0) {
        stream_close(stream);
        server_conn_free(&conn->base);
        return;
    }
    vmt_list_append(&server->conns, &conn->node);
    server->nconns++;
}

int
rpc_server_new(struct vmt_clock *clock, const struct rpc_server_config *config,
               struct rpc_server **ret_server, struct vmt_err *err)
{
    struct rpc_server *server = calloc(1, sizeof(*server));

    if (!server)
        return vmt_err_set(err, ENOMEM, "create rpc server");
    if (config)
        server->config = *config;
    if (!server->config.connections_max)
        server->config.connections_max = CONNECTIONS_DEFAULT;
    if (!server->config.streams_max)
        server->config.streams_max = STREAMS_DEFAULT;
    if (!server->config.message_max)
        server->config.message_max = VMT_RPC_MESSAGE_MAX;
    server->clock = clock;
    server->random = rpc_jitter_seed(clock, server);
    vmt_list_init(&server->services);
    vmt_list_init(&server->conns);
    vmt_list_init(&server->orphans);
    *ret_server = server;
    return 0;
}

void
rpc_server_free(struct rpc_server *server)
{
    if (!server)
        return;
    server->on_drained = NULL;
    rpc_server_drain_stop(server);
    if (server->freed)
        *server->freed = true;
    VMT_LIST_FOREACH(node, next, &server->conns)
    {
        struct server_conn *conn = VMT_CONTAINER_OF(node, struct server_conn, node);

        while (!vmt_list_empty(&conn->base.calls))
            rpc_server_call_drop(VMT_CONTAINER_OF(conn->base.calls.next,
                                                  struct rpc_server_call, base.node));
        rpc_server_conn_close(conn);
    }
    while (!vmt_list_empty(&server->orphans))
        rpc_server_call_drop(
            VMT_CONTAINER_OF(server->orphans.next, struct rpc_server_call, base.node));
    VMT_LIST_FOREACH(node, next, &server->services)
    free(VMT_CONTAINER_OF(node, struct server_service, node));
    rpc_health_free(server->health);
    rpc_reflection_free(server->reflection);
    free(server);
}

int
rpc_server_add(struct rpc_server *server, const struct rpc_server_service *service,
               void *ctx, struct vmt_err *err)
{
    struct server_service *added;

    VMT_LIST_FOREACH(node, next, &server->services)
    {
        if (strcmp(VMT_CONTAINER_OF(node, struct server_service, node)->service->name,
                   service->name) == 0)
            return vmt_err_set(err, EEXIST, "add service %s", service->name);
    }
    added = calloc(1, sizeof(*added));
    if (!added)
        return vmt_err_set(err, ENOMEM, "add service %s", service->name);
    added->service = service;
    added->ctx = ctx;
    added->name_len = strlen(service->name);
    vmt_list_append(&server->services, &added->node);
    return 0;
}

const struct rpc_server_method *
rpc_server_find(const struct rpc_server *server, const uint8_t *path, size_t len,
                const struct server_service **ret_service)
{
    VMT_LIST_FOREACH(node, next, &server->services)
    {
        struct server_service *s = VMT_CONTAINER_OF(node, struct server_service, node);
        const uint8_t *name = path + s->name_len + 2;

        if (len < s->name_len + 2 || path[0] != '/' || path[s->name_len + 1] != '/' ||
            memcmp(path + 1, s->service->name, s->name_len) != 0)
            continue;
        *ret_service = s;
        for (size_t i = 0; i < s->service->nmethods; i++) {
            const struct rpc_server_method *m = &s->service->methods[i];

            if (strlen(m->name) == len - s->name_len - 2 &&
                memcmp(m->name, name, len - s->name_len - 2) == 0)
                return m;
        }
        return NULL;
    }
    return NULL;
}
