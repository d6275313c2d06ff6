/* SPDX-License-Identifier: BSD-3-Clause */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "tests/unit/concierge/guest.h"
#include "tests/unit/test.h"

static void
forget_signals(struct world *w)
{
    w->journal[0] = '\0';
}

static void
a_guest_that_obeys_powers_itself_off(void **state)
{
    struct world w;
    struct client_call call;
    struct guest *g;

    (void)state;
    world_init(&w);
    g = world_run_vm(&w, "demo");
    forget_signals(&w);
    client_stop(&w, "demo", &call);
    world_expect_signals(&w, "VmStopping demo 32\n");
    assert_int_equal(call.answers, 0);
    world_run(&w, 2000);
    assert_true(stop_reply(&call)->success);
    world_expect_signals(&w, "VmStopped demo 32 reason 1 left 0\n");
    assert_non_null(strstr(guest_calls(g), "Shutdown"));
    assert_int_equal(fake_hypervisor_calls(w.hv)->quits, 0);
    assert_int_equal(fake_hypervisor_calls(w.hv)->kills, 0);
    assert_int_equal(w.idles, 1);
    assert_int_equal(client_status(&w, "demo"), -1);
    client_call_done(&call);
    guest_free(g);
    world_done(&w);
}

static void
an_unknown_vm_counts_as_stopped(void **state)
{
    VmTools__Concierge__StopVmRequest request;
    struct world w;
    struct client_call call;

    vm_tools__concierge__stop_vm_request__init(&request);
    (void)state;
    world_init(&w);
    client_stop(&w, "nobody", &call);
    assert_true(stop_reply(&call)->success);
    client_call_done(&call);
    client_stop(&w, "", &call);
    assert_false(stop_reply(&call)->success);
    assert_string_equal(stop_reply(&call)->failure_reason, "the VM name is empty");
    client_call_done(&call);
    request.name = (char *)(uintptr_t) "demo";
    request.owner_id = (char *)(uintptr_t) "xyz";
    client_call(&w, "StopVm", 0, &request.base, NULL, 0, &call);
    assert_false(stop_reply(&call)->success);
    client_call_done(&call);
    world_expect_signals(&w, "");
    world_done(&w);
}

/* spec 17, row 6: RPC 30 s, then quit, SIGTERM, SIGKILL, ten seconds each. */
static void
an_agent_that_hangs_costs_thirty_seconds_and_then_steps_of_ten(void **state)
{
    struct world w;
    struct client_call call;
    struct guest *g;
    const struct fake_calls *calls;

    (void)state;
    world_init(&w);
    g = world_run_vm(&w, "demo");
    forget_signals(&w);
    guest_set(g, "Shutdown", GUEST_IGNORES);
    fake_hypervisor_behaviour(w.hv)->ignore_quit = true;
    fake_hypervisor_behaviour(w.hv)->ignore_sigterm = true;
    calls = fake_hypervisor_calls(w.hv);
    client_stop(&w, "demo", &call);
    world_run(&w, 29800);
    assert_int_equal(calls->quits, 0);
    world_run(&w, 400);
    assert_int_equal(calls->quits, 1);
    assert_int_equal(calls->kills, 0);
    world_run(&w, 9600);
    assert_int_equal(calls->kills, 0);
    world_run(&w, 400);
    assert_int_equal(calls->kills, 1);
    assert_int_equal(calls->last_signal, SIGTERM);
    world_run(&w, 9600);
    assert_int_equal(calls->kills, 1);
    world_run(&w, 1000);
    assert_int_equal(calls->last_signal, SIGKILL);
    world_run(&w, 1000);
    assert_true(stop_reply(&call)->success);
    world_expect_signals(&w, "VmStopping demo 32\nVmStopped demo 32 reason 1 left 0\n");
    client_call_done(&call);
    guest_free(g);
    world_done(&w);
}

static void
an_agent_that_says_yes_gets_ten_seconds_to_do_it(void **state)
{
    struct world w;
    struct client_call call;
    struct guest *g;

    (void)state;
    world_init(&w);
    g = world_run_vm(&w, "demo");
    guest_power_off_on_shutdown(g, "");
    client_stop(&w, "demo", &call);
    world_run(&w, 9500);
    assert_int_equal(fake_hypervisor_calls(w.hv)->quits, 0);
    world_run(&w, 1500);
    assert_int_equal(fake_hypervisor_calls(w.hv)->quits, 1);
    assert_true(stop_reply(&call)->success);
    client_call_done(&call);
    guest_free(g);
    world_done(&w);
}

static void
an_agent_that_refuses_costs_no_time(void **state)
{
    struct world w;
    struct client_call call;
    struct guest *g;

    (void)state;
    world_init(&w);
    g = world_run_vm(&w, "demo");
    guest_set(g, "Shutdown", GUEST_FAILS);
    client_stop(&w, "demo", &call);
    world_run(&w, 500);
    assert_true(stop_reply(&call)->success);
    client_call_done(&call);
    guest_free(g);
    world_done(&w);
}

static void
stops_of_one_vm_are_all_answered(void **state)
{
    struct world w;
    struct client_call calls[3];
    struct guest *g;

    (void)state;
    world_init(&w);
    g = world_run_vm(&w, "demo");
    forget_signals(&w);
    client_stop(&w, "demo", &calls[0]);
    client_stop(&w, "demo", &calls[1]);
    world_run(&w, 0);
    client_stop(&w, "demo", &calls[2]);
    world_run(&w, 2000);
    for (size_t i = 0; i < VMT_ARRAY_SIZE(calls); i++) {
        assert_true(stop_reply(&calls[i])->success);
        client_call_done(&calls[i]);
    }
    world_expect_signals(&w, "VmStopping demo 32\nVmStopped demo 32 reason 1 left 0\n");
    guest_free(g);
    world_done(&w);
}

static void
a_stop_during_boot_cancels_the_boot(void **state)
{
    struct world w;
    struct client_call start, stop;

    (void)state;
    world_init(&w);
    client_start_name(&w, "demo", &start);
    world_run(&w, 200);
    client_stop(&w, "demo", &stop);
    world_run(&w, 1000);
    assert_true(stop_reply(&stop)->success);
    expect_start_refused(&start, "cancelled by StopVm");
    world_expect_signals(&w, "VmStartingUp demo 32\nVmStopping demo 32\n"
                             "VmStopped demo 32 reason 1 left 0\n");
    client_call_done(&start);
    client_call_done(&stop);
    world_done(&w);
}

static void
a_stop_during_set_up_asks_the_agent(void **state)
{
    struct world w;
    struct client_call start, stop;
    struct rpc_status status;
    struct guest *g;
    int answers;

    (void)state;
    world_init(&w);
    client_start_name(&w, "demo", &start);
    world_run(&w, 100);
    g = guest_new(&w, 32);
    guest_set(g, "ConfigureNetwork", GUEST_IGNORES);
    guest_power_off_on_shutdown(g, "demo");
    guest_call_ready(g, &status, &answers);
    world_run(&w, 1000);
    client_stop(&w, "demo", &stop);
    world_run(&w, 1000);
    assert_true(stop_reply(&stop)->success);
    expect_start_refused(&start, "cancelled by StopVm");
    assert_non_null(strstr(guest_calls(g), "Shutdown"));
    client_call_done(&start);
    client_call_done(&stop);
    guest_free(g);
    world_done(&w);
}

/* spec 17, rows 7 and 8: an unrelated VM boots on, the cid does not come back. */
static void
a_killed_hypervisor_is_told_at_once_and_concerns_nobody_else(void **state)
{
    struct world w;
    struct client_call start, stop;
    struct rpc_status status;
    struct guest *a, *b;
    int answers;

    (void)state;
    world_init(&w);
    a = world_run_vm(&w, "a");
    client_start_name(&w, "b", &start);
    forget_signals(&w);
    fake_process_exit(fake_hypervisor_find(w.hv, "a"), HYPERVISOR_EXIT_KILLED, "");
    world_run(&w, 500);
    world_expect_signals(&w, "VmStopped a 32 reason 0 left 3\n"); /* b's */
    b = guest_new(&w, 33);
    guest_power_off_on_shutdown(b, "b");
    guest_call_ready(b, &status, &answers);
    world_run(&w, 1000);
    assert_true(start_reply(&start)->success);
    client_call_done(&start);
    client_start_name(&w, "a", &start);
    assert_int_equal(fake_process_start(fake_hypervisor_find(w.hv, "a"))->cid, 34);
    client_call(&w, "StopAllVms", WORLD_UID, NULL, NULL, 0, &stop);
    world_run(&w, 3000);
    assert_int_equal(stop.answers, 1);
    client_call_done(&start);
    guest_free(a);
    guest_free(b);
    world_done(&w);
}

static void
a_dead_vsock_device_stops_its_vm(void **state)
{
    struct world w;
    struct guest *g;

    (void)state;
    world_init(&w);
    g = world_run_vm(&w, "demo");
    forget_signals(&w);
    assert_int_equal(fake_spawn_exit(w.spawn, w.companions[0], SPAWN_EXIT_SIGNAL, 11), 0);
    world_run(&w, 3000);
    world_expect_signals(&w, "VmStopped demo 32 reason 0 left 0\n");
    guest_free(g);
    world_done(&w);
}

/* The keeper of a vsock device leaves a worker, which serves the guest like before. */
static void
a_vsock_device_without_its_keeper_goes_on(void **state)
{
    struct world w;
    struct client_call call;
    struct spawn_id worker;
    struct guest *g;

    (void)state;
    world_init(&w);
    g = world_run_vm(&w, "demo");
    forget_signals(&w);
    assert_int_equal(fake_spawn_plant(w.spawn, &worker), 0);
    fake_host_add_user(w.host, "/run/vm.000000", &worker);
    assert_int_equal(fake_spawn_exit(w.spawn, w.companions[0], SPAWN_EXIT_SIGNAL, 9), 0);
    world_run(&w, 3000);
    world_expect_signals(&w, "");
    client_stop(&w, "demo", &call);
    world_run(&w, 500);
    assert_int_equal(fake_spawn_last_signal(w.spawn, worker.pid), SIGTERM);
    (void)fake_spawn_exit(w.spawn, worker.pid, SPAWN_EXIT_CODE, 0);
    world_run(&w, 1500);
    assert_true(stop_reply(&call)->success);
    client_call_done(&call);
    guest_free(g);
    world_done(&w);
}

static void
and_when_that_dies_as_well_the_vm_is_stopped(void **state)
{
    struct world w;
    struct spawn_id worker;
    struct guest *g;

    (void)state;
    world_init(&w);
    g = world_run_vm(&w, "demo");
    forget_signals(&w);
    assert_int_equal(fake_spawn_plant(w.spawn, &worker), 0);
    fake_host_add_user(w.host, "/run/vm.000000", &worker);
    assert_int_equal(fake_spawn_exit(w.spawn, w.companions[0], SPAWN_EXIT_SIGNAL, 9), 0);
    world_run(&w, 500);
    assert_int_equal(fake_spawn_exit(w.spawn, worker.pid, SPAWN_EXIT_SIGNAL, 11), 0);
    world_run(&w, 3000);
    world_expect_signals(&w, "VmStopped demo 32 reason 0 left 0\n");
    guest_free(g);
    world_done(&w);
}

static void
a_vsock_device_that_hangs_is_killed(void **state)
{
    struct world w;
    struct client_call call;
    struct guest *g;

    (void)state;
    world_init(&w);
    g = world_run_vm(&w, "demo");
    w.companions_hang = true;
    client_stop(&w, "demo", &call);
    world_run(&w, 1500);
    assert_int_equal(call.answers, 0);
    assert_int_equal(fake_spawn_last_signal(w.spawn, w.companions[0]), SIGTERM);
    world_run(&w, 1500);
    assert_true(stop_reply(&call)->success);
    client_call_done(&call);
    guest_free(g);
    world_done(&w);
}

/* spec 17, row 11: all are told first; the one that hangs delays only itself, and the
 * daemon stays usable. */
static void
stopping_all_goes_on_in_parallel(void **state)
{
    static const char *const names[] = {"a", "b", "c"};
    struct world w;
    struct client_call call;
    struct guest *g[3], *again;

    (void)state;
    world_init(&w);
    for (size_t i = 0; i < 3; i++)
        g[i] = world_run_vm(&w, names[i]);
    forget_signals(&w);
    guest_set(g[1], "Shutdown", GUEST_IGNORES);
    client_call(&w, "StopAllVms", WORLD_UID, NULL, NULL, 0, &call);
    world_expect_signals(&w, "VmStopping a 32\nVmStopping b 33\nVmStopping c 34\n");
    world_run(&w, 2000);
    assert_non_null(strstr(w.journal, "VmStopped a 32 reason 2"));
    assert_non_null(strstr(w.journal, "VmStopped c 34 reason 2"));
    assert_int_equal(call.answers, 0);
    forget_signals(&w);
    world_run(&w, 31000);
    world_expect_signals(&w, "VmStopped b 33 reason 2 left 0\n");
    assert_int_equal(call.answers, 1);
    assert_false(call.failed);
    for (size_t i = 0; i < 3; i++)
        guest_free(g[i]);
    again = world_run_vm(&w, "a");
    client_call(&w, "StopAllVms", WORLD_UID, NULL, NULL, 0, &call);
    world_run(&w, 2000);
    assert_int_equal(call.answers, 1);
    guest_free(again);
    world_done(&w);
}

static void
stopping_all_of_none_is_answered(void **state)
{
    struct world w;
    struct client_call call;

    (void)state;
    world_init(&w);
    client_call(&w, "StopAllVms", WORLD_UID, NULL, NULL, 0, &call);
    assert_int_equal(call.answers, 1);
    assert_false(call.failed);
    client_call(&w, "StopAllVms", WORLD_UID + 1, NULL, NULL, 0, &call);
    assert_int_equal(call.code, IPC_ERROR_ACCESS_DENIED);
    world_done(&w);
}

static void
a_name_alone_stops_it_for_every_owner(void **state)
{
    VmTools__Concierge__StopVmRequest request;
    struct world w;
    struct start_args args;
    struct client_call mine, other, keep, call;

    vm_tools__concierge__stop_vm_request__init(&request);
    (void)state;
    world_init(&w);
    client_start_name(&w, "demo", &mine);
    client_start_name(&w, "keep", &keep);
    start_args_init(&args, "demo");
    args.request.owner_id = (char *)(uintptr_t) "aa";
    client_start(&w, &args, &other);
    client_call(&w, "StopVmWithoutOwnerId", WORLD_UID, &request.base, NULL, 0, &call);
    assert_false(stop_reply(&call)->success);
    client_call_done(&call);
    request.name = (char *)(uintptr_t) "demo";
    client_call(&w, "StopVmWithoutOwnerId", WORLD_UID, &request.base, NULL, 0, &call);
    world_run(&w, 2000);
    assert_true(stop_reply(&call)->success);
    expect_start_refused(&mine, "cancelled");
    expect_start_refused(&other, "cancelled");
    assert_int_equal(keep.answers, 0);
    client_call_done(&mine);
    client_call_done(&other);
    client_call_done(&call);
    client_stop(&w, "keep", &call);
    world_run(&w, 2000);
    client_call_done(&keep);
    client_call_done(&call);
    world_done(&w);
}

static void
set_flag(void *arg)
{
    *(bool *)arg = true;
}

/* spec 17, row 12. */
static void
a_shutdown_stops_all_and_lets_nobody_start(void **state)
{
    struct world w;
    struct client_call call;
    struct guest *g;
    bool done = false;

    (void)state;
    world_init(&w);
    g = world_run_vm(&w, "demo");
    forget_signals(&w);
    concierge_shutdown(w.c, set_flag, &done);
    client_start_name(&w, "other", &call);
    assert_true(call.failed);
    assert_string_equal(call.text, "vm_concierge is shutting down");
    assert_false(done);
    world_run(&w, 2000);
    assert_true(done);
    world_expect_signals(&w, "VmStopping demo 32\nVmStopped demo 32 reason 4 left 0\n");
    guest_free(g);
    world_done(&w);
}

/* spec 17, row 8: the original loses a SIGTERM that comes while a VM boots. */
static void
a_shutdown_during_a_boot_ends_the_boot_and_the_daemon(void **state)
{
    struct world w;
    struct client_call call;
    bool done = false;

    (void)state;
    world_init(&w);
    client_start_name(&w, "demo", &call);
    world_run(&w, 100);
    forget_signals(&w);
    concierge_shutdown(w.c, set_flag, &done);
    world_run(&w, 2000);
    assert_true(done);
    expect_start_refused(&call, "vm_concierge shuts down");
    client_call_done(&call);
    world_expect_signals(&w, "VmStopping demo 32\nVmStopped demo 32 reason 4 left 0\n");
    world_done(&w);
}

/* spec 15.3: a supervisor that kills after 30 s must not find VMs that run. */
static void
a_shutdown_with_hung_vms_ends_within_its_limit(void **state)
{
    struct world w;
    struct client_call call;
    struct guest *a, *b;
    bool done = false;

    (void)state;
    world_init(&w);
    world_kill_daemon(&w);
    w.shutdown_limit_ms = 27000;
    world_start_daemon(&w);
    fake_hypervisor_behaviour(w.hv)->ignore_sigterm = true;
    fake_hypervisor_behaviour(w.hv)->ignore_quit = true;
    a = world_run_vm(&w, "a");
    b = world_run_vm(&w, "b");
    guest_set(a, "Shutdown", GUEST_IGNORES);
    guest_set(b, "Shutdown", GUEST_IGNORES);
    client_stop(&w, "b", &call); /* it has begun with a step of 30 s */
    world_run(&w, 3000);
    w.companions_hang = true;
    concierge_shutdown(w.c, set_flag, &done);
    world_run(&w, 20000);
    assert_false(done);
    world_run(&w, 7000);
    assert_true(done);
    assert_int_equal(fake_hypervisor_count(w.hv), 0);
    assert_int_equal(w.starting_ups, w.stoppeds);
    client_call_done(&call);
    guest_free(a);
    guest_free(b);
    world_done(&w);
}

/* spec 4.1, 6: a check that comes after the call waited would hang it for ever. */
static void
a_daemon_that_goes_answers_who_waits(void **state)
{
    struct world w;
    struct client_call start, stop;

    (void)state;
    world_init(&w);
    client_start_name(&w, "demo", &start);
    client_stop(&w, "demo", &stop);
    world_kill_daemon(&w);
    assert_int_equal(start.answers, 1);
    assert_true(start.failed);
    assert_int_equal(stop.answers, 1);
    forget_signals(&w);
    world_start_daemon(&w);
    client_stop(&w, "demo", &stop);
    world_run(&w, 3000);
    assert_true(stop_reply(&stop)->success);
    client_call_done(&stop);
    world_done(&w);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_guest_that_obeys_powers_itself_off),
        cmocka_unit_test(an_unknown_vm_counts_as_stopped),
        cmocka_unit_test(an_agent_that_hangs_costs_thirty_seconds_and_then_steps_of_ten),
        cmocka_unit_test(an_agent_that_says_yes_gets_ten_seconds_to_do_it),
        cmocka_unit_test(an_agent_that_refuses_costs_no_time),
        cmocka_unit_test(stops_of_one_vm_are_all_answered),
        cmocka_unit_test(a_stop_during_boot_cancels_the_boot),
        cmocka_unit_test(a_stop_during_set_up_asks_the_agent),
        cmocka_unit_test(a_killed_hypervisor_is_told_at_once_and_concerns_nobody_else),
        cmocka_unit_test(a_dead_vsock_device_stops_its_vm),
        cmocka_unit_test(a_vsock_device_without_its_keeper_goes_on),
        cmocka_unit_test(and_when_that_dies_as_well_the_vm_is_stopped),
        cmocka_unit_test(a_vsock_device_that_hangs_is_killed),
        cmocka_unit_test(stopping_all_goes_on_in_parallel),
        cmocka_unit_test(stopping_all_of_none_is_answered),
        cmocka_unit_test(a_name_alone_stops_it_for_every_owner),
        cmocka_unit_test(a_shutdown_stops_all_and_lets_nobody_start),
        cmocka_unit_test(a_shutdown_during_a_boot_ends_the_boot_and_the_daemon),
        cmocka_unit_test(a_shutdown_with_hung_vms_ends_within_its_limit),
        cmocka_unit_test(a_daemon_that_goes_answers_who_waits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
