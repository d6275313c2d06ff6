/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/unit/rpc/life_bed.h - one side of ours and a raw peer, to let time go by. */
#pragma once

#include "core/rpc/client.h"
#include "core/rpc/server.h"
#include "tests/unit/rpc/raw.h"
#include "tests/unit/rpc/service.h"

/* A server of ours and a raw client, or the other way round. */
struct bed {
    struct wire_clock clock;
    struct wire wire;
    struct rpc_server *server;
    struct rpc_client *client;
    struct rpctest test;
    struct raw raw;
    size_t closed, drained, dones;
    struct rpc_status status;
    char reason[200];
    bool free_server;
};

/* Clock and wire alone. */
void bed_init_wire(struct bed *bed);
/* A server with this configuration, or one that begins after ms. */
void bed_init_server(struct bed *bed, const struct rpc_server_config *config);
void bed_init_server_at(struct bed *bed, const struct rpc_server_config *config,
                        uint64_t ms);
/* A client with this configuration but for its callbacks; of a silent server nothing
 * comes. */
void bed_init_client(struct bed *bed, const struct rpc_client_config *config);
void bed_init_client_to(struct bed *bed, const struct rpc_client_config *config,
                        bool silent);
/* Frees all, checks that no timer is left. */
void bed_done(struct bed *bed);
void bed_advance(struct bed *bed, uint64_t ms);
void bed_settle(struct bed *bed);
/* Did our side close the stream? */
bool bed_is_closed(const struct bed *bed);
/* The peer sends a PING. */
void bed_ping(struct bed *bed);
/* The raw client sends a request with an empty message. Returns its stream. */
int32_t bed_ask(struct bed *bed, const char *const *fields);
/* Our client calls Echo; bed->dones and bed->status say what became of it. */
void bed_call(struct bed *bed);
