/* SPDX-License-Identifier: BSD-3-Clause */
/* core/concierge/guest_call_internal.h - one call to the agent of a VM that has been set
 * up, from whoever needs one. */
#pragma once

#include <stdint.h>

#include "core/base/list.h"
#include "core/concierge/agent_internal.h"

struct ProtobufCMessage;
struct ProtobufCMessageDescriptor;
struct concierge_vm;
struct rpc_status;
struct vmt_err;
struct vmt_timer;

/* The call is over; status and reply are borrowed for the call, reply is NULL unless
 * status is OK. CANCELLED: the VM ended first. vm must not be freed from inside. */
typedef void guest_call_fn(void *arg, const struct rpc_status *status,
                           const struct ProtobufCMessage *reply);

struct guest_call_spec {
    const char *path; /* "/vm_tools.Maitred/SetTime", a literal */
    const struct ProtobufCMessageDescriptor *reply;
    uint32_t timeout_ms; /* at least 1; with the connection, if one has to be made */
    /* Bring the message up to date right before it is sent, which is later when the
     * connection is not there yet. NULL: as it is. */
    void (*refresh)(struct concierge_vm *vm, struct ProtobufCMessage *message);
    guest_call_fn *done;
    void *arg; /* borrowed until done */
};

/* Part of a VM. */
struct guest_calls {
    struct vmt_list calls;   /* of struct guest_call */
    struct vm_agent side;    /* for when the VM's own connection does not stand */
    struct vmt_timer *retry; /* owned; until side is tried again */
};

void guest_calls_init(struct concierge_vm *vm);
/* Every call ends CANCELLED. Before the VM's own connection is closed for good. */
void guest_calls_done(struct concierge_vm *vm);

/* Close the VM's own connection while the VM lives on: the calls over it end UNAVAILABLE,
 * from inside. */
void guest_calls_close(struct concierge_vm *vm);

/* Start a call; message is copied. Without a connection one is made, and tried again
 * until the deadline: a device that was halted a moment ago may still refuse. done runs
 * exactly once, from the loop, guest_calls_close or guest_calls_done. Returns 0, -ENOMEM,
 * -ENOTCONN or what connecting gave; then done does not run. */
int guest_call(struct concierge_vm *vm, const struct guest_call_spec *spec,
               const struct ProtobufCMessage *message, struct vmt_err *err);
