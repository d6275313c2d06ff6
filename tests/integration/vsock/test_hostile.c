/* SPDX-License-Identifier: BSD-3-Clause */
/* vm_vsock with a guest that breaks every rule: it may cost that guest its connections,
 * never the process, nor memory without bound, nor the next guest. */
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/base/cleanup.h"
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
    assert_true(driver_rss_kib(d) < driver_rss_max_kib());
    driver_reap(d);
    return 0;
}

/* Chains that a driver must not make. The first descriptor is number 0, which is the
 * head; table is an indirect one at TABLES. */
struct bad_chain {
    const char *name;
    struct desc desc[3];
    struct desc table[3];
    uint16_t head;
};

#define GOOD_TX(next_index)                                                              \
    {                                                                                    \
        TX_BUFFERS, 44, DESC_NEXT, next_index                                            \
    }

static const struct bad_chain bad_tx[] = {
    {"a descriptor that follows itself", .desc = {GOOD_TX(0)}},
    {"two that follow each other", .desc = {GOOD_TX(1), GOOD_TX(0)}},
    {"a head out of range", .head = RING_SIZE},
    {"a head far out of range", .head = UINT16_MAX},
    {"a successor out of range", .desc = {GOOD_TX(RING_SIZE)}},
    {"an address outside of the memory", .desc = {{MEMORY_BYTES, 44, 0, 0}}},
    {"an end outside of the memory", .desc = {{MEMORY_BYTES - 43, 44, 0, 0}}},
    {"an end beyond all addresses", .desc = {{UINT64_MAX - 10, 44, 0, 0}}},
    {"a length beyond the memory", .desc = {{TX_BUFFERS, UINT32_MAX, 0, 0}}},
    {"no length", .desc = {{TX_BUFFERS, 0, 0, 0}}},
    {"no length after a good part", .desc = {GOOD_TX(1), {TX_BUFFERS, 0, 0, 0}}},
    {"the wrong direction", .desc = {{TX_BUFFERS, 44, DESC_WRITE, 0}}},
    {"a direction that changes", .desc = {GOOD_TX(1), {TX_BUFFERS, 44, DESC_WRITE, 0}}},
    {"an empty table", .desc = {{TABLES, 0, DESC_INDIRECT, 0}}},
    {"a table of 17 bytes", .desc = {{TABLES, 17, DESC_INDIRECT, 0}}},
    {"a table of 15 bytes", .desc = {{TABLES, 15, DESC_INDIRECT, 0}}},
    {"a huge table", .desc = {{TABLES, 0xfffffff0u, DESC_INDIRECT, 0}}},
    {"a table outside of the memory", .desc = {{MEMORY_BYTES - 8, 16, DESC_INDIRECT, 0}}},
    {"a table at no address", .desc = {{UINT64_MAX - 8, 16, DESC_INDIRECT, 0}}},
    {"a table that goes on", .desc = {{TABLES, 16, DESC_INDIRECT | DESC_NEXT, 1}}},
    {"a table in a table", .desc = {{TABLES, 16, DESC_INDIRECT, 0}},
     .table = {{TABLES, 16, DESC_INDIRECT, 0}}},
    {"a table after a descriptor and again",
     .desc = {GOOD_TX(1), {TABLES, 16, DESC_INDIRECT, 0}},
     .table = {{TABLES, 16, DESC_INDIRECT, 0}}},
    {"a loop in a table", .desc = {{TABLES, 48, DESC_INDIRECT, 0}},
     .table = {GOOD_TX(1), GOOD_TX(2), GOOD_TX(0)}},
    {"a successor outside of the table", .desc = {{TABLES, 32, DESC_INDIRECT, 0}},
     .table = {GOOD_TX(2), {TX_BUFFERS, 44, 0, 0}, {TX_BUFFERS, 44, 0, 0}}},
    {"the wrong direction in a table", .desc = {{TABLES, 16, DESC_INDIRECT, 0}},
     .table = {{TX_BUFFERS, 44, DESC_WRITE, 0}}},
};

static void
publish_bad(unsigned queue, const struct bad_chain *bad)
{
    print_message("  %s\n", bad->name);
    memcpy(ring_desc(d, queue, 0), bad->desc, sizeof(bad->desc));
    memcpy(d->mem + TABLES, bad->table, sizeof(bad->table));
    ring_publish(d, queue, bad->head);
    ring_kick(d, queue);
}

static void
bad_chains_of_the_guests_packets_stop_the_device(void **state)
{
    (void)state;
    for (size_t i = 0; i < VMT_ARRAY_SIZE(bad_tx); i++) {
        int listener = host_listen(d, 100 + (uint32_t)i);
        int fd = open_to_host(d, listener, 7, 100 + (uint32_t)i);

        publish_bad(1, &bad_tx[i]);
        ring_expect_error(d, 1);
        host_expect_eof(fd);
        (void)close(fd);
        (void)close(listener);
        assert_recovers(d);
    }
}

static const struct bad_chain bad_rx[] = {
    {"a buffer to read", .desc = {{RX_BUFFERS, RX_ROOM, 0, 0}}},
    {"a buffer without room for a header", .desc = {{RX_BUFFERS, 43, DESC_WRITE, 0}}},
    {"a buffer with room for a header only", .desc = {{RX_BUFFERS, 44, DESC_WRITE, 0}}},
    {"a buffer outside of the memory", .desc = {{MEMORY_BYTES, 4140, DESC_WRITE, 0}}},
    {"a buffer without end", .desc = {{RX_BUFFERS, 20, DESC_WRITE | DESC_NEXT, 0}}},
    {"an empty table", .desc = {{TABLES, 0, DESC_INDIRECT, 0}}},
};

static void
bad_buffers_for_packets_stop_the_device(void **state)
{
    struct vsock_hdr hdr;

    (void)state;
    for (size_t i = 0; i < VMT_ARRAY_SIZE(bad_rx); i++) {
        /* Use up the good buffers: each packet without a connection is answered. */
        for (unsigned n = 0; n < RING_SIZE; n++)
            send_op(d, 7, 7, VSOCK_OP_RW);
        for (unsigned n = 0; n < RING_SIZE; n++)
            assert_true(keep_packet(d, &hdr));
        publish_bad(0, &bad_rx[i]);
        send_op(d, 7, 7, VSOCK_OP_RW);
        ring_expect_error(d, 0);
        assert_recovers(d);
    }
}

static void
an_available_index_ahead_of_the_ring_stops_the_device(void **state)
{
    (void)state;
    for (unsigned queue = 0; queue < 2; queue++) {
        ring_set_avail(d, queue, (uint16_t)(d->q[queue].avail + RING_SIZE + 1));
        ring_kick(d, queue);
        send_op(d, 7, 7, VSOCK_OP_RW); /* so that a buffer is needed */
        ring_kick(d, 1);
        ring_expect_error(d, queue);
        assert_recovers(d);
    }
}

static void
indirect_tables_that_were_not_agreed_stop_the_device(void **state)
{
    static const struct bad_chain bad = {"a table",
                                         .desc = {{TABLES, 16, DESC_INDIRECT, 0}},
                                         .table = {{TX_BUFFERS, 44, 0, 0}}};

    (void)state;
    driver_detach(d);
    driver_attach(d, F_EVENT_IDX);
    publish_bad(1, &bad);
    ring_expect_error(d, 1);
    assert_recovers(d);
}

/* Wrong packets in good chains: nothing stops. */
static void
bad_packets_only_concern_themselves(void **state)
{
    struct vsock_hdr hdr = packet(7, 7, VSOCK_OP_RW, 0), got;
    uint16_t avail = d->q[1].avail;

    (void)state;
    *ring_desc(d, 1, 4 * 31) = (struct desc){TX_BUFFERS, 43, 0, 0}; /* no whole header */
    d->tx_busy[31] = true;
    ring_publish(d, 1, 4 * 31);
    ring_kick(d, 1);
    assert_int_equal(d->q[1].avail, avail + 1);
    hdr.len = 10; /* more than there is: dropped without an answer */
    send_packet(d, &hdr, "123456789", 9);
    hdr.len = UINT32_MAX;
    send_packet(d, &hdr, "123456789", 9);
    hdr = packet(7, 7, VSOCK_OP_REQUEST, 0);
    hdr.dst_cid = 3;
    send_packet(d, &hdr, NULL, 0);
    got = expect_packet(d, VSOCK_OP_RST, NULL);
    assert_int_equal(got.src_cid, 3);
    hdr = packet(7, 7, VSOCK_OP_REQUEST, 0);
    hdr.src_cid = 43;
    send_packet(d, &hdr, NULL, 0);
    (void)expect_packet(d, VSOCK_OP_RST, NULL);
    hdr = packet(7, 7, VSOCK_OP_REQUEST, 0);
    hdr.type = 2;
    send_packet(d, &hdr, NULL, 0);
    got = expect_packet(d, VSOCK_OP_RST, NULL);
    assert_int_equal(got.type, 2);
    send_op(d, 7, 7, 999);
    (void)expect_packet(d, VSOCK_OP_RST, NULL);
    send_op(d, 7, 7, VSOCK_OP_REQUEST); /* nobody listens */
    (void)expect_packet(d, VSOCK_OP_RST, NULL);
    assert_works(d);
}

static void
a_guest_that_overruns_its_credit_is_reset(void **state)
{
    static const uint8_t data[TX_PAYLOAD_MAX];
    struct vsock_hdr hdr = packet(7, 7, VSOCK_OP_RW, sizeof(data)), got = {0};
    int listener = host_listen(d, 7);
    int fd = open_to_host(d, listener, 7, 7);

    (void)state;
    /* The host does not read. Its socket takes some, the device as much as it promised.
     */
    for (int i = 0; i < 64 && got.op != VSOCK_OP_RST; i++) {
        send_packet(d, &hdr, data, sizeof(data));
        while (got.op != VSOCK_OP_RST && take_packet(d, &got, NULL, 0))
            ;
    }
    while (got.op != VSOCK_OP_RST)
        assert_true(take_packet(d, &got, NULL, DEADLINE_MS));
    (void)close(fd);
    (void)close(listener);
    while (take_packet(d, &got, NULL, 100))
        ; /* resets for what was still on its way */
    assert_works(d);
}

static void
ten_thousand_requests_are_bounded(void **state)
{
    unsigned accepted = 0, refused = 0;
    int listener = host_listen(d, 7);
    int *fds = calloc(2000, sizeof(*fds));
    struct vsock_hdr got;

    (void)state;
    assert_non_null(fds);
    for (uint32_t i = 0; i < 10000; i++) {
        send_op(d, 1000 + i, 7, VSOCK_OP_REQUEST);
        assert_true(take_packet(d, &got, NULL, DEADLINE_MS));
        assert_int_equal(got.dst_port, 1000 + i);
        if (got.op == VSOCK_OP_RESPONSE)
            fds[accepted++] = host_accept(listener);
        else
            refused++;
        assert_true(accepted < 2000);
    }
    assert_true(accepted >= 500 && accepted <= 1024);
    assert_int_equal(accepted + refused, 10000);
    assert_true(driver_rss_kib(d) < driver_rss_max_kib());
    for (uint32_t i = 0; i < accepted; i++)
        (void)close(fds[i]);
    free(fds);
    (void)close(listener);
    assert_recovers(d);
}

/* The next packet of this connection. The one before it may still tell of its credit. */
static struct vsock_hdr
take_packet_of(uint32_t port)
{
    struct vsock_hdr got;

    do
        assert_true(take_packet(d, &got, NULL, DEADLINE_MS));
    while (got.dst_port != port);
    return got;
}

/* Send as much as the guest may. Returns bytes. */
static uint32_t
fill_connection(uint32_t port, uint32_t buf_alloc)
{
    static const uint8_t data[TX_PAYLOAD_MAX];
    struct vsock_hdr hdr = {0}, got;
    uint32_t sent = 0, fwd_cnt = 0, asked_at = UINT32_MAX;

    for (;;) {
        uint32_t credit = buf_alloc - (sent - fwd_cnt);
        uint32_t n = credit < sizeof(data) ? credit : sizeof(data);

        if (!n && asked_at == sent)
            return sent;
        if (!n) {
            asked_at = sent;
            send_op(d, port, 7, VSOCK_OP_CREDIT_REQUEST);
            hdr = take_packet_of(port);
            assert_int_equal(hdr.op, VSOCK_OP_CREDIT_UPDATE);
            while (take_packet(d, &got, NULL, 0))
                if (got.dst_port == port) /* one came by itself before the answer */
                    hdr = got;
            fwd_cnt = hdr.fwd_cnt;
            continue;
        }
        hdr = packet(port, 7, VSOCK_OP_RW, n);
        send_packet(d, &hdr, data, n);
        sent += n;
    }
}

static void
readers_that_never_read_cost_a_bounded_amount(void **state)
{
    int listener = host_listen(d, 7), fds[1024];
    struct vsock_hdr got;
    uint64_t sent = 0;
    unsigned n;

    (void)state;
    for (n = 0; n < VMT_ARRAY_SIZE(fds); n++) {
        send_op(d, 1000 + n, 7, VSOCK_OP_REQUEST);
        got = take_packet_of(1000 + n);
        if (got.op == VSOCK_OP_RST)
            break; /* no more descriptors than this where limits are low */
        fds[n] = host_accept(listener);
        sent += fill_connection(1000 + n, got.buf_alloc);
    }
    print_message("  %u connections took %llu KiB, the process has %ld KiB\n", n,
                  (unsigned long long)sent / 1024, driver_rss_kib(d));
    assert_true(n >= 500);
    assert_true(driver_rss_kib(d) < driver_rss_max_kib());
    for (unsigned i = 0; i < n; i++)
        (void)close(fds[i]);
    (void)close(listener);
    assert_recovers(d);
}

static void
a_guest_that_gives_no_buffers_is_not_listened_to(void **state)
{
    struct vsock_hdr got;
    unsigned n = 0;

    (void)state;
    /* 128 buffers, and 128 answers that may wait; after that the packets stay in the
     * queue, which is full at 32. */
    for (unsigned i = 0; i < RING_SIZE + 128 + TX_SLOTS; i++)
        send_op(d, i, 7, VSOCK_OP_RW);
    while (n < RING_SIZE + 128 + TX_SLOTS) {
        assert_true(take_packet(d, &got, NULL, DEADLINE_MS));
        assert_int_equal(got.dst_port, n++);
    }
    assert_works(d);
}

static void
memory_that_shrinks_stops_the_device_and_not_the_process(void **state)
{
    int listener = host_listen(d, 7);
    int fd = open_to_host(d, listener, 7, 7);

    (void)state;
    assert_int_equal(ftruncate(d->memfd, 4096), 0);
    ring_kick(d, 1);
    ring_expect_error(d, 1);
    host_expect_eof(fd);
    (void)close(fd);
    (void)close(listener);
    assert_recovers(d);
}

/* The queues stay, the buffers go. */
static void
buffers_that_vanish_cost_a_connection_at_most(void **state)
{
    static const uint8_t data[30000];
    struct vsock_hdr hdr = packet(7, 7, VSOCK_OP_RW, sizeof(data));
    int listener = host_listen(d, 7);
    int fd = open_to_host(d, listener, 7, 7);

    (void)state;
    send_packet(d, &hdr, data, sizeof(data)); /* a slot and a table that exist */
    while (d->tx_busy[0])
        send_op(d, 7, 7, VSOCK_OP_CREDIT_UPDATE), d->tx_busy[0] = false;
    *ring_desc(d, 1, 127) = (struct desc){MEMORY_BYTES - 65536, 65536, 0, 0};
    assert_int_equal(ftruncate(d->memfd, MEMORY_BYTES - 65536), 0);
    ring_publish(d, 1, 127);
    ring_kick(d, 1);
    ring_expect_error(d, 1);
    (void)close(fd);
    (void)close(listener);
    assert_recovers(d);
}

static void
queues_stopped_in_the_middle_of_traffic_are_left_alone(void **state)
{
    static const uint8_t data[TX_PAYLOAD_MAX];
    struct vsock_hdr hdr;

    (void)state;
    for (int round = 0; round < 20; round++) {
        int listener = host_listen(d, 600 + (uint32_t)round);
        int fd = open_to_host(d, listener, 7, 600 + (uint32_t)round);
        uint32_t body[2] = {0, 0};

        hdr = packet(7, 600 + (uint32_t)round, VSOCK_OP_RW, sizeof(data));
        send_packet(d, &hdr, data, sizeof(data));
        assert_int_equal(send(fd, data, sizeof(data), 0), sizeof(data));
        for (body[0] = 0; body[0] < 2; body[0]++) {
            uint32_t answer[2];

            message_send(d, GET_VRING_BASE, 0, body, sizeof(body), NULL, 0);
            message_reply(d, GET_VRING_BASE, answer, sizeof(answer));
        }
        memset(d->mem, 0xff, MEMORY_BYTES); /* the guest's memory is its own again */
        ring_kick(d, 0);
        ring_kick(d, 1);
        assert_int_equal(message_acked(d, SET_OWNER, NULL, 0, NULL, 0), 0);
        for (size_t i = 0; i < MEMORY_BYTES; i++)
            assert_int_equal(d->mem[i], 0xff); /* nobody wrote there any more */
        (void)close(fd);
        (void)close(listener);
        assert_recovers(d);
    }
}

static void
random_queues_do_no_harm(void **state)
{
    (void)state;
    srand(1);
    for (int round = 0; round < 300; round++) {
        for (unsigned queue = 0; queue < 2; queue++) {
            uint8_t *ring = d->mem + d->q[queue].at;

            for (size_t i = 0; i < 0x1400; i++) {
                if (rand() % 3 == 0)
                    ring[i] = (uint8_t)rand();
            }
            if (rand() % 2) /* plausible ones get further */
                for (unsigned i = 0; i < RING_SIZE; i++)
                    *ring_desc(d, queue, i) = (struct desc){
                        (uint64_t)rand() % MEMORY_BYTES, (uint32_t)rand() % 8192,
                        (uint16_t)(rand() % 8), (uint16_t)(rand() % RING_SIZE)};
            ring_set_avail(d, queue, (uint16_t)(d->q[queue].avail + rand() % 64));
            ring_kick(d, queue);
        }
        if (round % 10 == 0)
            assert_recovers(d);
        driver_assert_alive(d);
    }
    assert_recovers(d);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(bad_chains_of_the_guests_packets_stop_the_device),
        TEST(bad_buffers_for_packets_stop_the_device),
        TEST(an_available_index_ahead_of_the_ring_stops_the_device),
        TEST(indirect_tables_that_were_not_agreed_stop_the_device),
        TEST(bad_packets_only_concern_themselves),
        TEST(a_guest_that_overruns_its_credit_is_reset),
        TEST(ten_thousand_requests_are_bounded),
        TEST(readers_that_never_read_cost_a_bounded_amount),
        TEST(a_guest_that_gives_no_buffers_is_not_listened_to),
        TEST(memory_that_shrinks_stops_the_device_and_not_the_process),
        TEST(buffers_that_vanish_cost_a_connection_at_most),
        TEST(queues_stopped_in_the_middle_of_traffic_are_left_alone),
        TEST(random_queues_do_no_harm),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
