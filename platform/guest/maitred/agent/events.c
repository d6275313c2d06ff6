/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/guest/maitred/agent/events.h"

#include <errno.h>
#include <stdlib.h>

#include <vmt_agent.pb-c.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/log.h"
#include "platform/guest/maitred/agent/host_call.h"

#define REPORT_TIMEOUT_MS 5000

struct events {
    struct vmt_clock *clock;     /* borrowed */
    struct transport *transport; /* borrowed */
    uint32_t port;
    struct host_call *call;                    /* owned; NULL when none is on its way */
    Vmt__GuestEvent *queue[EVENTS_QUEUED_MAX]; /* owned; the first is on its way */
    size_t n;
};

static void send_next(struct events *e);

static void
drop_first(struct events *e)
{
    vmt__guest_event__free_unpacked(e->queue[0], NULL);
    e->n--;
    for (size_t i = 0; i < e->n; i++)
        e->queue[i] = e->queue[i + 1];
}

static void
on_done(void *arg, const struct rpc_status *status)
{
    struct events *e = arg;

    e->call = NULL;
    if (status->code != RPC_OK)
        vmt_log_debug("the host did not take an event: %s", status->text);
    drop_first(e);
    send_next(e);
}

static void
send_next(struct events *e)
{
    struct host_call_spec spec = {
        .clock = e->clock,
        .transport = e->transport,
        .port = e->port,
        .path = EVENTS_PATH,
        .timeout_ms = REPORT_TIMEOUT_MS,
        .on_done = on_done,
        .arg = e,
    };
    struct vmt_err err;

    while (e->n > 0) {
        spec.message = &e->queue[0]->base;
        if (host_call_start(&spec, &e->call, &err) == 0)
            return;
        vmt_log_debug("the host did not take an event: %s", err.msg);
        drop_first(e);
    }
}

int
events_new(struct vmt_clock *clock, struct transport *transport, uint32_t port,
           struct events **ret_events)
{
    struct events *e = calloc(1, sizeof(*e));

    if (!e)
        return -ENOMEM;
    e->clock = clock;
    e->transport = transport;
    e->port = port;
    *ret_events = e;
    return 0;
}

void
events_free(struct events *e)
{
    if (!e)
        return;
    host_call_cancel(e->call);
    while (e->n > 0)
        drop_first(e);
    free(e);
}

/* NULL without memory. */
static Vmt__GuestEvent *
copy_event(const Vmt__GuestEvent *event)
{
    size_t len = vmt__guest_event__get_packed_size(event);
    VMT_CLEANUP(vmt_freep) uint8_t *bytes = malloc(len + 1);

    if (!bytes)
        return NULL;
    (void)vmt__guest_event__pack(event, bytes);
    return vmt__guest_event__unpack(NULL, len, bytes);
}

void
events_report(struct events *e, const Vmt__GuestEvent *event)
{
    Vmt__GuestEvent *copy;

    if (!e || e->n == EVENTS_QUEUED_MAX)
        return;
    copy = copy_event(event);
    if (!copy)
        return;
    e->queue[e->n++] = copy;
    if (e->n == 1)
        send_next(e);
}
