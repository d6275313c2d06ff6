/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/vsh/forward_carrier.c - one forwarded connection: a stream of our side,
 * a connection to vshd of its own, and a relay between them. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/adapter/clock.h"
#include "core/adapter/connector.h"
#include "core/adapter/stream.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/log.h"
#include "core/vsh/frame.h"
#include "core/vsh/relay.h"
#include "platform/linux/os/connectors.h"
#include "platform/linux/os/loop.h"
#include "platform/linux/vsh/connect.h"
#include "platform/linux/vsh/forward_internal.h"

#define CONNECT_TIMEOUT_MS 10000u
/* Longer than vshd takes to give up on a connection. */
#define SET_UP_TIMEOUT_MS 40000u

struct carrier {
    struct vmt_list node;
    struct vsh_forward *forward;         /* borrowed */
    const struct forward_target *target; /* borrowed; NULL: from our side to the guest */
    size_t address;                      /* of target: the next to try */
    uint8_t request[VSH_FRAME_MAX];      /* to send to vshd */
    size_t request_len;
    struct connector *connector; /* owned; of our side */
    struct stream *ours;         /* owned */
    struct vsh_connect *connect; /* owned */
    struct stream *guest;        /* owned */
    struct vsh_decoder decoder;
    struct vsh_relay *relay; /* owned; it has both streams */
    struct vmt_timer *timer; /* owned; the deadline, or the end */
    bool ended;              /* it is only waiting to be freed */
};

static void
carrier_free(struct carrier *c)
{
    struct vmt_clock *clock = os_loop_clock(c->forward->loop);

    clock->ops->timer_cancel(clock, c->timer);
    vmt_list_remove(&c->node);
    c->forward->ncarriers--;
    connector_free(c->connector);
    vsh_connect_free(c->connect);
    vsh_relay_free(c->relay);
    stream_close(c->ours);
    stream_close(c->guest);
    vsh_decoder_done(&c->decoder);
    free(c);
}

void
carriers_free(struct vsh_forward *forward)
{
    VMT_LIST_FOREACH(node, next, &forward->carriers)
    carrier_free(VMT_CONTAINER_OF(node, struct carrier, node));
}

static void
carrier_on_end(void *arg)
{
    struct carrier *c = arg;

    c->timer = NULL;
    carrier_free(c);
}

static void
carrier_timer_set(struct carrier *c, unsigned ms)
{
    struct vmt_clock *clock = os_loop_clock(c->forward->loop);

    clock->ops->timer_cancel(clock, c->timer);
    c->timer = NULL;
    (void)clock->ops->timer_start(clock, ms, carrier_on_end, c, &c->timer);
}

/* Not right now: something of it may be on the stack. */
static void
carrier_end(struct carrier *c, const char *why)
{
    char safe[256];

    if (c->ended)
        return;
    c->ended = true;
    if (why)
        (void)fprintf(stderr, "%s: forwarded connection failed: %s\r\n",
                      c->forward->config.program,
                      vmt_log_escape(safe, sizeof(safe), why, strlen(why)));
    carrier_timer_set(c, 0);
}

static void
carrier_on_relayed(void *arg)
{
    carrier_free(arg);
}

/* The answer is there; what follows it in the same bytes is the connection's. */
static void
carrier_on_response(struct carrier *c, const struct vsh_response *response,
                    const uint8_t *rest, size_t len)
{
    struct stream *ends[2] = {c->guest, c->ours};
    struct vmt_clock *clock = os_loop_clock(c->forward->loop);

    if (response->status != VSH_STATUS_READY) {
        carrier_end(c, response->text);
        return;
    }
    if (!(response->features & VSH_FEATURE_FORWARD)) {
        carrier_end(c, "vshd in the guest does not know how to forward");
        return;
    }
    if (!c->ours) {
        carrier_end(c, NULL); /* it was only told that nobody is here */
        return;
    }
    clock->ops->timer_cancel(clock, c->timer);
    c->timer = NULL;
    if (vsh_relay_new(clock, ends, carrier_on_relayed, c, &c->relay) < 0) {
        carrier_end(c, "out of memory");
        return;
    }
    c->guest = c->ours = NULL;
    vsh_relay_prepend(c->relay, rest, len);
}

static void
guest_on_data(void *arg, const uint8_t *data, size_t len)
{
    struct carrier *c = arg;
    VMT_CLEANUP(vsh_decoded_done) struct vsh_decoded decoded = {0};
    const uint8_t *body;
    size_t n;
    int r = c->ended ? 0 : vsh_decoder_feed(&c->decoder, &data, &len, &body, &n);

    if (r == 0)
        return;
    if (r < 0 || vsh_response_decode(body, n, &decoded) < 0)
        carrier_end(c, "the answer is no vsh message");
    else
        carrier_on_response(c, &decoded.response, data, len);
}

static void
guest_on_end(void *arg, int status)
{
    (void)status;
    carrier_end(arg, "vshd closed the connection");
}

static void
carrier_on_guest(void *arg, struct stream *stream, const struct vmt_err *err)
{
    static const struct stream_handler handler = {
        .on_data = guest_on_data,
        .on_end = guest_on_end,
    };
    struct carrier *c = arg;

    if (!stream) {
        carrier_end(c, vmt_err_text(err));
        return;
    }
    c->guest = stream;
    stream->ops->set_handler(stream, &handler, c);
    carrier_timer_set(c, SET_UP_TIMEOUT_MS);
    if (stream->ops->send(stream, c->request, c->request_len, NULL, 0) < 0)
        carrier_end(c, "cannot ask vshd");
}

static void
carrier_dial(struct carrier *c)
{
    struct vsh_connect_config config = {
        .endpoint = c->forward->config.endpoint,
        .timeout_ms = CONNECT_TIMEOUT_MS,
        .on_done = carrier_on_guest,
        .arg = c,
    };
    struct vmt_err err;

    if (vsh_connect_new(c->forward->loop, &config, &c->connect, &err) < 0)
        carrier_end(c, err.msg);
}

/* The argv is for a vshd that takes this for a command: it does nothing then. */
static struct carrier *
carrier_new(struct vsh_forward *forward, struct vsh_request *request)
{
    static const char *const nothing[] = {"true"};
    struct carrier *c =
        forward->ncarriers < FORWARD_CARRIERS_MAX ? calloc(1, sizeof(*c)) : NULL;
    ssize_t n;

    if (!c)
        return NULL;
    request->target = VSH_TARGET_VM;
    request->user = forward->config.user;
    request->argv = nothing;
    request->argc = VMT_ARRAY_SIZE(nothing);
    request->nopty = true;
    request->features = VSH_FEATURE_FORWARD;
    n = vsh_request_encode(request, c->request);
    if (n < 0) {
        free(c);
        return NULL;
    }
    c->request_len = (size_t)n;
    c->forward = forward;
    vmt_list_append(&forward->carriers, &c->node);
    forward->ncarriers++;
    return c;
}

void
carrier_to_guest(struct vsh_forward *forward, const struct vsh_address *to,
                 struct stream *stream)
{
    struct vsh_request request = {.connect = to};
    struct carrier *c = carrier_new(forward, &request);

    if (!c) {
        stream_close(stream);
        return;
    }
    c->ours = stream;
    carrier_dial(c);
}

static void carrier_try_ours(struct carrier *c);

/* Connected or not, the guest is told: whoever connected there waits for it. */
static void
carrier_on_ours(void *arg, struct stream *stream, const struct vmt_err *err)
{
    struct carrier *c = arg;

    c->ours = stream;
    if (!stream && !c->target->path && c->address < c->target->n) {
        carrier_try_ours(c);
        return;
    }
    if (!stream)
        (void)fprintf(stderr, "%s: forwarded connection failed: %s\r\n",
                      c->forward->config.program, vmt_err_text(err));
    carrier_dial(c);
}

static void
carrier_try_ours(struct carrier *c)
{
    const struct forward_target *t = c->target;
    struct connector *fresh = NULL;
    struct vmt_err err;
    int r;

    if (t->path)
        r = connector_unix_new(c->forward->loop, t->path, &fresh, &err);
    else
        r = connector_tcp_new(c->forward->loop, t->addresses[c->address++], t->port,
                              &fresh, &err);
    connector_free(c->connector);
    c->connector = fresh;
    if (r == 0)
        r = fresh->ops->connect(fresh, CONNECT_TIMEOUT_MS, carrier_on_ours, c, &err);
    if (r < 0)
        carrier_on_ours(c, NULL, &err);
}

void
carrier_from_guest(struct vsh_forward *forward, const struct forward_target *target,
                   const uint8_t *token)
{
    struct vsh_request request = {.accepted = token};
    struct carrier *c = carrier_new(forward, &request);

    if (!c)
        return;
    c->target = target;
    carrier_try_ours(c);
}
