/* SPDX-License-Identifier: BSD-3-Clause */
/* core/rpc/frame_internal.h - gRPC messages in a byte stream: a flag byte, a big-endian
 * 32-bit length, the message. Source: grpc doc/PROTOCOL-HTTP2.md,
 * Length-Prefixed-Message.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "core/base/buf.h"

#define RPC_FRAME_PREFIX 5u

/* All zeroes but max is a decoder at the start of a message. */
struct rpc_frame_decoder {
    uint32_t max;                     /* longest message in bytes, without prefix */
    uint8_t prefix[RPC_FRAME_PREFIX]; /* as much of it as came */
    size_t prefix_len;
    struct vmt_buf body; /* start of a message that is not complete yet */
    bool body_given;     /* body was handed out and is dropped by the next call */
};

/* One message; data points into the decoder or into the bytes of the call. */
struct rpc_frame {
    bool compressed;
    const uint8_t *data;
    size_t len;
};

/* Take bytes off the front of data. Returns the number used, at least 1 for len >= 1;
 * *ret_complete says whether they completed *ret_frame, which is valid until the next
 * call. Returns -EMSGSIZE for a message above max, -EBADMSG for a flag byte that is not 0
 * or 1, -ENOMEM; the decoder is of no use afterwards. */
ssize_t rpc_frame_decode(struct rpc_frame_decoder *decoder, const uint8_t *data,
                         size_t len, struct rpc_frame *ret_frame, bool *ret_complete);

/* Bytes that wait for the rest of their message. */
size_t rpc_frame_held(const struct rpc_frame_decoder *decoder);

/* In the middle of a message? */
bool rpc_frame_partial(const struct rpc_frame_decoder *decoder);

void rpc_frame_done(struct rpc_frame_decoder *decoder);

/* Write the prefix of a message whose len bytes are compressed or not. */
void rpc_frame_prefix(uint8_t prefix[RPC_FRAME_PREFIX], bool compressed, uint32_t len);
