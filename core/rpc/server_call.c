/* SPDX-License-Identifier: BSD-3-Clause */
/* The receiving half of a server call: headers, request message, dispatch. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <protobuf-c/protobuf-c.h>

#include "core/adapter/clock.h"
#include "core/base/log.h"
#include "core/rpc/compress_internal.h"
#include "core/rpc/metadata_internal.h"
#include "core/rpc/server_internal.h"

static struct rpc_server_call *
call_of(struct rpc_call *base)
{
    return VMT_CONTAINER_OF(base, struct rpc_server_call, base);
}

static bool
call_receiving(const struct rpc_server_call *call)
{
    return !call->held && !call->ended;
}

/* Is it with a handler that takes its requests one by one? */
static bool
call_streaming(const struct rpc_server_call *call)
{
    return call->held && !call->ended && call->method->client_streams;
}

static void
call_set_method(struct rpc_server_call *call, const struct rpc_header *h)
{
    call->is_post = h->value_len == 4 && memcmp(h->value, "POST", 4) == 0;
    call->is_head = h->value_len == 4 && memcmp(h->value, "HEAD", 4) == 0;
}

static void
call_set_path(struct rpc_server_call *call, const struct rpc_header *h)
{
    call->method = rpc_server_find(call->server, h->value, h->value_len, &call->service);
    if (!call->method)
        (void)vmt_log_escape(call->path, sizeof(call->path), (const char *)h->value,
                             h->value_len);
}

static void
call_set_content_type(struct rpc_server_call *call, const struct rpc_header *h)
{
    call->is_grpc = rpc_content_type_ok(h->value, h->value_len);
}

static void
call_set_timeout(struct rpc_server_call *call, const struct rpc_header *h)
{
    call->has_timeout = true;
    call->bad_timeout = rpc_timeout_parse(h->value, h->value_len, &call->timeout_ms) < 0;
}

static void
call_set_encoding(struct rpc_server_call *call, const struct rpc_header *h)
{
    call->base.in_encoding = rpc_encoding_parse(h->value, h->value_len);
}

static void
call_set_accept(struct rpc_server_call *call, const struct rpc_header *h)
{
    call->takes_gzip |= rpc_encoding_offers_gzip(h->value, h->value_len);
}

static void
call_set_fds(struct rpc_server_call *call, const struct rpc_header *h)
{
    /* What is no number cannot match what came. */
    if (rpc_number_parse(h->value, h->value_len, RPC_FDS_MAX, &call->fds_expected) < 0)
        call->fds_expected = UINT32_MAX;
}

static const struct {
    const char *name;
    size_t len;
    void (*set)(struct rpc_server_call *call, const struct rpc_header *h);
} call_fields[] = {
    {":method", 7, call_set_method},
    {":path", 5, call_set_path},
    {"content-type", 12, call_set_content_type},
    {"grpc-timeout", 12, call_set_timeout},
    {"grpc-encoding", 13, call_set_encoding},
    {"grpc-accept-encoding", 20, call_set_accept},
    {"vmt-fds", 7, call_set_fds},
};

static void
call_on_header(struct rpc_call *base, const struct rpc_header *h)
{
    struct rpc_server_call *call = call_of(base);

    if (!call_receiving(call) || call->opened)
        return;
    for (size_t i = 0; i < VMT_ARRAY_SIZE(call_fields); i++) {
        if (rpc_header_is(h, call_fields[i].name, call_fields[i].len)) {
            call_fields[i].set(call, h);
            return;
        }
    }
    if (call->metadata_error == 0)
        call->metadata_error = rpc_metadata_receive(&call->metadata, h);
}

static void
call_end_metadata(struct rpc_server_call *call)
{
    struct rpc_status status;

    (void)rpc_metadata_status(&status, call->metadata_error);
    rpc_server_call_end(call, status.code, "%s", status.text);
}

static void
call_arm_deadline(struct rpc_server_call *call)
{
    struct vmt_clock *clock = call->server->clock;

    if (call->timeout_ms == 0)
        rpc_server_call_end(call, RPC_DEADLINE_EXCEEDED, "Deadline Exceeded");
    else if (clock->ops->timer_start(clock, call->timeout_ms, rpc_server_call_on_deadline,
                                     call, &call->timer) < 0)
        rpc_server_call_end(call, RPC_RESOURCE_EXHAUSTED, "out of memory");
}

static void
call_dispatch(struct rpc_server_call *call)
{
    call->held = call->dispatched = true;
    call->conn->nhandled++;
    call->method->handle(call->service->ctx, call, call->request);
}

/* Everything that can be wrong with a request before its message.
 * Source: grpc doc/PROTOCOL-HTTP2.md, Requests; RFC 9110 for 405 and 415. */
static void
call_on_headers_end(struct rpc_call *base, bool trailers, bool end_stream)
{
    struct rpc_server_call *call = call_of(base);

    (void)end_stream;
    call->opened = true;
    if (trailers || !call_receiving(call))
        return;
    if (!call->is_post)
        rpc_server_call_end_http(call, "405");
    else if (!call->is_grpc)
        rpc_server_call_end_http(call, "415");
    else if (base->header_bytes > RPC_HEADER_LIST_MAX)
        rpc_server_call_end(call, RPC_RESOURCE_EXHAUSTED,
                            "the request headers are larger than %u bytes",
                            RPC_HEADER_LIST_MAX);
    else if (!call->method)
        rpc_server_call_end(call, RPC_UNIMPLEMENTED, "unknown %s: %s",
                            call->service ? "method" : "service", call->path);
    else if (call->bad_timeout)
        rpc_server_call_end(call, RPC_INTERNAL, "malformed grpc-timeout");
    else if (call->metadata_error < 0)
        call_end_metadata(call);
    else if (call->fds_expected != base->nfds_in)
        rpc_server_call_end(call, RPC_INVALID_ARGUMENT,
                            "the descriptors of the request did not arrive");
    else if (call->has_timeout)
        call_arm_deadline(call);
    if (!call->ended && call->method->client_streams)
        call_dispatch(call);
}

static void
call_refuse_message(struct rpc_server_call *call, int error)
{
    if (error == -E2BIG)
        rpc_server_call_break(call, RPC_RESOURCE_EXHAUSTED, "the request is too complex");
    else
        rpc_server_call_break(call, RPC_INVALID_ARGUMENT, "the request is no valid %s",
                              call->method->request->name);
}

/* One request of a stream. It lives for the callback only, which may finish the call. */
static void
call_pass_message(struct rpc_server_call *call, const struct rpc_frame *frame)
{
    int r = rpc_arena_unpack(&call->arena, call->method->request, frame->data, frame->len,
                             &call->request);
    const struct ProtobufCMessage *request = call->request;

    call->request = NULL;
    if (r < 0)
        call_refuse_message(call, r);
    else if (call->receiver)
        call->receiver->on_message(call->receiver_arg, request);
    rpc_arena_done(&call->arena);
}

static void
call_on_message(struct rpc_call *base, const struct rpc_frame *frame)
{
    struct rpc_server_call *call = call_of(base);
    int r;

    if (!call_receiving(call) && !call_streaming(call))
        return;
    if (call_streaming(call)) {
        call_pass_message(call, frame);
        return;
    }
    if (call->request) {
        rpc_server_call_end(call, RPC_UNIMPLEMENTED, "more than one request message");
        return;
    }
    if (!rpc_call_may_parse(base)) {
        rpc_server_call_end(call, RPC_RESOURCE_EXHAUSTED,
                            "the requests of this connection are too large together");
        return;
    }
    r = rpc_arena_unpack(&call->arena, call->method->request, frame->data, frame->len,
                         &call->request);
    rpc_call_hold_parsed(base, call->arena.spent);
    if (r < 0)
        call_refuse_message(call, r);
}

static void
call_on_frame_error(struct rpc_call *base, int error)
{
    struct rpc_server_call *call = call_of(base);
    struct rpc_status status;

    if (!call_receiving(call) && !call_streaming(call))
        return;
    (void)rpc_call_frame_status(base, error, &status);
    rpc_server_call_break(call, status.code, "%s", status.text);
}

static void
call_half_close(struct rpc_server_call *call)
{
    if (rpc_frame_partial(&call->base.in))
        rpc_server_call_break(call, RPC_INTERNAL, "the request ends within a message");
    else if (call->receiver)
        call->receiver->on_half_close(call->receiver_arg);
}

static void
call_on_end(struct rpc_call *base)
{
    struct rpc_server_call *call = call_of(base);

    if (call_streaming(call)) {
        call_half_close(call);
        return;
    }
    if (!call_receiving(call))
        return;
    if (rpc_frame_partial(&base->in)) {
        rpc_server_call_end(call, RPC_INTERNAL, "the request ends within a message");
        return;
    }
    if (!call->request) {
        rpc_server_call_end(call, RPC_UNIMPLEMENTED, "the request has no message");
        return;
    }
    call_dispatch(call);
}

static void
call_on_close(struct rpc_call *base, uint32_t h2_error)
{
    (void)h2_error;
    rpc_server_call_gone(call_of(base));
}

static void
call_free(struct rpc_call *base)
{
    struct rpc_server_call *call = call_of(base);

    rpc_fds_close(base->fds_out, &base->nfds_out);
    rpc_fds_close(base->fds_in, &base->nfds_in);
    rpc_frame_done(&base->in);
    vmt_buf_done(&base->out);
    rpc_arena_done(&call->arena);
    rpc_metadata_done(&call->metadata);
    rpc_metadata_done(&call->initial);
    rpc_metadata_done(&call->trailing);
    rpc_peer_unref(call->peer);
    free(call);
}

static const struct rpc_call_ops call_ops = {
    .on_header = call_on_header,
    .on_headers_end = call_on_headers_end,
    .on_message = call_on_message,
    .on_frame_error = call_on_frame_error,
    .on_end = call_on_end,
    .on_out_end = rpc_server_call_on_out_end,
    .on_drain = rpc_server_call_on_drained,
    .on_answered_early = rpc_server_call_on_answered_early,
    .on_close = call_on_close,
    .free = call_free,
};

struct rpc_call *
rpc_server_call_new(struct rpc_conn *base)
{
    struct server_conn *conn = VMT_CONTAINER_OF(base, struct server_conn, base);
    struct rpc_server_call *call = calloc(1, sizeof(*call));

    if (!call)
        return NULL;
    rpc_call_init(&call->base, &call_ops, base);
    call->conn = conn;
    call->server = conn->server;
    call->peer = rpc_peer_ref(conn->peer);
    if (conn->server->config.idle_ms > 0)
        conn->active_ms = base->clock->ops->now_ms(base->clock);
    return &call->base;
}
