/* SPDX-License-Identifier: BSD-3-Clause */
/* core/concierge/agent_internal.h - the connection to one VM's maitred. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "core/rpc/client.h"

struct transport;
struct transport_op;
struct vmt_timer;
struct vmt_clock;
struct vmt_err;

/* err is NULL when the connection stands; borrowed for the call. */
typedef void vm_agent_open_fn(void *arg, const struct vmt_err *err);

/* A connection that nobody has used for this long, and no call is on, is closed: kept
 * open it would be most of what a VM costs the daemon. */
#define VM_AGENT_IDLE_MS 100u

/* All zeroes with clock, transport and cid set is closed. */
struct vm_agent {
    struct vmt_clock *clock;     /* borrowed */
    struct transport *transport; /* borrowed */
    uint32_t cid;
    struct transport_op *op;   /* owned while connecting */
    struct rpc_client *client; /* owned */
    bool closed;               /* the guest ended the connection */
    bool used;                 /* since the idle timer was set */
    struct vmt_timer *idle;    /* owned */
    vm_agent_open_fn *on_open;
    void *arg;
};

bool vm_agent_is_open(const struct vm_agent *agent);

/* Connect; a connection attempt in flight is dropped. on_open runs once from the loop,
 * unless vm_agent_close comes first. */
int vm_agent_open(struct vm_agent *agent, unsigned timeout_ms, vm_agent_open_fn *on_open,
                  void *arg, struct vmt_err *err);

/* No callback of any call runs after this. Not from inside one. */
void vm_agent_close(struct vm_agent *agent);

/* rpc_client_start on an open connection; -ENOTCONN on another: then open it first. */
int vm_agent_call(struct vm_agent *agent, const struct rpc_client_request *request,
                  const struct ProtobufCMessage *message, struct vmt_err *err);
