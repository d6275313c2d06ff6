/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/vsock/mux.h"

#include <errno.h>
#include <string.h>

#include "tests/unit/vsock/fake_host.h"

static void
a_guest_reaches_a_host_port_and_bytes_pass_both_ways(void **state)
{
    struct end *e = guest_connected();
    struct vsock_hdr hdr;

    (void)state;
    assert_int_equal(e->port, 7);
    guest_writes(1000, 7, "hello", 5);
    assert_int_equal(e->in.len, 5);
    assert_memory_equal(e->in.data, "hello", 5);
    host_says(e, "world!", 6);
    hdr = expect(VSOCK_OP_RW);
    assert_int_equal(hdr.len, 6);
    assert_int_equal(hdr.fwd_cnt, 5);
    assert_int_equal(hdr.buf_alloc, VSOCK_BUF_MAX);
    assert_memory_equal(payload, "world!", 6);
    expect_nothing();
}

static void
a_host_program_reaches_a_guest_port_from_a_high_port(void **state)
{
    uint32_t first = 0, second = 0;
    struct end *e = host_connected(&first);

    (void)state;
    assert_int_equal(first, 0x40000000);
    expect_nothing();
    guest_writes(9, first, "x", 1);
    assert_int_equal(e->in.len, 1);
    (void)host_connected(&second);
    assert_int_not_equal(first, second);
}

static void
a_port_that_the_guest_refuses_closes_the_host_side(void **state)
{
    struct end *e = host_end();
    struct vsock_hdr hdr;

    (void)state;
    assert_int_equal(vsock_mux_connect(mux, 9, e, &e->conn), 0);
    hdr = expect(VSOCK_OP_REQUEST);
    guest_sends(9, hdr.src_port, VSOCK_OP_RST, 0);
    assert_true(e->closed);
    assert_false(e->accepted);
    expect_nothing(); /* a reset is not answered */
}

static void
a_host_program_that_leaves_before_the_answer_cancels_the_request(void **state)
{
    struct end *e = host_end();

    (void)state;
    assert_int_equal(vsock_mux_connect(mux, 9, e, &e->conn), 0);
    vsock_conn_on_io(e->conn, true, true); /* an event alone means nothing */
    assert_false(e->closed);
    (void)expect(VSOCK_OP_REQUEST);
    e->hung_up = true;
    vsock_conn_on_io(e->conn, true, true);
    assert_true(e->closed);
    (void)expect(VSOCK_OP_RST);
    expect_nothing();
}

static void
a_guest_that_never_answers_is_given_up(void **state)
{
    struct end *e = host_end();

    (void)state;
    assert_int_equal(vsock_mux_connect(mux, 9, e, &e->conn), 0);
    (void)expect(VSOCK_OP_REQUEST);
    for (unsigned i = 1; i < VSOCK_REQUEST_TICKS; i++)
        assert_true(vsock_mux_tick(mux));
    assert_false(e->closed);
    assert_false(vsock_mux_tick(mux));
    assert_true(e->closed);
    (void)expect(VSOCK_OP_RST);
    assert_false(vsock_mux_wants_tick(mux));
}

static void
a_host_port_without_a_listener_is_answered_with_a_reset(void **state)
{
    struct vsock_hdr hdr;

    (void)state;
    open_result = -ENOENT;
    guest_sends(1000, 7, VSOCK_OP_REQUEST, 0);
    hdr = expect(VSOCK_OP_RST);
    assert_int_equal(hdr.src_port, 7);
    assert_int_equal(hdr.dst_port, 1000);
    expect_nothing();
    assert_int_equal(vsock_mux_stats(mux)->conns, 0);
    assert_int_equal(vsock_mux_stats(mux)->refused, 1);
}

static void
an_open_that_takes_time_answers_when_it_is_done(void **state)
{
    (void)state;
    open_result = -EINPROGRESS;
    guest_sends(1000, 7, VSOCK_OP_REQUEST, 0);
    expect_nothing();
    vsock_conn_on_opened(ends[0].conn, 0);
    (void)expect(VSOCK_OP_RESPONSE);
    guest_sends(1001, 7, VSOCK_OP_REQUEST, 0);
    ends[1].closed = true; /* the opener closes what it failed to open */
    vsock_conn_on_opened(ends[1].conn, -ECONNREFUSED);
    (void)expect(VSOCK_OP_RST);
}

static void
a_guest_may_cancel_while_the_host_side_opens(void **state)
{
    (void)state;
    open_result = -EINPROGRESS;
    guest_sends(1000, 7, VSOCK_OP_REQUEST, 0);
    guest_sends(1000, 7, VSOCK_OP_RST, 0);
    assert_true(ends[0].closed);
    expect_nothing();
    guest_sends(1000, 7, VSOCK_OP_REQUEST, 0);
    guest_sends(1000, 7, VSOCK_OP_SHUTDOWN, VSOCK_SHUTDOWN_BOTH);
    assert_true(ends[1].closed);
    (void)expect(VSOCK_OP_RST);
}

static void
the_guest_ends_its_half_and_still_reads(void **state)
{
    struct end *e = guest_connected();

    (void)state;
    e->room = 2;
    guest_writes(1000, 7, "abcd", 4);
    guest_sends(1000, 7, VSOCK_OP_SHUTDOWN, VSOCK_SHUTDOWN_SEND);
    assert_int_equal(e->shut, 0); /* not before the last byte is through */
    e->room = SIZE_MAX;
    vsock_conn_on_io(e->conn, false, true);
    assert_int_equal(e->in.len, 4);
    assert_int_equal(e->shut, VSOCK_SHUTDOWN_SEND);
    host_says(e, "answer", 6);
    assert_int_equal(expect(VSOCK_OP_RW).len, 6);
    guest_writes(1000, 7, "late", 4); /* after its own end */
    assert_true(e->closed);
    (void)expect(VSOCK_OP_RST);
}

static void
the_host_ends_its_half_and_still_reads(void **state)
{
    struct end *e = guest_connected();
    struct vsock_hdr hdr;

    (void)state;
    e->eof = true;
    host_says(e, "last", 4);
    assert_int_equal(expect(VSOCK_OP_RW).len, 4);
    hdr = expect(VSOCK_OP_SHUTDOWN);
    assert_int_equal(hdr.flags, VSOCK_SHUTDOWN_SEND);
    expect_nothing();
    guest_writes(1000, 7, "more", 4);
    assert_int_equal(e->in.len, 4);
    e->hung_up = true; /* now the program is gone for good */
    vsock_conn_on_io(e->conn, true, true);
    hdr = expect(VSOCK_OP_SHUTDOWN);
    assert_int_equal(hdr.flags, VSOCK_SHUTDOWN_BOTH);
    guest_writes(1000, 7, "lost", 4); /* was on its way: no error, no effect */
    assert_int_equal(e->in.len, 4);
    guest_sends(1000, 7, VSOCK_OP_RST, 0);
    assert_true(e->closed);
    expect_nothing();
}

static void
a_guest_that_reads_no_more_stops_the_host_program(void **state)
{
    struct end *e = guest_connected();

    (void)state;
    guest_sends(1000, 7, VSOCK_OP_SHUTDOWN, VSOCK_SHUTDOWN_RCV);
    assert_int_equal(e->shut, VSOCK_SHUTDOWN_RCV);
    host_says(e, "unwanted", 8);
    expect_nothing();
    guest_writes(1000, 7, "fine", 4);
    assert_int_equal(e->in.len, 4);
}

static void
a_clean_close_is_confirmed_after_the_last_byte(void **state)
{
    struct end *e = guest_connected();

    (void)state;
    e->room = 2;
    guest_writes(1000, 7, "abcd", 4);
    guest_sends(1000, 7, VSOCK_OP_SHUTDOWN, VSOCK_SHUTDOWN_BOTH);
    expect_nothing();
    assert_false(e->closed);
    e->room = SIZE_MAX;
    vsock_conn_on_io(e->conn, false, true);
    assert_int_equal(e->in.len, 4);
    assert_true(e->closed);
    (void)expect(VSOCK_OP_RST);
    expect_nothing();
    assert_int_equal(vsock_mux_stats(mux)->conns, 0);
}

static void
what_came_before_a_reset_still_reaches_a_slow_reader(void **state)
{
    struct end *e = guest_connected();

    (void)state;
    e->room = 1;
    guest_writes(1000, 7, "abcd", 4);
    guest_sends(1000, 7, VSOCK_OP_RST, 0);
    assert_false(e->closed);
    (void)guest_connected(); /* the same ports are free for a new connection */
    e->room = SIZE_MAX;
    vsock_conn_on_io(e->conn, false, true);
    assert_int_equal(e->in.len, 4);
    assert_true(e->closed);
}

static void
a_reader_that_never_reads_is_given_up_after_a_reset(void **state)
{
    struct end *e = guest_connected();

    (void)state;
    e->room = 0;
    guest_writes(1000, 7, "abcd", 4);
    guest_sends(1000, 7, VSOCK_OP_RST, 0);
    for (unsigned i = 1; i < VSOCK_LINGER_TICKS; i++)
        assert_true(vsock_mux_tick(mux));
    assert_false(e->closed);
    assert_false(vsock_mux_tick(mux));
    assert_true(e->closed);
}

static void
a_host_reader_that_closes_tells_the_guest_to_stop(void **state)
{
    struct end *e = guest_connected();
    struct vsock_hdr hdr;

    (void)state;
    e->write_error = -EPIPE;
    guest_writes(1000, 7, "abcd", 4);
    hdr = expect(VSOCK_OP_SHUTDOWN);
    assert_int_equal(hdr.flags, VSOCK_SHUTDOWN_RCV);
    assert_int_equal(hdr.fwd_cnt, 4);
    host_says(e, "bye", 3); /* the other way still works */
    assert_int_equal(expect(VSOCK_OP_RW).len, 3);
}

static void
a_broken_host_side_resets_the_connection(void **state)
{
    struct end *e = guest_connected();

    (void)state;
    e->read_error = -ECONNRESET;
    vsock_conn_on_io(e->conn, true, false);
    (void)expect(VSOCK_OP_RST);
    assert_true(e->closed);
    e = guest_connected();
    e->write_error = -EIO;
    guest_writes(1000, 7, "abcd", 4);
    assert_true(e->closed);
    (void)expect(VSOCK_OP_RST);
}

static void
one_read_fills_several_buffers_of_the_guest(void **state)
{
    struct end *e = guest_connected();
    uint8_t buf[4][10];
    struct iovec iov[4][2];
    struct vsock_slot slots[4];

    (void)state;
    host_says(e, "0123456789abcdefghijklm", 23);
    for (size_t i = 0; i < 4; i++) {
        iov[i][0] = (struct iovec){buf[i], 3};
        iov[i][1] = (struct iovec){buf[i] + 3, 7};
        slots[i] = (struct vsock_slot){.iov = iov[i], .niov = 2, .room = 10};
    }
    assert_int_equal(vsock_mux_fill(mux, slots, 4), 3);
    assert_memory_equal(buf[0], "0123456789", 10);
    assert_memory_equal(buf[1], "abcdefghij", 10);
    assert_memory_equal(buf[2], "klm", 3);
    assert_int_equal(slots[0].hdr.len, 10);
    assert_int_equal(slots[1].hdr.len, 10);
    assert_int_equal(slots[2].hdr.len, 3);
}

static void
connections_take_turns(void **state)
{
    static const uint8_t data[1000];
    struct end *first = guest_connected();
    struct vsock_hdr hdr;
    unsigned turns[2] = {0};

    (void)state;
    guest_sends(2000, 7, VSOCK_OP_REQUEST, 0);
    (void)expect(VSOCK_OP_RESPONSE);
    host_says(first, data, sizeof(data));
    host_says(&ends[1], data, sizeof(data));
    for (int i = 0; i < 10; i++) {
        assert_true(next(&hdr, 10));
        turns[hdr.dst_port == 2000]++;
    }
    assert_int_equal(turns[0], 5);
    assert_int_equal(turns[1], 5);
}

static void
a_new_driver_starts_with_nothing(void **state)
{
    struct end *e = guest_connected();
    uint32_t port = 0;

    (void)state;
    guest_sends(5, 7, VSOCK_OP_RW, 0); /* an answer waits */
    vsock_mux_reset(mux);
    assert_true(e->closed);
    expect_nothing();
    assert_int_equal(vsock_mux_stats(mux)->conns, 0);
    (void)host_connected(&port);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_guest_reaches_a_host_port_and_bytes_pass_both_ways),
        TEST(a_host_program_reaches_a_guest_port_from_a_high_port),
        TEST(a_port_that_the_guest_refuses_closes_the_host_side),
        TEST(a_host_program_that_leaves_before_the_answer_cancels_the_request),
        TEST(a_guest_that_never_answers_is_given_up),
        TEST(a_host_port_without_a_listener_is_answered_with_a_reset),
        TEST(an_open_that_takes_time_answers_when_it_is_done),
        TEST(a_guest_may_cancel_while_the_host_side_opens),
        TEST(the_guest_ends_its_half_and_still_reads),
        TEST(the_host_ends_its_half_and_still_reads),
        TEST(a_guest_that_reads_no_more_stops_the_host_program),
        TEST(a_clean_close_is_confirmed_after_the_last_byte),
        TEST(what_came_before_a_reset_still_reaches_a_slow_reader),
        TEST(a_reader_that_never_reads_is_given_up_after_a_reset),
        TEST(a_host_reader_that_closes_tells_the_guest_to_stop),
        TEST(a_broken_host_side_resets_the_connection),
        TEST(one_read_fills_several_buffers_of_the_guest),
        TEST(connections_take_turns),
        TEST(a_new_driver_starts_with_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
