/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/unit/rpc/server_bed.h - our server of the test service and a raw client. */
#pragma once

#include "tests/unit/rpc/raw.h"
#include "tests/unit/rpc/service.h"

struct bed {
    struct wire_clock clock;
    struct wire wire; /* ends[0]: client, ends[1]: server */
    struct rpc_server *server;
    struct rpctest test;
    struct raw raw;
};

/* config may be NULL. */
void bed_init(struct bed *bed, const struct rpc_server_config *config);
/* Frees all, checks that no timer is left. */
void bed_done(struct bed *bed);
void bed_settle(struct bed *bed);
