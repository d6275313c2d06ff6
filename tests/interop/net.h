/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/interop/net.h - TCP sockets by name, as a stock peer on the same machine or
 * another one dials them. Names are looked up at start, before anything else waits. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct vmt_err;

/* IPv4 and IPv6. */
#define NET_LISTEN_MAX 4

struct net_sockets {
    int fds[NET_LISTEN_MAX]; /* owned */
    size_t n;
    uint16_t port; /* the same for all */
};

/* Listen at all addresses of host, NULL: all of this machine. port 0: the kernel chooses
 * one. Returns 0, -EINVAL for a name without address, or -errno when there is not one
 * socket. */
int net_listen(const char *host, uint16_t port, struct net_sockets *ret,
               struct vmt_err *err);
/* Close them all. */
void net_close(struct net_sockets *sockets);

/* Connect to the first address of host that answers; blocks. Returns 0, -EINVAL for a
 * name without address, or -errno of the last try. */
int net_connect(const char *host, uint16_t port, int *ret_fd, struct vmt_err *err);
