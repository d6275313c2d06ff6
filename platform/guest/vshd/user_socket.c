/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/guest/vshd/user_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/event.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "platform/guest/vshd/user_socket_internal.h"
#include "platform/linux/os/loop.h"

struct user_socket {
    int channel; /* owned; the helper lives no longer than this is open */
    struct event *ev;
    user_socket_done_fn *on_done;
    void *arg; /* borrowed */
};

VMT_DEFINE_FREEP(struct user_socket, user_socket_free)

void
user_socket_free(struct user_socket *socket)
{
    if (!socket)
        return;
    if (socket->ev)
        event_free(socket->ev);
    vmt_closep(&socket->channel);
    free(socket);
}

/* Take the report and the descriptor that may come with it. Returns 0 or -errno. */
static int
report_receive(int channel, struct user_socket_report *report, int *ret_fd)
{
    union {
        struct cmsghdr header;
        char room[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec iov = {.iov_base = report, .iov_len = sizeof(*report)};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = &control,
                         .msg_controllen = sizeof(control)};
    ssize_t n = recvmsg(channel, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    struct cmsghdr *c;

    if (n < 0)
        return -errno;
    c = CMSG_FIRSTHDR(&msg);
    if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
        memcpy(ret_fd, CMSG_DATA(c), sizeof(int));
    if (n != (ssize_t)sizeof(*report))
        return -EIO; /* it died */
    report->text[sizeof(report->text) - 1] = '\0';
    return 0;
}

static void
socket_on_report(evutil_socket_t channel, short what, void *arg)
{
    struct user_socket *self = arg;
    struct user_socket_report report;
    VMT_CLEANUP(vmt_closep) int fd = -1;
    struct vsh_address bound = {.host = "", .path = ""};
    struct vmt_err err;
    int r = report_receive(channel, &report, &fd);

    (void)what;
    if (r == -EAGAIN || r == -EINTR)
        return;
    (void)event_del(self->ev);
    if (r < 0 || (report.code == 0 && fd < 0))
        (void)vmt_err_setx(&err, EIO, "its process ended too early");
    else if (report.code != 0)
        (void)vmt_err_setx(&err, report.code, "%s", report.text);
    else if (fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) < 0)
        r = vmt_err_set(&err, errno, "make the socket non-blocking");
    if (r < 0 || report.code != 0) {
        self->on_done(self->arg, -1, &bound, &err);
        return;
    }
    bound.port = report.port;
    bound.path = report.text;
    self->on_done(self->arg, vmt_take_fd(&fd), &bound, NULL);
}

int
user_socket_new(struct os_loop *loop, const struct user_socket_spec *spec,
                user_socket_done_fn *on_done, void *arg, struct user_socket **ret_socket,
                struct vmt_err *err)
{
    VMT_CLEANUP(user_socket_freep)
    struct user_socket *self = calloc(1, sizeof(*self));
    VMT_CLEANUP(vmt_closep) int theirs = -1;
    int pair[2];
    pid_t pid;

    if (!self)
        return vmt_err_set(err, ENOMEM, "make a socket");
    self->channel = -1;
    self->on_done = on_done;
    self->arg = arg;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return vmt_err_set(err, errno, "make a socket");
    self->channel = pair[0];
    theirs = pair[1];
    self->ev = event_new(os_loop_base(loop), self->channel, EV_READ | EV_PERSIST,
                         socket_on_report, self);
    if (!self->ev || event_add(self->ev, NULL) < 0)
        return vmt_err_set(err, ENOMEM, "make a socket");
    pid = fork();
    if (pid < 0)
        return vmt_err_set(err, errno, "fork");
    if (pid == 0)
        user_socket_child(spec, theirs);
    *ret_socket = vmt_take_ptr(&self);
    return 0;
}
