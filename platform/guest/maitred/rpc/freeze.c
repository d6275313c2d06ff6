/* SPDX-License-Identifier: BSD-3-Clause */
/* Freeze and Thaw, and the way out when the host forgets us between them. */
#include <errno.h>

#include <vmt_agent.pb-c.h>

#include "core/adapter/clock.h"
#include "core/base/err.h"
#include "core/base/log.h"
#include "platform/guest/maitred/agent/agent.h"
#include "platform/guest/maitred/agent/freezer.h"
#include "platform/guest/maitred/agent/link_watch.h"
#include "platform/guest/maitred/init/cgroup.h"
#include "platform/guest/maitred/rpc/handlers.h"
#include "platform/guest/maitred/rpc/time.h"

static void on_abandoned(void *arg);

/* Returns 0 or -ENOMEM. */
static int
watch_over(struct agent *agent)
{
    return agent->clock->ops->timer_start(agent->clock,
                                          agent->boot.cmdline.thaw_timeout_s * 1000ull,
                                          on_abandoned, agent, &agent->abandoned);
}

void
agent_thaw(struct agent *agent)
{
    agent->clock->ops->timer_cancel(agent->clock, agent->abandoned);
    agent->abandoned = NULL;
    agent->procs.frozen = false;
    if (agent->freezer)
        freezer_thaw(agent->freezer);
}

/* Another context id, or none: we are a copy that waits for its identity, or on the way
 * there. With the one that we had we are the original, and nobody thaws it any more. */
static void
on_abandoned(void *arg)
{
    struct agent *agent = arg;
    bool ours = link_cid() == agent->frozen_cid;

    agent->abandoned = NULL;
    if (!ours && watch_over(agent) == 0)
        return;
    vmt_log_warning("nobody thawed this VM within %u s: its programs run again",
                    agent->boot.cmdline.thaw_timeout_s);
    /* A copy may have got the context id of its original again: it shows in the clock. */
    time_take_hardware();
    agent_thaw(agent);
}

static void
on_frozen(void *arg, int status, const struct vmt_err *err)
{
    struct agent *agent = arg;
    Vmt__FreezeResponse reply = VMT__FREEZE_RESPONSE__INIT;
    struct rpc_server_call *call = agent->freezing;

    agent->freezing = NULL;
    if (status < 0) {
        agent_thaw(agent);
        rpc_server_call_fail(call,
                             status == -ETIMEDOUT ? RPC_DEADLINE_EXCEEDED : RPC_ABORTED,
                             "%s", vmt_err_text(err));
        return;
    }
    reply.groups = (uint32_t)freezer_count(agent->freezer);
    rpc_server_call_reply(call, &reply.base);
}

static int
freeze(struct agent *agent, unsigned timeout_ms, struct vmt_err *err)
{
    int r;

    if (!agent->freezer && freezer_new(agent->clock, CGROUP_ROOT, &agent->freezer) < 0)
        return vmt_err_set(err, ENOMEM, "freeze");
    if (timeout_ms == 0)
        timeout_ms = FREEZER_TIMEOUT_MS;
    if (timeout_ms > FREEZER_TIMEOUT_MAX_MS)
        timeout_ms = FREEZER_TIMEOUT_MAX_MS;
    if (agent->abandoned)
        return vmt_err_setx(err, EALREADY, "the programs of this VM are frozen");
    r = watch_over(agent);
    if (r < 0)
        return vmt_err_set(err, -r, "freeze");
    agent->procs.frozen = true;
    agent->frozen_cid = link_cid();
    r = freezer_freeze(agent->freezer, CGROUP_GUEST, timeout_ms, on_frozen, agent, err);
    if (r < 0)
        agent_thaw(agent);
    return r;
}

void
handle_freeze(void *ctx, struct rpc_server_call *call, const ProtobufCMessage *request)
{
    const Vmt__FreezeRequest *req = (const Vmt__FreezeRequest *)request;
    struct agent *agent = ctx;
    struct vmt_err err;
    int r;

    if (agent->procs.cgroup < 0 || agent->shutdown || agent->awaits_identity) {
        rpc_server_call_fail(call, RPC_FAILED_PRECONDITION,
                             "this guest cannot freeze its programs now");
        return;
    }
    r = freeze(agent, req->timeout_ms, &err);
    if (r < 0)
        rpc_server_call_fail(
            call, r == -EALREADY ? RPC_FAILED_PRECONDITION : RPC_INTERNAL, "%s", err.msg);
    else
        agent->freezing = call;
}

void
handle_thaw(void *ctx, struct rpc_server_call *call, const ProtobufCMessage *request)
{
    struct agent *agent = ctx;
    Vmt__ThawResponse reply = VMT__THAW_RESPONSE__INIT;

    (void)request;
    reply.was_frozen = agent->freezer && freezer_is_on(agent->freezer);
    agent_thaw(agent);
    rpc_server_call_reply(call, &reply.base);
}
