/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/os/listener.c - accept connections, with a pause when no descriptor is
 * left. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/event.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/log.h"
#include "platform/linux/os/listener_internal.h"
#include "platform/linux/os/loop.h"
#include "platform/linux/os/stream_fd.h"

/* Accepted per wake-up, so that a flood of callers leaves room for others. */
#define LISTENER_ROUNDS 16
#define LISTENER_PAUSE_MS 100

struct os_listener {
    struct os_loop *loop; /* borrowed */
    struct event *ev;     /* owned */
    struct vmt_timer *resume;
    os_admit_fn *admit; /* NULL: everybody */
    os_accept_fn *fn;
    void *arg; /* borrowed */
    struct stream_peer peer;
    bool has_peer;
    bool busy;   /* fn is on the stack */
    bool closed; /* free when fn returns */
    int fd;      /* owned */
};

static void
listener_free(struct os_listener *listener)
{
    struct vmt_clock *clock;

    if (!listener)
        return;
    clock = os_loop_clock(listener->loop);
    clock->ops->timer_cancel(clock, listener->resume);
    if (listener->ev)
        event_free(listener->ev);
    vmt_closep(&listener->fd);
    free(listener);
}

VMT_DEFINE_FREEP(struct os_listener, listener_free)

static void
listener_on_resume(void *arg)
{
    struct os_listener *listener = arg;

    listener->resume = NULL;
    (void)event_add(listener->ev, NULL);
}

/* The connection stays in the backlog, so the descriptor would be ready again at once. */
static void
listener_pause(struct os_listener *listener, int code)
{
    struct vmt_clock *clock = os_loop_clock(listener->loop);

    vmt_log_debug("accept pauses: code=%d", code);
    if (clock->ops->timer_start(clock, LISTENER_PAUSE_MS, listener_on_resume, listener,
                                &listener->resume) == 0)
        (void)event_del(listener->ev);
}

/* Make the stream of one accepted connection and hand it over. */
static void
listener_hand_over(struct os_listener *listener, int fd, const struct sockaddr *from)
{
    struct stream_peer peer = listener->peer;
    struct stream *s;
    bool known = listener->has_peer;

    if (listener->admit) {
        if (!listener->admit(listener->arg, from, &peer)) {
            (void)close(fd);
            return;
        }
        known = true;
    }
    if (os_stream_new(listener->loop, fd, known ? &peer : NULL, &s, NULL) < 0) {
        (void)close(fd);
        return;
    }
    s->ops->peer(s, &peer);
    listener->busy = true;
    listener->fn(listener->arg, s, &peer);
    listener->busy = false;
}

static bool
listener_is_full(int code)
{
    return code == EMFILE || code == ENFILE || code == ENOBUFS || code == ENOMEM;
}

static void
listener_on_readable(evutil_socket_t fd, short what, void *arg)
{
    struct os_listener *listener = arg;

    (void)what;
    for (int i = 0; i < LISTENER_ROUNDS && !listener->closed; i++) {
        struct sockaddr_storage from = {0};
        socklen_t len = sizeof(from);
        int conn =
            accept4(fd, (struct sockaddr *)&from, &len, SOCK_CLOEXEC | SOCK_NONBLOCK);

        if (conn >= 0) {
            listener_hand_over(listener, conn, (struct sockaddr *)&from);
            continue;
        }
        if (listener_is_full(errno))
            listener_pause(listener, errno);
        if (errno != EINTR && errno != ECONNABORTED)
            break;
    }
    if (listener->closed)
        listener_free(listener);
}

static int
listener_new(struct os_loop *loop, int fd, const struct os_listener *init,
             struct os_listener **ret_listener)
{
    VMT_CLEANUP(listener_freep) struct os_listener *listener = malloc(sizeof(*listener));
    int flags = fcntl(fd, F_GETFL);

    if (!listener)
        return -ENOMEM;
    *listener = *init;
    listener->loop = loop;
    listener->fd = -1;
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
        return -errno;
    listener->ev = event_new(os_loop_base(loop), fd, EV_READ | EV_PERSIST,
                             listener_on_readable, listener);
    if (!listener->ev || event_add(listener->ev, NULL) < 0)
        return -ENOMEM;
    listener->fd = fd;
    *ret_listener = vmt_take_ptr(&listener);
    return 0;
}

int
os_listener_new(struct os_loop *loop, int fd, const struct stream_peer *peer,
                os_accept_fn *fn, void *arg, struct os_listener **ret_listener,
                struct vmt_err *err)
{
    struct os_listener init = {.fn = fn, .arg = arg};
    int r;

    if (peer) {
        init.peer = *peer;
        init.has_peer = true;
    }
    r = listener_new(loop, fd, &init, ret_listener);
    return r < 0 ? vmt_err_set(err, -r, "watch listening descriptor %d", fd) : 0;
}

int
os_listener_new_admitting(struct os_loop *loop, int fd, os_admit_fn *admit,
                          os_accept_fn *fn, void *arg, struct os_listener **ret_listener)
{
    struct os_listener init = {.admit = admit, .fn = fn, .arg = arg};

    return listener_new(loop, fd, &init, ret_listener);
}

void
os_listener_free(struct os_listener *listener)
{
    if (!listener)
        return;
    listener->closed = true;
    if (!listener->busy)
        listener_free(listener);
}
