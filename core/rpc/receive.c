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

/* Bytes that decompression makes for one connection before others get their turn. 64 KiB
 * that came at once could make a thousand times as much. */
#define INFLATE_TURN (1024u * 1024)

/* Is there something that must be passed on before what comes now? */
static bool
call_lags(const struct rpc_call *call)
{
    return call->paused || call->backlog.len > 0;
}

/* Give the window of a call back unless the connection is over its budget. */
static void
call_consume(struct rpc_call *call)
{
    struct rpc_conn *conn = call->conn;
    size_t n = call->unconsumed;

    /* Such a call comes back by itself: who waits for the budget must be able to use it,
     * or feeding would never end. */
    if (n == 0 || call_lags(call) || (conn->server && call->out.len > QUEUED_HIGH)) {
        vmt_list_remove(&call->starved_node);
        return;
    }
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

void
rpc_call_deafen(struct rpc_call *call)
{
    call->deaf = true;
    call->paused = false;
    vmt_list_remove(&call->resumed_node);
    vmt_buf_done(&call->backlog);
}

static void
call_fail_frame(struct rpc_call *call, int error)
{
    rpc_call_deafen(call);
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
    /* What fails was as much work. */
    call->conn->inflated += plain.len;
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

/* Keep bytes until the call goes on. */
static void
call_put_off(struct rpc_call *call, const uint8_t *data, size_t len)
{
    if (vmt_buf_append(&call->backlog, data, len) < 0)
        call_fail_frame(call, -ENOMEM);
}

/* Must the rest wait for the next turn of the loop? Not when there will be none. */
static bool
conn_had_its_turn(const struct rpc_conn *conn)
{
    return conn->inflated > INFLATE_TURN && !conn->lost;
}

static void
call_decode(struct rpc_call *call, const uint8_t *data, size_t len)
{
    struct rpc_conn *conn = call->conn;

    while (len > 0 && call->id != 0 && !call->deaf && !call->paused &&
           !conn_had_its_turn(conn)) {
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
    if (len == 0 || call->id == 0 || call->deaf)
        return;
    if (!call->paused)
        vmt_list_append(&conn->resumed, &call->resumed_node);
    call_put_off(call, data, len);
}

/* Count anew what the call holds, and let it and others read on. */
static void
call_account(struct rpc_call *call)
{
    struct rpc_conn *conn = call->conn;

    conn->held -= call->held;
    call->held = rpc_frame_held(&call->in);
    conn->held += call->held;
    if (call->held == 0 && conn->favourite == call)
        conn->favourite = NULL;
    if (!call->answered_early)
        call_consume(call);
    rpc_conn_feed_starved(conn);
}

void
rpc_call_receive(struct rpc_call *call, const uint8_t *data, size_t len)
{
    struct rpc_conn *conn = call->conn;

    /* The window of the connection is given back at once: a call that may not read on
     * must not stop the others. */
    if (nghttp2_session_consume_connection(conn->session, len) != 0)
        rpc_conn_fail(conn, "out of memory");
    if (call->deaf || !call_lags(call))
        call_decode(call, data, len);
    else
        call_put_off(call, data, len);
    if (call->id == 0 || conn->closed)
        return;
    call->unconsumed += len;
    if (call->answered_early && call->unconsumed > REST_BYTES_MAX)
        rpc_call_refuse_rest(call);
    call_account(call);
}

void
rpc_call_receive_end(struct rpc_call *call)
{
    if (call_lags(call))
        call->end_pending = true;
    else
        call->ops->on_end(call);
}

void
rpc_call_pause(struct rpc_call *call, bool paused)
{
    struct rpc_conn *conn = call->conn;

    if (call->id == 0 || call->deaf || conn->lost || call->paused == paused)
        return;
    call->paused = paused;
    vmt_list_remove(&call->resumed_node);
    if (!paused) {
        vmt_list_append(&conn->resumed, &call->resumed_node);
        rpc_conn_kick(conn);
        return;
    }
    vmt_list_remove(&call->starved_node);
    if (conn->favourite == call)
        conn->favourite = NULL;
    rpc_conn_feed_starved(conn);
    rpc_conn_kick(conn);
}

void
rpc_call_go_on(struct rpc_call *call)
{
    VMT_CLEANUP(vmt_buf_done) struct vmt_buf backlog = call->backlog;
    struct rpc_conn *conn = call->conn;

    vmt_list_remove(&call->resumed_node);
    call->backlog = (struct vmt_buf){0};
    call->paused = false;
    call_decode(call, backlog.data, backlog.len);
    if (call->id == 0 || conn->closed)
        return;
    call_account(call);
    if (call->end_pending && !call_lags(call)) {
        call->end_pending = false;
        call->ops->on_end(call);
    }
}

bool
rpc_conn_can_go_on(const struct rpc_conn *conn)
{
    return !vmt_list_empty(&conn->resumed) && !conn->lost && !conn->closed &&
           !conn_had_its_turn(conn);
}

void
rpc_conn_go_on(struct rpc_conn *conn)
{
    while (rpc_conn_can_go_on(conn))
        rpc_call_go_on(
            VMT_CONTAINER_OF(conn->resumed.next, struct rpc_call, resumed_node));
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
