/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/unix_ipc/unix_signals.c - signals as server streams. */
#include <stdlib.h>
#include <string.h>

#include <protobuf-c/protobuf-c.h>

#include "core/adapter/stream.h"
#include "core/base/cleanup.h"
#include "core/base/log.h"
#include "core/ipc/ipc.h"
#include "platform/linux/unix_ipc/unix_internal.h"
#include "vmt_ipc.pb-c.h"

struct unix_subscriber {
    struct vmt_list node;
    struct unix_server *server;   /* borrowed */
    struct rpc_server_call *call; /* borrowed until finished or cancelled */
    uint32_t uid;
    const struct ipc_signal *signal; /* NULL: all of them, as vmt.Signal */
};

static void
subscriber_free(struct unix_subscriber *sub)
{
    vmt_list_remove(&sub->node);
    sub->server->nsubscribers--;
    free(sub);
}

static void
subscriber_on_cancel(void *arg)
{
    subscriber_free(arg);
}

/* Which signal a streaming method stands for; NULL for SubscribeSignals. */
static const struct ipc_signal *
signal_of_method(const struct unix_server *s, const struct rpc_server_method *method)
{
    const struct ipc_service *service = ipc_service(s->ipc);
    size_t i = (size_t)(method - s->methods) - service->nmethods;

    return i < service->nsignals ? &service->signals[i] : NULL;
}

static bool
subscribers_are_full(const struct unix_server *s, uint32_t uid)
{
    struct unix_share used = {0};

    VMT_LIST_FOREACH(node, next, &s->subscribers)
    {
        const struct unix_subscriber *sub =
            VMT_CONTAINER_OF(node, struct unix_subscriber, node);

        used.own += sub->uid == uid;
        used.foreign += !ipc_is_service(s->ipc, sub->uid);
    }
    return s->nsubscribers >= UNIX_SUBSCRIBERS_MAX ||
           unix_is_full_for(s, uid, &used, UNIX_SUBSCRIBERS_MAX);
}

void
unix_signals_subscribe(void *ctx, struct rpc_server_call *call,
                       const struct ProtobufCMessage *request)
{
    uint32_t uid = rpc_server_call_peer(call)->uid;
    struct unix_server *s = ctx;
    Vmt__Signal ready;
    struct unix_subscriber *sub;

    (void)request;
    if (s->draining) {
        rpc_server_call_fail(call, RPC_UNAVAILABLE, UNIX_DRAINING_TEXT);
        return;
    }
    if (subscribers_are_full(s, uid)) {
        rpc_server_call_fail(call, RPC_RESOURCE_EXHAUSTED, "too many subscribers");
        return;
    }
    sub = calloc(1, sizeof(*sub));
    if (!sub) {
        rpc_server_call_fail(call, RPC_RESOURCE_EXHAUSTED, "out of memory");
        return;
    }
    sub->server = s;
    sub->call = call;
    sub->uid = uid;
    sub->signal = signal_of_method(s, rpc_server_call_method(call));
    s->nsubscribers++;
    vmt_list_append(&s->subscribers, &sub->node);
    rpc_server_call_on_cancel(call, subscriber_on_cancel, sub);
    vmt__signal__init(&ready);
    if (!sub->signal)
        (void)rpc_server_call_send(call, &ready.base, NULL, 0);
}

static void
subscriber_drop(struct unix_subscriber *sub)
{
    struct rpc_server_call *call = sub->call;

    vmt_log_notice("signal subscriber dropped: it does not read its signals pid=%d",
                   rpc_server_call_peer(call)->pid);
    subscriber_free(sub);
    rpc_server_call_abort(call); /* what it did not read is not kept either */
}

static void
subscriber_send(struct unix_subscriber *sub, const struct ProtobufCMessage *message)
{
    /* A failed send means that the client is gone: on_cancel is on its way. */
    if (rpc_server_call_queued(sub->call) > UNIX_SIGNAL_QUEUE_MAX)
        subscriber_drop(sub);
    else
        (void)rpc_server_call_send(sub->call, message, NULL, 0);
}

void
unix_signals_emit(struct ipc_server *server, const struct ipc_signal *signal,
                  const uint8_t *bytes, size_t len)
{
    struct unix_server *s = VMT_CONTAINER_OF(server, struct unix_server, base);
    struct ProtobufCMessage *typed;
    Vmt__Signal any;

    if (vmt_list_empty(&s->subscribers))
        return;
    typed = protobuf_c_message_unpack(signal->message, NULL, len, bytes);
    if (!typed) {
        vmt_log_error("signal lost: out of memory signal=%s", signal->name);
        return;
    }
    vmt__signal__init(&any);
    any.name = (char *)(uintptr_t)signal->name; /* packed, not written to */
    any.message.data = (uint8_t *)(uintptr_t)bytes;
    any.message.len = len;
    VMT_LIST_FOREACH(node, next, &s->subscribers)
    {
        struct unix_subscriber *sub =
            VMT_CONTAINER_OF(node, struct unix_subscriber, node);

        if ((!sub->signal || sub->signal == signal) &&
            ipc_may_hear(s->ipc, sub->uid, typed))
            subscriber_send(sub, sub->signal ? typed : &any.base);
    }
    protobuf_c_message_free_unpacked(typed, NULL);
}

void
unix_signals_end(struct unix_server *s)
{
    while (!vmt_list_empty(&s->subscribers)) {
        struct unix_subscriber *sub =
            VMT_CONTAINER_OF(s->subscribers.next, struct unix_subscriber, node);
        struct rpc_server_call *call = sub->call;

        subscriber_free(sub);
        rpc_server_call_fail(call, RPC_UNAVAILABLE, UNIX_DRAINING_TEXT);
    }
}

void
unix_signals_done(struct unix_server *s)
{
    VMT_LIST_FOREACH(node, next, &s->subscribers)
    {
        subscriber_free(VMT_CONTAINER_OF(node, struct unix_subscriber, node));
    }
}
