/* SPDX-License-Identifier: BSD-3-Clause */
/* Shutdown, PrepareToSuspend, ConfigureContainerGuest. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <vm_guest.pb-c.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/log.h"
#include "platform/guest/maitred/agent/agent.h"
#include "platform/guest/maitred/agent/shutdown.h"
#include "platform/guest/maitred/proc/worker.h"
#include "platform/guest/maitred/rpc/handlers.h"
#include "platform/guest/maitred/rpc/poweroff.h"
#include "platform/linux/os/paths.h"

#define TOKEN_FILE "/dev/.container_token"
#define SYNC_TIMEOUT_MS 15000

/* A worker_fn. */
static int
do_sync(void *arg, struct vmt_err *err)
{
    (void)arg;
    (void)err;
    sync();
    return 0;
}

static void
on_synced(void *arg, int status, const struct vmt_err *err)
{
    if (status < 0)
        rpc_server_call_fail(arg, RPC_INTERNAL, "sync: %s", vmt_err_text(err));
    else
        rpc_reply_empty(arg);
}

void
handle_prepare_to_suspend(void *ctx, struct rpc_server_call *call,
                          const ProtobufCMessage *request)
{
    struct agent *agent = ctx;
    const struct worker_spec spec = {
        .fn = do_sync, .timeout_ms = SYNC_TIMEOUT_MS, .on_done = on_synced, .arg = call};
    struct vmt_err err;

    (void)request;
    if (worker_start(&agent->procs, &spec, &err) < 0)
        rpc_server_call_fail(call, RPC_RESOURCE_EXHAUSTED, "%s", err.msg);
}

void
handle_configure_container_guest(void *ctx, struct rpc_server_call *call,
                                 const ProtobufCMessage *request)
{
    const VmTools__ConfigureContainerGuestRequest *req =
        (const VmTools__ConfigureContainerGuestRequest *)request;
    struct vmt_err err;

    (void)ctx;
    /* Readable by all: the root of a container is none of ours, and reads it there. */
    if (os_write_file_atomic(TOKEN_FILE, req->container_token,
                             strlen(req->container_token), 0644, &err) < 0)
        rpc_server_call_fail(call, RPC_INTERNAL, "%s", err.msg);
    else
        rpc_reply_empty(call);
}

/* As PID 1: the answer comes when all is unmounted. Every caller gets it. */
static void
shutdown_init(struct agent *agent, struct rpc_server_call *call)
{
    struct vmt_err err;

    if (agent->nwaiting == AGENT_WAITING_MAX)
        rpc_server_call_fail(call, RPC_RESOURCE_EXHAUSTED, "too many wait already");
    else if (agent_shut_down(agent, &err) < 0)
        rpc_server_call_fail(call, RPC_INTERNAL, "%s", err.msg);
    else
        agent->waiting[agent->nwaiting++] = call;
}

void
handle_shutdown(void *ctx, struct rpc_server_call *call, const ProtobufCMessage *request)
{
    struct agent *agent = ctx;

    (void)request;
    if (agent->is_init)
        shutdown_init(agent, call);
    else
        poweroff_ask(agent, call);
}
