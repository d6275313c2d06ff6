/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/guest/maitred/agent/host_call.h"

#include <errno.h>
#include <stdlib.h>

#include <common.pb-c.h>

#include "core/adapter/stream.h"
#include "core/adapter/transport.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/limits.h"
#include "core/rpc/client.h"

struct host_call {
    struct host_call_spec spec;
    struct transport_op *dial; /* owned by the transport; NULL once it is done */
    struct rpc_client *client; /* owned */
};

void
host_call_cancel(struct host_call *call)
{
    if (!call)
        return;
    if (call->dial)
        call->spec.transport->ops->cancel(call->dial);
    rpc_client_free(call->client);
    free(call);
}
VMT_DEFINE_FREEP(struct host_call, host_call_cancel)

static void
finish(struct host_call *call, const struct rpc_status *status)
{
    const struct host_call_spec spec = call->spec;
    const struct rpc_status copy = *status; /* it may belong to the client */

    host_call_cancel(call);
    spec.on_done(spec.arg, &copy);
}

static void
on_call_done(void *arg, const struct rpc_status *status)
{
    finish(arg, status);
}

static const struct rpc_client_handler call_handler = {.on_done = on_call_done};

static int
send_request(struct host_call *call, struct stream *s, struct vmt_err *err)
{
    static const struct rpc_client_config config = {.authority = NULL};
    const struct rpc_client_request request = {
        .path = call->spec.path,
        .reply = &vm_tools__empty_message__descriptor,
        .timeout_ms = call->spec.timeout_ms,
        .handler = &call_handler,
        .arg = call,
    };
    int r = rpc_client_new(call->spec.clock, s, &config, &call->client, err);

    if (r < 0) {
        stream_close(s);
        return r;
    }
    return rpc_client_start(call->client, &request, call->spec.message, NULL, err);
}

static void
on_connected(void *arg, struct stream *s, const struct vmt_err *why)
{
    struct host_call *call = arg;
    struct rpc_status status;
    struct vmt_err err;

    call->dial = NULL;
    if (s && send_request(call, s, &err) == 0)
        return;
    finish(call,
           rpc_status_set(&status, RPC_UNAVAILABLE, "%s", vmt_err_text(s ? &err : why)));
}

int
host_call_start(const struct host_call_spec *spec, struct host_call **ret_call,
                struct vmt_err *err)
{
    VMT_CLEANUP(host_call_cancelp) struct host_call *call = calloc(1, sizeof(*call));
    const struct transport_dial dial = {
        .cid = VMT_CID_HOST,
        .port = spec->port,
        .timeout_ms = spec->timeout_ms,
        .on_done = on_connected,
        .arg = call,
    };
    int r;

    if (!call)
        return vmt_err_set(err, ENOMEM, "call the host");
    call->spec = *spec;
    r = spec->transport->ops->connect(spec->transport, &dial, &call->dial, err);
    if (r < 0)
        return r;
    *ret_call = vmt_take_ptr(&call);
    return 0;
}
