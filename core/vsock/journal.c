/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/vsock/journal.h"

#include <stdatomic.h>
#include <string.h>

#include "core/vsock/mux_internal.h"

_Static_assert(VSOCK_JOURNAL_CONNS == VSOCK_CONNS_MAX, "an entry for each connection");

/* The process may end between any two stores: the compiler must keep their order. Another
 * processor does not read before this one is gone. */
static void
entry_set_used(struct vsock_journal_conn *entry, uint32_t used)
{
    atomic_signal_fence(memory_order_seq_cst);
    *(volatile uint32_t *)&entry->used = used;
    atomic_signal_fence(memory_order_seq_cst);
}

void
vsock_journal_add(struct vsock_conn *conn)
{
    struct vsock_mux *mux = conn->mux;
    struct vsock_journal *j = mux->journal;

    conn->entry = -1;
    for (unsigned i = 0; j && i < VSOCK_JOURNAL_CONNS; i++) {
        unsigned at = mux->journal_next++ % VSOCK_JOURNAL_CONNS;

        if (j->conns[at].used)
            continue;
        j->conns[at].guest_port = conn->guest_port;
        j->conns[at].host_port = conn->host_port;
        entry_set_used(&j->conns[at], 1);
        conn->entry = (int)at;
        return;
    }
}

void
vsock_journal_remove(struct vsock_conn *conn)
{
    if (conn->entry >= 0 && conn->mux->journal)
        entry_set_used(&conn->mux->journal->conns[conn->entry], 0);
    conn->entry = -1;
}

void
vsock_journal_remove_later(struct vsock_conn *conn)
{
    struct vsock_mux *mux = conn->mux;

    if (conn->entry >= 0)
        mux->told[mux->ntold++] = (uint16_t)conn->entry;
    conn->entry = -1;
}

void
vsock_mux_published(struct vsock_mux *mux)
{
    while (mux->journal && mux->ntold)
        entry_set_used(&mux->journal->conns[mux->told[--mux->ntold]], 0);
}

void
vsock_mux_leave_journal(struct vsock_mux *mux)
{
    mux->journal = NULL;
    mux->ntold = 0;
}

/* The guest is told with the first packets that it gets. Returns whether it has to be. */
static bool
recover_one(struct vsock_mux *mux, int entry, struct vsock_journal_conn ports)
{
    struct vsock_conn *conn = NULL;

    if (vsock_conn_find(mux, ports.guest_port, ports.host_port) ||
        vsock_conn_new(mux, ports.guest_port, ports.host_port, &conn) < 0)
        return false;
    conn->entry = entry; /* stays until the guest knows, should we die as well */
    conn->state = VSOCK_STATE_RESETTING;
    conn->owed = VSOCK_OWES_RST;
    vsock_conn_update(conn);
    return true;
}

unsigned
vsock_mux_set_journal(struct vsock_mux *mux, struct vsock_journal *journal, bool recover)
{
    uint32_t next_port = journal->next_port;

    vsock_mux_reset(mux);
    mux->journal = NULL;
    for (unsigned i = 0; i < VSOCK_JOURNAL_CONNS; i++) {
        struct vsock_journal_conn *entry = &journal->conns[i];

        if (!entry->used || !recover || !recover_one(mux, (int)i, *entry))
            entry_set_used(entry, 0);
    }
    mux->journal = journal;
    /* The guest may still hold ends of connections to the ports before: a new connection
     * from the same port would meet them. */
    if (next_port >= VSOCK_HOST_PORT_FIRST && next_port <= INT32_MAX)
        mux->next_port = next_port;
    return mux->stats.conns;
}
