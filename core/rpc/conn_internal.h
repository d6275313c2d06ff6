/* SPDX-License-Identifier: BSD-3-Clause */
/* core/rpc/conn_internal.h - one HTTP/2 connection and the streams on it, the same for
 * client and server.
 *
 * A connection is busy while one of its callbacks is on the stack (rpc_conn_enter to
 * rpc_conn_leave). Whatever is freed meanwhile is freed by the last rpc_conn_leave, which
 * also writes what has piled up: one turn of the loop, one send. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <nghttp2/nghttp2.h>

#include "core/adapter/stream.h"
#include "core/base/buf.h"
#include "core/base/limits.h"
#include "core/base/list.h"
#include "core/rpc/frame_internal.h"
#include "core/rpc/life_internal.h"
#include "core/rpc/metadata_internal.h"
#include "core/rpc/rpc.h"
#include "core/rpc/watch_internal.h"

struct rpc_call;
struct rpc_conn;
struct vmt_clock;
struct vmt_err;
struct vmt_timer;

/* Descriptors of one message. Two such frames may wait in the stream at once when the
 * bytes of the first were cut, so it is half of what a stream holds. */
#define RPC_FDS_MAX (VMT_FDS_MAX / 2)

/* The extension frame that announces descriptors, see rpc.h. */
#define RPC_FRAME_TYPE_FDS 0xf6u

/* One request header list; gRPC's own default is 8 KiB, hard limit 16 KiB. */
#define RPC_HEADER_LIST_MAX 16384u

/* Bytes gathered for one send: large enough to amortize the system call, small enough to
 * stay in cache. */
#define RPC_GATHER_BYTES (64u * 1024)

/* What client or server does when something happens on a stream. All run busy. */
struct rpc_call_ops {
    void (*on_header)(struct rpc_call *call, const struct rpc_header *header);
    /* A header block is complete; trailers says that it came after data or headers. */
    void (*on_headers_end)(struct rpc_call *call, bool trailers, bool end_stream);
    void (*on_message)(struct rpc_call *call, const struct rpc_frame *frame);
    /* The message stream cannot be read further; rpc_call_frame_status has the words. */
    void (*on_frame_error)(struct rpc_call *call, int error);
    /* The peer sent its last byte. */
    void (*on_end)(struct rpc_call *call);
    /* Everything queued is out and out_end is set. Returns true when it has submitted
     * trailers, false: the data ends the stream. */
    bool (*on_out_end)(struct rpc_call *call);
    /* All that was queued went to the connection, more may follow. Runs while the session
     * sends. */
    void (*on_drain)(struct rpc_call *call);
    /* The answer is out before the request is in: its rest is dropped until the peer ends
     * it, sends too much, or rpc_call_refuse_rest. Servers only. */
    void (*on_answered_early)(struct rpc_call *call);
    /* The stream is closed; the call is detached already. */
    void (*on_close)(struct rpc_call *call, uint32_t h2_error);
    void (*free)(struct rpc_call *call);
};

/* One stream; embedded first in the calls of client and server. */
struct rpc_call {
    const struct rpc_call_ops *ops;
    struct rpc_conn *conn; /* borrowed; valid while id is not 0 */
    struct vmt_list node;  /* in conn->calls, conn->graveyard or the server's orphans */
    struct vmt_list starved_node, resumed_node;
    int32_t id; /* HTTP/2 stream, 0: none (any more) */
    struct rpc_frame_decoder in;
    enum rpc_encoding in_encoding;  /* of compressed messages that come */
    enum rpc_encoding out_encoding; /* of messages that go */
    bool out_plain;                 /* but the next ones go as they are */
    bool in_compressed;             /* the newest message was compressed */
    bool paused;                    /* messages wait in backlog */
    bool end_pending;               /* the peer's end waits behind the backlog */
    bool stream_closed; /* the stream is gone, and the call waits to hand out its end */
    struct vmt_buf backlog; /* came while paused: at most the window of the stream */
    size_t held;            /* bytes of a partial message, as counted in conn->held */
    size_t parsed;     /* bytes of a message that waits or is served, in conn->parsed */
    size_t nfds_held;  /* descriptors that came, in conn->nfds_held */
    size_t unconsumed; /* received bytes that the stream's window does not get back yet */
    size_t header_bytes; /* of the current block */
    struct vmt_buf out;  /* framed messages that wait for the peer's window */
    bool out_end;        /* nothing follows what is in out */
    bool deferred;       /* the session waits for rpc_call_resume */
    bool unsent;         /* its HEADERS never went out: said by a client's on_close */
    bool deaf;           /* received data is dropped */
    bool answered_early; /* see on_answered_early */
    int fds_out[RPC_FDS_MAX]; /* owned; travel with the next HEADERS of this stream */
    size_t nfds_out;
    int fds_in[RPC_FDS_MAX]; /* owned; came with HEADERS of this stream */
    size_t nfds_in;
};

struct rpc_conn_ops {
    /* A request begins: returns a new call, or NULL to refuse it. Servers only. */
    struct rpc_call *(*on_request)(struct rpc_conn *conn);
    /* The peer's SETTINGS came, the first frame of each HTTP/2 peer. Clients only. */
    void (*on_settings)(struct rpc_conn *conn);
    /* The peer will not accept new streams; borrowed for the call. */
    void (*on_goaway)(struct rpc_conn *conn, const nghttp2_goaway *goaway);
    /* Of no use any more. Runs once; the owner answers its calls and closes, unless
     * conn->lingering: then on_gone follows. */
    void (*on_lost)(struct rpc_conn *conn, const char *reason);
    /* The peer had time to take our last bytes. The stream is closed already. */
    void (*on_gone)(struct rpc_conn *conn);
    /* A time came, RPC_DUE_OWNER or above. Servers only. */
    void (*on_due)(struct rpc_conn *conn, enum rpc_due which);
    /* The peer answered a PING with these 8 bytes. Servers only. */
    void (*on_pong)(struct rpc_conn *conn, const uint8_t *opaque);
    /* A GOAWAY of ours went to the connection. Servers only. */
    void (*on_goaway_sent)(struct rpc_conn *conn);
    /* Release the object that embeds conn. */
    void (*free)(struct rpc_conn *conn);
};

struct rpc_conn_config {
    const struct rpc_conn_ops *ops; /* borrowed for the life of the connection */
    struct vmt_clock *clock;        /* likewise */
    bool server;
    uint32_t streams_max; /* concurrent streams that the peer may open */
    uint32_t message_max; /* bytes of one received message */
    uint32_t send_max;    /* bytes of one message that is sent; 0: no limit */
    uint32_t setup_ms;    /* for the peer's SETTINGS, and for each header block */
    struct rpc_keepalive_config keepalive;
};

struct rpc_conn {
    const struct rpc_conn_ops *ops;
    struct vmt_clock *clock;
    struct stream *stream;    /* owned, NULL once lost or closed */
    nghttp2_session *session; /* owned */
    struct vmt_list calls;    /* every call with a stream */
    size_t ncalls;
    struct vmt_list starved;    /* calls that wait for room to read on */
    struct vmt_list resumed;    /* calls whose backlog the next turn hands out */
    struct vmt_list graveyard;  /* freed by the last rpc_conn_leave */
    struct rpc_call *favourite; /* the one call that may read on above the budget */
    size_t held;                /* bytes of partial messages of all calls */
    size_t parsed;              /* bytes of parsed messages of all calls */
    size_t inflated;            /* bytes that were decompressed in this turn */
    size_t nfds_held;           /* descriptors that came for calls */
    uint32_t message_max, send_max;
    struct vmt_buf out;       /* bytes for the stream */
    int out_fds[RPC_FDS_MAX]; /* owned; travel with the first byte of out */
    size_t nout_fds;
    int in_fds[RPC_FDS_MAX]; /* owned; for the next frame if it is HEADERS of in_stream */
    size_t nin_fds;
    uint32_t next_id;          /* of streams that the client opens */
    uint32_t gap_from, gap_to; /* ids that it left out last; the end is not one */
    int32_t in_stream;
    int32_t sent_stream;    /* newest whose HEADERS went out */
    uint8_t fds_payload[2]; /* of the announcing frame that is being received */
    size_t fds_payload_len;
    struct vmt_timer *flush_timer;
    struct rpc_life life;
    struct rpc_keepalive keepalive;
    uint32_t setup_ms;
    struct rpc_watch watch;
    unsigned busy;
    bool server, can_fds;
    bool secure; /* over TLS */
    bool wants_flush;
    bool lost, told_lost, closed;
    bool lingering;   /* lost, but the stream stays for the peer to read our last bytes */
    char reason[160]; /* why lost */
};

/* Start HTTP/2 on stream. conn is all zeroes before. Owns stream from success on. Returns
 * 0 or -ENOMEM. */
int rpc_conn_init(struct rpc_conn *conn, const struct rpc_conn_config *config,
                  struct stream *stream, struct vmt_err *err);
/* Close at once and free, later when busy. The owner has released all calls. */
void rpc_conn_close(struct rpc_conn *conn);

void rpc_conn_enter(struct rpc_conn *conn);
void rpc_conn_leave(struct rpc_conn *conn);
/* There is something to write: do so when this turn ends. */
void rpc_conn_kick(struct rpc_conn *conn);
/* The connection broke; on_lost follows from the loop. */
void rpc_conn_fail(struct rpc_conn *conn, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* The same, but the peer is told by GOAWAY with an error code and a word for its log. */
void rpc_conn_goodbye(struct rpc_conn *conn, uint32_t h2_error, const char *word,
                      const char *fmt, ...) __attribute__((format(printf, 4, 5)));
/* Close the stream of a connection that lingers, and tell the owner. */
void rpc_conn_gone(struct rpc_conn *conn);
/* Hand conn->out and conn->out_fds to the stream. */
void rpc_conn_send(struct rpc_conn *conn);
/* Calls that waited for room read on while there is some. */
void rpc_conn_feed_starved(struct rpc_conn *conn);
/* Close the descriptors at fds and set the count to 0. */
void rpc_fds_close(int *fds, size_t *nfds);

/* session.c: the nghttp2 session of a connection. Returns 0 or -ENOMEM. */
int rpc_session_new(struct rpc_conn *conn, const struct rpc_conn_config *config,
                    nghttp2_session **ret_session);

/* resets.c or its twin: we count resets, so nghttp2 need not. */
void rpc_session_leave_resets(nghttp2_option *options);

/* call.c */
void rpc_call_init(struct rpc_call *call, const struct rpc_call_ops *ops,
                   struct rpc_conn *conn);
/* The call is stream id from now on. */
void rpc_call_attach(struct rpc_call *call, int32_t id);
/* The call has no stream any more and gets no callbacks. */
void rpc_call_detach(struct rpc_call *call);
/* Free a detached call, later when conn is busy. conn may be NULL. */
void rpc_call_release(struct rpc_call *call, struct rpc_conn *conn);
/* Reset the stream, if it is open, and detach. */
void rpc_call_reset(struct rpc_call *call, uint32_t h2_error);
/* Reset a stream that was answered early; on_close follows. */
void rpc_call_refuse_rest(struct rpc_call *call);
/* Append a framed message to out. Returns 0, -ENOMEM, -EMSGSIZE. */
struct ProtobufCMessage;
int rpc_call_queue(struct rpc_call *call, const struct ProtobufCMessage *message);
/* Let the session look at out again. */
void rpc_call_resume(struct rpc_call *call);
/* Duplicate fds into fds_out. Returns 0, -ENOTSUP, -EINVAL (too many) or what dup gave.
 */
int rpc_call_set_fds(struct rpc_call *call, const int *fds, size_t nfds);
/* Data provider of every call that sends. */
nghttp2_data_provider rpc_call_provider(void);

/* receive.c */
void rpc_call_receive(struct rpc_call *call, const uint8_t *data, size_t len);
/* The peer sent its last byte: on_end follows, at once or behind what was put off. */
void rpc_call_receive_end(struct rpc_call *call);
/* Drop what came and what comes. */
void rpc_call_deafen(struct rpc_call *call);
/* Put off what comes and give no window back, or hand it out in the next turn of the
 * loop. Without effect on a connection that is lost. */
void rpc_call_pause(struct rpc_call *call, bool paused);
/* Hand out now what was put off, up to the end if that came. */
void rpc_call_go_on(struct rpc_call *call);
/* The same for all calls that were resumed, and for those that had made us decompress
 * too much, as far as this turn of the loop allows. */
bool rpc_conn_can_go_on(const struct rpc_conn *conn);
void rpc_conn_go_on(struct rpc_conn *conn);
/* What to say of an error that on_frame_error gave. Returns status. */
struct rpc_status *rpc_call_frame_status(const struct rpc_call *call, int error,
                                         struct rpc_status *status);
/* May the connection hold one more parsed message? */
bool rpc_call_may_parse(const struct rpc_call *call);
/* The call holds a parsed message of so many bytes, until it is detached at the latest.
 */
void rpc_call_hold_parsed(struct rpc_call *call, size_t bytes);
void rpc_call_release_parsed(struct rpc_call *call);
/* All that was queued went to the connection. */
void rpc_call_drained(struct rpc_call *call);

/* Write the entries of metadata, which may be NULL, to nv; borrowed until the submit
 * call. nv has room for RPC_METADATA_COUNT_MAX. Returns how many. */
size_t rpc_call_metadata_nv(nghttp2_nv *nv, const struct rpc_metadata *metadata);

/* Does the header have this name? */
static inline bool
rpc_header_is(const struct rpc_header *header, const char *name, size_t len)
{
    return header->name_len == len && memcmp(header->name, name, len) == 0;
}

/* A field for nghttp2; name is a literal, value NUL-terminated, both borrowed until the
 * submit call, which copies. */
#define RPC_NV(name_literal, value_ptr, value_length)                                    \
    ((nghttp2_nv){(uint8_t *)(uintptr_t)(name_literal),                                  \
                  (uint8_t *)(uintptr_t)(value_ptr), sizeof(name_literal) - 1,           \
                  (value_length), NGHTTP2_NV_FLAG_NO_COPY_NAME})
