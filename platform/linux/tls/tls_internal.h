/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/tls/tls_internal.h - contexts, streams, and what they share. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <openssl/ssl.h>

#include "core/adapter/stream.h"
#include "core/base/buf.h"
#include "platform/linux/tls/tls.h"

struct vmt_timer;

/* For a handshake that nobody gave a deadline: many round trips of any network. */
#define TLS_HANDSHAKE_MS 10000u

/* Ciphertext is handed to the lower stream in such pieces: four full records. */
#define TLS_FLUSH_AT (64u * 1024)

/* Records under one key, half of what RFC 8446 5.5 grants to AES-GCM (2^24.5). */
#define TLS_RECORDS_PER_KEY (1u << 23)

/* When memory for the next turn was missing, an open stream goes on that much later. The
 * loop wakes up that often for each stream. */
#define TLS_WATCH_MS 5000u

/* Handshake messages that may come in a row after the handshake, without a byte of data
 * in between: tickets and new keys. As many new keys as BoringSSL takes (kMaxKeyUpdates);
 * crypto/tls of Go takes half of that. */
#define TLS_MESSAGES_MAX 32u

/* Bytes that we may have to say on our own before the peer reads the first of them. An
 * answer to a key update has 27: more than a thousand that were asked for and not read.
 */
#define TLS_ANSWERS_MAX (32u * 1024)

/* Most that one record carries, RFC 8446 5.1. */
#define TLS_RECORD_MAX 16384u

/* A certificate or key file is small; what is larger is something else. */
#define TLS_FILE_MAX (1024u * 1024)

/* An owned copy of a tls_source. */
struct tls_material {
    char *path, *pem; /* owned */
};

struct tls_context {
    struct vmt_clock *clock; /* borrowed */
    bool server;
    enum tls_clients clients;
    struct tls_material chain, key, roots;
    SSL_CTX *ssl; /* owned; for handshakes that begin now */
};

enum tls_phase {
    TLS_PHASE_HANDSHAKE = 1, /* on_done has not run */
    TLS_PHASE_OPEN,          /* the owner has it */
    TLS_PHASE_CLOSED,        /* freed when the last callback returns */
};

/* A connection from the start of its handshake on. */
struct tls_stream {
    struct stream base;
    struct stream *lower;                 /* owned */
    struct vmt_clock *clock;              /* borrowed */
    const struct stream_handler *handler; /* borrowed */
    void *arg;                            /* borrowed */
    SSL *ssl;                             /* owned */
    const uint8_t *span; /* borrowed: what the lower stream brings right now, to be */
    size_t span_len;     /* read after in */
    struct vmt_buf in;   /* ciphertext of before: at most what one on_data of the lower
                            stream brought */
    struct vmt_buf out;  /* ciphertext on its way to lower; empty between calls */
    struct vmt_timer *timer; /* owned; deadline of the handshake, then the next turn */
    struct vmt_timer *watch; /* owned; waits from the open stream's first moment to its
                                end, as a turn has to be had without memory, too */
    tls_done_fn *on_done;
    void *done_arg;      /* borrowed */
    char *identity;      /* owned; NULL: none */
    char *want_identity; /* owned; what tls_dial asks for; NULL: anybody */
    struct stream_peer peer;
    uint32_t records;   /* sent under the present key */
    unsigned messages;  /* handshake messages of the open stream since data came */
    uint64_t handed;    /* bytes that lower ever took */
    size_t answers;     /* bytes that reading made us send, and that may wait yet */
    uint64_t answer_at; /* where the first of them ends, as a value of handed */
    enum tls_phase phase;
    unsigned busy;  /* callbacks on the stack */
    int failed;     /* negative: nothing can be sent any more */
    int lower_code; /* of lower's on_end */
    bool lower_ended, paused, shut, ended;
};

/* The handle of a handshake is the stream in its first phase. */
static inline struct tls_stream *
tls_of_handshake(struct tls_handshake *handshake)
{
    return (struct tls_stream *)(void *)handshake;
}

/* bio.c: the method of a BIO that takes from in and gives to out and lower; NULL without
 * memory. Made once per process. */
BIO_METHOD *tls_bio_method(void);

/* context_load.c: make an SSL_CTX of what the context names, checked at the time of its
 * clock. Returns what tls_context_new does. */
int tls_context_load(const struct tls_context *context, SSL_CTX **ret_ssl,
                     struct vmt_err *err);

/* context.c: the verdict about the peer's certificate. */
int tls_verify(X509_STORE_CTX *store, void *arg);
/* Record a failure of OpenSSL: the text, then its own reason, whose queue is emptied. */
int tls_err(struct vmt_err *err, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* identity.c: the name that the owner of a certificate goes by. Returns 0 and a string of
 * 1 to VMT_IDENTITY_MAX bytes without control characters, which the caller frees, or NULL
 * and STREAM_IDENTITY_NONE; -EINVAL when the names cannot be told for sure: one that is
 * empty, too long or unprintable, several URIs or common names; -ENOMEM. */
int tls_identity(const X509 *cert, enum stream_identity_kind *ret_kind,
                 char **ret_identity);

/* Whether the peer goes by this very name. What looks like a URI has to be one: an
 * authority that gives out common names does not thereby give out URIs. */
bool tls_identity_is(const struct stream_peer *peer, const char *want);

/* stream.c */
extern const struct stream_ops tls_stream_ops;
extern const struct stream_handler tls_lower_handler;
/* Hand what SSL wrote to the lower stream. Returns 0 or -errno. */
int tls_flush(struct tls_stream *s);
/* Close the lower stream and free s, now or when its callbacks have returned. */
void tls_stream_dispose(struct tls_stream *s);
/* Free s, whose lower stream is its owner's or closed. */
void tls_stream_free(struct tls_stream *s);

/* Begin the watch of a stream that opens. Returns 0 or -ENOMEM. */
int tls_stream_watch(struct tls_stream *s);
/* Count handshake messages from now on. */
void tls_stream_watch_messages(struct tls_stream *s);

/* A transport found out which VM the identity belongs to. */
void tls_stream_set_cid(struct stream *s, uint32_t cid);

/* handshake.c: go on with what came, or with the end of the lower stream. */
void tls_handshake_step(struct tls_stream *s);
