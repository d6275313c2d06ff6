/* SPDX-License-Identifier: BSD-3-Clause */
/* core/rpc/peer.c - who calls, kept once for a connection and all its calls. */
#include "core/rpc/peer_internal.h"

#include <stdlib.h>
#include <string.h>

struct rpc_peer *
rpc_peer_new(const struct stream_peer *info)
{
    size_t len = info->identity ? strlen(info->identity) + 1 : 0;
    struct rpc_peer *peer = malloc(sizeof(*peer) + len);

    if (!peer)
        return NULL;
    peer->info = *info;
    peer->refs = 1;
    if (len > 0)
        peer->info.identity = memcpy(peer->identity, info->identity, len);
    return peer;
}

struct rpc_peer *
rpc_peer_ref(struct rpc_peer *peer)
{
    peer->refs++;
    return peer;
}

void
rpc_peer_unref(struct rpc_peer *peer)
{
    if (peer && --peer->refs == 0)
        free(peer);
}
