/* SPDX-License-Identifier: BSD-3-Clause */
/* core/vsock/journal.h - which connections the guest knows of, in memory that outlives
 * the process that serves them. The next one reads there whom it has to tell that their
 * connection is over: the guest's kernel would wait for ever on one that nobody resets.
 *
 * Written at once, in this order: a connection stands here before the guest can hear of
 * it, and until the guest has been told of its end (see vsock_mux_published). What is
 * read may be anything, as its writer may have died for a reason: it only decides which
 * ports of the guest get a reset. */
#pragma once

#include <stdint.h>

#define VSOCK_JOURNAL_CONNS 1024u /* VSOCK_CONNS_MAX */

struct vsock_journal_conn {
    uint32_t used; /* 0: the ports mean nothing */
    uint32_t guest_port, host_port;
};

/* All zeroes: nothing happened yet. */
struct vsock_journal {
    uint32_t next_port; /* of the host's end; 0: none was used yet */
    uint32_t reserved;
    struct vsock_journal_conn conns[VSOCK_JOURNAL_CONNS];
};
