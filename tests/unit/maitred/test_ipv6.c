/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/guest/maitred/rpc/ipv6.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include "tests/unit/test.h"

static int
check(const char *address, uint32_t prefix_len, const char *gateway)
{
    uint8_t a[IPV6_LEN], g[IPV6_LEN];
    struct ipv6_request request = {.address = a,
                                   .naddress = sizeof(a),
                                   .prefix_len = prefix_len,
                                   .gateway = g,
                                   .ngateway = gateway ? sizeof(g) : 0};
    struct ipv6_setup setup;
    int r;

    assert_int_equal(inet_pton(AF_INET6, address, a), 1);
    if (gateway)
        assert_int_equal(inet_pton(AF_INET6, gateway, g), 1);
    r = ipv6_check(&request, &setup, NULL);
    if (r == 0) {
        assert_memory_equal(setup.address, a, sizeof(a));
        assert_int_equal(setup.prefix_len, prefix_len);
        assert_int_equal(setup.has_gateway, gateway != NULL);
        if (gateway)
            assert_memory_equal(setup.gateway, g, sizeof(g));
    }
    return r;
}

static void
sound_setups_are_taken(void **state)
{
    (void)state;
    assert_int_equal(check("fd00::15", 64, "fd00::2"), 0);
    assert_int_equal(check("2001:db8::1", 128, "fe80::1"), 0);
    assert_int_equal(check("2001:db8::1", 64, NULL), 0);
    assert_int_equal(check("2001:db8:0:7::1", 61, "2001:db8:0:1::1"), 0);
}

static void
addresses_that_are_no_hosts_own_are_refused(void **state)
{
    (void)state;
    assert_int_equal(check("::", 64, NULL), -EINVAL);
    assert_int_equal(check("::1", 64, NULL), -EINVAL);
    assert_int_equal(check("ff02::1", 64, NULL), -EINVAL);
    assert_int_equal(check("fe80::1", 64, NULL), -EINVAL);
    assert_int_equal(check("::ffff:10.0.2.15", 64, NULL), -EINVAL);
    assert_int_equal(check("fd00::1", 0, NULL), -EINVAL);
    assert_int_equal(check("fd00::1", 129, NULL), -EINVAL);
}

static void
a_gateway_that_cannot_be_reached_is_refused(void **state)
{
    (void)state;
    assert_int_equal(check("fd00::15", 64, "fd00:0:0:1::2"), -EINVAL);
    assert_int_equal(check("2001:db8:0:8::1", 61, "2001:db8:0:7::1"), -EINVAL);
    assert_int_equal(check("fd00::15", 64, "fd00::15"), -EINVAL);
    assert_int_equal(check("fd00::15", 64, "::"), -EINVAL);
    assert_int_equal(check("fd00::15", 64, "ff02::2"), -EINVAL);
}

static void
addresses_of_another_length_are_refused(void **state)
{
    const uint8_t bytes[IPV6_LEN + 1] = {0xfd};
    struct ipv6_request request = {
        .address = bytes, .naddress = 4, .gateway = bytes, .prefix_len = 64};
    struct ipv6_setup setup;

    (void)state;
    assert_int_equal(ipv6_check(&request, &setup, NULL), -EINVAL);
    request.naddress = sizeof(bytes);
    assert_int_equal(ipv6_check(&request, &setup, NULL), -EINVAL);
    request.naddress = IPV6_LEN;
    assert_int_equal(ipv6_check(&request, &setup, NULL), 0);
    request.ngateway = 1;
    assert_int_equal(ipv6_check(&request, &setup, NULL), -EINVAL);
}

static void
an_mtu_has_bounds_and_ipv6_wants_more(void **state)
{
    (void)state;
    assert_int_equal(ipv6_mtu_check(0, true, NULL), 0);
    assert_int_equal(ipv6_mtu_check(67, false, NULL), -EINVAL);
    assert_int_equal(ipv6_mtu_check(68, false, NULL), 0);
    assert_int_equal(ipv6_mtu_check(1279, true, NULL), -EINVAL);
    assert_int_equal(ipv6_mtu_check(1280, true, NULL), 0);
    assert_int_equal(ipv6_mtu_check(65535, true, NULL), 0);
    assert_int_equal(ipv6_mtu_check(65536, false, NULL), -EINVAL);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sound_setups_are_taken),
        cmocka_unit_test(addresses_that_are_no_hosts_own_are_refused),
        cmocka_unit_test(a_gateway_that_cannot_be_reached_is_refused),
        cmocka_unit_test(addresses_of_another_length_are_refused),
        cmocka_unit_test(an_mtu_has_bounds_and_ipv6_wants_more),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
