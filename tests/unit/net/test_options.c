/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdio.h>

#include "core/base/cleanup.h"
#include "platform/linux/vm_concierge/network.h"
#include "tests/unit/test.h"

static void
the_defaults_are_those_of_the_original(void **state)
{
    struct network_options o;
    char text[VM_RANGE_TEXT_MAX];

    (void)state;
    network_options_init(&o);
    assert_string_equal(o.mode, "auto");
    assert_string_equal(vm_range_format(&o.subnets, text), "100.115.92.0/24");
    assert_string_equal(vm_range_format(&o.containers, text), "100.115.92.192/26");
    assert_int_equal(o.nports, 0);
}

static void
values_are_read_and_bounded(void **state)
{
    static const struct {
        bool (*set)(struct network_options *options, const char *value);
        const char *value;
        bool good;
    } rows[] = {
        {network_set_mode, "auto", true},
        {network_set_mode, "tap", true},
        {network_set_mode, "user", true},
        {network_set_mode, "none", true},
        {network_set_mode, "", false},
        {network_set_mode, "bridge", false},
        {network_set_subnets, "10.77.0.0/16", true},
        {network_set_subnets, "10.77.0.0/29", true},
        {network_set_subnets, "10.77.0.0/30", false},
        {network_set_subnets, "10.0.0.0/8", false},
        {network_set_subnets, "10.77.0.1/16", false},
        {network_set_containers, "10.77.0.0/28", true},
        {network_set_containers, "10.77.0.0/29", false},
        {network_set_containers, "", false},
        {network_add_port, "tcp:1", true},
        {network_add_port, "udp:65535", true},
        {network_add_port, "tcp:0", false},
        {network_add_port, "tcp:65536", false},
        {network_add_port, "tcp:", false},
        {network_add_port, "80", false},
        {network_add_port, "sctp:80", false},
    };
    struct network_options o;

    (void)state;
    network_options_init(&o);
    for (size_t i = 0; i < VMT_ARRAY_SIZE(rows); i++)
        assert_int_equal(rows[i].set(&o, rows[i].value), rows[i].good);
    assert_int_equal(o.nports, 2);
    assert_true(o.ports[1].udp && o.ports[1].port == 65535);
}

static void
ports_have_a_limit(void **state)
{
    struct network_options o;

    (void)state;
    network_options_init(&o);
    for (unsigned i = 0; i < LINUX_NET_PORTS_MAX; i++)
        assert_true(network_add_port(&o, "tcp:80"));
    assert_false(network_add_port(&o, "tcp:80"));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_defaults_are_those_of_the_original),
        cmocka_unit_test(values_are_read_and_bounded),
        cmocka_unit_test(ports_have_a_limit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
