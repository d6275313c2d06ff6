/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/contract/transport/hybrid_guest.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/adapter/clock.h"
#include "core/adapter/stream.h"
#include "core/adapter/transport.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/limits.h"
#include "core/base/list.h"
#include "platform/linux/os/loop.h"
#include "platform/linux/os/stream_fd.h"
#include "platform/linux/os/unix_socket.h"

struct hybrid_guest {
    struct transport base;
    struct os_loop *loop; /* borrowed */
    struct os_listener *door;
    struct vmt_list callers;   /* struct guest_caller, owned */
    struct vmt_list ops;       /* struct transport_op, owned */
    struct vmt_list listeners; /* struct transport_listener, owned */
    bool host_added, hung;
    char dir[];
};

/* A connection that has not said CONNECT yet. */
struct guest_caller {
    struct vmt_list node;
    struct hybrid_guest *g; /* borrowed */
    struct stream *s;       /* owned */
    char line[32];
    size_t n;
};

struct transport_listener {
    struct vmt_list node;
    uint32_t port;
    transport_accept_fn *fn;
    void *arg; /* borrowed */
};

struct transport_op {
    struct vmt_list node;
    struct hybrid_guest *g; /* borrowed */
    struct transport_dial dial;
    struct vmt_timer *step;
};

static struct hybrid_guest *
self_of(struct transport *t)
{
    return VMT_CONTAINER_OF(t, struct hybrid_guest, base);
}

static struct transport_listener *
listener_find(struct hybrid_guest *g, uint32_t port)
{
    VMT_LIST_FOREACH(node, next, &g->listeners)
    {
        struct transport_listener *l =
            VMT_CONTAINER_OF(node, struct transport_listener, node);

        if (l->port == port)
            return l;
    }
    return NULL;
}

static void
caller_free(struct guest_caller *c)
{
    vmt_list_remove(&c->node);
    stream_close(c->s);
    free(c);
}

/* The answer and the first bytes of the stream leave in one write: the reader must tell
 * them apart by the newline alone. */
static void
caller_connect(struct guest_caller *c)
{
    const struct stream_peer peer = {.kind = STREAM_PEER_VM, .cid = VMT_CID_HOST};
    struct transport_listener *l;
    struct stream *s;
    unsigned port;

    if (sscanf(c->line, "CONNECT %u", &port) != 1 || !c->g->host_added) {
        caller_free(c);
        return;
    }
    l = listener_find(c->g, port);
    if (!l) {
        caller_free(c);
        return;
    }
    s = vmt_take_ptr(&c->s);
    caller_free(c);
    s->ops->set_handler(s, NULL, NULL);
    (void)s->ops->send(s, "OK 1073741824\n", 14, NULL, 0);
    l->fn(l->arg, s, &peer);
}

static void
caller_on_data(void *arg, const uint8_t *data, size_t len)
{
    struct guest_caller *c = arg;

    if (c->g->hung)
        return;
    if (len > sizeof(c->line) - c->n - 1) {
        caller_free(c);
        return;
    }
    memcpy(c->line + c->n, data, len);
    c->n += len;
    if (c->line[c->n - 1] == '\n')
        caller_connect(c);
}

static void
caller_on_end(void *arg, int status)
{
    (void)status;
    caller_free(arg);
}

static const struct stream_handler caller_handler = {caller_on_data, NULL, caller_on_end};

static void
guest_on_accept(void *arg, struct stream *s, const struct stream_peer *peer)
{
    struct hybrid_guest *g = arg;
    struct guest_caller *c = calloc(1, sizeof(*c));

    (void)peer;
    if (!c) {
        stream_close(s);
        return;
    }
    c->g = g;
    c->s = s;
    vmt_list_append(&g->callers, &c->node);
    s->ops->set_handler(s, &caller_handler, c);
}

static int
guest_vm_add(struct transport *t, uint32_t cid, const char *address, struct vmt_err *err)
{
    struct hybrid_guest *g = self_of(t);

    (void)address;
    if (cid != VMT_CID_HOST)
        return vmt_err_setx(err, EINVAL, "a guest reaches the host only");
    if (g->host_added)
        return vmt_err_set(err, EEXIST, "add the host");
    g->host_added = true;
    return 0;
}

static void
guest_vm_remove(struct transport *t, uint32_t cid)
{
    if (cid == VMT_CID_HOST)
        self_of(t)->host_added = false;
}

static void
guest_cancel(struct transport_op *op)
{
    struct vmt_clock *clock = os_loop_clock(op->g->loop);

    clock->ops->timer_cancel(clock, op->step);
    vmt_list_remove(&op->node);
    free(op);
}

/* Returns -EAGAIN when the backlog is full. */
static int
op_open(const struct transport_op *op, struct stream **ret_s, struct vmt_err *err)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    VMT_CLEANUP(vmt_closep)
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int r;

    (void)snprintf(to.sun_path, sizeof(to.sun_path), "%s/vsock_%u", op->g->dir,
                   op->dial.port);
    if (fd < 0 || connect(fd, (struct sockaddr *)(void *)&to, sizeof(to)) < 0)
        return vmt_err_set(err, errno, "connect to %s", to.sun_path);
    r = os_stream_new(op->g->loop, fd, NULL, ret_s, err);
    if (r == 0)
        fd = -1;
    return r;
}

static void
op_on_step(void *arg)
{
    struct transport_op *op = arg;
    struct vmt_clock *clock = os_loop_clock(op->g->loop);
    struct transport_dial dial = op->dial;
    struct stream *s = NULL;
    struct vmt_err err;
    int r = op_open(op, &s, &err);

    op->step = NULL;
    if (r == -EAGAIN && clock->ops->timer_start(clock, 1, op_on_step, op, &op->step) == 0)
        return;
    guest_cancel(op);
    dial.on_done(dial.arg, s, r < 0 ? &err : NULL);
}

static int
guest_connect(struct transport *t, const struct transport_dial *dial,
              struct transport_op **ret_op, struct vmt_err *err)
{
    struct hybrid_guest *g = self_of(t);
    struct vmt_clock *clock = os_loop_clock(g->loop);
    struct transport_op *op;

    if (dial->cid != VMT_CID_HOST || !g->host_added)
        return vmt_err_setx(err, ENOENT, "no vm %u", dial->cid);
    op = calloc(1, sizeof(*op));
    if (!op)
        return vmt_err_set(err, ENOMEM, "connect to the host");
    op->g = g;
    op->dial = *dial;
    vmt_list_append(&g->ops, &op->node);
    if (clock->ops->timer_start(clock, 0, op_on_step, op, &op->step) < 0)
        abort();
    *ret_op = op;
    return 0;
}

static int
guest_listen(struct transport *t, uint32_t port, transport_accept_fn *fn, void *arg,
             struct transport_listener **ret_listener, struct vmt_err *err)
{
    struct hybrid_guest *g = self_of(t);
    struct transport_listener *l;

    if (listener_find(g, port))
        return vmt_err_set(err, EADDRINUSE, "listen on port %u", port);
    l = calloc(1, sizeof(*l));
    if (!l)
        return vmt_err_set(err, ENOMEM, "listen on port %u", port);
    l->port = port;
    l->fn = fn;
    l->arg = arg;
    vmt_list_append(&g->listeners, &l->node);
    *ret_listener = l;
    return 0;
}

static void
guest_unlisten(struct transport_listener *l)
{
    if (!l)
        return;
    vmt_list_remove(&l->node);
    free(l);
}

static void
guest_free(struct transport *t)
{
    struct hybrid_guest *g = self_of(t);

    os_listener_free(g->door);
    VMT_LIST_FOREACH(node, next, &g->callers)
    caller_free(VMT_CONTAINER_OF(node, struct guest_caller, node));
    VMT_LIST_FOREACH(node, next, &g->ops)
    guest_cancel(VMT_CONTAINER_OF(node, struct transport_op, node));
    VMT_LIST_FOREACH(node, next, &g->listeners)
    guest_unlisten(VMT_CONTAINER_OF(node, struct transport_listener, node));
    free(g);
}

static const struct transport_ops hybrid_guest_ops = {
    .name = "hybrid guest",
    .vm_add = guest_vm_add,
    .vm_remove = guest_vm_remove,
    .connect = guest_connect,
    .cancel = guest_cancel,
    .listen = guest_listen,
    .unlisten = guest_unlisten,
    .free = guest_free,
};

struct transport *
hybrid_guest_new(struct os_loop *loop, const char *dir)
{
    size_t len = strlen(dir) + 1;
    struct hybrid_guest *g = calloc(1, sizeof(*g) + len);
    VMT_CLEANUP(vmt_freep) char *path = NULL;
    int fd;

    if (!g)
        return NULL;
    g->base.ops = &hybrid_guest_ops;
    g->loop = loop;
    memcpy(g->dir, dir, len);
    vmt_list_init(&g->callers);
    vmt_list_init(&g->ops);
    vmt_list_init(&g->listeners);
    if (asprintf(&path, "%s/vsock", dir) > 0 &&
        os_unix_listen(path, 0600, 16, &fd, NULL) == 0) {
        if (os_listener_new(loop, fd, NULL, guest_on_accept, g, &g->door, NULL) == 0)
            return &g->base;
        (void)close(fd);
    }
    guest_free(&g->base);
    return NULL;
}

void
hybrid_guest_set_hung(struct transport *t, bool hung)
{
    self_of(t)->hung = hung;
}
