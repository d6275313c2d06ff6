/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/interop/responder.h - a call that answers with many responses: each so big, so
 * late and compressed or not, as the requests ask. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/rpc/rpc.h"

#include "grpc/testing/messages.pb-c.h"

struct rpc_server_call;
struct vmt_clock;

/* Longest payload that is made: larger ones are refused. */
#define RESPONDER_PAYLOAD_MAX (64 * 1024 * 1024)

/* A payload of size zeroes, or false when it cannot be made. It points to memory that
 * lives for good. */
bool responder_payload(Grpc__Testing__Payload *payload, Grpc__Testing__PayloadType type,
                       int32_t size);

struct responder;

/* Answer call from now on; the responder frees itself when the call is over. With hold
 * nothing is sent before responder_end. Returns NULL after the call was failed for lack
 * of memory. */
struct responder *responder_new(struct vmt_clock *clock, struct rpc_server_call *call,
                                bool hold);

/* Plan what one request asks for. Returns false when the call is over. */
bool responder_add(struct responder *responder,
                   const Grpc__Testing__StreamingOutputCallRequest *request);

/* No more requests come: finish after the last response. Returns false when the call is
 * over. */
bool responder_end(struct responder *responder);
