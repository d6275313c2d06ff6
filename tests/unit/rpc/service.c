/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/rpc/service.h"

#include "core/base/cleanup.h"

static const Vmt__Rpctest__Request *
request_of(const struct ProtobufCMessage *message)
{
    return (const Vmt__Rpctest__Request *)message;
}

/* Give the request's metadata back, before the message and with the status. */
static int
echo_metadata(struct rpc_server_call *call)
{
    const struct rpc_metadata_entry *e = rpc_server_call_metadata(call)->first;
    int r = 0;

    for (; e && r == 0; e = e->next) {
        r = rpc_server_call_add_initial(call, e->key, e->value, e->len);
        if (r == 0)
            r = rpc_server_call_add_trailing(call, e->key, e->value, e->len);
    }
    return r;
}

static void
handle_echo(void *ctx, struct rpc_server_call *call,
            const struct ProtobufCMessage *message)
{
    const Vmt__Rpctest__Request *request = request_of(message);
    Vmt__Rpctest__Reply reply = rpctest_reply();
    struct rpctest *test = ctx;

    test->requests++;
    test->nfds = rpc_server_call_take_fds(call, test->fds, VMT_ARRAY_SIZE(test->fds));
    reply.text = request->text;
    reply.data = request->data;
    reply.number = request->number;
    if (echo_metadata(call) < 0) {
        rpc_server_call_fail(call, RPC_RESOURCE_EXHAUSTED, "metadata not given back");
        return;
    }
    if (test->nfds > 0) {
        struct rpc_status ok = {.code = RPC_OK};

        (void)rpc_server_call_send(call, &reply.base, test->fds, test->nfds);
        rpc_server_call_finish(call, &ok);
        for (size_t i = 0; i < test->nfds; i++)
            vmt_closep(&test->fds[i]);
        return;
    }
    rpc_server_call_reply(call, &reply.base);
}

static void
handle_fail(void *ctx, struct rpc_server_call *call,
            const struct ProtobufCMessage *message)
{
    const Vmt__Rpctest__Request *request = request_of(message);
    struct rpctest *test = ctx;

    test->requests++;
    if (request->data.len > 0 &&
        rpc_server_call_add_trailing(call, RPC_STATUS_DETAILS_KEY, request->data.data,
                                     request->data.len) < 0) {
        rpc_server_call_fail(call, RPC_RESOURCE_EXHAUSTED, "details not sent");
        return;
    }
    rpc_server_call_fail(call, (enum rpc_code)(request->number % RPC_CODE_COUNT), "%s",
                         request->text);
}

static void
handle_count(void *ctx, struct rpc_server_call *call,
             const struct ProtobufCMessage *message)
{
    const Vmt__Rpctest__Request *request = request_of(message);
    struct rpc_status status = {.code = RPC_OK};
    struct rpctest *test = ctx;

    test->requests++;
    for (uint32_t i = 0; i < request->number; i++) {
        Vmt__Rpctest__Reply reply = rpctest_reply();

        reply.number = i;
        reply.data = request->data;
        if (rpc_server_call_send(call, &reply.base, NULL, 0) < 0)
            (void)rpc_status_set(&status, RPC_ABORTED, "reply %u not queued", i);
    }
    rpc_server_call_finish(call, &status);
}

static void
on_hang_cancel(void *arg)
{
    struct rpctest *test = arg;

    test->cancels++;
    test->hung = NULL;
}

static void
handle_hang(void *ctx, struct rpc_server_call *call,
            const struct ProtobufCMessage *message)
{
    struct rpctest *test = ctx;

    (void)message;
    test->requests++;
    test->hung = call;
    if (!test->keep_on_cancel)
        rpc_server_call_on_cancel(call, on_hang_cancel, test);
}

static const struct rpc_server_method rpctest_methods[] = {
    {.name = "Echo",
     .request = &vmt__rpctest__request__descriptor,
     .handle = handle_echo},
    {.name = "Fail",
     .request = &vmt__rpctest__request__descriptor,
     .handle = handle_fail},
    {.name = "Count",
     .request = &vmt__rpctest__request__descriptor,
     .handle = handle_count,
     .server_streams = true},
    {.name = "Hang",
     .request = &vmt__rpctest__request__descriptor,
     .handle = handle_hang},
};

const struct rpc_server_service rpctest_service = {
    .name = "vmt.rpctest.Test",
    .methods = rpctest_methods,
    .nmethods = VMT_ARRAY_SIZE(rpctest_methods),
};
