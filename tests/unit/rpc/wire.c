/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/rpc/wire.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/limits.h"

struct vmt_timer {
    struct vmt_list node;
    struct wire_clock *clock;
    uint64_t due_ms;
    vmt_timer_fn *fn;
    void *arg;
};

static uint64_t
wire_now_ms(struct vmt_clock *base)
{
    return VMT_CONTAINER_OF(base, struct wire_clock, base)->now_ms;
}

static uint64_t
wire_now_us(struct vmt_clock *base)
{
    return wire_now_ms(base) * 1000;
}

static void
wire_wall(struct vmt_clock *base, int64_t *ret_sec, int32_t *ret_nsec)
{
    *ret_sec = (int64_t)(wire_now_ms(base) / 1000);
    *ret_nsec = 0;
}

static int
wire_timer_start(struct vmt_clock *base, uint64_t delay_ms, vmt_timer_fn *fn, void *arg,
                 struct vmt_timer **ret_timer)
{
    struct wire_clock *clock = VMT_CONTAINER_OF(base, struct wire_clock, base);
    struct vmt_timer *timer = calloc(1, sizeof(*timer));

    if (!timer)
        return -ENOMEM;
    timer->clock = clock;
    timer->due_ms = clock->now_ms + delay_ms;
    timer->fn = fn;
    timer->arg = arg;
    vmt_list_append(&clock->timers, &timer->node);
    clock->ntimers++;
    *ret_timer = timer;
    return 0;
}

static void
wire_timer_cancel(struct vmt_clock *base, struct vmt_timer *timer)
{
    (void)base;
    if (!timer)
        return;
    vmt_list_remove(&timer->node);
    timer->clock->ntimers--;
    free(timer);
}

static const struct vmt_clock_ops wire_clock_ops = {
    .now_ms = wire_now_ms,
    .now_us = wire_now_us,
    .wall = wire_wall,
    .timer_start = wire_timer_start,
    .timer_cancel = wire_timer_cancel,
};

void
wire_clock_init(struct wire_clock *clock)
{
    memset(clock, 0, sizeof(*clock));
    clock->base.ops = &wire_clock_ops;
    clock->now_ms = 1000;
    vmt_list_init(&clock->timers);
}

bool
wire_clock_run(struct wire_clock *clock)
{
    struct vmt_timer *first = NULL;
    vmt_timer_fn *fn;
    void *arg;

    VMT_LIST_FOREACH(node, next, &clock->timers)
    {
        struct vmt_timer *timer = VMT_CONTAINER_OF(node, struct vmt_timer, node);

        if (timer->due_ms <= clock->now_ms && (!first || timer->due_ms < first->due_ms))
            first = timer;
    }
    if (!first)
        return false;
    fn = first->fn;
    arg = first->arg;
    wire_timer_cancel(&clock->base, first);
    fn(arg);
    return true;
}

static struct wire_end *
end_of(const struct stream *s)
{
    return VMT_CONTAINER_OF((struct stream *)(uintptr_t)s, struct wire_end, base);
}

static void
end_set_handler(struct stream *s, const struct stream_handler *handler, void *arg)
{
    end_of(s)->handler = handler;
    end_of(s)->arg = arg;
}

static int
end_send(struct stream *s, const void *data, size_t len, const int *fds, size_t nfds)
{
    struct wire_end *end = end_of(s);

    if (end->over || end->shut)
        return -EPIPE;
    assert(len > 0);
    for (size_t i = 0; i < nfds; i++) {
        assert(end->nout_fds < VMT_ARRAY_SIZE(end->out_fds));
        end->out_fds[end->nout_fds] = vmt_dup_fd(fds[i]);
        end->out_fd_at[end->nout_fds++] = end->sent_total;
    }
    if (vmt_buf_append(&end->out, data, len) < 0)
        return -ENOMEM;
    end->sent_total += len;
    end->nsends++;
    if (end->out.len > VMT_STREAM_HIGH_MARK)
        end->was_high = true;
    return 0;
}

static size_t
end_queued(const struct stream *s)
{
    return end_of(s)->out.len;
}

static size_t
end_take_fds(struct stream *s, int *fds, size_t max)
{
    struct wire_end *end = end_of(s);
    size_t n = end->nin_fds < max ? end->nin_fds : max;

    memcpy(fds, end->in_fds, n * sizeof(*fds));
    end->nin_fds -= n;
    memmove(end->in_fds, end->in_fds + n, end->nin_fds * sizeof(*fds));
    return n;
}

static void
end_pause(struct stream *s, bool paused)
{
    (void)s, (void)paused;
}

static void
end_shutdown_send(struct stream *s)
{
    end_of(s)->shut = true;
}

static void
end_close(struct stream *s)
{
    struct wire_end *end = end_of(s);

    assert(!end->closed);
    end->closed = true;
    end->over = true;
}

static void
end_peer(const struct stream *s, struct stream_peer *ret_peer)
{
    (void)s;
    *ret_peer = (struct stream_peer){.kind = STREAM_PEER_UNIX, .uid = 7, .pid = 8};
}

static const struct stream_ops end_ops = {
    .set_handler = end_set_handler,
    .send = end_send,
    .queued = end_queued,
    .take_fds = end_take_fds,
    .pause = end_pause,
    .shutdown_send = end_shutdown_send,
    .close = end_close,
    .peer = end_peer,
};

void
wire_init(struct wire *wire)
{
    memset(wire, 0, sizeof(*wire));
    for (size_t i = 0; i < 2; i++) {
        wire->ends[i].base.ops = &end_ops;
        wire->ends[i].wire = wire;
        wire->stop_after[i] = SIZE_MAX;
    }
}

void
wire_done(struct wire *wire)
{
    for (size_t i = 0; i < 2; i++) {
        struct wire_end *end = &wire->ends[i];

        vmt_buf_done(&end->out);
        for (size_t j = 0; j < end->nout_fds; j++)
            vmt_closep(&end->out_fds[j]);
        for (size_t j = 0; j < end->nin_fds; j++)
            vmt_closep(&end->in_fds[j]);
    }
}

static void
end_tell_end(struct wire_end *end, int status)
{
    if (end->closed || end->told_end || !end->handler)
        return;
    end->told_end = true;
    if (status < 0)
        end->over = true;
    end->handler->on_end(end->arg, status);
}

void
wire_cut(struct wire *wire, int status)
{
    for (size_t i = 0; i < 2; i++)
        wire->ends[i].over = true;
    for (size_t i = 0; i < 2; i++)
        end_tell_end(&wire->ends[i], status);
}

/* Descriptors arrive with or before their byte. */
static void
end_move_fds(struct wire_end *from, struct wire_end *to, size_t upto)
{
    while (from->nout_fds > 0 && from->out_fd_at[0] < upto) {
        assert(to->nin_fds < VMT_FDS_MAX);
        to->in_fds[to->nin_fds++] = from->out_fds[0];
        from->nout_fds--;
        memmove(from->out_fds, from->out_fds + 1, from->nout_fds * sizeof(int));
        memmove(from->out_fd_at, from->out_fd_at + 1, from->nout_fds * sizeof(size_t));
    }
}

/* As the kernel does: a read ends at the next bytes that carry descriptors. */
static size_t
end_readable(const struct wire *wire, const struct wire_end *from)
{
    size_t split = wire->split_at[from - wire->ends];
    size_t n = from->out.len;

    if (from->moved_total < split && n > split - from->moved_total)
        n = split - from->moved_total;

    if (wire->chunk && n > wire->chunk)
        n = wire->chunk;
    for (size_t i = 0; i < from->nout_fds; i++) {
        if (from->out_fd_at[i] > from->moved_total &&
            from->out_fd_at[i] - from->moved_total < n)
            n = from->out_fd_at[i] - from->moved_total;
    }
    return n;
}

static bool
end_move(struct wire *wire, size_t i)
{
    struct wire_end *from = &wire->ends[i], *to = &wire->ends[1 - i];
    size_t n = end_readable(wire, from);
    void *copy = NULL;

    if (wire->stall[i] || n == 0 || to->over || !to->handler)
        return false;
    if (n > wire->stop_after[i])
        n = wire->stop_after[i];
    if (n == 0) {
        wire_cut(wire, wire->cut_status);
        return true;
    }
    if (wire->stop_after[i] != SIZE_MAX)
        wire->stop_after[i] -= n;
    /* A copy, so that the sanitizer sees reads beyond; not by malloc, which tests let
     * fail. */
    assert(posix_memalign(&copy, sizeof(void *), n) == 0);
    memcpy(copy, from->out.data, n);
    vmt_buf_consume(&from->out, n);
    from->moved_total += n;
    end_move_fds(from, to, from->moved_total);
    to->handler->on_data(to->arg, copy, n);
    free(copy);
    if (from->was_high && from->out.len <= VMT_STREAM_LOW_MARK && !from->closed) {
        from->was_high = false;
        if (from->handler->on_drain)
            from->handler->on_drain(from->arg);
    }
    return true;
}

bool
wire_step(struct wire *wire)
{
    bool moved = end_move(wire, 0);

    moved |= end_move(wire, 1);
    for (size_t i = 0; i < 2; i++) {
        struct wire_end *end = &wire->ends[i], *peer = &wire->ends[1 - i];

        if (moved || end->out.len > 0 || peer->told_end || peer->closed)
            continue;
        if (end->closed || end->shut) {
            end_tell_end(peer, 0);
            moved = true;
        }
    }
    return moved;
}

void
wire_settle(struct wire_clock *clock, struct wire *wire)
{
    while (wire_clock_run(clock) || wire_step(wire))
        continue;
}

void
wire_advance(struct wire_clock *clock, struct wire *wire, uint64_t ms)
{
    clock->now_ms += ms;
    wire_settle(clock, wire);
}
