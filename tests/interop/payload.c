/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/interop/payload.h"

#include "tests/interop/cases.h"

/* Never written, though protobuf-c wants a pointer that could. */
static uint8_t zeroes[LARGE_REQUEST];

Grpc__Testing__Payload
payload_zeroes(size_t size)
{
    Grpc__Testing__Payload payload = GRPC__TESTING__PAYLOAD__INIT;

    payload.body.data = zeroes;
    payload.body.len = size <= sizeof(zeroes) ? size : sizeof(zeroes);
    return payload;
}

void
simple_request_large(struct simple_request *request)
{
    grpc__testing__simple_request__init(&request->base);
    request->payload = payload_zeroes(LARGE_REQUEST);
    request->base.payload = &request->payload;
    request->base.response_size = LARGE_RESPONSE;
}

void
output_request_init(struct output_request *request, size_t payload, const int *sizes,
                    size_t n)
{
    grpc__testing__streaming_output_call_request__init(&request->base);
    request->payload = payload_zeroes(payload);
    if (payload > 0)
        request->base.payload = &request->payload;
    for (size_t i = 0; i < n && i < 4; i++) {
        grpc__testing__response_parameters__init(&request->parameters[i]);
        request->parameters[i].size = sizes[i];
        request->list[i] = &request->parameters[i];
    }
    request->base.response_parameters = request->list;
    request->base.n_response_parameters = n;
}
