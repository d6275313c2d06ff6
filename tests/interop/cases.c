/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/interop/cases.h"

#include <string.h>

#include "core/base/cleanup.h"
#include "tests/interop/caller.h"
#include "tests/interop/payload.h"

/* Sizes of requests and of the responses that they ask for. */
static const int sizes_sent[] = {27182, 8, 1828, 45904};
static const int sizes_asked[] = {31415, 9, 2653, 58979};

static const Grpc__Testing__Empty empty = GRPC__TESTING__EMPTY__INIT;

static bool
case_empty_unary(struct caller *caller)
{
    VMT_CLEANUP(call_done) struct call call = {.caller = caller};

    return call_start(&call, &method_empty, &empty.base, 0) &&
           call_wait_status(&call, RPC_OK, NULL) && call_check_count(&call, 1);
}

static bool
case_large_unary(struct caller *caller)
{
    VMT_CLEANUP(call_done) struct call call = {.caller = caller};
    struct simple_request request;

    simple_request_large(&request);
    return call_start(&call, &method_unary, &request.base.base, 0) &&
           call_wait_status(&call, RPC_OK, NULL) &&
           call_check_reply(&call, 0, LARGE_RESPONSE);
}

static bool
case_client_streaming(struct caller *caller)
{
    VMT_CLEANUP(call_done) struct call call = {.caller = caller};
    bool ok = call_start(&call, &method_input, NULL, 0);

    for (size_t i = 0; ok && i < VMT_ARRAY_SIZE(sizes_sent); i++) {
        Grpc__Testing__StreamingInputCallRequest request =
            GRPC__TESTING__STREAMING_INPUT_CALL_REQUEST__INIT;
        Grpc__Testing__Payload payload = payload_zeroes((size_t)sizes_sent[i]);

        request.payload = &payload;
        ok = call_send(&call, &request.base, false);
    }
    if (!ok)
        return false;
    call_half_close(&call);
    if (!call_wait_status(&call, RPC_OK, NULL) || !call_check_count(&call, 1))
        return false;
    return call.replies[0].size == 74922 ||
           caller_fail(caller, "the sum is %zu, not 74922", call.replies[0].size);
}

static bool
check_sizes_asked(const struct call *call)
{
    bool ok = call_check_count(call, VMT_ARRAY_SIZE(sizes_asked));

    for (size_t i = 0; ok && i < VMT_ARRAY_SIZE(sizes_asked); i++)
        ok = call_check_reply(call, i, (size_t)sizes_asked[i]);
    return ok;
}

static bool
case_server_streaming(struct caller *caller)
{
    VMT_CLEANUP(call_done) struct call call = {.caller = caller};
    struct output_request request;

    output_request_init(&request, 0, sizes_asked, VMT_ARRAY_SIZE(sizes_asked));
    return call_start(&call, &method_output, &request.base.base, 0) &&
           call_wait_status(&call, RPC_OK, NULL) && check_sizes_asked(&call);
}

static bool
case_ping_pong(struct caller *caller)
{
    VMT_CLEANUP(call_done) struct call call = {.caller = caller};
    bool ok = call_start(&call, &method_full_duplex, NULL, 0);

    for (size_t i = 0; ok && i < VMT_ARRAY_SIZE(sizes_sent); i++) {
        struct output_request request;

        output_request_init(&request, (size_t)sizes_sent[i], &sizes_asked[i], 1);
        ok = call_send(&call, &request.base.base, false) &&
             call_wait_replies(&call, i + 1);
    }
    if (!ok)
        return false;
    call_half_close(&call);
    return call_wait_status(&call, RPC_OK, NULL) && check_sizes_asked(&call);
}

static bool
case_empty_stream(struct caller *caller)
{
    VMT_CLEANUP(call_done) struct call call = {.caller = caller};

    if (!call_start(&call, &method_full_duplex, NULL, 0))
        return false;
    call_half_close(&call);
    return call_wait_status(&call, RPC_OK, NULL) && call_check_count(&call, 0);
}

/* The connection serves on after a call was given up. */
static bool
check_alive(struct caller *caller)
{
    return case_empty_unary(caller);
}

static bool
case_cancel_after_begin(struct caller *caller)
{
    VMT_CLEANUP(call_done) struct call call = {.caller = caller};

    if (!call_start(&call, &method_input, NULL, 0))
        return false;
    call_cancel(&call);
    return call_wait_status(&call, RPC_CANCELLED, NULL) && check_alive(caller);
}

static bool
case_cancel_after_first_response(struct caller *caller)
{
    VMT_CLEANUP(call_done) struct call call = {.caller = caller};
    struct output_request request;

    output_request_init(&request, (size_t)sizes_sent[0], &sizes_asked[0], 1);
    if (!call_start(&call, &method_full_duplex, NULL, 0) ||
        !call_send(&call, &request.base.base, false) || !call_wait_replies(&call, 1))
        return false;
    call_cancel(&call);
    return call_wait_status(&call, RPC_CANCELLED, NULL) && check_alive(caller);
}

static bool
case_timeout_on_sleeping_server(struct caller *caller)
{
    VMT_CLEANUP(call_done) struct call call = {.caller = caller};
    struct output_request request;

    output_request_init(&request, (size_t)sizes_sent[0], NULL, 0);
    return call_start(&call, &method_full_duplex, NULL, 1) &&
           call_send(&call, &request.base.base, false) &&
           call_wait_status(&call, RPC_DEADLINE_EXCEEDED, NULL);
}

/* --- metadata --- */

#define ECHO_INITIAL "x-grpc-test-echo-initial"
#define ECHO_INITIAL_VALUE "test_initial_metadata_value"
#define ECHO_TRAILING "x-grpc-test-echo-trailing-bin"
#define ECHO_TRAILING_VALUE "\xab\xab\xab"

static bool
check_entry(const struct call *call, const struct rpc_metadata *list, const char *key,
            const char *value)
{
    const struct rpc_metadata_entry *e = rpc_metadata_find(list, key, NULL);

    if (!e)
        return caller_fail(call->caller, "%s did not come back", key);
    return (e->len == strlen(value) && memcmp(e->value, value, e->len) == 0) ||
           caller_fail(call->caller, "%s came back with another value", key);
}

static bool
check_echo(const struct call *call)
{
    return call_check_reply(call, 0, LARGE_RESPONSE) &&
           check_entry(call, &call->initial, ECHO_INITIAL, ECHO_INITIAL_VALUE) &&
           check_entry(call, &call->trailing, ECHO_TRAILING, ECHO_TRAILING_VALUE);
}

static bool
metadata_unary(struct caller *caller, const struct rpc_metadata *metadata)
{
    VMT_CLEANUP(call_done) struct call call = {.caller = caller, .metadata = metadata};
    struct simple_request request;

    simple_request_large(&request);
    return call_start(&call, &method_unary, &request.base.base, 0) &&
           call_wait_status(&call, RPC_OK, NULL) && check_echo(&call);
}

static bool
metadata_duplex(struct caller *caller, const struct rpc_metadata *metadata)
{
    VMT_CLEANUP(call_done) struct call call = {.caller = caller, .metadata = metadata};
    static const int size = LARGE_RESPONSE;
    struct output_request request;

    output_request_init(&request, LARGE_REQUEST, &size, 1);
    if (!call_start(&call, &method_full_duplex, NULL, 0) ||
        !call_send(&call, &request.base.base, false))
        return false;
    call_half_close(&call);
    return call_wait_status(&call, RPC_OK, NULL) && check_echo(&call);
}

static bool
case_custom_metadata(struct caller *caller)
{
    VMT_CLEANUP(rpc_metadata_done) struct rpc_metadata metadata = {0};

    if (rpc_metadata_add(&metadata, ECHO_INITIAL, ECHO_INITIAL_VALUE,
                         strlen(ECHO_INITIAL_VALUE)) < 0 ||
        rpc_metadata_add(&metadata, ECHO_TRAILING, ECHO_TRAILING_VALUE,
                         strlen(ECHO_TRAILING_VALUE)) < 0)
        return caller_fail(caller, "out of memory");
    return metadata_unary(caller, &metadata) && metadata_duplex(caller, &metadata);
}

/* --- status --- */

static bool
status_unary(struct caller *caller, const Grpc__Testing__EchoStatus *status)
{
    VMT_CLEANUP(call_done) struct call call = {.caller = caller};
    Grpc__Testing__SimpleRequest request = GRPC__TESTING__SIMPLE_REQUEST__INIT;
    Grpc__Testing__EchoStatus copy = *status;

    request.response_status = &copy;
    return call_start(&call, &method_unary, &request.base, 0) &&
           call_wait_status(&call, (enum rpc_code)status->code, status->message);
}

static bool
status_duplex(struct caller *caller, const Grpc__Testing__EchoStatus *status)
{
    VMT_CLEANUP(call_done) struct call call = {.caller = caller};
    Grpc__Testing__StreamingOutputCallRequest request =
        GRPC__TESTING__STREAMING_OUTPUT_CALL_REQUEST__INIT;
    Grpc__Testing__EchoStatus copy = *status;

    request.response_status = &copy;
    if (!call_start(&call, &method_full_duplex, NULL, 0) ||
        !call_send(&call, &request.base, false))
        return false;
    call_half_close(&call);
    return call_wait_status(&call, (enum rpc_code)status->code, status->message);
}

static bool
case_status_code_and_message(struct caller *caller)
{
    Grpc__Testing__EchoStatus status = GRPC__TESTING__ECHO_STATUS__INIT;
    char text[] = "test status message";

    status.code = RPC_UNKNOWN;
    status.message = text;
    return status_unary(caller, &status) && status_duplex(caller, &status);
}

static bool
case_special_status_message(struct caller *caller)
{
    Grpc__Testing__EchoStatus status = GRPC__TESTING__ECHO_STATUS__INIT;
    char text[] = "\t\ntest with whitespace\r\nand Unicode BMP \u263a and non-BMP "
                  "\U0001f608\t\n";

    status.code = RPC_UNKNOWN;
    status.message = text;
    return status_unary(caller, &status);
}

static bool
case_unimplemented_method(struct caller *caller)
{
    VMT_CLEANUP(call_done) struct call call = {.caller = caller};

    return call_start(&call, &method_unimplemented, &empty.base, 0) &&
           call_wait_status(&call, RPC_UNIMPLEMENTED, NULL);
}

static bool
case_unimplemented_service(struct caller *caller)
{
    VMT_CLEANUP(call_done) struct call call = {.caller = caller};

    return call_start(&call, &method_other_service, &empty.base, 0) &&
           call_wait_status(&call, RPC_UNIMPLEMENTED, NULL);
}

/* cacheable_unary is left out: it tests a proxy. */
const struct interop_case interop_cases[] = {
    {"empty_unary", case_empty_unary},
    {"large_unary", case_large_unary},
    {"client_compressed_unary", case_client_compressed_unary},
    {"server_compressed_unary", case_server_compressed_unary},
    {"client_streaming", case_client_streaming},
    {"server_streaming", case_server_streaming},
    {"client_compressed_streaming", case_client_compressed_streaming},
    {"server_compressed_streaming", case_server_compressed_streaming},
    {"ping_pong", case_ping_pong},
    {"empty_stream", case_empty_stream},
    {"custom_metadata", case_custom_metadata},
    {"status_code_and_message", case_status_code_and_message},
    {"special_status_message", case_special_status_message},
    {"unimplemented_method", case_unimplemented_method},
    {"unimplemented_service", case_unimplemented_service},
    {"cancel_after_begin", case_cancel_after_begin},
    {"cancel_after_first_response", case_cancel_after_first_response},
    {"timeout_on_sleeping_server", case_timeout_on_sleeping_server},
};
const size_t ninterop_cases = VMT_ARRAY_SIZE(interop_cases);

const struct interop_case *
interop_case_find(const char *name)
{
    for (size_t i = 0; i < ninterop_cases; i++)
        if (strcmp(interop_cases[i].name, name) == 0)
            return &interop_cases[i];
    return NULL;
}
