/* SPDX-License-Identifier: BSD-3-Clause */
/* vm_vsock with a well-behaved guest: handshake, both directions, every way to lay out a
 * queue, pauses and new drivers. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/integration/vsock/driver.h"

static struct driver driver, *const d = &driver;

static int
set_up(void **state)
{
    (void)state;
    driver_spawn(d);
    return 0;
}

static int
tear_down(void **state)
{
    (void)state;
    driver_reap(d);
    return 0;
}

/* Both ends make the same bytes. */
static uint32_t
mix(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 16;
}

struct transfer {
    int fd;
    size_t bytes;
    size_t wrong; /* bytes that differ */
    size_t got;
};

static void *
host_reads(void *arg)
{
    struct transfer *t = arg;
    static uint8_t buf[1 << 17];
    uint32_t state = 1;
    ssize_t n;

    while ((n = recv(t->fd, buf, sizeof(buf), 0)) > 0) {
        for (ssize_t i = 0; i < n; i++)
            t->wrong += buf[i] != (uint8_t)mix(&state);
        t->got += (size_t)n;
    }
    return NULL;
}

static void *
host_writes(void *arg)
{
    struct transfer *t = arg;
    static uint8_t buf[1 << 17];
    uint32_t state = 1;

    while (t->got < t->bytes) {
        for (size_t i = 0; i < sizeof(buf); i++)
            buf[i] = (uint8_t)mix(&state);
        if (send(t->fd, buf, sizeof(buf), MSG_NOSIGNAL) != sizeof(buf))
            break;
        t->got += sizeof(buf);
    }
    (void)shutdown(t->fd, SHUT_WR);
    return NULL;
}

/* The guest sends as much as it has credit for, as Linux does. */
static void
guest_writes_all(uint32_t port, size_t bytes)
{
    static uint8_t buf[TX_PAYLOAD_MAX];
    uint32_t state = 1, tx_cnt = 0, fwd_cnt = 0, alloc = 256 * 1024;
    struct vsock_hdr hdr;

    while (bytes) {
        uint32_t credit = alloc - (tx_cnt - fwd_cnt);
        uint32_t n = credit < sizeof(buf) ? credit : sizeof(buf);

        if (n > bytes)
            n = (uint32_t)bytes;
        while (take_packet(d, &hdr, NULL, n ? 0 : DEADLINE_MS)) {
            assert_int_equal(hdr.op, VSOCK_OP_CREDIT_UPDATE);
            fwd_cnt = hdr.fwd_cnt;
            alloc = hdr.buf_alloc;
            if (!n)
                break;
        }
        if (!n)
            continue;
        for (uint32_t i = 0; i < n; i++)
            buf[i] = (uint8_t)mix(&state);
        hdr = packet(port, port, VSOCK_OP_RW, n);
        send_packet(d, &hdr, buf, n);
        tx_cnt += n;
        bytes -= n;
    }
    hdr = packet(port, port, VSOCK_OP_SHUTDOWN, 0);
    hdr.flags = VSOCK_SHUTDOWN_BOTH;
    send_packet(d, &hdr, NULL, 0);
}

static void
guest_reads_all(uint32_t port, size_t bytes)
{
    uint8_t buf[4096];
    uint32_t state = 1, told = 0;
    struct vsock_hdr hdr;

    for (size_t got = 0; got < bytes; got += hdr.len) {
        do {
            assert_true(take_packet(d, &hdr, buf, DEADLINE_MS));
        } while (hdr.op == VSOCK_OP_CREDIT_REQUEST);
        assert_int_equal(hdr.op, VSOCK_OP_RW);
        for (uint32_t i = 0; i < hdr.len; i++)
            assert_int_equal(buf[i], (uint8_t)mix(&state));
        d->fwd_cnt += hdr.len;
        if (d->fwd_cnt - told > 192 * 1024) {
            told = d->fwd_cnt;
            send_op(d, port, port, VSOCK_OP_CREDIT_UPDATE);
        }
    }
    do {
        assert_true(take_packet(d, &hdr, buf, DEADLINE_MS));
    } while (hdr.op == VSOCK_OP_CREDIT_REQUEST);
    assert_int_equal(hdr.op, VSOCK_OP_SHUTDOWN);
    assert_int_equal(hdr.flags, VSOCK_SHUTDOWN_SEND);
}

static void
transfer_both_ways(size_t bytes)
{
    int listener = host_listen(d, 7);
    struct transfer to_host = {.bytes = bytes}, to_guest = {.bytes = bytes};
    struct vsock_hdr hdr;
    pthread_t thread;

    to_host.fd = open_to_host(d, listener, 7, 7);
    assert_int_equal(pthread_create(&thread, NULL, host_reads, &to_host), 0);
    guest_writes_all(7, bytes);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(to_host.got, bytes);
    assert_int_equal(to_host.wrong, 0);
    (void)close(to_host.fd);
    do {
        assert_true(take_packet(d, &hdr, NULL, DEADLINE_MS));
    } while (hdr.op == VSOCK_OP_CREDIT_UPDATE);
    assert_int_equal(hdr.op, VSOCK_OP_RST); /* the end is confirmed */

    to_guest.fd = open_to_host(d, listener, 7, 7);
    assert_int_equal(pthread_create(&thread, NULL, host_writes, &to_guest), 0);
    guest_reads_all(7, bytes);
    assert_int_equal(pthread_join(thread, NULL), 0);
    send_op(d, 7, 7, VSOCK_OP_RST);
    d->fwd_cnt = 0; /* counted per connection */
    host_expect_eof(to_guest.fd);
    (void)close(to_guest.fd);
    (void)close(listener);
    assert_true(driver_rss_kib(d) < 200 * 1024);
}

static void
sixty_four_mib_pass_each_way(void **state)
{
    (void)state;
    driver_attach(d, F_EVENT_IDX | F_INDIRECT);
    transfer_both_ways(64u << 20);
    assert_works(d);
}

static void
direct_descriptors_without_event_index_work(void **state)
{
    (void)state;
    driver_attach(d, 0);
    transfer_both_ways(16u << 20);
}

static void
direct_descriptors_with_event_index_work(void **state)
{
    (void)state;
    driver_attach(d, F_EVENT_IDX);
    transfer_both_ways(16u << 20);
}

static void
indirect_tables_without_event_index_work(void **state)
{
    (void)state;
    driver_attach(d, F_INDIRECT);
    transfer_both_ways(16u << 20);
}

static void
the_configuration_is_the_guests_cid(void **state)
{
    uint32_t body[5] = {0, 8, 0, 0, 0}, answer[5] = {0};
    uint64_t cid;

    (void)state;
    driver_attach(d, 0);
    message_send(d, GET_CONFIG, 0, body, sizeof(body), NULL, 0);
    message_reply(d, GET_CONFIG, answer, sizeof(answer));
    assert_memory_equal(answer, body, 12);
    memcpy(&cid, answer + 3, sizeof(cid));
    assert_int_equal(cid, CID);
    body[0] = 4; /* offset 4 and size 8: beyond the end */
    message_send(d, GET_CONFIG, 0, body, sizeof(body), NULL, 0);
    message_reply(d, GET_CONFIG, answer, 12);
    assert_int_equal(answer[1], 0);
}

static void
three_queues_are_offered_and_the_third_may_be_set_up(void **state)
{
    uint64_t n = 0;

    (void)state;
    driver_attach(d, F_EVENT_IDX);
    message_send(d, GET_QUEUE_NUM, 0, NULL, 0, NULL, 0);
    message_reply(d, GET_QUEUE_NUM, &n, sizeof(n));
    assert_int_equal(n, 3);
    ring_message(d, SET_VRING_NUM, 2, RING_SIZE);
    ring_message(d, SET_VRING_BASE, 2, 0);
    ring_fd(d, SET_VRING_CALL, 2, d->q[0].call);
    ring_fd(d, SET_VRING_KICK, 2, d->q[0].kick);
    ring_message(d, SET_VRING_ENABLE, 2, 1);
    assert_works(d);
}

static void
a_message_may_come_byte_by_byte(void **state)
{
    uint32_t header[3] = {GET_FEATURES, 1, 0};
    uint64_t features = 0;

    (void)state;
    driver_connect(d);
    for (size_t i = 0; i < sizeof(header); i++)
        assert_int_equal(send(d->sock, (uint8_t *)header + i, 1, 0), 1);
    message_reply(d, GET_FEATURES, &features, sizeof(features));
    assert_true(features & F_VERSION_1);
}

static void
the_next_frontend_is_served_when_the_first_has_left(void **state)
{
    struct driver first;
    struct pollfd p;
    uint64_t features;

    (void)state;
    driver_attach(d, F_EVENT_IDX);
    assert_works(d);
    first = *d;
    driver_connect(d); /* waits */
    message_send(d, GET_FEATURES, 0, NULL, 0, NULL, 0);
    p = (struct pollfd){.fd = d->sock, .events = POLLIN};
    assert_int_equal(poll(&p, 1, 0), 0);
    (void)close(first.sock);
    message_reply(d, GET_FEATURES, &features, sizeof(features));
    for (int i = 0; i < 5; i++) {
        driver_detach(d);
        driver_attach(d, F_EVENT_IDX);
        assert_works(d);
    }
}

static void
a_frontend_that_leaves_ends_its_connections(void **state)
{
    int listener, fd, waiting;

    (void)state;
    driver_attach(d, F_EVENT_IDX);
    listener = host_listen(d, 7);
    fd = open_to_host(d, listener, 7, 7);
    waiting = host_connect(d, 9);
    (void)expect_packet(d, VSOCK_OP_REQUEST, NULL);
    driver_detach(d);
    host_expect_eof(fd);
    host_expect_eof(waiting);
    (void)close(fd);
    (void)close(waiting);
    (void)close(listener);
    fd = host_connect(d, 9);
    host_expect_eof(fd); /* without a guest, refused at once */
    (void)close(fd);
}

static uint32_t
ring_stop(uint32_t index)
{
    uint32_t body[2] = {index, 0};

    message_send(d, GET_VRING_BASE, 0, body, sizeof(body), NULL, 0);
    message_reply(d, GET_VRING_BASE, body, sizeof(body));
    assert_int_equal(body[0], index);
    return body[1];
}

static void
ring_start(uint32_t index, uint32_t base)
{
    ring_message(d, SET_VRING_BASE, index, base);
    ring_addr(d, index);
    ring_fd(d, SET_VRING_CALL, index, d->q[index].call);
    ring_fd(d, SET_VRING_KICK, index, d->q[index].kick);
    ring_message(d, SET_VRING_ENABLE, index, 1);
}

static void
queues_that_go_on_where_they_stopped_keep_their_connections(void **state)
{
    struct vsock_hdr hdr = packet(7, 7, VSOCK_OP_RW, 5);
    uint8_t payload[4096];
    int listener, fd;
    uint32_t base[2];

    (void)state;
    driver_attach(d, F_EVENT_IDX);
    listener = host_listen(d, 7);
    fd = open_to_host(d, listener, 7, 7);
    for (uint32_t i = 0; i < 2; i++)
        base[i] = ring_stop(i);
    assert_int_equal(send(fd, "early", 5, 0), 5); /* while the vm is paused */
    send_packet(d, &hdr, "queue", 5);
    for (uint32_t i = 0; i < 2; i++)
        ring_start(i, base[i]);
    host_expect(fd, "queue");
    hdr = expect_packet(d, VSOCK_OP_RW, payload);
    assert_int_equal(hdr.len, 5);
    assert_memory_equal(payload, "early", 5);
    (void)close(fd);
    (void)close(listener);
}

static void
queues_that_start_anew_drop_the_connections_of_the_old_driver(void **state)
{
    int listener, fd;

    (void)state;
    driver_attach(d, F_EVENT_IDX);
    listener = host_listen(d, 7);
    fd = open_to_host(d, listener, 7, 7);
    for (unsigned i = 0; i < 2; i++) {
        (void)ring_stop(i);
        memset(d->mem + d->q[i].at, 0, 0x3000); /* what a driver that resets does */
        d->q[i].avail = d->q[i].used = 0;
    }
    memset(d->tx_busy, 0, sizeof(d->tx_busy));
    for (uint16_t i = 0; i < RING_SIZE; i++)
        post_rx(d, i);
    ring_start(0, 0);
    ring_start(1, 0);
    host_expect_eof(fd);
    (void)close(fd);
    (void)close(listener);
    assert_works(d);
}

static void
a_new_memory_table_is_used_at_once(void **state)
{
    uint8_t table[8 + 2 * 32];
    int fds[2];

    (void)state;
    driver_attach(d, F_EVENT_IDX);
    assert_works(d);
    memory_table(d, table);
    fds[0] = fds[1] = d->memfd;
    for (int i = 0; i < 50; i++)
        assert_int_equal(message_acked(d, SET_MEM_TABLE, table, sizeof(table), fds, 2),
                         0);
    assert_works(d);
}

static void
a_disabled_queue_rests(void **state)
{
    struct vsock_hdr hdr;

    (void)state;
    driver_attach(d, F_EVENT_IDX);
    ring_message(d, SET_VRING_ENABLE, 1, 0);
    send_op(d, 7, 7, VSOCK_OP_RW);
    ring_message(d, SET_VRING_BASE, 2, 0); /* a round trip: it had time */
    assert_false(take_packet(d, &hdr, NULL, 0));
    ring_message(d, SET_VRING_ENABLE, 1, 1);
    (void)expect_packet(d, VSOCK_OP_RST, NULL);
}

static void
a_frontend_without_protocol_features_needs_no_enabling(void **state)
{
    struct vsock_hdr hdr;

    (void)state;
    driver_attach(d, F_EVENT_IDX);
    for (uint32_t i = 0; i < 2; i++) {
        ring_message(d, SET_VRING_ENABLE, i, 0);
        (void)ring_stop(i);
    }
    d->features &= ~F_PROTOCOL;
    assert_int_equal(message_acked(d, SET_FEATURES, &d->features, 8, NULL, 0), 0);
    for (uint32_t i = 0; i < 2; i++) {
        ring_message(d, SET_VRING_BASE, i, 0);
        ring_fd(d, SET_VRING_KICK, i, d->q[i].kick);
    }
    send_op(d, 7, 7, VSOCK_OP_RW);
    hdr = expect_packet(d, VSOCK_OP_RST, NULL);
    assert_int_equal(hdr.dst_port, 7);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(sixty_four_mib_pass_each_way),
        TEST(direct_descriptors_without_event_index_work),
        TEST(direct_descriptors_with_event_index_work),
        TEST(indirect_tables_without_event_index_work),
        TEST(the_configuration_is_the_guests_cid),
        TEST(three_queues_are_offered_and_the_third_may_be_set_up),
        TEST(a_message_may_come_byte_by_byte),
        TEST(the_next_frontend_is_served_when_the_first_has_left),
        TEST(a_frontend_that_leaves_ends_its_connections),
        TEST(queues_that_go_on_where_they_stopped_keep_their_connections),
        TEST(queues_that_start_anew_drop_the_connections_of_the_old_driver),
        TEST(a_new_memory_table_is_used_at_once),
        TEST(a_disabled_queue_rests),
        TEST(a_frontend_without_protocol_features_needs_no_enabling),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
