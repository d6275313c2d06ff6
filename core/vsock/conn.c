/* SPDX-License-Identifier: BSD-3-Clause */
/* One connection: what the packets of the guest and the events of the host side do. */
#include <errno.h>

#include "core/vsock/mux_internal.h"

typedef void conn_op_fn(struct vsock_conn *conn, const struct vsock_hdr *hdr,
                        const struct iovec *iov, size_t niov);

uint32_t
vsock_conn_credit(const struct vsock_conn *conn)
{
    uint32_t in_flight = conn->tx_cnt - conn->peer_fwd_cnt;

    /* A guest that shrinks its buffer or lies simply gets nothing for now. */
    return in_flight < conn->peer_buf_alloc ? conn->peer_buf_alloc - in_flight : 0;
}

bool
vsock_conn_wants_data(const struct vsock_conn *conn)
{
    return conn->state == VSOCK_STATE_CONNECTED && conn->readable && !conn->host_eof &&
           !(conn->guest_shut & VSOCK_SHUTDOWN_RCV);
}

void
vsock_conn_update(struct vsock_conn *conn)
{
    bool listed = conn->ready.next != NULL;
    bool data = vsock_conn_wants_data(conn);
    bool ready;

    if (data && !vsock_conn_credit(conn)) {
        /* Linux tells about freed space by itself; the specification only promises an
         * answer to a request. One per stall. */
        if (!conn->asked_credit)
            conn->owed |= VSOCK_OWES_CREDIT_REQUEST;
        conn->asked_credit = true;
        data = false;
    }
    ready = conn->owed || data;
    if (ready && !listed)
        vmt_list_append(&conn->mux->ready, &conn->ready);
    if (!ready && listed)
        vmt_list_remove(&conn->ready);
}

void
vsock_conn_close_host(struct vsock_conn *conn)
{
    void *host = conn->host;

    conn->host = NULL;
    if (host)
        conn->mux->ops->close(host);
}

void
vsock_conn_reset(struct vsock_conn *conn)
{
    vsock_conn_close_host(conn);
    if (conn->state == VSOCK_STATE_LINGER || (conn->owed & VSOCK_OWES_REQUEST)) {
        vsock_conn_free(conn); /* the guest does not know about it */
        return;
    }
    vmt_buf_done(&conn->out);
    vsock_conn_set_deadline(conn, 0);
    conn->state = VSOCK_STATE_RESETTING;
    conn->owed = VSOCK_OWES_RST;
    vsock_conn_update(conn);
}

void
vsock_conn_announce(struct vsock_conn *conn, unsigned flags)
{
    if ((conn->host_shut & flags) == flags)
        return;
    conn->host_shut |= flags;
    conn->owed |= VSOCK_OWES_SHUTDOWN;
    vsock_conn_update(conn);
}

/* Owe a credit update once half of the buffer came free since the guest last heard: often
 * enough that it never waits at full speed, seldom enough that it costs little. A Linux
 * guest sends no more than its own buffer holds, however large ours is (since "vsock/
 * virtio: cap TX credit to local buffer size"): half of the smaller one. */
static void
conn_check_credit(struct vsock_conn *conn)
{
    uint32_t window = conn->buf_alloc;

    if (conn->peer_buf_alloc < window)
        window = conn->peer_buf_alloc;
    if (vsock_conn_fwd_cnt(conn) != conn->fwd_cnt_told &&
        vsock_conn_fwd_cnt(conn) - conn->fwd_cnt_told >= window / 2)
        conn->owed |= VSOCK_OWES_CREDIT_UPDATE;
    vsock_conn_update(conn);
}

/* All bytes of the guest are with the host: do what had to wait for that. */
static void
conn_on_drained(struct vsock_conn *conn)
{
    if (conn->state == VSOCK_STATE_LINGER) {
        vsock_conn_free(conn);
    } else if (conn->guest_shut == VSOCK_SHUTDOWN_BOTH) {
        vsock_conn_reset(conn); /* the clean end of 5.10.6.5: a reset confirms it */
    } else if ((conn->guest_shut & VSOCK_SHUTDOWN_SEND) && !conn->send_shut_done) {
        conn->send_shut_done = true;
        conn->mux->ops->shutdown(conn->host, VSOCK_SHUTDOWN_SEND);
    }
}

/* The host side does not take bytes any more. */
static void
conn_on_deaf(struct vsock_conn *conn)
{
    conn->host_deaf = true;
    vmt_buf_done(&conn->out);
    if (conn->state == VSOCK_STATE_CONNECTED)
        vsock_conn_announce(conn, VSOCK_SHUTDOWN_RCV);
    conn_on_drained(conn);
}

/* Write iov to the host side. Returns bytes taken, 0 when it takes none now, -errno when
 * the connection is over (conn may be gone). */
static ssize_t
conn_write(struct vsock_conn *conn, const struct iovec *iov, size_t niov)
{
    ssize_t n = conn->mux->ops->write(conn->host, iov, niov);

    if (n >= 0)
        return n;
    if (n == -EAGAIN)
        return 0;
    if (n == -EPIPE)
        conn_on_deaf(conn);
    else
        vsock_conn_reset(conn);
    return n;
}

static void
conn_flush(struct vsock_conn *conn)
{
    struct iovec piece = {.iov_base = conn->out.data, .iov_len = conn->out.len};
    ssize_t n;

    if (!conn->out.len)
        return;
    n = conn_write(conn, &piece, 1);
    if (n <= 0)
        return;
    vmt_buf_consume(&conn->out, (size_t)n);
    if (conn->state == VSOCK_STATE_LINGER)
        vsock_conn_set_deadline(conn, VSOCK_LINGER_TICKS);
    if (!conn->out.len)
        vmt_buf_done(&conn->out); /* an idle connection holds no memory */
    conn_check_credit(conn);
    if (!conn->out.len)
        conn_on_drained(conn);
}

/* Keep what is left of iov after skip bytes. Returns 0 or -ENOMEM. */
static int
conn_keep(struct vsock_conn *conn, const struct iovec *iov, size_t niov, size_t skip)
{
    for (size_t i = 0; i < niov; i++) {
        size_t off = skip < iov[i].iov_len ? skip : iov[i].iov_len;
        const uint8_t *base = iov[i].iov_base;
        int r = vmt_buf_append(&conn->out, base + off, iov[i].iov_len - off);

        if (r < 0)
            return r;
        skip -= off;
    }
    return 0;
}

static void
on_rw(struct vsock_conn *conn, const struct vsock_hdr *hdr, const struct iovec *iov,
      size_t niov)
{
    ssize_t n = 0;

    /* More than was promised, or more after the end: such a peer is not to be trusted
     * with this connection any more. */
    if ((conn->guest_shut & VSOCK_SHUTDOWN_SEND) ||
        hdr->len > conn->buf_alloc - conn->out.len) {
        vsock_conn_reset(conn);
        return;
    }
    conn->rx_cnt += hdr->len;
    conn->mux->stats.bytes_to_host += hdr->len;
    if (conn->host_deaf || !hdr->len) {
        conn_check_credit(conn);
        return;
    }
    if (!conn->out.len) {
        n = conn_write(conn, iov, niov);
        if (n < 0)
            return;
    }
    if ((size_t)n < hdr->len && conn_keep(conn, iov, niov, (size_t)n) < 0) {
        vsock_conn_reset(conn);
        return;
    }
    conn_check_credit(conn);
}

static void
on_shutdown(struct vsock_conn *conn, const struct vsock_hdr *hdr, const struct iovec *iov,
            size_t niov)
{
    unsigned before = conn->guest_shut;

    (void)iov;
    (void)niov;
    conn->guest_shut |= hdr->flags & VSOCK_SHUTDOWN_BOTH;
    if ((conn->guest_shut & ~before & VSOCK_SHUTDOWN_RCV) && conn->host)
        conn->mux->ops->shutdown(conn->host, VSOCK_SHUTDOWN_RCV);
    vsock_conn_update(conn);
    if (!conn->out.len)
        conn_on_drained(conn);
}

/* The guest is done with the connection. What it sent before is still delivered, as the
 * kernel's own sockets would. */
static void
on_rst(struct vsock_conn *conn, const struct vsock_hdr *hdr, const struct iovec *iov,
       size_t niov)
{
    (void)hdr;
    (void)iov;
    (void)niov;
    if (!conn->out.len) {
        vsock_conn_free(conn);
        return;
    }
    conn->state = VSOCK_STATE_LINGER;
    conn->owed = 0;
    vsock_conn_unhash(conn);
    vsock_conn_set_deadline(conn, VSOCK_LINGER_TICKS);
    vsock_conn_update(conn);
}

static void
on_credit_request(struct vsock_conn *conn, const struct vsock_hdr *hdr,
                  const struct iovec *iov, size_t niov)
{
    (void)hdr;
    (void)iov;
    (void)niov;
    conn->owed |= VSOCK_OWES_CREDIT_UPDATE;
    vsock_conn_update(conn);
}

static void
on_response(struct vsock_conn *conn, const struct vsock_hdr *hdr, const struct iovec *iov,
            size_t niov)
{
    (void)hdr;
    (void)iov;
    (void)niov;
    conn->state = VSOCK_STATE_CONNECTED;
    vsock_conn_set_deadline(conn, 0);
    conn->mux->stats.opened++;
    if (conn->mux->ops->accepted(conn->host, conn->host_port) < 0) {
        vsock_conn_reset(conn);
        return;
    }
    conn->readable = true;
    vsock_conn_update(conn);
}

/* The guest gave up before the host side was open. */
static void
on_cancel(struct vsock_conn *conn, const struct vsock_hdr *hdr, const struct iovec *iov,
          size_t niov)
{
    (void)hdr;
    (void)iov;
    (void)niov;
    vsock_conn_reset(conn);
}

static void
on_nothing(struct vsock_conn *conn, const struct vsock_hdr *hdr, const struct iovec *iov,
           size_t niov)
{
    (void)hdr;
    (void)iov;
    (void)niov;
    vsock_conn_update(conn);
}

/* NULL: the packet has no place there; the connection is reset. LINGER is not here: it is
 * not found by a packet any more. */
static conn_op_fn *const conn_ops[VSOCK_STATE_COUNT][VSOCK_OP_COUNT] = {
    [VSOCK_STATE_OPENING] = {[VSOCK_OP_RST] = on_rst,
                             [VSOCK_OP_SHUTDOWN] = on_cancel,
                             [VSOCK_OP_CREDIT_UPDATE] = on_nothing,
                             [VSOCK_OP_CREDIT_REQUEST] = on_nothing},
    [VSOCK_STATE_REQUESTED] =
        {[VSOCK_OP_RESPONSE] = on_response, [VSOCK_OP_RST] = on_rst},
    [VSOCK_STATE_CONNECTED] = {[VSOCK_OP_RST] = on_rst,
                               [VSOCK_OP_SHUTDOWN] = on_shutdown,
                               [VSOCK_OP_RW] = on_rw,
                               [VSOCK_OP_CREDIT_UPDATE] = on_nothing,
                               [VSOCK_OP_CREDIT_REQUEST] = on_credit_request},
    [VSOCK_STATE_RESETTING] = {[VSOCK_OP_REQUEST] = on_nothing,
                               [VSOCK_OP_RESPONSE] = on_nothing,
                               [VSOCK_OP_RST] = on_rst,
                               [VSOCK_OP_SHUTDOWN] = on_nothing,
                               [VSOCK_OP_RW] = on_nothing,
                               [VSOCK_OP_CREDIT_UPDATE] = on_nothing,
                               [VSOCK_OP_CREDIT_REQUEST] = on_nothing},
};

void
vsock_conn_receive(struct vsock_conn *conn, const struct vsock_hdr *hdr,
                   const struct iovec *iov, size_t niov)
{
    conn_op_fn *fn = hdr->op < VSOCK_OP_COUNT ? conn_ops[conn->state][hdr->op] : NULL;

    /* Every packet carries the sender's credit, 5.10.6.3. */
    conn->peer_buf_alloc = hdr->buf_alloc;
    conn->peer_fwd_cnt = hdr->fwd_cnt;
    if (vsock_conn_credit(conn))
        conn->asked_credit = false;
    if (fn) {
        fn(conn, hdr, iov, niov);
        return;
    }
    conn->mux->stats.dropped++;
    vsock_conn_reset(conn);
}

void
vsock_conn_on_opened(struct vsock_conn *conn, int status)
{
    if (status < 0) {
        conn->host = NULL;
        conn->mux->stats.refused++;
        vsock_conn_reset(conn);
        return;
    }
    conn->state = VSOCK_STATE_CONNECTED;
    conn->mux->stats.opened++;
    conn->owed |= VSOCK_OWES_RESPONSE;
    conn->readable = true;
    vsock_conn_update(conn);
}

void
vsock_conn_on_io(struct vsock_conn *conn, bool readable, bool writable)
{
    if (!conn->host || conn->state == VSOCK_STATE_OPENING)
        return;
    if (conn->state == VSOCK_STATE_REQUESTED) {
        /* The host program does not want to wait for the guest's answer. */
        if (conn->mux->ops->hung_up(conn->host))
            vsock_conn_reset(conn);
        return;
    }
    if (readable && conn->host_eof && !conn->host_deaf &&
        conn->mux->ops->hung_up(conn->host)) {
        conn_on_deaf(conn); /* half closed before, wholly closed now */
        return;
    }
    if (readable)
        conn->readable = true;
    vsock_conn_update(conn);
    if (writable)
        conn_flush(conn);
}
