/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/host/handover.c - a pair of sockets that keep messages apart. What was
 * given stays there when its giver is gone. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "platform/linux/host/host_internal.h"

union control {
    char buf[CMSG_SPACE(sizeof(int))];
    struct cmsghdr align;
};

static int
handover_make(struct host *host, int *ret_ours, int *ret_childs, struct vmt_err *err)
{
    int ends[2];

    (void)host;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
        return vmt_err_set(err, errno, "make a way for descriptors");
    *ret_ours = ends[0];
    *ret_childs = ends[1];
    return 0;
}

static int
handover_give(struct host *host, int childs, const void *data, size_t len, int fd)
{
    VMT_CLEANUP(vmt_closep) int given = fd;
    union control control = {.buf = {0}};
    struct iovec part = {(void *)(uintptr_t)data, len};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    ssize_t n;

    (void)host;
    if (given >= 0) {
        struct cmsghdr *head;

        message.msg_control = control.buf;
        message.msg_controllen = sizeof(control.buf);
        head = CMSG_FIRSTHDR(&message);
        head->cmsg_level = SOL_SOCKET;
        head->cmsg_type = SCM_RIGHTS;
        head->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(head), &given, sizeof(given));
    }
    do
        n = sendmsg(childs, &message, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : 0;
}

static int
handover_take(struct host *host, int ours, void *data, size_t len, int *ret_fd)
{
    VMT_CLEANUP(vmt_closep) int fd = -1;
    union control control = {.buf = {0}};
    struct iovec part = {data, len};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = control.buf,
                             .msg_controllen = sizeof(control.buf)};
    struct cmsghdr *head;
    ssize_t n;

    (void)host;
    do
        n = recvmsg(ours, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    if (n == 0 || (n < 0 && errno == EAGAIN))
        return -ENODATA;
    if (n < 0)
        return -errno;
    head = CMSG_FIRSTHDR(&message);
    if (head && head->cmsg_level == SOL_SOCKET && head->cmsg_type == SCM_RIGHTS &&
        head->cmsg_len == CMSG_LEN(sizeof(int)))
        memcpy(&fd, CMSG_DATA(head), sizeof(fd));
    if ((size_t)n != len || (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)))
        return -EBADMSG;
    *ret_fd = vmt_take_fd(&fd);
    return 0;
}

const struct host_handover_ops linux_host_handover = {
    .make = handover_make,
    .give = handover_give,
    .take = handover_take,
};
