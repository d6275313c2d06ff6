/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/guest/maitred/rpc/termina.h - a StartTermina under way, and the words of its
 * programs. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "platform/guest/maitred/rpc/stateful.h"

struct rpc_server_call;

#define TERMINA_SUBNET_MAX 20 /* "100.115.92.192/28" */

/* What a worker does before the programs start. */
struct termina_prepared {
    struct stateful stateful;
    bool has_collector, has_ndproxyd, has_mcastd; /* they are in the image */
    char interface[16];                           /* of the host; "": none */
};

/* Of the agent. */
struct termina {
    struct rpc_server_call *call; /* under way, or NULL */
    char device[STATEFUL_DEVICE_MAX];
    char subnet[TERMINA_SUBNET_MAX];
    bool unprivileged_only;
    struct termina_prepared prepared; /* comes back from the worker */
};

/* Is text an IPv4 net of containers, "a.b.c.d/nn" with 8 to 30 bits? */
bool termina_subnet_is_valid(const char *text);
