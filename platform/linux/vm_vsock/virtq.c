/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/linux/vm_vsock/virtq.h"

#include <endian.h>
#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "platform/linux/vm_vsock/memory.h"

/* Flags of 2.7.5, 2.7.6 and 2.7.8. */
#define DESC_F_NEXT 1u
#define DESC_F_WRITE 2u
#define DESC_F_INDIRECT 4u
#define AVAIL_F_NO_INTERRUPT 1u
#define USED_F_NO_NOTIFY 1u

/* As it lies in memory, 2.7.5; there is no padding in it. */
struct desc {
    uint64_t addr;
    uint32_t len;
    uint16_t flags;
    uint16_t next;
};
_Static_assert(sizeof(struct desc) == 16, "a descriptor has 16 bytes");

/* The guest changes its side of the ring at any time. Every field is read once, into a
 * local, by a relaxed atomic, and what follows from an index is read after an acquire. */
static uint16_t
load16(const uint8_t *at, memory_order order)
{
    const _Atomic uint16_t *p = (const _Atomic uint16_t *)(const void *)at;

    return le16toh(atomic_load_explicit(p, order));
}

static void
store16(uint8_t *at, uint16_t value, memory_order order)
{
    _Atomic uint16_t *p = (_Atomic uint16_t *)(void *)at;

    atomic_store_explicit(p, htole16(value), order);
}

static void
desc_load(const uint8_t *table, size_t index, struct desc *ret)
{
    uint8_t raw[16];

    memcpy(raw, table + 16 * index, sizeof(raw));
    /* The copy is what is checked and what is used, not what is there a moment later. */
    atomic_signal_fence(memory_order_seq_cst);
    memcpy(ret, raw, sizeof(raw));
    ret->addr = le64toh(ret->addr);
    ret->len = le32toh(ret->len);
    ret->flags = le16toh(ret->flags);
    ret->next = le16toh(ret->next);
}

static uint16_t
avail_idx(const struct virtq *vq)
{
    return load16(vq->avail + 2, memory_order_acquire);
}

/* Index at which the guest wants to be interrupted (2.7.6), after the avail entries. */
static uint16_t
used_event(const struct virtq *vq)
{
    return load16(vq->avail + 4 + 2 * (size_t)vq->size, memory_order_relaxed);
}

static int
virtq_broken(struct virtq *vq, const char *fault)
{
    if (!vq->fault)
        vq->fault = fault;
    return -EPROTO;
}

int
virtq_start(struct virtq *vq, uint16_t size, void *desc, void *avail, void *used,
            uint16_t base)
{
    if (!size || size > VIRTQ_SIZE_MAX || (size & (size - 1)))
        return -EINVAL;
    if ((uintptr_t)desc % 16 || (uintptr_t)avail % 2 || (uintptr_t)used % 4)
        return -EINVAL;
    vq->size = size;
    vq->desc = desc;
    vq->avail = avail;
    vq->used = used;
    vq->last_avail = base;
    /* Chains in flight do not exist between two calls of ours, so that the used index is
     * the only other state; the guest's memory has it. */
    vq->next_used = load16(vq->used + 2, memory_order_relaxed);
    vq->published = vq->signalled = vq->next_used;
    vq->signalled_valid = false;
    vq->fault = NULL;
    return 0;
}

void
virtq_resume(struct virtq *vq)
{
    vq->last_avail = vq->next_used;
}

void
virtq_stop(struct virtq *vq)
{
    vq->size = 0;
    vq->desc = vq->avail = vq->used = NULL;
    vq->fault = NULL;
}

bool
virtq_has_avail(const struct virtq *vq)
{
    return vq->size && !vq->fault && avail_idx(vq) != vq->last_avail;
}

/* State of a walk along one chain. */
struct walk {
    const struct guest_memory *mem;
    struct iovec *iov;
    size_t max;
    struct virtq_chain *chain;
    unsigned left; /* descriptors that the chain may still have: no loops */
};

static int
walk_add(struct virtq *vq, struct walk *w, const struct desc *d)
{
    bool write = d->flags & DESC_F_WRITE;
    int n;

    if (write != (vq->direction == VIRTQ_WRITE))
        return virtq_broken(vq, "descriptor of the wrong direction");
    if (!d->len)
        return virtq_broken(vq, "descriptor without a length");
    n = guest_memory_pieces(w->mem, d->addr, d->len, &w->iov[w->chain->niov],
                            w->max - w->chain->niov);
    if (n == -E2BIG)
        return w->max < VIRTQ_PIECES_MAX ? n
                                         : virtq_broken(vq, "chain of too many pieces");
    if (n < 0)
        return virtq_broken(vq, "descriptor outside of the memory");
    w->chain->niov += (size_t)n;
    w->chain->len += d->len;
    return 0;
}

/* Follow the chain in a table of count descriptors. */
static int
walk_table(struct virtq *vq, struct walk *w, const uint8_t *table, unsigned count,
           unsigned index, struct desc *ret_indirect)
{
    struct desc d;

    for (;;) {
        int r;

        if (index >= count)
            return virtq_broken(vq, "descriptor index out of range");
        if (!w->left--)
            return virtq_broken(vq, "descriptor chain longer than the ring");
        desc_load(table, index, &d);
        if (d.flags & DESC_F_INDIRECT) {
            /* 2.7.5.3.1: not inside a table, not together with NEXT, only if agreed. */
            if (!ret_indirect || (d.flags & DESC_F_NEXT) || !vq->indirect)
                return virtq_broken(vq, "indirect descriptor where none may be");
            *ret_indirect = d;
            return 1;
        }
        r = walk_add(vq, w, &d);
        if (r < 0 || !(d.flags & DESC_F_NEXT))
            return r;
        index = d.next;
    }
}

static int
walk_indirect(struct virtq *vq, struct walk *w, const struct desc *d)
{
    const uint8_t *table;

    if (!d->len || d->len % 16 || d->len / 16 > UINT16_MAX + 1u)
        return virtq_broken(vq, "indirect table of odd size");
    table = guest_memory_at_guest(w->mem, d->addr, d->len);
    if (!table)
        return virtq_broken(vq, "indirect table outside of the memory");
    return walk_table(vq, w, table, d->len / 16, 0, NULL);
}

int
virtq_pop(struct virtq *vq, const struct guest_memory *mem, struct iovec *iov, size_t max,
          struct virtq_chain *ret_chain)
{
    struct virtq_chain chain = {0};
    struct walk w = {.mem = mem, .iov = iov, .max = max, .chain = &chain};
    struct desc indirect;
    uint16_t waiting;
    int r;

    if (vq->fault)
        return -EPROTO;
    if (!vq->size)
        return 0;
    waiting = (uint16_t)(avail_idx(vq) - vq->last_avail);
    if (!waiting)
        return 0;
    if (waiting > vq->size)
        return virtq_broken(vq, "available index ahead of the ring");
    w.left = vq->size;
    chain.head = load16(vq->avail + 4 + 2 * (size_t)(vq->last_avail & (vq->size - 1)),
                        memory_order_relaxed);
    r = walk_table(vq, &w, vq->desc, vq->size, chain.head, &indirect);
    if (r == 1)
        r = walk_indirect(vq, &w, &indirect);
    if (r < 0)
        return r;
    vq->last_avail++;
    *ret_chain = chain;
    return 1;
}

void
virtq_unpop(struct virtq *vq, uint16_t n)
{
    vq->last_avail = (uint16_t)(vq->last_avail - n);
}

void
virtq_push(struct virtq *vq, uint16_t head, uint32_t len)
{
    uint32_t elem[2] = {htole32(head), htole32(len)};

    memcpy(vq->used + 4 + 8 * (size_t)(vq->next_used & (vq->size - 1)), elem,
           sizeof(elem));
    vq->next_used++;
}

/* 2.7.7.2: whether the event index was passed between old and new. */
static bool
event_passed(uint16_t event, uint16_t new, uint16_t old)
{
    return (uint16_t)(new - event - 1) < (uint16_t)(new - old);
}

void
virtq_show(struct virtq *vq)
{
    if (vq->published == vq->next_used)
        return;
    store16(vq->used + 2, vq->next_used, memory_order_release);
    vq->published = vq->next_used;
}

uint16_t
virtq_unsignalled(const struct virtq *vq)
{
    return (uint16_t)(vq->published - vq->signalled);
}

bool
virtq_wants_signal(struct virtq *vq)
{
    uint16_t old = vq->signalled;
    bool valid = vq->signalled_valid;

    if (old == vq->published)
        return false;
    /* The guest first asks for an interrupt, then looks at the index; we do it the other
     * way round. Without the fence both could miss each other. */
    atomic_thread_fence(memory_order_seq_cst);
    vq->signalled = vq->published;
    vq->signalled_valid = true;
    if (!vq->event_idx)
        return !(load16(vq->avail, memory_order_relaxed) & AVAIL_F_NO_INTERRUPT);
    return !valid || event_passed(used_event(vq), vq->published, old);
}

bool
virtq_publish(struct virtq *vq)
{
    virtq_show(vq);
    return virtq_wants_signal(vq);
}

bool
virtq_enable_notify(struct virtq *vq)
{
    if (!vq->size || vq->fault)
        return false;
    if (vq->event_idx)
        store16(vq->used + 4 + 8 * (size_t)vq->size, vq->last_avail,
                memory_order_relaxed);
    else
        store16(vq->used, 0, memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst);
    return virtq_has_avail(vq);
}

void
virtq_disable_notify(struct virtq *vq)
{
    /* With the event index nothing is to be done: the old index stays behind, and is
     * passed again only after 65536 chains. */
    if (vq->size && !vq->fault && !vq->event_idx)
        store16(vq->used, USED_F_NO_NOTIFY, memory_order_relaxed);
}
