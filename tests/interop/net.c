/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/interop/net.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"

#define NET_BACKLOG 1024

union net_address {
    struct sockaddr any;
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
    struct sockaddr_storage storage;
};

static void
net_freep(struct addrinfo **info)
{
    if (*info)
        freeaddrinfo(*info);
}

static int
net_look_up(const char *host, uint16_t port, int flags, struct addrinfo **ret,
            struct vmt_err *err)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
                                   .ai_flags = flags | AI_NUMERICSERV};
    char service[8];
    int r;

    (void)snprintf(service, sizeof(service), "%u", port);
    r = getaddrinfo(host, service, &hints, ret);
    if (r != 0)
        return vmt_err_setx(err, EINVAL, "look up %s: %s", host ? host : "any address",
                            gai_strerror(r));
    return 0;
}

static int
net_set(int fd, int level, int option)
{
    const int on = 1;

    return setsockopt(fd, level, option, &on, sizeof(on)) < 0 ? -errno : 0;
}

static int
net_listen_one(const struct addrinfo *info, uint16_t port, struct net_sockets *sockets)
{
    VMT_CLEANUP(vmt_closep)
    int fd = socket(info->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    union net_address address = {.any.sa_family = AF_UNSPEC};
    socklen_t len = sizeof(address);

    if (fd < 0)
        return -errno;
    memcpy(&address, info->ai_addr, info->ai_addrlen);
    /* At the same place in both families. */
    address.in.sin_port = htons(port);
    (void)net_set(fd, SOL_SOCKET, SO_REUSEADDR);
    (void)net_set(fd, IPPROTO_TCP, TCP_NODELAY); /* accepted sockets inherit it */
    /* IPv4 has a socket of its own. */
    if (info->ai_family == AF_INET6)
        (void)net_set(fd, IPPROTO_IPV6, IPV6_V6ONLY);
    if (bind(fd, &address.any, info->ai_addrlen) < 0 || listen(fd, NET_BACKLOG) < 0 ||
        getsockname(fd, &address.any, &len) < 0)
        return -errno;
    sockets->port = ntohs(address.in.sin_port);
    sockets->fds[sockets->n++] = vmt_take_fd(&fd);
    return 0;
}

int
net_listen(const char *host, uint16_t port, struct net_sockets *ret, struct vmt_err *err)
{
    VMT_CLEANUP(net_freep) struct addrinfo *list = NULL;
    int r = net_look_up(host, port, AI_PASSIVE, &list, err);
    int first = 0;

    if (r < 0)
        return r;
    memset(ret, 0, sizeof(*ret));
    for (const struct addrinfo *i = list; i && ret->n < NET_LISTEN_MAX; i = i->ai_next) {
        r = net_listen_one(i, ret->n > 0 ? ret->port : port, ret);
        if (r < 0 && first == 0)
            first = r;
    }
    /* A machine without IPv6 has an address of it all the same; a port that is taken in
     * one family belongs to somebody else. */
    if (ret->n > 0 && first != -EADDRINUSE)
        return 0;
    net_close(ret);
    return vmt_err_set(err, first < 0 ? -first : EADDRNOTAVAIL, "listen on port %u",
                       port);
}

void
net_close(struct net_sockets *sockets)
{
    for (size_t i = 0; i < sockets->n; i++)
        vmt_closep(&sockets->fds[i]);
    sockets->n = 0;
}

int
net_connect(const char *host, uint16_t port, int *ret_fd, struct vmt_err *err)
{
    VMT_CLEANUP(net_freep) struct addrinfo *list = NULL;
    int r = net_look_up(host, port, 0, &list, err);

    if (r < 0)
        return r;
    r = -EADDRNOTAVAIL;
    for (const struct addrinfo *i = list; i; i = i->ai_next) {
        VMT_CLEANUP(vmt_closep)
        int fd = socket(i->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

        if (fd >= 0 && connect(fd, i->ai_addr, i->ai_addrlen) == 0) {
            (void)net_set(fd, IPPROTO_TCP, TCP_NODELAY);
            *ret_fd = vmt_take_fd(&fd);
            return 0;
        }
        r = -errno;
    }
    return vmt_err_set(err, -r, "connect to %s port %u", host, port);
}
