/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/interop/responder.h"

#include <stdlib.h>
#include <string.h>

#include "core/adapter/clock.h"
#include "core/base/cleanup.h"
#include "core/base/limits.h"
#include "core/rpc/server.h"

/* Responses that one call may have in waiting. */
#define RESPONDER_PLANS_MAX 65536

/* One response to come. */
struct plan {
    int32_t size;
    uint32_t interval_us;
    Grpc__Testing__PayloadType type;
    bool compressed;
};

struct responder {
    struct vmt_clock *clock;      /* borrowed */
    struct rpc_server_call *call; /* borrowed */
    struct plan *plans;           /* owned */
    size_t n, cap, next;
    uint64_t sent_us; /* when the last response went out */
    struct vmt_timer *timer;
    bool hold, ended;
    struct rpc_status status; /* to finish with */
};

/* Never written: all of it is the kernel's one page of zeroes. */
static uint8_t zeroes[RESPONDER_PAYLOAD_MAX];

bool
responder_payload(Grpc__Testing__Payload *payload, Grpc__Testing__PayloadType type,
                  int32_t size)
{
    if (size < 0 || size > RESPONDER_PAYLOAD_MAX ||
        type != GRPC__TESTING__PAYLOAD_TYPE__COMPRESSABLE)
        return false;
    payload->type = type;
    payload->body.data = zeroes;
    payload->body.len = (size_t)size;
    return true;
}

static void
responder_free(struct responder *responder)
{
    responder->clock->ops->timer_cancel(responder->clock, responder->timer);
    free(responder->plans);
    free(responder);
}

static void
responder_finish(struct responder *responder, const struct rpc_status *status)
{
    rpc_server_call_finish(responder->call, status);
    responder_free(responder);
}

static void
responder_on_cancel(void *arg)
{
    responder_free(arg);
}

static bool
responder_send(struct responder *responder, const struct plan *plan)
{
    Grpc__Testing__Payload payload = GRPC__TESTING__PAYLOAD__INIT;
    Grpc__Testing__StreamingOutputCallResponse response =
        GRPC__TESTING__STREAMING_OUTPUT_CALL_RESPONSE__INIT;

    if (!responder_payload(&payload, plan->type, plan->size))
        return false;
    response.payload = &payload;
    rpc_server_call_compress(responder->call, plan->compressed);
    responder->sent_us = responder->clock->ops->now_us(responder->clock);
    return rpc_server_call_send(responder->call, &response.base, NULL, 0) == 0;
}

static bool responder_pump(struct responder *responder);

static void
responder_on_timer(void *arg)
{
    struct responder *responder = arg;

    responder->timer = NULL;
    (void)responder_pump(responder);
}

/* Is the next response not due yet? Then the timer will tell. */
static bool
responder_waits(struct responder *responder)
{
    uint64_t due = responder->sent_us + responder->plans[responder->next].interval_us;
    struct vmt_clock *clock = responder->clock;
    uint64_t now = clock->ops->now_us(clock);

    if (responder->timer)
        return true;
    if (now >= due)
        return false;
    return clock->ops->timer_start(clock, (due - now + 999) / 1000, responder_on_timer,
                                   responder, &responder->timer) == 0;
}

/* Send what is due and what the client takes; the rest follows from the timer or when the
 * queue has drained. Returns false when the call is over. */
static bool
responder_pump(struct responder *responder)
{
    while (responder->next < responder->n) {
        if (rpc_server_call_queued(responder->call) > VMT_STREAM_HIGH_MARK ||
            responder_waits(responder))
            return true;
        if (!responder_send(responder, &responder->plans[responder->next])) {
            (void)rpc_status_set(&responder->status, RPC_INVALID_ARGUMENT,
                                 "cannot make a payload of %d bytes",
                                 responder->plans[responder->next].size);
            responder_finish(responder, &responder->status);
            return false;
        }
        responder->next++;
    }
    responder->next = responder->n = 0;
    if (!responder->ended)
        return true;
    responder_finish(responder, &responder->status);
    return false;
}

static void
responder_on_drain(void *arg)
{
    struct responder *responder = arg;

    if (!responder->hold)
        (void)responder_pump(responder);
}

struct responder *
responder_new(struct vmt_clock *clock, struct rpc_server_call *call, bool hold)
{
    struct responder *responder = calloc(1, sizeof(*responder));

    if (!responder) {
        rpc_server_call_fail(call, RPC_RESOURCE_EXHAUSTED, "out of memory");
        return NULL;
    }
    responder->clock = clock;
    responder->call = call;
    responder->hold = hold;
    responder->sent_us = clock->ops->now_us(clock);
    /* Later requests may ask for it, when the headers are out. */
    (void)rpc_server_call_set_encoding(call, RPC_GZIP);
    rpc_server_call_on_cancel(call, responder_on_cancel, responder);
    rpc_server_call_on_drain(call, responder_on_drain, responder);
    return responder;
}

/* Room for n more plans. */
static bool
responder_reserve(struct responder *responder, size_t n)
{
    size_t cap = responder->n + n;
    struct plan *plans;

    if (cap > RESPONDER_PLANS_MAX)
        return false;
    if (cap <= responder->cap)
        return true;
    cap += cap / 2;
    plans = realloc(responder->plans, cap * sizeof(*plans));
    if (!plans)
        return false;
    responder->plans = plans;
    responder->cap = cap;
    return true;
}

static void
responder_plan(struct responder *responder,
               const Grpc__Testing__StreamingOutputCallRequest *request)
{
    for (size_t i = 0; i < request->n_response_parameters; i++) {
        const Grpc__Testing__ResponseParameters *p = request->response_parameters[i];

        responder->plans[responder->n++] = (struct plan){
            .size = p->size,
            .interval_us = p->interval_us > 0 ? (uint32_t)p->interval_us : 0,
            .type = request->response_type,
            .compressed = p->compressed && p->compressed->value,
        };
    }
}

bool
responder_add(struct responder *responder,
              const Grpc__Testing__StreamingOutputCallRequest *request)
{
    const Grpc__Testing__EchoStatus *echo = request->response_status;

    if (responder->ended)
        return true;
    if (echo && echo->code != RPC_OK) {
        /* What the client asked for before comes first; what it asks later is not read.
         */
        (void)rpc_status_set(&responder->status, (enum rpc_code)echo->code, "%s",
                             echo->message);
        return responder_end(responder);
    }
    if (!responder_reserve(responder, request->n_response_parameters)) {
        (void)rpc_status_set(&responder->status, RPC_RESOURCE_EXHAUSTED,
                             "more than %d responses in waiting", RESPONDER_PLANS_MAX);
        responder_finish(responder, &responder->status);
        return false;
    }
    responder_plan(responder, request);
    return responder->hold || responder_pump(responder);
}

bool
responder_end(struct responder *responder)
{
    responder->ended = true;
    responder->hold = false;
    return responder_pump(responder);
}
