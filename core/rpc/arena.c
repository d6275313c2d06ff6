/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/rpc/arena_internal.h"

#include <errno.h>
#include <stdalign.h>
#include <stdlib.h>

#include <protobuf-c/protobuf-c.h>

/* Most messages fit the first chunk. */
#define CHUNK_BYTES 1024u

/* Parsed size allowed: a fixed part, and a multiple of the bytes. A string of one byte
 * takes 3 bytes on the wire and 8 + 16 parsed, a small message 10 times its bytes. */
#define BUDGET_FIXED (1024u * 1024)
#define BUDGET_FACTOR 16u

struct rpc_arena_chunk {
    struct rpc_arena_chunk *next; /* owned */
    size_t size;
    alignas(max_align_t) uint8_t data[];
};

static void *
arena_alloc(void *allocator_data, size_t size)
{
    struct rpc_arena *arena = allocator_data;
    size_t align = alignof(max_align_t);
    size_t need;

    if (size > arena->budget) {
        arena->over_budget = true;
        return NULL;
    }
    need = (size + align - 1) / align * align;
    if (!arena->chunks || need > arena->chunks->size - arena->used) {
        size_t bytes = need > CHUNK_BYTES ? need : CHUNK_BYTES;
        struct rpc_arena_chunk *chunk;

        if (bytes > arena->budget - arena->spent) {
            arena->over_budget = true;
            return NULL;
        }
        chunk = malloc(sizeof(*chunk) + bytes);
        if (!chunk)
            return NULL;
        chunk->size = bytes;
        chunk->next = arena->chunks;
        arena->chunks = chunk;
        arena->spent += bytes;
        arena->used = 0;
    }
    arena->used += need;
    return arena->chunks->data + arena->used - need;
}

static void
arena_free(void *allocator_data, void *pointer)
{
    (void)allocator_data, (void)pointer; /* all at once, in rpc_arena_done */
}

int
rpc_arena_unpack(struct rpc_arena *arena,
                 const struct ProtobufCMessageDescriptor *descriptor, const uint8_t *data,
                 size_t len, struct ProtobufCMessage **ret_message)
{
    ProtobufCAllocator allocator = {arena_alloc, arena_free, arena};
    ProtobufCMessage *message;

    arena->budget = BUDGET_FIXED + BUDGET_FACTOR * len;
    message = protobuf_c_message_unpack(descriptor, &allocator, len, data);
    if (!message)
        return arena->over_budget ? -E2BIG : -EINVAL;
    *ret_message = message;
    return 0;
}

void
rpc_arena_done(struct rpc_arena *arena)
{
    while (arena->chunks) {
        struct rpc_arena_chunk *next = arena->chunks->next;

        free(arena->chunks);
        arena->chunks = next;
    }
    arena->used = arena->spent = 0;
    arena->over_budget = false;
}
