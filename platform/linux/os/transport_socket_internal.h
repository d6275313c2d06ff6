/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/os/transport_socket_internal.h - a transport over one listening socket
 * per port, for address families whose addresses tell who is calling. */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include <linux/vm_sockets.h>

#include "core/adapter/stream.h"
#include "core/adapter/transport.h"

struct os_loop;

union socket_address {
    struct sockaddr any;
    struct sockaddr_vm vm;
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
    struct sockaddr_storage storage;
};

/* What differs between AF_VSOCK and TCP. */
struct socket_family {
    const char *name;
    enum stream_peer_kind peer_kind;
    /* Addresses tell nothing: everybody is let in, as cid 0, and VMs may share one. */
    bool anybody;
    uint32_t port_max;
    /* Words for EAFNOSUPPORT. */
    const char *missing;
    /* The address of a VM, port 0. Returns 0 or -EINVAL. */
    int (*vm_address)(uint32_t cid, const char *address, union socket_address *ret,
                      struct vmt_err *err);
    void (*set_port)(union socket_address *address, uint32_t port);
    uint32_t (*port)(const union socket_address *address);
    bool (*same_host)(const union socket_address *a, const union socket_address *b);
    /* Options of a socket that connects (listening false) or listens. */
    void (*tune)(int fd, bool listening, unsigned timeout_ms);
};

extern const struct socket_family transport_tcp_family;

/* Bytes of the address that its family has. */
unsigned transport_socket_address_len(const union socket_address *address);

/* bind is where listeners bind, port 0; copied. family is borrowed for good. */
int transport_socket_new(struct os_loop *loop, const struct socket_family *family,
                         const union socket_address *bind,
                         struct transport **ret_transport, struct vmt_err *err);
