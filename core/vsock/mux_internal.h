/* SPDX-License-Identifier: BSD-3-Clause */
/* core/vsock/mux_internal.h - shared by mux.c (table), conn.c (packets of the guest) and
 * fill.c (packets for the guest). */
#pragma once

#include "core/base/buf.h"
#include "core/base/list.h"
#include "core/vsock/journal.h"
#include "core/vsock/mux.h"

#define VSOCK_BUCKETS 1024u
/* More pieces than this in one read or write are left for the next one; what POSIX
 * systems take at once (Linux: UIO_MAXIOV). */
#define VSOCK_IOV_MAX 1024u

enum vsock_state {
    VSOCK_STATE_OPENING,   /* guest asked, the host side is being opened */
    VSOCK_STATE_REQUESTED, /* host asked, the guest has not answered */
    VSOCK_STATE_CONNECTED,
    VSOCK_STATE_RESETTING, /* only the reset for the guest is left */
    VSOCK_STATE_LINGER,    /* the guest is gone, its last bytes go to the host */
    VSOCK_STATE_COUNT,
};

/* Packets that a connection owes the guest, at most one of each. */
enum vsock_owed {
    VSOCK_OWES_REQUEST = 1u << VSOCK_OP_REQUEST,
    VSOCK_OWES_RESPONSE = 1u << VSOCK_OP_RESPONSE,
    VSOCK_OWES_RST = 1u << VSOCK_OP_RST,
    VSOCK_OWES_SHUTDOWN = 1u << VSOCK_OP_SHUTDOWN,
    VSOCK_OWES_CREDIT_UPDATE = 1u << VSOCK_OP_CREDIT_UPDATE,
    VSOCK_OWES_CREDIT_REQUEST = 1u << VSOCK_OP_CREDIT_REQUEST,
};

struct vsock_conn {
    struct vsock_mux *mux;  /* borrowed */
    struct vmt_list all;    /* in mux->conns */
    struct vmt_list bucket; /* in mux->buckets, unless LINGER */
    struct vmt_list ready;  /* in mux->ready while it has something for the guest */
    void *host;             /* owned; NULL after close */
    uint32_t guest_port, host_port;
    enum vsock_state state;
    unsigned owed;       /* enum vsock_owed */
    unsigned ticks_left; /* 0: no deadline */
    bool readable;       /* the host side may have bytes */
    bool host_eof;       /* it will have no more */
    bool host_deaf;      /* it does not take any more */
    unsigned guest_shut; /* VSOCK_SHUTDOWN_*, what the guest announced */
    unsigned host_shut;  /* what we announced or owe to announce */
    bool send_shut_done; /* the host side was told that the guest sends no more */
    struct vmt_buf out;  /* bytes of the guest that the host side did not take yet */
    uint32_t buf_alloc;  /* what out may hold */
    uint32_t rx_cnt;     /* bytes from the guest */
    uint32_t fwd_cnt_told;
    uint32_t tx_cnt; /* bytes to the guest */
    uint32_t peer_buf_alloc, peer_fwd_cnt;
    bool asked_credit; /* and the guest has not said anything since */
    int entry;         /* in the journal; -1: none */
};

struct vsock_orphan {
    uint64_t src_cid, dst_cid;
    uint32_t src_port, dst_port;
    uint16_t type;
};

struct vsock_mux {
    const struct vsock_host_ops *ops; /* borrowed */
    void *arg;                        /* borrowed */
    uint32_t guest_cid;
    uint32_t next_port;
    uint32_t buf_promised; /* sum of buf_alloc */
    unsigned timed;        /* connections with a deadline */
    struct vmt_list conns;
    struct vmt_list ready;
    struct vmt_list buckets[VSOCK_BUCKETS];
    struct vsock_orphan orphans[VSOCK_ORPHANS_MAX];
    unsigned orphan_first, orphan_count;
    struct vsock_stats stats;
    struct vsock_journal *journal;  /* borrowed; NULL: none */
    unsigned journal_next;          /* where a free entry is looked for */
    uint16_t told[VSOCK_CONNS_MAX]; /* entries whose reset the guest will see next */
    unsigned ntold;
    struct iovec scratch[VSOCK_IOV_MAX]; /* pieces of several slots, for one read */
};

/* mux.c: the table. */
struct vsock_conn *vsock_conn_find(struct vsock_mux *mux, uint32_t guest_port,
                                   uint32_t host_port);
int vsock_conn_new(struct vsock_mux *mux, uint32_t guest_port, uint32_t host_port,
                   struct vsock_conn **ret_conn);
void vsock_conn_free(struct vsock_conn *conn);
void vsock_conn_set_deadline(struct vsock_conn *conn, unsigned ticks);
void vsock_conn_unhash(struct vsock_conn *conn);

/* journal.c: entries of connections; without a journal nothing happens. */
void vsock_journal_add(struct vsock_conn *conn);
void vsock_journal_remove(struct vsock_conn *conn);
/* Once the guest has seen the reset that was filled in just now. */
void vsock_journal_remove_later(struct vsock_conn *conn);

/* conn.c: one connection. */
void vsock_conn_receive(struct vsock_conn *conn, const struct vsock_hdr *hdr,
                        const struct iovec *iov, size_t niov);
/* Close the host side; the guest gets a reset if it knows of the connection. */
void vsock_conn_reset(struct vsock_conn *conn);
void vsock_conn_close_host(struct vsock_conn *conn);
/* Put the connection on the ready list, or take it off, as its fields say. */
void vsock_conn_update(struct vsock_conn *conn);
/* Bytes that the guest can take now. */
uint32_t vsock_conn_credit(const struct vsock_conn *conn);
bool vsock_conn_wants_data(const struct vsock_conn *conn);
static inline uint32_t
vsock_conn_fwd_cnt(const struct vsock_conn *conn)
{
    return conn->rx_cnt - (uint32_t)conn->out.len;
}
/* Announce to the guest; flags are VSOCK_SHUTDOWN_* as seen from the host. */
void vsock_conn_announce(struct vsock_conn *conn, unsigned flags);
