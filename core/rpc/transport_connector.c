/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/rpc/transport_connector.h"

#include <errno.h>
#include <stdlib.h>

#include "core/adapter/transport.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"

struct transport_connector {
    struct connector base;
    struct transport *transport; /* borrowed */
    struct transport_op *op;     /* owned by the transport; NULL without an attempt */
    uint32_t cid, port;
    connector_done_fn *on_done;
    void *arg; /* borrowed */
};

static struct transport_connector *
self_of(struct connector *base)
{
    return VMT_CONTAINER_OF(base, struct transport_connector, base);
}

static void
on_connected(void *arg, struct stream *s, const struct vmt_err *err)
{
    struct transport_connector *c = arg;

    c->op = NULL;
    c->on_done(c->arg, s, err);
}

static int
transport_connector_connect(struct connector *base, unsigned timeout_ms,
                            connector_done_fn *on_done, void *arg, struct vmt_err *err)
{
    struct transport_connector *c = self_of(base);
    const struct transport_dial dial = {.cid = c->cid,
                                        .port = c->port,
                                        .timeout_ms = timeout_ms,
                                        .on_done = on_connected,
                                        .arg = c};

    c->on_done = on_done;
    c->arg = arg;
    return c->transport->ops->connect(c->transport, &dial, &c->op, err);
}

static void
transport_connector_cancel(struct connector *base)
{
    struct transport_connector *c = self_of(base);

    if (c->op)
        c->transport->ops->cancel(c->op);
    c->op = NULL;
}

static void
transport_connector_free(struct connector *base)
{
    transport_connector_cancel(base);
    free(self_of(base));
}

static const struct connector_ops transport_connector_ops = {
    .connect = transport_connector_connect,
    .cancel = transport_connector_cancel,
    .free = transport_connector_free,
};

int
transport_connector_new(struct transport *transport, uint32_t cid, uint32_t port,
                        struct connector **ret_connector, struct vmt_err *err)
{
    struct transport_connector *c = calloc(1, sizeof(*c));

    if (!c)
        return vmt_err_set(err, ENOMEM, "prepare to connect to port %u of vm %u", port,
                           cid);
    c->base.ops = &transport_connector_ops;
    c->transport = transport;
    c->cid = cid;
    c->port = port;
    *ret_connector = &c->base;
    return 0;
}
