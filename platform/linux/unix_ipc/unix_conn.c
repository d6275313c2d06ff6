/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/unix_ipc/unix_conn.c - a stream that is counted while it is open. */
#include <stdlib.h>

#include "core/adapter/stream.h"
#include "core/base/cleanup.h"
#include "core/ipc/ipc.h"
#include "platform/linux/unix_ipc/unix_internal.h"

struct unix_conn {
    struct stream base;
    struct vmt_list node;
    uint32_t uid;
    struct stream *inner;       /* owned */
    struct unix_server *server; /* borrowed; outlives its connections */
};

static struct unix_conn *
conn_of(const struct stream *s)
{
    return VMT_CONTAINER_OF((struct stream *)(uintptr_t)s, struct unix_conn, base);
}

static void
conn_set_handler(struct stream *s, const struct stream_handler *handler, void *arg)
{
    struct stream *inner = conn_of(s)->inner;

    inner->ops->set_handler(inner, handler, arg);
}

static int
conn_send(struct stream *s, const void *data, size_t len, const int *fds, size_t nfds)
{
    struct stream *inner = conn_of(s)->inner;

    return inner->ops->send(inner, data, len, fds, nfds);
}

static size_t
conn_queued(const struct stream *s)
{
    const struct stream *inner = conn_of(s)->inner;

    return inner->ops->queued(inner);
}

static size_t
conn_take_fds(struct stream *s, int *fds, size_t max)
{
    struct stream *inner = conn_of(s)->inner;

    return inner->ops->take_fds(inner, fds, max);
}

static void
conn_pause(struct stream *s, bool paused)
{
    struct stream *inner = conn_of(s)->inner;

    inner->ops->pause(inner, paused);
}

static void
conn_shutdown_send(struct stream *s)
{
    struct stream *inner = conn_of(s)->inner;

    inner->ops->shutdown_send(inner);
}

static void
conn_close(struct stream *s)
{
    struct unix_conn *c = conn_of(s);
    struct unix_server *server = c->server;

    stream_close(c->inner);
    vmt_list_remove(&c->node);
    free(c);
    unix_server_count(server, -1);
}

static void
conn_peer(const struct stream *s, struct stream_peer *ret_peer)
{
    const struct stream *inner = conn_of(s)->inner;

    inner->ops->peer(inner, ret_peer);
}

static const struct stream_ops conn_ops = {
    .set_handler = conn_set_handler,
    .send = conn_send,
    .queued = conn_queued,
    .take_fds = conn_take_fds,
    .pause = conn_pause,
    .shutdown_send = conn_shutdown_send,
    .close = conn_close,
    .peer = conn_peer,
};

struct stream *
unix_conn_new(struct unix_server *s, struct stream *inner, uint32_t uid)
{
    struct unix_conn *c = calloc(1, sizeof(*c));

    if (!c)
        return NULL;
    c->base.ops = &conn_ops;
    c->inner = inner;
    c->server = s;
    c->uid = uid;
    vmt_list_append(&s->conns, &c->node);
    unix_server_count(s, 1);
    return &c->base;
}

bool
unix_conn_is_full(const struct unix_server *s, uint32_t uid)
{
    struct unix_share used = {0};

    VMT_LIST_FOREACH(node, next, &s->conns)
    {
        const struct unix_conn *c = VMT_CONTAINER_OF(node, struct unix_conn, node);

        used.own += c->uid == uid;
        used.foreign += !ipc_is_service(s->ipc, c->uid);
    }
    return unix_is_full_for(s, uid, &used, s->connections_max);
}
