/* SPDX-License-Identifier: BSD-3-Clause */
/* GetAvailableSpace, GetDiskSpace. */
#include <stdio.h>

#include <vm_guest.pb-c.h>
#include <vmt_agent.pb-c.h>

#include "core/base/cleanup.h"
#include "platform/guest/maitred/rpc/handlers.h"
#include "platform/guest/maitred/rpc/look.h"

/* A worker_done_fn. */
static void
on_stateful(void *arg, int status, const struct vmt_err *err)
{
    VMT_CLEANUP(vmt_freep) struct look *look = arg;
    VmTools__GetAvailableSpaceResponse reply =
        VM_TOOLS__GET_AVAILABLE_SPACE_RESPONSE__INIT;

    reply.available_space = look->found.available;
    if (status < 0)
        look_fail(look->call, status, err);
    else
        rpc_server_call_reply(look->call, &reply.base);
}

void
handle_get_available_space(void *ctx, struct rpc_server_call *call,
                           const ProtobufCMessage *request)
{
    const struct look question = {.serial = ""};

    (void)request;
    (void)look_start(ctx, call, &question, look_at_stateful_space, on_stateful);
}

/* A worker_done_fn. */
static void
on_disk(void *arg, int status, const struct vmt_err *err)
{
    VMT_CLEANUP(vmt_freep) struct look *look = arg;
    Vmt__DiskSpace reply = VMT__DISK_SPACE__INIT;

    reply.filesystem = look->found.fs.type;
    reply.available_bytes = look->found.available;
    reply.size_bytes = look->found.size;
    reply.min_bytes = look->found.min;
    if (status < 0)
        look_fail(look->call, status, err);
    else
        rpc_server_call_reply(look->call, &reply.base);
}

void
handle_get_disk_space(void *ctx, struct rpc_server_call *call,
                      const ProtobufCMessage *request)
{
    const Vmt__DiskSpaceRequest *rq = (const Vmt__DiskSpaceRequest *)request;
    struct look question = {.serial = ""};

    (void)snprintf(question.serial, sizeof(question.serial), "%s", rq->serial);
    (void)look_start(ctx, call, &question, look_at_space, on_disk);
}
