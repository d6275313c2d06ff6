/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/vm/port.h"

#include <errno.h>

#include "tests/unit/test.h"

static bool
is_below(void *arg, uint32_t port)
{
    return port < *(const uint32_t *)arg;
}

static bool
is_not(void *arg, uint32_t port)
{
    return port != *(const uint32_t *)arg;
}

static void
ports_count_up_from_16384(void **state)
{
    uint32_t none = 0, next = 0, port = 0;

    (void)state;
    for (uint32_t want = 16384; want < 16384 + 40; want++) {
        assert_int_equal(vm_port_alloc(&next, is_below, &none, &port), 0);
        assert_int_equal(port, want);
    }
}

static void
ports_in_use_are_skipped_and_the_counter_wraps(void **state)
{
    uint32_t below = 16390, next = 65535, port = 0;

    (void)state;
    assert_int_equal(vm_port_alloc(&next, is_below, &below, &port), 0);
    assert_int_equal(port, 65535);
    assert_int_equal(next, 16384);
    assert_int_equal(vm_port_alloc(&next, is_below, &below, &port), 0);
    assert_int_equal(port, 16390);
}

static void
the_last_free_port_is_found_and_none_is_an_error(void **state)
{
    uint32_t free_one = 20000, all = UINT32_MAX, next = 20001, port = 0;

    (void)state;
    assert_int_equal(vm_port_alloc(&next, is_not, &free_one, &port), 0);
    assert_int_equal(port, 20000);
    assert_int_equal(vm_port_alloc(&next, is_below, &all, &port), -ENOSPC);
    assert_int_equal(port, 20000);
    assert_int_equal(next, 20001);
}

static void
values_out_of_range_start_anew(void **state)
{
    const uint32_t bad[] = {0, 16383, 65536, UINT32_MAX};
    uint32_t none = 0;

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        uint32_t next = bad[i], port = 0;

        assert_int_equal(vm_port_alloc(&next, is_below, &none, &port), 0);
        assert_int_equal(port, 16384);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ports_count_up_from_16384),
        cmocka_unit_test(ports_in_use_are_skipped_and_the_counter_wraps),
        cmocka_unit_test(the_last_free_port_is_found_and_none_is_an_error),
        cmocka_unit_test(values_out_of_range_start_anew),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
