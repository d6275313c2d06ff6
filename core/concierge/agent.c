/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/concierge/agent_internal.h"

#include <errno.h>

#include "core/adapter/clock.h"
#include "core/adapter/stream.h"
#include "core/adapter/transport.h"
#include "core/base/err.h"
#include "core/base/limits.h"
#include "core/base/log.h"

bool
vm_agent_is_open(const struct vm_agent *agent)
{
    return agent->client && !agent->closed;
}

/* The client may not be freed from inside its own callback: it stays until the next open
 * or close. */
static void
on_closed(void *arg, const char *reason)
{
    struct vm_agent *agent = arg;

    agent->closed = true;
    vmt_log_debug("agent connection closed: %s cid=%u", reason ? reason : "", agent->cid);
}

static void on_idle(void *arg);

static void
watch_idle(struct vm_agent *agent)
{
    agent->used = false;
    if (agent->clock->ops->timer_start(agent->clock, VM_AGENT_IDLE_MS, on_idle, agent,
                                       &agent->idle) < 0)
        vmt_log_debug("no memory to close an idle connection cid=%u", agent->cid);
}

static void
on_idle(void *arg)
{
    struct vm_agent *agent = arg;

    agent->idle = NULL;
    if (agent->used || rpc_client_calls(agent->client) > 0)
        watch_idle(agent);
    else
        vm_agent_close(agent);
}

static void
on_connected(void *arg, struct stream *s, const struct vmt_err *err)
{
    struct vm_agent *agent = arg;
    /* Without keepalive: a VM that is paused does not answer, and is not dead. The stream
     * of one that is gone is reset by its device; every call has its deadline. */
    const struct rpc_client_config config = {
        .authority = "maitred",
        .on_closed = on_closed,
        .arg = agent,
    };
    struct vmt_err why = {0};
    int r;

    agent->op = NULL;
    if (!s) {
        agent->on_open(agent->arg, err);
        return;
    }
    r = rpc_client_new(agent->clock, s, &config, &agent->client, &why);
    if (r < 0)
        stream_close(s);
    else
        watch_idle(agent);
    agent->on_open(agent->arg, r < 0 ? &why : NULL);
}

int
vm_agent_open(struct vm_agent *agent, unsigned timeout_ms, vm_agent_open_fn *on_open,
              void *arg, struct vmt_err *err)
{
    const struct transport_dial dial = {
        .cid = agent->cid,
        .port = VMT_PORT_MAITRED,
        .timeout_ms = timeout_ms,
        .on_done = on_connected,
        .arg = agent,
    };

    vm_agent_close(agent);
    agent->on_open = on_open;
    agent->arg = arg;
    return agent->transport->ops->connect(agent->transport, &dial, &agent->op, err);
}

void
vm_agent_close(struct vm_agent *agent)
{
    if (agent->op)
        agent->transport->ops->cancel(agent->op);
    agent->op = NULL;
    agent->clock->ops->timer_cancel(agent->clock, agent->idle);
    agent->idle = NULL;
    rpc_client_free(agent->client);
    agent->client = NULL;
    agent->closed = false;
}

int
vm_agent_call(struct vm_agent *agent, const struct rpc_client_request *request,
              const struct ProtobufCMessage *message, struct vmt_err *err)
{
    if (!vm_agent_is_open(agent))
        return vmt_err_set(err, ENOTCONN, "call %s", request->path);
    agent->used = true;
    return rpc_client_start(agent->client, request, message, NULL, err);
}
