/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/integration/vsock/driver_ring.c - the queues in memory and the packets in them.
 */
#include <poll.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "tests/integration/vsock/driver_internal.h"

static _Atomic uint16_t *
word(struct driver *d, unsigned queue, uint32_t off)
{
    return (_Atomic uint16_t *)(void *)(d->mem + d->q[queue].at + off);
}

struct desc *
ring_desc(struct driver *d, unsigned queue, unsigned index)
{
    return (struct desc *)(void *)(d->mem + d->q[queue].at) + index;
}

void
ring_set_avail(struct driver *d, unsigned queue, uint16_t index)
{
    d->q[queue].avail = index;
    atomic_store(word(d, queue, RING_AVAIL + 2), index);
}

void
ring_publish(struct driver *d, unsigned queue, uint16_t head)
{
    uint16_t at = d->q[queue].avail;

    atomic_store(word(d, queue, RING_AVAIL + 4 + 2 * (at % RING_SIZE)), head);
    ring_set_avail(d, queue, (uint16_t)(at + 1));
}

void
ring_kick(struct driver *d, unsigned queue)
{
    uint64_t one = 1;

    assert_int_equal(write(d->q[queue].kick, &one, sizeof(one)), sizeof(one));
}

/* Notify vm_vsock of what was published since before, if it wants to hear of it: a lost
 * wake-up on either side becomes a test that hangs. */
static void
ring_notify(struct driver *d, unsigned queue, uint16_t before)
{
    uint16_t now = d->q[queue].avail, event;

    atomic_thread_fence(memory_order_seq_cst);
    if (d->features & F_EVENT_IDX) {
        event = atomic_load(word(d, queue, RING_USED + 4 + 8 * RING_SIZE));
        if ((uint16_t)(now - event - 1) < (uint16_t)(now - before))
            ring_kick(d, queue);
    } else if (!(atomic_load(word(d, queue, RING_USED)) & 1)) {
        ring_kick(d, queue);
    }
}

void
ring_expect_error(struct driver *d, unsigned queue)
{
    driver_wait_readable(d->q[queue].err);
    driver_assert_alive(d);
}

void
post_rx(struct driver *d, uint16_t slot)
{
    *ring_desc(d, 0, slot) = (struct desc){RX_BUFFERS + (uint64_t)slot * RX_BUFFER_BYTES,
                                           RX_ROOM, DESC_WRITE, 0};
    ring_publish(d, 0, slot);
}

/* Returns whether an entry was there. */
static bool
take_used(struct driver *d, unsigned queue, uint32_t *ret_id, uint32_t *ret_len)
{
    struct queue *q = &d->q[queue];
    const uint8_t *elem = d->mem + q->at + RING_USED + 4 + 8 * (q->used % RING_SIZE);

    if (atomic_load(word(d, queue, RING_USED + 2)) == q->used)
        return false;
    memcpy(ret_id, elem, 4);
    memcpy(ret_len, elem + 4, 4);
    q->used++;
    return true;
}

/* Wait for a used entry by interrupt. */
static bool
wait_used(struct driver *d, unsigned queue, uint32_t *ret_id, uint32_t *ret_len, int ms)
{
    struct pollfd p = {.fd = d->q[queue].call, .events = POLLIN};
    uint64_t n;

    for (;;) {
        if (take_used(d, queue, ret_id, ret_len))
            return true;
        atomic_store(word(d, queue, RING_AVAIL + 4 + 2 * RING_SIZE), d->q[queue].used);
        atomic_store(word(d, queue, RING_AVAIL), 0);
        atomic_thread_fence(memory_order_seq_cst);
        if (take_used(d, queue, ret_id, ret_len))
            return true;
        if (poll(&p, 1, ms) == 0)
            return false;
        (void)!read(d->q[queue].call, &n, sizeof(n));
        driver_assert_alive(d);
    }
}

static uint16_t
tx_slot(struct driver *d)
{
    uint32_t id, len;

    while (take_used(d, 1, &id, &len))
        d->tx_busy[id / 4] = false;
    for (;;) {
        for (uint16_t i = 0; i < TX_SLOTS; i++) {
            if (!d->tx_busy[i])
                return i;
        }
        assert_true(wait_used(d, 1, &id, &len, DEADLINE_MS));
        d->tx_busy[id / 4] = false;
    }
}

struct vsock_hdr
packet(uint32_t guest_port, uint32_t host_port, uint16_t op, uint32_t len)
{
    return (struct vsock_hdr){
        .src_cid = CID,
        .dst_cid = 2,
        .src_port = guest_port,
        .dst_port = host_port,
        .len = len,
        .type = VSOCK_TYPE_STREAM,
        .op = op,
        .buf_alloc = 256 * 1024,
    };
}

/* The header on its own, then the payload in two parts: as three descriptors, direct or
 * in a table. Four descriptors belong to each slot. */
void
send_packet(struct driver *d, const struct vsock_hdr *hdr, const void *payload,
            size_t len)
{
    struct vsock_hdr h = *hdr;
    uint16_t slot = tx_slot(d), before = d->q[1].avail, base = (uint16_t)(4 * slot);
    uint64_t at = TX_BUFFERS + (uint64_t)slot * TX_BUFFER_BYTES;
    bool indirect = d->features & F_INDIRECT;
    struct desc *t = indirect ? (struct desc *)(void *)(d->mem + TABLES + 64 * slot)
                              : ring_desc(d, 1, base);
    uint16_t first = indirect ? 0 : base;
    uint32_t half = (uint32_t)len / 3;

    assert_true(len <= TX_PAYLOAD_MAX);
    h.fwd_cnt = d->fwd_cnt;
    vsock_hdr_encode(&h, d->mem + at);
    if (len)
        memcpy(d->mem + at + VSOCK_HDR_BYTES, payload, len);
    at += VSOCK_HDR_BYTES;
    t[0] = (struct desc){at - VSOCK_HDR_BYTES, VSOCK_HDR_BYTES, 0, 0};
    if (len >= 3) {
        t[0].flags = t[1].flags = DESC_NEXT;
        t[0].next = (uint16_t)(first + 1);
        t[1] = (struct desc){at, half, DESC_NEXT, (uint16_t)(first + 2)};
        t[2] = (struct desc){at + half, (uint32_t)len - half, 0, 0};
    } else {
        t[0].len += (uint32_t)len;
    }
    if (indirect)
        *ring_desc(d, 1, base) =
            (struct desc){TABLES + 64u * slot, len >= 3 ? 48 : 16, DESC_INDIRECT, 0};
    d->tx_busy[slot] = true;
    ring_publish(d, 1, base);
    ring_notify(d, 1, before);
}

void
send_op(struct driver *d, uint32_t guest_port, uint32_t host_port, uint16_t op)
{
    struct vsock_hdr hdr = packet(guest_port, host_port, op, 0);

    send_packet(d, &hdr, NULL, 0);
}

/* Returns the buffer of the next packet, -1 if none came. */
static int
receive_packet(struct driver *d, struct vsock_hdr *ret_hdr, uint8_t *payload, int ms)
{
    uint32_t id, len;
    const uint8_t *data;

    if (!wait_used(d, 0, &id, &len, ms))
        return -1;
    data = d->mem + RX_BUFFERS + (size_t)id * RX_BUFFER_BYTES;
    assert_int_equal(vsock_hdr_decode(data, len, ret_hdr), 0);
    assert_int_equal(len, VSOCK_HDR_BYTES + ret_hdr->len);
    if (payload)
        memcpy(payload, data + VSOCK_HDR_BYTES, ret_hdr->len);
    return (int)id;
}

bool
take_packet(struct driver *d, struct vsock_hdr *ret_hdr, uint8_t *payload, int ms)
{
    uint16_t before = d->q[0].avail;
    int slot = receive_packet(d, ret_hdr, payload, ms);

    if (slot < 0)
        return false;
    post_rx(d, (uint16_t)slot);
    ring_notify(d, 0, before);
    return true;
}

bool
keep_packet(struct driver *d, struct vsock_hdr *ret_hdr)
{
    return receive_packet(d, ret_hdr, NULL, DEADLINE_MS) >= 0;
}

struct vsock_hdr
expect_packet(struct driver *d, uint16_t op, uint8_t *payload)
{
    struct vsock_hdr hdr = {0};

    assert_true(take_packet(d, &hdr, payload, DEADLINE_MS));
    assert_int_equal(hdr.op, op);
    return hdr;
}
