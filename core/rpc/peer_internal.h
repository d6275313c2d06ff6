/* SPDX-License-Identifier: BSD-3-Clause */
/* core/rpc/peer_internal.h - who calls; a call may outlive its connection, and there may
 * be many on one, so they share it. */
#pragma once

#include <stddef.h>

#include "core/adapter/stream.h"

struct rpc_peer {
    struct stream_peer info; /* its identity is the one below */
    size_t refs;
    char identity[];
};

/* A copy, with one reference. NULL without memory. */
struct rpc_peer *rpc_peer_new(const struct stream_peer *info);
struct rpc_peer *rpc_peer_ref(struct rpc_peer *peer);
/* NULL is legal. */
void rpc_peer_unref(struct rpc_peer *peer);
