/* SPDX-License-Identifier: BSD-3-Clause */
/* Credit, limits, and guests that break the rules. */
#include "core/vsock/mux.h"

#include <errno.h>
#include <string.h>

#include "tests/unit/vsock/fake_host.h"

/* Only CID 2 exists for a guest, and it speaks only for itself; the answer comes from
 * where the packet went, so that the guest's socket learns of it. */
static void
packets_for_or_from_others_are_answered_with_a_reset(void **state)
{
    static const struct {
        uint64_t src, dst;
    } bad[] = {{GUEST, 3},     {GUEST, 1},          {GUEST, 0},
               {GUEST, GUEST}, {GUEST, UINT32_MAX}, {GUEST, HOST | 1ull << 32},
               {43, HOST},     {HOST, HOST},        {GUEST | 1ull << 40, HOST}};

    (void)state;
    for (size_t i = 0; i < VMT_ARRAY_SIZE(bad); i++) {
        struct vsock_hdr hdr = packet(1000, 7, VSOCK_OP_REQUEST, 0), got = {0};

        hdr.src_cid = bad[i].src;
        hdr.dst_cid = bad[i].dst;
        vsock_mux_receive(mux, &hdr, NULL, 0);
        assert_true(next(&got, 100));
        assert_int_equal(got.op, VSOCK_OP_RST);
        assert_int_equal(got.src_cid, bad[i].dst);
        assert_int_equal(got.dst_cid, bad[i].src);
        assert_int_equal(got.src_port, 7);
        assert_int_equal(got.dst_port, 1000);
    }
    assert_int_equal(nends, 0);
}

static void
a_packet_of_another_type_is_reset_with_that_type(void **state)
{
    struct vsock_hdr hdr = packet(1000, 7, VSOCK_OP_REQUEST, 0), got = {0};

    (void)state;
    hdr.type = 2;
    vsock_mux_receive(mux, &hdr, NULL, 0);
    assert_true(next(&got, 100));
    assert_int_equal(got.op, VSOCK_OP_RST);
    assert_int_equal(got.type, 2);
    assert_int_equal(nends, 0);
}

static void
packets_without_a_connection_are_reset_but_resets_are_not(void **state)
{
    (void)state;
    for (uint16_t op = 0; op < VSOCK_OP_COUNT + 3; op++) {
        if (op == VSOCK_OP_REQUEST)
            continue;
        guest_sends(1000, 7, op, 0);
        if (op != VSOCK_OP_RST)
            (void)expect(VSOCK_OP_RST);
        expect_nothing();
    }
}

/* Every op where it has no place ends the connection and nothing else. */
static void
ops_out_of_place_reset_the_connection(void **state)
{
    static const uint16_t bad[] = {VSOCK_OP_INVALID, VSOCK_OP_REQUEST, VSOCK_OP_RESPONSE,
                                   VSOCK_OP_COUNT, UINT16_MAX};

    (void)state;
    for (size_t i = 0; i < VMT_ARRAY_SIZE(bad); i++) {
        struct end *e = guest_connected();

        guest_sends(1000, 7, bad[i], 0);
        assert_true(e->closed);
        (void)expect(VSOCK_OP_RST);
        expect_nothing();
        assert_int_equal(vsock_mux_stats(mux)->conns, 0);
    }
}

static void
a_connection_that_waits_for_its_reset_ignores_everything_else(void **state)
{
    struct end *e = guest_connected();

    (void)state;
    guest_sends(1000, 7, VSOCK_OP_INVALID, 0);
    assert_true(e->closed);
    for (uint16_t op = VSOCK_OP_REQUEST; op < VSOCK_OP_COUNT; op++) {
        if (op != VSOCK_OP_RST)
            guest_sends(1000, 7, op, 0);
    }
    (void)expect(VSOCK_OP_RST);
    expect_nothing();
    assert_int_equal(nends, 1);
}

static void
the_guest_never_gets_more_than_its_credit(void **state)
{
    static uint8_t data[100000];
    struct vsock_hdr hdr = packet(1000, 7, VSOCK_OP_REQUEST, 0);
    uint32_t sent = 1000;

    (void)state;
    for (size_t i = 0; i < sizeof(data); i++)
        data[i] = (uint8_t)(i * 7);
    hdr.buf_alloc = 1000;
    vsock_mux_receive(mux, &hdr, NULL, 0);
    (void)expect(VSOCK_OP_RESPONSE);
    host_says(&ends[0], data, sizeof(data));
    assert_true(next(&hdr, 600));
    assert_int_equal(hdr.len, 600);
    assert_true(next(&hdr, 600));
    assert_int_equal(hdr.len, 400);
    (void)expect(VSOCK_OP_CREDIT_REQUEST);
    expect_nothing(); /* asked once, not for ever */
    while (sent < sizeof(data)) {
        hdr = packet(1000, 7, VSOCK_OP_CREDIT_UPDATE, 0);
        hdr.buf_alloc = 1000;
        hdr.fwd_cnt = sent - 300; /* it took all but 300 bytes */
        vsock_mux_receive(mux, &hdr, NULL, 0);
        assert_true(next(&hdr, sizeof(payload)));
        assert_int_equal(hdr.op, VSOCK_OP_RW);
        assert_true(hdr.len <= 700);
        assert_memory_equal(payload, data + sent, hdr.len);
        sent += hdr.len;
        if (hdr.len == 700)
            (void)expect(VSOCK_OP_CREDIT_REQUEST);
    }
}

static void
a_guest_that_lies_about_its_credit_gets_nothing(void **state)
{
    struct end *e = guest_connected();
    struct vsock_hdr hdr = packet(1000, 7, VSOCK_OP_CREDIT_UPDATE, 0);

    (void)state;
    hdr.fwd_cnt = 5; /* more than it ever got */
    vsock_mux_receive(mux, &hdr, NULL, 0);
    host_says(e, "abc", 3);
    (void)expect(VSOCK_OP_CREDIT_REQUEST);
    expect_nothing();
    hdr.fwd_cnt = 0;
    hdr.buf_alloc = 2;
    vsock_mux_receive(mux, &hdr, NULL, 0);
    hdr = expect(VSOCK_OP_RW);
    assert_int_equal(hdr.len, 2);
}

static void
a_slow_host_reader_is_buffered_and_told_as_credit(void **state)
{
    static uint8_t data[65536];
    struct end *e = guest_connected();
    struct vsock_hdr hdr;

    (void)state;
    e->room = 1000;
    for (int i = 0; i < 4; i++) {
        memset(data, 'a' + i, sizeof(data));
        guest_writes(1000, 7, data, sizeof(data));
    }
    assert_int_equal(e->in.len, 1000);
    expect_nothing(); /* no credit came free that would be worth a packet */
    guest_sends(1000, 7, VSOCK_OP_CREDIT_REQUEST, 0);
    hdr = expect(VSOCK_OP_CREDIT_UPDATE);
    assert_int_equal(hdr.fwd_cnt, 1000);
    e->room = 140000;
    vsock_conn_on_io(e->conn, false, true);
    hdr = expect(VSOCK_OP_CREDIT_UPDATE);
    assert_int_equal(hdr.fwd_cnt, 141000);
    e->room = SIZE_MAX;
    vsock_conn_on_io(e->conn, false, true);
    assert_int_equal(e->in.len, 4 * sizeof(data));
    for (size_t i = 0; i < e->in.len; i++)
        assert_int_equal(e->in.data[i], 'a' + i / sizeof(data));
}

static void
more_than_was_promised_resets_the_connection(void **state)
{
    static const uint8_t data[65536];
    struct end *e = guest_connected();

    (void)state;
    e->room = 0;
    for (int i = 0; i < 4; i++)
        guest_writes(1000, 7, data, sizeof(data));
    assert_false(e->closed);
    guest_writes(1000, 7, data, 1);
    assert_true(e->closed);
    (void)expect(VSOCK_OP_RST);
    expect_nothing();
}

/* Linux sends no more than its own buffer holds: half of ours would never come free. */
static void
a_guest_with_a_small_buffer_hears_of_credit_in_time(void **state)
{
    static uint8_t data[16 * 1024];
    struct vsock_hdr hdr = packet(1000, 7, VSOCK_OP_RW, sizeof(data));
    struct iovec iov = {data, sizeof(data)};

    (void)state;
    (void)guest_connected();
    hdr.buf_alloc = 64 * 1024;
    vsock_mux_receive(mux, &hdr, &iov, 1);
    expect_nothing();
    vsock_mux_receive(mux, &hdr, &iov, 1);
    assert_int_equal(expect(VSOCK_OP_CREDIT_UPDATE).fwd_cnt, 2 * sizeof(data));
    expect_nothing();
}

static void
credit_counts_wrap_around_at_four_gigabytes(void **state)
{
    static const uint8_t data[65536];
    struct end *e = guest_connected();
    struct vsock_hdr hdr = {0};

    (void)state;
    for (uint32_t i = 0; i < 66000; i++) { /* 4.03 GiB each way */
        vmt_buf_consume(&e->in, e->in.len);
        guest_writes(1000, 7, data, sizeof(data));
        assert_int_equal(e->in.len, sizeof(data));
        host_says(e, data, sizeof(data));
        do {
            assert_true(next(&hdr, sizeof(payload)));
        } while (hdr.op != VSOCK_OP_RW);
        assert_int_equal(hdr.len, sizeof(data));
        guest_fwd_cnt += hdr.len;
    }
    assert_false(e->closed);
}

static void
a_flood_of_requests_is_bounded_in_number_and_memory(void **state)
{
    uint32_t promised = 0;
    struct vsock_hdr hdr = {0};

    (void)state;
    for (uint32_t i = 0; i < 10000; i++) {
        guest_sends(1000 + i, 7, VSOCK_OP_REQUEST, 0);
        assert_true(next(&hdr, 100));
        if (hdr.op == VSOCK_OP_RESPONSE)
            promised += hdr.buf_alloc;
        else
            assert_int_equal(hdr.op, VSOCK_OP_RST);
    }
    assert_int_equal(nends, VSOCK_CONNS_MAX);
    assert_true(promised <= VSOCK_BUF_BUDGET + VSOCK_CONNS_MAX * VSOCK_BUF_MIN);
    assert_int_equal(vsock_mux_stats(mux)->refused, 10000 - VSOCK_CONNS_MAX);
    assert_int_equal(vsock_mux_connect(mux, 9, &ends[0], &ends[0].conn), -EMFILE);
    guest_sends(1000, 7, VSOCK_OP_RST, 0); /* one leaves, one may come */
    guest_sends(99, 7, VSOCK_OP_REQUEST, 0);
    assert_true(next(&hdr, 100));
    assert_int_equal(hdr.op, VSOCK_OP_RESPONSE);
}

static void
a_guest_that_takes_no_resets_is_not_listened_to(void **state)
{
    unsigned n = 0;
    struct vsock_hdr hdr;

    (void)state;
    while (vsock_mux_can_receive(mux)) {
        guest_sends(1000 + n++, 7, VSOCK_OP_RW, 0);
        assert_true(n <= VSOCK_ORPHANS_MAX);
    }
    assert_int_equal(n, VSOCK_ORPHANS_MAX);
    for (unsigned i = 0; i < n; i++) {
        assert_true(next(&hdr, 10));
        assert_int_equal(hdr.dst_port, 1000 + i);
    }
    assert_true(vsock_mux_can_receive(mux));
    expect_nothing();
}

static void
reserved_cids_make_no_device(void **state)
{
    static const uint32_t bad[] = {0, 1, 2, UINT32_MAX};
    static const struct vsock_host_ops none_ops;
    struct vsock_mux *none = NULL;

    (void)state;
    for (size_t i = 0; i < VMT_ARRAY_SIZE(bad); i++)
        assert_int_equal(vsock_mux_new(bad[i], &none_ops, NULL, &none), -EINVAL);
    assert_null(none);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(packets_for_or_from_others_are_answered_with_a_reset),
        TEST(a_packet_of_another_type_is_reset_with_that_type),
        TEST(packets_without_a_connection_are_reset_but_resets_are_not),
        TEST(ops_out_of_place_reset_the_connection),
        TEST(a_connection_that_waits_for_its_reset_ignores_everything_else),
        TEST(the_guest_never_gets_more_than_its_credit),
        TEST(a_guest_that_lies_about_its_credit_gets_nothing),
        TEST(a_slow_host_reader_is_buffered_and_told_as_credit),
        TEST(more_than_was_promised_resets_the_connection),
        TEST(a_guest_with_a_small_buffer_hears_of_credit_in_time),
        TEST(credit_counts_wrap_around_at_four_gigabytes),
        TEST(a_flood_of_requests_is_bounded_in_number_and_memory),
        TEST(a_guest_that_takes_no_resets_is_not_listened_to),
        TEST(reserved_cids_make_no_device),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
