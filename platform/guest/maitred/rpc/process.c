/* SPDX-License-Identifier: BSD-3-Clause */
/* LaunchProcess. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <vm_guest.pb-c.h>

#include "core/base/argv.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/log.h"
#include "platform/guest/maitred/agent/agent.h"
#include "platform/guest/maitred/rpc/handlers.h"

/* A call that waits for the end of its process. */
struct launch {
    struct rpc_server_call *call; /* finished by us; NULL when the caller went away */
};

static void
reply(struct rpc_server_call *call, VmTools__ProcessStatus status, int code)
{
    VmTools__LaunchProcessResponse message = VM_TOOLS__LAUNCH_PROCESS_RESPONSE__INIT;

    message.status = status;
    message.code = code;
    rpc_server_call_reply(call, &message.base);
}

static void
on_exit_of_process(void *arg, const struct proc_exit *how)
{
    VMT_CLEANUP(vmt_freep) struct launch *launch = arg;

    if (launch->call)
        reply(launch->call,
              how->kind == PROC_EXITED ? VM_TOOLS__PROCESS_STATUS__EXITED
                                       : VM_TOOLS__PROCESS_STATUS__SIGNALED,
              how->code);
}

/* The process runs on; nobody is told how it ended. */
static void
on_cancel(void *arg)
{
    struct launch *launch = arg;

    launch->call = NULL;
}

static int
check_request(const VmTools__LaunchProcessRequest *req, struct vmt_err *err)
{
    if (req->n_argv == 0 || !req->argv[0][0])
        return vmt_err_setx(err, EINVAL, "argv is empty");
    if (req->respawn && req->wait_for_exit)
        return vmt_err_setx(err, EINVAL, "respawn and wait_for_exit exclude each other");
    for (size_t i = 0; i < req->n_env; i++) {
        if (!req->env[i]->key[0] || strchr(req->env[i]->key, '='))
            return vmt_err_setx(err, EINVAL, "a name in env is empty or has a '='");
    }
    return 0;
}

static int
launch(struct agent *agent, const VmTools__LaunchProcessRequest *req,
       struct launch *waiting, struct vmt_err *err)
{
    VMT_CLEANUP(vmt_argv_done) struct vmt_argv argv = {0};
    VMT_CLEANUP(vmt_argv_done) struct vmt_argv env = {0};
    struct proc_spec spec = {
        .respawn = req->respawn,
        .use_console = req->use_console,
        .on_exit = waiting ? on_exit_of_process : NULL,
        .arg = waiting,
    };
    int r;

    for (size_t i = 0; i < req->n_argv; i++)
        vmt_argv_add(&argv, req->argv[i]);
    for (size_t i = 0; i < req->n_env; i++)
        vmt_argv_addf(&env, "%s=%s", req->env[i]->key, req->env[i]->value);
    r = vmt_argv_finish(&argv, err);
    if (r == 0)
        r = vmt_argv_finish(&env, err);
    if (r < 0)
        return r;
    spec.argv = argv.v;
    spec.env = env.v;
    return proc_start(&agent->procs, &spec, NULL, err);
}

/* A program that cannot be started is a result, not an error of the call. */
static void
answer_failure(struct rpc_server_call *call, int r, const struct vmt_err *err)
{
    if (r == -ESHUTDOWN)
        rpc_server_call_fail(call, RPC_UNAVAILABLE, "%s", err->msg);
    else if (r == -EAGAIN || r == -ENOMEM)
        rpc_server_call_fail(call, RPC_RESOURCE_EXHAUSTED, "%s", err->msg);
    else
        reply(call, VM_TOOLS__PROCESS_STATUS__FAILED, 0);
    vmt_log_warning("LaunchProcess failed: %s", err->msg);
}

void
handle_launch_process(void *ctx, struct rpc_server_call *call,
                      const ProtobufCMessage *request)
{
    const VmTools__LaunchProcessRequest *req =
        (const VmTools__LaunchProcessRequest *)request;
    VMT_CLEANUP(vmt_freep) struct launch *waiting = NULL;
    const struct agent *agent = ctx;
    struct vmt_err err;
    int r;

    if (agent->awaits_identity) {
        rpc_server_call_fail(
            call, RPC_FAILED_PRECONDITION,
            "this guest does not know who it is: SetIdentity comes first");
        return;
    }
    if (check_request(req, &err) < 0) {
        rpc_server_call_fail(call, RPC_INVALID_ARGUMENT, "%s", err.msg);
        return;
    }
    if (req->wait_for_exit) {
        waiting = calloc(1, sizeof(*waiting));
        if (!waiting) {
            rpc_server_call_fail(call, RPC_RESOURCE_EXHAUSTED, "no memory");
            return;
        }
        waiting->call = call;
    }
    r = launch(ctx, req, waiting, &err);
    if (r < 0) {
        answer_failure(call, r, &err);
        return;
    }
    if (!waiting) {
        reply(call, VM_TOOLS__PROCESS_STATUS__LAUNCHED, 0);
        return;
    }
    rpc_server_call_on_cancel(call, on_cancel, waiting);
    (void)vmt_take_ptr(&waiting); /* on_exit_of_process frees it */
}
