/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/rpc/client.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/adapter/clock.h"
#include "core/base/err.h"
#include "core/base/log.h"
#include "core/rpc/client_internal.h"
#include "core/rpc/compress_internal.h"
#include "core/rpc/metadata_internal.h"

#define USER_AGENT "grpc-c-vm_tools/0.1"

static void
client_tell_closed(struct rpc_client *client, const char *reason)
{
    if (client->ended)
        return;
    client->ended = true;
    if (client->config.on_closed)
        client->config.on_closed(client->config.arg, reason);
}

static void
client_on_lost(struct rpc_conn *base, const char *reason)
{
    struct rpc_client *client = VMT_CONTAINER_OF(base, struct rpc_client, base);
    struct rpc_status status;

    client->draining = true;
    (void)rpc_status_set(&status, RPC_UNAVAILABLE, "%s", reason);
    /* A callback may free the client, which drops the rest. */
    while (!base->closed && !vmt_list_empty(&base->calls)) {
        struct rpc_client_call *call =
            VMT_CONTAINER_OF(base->calls.next, struct rpc_client_call, base.node);

        /* What came whole is not lost with the connection, paused or not. */
        if (call->base.end_pending)
            rpc_call_go_on(&call->base);
        if (call->base.id != 0 && !base->closed)
            rpc_client_call_end(call, &status);
    }
    if (!base->closed)
        client_tell_closed(client, reason);
}

static void
client_on_settings(struct rpc_conn *base)
{
    struct rpc_client *client = VMT_CONTAINER_OF(base, struct rpc_client, base);

    if (client->ready)
        return;
    client->ready = true;
    if (client->config.on_ready)
        client->config.on_ready(client->config.arg);
}

/* Source: grpc doc/keepalive.md, what a server says to a client that pings too often. */
static bool
client_pinged_too_often(const nghttp2_goaway *goaway)
{
    static const char why[] = "too_many_pings";
    size_t len = sizeof(why) - 1;

    return goaway->error_code == NGHTTP2_ENHANCE_YOUR_CALM &&
           goaway->opaque_data_len == len && memcmp(goaway->opaque_data, why, len) == 0;
}

static void
client_on_goaway(struct rpc_conn *base, const nghttp2_goaway *goaway)
{
    struct rpc_client *client = VMT_CONTAINER_OF(base, struct rpc_client, base);

    if (!client->farewell[0] && goaway->opaque_data_len > 0) {
        memcpy(client->farewell, ": ", 2);
        (void)vmt_log_escape(client->farewell + 2, sizeof(client->farewell) - 2,
                             (const char *)goaway->opaque_data, goaway->opaque_data_len);
    }
    if (!client->draining && client->config.on_goaway)
        client->config.on_goaway(client->config.arg, client_pinged_too_often(goaway));
    client->draining = true;
    if (!base->closed)
        rpc_client_check_drained(client);
}

size_t
rpc_client_calls(const struct rpc_client *client)
{
    return client->base.ncalls;
}

void
rpc_client_check_drained(struct rpc_client *client)
{
    if (client->draining && client->base.ncalls == 0)
        rpc_conn_fail(&client->base, "the server is going away%s", client->farewell);
}

static void
client_on_gone(struct rpc_conn *base)
{
    (void)base; /* the owner knows already */
}

static void
client_on_free(struct rpc_conn *base)
{
    struct rpc_client *client = VMT_CONTAINER_OF(base, struct rpc_client, base);

    free(client->authority);
    free(client);
}

static const struct rpc_conn_ops client_conn_ops = {
    .on_settings = client_on_settings,
    .on_goaway = client_on_goaway,
    .on_lost = client_on_lost,
    .on_gone = client_on_gone,
    .free = client_on_free,
};

int
rpc_client_new(struct vmt_clock *clock, struct stream *stream,
               const struct rpc_client_config *config, struct rpc_client **ret_client,
               struct vmt_err *err)
{
    struct rpc_conn_config conn = {
        .ops = &client_conn_ops,
        .clock = clock,
        .streams_max = 0, /* nothing is ever pushed */
        .message_max =
            config && config->message_max ? config->message_max : VMT_RPC_MESSAGE_MAX,
        .send_max = config ? config->send_max : 0,
        .keepalive = {.time_ms = RPC_NEVER_MS},
    };
    const char *authority = config && config->authority ? config->authority : "localhost";
    struct rpc_client *client = calloc(1, sizeof(*client));
    int r;

    if (!client)
        return vmt_err_set(err, ENOMEM, "create rpc client");
    if (config) {
        client->config = *config;
        conn.setup_ms = config->setup_ms;
        conn.keepalive = (struct rpc_keepalive_config){
            .time_ms = config->keepalive_ms ? config->keepalive_ms : RPC_NEVER_MS,
            .timeout_ms = config->keepalive_timeout_ms,
            .without_calls = config->keepalive_without_calls};
    }
    client->authority = strdup(authority);
    r = client->authority ? rpc_conn_init(&client->base, &conn, stream, err)
                          : vmt_err_set(err, ENOMEM, "create rpc client");
    if (r < 0) {
        client_on_free(&client->base);
        return r;
    }
    *ret_client = client;
    return 0;
}

void
rpc_client_free(struct rpc_client *client)
{
    if (!client)
        return;
    while (!vmt_list_empty(&client->base.calls))
        rpc_client_call_drop(
            VMT_CONTAINER_OF(client->base.calls.next, struct rpc_client_call, base.node));
    rpc_conn_close(&client->base);
}

static int
client_submit(struct rpc_client_call *call, const struct rpc_client_request *request)
{
    struct rpc_client *client = call->client;
    nghttp2_data_provider provider = rpc_call_provider();
    char timeout[RPC_TIMEOUT_TEXT_MAX];
    char fds[2] = {(char)('0' + call->base.nfds_out), '\0'};
    nghttp2_nv nv[11 + RPC_METADATA_COUNT_MAX];
    size_t n = 0;
    int32_t id;

    nv[n++] = RPC_NV(":method", "POST", 4);
    nv[n++] = RPC_NV(":scheme", "https", (size_t)(client->base.secure ? 5 : 4));
    nv[n++] = RPC_NV(":path", request->path, strlen(request->path));
    nv[n++] = RPC_NV(":authority", client->authority, strlen(client->authority));
    nv[n++] = RPC_NV("te", "trailers", 8);
    nv[n++] = RPC_NV("content-type", "application/grpc", 16);
    nv[n++] = RPC_NV("user-agent", USER_AGENT, sizeof(USER_AGENT) - 1);
    nv[n++] = RPC_NV("grpc-accept-encoding", RPC_ENCODINGS, sizeof(RPC_ENCODINGS) - 1);
    if (call->base.out_encoding == RPC_GZIP)
        nv[n++] = RPC_NV("grpc-encoding", "gzip", 4);
    if (request->timeout_ms > 0) {
        size_t len = rpc_timeout_format(timeout, request->timeout_ms);

        nv[n++] = RPC_NV("grpc-timeout", timeout, len);
    }
    if (call->base.nfds_out > 0)
        nv[n++] = RPC_NV("vmt-fds", fds, 1);
    n += rpc_call_metadata_nv(nv + n, request->metadata);
    id =
        nghttp2_submit_request(client->base.session, NULL, nv, n, &provider, &call->base);
    if (id == NGHTTP2_ERR_STREAM_ID_NOT_AVAILABLE)
        return -ENOTCONN;
    if (id < 0)
        return -ENOMEM;
    rpc_call_attach(&call->base, id);
    return 0;
}
_Static_assert(RPC_FDS_MAX <= 9, "vmt-fds is one digit");

static int
client_arm(struct rpc_client_call *call, const struct rpc_client_request *request)
{
    struct vmt_clock *clock = call->client->base.clock;

    if (request->timeout_ms == 0)
        return 0;
    return clock->ops->timer_start(clock, request->timeout_ms,
                                   rpc_client_call_on_deadline, call, &call->deadline);
}

int
rpc_client_start(struct rpc_client *client, const struct rpc_client_request *request,
                 const struct ProtobufCMessage *message,
                 struct rpc_client_call **ret_call, struct vmt_err *err)
{
    struct rpc_client_call *call;
    int r;

    if (client->draining || client->base.lost)
        return vmt_err_set(err, ENOTCONN, "call %s", request->path);
    call = calloc(1, sizeof(*call));
    if (!call)
        return vmt_err_set(err, ENOMEM, "call %s", request->path);
    rpc_call_init(&call->base, &rpc_client_call_ops, &client->base);
    if (request->reply_max)
        call->base.in.max = request->reply_max;
    call->client = client;
    call->handler = request->handler;
    call->arg = request->arg;
    call->reply_type = request->reply;
    call->server_streams = request->server_streams;
    call->base.out_encoding = request->encoding;
    r = rpc_call_set_fds(&call->base, request->fds, request->nfds);
    if (r == 0 && message)
        r = rpc_call_queue(&call->base, message);
    call->base.out_end = !request->client_streams;
    if (r == 0)
        r = client_arm(call, request);
    if (r == 0)
        r = client_submit(call, request);
    if (r < 0) {
        rpc_client_call_drop(call);
        return vmt_err_set(err, -r, "call %s", request->path);
    }
    rpc_conn_kick(&client->base);
    if (ret_call)
        *ret_call = call;
    return 0;
}

int
rpc_client_send(struct rpc_client_call *call, const struct ProtobufCMessage *message)
{
    int r;

    if (call->base.out_end || call->base.stream_closed)
        return -EPIPE;
    r = rpc_call_queue(&call->base, message);
    if (r == 0)
        rpc_call_resume(&call->base);
    return r;
}

void
rpc_client_pause(struct rpc_client_call *call, bool paused)
{
    rpc_call_pause(&call->base, paused);
}

void
rpc_client_compress(struct rpc_client_call *call, bool on)
{
    call->base.out_plain = !on;
}

bool
rpc_client_compressed(const struct rpc_client_call *call)
{
    return call->base.in_compressed;
}

size_t
rpc_client_queued(const struct rpc_client_call *call)
{
    return call->base.out.len;
}

void
rpc_client_half_close(struct rpc_client_call *call)
{
    call->base.out_end = true;
    rpc_call_resume(&call->base);
}

void
rpc_client_cancel(struct rpc_client_call *call)
{
    struct rpc_client *client;

    if (!call)
        return;
    client = call->client;
    rpc_call_reset(&call->base, NGHTTP2_CANCEL);
    rpc_client_call_drop(call);
    rpc_client_check_drained(client);
}
