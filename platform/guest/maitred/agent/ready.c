/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/guest/maitred/agent/ready.h"

#include <errno.h>
#include <stdlib.h>

#include <common.pb-c.h>

#include "core/adapter/clock.h"
#include "core/adapter/stream.h"
#include "core/adapter/transport.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/limits.h"
#include "core/base/log.h"
#include "core/rpc/client.h"

#define READY_PATH "/vm_tools.StartupListener/VmReady"
#define TRY_TIMEOUT_MS 5000
#define DELAY_FIRST_MS 100u
#define DELAY_MAX_MS 2000u

struct ready {
    struct vmt_clock *clock;     /* borrowed */
    struct transport *transport; /* borrowed */
    uint32_t host_port;
    void (*on_acked)(void *arg);
    void *arg;                 /* borrowed */
    struct transport_op *dial; /* owned by the transport */
    struct rpc_client *client; /* owned */
    struct vmt_timer *timer;   /* owned by the clock */
    unsigned delay_ms;
    unsigned tries;
};

static void ready_try(struct ready *r);

static void
ready_reset(struct ready *r)
{
    rpc_client_free(r->client);
    r->client = NULL;
}

static void
on_timer(void *arg)
{
    struct ready *r = arg;

    r->timer = NULL;
    ready_reset(r);
    ready_try(r);
}

/* Not heard: once more, later. The client lives until then, since this may run inside a
 * callback of it. */
static void
ready_retry(struct ready *r, const char *why)
{
    vmt_log(r->tries == 1 ? VMT_LOG_NOTICE : VMT_LOG_DEBUG,
            "the host did not take VmReady: %s try=%u", why, r->tries);
    if (r->timer)
        return;
    if (r->clock->ops->timer_start(r->clock, r->delay_ms, on_timer, r, &r->timer) < 0)
        vmt_log_error("VmReady is not tried again: no memory");
    r->delay_ms = r->delay_ms * 2 < DELAY_MAX_MS ? r->delay_ms * 2 : DELAY_MAX_MS;
}

static void
on_call_done(void *arg, const struct rpc_status *status)
{
    struct ready *r = arg;

    if (status->code != RPC_OK) {
        ready_retry(r, status->text[0] ? status->text : rpc_code_name(status->code));
        return;
    }
    r->on_acked(r->arg);
}

static const struct rpc_client_handler call_handler = {.on_done = on_call_done};

static int
ready_call(struct ready *r, struct stream *s, struct vmt_err *err)
{
    static const struct rpc_client_config config = {.authority = NULL};
    const struct rpc_client_request request = {
        .path = READY_PATH,
        .reply = &vm_tools__empty_message__descriptor,
        .timeout_ms = TRY_TIMEOUT_MS,
        .handler = &call_handler,
        .arg = r,
    };
    VmTools__EmptyMessage message = VM_TOOLS__EMPTY_MESSAGE__INIT;
    int rc = rpc_client_new(r->clock, s, &config, &r->client, err);

    if (rc < 0) {
        stream_close(s);
        return rc;
    }
    return rpc_client_start(r->client, &request, &message.base, NULL, err);
}

static void
on_connected(void *arg, struct stream *s, const struct vmt_err *why)
{
    struct ready *r = arg;
    struct vmt_err err;

    r->dial = NULL;
    if (!s)
        ready_retry(r, vmt_err_text(why));
    else if (ready_call(r, s, &err) < 0)
        ready_retry(r, err.msg);
}

static void
ready_try(struct ready *r)
{
    const struct transport_dial dial = {
        .cid = VMT_CID_HOST,
        .port = r->host_port,
        .timeout_ms = TRY_TIMEOUT_MS,
        .on_done = on_connected,
        .arg = r,
    };
    struct vmt_err err;

    r->tries++;
    if (r->transport->ops->connect(r->transport, &dial, &r->dial, &err) < 0)
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
    if (r->dial)
        r->transport->ops->cancel(r->dial);
    r->clock->ops->timer_cancel(r->clock, r->timer);
    rpc_client_free(r->client);
    free(r);
}
