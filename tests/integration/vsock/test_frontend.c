/* SPDX-License-Identifier: BSD-3-Clause */
/* vm_vsock with a frontend that breaks the rules of vhost-user: its request fails or its
 * connection ends, and the next frontend finds everything as before. */
#include <stdint.h>
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

static void
regions_that_cannot_be_are_refused(void **state)
{
    static const struct {
        const char *name;
        uint64_t region[2][4];
        uint32_t n;
    } bad[] = {
        {"none", {{0}}, 0},
        {"too many", {{0}}, 200},
        {"empty", {{0, 0, USER_BASE, 0}}, 1},
        {"longer than its file", {{0, MEMORY_BYTES + 1, USER_BASE, 0}}, 1},
        {"after the end of its file", {{0, 4096, USER_BASE, MEMORY_BYTES}}, 1},
        {"of an offset that wraps", {{0, 4096, USER_BASE, UINT64_MAX - 100}}, 1},
        {"of an address that wraps", {{UINT64_MAX - 100, 4096, USER_BASE, 0}}, 1},
        {"of a user address that wraps", {{0, 4096, UINT64_MAX - 100, 0}}, 1},
        {"of an impossible size", {{0, UINT64_MAX, 0, 0}}, 1},
        {"that overlap", {{0, 8192, USER_BASE, 0}, {4096, 8192, USER_BASE + 8192, 0}}, 2},
        {"without the queues", {{0, 4096, USER_BASE, 0}}, 1},
    };
    int fds[2] = {d->memfd, d->memfd}, pipes[2];

    (void)state;
    for (size_t i = 0; i < VMT_ARRAY_SIZE(bad); i++) {
        uint8_t body[8 + 64] = {0};
        uint32_t n = bad[i].n < 2 ? bad[i].n : 2;

        print_message("  %s\n", bad[i].name);
        memcpy(body, &bad[i].n, 4);
        memcpy(body + 8, bad[i].region, n * 32);
        assert_int_equal(message_acked(d, SET_MEM_TABLE, body, 8 + n * 32, fds, n), 1);
        assert_works(d); /* with the old one */
    }
    assert_int_equal(pipe(pipes), 0);
    for (uint32_t n = 1; n <= 2; n++) {
        uint8_t body[8 + 64];

        memory_table(d, body);
        if (n == 2) /* not a file at all */
            fds[0] = fds[1] = pipes[0];
        assert_int_equal(message_acked(d, SET_MEM_TABLE, body, sizeof(body), fds, n), 1);
    }
    (void)close(pipes[0]);
    (void)close(pipes[1]);
    assert_works(d);
}

static void
bad_values_are_refused_and_change_nothing(void **state)
{
    static const struct {
        uint32_t request, index, value;
    } bad[] = {{SET_VRING_NUM, 3, 128},        {SET_VRING_NUM, 2, 0},
               {SET_VRING_NUM, 2, 3},          {SET_VRING_NUM, 2, 2048},
               {SET_VRING_NUM, 2, 0x80000000}, {SET_VRING_NUM, 0, 64},
               {SET_VRING_BASE, 2, 65536},     {SET_VRING_BASE, 0, 0},
               {SET_VRING_ENABLE, 3, 1},       {SET_VRING_ENABLE, 0, 2},
               {GET_VRING_BASE, 3, 0},         {SET_VRING_ENABLE, UINT32_MAX, 1}};
    uint64_t value = 1ull << 50;

    (void)state;
    for (size_t i = 0; i < VMT_ARRAY_SIZE(bad); i++) {
        uint32_t body[2] = {bad[i].index, bad[i].value};

        assert_int_equal(message_acked(d, bad[i].request, body, 8, NULL, 0), 1);
    }
    assert_int_equal(message_acked(d, SET_FEATURES, &value, 8, NULL, 0), 1);
    assert_int_equal(message_acked(d, SET_PROTOCOL_FEATURES, &value, 8, NULL, 0), 1);
    value = 0x100; /* a queue without a descriptor would have to be polled */
    assert_int_equal(message_acked(d, SET_VRING_KICK, &value, 8, NULL, 0), 1);
    value = 0x200;
    assert_int_equal(message_acked(d, SET_VRING_CALL, &value, 8, &d->q[0].call, 1), 1);
    value = 3;
    assert_int_equal(message_acked(d, SET_VRING_CALL, &value, 8, &d->q[0].call, 1), 1);
    assert_int_equal(message_acked(d, 77, NULL, 0, NULL, 0), 1); /* unknown */
    assert_int_equal(message_acked(d, 0, NULL, 0, NULL, 0), 1);
    assert_int_equal(message_acked(d, UINT32_MAX, NULL, 0, NULL, 0), 1);
    assert_works(d);
}

static void
queues_at_impossible_places_are_refused(void **state)
{
    static const uint64_t bad[] = {0,
                                   USER_BASE - 16,
                                   USER_BASE + MEMORY_BYTES - 16,
                                   USER_BASE + 8,
                                   UINT64_MAX - 100,
                                   UINT64_MAX & ~15ull};

    (void)state;
    for (size_t i = 0; i < VMT_ARRAY_SIZE(bad); i++) {
        for (int part = 2; part < 5; part++) {
            uint64_t good = USER_BASE + d->q[0].at;
            uint64_t body[5] = {0, good, good + 0x2000, good + 0x1000, 0};

            if (part > 2 && bad[i] == USER_BASE + 8)
                continue; /* only descriptors are aligned that much */
            body[part - 1] = bad[i];
            assert_int_equal(
                message_acked(d, SET_VRING_ADDR, body, sizeof(body), NULL, 0), 1);
        }
    }
    assert_recovers(d);
}

static void
a_frontend_that_breaks_the_protocol_is_dropped(void **state)
{
    static const struct {
        const char *name;
        uint32_t header[3];
    } bad[] = {
        {"unknown request", {77, 1, 0}},
        {"no version", {GET_FEATURES, 0, 0}},
        {"another version", {GET_FEATURES, 2, 0}},
        {"a body where none belongs", {GET_FEATURES, 1, 4}},
        {"no body where one belongs", {SET_FEATURES, 1, 0}},
        {"a huge body", {SET_MEM_TABLE, 1, UINT32_MAX}},
        {"a body above the largest", {SET_MEM_TABLE, 1, 4096}},
    };
    const uint8_t zeroes[64] = {0};

    (void)state;
    for (size_t i = 0; i < VMT_ARRAY_SIZE(bad); i++) {
        print_message("  %s\n", bad[i].name);
        driver_detach(d);
        driver_connect(d);
        assert_int_equal(send(d->sock, bad[i].header, 12, 0), 12);
        if (bad[i].header[2] && bad[i].header[2] <= sizeof(zeroes))
            assert_true(send(d->sock, zeroes, bad[i].header[2], MSG_NOSIGNAL) > 0);
        message_expect_close(d);
        assert_recovers(d);
    }
}

static void
descriptors_that_nobody_asked_for_are_closed(void **state)
{
    uint64_t features = F_VERSION_1;
    int fds[40];

    (void)state;
    for (size_t i = 0; i < VMT_ARRAY_SIZE(fds); i++)
        fds[i] = d->memfd;
    for (int round = 0; round < 200;
         round++) { /* would exhaust the limit if they stayed */
        driver_detach(d);
        driver_connect(d);
        fds[0] = fds[1] = d->sock;
        for (size_t i = 0; i < VMT_ARRAY_SIZE(fds); i++)
            fds[i] = d->sock;
        message_send(d, SET_FEATURES, 0, &features, 8, fds, round % 2 ? 40 : 30);
        message_expect_close(d);
    }
    assert_recovers(d);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(regions_that_cannot_be_are_refused),
        TEST(bad_values_are_refused_and_change_nothing),
        TEST(queues_at_impossible_places_are_refused),
        TEST(a_frontend_that_breaks_the_protocol_is_dropped),
        TEST(descriptors_that_nobody_asked_for_are_closed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
