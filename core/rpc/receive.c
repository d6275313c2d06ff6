/* SPDX-License-Identifier: BSD-3-Clause */
/* The receiving half of a stream: bytes to messages, and when the peer may send more. */
#include <errno.h>

#include "core/base/cleanup.h"
#include "core/rpc/compress_internal.h"
#include "core/rpc/conn_internal.h"

/* Partial messages that one connection may make us hold before only one call at a time
 * reads on. With the stream windows (64 KiB each) and one more message this bounds what a
 * hostile peer can occupy. */
#define HELD_BUDGET (8u * 1024 * 1024)

/* What may still come on a stream that was answered early. A small request that is on its
 * way fits; a large upload ends soon. */
#define REST_BYTES_MAX 16384u

/* Parsed messages of calls that are not over; one more may come on top of it. A message
 * takes up to some ten times its bytes once parsed, and a call without END_STREAM keeps
 * it for as long as the peer likes. */
#define PARSED_BUDGET (16u * 1024 * 1024)

/* Replies that wait on a server before the client may not send more requests in the same
 * call: who sends without reading is stopped by its own window. A client does not do so:
 * both ends would wait for each other. */
#define QUEUED_HIGH (256u * 1024)

/* Give the window of a call back unless the connection is over its budget. */
static void
call_consume(struct rpc_call *call)
{
    struct rpc_conn *conn = call->conn;
    size_t n = call->unconsumed;

    if (n == 0 || (conn->server && call->out.len > QUEUED_HIGH))
        return;
    if (conn->held > HELD_BUDGET && conn->favourite && conn->favourite != call) {
        if (!call->starved_node.next)
            vmt_list_append(&conn->starved, &call->starved_node);
        return;
    }
    if (conn->held > HELD_BUDGET)
        conn->favourite = call;
    vmt_list_remove(&call->starved_node);
    call->unconsumed = 0;
    if (nghttp2_session_consume_stream(conn->session, call->id, n) != 0)
        rpc_conn_fail(conn, "out of memory");
    conn->wants_flush = true;
}

void
rpc_call_drained(struct rpc_call *call)
{
    if (!call->answered_early)
        call_consume(call);
    if (!call->out_end)
        call->ops->on_drain(call);
}

void
rpc_conn_feed_starved(struct rpc_conn *conn)
{
    while (!vmt_list_empty(&conn->starved) &&
           (conn->held <= HELD_BUDGET || !conn->favourite)) {
        struct rpc_call *call =
            VMT_CONTAINER_OF(conn->starved.next, struct rpc_call, starved_node);

        call_consume(call);
    }
}

struct rpc_status *
rpc_call_frame_status(const struct rpc_call *call, int error, struct rpc_status *status)
{
    bool server = call->conn->server;
    const char *what = server ? "request" : "reply";

    switch (error) {
    case -EMSGSIZE:
        return rpc_status_set(status, RPC_RESOURCE_EXHAUSTED,
                              "the %s is larger than %u bytes", what, call->in.max);
    case -EBADMSG:
        return rpc_status_set(status, RPC_INTERNAL, "malformed message prefix");
    case -EPROTO:
        return rpc_status_set(status, RPC_INTERNAL,
                              "compressed message without a grpc-encoding");
    case -EILSEQ:
        return rpc_status_set(status, RPC_INTERNAL, "the %s is no valid gzip", what);
    case -ENOTSUP:
        /* Source of both codes: grpc doc/compression.md. */
        return rpc_status_set(status, server ? RPC_UNIMPLEMENTED : RPC_INTERNAL,
                              "unknown message encoding; known are " RPC_ENCODINGS);
    default:
        return rpc_status_set(status, RPC_RESOURCE_EXHAUSTED, "out of memory");
    }
}

static void
call_fail_frame(struct rpc_call *call, int error)
{
    call->deaf = true;
    rpc_frame_done(&call->in);
    call->ops->on_frame_error(call, error);
}

static void
call_pass_compressed(struct rpc_call *call, const struct rpc_frame *frame)
{
    VMT_CLEANUP(vmt_freep) uint8_t *data = NULL;
    struct rpc_frame plain = {.compressed = true};
    int r = -EPROTO;

    if (call->in_encoding == RPC_GZIP)
        r = rpc_gunzip(frame->data, frame->len, call->in.max, &data, &plain.len);
    else if (call->in_encoding == RPC_ENCODING_COUNT)
        r = -ENOTSUP;
    plain.data = data;
    if (r < 0)
        call_fail_frame(call, r);
    else
        call->ops->on_message(call, &plain);
}

static void
call_pass(struct rpc_call *call, const struct rpc_frame *frame)
{
    call->in_compressed = frame->compressed;
    if (frame->compressed)
        call_pass_compressed(call, frame);
    else
        call->ops->on_message(call, frame);
}

static void
call_decode(struct rpc_call *call, const uint8_t *data, size_t len)
{
    while (len > 0 && call->id != 0 && !call->deaf) {
        struct rpc_frame frame;
        bool complete;
        ssize_t n = rpc_frame_decode(&call->in, data, len, &frame, &complete);

        if (n < 0) {
            call_fail_frame(call, (int)n);
            return;
        }
        data += n;
        len -= (size_t)n;
        if (complete)
            call_pass(call, &frame);
    }
}

void
rpc_call_receive(struct rpc_call *call, const uint8_t *data, size_t len)
{
    struct rpc_conn *conn = call->conn;

    /* The window of the connection is given back at once: a call that may not read on
     * must not stop the others. */
    if (nghttp2_session_consume_connection(conn->session, len) != 0)
        rpc_conn_fail(conn, "out of memory");
    call_decode(call, data, len);
    if (call->id == 0 || conn->closed)
        return;
    conn->held -= call->held;
    call->held = rpc_frame_held(&call->in);
    conn->held += call->held;
    call->unconsumed += len;
    if (call->answered_early) {
        if (call->unconsumed > REST_BYTES_MAX)
            rpc_call_refuse_rest(call);
        return;
    }
    if (call->held == 0 && conn->favourite == call)
        conn->favourite = NULL;
    call_consume(call);
    rpc_conn_feed_starved(conn);
}

bool
rpc_call_may_parse(const struct rpc_call *call)
{
    return call->conn->parsed <= PARSED_BUDGET;
}

void
rpc_call_hold_parsed(struct rpc_call *call, size_t bytes)
{
    call->parsed += bytes;
    call->conn->parsed += bytes;
}

void
rpc_call_release_parsed(struct rpc_call *call)
{
    if (call->id != 0)
        call->conn->parsed -= call->parsed;
    call->parsed = 0;
}
