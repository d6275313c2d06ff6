/* SPDX-License-Identifier: BSD-3-Clause */
/* Packets of a guest, events of host programs and time, in any order. The input is a list
 * of steps: one byte says what, the rest is as that step needs. Ports are few, so that
 * packets meet connections. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "core/vsock/mux.h"
#include "tests/fuzz/fuzz.h"

#define CID 3u
#define ENDS 64

struct end {
    struct vsock_conn *conn; /* NULL: not in use */
    uint8_t mood;            /* what the next calls do */
    bool opening;            /* vsock_conn_on_opened has to come */
};

static struct end ends[ENDS];
static uint64_t delivered, taken;

static struct end *
end_new(void)
{
    for (size_t i = 0; i < ENDS; i++) {
        if (!ends[i].conn)
            return &ends[i];
    }
    return NULL;
}

static int
end_open(void *arg, struct vsock_conn *conn, uint32_t host_port, void **ret_host)
{
    struct end *e = end_new();

    (void)arg;
    if (!e || host_port == 3)
        return -ENOENT;
    *e =
        (struct end){.conn = conn, .mood = (uint8_t)host_port, .opening = host_port == 2};
    *ret_host = e;
    return host_port == 2 ? -EINPROGRESS : 0;
}

static int
end_accepted(void *host, uint32_t host_port)
{
    const struct end *e = host;

    (void)host_port;
    return e->mood & 1 ? -EPIPE : 0;
}

static ssize_t
end_read(void *host, const struct iovec *iov, size_t n)
{
    const struct end *e = host;
    size_t room = 0;

    for (size_t i = 0; i < n; i++) {
        memset(iov[i].iov_base, 'x', iov[i].iov_len);
        room += iov[i].iov_len;
    }
    if (e->mood % 8 == 7)
        return -ECONNRESET;
    if (e->mood % 8 == 6)
        return 0;
    if (e->mood % 8 > 3 || !room)
        return -EAGAIN;
    room = room * (e->mood % 8 + 1u) / 4;
    taken += room;
    return room ? (ssize_t)room : -EAGAIN;
}

static ssize_t
end_write(void *host, const struct iovec *iov, size_t n)
{
    const struct end *e = host;
    size_t room = 0;

    for (size_t i = 0; i < n; i++)
        room += iov[i].iov_len;
    if (e->mood / 8 % 8 == 7)
        return -EIO;
    if (e->mood / 8 % 8 == 6)
        return -EPIPE;
    room = room * (e->mood / 8 % 8) / 5;
    delivered += room;
    return room ? (ssize_t)room : -EAGAIN;
}

static void
end_shutdown(void *host, unsigned flags)
{
    (void)host;
    (void)flags;
}

static bool
end_hung_up(void *host)
{
    const struct end *e = host;

    return e->mood & 0x80;
}

static void
end_close(void *host)
{
    struct end *e = host;

    if (!e->conn)
        abort(); /* closed twice */
    e->conn = NULL;
}

static const struct vsock_host_ops end_ops = {
    .open = end_open,
    .accepted = end_accepted,
    .read = end_read,
    .write = end_write,
    .shutdown = end_shutdown,
    .hung_up = end_hung_up,
    .close = end_close,
};

struct input {
    const uint8_t *data;
    size_t len;
};

static uint32_t
take(struct input *in, unsigned bytes)
{
    uint32_t v = 0;

    for (; bytes && in->len; bytes--, in->len--)
        v = v << 8 | *in->data++;
    return v;
}

static void
step_packet(struct vsock_mux *mux, struct input *in, bool raw)
{
    static uint8_t payload[65536];
    struct iovec iov[2];
    struct vsock_hdr hdr = {.src_cid = CID, .dst_cid = 2, .type = VSOCK_TYPE_STREAM};

    if (!vsock_mux_can_receive(mux))
        return;
    if (raw && vsock_hdr_decode(in->data, in->len, &hdr) < 0)
        return;
    if (!raw) {
        hdr.src_port = take(in, 1) % 4;
        hdr.dst_port = take(in, 1) % 5;
        if (hdr.dst_port == 4)
            hdr.dst_port = VSOCK_HOST_PORT_FIRST + take(in, 1) % 4;
        hdr.op = (uint16_t)take(in, 1) % 9;
        hdr.len = take(in, 2);
        hdr.flags = take(in, 1);
        hdr.buf_alloc = take(in, 3);
        hdr.fwd_cnt = take(in, 3);
    }
    hdr.len %= sizeof(payload); /* the device gives only what is there */
    iov[0] = (struct iovec){payload, hdr.len / 3};
    iov[1] = (struct iovec){payload + hdr.len / 3, hdr.len - hdr.len / 3};
    vsock_mux_receive(mux, &hdr, iov, 2);
}

static void
step_fill(struct vsock_mux *mux, struct input *in)
{
    static uint8_t buf[4][5000];
    struct iovec iov[4];
    struct vsock_slot slots[4];
    size_t room = take(in, 2) % sizeof(buf[0]) + 1, n = take(in, 1) % 4 + 1u;

    for (size_t i = 0; i < n; i++) {
        iov[i] = (struct iovec){buf[i], room};
        slots[i] = (struct vsock_slot){.iov = &iov[i], .niov = 1, .room = room};
    }
    n = vsock_mux_fill(mux, slots, n);
    for (size_t i = 0; i < n; i++) {
        if (slots[i].hdr.len > room ||
            (slots[i].hdr.len && slots[i].hdr.op != VSOCK_OP_RW))
            abort();
    }
}

static void
end_opened(struct end *e, bool fails)
{
    struct vsock_conn *conn = e->conn;

    e->opening = false;
    if (fails)
        e->conn = NULL;
    vsock_conn_on_opened(conn, fails ? -ECONNREFUSED : 0);
}

static void
step_host(struct vsock_mux *mux, struct input *in)
{
    struct end *e = &ends[take(in, 1) % ENDS];
    uint32_t what = take(in, 1);

    (void)mux;
    e->mood = (uint8_t)take(in, 1);
    if (e->conn && e->opening)
        end_opened(e, what & 1);
    else if (e->conn)
        vsock_conn_on_io(e->conn, what & 1, what & 2);
}

static void
step_connect(struct vsock_mux *mux, struct input *in)
{
    struct end *e = end_new();
    struct vsock_conn *conn = NULL;

    if (e && vsock_mux_connect(mux, take(in, 1) % 4, e, &conn) == 0)
        *e = (struct end){.conn = conn};
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, size};
    struct vsock_mux *mux = NULL;

    memset(ends, 0, sizeof(ends));
    delivered = taken = 0;
    if (vsock_mux_new(CID, &end_ops, NULL, &mux) < 0)
        return 0;
    while (in.len) {
        switch (take(&in, 1) % 8) {
        case 0:
            step_packet(mux, &in, true);
            (void)take(&in, 4);
            break;
        case 1:
            step_host(mux, &in);
            break;
        case 2:
            step_connect(mux, &in);
            break;
        case 3:
            (void)vsock_mux_tick(mux);
            break;
        case 4:
            step_fill(mux, &in);
            break;
        default:
            step_packet(mux, &in, false);
        }
    }
    if (delivered > vsock_mux_stats(mux)->bytes_to_host ||
        taken != vsock_mux_stats(mux)->bytes_to_guest)
        abort(); /* bytes from nowhere */
    vsock_mux_free(mux);
    for (size_t i = 0; i < ENDS; i++) {
        if (ends[i].conn)
            abort(); /* never closed */
    }
    return 0;
}
