/* SPDX-License-Identifier: BSD-3-Clause */
/* VMs with a tap: who gets one, from where, and that it is given back. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fake/fake_host_net.h"
#include "tests/unit/concierge/guest.h"
#include "tests/unit/test.h"

#define BASE 0x64735c00u /* 100.115.92.0 */

static void
restart(struct world *w)
{
    world_kill_daemon(w);
    world_start_daemon(w);
}

/* A daemon whose VMs have taps, of 100.115.92.0/24 or less. */
static void
tap_world(struct world *w, const char *mode, unsigned prefix)
{
    world_init(w);
    world_kill_daemon(w);
    w->host_net = fake_host_net_new();
    w->network = (struct concierge_network){.mode = mode,
                                            .prefer_tap = true,
                                            .subnets = {BASE, prefix},
                                            .containers = {BASE + 192, 26}};
    world_start_daemon(w);
}

static void
tap_world_done(struct world *w)
{
    struct host_net *net = w->host_net;

    assert_int_equal(fake_host_net_count(net), 0);
    world_done(w);
    net->ops->free(net);
}

static enum hypervisor_net
net_of(struct world *w, const char *name)
{
    return fake_process_start(fake_hypervisor_find(w->hv, name))->net;
}

/* Start a VM that asks for a network, with room for containers or without. */
static void
start(struct world *w, const char *name, const char *network, bool containers,
      struct client_call *call)
{
    struct start_args args;

    start_args_init(&args, name);
    args.request.network = (char *)(uintptr_t)network;
    args.request.container_network = containers;
    client_start(w, &args, call);
    start_args_done(&args);
}

/* The subnet that a VM has during one life. */
static uint32_t
live(struct world *w, const char *name)
{
    size_t n = fake_host_net_count(w->host_net);
    struct client_call call;
    const struct host_net_vm *tap = NULL;
    char text[32];
    uint32_t guest;

    client_start_name(w, name, &call);
    assert_int_equal(fake_host_net_count(w->host_net), n + 1);
    for (unsigned i = 0; i < 300; i++) { /* the newest */
        (void)snprintf(text, sizeof(text), "vmtap%u", i);
        if (fake_host_net_find(w->host_net, text))
            tap = fake_host_net_find(w->host_net, text);
    }
    assert_non_null(tap);
    assert_int_equal(tap->prefix, 30);
    assert_int_equal(tap->guest, tap->gateway + 1);
    guest = tap->guest;
    world_stop_vm(w, name, NULL);
    client_call_done(&call);
    return guest;
}

static void
a_vm_has_a_tap_as_long_as_it_lives(void **state)
{
    const struct host_net_vm *tap;
    const struct fake_start *seen;
    struct client_call call;
    struct world w;

    (void)state;
    tap_world(&w, NULL, 24);
    start(&w, "demo", "", true, &call);
    seen = fake_process_start(fake_hypervisor_find(w.hv, "demo"));
    tap = fake_host_net_find(w.host_net, "vmtap0");
    assert_int_equal(seen->net, HYPERVISOR_NET_TAP);
    assert_true(seen->tap_fd > 2);
    assert_memory_equal(tap->mac, seen->mac, 6);
    assert_true(tap->guest > BASE + 4 && tap->guest < BASE + 192);
    assert_int_equal(tap->container & ~0x3fu, BASE + 192);
    assert_int_equal(tap->container_prefix, 28);
    world_stop_vm(&w, "demo", NULL);
    client_call_done(&call);
    tap_world_done(&w);
}

static void
the_guest_is_told_its_address_and_the_hosts_name_servers(void **state)
{
    VmTools__Concierge__GetVmInfoRequest request;
    const VmTools__Concierge__GetVmInfoResponse *info;
    struct client_call call;
    struct guest *g;
    struct world w;
    uint32_t address;

    (void)state;
    vm_tools__concierge__get_vm_info_request__init(&request);
    tap_world(&w, NULL, 24);
    g = world_run_vm(&w, "demo");
    address = fake_host_net_find(w.host_net, "vmtap0")->guest;
    request.name = (char *)(uintptr_t) "demo";
    request.owner_id = (char *)(uintptr_t)WORLD_OWNER;
    client_call(&w, "GetVmInfo", WORLD_UID, &request.base, NULL, 0, &call);
    info = (const VmTools__Concierge__GetVmInfoResponse *)call.reply;
    assert_string_equal(info->vm_info->network, "tap");
    assert_memory_equal(&info->vm_info->ipv4_address,
                        ((uint8_t[]){100, 115, 92, (uint8_t)address}), 4);
    client_call_done(&call);
    assert_non_null(strstr(guest_calls(g), "ConfigureNetwork"));
    assert_non_null(strstr(guest_calls(g), "SetResolvConfig"));
    world_stop_vm(&w, "demo", NULL);
    guest_free(g);
    tap_world_done(&w);
}

static void
a_vm_has_the_same_subnet_whenever_it_starts(void **state)
{
    struct world w;
    uint32_t first, other;

    (void)state;
    tap_world(&w, NULL, 24);
    first = live(&w, "demo");
    other = live(&w, "other");
    assert_int_not_equal(first, other);
    restart(&w);
    assert_int_equal(live(&w, "demo"), first);
    tap_world_done(&w);
}

/* spec 17, row 9. */
static void
forty_at_once_have_subnets_of_their_own(void **state)
{
    enum { MANY = 40 };
    static struct client_call calls[MANY];
    uint32_t guests[MANY];
    struct client_call all;
    struct world w;
    char name[16];

    (void)state;
    tap_world(&w, NULL, 24);
    w.network.containers.address = BASE + 256; /* else they meet */
    restart(&w);
    for (int i = 0; i < MANY; i++) {
        const struct host_net_vm *tap;

        (void)snprintf(name, sizeof(name), "vm%d", i);
        client_start_name(&w, name, &calls[i]);
        (void)snprintf(name, sizeof(name), "vmtap%d", i);
        tap = fake_host_net_find(w.host_net, name);
        assert_non_null(tap);
        guests[i] = tap->guest & ~3u;
        for (int j = 0; j < i; j++)
            assert_int_not_equal(guests[i], guests[j]);
    }
    client_call(&w, "StopAllVms", WORLD_UID, NULL, NULL, 0, &all);
    world_run(&w, 3000);
    client_call_done(&all);
    for (int i = 0; i < MANY; i++)
        client_call_done(&calls[i]);
    tap_world_done(&w);
}

/* spec 17, row 7. */
static void
the_subnet_of_a_killed_vm_is_free_again(void **state)
{
    struct client_call calls[3];
    struct world w;
    char name[8];

    (void)state;
    tap_world(&w, NULL, 28);
    for (int i = 0; i < 3; i++) {
        (void)snprintf(name, sizeof(name), "vm%d", i);
        client_start_name(&w, name, &calls[i]);
    }
    fake_process_exit(fake_hypervisor_find(w.hv, "vm1"), HYPERVISOR_EXIT_KILLED, "");
    world_run(&w, 500);
    (void)live(&w, "late");
    for (int i = 0; i < 3; i++) {
        (void)snprintf(name, sizeof(name), "vm%d", i);
        world_stop_vm(&w, name, NULL);
        client_call_done(&calls[i]);
    }
    tap_world_done(&w);
}

/* 3 of the 4 subnets of a /28 can be had: the first is nobody's. */
static void
a_full_range_is_a_clear_error_and_costs_nothing(void **state)
{
    struct client_call calls[3], one_more;
    struct world w;
    char name[8];

    (void)state;
    tap_world(&w, NULL, 28);
    for (int i = 0; i < 3; i++) {
        (void)snprintf(name, sizeof(name), "vm%d", i);
        client_start_name(&w, name, &calls[i]);
    }
    assert_int_equal(fake_host_net_count(w.host_net), 3);
    client_start_name(&w, "late", &one_more);
    world_run(&w, 1000);
    expect_start_refused(&one_more, "no free subnet in 100.115.92.0/28");
    client_call_done(&one_more);
    for (int i = 0; i < 3; i++) {
        (void)snprintf(name, sizeof(name), "vm%d", i);
        world_stop_vm(&w, name, NULL);
        client_call_done(&calls[i]);
    }
    (void)live(&w, "late");
    tap_world_done(&w);
}

static void
what_the_host_uses_is_left_alone(void **state)
{
    struct client_call call;
    struct world w;

    (void)state;
    tap_world(&w, NULL, 28);
    fake_host_net_add_range(w.host_net, 0, 0); /* the default route says nothing */
    fake_host_net_add_range(w.host_net, BASE + 4, 30);
    fake_host_net_add_range(w.host_net, BASE + 8, 32);
    assert_int_equal(live(&w, "a"), BASE + 14);
    assert_int_equal(live(&w, "b"), BASE + 14);
    fake_host_net_add_range(w.host_net, BASE, 20);
    client_start_name(&w, "c", &call);
    world_run(&w, 1000);
    expect_start_refused(&call, "the host has a route for 100.115.80.0/20");
    client_call_done(&call);
    tap_world_done(&w);
}

static void
a_tap_outlives_the_daemon_and_left_overs_do_not(void **state)
{
    struct host_net_vm before;
    struct guest *g;
    struct world w;

    (void)state;
    tap_world(&w, NULL, 24);
    g = world_run_vm(&w, "demo");
    before = *fake_host_net_find(w.host_net, "vmtap0");
    world_kill_daemon(&w);
    fake_host_net_leave(w.host_net);
    world_start_daemon(&w);
    assert_int_equal(fake_host_net_count(w.host_net), 1);
    assert_memory_equal(fake_host_net_find(w.host_net, "vmtap0"), &before,
                        sizeof(before));
    world_stop_vm(&w, "demo", NULL);
    guest_free(g);
    tap_world_done(&w);
}

static void
a_tap_that_cannot_be_made_fails_the_start(void **state)
{
    struct client_call call;
    struct world w;

    (void)state;
    tap_world(&w, NULL, 24);
    fake_host_net_fail_add(w.host_net, EBUSY);
    client_start_name(&w, "demo", &call);
    world_run(&w, 1000);
    expect_start_refused(&call, "connect the VM");
    client_call_done(&call);
    (void)live(&w, "demo");
    tap_world_done(&w);
}

/* The default is a tap where that works; who says so gets what he said, or an error. */
static void
only_an_automatic_choice_falls_back(void **state)
{
    struct client_call call;
    struct world w;

    (void)state;
    tap_world(&w, "auto", 24);
    world_kill_daemon(&w);
    fake_host_net_refuse(w.host_net, EPERM);
    world_start_daemon(&w);
    client_start_name(&w, "a", &call);
    assert_int_equal(net_of(&w, "a"), HYPERVISOR_NET_USER);
    world_stop_vm(&w, "a", NULL);
    client_call_done(&call);
    start(&w, "b", "tap", false, &call);
    expect_start_refused(&call, "VMs cannot have a tap here: make a tap");
    client_call_done(&call);
    world_kill_daemon(&w);
    w.network.mode = "tap";
    world_start_daemon(&w);
    client_start_name(&w, "c", &call);
    expect_start_refused(&call, "VMs cannot have a tap here");
    client_call_done(&call);
    fake_host_net_refuse(w.host_net, 0); /* the rights came */
    (void)live(&w, "c");
    tap_world_done(&w);
}

static void
a_request_may_choose(void **state)
{
    static const struct {
        const char *network;
        enum hypervisor_net want;
    } rows[] = {{"user", HYPERVISOR_NET_USER},
                {"tap", HYPERVISOR_NET_TAP},
                {"none", HYPERVISOR_NET_NONE}};
    struct client_call call;
    struct world w;

    (void)state;
    tap_world(&w, "none", 24);
    for (size_t i = 0; i < 3; i++) {
        start(&w, "demo", rows[i].network, false, &call);
        assert_int_equal(net_of(&w, "demo"), rows[i].want);
        world_stop_vm(&w, "demo", NULL);
        client_call_done(&call);
    }
    start(&w, "demo", "bridge", false, &call);
    expect_start_refused(&call, "network must be user, tap or none");
    client_call_done(&call);
    client_start_name(&w, "demo", &call);
    assert_int_equal(net_of(&w, "demo"), HYPERVISOR_NET_NONE);
    world_stop_vm(&w, "demo", NULL);
    client_call_done(&call);
    tap_world_done(&w);
}

static void
rules_are_looked_after_while_there_are_taps(void **state)
{
    struct client_call call;
    struct world w;
    unsigned before;

    (void)state;
    tap_world(&w, NULL, 24);
    world_run(&w, 60000);
    assert_int_equal(fake_host_net_refreshs(w.host_net), 0);
    client_start_name(&w, "demo", &call);
    fake_host_net_flush(w.host_net);
    world_run(&w, 11000);
    assert_int_equal(fake_host_net_refreshs(w.host_net), 2);
    restart(&w);
    world_run(&w, 6000);
    assert_int_equal(fake_host_net_refreshs(w.host_net), 3);
    world_stop_vm(&w, "demo", NULL);
    before = fake_host_net_refreshs(w.host_net);
    world_run(&w, 60000);
    assert_int_equal(fake_host_net_refreshs(w.host_net), before);
    client_call_done(&call);
    tap_world_done(&w);
}

/* A daemon without rights that was told of no tap does not ask for any. */
static void
a_user_daemon_leaves_the_network_alone(void **state)
{
    struct client_call call;
    struct world w;

    (void)state;
    tap_world(&w, NULL, 24);
    world_kill_daemon(&w);
    fake_host_net_leave(w.host_net);
    w.network.prefer_tap = false;
    world_start_daemon(&w);
    client_start_name(&w, "demo", &call);
    assert_int_equal(net_of(&w, "demo"), HYPERVISOR_NET_USER);
    assert_int_equal(fake_host_net_count(w.host_net), 1);
    world_stop_vm(&w, "demo", NULL);
    client_call_done(&call);
    (void)w.host_net->ops->adopt(w.host_net, NULL, 0, NULL);
    tap_world_done(&w);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_vm_has_a_tap_as_long_as_it_lives),
        cmocka_unit_test(the_guest_is_told_its_address_and_the_hosts_name_servers),
        cmocka_unit_test(a_vm_has_the_same_subnet_whenever_it_starts),
        cmocka_unit_test(forty_at_once_have_subnets_of_their_own),
        cmocka_unit_test(the_subnet_of_a_killed_vm_is_free_again),
        cmocka_unit_test(a_full_range_is_a_clear_error_and_costs_nothing),
        cmocka_unit_test(what_the_host_uses_is_left_alone),
        cmocka_unit_test(a_tap_outlives_the_daemon_and_left_overs_do_not),
        cmocka_unit_test(a_tap_that_cannot_be_made_fails_the_start),
        cmocka_unit_test(only_an_automatic_choice_falls_back),
        cmocka_unit_test(a_request_may_choose),
        cmocka_unit_test(rules_are_looked_after_while_there_are_taps),
        cmocka_unit_test(a_user_daemon_leaves_the_network_alone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
