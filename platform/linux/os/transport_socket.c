/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/os/transport_socket.c - struct transport over connect, listen, accept.
 */
#include "platform/linux/os/transport_socket_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/event.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/list.h"
#include "core/base/log.h"
#include "platform/linux/os/dial_internal.h"
#include "platform/linux/os/listener_internal.h"

#define SOCKET_BACKLOG 128

struct socket_transport {
    struct transport base;
    struct transport_ops ops_table;
    struct os_loop *loop;               /* borrowed */
    const struct socket_family *family; /* borrowed */
    union socket_address bind;
    struct vmt_list vms;       /* struct socket_vm, owned */
    struct vmt_list ops;       /* struct transport_op, owned */
    struct vmt_list listeners; /* struct transport_listener, owned */
};

struct socket_vm {
    struct vmt_list node;
    uint32_t cid;
    union socket_address address;
};

struct socket_op {
    struct transport_op op;
    union socket_address address;
    bool started;
};

struct transport_listener {
    struct vmt_list node;
    struct socket_transport *t; /* borrowed */
    struct os_listener *listener;
    transport_accept_fn *fn;
    void *arg; /* borrowed */
};

static struct socket_transport *
transport_self(struct transport *t)
{
    return VMT_CONTAINER_OF(t, struct socket_transport, base);
}

static struct socket_vm *
vm_find(struct socket_transport *t, uint32_t cid)
{
    VMT_LIST_FOREACH(node, next, &t->vms)
    {
        struct socket_vm *vm = VMT_CONTAINER_OF(node, struct socket_vm, node);

        if (vm->cid == cid)
            return vm;
    }
    return NULL;
}

/* Returns NULL for anybody who is no VM of ours. */
static struct socket_vm *
vm_find_host(struct socket_transport *t, const union socket_address *from)
{
    VMT_LIST_FOREACH(node, next, &t->vms)
    {
        struct socket_vm *vm = VMT_CONTAINER_OF(node, struct socket_vm, node);

        if (t->family->same_host(&vm->address, from))
            return vm;
    }
    return NULL;
}

static int
socket_vm_add(struct transport *base, uint32_t cid, const char *address,
              struct vmt_err *err)
{
    struct socket_transport *t = transport_self(base);
    VMT_CLEANUP(vmt_freep) struct socket_vm *vm = calloc(1, sizeof(*vm));
    int r;

    if (!vm)
        return vmt_err_set(err, ENOMEM, "add vm %u", cid);
    r = t->family->vm_address(cid, address, &vm->address, err);
    if (r < 0)
        return vmt_err_wrap(err, r, "add vm %u", cid);
    /* Two VMs at one address could not be told apart. */
    if (vm_find(t, cid) || (!t->family->anybody && vm_find_host(t, &vm->address)))
        return vmt_err_set(err, EEXIST, "add vm %u", cid);
    vm->cid = cid;
    vmt_list_append(&t->vms, &vm->node);
    vm = NULL;
    return 0;
}

static void
socket_vm_remove(struct transport *base, uint32_t cid)
{
    struct socket_vm *vm = vm_find(transport_self(base), cid);

    if (!vm)
        return;
    vmt_list_remove(&vm->node);
    free(vm);
}

unsigned
transport_socket_address_len(const union socket_address *address)
{
    switch (address->any.sa_family) {
    case AF_VSOCK:
        return sizeof(address->vm);
    case AF_INET:
        return sizeof(address->in);
    default:
        return sizeof(address->in6);
    }
}

static int
socket_open(struct socket_transport *t, int domain, int *ret_fd, struct vmt_err *err)
{
    int fd = socket(domain, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd >= 0) {
        *ret_fd = fd;
        return 0;
    }
    if (errno == EAFNOSUPPORT)
        return vmt_err_setx(err, EAFNOSUPPORT, "%s", t->family->missing);
    return vmt_err_set(err, errno, "make a %s socket", t->family->name);
}

static int
socket_step(struct transport_op *op, struct vmt_err *err)
{
    struct socket_op *self = VMT_CONTAINER_OF(op, struct socket_op, op);

    return dial_socket_step(op, &self->started, &self->address.any,
                            transport_socket_address_len(&self->address), err);
}

static int
socket_connect(struct transport *base, const struct transport_dial *dial,
               struct transport_op **ret_op, struct vmt_err *err)
{
    struct socket_transport *t = transport_self(base);
    struct socket_vm *vm = vm_find(t, dial->cid);
    VMT_CLEANUP(vmt_freep) struct socket_op *self = NULL;
    VMT_CLEANUP(vmt_closep) int fd = -1;
    int r;

    if (!vm)
        return vmt_err_setx(err, ENOENT, "no vm %u", dial->cid);
    if (dial->port > t->family->port_max)
        return vmt_err_setx(err, EINVAL, "%s has no port %u", t->family->name,
                            dial->port);
    self = calloc(1, sizeof(*self));
    if (!self)
        return vmt_err_set(err, ENOMEM, "connect to vm %u", dial->cid);
    r = socket_open(t, vm->address.any.sa_family, &fd, err);
    if (r < 0)
        return r;
    t->family->tune(fd, false, dial->timeout_ms);
    self->address = vm->address;
    t->family->set_port(&self->address, dial->port);
    self->op.loop = t->loop;
    self->op.step = socket_step;
    self->op.dial = *dial;
    self->op.peer = (struct stream_peer){
        .kind = t->family->peer_kind, .cid = dial->cid, .port = dial->port};
    self->op.fd = fd;
    r = dial_start(&self->op, &t->ops);
    if (r < 0)
        return vmt_err_set(err, -r, "connect to vm %u", dial->cid);
    fd = -1;
    *ret_op = &vmt_take_ptr(&self)->op;
    return 0;
}

static bool
socket_admit(void *arg, const struct sockaddr *from, struct stream_peer *ret_peer)
{
    struct transport_listener *listener = arg;
    struct socket_transport *t = listener->t;
    union socket_address address;
    struct socket_vm *vm = NULL;

    memset(&address, 0, sizeof(address));
    memcpy(&address.storage, from, sizeof(address.storage));
    if (!t->family->anybody)
        vm = vm_find_host(t, &address);
    if (!vm && !t->family->anybody) {
        vmt_log_debug("connection of a stranger refused: transport=%s", t->family->name);
        return false;
    }
    *ret_peer = (struct stream_peer){.kind = t->family->peer_kind,
                                     .cid = vm ? vm->cid : 0,
                                     .port = t->family->port(&address)};
    return true;
}

static void
socket_on_accept(void *arg, struct stream *s, const struct stream_peer *peer)
{
    struct transport_listener *listener = arg;

    listener->fn(listener->arg, s, peer);
}

static int
socket_listen_fd(struct socket_transport *t, uint32_t port, int *ret_fd,
                 struct vmt_err *err)
{
    VMT_CLEANUP(vmt_closep) int fd = -1;
    union socket_address address = t->bind;
    int r = socket_open(t, address.any.sa_family, &fd, err);

    if (r < 0)
        return r;
    t->family->tune(fd, true, 0);
    t->family->set_port(&address, port);
    if (bind(fd, &address.any, transport_socket_address_len(&address)) < 0 ||
        listen(fd, SOCKET_BACKLOG) < 0)
        return vmt_err_set(err, errno, "listen on %s port %u", t->family->name, port);
    *ret_fd = vmt_take_fd(&fd);
    return 0;
}

static int
socket_listen(struct transport *base, uint32_t port, transport_accept_fn *fn, void *arg,
              struct transport_listener **ret_listener, struct vmt_err *err)
{
    struct socket_transport *t = transport_self(base);
    VMT_CLEANUP(vmt_freep)
    struct transport_listener *listener = calloc(1, sizeof(*listener));
    VMT_CLEANUP(vmt_closep) int fd = -1;
    int r;

    if (!listener)
        return vmt_err_set(err, ENOMEM, "listen on port %u", port);
    if (port > t->family->port_max)
        return vmt_err_setx(err, EINVAL, "%s has no port %u", t->family->name, port);
    r = socket_listen_fd(t, port, &fd, err);
    if (r < 0)
        return r;
    listener->t = t;
    listener->fn = fn;
    listener->arg = arg;
    r = os_listener_new_admitting(t->loop, fd, socket_admit, socket_on_accept, listener,
                                  &listener->listener);
    if (r < 0)
        return vmt_err_set(err, -r, "listen on port %u", port);
    fd = -1;
    vmt_list_append(&t->listeners, &listener->node);
    *ret_listener = vmt_take_ptr(&listener);
    return 0;
}

static void
socket_unlisten(struct transport_listener *listener)
{
    if (!listener)
        return;
    vmt_list_remove(&listener->node);
    os_listener_free(listener->listener);
    free(listener);
}

static void
socket_free(struct transport *base)
{
    struct socket_transport *t;

    if (!base)
        return;
    t = transport_self(base);
    dial_cancel_all(&t->ops);
    VMT_LIST_FOREACH(node, next, &t->listeners)
    socket_unlisten(VMT_CONTAINER_OF(node, struct transport_listener, node));
    VMT_LIST_FOREACH(node, next, &t->vms)
    {
        vmt_list_remove(node);
        free(VMT_CONTAINER_OF(node, struct socket_vm, node));
    }
    free(t);
}

/* Each transport has its own copy, with the name of its family. */
static const struct transport_ops socket_ops = {
    .vm_add = socket_vm_add,
    .vm_remove = socket_vm_remove,
    .connect = socket_connect,
    .cancel = dial_cancel,
    .listen = socket_listen,
    .unlisten = socket_unlisten,
    .free = socket_free,
};

int
transport_socket_new(struct os_loop *loop, const struct socket_family *family,
                     const union socket_address *bind, struct transport **ret_transport,
                     struct vmt_err *err)
{
    struct socket_transport *t = calloc(1, sizeof(*t));

    if (!t)
        return vmt_err_set(err, ENOMEM, "make the %s transport", family->name);
    t->ops_table = socket_ops;
    t->ops_table.name = family->name;
    t->base.ops = &t->ops_table;
    t->loop = loop;
    t->family = family;
    t->bind = *bind;
    vmt_list_init(&t->vms);
    vmt_list_init(&t->ops);
    vmt_list_init(&t->listeners);
    *ret_transport = &t->base;
    return 0;
}
