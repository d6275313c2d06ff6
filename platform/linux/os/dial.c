/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/os/dial.c - drive a connection to its end, its deadline or its
 * cancellation. */
#include "platform/linux/os/dial_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/event.h>

#include "core/base/err.h"
#include "platform/linux/os/loop.h"
#include "platform/linux/os/stream_fd.h"

/* Take everything apart but the descriptor; frees op. */
static int
dial_dissolve(struct transport_op *op)
{
    struct vmt_clock *clock = os_loop_clock(op->loop);
    int fd = op->fd;

    vmt_list_remove(&op->node);
    (void)event_del(&op->ev);
    clock->ops->timer_cancel(clock, op->deadline);
    free(op);
    return fd;
}

static void
dial_fail(struct transport_op *op, int code, struct vmt_err *err)
{
    struct transport_dial dial = op->dial;

    if (op->name)
        (void)vmt_err_wrap(err, code, "connect to %s", op->name);
    else
        (void)vmt_err_wrap(err, code, "connect to port %u of vm %u", dial.port, dial.cid);
    dial_cancel(op);
    dial.on_done(dial.arg, NULL, err);
}

static void
dial_succeed(struct transport_op *op)
{
    struct transport_dial dial = op->dial;
    const struct stream_peer *peer = op->peer.kind ? &op->peer : NULL;
    struct vmt_err err = {0};
    struct stream *s;
    int r = os_stream_new(op->loop, op->fd, peer, &s, &err);

    if (r < 0) {
        dial_fail(op, r, &err);
        return;
    }
    (void)dial_dissolve(op);
    dial.on_done(dial.arg, s, NULL);
}

static void dial_on_event(evutil_socket_t fd, short what, void *arg);

static int
dial_wait(struct transport_op *op, unsigned retry_ms)
{
    struct timeval retry = {.tv_usec = (suseconds_t)retry_ms * 1000};
    int fd = op->want ? op->fd : -1;

    if (event_initialized(&op->ev))
        (void)event_del(&op->ev);
    if (event_assign(&op->ev, os_loop_base(op->loop), fd, op->want, dial_on_event, op) <
        0)
        return -ENOMEM;
    return event_add(&op->ev, op->want ? NULL : &retry) < 0 ? -ENOMEM : 0;
}

static void
dial_on_event(evutil_socket_t fd, short what, void *arg)
{
    struct transport_op *op = arg;
    struct vmt_err err = {0};
    int r;

    (void)fd;
    (void)what;
    r = op->step(op, &err);
    if (r > 0) {
        r = dial_wait(op, DIAL_RETRY_MS);
        if (r == 0)
            return;
        (void)vmt_err_set(&err, -r, "wait");
    }
    if (r < 0)
        dial_fail(op, r, &err);
    else
        dial_succeed(op);
}

static void
dial_on_deadline(void *arg)
{
    struct transport_op *op = arg;
    struct vmt_err err;

    op->deadline = NULL;
    (void)vmt_err_setx(&err, ETIMEDOUT, "no answer within %u ms", op->dial.timeout_ms);
    dial_fail(op, -ETIMEDOUT, &err);
}

int
dial_start(struct transport_op *op, struct vmt_list *ops)
{
    struct vmt_clock *clock = os_loop_clock(op->loop);
    int r = 0;

    op->want = 0;
    op->deadline = NULL;
    if (op->dial.timeout_ms)
        r = clock->ops->timer_start(clock, op->dial.timeout_ms, dial_on_deadline, op,
                                    &op->deadline);
    if (r == 0)
        r = dial_wait(op, 0);
    if (r < 0) {
        clock->ops->timer_cancel(clock, op->deadline);
        return r;
    }
    vmt_list_append(ops, &op->node);
    return 0;
}

int
dial_socket_step(struct transport_op *op, bool *started, const struct sockaddr *address,
                 unsigned address_len, struct vmt_err *err)
{
    socklen_t len = sizeof(int);
    int status = 0;

    if (!*started) {
        *started = true;
        op->want = EV_WRITE;
        if (connect(op->fd, address, address_len) == 0)
            return 0;
        if (errno == EINPROGRESS || errno == EINTR)
            return 1;
        return vmt_err_set(err, errno, "connect");
    }
    if (getsockopt(op->fd, SOL_SOCKET, SO_ERROR, &status, &len) < 0)
        status = errno;
    return status ? vmt_err_set(err, status, "connect") : 0;
}

void
dial_cancel(struct transport_op *op)
{
    int fd = dial_dissolve(op);

    vmt_closep(&fd);
}

void
dial_cancel_all(struct vmt_list *ops)
{
    VMT_LIST_FOREACH(node, next, ops)
    dial_cancel(VMT_CONTAINER_OF(node, struct transport_op, node));
}
