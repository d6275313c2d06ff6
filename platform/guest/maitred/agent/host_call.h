/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/guest/maitred/agent/host_call.h - one call of ours to a service of the host,
 * on a connection of its own. */
#pragma once

#include <stdint.h>

#include "core/rpc/rpc.h"

struct ProtobufCMessage;
struct host_call;
struct transport;
struct vmt_clock;
struct vmt_err;

struct host_call_spec {
    struct vmt_clock *clock;     /* borrowed */
    struct transport *transport; /* borrowed */
    uint32_t port;               /* of the host */
    const char *path;            /* borrowed: "/vm_tools.Service/Method" */
    const struct ProtobufCMessage
        *message;        /* borrowed until the end; the reply is empty */
    uint32_t timeout_ms; /* to connect, and again for the call */
    /* Runs once, from the loop; the call is gone afterwards. A host that is not there is
     * UNAVAILABLE. */
    void (*on_done)(void *arg, const struct rpc_status *status);
    void *arg; /* borrowed */
};

/* Returns 0, -ENOMEM, or what connecting says at once. */
int host_call_start(const struct host_call_spec *spec, struct host_call **ret_call,
                    struct vmt_err *err);

/* on_done will not run. NULL is legal. */
void host_call_cancel(struct host_call *call);
