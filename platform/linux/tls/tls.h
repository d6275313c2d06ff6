/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/tls/tls.h - TLS 1.3 over any stream, for HTTP/2 and nothing else.
 *
 * ALPN "h2" is demanded from both sides, and no session is ever resumed: each connection
 * proves anew who is there, with the certificates that are valid then. */
#pragma once

#include <stdbool.h>

struct stream;
struct tls_context;
struct tls_handshake;
struct vmt_clock;
struct vmt_err;

/* PEM text: a file, which tls_context_reload reads again, or the text itself. Both NULL:
 * nothing. Copied. */
struct tls_source {
    const char *path;
    const char *pem;
};

enum tls_clients {
    TLS_CLIENTS_VERIFIED = 0, /* a client without a valid certificate is refused */
    TLS_CLIENTS_ANONYMOUS,    /* none is asked for: for test programs */
};

struct tls_config {
    bool server;
    enum tls_clients clients; /* of a server */
    /* Our own certificate and those that signed it, in this order, and its private key
     * without a passphrase. A client may go without. */
    struct tls_source chain, key;
    /* Whom we trust to sign the certificates of peers: a root, or anything below one.
     * Not needed, and ignored, for TLS_CLIENTS_ANONYMOUS. */
    struct tls_source roots;
};

/* Read and check all of it. clock, borrowed for the life of the context, says what time
 * it is and runs the deadlines. Returns 0, -ENOMEM, -EINVAL (something is missing, is not
 * PEM, a key that does not fit), -EKEYEXPIRED (or not valid yet), or what reading a file
 * gave. */
int tls_context_new(struct vmt_clock *clock, const struct tls_config *config,
                    struct tls_context **ret_context, struct vmt_err *err);
/* Handshakes and streams that began live on. NULL is legal. */
void tls_context_free(struct tls_context *context);

/* Read the files again. Handshakes that begin from now on use what is in them; those that
 * began before, and their streams, go on. On failure nothing changes. Returns what
 * tls_context_new gives. */
int tls_context_reload(struct tls_context *context, struct vmt_err *err);

/* Runs exactly once unless the handshake is cancelled, from the loop. On success s is the
 * callee's, err is NULL, and the peer of s has kind STREAM_PEER_TLS; on failure s is NULL
 * and err, borrowed for the call, says why: EACCES when the certificate of the peer is
 * no good, EPROTO when it is no such TLS, or refused us, ETIMEDOUT, or what happened to
 * the connection. */
typedef void tls_done_fn(void *arg, struct stream *s, const struct vmt_err *err);

struct tls_dial {
    struct stream *lower; /* not used by anybody yet */
    /* A client says whom it wants, by at least one of them: a DNS name or a numeric
     * address that the certificate must be for (RFC 6125; the common name does not
     * count), or the very identity of the peer as its stream_peer would tell it. A server
     * may ask for an identity. Borrowed for the call. */
    const char *name;
    const char *identity;
    unsigned timeout_ms; /* 0: 10 s */
    tls_done_fn *on_done;
    void *arg; /* borrowed until on_done or cancel */
};

/* Begin. On success the lower stream is the handshake's, later the new stream's. Mind
 * TLS 1.3: a client is done before the server has looked at its certificate; a refusal
 * comes as an error of the stream. Returns 0, -EINVAL, -ENOMEM, -EPIPE (the lower stream
 * is broken already). */
int tls_handshake_start(struct tls_context *context, const struct tls_dial *dial,
                        struct tls_handshake **ret_handshake, struct vmt_err *err);
/* Close the connection; on_done will not run any more. NULL is legal. */
void tls_handshake_cancel(struct tls_handshake *handshake);

/* The stream itself keeps every rule of core/adapter/stream.h. The end of the peer is its
 * close_notify: a connection that ends without one was cut off, and on_end says
 * -ECONNRESET. Other statuses: -EPROTO after bytes that are no TLS, an alert of the
 * peer, or a flood of key updates, or those of the lower stream. Descriptors do not
 * travel (-ENOTSUP). */
