/* SPDX-License-Identifier: BSD-3-Clause */
/* core/adapter/stream.h - a connected byte stream, whatever carries it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct stream;

/* Who is at the other end, as the kernel or the transport tells it. */
enum stream_peer_kind {
    STREAM_PEER_UNKNOWN = 0,
    STREAM_PEER_UNIX,  /* uid, gid, pid of SO_PEERCRED */
    STREAM_PEER_VSOCK, /* cid and port of the peer's AF_VSOCK address */
    STREAM_PEER_VM,    /* cid of the VM whose socket directory the connection came by */
    STREAM_PEER_TCP,   /* nothing that could be trusted */
    STREAM_PEER_TLS,   /* identity, and the cid if a transport gave it to that identity */
};

/* Which name of its certificate a peer goes by. A name is worth what its kind is: nobody
 * checks that a common name is no URI. */
enum stream_identity_kind {
    STREAM_IDENTITY_NONE = 0, /* it showed no certificate, or one without any of these */
    STREAM_IDENTITY_URI,      /* subject alternative name, such as spiffe://domain/path */
    STREAM_IDENTITY_DNS,      /* subject alternative name, the first of them */
    STREAM_IDENTITY_CN,       /* common name of the subject */
};
struct stream_peer {
    enum stream_peer_kind kind;
    uint32_t uid, gid;
    int32_t pid;
    uint32_t cid;
    uint32_t port;
    enum stream_identity_kind identity_kind;
    const char *identity; /* verified; NULL: none. Belongs to whoever told the peer: with
                             a stream it is valid until the stream is closed */
};

/* Callbacks run from the loop only, never from inside a stream call. The table is
 * borrowed until close. */
struct stream_handler {
    /* len >= 1 bytes arrived; all of them are consumed by this call. */
    void (*on_data)(void *arg, const uint8_t *data, size_t len);
    /* The queue of unsent bytes fell to VMT_STREAM_LOW_MARK after it had been above
     * VMT_STREAM_HIGH_MARK. May be NULL. */
    void (*on_drain)(void *arg);
    /* The peer sent its last byte (status 0: it may still read), or the stream broke
     * (negative errno: nothing can be sent any more). Runs at most once; on_data does not
     * run after it. */
    void (*on_end)(void *arg, int status);
};

struct stream_ops {
    /* Set who is told. Until then nothing is read. arg is borrowed until close. */
    void (*set_handler)(struct stream *s, const struct stream_handler *handler,
                        void *arg);
    /* Queue a copy of data, which is written from the loop or at once. The nfds
     * descriptors are duplicated and travel with the first byte (unix sockets only; else
     * -ENOTSUP). Never blocks and has no limit of its own: the caller looks at queued().
     * Returns 0, -ENOMEM, -EPIPE after a failure or after shutdown_send. Without data it
     * only asks: -EPIPE where the peer is known to take no more. */
    int (*send)(struct stream *s, const void *data, size_t len, const int *fds,
                size_t nfds);
    /* Bytes that wait to be written. */
    size_t (*queued)(const struct stream *s);
    /* Descriptors that arrived and nobody took yet, oldest first: the caller owns what it
     * takes. Returns how many were written to fds. More than VMT_FDS_MAX in waiting
     * breaks the stream. */
    size_t (*take_fds)(struct stream *s, int *fds, size_t max);
    /* Stop or resume reading: back-pressure towards the peer. */
    void (*pause)(struct stream *s, bool paused);
    /* Tell the peer that nothing more comes, after what is queued. */
    void (*shutdown_send)(struct stream *s);
    /* Release at once, unsent bytes are dropped; no callback runs any more. May be called
     * from inside a callback of this stream. */
    void (*close)(struct stream *s);
    void (*peer)(const struct stream *s, struct stream_peer *ret_peer);
};

struct stream {
    const struct stream_ops *ops;
};

static inline void
stream_close(struct stream *s)
{
    if (s)
        s->ops->close(s);
}
