/* SPDX-License-Identifier: BSD-3-Clause */
/* Packets for the guest: what connections owe it, and payload read right into its
 * buffers. */
#include <errno.h>

#include "core/base/limits.h"
#include "core/vsock/mux_internal.h"

/* What goes out before payload, and what after it, in this order. Payload carries the
 * credit by itself. */
static const uint16_t owed_first[] = {VSOCK_OP_RST, VSOCK_OP_REQUEST, VSOCK_OP_RESPONSE};
static const uint16_t owed_last[] = {VSOCK_OP_SHUTDOWN, VSOCK_OP_CREDIT_UPDATE,
                                     VSOCK_OP_CREDIT_REQUEST};

bool
vsock_mux_pending(const struct vsock_mux *mux)
{
    return mux->orphan_count || !vmt_list_empty(&mux->ready);
}

static void
fill_orphan(struct vsock_mux *mux, struct vsock_slot *slot)
{
    const struct vsock_orphan *orphan = &mux->orphans[mux->orphan_first];

    slot->hdr = (struct vsock_hdr){
        .src_cid = orphan->src_cid,
        .dst_cid = orphan->dst_cid,
        .src_port = orphan->src_port,
        .dst_port = orphan->dst_port,
        .type = orphan->type,
        .op = VSOCK_OP_RST,
    };
    mux->orphan_first = (mux->orphan_first + 1) % VSOCK_ORPHANS_MAX;
    mux->orphan_count--;
    mux->stats.rst_sent++;
}

static void
conn_fill_hdr(struct vsock_conn *conn, uint16_t op, uint32_t len, struct vsock_hdr *hdr)
{
    *hdr = (struct vsock_hdr){
        .src_cid = VMT_CID_HOST,
        .dst_cid = conn->mux->guest_cid,
        .src_port = conn->host_port,
        .dst_port = conn->guest_port,
        .len = len,
        .type = VSOCK_TYPE_STREAM,
        .op = op,
        .flags = op == VSOCK_OP_SHUTDOWN ? conn->host_shut : 0,
        .buf_alloc = conn->buf_alloc,
        .fwd_cnt = vsock_conn_fwd_cnt(conn),
    };
    conn->fwd_cnt_told = hdr->fwd_cnt;
    conn->owed &= ~(unsigned)VSOCK_OWES_CREDIT_UPDATE;
}

/* Emit the first of ops that conn owes. Returns packets: 0 or 1; conn is gone after a
 * reset. */
static size_t
conn_fill_owed(struct vsock_conn *conn, const uint16_t ops[3], struct vsock_slot *slot)
{
    for (unsigned i = 0; i < 3; i++) {
        if (!(conn->owed & (1u << ops[i])))
            continue;
        conn->owed &= ~(1u << ops[i]);
        conn_fill_hdr(conn, ops[i], 0, &slot->hdr);
        if (ops[i] == VSOCK_OP_RST) {
            conn->mux->stats.rst_sent++;
            vsock_journal_remove_later(conn);
            vsock_conn_free(conn);
        }
        return 1;
    }
    return 0;
}

/* The host side ended: with its writing half only, or wholly. */
static void
conn_on_eof(struct vsock_conn *conn)
{
    conn->host_eof = true;
    if (conn->mux->ops->hung_up(conn->host)) {
        conn->host_deaf = true;
        vmt_buf_done(&conn->out);
    }
    vsock_conn_announce(conn,
                        conn->host_deaf ? VSOCK_SHUTDOWN_BOTH : VSOCK_SHUTDOWN_SEND);
}

/* The pieces of the slots, as one list of at most max bytes. Returns pieces. */
static size_t
mux_gather(struct vsock_mux *mux, const struct vsock_slot *slots, size_t n, size_t max)
{
    size_t used = 0;

    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < slots[i].niov && max && used < VSOCK_IOV_MAX; j++) {
            struct iovec *piece = &mux->scratch[used++];

            *piece = slots[i].iov[j];
            if (piece->iov_len > max)
                piece->iov_len = max;
            max -= piece->iov_len;
        }
    }
    return used;
}

/* Headers for len bytes that lie in the slots. Returns slots. */
static size_t
conn_label(struct vsock_conn *conn, struct vsock_slot *slots, size_t len)
{
    size_t i = 0;

    conn->tx_cnt += (uint32_t)len;
    conn->mux->stats.bytes_to_guest += len;
    for (; len; i++) {
        size_t part = len < slots[i].room ? len : slots[i].room;

        conn_fill_hdr(conn, VSOCK_OP_RW, (uint32_t)part, &slots[i].hdr);
        len -= part;
    }
    return i;
}

static size_t
conn_fill_data(struct vsock_conn *conn, struct vsock_slot *slots, size_t n)
{
    uint32_t credit = vsock_conn_credit(conn);
    size_t pieces;
    ssize_t got;

    if (!credit || !vsock_conn_wants_data(conn))
        return 0;
    pieces = mux_gather(conn->mux, slots, n, credit);
    got = conn->mux->ops->read(conn->host, conn->mux->scratch, pieces);
    if (got > 0)
        return conn_label(conn, slots, (size_t)got);
    conn->readable = false;
    if (got == 0)
        conn_on_eof(conn);
    else if (got != -EAGAIN)
        vsock_conn_reset(conn); /* stays: the guest knows it, so a reset is owed */
    return 0;
}

/* Returns packets; 0: conn had nothing after all and is off the ready list, or has
 * something else now. */
static size_t
conn_fill(struct vsock_conn *conn, struct vsock_slot *slots, size_t n)
{
    bool is_reset = conn->owed & VSOCK_OWES_RST;
    size_t used = conn_fill_owed(conn, owed_first, slots);

    if (is_reset)
        return used; /* conn is gone */
    if (!used)
        used = conn_fill_data(conn, slots, n);
    if (!used && !(conn->owed & VSOCK_OWES_RST))
        used = conn_fill_owed(conn, owed_last, slots);
    /* To the end of the queue: connections take turns. */
    vmt_list_remove(&conn->ready);
    vsock_conn_update(conn);
    return used;
}

size_t
vsock_mux_fill(struct vsock_mux *mux, struct vsock_slot *slots, size_t n)
{
    size_t used = 0;

    while (used < n && vsock_mux_pending(mux)) {
        if (mux->orphan_count) {
            fill_orphan(mux, &slots[used++]);
            continue;
        }
        used += conn_fill(VMT_CONTAINER_OF(mux->ready.next, struct vsock_conn, ready),
                          &slots[used], n - used);
    }
    return used;
}
