/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/os/transport_tcp.c - TCP between numeric addresses. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <string.h>

#include "core/base/err.h"
#include "platform/linux/os/transport_socket_internal.h"
#include "platform/linux/os/transports.h"

/* Numeric only: a name look-up would block, and the guest's static programs have none. */
static int
tcp_parse(const char *text, union socket_address *ret, struct vmt_err *err)
{
    union socket_address address;

    memset(&address, 0, sizeof(address));
    if (text && inet_pton(AF_INET, text, &address.in.sin_addr) == 1)
        address.any.sa_family = AF_INET;
    else if (text && inet_pton(AF_INET6, text, &address.in6.sin6_addr) == 1)
        address.any.sa_family = AF_INET6;
    else
        return vmt_err_setx(err, EINVAL, "%s is no numeric IPv4 or IPv6 address",
                            text ? text : "nothing");
    *ret = address;
    return 0;
}

static int
tcp_vm_address(uint32_t cid, const char *address, union socket_address *ret,
               struct vmt_err *err)
{
    (void)cid;
    return tcp_parse(address, ret, err);
}

static void
tcp_set_port(union socket_address *address, uint32_t port)
{
    if (address->any.sa_family == AF_INET)
        address->in.sin_port = htons((uint16_t)port);
    else
        address->in6.sin6_port = htons((uint16_t)port);
}

static uint32_t
tcp_port(const union socket_address *address)
{
    return ntohs(address->any.sa_family == AF_INET ? address->in.sin_port
                                                   : address->in6.sin6_port);
}

/* A listener on "::" sees IPv4 callers as ::ffff:a.b.c.d, RFC 4291 2.5.5.2. */
static void
tcp_as_v6(const union socket_address *address, struct in6_addr *ret)
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

    if (address->any.sa_family == AF_INET6) {
        *ret = address->in6.sin6_addr;
        return;
    }
    memcpy(ret->s6_addr, mapped, sizeof(mapped));
    memcpy(ret->s6_addr + 12, &address->in.sin_addr, 4);
}

static bool
tcp_same_host(const union socket_address *a, const union socket_address *b)
{
    struct in6_addr x, y;

    tcp_as_v6(a, &x);
    tcp_as_v6(b, &y);
    return memcmp(&x, &y, sizeof(x)) == 0;
}

static void
tcp_tune(int fd, bool listening, unsigned timeout_ms)
{
    static const int on = 1;

    (void)timeout_ms;
    /* RPC sends small frames and waits; Nagle would hold them back. An accepted socket
     * inherits it from its listener. */
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (listening)
        (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
}

#define TCP_FAMILY                                                                       \
    .name = "tcp", .peer_kind = STREAM_PEER_TCP, .port_max = 65535,                      \
    .missing = "this kernel has no such IP version: use the other one, or the hybrid "   \
               "transport",                                                              \
    .vm_address = tcp_vm_address, .set_port = tcp_set_port, .port = tcp_port,            \
    .same_host = tcp_same_host, .tune = tcp_tune

const struct socket_family transport_tcp_family = {TCP_FAMILY};
static const struct socket_family tcp_open_family = {TCP_FAMILY, .anybody = true};

static int
tcp_new(struct os_loop *loop, const struct socket_family *family,
        const char *bind_address, struct transport **ret_transport, struct vmt_err *err)
{
    union socket_address address;
    int r = tcp_parse(bind_address ? bind_address : "127.0.0.1", &address, err);

    if (r < 0)
        return vmt_err_wrap(err, r, "make the tcp transport");
    return transport_socket_new(loop, family, &address, ret_transport, err);
}

int
transport_tcp_new(struct os_loop *loop, const char *bind_address,
                  struct transport **ret_transport, struct vmt_err *err)
{
    return tcp_new(loop, &transport_tcp_family, bind_address, ret_transport, err);
}

int
transport_tcp_open_new(struct os_loop *loop, const char *bind_address,
                       struct transport **ret_transport, struct vmt_err *err)
{
    return tcp_new(loop, &tcp_open_family, bind_address, ret_transport, err);
}
