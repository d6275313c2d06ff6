/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/guest/maitred/rpc/ipv4.h"

#include <arpa/inet.h>
#include <errno.h>

#include "tests/unit/test.h"

static int
check(const char *address, const char *netmask, const char *gateway)
{
    const struct ipv4_setup setup = {
        .address = inet_addr(address),
        .netmask = inet_addr(netmask),
        .gateway = inet_addr(gateway),
    };

    return ipv4_check(&setup, NULL);
}

static void
sound_setups_give_their_prefix_length(void **state)
{
    (void)state;
    assert_int_equal(check("10.0.2.15", "255.255.255.0", "10.0.2.2"), 24);
    assert_int_equal(check("100.115.92.26", "255.255.255.252", "100.115.92.25"), 30);
    assert_int_equal(check("10.0.0.1", "255.255.255.254", "10.0.0.0"), 31);
    assert_int_equal(check("100.1.2.3", "128.0.0.0", "1.1.1.1"), 1);
}

static void
zeroes_and_masks_with_holes_are_refused(void **state)
{
    (void)state;
    assert_int_equal(check("0.0.0.0", "255.255.255.0", "10.0.2.2"), -EINVAL);
    assert_int_equal(check("10.0.2.15", "0.0.0.0", "10.0.2.2"), -EINVAL);
    assert_int_equal(check("10.0.2.15", "255.255.255.0", "0.0.0.0"), -EINVAL);
    assert_int_equal(check("10.0.2.15", "255.0.255.0", "10.0.2.2"), -EINVAL);
    assert_int_equal(check("10.0.2.15", "0.255.255.255", "10.0.2.2"), -EINVAL);
    assert_int_equal(check("10.0.2.15", "255.255.255.1", "10.0.2.2"), -EINVAL);
    assert_int_equal(check("10.0.2.15", "255.255.255.255", "10.0.2.15"), -EINVAL);
}

static void
addresses_that_are_no_hosts_are_refused(void **state)
{
    (void)state;
    assert_int_equal(check("10.0.2.0", "255.255.255.0", "10.0.2.2"), -EINVAL);
    assert_int_equal(check("10.0.2.255", "255.255.255.0", "10.0.2.2"), -EINVAL);
    assert_int_equal(check("127.0.0.2", "255.0.0.0", "127.0.0.1"), -EINVAL);
    assert_int_equal(check("224.0.0.2", "255.0.0.0", "224.0.0.1"), -EINVAL);
}

static void
the_gateway_is_another_host_of_the_net(void **state)
{
    (void)state;
    assert_int_equal(check("10.0.2.15", "255.255.255.0", "10.0.3.2"), -EINVAL);
    assert_int_equal(check("10.0.2.15", "255.255.255.0", "10.0.2.15"), -EINVAL);
    assert_int_equal(check("10.0.2.15", "255.255.255.0", "10.0.2.255"), -EINVAL);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sound_setups_give_their_prefix_length),
        cmocka_unit_test(zeroes_and_masks_with_holes_are_refused),
        cmocka_unit_test(addresses_that_are_no_hosts_are_refused),
        cmocka_unit_test(the_gateway_is_another_host_of_the_net),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
