/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/unit/rpc/raw.h - an HTTP/2 peer that sends what a gRPC peer would not. */
#pragma once

#include <nghttp2/nghttp2.h>

#include "tests/unit/rpc/wire.h"

#define RAW_STREAMS_MAX 256

/* What came on one stream. */
struct raw_stream {
    char headers[2048]; /* "name: value\n" of every block */
    struct vmt_buf body, send;
    bool end_stream, closed, hold; /* hold: send does not end the stream */
    uint32_t error;                /* of the close */
};

struct raw {
    nghttp2_session *session;
    struct stream *stream;
    bool server;
    struct raw_stream streams[RAW_STREAMS_MAX]; /* by id / 2 */
    size_t pings, pings_acked, goaways, fds_frames;
    uint32_t goaway_error;
    int32_t goaway_last;   /* of the newest */
    char goaway_word[64];  /* likewise: its debug data */
    bool mute;             /* what comes is not read */
    size_t window_updates; /* received for streams */
    bool ended;            /* the stream is over */
};

void raw_init(struct raw *raw, struct stream *stream, bool server);
void raw_done(struct raw *raw);
/* Send what is queued. */
void raw_flush(struct raw *raw);
/* Submit a request (client): fields are name, value, ..., NULL; body may be NULL; without
 * end the stream stays open. Returns the stream id. */
int32_t raw_request(struct raw *raw, const char *const *fields, const void *body,
                    size_t len, bool end);
/* Answer (server) with fields, body if not NULL, and trailers if not NULL, which end
 * with NULL like fields. */
void raw_respond(struct raw *raw, int32_t id, const char *const *fields, const void *body,
                 size_t len, const char *const *trailers);
struct raw_stream *raw_stream(struct raw *raw, int32_t id);
/* Does the stream's header text have this line? */
bool raw_has(struct raw *raw, int32_t id, const char *line);
/* More bytes of a held request; end ends it. */
void raw_more(struct raw *raw, int32_t id, const void *data, size_t len, bool end);

/* Fields of a good request for path. */
#define RAW_FIELDS(path)                                                                 \
    ":method", "POST", ":scheme", "http", ":path", path, ":authority", "a", "te",        \
        "trailers", "content-type", "application/grpc"
