/* SPDX-License-Identifier: BSD-3-Clause */
#include "hypervisor/qemu/qmp_out.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

struct out_fd {
    struct vmt_list node;
    uint64_t at; /* goes with this byte */
    int fd;      /* owned */
};

static void
out_fd_free(struct out_fd *f)
{
    vmt_closep(&f->fd);
    vmt_list_remove(&f->node);
    free(f);
}

void
qmp_out_init(struct qmp_out *out)
{
    memset(out, 0, sizeof(*out));
    vmt_list_init(&out->fds);
}

void
qmp_out_done(struct qmp_out *out)
{
    while (!vmt_list_empty(&out->fds))
        out_fd_free(VMT_CONTAINER_OF(out->fds.next, struct out_fd, node));
    vmt_buf_done(&out->buf);
}

int
qmp_out_add(struct qmp_out *out, const void *line, size_t len, int fd)
{
    struct out_fd *f = NULL;
    int r;

    if (fd >= 0) {
        f = calloc(1, sizeof(*f));
        if (!f)
            return -ENOMEM;
        f->fd = vmt_dup_fd(fd);
        if (f->fd < 0) {
            r = f->fd;
            free(f);
            return r;
        }
        f->at = out->sent + out->buf.len;
        vmt_list_append(&out->fds, &f->node);
    }
    r = vmt_buf_append(&out->buf, line, len);
    if (r < 0 && f)
        out_fd_free(f);
    return r;
}

static ssize_t
send_with_fd(int socket, const struct vmt_buf *buf, size_t len, int fd)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct iovec iov = {buf->data, len};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control.bytes,
                         .msg_controllen = sizeof(control.bytes)};
    struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(fd));
    memcpy(CMSG_DATA(c), &fd, sizeof(fd));
    return sendmsg(socket, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* One piece, which ends before the next line with a descriptor, because a descriptor goes
 * with the first byte of a message. QEMU keeps only what came last until a command takes
 * it (QEMU 7.2, chardev/char-socket.c, tcp_chr_recv); as its monitor reads single bytes
 * and no further than the command that it works on (monitor/monitor.c, monitor_can_read;
 * monitor/qmp.c), that is the one of this line. */
static ssize_t
send_piece(struct qmp_out *out, int socket)
{
    struct out_fd *first = NULL, *f;
    size_t len = out->buf.len;
    ssize_t n;

    VMT_LIST_FOREACH(node, next, &out->fds)
    {
        f = VMT_CONTAINER_OF(node, struct out_fd, node);
        if (f->at == out->sent) {
            first = f;
            continue;
        }
        len = (size_t)(f->at - out->sent);
        break;
    }
    n = first ? send_with_fd(socket, &out->buf, len, first->fd)
              : send(socket, out->buf.data, len, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n > 0 && first)
        out_fd_free(first);
    return n;
}

int
qmp_out_flush(struct qmp_out *out, int socket)
{
    while (out->buf.len > 0) {
        ssize_t n = send_piece(out, socket);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == EAGAIN || errno == EWOULDBLOCK ? 1 : -errno;
        vmt_buf_consume(&out->buf, (size_t)n);
        out->sent += (uint64_t)n;
    }
    return 0;
}
