/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/vm_vsock/device.h - the virtqueues of one VM's socket device, and the
 * traffic between them and the connections.
 *
 * Queue 0 carries packets to the guest (rx), queue 1 packets from it (tx), queue 2 events
 * of the device (virtio 1.2, section 5.10.2), of which this one sends none. QEMU hands
 * over only the first two, crosvm all three.
 *
 * A guest that breaks the rules of its queues stops the device: its connections are
 * closed, and nothing happens until the frontend sets the queues up again. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct event_base;
struct guest_memory;
struct vmt_err;
struct vsock_device;
struct vsock_mux;

#define VSOCK_DEVICE_RINGS 3

/* base and mux are borrowed until free. */
int vsock_device_new(struct event_base *base, struct vsock_mux *mux,
                     struct vsock_device **ret_dev, struct vmt_err *err);
void vsock_device_free(struct vsock_device *dev);

/* Feature bits that the device has, VHOST_USER_F_PROTOCOL_FEATURES not among them. */
uint64_t vsock_device_features(void);

/* What follows is what the frontend asks for. index was checked by the caller to be below
 * VSOCK_DEVICE_RINGS. */
void vsock_device_set_features(struct vsock_device *dev, uint64_t features);

/* New memory, owned on success. Running queues move to it. Returns 0, or -EINVAL when a
 * running queue is not in it: then the old memory stays. */
int vsock_device_set_memory(struct vsock_device *dev, struct guest_memory *mem,
                            struct vmt_err *err);

/* Only while the queue is stopped; else -EBUSY. -EINVAL: not a size for a queue. */
int vsock_ring_set_size(struct vsock_device *dev, unsigned index, uint32_t size);
int vsock_ring_set_base(struct vsock_device *dev, unsigned index, uint32_t base);
/* Begin where the used ring ends: another process served the queue before. Chains are
 * returned in the order in which they were taken, so that the used index says which are
 * done; those that were taken and not returned are taken once more. */
int vsock_ring_resume(struct vsock_device *dev, unsigned index);

/* Addresses of the frontend's address space. A running queue moves. */
int vsock_ring_set_addr(struct vsock_device *dev, unsigned index, uint64_t desc,
                        uint64_t avail, uint64_t used, struct vmt_err *err);

/* The queue starts: the guest notifies us by this eventfd, which is owned on success. */
int vsock_ring_set_kick(struct vsock_device *dev, unsigned index, int fd,
                        struct vmt_err *err);
/* Eventfds by which the guest, or the frontend in case of a broken queue, is notified;
 * owned; -1: not at all. */
void vsock_ring_set_call(struct vsock_device *dev, unsigned index, int fd);
void vsock_ring_set_err(struct vsock_device *dev, unsigned index, int fd);
void vsock_ring_enable(struct vsock_device *dev, unsigned index, bool enabled);

/* Stop the queue. Returns the next entry that it would have taken. */
uint16_t vsock_ring_stop(struct vsock_device *dev, unsigned index);

/* The frontend is gone: stop and forget everything, close all connections. */
void vsock_device_detach(struct vsock_device *dev);

/* Whether a guest is there to talk to. */
bool vsock_device_is_ready(const struct vsock_device *dev);

/* Move what can be moved now. After every event that changed a connection. */
void vsock_device_pump(struct vsock_device *dev);
