/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/tls/transport.c - struct transport over TLS over TCP. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/adapter/clock.h"
#include "core/adapter/transport.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/limits.h"
#include "core/base/list.h"
#include "core/base/log.h"
#include "platform/linux/os/loop.h"
#include "platform/linux/os/transports.h"
#include "platform/linux/tls/tls_internal.h"
#include "platform/linux/tls/transport_tls.h"

/* Handshakes of strangers at a time: some 40 KiB each. An honest one is over within
 * milliseconds, so the oldest of so many is not honest. */
#define GUESTS_MAX 256u

struct tls_transport {
    struct transport base;
    struct vmt_clock *clock;             /* borrowed */
    struct tls_context *server, *client; /* borrowed; NULL: not to be had */
    struct transport *tcp;               /* owned */
    struct vmt_list vms;                 /* struct tls_vm, owned */
    struct vmt_list ops;                 /* struct transport_op, owned */
    struct vmt_list listeners;           /* struct transport_listener, owned */
};

struct tls_vm {
    struct vmt_list node;
    uint32_t cid;
    bool has_host; /* tcp knows it */
    char identity[];
};

/* A connection in the making: TCP first, then TLS. */
struct transport_op {
    struct vmt_list node;
    struct tls_transport *t; /* borrowed */
    struct transport_dial dial;
    uint64_t due_ms;                 /* on the clock; with dial.timeout_ms only */
    struct transport_op *tcp;        /* owned; NULL: that step is over */
    struct tls_handshake *handshake; /* owned; NULL: not there yet */
    char identity[];                 /* a VM may be removed meanwhile */
};

struct transport_listener {
    struct vmt_list node;
    struct tls_transport *t;        /* borrowed */
    struct transport_listener *tcp; /* owned */
    struct vmt_list guests;         /* struct tls_guest, owned, oldest first */
    size_t nguests;
    transport_accept_fn *fn;
    void *arg; /* borrowed */
};

/* Who was accepted and has not proven anything. */
struct tls_guest {
    struct vmt_list node;
    struct transport_listener *listener; /* borrowed */
    struct tls_handshake *handshake;     /* owned */
};

static struct tls_transport *
transport_self(struct transport *t)
{
    return VMT_CONTAINER_OF(t, struct tls_transport, base);
}

static struct tls_vm *
vm_find(struct tls_transport *t, uint32_t cid)
{
    VMT_LIST_FOREACH(node, next, &t->vms)
    {
        struct tls_vm *vm = VMT_CONTAINER_OF(node, struct tls_vm, node);

        if (vm->cid == cid)
            return vm;
    }
    return NULL;
}

static struct tls_vm *
vm_find_name(struct tls_transport *t, const char *identity)
{
    VMT_LIST_FOREACH(node, next, &t->vms)
    {
        struct tls_vm *vm = VMT_CONTAINER_OF(node, struct tls_vm, node);

        if (strcmp(vm->identity, identity) == 0)
            return vm;
    }
    return NULL;
}

static int
tls_vm_add(struct transport *base, uint32_t cid, const char *address, struct vmt_err *err)
{
    struct tls_transport *t = transport_self(base);
    /* A numeric address has no @; a URI may have some. */
    const char *at = address ? strrchr(address, '@') : NULL;
    size_t len = at ? (size_t)(at - address) : 0;
    VMT_CLEANUP(vmt_freep) struct tls_vm *vm = NULL;

    if (len == 0 || len > VMT_IDENTITY_MAX)
        return vmt_err_setx(err, EINVAL, "add vm %u: %s is not IDENTITY@HOST", cid,
                            address ? address : "nothing");
    vm = calloc(1, sizeof(*vm) + len + 1);
    if (!vm)
        return vmt_err_set(err, ENOMEM, "add vm %u", cid);
    vm->cid = cid;
    memcpy(vm->identity, address, len);
    if (vm_find(t, cid) || vm_find_name(t, vm->identity))
        return vmt_err_set(err, EEXIST, "add vm %u", cid);
    if (at[1]) {
        int r = t->tcp->ops->vm_add(t->tcp, cid, at + 1, err);

        if (r < 0)
            return r;
        vm->has_host = true;
    }
    vmt_list_append(&t->vms, &vm->node);
    vm = NULL;
    return 0;
}

static void
tls_vm_remove(struct transport *base, uint32_t cid)
{
    struct tls_transport *t = transport_self(base);
    struct tls_vm *vm = vm_find(t, cid);

    if (!vm)
        return;
    if (vm->has_host)
        t->tcp->ops->vm_remove(t->tcp, cid);
    vmt_list_remove(&vm->node);
    free(vm);
}

static void
op_cancel(struct transport_op *op)
{
    if (op->tcp)
        op->t->tcp->ops->cancel(op->tcp);
    tls_handshake_cancel(op->handshake);
    vmt_list_remove(&op->node);
    free(op);
}

static void
op_fail(struct transport_op *op, const struct vmt_err *why)
{
    struct transport_dial dial = op->dial;
    struct vmt_err err = *why;

    (void)vmt_err_wrap(&err, -err.code, "connect to port %u of vm %u by TLS", dial.port,
                       dial.cid);
    op_cancel(op);
    dial.on_done(dial.arg, NULL, &err);
}

static void
op_on_tls(void *arg, struct stream *s, const struct vmt_err *err)
{
    struct transport_op *op = arg;
    struct transport_dial dial = op->dial;

    op->handshake = NULL;
    if (!s) {
        op_fail(op, err);
        return;
    }
    tls_stream_set_cid(s, dial.cid);
    op_cancel(op);
    dial.on_done(dial.arg, s, NULL);
}

static void
op_on_tcp(void *arg, struct stream *s, const struct vmt_err *err)
{
    struct transport_op *op = arg;
    struct tls_dial dial = {
        .lower = s, .identity = op->identity, .on_done = op_on_tls, .arg = op};
    struct vmt_err why;

    op->tcp = NULL;
    if (!s) {
        op_fail(op, err);
        return;
    }
    if (op->dial.timeout_ms) {
        uint64_t now = op->t->clock->ops->now_ms(op->t->clock);

        dial.timeout_ms = now < op->due_ms ? (unsigned)(op->due_ms - now) : 1;
    }
    if (tls_handshake_start(op->t->client, &dial, &op->handshake, &why) == 0)
        return;
    stream_close(s);
    op_fail(op, &why);
}

static int
tls_connect(struct transport *base, const struct transport_dial *dial,
            struct transport_op **ret_op, struct vmt_err *err)
{
    struct tls_transport *t = transport_self(base);
    struct tls_vm *vm = vm_find(t, dial->cid);
    struct transport_dial tcp = *dial;
    struct transport_op *op;
    size_t len;
    int r;

    if (!vm)
        return vmt_err_setx(err, ENOENT, "no vm %u", dial->cid);
    if (!t->client || !vm->has_host)
        return vmt_err_setx(err, EINVAL, "connect to vm %u: no %s", dial->cid,
                            t->client ? "address of it" : "certificates for clients");
    len = strlen(vm->identity) + 1;
    op = calloc(1, sizeof(*op) + len);
    if (!op)
        return vmt_err_set(err, ENOMEM, "connect to vm %u", dial->cid);
    op->t = t;
    op->dial = *dial;
    op->due_ms = t->clock->ops->now_ms(t->clock) + dial->timeout_ms;
    memcpy(op->identity, vm->identity, len);
    tcp.on_done = op_on_tcp;
    tcp.arg = op;
    r = t->tcp->ops->connect(t->tcp, &tcp, &op->tcp, err);
    if (r < 0) {
        free(op);
        return r;
    }
    vmt_list_append(&t->ops, &op->node);
    *ret_op = op;
    return 0;
}

static void
guest_free(struct tls_guest *guest)
{
    tls_handshake_cancel(guest->handshake);
    vmt_list_remove(&guest->node);
    guest->listener->nguests--;
    free(guest);
}

/* The handshake is over. The listener may be gone when fn returns. */
static void
guest_on_tls(void *arg, struct stream *s, const struct vmt_err *err)
{
    struct tls_guest *guest = arg;
    struct transport_listener *listener = guest->listener;
    struct stream_peer peer = {0};
    struct tls_vm *vm = NULL;

    guest->handshake = NULL;
    guest_free(guest);
    if (!s) {
        vmt_log_debug("tls connection refused: %s", vmt_err_text(err));
        return;
    }
    s->ops->peer(s, &peer);
    if (peer.identity)
        vm = vm_find_name(listener->t, peer.identity);
    if (!vm || !tls_identity_is(&peer, vm->identity)) {
        vmt_log_debug("tls connection of a stranger refused");
        stream_close(s);
        return;
    }
    tls_stream_set_cid(s, vm->cid);
    s->ops->peer(s, &peer);
    listener->fn(listener->arg, s, &peer);
}

static void
listener_on_tcp(void *arg, struct stream *s, const struct stream_peer *peer)
{
    struct transport_listener *listener = arg;
    struct tls_guest *guest = calloc(1, sizeof(*guest));
    struct tls_dial dial = {.lower = s, .on_done = guest_on_tls, .arg = guest};

    (void)peer;
    if (!guest ||
        tls_handshake_start(listener->t->server, &dial, &guest->handshake, NULL) < 0) {
        stream_close(s);
        free(guest);
        return;
    }
    guest->listener = listener;
    vmt_list_append(&listener->guests, &guest->node);
    if (++listener->nguests > GUESTS_MAX)
        guest_free(VMT_CONTAINER_OF(listener->guests.next, struct tls_guest, node));
}

static int
tls_listen(struct transport *base, uint32_t port, transport_accept_fn *fn, void *arg,
           struct transport_listener **ret_listener, struct vmt_err *err)
{
    struct tls_transport *t = transport_self(base);
    struct transport_listener *listener;
    int r;

    if (!t->server)
        return vmt_err_setx(err, EINVAL, "listen on tls port %u: no certificates", port);
    listener = calloc(1, sizeof(*listener));
    if (!listener)
        return vmt_err_set(err, ENOMEM, "listen on tls port %u", port);
    listener->t = t;
    listener->fn = fn;
    listener->arg = arg;
    vmt_list_init(&listener->guests);
    r = t->tcp->ops->listen(t->tcp, port, listener_on_tcp, listener, &listener->tcp, err);
    if (r < 0) {
        free(listener);
        return r;
    }
    vmt_list_append(&t->listeners, &listener->node);
    *ret_listener = listener;
    return 0;
}

static void
tls_unlisten(struct transport_listener *listener)
{
    if (!listener)
        return;
    listener->t->tcp->ops->unlisten(listener->tcp);
    VMT_LIST_FOREACH(node, next, &listener->guests)
    guest_free(VMT_CONTAINER_OF(node, struct tls_guest, node));
    vmt_list_remove(&listener->node);
    free(listener);
}

static void
tls_free(struct transport *base)
{
    struct tls_transport *t;

    if (!base)
        return;
    t = transport_self(base);
    VMT_LIST_FOREACH(node, next, &t->ops)
    op_cancel(VMT_CONTAINER_OF(node, struct transport_op, node));
    VMT_LIST_FOREACH(node, next, &t->listeners)
    tls_unlisten(VMT_CONTAINER_OF(node, struct transport_listener, node));
    VMT_LIST_FOREACH(node, next, &t->vms)
    {
        vmt_list_remove(node);
        free(VMT_CONTAINER_OF(node, struct tls_vm, node));
    }
    t->tcp->ops->free(t->tcp);
    free(t);
}

static const struct transport_ops tls_ops = {
    .name = "tls",
    .vm_add = tls_vm_add,
    .vm_remove = tls_vm_remove,
    .connect = tls_connect,
    .cancel = op_cancel,
    .listen = tls_listen,
    .unlisten = tls_unlisten,
    .free = tls_free,
};

int
transport_tls_new(struct os_loop *loop, const struct transport_tls_config *config,
                  struct transport **ret_transport, struct vmt_err *err)
{
    VMT_CLEANUP(vmt_freep) struct tls_transport *t = calloc(1, sizeof(*t));
    int r;

    if (!t)
        return vmt_err_set(err, ENOMEM, "make the tls transport");
    t->base.ops = &tls_ops;
    t->clock = os_loop_clock(loop);
    t->server = config->server;
    t->client = config->client;
    vmt_list_init(&t->vms);
    vmt_list_init(&t->ops);
    vmt_list_init(&t->listeners);
    r = transport_tcp_open_new(loop, config->bind_address, &t->tcp, err);
    if (r < 0)
        return r;
    *ret_transport = &vmt_take_ptr(&t)->base;
    return 0;
}
