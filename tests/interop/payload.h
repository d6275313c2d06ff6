/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/interop/payload.h - requests of the interop client. What init functions make
 * points into the same struct and to zeroes that live for good. */
#pragma once

#include <stddef.h>

#include "grpc/testing/messages.pb-c.h"

/* A payload of size zeroes. */
Grpc__Testing__Payload payload_zeroes(size_t size);

struct simple_request {
    Grpc__Testing__SimpleRequest base;
    Grpc__Testing__Payload payload;
};
/* LARGE_REQUEST bytes that ask for LARGE_RESPONSE. */
void simple_request_large(struct simple_request *request);

struct output_request {
    Grpc__Testing__StreamingOutputCallRequest base;
    Grpc__Testing__Payload payload;
    Grpc__Testing__ResponseParameters parameters[4];
    Grpc__Testing__ResponseParameters *list[4];
};
/* A request with a payload that asks for n responses of these sizes, at most 4. payload
 * 0: none. */
void output_request_init(struct output_request *request, size_t payload, const int *sizes,
                         size_t n);
