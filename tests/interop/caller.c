/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/interop/caller.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "platform/linux/os/loop.h"

/* For each wait: what does not come in this time does not come at all. */
#define WAIT_MS 60000

struct method {
    const char *path;
    const ProtobufCMessageDescriptor *reply;
    bool client_streams, server_streams;
};

#define SERVICE "/grpc.testing.TestService/"

const struct method method_empty = {
    .path = SERVICE "EmptyCall",
    .reply = &grpc__testing__empty__descriptor,
};
const struct method method_unary = {
    .path = SERVICE "UnaryCall",
    .reply = &grpc__testing__simple_response__descriptor,
};
const struct method method_output = {
    .path = SERVICE "StreamingOutputCall",
    .reply = &grpc__testing__streaming_output_call_response__descriptor,
    .server_streams = true,
};
const struct method method_input = {
    .path = SERVICE "StreamingInputCall",
    .reply = &grpc__testing__streaming_input_call_response__descriptor,
    .client_streams = true,
};
const struct method method_full_duplex = {
    .path = SERVICE "FullDuplexCall",
    .reply = &grpc__testing__streaming_output_call_response__descriptor,
    .client_streams = true,
    .server_streams = true,
};
const struct method method_unimplemented = {
    .path = SERVICE "UnimplementedCall",
    .reply = &grpc__testing__empty__descriptor,
};
const struct method method_other_service = {
    .path = "/grpc.testing.UnimplementedService/UnimplementedCall",
    .reply = &grpc__testing__empty__descriptor,
};

bool
caller_fail(struct caller *caller, const char *fmt, ...)
{
    va_list args;

    if (caller->why[0])
        return false;
    va_start(args, fmt);
    (void)vsnprintf(caller->why, sizeof(caller->why), fmt, args);
    va_end(args);
    return false;
}

static bool
all_zeroes(const ProtobufCBinaryData *body)
{
    for (size_t i = 0; i < body->len; i++)
        if (body->data[i] != 0)
            return false;
    return true;
}

static void
call_read_payload(struct call_reply *reply, const Grpc__Testing__Payload *payload)
{
    reply->size = payload ? payload->body.len : 0;
    reply->zeroes = payload && all_zeroes(&payload->body);
}

static void
call_on_message(void *arg, const struct ProtobufCMessage *message, const int *fds,
                size_t nfds)
{
    struct call *call = arg;
    struct call_reply reply = {0};

    (void)fds, (void)nfds;
    if (message->descriptor == &grpc__testing__simple_response__descriptor)
        call_read_payload(&reply,
                          ((const Grpc__Testing__SimpleResponse *)message)->payload);
    else if (message->descriptor ==
             &grpc__testing__streaming_output_call_response__descriptor)
        call_read_payload(
            &reply,
            ((const Grpc__Testing__StreamingOutputCallResponse *)message)->payload);
    else if (message->descriptor ==
             &grpc__testing__streaming_input_call_response__descriptor)
        reply.size =
            (uint32_t)((const Grpc__Testing__StreamingInputCallResponse *)message)
                ->aggregated_payload_size;
    reply.compressed = rpc_client_compressed(call->handle);
    if (call->nreplies < CALL_REPLIES_MAX)
        call->replies[call->nreplies] = reply;
    call->nreplies++;
    os_loop_stop(call->caller->loop, 0);
}

static void
call_on_done(void *arg, const struct rpc_status *status)
{
    struct call *call = arg;

    call->handle = NULL;
    call->over = true;
    call->status = *status;
    os_loop_stop(call->caller->loop, 0);
}

static void
metadata_copy(struct rpc_metadata *to, const struct rpc_metadata *from)
{
    const struct rpc_metadata_entry *e = from ? from->first : NULL;

    /* What does not fit is missed by the case that looks for it. */
    for (; e; e = e->next)
        (void)rpc_metadata_add(to, e->key, e->value, e->len);
}

static void
call_on_initial(void *arg, const struct rpc_metadata *metadata)
{
    metadata_copy(&((struct call *)arg)->initial, metadata);
}

static void
call_on_trailing(void *arg, const struct rpc_metadata *metadata)
{
    metadata_copy(&((struct call *)arg)->trailing, metadata);
}

bool
call_start(struct call *call, const struct method *method,
           const struct ProtobufCMessage *message, uint32_t timeout_ms)
{
    static const struct rpc_client_handler handler = {.on_message = call_on_message,
                                                      .on_done = call_on_done,
                                                      .on_initial = call_on_initial,
                                                      .on_trailing = call_on_trailing};
    VMT_CLEANUP(rpc_metadata_done) struct rpc_metadata metadata = {0};
    const struct rpc_client_request request = {
        .path = method->path,
        .reply = method->reply,
        .server_streams = method->server_streams,
        .client_streams = method->client_streams,
        .timeout_ms = timeout_ms,
        .handler = &handler,
        .arg = call,
        .metadata = &metadata,
        .encoding = call->gzip ? RPC_GZIP : RPC_IDENTITY,
    };
    struct caller *caller = call->caller;
    struct vmt_err err = {0};

    metadata_copy(&metadata, caller->extra);
    metadata_copy(&metadata, call->metadata);
    if (rpc_client_start(caller->client, &request, message, &call->handle, &err) < 0)
        return caller_fail(caller, "%s: %s", method->path, vmt_err_text(&err));
    return true;
}

bool
call_send(struct call *call, const struct ProtobufCMessage *message, bool compress)
{
    /* The server may have ended the call: its status says why, and the case looks at it.
     */
    if (!call->handle)
        return true;
    rpc_client_compress(call->handle, compress);
    if (rpc_client_send(call->handle, message) < 0)
        return caller_fail(call->caller, "a request was not queued");
    return true;
}

void
call_half_close(struct call *call)
{
    if (call->handle)
        rpc_client_half_close(call->handle);
}

void
call_cancel(struct call *call)
{
    if (call->over)
        return;
    rpc_client_cancel(call->handle);
    call->handle = NULL;
    call->over = true;
    (void)rpc_status_set(&call->status, RPC_CANCELLED, "cancelled here");
}

static void
wait_on_timeout(void *arg)
{
    struct caller *caller = arg;

    caller->timer = NULL;
    (void)caller_fail(caller, "nothing came for %d s", WAIT_MS / 1000);
    os_loop_stop(caller->loop, 0);
}

/* Run until the call is over or has n replies. */
static bool
call_wait(struct call *call, size_t n)
{
    struct caller *caller = call->caller;
    struct vmt_clock *clock = os_loop_clock(caller->loop);

    if (clock->ops->timer_start(clock, WAIT_MS, wait_on_timeout, caller, &caller->timer) <
        0)
        return caller_fail(caller, "out of memory");
    while (!caller->why[0] && !call->over && call->nreplies < n)
        (void)os_loop_run(caller->loop);
    clock->ops->timer_cancel(clock, caller->timer);
    caller->timer = NULL;
    return !caller->why[0];
}

bool
call_wait_replies(struct call *call, size_t n)
{
    if (!call_wait(call, n))
        return false;
    if (call->nreplies < n)
        return caller_fail(call->caller, "over after %zu of %zu replies: %s: %s",
                           call->nreplies, n, rpc_code_name(call->status.code),
                           call->status.text);
    return true;
}

bool
call_wait_status(struct call *call, enum rpc_code code, const char *text)
{
    if (!call_wait(call, SIZE_MAX))
        return false;
    if (call->status.code != code)
        return caller_fail(call->caller, "ended as %s (%s), not %s",
                           rpc_code_name(call->status.code), call->status.text,
                           rpc_code_name(code));
    if (text && strcmp(call->status.text, text) != 0)
        return caller_fail(call->caller, "the status says \"%s\", not \"%s\"",
                           call->status.text, text);
    return true;
}

bool
call_check_reply(const struct call *call, size_t i, size_t size)
{
    if (call->nreplies <= i || i >= CALL_REPLIES_MAX)
        return caller_fail(call->caller, "reply %zu did not come", i);
    if (call->replies[i].size != size || !call->replies[i].zeroes)
        return caller_fail(call->caller, "reply %zu has %zu bytes, not %zu, or no zeroes",
                           i, call->replies[i].size, size);
    return true;
}

bool
call_check_count(const struct call *call, size_t n)
{
    return call->nreplies == n ||
           caller_fail(call->caller, "%zu replies came, not %zu", call->nreplies, n);
}

void
call_done(struct call *call)
{
    rpc_client_cancel(call->handle);
    call->handle = NULL;
    rpc_metadata_done(&call->initial);
    rpc_metadata_done(&call->trailing);
}
