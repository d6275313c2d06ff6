/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/guest/maitred/agent/ready.h"

#include <errno.h>
#include <stdlib.h>

#include <common.pb-c.h>

#include "core/adapter/clock.h"
#include "core/base/err.h"
#include "core/base/log.h"
#include "platform/guest/maitred/agent/host_call.h"

#define TRY_TIMEOUT_MS 5000
#define DELAY_FIRST_MS 100u
#define DELAY_MAX_MS 2000u
/* A host that does not wait for us at all is asked less often. */
#define TRIES_SOON 60u
#define DELAY_LATE_MS 30000u

struct ready {
    struct ready_config config;
    struct host_call *call;  /* owned; NULL between tries */
    struct vmt_timer *timer; /* owned by the clock; NULL during a try */
    unsigned delay_ms;
    unsigned tries;
};

static void ready_try(struct ready *r);

static void
on_timer(void *arg)
{
    struct ready *r = arg;

    r->timer = NULL;
    ready_try(r);
}

/* Not heard: once more, later. */
static void
ready_retry(struct ready *r, const char *why)
{
    /* The second time it is an error, which also a quiet console shows: without the
     * host's answer the VM will be taken for dead. */
    vmt_log(r->tries == 2 ? VMT_LOG_ERROR : VMT_LOG_DEBUG,
            "the host did not take VmReady: %s try=%u", why, r->tries);
    if (r->config.clock->ops->timer_start(r->config.clock, r->delay_ms, on_timer, r,
                                          &r->timer) < 0)
        vmt_log_error("VmReady is not tried again: no memory");
    r->delay_ms = r->delay_ms * 2 < DELAY_MAX_MS ? r->delay_ms * 2 : DELAY_MAX_MS;
    if (r->tries >= TRIES_SOON)
        r->delay_ms = DELAY_LATE_MS;
}

static void
on_done(void *arg, const struct rpc_status *status)
{
    struct ready *r = arg;

    r->call = NULL;
    if (status->code == RPC_OK ||
        (r->config.again && status->code == RPC_FAILED_PRECONDITION))
        r->config.on_acked(r->config.arg); /* may free r */
    else
        ready_retry(r, status->text[0] ? status->text : rpc_code_name(status->code));
}

static void
ready_try(struct ready *r)
{
    static const VmTools__EmptyMessage empty = VM_TOOLS__EMPTY_MESSAGE__INIT;
    const struct host_call_spec spec = {
        .clock = r->config.clock,
        .transport = r->config.transport,
        .port = r->config.host_port,
        .path = "/vm_tools.StartupListener/VmReady",
        .message = &empty.base,
        .timeout_ms = TRY_TIMEOUT_MS,
        .on_done = on_done,
        .arg = r,
    };
    struct vmt_err err;

    r->tries++;
    if (host_call_start(&spec, &r->call, &err) < 0)
        ready_retry(r, err.msg);
}

int
ready_start(const struct ready_config *config, struct ready **ret_ready)
{
    struct ready *r = calloc(1, sizeof(*r));

    if (!r)
        return -ENOMEM;
    *r = (struct ready){
        .config = *config,
        .delay_ms = DELAY_FIRST_MS,
    };
    ready_try(r);
    *ret_ready = r;
    return 0;
}

void
ready_free(struct ready *r)
{
    if (!r)
        return;
    host_call_cancel(r->call);
    r->config.clock->ops->timer_cancel(r->config.clock, r->timer);
    free(r);
}
