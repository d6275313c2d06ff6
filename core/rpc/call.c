/* SPDX-License-Identifier: BSD-3-Clause */
/* One stream of a connection: messages in both directions and their flow control. */
#include <errno.h>
#include <string.h>

#include <protobuf-c/protobuf-c.h>

#include "core/base/cleanup.h"
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

void
rpc_call_init(struct rpc_call *call, const struct rpc_call_ops *ops,
              struct rpc_conn *conn)
{
    call->ops = ops;
    call->conn = conn;
    call->in.max = conn->message_max;
}

void
rpc_call_attach(struct rpc_call *call, int32_t id)
{
    call->id = id;
    vmt_list_append(&call->conn->calls, &call->node);
    call->conn->ncalls++;
}

void
rpc_call_detach(struct rpc_call *call)
{
    struct rpc_conn *conn = call->conn;

    if (call->id == 0)
        return;
    (void)nghttp2_session_set_stream_user_data(conn->session, call->id, NULL);
    vmt_list_remove(&call->node);
    vmt_list_remove(&call->starved_node);
    conn->ncalls--;
    conn->held -= call->held;
    conn->parsed -= call->parsed;
    conn->nfds_held -= call->nfds_held;
    call->held = call->parsed = call->nfds_held = 0;
    call->id = 0;
    if (conn->favourite == call)
        conn->favourite = NULL;
    rpc_conn_feed_starved(conn);
}

void
rpc_call_release(struct rpc_call *call, struct rpc_conn *conn)
{
    vmt_list_remove(&call->node);
    if (conn && conn->busy > 0)
        vmt_list_append(&conn->graveyard, &call->node);
    else
        call->ops->free(call);
}

void
rpc_call_reset(struct rpc_call *call, uint32_t h2_error)
{
    struct rpc_conn *conn = call->conn;
    int32_t id = call->id;

    if (id == 0)
        return;
    rpc_call_detach(call);
    if (nghttp2_submit_rst_stream(conn->session, NGHTTP2_FLAG_NONE, id, h2_error) != 0)
        rpc_conn_fail(conn, "out of memory");
    rpc_conn_kick(conn);
}

void
rpc_call_refuse_rest(struct rpc_call *call)
{
    /* RFC 9113 section 8.1: NO_ERROR says that the answer stands. */
    if (nghttp2_submit_rst_stream(call->conn->session, NGHTTP2_FLAG_NONE, call->id,
                                  NGHTTP2_NO_ERROR) != 0)
        rpc_conn_fail(call->conn, "out of memory");
    rpc_conn_kick(call->conn);
}

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

static void
call_decode(struct rpc_call *call, const uint8_t *data, size_t len)
{
    while (len > 0 && call->id != 0 && !call->deaf) {
        struct rpc_frame frame;
        bool complete;
        ssize_t n = rpc_frame_decode(&call->in, data, len, &frame, &complete);

        if (n < 0) {
            call->deaf = true;
            rpc_frame_done(&call->in);
            call->ops->on_frame_error(call, (int)n);
            return;
        }
        data += n;
        len -= (size_t)n;
        if (complete)
            call->ops->on_message(call, &frame);
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

int
rpc_call_queue(struct rpc_call *call, const struct ProtobufCMessage *message)
{
    size_t len = protobuf_c_message_get_packed_size(message);
    uint8_t *tail;
    int r;

    if (len > UINT32_MAX)
        return -EMSGSIZE;
    r = vmt_buf_reserve(&call->out, RPC_FRAME_PREFIX + len);
    if (r < 0)
        return r;
    tail = vmt_buf_tail(&call->out);
    rpc_frame_prefix(tail, (uint32_t)len);
    (void)protobuf_c_message_pack(message, tail + RPC_FRAME_PREFIX);
    vmt_buf_commit(&call->out, RPC_FRAME_PREFIX + len);
    return 0;
}

void
rpc_call_resume(struct rpc_call *call)
{
    if (call->id == 0)
        return;
    if (call->deferred) {
        call->deferred = false;
        if (nghttp2_session_resume_data(call->conn->session, call->id) ==
            NGHTTP2_ERR_NOMEM)
            rpc_conn_fail(call->conn, "out of memory");
    }
    rpc_conn_kick(call->conn);
}

int
rpc_call_set_fds(struct rpc_call *call, const int *fds, size_t nfds)
{
    if (nfds == 0)
        return 0;
    if (!call->conn->can_fds)
        return -ENOTSUP;
    if (nfds > RPC_FDS_MAX || call->nfds_out > 0)
        return -EINVAL;
    for (size_t i = 0; i < nfds; i++) {
        int fd = vmt_dup_fd(fds[i]);

        if (fd < 0) {
            rpc_fds_close(call->fds_out, &call->nfds_out);
            return fd;
        }
        call->fds_out[call->nfds_out++] = fd;
    }
    return 0;
}

/* How much data goes into the next frame. The call comes from the session, not from
 * source: a call that was cancelled meanwhile is not there any more. */
static ssize_t
call_read(nghttp2_session *session, int32_t id, uint8_t *buf, size_t length,
          uint32_t *flags, nghttp2_data_source *source, void *user_data)
{
    struct rpc_call *call = nghttp2_session_get_stream_user_data(session, id);
    size_t n;

    (void)buf, (void)source, (void)user_data;
    if (!call)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    n = call->out.len < length ? call->out.len : length;
    if (n == 0 && !call->out_end) {
        call->deferred = true;
        return NGHTTP2_ERR_DEFERRED;
    }
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    if (n == call->out.len && call->out_end) {
        *flags |= NGHTTP2_DATA_FLAG_EOF;
        if (call->ops->on_out_end(call))
            *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
    }
    return (ssize_t)n;
}

nghttp2_data_provider
rpc_call_provider(void)
{
    return (nghttp2_data_provider){.read_callback = call_read};
}

size_t
rpc_call_metadata_nv(nghttp2_nv *nv, const struct rpc_metadata *metadata)
{
    const struct rpc_metadata_entry *e = metadata ? metadata->first : NULL;
    size_t n = 0;

    for (; e; e = e->next)
        nv[n++] =
            (nghttp2_nv){(uint8_t *)(uintptr_t)e->key, (uint8_t *)(uintptr_t)e->wire,
                         strlen(e->key), e->wire_len, NGHTTP2_NV_FLAG_NONE};
    return n;
}

bool
rpc_header_is(const struct rpc_header *header, const char *name, size_t len)
{
    return header->name_len == len && memcmp(header->name, name, len) == 0;
}
