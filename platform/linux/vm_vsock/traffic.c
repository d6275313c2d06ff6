/* SPDX-License-Identifier: BSD-3-Clause */
/* Packets between the guest's queues and its connections. */
#include <string.h>
#include <unistd.h>

#include <event2/event.h>

#include "core/base/log.h"
#include "platform/linux/os/monotonic.h"
#include "platform/linux/vm_vsock/device_internal.h"
#include "platform/linux/vm_vsock/memory.h"

/* Chains that one turn of the loop moves each way before other events have their turn. */
#define TURN_CHAINS 256u

/* See device_polls: about what a round trip through an emulated guest takes. */
#define POLL_USEC 150u

bool
vsock_device_is_ready(const struct vsock_device *dev)
{
    return ring_is_live(&dev->rings[RING_RX]) && ring_is_live(&dev->rings[RING_TX]);
}

void
vsock_device_signal(int fd)
{
    uint64_t one = 1;

    /* A full counter means that the other side was told already; the descriptor does not
     * block. */
    if (fd >= 0 && write(fd, &one, sizeof(one)) < 0)
        return;
}

static void
ring_publish(struct device_ring *ring)
{
    if (virtq_publish(&ring->vq))
        vsock_device_signal(ring->call_fd);
}

/* A guest only frees its memory when it hears that a packet was sent; the interrupt for
 * each one costs it more than that. So it hears when a part of the queue is used up, or
 * after a moment. */
#define LAZY_PART 4u
#define LAZY_USEC 4000

void
vsock_device_settle(struct vsock_device *dev)
{
    struct device_ring *ring = &dev->rings[RING_TX];

    if (ring_is_live(ring) && virtq_wants_signal(&ring->vq))
        vsock_device_signal(ring->call_fd);
}

static void
tx_publish(struct vsock_device *dev, struct device_ring *ring)
{
    struct timeval moment = {.tv_usec = LAZY_USEC};
    uint16_t waiting;

    virtq_show(&ring->vq);
    waiting = virtq_unsignalled(&ring->vq);
    if (waiting >= ring->vq.size / LAZY_PART ||
        (waiting && !evtimer_pending(dev->lazy, NULL) &&
         evtimer_add(dev->lazy, &moment) < 0))
        vsock_device_settle(dev);
}

static void
device_break(struct vsock_device *dev, struct device_ring *ring, const char *why)
{
    /* Then the queue itself may have been in what is lost, and says anything. */
    if (guest_memory_lost(dev->mem))
        why = "shared memory was cut short";
    for (unsigned i = 0; i < VSOCK_DEVICE_RINGS; i++)
        dev->rings[i].vq.fault = why;
    if (log_limit_pass(&dev->log))
        vmt_log_warning(
            "the guest broke its virtqueue, the device stops until the driver "
            "starts anew: %s queue=%td",
            why, ring - dev->rings);
    vsock_device_signal(ring->err_fd);
    vsock_mux_reset(dev->mux);
}

/* Drop the first bytes of the pieces. They hold at least so many. Returns the first piece
 * that is left. */
static size_t
iov_skip(struct iovec *iov, size_t niov, size_t bytes)
{
    size_t i = 0;

    while (i < niov && bytes >= iov[i].iov_len)
        bytes -= iov[i++].iov_len;
    if (i < niov && bytes) {
        iov[i].iov_base = (uint8_t *)iov[i].iov_base + bytes;
        iov[i].iov_len -= bytes;
    }
    return i;
}

/* Keep the first bytes of the pieces. Returns how many pieces that are. */
static size_t
iov_cut(struct iovec *iov, size_t niov, size_t bytes)
{
    size_t i = 0;

    for (; i < niov && bytes; i++) {
        if (iov[i].iov_len > bytes)
            iov[i].iov_len = bytes;
        bytes -= iov[i].iov_len;
    }
    return i;
}

static void
tx_packet(struct vsock_device *dev, const struct virtq_chain *chain)
{
    uint8_t raw[VSOCK_HDR_BYTES];
    struct vsock_hdr hdr;
    size_t got = 0, first, n;

    for (size_t i = 0; i < chain->niov && got < sizeof(raw); i++) {
        size_t part = dev->iov[i].iov_len;

        if (part > sizeof(raw) - got)
            part = sizeof(raw) - got;
        memcpy(raw + got, dev->iov[i].iov_base, part);
        got += part;
    }
    if (vsock_hdr_decode(raw, got, &hdr) < 0 || hdr.len > chain->len - VSOCK_HDR_BYTES) {
        vsock_mux_count_drop(dev->mux);
        return;
    }
    first = iov_skip(dev->iov, chain->niov, VSOCK_HDR_BYTES);
    n = iov_cut(&dev->iov[first], chain->niov - first, hdr.len);
    vsock_mux_receive(dev->mux, &hdr, &dev->iov[first], n);
}

/* Take packets of the guest. Returns how many. */
static unsigned
device_tx(struct vsock_device *dev)
{
    struct device_ring *ring = &dev->rings[RING_TX];
    struct virtq_chain chain;
    unsigned n = 0;
    int r = 1;

    if (!ring_is_live(ring))
        return 0;
    virtq_disable_notify(&ring->vq);
    while (n < TURN_CHAINS && vsock_mux_can_receive(dev->mux)) {
        r = virtq_pop(&ring->vq, dev->mem, dev->iov, VIRTQ_PIECES_MAX, &chain);
        if (r == 0 && !dev->polling && virtq_enable_notify(&ring->vq))
            continue;
        if (r <= 0)
            break;
        tx_packet(dev, &chain);
        virtq_push(&ring->vq, chain.head, 0);
        n++;
    }
    tx_publish(dev, ring);
    if (r < 0)
        device_break(dev, ring, ring->vq.fault);
    return n;
}

/* Take up to want buffers of the guest into slots. Returns how many, or -errno. */
static int
rx_take(struct vsock_device *dev, unsigned want)
{
    struct device_ring *ring = &dev->rings[RING_RX];
    size_t at = 0;
    unsigned n;

    for (n = 0; n < want; n++) {
        struct rx_header *header = &dev->headers[n];
        struct iovec *iov = &dev->iov[at];
        struct virtq_chain chain;
        size_t first;
        int r = virtq_pop(&ring->vq, dev->mem, iov, VIRTQ_PIECES_MAX - at, &chain);

        if (r == -E2BIG || r == 0)
            break;
        if (r < 0)
            return r;
        if (chain.len <= VSOCK_HDR_BYTES) {
            ring->vq.fault = "buffer without room for a packet";
            return -EPROTO;
        }
        header->head = chain.head;
        header->niov = chain.niov < VSOCK_HDR_BYTES ? chain.niov : VSOCK_HDR_BYTES;
        memcpy(header->iov, iov, header->niov * sizeof(*iov));
        header->niov = iov_cut(header->iov, header->niov, VSOCK_HDR_BYTES);
        first = iov_skip(iov, chain.niov, VSOCK_HDR_BYTES);
        dev->slots[n].iov = iov + first;
        dev->slots[n].niov = chain.niov - first;
        dev->slots[n].room = chain.len - VSOCK_HDR_BYTES;
        at += chain.niov;
    }
    return (int)n;
}

static void
rx_give(struct vsock_device *dev, const struct rx_header *header,
        const struct vsock_hdr *hdr)
{
    uint8_t raw[VSOCK_HDR_BYTES];
    size_t at = 0;

    vsock_hdr_encode(hdr, raw);
    for (size_t i = 0; i < header->niov; i++) {
        memcpy(header->iov[i].iov_base, raw + at, header->iov[i].iov_len);
        at += header->iov[i].iov_len;
    }
    virtq_push(&dev->rings[RING_RX].vq, header->head,
               (uint32_t)VSOCK_HDR_BYTES + hdr->len);
}

/* One burst to the guest. Returns packets; 0: nothing to send, or no buffer (then the
 * guest will notify us of one). */
static unsigned
rx_burst(struct vsock_device *dev)
{
    struct device_ring *ring = &dev->rings[RING_RX];
    size_t used;
    int n = rx_take(dev, dev->burst);

    if (n < 0) {
        device_break(dev, ring, ring->vq.fault);
        return 0;
    }
    if (n == 0) {
        (void)virtq_enable_notify(&ring->vq);
        return 0;
    }
    used = vsock_mux_fill(dev->mux, dev->slots, (size_t)n);
    for (size_t i = 0; i < used; i++)
        rx_give(dev, &dev->headers[i], &dev->slots[i].hdr);
    virtq_unpop(&ring->vq, (uint16_t)((size_t)n - used));
    dev->burst = used == dev->burst ? BURST_MAX : BURST_MIN;
    return (unsigned)used;
}

static unsigned
device_rx(struct vsock_device *dev)
{
    struct device_ring *ring = &dev->rings[RING_RX];
    unsigned n = 0;

    if (!ring_is_live(ring))
        return 0;
    virtq_disable_notify(&ring->vq);
    while (n < TURN_CHAINS && vsock_mux_pending(dev->mux)) {
        unsigned used = rx_burst(dev);

        n += used;
        ring_publish(ring); /* the guest may start while we look for more */
        vsock_mux_published(dev->mux);
        /* After asking for a notification a buffer may have come just before. */
        if (!used && !virtq_has_avail(&ring->vq))
            break;
    }
    return n;
}

static void
device_arm(struct event *ev, unsigned sec)
{
    struct timeval tv = {.tv_sec = sec};

    if (!evtimer_pending(ev, NULL))
        (void)evtimer_add(ev, &tv);
}

/* Whether to look again at once instead of waiting for an event. A guest and a program
 * that answer each other are back sooner than it takes to notify a process and to wake it
 * up; when two things happened within POLL_USEC, the next one is waited for that long.
 * Meanwhile the guest need not notify, which costs an emulated one more than us. One turn
 * after the last asks for notifications again. */
static bool
device_polls(struct vsock_device *dev, unsigned moved)
{
    uint64_t now;

    if (!moved)
        return dev->polling;
    now = os_monotonic_us();
    if (now - dev->moved_at < POLL_USEC)
        dev->poll_until = now + POLL_USEC;
    dev->moved_at = now;
    return dev->polling || dev->poll_until > now;
}

void
vsock_device_pump(struct vsock_device *dev)
{
    unsigned moved = 0, n;

    if (dev->pumping)
        return;
    dev->pumping = true;
    dev->polling = dev->poll_until && os_monotonic_us() < dev->poll_until;
    do {
        n = device_tx(dev);
        n += device_rx(dev);
        moved += n;
    } while (n && moved < TURN_CHAINS);
    if (device_polls(dev, moved) || n)
        device_arm(dev->more, 0);
    if (vsock_mux_wants_tick(dev->mux))
        device_arm(dev->tick, 1);
    if (dev->mem && guest_memory_lost(dev->mem) && !dev->rings[RING_TX].vq.fault)
        device_break(dev, &dev->rings[RING_TX], NULL);
    dev->pumping = false;
}
