/* SPDX-License-Identifier: BSD-3-Clause */
/* core/vsock/mux.h - the connections of one VM's socket device.
 *
 * A pure state machine between two sides. Towards the guest there are packets: what the
 * guest sent goes into vsock_mux_receive, and vsock_mux_fill writes what is for the guest
 * into the buffers that the guest provided. Towards the host there is struct
 * vsock_host_ops: one byte stream per connection. Payload is never copied on the way
 * unless the host side is slower than the guest; then at most the buffer that was
 * promised to the guest (buf_alloc) is kept.
 *
 * Nothing here calls back except through vsock_host_ops, from inside the call that caused
 * it. After any call that is given a struct vsock_conn, that connection may be gone;
 * close was called on its host side then.
 *
 * Source: OASIS virtio 1.2, section 5.10. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "core/vsock/packet.h"

struct vsock_conn;
struct vsock_journal;
struct vsock_mux;

/* What a connection may buffer for a slow reader on the host: the default that Linux
 * uses for its own sockets (VIRTIO_VSOCK_DEFAULT_BUF_SIZE). */
#define VSOCK_BUF_MAX (256u * 1024)
/* What it gets at least when a VM has many connections. */
#define VSOCK_BUF_MIN (16u * 1024)
/* Connections of one VM, and what they may buffer together before each gets only
 * VSOCK_BUF_MIN: so a hostile guest with readers that never read costs the host at most
 * VSOCK_BUF_BUDGET + VSOCK_CONNS_MAX * VSOCK_BUF_MIN = 64 MiB. */
#define VSOCK_CONNS_MAX 1024u
#define VSOCK_BUF_BUDGET (48u * 1024 * 1024)
/* Resets for packets without a connection that may wait for a buffer of the guest; when
 * they are this many, the guest is not listened to until it gives buffers. */
#define VSOCK_ORPHANS_MAX 128u
/* Ports of the host end of connections that the host opened, as Firecracker numbers them
 * ("OK 1073741824" in its docs/vsock.md): out of the way of service ports. */
#define VSOCK_HOST_PORT_FIRST 0x40000000u
/* A guest that does not answer a connection request, and bytes for a host reader that
 * does not read after the guest is gone, are given up after so many ticks. */
#define VSOCK_REQUEST_TICKS 10u
#define VSOCK_LINGER_TICKS 30u

/* The host side. host is what open or vsock_mux_connect gave. All calls return at once.
 */
struct vsock_host_ops {
    /* The guest wants to reach a port of the host. Returns 0: connected; -EINPROGRESS:
     * vsock_conn_on_opened will tell; another -errno: refused. Except when refused,
     * *ret_host is valid until close. */
    int (*open)(void *arg, struct vsock_conn *conn, uint32_t host_port, void **ret_host);
    /* The guest accepted what vsock_mux_connect asked for. Returns 0; -errno gives the
     * connection up. */
    int (*accepted)(void *host, uint32_t host_port);
    /* Read into iov. Returns bytes, 0 at the end of the stream, -EAGAIN: not before
     * vsock_conn_on_io; another -errno: broken. */
    ssize_t (*read)(void *host, const struct iovec *iov, size_t n);
    /* Write from iov. Returns bytes taken, -EAGAIN: none before vsock_conn_on_io; -EPIPE:
     * the peer will not read any more; another -errno: broken. */
    ssize_t (*write)(void *host, const struct iovec *iov, size_t n);
    /* Tell the peer: no more bytes come (VSOCK_SHUTDOWN_SEND), none are taken any more
     * (VSOCK_SHUTDOWN_RCV), as seen from the guest, whose flags these are. */
    void (*shutdown)(void *host, unsigned flags);
    /* Whether the peer is gone for both directions. */
    bool (*hung_up)(void *host);
    /* The connection is over; host is not used any more. */
    void (*close)(void *host);
};

struct vsock_stats {
    uint32_t conns;         /* now */
    uint64_t opened;        /* connections that were established */
    uint64_t bytes_to_host; /* accepted from the guest */
    uint64_t bytes_to_guest;
    uint64_t dropped;      /* packets of the guest without effect */
    uint64_t refused;      /* connection requests of the guest that were not granted */
    uint64_t rst_sent;     /* resets sent to the guest */
    uint64_t rst_received; /* resets that the guest sent */
};

/* A buffer of the guest for one packet. iov is the place for the payload, after the
 * header; the caller keeps iov and writes hdr after vsock_mux_fill. */
struct vsock_slot {
    struct iovec *iov; /* borrowed */
    size_t niov;
    size_t room; /* sum of iov, at least 1 */
    struct vsock_hdr hdr;
};

/* guest_cid is VMT_CID_GUEST_MIN .. UINT32_MAX - 1. ops and arg (for open) are borrowed
 * until free. Returns 0, -EINVAL, -ENOMEM. */
int vsock_mux_new(uint32_t guest_cid, const struct vsock_host_ops *ops, void *arg,
                  struct vsock_mux **ret_mux);

/* Close everything without a word to the guest. mux may be NULL. */
void vsock_mux_free(struct vsock_mux *mux);

/* The guest's driver is gone or new: close every connection, drop what waits for it. */
void vsock_mux_reset(struct vsock_mux *mux);

/* Keep journal, borrowed until free, up to date from now on; all connections are closed
 * as by vsock_mux_reset. recover: the guest gets a reset for each connection that stands
 * in it. Returns how many those are. */
unsigned vsock_mux_set_journal(struct vsock_mux *mux, struct vsock_journal *journal,
                               bool recover);

/* The journal stays as it is, for the next: what happens from now on is not the guest's
 * to know. */
void vsock_mux_leave_journal(struct vsock_mux *mux);

/* The guest can see what vsock_mux_fill gave: resets among it need not be repeated. Only
 * needed with a journal, and before the next vsock_mux_fill. */
void vsock_mux_published(struct vsock_mux *mux);

/* False: the guest has so many resets outstanding that its packets have to wait until
 * vsock_mux_fill got rid of some. */
bool vsock_mux_can_receive(const struct vsock_mux *mux);

/* Take one packet of the guest. iov is hdr->len bytes of payload, borrowed for the call.
 * Only while vsock_mux_can_receive. */
void vsock_mux_receive(struct vsock_mux *mux, const struct vsock_hdr *hdr,
                       const struct iovec *iov, size_t niov);

/* A packet that could not even be decoded: only counted. */
void vsock_mux_count_drop(struct vsock_mux *mux);

/* Whether vsock_mux_fill may have something for the guest. */
bool vsock_mux_pending(const struct vsock_mux *mux);

/* Put packets for the guest into the first of the n slots. Returns how many were used:
 * each has its header in hdr, and hdr.len bytes of payload in iov. Fewer than n: nothing
 * is left to send now. */
size_t vsock_mux_fill(struct vsock_mux *mux, struct vsock_slot *slots, size_t n);

/* The host wants to reach a port of the guest. host is the mux's on success. Returns 0,
 * -EMFILE (VSOCK_CONNS_MAX), -ENOMEM. */
int vsock_mux_connect(struct vsock_mux *mux, uint32_t guest_port, void *host,
                      struct vsock_conn **ret_conn);

/* The end of an open that was in progress; status is 0 or -errno, then host was closed by
 * the caller and is not used any more. */
void vsock_conn_on_opened(struct vsock_conn *conn, int status);

/* The host side may be read, or written, or was hung up. */
void vsock_conn_on_io(struct vsock_conn *conn, bool readable, bool writable);

/* One second passed. Returns whether something still waits for a deadline: otherwise no
 * tick is needed before the next call of another function. */
bool vsock_mux_tick(struct vsock_mux *mux);
bool vsock_mux_wants_tick(const struct vsock_mux *mux);

const struct vsock_stats *vsock_mux_stats(const struct vsock_mux *mux);
