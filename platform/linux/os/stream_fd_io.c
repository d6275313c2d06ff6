/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/os/stream_fd_io.c - single reads and writes, with SCM_RIGHTS. */
#include "platform/linux/os/stream_fd_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/base/cleanup.h"

union io_control {
    struct cmsghdr align;
    char bytes[CMSG_SPACE(VMT_FDS_MAX * sizeof(int))];
};

void
os_io_fds_close(struct os_io_fds *fds)
{
    for (size_t i = 0; i < fds->n; i++)
        (void)close(fds->fd[i]);
    fds->n = 0;
}

int
os_io_fds_dup(const int *fds, size_t n, struct os_io_fds *ret)
{
    VMT_CLEANUP(os_io_fds_close) struct os_io_fds copy = {.n = 0};

    if (n > VMT_FDS_MAX)
        return -EINVAL;
    for (; copy.n < n; copy.n++) {
        copy.fd[copy.n] = fcntl(fds[copy.n], F_DUPFD_CLOEXEC, 3);
        if (copy.fd[copy.n] < 0)
            return -errno;
    }
    *ret = copy;
    copy.n = 0;
    return 0;
}

/* Move the descriptors out of one control message. Returns 0 or -EMSGSIZE. */
static int
io_take_rights(const struct cmsghdr *cmsg, struct os_io_fds *fds)
{
    size_t n = (cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    const unsigned char *data = CMSG_DATA(cmsg);
    int r = 0;

    for (size_t i = 0; i < n; i++) {
        int fd;

        memcpy(&fd, data + i * sizeof(int), sizeof(fd));
        if (fds->n < VMT_FDS_MAX) {
            fds->fd[fds->n++] = fd;
            continue;
        }
        (void)close(fd);
        r = -EMSGSIZE;
    }
    return r;
}

static ssize_t
io_recv_rights(int fd, void *buf, size_t cap, struct os_io_fds *fds)
{
    union io_control control;
    struct iovec iov = {buf, cap};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control.bytes,
                         .msg_controllen = sizeof(control.bytes)};
    ssize_t n = recvmsg(fd, &msg, MSG_CMSG_CLOEXEC);
    int r = 0;

    if (n < 0)
        return -errno;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c)) {
        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS &&
            io_take_rights(c, fds) < 0)
            r = -EMSGSIZE;
    }
    /* Cut short: descriptors are missing, and nobody can say which. */
    if (msg.msg_flags & MSG_CTRUNC)
        r = -EMSGSIZE;
    return r < 0 ? r : n;
}

static ssize_t
io_read_once(enum os_io_kind kind, int fd, void *buf, size_t cap, struct os_io_fds *fds)
{
    ssize_t n;

    if (kind == OS_IO_UNIX)
        return io_recv_rights(fd, buf, cap, fds);
    n = kind == OS_IO_SOCKET ? recv(fd, buf, cap, 0) : read(fd, buf, cap);
    if (n >= 0)
        return n;
    /* tty(4): the master sees EIO once the last slave is closed. */
    return kind == OS_IO_FILE && errno == EIO ? 0 : -errno;
}

ssize_t
os_io_read(enum os_io_kind kind, int fd, void *buf, size_t cap, struct os_io_fds *fds)
{
    ssize_t n;

    do {
        n = io_read_once(kind, fd, buf, cap, fds);
    } while (n == -EINTR);
    return n;
}

static ssize_t
io_send_rights(int fd, const void *data, size_t len, const struct os_io_fds *send_fds)
{
    union io_control control;
    /* sendmsg does not write; its struct just cannot say so. */
    struct iovec iov = {(void *)(uintptr_t)data, len};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    struct cmsghdr *cmsg;
    size_t bytes = send_fds->n * sizeof(int);
    ssize_t n;

    memset(&control, 0, sizeof(control));
    msg.msg_control = control.bytes;
    msg.msg_controllen = CMSG_SPACE(bytes);
    cmsg = CMSG_FIRSTHDR(&msg);
    cmsg->cmsg_level = SOL_SOCKET;
    cmsg->cmsg_type = SCM_RIGHTS;
    cmsg->cmsg_len = CMSG_LEN(bytes);
    memcpy(CMSG_DATA(cmsg), send_fds->fd, bytes);
    n = sendmsg(fd, &msg, MSG_NOSIGNAL);
    return n < 0 ? -errno : n;
}

static ssize_t
io_write_once(enum os_io_kind kind, int fd, const void *data, size_t len,
              const struct os_io_fds *send_fds)
{
    ssize_t n;

    if (send_fds && send_fds->n > 0)
        return io_send_rights(fd, data, len, send_fds);
    n = kind == OS_IO_FILE ? write(fd, data, len) : send(fd, data, len, MSG_NOSIGNAL);
    return n < 0 ? -errno : n;
}

ssize_t
os_io_write(enum os_io_kind kind, int fd, const void *data, size_t len,
            const struct os_io_fds *send_fds)
{
    ssize_t n;

    do {
        n = io_write_once(kind, fd, data, len, send_fds);
    } while (n == -EINTR);
    return n;
}
