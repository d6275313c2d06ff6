/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/linux/vm_vsock/device.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/event.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/log.h"
#include "core/vsock/mux.h"
#include "platform/linux/vm_vsock/memory.h"
#include "platform/linux/vm_vsock/virtq.h"

enum { RING_RX = 0, RING_TX = 1 };

/* Chains that one turn of the loop moves each way before other events have their turn. */
#define TURN_CHAINS 256u
/* Buffers of the guest that one read from a socket may fill: 128 KiB with Linux' 4 KiB
 * buffers. The first read after a pause tries few, since looking up buffers costs. */
#define BURST_MAX 32u
#define BURST_MIN 2u
/* Broken queues that are logged; a guest can go on breaking them for ever. */
#define FAULTS_LOGGED 8u

struct device_ring {
    struct vsock_device *dev; /* borrowed */
    struct virtq vq;
    uint32_t size;
    uint16_t base;
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
    unsigned faults;
    bool pumping;
    unsigned burst;
    struct vsock_slot slots[BURST_MAX];
    struct rx_header headers[BURST_MAX];
    struct iovec iov[VIRTQ_PIECES_MAX];
};

uint64_t
vsock_device_features(void)
{
    return 1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_RING_F_INDIRECT_DESC |
           1ull << VIRTIO_RING_F_EVENT_IDX;
}

static bool
ring_is_live(const struct device_ring *ring)
{
    return ring->vq.size && ring->enabled && !ring->vq.fault;
}

bool
vsock_device_is_ready(const struct vsock_device *dev)
{
    return ring_is_live(&dev->rings[RING_RX]) && ring_is_live(&dev->rings[RING_TX]);
}

static void
signal_fd(int fd)
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
        signal_fd(ring->call_fd);
}

static void
device_break(struct vsock_device *dev, struct device_ring *ring, const char *why)
{
    if (!ring->vq.fault)
        ring->vq.fault = why;
    if (dev->faults++ < FAULTS_LOGGED)
        vmt_log_warning(
            "the guest broke its virtqueue, the device stops until the driver "
            "starts anew%s: %s queue=%td",
            dev->faults == FAULTS_LOGGED ? " (last message of this kind)" : "", why,
            ring - dev->rings);
    signal_fd(ring->err_fd);
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
        if (r == 0 && virtq_enable_notify(&ring->vq))
            continue;
        if (r <= 0)
            break;
        tx_packet(dev, &chain);
        virtq_push(&ring->vq, chain.head, 0);
        n++;
    }
    ring_publish(ring);
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
        /* After asking for a notification a buffer may have come just before. */
        if (!used && !virtq_has_avail(&ring->vq))
            break;
    }
    ring_publish(ring);
    return n;
}

static void
device_arm(struct event *ev, unsigned sec)
{
    struct timeval tv = {.tv_sec = sec};

    if (!evtimer_pending(ev, NULL))
        (void)evtimer_add(ev, &tv);
}

void
vsock_device_pump(struct vsock_device *dev)
{
    unsigned moved = 0, n;

    if (dev->pumping)
        return;
    dev->pumping = true;
    do {
        n = device_tx(dev);
        n += device_rx(dev);
        moved += n;
    } while (n && moved < TURN_CHAINS);
    if (n)
        device_arm(dev->more, 0);
    if (vsock_mux_wants_tick(dev->mux))
        device_arm(dev->tick, 1);
    if (dev->mem && guest_memory_lost(dev->mem) && !dev->rings[RING_TX].vq.fault) {
        device_break(dev, &dev->rings[RING_TX], "shared memory was cut short");
        dev->rings[RING_RX].vq.fault = dev->rings[RING_TX].vq.fault;
    }
    dev->pumping = false;
}

static void
on_more(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    vsock_device_pump(arg);
}

static void
on_tick(evutil_socket_t fd, short what, void *arg)
{
    struct vsock_device *dev = arg;

    (void)fd;
    (void)what;
    (void)vsock_mux_tick(dev->mux);
    vsock_device_pump(dev);
}

/* The counter of the eventfd is not read: the watch is edge-triggered, and each write is
 * an edge. That saves a system call per notification. */
static void
on_kick(evutil_socket_t fd, short what, void *arg)
{
    struct device_ring *ring = arg;

    (void)fd;
    (void)what;
    vsock_device_pump(ring->dev);
}

VMT_DEFINE_FREEP(struct vsock_device, vsock_device_free)

int
vsock_device_new(struct event_base *base, struct vsock_mux *mux,
                 struct vsock_device **ret_dev, struct vmt_err *err)
{
    VMT_CLEANUP(vsock_device_freep) struct vsock_device *dev = calloc(1, sizeof(*dev));

    if (!dev)
        return vmt_err_set(err, ENOMEM, "create device");
    dev->base = base;
    dev->mux = mux;
    dev->burst = BURST_MIN;
    for (unsigned i = 0; i < VSOCK_DEVICE_RINGS; i++) {
        struct device_ring *ring = &dev->rings[i];

        ring->dev = dev;
        ring->vq.direction = i == RING_TX ? VIRTQ_READ : VIRTQ_WRITE;
        ring->kick_fd = ring->call_fd = ring->err_fd = -1;
        ring->stopped_at = -1;
    }
    if (!(event_base_get_features(base) & EV_FEATURE_ET))
        return vmt_err_setx(err, ENOTSUP, "the event loop has no edge-triggered watches");
    dev->more = evtimer_new(base, on_more, dev);
    dev->tick = evtimer_new(base, on_tick, dev);
    if (!dev->more || !dev->tick)
        return vmt_err_set(err, ENOMEM, "create device");
    *ret_dev = vmt_take_ptr(&dev);
    return 0;
}

void
vsock_device_free(struct vsock_device *dev)
{
    if (!dev)
        return;
    vsock_device_detach(dev);
    if (dev->more)
        event_free(dev->more);
    if (dev->tick)
        event_free(dev->tick);
    free(dev);
}

void
vsock_device_set_features(struct vsock_device *dev, uint64_t features)
{
    dev->features = features;
    for (unsigned i = 0; i < VSOCK_DEVICE_RINGS; i++) {
        dev->rings[i].vq.event_idx = features >> VIRTIO_RING_F_EVENT_IDX & 1;
        dev->rings[i].vq.indirect = features >> VIRTIO_RING_F_INDIRECT_DESC & 1;
    }
}

/* Find the three parts of a queue in mem and start it at entry base. */
static int
ring_map(struct device_ring *ring, const struct guest_memory *mem, uint16_t base,
         struct vmt_err *err)
{
    void *desc, *avail, *used;

    desc = guest_memory_at_user(mem, ring->desc_addr, VIRTQ_DESC_BYTES(ring->size));
    avail = guest_memory_at_user(mem, ring->avail_addr, VIRTQ_AVAIL_BYTES(ring->size));
    used = guest_memory_at_user(mem, ring->used_addr, VIRTQ_USED_BYTES(ring->size));
    if (!desc || !avail || !used)
        return vmt_err_setx(err, EINVAL, "virtqueue outside of the memory");
    if (virtq_start(&ring->vq, (uint16_t)ring->size, desc, avail, used, base) < 0)
        return vmt_err_setx(err, EINVAL, "virtqueue of %u entries, or not aligned",
                            ring->size);
    return 0;
}

/* Move running queues to where they are in mem. */
static int
device_remap(struct vsock_device *dev, const struct guest_memory *mem,
             struct vmt_err *err)
{
    for (unsigned i = 0; i < VSOCK_DEVICE_RINGS; i++) {
        struct device_ring *ring = &dev->rings[i];
        const char *fault = ring->vq.fault;
        int r;

        if (!ring->vq.size)
            continue;
        r = ring_map(ring, mem, ring->vq.last_avail, err);
        if (r < 0)
            return r;
        ring->vq.fault = fault;
    }
    return 0;
}

int
vsock_device_set_memory(struct vsock_device *dev, struct guest_memory *mem,
                        struct vmt_err *err)
{
    int r = device_remap(dev, mem, err);

    if (r < 0) {
        if (dev->mem)
            (void)device_remap(dev, dev->mem, NULL); /* worked before */
        return r;
    }
    guest_memory_free(dev->mem);
    dev->mem = mem;
    vsock_device_pump(dev);
    return 0;
}

int
vsock_ring_set_size(struct vsock_device *dev, unsigned index, uint32_t size)
{
    if (dev->rings[index].vq.size)
        return -EBUSY;
    if (!size || size > VIRTQ_SIZE_MAX || (size & (size - 1)))
        return -EINVAL;
    dev->rings[index].size = size;
    return 0;
}

int
vsock_ring_set_base(struct vsock_device *dev, unsigned index, uint32_t base)
{
    if (dev->rings[index].vq.size)
        return -EBUSY;
    if (base > UINT16_MAX)
        return -EINVAL;
    dev->rings[index].base = (uint16_t)base;
    return 0;
}

/* Start the queue once all is there that it needs. A queue that begins elsewhere than
 * where it was stopped belongs to a driver that started anew: the connections of the old
 * one are dead. One that goes on was only paused with its VM. */
static int
ring_try_start(struct device_ring *ring, struct vmt_err *err)
{
    struct vsock_device *dev = ring->dev;
    int r;

    if (ring->vq.size || !ring->kick || !ring->has_addr || !ring->size || !dev->mem)
        return 0;
    if (!(dev->features >> VIRTIO_F_VERSION_1 & 1))
        return vmt_err_setx(err, EINVAL, "the guest's driver is older than virtio 1.0");
    r = ring_map(ring, dev->mem, ring->base, err);
    if (r < 0)
        return r;
    if (ring->stopped_at >= 0 && ring->stopped_at != ring->base)
        vsock_mux_reset(dev->mux);
    ring->stopped_at = -1;
    return 0;
}

int
vsock_ring_set_addr(struct vsock_device *dev, unsigned index, uint64_t desc,
                    uint64_t avail, uint64_t used, struct vmt_err *err)
{
    struct device_ring *ring = &dev->rings[index];
    int r;

    ring->desc_addr = desc;
    ring->avail_addr = avail;
    ring->used_addr = used;
    ring->has_addr = true;
    if (!ring->vq.size)
        return ring_try_start(ring, err);
    r = device_remap(dev, dev->mem, err);
    if (r < 0)
        virtq_stop(&ring->vq);
    return r;
}

static void
fd_replace(int *at, int fd)
{
    vmt_closep(at);
    *at = fd;
    if (fd >= 0)
        (void)fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}

static void
ring_drop_kick(struct device_ring *ring)
{
    if (ring->kick)
        event_free(ring->kick);
    ring->kick = NULL;
    fd_replace(&ring->kick_fd, -1);
}

int
vsock_ring_set_kick(struct vsock_device *dev, unsigned index, int fd, struct vmt_err *err)
{
    struct device_ring *ring = &dev->rings[index];
    struct event *kick =
        event_new(dev->base, fd, EV_READ | EV_PERSIST | EV_ET, on_kick, ring);
    int r;

    if (!kick)
        return vmt_err_set(err, ENOMEM, "watch a virtqueue");
    ring_drop_kick(ring);
    if (event_add(kick, NULL) < 0) {
        event_free(kick);
        return vmt_err_setx(err, EINVAL, "cannot watch the descriptor of a virtqueue");
    }
    ring->kick = kick;
    r = ring_try_start(ring, err);
    if (r < 0) {
        event_free(vmt_take_ptr(&ring->kick));
        return r;
    }
    fd_replace(&ring->kick_fd, fd);
    vsock_device_pump(dev);
    return 0;
}

void
vsock_ring_set_call(struct vsock_device *dev, unsigned index, int fd)
{
    fd_replace(&dev->rings[index].call_fd, fd);
    /* What was pushed before may have been signalled to nobody. */
    signal_fd(fd);
}

void
vsock_ring_set_err(struct vsock_device *dev, unsigned index, int fd)
{
    fd_replace(&dev->rings[index].err_fd, fd);
}

void
vsock_ring_enable(struct vsock_device *dev, unsigned index, bool enabled)
{
    dev->rings[index].enabled = enabled;
    vsock_device_pump(dev);
}

uint16_t
vsock_ring_stop(struct vsock_device *dev, unsigned index)
{
    struct device_ring *ring = &dev->rings[index];
    bool was_running = ring->vq.size != 0;
    uint16_t base = was_running ? ring->vq.last_avail : ring->base;

    ring_drop_kick(ring);
    if (was_running)
        ring->stopped_at = ring->vq.fault ? INT64_MAX : base;
    ring->base = base;
    virtq_stop(&ring->vq);
    return base;
}

static void
ring_forget(struct device_ring *ring)
{
    ring_drop_kick(ring);
    fd_replace(&ring->call_fd, -1);
    fd_replace(&ring->err_fd, -1);
    virtq_stop(&ring->vq);
    ring->size = 0;
    ring->base = 0;
    ring->stopped_at = -1;
    ring->has_addr = ring->enabled = false;
}

void
vsock_device_detach(struct vsock_device *dev)
{
    for (unsigned i = 0; i < VSOCK_DEVICE_RINGS; i++)
        ring_forget(&dev->rings[i]);
    vsock_mux_reset(dev->mux);
    guest_memory_free(dev->mem);
    dev->mem = NULL;
    dev->features = 0;
}
