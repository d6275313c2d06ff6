/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/tls/context_load.c - certificates and keys, checked before use. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "core/adapter/clock.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "platform/linux/tls/tls_internal.h"

typedef STACK_OF(X509) X509_STACK;

static void
certs_freep(X509_STACK **certs)
{
    sk_X509_pop_free(*certs, X509_free);
}

static void
key_freep(EVP_PKEY **key)
{
    EVP_PKEY_free(*key);
}

static void
bio_freep(BIO **bio)
{
    BIO_free_all(*bio);
}

static void
ctx_freep(SSL_CTX **ctx)
{
    SSL_CTX_free(*ctx);
}

/* Text that may be a key leaves nothing behind. */
static void
secret_done(struct vmt_buf *text)
{
    if (text->base)
        OPENSSL_cleanse(text->base, text->cap);
    vmt_buf_done(text);
}

static const char *
material_name(const struct tls_material *m)
{
    return m->path ? m->path : "the PEM text given";
}

static int
material_read_file(const char *path, struct vmt_buf *text, struct vmt_err *err)
{
    VMT_CLEANUP(vmt_closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    ssize_t n = 1;

    if (fd < 0)
        return vmt_err_set(err, errno, "open %s", path);
    /* In one piece, so that no copy of a key stays in memory that was given back. */
    if (vmt_buf_reserve(text, TLS_FILE_MAX) < 0)
        return vmt_err_set(err, ENOMEM, "read %s", path);
    while (n > 0 && text->len < TLS_FILE_MAX) {
        n = read(fd, vmt_buf_tail(text), TLS_FILE_MAX - text->len);
        if (n < 0)
            return vmt_err_set(err, errno, "read %s", path);
        vmt_buf_commit(text, (size_t)n);
    }
    return n == 0 ? 0 : vmt_err_set(err, EFBIG, "read %s", path);
}

/* What the context was given, as a BIO over text, which must outlive it. */
static int
material_open(const struct tls_material *m, struct vmt_buf *text, BIO **ret_bio,
              struct vmt_err *err)
{
    int r = m->path ? material_read_file(m->path, text, err)
                    : vmt_buf_append(text, m->pem, strlen(m->pem));

    if (r < 0)
        return m->path ? r : vmt_err_set(err, -r, "copy PEM text");
    *ret_bio = BIO_new_mem_buf(text->data, (int)text->len);
    return *ret_bio ? 0 : tls_err(err, ENOMEM, "read %s", material_name(m));
}

/* A prompt on the terminal is no answer for a daemon. */
static int
no_passphrase(char *buf, int size, int writing, void *arg)
{
    (void)buf;
    (void)size;
    (void)writing;
    (void)arg;
    return -1;
}

static int
material_certs(const struct tls_material *m, X509_STACK **ret_certs, struct vmt_err *err)
{
    VMT_CLEANUP(secret_done) struct vmt_buf text = {0};
    VMT_CLEANUP(bio_freep) BIO *bio = NULL;
    VMT_CLEANUP(certs_freep) X509_STACK *certs = sk_X509_new_null();
    X509 *cert;
    int r = material_open(m, &text, &bio, err);

    if (r < 0)
        return r;
    while (certs && (cert = PEM_read_bio_X509(bio, NULL, no_passphrase, NULL)) != NULL) {
        if (sk_X509_push(certs, cert) <= 0) {
            X509_free(cert);
            return tls_err(err, ENOMEM, "read %s", material_name(m));
        }
    }
    if (!certs)
        return tls_err(err, ENOMEM, "read %s", material_name(m));
    /* How the end of the text looks. Anything else is a certificate that is damaged. */
    if (ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE)
        return tls_err(err, EINVAL, "certificate %d of %s", sk_X509_num(certs) + 1,
                       material_name(m));
    ERR_clear_error();
    if (sk_X509_num(certs) == 0)
        return vmt_err_setx(err, EINVAL, "%s holds no certificate", material_name(m));
    *ret_certs = vmt_take_ptr(&certs);
    return 0;
}

static int
cert_check_time(const X509 *cert, int at, time_t now, const char *name,
                struct vmt_err *err)
{
    int begins = X509_cmp_time(X509_get0_notBefore(cert), &now);
    int ends = X509_cmp_time(X509_get0_notAfter(cert), &now);

    if (begins == 0 || ends == 0)
        return vmt_err_setx(err, EINVAL, "certificate %d of %s has no valid dates",
                            at + 1, name);
    if (begins > 0)
        return vmt_err_setx(err, EKEYEXPIRED, "certificate %d of %s is not valid yet",
                            at + 1, name);
    if (ends < 0)
        return vmt_err_setx(err, EKEYEXPIRED, "certificate %d of %s has expired", at + 1,
                            name);
    return 0;
}

static int
chain_check(const struct tls_context *context, const X509_STACK *certs,
            struct vmt_err *err)
{
    const char *name = material_name(&context->chain);
    int64_t now;
    int32_t nsec;

    context->clock->ops->wall(context->clock, &now, &nsec);
    for (int i = 0; i < sk_X509_num(certs); i++) {
        X509 *cert = sk_X509_value(certs, i);
        int r = cert_check_time(cert, i, (time_t)now, name, err);

        if (r < 0)
            return r;
        if (i > 0 && X509_check_issued(cert, sk_X509_value(certs, i - 1)) != X509_V_OK)
            return vmt_err_setx(err, EINVAL,
                                "certificate %d of %s did not sign the one before it",
                                i + 1, name);
    }
    return 0;
}

static int
load_chain(const struct tls_context *context, SSL_CTX *ssl, struct vmt_err *err)
{
    VMT_CLEANUP(certs_freep) X509_STACK *certs = NULL;
    int r = material_certs(&context->chain, &certs, err);

    if (r == 0)
        r = chain_check(context, certs, err);
    if (r < 0)
        return r;
    if (SSL_CTX_use_certificate(ssl, sk_X509_value(certs, 0)) != 1)
        return tls_err(err, EINVAL, "use %s", material_name(&context->chain));
    for (int i = 1; i < sk_X509_num(certs); i++) {
        if (SSL_CTX_add1_chain_cert(ssl, sk_X509_value(certs, i)) != 1)
            return tls_err(err, EINVAL, "use %s", material_name(&context->chain));
    }
    return 0;
}

static int
load_key(const struct tls_context *context, SSL_CTX *ssl, struct vmt_err *err)
{
    const char *name = material_name(&context->key);
    VMT_CLEANUP(secret_done) struct vmt_buf text = {0};
    VMT_CLEANUP(bio_freep) BIO *bio = NULL;
    VMT_CLEANUP(key_freep) EVP_PKEY *key = NULL;
    int r = material_open(&context->key, &text, &bio, err);

    if (r < 0)
        return r;
    key = PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL);
    if (!key)
        return tls_err(err, EINVAL, "read a private key without passphrase from %s",
                       name);
    /* Both refuse a key that is not the certificate's. */
    if (SSL_CTX_use_PrivateKey(ssl, key) != 1 || SSL_CTX_check_private_key(ssl) != 1)
        return tls_err(err, EINVAL, "use the private key of %s with %s", name,
                       material_name(&context->chain));
    return 0;
}

/* The names go to clients as a hint which certificate to show. */
static int
load_roots(const struct tls_context *context, SSL_CTX *ssl, struct vmt_err *err)
{
    VMT_CLEANUP(certs_freep) X509_STACK *certs = NULL;
    X509_STORE *store = SSL_CTX_get_cert_store(ssl);
    int r = material_certs(&context->roots, &certs, err);

    if (r < 0)
        return r;
    for (int i = 0; i < sk_X509_num(certs); i++) {
        X509 *cert = sk_X509_value(certs, i);

        if (X509_STORE_add_cert(store, cert) != 1 ||
            (context->server && SSL_CTX_add_client_CA(ssl, cert) != 1))
            return tls_err(err, ENOMEM, "trust %s", material_name(&context->roots));
    }
    /* What is named as trusted is trusted, even if it is no root. */
    (void)X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN);
    return 0;
}

/* Protocols in the form of the wire: length, name. Source: RFC 7301 3.1, RFC 9113 3.2. */
static const unsigned char alpn_h2[] = {2, 'h', '2'};

static int
on_alpn(SSL *ssl, const unsigned char **ret, unsigned char *ret_len,
        const unsigned char *offered, unsigned len, void *arg)
{
    unsigned char *chosen = NULL;

    (void)ssl;
    (void)arg;
    if (SSL_select_next_proto(&chosen, ret_len, alpn_h2, sizeof(alpn_h2), offered, len) !=
        OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *ret = chosen;
    return SSL_TLSEXT_ERR_OK;
}

/* on_alpn is not asked about a client that offers nothing at all. */
static int
on_client_hello(SSL *ssl, int *alert, void *arg)
{
    const unsigned char *data;
    size_t len;

    (void)arg;
    if (SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_application_layer_protocol_negotiation,
                                  &data, &len) == 1)
        return SSL_CLIENT_HELLO_SUCCESS;
    *alert = SSL_AD_NO_APPLICATION_PROTOCOL;
    return SSL_CLIENT_HELLO_ERROR;
}

/* No tickets: a resumed session would outlive the certificates that it was made with. */
static int
ctx_make(const struct tls_context *context, SSL_CTX **ret_ssl)
{
    VMT_CLEANUP(ctx_freep)
    SSL_CTX *ssl =
        SSL_CTX_new(context->server ? TLS_server_method() : TLS_client_method());

    if (!ssl || SSL_CTX_set_min_proto_version(ssl, TLS1_3_VERSION) != 1 ||
        SSL_CTX_set_max_proto_version(ssl, 0) != 1 ||
        SSL_CTX_set_num_tickets(ssl, 0) != 1 || SSL_CTX_set_max_early_data(ssl, 0) != 1 ||
        SSL_CTX_set_alpn_protos(ssl, alpn_h2, sizeof(alpn_h2)) != 0)
        return -ENOMEM;
    (void)SSL_CTX_set_options(ssl, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION |
                                       SSL_OP_NO_COMPRESSION);
    (void)SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_OFF);
    /* An idle connection keeps no buffers: 32 KiB of them. */
    (void)SSL_CTX_set_mode(ssl, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_cert_verify_callback(ssl, tls_verify, NULL);
    if (context->server) {
        SSL_CTX_set_alpn_select_cb(ssl, on_alpn, NULL);
        SSL_CTX_set_client_hello_cb(ssl, on_client_hello, NULL);
    }
    if (!context->server || context->clients == TLS_CLIENTS_VERIFIED)
        SSL_CTX_set_verify(ssl, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    *ret_ssl = vmt_take_ptr(&ssl);
    return 0;
}

int
tls_context_load(const struct tls_context *context, SSL_CTX **ret_ssl,
                 struct vmt_err *err)
{
    VMT_CLEANUP(ctx_freep) SSL_CTX *ssl = NULL;
    int r;

    ERR_clear_error();
    if (ctx_make(context, &ssl) < 0)
        return tls_err(err, ENOMEM, "set TLS up");
    if (context->chain.path || context->chain.pem) {
        r = load_chain(context, ssl, err);
        if (r == 0)
            r = load_key(context, ssl, err);
        if (r < 0)
            return r;
    }
    if (!context->server || context->clients == TLS_CLIENTS_VERIFIED) {
        r = load_roots(context, ssl, err);
        if (r < 0)
            return r;
    }
    *ret_ssl = vmt_take_ptr(&ssl);
    return 0;
}
