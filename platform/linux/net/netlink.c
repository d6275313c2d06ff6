/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/net/netlink.c - one request to the kernel and its answers. */
#include <errno.h>
#include <libmnl/libmnl.h>

#include "core/base/cleanup.h"
#include "platform/linux/net/net_internal.h"

#define REPLY_MAX 32768 /* what the kernel puts into one part of a dump at most */

static void
socket_closep(struct mnl_socket **s)
{
    if (*s)
        (void)mnl_socket_close(*s);
}

static int
receive(struct mnl_socket *s, unsigned seq, netlink_fn *fn, void *arg)
{
    char reply[REPLY_MAX] __attribute__((aligned(8)));
    unsigned port = mnl_socket_get_portid(s);
    int r = MNL_CB_OK;

    while (r > MNL_CB_STOP) {
        ssize_t n = mnl_socket_recvfrom(s, reply, sizeof(reply));

        if (n < 0 && errno == EINTR)
            continue;
        r = n < 0 ? MNL_CB_ERROR : mnl_cb_run(reply, (size_t)n, seq, port, fn, arg);
    }
    return r == MNL_CB_ERROR ? -errno : 0;
}

int
netlink_talk(int family, struct nlmsghdr *message, netlink_fn *fn, void *arg)
{
    static unsigned seq;
    VMT_CLEANUP(socket_closep)
    struct mnl_socket *s = mnl_socket_open2(family, SOCK_CLOEXEC);

    if (!s || mnl_socket_bind(s, 0, MNL_SOCKET_AUTOPID) < 0)
        return -errno;
    message->nlmsg_seq = ++seq;
    if (mnl_socket_sendto(s, message, message->nlmsg_len) < 0)
        return -errno;
    return receive(s, message->nlmsg_seq, fn, arg);
}
