/* SPDX-License-Identifier: BSD-3-Clause */
/* SetIdentity: a restored guest learns who it is. A template starts its programs then. */
#include "platform/guest/maitred/agent/identity.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <vmt_agent.pb-c.h>

#include "core/adapter/clock.h"
#include "core/base/argv.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/log.h"
#include "platform/guest/maitred/agent/agent.h"
#include "platform/guest/maitred/proc/worker.h"
#include "platform/guest/maitred/rpc/handlers.h"

#define DISKS_MAX 64u
/* A plugged disk comes within a second; the machine may be busy. */
#define DISKS_TIMEOUT_MS 20000u
#define DISKS_POLL_MS 5u
/* Names and the zone are on the root file system. */
#define APPLY_TIMEOUT_MS 10000u

/* A call under way: agent->naming. */
struct naming {
    struct agent *agent;          /* borrowed */
    struct rpc_server_call *call; /* finished by us; NULL when the caller went away */
    struct vmt_argv serials;      /* owned: disks that have to come */
    struct vmt_timer *timer;      /* owned by the clock: the next look */
    uint64_t deadline_ms;
};

static void
naming_free(struct naming *n)
{
    if (!n)
        return;
    n->agent->clock->ops->timer_cancel(n->agent->clock, n->timer);
    vmt_argv_done(&n->serials);
    free(n);
}
VMT_DEFINE_FREEP(struct naming, naming_free)

void
naming_cancel(struct agent *agent)
{
    naming_free(agent->naming);
    agent->naming = NULL;
}

static void
finish(struct agent *agent, bool started)
{
    Vmt__SetIdentityResponse reply = VMT__SET_IDENTITY_RESPONSE__INIT;
    struct rpc_server_call *call = agent->naming->call;

    naming_cancel(agent);
    reply.started = started;
    if (call)
        rpc_server_call_reply(call, &reply.base);
}

static void __attribute__((format(printf, 3, 4)))
fail(struct agent *agent, enum rpc_code code, const char *fmt, ...)
{
    struct rpc_server_call *call = agent->naming->call;
    char why[VMT_ERR_MSG_MAX];
    va_list args;

    naming_cancel(agent);
    va_start(args, fmt);
    (void)vsnprintf(why, sizeof(why), fmt, args);
    va_end(args);
    if (call)
        rpc_server_call_fail(call, code, "%s", why);
}

static void
on_started(void *arg)
{
    finish(arg, true);
}

/* The disks are there. */
static void
go_on(struct agent *agent)
{
    if (agent->awaits_identity)
        report_phase(&agent->boot.report, "disks");
    if (agent->awaits_identity)
        agent_start_programs(agent, on_started);
    else
        finish(agent, false);
}

static const char *
missing_disk(const struct naming *n)
{
    for (size_t i = 0; i < n->serials.n; i++)
        if (!identity_has_disk(n->serials.v[i]))
            return n->serials.v[i];
    return NULL;
}

static void
on_look(void *arg)
{
    struct naming *n = arg;
    struct vmt_clock *clock = n->agent->clock;
    const char *missing = missing_disk(n);
    char shown[128];

    n->timer = NULL;
    if (!missing) {
        go_on(n->agent);
        return;
    }
    if (clock->ops->now_ms(clock) < n->deadline_ms &&
        clock->ops->timer_start(clock, DISKS_POLL_MS, on_look, n, &n->timer) == 0)
        return;
    fail(n->agent, RPC_DEADLINE_EXCEEDED, "the disk with serial %s did not come",
         vmt_log_escape(shown, sizeof(shown), missing, strlen(missing)));
}

/* While disks are awaited, nothing has begun yet and the next caller may try again;
 * afterwards the start goes on, and nobody is told. */
static void
on_cancel(void *arg)
{
    struct naming *n = arg;

    n->call = NULL;
    if (n->timer)
        naming_cancel(n->agent);
}

/* A worker_fn. */
static int
do_apply(void *arg, struct vmt_err *err)
{
    return identity_apply(arg, err);
}

/* A worker_done_fn. */
static void
on_applied(void *arg, int status, const struct vmt_err *err)
{
    struct agent *agent = arg;
    struct naming *n = agent->naming;
    struct vmt_clock *clock = agent->clock;

    if (!n)
        return;
    if (agent->awaits_identity)
        report_phase(&agent->boot.report, "identity");
    n->deadline_ms = clock->ops->now_ms(clock) + DISKS_TIMEOUT_MS;
    if (status < 0)
        fail(agent,
             status == -EINVAL || status == -ENOENT ? RPC_INVALID_ARGUMENT : RPC_INTERNAL,
             "%s", vmt_err_text(err));
    else if (!n->call)
        naming_cancel(agent);
    else
        on_look(n);
}

/* A copy that wakes up has nothing to look after but this call, whose deadline is the
 * host's; under emulation a worker would take it longer than the work itself. */
static void
apply_here(struct agent *agent, const struct identity *id)
{
    struct vmt_err err;
    int r = identity_apply(id, &err);

    on_applied(agent, r, r < 0 ? &err : NULL);
}

static int
begin(struct agent *agent, struct rpc_server_call *call,
      const Vmt__SetIdentityRequest *req, struct identity *id, struct vmt_err *err)
{
    VMT_CLEANUP(naming_freep) struct naming *n = calloc(1, sizeof(*n));
    const struct worker_spec spec = {.fn = do_apply,
                                     .fn_arg = id,
                                     .timeout_ms = APPLY_TIMEOUT_MS,
                                     .on_done = on_applied,
                                     .arg = agent};
    int r;

    if (!n)
        return vmt_err_set(err, ENOMEM, "set the identity");
    *n = (struct naming){.agent = agent, .call = call};
    for (size_t i = 0; i < req->n_disk_serials; i++)
        vmt_argv_add(&n->serials, req->disk_serials[i]);
    r = vmt_argv_finish(&n->serials, err);
    if (r == 0 && !agent->awaits_identity)
        r = worker_start(&agent->procs, &spec, err);
    if (r < 0)
        return r;
    rpc_server_call_on_cancel(call, on_cancel, n);
    agent->naming = vmt_take_ptr(&n);
    if (agent->awaits_identity)
        apply_here(agent, id);
    return 0;
}

static void
start(struct agent *agent, struct rpc_server_call *call,
      const Vmt__SetIdentityRequest *req)
{
    struct identity id = {
        .wall_time_ns = req->wall_time_ns,
        .entropy = req->entropy.data,
        .nentropy = req->entropy.len,
        .machine_id = req->machine_id,
        .hostname = req->hostname,
        .timezone = req->timezone,
        .mac = req->mac_address.data,
        .nmac = req->mac_address.len,
    };
    struct vmt_err err;

    if (identity_check(&id, &err) < 0)
        rpc_server_call_fail(call, RPC_INVALID_ARGUMENT, "%s", err.msg);
    else if (begin(agent, call, req, &id, &err) < 0)
        rpc_server_call_fail(call, RPC_RESOURCE_EXHAUSTED, "%s", err.msg);
}

void
handle_set_identity(void *ctx, struct rpc_server_call *call,
                    const ProtobufCMessage *request)
{
    const Vmt__SetIdentityRequest *req = (const Vmt__SetIdentityRequest *)request;
    struct agent *agent = ctx;

    if (!agent->is_init) {
        rpc_server_call_fail(call, RPC_FAILED_PRECONDITION,
                             "this system belongs to another init");
        return;
    }
    if (agent->naming || req->n_disk_serials > DISKS_MAX) {
        rpc_server_call_fail(call, agent->naming ? RPC_ABORTED : RPC_INVALID_ARGUMENT,
                             agent->naming ? "another SetIdentity is under way"
                                           : "too many disks");
        return;
    }
    if (agent->awaits_identity)
        report_phase(&agent->boot.report, "called");
    start(agent, call, req);
}
