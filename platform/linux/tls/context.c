/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/tls/context.c - what handshakes begin with, and the verdict on peers. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "platform/linux/tls/tls_internal.h"

int
tls_err(struct vmt_err *err, int code, const char *fmt, ...)
{
    const char *reason = ERR_reason_error_string(ERR_peek_error());
    char what[VMT_ERR_MSG_MAX];
    va_list args;

    ERR_clear_error();
    va_start(args, fmt);
    (void)vsnprintf(what, sizeof(what), fmt, args);
    va_end(args);
    return reason ? vmt_err_setx(err, code, "%s: %s", what, reason)
                  : vmt_err_set(err, code, "%s", what);
}

/* Returns an X509_V code. */
static int
verify_identity(struct tls_stream *s, X509 *cert)
{
    int r = tls_identity(cert, &s->peer.identity_kind, &s->identity);

    if (r < 0)
        return r == -ENOMEM ? X509_V_ERR_OUT_OF_MEM : X509_V_ERR_APPLICATION_VERIFICATION;
    s->peer.identity = s->identity;
    if (s->want_identity && !tls_identity_is(&s->peer, s->want_identity))
        return X509_V_ERR_HOSTNAME_MISMATCH;
    /* Whom could a server take an unnamed client for? */
    if (SSL_is_server(s->ssl) && !s->identity)
        return X509_V_ERR_APPLICATION_VERIFICATION;
    return X509_V_OK;
}

int
tls_verify(X509_STORE_CTX *store, void *arg)
{
    const SSL *ssl =
        X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
    struct tls_stream *s = SSL_get_app_data(ssl);
    int verdict;

    (void)arg;
    if (X509_verify_cert(store) <= 0)
        return 0;
    verdict = verify_identity(s, X509_STORE_CTX_get0_cert(store));
    X509_STORE_CTX_set_error(store, verdict);
    return verdict == X509_V_OK;
}

static bool
source_is_given(const struct tls_source *source)
{
    return source->path || source->pem;
}

/* Returns false without memory. */
static bool
material_copy(struct tls_material *m, const struct tls_source *source)
{
    if (source->path)
        m->path = strdup(source->path);
    else if (source->pem)
        m->pem = strdup(source->pem);
    return !source_is_given(source) || m->path || m->pem;
}

static void
material_done(struct tls_material *m)
{
    if (m->pem)
        OPENSSL_cleanse(m->pem, strlen(m->pem));
    free(m->pem);
    free(m->path);
}

void
tls_context_free(struct tls_context *context)
{
    if (!context)
        return;
    SSL_CTX_free(context->ssl);
    material_done(&context->chain);
    material_done(&context->key);
    material_done(&context->roots);
    free(context);
}

VMT_DEFINE_FREEP(struct tls_context, tls_context_free)

/* Returns the words for what is missing, or NULL. */
static const char *
config_misses(const struct tls_config *config)
{
    bool chain = source_is_given(&config->chain), key = source_is_given(&config->key);

    if (config->server && !chain)
        return "a server needs a certificate";
    if (chain != key)
        return "a certificate and its key go together";
    if (!source_is_given(&config->roots) &&
        !(config->server && config->clients == TLS_CLIENTS_ANONYMOUS))
        return "no certificates to trust";
    return NULL;
}

int
tls_context_new(struct vmt_clock *clock, const struct tls_config *config,
                struct tls_context **ret_context, struct vmt_err *err)
{
    VMT_CLEANUP(tls_context_freep) struct tls_context *context = NULL;
    const char *missing = config_misses(config);
    int r;

    if (missing)
        return vmt_err_setx(err, EINVAL, "set TLS up: %s", missing);
    context = calloc(1, sizeof(*context));
    if (!context || !material_copy(&context->chain, &config->chain) ||
        !material_copy(&context->key, &config->key) ||
        !material_copy(&context->roots, &config->roots))
        return vmt_err_set(err, ENOMEM, "set TLS up");
    context->clock = clock;
    context->server = config->server;
    context->clients = config->clients;
    r = tls_context_load(context, &context->ssl, err);
    if (r < 0)
        return vmt_err_wrap(err, r, "set TLS up");
    *ret_context = vmt_take_ptr(&context);
    return 0;
}

int
tls_context_reload(struct tls_context *context, struct vmt_err *err)
{
    SSL_CTX *fresh;
    int r = tls_context_load(context, &fresh, err);

    if (r < 0)
        return vmt_err_wrap(err, r, "keep the old certificates");
    /* Connections hold a reference to theirs. */
    SSL_CTX_free(context->ssl);
    context->ssl = fresh;
    return 0;
}
