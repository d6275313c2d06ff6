/* SPDX-License-Identifier: BSD-3-Clause */
/* What a peer sends, frame by frame, before the session looks at it.
 *
 * Some frames cost us more than they cost their sender and get it nothing: HTTP/2 sets no
 * limit to them (RFC 9113 section 10.5). Each kind has a purse that fills with time, and
 * with HEADERS and DATA, since those are what a connection is for. Whoever empties one is
 * told so and closed. The session's callbacks do not show all of it: frames of streams
 * that are gone, CONTINUATION, a block that is never ended. */
#include <string.h>

#include "core/adapter/clock.h"
#include "core/rpc/conn_internal.h"
#include "core/rpc/rpc.h"

/* A block of RPC_HEADER_LIST_MAX fits two frames. Source of the attack: CERT VU#421644.
 */
#define CONTINUATIONS_MAX 8u

#define FRAME_HEAD_BYTES 9u
#define PREFACE_BYTES (sizeof(NGHTTP2_CLIENT_MAGIC) - 1)
_Static_assert(PREFACE_BYTES <= RPC_WATCH_HEAD_MAX, "the preface is the longest head");

/* Windows: some peers give back each kilobyte of each frame, for stream and connection.
 * PING: Go's bandwidth estimate asks once per round trip while data flows. SETTINGS:
 * gRPC's C core adapts its window so, some times a second. Resets: CVE-2023-44487; but a
 * call that is cancelled costs no more than one that is answered, and stock clients come
 * with ten thousand deadlines at once. What a reset leaves behind is a fault. PRIORITY:
 * CVE-2019-9513; browsers send a few per request. Empty DATA: CVE-2019-9518. */
static const struct {
    uint32_t burst, per_s, per_useful;
    const char *word;
} watch_purses[RPC_WATCH_COUNT] = {
    [RPC_WATCH_SETTINGS] = {100, 10, 0, "too_many_settings"},
    [RPC_WATCH_PING] = {500, 50, 1, "too_many_pings"},
    [RPC_WATCH_RESET] = {20000, 10000, 0, "too_many_resets"},
    [RPC_WATCH_FAULT] = {500, 100, 0, "too_many_faults"},
    [RPC_WATCH_WINDOW] = {5000, 1000, 32, "too_many_window_updates"},
    [RPC_WATCH_PRIORITY] = {1000, 100, 10, "too_many_priorities"},
    [RPC_WATCH_EMPTY] = {200, 20, 1, "too_many_empty_frames"},
    [RPC_WATCH_OTHER] = {1000, 100, 2, "too_many_frames"},
};

/* Types of HTTP/2; what is not here is RPC_WATCH_OTHER. */
static const uint8_t watch_kinds[] = {
    [NGHTTP2_PRIORITY] = RPC_WATCH_PRIORITY, [NGHTTP2_RST_STREAM] = RPC_WATCH_RESET,
    [NGHTTP2_SETTINGS] = RPC_WATCH_SETTINGS, [NGHTTP2_PING] = RPC_WATCH_PING,
    [NGHTTP2_GOAWAY] = RPC_WATCH_OTHER,      [NGHTTP2_WINDOW_UPDATE] = RPC_WATCH_WINDOW,
};

void
rpc_watch_init(struct rpc_conn *conn)
{
    struct rpc_watch *w = &conn->watch;

    w->preface = conn->server;
    for (size_t i = 0; i < RPC_WATCH_COUNT; i++) {
        w->purses[i].tokens = watch_purses[i].burst;
        w->purses[i].filled_ms = conn->clock->ops->now_ms(conn->clock);
    }
}

static void
watch_fill(struct rpc_conn *conn, enum rpc_watch_kind kind)
{
    struct rpc_purse *p = &conn->watch.purses[kind];
    uint64_t now = conn->clock->ops->now_ms(conn->clock);
    uint64_t fresh = (now - p->filled_ms) * watch_purses[kind].per_s / 1000 +
                     (conn->watch.useful - p->useful) * watch_purses[kind].per_useful;

    p->tokens =
        (uint32_t)(fresh < watch_purses[kind].burst ? fresh : watch_purses[kind].burst);
    p->filled_ms = now;
    p->useful = conn->watch.useful;
}

void
rpc_watch_charge(struct rpc_conn *conn, enum rpc_watch_kind kind)
{
    struct rpc_purse *p = &conn->watch.purses[kind];

    if (p->tokens == 0)
        watch_fill(conn, kind);
    if (p->tokens == 0)
        rpc_conn_goodbye(conn, NGHTTP2_ENHANCE_YOUR_CALM, watch_purses[kind].word,
                         "flood: the peer sends %s", watch_purses[kind].word);
    else
        p->tokens--;
}

/* Padding is no excuse: an empty frame may carry 255 bytes of it. */
static bool
watch_is_empty(const struct rpc_watch *w)
{
    if (w->flags & NGHTTP2_FLAG_END_STREAM)
        return false;
    return w->left == 0 || ((w->flags & NGHTTP2_FLAG_PADDED) && w->left <= 256);
}

static void
watch_continue(struct rpc_conn *conn)
{
    if (++conn->watch.continuations > CONTINUATIONS_MAX)
        rpc_conn_goodbye(conn, NGHTTP2_ENHANCE_YOUR_CALM, "too_many_continuations",
                         "flood: a header block without end");
}

static void
watch_frame(struct rpc_conn *conn)
{
    struct rpc_watch *w = &conn->watch;
    bool answer = w->flags & NGHTTP2_FLAG_ACK;

    if (w->type == NGHTTP2_HEADERS) {
        w->block = true;
        w->useful++;
    } else if (w->type == NGHTTP2_CONTINUATION) {
        watch_continue(conn);
    } else if (w->type == NGHTTP2_DATA) {
        if (watch_is_empty(w))
            rpc_watch_charge(conn, RPC_WATCH_EMPTY);
        else
            w->useful++;
    } else if (w->type < sizeof(watch_kinds) && watch_kinds[w->type] && !answer) {
        rpc_watch_charge(conn, (enum rpc_watch_kind)watch_kinds[w->type]);
    } else {
        rpc_watch_charge(conn, RPC_WATCH_OTHER);
    }
}

static void
watch_frame_over(struct rpc_conn *conn)
{
    struct rpc_watch *w = &conn->watch;

    if ((w->type != NGHTTP2_HEADERS && w->type != NGHTTP2_CONTINUATION) ||
        !(w->flags & NGHTTP2_FLAG_END_HEADERS))
        return;
    w->block = false;
    w->continuations = 0;
    rpc_life_clear(conn, RPC_DUE_HEADERS);
}

static uint32_t
watch_id(const uint8_t *head)
{
    return ((uint32_t)head[5] << 24 | (uint32_t)head[6] << 16 | (uint32_t)head[7] << 8 |
            head[8]) &
           INT32_MAX;
}

static void
watch_head(struct rpc_conn *conn)
{
    struct rpc_watch *w = &conn->watch;

    w->head_len = 0;
    if (w->preface) {
        w->preface = false;
        w->off = memcmp(w->head, NGHTTP2_CLIENT_MAGIC, PREFACE_BYTES) != 0;
        return;
    }
    w->left = (uint32_t)w->head[0] << 16 | (uint32_t)w->head[1] << 8 | w->head[2];
    w->type = w->head[3];
    w->flags = w->head[4];
    if (w->type == NGHTTP2_HEADERS && watch_id(w->head) > w->last_id)
        w->last_id = watch_id(w->head);
    watch_frame(conn);
    if (w->left == 0)
        watch_frame_over(conn);
}

static size_t
watch_take(struct rpc_conn *conn, const uint8_t *data, size_t len)
{
    struct rpc_watch *w = &conn->watch;
    size_t want = w->preface ? PREFACE_BYTES : FRAME_HEAD_BYTES;
    size_t n;

    if (w->left > 0) {
        n = w->left < len ? w->left : len;
        w->left -= (uint32_t)n;
        if (w->left == 0)
            watch_frame_over(conn);
        return n;
    }
    n = want - w->head_len < len ? want - w->head_len : len;
    memcpy(w->head + w->head_len, data, n);
    w->head_len += n;
    if (w->head_len == want)
        watch_head(conn);
    return n;
}

/* gRPC's C core gives a call its stream id, and sends RST_STREAM when its deadline passes
 * before its HEADERS went out (seen with 1.51, thousands of deadlines at once). That is
 * an error of the connection (RFC 9113 section 5.1), and nghttp2 ends it with all its
 * calls; the C core's own servers do not look. So such a frame does not reach nghttp2
 * when the client has had streams before. Are the bytes one, or may they be its begin?
 * What comes after its stream id does not matter. */
static bool
watch_is_stillborn(const struct rpc_conn *conn, const uint8_t *data, size_t len)
{
    const struct rpc_watch *w = &conn->watch;
    static const uint8_t begin[] = {0, 0, 4, NGHTTP2_RST_STREAM};

    return conn->server && !w->preface && !w->block && w->left == 0 && w->head_len == 0 &&
           w->last_id > 0 &&
           memcmp(data, begin, len < sizeof(begin) ? len : sizeof(begin)) == 0 &&
           (len < FRAME_HEAD_BYTES ||
            (watch_id(data) % 2 == 1 && watch_id(data) > w->last_id));
}

size_t
rpc_watch_feed_kept(struct rpc_conn *conn, const uint8_t *data, size_t len,
                    size_t *ret_give)
{
    struct rpc_watch *w = &conn->watch;
    size_t used = 0;

    *ret_give = 0;
    while (used < len && w->kept_len > 0) {
        w->kept[w->kept_len++] = data[used++];
        if (!watch_is_stillborn(conn, w->kept, w->kept_len)) {
            /* No more than a frame's head: what begins in it ends later. */
            *ret_give = watch_take(conn, w->kept, w->kept_len);
            w->kept_len = 0;
        } else if (w->kept_len == RPC_WATCH_RESET_BYTES) {
            rpc_watch_charge(conn, RPC_WATCH_RESET);
            w->kept_len = 0;
        }
    }
    return used;
}

/* Returns how many bytes at data are not for the session. */
static size_t
watch_drop(struct rpc_conn *conn, const uint8_t *data, size_t len)
{
    struct rpc_watch *w = &conn->watch;

    if (!watch_is_stillborn(conn, data, len))
        return 0;
    if (len >= RPC_WATCH_RESET_BYTES) {
        rpc_watch_charge(conn, RPC_WATCH_RESET);
        return RPC_WATCH_RESET_BYTES;
    }
    memcpy(w->kept, data, len);
    w->kept_len = len;
    return len;
}

size_t
rpc_watch_feed(struct rpc_conn *conn, const uint8_t *data, size_t len, size_t *ret_drop)
{
    struct rpc_watch *w = &conn->watch;
    size_t used = 0;

    *ret_drop = 0;
    while (used < len && *ret_drop == 0 && !w->off && !conn->lost) {
        *ret_drop = watch_drop(conn, data + used, len - used);
        if (*ret_drop == 0)
            used += watch_take(conn, data + used, len - used);
    }
    /* Only a block that is not there as a whole costs a timer. */
    if (w->block && !conn->life.due_ms[RPC_DUE_HEADERS] && !conn->lost &&
        conn->setup_ms != RPC_NEVER_MS)
        rpc_life_set(conn, RPC_DUE_HEADERS, conn->setup_ms);
    return w->off ? len : used;
}
