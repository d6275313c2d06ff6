/* SPDX-License-Identifier: BSD-3-Clause */
/* vm_vsock whose worker ends, is replaced, or loses its keeper: connections of before are
 * reset at both ends, whatever the guest had handed over is served, and new ones work. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/integration/vsock/driver.h"

static struct driver driver, *const d = &driver;

static int
set_up(void **state)
{
    (void)state;
    driver_spawn(d);
    driver_attach(d, F_EVENT_IDX | F_INDIRECT);
    return 0;
}

static int
tear_down(void **state)
{
    (void)state;
    driver_reap(d);
    return 0;
}

static void
worker_dies(int sig)
{
    assert_int_equal(kill(d->worker, sig), 0);
    d->worker = driver_worker(d, d->worker);
}

static void
expect_reset(uint32_t guest_port, uint32_t host_port)
{
    struct vsock_hdr hdr = expect_packet(d, VSOCK_OP_RST, NULL);

    assert_int_equal(hdr.dst_port, guest_port);
    assert_int_equal(hdr.src_port, host_port);
    assert_int_equal(hdr.src_cid, 2);
    assert_int_equal(hdr.dst_cid, CID);
}

/* Waits until what the guest sent so far will not be taken once more. */
static void
settle(uint32_t guest_port, uint32_t host_port)
{
    send_op(d, guest_port, host_port, VSOCK_OP_CREDIT_REQUEST);
    (void)expect_packet(d, VSOCK_OP_CREDIT_UPDATE, NULL);
}

static void
a_killed_worker_resets_its_connections_20_times_in_a_row(void **state)
{
    int listener = host_listen(d, 7);

    (void)state;
    for (uint32_t i = 0; i < 20; i++) {
        int fd = open_to_host(d, listener, 100 + i, 7);

        worker_dies(SIGKILL);
        host_expect_eof(fd);
        expect_reset(100 + i, 7);
        assert_works(d);
        (void)close(fd);
    }
    (void)close(listener);
}

static void
both_directions_and_every_stage_are_reset(void **state)
{
    struct vsock_hdr asked, accepted;
    int listener = host_listen(d, 7), waiting, open, calls;
    bool seen[3] = {false};

    (void)state;
    calls = open_to_host(d, listener, 100, 7);
    waiting = host_connect(d, 200);
    asked = expect_packet(d, VSOCK_OP_REQUEST, NULL);
    open = host_connect(d, 201);
    accepted = expect_packet(d, VSOCK_OP_REQUEST, NULL);
    send_op(d, 201, accepted.src_port, VSOCK_OP_RESPONSE);
    host_expect(open, "OK ");
    settle(201, accepted.src_port);
    worker_dies(SIGKILL);
    for (int i = 0; i < 3; i++) {
        struct vsock_hdr hdr = expect_packet(d, VSOCK_OP_RST, NULL);

        seen[0] |= hdr.dst_port == 100 && hdr.src_port == 7;
        seen[1] |= hdr.dst_port == 200 && hdr.src_port == asked.src_port;
        seen[2] |= hdr.dst_port == 201 && hdr.src_port == accepted.src_port;
    }
    assert_true(seen[0] && seen[1] && seen[2]);
    assert_false(take_packet(d, &accepted, NULL, 0));
    assert_works(d);
    (void)close(calls);
    (void)close(waiting);
    (void)close(open);
    (void)close(listener);
}

static void
the_ports_of_before_are_not_used_again(void **state)
{
    struct vsock_hdr before, after;
    int fd = host_connect(d, 200), again;

    (void)state;
    before = expect_packet(d, VSOCK_OP_REQUEST, NULL);
    worker_dies(SIGKILL);
    expect_reset(200, before.src_port);
    again = host_connect(d, 200);
    after = expect_packet(d, VSOCK_OP_REQUEST, NULL);
    assert_true(after.src_port > before.src_port);
    (void)close(fd);
    (void)close(again);
    expect_reset(200, after.src_port);
}

static void
a_closed_connection_is_not_reset_once_more(void **state)
{
    int listener = host_listen(d, 7), fd = open_to_host(d, listener, 100, 7);
    struct vsock_hdr hdr;

    (void)state;
    send_op(d, 100, 7, VSOCK_OP_RST);
    host_expect_eof(fd);
    (void)close(fd);
    fd = open_to_host(d, listener, 101, 7);
    (void)close(fd);
    (void)expect_packet(d, VSOCK_OP_SHUTDOWN, NULL);
    send_op(d, 101, 7, VSOCK_OP_SHUTDOWN); /* without flags: not a close yet */
    send_op(d, 101, 7, VSOCK_OP_RST);
    assert_works(d);
    worker_dies(SIGKILL);
    assert_works(d);
    assert_false(take_packet(d, &hdr, NULL, 0));
    (void)close(listener);
}

/* A worker that is stopped takes nothing: what the guest sends meanwhile is what another
 * one finds in the queues. */
static void
what_the_guest_sent_meanwhile_is_served(void **state)
{
    int listener = host_listen(d, 7), old = open_to_host(d, listener, 100, 7), fd;
    struct vsock_hdr hdr = packet(101, 7, VSOCK_OP_RW, 5);

    (void)state;
    assert_int_equal(kill(d->worker, SIGSTOP), 0);
    send_op(d, 101, 7, VSOCK_OP_REQUEST);
    send_packet(d, &hdr, "early", 5);
    worker_dies(SIGKILL);
    expect_reset(100, 7);
    (void)expect_packet(d, VSOCK_OP_RESPONSE, NULL);
    fd = host_accept(listener);
    host_expect(fd, "early");
    host_expect_eof(old);
    (void)close(old);
    (void)close(fd);
    (void)close(listener);
    (void)expect_packet(d, VSOCK_OP_SHUTDOWN, NULL);
}

static void
a_program_that_waits_is_served_by_the_next_worker(void **state)
{
    struct vsock_hdr hdr;
    int fd;

    (void)state;
    assert_int_equal(kill(d->worker, SIGSTOP), 0);
    fd = host_connect(d, 300);
    worker_dies(SIGKILL);
    hdr = expect_packet(d, VSOCK_OP_REQUEST, NULL);
    assert_int_equal(hdr.dst_port, 300);
    send_op(d, 300, hdr.src_port, VSOCK_OP_RESPONSE);
    host_expect(fd, "OK ");
    (void)close(fd);
}

static void
buffers_of_the_guest_are_not_lost(void **state)
{
    int listener = host_listen(d, 7);

    (void)state;
    for (uint32_t i = 0; i < 10; i++) {
        int fd = open_to_host(d, listener, 100 + i, 7);
        static const uint8_t data[200 * 1024];
        size_t got = 0;

        assert_true(send(fd, data, sizeof(data), MSG_DONTWAIT | MSG_NOSIGNAL) > 0);
        for (int n = 0; n < 5; n++) /* in the middle of it */
            got += expect_packet(d, VSOCK_OP_RW, NULL).len;
        assert_true(got > 0);
        worker_dies(SIGKILL);
        for (;;) {
            struct vsock_hdr hdr;

            assert_true(take_packet(d, &hdr, NULL, DEADLINE_MS));
            if (hdr.op == VSOCK_OP_RST)
                break;
            assert_int_equal(hdr.op, VSOCK_OP_RW);
        }
        assert_works(d);
        (void)close(fd);
    }
    (void)close(listener);
}

static void
a_broken_index_of_the_guest_costs_only_the_guest(void **state)
{
    (void)state;
    /* The used index is the device's to write, and yet in the guest's memory. */
    memset(d->mem + d->q[0].at + 0x2002, 0x77, 2);
    memset(d->mem + d->q[1].at + 0x2002, 0x99, 2);
    worker_dies(SIGKILL);
    ring_kick(d, 1);
    ring_expect_error(d, 1);
    assert_recovers(d);
}

static void
what_the_vmm_changes_later_is_known_to_the_next_worker(void **state)
{
    int old = d->q[0].call;
    uint64_t n;

    (void)state;
    d->q[0].call = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    ring_fd(d, SET_VRING_CALL, 0, d->q[0].call);
    while (read(old, &n, sizeof(n)) > 0)
        ;
    worker_dies(SIGKILL);
    assert_works(d);
    assert_int_equal(read(old, &n, sizeof(n)), -1); /* the old one is not signalled */
    (void)close(old);
}

static void
a_paused_vm_stays_paused_and_goes_on_where_it_was(void **state)
{
    uint32_t body[2] = {0, 0}, reply[2], base[2];

    (void)state;
    assert_works(d);
    for (uint32_t i = 0; i < 2; i++) {
        body[0] = i;
        message_send(d, GET_VRING_BASE, 0, body, sizeof(body), NULL, 0);
        message_reply(d, GET_VRING_BASE, reply, sizeof(reply));
        base[i] = reply[1];
    }
    assert_true(base[1] > 0);
    worker_dies(SIGKILL);
    for (uint32_t i = 0; i < 2; i++)
        ring_fd(d, SET_VRING_KICK, i, d->q[i].kick);
    assert_works(d);
}

static void
the_worker_ends_between_two_vmms_and_before_the_first(void **state)
{
    (void)state;
    driver_detach(d);
    worker_dies(SIGKILL);
    driver_attach(d, F_EVENT_IDX);
    assert_works(d);
    driver_detach(d);
    driver_connect(d); /* and with one that said nothing yet */
    worker_dies(SIGKILL);
    assert_recovers(d);
}

static void
a_worker_that_does_not_answer_the_vmm_is_replaced(void **state)
{
    int listener = host_listen(d, 7), fd = open_to_host(d, listener, 100, 7);
    uint64_t features = 0;

    (void)state;
    assert_int_equal(kill(d->worker, SIGSTOP), 0);
    message_send(d, GET_FEATURES, 0, NULL, 0, NULL, 0);
    message_reply(d, GET_FEATURES, &features, sizeof(features));
    assert_true(features & F_VERSION_1);
    d->worker = driver_worker(d, d->worker);
    host_expect_eof(fd);
    expect_reset(100, 7);
    assert_works(d);
    (void)close(fd);
    (void)close(listener);
}

static void
a_worker_is_replaced_on_demand(void **state)
{
    int listener = host_listen(d, 7);

    (void)state;
    for (uint32_t i = 0; i < 5; i++) {
        int fd = open_to_host(d, listener, 100 + i, 7);
        pid_t old = d->worker;

        assert_int_equal(kill(d->pid, SIGHUP), 0);
        host_expect_eof(fd);
        d->worker = driver_worker(d, old);
        expect_reset(100 + i, 7);
        assert_works(d);
        (void)close(fd);
    }
    (void)close(listener);
}

static void
without_its_keeper_a_worker_goes_on_until_the_vmm_leaves(void **state)
{
    int listener = host_listen(d, 7), fd = open_to_host(d, listener, 100, 7);
    struct vsock_hdr hdr = packet(100, 7, VSOCK_OP_RW, 5);
    uint64_t features = 0;
    char answer[32];
    int again, status = -1;

    (void)state;
    assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
    assert_int_equal(kill(d->pid, SIGKILL), 0);
    assert_int_equal(waitpid(d->pid, NULL, 0), d->pid);
    d->pid = 0;
    send_packet(d, &hdr, "hello", 5); /* the old connection lives */
    host_expect(fd, "hello");
    again = open_to_host(d, listener, 101, 7);
    (void)close(again);
    (void)expect_packet(d, VSOCK_OP_SHUTDOWN, NULL);
    again = host_connect(d, 300);
    hdr = expect_packet(d, VSOCK_OP_REQUEST, NULL);
    send_op(d, 300, hdr.src_port, VSOCK_OP_RESPONSE);
    (void)snprintf(answer, sizeof(answer), "OK %u\n", hdr.src_port);
    host_expect(again, answer);
    /* And it answers the VMM. */
    message_send(d, GET_FEATURES, 0, NULL, 0, NULL, 0);
    message_reply(d, GET_FEATURES, &features, sizeof(features));
    assert_true(features & F_VERSION_1);
    assert_int_equal(message_acked(d, 77, NULL, 0, NULL, 0), 1);

    driver_detach(d);
    host_expect_eof(fd);
    host_expect_eof(again);
    assert_int_equal(waitpid(d->worker, &status, 0), d->worker);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    (void)close(fd);
    (void)close(again);
    (void)close(listener);
    driver_remove(d);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_killed_worker_resets_its_connections_20_times_in_a_row),
        TEST(both_directions_and_every_stage_are_reset),
        TEST(the_ports_of_before_are_not_used_again),
        TEST(a_closed_connection_is_not_reset_once_more),
        TEST(what_the_guest_sent_meanwhile_is_served),
        TEST(a_program_that_waits_is_served_by_the_next_worker),
        TEST(buffers_of_the_guest_are_not_lost),
        TEST(a_broken_index_of_the_guest_costs_only_the_guest),
        TEST(what_the_vmm_changes_later_is_known_to_the_next_worker),
        TEST(a_paused_vm_stays_paused_and_goes_on_where_it_was),
        TEST(the_worker_ends_between_two_vmms_and_before_the_first),
        TEST(a_worker_that_does_not_answer_the_vmm_is_replaced),
        TEST(a_worker_is_replaced_on_demand),
        cmocka_unit_test_setup(without_its_keeper_a_worker_goes_on_until_the_vmm_leaves,
                               set_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
