/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/os/stream_fd_new.c - find out what a descriptor is, make it a stream. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <event2/event.h>
#include <linux/vm_sockets.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "platform/linux/os/loop.h"
#include "platform/linux/os/stream_fd.h"
#include "platform/linux/os/stream_fd_internal.h"

static enum os_io_kind
stream_fd_kind(int fd, int *ret_domain)
{
    socklen_t len = sizeof(*ret_domain);

    if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, ret_domain, &len) < 0) {
        *ret_domain = AF_UNSPEC;
        return OS_IO_FILE;
    }
    return *ret_domain == AF_UNIX ? OS_IO_UNIX : OS_IO_SOCKET;
}

/* Ask the kernel who is at the other end. */
static void
stream_peer_find(int fd, int domain, struct stream_peer *peer)
{
    struct ucred cred;
    struct sockaddr_vm vm = {0};
    socklen_t len = sizeof(cred);

    if (domain == AF_UNIX && getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) == 0) {
        peer->kind = STREAM_PEER_UNIX;
        peer->uid = cred.uid;
        peer->gid = cred.gid;
        peer->pid = cred.pid;
    }
    len = sizeof(vm);
    if (domain == AF_VSOCK &&
        getpeername(fd, (struct sockaddr *)(void *)&vm, &len) == 0) {
        peer->kind = STREAM_PEER_VSOCK;
        peer->cid = vm.svm_cid;
        peer->port = vm.svm_port;
    }
    if (domain == AF_INET || domain == AF_INET6)
        peer->kind = STREAM_PEER_TCP;
}

/* epoll takes sockets, pipes and most devices; it refuses files, and /dev/null. */
static bool
stream_fd_pollable(int fd)
{
    VMT_CLEANUP(vmt_closep) int probe = -1;
    struct epoll_event ev = {0};
    struct stat st;

    if (fstat(fd, &st) < 0 || S_ISSOCK(st.st_mode) || S_ISFIFO(st.st_mode))
        return true;
    probe = epoll_create1(EPOLL_CLOEXEC);
    return probe < 0 || epoll_ctl(probe, EPOLL_CTL_ADD, fd, &ev) == 0 || errno != EPERM;
}

static int
stream_side_init(struct stream_fd *s, struct stream_side *side, int fd, bool input)
{
    struct event_base *ev_base = os_loop_base(s->loop);
    short what = (short)((input ? EV_READ : EV_WRITE) | EV_PERSIST);
    int flags = fcntl(fd, F_GETFL);

    if (flags < 0)
        return -errno;
    side->pollable = stream_fd_pollable(fd);
    if (!(flags & O_NONBLOCK)) {
        if (fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
            return -errno;
        /* Others may hold the same pipe or terminal and rely on its mode. */
        side->flags = s->kind == OS_IO_FILE ? flags : -1;
    }
    if (!side->pollable) {
        if (input && (flags & O_ACCMODE) == O_WRONLY)
            s->ended = true; /* nothing to read, ever */
        what = 0;
        fd = -1;
    }
    return event_assign(&side->ev, ev_base, fd, what,
                        input ? stream_on_readable : stream_on_writable, s) < 0
               ? -EINVAL
               : 0;
}

static int
stream_new(struct os_loop *loop, int read_fd, int write_fd,
           const struct stream_peer *peer, struct stream **ret_stream)
{
    VMT_CLEANUP(vmt_freep) struct stream_fd *s = calloc(1, sizeof(*s));
    int domain, out_domain, r;

    if (!s)
        return -ENOMEM;
    s->base.ops = &stream_fd_ops;
    s->loop = loop;
    s->in.fd = s->out.fd = s->in.flags = s->out.flags = -1;
    s->shared = read_fd == write_fd;
    vmt_list_init(&s->rights);
    s->kind = stream_fd_kind(read_fd, &domain);
    /* Mixed pairs go by read and write, which every descriptor understands. */
    if (stream_fd_kind(write_fd, &out_domain) != s->kind || !s->shared)
        s->kind = OS_IO_FILE;
    if (peer)
        s->peer = *peer;
    else
        stream_peer_find(read_fd, domain, &s->peer);
    if (evtimer_assign(&s->wake, os_loop_base(loop), stream_on_wake, s) < 0)
        return -EINVAL;
    r = stream_side_init(s, &s->in, read_fd, true);
    if (r < 0)
        return r;
    r = stream_side_init(s, &s->out, write_fd, false);
    if (r < 0) {
        if (s->in.flags >= 0)
            (void)fcntl(read_fd, F_SETFL, s->in.flags);
        return r;
    }
    s->in.fd = read_fd;
    s->out.fd = write_fd;
    *ret_stream = &vmt_take_ptr(&s)->base;
    return 0;
}

int
os_stream_new(struct os_loop *loop, int fd, const struct stream_peer *peer,
              struct stream **ret_stream, struct vmt_err *err)
{
    int r = stream_new(loop, fd, fd, peer, ret_stream);

    return r < 0 ? vmt_err_set(err, -r, "make a stream of descriptor %d", fd) : 0;
}

int
os_stream_new_pair(struct os_loop *loop, int read_fd, int write_fd,
                   struct stream **ret_stream, struct vmt_err *err)
{
    int r = stream_new(loop, read_fd, write_fd, NULL, ret_stream);

    return r < 0 ? vmt_err_set(err, -r, "make a stream of descriptors %d and %d", read_fd,
                               write_fd)
                 : 0;
}

int
os_stream_pair(struct os_loop *loop, struct stream *ret_streams[2], struct vmt_err *err)
{
    struct stream *first = NULL;
    int fds[2], r;

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) < 0)
        return vmt_err_set(err, errno, "make a pair of sockets");
    r = os_stream_new(loop, fds[0], NULL, &first, err);
    if (r < 0)
        (void)close(fds[0]);
    else
        r = os_stream_new(loop, fds[1], NULL, &ret_streams[1], err);
    if (r < 0) {
        (void)close(fds[1]);
        stream_close(first);
        return r;
    }
    ret_streams[0] = first;
    return 0;
}
