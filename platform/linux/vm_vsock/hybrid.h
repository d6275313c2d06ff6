/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/vm_vsock/hybrid.h - the host side of connections: unix sockets in one
 * directory.
 *
 * A program of the host reaches port P of the guest by connecting to DIR/vsock and
 * sending "CONNECT P\n"; it reads "OK <port>\n" when the guest accepted, where <port> is
 * the one that its own end got, and sees its connection closed when not. The guest
 * reaches port P of the host when a program listens at DIR/vsock_P.
 * Source: Firecracker 0fbad80c, docs/vsock.md; vhost-device 14d1b595,
 * vhost-device-vsock/README.md, "Unix Domain Socket Backend". */
#pragma once

struct event_base;
struct hybrid;
struct vmt_err;
struct vsock_device;
struct vsock_host_ops;
struct vsock_mux;

/* Give these to vsock_mux_new, with the hybrid as arg. */
extern const struct vsock_host_ops hybrid_host_ops;

/* prefix is the path of the host's socket, DIR/vsock above or any other; "_" and a port
 * are put after it. Copied; its directory must exist. base is borrowed. Returns 0,
 * -ENOMEM or what opening the directory gave. */
int hybrid_new(struct event_base *base, const char *prefix, struct hybrid **ret_hybrid,
               struct vmt_err *err);

/* After all connections of its mux are closed. */
void hybrid_free(struct hybrid *hybrid);

/* Before anything else. mux and dev are borrowed until hybrid_free. */
void hybrid_attach(struct hybrid *hybrid, struct vsock_mux *mux,
                   struct vsock_device *dev);

/* Accept programs of the host on fd, owned on success. Guests are served before, too. */
int hybrid_start(struct hybrid *hybrid, int fd, struct vmt_err *err);
