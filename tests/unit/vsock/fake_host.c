/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/vsock/fake_host.h"

#include <errno.h>
#include <string.h>

struct vsock_mux *mux;
struct end ends[2100];
size_t nends;
int open_result;
uint32_t guest_fwd_cnt;
uint8_t payload[65536];

struct end *
host_end(void)
{
    struct end *e = &ends[nends++];

    *e = (struct end){.room = SIZE_MAX};
    return e;
}

static int
fake_open(void *arg, struct vsock_conn *conn, uint32_t host_port, void **ret_host)
{
    struct end *e;

    assert_ptr_equal(arg, &nends);
    if (open_result < 0 && open_result != -EINPROGRESS)
        return open_result;
    e = host_end();
    e->conn = conn;
    e->port = host_port;
    *ret_host = e;
    return open_result;
}

static int
fake_accepted(void *host, uint32_t host_port)
{
    struct end *e = host;

    e->accepted = true;
    e->port = host_port;
    return 0;
}

static ssize_t
fake_read(void *host, const struct iovec *iov, size_t n)
{
    struct end *e = host;
    size_t got = 0;

    if (e->read_error)
        return e->read_error;
    for (size_t i = 0; i < n && e->out.len; i++) {
        size_t part = iov[i].iov_len < e->out.len ? iov[i].iov_len : e->out.len;

        memcpy(iov[i].iov_base, e->out.data, part);
        vmt_buf_consume(&e->out, part);
        got += part;
    }
    if (!got)
        return e->eof ? 0 : -EAGAIN;
    return (ssize_t)got;
}

static ssize_t
fake_write(void *host, const struct iovec *iov, size_t n)
{
    struct end *e = host;
    size_t took = 0;

    if (e->write_error)
        return e->write_error;
    for (size_t i = 0; i < n && e->room; i++) {
        size_t part = iov[i].iov_len < e->room ? iov[i].iov_len : e->room;

        assert_int_equal(vmt_buf_append(&e->in, iov[i].iov_base, part), 0);
        if (e->room != SIZE_MAX)
            e->room -= part;
        took += part;
    }
    return took ? (ssize_t)took : -EAGAIN;
}

static void
fake_shutdown(void *host, unsigned flags)
{
    struct end *e = host;

    e->shut |= flags;
}

static bool
fake_hung_up(void *host)
{
    struct end *e = host;

    return e->hung_up;
}

static void
fake_close(void *host)
{
    struct end *e = host;

    assert_false(e->closed);
    e->closed = true;
}

static const struct vsock_host_ops fake_ops = {
    .open = fake_open,
    .accepted = fake_accepted,
    .read = fake_read,
    .write = fake_write,
    .shutdown = fake_shutdown,
    .hung_up = fake_hung_up,
    .close = fake_close,
};

int
set_up(void **state)
{
    (void)state;
    nends = 0;
    open_result = 0;
    guest_fwd_cnt = 0;
    return vsock_mux_new(GUEST, &fake_ops, &nends, &mux);
}

int
tear_down(void **state)
{
    (void)state;
    vsock_mux_free(mux);
    for (size_t i = 0; i < nends; i++) {
        assert_true(ends[i].closed); /* whatever happened, nothing is left open */
        vmt_buf_done(&ends[i].in);
        vmt_buf_done(&ends[i].out);
    }
    return 0;
}

struct vsock_hdr
packet(uint32_t guest_port, uint32_t host_port, uint16_t op, uint32_t len)
{
    return (struct vsock_hdr){
        .src_cid = GUEST,
        .dst_cid = HOST,
        .src_port = guest_port,
        .dst_port = host_port,
        .len = len,
        .type = VSOCK_TYPE_STREAM,
        .op = op,
        .buf_alloc = GUEST_BUF,
        .fwd_cnt = guest_fwd_cnt,
    };
}

void
guest_sends(uint32_t guest_port, uint32_t host_port, uint16_t op, uint32_t flags)
{
    struct vsock_hdr hdr = packet(guest_port, host_port, op, 0);

    hdr.flags = flags;
    vsock_mux_receive(mux, &hdr, NULL, 0);
}

void
guest_writes(uint32_t guest_port, uint32_t host_port, const void *data, uint32_t len)
{
    struct vsock_hdr hdr = packet(guest_port, host_port, VSOCK_OP_RW, len);
    union {
        const uint8_t *in;
        uint8_t *out; /* nobody writes there */
    } bytes = {.in = data};
    /* In two pieces, since the guest's buffers may be. */
    struct iovec iov[2] = {{bytes.out, len / 2}, {bytes.out + len / 2, len - len / 2}};

    vsock_mux_receive(mux, &hdr, iov, 2);
}

bool
next(struct vsock_hdr *ret_hdr, size_t room)
{
    struct iovec iov = {payload, room};
    struct vsock_slot slot = {.iov = &iov, .niov = 1, .room = room};

    if (!vsock_mux_fill(mux, &slot, 1))
        return false;
    *ret_hdr = slot.hdr;
    return true;
}

struct vsock_hdr
expect(uint16_t op)
{
    struct vsock_hdr hdr = {0};

    assert_true(next(&hdr, sizeof(payload)));
    assert_int_equal(hdr.op, op);
    assert_int_equal(hdr.src_cid, HOST);
    assert_int_equal(hdr.dst_cid, GUEST);
    assert_int_equal(hdr.type, VSOCK_TYPE_STREAM);
    return hdr;
}

void
expect_nothing(void)
{
    struct vsock_hdr hdr;

    assert_false(next(&hdr, sizeof(payload)));
    assert_false(vsock_mux_pending(mux));
}

struct end *
guest_connected(void)
{
    struct vsock_hdr hdr;

    guest_sends(1000, 7, VSOCK_OP_REQUEST, 0);
    hdr = expect(VSOCK_OP_RESPONSE);
    assert_int_equal(hdr.src_port, 7);
    assert_int_equal(hdr.dst_port, 1000);
    expect_nothing();
    return &ends[nends - 1];
}

struct end *
host_connected(uint32_t *ret_port)
{
    struct end *e = host_end();
    struct vsock_hdr hdr;

    assert_int_equal(vsock_mux_connect(mux, 9, e, &e->conn), 0);
    hdr = expect(VSOCK_OP_REQUEST);
    assert_int_equal(hdr.dst_port, 9);
    *ret_port = hdr.src_port;
    guest_sends(9, hdr.src_port, VSOCK_OP_RESPONSE, 0);
    assert_true(e->accepted);
    assert_int_equal(e->port, hdr.src_port);
    return e;
}

void
host_says(struct end *e, const void *data, size_t len)
{
    assert_int_equal(vmt_buf_append(&e->out, data, len), 0);
    vsock_conn_on_io(e->conn, true, false);
}
