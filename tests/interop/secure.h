/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/interop/secure.h - TLS of the interop server: its clients stay anonymous. */
#pragma once

struct secure;
struct stream;
struct stream_peer;
struct vmt_clock;
struct vmt_err;
struct tls_source;

/* A client has shaken hands; the callee owns s. peer is borrowed for the call. */
typedef void secure_accept_fn(void *arg, struct stream *s,
                              const struct stream_peer *peer);

/* Serve with a certificate chain and its key, both borrowed for the call. fn and arg are
 * borrowed for the life of the object. Returns what tls_context_new gives. */
int secure_new(struct vmt_clock *clock, const struct tls_source *chain,
               const struct tls_source *key, secure_accept_fn *fn, void *arg,
               struct secure **ret_secure, struct vmt_err *err);
/* Ends handshakes that are under way. NULL is legal. */
void secure_free(struct secure *secure);

/* Shake hands on s, which is no longer the caller's, also on failure. */
void secure_accept(struct secure *secure, struct stream *s);
