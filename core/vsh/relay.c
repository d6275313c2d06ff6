/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/vsh/relay.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

#include "core/adapter/clock.h"
#include "core/adapter/stream.h"
#include "core/base/cleanup.h"
#include "core/base/limits.h"

/* How often a relay whose ends have both said their last looks whether all is delivered;
 * and how often in a row without progress it does before it gives up on the reader. */
#define FLUSH_MS 20u
#define FLUSH_IDLE_MAX 3000u
/* How often it looks whether an end that said its last still listens. */
#define PROBE_MS 30000u

struct relay_end {
    struct vsh_relay *relay; /* borrowed */
    struct stream *stream;   /* owned */
    struct relay_end *other; /* borrowed */
    bool ended;              /* it sent its last byte */
    bool paused;             /* the other end is slow */
};

struct vsh_relay {
    struct vmt_clock *clock; /* borrowed */
    struct relay_end ends[2];
    struct vmt_timer *timer; /* owned; set once an end has ended */
    size_t queued;           /* at the last look */
    unsigned idle;           /* looks without progress */
    bool broken;
    vsh_relay_done_fn *on_done;
    void *arg; /* borrowed */
};

static void relay_on_timer(void *arg);

static void
relay_finish_in(struct vsh_relay *relay, unsigned ms)
{
    if (relay->timer)
        return;
    /* Without memory for a timer nobody is told before the relay is freed with its
     * owner. */
    (void)relay->clock->ops->timer_start(relay->clock, ms, relay_on_timer, relay,
                                         &relay->timer);
}

static void
relay_timer_cancel(struct vsh_relay *relay)
{
    relay->clock->ops->timer_cancel(relay->clock, relay->timer);
    relay->timer = NULL;
}

static void
relay_break(struct vsh_relay *relay)
{
    relay->broken = true;
    relay_timer_cancel(relay);
    relay_finish_in(relay, 0);
}

/* Nobody is left to hear what the other end may say some day: an end that closed, instead
 * of only ending its bytes, does not show otherwise. */
static bool
end_is_gone(const struct relay_end *end)
{
    struct stream *other = end->other->stream;

    return end->ended && other->ops->queued(other) == 0 &&
           end->stream->ops->send(end->stream, "", 0, NULL, 0) < 0;
}

static void
relay_probe(struct vsh_relay *relay)
{
    if (end_is_gone(&relay->ends[0]) || end_is_gone(&relay->ends[1]))
        relay->on_done(relay->arg);
    else
        relay_finish_in(relay, PROBE_MS);
}

static void
relay_on_timer(void *arg)
{
    struct vsh_relay *relay = arg;
    size_t queued = 0;

    relay->timer = NULL;
    if (!relay->broken && !(relay->ends[0].ended && relay->ends[1].ended)) {
        relay_probe(relay);
        return;
    }
    for (size_t i = 0; i < VMT_ARRAY_SIZE(relay->ends); i++)
        queued += relay->ends[i].stream->ops->queued(relay->ends[i].stream);
    relay->idle = queued < relay->queued ? 0 : relay->idle + 1;
    relay->queued = queued;
    if (relay->broken || queued == 0 || relay->idle > FLUSH_IDLE_MAX)
        relay->on_done(relay->arg);
    else
        relay_finish_in(relay, FLUSH_MS);
}

static void
end_forward(struct relay_end *from, const uint8_t *data, size_t len)
{
    struct stream *to = from->other->stream;

    if (to->ops->send(to, data, len, NULL, 0) < 0) {
        relay_break(from->relay);
        return;
    }
    if (!from->paused && to->ops->queued(to) > VMT_STREAM_HIGH_MARK) {
        from->paused = true;
        from->stream->ops->pause(from->stream, true);
    }
}

static void
end_on_data(void *arg, const uint8_t *data, size_t len)
{
    end_forward(arg, data, len);
}

/* This end took what was queued: the other one may go on. */
static void
end_on_drain(void *arg)
{
    struct relay_end *end = arg, *source = end->other;

    if (!source->paused)
        return;
    source->paused = false;
    source->stream->ops->pause(source->stream, false);
}

static void
end_on_end(void *arg, int status)
{
    struct relay_end *end = arg;

    end->ended = true;
    if (status < 0)
        relay_break(end->relay);
    if (end->relay->broken)
        return;
    end->other->stream->ops->shutdown_send(end->other->stream);
    relay_timer_cancel(end->relay);
    relay_finish_in(end->relay, end->other->ended ? 0 : PROBE_MS);
}

int
vsh_relay_new(struct vmt_clock *clock, struct stream *const streams[2],
              vsh_relay_done_fn *on_done, void *arg, struct vsh_relay **ret_relay)
{
    static const struct stream_handler handler = {
        .on_data = end_on_data,
        .on_drain = end_on_drain,
        .on_end = end_on_end,
    };
    struct vsh_relay *relay = calloc(1, sizeof(*relay));

    if (!relay)
        return -ENOMEM;
    relay->clock = clock;
    relay->on_done = on_done;
    relay->arg = arg;
    for (size_t i = 0; i < VMT_ARRAY_SIZE(relay->ends); i++) {
        struct relay_end *end = &relay->ends[i];

        end->relay = relay;
        end->stream = streams[i];
        end->other = &relay->ends[1 - i];
        end->stream->ops->set_handler(end->stream, &handler, end);
        end->stream->ops->pause(end->stream, false);
    }
    *ret_relay = relay;
    return 0;
}

void
vsh_relay_prepend(struct vsh_relay *relay, const uint8_t *data, size_t len)
{
    if (len > 0)
        end_forward(&relay->ends[0], data, len);
}

void
vsh_relay_free(struct vsh_relay *relay)
{
    if (!relay)
        return;
    relay->clock->ops->timer_cancel(relay->clock, relay->timer);
    for (size_t i = 0; i < VMT_ARRAY_SIZE(relay->ends); i++)
        stream_close(relay->ends[i].stream);
    free(relay);
}
