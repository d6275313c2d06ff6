/* SPDX-License-Identifier: BSD-3-Clause */
/* core/rpc/rpc.h - what client and server of gRPC share.
 *
 * Descriptors on unix sockets. A request, or the first message of a reply, may carry
 * descriptors. Then its HEADERS have the field `vmt-fds: N`, and right before its first
 * HEADERS frame stands an extension frame: type 0xf6, flags 0, the same stream id, one
 * byte of payload, N. The N descriptors travel by SCM_RIGHTS with the first byte of that
 * extension frame. The receiver takes exactly N descriptors from the stream when it has
 * read the extension frame; fewer break the connection. They belong to the call whose
 * HEADERS come next, and are closed if anything else comes next or if that call is gone.
 * So order alone decides, and a call that was cancelled or reset meanwhile never shifts
 * descriptors to another. Stock peers ignore the frame (RFC 9113 section 5.5). A call
 * whose field and frame disagree fails.
 */
#pragma once

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* As a time: never. */
#define RPC_NEVER_MS UINT32_MAX

/* Source: grpc doc/statuscodes.md. */
enum rpc_code {
    RPC_OK = 0,
    RPC_CANCELLED = 1,
    RPC_UNKNOWN = 2,
    RPC_INVALID_ARGUMENT = 3,
    RPC_DEADLINE_EXCEEDED = 4,
    RPC_NOT_FOUND = 5,
    RPC_ALREADY_EXISTS = 6,
    RPC_PERMISSION_DENIED = 7,
    RPC_RESOURCE_EXHAUSTED = 8,
    RPC_FAILED_PRECONDITION = 9,
    RPC_ABORTED = 10,
    RPC_OUT_OF_RANGE = 11,
    RPC_UNIMPLEMENTED = 12,
    RPC_INTERNAL = 13,
    RPC_UNAVAILABLE = 14,
    RPC_DATA_LOSS = 15,
    RPC_UNAUTHENTICATED = 16,
    RPC_CODE_COUNT
};

/* How messages are compressed. Source: grpc doc/compression.md. */
enum rpc_encoding {
    RPC_IDENTITY = 0, /* not at all */
    RPC_GZIP,
    RPC_ENCODING_COUNT
};

#define RPC_MESSAGE_TEXT_MAX 512

struct rpc_status {
    enum rpc_code code;
    char text[RPC_MESSAGE_TEXT_MAX]; /* UTF-8, "" if none; cut when longer */
};

/* "DEADLINE_EXCEEDED" and so on; "UNKNOWN" for what is no code. Never NULL. */
const char *rpc_code_name(enum rpc_code code);

/* Fill in a status. Returns status. */
struct rpc_status *rpc_status_set(struct rpc_status *status, enum rpc_code code,
                                  const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
struct rpc_status *rpc_status_vset(struct rpc_status *status, enum rpc_code code,
                                   const char *fmt, va_list args)
    __attribute__((format(printf, 3, 0)));
