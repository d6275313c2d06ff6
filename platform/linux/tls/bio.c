/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/tls/bio.c - what OpenSSL reads and writes, without a descriptor.
 * Source: BIO_meth_new(3), BIO_should_retry(3) of OpenSSL 3.0. */
#include <string.h>

#include <openssl/bio.h>
#include <openssl/crypto.h>

#include "platform/linux/tls/tls_internal.h"

static CRYPTO_ONCE bio_once = CRYPTO_ONCE_STATIC_INIT;
static BIO_METHOD *bio_method;

static int
bio_read(BIO *bio, char *to, size_t len, size_t *ret_n)
{
    struct tls_stream *s = BIO_get_data(bio);

    BIO_clear_retry_flags(bio);
    *ret_n = 0;
    /* SSL reads message after message and would not come back before all are answered. */
    if (s->messages > TLS_MESSAGES_MAX)
        return 0;
    if (s->in.len > 0) {
        *ret_n = s->in.len < len ? s->in.len : len;
        memcpy(to, s->in.data, *ret_n);
        vmt_buf_consume(&s->in, *ret_n);
    } else if (s->span_len > 0) {
        *ret_n = s->span_len < len ? s->span_len : len;
        memcpy(to, s->span, *ret_n);
        s->span += *ret_n;
        s->span_len -= *ret_n;
    } else {
        BIO_set_retry_read(bio);
    }
    return *ret_n > 0;
}

/* Never asks to wait: streams queue what cannot be written yet. */
static int
bio_write(BIO *bio, const char *from, size_t len, size_t *ret_n)
{
    struct tls_stream *s = BIO_get_data(bio);

    BIO_clear_retry_flags(bio);
    *ret_n = 0;
    if (vmt_buf_append(&s->out, from, len) < 0 ||
        (s->out.len >= TLS_FLUSH_AT && tls_flush(s) < 0))
        return 0;
    *ret_n = len;
    return 1;
}

static long
bio_ctrl(BIO *bio, int command, long number, void *pointer)
{
    (void)bio;
    (void)number;
    (void)pointer;
    return command == BIO_CTRL_FLUSH;
}

static int
bio_create(BIO *bio)
{
    BIO_set_init(bio, 1);
    return 1;
}

static void
bio_make_method(void)
{
    bio_method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "stream");
    if (!bio_method)
        return;
    (void)BIO_meth_set_read_ex(bio_method, bio_read);
    (void)BIO_meth_set_write_ex(bio_method, bio_write);
    (void)BIO_meth_set_ctrl(bio_method, bio_ctrl);
    (void)BIO_meth_set_create(bio_method, bio_create);
}

BIO_METHOD *
tls_bio_method(void)
{
    return CRYPTO_THREAD_run_once(&bio_once, bio_make_method) ? bio_method : NULL;
}
