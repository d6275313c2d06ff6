/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/rpc/service.h"

#include <stdio.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "test.file.h"

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
count_request(struct rpctest *test, struct rpc_server_call *call)
{
    test->requests++;
    test->compressed += rpc_server_call_compressed(call);
    (void)rpc_server_call_set_encoding(call, test->encoding);
}

/* Stock peers steer by what they ask to be echoed. */
static void
obey(struct rpctest *test, const char *text)
{
    if (strcmp(text, "pause") == 0)
        test->pause_first = true;
    if (strcmp(text, "resume") != 0)
        return;
    test->pause_first = false;
    for (size_t i = 0; i < VMT_ARRAY_SIZE(test->streams); i++) {
        if (test->streams[i].call)
            rpc_server_call_pause(test->streams[i].call, false);
    }
}

static void
handle_echo(void *ctx, struct rpc_server_call *call,
            const struct ProtobufCMessage *message)
{
    const Vmt__Rpctest__Request *request = request_of(message);
    Vmt__Rpctest__Reply reply = rpctest_reply();
    struct rpctest *test = ctx;

    count_request(test, call);
    test->nfds = rpc_server_call_take_fds(call, test->fds, VMT_ARRAY_SIZE(test->fds));
    obey(test, request->text);
    reply.text = request->text;
    reply.data = request->data;
    reply.number = request->number;
    if (echo_metadata(call) < 0) {
        for (size_t i = 0; i < test->nfds; i++)
            vmt_closep(&test->fds[i]);
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

    count_request(test, call);
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

    count_request(test, call);
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
    count_request(test, call);
    test->hung = call;
    if (!test->keep_on_cancel)
        rpc_server_call_on_cancel(call, on_hang_cancel, test);
}

static void
take_request(struct rpctest_stream *s)
{
    s->test->taken++;
    s->test->compressed += rpc_server_call_compressed(s->call);
    if (s->test->pause_each)
        rpc_server_call_pause(s->call, true);
}

static void
on_collect_message(void *arg, const struct ProtobufCMessage *message)
{
    struct rpctest_stream *s = arg;

    take_request(s);
    s->sum += request_of(message)->number;
    s->bytes += request_of(message)->data.len;
}

static void
on_collect_half_close(void *arg)
{
    Vmt__Rpctest__Reply reply = rpctest_reply();
    struct rpctest_stream *s = arg;
    char text[32];

    (void)snprintf(text, sizeof(text), "%zu", s->bytes);
    reply.number = s->sum;
    reply.text = text;
    s->test->half_closes++;
    rpc_server_call_reply(s->call, &reply.base);
    s->test->stream = NULL;
    s->call = NULL;
}

static void
on_chat_message(void *arg, const struct ProtobufCMessage *message)
{
    const Vmt__Rpctest__Request *request = request_of(message);
    Vmt__Rpctest__Reply reply = rpctest_reply();
    struct rpctest_stream *s = arg;

    reply.text = request->text;
    reply.data = request->data;
    reply.number = request->number;
    take_request(s);
    /* Each reply as its request. */
    rpc_server_call_compress(s->call, rpc_server_call_compressed(s->call));
    if (!s->test->enough && rpc_server_call_send(s->call, &reply.base, NULL, 0) == 0)
        return;
    rpc_server_call_fail(s->call, RPC_ABORTED, "reply not queued");
    s->test->stream = NULL;
    s->call = NULL;
}

static void
on_chat_half_close(void *arg)
{
    const struct rpc_status ok = {.code = RPC_OK};
    struct rpctest_stream *s = arg;

    s->test->half_closes++;
    rpc_server_call_finish(s->call, &ok);
    s->test->stream = NULL;
    s->call = NULL;
}

static void
on_stream_cancel(void *arg)
{
    struct rpctest_stream *s = arg;

    s->test->stream_cancels++;
    s->test->stream = NULL;
    s->call = NULL;
}

static void
on_stream_drain(void *arg)
{
    ((struct rpctest_stream *)arg)->test->drains++;
}

static void
start_stream(struct rpctest *test, struct rpc_server_call *call,
             const struct rpc_server_receiver *receiver)
{
    struct rpctest_stream *s = NULL;

    count_request(test, call);
    for (size_t i = 0; i < VMT_ARRAY_SIZE(test->streams) && !s; i++)
        s = test->streams[i].call ? NULL : &test->streams[i];
    if (!s) {
        rpc_server_call_fail(call, RPC_RESOURCE_EXHAUSTED, "too many streams");
        return;
    }
    *s = (struct rpctest_stream){.test = test, .call = call};
    test->stream = call;
    rpc_server_call_receive(call, receiver, s);
    rpc_server_call_on_drain(call, on_stream_drain, s);
    rpc_server_call_on_cancel(call, on_stream_cancel, s);
    rpc_server_call_pause(call, test->pause_first);
}

static void
handle_collect(void *ctx, struct rpc_server_call *call,
               const struct ProtobufCMessage *message)
{
    static const struct rpc_server_receiver receiver = {on_collect_message,
                                                        on_collect_half_close};

    (void)message;
    start_stream(ctx, call, &receiver);
}

static void
handle_chat(void *ctx, struct rpc_server_call *call,
            const struct ProtobufCMessage *message)
{
    static const struct rpc_server_receiver receiver = {on_chat_message,
                                                        on_chat_half_close};

    (void)message;
    start_stream(ctx, call, &receiver);
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
    {.name = "Collect",
     .request = &vmt__rpctest__request__descriptor,
     .handle = handle_collect,
     .client_streams = true},
    {.name = "Chat",
     .request = &vmt__rpctest__request__descriptor,
     .handle = handle_chat,
     .server_streams = true,
     .client_streams = true},
    {.name = "Hang",
     .request = &vmt__rpctest__request__descriptor,
     .handle = handle_hang},
};

const struct rpc_server_service rpctest_service = {
    .name = "vmt.rpctest.Test",
    .methods = rpctest_methods,
    .nmethods = VMT_ARRAY_SIZE(rpctest_methods),
    .file = &proto_file_test,
};
