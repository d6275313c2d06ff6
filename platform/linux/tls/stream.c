/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/tls/stream.c - struct stream over TLS over another struct stream.
 *
 * What is sent is encrypted at once and waits in the lower stream, so its queue and marks
 * are ours too. What comes is decrypted only while somebody reads: a pause stops the
 * lower stream, and one piece of ciphertext at most stays here. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>

#include "core/adapter/clock.h"
#include "core/base/cleanup.h"
#include "core/base/log.h"
#include "platform/linux/tls/tls_internal.h"

static struct tls_stream *
tls_self(struct stream *s)
{
    return VMT_CONTAINER_OF(s, struct tls_stream, base);
}

static const struct tls_stream *
tls_self_const(const struct stream *s)
{
    return tls_self((struct stream *)(uintptr_t)s);
}

void
tls_stream_free(struct tls_stream *s)
{
    s->clock->ops->timer_cancel(s->clock, s->timer);
    s->clock->ops->timer_cancel(s->clock, s->watch);
    SSL_free(s->ssl);
    vmt_buf_done(&s->in);
    vmt_buf_done(&s->out);
    free(s->want_identity);
    free(s->identity);
    free(s);
}

static void
tls_enter(struct tls_stream *s)
{
    s->busy++;
}

/* s is gone afterwards if it was closed meanwhile. */
static void
tls_leave(struct tls_stream *s)
{
    if (--s->busy == 0 && s->phase == TLS_PHASE_CLOSED)
        tls_stream_free(s);
}

void
tls_stream_dispose(struct tls_stream *s)
{
    s->phase = TLS_PHASE_CLOSED;
    s->handler = NULL;
    s->clock->ops->timer_cancel(s->clock, vmt_take_ptr(&s->timer));
    s->clock->ops->timer_cancel(s->clock, vmt_take_ptr(&s->watch));
    stream_close(vmt_take_ptr(&s->lower));
    if (s->busy == 0)
        tls_stream_free(s);
}

int
tls_flush(struct tls_stream *s)
{
    int r = 0;

    if (s->out.len > 0)
        r = s->lower->ops->send(s->lower, s->out.data, s->out.len, NULL, 0);
    if (r == 0)
        s->handed += s->out.len;
    /* What was not taken is lost, and with it the order of records: the end. */
    vmt_buf_consume(&s->out, s->out.len);
    if (s->out.cap > TLS_RECORD_MAX)
        vmt_buf_done(&s->out);
    return r;
}

static bool
tls_has_work(const struct tls_stream *s)
{
    return s->failed || s->lower_ended || s->in.len > 0 || s->span_len > 0 ||
           SSL_has_pending(s->ssl);
}

static void tls_on_turn(void *arg);

/* Callbacks run from the loop only. Without memory it is the watch that goes on, later.
 */
static void
tls_wake(struct tls_stream *s)
{
    if (!s->timer && s->handler && !s->ended && tls_has_work(s))
        (void)s->clock->ops->timer_start(s->clock, 0, tls_on_turn, s, &s->timer);
}

static void
tls_watch_lower(struct tls_stream *s)
{
    s->lower->ops->pause(s->lower, !s->handler || s->paused || s->ended);
}

static void
tls_fail(struct tls_stream *s, int code)
{
    if (s->failed)
        return;
    s->failed = code;
    tls_wake(s);
}

/* Tell the end once. */
static void
tls_end(struct tls_stream *s, int status)
{
    s->ended = true;
    if (status < 0 && !s->failed)
        s->failed = status;
    s->clock->ops->timer_cancel(s->clock, vmt_take_ptr(&s->watch));
    tls_watch_lower(s);
    if (s->handler->on_end)
        s->handler->on_end(s->arg, status);
}

static void
tls_on_message(int sent, int version, int content, const void *data, size_t len, SSL *ssl,
               void *arg)
{
    struct tls_stream *s = arg;

    (void)version;
    (void)data;
    (void)len;
    (void)ssl;
    if (!sent && content == SSL3_RT_HANDSHAKE && s->phase == TLS_PHASE_OPEN)
        s->messages++;
}

void
tls_stream_watch_messages(struct tls_stream *s)
{
    SSL_set_msg_callback(s->ssl, tls_on_message);
    SSL_set_msg_callback_arg(s->ssl, s);
}

/* Send what a read made SSL say: an alert, or the new key that the peer asked for. The
 * owner of the stream does not pace this, so it ends with a peer that asks and asks and
 * does not read; not to read from it in turn could make both wait for ever. Returns false
 * then. */
static bool
tls_answer(struct tls_stream *s)
{
    size_t len = s->out.len;
    bool first;

    if (len == 0)
        return true;
    /* What goes behind bytes that are written by now waits on its own. */
    first =
        s->answers == 0 || s->handed - s->lower->ops->queued(s->lower) >= s->answer_at;
    (void)tls_flush(s);
    if (first) {
        s->answers = 0;
        s->answer_at = s->handed;
    }
    s->answers += len;
    return s->answers <= TLS_ANSWERS_MAX;
}

/* SSL gave no more bytes: because there are none, or never will be. */
static void
tls_read_stopped(struct tls_stream *s, int why)
{
    const char *reason;

    if (why == SSL_ERROR_WANT_READ && !s->lower_ended)
        return;
    if (why == SSL_ERROR_ZERO_RETURN) {
        tls_end(s, 0);
        return;
    }
    if (why == SSL_ERROR_WANT_READ) {
        tls_end(s, s->lower_code ? s->lower_code : -ECONNRESET);
        return;
    }
    reason = s->messages > TLS_MESSAGES_MAX ? "too many handshake messages"
                                            : ERR_reason_error_string(ERR_peek_error());
    vmt_log_debug("tls stream broke: %s", reason ? reason : "for no known reason");
    ERR_clear_error();
    tls_end(s, -EPROTO);
}

static bool
tls_is_reading(const struct tls_stream *s)
{
    return s->phase == TLS_PHASE_OPEN && s->handler && !s->paused && !s->ended;
}

/* Give the handler what can be decrypted. */
static void
tls_pump(struct tls_stream *s)
{
    uint8_t data[TLS_RECORD_MAX];

    while (tls_is_reading(s)) {
        size_t n;
        int r, why;

        ERR_clear_error();
        r = SSL_read_ex(s->ssl, data, sizeof(data), &n);
        why = r == 1 ? SSL_ERROR_NONE : SSL_get_error(s->ssl, r);
        if (!tls_answer(s)) {
            vmt_log_debug("tls stream broke: the peer reads none of our new keys");
            tls_end(s, -EPROTO);
            return;
        }
        if (why != SSL_ERROR_NONE) {
            tls_read_stopped(s, why);
            return;
        }
        s->messages = 0;
        s->handler->on_data(s->arg, data, n);
    }
}

/* What the peer said before a write failed is still worth reading, unless nobody does. */
static void
tls_go_on(struct tls_stream *s)
{
    tls_pump(s);
    if (s->phase != TLS_PHASE_OPEN || !s->handler || s->ended)
        return;
    if (s->failed)
        tls_end(s, s->failed);
    else if (s->lower_ended && s->lower_code < 0)
        tls_end(s, s->lower_code);
}

static void
tls_on_turn(void *arg)
{
    struct tls_stream *s = arg;

    s->timer = NULL;
    tls_enter(s);
    tls_go_on(s);
    tls_leave(s);
}

/* Do what no turn was to be had for. Who cannot be watched any longer ends now: nobody
 * would tell its owner later. */
static void
tls_on_watch(void *arg)
{
    struct tls_stream *s = arg;
    int r;

    s->watch = NULL;
    r = tls_stream_watch(s);
    if (r < 0 && !s->failed)
        s->failed = r;
    tls_enter(s);
    if (tls_has_work(s))
        tls_go_on(s);
    tls_leave(s);
}

int
tls_stream_watch(struct tls_stream *s)
{
    return s->clock->ops->timer_start(s->clock, TLS_WATCH_MS, tls_on_watch, s, &s->watch);
}

/* Keep what nobody took for later. */
static void
tls_save_span(struct tls_stream *s)
{
    if (s->phase != TLS_PHASE_CLOSED && s->span_len > 0 &&
        vmt_buf_append(&s->in, s->span, s->span_len) < 0)
        tls_fail(s, -ENOMEM);
    s->span_len = 0;
    if (s->in.len == 0)
        vmt_buf_done(&s->in);
}

static void
lower_on_data(void *arg, const uint8_t *data, size_t len)
{
    struct tls_stream *s = arg;

    s->span = data;
    s->span_len = len;
    tls_enter(s);
    if (s->phase == TLS_PHASE_HANDSHAKE)
        tls_handshake_step(s);
    if (s->phase == TLS_PHASE_OPEN)
        tls_go_on(s);
    tls_save_span(s);
    tls_leave(s);
}

static void
lower_on_drain(void *arg)
{
    struct tls_stream *s = arg;

    tls_enter(s);
    if (s->phase == TLS_PHASE_OPEN && s->handler && s->handler->on_drain && !s->failed)
        s->handler->on_drain(s->arg);
    tls_leave(s);
}

static void
lower_on_end(void *arg, int status)
{
    struct tls_stream *s = arg;

    s->lower_ended = true;
    s->lower_code = status;
    tls_enter(s);
    if (s->phase == TLS_PHASE_HANDSHAKE)
        tls_handshake_step(s);
    else
        tls_go_on(s);
    tls_leave(s);
}

const struct stream_handler tls_lower_handler = {lower_on_data, lower_on_drain,
                                                 lower_on_end};

static void
tls_set_handler(struct stream *base, const struct stream_handler *handler, void *arg)
{
    struct tls_stream *s = tls_self(base);

    s->handler = handler;
    s->arg = arg;
    tls_watch_lower(s);
    tls_wake(s);
}

/* A key is not good for any number of records. Returns false without memory. */
static bool
tls_count_records(struct tls_stream *s, size_t len)
{
    size_t records = (len + TLS_RECORD_MAX - 1) / TLS_RECORD_MAX;

    if (records <= TLS_RECORDS_PER_KEY - s->records) {
        s->records += (uint32_t)records;
        return true;
    }
    s->records = 0;
    return SSL_key_update(s->ssl, SSL_KEY_UPDATE_NOT_REQUESTED) == 1;
}

static int
tls_send(struct stream *base, const void *data, size_t len, const int *fds, size_t nfds)
{
    struct tls_stream *s = tls_self(base);
    size_t n;

    (void)fds;
    if (s->failed)
        tls_wake(s); /* in case that it could not be done when it failed */
    if (s->failed || s->shut)
        return -EPIPE;
    if (nfds > 0)
        return -ENOTSUP;
    if (len == 0)
        return 0;
    ERR_clear_error();
    if (tls_count_records(s, len) && SSL_write_ex(s->ssl, data, len, &n) == 1 &&
        tls_flush(s) == 0)
        return 0;
    ERR_clear_error();
    tls_fail(s, -EPIPE);
    return -EPIPE;
}

static size_t
tls_queued(const struct stream *base)
{
    const struct tls_stream *s = tls_self_const(base);

    return s->lower->ops->queued(s->lower);
}

static size_t
tls_take_fds(struct stream *base, int *fds, size_t max)
{
    (void)base;
    (void)fds;
    (void)max;
    return 0;
}

static void
tls_pause(struct stream *base, bool paused)
{
    struct tls_stream *s = tls_self(base);

    if (s->paused == paused)
        return;
    s->paused = paused;
    tls_watch_lower(s);
    if (!paused)
        tls_wake(s);
}

static void
tls_shutdown_send(struct stream *base)
{
    struct tls_stream *s = tls_self(base);

    if (s->shut || s->failed)
        return;
    s->shut = true;
    ERR_clear_error();
    (void)SSL_shutdown(s->ssl);
    ERR_clear_error();
    (void)tls_flush(s);
    s->lower->ops->shutdown_send(s->lower);
}

/* The peer may think that it has got everything only if that is so. */
static void
tls_close(struct stream *base)
{
    struct tls_stream *s = tls_self(base);

    if (s->lower->ops->queued(s->lower) == 0)
        tls_shutdown_send(base);
    tls_stream_dispose(s);
}

static void
tls_peer(const struct stream *base, struct stream_peer *ret_peer)
{
    *ret_peer = tls_self_const(base)->peer;
}

void
tls_stream_set_cid(struct stream *base, uint32_t cid)
{
    tls_self(base)->peer.cid = cid;
}

const struct stream_ops tls_stream_ops = {
    .set_handler = tls_set_handler,
    .send = tls_send,
    .queued = tls_queued,
    .take_fds = tls_take_fds,
    .pause = tls_pause,
    .shutdown_send = tls_shutdown_send,
    .close = tls_close,
    .peer = tls_peer,
};
