/* SPDX-License-Identifier: BSD-3-Clause */
/* core/rpc/arena_internal.h - memory of one parsed message, released in one go. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ProtobufCMessage;
struct ProtobufCMessageDescriptor;
struct rpc_arena_chunk;

/* All zeroes is empty. */
struct rpc_arena {
    struct rpc_arena_chunk *chunks; /* owned, newest first */
    size_t used;                    /* bytes taken from the newest */
    size_t spent, budget;           /* bytes of all chunks, and their limit */
    bool over_budget;
};

/* Parse len bytes. The message lives in arena, which is empty before, until
 * rpc_arena_done. Returns 0; -EINVAL for bytes that are no such message; -E2BIG for a
 * message whose parsed form is out of proportion to its bytes: a repeated field of empty
 * messages takes 2 bytes each on the wire and may take 100 times that parsed. */
int rpc_arena_unpack(struct rpc_arena *arena,
                     const struct ProtobufCMessageDescriptor *descriptor,
                     const uint8_t *data, size_t len,
                     struct ProtobufCMessage **ret_message);

void rpc_arena_done(struct rpc_arena *arena);
