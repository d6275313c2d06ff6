/* SPDX-License-Identifier: BSD-3-Clause */
/* The table of connections, and what does not belong to one of them. */
#include "core/vsock/mux.h"

#include <errno.h>
#include <stdlib.h>

#include "core/base/limits.h"
#include "core/vsock/mux_internal.h"

static struct vmt_list *
mux_bucket(struct vsock_mux *mux, uint32_t guest_port, uint32_t host_port)
{
    /* A guest can make its own lookups slow by colliding ports, at most over its own
     * VSOCK_CONNS_MAX connections. */
    uint32_t hash = (guest_port * 0x9e3779b1u) ^ (host_port * 0x85ebca6bu);

    return &mux->buckets[(hash >> 16) % VSOCK_BUCKETS];
}

struct vsock_conn *
vsock_conn_find(struct vsock_mux *mux, uint32_t guest_port, uint32_t host_port)
{
    struct vmt_list *bucket = mux_bucket(mux, guest_port, host_port);

    VMT_LIST_FOREACH(node, next, bucket)
    {
        struct vsock_conn *conn = VMT_CONTAINER_OF(node, struct vsock_conn, bucket);

        if (conn->guest_port == guest_port && conn->host_port == host_port)
            return conn;
    }
    return NULL;
}

/* The more is promised already, the less a new connection gets. */
static uint32_t
mux_buf_alloc(const struct vsock_mux *mux)
{
    uint32_t left =
        mux->buf_promised < VSOCK_BUF_BUDGET ? VSOCK_BUF_BUDGET - mux->buf_promised : 0;
    uint32_t share = left / 64;

    if (share > VSOCK_BUF_MAX)
        return VSOCK_BUF_MAX;
    return share < VSOCK_BUF_MIN ? VSOCK_BUF_MIN : share;
}

int
vsock_conn_new(struct vsock_mux *mux, uint32_t guest_port, uint32_t host_port,
               struct vsock_conn **ret_conn)
{
    struct vsock_conn *conn;

    if (mux->stats.conns >= VSOCK_CONNS_MAX)
        return -EMFILE;
    conn = calloc(1, sizeof(*conn));
    if (!conn)
        return -ENOMEM;
    conn->mux = mux;
    conn->guest_port = guest_port;
    conn->host_port = host_port;
    conn->buf_alloc = mux_buf_alloc(mux);
    mux->buf_promised += conn->buf_alloc;
    mux->stats.conns++;
    vmt_list_append(&mux->conns, &conn->all);
    vmt_list_append(mux_bucket(mux, guest_port, host_port), &conn->bucket);
    vsock_journal_add(conn);
    *ret_conn = conn;
    return 0;
}

void
vsock_conn_free(struct vsock_conn *conn)
{
    struct vsock_mux *mux = conn->mux;

    vsock_journal_remove(conn); /* before anybody can see that it is over */
    vsock_conn_close_host(conn);
    vsock_conn_set_deadline(conn, 0);
    vmt_list_remove(&conn->all);
    vmt_list_remove(&conn->bucket);
    vmt_list_remove(&conn->ready);
    vmt_buf_done(&conn->out);
    mux->buf_promised -= conn->buf_alloc;
    mux->stats.conns--;
    free(conn);
}

void
vsock_conn_set_deadline(struct vsock_conn *conn, unsigned ticks)
{
    if (ticks && !conn->ticks_left)
        conn->mux->timed++;
    if (!ticks && conn->ticks_left)
        conn->mux->timed--;
    conn->ticks_left = ticks;
}

void
vsock_conn_unhash(struct vsock_conn *conn)
{
    vmt_list_remove(&conn->bucket);
    vsock_journal_remove(conn);
}

int
vsock_mux_new(uint32_t guest_cid, const struct vsock_host_ops *ops, void *arg,
              struct vsock_mux **ret_mux)
{
    struct vsock_mux *mux;

    if (guest_cid < VMT_CID_GUEST_MIN || guest_cid == UINT32_MAX)
        return -EINVAL;
    mux = calloc(1, sizeof(*mux));
    if (!mux)
        return -ENOMEM;
    mux->ops = ops;
    mux->arg = arg;
    mux->guest_cid = guest_cid;
    mux->next_port = VSOCK_HOST_PORT_FIRST;
    vmt_list_init(&mux->conns);
    vmt_list_init(&mux->ready);
    for (unsigned i = 0; i < VSOCK_BUCKETS; i++)
        vmt_list_init(&mux->buckets[i]);
    *ret_mux = mux;
    return 0;
}

void
vsock_mux_reset(struct vsock_mux *mux)
{
    VMT_LIST_FOREACH(node, next, &mux->conns)
    {
        vsock_conn_free(VMT_CONTAINER_OF(node, struct vsock_conn, all));
    }
    vsock_mux_published(mux);
    mux->orphan_first = mux->orphan_count = 0;
}

void
vsock_mux_free(struct vsock_mux *mux)
{
    if (!mux)
        return;
    vsock_mux_reset(mux);
    free(mux);
}

bool
vsock_mux_can_receive(const struct vsock_mux *mux)
{
    return mux->orphan_count < VSOCK_ORPHANS_MAX;
}

/* Answer a packet that has no connection. A reset is never answered: two ends that both
 * know nothing would go on for ever. */
static void
mux_reset_orphan(struct vsock_mux *mux, const struct vsock_hdr *hdr)
{
    struct vsock_orphan *orphan;

    mux->stats.dropped++;
    if (hdr->op == VSOCK_OP_RST || mux->orphan_count == VSOCK_ORPHANS_MAX)
        return;
    orphan = &mux->orphans[(mux->orphan_first + mux->orphan_count) % VSOCK_ORPHANS_MAX];
    mux->orphan_count++;
    orphan->src_cid = hdr->dst_cid;
    orphan->dst_cid = hdr->src_cid;
    orphan->src_port = hdr->dst_port;
    orphan->dst_port = hdr->src_port;
    orphan->type = hdr->type;
}

/* The guest asks for a connection to the host. */
static void
mux_open(struct vsock_mux *mux, const struct vsock_hdr *hdr)
{
    struct vsock_conn *conn = NULL;
    int r = vsock_conn_new(mux, hdr->src_port, hdr->dst_port, &conn);

    if (r < 0) {
        mux->stats.refused++;
        mux_reset_orphan(mux, hdr);
        return;
    }
    conn->state = VSOCK_STATE_OPENING;
    conn->peer_buf_alloc = hdr->buf_alloc;
    conn->peer_fwd_cnt = hdr->fwd_cnt;
    r = mux->ops->open(mux->arg, conn, hdr->dst_port, &conn->host);
    if (r == -EINPROGRESS)
        return;
    if (r < 0)
        conn->host = NULL;
    vsock_conn_on_opened(conn, r);
}

void
vsock_mux_receive(struct vsock_mux *mux, const struct vsock_hdr *hdr,
                  const struct iovec *iov, size_t niov)
{
    struct vsock_conn *conn;

    if (hdr->op == VSOCK_OP_RST)
        mux->stats.rst_received++;
    /* Only the host is reachable, and nobody speaks for another: guests cannot meet. */
    if (hdr->dst_cid != VMT_CID_HOST || hdr->src_cid != mux->guest_cid ||
        hdr->type != VSOCK_TYPE_STREAM) {
        mux_reset_orphan(mux, hdr);
        return;
    }
    conn = vsock_conn_find(mux, hdr->src_port, hdr->dst_port);
    if (conn)
        vsock_conn_receive(conn, hdr, iov, niov);
    else if (hdr->op == VSOCK_OP_REQUEST)
        mux_open(mux, hdr);
    else
        mux_reset_orphan(mux, hdr);
}

void
vsock_mux_count_drop(struct vsock_mux *mux)
{
    mux->stats.dropped++;
}

/* A host port that no connection to guest_port uses; there are far more ports than
 * connections, so that the search ends. */
static uint32_t
mux_host_port(struct vsock_mux *mux, uint32_t guest_port)
{
    uint32_t port;

    do {
        port = mux->next_port++;
        /* 2^31 and above would be negative in programs that print a port as int. */
        if (mux->next_port > INT32_MAX)
            mux->next_port = VSOCK_HOST_PORT_FIRST;
    } while (vsock_conn_find(mux, guest_port, port));
    if (mux->journal)
        mux->journal->next_port = mux->next_port;
    return port;
}

int
vsock_mux_connect(struct vsock_mux *mux, uint32_t guest_port, void *host,
                  struct vsock_conn **ret_conn)
{
    struct vsock_conn *conn = NULL;
    int r = vsock_conn_new(mux, guest_port, mux_host_port(mux, guest_port), &conn);

    if (r < 0)
        return r;
    conn->state = VSOCK_STATE_REQUESTED;
    conn->host = host;
    conn->owed = VSOCK_OWES_REQUEST;
    vsock_conn_set_deadline(conn, VSOCK_REQUEST_TICKS);
    vsock_conn_update(conn);
    *ret_conn = conn;
    return 0;
}

static void
conn_expire(struct vsock_conn *conn)
{
    if (conn->state == VSOCK_STATE_LINGER)
        vsock_conn_free(conn);
    else
        vsock_conn_reset(conn);
}

bool
vsock_mux_tick(struct vsock_mux *mux)
{
    VMT_LIST_FOREACH(node, next, &mux->conns)
    {
        struct vsock_conn *conn = VMT_CONTAINER_OF(node, struct vsock_conn, all);

        if (conn->ticks_left == 1)
            conn_expire(conn);
        else if (conn->ticks_left)
            conn->ticks_left--;
    }
    return mux->timed > 0;
}

bool
vsock_mux_wants_tick(const struct vsock_mux *mux)
{
    return mux->timed > 0;
}

const struct vsock_stats *
vsock_mux_stats(const struct vsock_mux *mux)
{
    return &mux->stats;
}
