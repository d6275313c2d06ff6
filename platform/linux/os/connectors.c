/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/os/connectors.c - each attempt is a dial like those of the transports.
 */
#include "platform/linux/os/connectors.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "platform/linux/os/dial_internal.h"
#include "platform/linux/os/transport_socket_internal.h"
#include "platform/linux/os/unix_socket_internal.h"

struct os_connector {
    struct connector base;
    struct os_loop *loop;         /* borrowed */
    struct vmt_list ops;          /* the attempt, if one runs; owned */
    dial_step_fn *step;           /* the first of each attempt */
    union socket_address address; /* TCP only */
    connector_done_fn *on_done;
    void *arg;   /* borrowed */
    char name[]; /* of the peer: a path, or address and port */
};

struct connector_op {
    struct transport_op op;
    struct os_connector *connector; /* borrowed */
    bool started;
};

static struct os_connector *
self_of(struct connector *base)
{
    return VMT_CONTAINER_OF(base, struct os_connector, base);
}

static struct connector_op *
op_of(struct transport_op *op)
{
    return VMT_CONTAINER_OF(op, struct connector_op, op);
}

static int
unix_step(struct transport_op *op, struct vmt_err *err)
{
    int r = os_unix_connect_nonblock(op->name, &op->fd, err);

    if (r != -EAGAIN)
        return r;
    op->want = 0; /* its backlog is full */
    return 1;
}

static int
tcp_open(struct transport_op *op, struct vmt_err *err)
{
    const union socket_address *address = &op_of(op)->connector->address;
    int fd =
        socket(address->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0)
        return vmt_err_set(err, errno, "make a socket");
    transport_tcp_family.tune(fd, false, 0);
    op->fd = fd;
    return 0;
}

static int
tcp_step(struct transport_op *op, struct vmt_err *err)
{
    const union socket_address *address = &op_of(op)->connector->address;
    int r = op->fd < 0 ? tcp_open(op, err) : 0;

    if (r < 0)
        return r;
    return dial_socket_step(op, &op_of(op)->started, &address->any,
                            transport_socket_address_len(address), err);
}

static void
os_connector_on_done(void *arg, struct stream *s, const struct vmt_err *err)
{
    struct os_connector *c = arg;

    c->on_done(c->arg, s, err);
}

static int
os_connector_connect(struct connector *base, unsigned timeout_ms,
                     connector_done_fn *on_done, void *arg, struct vmt_err *err)
{
    struct os_connector *c = self_of(base);
    VMT_CLEANUP(vmt_freep) struct connector_op *self = calloc(1, sizeof(*self));
    int r;

    if (!self)
        return vmt_err_set(err, ENOMEM, "connect to %s", c->name);
    c->on_done = on_done;
    c->arg = arg;
    self->connector = c;
    self->op.loop = c->loop;
    self->op.step = c->step;
    self->op.name = c->name;
    self->op.dial.timeout_ms = timeout_ms;
    self->op.dial.on_done = os_connector_on_done;
    self->op.dial.arg = c;
    /* What a unix socket's stream asks the kernel for. */
    self->op.peer.kind = c->step == tcp_step ? STREAM_PEER_TCP : STREAM_PEER_UNKNOWN;
    self->op.fd = -1;
    r = dial_start(&self->op, &c->ops);
    if (r < 0)
        return vmt_err_set(err, -r, "connect to %s", c->name);
    (void)vmt_take_ptr(&self);
    return 0;
}

static void
os_connector_cancel(struct connector *base)
{
    dial_cancel_all(&self_of(base)->ops);
}

static void
os_connector_free(struct connector *base)
{
    os_connector_cancel(base);
    free(self_of(base));
}

static const struct connector_ops os_connector_ops = {
    .connect = os_connector_connect,
    .cancel = os_connector_cancel,
    .free = os_connector_free,
};

static struct os_connector *
os_connector_make(struct os_loop *loop, dial_step_fn *step, const char *name)
{
    size_t size = strlen(name) + 1;
    struct os_connector *c = calloc(1, sizeof(*c) + size);

    if (!c)
        return NULL;
    c->base.ops = &os_connector_ops;
    c->loop = loop;
    c->step = step;
    vmt_list_init(&c->ops);
    memcpy(c->name, name, size);
    return c;
}

int
connector_unix_new(struct os_loop *loop, const char *path,
                   struct connector **ret_connector, struct vmt_err *err)
{
    struct os_connector *c = os_connector_make(loop, unix_step, path);

    if (!c)
        return vmt_err_set(err, ENOMEM, "prepare to connect to %s", path);
    *ret_connector = &c->base;
    return 0;
}

int
connector_tcp_new(struct os_loop *loop, const char *address, uint16_t port,
                  struct connector **ret_connector, struct vmt_err *err)
{
    union socket_address parsed;
    struct os_connector *c;
    char name[64];
    int r = transport_tcp_family.vm_address(0, address, &parsed, err);

    if (r < 0)
        return vmt_err_wrap(err, r, "prepare to connect by tcp");
    (void)snprintf(name, sizeof(name), "%s port %u", address, port);
    c = os_connector_make(loop, tcp_step, name);
    if (!c)
        return vmt_err_set(err, ENOMEM, "prepare to connect to %s", name);
    c->address = parsed;
    transport_tcp_family.set_port(&c->address, port);
    *ret_connector = &c->base;
    return 0;
}
