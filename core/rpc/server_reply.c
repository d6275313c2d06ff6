/* SPDX-License-Identifier: BSD-3-Clause */
/* The sending half of a server call, and how it ends. */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <protobuf-c/protobuf-c.h>

#include "core/adapter/clock.h"
#include "core/rpc/compress_internal.h"
#include "core/rpc/metadata_internal.h"
#include "core/rpc/server_internal.h"

/* How long the rest of a request may take after an early answer. */
#define REST_MS 1000u

/* Most fields of a response: status, type, encodings, descriptors, grpc-status,
 * grpc-message, and metadata. */
#define REPLY_FIELDS_MAX (7 + RPC_METADATA_COUNT_MAX)

struct reply_fields {
    nghttp2_nv nv[REPLY_FIELDS_MAX];
    size_t n;
    char code[2]; /* digits only */
    char fds[4];
    char text[RPC_TEXT_ENCODED_MAX];
};

static void
reply_add_headers(struct reply_fields *f)
{
    f->nv[f->n++] = RPC_NV(":status", "200", 3);
    f->nv[f->n++] = RPC_NV("content-type", "application/grpc", 16);
    f->nv[f->n++] =
        RPC_NV("grpc-accept-encoding", RPC_ENCODINGS, sizeof(RPC_ENCODINGS) - 1);
}

static void
reply_add_status(struct reply_fields *f, const struct rpc_status *status)
{
    unsigned code = (unsigned)status->code % 100;
    size_t n = 0;

    /* By hand: printf would be 2 % of a call. */
    if (code >= 10)
        f->code[n++] = (char)('0' + code / 10);
    f->code[n++] = (char)('0' + code % 10);
    f->nv[f->n++] = RPC_NV("grpc-status", f->code, n);
    if (status->text[0]) {
        size_t len = rpc_text_encode(f->text, status->text);

        f->nv[f->n++] = RPC_NV("grpc-message", f->text, len);
    }
}

static void
reply_check(struct rpc_server_call *call, int r)
{
    if (r == NGHTTP2_ERR_NOMEM)
        rpc_conn_fail(&call->conn->base, "out of memory");
    rpc_conn_kick(&call->conn->base);
}

static void
reply_submit(struct rpc_server_call *call, const struct reply_fields *f, bool data)
{
    nghttp2_data_provider provider = rpc_call_provider();

    call->answered = true;
    reply_check(call, nghttp2_submit_response(call->conn->base.session, call->base.id,
                                              f->nv, f->n, data ? &provider : NULL));
}

static void
reply_start(struct rpc_server_call *call)
{
    struct reply_fields f;

    if (call->answered)
        return;
    f.n = 0;
    reply_add_headers(&f);
    if (call->base.out_encoding == RPC_GZIP)
        f.nv[f.n++] = RPC_NV("grpc-encoding", "gzip", 4);
    if (call->base.nfds_out > 0) {
        int n = snprintf(f.fds, sizeof(f.fds), "%zu", call->base.nfds_out % 100);

        f.nv[f.n++] = RPC_NV("vmt-fds", f.fds, (size_t)n);
    }
    f.n += rpc_call_metadata_nv(f.nv + f.n, &call->initial);
    reply_submit(call, &f, true);
}

bool
rpc_server_call_on_out_end(struct rpc_call *base)
{
    struct rpc_server_call *call = VMT_CONTAINER_OF(base, struct rpc_server_call, base);
    struct reply_fields f;

    if (call->is_plain)
        return false;
    f.n = 0;
    reply_add_status(&f, &call->status);
    f.n += rpc_call_metadata_nv(f.nv + f.n, &call->trailing);
    reply_check(call, nghttp2_submit_trailer(base->conn->session, base->id, f.nv, f.n));
    return true;
}

/* The status is decided: tell the client when what is queued is out. */
static void
reply_end(struct rpc_server_call *call)
{
    struct reply_fields f;

    rpc_call_deafen(&call->base);
    call->base.out_end = true;
    /* In one block with the status it would be trailing metadata. */
    if (call->initial.n > 0)
        reply_start(call);
    if (call->answered) {
        rpc_call_resume(&call->base);
        return;
    }
    f.n = 0;
    reply_add_headers(&f);
    reply_add_status(&f, &call->status);
    f.n += rpc_call_metadata_nv(f.nv + f.n, &call->trailing);
    reply_submit(call, &f, false);
}

static void
call_stop_timer(struct rpc_server_call *call)
{
    call->server->clock->ops->timer_cancel(call->server->clock, call->timer);
    call->timer = NULL;
}

/* The handler is done with the request, or will never see it. */
static void
call_drop_request(struct rpc_server_call *call)
{
    call->request = NULL;
    rpc_arena_done(&call->arena);
    rpc_call_release_parsed(&call->base);
}

/* The status is in call->status. */
static void
call_end(struct rpc_server_call *call)
{
    call_stop_timer(call);
    call->ended = true;
    if (!call->held)
        call_drop_request(call);
    reply_end(call);
}

void
rpc_server_call_end(struct rpc_server_call *call, enum rpc_code code, const char *fmt,
                    ...)
{
    va_list args;

    if (call->ended)
        return;
    va_start(args, fmt);
    (void)rpc_status_vset(&call->status, code, fmt, args);
    va_end(args);
    call_end(call);
}

/* The same with a status that is there: most have no text, and need no printf. */
static void
call_end_status(struct rpc_server_call *call, const struct rpc_status *status)
{
    if (call->ended)
        return;
    if (status->text[0])
        call->status = *status;
    else
        call->status.code = status->code; /* the text is zeroes from the start */
    call_end(call);
}

void
rpc_server_call_end_http(struct rpc_server_call *call, const char *http_status)
{
    static const char text[] = "gRPC only is spoken here.\n";
    struct reply_fields f;

    f.n = 0;
    f.nv[f.n++] = RPC_NV(":status", http_status, 3);
    f.nv[f.n++] = RPC_NV("content-type", "text/plain", 10);
    if (strcmp(http_status, "405") == 0)
        f.nv[f.n++] = RPC_NV("allow", "POST", 4);
    call->ended = true;
    call->is_plain = true;
    call->base.deaf = true;
    call->base.out_end = true;
    /* RFC 9110 section 9.3.2: HEAD is answered without a body. It can do without, too. */
    reply_submit(call, &f,
                 !call->is_head &&
                     vmt_buf_append(&call->base.out, text, sizeof(text) - 1) == 0);
}

static void
call_on_moment_over(void *arg)
{
    struct rpc_server_call *call = arg;

    call->timer = NULL;
    rpc_call_refuse_rest(&call->base);
}

void
rpc_server_call_on_answered_early(struct rpc_call *base)
{
    struct rpc_server_call *call = VMT_CONTAINER_OF(base, struct rpc_server_call, base);
    struct vmt_clock *clock = call->server->clock;

    if (call->timer || clock->ops->timer_start(clock, REST_MS, call_on_moment_over, call,
                                               &call->timer) < 0)
        rpc_call_refuse_rest(base);
}

/* Tell the handler that nobody listens. The server may be gone afterwards. */
static void
call_run_cancel(struct rpc_server_call *call)
{
    void (*fn)(void *arg) = call->on_cancel;

    call->on_cancel = NULL;
    call->held = false;
    fn(call->cancel_arg);
}

void
rpc_server_call_break(struct rpc_server_call *call, enum rpc_code code, const char *fmt,
                      ...)
{
    struct rpc_status status;
    va_list args;

    va_start(args, fmt);
    (void)rpc_status_vset(&status, code, fmt, args);
    va_end(args);
    rpc_server_call_end(call, status.code, "%s", status.text);
    if (call->held && call->on_cancel)
        call_run_cancel(call);
}

void
rpc_server_call_on_drained(struct rpc_call *base)
{
    struct rpc_server_call *call = VMT_CONTAINER_OF(base, struct rpc_server_call, base);

    if (call->held && !call->ended && call->on_drain)
        call->on_drain(call->drain_arg);
}

void
rpc_server_call_on_deadline(void *arg)
{
    struct rpc_server_call *call = arg;
    struct rpc_conn *conn = &call->conn->base;

    call->timer = NULL;
    rpc_conn_enter(conn);
    rpc_server_call_break(call, RPC_DEADLINE_EXCEEDED, "Deadline Exceeded");
    rpc_conn_leave(conn);
}

void
rpc_server_call_gone(struct rpc_server_call *call)
{
    struct rpc_conn *conn = &call->conn->base; /* busy, so it outlives what follows */

    call_stop_timer(call);
    call->ended = true;
    if (call->dispatched)
        call->conn->nhandled--;
    if (call->server->config.idle_ms > 0)
        call->conn->active_ms = call->server->clock->ops->now_ms(call->server->clock);
    if (call->held && !call->on_cancel) {
        call->conn = NULL;
        vmt_list_append(&call->server->orphans, &call->base.node);
        /* It no longer counts as a stream, and would let the client begin another. */
        rpc_watch_charge(conn, RPC_WATCH_FAULT);
        return;
    }
    if (call->held)
        call_run_cancel(call);
    rpc_call_release(&call->base, conn);
}

void
rpc_server_call_drop(struct rpc_server_call *call)
{
    call_stop_timer(call);
    rpc_call_detach(&call->base);
    rpc_call_release(&call->base, call->conn ? &call->conn->base : NULL);
}

/* The handler asked to be told after the fact. */
static void
call_on_late_cancel(void *arg)
{
    struct rpc_server_call *call = arg;
    bool orphan = call->conn == NULL;

    call->timer = NULL;
    if (orphan)
        vmt_list_remove(&call->base.node);
    call_run_cancel(call);
    if (orphan)
        rpc_call_release(&call->base, NULL);
}

void
rpc_server_call_on_cancel(struct rpc_server_call *call, void (*fn)(void *arg), void *arg)
{
    struct vmt_clock *clock = call->server->clock;

    call->on_cancel = fn;
    call->cancel_arg = arg;
    if (call->ended)
        call_stop_timer(call);
    if (fn && call->ended)
        (void)clock->ops->timer_start(clock, 0, call_on_late_cancel, call, &call->timer);
}

void
rpc_server_call_receive(struct rpc_server_call *call,
                        const struct rpc_server_receiver *receiver, void *arg)
{
    call->receiver = receiver;
    call->receiver_arg = arg;
}

void
rpc_server_call_pause(struct rpc_server_call *call, bool paused)
{
    if (call->conn && !call->ended)
        rpc_call_pause(&call->base, paused);
}

void
rpc_server_call_on_drain(struct rpc_server_call *call, void (*fn)(void *arg), void *arg)
{
    call->on_drain = fn;
    call->drain_arg = arg;
}

const struct rpc_server_method *
rpc_server_call_method(const struct rpc_server_call *call)
{
    return call->method;
}

const struct stream_peer *
rpc_server_call_peer(const struct rpc_server_call *call)
{
    return &call->peer->info;
}

size_t
rpc_server_call_take_fds(struct rpc_server_call *call, int *fds, size_t max)
{
    size_t n = call->base.nfds_in < max ? call->base.nfds_in : max;

    memcpy(fds, call->base.fds_in, n * sizeof(*fds));
    call->base.nfds_in -= n;
    memmove(call->base.fds_in, call->base.fds_in + n, call->base.nfds_in * sizeof(*fds));
    return n;
}

int
rpc_server_call_send(struct rpc_server_call *call, const struct ProtobufCMessage *message,
                     const int *fds, size_t nfds)
{
    int r;

    if (call->ended || !call->conn)
        return -EPIPE;
    if ((call->answered && nfds > 0) || (call->replied && !call->method->server_streams))
        return -EINVAL;
    r = rpc_call_set_fds(&call->base, fds, nfds);
    if (r < 0)
        return r;
    r = rpc_call_queue(&call->base, message);
    if (r < 0) {
        rpc_fds_close(call->base.fds_out, &call->base.nfds_out);
        return r;
    }
    call->replied = true;
    reply_start(call);
    rpc_call_resume(&call->base);
    return 0;
}

int
rpc_server_call_set_encoding(struct rpc_server_call *call, enum rpc_encoding encoding)
{
    if (call->answered)
        return -EALREADY;
    call->base.out_encoding = call->takes_gzip ? encoding : RPC_IDENTITY;
    return 0;
}

void
rpc_server_call_compress(struct rpc_server_call *call, bool on)
{
    call->base.out_plain = !on;
}

bool
rpc_server_call_compressed(const struct rpc_server_call *call)
{
    return call->base.in_compressed;
}

const struct rpc_metadata *
rpc_server_call_metadata(const struct rpc_server_call *call)
{
    return &call->metadata;
}

int
rpc_server_call_add_initial(struct rpc_server_call *call, const char *key,
                            const void *value, size_t len)
{
    if (call->answered)
        return -EALREADY;
    return rpc_metadata_add(&call->initial, key, value, len);
}

int
rpc_server_call_add_trailing(struct rpc_server_call *call, const char *key,
                             const void *value, size_t len)
{
    return rpc_metadata_add(&call->trailing, key, value, len);
}

int
rpc_server_call_send_initial(struct rpc_server_call *call)
{
    if (call->ended || !call->conn)
        return -EPIPE;
    reply_start(call);
    return 0;
}

size_t
rpc_server_call_queued(const struct rpc_server_call *call)
{
    return call->base.out.len;
}

void
rpc_server_call_finish(struct rpc_server_call *call, const struct rpc_status *status)
{
    assert(call->held);
    call->held = false;
    call->on_cancel = NULL;
    if (!call->conn) {
        call_stop_timer(call);
        rpc_call_release(&call->base, NULL);
        return;
    }
    if (call->ended) {
        call_stop_timer(call); /* a late cancel that is not wanted any more */
        call_drop_request(call);
    }
    if (status->code == RPC_OK && !call->replied && !call->method->server_streams)
        rpc_server_call_end(call, RPC_INTERNAL, "the method gave no reply");
    else
        call_end_status(call, status);
}

void
rpc_server_call_reply(struct rpc_server_call *call,
                      const struct ProtobufCMessage *message)
{
    static const struct rpc_status ok = {.code = RPC_OK};
    int r = rpc_server_call_send(call, message, NULL, 0);

    if (r == -ENOMEM)
        rpc_server_call_fail(call, RPC_RESOURCE_EXHAUSTED, "out of memory");
    else if (r == -EMSGSIZE)
        rpc_server_call_fail(call, RPC_RESOURCE_EXHAUSTED, "the reply is too large");
    else
        rpc_server_call_finish(call, &ok);
}

void
rpc_server_call_abort(struct rpc_server_call *call)
{
    assert(call->held);
    call->held = false;
    call->on_cancel = NULL;
    if (!call->conn) {
        call_stop_timer(call);
        rpc_call_release(&call->base, NULL);
        return;
    }
    rpc_call_reset(&call->base, NGHTTP2_ENHANCE_YOUR_CALM);
    rpc_server_call_gone(call);
}

void
rpc_server_call_fail(struct rpc_server_call *call, enum rpc_code code, const char *fmt,
                     ...)
{
    struct rpc_status status;
    va_list args;

    va_start(args, fmt);
    (void)rpc_status_vset(&status, code, fmt, args);
    va_end(args);
    rpc_server_call_finish(call, &status);
}
