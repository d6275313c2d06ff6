/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/vm_vsock/virtq.h - the device's side of a split virtqueue.
 * Source: OASIS virtio 1.2, section 2.7; all fields little endian (VERSION_1). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct guest_memory;

/* Larger rings are refused; QEMU's vsock device has 128, crosvm's 256. */
#define VIRTQ_SIZE_MAX 1024u
/* Pieces of one chain. A chain has at most as many descriptors as its ring (2.7.5.3.1 for
 * indirect ones); the rest is for those that cross from one region to the next. */
#define VIRTQ_PIECES_MAX 1024u

/* A chain is wholly for the device to read (tx) or to write (rx). */
enum virtq_direction { VIRTQ_READ, VIRTQ_WRITE };

struct virtq {
    enum virtq_direction direction;
    uint16_t size;        /* power of two, 0 while the ring is stopped */
    bool event_idx;       /* VIRTIO_RING_F_EVENT_IDX was negotiated */
    bool indirect;        /* VIRTIO_RING_F_INDIRECT_DESC was negotiated */
    uint8_t *desc;        /* borrowed from the guest's memory */
    uint8_t *avail;       /* likewise */
    uint8_t *used;        /* likewise */
    uint16_t last_avail;  /* next entry to take */
    uint16_t next_used;   /* next entry to write */
    uint16_t published;   /* what the guest was told */
    uint16_t signalled;   /* next_used at the last notification that was considered */
    bool signalled_valid; /* by us, not by who served the ring before */
    const char *fault;    /* why the ring is broken; NULL: it is not */
};

struct virtq_chain {
    uint16_t head;
    size_t niov; /* pieces written to the caller's iov */
    size_t len;  /* their bytes */
};

/* Bytes of the three parts of a ring of size entries; the event fields always count. */
#define VIRTQ_DESC_BYTES(size) (16u * (size))
#define VIRTQ_AVAIL_BYTES(size) (6u + 2u * (size))
#define VIRTQ_USED_BYTES(size) (6u + 8u * (size))

/* Start at entry base. The three parts are there for the size and aligned as 2.7 asks;
 * -EINVAL when they are not. */
int virtq_start(struct virtq *vq, uint16_t size, void *desc, void *avail, void *used,
                uint16_t base);
void virtq_stop(struct virtq *vq);

/* Right after virtq_start: take the entry after the last one that was returned. The guest
 * wrote where that is, as it did the entries: virtq_pop checks both. */
void virtq_resume(struct virtq *vq);

/* Take the next chain. iov has room for max pieces. Returns 1, 0 when there is none,
 * -E2BIG when only a larger max can hold it (and max was below VIRTQ_PIECES_MAX), or
 * -EPROTO when the guest broke the rules: vq->fault says how, and the ring stays broken.
 */
int virtq_pop(struct virtq *vq, const struct guest_memory *mem, struct iovec *iov,
              size_t max, struct virtq_chain *ret_chain);

/* Give the last n popped chains back, as if they had not been popped. */
void virtq_unpop(struct virtq *vq, uint16_t n);

/* Return a chain with len written bytes; the guest sees it after virtq_publish. */
void virtq_push(struct virtq *vq, uint16_t head, uint32_t len);

/* Show the guest what was pushed. Returns whether it wants to be notified. */
bool virtq_publish(struct virtq *vq);

/* The same in two steps, for a queue whose notifications can wait: what the guest may
 * see, the chains of which it was not notified, and whether it wants to be, now. */
void virtq_show(struct virtq *vq);
uint16_t virtq_unsignalled(const struct virtq *vq);
bool virtq_wants_signal(struct virtq *vq);

/* Whether a chain is there. */
bool virtq_has_avail(const struct virtq *vq);

/* Ask the guest to notify us of the next chain; returns whether one is there already, so
 * that no notification may come. Without it the guest stays silent. */
bool virtq_enable_notify(struct virtq *vq);
void virtq_disable_notify(struct virtq *vq);
