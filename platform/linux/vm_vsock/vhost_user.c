/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/linux/vm_vsock/vhost_user.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/event.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/log.h"
#include "platform/linux/vm_vsock/device.h"
#include "platform/linux/vm_vsock/vhost_user_internal.h"

/* The second word of a message's header: version, and whether it is or wants a reply. */
#define FLAG_VERSION_MASK 3u
#define FLAG_VERSION 1u
#define FLAG_REPLY 4u
#define FLAG_NEED_REPLY 8u

#define ACCEPT_PAUSE_MS 100

static void
drop_fds(struct vhost_user *vu)
{
    for (size_t i = 0; i < vu->nfds; i++)
        vmt_closep(&vu->fds[i]);
    vu->nfds = 0;
}

static void
frontend_drop(struct vhost_user *vu)
{
    if (vu->io)
        event_free(vmt_take_ptr(&vu->io));
    vmt_closep(&vu->fd);
    vu->fd = -1;
    drop_fds(vu);
    vu->got = 0;
    vu->protocol = 0;
    vu->has_protocol = false;
    vsock_device_detach(vu->dev);
    (void)event_add(vu->accept, NULL);
}

/* A frontend that does not read its replies is broken: they are few and small. */
static int
send_reply(struct vhost_user *vu, uint32_t request, struct vmt_err *err)
{
    uint8_t out[HEADER_BYTES + sizeof(vu->reply)];
    uint32_t header[3] = {request, FLAG_VERSION | FLAG_REPLY, (uint32_t)vu->reply_len};
    size_t len = HEADER_BYTES + vu->reply_len;
    ssize_t n;

    memcpy(out, header, HEADER_BYTES);
    memcpy(out + HEADER_BYTES, vu->reply, vu->reply_len);
    n = send(vu->fd, out, len, MSG_NOSIGNAL);
    if (n != (ssize_t)len)
        return vmt_err_set(err, n < 0 ? errno : EPIPE, "answer the frontend");
    return 0;
}

/* A request that fails ends the connection, unless the frontend asked to be told. */
static int
message_handle(struct vhost_user *vu, const struct message *msg, struct vmt_err *err)
{
    const struct request *req = vhost_user_request(msg->request);
    bool ack = (msg->flags & FLAG_NEED_REPLY) && (vu->protocol & PROTOCOL_F_REPLY_ACK);
    int r;

    vu->reply_len = 0;
    if (!req)
        r = vmt_err_setx(err, ENOSYS, "unknown request %u", msg->request);
    else if (msg->size < req->min || msg->size > req->max || vu->nfds > req->fds_max)
        r = vmt_err_setx(err, EPROTO, "%s of %u bytes with %zu descriptors", req->name,
                         msg->size, vu->nfds);
    else
        r = req->handle(vu, msg, err);
    if (r < 0 && !ack)
        return r;
    if (r < 0 && log_limit_pass(&vu->log))
        vmt_log_warning("refused a request of the frontend: %s", vmt_err_text(err));
    if (ack && (r < 0 || !vu->reply_len)) {
        uint64_t failed = r < 0;

        vhost_user_reply(vu, &failed, sizeof(failed));
    }
    return vu->reply_len ? send_reply(vu, msg->request, err) : 0;
}

/* Keep the descriptors that came along; too many are a failure. */
static int
collect_fds(struct vhost_user *vu, struct msghdr *hdr)
{
    bool full = hdr->msg_flags & MSG_CTRUNC;

    for (struct cmsghdr *c = CMSG_FIRSTHDR(hdr); c; c = CMSG_NXTHDR(hdr, c)) {
        size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        for (size_t i = 0; i < n; i++) {
            int fd;

            memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
            if (vu->nfds < FDS_MAX) {
                vu->fds[vu->nfds++] = fd;
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
read_upto(struct vhost_user *vu, size_t want, struct vmt_err *err)
{
    while (vu->got < want) {
        union {
            struct cmsghdr align;
            char bytes[CMSG_SPACE(sizeof(int) * FDS_MAX)];
        } control;
        struct iovec iov = {.iov_base = vu->in + vu->got, .iov_len = want - vu->got};
        struct msghdr hdr = {.msg_iov = &iov,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = sizeof(control.bytes)};
        ssize_t n = recvmsg(vu->fd, &hdr, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);

        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return 0;
        if (n < 0)
            return vmt_err_set(err, errno, "read from the frontend");
        if (collect_fds(vu, &hdr) < 0)
            return vmt_err_setx(err, EPROTO, "too many descriptors");
        if (n == 0)
            return vmt_err_setx(err, ECONNRESET, "closed by the frontend");
        vu->got += (size_t)n;
    }
    return 1;
}

/* One message. Returns 1, 0 when it is not all there yet, -errno. */
static int
frontend_step(struct vhost_user *vu, struct vmt_err *err)
{
    uint32_t header[3];
    struct message msg;
    int r = read_upto(vu, HEADER_BYTES, err);

    if (r <= 0)
        return r;
    memcpy(header, vu->in, sizeof(header));
    msg = (struct message){header[0], header[1], header[2], vu->in + HEADER_BYTES};
    if ((msg.flags & FLAG_VERSION_MASK) != FLAG_VERSION || msg.size > BODY_MAX_BYTES)
        return vmt_err_setx(err, EPROTO, "request %u, flags %#x, %u bytes", msg.request,
                            msg.flags, msg.size);
    r = read_upto(vu, HEADER_BYTES + msg.size, err);
    if (r <= 0)
        return r;
    r = message_handle(vu, &msg, err);
    drop_fds(vu);
    vu->got = 0;
    return r < 0 ? r : 1;
}

/* One message per turn: the rest is seen by the next, and the queues have theirs. */
static void
on_frontend(evutil_socket_t fd, short what, void *arg)
{
    struct vhost_user *vu = arg;
    struct vmt_err err = {0};
    int r = frontend_step(vu, &err);

    (void)fd;
    (void)what;
    if (r >= 0)
        return;
    if (log_limit_pass(&vu->log))
        vmt_log(r == -ECONNRESET && vu->got == 0 ? VMT_LOG_INFO : VMT_LOG_WARNING,
                "frontend dropped: %s", vmt_err_text(&err));
    frontend_drop(vu);
}

static void
on_resume(evutil_socket_t fd, short what, void *arg)
{
    struct vhost_user *vu = arg;

    (void)fd;
    (void)what;
    (void)event_add(vu->accept, NULL);
}

static void
on_accept(evutil_socket_t listen_fd, short what, void *arg)
{
    struct timeval pause = {.tv_usec = ACCEPT_PAUSE_MS * 1000};
    struct vhost_user *vu = arg;
    int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    (void)what;
    if (fd < 0) {
        if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
            (void)event_del(vu->accept);
            (void)evtimer_add(vu->resume, &pause);
        }
        return;
    }
    vu->fd = fd;
    vu->io = event_new(vu->base, fd, EV_READ | EV_PERSIST, on_frontend, vu);
    (void)event_del(vu->accept);
    if (!vu->io || event_add(vu->io, NULL) < 0)
        frontend_drop(vu);
    else if (log_limit_pass(&vu->log))
        vmt_log_info("a frontend connected");
}

VMT_DEFINE_FREEP(struct vhost_user, vhost_user_free)

int
vhost_user_new(struct event_base *base, int fd, uint32_t guest_cid,
               struct vsock_device *dev, struct vhost_user **ret_vu, struct vmt_err *err)
{
    VMT_CLEANUP(vhost_user_freep) struct vhost_user *vu = calloc(1, sizeof(*vu));

    if (!vu)
        return vmt_err_set(err, ENOMEM, "create frontend server");
    vu->base = base;
    vu->guest_cid = guest_cid;
    vu->dev = dev;
    vu->fd = vu->listen_fd = -1;
    vu->accept = event_new(base, fd, EV_READ | EV_PERSIST, on_accept, vu);
    vu->resume = evtimer_new(base, on_resume, vu);
    if (!vu->accept || !vu->resume || event_add(vu->accept, NULL) < 0)
        return vmt_err_set(err, ENOMEM, "watch the frontend's socket");
    if (fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) < 0)
        return vmt_err_set(err, errno, "make the frontend's socket non-blocking");
    vu->listen_fd = fd;
    *ret_vu = vmt_take_ptr(&vu);
    return 0;
}

void
vhost_user_free(struct vhost_user *vu)
{
    if (!vu)
        return;
    if (vu->io)
        event_free(vu->io);
    if (vu->accept)
        event_free(vu->accept);
    if (vu->resume)
        event_free(vu->resume);
    drop_fds(vu);
    vmt_closep(&vu->fd);
    vmt_closep(&vu->listen_fd);
    free(vu);
}
