/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/interop/caller.h - calls of the interop client, one step after the other: each
 * wait runs the loop until what it waits for is there. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/rpc/client.h"
#include "core/rpc/metadata.h"
#include "core/rpc/rpc.h"

#include "grpc/testing/empty.pb-c.h"
#include "grpc/testing/messages.pb-c.h"

struct os_loop;
struct vmt_timer;

/* Replies of one call that are kept. */
#define CALL_REPLIES_MAX 16

/* Whom to call. A check that fails is written down here and the case goes no further. */
struct caller {
    struct os_loop *loop;             /* borrowed */
    struct rpc_client *client;        /* borrowed */
    const struct rpc_metadata *extra; /* sent with every call; borrowed, may be NULL */
    struct vmt_timer *timer;          /* of the wait, NULL: none */
    char why[1024];                   /* the first failure, "" if none */
};

/* What came as one reply. */
struct call_reply {
    size_t size; /* bytes of its payload, or of all payloads: StreamingInputCall */
    bool zeroes; /* the payload holds nothing else */
    bool compressed;
};

struct call {
    struct caller *caller;               /* borrowed */
    struct rpc_client_call *handle;      /* NULL: over */
    const struct rpc_metadata *metadata; /* to send, besides caller->extra; borrowed */
    bool gzip;                           /* offer it, and compress the first message */
    struct call_reply replies[CALL_REPLIES_MAX];
    size_t nreplies;
    bool over;
    struct rpc_status status;
    struct rpc_metadata initial, trailing; /* owned */
};

/* A method of TestService, "UnaryCall" and so on. */
struct method;
extern const struct method method_empty, method_unary, method_output, method_input,
    method_full_duplex, method_unimplemented, method_other_service;

/* Begin a call. message is NULL for methods with many requests. timeout_ms 0: none but
 * that of the whole case. Returns false when it could not be started. */
bool call_start(struct call *call, const struct method *method,
                const struct ProtobufCMessage *message, uint32_t timeout_ms);
/* Send one more request, compressed or not. */
bool call_send(struct call *call, const struct ProtobufCMessage *message, bool compress);
void call_half_close(struct call *call);
/* Give up: the status is CANCELLED from then on. */
void call_cancel(struct call *call);
/* Run until n replies are there. */
bool call_wait_replies(struct call *call, size_t n);
/* Run until the call is over, and fail unless it has this status; text may be NULL: any.
 */
bool call_wait_status(struct call *call, enum rpc_code code, const char *text);
/* Fail unless reply i came and has a payload of so many zeroes. */
bool call_check_reply(const struct call *call, size_t i, size_t size);
/* Fail unless n replies came. */
bool call_check_count(const struct call *call, size_t n);
/* Release what a call holds; one that runs is cancelled. */
void call_done(struct call *call);

/* Write down why the case failed. Returns false. */
bool caller_fail(struct caller *caller, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
