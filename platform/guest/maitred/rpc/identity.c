/* SPDX-License-Identifier: BSD-3-Clause */
/* SetIdentity: a restored guest learns who it is. A template starts its programs then. */
#include "platform/guest/maitred/agent/identity.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <vmt_agent.pb-c.h>

#include "core/adapter/clock.h"
#include "core/base/argv.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/log.h"
#include "platform/guest/maitred/agent/agent.h"
#include "platform/guest/maitred/rpc/handlers.h"

#define DISKS_MAX 64u
/* A plugged disk comes within a second; the machine may be busy. */
#define DISKS_TIMEOUT_MS 20000u
#define DISKS_POLL_MS 5u

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
    rpc_server_call_fail(n->call, RPC_DEADLINE_EXCEEDED,
                         "the disk with serial %s did not come",
                         vmt_log_escape(shown, sizeof(shown), missing, strlen(missing)));
    naming_cancel(n->agent);
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

static int
begin(struct agent *agent, struct rpc_server_call *call,
      const Vmt__SetIdentityRequest *req)
{
    VMT_CLEANUP(naming_freep) struct naming *n = calloc(1, sizeof(*n));
    struct vmt_clock *clock = agent->clock;

    if (!n)
        return -ENOMEM;
    *n = (struct naming){.agent = agent, .call = call};
    for (size_t i = 0; i < req->n_disk_serials; i++)
        vmt_argv_add(&n->serials, req->disk_serials[i]);
    if (vmt_argv_finish(&n->serials, NULL) < 0 ||
        clock->ops->timer_start(clock, 0, on_look, n, &n->timer) < 0)
        return -ENOMEM;
    n->deadline_ms = clock->ops->now_ms(clock) + DISKS_TIMEOUT_MS;
    rpc_server_call_on_cancel(call, on_cancel, n);
    agent->naming = vmt_take_ptr(&n);
    return 0;
}

static int
become(const Vmt__SetIdentityRequest *req, struct vmt_err *err)
{
    const struct identity id = {
        .wall_time_ns = req->wall_time_ns,
        .entropy = req->entropy.data,
        .nentropy = req->entropy.len,
        .machine_id = req->machine_id,
        .hostname = req->hostname,
        .timezone = req->timezone,
        .mac = req->mac_address.data,
        .nmac = req->mac_address.len,
    };
    int r = identity_check(&id, err);

    return r < 0 ? r : identity_apply(&id, err);
}

void
handle_set_identity(void *ctx, struct rpc_server_call *call,
                    const ProtobufCMessage *request)
{
    const Vmt__SetIdentityRequest *req = (const Vmt__SetIdentityRequest *)request;
    struct agent *agent = ctx;
    struct vmt_err err;
    int r;

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
    r = become(req, &err);
    if (agent->awaits_identity)
        report_phase(&agent->boot.report, "identity");
    if (r < 0)
        rpc_server_call_fail(
            call, r == -EINVAL || r == -ENOENT ? RPC_INVALID_ARGUMENT : RPC_INTERNAL,
            "%s", err.msg);
    else if (begin(agent, call, req) < 0)
        rpc_server_call_fail(call, RPC_RESOURCE_EXHAUSTED, "no memory");
}
