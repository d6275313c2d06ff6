/* SPDX-License-Identifier: BSD-3-Clause */
/* LaunchProcess. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <vm_guest.pb-c.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/log.h"
#include "platform/guest/maitred/agent/agent.h"
#include "platform/guest/maitred/agent/application.h"
#include "platform/guest/maitred/agent/job.h"
#include "platform/guest/maitred/proc/extra.h"
#include "platform/guest/maitred/rpc/handlers.h"

/* A program whose start, or end, somebody wants to know. */
struct launch {
    struct agent *agent; /* borrowed */
    struct rpc_server_call
        *call;     /* finished by us; NULL: nobody waits, or not any more */
    char *program; /* owned; NULL: the machine does not go off with it */
    bool waits;    /* for the end */
};

static void
launch_free(struct launch *launch)
{
    if (launch)
        free(launch->program);
    free(launch);
}
VMT_DEFINE_FREEP(struct launch, launch_free)

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
    VMT_CLEANUP(launch_freep) struct launch *launch = arg;

    if (launch->call)
        reply(launch->call,
              how->kind == PROC_EXITED ? VM_TOOLS__PROCESS_STATUS__EXITED
                                       : VM_TOOLS__PROCESS_STATUS__SIGNALED,
              how->code);
    if (launch->program)
        application_ended(launch->agent, launch->program, how);
}

/* The process runs on; nobody is told how it ended. */
static void
on_cancel(void *arg)
{
    struct launch *launch = arg;

    launch->call = NULL;
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
}

/* A proc_start_fn. */
static void
on_start(void *arg, int r, const struct vmt_err *err)
{
    struct launch *launch = arg;

    if (r < 0) {
        vmt_log_warning("LaunchProcess failed: %s", err->msg);
        if (launch->call)
            answer_failure(launch->call, r, err);
        launch_free(launch);
        return;
    }
    if (launch->waits)
        return;
    if (launch->call)
        reply(launch->call, VM_TOOLS__PROCESS_STATUS__LAUNCHED, 0);
    launch->call = NULL;
    if (!launch->program)
        launch_free(launch);
}

static struct launch *
launch_new(struct agent *agent, const struct job *job)
{
    VMT_CLEANUP(launch_freep) struct launch *launch = calloc(1, sizeof(*launch));

    if (!launch)
        return NULL;
    launch->agent = agent;
    launch->waits = job->wait_for_exit;
    if (job->poweroff_on_exit) {
        launch->program = strdup(job->argv.v[0]);
        if (!launch->program)
            return NULL;
    }
    return vmt_take_ptr(&launch);
}

/* A group of its own for what has limits or is started again; the rest shares one, since
 * a group costs more than a small program. */
static void
choose_group(struct agent *agent, const struct job *job)
{
    const char *base = strrchr(job->argv.v[0], '/');
    char prefix[32];

    if (!job->has_limits && !job->respawn)
        return;
    (void)snprintf(prefix, sizeof(prefix), "call-%u-", ++agent->launches);
    group_name(job->extra->cgroup, prefix, base ? base + 1 : job->argv.v[0]);
}

static int
launch(struct agent *agent, struct job *job, struct launch *watching, struct vmt_err *err)
{
    struct proc_spec spec = {
        .argv = job->argv.v,
        .env = job->env.v,
        .respawn = job->respawn,
        .use_console = job->use_console,
        .on_start = on_start,
        .on_exit = watching->waits || watching->program ? on_exit_of_process : NULL,
        .arg = watching,
    };

    choose_group(agent, job);
    spec.extra = vmt_take_ptr(&job->extra);
    return proc_start(&agent->procs, &spec, NULL, err);
}

/* Start job for call; the answer is given when it runs, or when it ends. */
static void
serve(struct agent *agent, struct rpc_server_call *call, struct job *job)
{
    VMT_CLEANUP(launch_freep) struct launch *watching = launch_new(agent, job);
    struct vmt_err err;
    int r;

    if (!watching) {
        rpc_server_call_fail(call, RPC_RESOURCE_EXHAUSTED, "no memory");
        return;
    }
    r = launch(agent, job, watching, &err);
    if (r < 0) {
        vmt_log_warning("LaunchProcess failed: %s", err.msg);
        answer_failure(call, r, &err);
        return;
    }
    watching->call = call;
    rpc_server_call_on_cancel(call, on_cancel, watching);
    watching = NULL; /* on_start or on_exit_of_process frees it */
}

void
handle_launch_process(void *ctx, struct rpc_server_call *call,
                      const ProtobufCMessage *request)
{
    VMT_CLEANUP(job_done) struct job job = {0};
    struct agent *agent = ctx;
    struct vmt_err err;
    int r;

    if (agent->awaits_identity) {
        rpc_server_call_fail(
            call, RPC_FAILED_PRECONDITION,
            "this guest does not know who it is: SetIdentity comes first");
        return;
    }
    r = job_from_request((const VmTools__LaunchProcessRequest *)request, &job, &err);
    if (r < 0)
        rpc_server_call_fail(call,
                             r == -ENOMEM ? RPC_RESOURCE_EXHAUSTED : RPC_INVALID_ARGUMENT,
                             "%s", err.msg);
    else
        serve(agent, call, &job);
}
