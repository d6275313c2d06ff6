/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/vm_vsock/device_internal.h - shared by device.c (what the frontend sets)
 * and traffic.c (what moves between the queues and the connections). */
#pragma once

#include <sys/uio.h>

#include "core/vsock/mux.h"
#include "platform/linux/vm_vsock/device.h"
#include "platform/linux/vm_vsock/log_limit.h"
#include "platform/linux/vm_vsock/virtq.h"

struct event;

enum { RING_RX = 0, RING_TX = 1 };

/* Buffers of the guest that one read from a socket may fill: 128 KiB with Linux' 4 KiB
 * buffers. The first read after a pause tries few, since looking up buffers costs. */
#define BURST_MAX 32u
#define BURST_MIN 2u

struct device_ring {
    struct vsock_device *dev; /* borrowed */
    struct virtq vq;
    uint32_t size;
    uint16_t base;
    bool resume;        /* base is what the used ring says */
    int64_t stopped_at; /* what vsock_ring_stop told, -1: nothing */
    uint64_t desc_addr, avail_addr, used_addr;
    bool has_addr, enabled;
    int kick_fd, call_fd, err_fd; /* owned, -1: none */
    struct event *kick;           /* owned; not NULL while started */
};

/* The header of a packet to the guest, which may lie across pieces. */
struct rx_header {
    uint16_t head;
    struct iovec iov[VSOCK_HDR_BYTES];
    size_t niov;
};

struct vsock_device {
    struct event_base *base;  /* borrowed */
    struct vsock_mux *mux;    /* borrowed */
    struct guest_memory *mem; /* owned; NULL: no table yet */
    uint64_t features;
    struct device_ring rings[VSOCK_DEVICE_RINGS];
    struct event *more; /* owned; a turn was used up, go on in the next */
    struct event *tick; /* owned; one second */
    struct event *lazy; /* owned; the guest has to hear of its sent packets */
    struct log_limit log;
    bool pumping;
    bool polling;                  /* we look at the queues without being asked to */
    uint64_t poll_until, moved_at; /* microseconds of the monotonic clock */
    unsigned burst;
    struct vsock_slot slots[BURST_MAX];
    struct rx_header headers[BURST_MAX];
    struct iovec iov[VIRTQ_PIECES_MAX];
};

/* Set up, enabled and not broken. */
static inline bool
ring_is_live(const struct device_ring *ring)
{
    return ring->vq.size && ring->enabled && !ring->vq.fault;
}

/* Notify the guest now of the packets that were taken from it. */
void vsock_device_settle(struct vsock_device *dev);

/* Make a descriptor of the frontend readable, if there is one. */
void vsock_device_signal(int fd);
