/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/contract/transport/end.h - one end of a connection, and how two of them meet. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "core/adapter/stream.h"
#include "core/base/buf.h"
#include "tests/contract/transport/transport_contract.h"

struct transport;
struct transport_listener;
struct transport_op;
struct vmt_err;

#define CONTRACT_PORTS 16
#define DIAL_TIMEOUT_MS 20000

#define CHECK(cond)                                                                      \
    do {                                                                                 \
        if (!(cond)) {                                                                   \
            (void)fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #cond);   \
            return false;                                                                \
        }                                                                                \
    } while (0)

/* One end of a connection and what it learned. */
struct end {
    struct stream *s; /* owned */
    struct stream_peer peer;
    struct vmt_buf got;
    size_t want;
    bool reached, ended, done;
    int status;   /* of on_end */
    int code;     /* of a failed connect */
    char why[64]; /* the beginning of its words */
    unsigned times;
    struct transport_op *op;             /* borrowed */
    struct transport_listener *listener; /* borrowed */
    struct transport *t;                 /* borrowed */
    bool close_at_once, unlisten_at_once;
};

void end_release(struct end *e);
/* Remember what s brings; a second stream is closed. */
void end_attach(struct end *e, struct stream *s);
/* For transport_dial and listen; arg is the end. */
void end_on_done(void *arg, struct stream *s, const struct vmt_err *err);
void end_on_accept(void *arg, struct stream *s, const struct stream_peer *peer);

/* Listen on the first port that is free from *port on. */
bool end_listen(struct end *e, struct transport *t, uint32_t *port);
int end_connect(struct end *e, struct transport *t, uint32_t cid, uint32_t port);

/* Each side learns of the other. */
bool add_both(struct contract_world *w);
/* Connect from one side to a listener on the other; both ends get their streams. */
bool connect_pair(struct contract_world *w, bool from_host, struct end *caller,
                  struct end *called);

bool send_text(struct end *e, const char *text);
bool expect_text(struct contract_world *w, struct end *e, const char *text);
/* A question and an answer. */
bool talk(struct contract_world *w, struct end *a, struct end *b);
