/* SPDX-License-Identifier: BSD-3-Clause */
/* The side of a connection that faces the stream: bytes in, bytes out, life and death. */
#include "core/rpc/conn_internal.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/adapter/clock.h"
#include "core/base/err.h"
#include "core/rpc/rpc.h"

/* An idle connection keeps no larger buffer than this. */
#define OUT_KEEP_BYTES (32u * 1024)

/* Frames that may wait while the peer does not read. What calls need is counted beside
 * it; acknowledgements and resets beyond it mean a flood. */
#define OUT_FRAMES_MAX 4096u

/* gRPC servers give a client 120 s to set up and clients a server 20 s: over local
 * sockets 20 s are plenty for both. */
#define SETUP_DEFAULT_MS 20000u

void
rpc_fds_close(int *fds, size_t *nfds)
{
    for (size_t i = 0; i < *nfds; i++)
        vmt_closep(&fds[i]);
    *nfds = 0;
}

static void __attribute__((format(printf, 2, 0)))
conn_vfail(struct rpc_conn *conn, const char *fmt, va_list args)
{
    if (conn->lost)
        return;
    conn->lost = true;
    (void)vsnprintf(conn->reason, sizeof(conn->reason), fmt, args);
    rpc_conn_kick(conn);
}

void
rpc_conn_fail(struct rpc_conn *conn, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    conn_vfail(conn, fmt, args);
    va_end(args);
}

/* Written past the session, whose queue may be full of answers to the very frames that
 * brought us here. conn->out ends with a whole frame, and GOAWAY belongs to no stream.
 * Source: RFC 9113 section 6.8. */
static bool
conn_put_goaway(struct rpc_conn *conn, uint32_t h2_error, const char *word)
{
    const uint32_t fields[2] = {
        (uint32_t)nghttp2_session_get_last_proc_stream_id(conn->session), h2_error};
    uint8_t frame[17] = {0, 0, (uint8_t)(8 + strlen(word)), NGHTTP2_GOAWAY};

    for (size_t i = 0; i < 8; i++)
        frame[9 + i] = (uint8_t)(fields[i / 4] >> (24 - 8 * (i % 4)));
    return vmt_buf_append(&conn->out, frame, sizeof(frame)) == 0 &&
           vmt_buf_append(&conn->out, word, strlen(word)) == 0;
}

void
rpc_conn_goodbye(struct rpc_conn *conn, uint32_t h2_error, const char *word,
                 const char *fmt, ...)
{
    va_list args;

    if (conn->lost || conn->closed)
        return;
    /* One that does not read would not read this either. */
    if (conn->stream->ops->queued(conn->stream) <= VMT_STREAM_HIGH_MARK &&
        conn_put_goaway(conn, h2_error, word)) {
        rpc_conn_send(conn);
        conn->lingering = !conn->lost;
    }
    va_start(args, fmt);
    conn_vfail(conn, fmt, args);
    va_end(args);
}

void
rpc_conn_send(struct rpc_conn *conn)
{
    int r;

    if (conn->out.len == 0 || conn->lost || conn->closed)
        return;
    r = conn->stream->ops->send(conn->stream, conn->out.data, conn->out.len,
                                conn->out_fds, conn->nout_fds);
    rpc_fds_close(conn->out_fds, &conn->nout_fds);
    vmt_buf_consume(&conn->out, conn->out.len);
    if (r < 0)
        rpc_conn_fail(conn, "connection broken: %s", strerror(-r));
}

/* Fill conn->out from the session. */
static void
conn_gather(struct rpc_conn *conn)
{
    while (conn->out.len < RPC_GATHER_BYTES) {
        const uint8_t *data;
        ssize_t n = nghttp2_session_mem_send(conn->session, &data);

        if (conn->closed || conn->lost || n == 0)
            return;
        if (n < 0) {
            rpc_conn_fail(conn, "HTTP/2 failure: %s", nghttp2_strerror((int)n));
            return;
        }
        if (vmt_buf_append(&conn->out, data, (size_t)n) < 0) {
            rpc_conn_fail(conn, "out of memory");
            return;
        }
    }
}

static void
conn_flush(struct rpc_conn *conn)
{
    conn->wants_flush = false;
    while (!conn->lost && !conn->closed) {
        /* on_drain goes on from here. */
        if (conn->stream->ops->queued(conn->stream) > VMT_STREAM_HIGH_MARK)
            return;
        conn_gather(conn);
        if (conn->out.len == 0)
            break;
        rpc_conn_send(conn);
    }
    if (conn->out.len == 0 && conn->out.cap > OUT_KEEP_BYTES)
        vmt_buf_done(&conn->out);
}

/* The owner may keep a lost connection for as long as it likes; what its peer goes on to
 * send must not cost anything. */
static void
conn_drop_stream(struct rpc_conn *conn)
{
    stream_close(conn->stream);
    conn->stream = NULL;
}

void
rpc_conn_gone(struct rpc_conn *conn)
{
    conn->lingering = false;
    rpc_life_stop(conn);
    conn_drop_stream(conn);
    if (!conn->closed)
        conn->ops->on_gone(conn);
}

static void
conn_tell_lost(struct rpc_conn *conn)
{
    conn->told_lost = true;
    rpc_life_stop(conn);
    conn->ops->on_lost(conn, conn->reason);
    if (conn->closed)
        return;
    if (conn->lingering)
        rpc_life_linger(conn);
    else
        conn_drop_stream(conn);
}

static void
conn_settle(struct rpc_conn *conn)
{
    while ((conn->wants_flush || rpc_conn_can_go_on(conn)) && !conn->lost &&
           !conn->closed) {
        rpc_conn_go_on(conn);
        conn_flush(conn);
    }
    if (!conn->lost && !conn->closed && !nghttp2_session_want_read(conn->session) &&
        !nghttp2_session_want_write(conn->session)) {
        rpc_conn_fail(conn, "connection ended by GOAWAY");
        conn->lingering = true;
    }
    if (conn->lost && !conn->told_lost && !conn->closed)
        conn_tell_lost(conn);
}

static void
conn_bury(struct rpc_conn *conn)
{
    VMT_LIST_FOREACH(node, next, &conn->graveyard)
    {
        struct rpc_call *call = VMT_CONTAINER_OF(node, struct rpc_call, node);

        vmt_list_remove(node);
        call->ops->free(call);
    }
}

static void
conn_destroy(struct rpc_conn *conn)
{
    conn_bury(conn);
    nghttp2_session_del(conn->session);
    rpc_fds_close(conn->out_fds, &conn->nout_fds);
    rpc_fds_close(conn->in_fds, &conn->nin_fds);
    vmt_buf_done(&conn->out);
    conn->ops->free(conn);
}

void
rpc_conn_enter(struct rpc_conn *conn)
{
    if (conn->busy++ == 0)
        conn->inflated = 0;
}

void
rpc_conn_leave(struct rpc_conn *conn)
{
    assert(conn->busy > 0);
    if (conn->busy == 1)
        conn_settle(conn);
    if (--conn->busy > 0)
        return;
    if (conn->closed) {
        conn_destroy(conn);
        return;
    }
    conn_bury(conn);
    if (!vmt_list_empty(&conn->resumed) && !conn->lost)
        rpc_conn_kick(conn);
}

static void
conn_on_flush_timer(void *arg)
{
    struct rpc_conn *conn = arg;

    conn->flush_timer = NULL;
    rpc_conn_enter(conn);
    rpc_conn_leave(conn);
}

void
rpc_conn_kick(struct rpc_conn *conn)
{
    conn->wants_flush = true;
    if (conn->busy > 0 || conn->flush_timer || !conn->stream || conn->told_lost)
        return;
    if (conn->clock->ops->timer_start(conn->clock, 0, conn_on_flush_timer, conn,
                                      &conn->flush_timer) == 0)
        return;
    /* Without any timer the peer must help: its end or its next bytes come back to us. */
    if (!rpc_life_turn(conn))
        conn->stream->ops->shutdown_send(conn->stream);
}

/* Hand what came to the watch, which keeps some bytes already, and those to the session
 * once they are for it. Returns what nghttp2 said. */
static ssize_t
conn_feed_kept(struct rpc_conn *conn, const uint8_t **data, size_t *len)
{
    size_t give;
    size_t n = rpc_watch_feed_kept(conn, *data, *len, &give);

    *data += n;
    *len -= n;
    if (give == 0 || conn->lost)
        return 0;
    return nghttp2_session_mem_recv(conn->session, conn->watch.kept, give);
}

/* Returns what nghttp2 said last. */
static ssize_t
conn_feed(struct rpc_conn *conn, const uint8_t *data, size_t len)
{
    ssize_t r = 0;

    while (len > 0 && r >= 0 && !conn->lost && !conn->closed) {
        size_t n, drop;

        if (conn->watch.kept_len > 0) {
            r = conn_feed_kept(conn, &data, &len);
            continue;
        }
        n = rpc_watch_feed(conn, data, len, &drop);
        if (n > 0 && !conn->lost)
            r = nghttp2_session_mem_recv(conn->session, data, n);
        data += n + drop;
        len -= n + drop;
    }
    return r;
}

static void
conn_read(struct rpc_conn *conn, const uint8_t *data, size_t len)
{
    ssize_t n;

    rpc_keepalive_heard(conn);
    n = conn_feed(conn, data, len);
    if (n == NGHTTP2_ERR_FLOODED && !conn->closed)
        rpc_conn_goodbye(conn, NGHTTP2_ENHANCE_YOUR_CALM, "flood",
                         "the peer sends too many frames that want an answer");
    if (n < 0 && !conn->closed)
        rpc_conn_fail(conn, "HTTP/2 failure: %s", nghttp2_strerror((int)n));
    conn->wants_flush = true;
    if (!conn->closed && nghttp2_session_get_outbound_queue_size(conn->session) >
                             OUT_FRAMES_MAX + 4 * conn->ncalls)
        rpc_conn_goodbye(conn, NGHTTP2_ENHANCE_YOUR_CALM, "answers_not_read",
                         "the peer sends requests and does not read answers");
}

static void
conn_on_data(void *arg, const uint8_t *data, size_t len)
{
    struct rpc_conn *conn = arg;

    if (conn->told_lost)
        return;
    rpc_conn_enter(conn);
    if (!conn->lost)
        conn_read(conn, data, len);
    rpc_conn_leave(conn);
}

static void
conn_on_drain(void *arg)
{
    struct rpc_conn *conn = arg;

    rpc_conn_enter(conn);
    conn->wants_flush = true;
    rpc_conn_leave(conn);
}

static void
conn_on_end(void *arg, int status)
{
    struct rpc_conn *conn = arg;

    rpc_conn_enter(conn);
    if (conn->lingering && conn->told_lost)
        rpc_conn_gone(conn);
    else if (status < 0)
        rpc_conn_fail(conn, "connection broken: %s", strerror(-status));
    else
        rpc_conn_fail(conn, "connection closed by the peer");
    rpc_conn_leave(conn);
}

static const struct stream_handler conn_stream_handler = {
    .on_data = conn_on_data,
    .on_drain = conn_on_drain,
    .on_end = conn_on_end,
};

int
rpc_conn_init(struct rpc_conn *conn, const struct rpc_conn_config *config,
              struct stream *stream, struct vmt_err *err)
{
    struct stream_peer peer = {0};

    vmt_list_init(&conn->calls);
    vmt_list_init(&conn->starved);
    vmt_list_init(&conn->resumed);
    vmt_list_init(&conn->graveyard);
    conn->ops = config->ops;
    conn->clock = config->clock;
    conn->server = config->server;
    conn->next_id = 1;
    conn->message_max = config->message_max;
    conn->send_max = config->send_max ? config->send_max : UINT32_MAX;
    if (rpc_session_new(conn, config, &conn->session) < 0)
        return vmt_err_set(err, ENOMEM, "start HTTP/2");
    stream->ops->peer(stream, &peer);
    conn->can_fds = peer.kind == STREAM_PEER_UNIX;
    conn->secure = peer.kind == STREAM_PEER_TLS;
    conn->stream = stream;
    stream->ops->set_handler(stream, &conn_stream_handler, conn);
    rpc_watch_init(conn);
    rpc_life_begin(conn);
    conn->setup_ms = config->setup_ms ? config->setup_ms : SETUP_DEFAULT_MS;
    if (conn->setup_ms != RPC_NEVER_MS)
        rpc_life_set(conn, RPC_DUE_SETUP, conn->setup_ms);
    rpc_keepalive_start(conn, &config->keepalive);
    rpc_conn_kick(conn);
    return 0;
}

void
rpc_conn_close(struct rpc_conn *conn)
{
    if (conn->closed)
        return;
    conn->closed = true;
    conn->clock->ops->timer_cancel(conn->clock, conn->flush_timer);
    conn->flush_timer = NULL;
    rpc_life_stop(conn);
    conn_drop_stream(conn);
    if (conn->busy == 0)
        conn_destroy(conn);
}
