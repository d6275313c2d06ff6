/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/linux/vm_vsock/channel.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"

union control {
    struct cmsghdr align;
    char bytes[CMSG_SPACE(sizeof(int) * VHOST_FDS_MAX)];
};

void
vhost_channel_next(struct vhost_channel *ch)
{
    for (size_t i = 0; i < ch->nfds; i++)
        vmt_closep(&ch->fds[i]);
    ch->nfds = 0;
    ch->got = 0;
}

void
vhost_channel_close(struct vhost_channel *ch)
{
    vhost_channel_next(ch);
    vmt_closep(&ch->fd);
    ch->fd = -1;
}

int
vhost_channel_take_fd(struct vhost_channel *ch)
{
    return ch->nfds ? vmt_take_fd(&ch->fds[0]) : -1;
}

/* Keep the descriptors that came along; too many are a failure. */
static int
collect_fds(struct vhost_channel *ch, struct msghdr *hdr)
{
    bool full = hdr->msg_flags & MSG_CTRUNC;

    for (struct cmsghdr *c = CMSG_FIRSTHDR(hdr); c; c = CMSG_NXTHDR(hdr, c)) {
        size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        for (size_t i = 0; i < n; i++) {
            int fd;

            memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
            if (ch->nfds < VHOST_FDS_MAX) {
                ch->fds[ch->nfds++] = fd;
            } else {
                vmt_closep(&fd);
                full = true;
            }
        }
    }
    return full ? -EPROTO : 0;
}

/* Read until in holds want bytes. Returns 1, 0 when more have to come, -errno. */
static int
read_upto(struct vhost_channel *ch, size_t want, struct vmt_err *err)
{
    while (ch->got < want) {
        union control control;
        struct iovec iov = {.iov_base = ch->in + ch->got, .iov_len = want - ch->got};
        struct msghdr hdr = {.msg_iov = &iov,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = sizeof(control.bytes)};
        ssize_t n = recvmsg(ch->fd, &hdr, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);

        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return 0;
        if (n < 0)
            return vmt_err_set(err, errno, "read a message");
        if (collect_fds(ch, &hdr) < 0)
            return vmt_err_setx(err, EPROTO, "too many descriptors");
        if (n == 0)
            return vmt_err_setx(err, ECONNRESET, "closed by the other side");
        ch->got += (size_t)n;
    }
    return 1;
}

int
vhost_channel_read(struct vhost_channel *ch, struct vhost_message *ret_msg,
                   struct vmt_err *err)
{
    struct vhost_message msg = {.body = ch->in + VHOST_HEADER_BYTES};
    int r = read_upto(ch, VHOST_HEADER_BYTES, err);

    if (r <= 0)
        return r;
    memcpy(&msg.request, ch->in, 4);
    memcpy(&msg.flags, ch->in + 4, 4);
    memcpy(&msg.size, ch->in + 8, 4);
    if ((msg.flags & VHOST_FLAG_VERSION_MASK) != VHOST_FLAG_VERSION ||
        msg.size > VHOST_BODY_MAX_BYTES)
        return vmt_err_setx(err, EPROTO, "request %u, flags %#x, %u bytes", msg.request,
                            msg.flags, msg.size);
    r = read_upto(ch, VHOST_HEADER_BYTES + msg.size, err);
    if (r > 0)
        *ret_msg = msg;
    return r;
}

int
vhost_channel_send(const struct vhost_channel *ch, const struct vhost_message *msg,
                   const int *fds, size_t nfds, struct vmt_err *err)
{
    uint8_t out[VHOST_HEADER_BYTES + VHOST_BODY_MAX_BYTES];
    struct iovec iov = {.iov_base = out, .iov_len = VHOST_HEADER_BYTES + msg->size};
    struct msghdr hdr = {.msg_iov = &iov, .msg_iovlen = 1};
    union control control;
    ssize_t n;

    if (msg->size > VHOST_BODY_MAX_BYTES || nfds > VHOST_FDS_MAX)
        return vmt_err_setx(err, EPROTO, "message of %u bytes", msg->size);
    memset(&control, 0, sizeof(control));
    memcpy(out, &msg->request, 4);
    memcpy(out + 4, &msg->flags, 4);
    memcpy(out + 8, &msg->size, 4);
    if (msg->size)
        memcpy(out + VHOST_HEADER_BYTES, msg->body, msg->size);
    if (nfds) {
        struct cmsghdr *c = &control.align;

        hdr.msg_control = control.bytes;
        hdr.msg_controllen = CMSG_SPACE(sizeof(int) * nfds);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int) * nfds);
        memcpy(CMSG_DATA(c), fds, sizeof(int) * nfds);
    }
    n = sendmsg(ch->fd, &hdr, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n != (ssize_t)iov.iov_len)
        return vmt_err_set(err, n < 0 ? errno : EPIPE, "send a message");
    return 0;
}
