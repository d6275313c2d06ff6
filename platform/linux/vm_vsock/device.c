/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/linux/vm_vsock/device.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <stdlib.h>

#include <event2/event.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "platform/linux/vm_vsock/device_internal.h"
#include "platform/linux/vm_vsock/memory.h"

uint64_t
vsock_device_features(void)
{
    return 1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_RING_F_INDIRECT_DESC |
           1ull << VIRTIO_RING_F_EVENT_IDX;
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

static void
on_lazy(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    vsock_device_settle(arg);
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
    dev->lazy = evtimer_new(base, on_lazy, dev);
    if (!dev->more || !dev->tick || !dev->lazy)
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
    if (dev->lazy)
        event_free(dev->lazy);
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
    dev->rings[index].resume = false;
    return 0;
}

int
vsock_ring_resume(struct vsock_device *dev, unsigned index)
{
    if (dev->rings[index].vq.size)
        return -EBUSY;
    dev->rings[index].resume = true;
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
    if (ring->resume)
        virtq_resume(&ring->vq);
    ring->resume = false;
    if (ring->stopped_at >= 0 && ring->stopped_at != ring->vq.last_avail)
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
    vsock_device_signal(fd);
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

    vsock_device_settle(dev);
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
    ring->resume = false;
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
