/* SPDX-License-Identifier: BSD-3-Clause */
/* Guests follow the host: name servers, time zone, clock and sleep. */
#include <stdio.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "core/concierge/follow_internal.h"
#include "tests/unit/concierge/guest.h"
#include "tests/unit/test.h"

#define BUDGET_MS 5000

static void
ask(struct world *w, const char *method, const char *name)
{
    VmTools__Concierge__SuspendVmRequest request;
    struct client_call call;

    vm_tools__concierge__suspend_vm_request__init(&request);
    request.name = (char *)(uintptr_t)name;
    request.owner_id = (char *)(uintptr_t)WORLD_OWNER;
    client_call(w, method, WORLD_UID, &request.base, NULL, 0, &call);
    world_run(w, 1000);
    assert_true(stop_reply(&call)->success);
    client_call_done(&call);
}

static bool
is_paused(struct world *w, const char *name)
{
    return fake_process_is_paused(fake_hypervisor_find(w->hv, name));
}

static void
end(struct world *w, struct guest *a, struct guest *b)
{
    struct client_call call;

    client_call(w, "StopAllVms", 0, NULL, NULL, 0, &call);
    world_run(w, 200000);
    assert_int_equal(call.answers, 1);
    client_call_done(&call);
    guest_free(a);
    if (b)
        guest_free(b);
    world_done(w);
}

static void
change(struct world *w, enum host_change what)
{
    fake_watch_change(&w->watch, what);
    world_run(w, 1000);
}

/* spec 17, row 22 */
static void
a_change_of_name_servers_is_told_once_and_to_every_vm(void **state)
{
    struct world w;
    struct guest *a, *b;

    (void)state;
    world_init(&w);
    a = world_run_vm(&w, "a");
    b = world_run_vm(&w, "b");
    assert_string_equal(guest_resolv(a), "10.0.2.3 example.org");
    w.journal[0] = '\0';
    guest_forget_calls(a);
    fake_host_set_dns(w.host, "192.0.2.1", "example.net");
    fake_watch_change(&w.watch, HOST_CHANGE_DNS);
    fake_watch_change(&w.watch, HOST_CHANGE_DNS);
    world_run(&w, FOLLOW_QUIET_MS - 1);
    world_expect_signals(&w, ""); /* not before the file is at rest */
    world_run(&w, 1000);
    world_expect_signals(&w, "DnsSettingsChanged\n");
    assert_string_equal(guest_resolv(a), "10.0.2.3 example.net");
    assert_string_equal(guest_resolv(b), "10.0.2.3 example.net");
    assert_string_equal(guest_calls(a), "SetResolvConfig");
    change(&w, HOST_CHANGE_DNS); /* the same once more */
    world_expect_signals(&w, "");
    assert_string_equal(guest_calls(a), "SetResolvConfig");
    end(&w, a, b);
}

static void
a_suspended_vm_is_told_when_it_goes_on(void **state)
{
    struct world w;
    struct guest *g;

    (void)state;
    world_init(&w);
    g = world_run_vm(&w, "demo");
    ask(&w, "SuspendVm", "demo");
    w.journal[0] = '\0';
    guest_forget_calls(g);
    fake_host_set_dns(w.host, "192.0.2.1", "example.net");
    fake_host_set_zone(w.host, "Asia/Tokyo");
    change(&w, HOST_CHANGE_DNS);
    world_expect_signals(&w, "DnsSettingsChanged\n");
    assert_string_equal(guest_calls(g), "");
    ask(&w, "ResumeVm", "demo");
    assert_string_equal(guest_resolv(g), "10.0.2.3 example.net");
    assert_string_equal(guest_zone(g), "Asia/Tokyo");
    end(&w, g, NULL);
}

static void
a_vm_that_is_being_set_up_is_told_when_it_runs(void **state)
{
    struct world w;
    struct client_call call;
    struct rpc_status status;
    struct guest *g;
    int answers;

    (void)state;
    world_init(&w);
    client_start_name(&w, "demo", &call);
    world_run(&w, 100);
    g = guest_new(&w, 32);
    guest_power_off_on_shutdown(g, "demo");
    guest_set(g, "GetBootReport", GUEST_IGNORES); /* the set-up lasts its deadline */
    guest_call_ready(g, &status, &answers);
    world_run(&w, 1000);
    assert_int_equal(call.answers, 0);
    fake_host_set_dns(w.host, "192.0.2.1", "example.net");
    change(&w, HOST_CHANGE_DNS);
    assert_string_equal(guest_resolv(g), "10.0.2.3 example.org");
    world_run(&w, 30000);
    assert_true(start_reply(&call)->success);
    assert_string_equal(guest_resolv(g), "10.0.2.3 example.net");
    client_call_done(&call);
    end(&w, g, NULL);
}

static void
the_time_zone_is_followed(void **state)
{
    struct world w;
    struct guest *g;

    (void)state;
    world_init(&w);
    g = world_run_vm(&w, "demo");
    assert_string_equal(guest_zone(g), "Europe/Berlin");
    guest_forget_calls(g);
    change(&w, HOST_CHANGE_ZONE);
    assert_string_equal(guest_calls(g), "");
    fake_host_set_zone(w.host, "Asia/Tokyo");
    change(&w, HOST_CHANGE_ZONE);
    assert_string_equal(guest_zone(g), "Asia/Tokyo");
    assert_string_equal(guest_calls(g), "SetTimezone");
    end(&w, g, NULL);
}

static void
a_step_of_the_clock_reaches_the_guests(void **state)
{
    struct world w;
    struct guest *g;

    (void)state;
    world_init(&w);
    g = world_run_vm(&w, "demo");
    fake_clock_set_wall(w.clock, 1900000000);
    change(&w, HOST_CHANGE_CLOCK);
    assert_true(guest_time(g) >= 1900000000);
    end(&w, g, NULL);
}

static void
the_host_sleeps_when_all_vms_are_suspended_and_they_go_on_afterwards(void **state)
{
    struct world w;
    struct guest *a, *b;

    (void)state;
    world_init(&w);
    a = world_run_vm(&w, "a");
    b = world_run_vm(&w, "b");
    ask(&w, "SuspendVm", "b"); /* a caller's wish: it stays so */
    fake_watch_prepare(&w.watch, BUDGET_MS);
    assert_int_equal(w.watch.readies, 0);
    world_run(&w, 500);
    assert_int_equal(w.watch.readies, 1);
    assert_true(is_paused(&w, "a"));
    fake_clock_set_wall(w.clock, 1900000000);
    fake_watch_wake(&w.watch);
    world_run(&w, 1000);
    assert_false(is_paused(&w, "a"));
    assert_true(is_paused(&w, "b"));
    assert_true(guest_time(a) >= 1900000000);
    assert_int_equal(w.watch.readies, 1);
    end(&w, a, b);
}

static void
without_vms_the_host_sleeps_at_once(void **state)
{
    struct world w;

    (void)state;
    world_init(&w);
    fake_watch_prepare(&w.watch, BUDGET_MS);
    assert_int_equal(w.watch.readies, 1);
    fake_watch_wake(&w.watch);
    assert_int_equal(w.watch.readies, 1);
    world_done(&w);
}

/* A mute guest takes its part of the time only; all others are ready by then. */
static void
a_mute_guest_is_suspended_within_the_hosts_time(void **state)
{
    struct world w;
    struct guest *a, *b;

    (void)state;
    world_init(&w);
    a = world_run_vm(&w, "a");
    b = world_run_vm(&w, "b");
    guest_set(a, "PrepareToSuspend", GUEST_IGNORES);
    fake_watch_prepare(&w.watch, BUDGET_MS);
    world_run(&w, 500);
    assert_true(is_paused(&w, "b"));
    assert_int_equal(w.watch.readies, 0);
    world_run(&w, BUDGET_MS * SLEEP_TOTAL_PERCENT / 100 - 600);
    assert_true(is_paused(&w, "a"));
    assert_int_equal(w.watch.readies, 1);
    fake_watch_wake(&w.watch);
    world_run(&w, 1000);
    assert_false(is_paused(&w, "a"));
    end(&w, a, b);
}

static void
a_hung_hypervisor_does_not_keep_the_host_awake(void **state)
{
    struct world w;
    struct guest *g;

    (void)state;
    world_init(&w);
    g = world_run_vm(&w, "demo");
    fake_process_freeze(fake_hypervisor_find(w.hv, "demo"));
    fake_watch_prepare(&w.watch, BUDGET_MS);
    world_run(&w, BUDGET_MS * SLEEP_TOTAL_PERCENT / 100);
    assert_int_equal(w.watch.readies, 1);
    fake_watch_wake(&w.watch);
    fake_process_thaw(fake_hypervisor_find(w.hv, "demo"));
    world_run(&w, 1000);
    assert_false(is_paused(&w, "demo"));
    assert_int_equal(w.watch.readies, 1);
    end(&w, g, NULL);
}

/* Who takes the VM over is awake, so the host is. */
static void
a_daemon_that_died_while_the_host_slept_leaves_no_vm_suspended(void **state)
{
    struct world w;
    struct guest *g;

    (void)state;
    world_init(&w);
    g = world_run_vm(&w, "demo");
    fake_watch_prepare(&w.watch, BUDGET_MS);
    world_run(&w, 500);
    assert_true(is_paused(&w, "demo"));
    world_kill_daemon(&w);
    world_run(&w, 1000);
    world_start_daemon(&w);
    world_run(&w, 1000);
    assert_false(is_paused(&w, "demo"));
    end(&w, g, NULL);
}

/* The clock jumps by an hour between two looks; the guest has its time all the same. */
static void
a_boot_outlives_the_sleep_of_the_host(void **state)
{
    struct world w;
    struct client_call call;
    struct rpc_status status;
    struct guest *g;
    int answers;

    (void)state;
    world_init(&w);
    client_start_name(&w, "demo", &call);
    world_run(&w, 5000);
    fake_clock_sleep(w.clock, 3600000);
    world_run(&w, 5000);
    assert_int_equal(call.answers, 0);
    g = guest_new(&w, 32);
    guest_power_off_on_shutdown(g, "demo");
    guest_call_ready(g, &status, &answers);
    world_run(&w, 2000);
    assert_true(start_reply(&call)->success);
    client_call_done(&call);
    end(&w, g, NULL);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_change_of_name_servers_is_told_once_and_to_every_vm),
        cmocka_unit_test(a_suspended_vm_is_told_when_it_goes_on),
        cmocka_unit_test(a_vm_that_is_being_set_up_is_told_when_it_runs),
        cmocka_unit_test(the_time_zone_is_followed),
        cmocka_unit_test(a_step_of_the_clock_reaches_the_guests),
        cmocka_unit_test(
            the_host_sleeps_when_all_vms_are_suspended_and_they_go_on_afterwards),
        cmocka_unit_test(without_vms_the_host_sleeps_at_once),
        cmocka_unit_test(a_mute_guest_is_suspended_within_the_hosts_time),
        cmocka_unit_test(a_hung_hypervisor_does_not_keep_the_host_awake),
        cmocka_unit_test(a_daemon_that_died_while_the_host_slept_leaves_no_vm_suspended),
        cmocka_unit_test(a_boot_outlives_the_sleep_of_the_host),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
