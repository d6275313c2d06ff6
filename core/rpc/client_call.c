/* SPDX-License-Identifier: BSD-3-Clause */
/* The receiving half of a client call: response headers, messages, status. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <protobuf-c/protobuf-c.h>

#include "core/adapter/clock.h"
#include "core/rpc/client_internal.h"
#include "core/rpc/compress_internal.h"
#include "core/rpc/metadata_internal.h"

static struct rpc_client_call *
call_of(struct rpc_call *base)
{
    return VMT_CONTAINER_OF(base, struct rpc_client_call, base);
}

static void
call_stop_timer(struct rpc_client_call *call)
{
    struct vmt_clock *clock = call->client->base.clock;

    clock->ops->timer_cancel(clock, call->deadline);
    call->deadline = NULL;
}

void
rpc_client_call_drop(struct rpc_client_call *call)
{
    call_stop_timer(call);
    rpc_call_detach(&call->base);
    rpc_call_release(&call->base, &call->client->base);
}

/* Hand one message out, with the descriptors if it is the first. */
static void
call_deliver(struct rpc_client_call *call)
{
    struct rpc_call *base = &call->base;
    const struct ProtobufCMessage *reply = call->reply;
    int fds[RPC_FDS_MAX];
    size_t nfds = base->nfds_in;

    call->reply = NULL;
    if (!call->handler->on_message) {
        rpc_fds_close(base->fds_in, &base->nfds_in);
        return;
    }
    memcpy(fds, base->fds_in, sizeof(fds));
    base->nfds_in = 0;
    call->handler->on_message(call->arg, reply, fds, nfds);
}

void
rpc_client_call_end(struct rpc_client_call *call, const struct rpc_status *status)
{
    struct rpc_client *client = call->client;
    const struct rpc_client_handler *handler = call->handler;
    struct rpc_status copy = *status;
    void *arg = call->arg;

    rpc_client_call_drop(call);
    if (handler->on_done)
        handler->on_done(arg, &copy);
    if (!client->base.closed)
        rpc_client_check_drained(client);
}

void
rpc_client_call_fail(struct rpc_client_call *call, enum rpc_code code, const char *fmt,
                     ...)
{
    struct rpc_status status;
    va_list args;

    va_start(args, fmt);
    (void)rpc_status_vset(&status, code, fmt, args);
    va_end(args);
    rpc_call_reset(&call->base, NGHTTP2_CANCEL);
    rpc_client_call_end(call, &status);
}

void
rpc_client_call_on_deadline(void *arg)
{
    struct rpc_client_call *call = arg;
    struct rpc_conn *conn = &call->client->base;

    call->deadline = NULL;
    rpc_conn_enter(conn);
    rpc_client_call_fail(call, RPC_DEADLINE_EXCEEDED, "Deadline Exceeded");
    rpc_conn_leave(conn);
}

static void
call_set_http(struct rpc_client_call *call, const struct rpc_header *h)
{
    if (rpc_number_parse(h->value, h->value_len, 999, &call->http_status) < 0)
        call->http_status = 999;
}

static void
call_set_content_type(struct rpc_client_call *call, const struct rpc_header *h)
{
    call->is_grpc = rpc_content_type_ok(h->value, h->value_len);
}

static void
call_set_status(struct rpc_client_call *call, const struct rpc_header *h)
{
    call->has_status = true;
    call->status.code = rpc_code_parse(h->value, h->value_len);
}

static void
call_set_message(struct rpc_client_call *call, const struct rpc_header *h)
{
    rpc_text_decode(call->status.text, h->value, h->value_len);
}

static void
call_set_encoding(struct rpc_client_call *call, const struct rpc_header *h)
{
    call->base.in_encoding = rpc_encoding_parse(h->value, h->value_len);
}

static void
call_set_fds(struct rpc_client_call *call, const struct rpc_header *h)
{
    if (rpc_number_parse(h->value, h->value_len, RPC_FDS_MAX, &call->fds_expected) < 0)
        call->fds_expected = UINT32_MAX;
}

static const struct {
    const char *name;
    size_t len;
    void (*set)(struct rpc_client_call *call, const struct rpc_header *h);
} call_fields[] = {
    {":status", 7, call_set_http},
    {"content-type", 12, call_set_content_type},
    {"grpc-status", 11, call_set_status},
    {"grpc-message", 12, call_set_message},
    {"grpc-encoding", 13, call_set_encoding},
    {"vmt-fds", 7, call_set_fds},
};

static void
call_on_header(struct rpc_call *base, const struct rpc_header *h)
{
    struct rpc_client_call *call = call_of(base);

    for (size_t i = 0; i < VMT_ARRAY_SIZE(call_fields); i++) {
        if (rpc_header_is(h, call_fields[i].name, call_fields[i].len)) {
            call_fields[i].set(call, h);
            return;
        }
    }
    if (call->metadata_error == 0)
        call->metadata_error = rpc_metadata_receive(&call->block, h);
}

static void
call_fail_metadata(struct rpc_client_call *call)
{
    struct rpc_status status;

    (void)rpc_metadata_status(&status, call->metadata_error);
    rpc_client_call_fail(call, status.code, "%s", status.text);
}

static void
call_give_initial(struct rpc_client_call *call)
{
    if (call->handler->on_initial)
        call->handler->on_initial(call->arg, &call->block);
    rpc_metadata_done(&call->block);
}

static void
call_on_headers_end(struct rpc_call *base, bool trailers, bool end_stream)
{
    struct rpc_client_call *call = call_of(base);

    if (base->header_bytes > RPC_HEADER_LIST_MAX) {
        rpc_client_call_fail(call, RPC_RESOURCE_EXHAUSTED,
                             "the reply headers are larger than %u bytes",
                             RPC_HEADER_LIST_MAX);
        return;
    }
    /* 1xx is followed by the real headers. */
    if (call->http_status / 100 == 1) {
        rpc_metadata_done(&call->block);
        call->metadata_error = 0;
        return;
    }
    if (call->metadata_error < 0) {
        call_fail_metadata(call);
        return;
    }
    if (trailers && call->is_grpc)
        return;
    if (call->has_status && end_stream)
        return;
    if (call->http_status != 200)
        rpc_client_call_fail(call, rpc_code_from_http(call->http_status),
                             "the server answered with HTTP status %u",
                             call->http_status);
    else if (!call->is_grpc)
        rpc_client_call_fail(call, RPC_UNKNOWN,
                             "the server answered without content-type application/grpc");
    else if (call->fds_expected != base->nfds_in)
        rpc_client_call_fail(call, RPC_INTERNAL,
                             "the descriptors of the reply did not arrive");
    else
        call_give_initial(call);
}

static void
call_on_message(struct rpc_call *base, const struct rpc_frame *frame)
{
    struct rpc_client_call *call = call_of(base);
    int r;

    if (call->reply) {
        rpc_client_call_fail(call, RPC_INTERNAL, "more than one reply message");
        return;
    }
    r = rpc_arena_unpack(&call->arena, call->reply_type, frame->data, frame->len,
                         &call->reply);
    if (r == -E2BIG) {
        rpc_client_call_fail(call, RPC_RESOURCE_EXHAUSTED, "the reply is too complex");
        return;
    }
    if (r < 0) {
        rpc_client_call_fail(call, RPC_INTERNAL, "the reply is no valid %s",
                             call->reply_type->name);
        return;
    }
    if (!call->server_streams)
        return;
    call_deliver(call);
    rpc_arena_done(&call->arena);
}

static void
call_on_frame_error(struct rpc_call *base, int error)
{
    struct rpc_status status;

    (void)rpc_call_frame_status(base, error, &status);
    rpc_client_call_fail(call_of(base), status.code, "%s", status.text);
}

static void
call_on_end(struct rpc_call *base)
{
    struct rpc_client_call *call = call_of(base);

    if (!call->has_status) {
        rpc_client_call_fail(call, RPC_UNKNOWN,
                             "the server ended the call without a status");
        return;
    }
    if (call->status.code == RPC_OK && rpc_frame_partial(&base->in)) {
        rpc_client_call_fail(call, RPC_INTERNAL, "the reply ends within a message");
        return;
    }
    if (call->status.code == RPC_OK && !call->server_streams) {
        if (!call->reply) {
            rpc_client_call_fail(call, RPC_INTERNAL, "the reply has no message");
            return;
        }
        call_deliver(call);
        if (base->id == 0) /* cancelled from inside */
            return;
    }
    if (call->handler->on_trailing) {
        call->handler->on_trailing(call->arg, &call->block);
        if (base->id == 0)
            return;
    }
    /* The server may answer before it has read the request: take the rest back. */
    if (nghttp2_session_get_stream_local_close(base->conn->session, base->id) != 1)
        rpc_call_reset(base, NGHTTP2_NO_ERROR);
    rpc_client_call_end(call, &call->status);
}

static void
call_on_close(struct rpc_call *base, uint32_t h2_error)
{
    struct rpc_client_call *call = call_of(base);
    struct rpc_status status;

    /* The session gives up what it has not sent when GOAWAY comes, as it gives up what
     * the server has not looked at: RFC 9113 section 6.8. */
    if (call->client->draining && (h2_error == NGHTTP2_REFUSED_STREAM || base->unsent))
        (void)rpc_status_set(&status, RPC_UNAVAILABLE, "the server is going away%s",
                             call->client->farewell);
    else
        (void)rpc_status_set(&status, rpc_code_from_h2(h2_error),
                             "the server reset the call (%s)",
                             nghttp2_http2_strerror(h2_error));
    rpc_client_call_end(call, &status);
}

static bool
call_on_out_end(struct rpc_call *base)
{
    (void)base;
    return false;
}

static void
call_on_drain(struct rpc_call *base)
{
    struct rpc_client_call *call = call_of(base);

    if (call->handler->on_drain)
        call->handler->on_drain(call->arg);
}

static void
call_free(struct rpc_call *base)
{
    struct rpc_client_call *call = call_of(base);

    rpc_fds_close(base->fds_out, &base->nfds_out);
    rpc_fds_close(base->fds_in, &base->nfds_in);
    rpc_frame_done(&base->in);
    vmt_buf_done(&base->out);
    rpc_arena_done(&call->arena);
    rpc_metadata_done(&call->block);
    free(call);
}

const struct rpc_call_ops rpc_client_call_ops = {
    .on_header = call_on_header,
    .on_headers_end = call_on_headers_end,
    .on_message = call_on_message,
    .on_frame_error = call_on_frame_error,
    .on_end = call_on_end,
    .on_out_end = call_on_out_end,
    .on_drain = call_on_drain,
    .on_close = call_on_close,
    .free = call_free,
};
