/* SPDX-License-Identifier: BSD-3-Clause */
/* One stream of a connection: its life, and the messages that it sends. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <protobuf-c/protobuf-c.h>

#include "core/base/cleanup.h"
#include "core/rpc/compress_internal.h"
#include "core/rpc/conn_internal.h"

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
    vmt_list_remove(&call->resumed_node);
    vmt_buf_done(&call->backlog);
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
    if (call->stream_closed)
        return;
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

/* Write len >= 1 bytes of message as gzip behind the prefix at tail. Returns how many it
 * is, 0 if it would not be less. */
static ssize_t
call_write_gzip(const struct ProtobufCMessage *message, size_t len, uint8_t *tail)
{
    VMT_CLEANUP(vmt_freep) uint8_t *plain = malloc(len);
    ssize_t n;

    if (!plain)
        return -ENOMEM;
    (void)protobuf_c_message_pack(message, plain);
    n = rpc_gzip(plain, len, tail + RPC_FRAME_PREFIX, len - 1);
    if (n > 0)
        rpc_frame_prefix(tail, true, (uint32_t)n);
    return n;
}

int
rpc_call_queue(struct rpc_call *call, const struct ProtobufCMessage *message)
{
    size_t len = protobuf_c_message_get_packed_size(message);
    ssize_t packed = 0;
    uint8_t *tail;
    int r;

    if (len > call->conn->send_max)
        return -EMSGSIZE;
    r = vmt_buf_reserve(&call->out, RPC_FRAME_PREFIX + len);
    if (r < 0)
        return r;
    tail = vmt_buf_tail(&call->out);
    if (call->out_encoding == RPC_GZIP && !call->out_plain && len > 0)
        packed = call_write_gzip(message, len, tail);
    if (packed < 0)
        return (int)packed;
    if (packed == 0) {
        rpc_frame_prefix(tail, false, (uint32_t)len);
        (void)protobuf_c_message_pack(message, tail + RPC_FRAME_PREFIX);
        packed = (ssize_t)len;
    }
    vmt_buf_commit(&call->out, RPC_FRAME_PREFIX + (size_t)packed);
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
