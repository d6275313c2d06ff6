/* SPDX-License-Identifier: BSD-3-Clause */
/* core/adapter/transport.h - byte streams between host and guests, by cid and port. */
#pragma once

#include <stdint.h>

struct stream;
struct stream_peer;
struct transport;
struct transport_op;
struct transport_listener;
struct vmt_err;

/* Runs exactly once unless the op is cancelled, from the loop. On success s is the
 * callee's and err is NULL; on failure s is NULL and err, borrowed for the call, says
 * why. */
typedef void transport_done_fn(void *arg, struct stream *s, const struct vmt_err *err);

/* A peer connected. The callee owns s; peer is borrowed for the call and names the VM:
 * kind STREAM_PEER_VSOCK, STREAM_PEER_VM, STREAM_PEER_TLS or STREAM_PEER_TCP with its
 * cid; of these only STREAM_PEER_TCP can be forged. */
typedef void transport_accept_fn(void *arg, struct stream *s,
                                 const struct stream_peer *peer);

struct transport_dial {
    uint32_t cid; /* the VM; VMT_CID_HOST from inside a guest */
    uint32_t port;
    unsigned timeout_ms; /* 0: no deadline */
    transport_done_fn *on_done;
    void *arg; /* borrowed until on_done or cancel */
};

struct transport_ops {
    const char *name; /* "vsock", "hybrid", "tcp" or "tls" */
    /* Make a VM reachable. address is the directory of its sockets (hybrid), HOST (tcp),
     * IDENTITY@HOST (tls), or ignored (vsock); copied. Listeners that exist start to
     * accept from it. Returns 0, -EEXIST, -EINVAL, -ENOMEM or what binding gave. */
    int (*vm_add)(struct transport *t, uint32_t cid, const char *address,
                  struct vmt_err *err);
    /* Forget a VM and remove the sockets that listen for it. Open streams live on. */
    void (*vm_remove)(struct transport *t, uint32_t cid);
    /* Start connecting. Returns 0, -EINVAL, -ENOMEM, -ENOENT (no such VM). */
    int (*connect)(struct transport *t, const struct transport_dial *dial,
                   struct transport_op **ret_op, struct vmt_err *err);
    void (*cancel)(struct transport_op *op); /* on_done will not run any more */
    /* Accept from every VM on port. fn and arg are borrowed until unlisten. */
    int (*listen)(struct transport *t, uint32_t port, transport_accept_fn *fn, void *arg,
                  struct transport_listener **ret_listener, struct vmt_err *err);
    void (*unlisten)(struct transport_listener *listener);
    void (*free)(struct transport *t); /* closes listeners, cancels ops */
};

struct transport {
    const struct transport_ops *ops;
};
