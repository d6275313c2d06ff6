/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/tls/handshake.c - from a stream to a TLS stream, or to a reason. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "core/adapter/clock.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "platform/linux/tls/tls_internal.h"

static bool
handshake_got_h2(const struct tls_stream *s)
{
    const unsigned char *protocol;
    unsigned len;

    SSL_get0_alpn_selected(s->ssl, &protocol, &len);
    return len == 2 && memcmp(protocol, "h2", 2) == 0;
}

/* Put the reason of a handshake that failed into words. Returns -errno. */
static int
handshake_reason(const struct tls_stream *s, int why, struct vmt_err *err)
{
    long verdict = SSL_get_verify_result(s->ssl);

    if (why == SSL_ERROR_WANT_READ)
        return vmt_err_set(err, s->lower_code ? -s->lower_code : ECONNRESET,
                           "the connection ended within the TLS handshake");
    if (verdict == X509_V_ERR_APPLICATION_VERIFICATION)
        return vmt_err_setx(err, EACCES, "no identity to be had from the certificate");
    if (verdict != X509_V_OK)
        return vmt_err_setx(err, EACCES, "certificate of the peer: %s",
                            X509_verify_cert_error_string(verdict));
    return tls_err(err, EPROTO, "TLS handshake");
}

static void
handshake_fail(struct tls_stream *s, int code, struct vmt_err *err)
{
    tls_done_fn *on_done = s->on_done;
    void *arg = s->done_arg;

    (void)code;
    ERR_clear_error();
    /* The alert says more than a connection that just ends. */
    (void)tls_flush(s);
    tls_stream_dispose(s);
    on_done(arg, NULL, err);
}

static void
handshake_succeed(struct tls_stream *s)
{
    struct vmt_err err;

    if (!handshake_got_h2(s)) {
        handshake_fail(s, vmt_err_setx(&err, EPROTO, "the peer does not speak h2"), &err);
        return;
    }
    if (tls_stream_watch(s) < 0) {
        handshake_fail(s, vmt_err_set(&err, ENOMEM, "open the TLS stream"), &err);
        return;
    }
    s->clock->ops->timer_cancel(s->clock, vmt_take_ptr(&s->timer));
    s->phase = TLS_PHASE_OPEN;
    free(vmt_take_ptr(&s->want_identity));
    /* Nothing is read before the owner says where it goes. */
    s->lower->ops->pause(s->lower, true);
    s->on_done(s->done_arg, &s->base, NULL);
}

void
tls_handshake_step(struct tls_stream *s)
{
    struct vmt_err err;
    int r, why;

    ERR_clear_error();
    r = SSL_do_handshake(s->ssl);
    why = r == 1 ? SSL_ERROR_NONE : SSL_get_error(s->ssl, r);
    if (why != SSL_ERROR_NONE && (why != SSL_ERROR_WANT_READ || s->lower_ended)) {
        handshake_fail(s, handshake_reason(s, why, &err), &err);
        return;
    }
    r = tls_flush(s);
    if (r < 0)
        handshake_fail(s, vmt_err_set(&err, -r, "answer the TLS handshake"), &err);
    else if (why == SSL_ERROR_NONE)
        handshake_succeed(s);
}

static void
handshake_on_deadline(void *arg)
{
    struct tls_stream *s = arg;
    struct vmt_err err;

    s->timer = NULL;
    handshake_fail(s, vmt_err_setx(&err, ETIMEDOUT, "no end of the TLS handshake"), &err);
}

/* Returns 0 or -ENOMEM. */
static int
handshake_name(struct tls_stream *s, const char *name)
{
    X509_VERIFY_PARAM *param = SSL_get0_param(s->ssl);
    struct in6_addr address;

    if (!name)
        return 0;
    if (inet_pton(AF_INET, name, &address) == 1 ||
        inet_pton(AF_INET6, name, &address) == 1)
        return X509_VERIFY_PARAM_set1_ip_asc(param, name) == 1 ? 0 : -ENOMEM;
    X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS |
                                               X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
    /* SSL_set_tlsext_host_name, whose cast drops a const. */
    return X509_VERIFY_PARAM_set1_host(param, name, 0) == 1 &&
                   SSL_ctrl(s->ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME,
                            TLSEXT_NAMETYPE_host_name, (void *)(uintptr_t)name) == 1
               ? 0
               : -ENOMEM;
}

static int
handshake_init(struct tls_stream *s, const struct tls_context *context,
               const struct tls_dial *dial)
{
    BIO_METHOD *method = tls_bio_method();
    int64_t now;
    int32_t nsec;
    BIO *bio;

    s->ssl = SSL_new(context->ssl);
    bio = s->ssl && method ? BIO_new(method) : NULL;
    if (!bio)
        return -ENOMEM;
    BIO_set_data(bio, s);
    SSL_set_bio(s->ssl, bio, bio);
    SSL_set_app_data(s->ssl, s);
    tls_stream_watch_messages(s);
    s->clock->ops->wall(s->clock, &now, &nsec);
    X509_VERIFY_PARAM_set_time(SSL_get0_param(s->ssl), (time_t)now);
    if (dial->identity) {
        s->want_identity = strdup(dial->identity);
        if (!s->want_identity)
            return -ENOMEM;
    }
    if (context->server) {
        SSL_set_accept_state(s->ssl);
        return 0;
    }
    SSL_set_connect_state(s->ssl);
    return handshake_name(s, dial->name);
}

/* A client speaks first. Returns 0, -ENOMEM, -EPIPE. */
static int
handshake_hello(struct tls_stream *s)
{
    int r;

    if (SSL_is_server(s->ssl))
        return 0;
    ERR_clear_error();
    r = SSL_do_handshake(s->ssl);
    if (r == 1 || SSL_get_error(s->ssl, r) != SSL_ERROR_WANT_READ)
        return -ENOMEM;
    return tls_flush(s);
}

static void
handshake_freep(struct tls_stream **s)
{
    if (*s)
        tls_stream_free(*s);
}

int
tls_handshake_start(struct tls_context *context, const struct tls_dial *dial,
                    struct tls_handshake **ret_handshake, struct vmt_err *err)
{
    VMT_CLEANUP(handshake_freep) struct tls_stream *s = NULL;
    unsigned timeout_ms = dial->timeout_ms ? dial->timeout_ms : TLS_HANDSHAKE_MS;
    int r;

    if (!context->server && !dial->name && !dial->identity)
        return vmt_err_setx(err, EINVAL, "TLS to nobody in particular");
    s = calloc(1, sizeof(*s));
    if (!s)
        return vmt_err_set(err, ENOMEM, "begin TLS");
    s->base.ops = &tls_stream_ops;
    s->clock = context->clock;
    s->phase = TLS_PHASE_HANDSHAKE;
    s->on_done = dial->on_done;
    s->done_arg = dial->arg;
    s->lower = dial->lower;
    s->lower->ops->peer(s->lower, &s->peer);
    s->peer.kind = STREAM_PEER_TLS;
    r = handshake_init(s, context, dial);
    if (r == 0)
        r = s->clock->ops->timer_start(s->clock, timeout_ms, handshake_on_deadline, s,
                                       &s->timer);
    if (r == 0)
        r = handshake_hello(s);
    if (r < 0)
        return vmt_err_set(err, -r, "begin TLS");
    s->lower->ops->set_handler(s->lower, &tls_lower_handler, s);
    *ret_handshake = (struct tls_handshake *)(void *)vmt_take_ptr(&s);
    return 0;
}

void
tls_handshake_cancel(struct tls_handshake *handshake)
{
    if (handshake)
        tls_stream_dispose(tls_of_handshake(handshake));
}
