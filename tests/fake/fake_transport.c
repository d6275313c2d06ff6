/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/fake/fake_transport.h"

#include <errno.h>
#include <stdlib.h>

#include "core/adapter/clock.h"
#include "core/adapter/stream.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/list.h"
#include "tests/fake/fake_stream.h"

struct fake_net {
    struct vmt_clock *clock; /* borrowed */
    struct vmt_list sides;   /* struct fake_side, owned by their users */
};

struct fake_side {
    struct transport base;
    struct vmt_list node;
    struct fake_net *net; /* borrowed */
    uint32_t cid;
    bool hung;
    struct vmt_list peers;     /* struct fake_vm, owned */
    struct vmt_list ops;       /* struct transport_op, owned */
    struct vmt_list listeners; /* struct transport_listener, owned */
};

struct fake_vm {
    struct vmt_list node;
    uint32_t cid;
};

struct transport_listener {
    struct vmt_list node;
    uint32_t port;
    transport_accept_fn *fn;
    void *arg; /* borrowed */
};

struct transport_op {
    struct vmt_list node;
    struct fake_side *side; /* borrowed */
    struct transport_dial dial;
    struct vmt_timer *step;     /* the attempt; NULL when it hangs */
    struct vmt_timer *deadline; /* NULL: none */
};

static struct fake_side *
self_of(struct transport *t)
{
    return VMT_CONTAINER_OF(t, struct fake_side, base);
}

static struct fake_vm *
peer_find(struct fake_side *side, uint32_t cid)
{
    VMT_LIST_FOREACH(node, next, &side->peers)
    {
        struct fake_vm *vm = VMT_CONTAINER_OF(node, struct fake_vm, node);

        if (vm->cid == cid)
            return vm;
    }
    return NULL;
}

static struct fake_side *
side_find(struct fake_net *net, uint32_t cid)
{
    VMT_LIST_FOREACH(node, next, &net->sides)
    {
        struct fake_side *side = VMT_CONTAINER_OF(node, struct fake_side, node);

        if (side->cid == cid)
            return side;
    }
    return NULL;
}

static struct transport_listener *
listener_find(struct fake_side *side, uint32_t port)
{
    VMT_LIST_FOREACH(node, next, &side->listeners)
    {
        struct transport_listener *l =
            VMT_CONTAINER_OF(node, struct transport_listener, node);

        if (l->port == port)
            return l;
    }
    return NULL;
}

static int
fake_vm_add(struct transport *t, uint32_t cid, const char *address, struct vmt_err *err)
{
    struct fake_side *side = self_of(t);
    struct fake_vm *vm;

    (void)address;
    if (peer_find(side, cid))
        return vmt_err_set(err, EEXIST, "add vm %u", cid);
    vm = calloc(1, sizeof(*vm));
    if (!vm)
        return vmt_err_set(err, ENOMEM, "add vm %u", cid);
    vm->cid = cid;
    vmt_list_append(&side->peers, &vm->node);
    return 0;
}

static void
fake_vm_remove(struct transport *t, uint32_t cid)
{
    struct fake_vm *vm = peer_find(self_of(t), cid);

    if (!vm)
        return;
    vmt_list_remove(&vm->node);
    free(vm);
}

static void
fake_cancel(struct transport_op *op)
{
    struct vmt_clock *clock = op->side->net->clock;

    clock->ops->timer_cancel(clock, op->step);
    clock->ops->timer_cancel(clock, op->deadline);
    vmt_list_remove(&op->node);
    free(op);
}

static void
op_fail(struct transport_op *op, int code, const char *why)
{
    struct transport_dial dial = op->dial;
    struct vmt_err err;

    (void)vmt_err_setx(&err, code, "connect to port %u of vm %u: %s", dial.port, dial.cid,
                       why);
    fake_cancel(op);
    dial.on_done(dial.arg, NULL, &err);
}

static void
op_on_deadline(void *arg)
{
    struct transport_op *op = arg;

    op->deadline = NULL;
    op_fail(op, ETIMEDOUT, "no answer");
}

/* The caller learns first; its callback may end the listener. */
static void
op_hand_over(struct fake_net *net, const struct transport_dial *dial,
             struct stream *const s[2], const struct stream_peer *caller)
{
    struct fake_side *to;
    struct transport_listener *l;

    dial->on_done(dial->arg, s[0], NULL);
    to = side_find(net, dial->cid);
    l = to ? listener_find(to, dial->port) : NULL;
    if (l)
        l->fn(l->arg, s[1], caller);
    else
        stream_close(s[1]);
}

static void
op_on_step(void *arg)
{
    struct transport_op *op = arg;
    struct fake_side *from = op->side, *to = side_find(from->net, op->dial.cid);
    struct stream_peer caller = {
        .kind = STREAM_PEER_VM, .cid = from->cid, .port = op->dial.port};
    struct stream_peer called = {
        .kind = STREAM_PEER_VM, .cid = op->dial.cid, .port = op->dial.port};
    struct transport_listener *l = to ? listener_find(to, op->dial.port) : NULL;
    struct transport_dial dial = op->dial;
    struct stream *s[2];

    op->step = NULL;
    if (to && to->hung)
        return;
    if (!l || !peer_find(to, from->cid)) {
        op_fail(op, ECONNREFUSED, "nothing listens");
        return;
    }
    if (fake_stream_pair(from->net->clock, s) < 0) {
        op_fail(op, ENOMEM, "no memory");
        return;
    }
    fake_stream_set_peer(s[0], &called);
    fake_stream_set_peer(s[1], &caller);
    fake_cancel(op);
    op_hand_over(from->net, &dial, s, &caller);
}

static int
fake_connect(struct transport *t, const struct transport_dial *dial,
             struct transport_op **ret_op, struct vmt_err *err)
{
    struct fake_side *side = self_of(t);
    struct vmt_clock *clock = side->net->clock;
    struct transport_op *op;
    int r;

    if (!peer_find(side, dial->cid))
        return vmt_err_setx(err, ENOENT, "no vm %u", dial->cid);
    op = calloc(1, sizeof(*op));
    if (!op)
        return vmt_err_set(err, ENOMEM, "connect to vm %u", dial->cid);
    op->side = side;
    op->dial = *dial;
    vmt_list_append(&side->ops, &op->node);
    r = clock->ops->timer_start(clock, 0, op_on_step, op, &op->step);
    if (r == 0 && dial->timeout_ms)
        r = clock->ops->timer_start(clock, dial->timeout_ms, op_on_deadline, op,
                                    &op->deadline);
    if (r < 0) {
        fake_cancel(op);
        return vmt_err_set(err, -r, "connect to vm %u", dial->cid);
    }
    *ret_op = op;
    return 0;
}

static int
fake_listen(struct transport *t, uint32_t port, transport_accept_fn *fn, void *arg,
            struct transport_listener **ret_listener, struct vmt_err *err)
{
    struct fake_side *side = self_of(t);
    struct transport_listener *l;

    if (listener_find(side, port))
        return vmt_err_set(err, EADDRINUSE, "listen on port %u", port);
    l = calloc(1, sizeof(*l));
    if (!l)
        return vmt_err_set(err, ENOMEM, "listen on port %u", port);
    l->port = port;
    l->fn = fn;
    l->arg = arg;
    vmt_list_append(&side->listeners, &l->node);
    *ret_listener = l;
    return 0;
}

static void
fake_unlisten(struct transport_listener *l)
{
    if (!l)
        return;
    vmt_list_remove(&l->node);
    free(l);
}

static void
fake_free(struct transport *t)
{
    struct fake_side *side;

    if (!t)
        return;
    side = self_of(t);
    VMT_LIST_FOREACH(node, next, &side->ops)
    fake_cancel(VMT_CONTAINER_OF(node, struct transport_op, node));
    VMT_LIST_FOREACH(node, next, &side->listeners)
    fake_unlisten(VMT_CONTAINER_OF(node, struct transport_listener, node));
    VMT_LIST_FOREACH(node, next, &side->peers)
    {
        vmt_list_remove(node);
        free(VMT_CONTAINER_OF(node, struct fake_vm, node));
    }
    vmt_list_remove(&side->node);
    free(side);
}

static const struct transport_ops fake_transport_ops = {
    .name = "fake",
    .vm_add = fake_vm_add,
    .vm_remove = fake_vm_remove,
    .connect = fake_connect,
    .cancel = fake_cancel,
    .listen = fake_listen,
    .unlisten = fake_unlisten,
    .free = fake_free,
};

struct fake_net *
fake_net_new(struct vmt_clock *clock)
{
    struct fake_net *net = calloc(1, sizeof(*net));

    if (!net)
        return NULL;
    net->clock = clock;
    vmt_list_init(&net->sides);
    return net;
}

void
fake_net_free(struct fake_net *net)
{
    free(net);
}

int
fake_net_transport(struct fake_net *net, uint32_t cid, struct transport **ret_transport)
{
    struct fake_side *side;

    if (side_find(net, cid))
        return -EEXIST;
    side = calloc(1, sizeof(*side));
    if (!side)
        return -ENOMEM;
    side->base.ops = &fake_transport_ops;
    side->net = net;
    side->cid = cid;
    vmt_list_init(&side->peers);
    vmt_list_init(&side->ops);
    vmt_list_init(&side->listeners);
    vmt_list_append(&net->sides, &side->node);
    *ret_transport = &side->base;
    return 0;
}

void
fake_net_set_hung(struct fake_net *net, uint32_t cid, bool hung)
{
    struct fake_side *side = side_find(net, cid);

    if (side)
        side->hung = hung;
}
