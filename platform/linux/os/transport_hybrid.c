/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/os/transport_hybrid.c - unix sockets in a directory per VM.
 * Source: firecracker docs/vsock.md, "Host-Initiated Connections" and "Guest-Initiated
 * Connections". */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <event2/event.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/list.h"
#include "core/base/str.h"
#include "platform/linux/os/dial_internal.h"
#include "platform/linux/os/transports.h"
#include "platform/linux/os/unix_socket_internal.h"

#define HYBRID_BACKLOG 128
/* "OK 4294967295\n" has 14 bytes. */
#define HYBRID_ANSWER_MAX 32

struct hybrid {
    struct transport base;
    struct os_loop *loop;      /* borrowed */
    struct vmt_list vms;       /* struct hybrid_vm, owned */
    struct vmt_list ops;       /* struct transport_op, owned */
    struct vmt_list listeners; /* struct transport_listener, owned */
};

struct hybrid_vm {
    struct vmt_list node;
    uint32_t cid;
    char *dir;             /* owned */
    struct vmt_list doors; /* struct hybrid_door, owned */
};

/* The socket of one listener for one VM. */
struct hybrid_door {
    struct vmt_list node;
    struct transport_listener *owner; /* borrowed */
    struct os_listener *listener;     /* owned */
    dev_t dev;                        /* of the socket's inode */
    ino_t ino;
    char path[]; /* of the socket */
};

struct transport_listener {
    struct vmt_list node;
    struct hybrid *t; /* borrowed */
    uint32_t port;
    transport_accept_fn *fn;
    void *arg; /* borrowed */
};

struct hybrid_op {
    struct transport_op op;
    char answer[HYBRID_ANSWER_MAX];
    size_t n;
    char path[]; /* of the VM's socket */
};

static struct hybrid *
hybrid_self(struct transport *t)
{
    return VMT_CONTAINER_OF(t, struct hybrid, base);
}

static struct hybrid_vm *
vm_find(struct hybrid *t, uint32_t cid)
{
    VMT_LIST_FOREACH(node, next, &t->vms)
    {
        struct hybrid_vm *vm = VMT_CONTAINER_OF(node, struct hybrid_vm, node);

        if (vm->cid == cid)
            return vm;
    }
    return NULL;
}

/* Another daemon may have put its own socket in the place of ours meanwhile: that one
 * stays. */
static void
door_free(struct hybrid_door *door)
{
    struct stat st;

    if (!door)
        return;
    vmt_list_remove(&door->node);
    os_listener_free(door->listener);
    if (door->ino && lstat(door->path, &st) == 0 && st.st_dev == door->dev &&
        st.st_ino == door->ino)
        (void)unlink(door->path);
    free(door);
}

VMT_DEFINE_FREEP(struct hybrid_door, door_free)

static void
door_on_accept(void *arg, struct stream *s, const struct stream_peer *peer)
{
    struct hybrid_door *door = arg;

    door->owner->fn(door->owner->arg, s, peer);
}

static int
door_open(struct hybrid_vm *vm, struct transport_listener *owner, struct vmt_err *err)
{
    size_t len = strlen(vm->dir) + sizeof("/vsock_4294967295");
    struct stream_peer peer = {.kind = STREAM_PEER_VM, .cid = vm->cid};
    VMT_CLEANUP(door_freep) struct hybrid_door *door = calloc(1, sizeof(*door) + len);
    VMT_CLEANUP(vmt_closep) int fd = -1;
    struct stat st;
    int r;

    if (!door)
        return vmt_err_set(err, ENOMEM, "listen on port %u", owner->port);
    (void)snprintf(door->path, len, "%s/vsock_%u", vm->dir, owner->port);
    r = os_unix_listen(door->path, 0600, HYBRID_BACKLOG, &fd, err);
    if (r < 0)
        return r;
    if (lstat(door->path, &st) == 0) {
        door->dev = st.st_dev;
        door->ino = st.st_ino;
    }
    door->owner = owner;
    r = os_listener_new(owner->t->loop, fd, &peer, door_on_accept, door, &door->listener,
                        err);
    if (r < 0)
        return r;
    fd = -1;
    vmt_list_append(&vm->doors, &door->node);
    door = NULL;
    return 0;
}

static void
vm_free(struct hybrid_vm *vm)
{
    if (!vm)
        return;
    vmt_list_remove(&vm->node);
    VMT_LIST_FOREACH(node, next, &vm->doors)
    door_free(VMT_CONTAINER_OF(node, struct hybrid_door, node));
    free(vm->dir);
    free(vm);
}

VMT_DEFINE_FREEP(struct hybrid_vm, vm_free)

static int
hybrid_vm_add(struct transport *base, uint32_t cid, const char *address,
              struct vmt_err *err)
{
    struct hybrid *t = hybrid_self(base);
    VMT_CLEANUP(vm_freep) struct hybrid_vm *vm = NULL;

    if (!address || !*address)
        return vmt_err_setx(err, EINVAL, "add vm %u: no directory for its sockets", cid);
    if (vm_find(t, cid))
        return vmt_err_set(err, EEXIST, "add vm %u", cid);
    vm = calloc(1, sizeof(*vm));
    if (!vm)
        return vmt_err_set(err, ENOMEM, "add vm %u", cid);
    vm->cid = cid;
    vmt_list_init(&vm->doors);
    vm->dir = strdup(address);
    if (!vm->dir)
        return vmt_err_set(err, ENOMEM, "add vm %u", cid);
    VMT_LIST_FOREACH(node, next, &t->listeners)
    {
        int r =
            door_open(vm, VMT_CONTAINER_OF(node, struct transport_listener, node), err);

        if (r < 0)
            return vmt_err_wrap(err, r, "add vm %u", cid);
    }
    vmt_list_append(&t->vms, &vm->node);
    vm = NULL;
    return 0;
}

static void
hybrid_vm_remove(struct transport *base, uint32_t cid)
{
    vm_free(vm_find(hybrid_self(base), cid));
}

/* The answer is read to its newline and not a byte further: what follows is the stream's.
 */
static int
hybrid_read_answer(struct hybrid_op *self, struct vmt_err *err)
{
    char *end = self->answer + self->n, *newline;
    ssize_t n = recv(self->op.fd, end, sizeof(self->answer) - self->n, MSG_PEEK);

    if (n < 0)
        return errno == EAGAIN || errno == EINTR
                   ? 1
                   : vmt_err_set(err, errno, "read the answer of %s", self->path);
    if (n == 0)
        return vmt_err_setx(err, ECONNREFUSED,
                            "nothing listens on this port in the guest");
    newline = memchr(end, '\n', (size_t)n);
    if (newline)
        n = newline + 1 - end;
    /* The bytes are there, so this takes all of them. */
    if (recv(self->op.fd, end, (size_t)n, 0) != n)
        return vmt_err_setx(err, EIO, "cannot read the answer of %s", self->path);
    self->n += (size_t)n;
    if (newline) {
        *newline = '\0';
        return 0;
    }
    if (self->n == sizeof(self->answer))
        return vmt_err_setx(err, ECONNREFUSED, "%s does not speak this protocol",
                            self->path);
    return 1;
}

static int
hybrid_answer_step(struct transport_op *op, struct vmt_err *err)
{
    struct hybrid_op *self = VMT_CONTAINER_OF(op, struct hybrid_op, op);
    uint64_t port;
    int r = hybrid_read_answer(self, err);

    if (r != 0)
        return r;
    if (!vmt_str_has_prefix(self->answer, "OK ") ||
        vmt_parse_u64(self->answer + 3, UINT32_MAX, &port) < 0)
        return vmt_err_setx(err, ECONNREFUSED, "%s answered something else than OK",
                            self->path);
    return 0;
}

static int
hybrid_connect_step(struct transport_op *op, struct vmt_err *err)
{
    struct hybrid_op *self = VMT_CONTAINER_OF(op, struct hybrid_op, op);
    char request[sizeof("CONNECT 4294967295\n")];
    int len = snprintf(request, sizeof(request), "CONNECT %u\n", op->dial.port);
    int r = os_unix_connect_nonblock(self->path, &op->fd, err);

    if (r == -EAGAIN) {
        op->want = 0;
        return 1;
    }
    if (r < 0)
        return r;
    /* An empty socket buffer takes these few bytes whole. */
    if (send(op->fd, request, (size_t)len, MSG_NOSIGNAL) != len)
        return vmt_err_set(err, EPIPE, "ask %s", self->path);
    op->step = hybrid_answer_step;
    op->want = EV_READ;
    return 1;
}

static int
hybrid_connect(struct transport *base, const struct transport_dial *dial,
               struct transport_op **ret_op, struct vmt_err *err)
{
    struct hybrid *t = hybrid_self(base);
    struct hybrid_vm *vm = vm_find(t, dial->cid);
    VMT_CLEANUP(vmt_freep) struct hybrid_op *self = NULL;
    size_t len;
    int r;

    if (!vm)
        return vmt_err_setx(err, ENOENT, "no vm %u", dial->cid);
    len = strlen(vm->dir) + sizeof("/vsock");
    self = calloc(1, sizeof(*self) + len);
    if (!self)
        return vmt_err_set(err, ENOMEM, "connect to vm %u", dial->cid);
    (void)snprintf(self->path, len, "%s/vsock", vm->dir);
    self->op.loop = t->loop;
    self->op.step = hybrid_connect_step;
    self->op.dial = *dial;
    self->op.peer = (struct stream_peer){
        .kind = STREAM_PEER_VM, .cid = dial->cid, .port = dial->port};
    self->op.fd = -1;
    r = dial_start(&self->op, &t->ops);
    if (r < 0)
        return vmt_err_set(err, -r, "connect to vm %u", dial->cid);
    *ret_op = &vmt_take_ptr(&self)->op;
    return 0;
}

static void
listener_close_doors(struct transport_listener *listener)
{
    VMT_LIST_FOREACH(vm_node, vm_next, &listener->t->vms)
    {
        struct hybrid_vm *vm = VMT_CONTAINER_OF(vm_node, struct hybrid_vm, node);

        VMT_LIST_FOREACH(node, next, &vm->doors)
        {
            struct hybrid_door *door = VMT_CONTAINER_OF(node, struct hybrid_door, node);

            if (door->owner == listener)
                door_free(door);
        }
    }
}

static void
hybrid_unlisten(struct transport_listener *listener)
{
    if (!listener)
        return;
    listener_close_doors(listener);
    vmt_list_remove(&listener->node);
    free(listener);
}

VMT_DEFINE_FREEP(struct transport_listener, hybrid_unlisten)

static bool
port_is_taken(struct hybrid *t, uint32_t port)
{
    VMT_LIST_FOREACH(node, next, &t->listeners)
    {
        if (VMT_CONTAINER_OF(node, struct transport_listener, node)->port == port)
            return true;
    }
    return false;
}

static int
hybrid_listen(struct transport *base, uint32_t port, transport_accept_fn *fn, void *arg,
              struct transport_listener **ret_listener, struct vmt_err *err)
{
    struct hybrid *t = hybrid_self(base);
    VMT_CLEANUP(hybrid_unlistenp) struct transport_listener *listener = NULL;

    if (port_is_taken(t, port))
        return vmt_err_set(err, EADDRINUSE, "listen on hybrid port %u", port);
    listener = calloc(1, sizeof(*listener));
    if (!listener)
        return vmt_err_set(err, ENOMEM, "listen on port %u", port);
    listener->t = t;
    listener->port = port;
    listener->fn = fn;
    listener->arg = arg;
    VMT_LIST_FOREACH(node, next, &t->vms)
    {
        int r = door_open(VMT_CONTAINER_OF(node, struct hybrid_vm, node), listener, err);

        if (r < 0)
            return r;
    }
    vmt_list_append(&t->listeners, &listener->node);
    *ret_listener = vmt_take_ptr(&listener);
    return 0;
}

static void
hybrid_free(struct transport *base)
{
    struct hybrid *t;

    if (!base)
        return;
    t = hybrid_self(base);
    dial_cancel_all(&t->ops);
    VMT_LIST_FOREACH(node, next, &t->vms)
    vm_free(VMT_CONTAINER_OF(node, struct hybrid_vm, node));
    VMT_LIST_FOREACH(node, next, &t->listeners)
    hybrid_unlisten(VMT_CONTAINER_OF(node, struct transport_listener, node));
    free(t);
}

static const struct transport_ops hybrid_ops = {
    .name = "hybrid",
    .vm_add = hybrid_vm_add,
    .vm_remove = hybrid_vm_remove,
    .connect = hybrid_connect,
    .cancel = dial_cancel,
    .listen = hybrid_listen,
    .unlisten = hybrid_unlisten,
    .free = hybrid_free,
};

int
transport_hybrid_new(struct os_loop *loop, struct transport **ret_transport,
                     struct vmt_err *err)
{
    struct hybrid *t = calloc(1, sizeof(*t));

    if (!t)
        return vmt_err_set(err, ENOMEM, "make the hybrid transport");
    t->base.ops = &hybrid_ops;
    t->loop = loop;
    vmt_list_init(&t->vms);
    vmt_list_init(&t->ops);
    vmt_list_init(&t->listeners);
    *ret_transport = &t->base;
    return 0;
}
