/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/unit/tls/world.h - a client and a server over streams in memory, time by a fake
 * clock. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "core/adapter/stream.h"
#include "core/base/buf.h"
#include "core/base/err.h"
#include "platform/linux/tls/tls.h"
#include "tests/fake/fake_clock.h"
#include "tests/fake/fake_stream.h"
#include "tests/unit/tls/certs.h"

struct tls_world;

/* One side, and what it learned. */
struct tls_side {
    struct tls_world *w;
    struct stream *raw;   /* its end below TLS; owned until the handshake begins */
    struct stream *below; /* borrowed; what raw was */
    struct stream *s;     /* owned; after the handshake */
    struct tls_handshake *handshake;
    bool done; /* on_done ran */
    unsigned times;
    struct vmt_err err; /* code 0: none */
    bool no_handler;    /* do not read at once */
    struct vmt_buf got;
    size_t total, drains;
    bool discard, ended, close_in_data, close_in_end, close_in_drain, pause_in_data;
    int status;
};

struct tls_world {
    struct fake_clock *clock;
    struct cert ca, server_cert, client_cert;
    struct tls_context *server, *client;
    struct tls_side c, s;
};

/* The common case: both have certificates of one authority, the server's for
 * "vm.example", ::1 and spiffe://test/server, the client's for spiffe://test/client. */
int tls_world_setup(void **state);
int tls_world_teardown(void **state);

/* Make the streams below; both sides are then as new. */
void tls_world_wire(struct tls_world *w);
/* Wire if need be, shake hands and wait for the outcome of both. */
void tls_world_shake(struct tls_world *w);
/* The same, and it has to succeed. */
void tls_world_connect(struct tls_world *w);
/* Begin on one side. */
void tls_side_start(struct tls_side *side, struct tls_context *context, const char *name,
                    const char *identity);
/* The same, if it can. Returns what tls_handshake_start gives. */
int tls_side_try(struct tls_side *side, struct tls_context *context, const char *name,
                 const char *identity);
/* Let everything happen that can without waiting for a deadline. */
void tls_world_run(struct tls_world *w);
void tls_world_reset(struct tls_world *w);

void tls_side_send(struct tls_side *side, const void *data, size_t len);

/* The peer of s shall use a new key, and we do from now on. Returns false when s cannot
 * ask any more. */
bool tls_stream_ask_for_key(struct stream *s);

/* Contexts from certificates; pem by pem. */
struct tls_context *tls_world_server(struct tls_world *w, const struct cert *cert,
                                     const struct cert *ca);
struct tls_context *tls_world_client(struct tls_world *w, const struct cert *cert,
                                     const struct cert *ca);
