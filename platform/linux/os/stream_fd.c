/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/os/stream_fd.c - struct stream over descriptors and the loop. */
#include "platform/linux/os/stream_fd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/event.h>

#include "core/base/cleanup.h"
#include "platform/linux/os/loop_internal.h"
#include "platform/linux/os/stream_fd_internal.h"

/* Reads and writes per wake-up, so that one busy stream leaves room for the others. */
#define STREAM_ROUNDS 4

/* Descriptors that wait for the byte at offset at of all bytes ever queued. */
struct stream_rights {
    struct vmt_list node;
    uint64_t at;
    struct os_io_fds fds;
};

static struct stream_fd *
stream_self(struct stream *s)
{
    return VMT_CONTAINER_OF(s, struct stream_fd, base);
}

static const struct stream_fd *
stream_self_const(const struct stream *s)
{
    return stream_self((struct stream *)(uintptr_t)s);
}

static void
stream_side_watch(struct stream_side *side, bool on)
{
    /* Always ready: a timeout of zero gives the others their turn in between. */
    static const struct timeval at_once = {0};

    if (side->watched == on || side->fd < 0)
        return;
    side->watched = on;
    if (on)
        (void)event_add(&side->ev, side->pollable ? NULL : &at_once);
    else
        (void)event_del(&side->ev);
}

/* Restart the watch of what epoll cannot watch: its event is used up by each run. */
static void
stream_side_again(struct stream_side *side)
{
    if (!side->watched || side->pollable)
        return;
    side->watched = false;
    stream_side_watch(side, true);
}

static void
stream_side_close(struct stream_side *side, bool owns_fd)
{
    stream_side_watch(side, false);
    if (side->fd < 0)
        return;
    if (owns_fd) {
        if (side->flags >= 0)
            (void)fcntl(side->fd, F_SETFL, side->flags);
        (void)close(side->fd);
    }
    side->fd = -1;
}

static void
stream_rights_free(struct stream_rights *rights)
{
    vmt_list_remove(&rights->node);
    os_io_fds_close(&rights->fds);
    free(rights);
}

static void
stream_drop_queue(struct stream_fd *s)
{
    VMT_LIST_FOREACH(node, next, &s->rights)
    stream_rights_free(VMT_CONTAINER_OF(node, struct stream_rights, node));
    vmt_buf_done(&s->queue);
}

static void
stream_free(struct stream_fd *s)
{
    stream_side_close(&s->out, !s->shared);
    stream_side_close(&s->in, true);
    (void)event_del(&s->wake);
    stream_drop_queue(s);
    os_io_fds_close(&s->got);
    free(s);
}

static void
stream_enter(struct stream_fd *s)
{
    s->busy++;
}

/* Returns false when the stream was closed meanwhile: it is gone then. */
static bool
stream_leave(struct stream_fd *s)
{
    if (--s->busy > 0 || !s->closed)
        return !s->closed;
    stream_free(s);
    return false;
}

static void
stream_watch_input(struct stream_fd *s)
{
    stream_side_watch(&s->in, s->handler && !s->paused && !s->ended);
}

static void
stream_wake(struct stream_fd *s)
{
    static const struct timeval at_once = {0};

    (void)event_add(&s->wake, &at_once);
}

/* Nothing can be sent any more; the loop will say so. */
static void
stream_fail(struct stream_fd *s, int code)
{
    if (s->failed)
        return;
    s->failed = code;
    stream_side_watch(&s->out, false);
    stream_drop_queue(s);
    stream_wake(s);
}

static void
stream_finish_sending(struct stream_fd *s)
{
    if (s->shut_done)
        return;
    s->shut_done = true;
    /* A terminal has no half-close. */
    (void)shutdown(s->out.fd, SHUT_WR);
    if (!s->shared)
        stream_side_close(&s->out, true);
}

/* Write one run of bytes with the descriptors that belong to its first one. Returns bytes
 * or -errno. */
static ssize_t
stream_write_run(struct stream_fd *s)
{
    struct stream_rights *rights = NULL;
    size_t len = s->queue.len;
    ssize_t n;

    VMT_LIST_FOREACH(node, next, &s->rights)
    {
        struct stream_rights *r = VMT_CONTAINER_OF(node, struct stream_rights, node);

        if (r->at == s->written) {
            rights = r;
            continue;
        }
        /* The next descriptors must not arrive before their byte. */
        if (r->at - s->written < len)
            len = (size_t)(r->at - s->written);
        break;
    }
    n = os_io_write(s->kind, s->out.fd, s->queue.data, len, rights ? &rights->fds : NULL);
    if (n <= 0)
        return n;
    if (rights)
        stream_rights_free(rights);
    vmt_buf_consume(&s->queue, (size_t)n);
    s->written += (size_t)n;
    return n;
}

static void
stream_flush(struct stream_fd *s)
{
    for (int i = 0; i < STREAM_ROUNDS && s->queue.len > 0; i++) {
        ssize_t n = stream_write_run(s);

        if (n == -EAGAIN)
            return;
        if (n < 0) {
            stream_fail(s, (int)n);
            return;
        }
    }
    if (s->queue.len > 0)
        return;
    stream_side_watch(&s->out, false);
    if (s->queue.cap > VMT_STREAM_HIGH_MARK)
        vmt_buf_done(&s->queue);
    if (s->shut)
        stream_finish_sending(s);
}

void
stream_on_writable(evutil_socket_t fd, short what, void *arg)
{
    struct stream_fd *s = arg;

    (void)fd;
    (void)what;
    stream_flush(s);
    stream_side_again(&s->out);
    if (s->failed || !s->above_high || s->queue.len > VMT_STREAM_LOW_MARK)
        return;
    s->above_high = false;
    if (!s->handler || !s->handler->on_drain)
        return;
    stream_enter(s);
    s->handler->on_drain(s->arg);
    (void)stream_leave(s);
}

/* Tell the end once. The stream may be gone afterwards. */
static void
stream_end(struct stream_fd *s, int status)
{
    if (s->ended || !s->handler) /* set_handler comes back to it */
        return;
    s->ended = true;
    stream_side_watch(&s->in, false);
    if (status < 0 && !s->failed) {
        s->failed = status;
        stream_side_watch(&s->out, false);
        stream_drop_queue(s);
    }
    if (!s->handler->on_end)
        return;
    stream_enter(s);
    s->handler->on_end(s->arg, status);
    (void)stream_leave(s);
}

/* Read what is there, within bounds. Returns 1 while the stream is open, 0 at its end,
 * -errno when it broke, -ECANCELED when it is gone. */
static int
stream_read(struct stream_fd *s)
{
    uint8_t *scratch = s->loop->scratch;

    for (int i = 0; i < STREAM_ROUNDS && !s->paused && s->handler; i++) {
        ssize_t n = os_io_read(s->kind, s->in.fd, scratch, OS_LOOP_SCRATCH, &s->got);

        if (n == -EAGAIN)
            return 1;
        if (n <= 0)
            return (int)n;
        stream_enter(s);
        s->handler->on_data(s->arg, scratch, (size_t)n);
        if (!stream_leave(s))
            return -ECANCELED;
        /* A short read emptied it; asking again would only cost a system call. */
        if ((size_t)n < OS_LOOP_SCRATCH)
            return 1;
    }
    return 1;
}

void
stream_on_readable(evutil_socket_t fd, short what, void *arg)
{
    struct stream_fd *s = arg;
    int r;

    (void)fd;
    (void)what;
    s->loop->ran++;
    r = stream_read(s);
    if (r == -ECANCELED)
        return;
    if (r > 0) {
        stream_side_again(&s->in);
        return;
    }
    /* EBADF is how the write end of a pipe reports that its reader is gone. */
    if (r == -EBADF)
        r = -EPIPE;
    stream_end(s, s->failed ? s->failed : r);
}

/* A write failed. What the peer said before it went away is still worth reading: an
 * answer, the reason for the end. */
void
stream_on_wake(evutil_socket_t fd, short what, void *arg)
{
    struct stream_fd *s = arg;
    int r = 0;

    (void)fd;
    (void)what;
    if (s->kind != OS_IO_FILE && !s->ended)
        r = stream_read(s);
    if (r != -ECANCELED)
        stream_end(s, s->failed);
}

static void
stream_set_handler(struct stream *base, const struct stream_handler *handler, void *arg)
{
    struct stream_fd *s = stream_self(base);

    s->handler = handler;
    s->arg = arg;
    stream_watch_input(s);
    if (handler && s->failed && !s->ended)
        stream_wake(s);
}

/* Unix sockets and vsock know whether the peer only ended its bytes or is gone: unix(7)
 * and vsock sendmsg refuse with EPIPE also what is empty. */
static int
stream_probe(struct stream_fd *s)
{
    ssize_t n = s->kind == OS_IO_FILE || s->queue.len > 0
                    ? 0
                    : os_io_write(s->kind, s->out.fd, "", 0, NULL);

    if (n >= 0 || n == -EAGAIN)
        return 0;
    stream_fail(s, (int)n);
    return -EPIPE;
}

/* Queue what could not be written. Returns 0 or -ENOMEM, -EMFILE. */
static int
stream_enqueue(struct stream_fd *s, const uint8_t *data, size_t len, const int *fds,
               size_t nfds)
{
    VMT_CLEANUP(vmt_freep) struct stream_rights *rights = NULL;
    uint64_t at = s->written + s->queue.len;
    int r;

    if (nfds > 0) {
        rights = calloc(1, sizeof(*rights));
        if (!rights)
            return -ENOMEM;
        r = os_io_fds_dup(fds, nfds, &rights->fds);
        if (r < 0)
            return r;
    }
    r = vmt_buf_append(&s->queue, data, len);
    if (r < 0) {
        if (rights)
            os_io_fds_close(&rights->fds);
        return r;
    }
    if (rights) {
        rights->at = at;
        vmt_list_append(&s->rights, &rights->node);
        rights = NULL;
    }
    if (s->queue.len > VMT_STREAM_HIGH_MARK)
        s->above_high = true;
    stream_side_watch(&s->out, true);
    return 0;
}

static int
stream_send(struct stream *base, const void *data, size_t len, const int *fds,
            size_t nfds)
{
    struct stream_fd *s = stream_self(base);
    struct os_io_fds now = {.n = nfds};
    const uint8_t *rest = data;
    ssize_t n = 0;
    int r;

    if (s->failed || s->shut || s->out.fd < 0)
        return -EPIPE;
    if (nfds > 0 && s->kind != OS_IO_UNIX)
        return -ENOTSUP;
    if (nfds > VMT_FDS_MAX || (nfds > 0 && len == 0))
        return -EINVAL;
    if (len == 0)
        return stream_probe(s);
    if (s->queue.len == 0) {
        if (nfds > 0)
            memcpy(now.fd, fds, nfds * sizeof(*fds));
        n = os_io_write(s->kind, s->out.fd, rest, len, &now);
        if (n < 0 && n != -EAGAIN) {
            stream_fail(s, (int)n);
            return -EPIPE;
        }
    }
    if (n > 0) {
        s->written += (size_t)n;
        rest += n;
        len -= (size_t)n;
        nfds = 0;
    }
    if (len == 0)
        return 0;
    r = stream_enqueue(s, rest, len, fds, nfds);
    /* Half a message went out: the peer could not make sense of any other. */
    if (r < 0 && n > 0)
        stream_fail(s, r);
    return r;
}

static size_t
stream_queued(const struct stream *base)
{
    return stream_self_const(base)->queue.len;
}

static size_t
stream_take_fds(struct stream *base, int *fds, size_t max)
{
    struct stream_fd *s = stream_self(base);
    size_t n = s->got.n < max ? s->got.n : max;

    memcpy(fds, s->got.fd, n * sizeof(*fds));
    s->got.n -= n;
    memmove(s->got.fd, s->got.fd + n, s->got.n * sizeof(*fds));
    return n;
}

static void
stream_pause(struct stream *base, bool paused)
{
    struct stream_fd *s = stream_self(base);

    s->paused = paused;
    stream_watch_input(s);
}

static void
stream_shutdown_send(struct stream *base)
{
    struct stream_fd *s = stream_self(base);

    if (s->shut || s->failed || s->out.fd < 0)
        return;
    s->shut = true;
    if (s->queue.len == 0)
        stream_finish_sending(s);
}

static void
stream_fd_close(struct stream *base)
{
    struct stream_fd *s = stream_self(base);

    s->closed = true;
    s->handler = NULL;
    if (s->busy == 0)
        stream_free(s);
}

static void
stream_peer(const struct stream *base, struct stream_peer *ret_peer)
{
    *ret_peer = stream_self_const(base)->peer;
}

const struct stream_ops stream_fd_ops = {
    .set_handler = stream_set_handler,
    .send = stream_send,
    .queued = stream_queued,
    .take_fds = stream_take_fds,
    .pause = stream_pause,
    .shutdown_send = stream_shutdown_send,
    .close = stream_fd_close,
    .peer = stream_peer,
};
