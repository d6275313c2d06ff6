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

struct ready {
    struct vmt_clock *clock;     /* borrowed */
    struct transport *transport; /* borrowed */
    uint32_t host_port;
    void (*on_acked)(void *arg);
    void *arg;               /* borrowed */
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
    if (r->clock->ops->timer_start(r->clock, r->delay_ms, on_timer, r, &r->timer) < 0)
        vmt_log_error("VmReady is not tried again: no memory");
    r->delay_ms = r->delay_ms * 2 < DELAY_MAX_MS ? r->delay_ms * 2 : DELAY_MAX_MS;
}

static void
on_done(void *arg, const struct rpc_status *status)
{
    struct ready *r = arg;

    r->call = NULL;
    if (status->code == RPC_OK)
        r->on_acked(r->arg); /* may free r */
    else
        ready_retry(r, status->text[0] ? status->text : rpc_code_name(status->code));
}

static void
ready_try(struct ready *r)
{
    static const VmTools__EmptyMessage empty = VM_TOOLS__EMPTY_MESSAGE__INIT;
    const struct host_call_spec spec = {
        .clock = r->clock,
        .transport = r->transport,
        .port = r->host_port,
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
ready_start(struct vmt_clock *clock, struct transport *transport, uint32_t host_port,
            void (*on_acked)(void *arg), void *arg, struct ready **ret_ready)
{
    struct ready *r = calloc(1, sizeof(*r));

    if (!r)
        return -ENOMEM;
    *r = (struct ready){
        .clock = clock,
        .transport = transport,
        .host_port = host_port,
        .on_acked = on_acked,
        .arg = arg,
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
    r->clock->ops->timer_cancel(r->clock, r->timer);
    free(r);
}
