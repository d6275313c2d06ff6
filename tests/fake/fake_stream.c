/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/fake/fake_stream.h"

#include <errno.h>
#include <stdlib.h>

#include "core/adapter/clock.h"
#include "core/base/buf.h"
#include "core/base/cleanup.h"
#include "core/base/limits.h"

#define FAKE_STREAM_WINDOW (64u * 1024)

struct fake_stream {
    struct stream base;
    struct vmt_clock *clock;              /* borrowed */
    struct fake_stream *other;            /* borrowed; NULL once it was closed */
    const struct stream_handler *handler; /* borrowed */
    void *arg;                            /* borrowed */
    struct vmt_timer *tick;               /* the next turn, when there is work */
    struct vmt_buf in;                    /* arrived, not told yet */
    struct vmt_buf out;                   /* waits for room in other->in */
    struct stream_peer peer;
    size_t chunk, window;
    int failed;      /* told with on_end, and send fails */
    bool in_end;     /* no more will arrive than what is in in */
    bool shut;       /* shutdown_send was called */
    bool above_high; /* on_drain is owed */
    bool paused, ended, busy, closed;
};

static struct fake_stream *
self_of(struct stream *s)
{
    return VMT_CONTAINER_OF(s, struct fake_stream, base);
}

static const struct fake_stream *
self_of_const(const struct stream *s)
{
    return self_of((struct stream *)(uintptr_t)s);
}

static void
fake_free(struct fake_stream *s)
{
    s->clock->ops->timer_cancel(s->clock, s->tick);
    vmt_buf_done(&s->in);
    vmt_buf_done(&s->out);
    free(s);
}

static bool
fake_has_work(const struct fake_stream *s)
{
    if (s->closed || !s->handler)
        return false;
    if (s->failed)
        return !s->ended;
    return (s->above_high && s->out.len <= VMT_STREAM_LOW_MARK) ||
           (!s->paused && !s->ended && (s->in.len > 0 || s->in_end));
}

static void fake_on_tick(void *arg);

static void
fake_schedule(struct fake_stream *s)
{
    if (!s->tick && fake_has_work(s))
        (void)s->clock->ops->timer_start(s->clock, 0, fake_on_tick, s, &s->tick);
}

static void
fake_fail(struct fake_stream *s, int status)
{
    if (s->failed)
        return;
    s->failed = status;
    vmt_buf_done(&s->out);
    fake_schedule(s);
}

/* Move what fits from s to the other side, and its end after the last byte. */
static void
fake_move(struct fake_stream *s)
{
    struct fake_stream *o = s->other;
    size_t room, n;

    if (!o || o->closed || s->failed)
        return;
    room = o->window > o->in.len ? o->window - o->in.len : 0;
    n = s->out.len < room ? s->out.len : room;
    if (n > 0) {
        if (vmt_buf_append(&o->in, s->out.data, n) < 0) {
            fake_fail(s, -ENOMEM);
            return;
        }
        vmt_buf_consume(&s->out, n);
    }
    if (s->shut && s->out.len == 0)
        o->in_end = true;
    fake_schedule(o);
    fake_schedule(s);
}

/* Returns false when the callback closed s. */
static bool
fake_leave(struct fake_stream *s)
{
    s->busy = false;
    if (!s->closed)
        return true;
    fake_free(s);
    return false;
}

static bool
fake_tell_data(struct fake_stream *s)
{
    size_t n = s->chunk && s->chunk < s->in.len ? s->chunk : s->in.len;
    VMT_CLEANUP(vmt_freep) uint8_t *copy = NULL;

    if (n == 0 || s->paused || s->ended)
        return true;
    copy = malloc(n);
    if (!copy)
        return true;
    /* A copy of just the right size: a sanitizer sees the reader that goes beyond. */
    for (size_t i = 0; i < n; i++)
        copy[i] = s->in.data[i];
    vmt_buf_consume(&s->in, n);
    s->busy = true;
    s->handler->on_data(s->arg, copy, n);
    return fake_leave(s);
}

static bool
fake_tell_drain(struct fake_stream *s)
{
    if (!s->above_high || s->out.len > VMT_STREAM_LOW_MARK || s->failed)
        return true;
    s->above_high = false;
    if (!s->handler || !s->handler->on_drain)
        return true;
    s->busy = true;
    s->handler->on_drain(s->arg);
    return fake_leave(s);
}

static bool
fake_tell_end(struct fake_stream *s)
{
    if (s->ended || !s->handler)
        return true;
    if (!s->failed && (!s->in_end || s->in.len > 0 || s->paused))
        return true;
    s->ended = true;
    if (!s->handler->on_end)
        return true;
    s->busy = true;
    s->handler->on_end(s->arg, s->failed);
    return fake_leave(s);
}

static void
fake_on_tick(void *arg)
{
    struct fake_stream *s = arg;

    s->tick = NULL;
    if (!s->handler)
        return;
    if (!fake_tell_data(s))
        return;
    if (s->other)
        fake_move(s->other);
    if (!fake_tell_drain(s) || !fake_tell_end(s))
        return;
    fake_schedule(s);
}

static void
fake_set_handler(struct stream *base, const struct stream_handler *handler, void *arg)
{
    struct fake_stream *s = self_of(base);

    s->handler = handler;
    s->arg = arg;
    fake_schedule(s);
}

static int
fake_send(struct stream *base, const void *data, size_t len, const int *fds, size_t nfds)
{
    struct fake_stream *s = self_of(base);

    (void)fds;
    if (s->failed || s->shut)
        return -EPIPE;
    if (nfds > 0)
        return -ENOTSUP;
    if (!s->other) {
        fake_fail(s, -EPIPE);
        return -EPIPE;
    }
    if (len == 0)
        return 0;
    if (vmt_buf_append(&s->out, data, len) < 0)
        return -ENOMEM;
    fake_move(s);
    if (s->out.len > VMT_STREAM_HIGH_MARK)
        s->above_high = true;
    return 0;
}

static size_t
fake_queued(const struct stream *s)
{
    return self_of_const(s)->out.len;
}

static size_t
fake_take_fds(struct stream *s, int *fds, size_t max)
{
    (void)s;
    (void)fds;
    (void)max;
    return 0;
}

static void
fake_pause(struct stream *base, bool paused)
{
    struct fake_stream *s = self_of(base);

    s->paused = paused;
    fake_schedule(s);
}

static void
fake_shutdown_send(struct stream *base)
{
    struct fake_stream *s = self_of(base);

    if (s->failed)
        return;
    s->shut = true;
    fake_move(s);
}

static void
fake_close(struct stream *base)
{
    struct fake_stream *s = self_of(base), *o = s->other;

    s->closed = true;
    s->handler = NULL;
    s->other = NULL;
    if (o) {
        o->other = NULL;
        o->in_end = true;
        /* Nobody will ever read these. */
        if (o->out.len > 0)
            fake_fail(o, -EPIPE);
        fake_schedule(o);
    }
    if (!s->busy)
        fake_free(s);
}

static void
fake_peer(const struct stream *s, struct stream_peer *ret_peer)
{
    *ret_peer = self_of_const(s)->peer;
}

static const struct stream_ops fake_stream_ops = {
    .set_handler = fake_set_handler,
    .send = fake_send,
    .queued = fake_queued,
    .take_fds = fake_take_fds,
    .pause = fake_pause,
    .shutdown_send = fake_shutdown_send,
    .close = fake_close,
    .peer = fake_peer,
};

int
fake_stream_pair(struct vmt_clock *clock, struct stream *ret_streams[2])
{
    struct fake_stream *s[2] = {calloc(1, sizeof(**s)), calloc(1, sizeof(**s))};

    if (!s[0] || !s[1]) {
        free(s[0]);
        free(s[1]);
        return -ENOMEM;
    }
    for (int i = 0; i < 2; i++) {
        s[i]->base.ops = &fake_stream_ops;
        s[i]->clock = clock;
        s[i]->other = s[1 - i];
        s[i]->window = FAKE_STREAM_WINDOW;
        ret_streams[i] = &s[i]->base;
    }
    return 0;
}

void
fake_stream_set_peer(struct stream *s, const struct stream_peer *peer)
{
    self_of(s)->peer = *peer;
}

void
fake_stream_set_chunk(struct stream *s, size_t bytes)
{
    self_of(s)->chunk = bytes;
}

void
fake_stream_set_window(struct stream *s, size_t bytes)
{
    self_of(s)->window = bytes;
}

void
fake_stream_break(struct stream *s, int status)
{
    struct fake_stream *self = self_of(s);

    vmt_buf_done(&self->in);
    fake_fail(self, status);
    if (self->other) {
        vmt_buf_done(&self->other->in);
        fake_fail(self->other, status);
    }
}
