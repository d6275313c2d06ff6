/* SPDX-License-Identifier: BSD-3-Clause */
/* nghttp2's callbacks, turned into those of calls. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/adapter/clock.h"
#include "core/rpc/conn_internal.h"

/* Window of a connection: enough for one message of the default limit to be on its way
 * in several streams; memory is bounded by the stream windows and the held budget. */
#define CONN_WINDOW_BYTES (1024 * 1024)

/* Acknowledgements of PING and SETTINGS that may wait; nghttp2 ends the connection above
 * it. An honest peer has one or two. */
#define ACKS_MAX 128

/* Descriptors that came for the calls of one connection which are not over. A call
 * without END_STREAM keeps its own for as long as the peer likes, and there may be
 * hundreds. */
#define FDS_HELD_MAX 32u

/* Above this a header block is not even counted to its end. */
#define HEADER_BYTES_HARD (4 * RPC_HEADER_LIST_MAX)

/* Every callback of a connection that was closed meanwhile makes nghttp2 return. */
#define BAIL_IF_CLOSED(conn)                                                             \
    do {                                                                                 \
        if ((conn)->closed || (conn)->lost)                                              \
            return NGHTTP2_ERR_CALLBACK_FAILURE;                                         \
    } while (0)

static int
session_after(const struct rpc_conn *conn)
{
    return conn->closed || conn->lost ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
}

static struct rpc_call *
session_call(struct rpc_conn *conn, int32_t id)
{
    return nghttp2_session_get_stream_user_data(conn->session, id);
}

/* A client that opens a stream has closed all below it that it left out: to open one of
 * those is an error of the connection, RFC 9113 section 5.1.1. nghttp2 takes it for a
 * late frame of a stream that was there. The last gap is enough to know an honest client
 * from others. */
static bool
session_is_left_out(struct rpc_conn *conn, uint32_t id)
{
    if (id < conn->next_id)
        return id >= conn->gap_from && id < conn->gap_to;
    if (id > conn->next_id) {
        conn->gap_from = conn->next_id;
        conn->gap_to = id;
    }
    conn->next_id = id < INT32_MAX ? id + 2 : id; /* after the last there is none */
    return false;
}

/* Descriptors that no HEADERS claimed belong to a call that is gone. */
static int
session_on_begin_frame(nghttp2_session *session, const nghttp2_frame_hd *hd, void *arg)
{
    struct rpc_conn *conn = arg;

    (void)session;
    BAIL_IF_CLOSED(conn);
    if (hd->type != NGHTTP2_HEADERS || hd->stream_id != conn->in_stream)
        rpc_fds_close(conn->in_fds, &conn->nin_fds);
    conn->fds_payload_len = 0;
    if (conn->server && hd->type == NGHTTP2_HEADERS && hd->stream_id % 2 == 1 &&
        session_is_left_out(conn, (uint32_t)hd->stream_id))
        rpc_conn_goodbye(conn, NGHTTP2_PROTOCOL_ERROR, "stream_id_left_out",
                         "the client opens stream %d late", hd->stream_id);
    return session_after(conn);
}

static void
session_claim_fds(struct rpc_conn *conn, struct rpc_call *call)
{
    if (conn->nin_fds == 0)
        return;
    rpc_fds_close(call->fds_in, &call->nfds_in);
    if (conn->nfds_held + conn->nin_fds > FDS_HELD_MAX) {
        rpc_fds_close(conn->in_fds, &conn->nin_fds);
        return; /* what came does not match the field, so the call fails */
    }
    conn->nfds_held += conn->nin_fds;
    call->nfds_held += conn->nin_fds;
    memcpy(call->fds_in, conn->in_fds, sizeof(call->fds_in));
    call->nfds_in = conn->nin_fds;
    conn->nin_fds = 0;
}

static int
session_on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
    struct rpc_conn *conn = arg;
    struct rpc_call *call;

    BAIL_IF_CLOSED(conn);
    if (frame->hd.type != NGHTTP2_HEADERS)
        return 0;
    if (conn->server && frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
        call = conn->ops->on_request(conn);
        if (!call)
            return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
        rpc_call_attach(call, frame->hd.stream_id);
        (void)nghttp2_session_set_stream_user_data(session, frame->hd.stream_id, call);
    }
    call = session_call(conn, frame->hd.stream_id);
    if (!call)
        return 0;
    call->header_bytes = 0;
    session_claim_fds(conn, call);
    return 0;
}

static int
session_on_header(nghttp2_session *session, const nghttp2_frame *frame,
                  const uint8_t *name, size_t name_len, const uint8_t *value,
                  size_t value_len, uint8_t flags, void *arg)
{
    const struct rpc_header header = {name, value, name_len, value_len};
    struct rpc_conn *conn = arg;
    struct rpc_call *call;

    (void)session, (void)flags;
    BAIL_IF_CLOSED(conn);
    call = session_call(conn, frame->hd.stream_id);
    if (!call)
        return 0;
    /* RFC 9113 section 6.5.2: the size of a field is that of name and value and 32. */
    call->header_bytes += name_len + value_len + 32;
    if (call->header_bytes > HEADER_BYTES_HARD)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    if (call->header_bytes <= RPC_HEADER_LIST_MAX)
        call->ops->on_header(call, &header);
    return session_after(conn);
}

/* A peer can make us reset its streams: CVE-2025-8671. Refusals are not faults, they cost
 * nothing. */
static bool
session_is_fault(uint32_t h2_error)
{
    return h2_error == NGHTTP2_PROTOCOL_ERROR || h2_error == NGHTTP2_INTERNAL_ERROR ||
           h2_error == NGHTTP2_FLOW_CONTROL_ERROR || h2_error == NGHTTP2_STREAM_CLOSED ||
           h2_error == NGHTTP2_FRAME_SIZE_ERROR;
}

/* The descriptors that the frame announces are waiting in the stream, see rpc.h. */
static void
session_take_fds(struct rpc_conn *conn, int32_t id)
{
    size_t n = conn->fds_payload[0];

    if (conn->fds_payload_len != 1 || n == 0 || n > RPC_FDS_MAX || !conn->can_fds) {
        rpc_conn_fail(conn, "malformed announcement of descriptors");
        return;
    }
    conn->nin_fds = conn->stream->ops->take_fds(conn->stream, conn->in_fds, n);
    conn->in_stream = id;
    if (conn->nin_fds != n)
        rpc_conn_fail(conn, "%zu descriptors announced, %zu came", n, conn->nin_fds);
}

static void
session_on_end_stream(struct rpc_conn *conn, int32_t id)
{
    struct rpc_call *call = conn->closed ? NULL : session_call(conn, id);

    if (call)
        rpc_call_receive_end(call);
}

static void
session_on_headers(struct rpc_conn *conn, const nghttp2_frame *frame, bool end)
{
    struct rpc_call *call = session_call(conn, frame->hd.stream_id);

    if (call)
        call->ops->on_headers_end(call, frame->headers.cat == NGHTTP2_HCAT_HEADERS, end);
    if (end)
        session_on_end_stream(conn, frame->hd.stream_id);
}

static void
session_on_ping(struct rpc_conn *conn, const nghttp2_frame *frame)
{
    if (!(frame->hd.flags & NGHTTP2_FLAG_ACK))
        rpc_keepalive_pinged(conn);
    else if (conn->server)
        conn->ops->on_pong(conn, frame->ping.opaque_data);
}

static int
session_on_frame_recv(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
    struct rpc_conn *conn = arg;
    bool end = frame->hd.flags & NGHTTP2_FLAG_END_STREAM;

    (void)session;
    BAIL_IF_CLOSED(conn);
    switch (frame->hd.type) {
    case NGHTTP2_HEADERS:
        session_on_headers(conn, frame, end);
        break;
    case NGHTTP2_DATA:
        if (end)
            session_on_end_stream(conn, frame->hd.stream_id);
        break;
    case NGHTTP2_PING:
        session_on_ping(conn, frame);
        break;
    case NGHTTP2_SETTINGS:
        rpc_life_clear(conn, RPC_DUE_SETUP); /* an acknowledgement cannot come first */
        if (!conn->server && !(frame->hd.flags & NGHTTP2_FLAG_ACK))
            conn->ops->on_settings(conn);
        break;
    case NGHTTP2_GOAWAY:
        conn->ops->on_goaway(conn, &frame->goaway);
        break;
    case RPC_FRAME_TYPE_FDS:
        session_take_fds(conn, frame->hd.stream_id);
        break;
    default:
        break;
    }
    return session_after(conn);
}

static int
session_on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data,
                size_t len, void *arg)
{
    struct rpc_conn *conn = arg;
    struct rpc_call *call;

    (void)flags;
    BAIL_IF_CLOSED(conn);
    call = session_call(conn, id);
    if (call)
        rpc_call_receive(call, data, len);
    else
        (void)nghttp2_session_consume(session, id, len);
    return session_after(conn);
}

/* Never fails: a session that sends would lose the frame in its hands. The next callback
 * stops it. */
static int
session_on_stream_close(nghttp2_session *session, int32_t id, uint32_t error, void *arg)
{
    struct rpc_conn *conn = arg;
    struct rpc_call *call;

    (void)session;
    call = conn->closed ? NULL : session_call(conn, id);
    if (!call)
        return 0;
    if (call->end_pending && !conn->server) {
        call->stream_closed = true; /* the answer is complete and not handed out yet */
        return 0;
    }
    call->unsent = id > conn->sent_stream;
    rpc_call_detach(call);
    call->ops->on_close(call, error);
    return 0;
}

static int
session_on_fds_chunk(nghttp2_session *session, const nghttp2_frame_hd *hd,
                     const uint8_t *data, size_t len, void *arg)
{
    struct rpc_conn *conn = arg;

    (void)session, (void)hd;
    BAIL_IF_CLOSED(conn);
    for (size_t i = 0; i < len && conn->fds_payload_len < sizeof(conn->fds_payload); i++)
        conn->fds_payload[conn->fds_payload_len++] = data[i];
    return 0;
}

static int
session_unpack_fds(nghttp2_session *session, void **payload, const nghttp2_frame_hd *hd,
                   void *arg)
{
    (void)session, (void)hd, (void)arg;
    *payload = NULL;
    return 0;
}

/* Announce the descriptors of a call right before its HEADERS, in a send of their own so
 * that they travel with the first byte of the announcement. */
static int
session_emit_fds(struct rpc_conn *conn, struct rpc_call *call)
{
    uint8_t frame[10] = {0, 0, 1, RPC_FRAME_TYPE_FDS, 0};
    uint32_t id = (uint32_t)call->id;

    rpc_conn_send(conn);
    frame[5] = (uint8_t)(id >> 24);
    frame[6] = (uint8_t)(id >> 16);
    frame[7] = (uint8_t)(id >> 8);
    frame[8] = (uint8_t)id;
    frame[9] = (uint8_t)call->nfds_out;
    if (vmt_buf_append(&conn->out, frame, sizeof(frame)) < 0)
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    memcpy(conn->out_fds, call->fds_out, sizeof(conn->out_fds));
    conn->nout_fds = call->nfds_out;
    call->nfds_out = 0;
    return 0;
}

static int
session_before_send(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
    struct rpc_conn *conn = arg;
    struct rpc_call *call;

    (void)session;
    BAIL_IF_CLOSED(conn);
    if (frame->hd.type != NGHTTP2_HEADERS)
        return 0;
    call = session_call(conn, frame->hd.stream_id);
    return call && call->nfds_out > 0 ? session_emit_fds(conn, call) : 0;
}

/* A server that has answered does not want the rest of the request. But a reset at once
 * lets clients that are still sending (curl is one) take it for a failure. */
static int
session_on_sent(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
    struct rpc_conn *conn = arg;
    struct rpc_call *call;

    BAIL_IF_CLOSED(conn);
    if (frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA) {
        rpc_keepalive_forgive(&conn->keepalive);
        conn->watch.useful++;
        if (frame->hd.stream_id > conn->sent_stream)
            conn->sent_stream = frame->hd.stream_id;
    }
    if (conn->server && frame->hd.type == NGHTTP2_GOAWAY)
        conn->ops->on_goaway_sent(conn);
    if (conn->server && frame->hd.type == NGHTTP2_RST_STREAM &&
        session_is_fault(frame->rst_stream.error_code))
        rpc_watch_charge(conn, RPC_WATCH_FAULT);
    if (!conn->server ||
        (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA) ||
        !(frame->hd.flags & NGHTTP2_FLAG_END_STREAM) ||
        nghttp2_session_get_stream_remote_close(session, frame->hd.stream_id) != 0)
        return 0;
    call = session_call(conn, frame->hd.stream_id);
    if (call) {
        call->answered_early = true;
        call->ops->on_answered_early(call);
    }
    return 0;
}

static int
session_send_data(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *head,
                  size_t len, nghttp2_data_source *source, void *arg)
{
    struct rpc_conn *conn = arg;
    struct rpc_call *call;

    (void)session, (void)source;
    BAIL_IF_CLOSED(conn);
    if (conn->out.len >= RPC_GATHER_BYTES)
        return NGHTTP2_ERR_WOULDBLOCK;
    call = session_call(conn, frame->hd.stream_id);
    if (!call || call->out.len < len)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    if (vmt_buf_reserve(&conn->out, 9 + len) < 0)
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    (void)vmt_buf_append(&conn->out, head, 9);
    (void)vmt_buf_append(&conn->out, call->out.data, len);
    vmt_buf_consume(&call->out, len);
    if (len > 0 && call->out.len == 0)
        rpc_call_drained(call);
    return session_after(conn);
}

static void
session_callbacks_set(nghttp2_session_callbacks *cbs)
{
    nghttp2_session_callbacks_set_on_begin_frame_callback(cbs, session_on_begin_frame);
    nghttp2_session_callbacks_set_on_begin_headers_callback(cbs,
                                                            session_on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(cbs, session_on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(cbs, session_on_frame_recv);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cbs, session_on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(cbs, session_on_stream_close);
    nghttp2_session_callbacks_set_on_extension_chunk_recv_callback(cbs,
                                                                   session_on_fds_chunk);
    nghttp2_session_callbacks_set_unpack_extension_callback(cbs, session_unpack_fds);
    nghttp2_session_callbacks_set_before_frame_send_callback(cbs, session_before_send);
    nghttp2_session_callbacks_set_on_frame_send_callback(cbs, session_on_sent);
    nghttp2_session_callbacks_set_send_data_callback(cbs, session_send_data);
}

static int
session_submit_settings(nghttp2_session *session, const struct rpc_conn_config *config)
{
    const nghttp2_settings_entry entries[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, config->streams_max},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, RPC_HEADER_LIST_MAX},
        {NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
    };
    size_t n = config->server ? 2 : 3; /* only a client may speak of push */

    if (nghttp2_submit_settings(session, NGHTTP2_FLAG_NONE, entries, n) != 0 ||
        nghttp2_session_set_local_window_size(session, NGHTTP2_FLAG_NONE, 0,
                                              CONN_WINDOW_BYTES) != 0)
        return -ENOMEM;
    return 0;
}

/* nghttp2 calls its allocator by pointers anyway; with ours a test can let it fail, which
 * it cannot inside a shared library. */
static void *
session_malloc(size_t size, void *arg)
{
    (void)arg;
    return malloc(size);
}

static void
session_free(void *p, void *arg)
{
    (void)arg;
    free(p);
}

static void *
session_calloc(size_t n, size_t size, void *arg)
{
    (void)arg;
    return calloc(n, size);
}

static void *
session_realloc(void *p, size_t size, void *arg)
{
    (void)arg;
    return realloc(p, size);
}

static nghttp2_mem session_mem = {NULL, session_malloc, session_free, session_calloc,
                                  session_realloc};

static int
session_create(struct rpc_conn *conn, const nghttp2_session_callbacks *cbs,
               nghttp2_session **ret_session)
{
    nghttp2_option *options;
    int r;

    if (nghttp2_option_new(&options) != 0)
        return -ENOMEM;
    nghttp2_option_set_no_auto_window_update(options, 1);
    nghttp2_option_set_no_closed_streams(options, 1);
    nghttp2_option_set_max_outbound_ack(options, ACKS_MAX);
    nghttp2_option_set_user_recv_extension_type(options, RPC_FRAME_TYPE_FDS);
    rpc_session_leave_resets(options);
    r = conn->server
            ? nghttp2_session_server_new3(ret_session, cbs, conn, options, &session_mem)
            : nghttp2_session_client_new3(ret_session, cbs, conn, options, &session_mem);
    nghttp2_option_del(options);
    return r == 0 ? 0 : -ENOMEM;
}

int
rpc_session_new(struct rpc_conn *conn, const struct rpc_conn_config *config,
                nghttp2_session **ret_session)
{
    nghttp2_session_callbacks *cbs;
    nghttp2_session *session;
    int r;

    if (nghttp2_session_callbacks_new(&cbs) != 0)
        return -ENOMEM;
    session_callbacks_set(cbs);
    r = session_create(conn, cbs, &session);
    nghttp2_session_callbacks_del(cbs);
    if (r < 0)
        return r;
    r = session_submit_settings(session, config);
    if (r < 0)
        nghttp2_session_del(session);
    else
        *ret_session = session;
    return r;
}
