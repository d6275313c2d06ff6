/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/interop/service.h"

#include <stdlib.h>

#include "core/base/cleanup.h"
#include "tests/interop/responder.h"

#include "grpc/testing/empty.pb-c.h"
#include "grpc/testing/messages.pb-c.h"
#include "grpc/testing/test.file.h"

#define ECHO_INITIAL "x-grpc-test-echo-initial"
#define ECHO_TRAILING "x-grpc-test-echo-trailing-bin"

/* Give two entries of the request's metadata back: one before the messages and one with
 * the status. Returns false when the call was failed: more may come than may be sent. */
static bool
echo_metadata(struct rpc_server_call *call)
{
    const struct rpc_metadata *metadata = rpc_server_call_metadata(call);
    const struct rpc_metadata_entry *e = rpc_metadata_find(metadata, ECHO_INITIAL, NULL);
    int r = e ? rpc_server_call_add_initial(call, e->key, e->value, e->len) : 0;

    e = rpc_metadata_find(metadata, ECHO_TRAILING, NULL);
    if (e && r == 0)
        r = rpc_server_call_add_trailing(call, e->key, e->value, e->len);
    if (r < 0)
        rpc_server_call_fail(call, RPC_RESOURCE_EXHAUSTED,
                             "the metadata is too large to give back");
    return r == 0;
}

/* Was the request compressed although it says that it is not, or the other way round? */
static bool
compression_differs(const struct rpc_server_call *call,
                    const Grpc__Testing__BoolValue *expected)
{
    return expected && (expected->value != 0) != rpc_server_call_compressed(call);
}

static void
handle_empty(void *ctx, struct rpc_server_call *call,
             const struct ProtobufCMessage *message)
{
    const Grpc__Testing__Empty reply = GRPC__TESTING__EMPTY__INIT;

    (void)ctx, (void)message;
    if (echo_metadata(call))
        rpc_server_call_reply(call, &reply.base);
}

static void
handle_unary(void *ctx, struct rpc_server_call *call,
             const struct ProtobufCMessage *message)
{
    const Grpc__Testing__SimpleRequest *request = (const void *)message;
    Grpc__Testing__SimpleResponse reply = GRPC__TESTING__SIMPLE_RESPONSE__INIT;
    Grpc__Testing__Payload payload = GRPC__TESTING__PAYLOAD__INIT;
    const Grpc__Testing__EchoStatus *echo = request->response_status;
    struct interop *interop = ctx;

    if (!echo_metadata(call))
        return;
    if (compression_differs(call, request->expect_compressed)) {
        rpc_server_call_fail(call, RPC_INVALID_ARGUMENT,
                             "the request is not compressed as it says");
        return;
    }
    if (echo && echo->code != RPC_OK) {
        rpc_server_call_fail(call, (enum rpc_code)echo->code, "%s", echo->message);
        return;
    }
    if (!responder_payload(&payload, request->response_type, request->response_size)) {
        rpc_server_call_fail(call, RPC_INVALID_ARGUMENT,
                             "cannot make a payload of %d bytes", request->response_size);
        return;
    }
    reply.payload = &payload;
    if (request->response_compressed && request->response_compressed->value)
        (void)rpc_server_call_set_encoding(call, RPC_GZIP);
    if (request->fill_server_id)
        reply.server_id = interop->server_id;
    rpc_server_call_reply(call, &reply.base);
}

static void
handle_output(void *ctx, struct rpc_server_call *call,
              const struct ProtobufCMessage *message)
{
    const Grpc__Testing__StreamingOutputCallRequest *request = (const void *)message;
    struct interop *interop = ctx;
    struct responder *responder;

    if (!echo_metadata(call))
        return;
    responder = responder_new(interop->clock, call, true);
    if (responder && responder_add(responder, request))
        (void)responder_end(responder);
}

/* --- StreamingInputCall --- */

struct input {
    struct rpc_server_call *call; /* borrowed */
    int32_t size;
};

static void
input_on_message(void *arg, const struct ProtobufCMessage *message)
{
    const Grpc__Testing__StreamingInputCallRequest *request = (const void *)message;
    struct input *input = arg;

    if (compression_differs(input->call, request->expect_compressed)) {
        rpc_server_call_fail(input->call, RPC_INVALID_ARGUMENT,
                             "the request is not compressed as it says");
        free(input);
        return;
    }
    /* Wraps like an int of the other servers. */
    if (request->payload)
        input->size =
            (int32_t)((uint32_t)input->size + (uint32_t)request->payload->body.len);
}

static void
input_on_half_close(void *arg)
{
    Grpc__Testing__StreamingInputCallResponse reply =
        GRPC__TESTING__STREAMING_INPUT_CALL_RESPONSE__INIT;
    struct input *input = arg;

    reply.aggregated_payload_size = input->size;
    rpc_server_call_reply(input->call, &reply.base);
    free(input);
}

static void
input_on_cancel(void *arg)
{
    free(arg);
}

static void
handle_input(void *ctx, struct rpc_server_call *call,
             const struct ProtobufCMessage *message)
{
    static const struct rpc_server_receiver receiver = {input_on_message,
                                                        input_on_half_close};
    struct input *input;

    (void)ctx, (void)message;
    if (!echo_metadata(call))
        return;
    input = calloc(1, sizeof(*input));
    if (!input) {
        rpc_server_call_fail(call, RPC_RESOURCE_EXHAUSTED, "out of memory");
        return;
    }
    input->call = call;
    rpc_server_call_on_cancel(call, input_on_cancel, input);
    rpc_server_call_receive(call, &receiver, input);
}

/* --- FullDuplexCall and HalfDuplexCall --- */

static void
duplex_on_message(void *arg, const struct ProtobufCMessage *message)
{
    (void)responder_add(arg, (const void *)message);
}

static void
duplex_on_half_close(void *arg)
{
    (void)responder_end(arg);
}

static void
duplex_start(struct interop *interop, struct rpc_server_call *call, bool hold)
{
    static const struct rpc_server_receiver receiver = {duplex_on_message,
                                                        duplex_on_half_close};
    struct responder *responder;

    if (!echo_metadata(call))
        return;
    responder = responder_new(interop->clock, call, hold);
    if (!responder)
        return;
    rpc_server_call_receive(call, &receiver, responder);
    /* Who echoes metadata may wait for it before it asks for the first response. */
    if (rpc_metadata_find(rpc_server_call_metadata(call), ECHO_INITIAL, NULL))
        (void)rpc_server_call_send_initial(call);
}

static void
handle_full_duplex(void *ctx, struct rpc_server_call *call,
                   const struct ProtobufCMessage *message)
{
    (void)message;
    duplex_start(ctx, call, false);
}

static void
handle_half_duplex(void *ctx, struct rpc_server_call *call,
                   const struct ProtobufCMessage *message)
{
    (void)message;
    duplex_start(ctx, call, true);
}

/* CacheableUnaryCall and UnimplementedCall are not here. */
static const struct rpc_server_method interop_methods[] = {
    {.name = "EmptyCall",
     .request = &grpc__testing__empty__descriptor,
     .handle = handle_empty},
    {.name = "UnaryCall",
     .request = &grpc__testing__simple_request__descriptor,
     .handle = handle_unary},
    {.name = "StreamingOutputCall",
     .request = &grpc__testing__streaming_output_call_request__descriptor,
     .handle = handle_output,
     .server_streams = true},
    {.name = "StreamingInputCall",
     .request = &grpc__testing__streaming_input_call_request__descriptor,
     .handle = handle_input,
     .client_streams = true},
    {.name = "FullDuplexCall",
     .request = &grpc__testing__streaming_output_call_request__descriptor,
     .handle = handle_full_duplex,
     .server_streams = true,
     .client_streams = true},
    {.name = "HalfDuplexCall",
     .request = &grpc__testing__streaming_output_call_request__descriptor,
     .handle = handle_half_duplex,
     .server_streams = true,
     .client_streams = true},
};

const struct rpc_server_service interop_service = {
    .name = "grpc.testing.TestService",
    .file = &proto_file_grpc_testing_test,
    .methods = interop_methods,
    .nmethods = VMT_ARRAY_SIZE(interop_methods),
};
