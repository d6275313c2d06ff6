/* SPDX-License-Identifier: BSD-3-Clause */
/* Cases that look at how messages went: compressed or not. Each case with compressed
 * requests first lies about one, to see whether the server looks. */
#include "core/base/cleanup.h"
#include "tests/interop/caller.h"
#include "tests/interop/cases.h"
#include "tests/interop/payload.h"

/* Fail unless reply i came as it was asked for. */
static bool
check_compressed(const struct call *call, size_t i, bool compressed)
{
    return call->replies[i].compressed == compressed ||
           caller_fail(call->caller, "reply %zu came %s", i,
                       compressed ? "as it is" : "compressed");
}

static bool
unary_client(struct caller *caller, bool expect, bool compress, enum rpc_code code)
{
    VMT_CLEANUP(call_done) struct call call = {.caller = caller, .gzip = compress};
    Grpc__Testing__BoolValue expected = GRPC__TESTING__BOOL_VALUE__INIT;
    struct simple_request request;

    simple_request_large(&request);
    expected.value = expect;
    request.base.expect_compressed = &expected;
    return call_start(&call, &method_unary, &request.base.base, 0) &&
           call_wait_status(&call, code, NULL) &&
           (code != RPC_OK || call_check_reply(&call, 0, LARGE_RESPONSE));
}

bool
case_client_compressed_unary(struct caller *caller)
{
    return unary_client(caller, true, false, RPC_INVALID_ARGUMENT) &&
           unary_client(caller, true, true, RPC_OK) &&
           unary_client(caller, false, false, RPC_OK);
}

static bool
unary_server(struct caller *caller, bool compress)
{
    VMT_CLEANUP(call_done) struct call call = {.caller = caller};
    Grpc__Testing__BoolValue wanted = GRPC__TESTING__BOOL_VALUE__INIT;
    struct simple_request request;

    simple_request_large(&request);
    wanted.value = compress;
    request.base.response_compressed = &wanted;
    return call_start(&call, &method_unary, &request.base.base, 0) &&
           call_wait_status(&call, RPC_OK, NULL) &&
           call_check_reply(&call, 0, LARGE_RESPONSE) &&
           check_compressed(&call, 0, compress);
}

bool
case_server_compressed_unary(struct caller *caller)
{
    return unary_server(caller, true) && unary_server(caller, false);
}

static bool
input_send(struct call *call, size_t size, bool expect, bool compress)
{
    Grpc__Testing__StreamingInputCallRequest request =
        GRPC__TESTING__STREAMING_INPUT_CALL_REQUEST__INIT;
    Grpc__Testing__Payload payload = payload_zeroes(size);
    Grpc__Testing__BoolValue expected = GRPC__TESTING__BOOL_VALUE__INIT;

    expected.value = expect;
    request.payload = &payload;
    request.expect_compressed = &expected;
    return call_send(call, &request.base, compress);
}

static bool
streaming_probe(struct caller *caller)
{
    VMT_CLEANUP(call_done) struct call call = {.caller = caller, .gzip = true};

    if (!call_start(&call, &method_input, NULL, 0) ||
        !input_send(&call, 27182, true, false))
        return false;
    call_half_close(&call);
    return call_wait_status(&call, RPC_INVALID_ARGUMENT, NULL);
}

bool
case_client_compressed_streaming(struct caller *caller)
{
    VMT_CLEANUP(call_done) struct call call = {.caller = caller, .gzip = true};

    if (!streaming_probe(caller) || !call_start(&call, &method_input, NULL, 0) ||
        !input_send(&call, 27182, true, true) || !input_send(&call, 45904, false, false))
        return false;
    call_half_close(&call);
    if (!call_wait_status(&call, RPC_OK, NULL) || !call_check_count(&call, 1))
        return false;
    return call.replies[0].size == 73086 ||
           caller_fail(caller, "the sum is %zu, not 73086", call.replies[0].size);
}

bool
case_server_compressed_streaming(struct caller *caller)
{
    VMT_CLEANUP(call_done) struct call call = {.caller = caller};
    Grpc__Testing__BoolValue yes = GRPC__TESTING__BOOL_VALUE__INIT;
    Grpc__Testing__BoolValue no = GRPC__TESTING__BOOL_VALUE__INIT;
    static const int sizes[] = {31415, 92653};
    struct output_request request;

    output_request_init(&request, 0, sizes, VMT_ARRAY_SIZE(sizes));
    yes.value = true;
    request.parameters[0].compressed = &yes;
    request.parameters[1].compressed = &no;
    return call_start(&call, &method_output, &request.base.base, 0) &&
           call_wait_status(&call, RPC_OK, NULL) && call_check_count(&call, 2) &&
           call_check_reply(&call, 0, 31415) && check_compressed(&call, 0, true) &&
           call_check_reply(&call, 1, 92653) && check_compressed(&call, 1, false);
}
