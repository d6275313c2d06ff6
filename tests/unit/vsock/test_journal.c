/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/vsock/journal.h"

#include <string.h>

#include "tests/unit/vsock/fake_host.h"

static struct vsock_journal journal;

static unsigned
entries(void)
{
    unsigned n = 0;

    for (unsigned i = 0; i < VSOCK_JOURNAL_CONNS; i++)
        n += journal.conns[i].used != 0;
    return n;
}

static int
set_up_journal(void **state)
{
    memset(&journal, 0, sizeof(journal));
    (void)set_up(state);
    assert_int_equal(vsock_mux_set_journal(mux, &journal, false), 0);
    return 0;
}

/* The process ends: nothing of it is told to the guest. Another one begins. */
static unsigned
another_mux(void)
{
    void *state = NULL;

    vsock_mux_leave_journal(mux);
    (void)tear_down(&state);
    (void)set_up(&state);
    return vsock_mux_set_journal(mux, &journal, true);
}

static void
a_connection_of_before_is_reset_once(void **state)
{
    struct vsock_hdr hdr;

    (void)state;
    (void)guest_connected();
    assert_int_equal(entries(), 1);
    assert_int_equal(another_mux(), 1);
    hdr = expect(VSOCK_OP_RST);
    assert_int_equal(hdr.dst_port, 1000);
    assert_int_equal(hdr.src_port, 7);
    assert_int_equal(hdr.src_cid, HOST);
    expect_nothing();
    vsock_mux_published(mux);
    assert_int_equal(entries(), 0);
    assert_int_equal(another_mux(), 0);
    expect_nothing();
}

static void
a_reset_that_the_guest_did_not_see_is_repeated(void **state)
{
    (void)state;
    (void)guest_connected();
    (void)another_mux();
    (void)expect(VSOCK_OP_RST); /* in a buffer that was never shown */
    assert_int_equal(another_mux(), 1);
    (void)expect(VSOCK_OP_RST);
}

static void
one_that_was_not_even_begun_is_repeated(void **state)
{
    (void)state;
    (void)guest_connected();
    assert_int_equal(another_mux(), 1);
    assert_int_equal(another_mux(), 1);
    (void)expect(VSOCK_OP_RST);
}

static void
connections_that_ended_are_not_in_it(void **state)
{
    uint32_t port = 0;

    (void)state;
    (void)guest_connected();
    guest_sends(1000, 7, VSOCK_OP_RST, 0);
    assert_int_equal(entries(), 0);
    (void)host_connected(&port);
    assert_int_equal(entries(), 1);
    vsock_mux_reset(mux);
    assert_int_equal(entries(), 0);
    assert_int_equal(another_mux(), 0);
}

static void
a_connection_whose_last_bytes_are_on_the_way_is_not_in_it(void **state)
{
    struct end *e = guest_connected();

    (void)state;
    e->room = 0;
    guest_writes(1000, 7, "hello", 5);
    guest_sends(1000, 7, VSOCK_OP_RST, 0);
    assert_int_equal(entries(), 0);
}

static void
a_request_that_the_guest_did_not_answer_is_reset(void **state)
{
    struct end *e = host_end();

    (void)state;
    assert_int_equal(vsock_mux_connect(mux, 9, e, &e->conn), 0);
    (void)expect(VSOCK_OP_REQUEST);
    assert_int_equal(another_mux(), 1);
    assert_int_equal(expect(VSOCK_OP_RST).dst_port, 9);
}

static void
packets_of_the_guest_do_not_disturb_a_reset_that_it_is_owed(void **state)
{
    (void)state;
    (void)guest_connected();
    (void)another_mux();
    guest_writes(1000, 7, "late", 4);
    guest_sends(1000, 7, VSOCK_OP_SHUTDOWN, VSOCK_SHUTDOWN_BOTH);
    (void)expect(VSOCK_OP_RST);
    expect_nothing();
}

static void
ports_of_the_host_go_on(void **state)
{
    uint32_t before = 0, after = 0;

    (void)state;
    (void)host_connected(&before);
    (void)another_mux();
    (void)expect(VSOCK_OP_RST);
    (void)host_connected(&after);
    assert_int_equal(after, before + 1);
}

static void
a_thousand_connections_are_reset(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < VSOCK_CONNS_MAX; i++) {
        guest_sends(2000 + i, 7, VSOCK_OP_REQUEST, 0);
        (void)expect(VSOCK_OP_RESPONSE);
    }
    assert_int_equal(entries(), VSOCK_CONNS_MAX);
    assert_int_equal(another_mux(), VSOCK_CONNS_MAX);
    for (uint32_t i = 0; i < VSOCK_CONNS_MAX; i++)
        (void)expect(VSOCK_OP_RST);
    expect_nothing();
    vsock_mux_published(mux);
    assert_int_equal(entries(), 0);
}

/* The process before may have been made to write anything. */
static void
a_journal_of_nonsense_only_makes_resets(void **state)
{
    (void)state;
    memset(&journal, 0x5a, sizeof(journal));
    assert_int_equal(another_mux(), 1); /* all are the same connection */
    assert_int_equal(entries(), 1);
    (void)expect(VSOCK_OP_RST);
    expect_nothing();
    (void)guest_connected();
}

#undef TEST
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up_journal, tear_down)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_connection_of_before_is_reset_once),
        TEST(a_reset_that_the_guest_did_not_see_is_repeated),
        TEST(one_that_was_not_even_begun_is_repeated),
        TEST(connections_that_ended_are_not_in_it),
        TEST(a_connection_whose_last_bytes_are_on_the_way_is_not_in_it),
        TEST(a_request_that_the_guest_did_not_answer_is_reset),
        TEST(packets_of_the_guest_do_not_disturb_a_reset_that_it_is_owed),
        TEST(ports_of_the_host_go_on),
        TEST(a_thousand_connections_are_reset),
        TEST(a_journal_of_nonsense_only_makes_resets),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
