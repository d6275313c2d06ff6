/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/unit/rpc/pair.h - a client and a server of the test service over a wire. */
#pragma once

#include "core/rpc/client.h"
#include "core/rpc/server.h"
#include "tests/unit/rpc/service.h"
#include "tests/unit/rpc/wire.h"

struct pair {
    struct wire_clock clock;
    struct wire wire; /* ends[0]: client, ends[1]: server */
    struct rpc_client *client;
    struct rpc_server *server;
    struct rpctest test;
    const struct rpc_metadata *metadata; /* sent with the calls that start; may be NULL */
    enum rpc_encoding encoding;          /* likewise */
    uint32_t reply_max;                  /* likewise */
    size_t closed;                       /* times that on_closed ran */
    char reason[200];
};

/* config may be NULL. */
void pair_init(struct pair *pair, const struct rpc_server_config *config);
/* The same with a configuration of the client but for its callbacks. */
void pair_init_both(struct pair *pair, const struct rpc_server_config *config,
                    const struct rpc_client_config *client_config);
/* Frees all, checks that no timer is left. */
void pair_done(struct pair *pair);

/* What one call gave; start with pair_call. */
struct pair_call {
    struct pair *pair;
    struct rpc_client_call *call; /* NULL when over */
    size_t messages, dones, drains;
    struct rpc_status status;
    char text[600]; /* of the newest reply */
    uint32_t number;
    size_t data_len;
    size_t bytes;      /* of data in all replies */
    size_t compressed; /* replies that came so */
    int fds[16];
    size_t nfds;
    char initial[512], trailing[512]; /* "key=value;" for every entry */
    size_t initials, trailings;       /* times that they came */
    bool cancel_on_initial, free_on_trailing;
    bool pause_on_message;
    bool cancel_on_message, free_on_message, free_on_done;
};
/* Zeroes *call but for its flags. Returns what rpc_client_start gave. */
int pair_start(struct pair *pair, struct pair_call *call, const char *path,
               const Vmt__Rpctest__Request *request, uint32_t timeout_ms);
int pair_start_fds(struct pair *pair, struct pair_call *call, const char *path,
                   const int *fds, size_t nfds);
/* Start a call that client_streams, without a message. */
int pair_open(struct pair *pair, struct pair_call *call, const char *path,
              uint32_t timeout_ms);
/* Start, settle, and check that it was answered once. */
void pair_run(struct pair *pair, struct pair_call *call, const char *path,
              const Vmt__Rpctest__Request *request);
