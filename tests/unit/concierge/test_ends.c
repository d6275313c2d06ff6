/* SPDX-License-Identifier: BSD-3-Clause */
/* How VMs end, who is told, and which are started again. */
#include <stdio.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "tests/fake/fake_disks.h"
#include "tests/unit/concierge/guest.h"
#include "tests/unit/test.h"
#include "vmt_life.pb-c.h"

static void
start_with(struct world *w, const char *name, Vmt__RestartPolicy__Mode mode, uint32_t max,
           struct client_call *call)
{
    Vmt__RestartPolicy policy = VMT__RESTART_POLICY__INIT;
    struct start_args args;

    policy.mode = mode;
    policy.max_restarts = max;
    start_args_init(&args, name);
    args.request.restart = &policy;
    client_start(w, &args, call);
}

/* The process of name is there: a guest in it reports ready. */
static struct guest *
come_up(struct world *w, const char *name)
{
    struct fake_process *process = fake_hypervisor_find(w->hv, name);
    struct rpc_status status;
    struct guest *g;
    int answers;

    assert_non_null(process);
    g = guest_new(w, fake_process_start(process)->cid);
    guest_power_off_on_shutdown(g, name);
    guest_call_ready(g, &status, &answers);
    world_run(w, 1000);
    assert_int_equal(answers, 1);
    return g;
}

static struct guest *
run_with(struct world *w, const char *name, Vmt__RestartPolicy__Mode mode, uint32_t max)
{
    struct client_call call;
    struct guest *g;

    start_with(w, name, mode, max, &call);
    world_run(w, 100);
    g = come_up(w, name);
    assert_true(start_reply(&call)->success);
    client_call_done(&call);
    return g;
}

static void
die(struct world *w, struct guest *g, enum hypervisor_exit how)
{
    fake_process_exit(fake_hypervisor_find(w->hv, "demo"), how, "last words");
    world_run(w, 500);
    guest_free(g);
}

/* GetVmInfo; the caller frees. */
static const VmTools__Concierge__GetVmInfoResponse *
info(struct world *w, struct client_call *call)
{
    VmTools__Concierge__GetVmInfoRequest request;

    vm_tools__concierge__get_vm_info_request__init(&request);
    request.name = (char *)(uintptr_t) "demo";
    request.owner_id = (char *)(uintptr_t)WORLD_OWNER;
    client_call(w, "GetVmInfo", WORLD_UID, &request.base, NULL, 0, call);
    assert_int_equal(call->answers, 1);
    return (const VmTools__Concierge__GetVmInfoResponse *)call->reply;
}

static void
expect_end(struct world *w, const char *cause, bool will_restart)
{
    const VmTools__Concierge__GetVmInfoResponse *reply;
    struct client_call call;

    reply = info(w, &call);
    assert_false(reply->success);
    assert_non_null(reply->last_end);
    assert_string_equal(reply->last_end->cause, cause);
    assert_int_equal(reply->last_end->will_restart, will_restart);
    client_call_done(&call);
}

static void
wait_vm(struct world *w, struct client_call *call)
{
    Vmt__WaitVmRequest request = VMT__WAIT_VM_REQUEST__INIT;

    request.name = (char *)(uintptr_t) "demo";
    request.owner_id = (char *)(uintptr_t)WORLD_OWNER;
    client_call(w, "WaitVm", WORLD_UID, &request.base, NULL, 0, call);
}

static const Vmt__WaitVmResponse *
wait_reply(const struct client_call *call)
{
    assert_int_equal(call->answers, 1);
    assert_false(call->failed);
    return (const Vmt__WaitVmResponse *)call->reply;
}

static void
stop(struct world *w)
{
    struct client_call call;

    client_stop(w, "demo", &call);
    world_run(w, 3000);
    assert_true(stop_reply(&call)->success);
    client_call_done(&call);
}

static void
how_a_vm_ended_is_told_afterwards_and_to_the_next_daemon(void **state)
{
    struct world w;
    struct client_call call;
    struct guest *g;

    (void)state;
    world_init(&w);
    g = world_run_vm(&w, "demo");
    world_run(&w, 5000);
    assert_true(info(&w, &call)->vm_info->uptime_ms >= 5000);
    assert_string_equal(((const VmTools__Concierge__GetVmInfoResponse *)call.reply)
                            ->vm_info->restart_mode,
                        "never");
    client_call_done(&call);
    die(&w, g, HYPERVISOR_EXIT_KILLED);
    expect_end(&w, "killed", false);
    assert_int_equal(info(&w, &call)->last_end->signal, 9);
    assert_string_equal(
        ((const VmTools__Concierge__GetVmInfoResponse *)call.reply)->last_end->text,
        "last words");
    assert_true(((const VmTools__Concierge__GetVmInfoResponse *)call.reply)
                    ->last_end->uptime_ms >= 5000);
    client_call_done(&call);
    world_kill_daemon(&w);
    world_start_daemon(&w);
    expect_end(&w, "killed", false);
    world_done(&w);
}

/* Its companion outlives the hypervisor a little: then the end is not known yet. */
static void
the_end_before_the_last_one_is_never_told_for_it(void **state)
{
    const VmTools__Concierge__GetVmInfoResponse *reply;
    struct client_call call;
    bool is_known = false;
    unsigned between = 0;
    struct world w;
    struct guest *g;

    (void)state;
    world_init(&w);
    g = world_run_vm(&w, "demo");
    die(&w, g, HYPERVISOR_EXIT_KILLED);
    g = world_run_vm(&w, "demo");
    w.companions_hang = true;
    fake_process_exit(fake_hypervisor_find(w.hv, "demo"), HYPERVISOR_EXIT_PANIC, "twice");
    while (!is_known) {
        world_run(&w, 100);
        reply = info(&w, &call);
        is_known = !reply->success && reply->last_end;
        between += !reply->success && !reply->last_end;
        if (is_known)
            assert_string_equal(reply->last_end->text, "twice");
        client_call_done(&call);
    }
    assert_true(between > 0);
    guest_free(g);
    world_done(&w);
}

static void
a_vm_that_died_while_no_daemon_ran_is_lost(void **state)
{
    struct world w;
    struct guest *g;

    (void)state;
    world_init(&w);
    g = world_run_vm(&w, "demo");
    world_kill_daemon(&w);
    fake_process_exit(fake_hypervisor_find(w.hv, "demo"), HYPERVISOR_EXIT_KILLED, "");
    world_run(&w, 100);
    guest_free(g);
    world_start_daemon(&w);
    world_run(&w, 5000);
    expect_end(&w, "lost", false);
    world_done(&w);
}

static void
a_stop_is_no_failure(void **state)
{
    struct world w;
    struct guest *g;

    (void)state;
    world_init(&w);
    g = run_with(&w, "demo", VMT__RESTART_POLICY__MODE__ALWAYS, 0);
    stop(&w);
    guest_free(g);
    expect_end(&w, "stopped", false);
    world_run(&w, 100000);
    assert_int_equal(fake_hypervisor_count(w.hv), 0);
    world_done(&w);
}

static void
who_waits_is_told_the_end(void **state)
{
    struct world w;
    struct client_call first, second;
    struct guest *g;

    (void)state;
    world_init(&w);
    wait_vm(&w, &first);
    assert_false(wait_reply(&first)->success);
    client_call_done(&first);
    g = world_run_vm(&w, "demo");
    wait_vm(&w, &first);
    assert_int_equal(first.answers, 0);
    die(&w, g, HYPERVISOR_EXIT_POWEROFF);
    assert_true(wait_reply(&first)->success);
    assert_string_equal(wait_reply(&first)->end->cause, "poweroff");
    client_call_done(&first);
    wait_vm(&w, &second); /* too late is early enough */
    assert_string_equal(wait_reply(&second)->end->cause, "poweroff");
    client_call_done(&second);
    world_done(&w);
}

static void
a_failed_vm_is_started_again_as_its_policy_wants(void **state)
{
    struct world w;
    struct guest *g;

    (void)state;
    world_init(&w);
    g = run_with(&w, "demo", VMT__RESTART_POLICY__MODE__ON_FAILURE, 2);
    w.journal[0] = '\0';
    die(&w, g, HYPERVISOR_EXIT_KILLED);
    expect_end(&w, "killed", true);
    world_expect_signals(&w, "VmStopped demo 32 reason 0 left 0\n");
    world_run(&w, 1000);
    g = come_up(&w, "demo");
    world_expect_signals(&w, "VmStartingUp demo 33\nVmStarted demo 33 status 1\n");
    die(&w, g, HYPERVISOR_EXIT_PANIC);
    world_run(&w, 2500);
    g = come_up(&w, "demo");
    die(&w, g, HYPERVISOR_EXIT_KILLED); /* a third time in a row: enough */
    expect_end(&w, "killed", false);
    world_run(&w, 100000);
    assert_int_equal(fake_hypervisor_count(w.hv), 0);
    assert_int_equal(w.starting_ups, w.stoppeds);
    world_done(&w);
}

static void
a_guest_that_switches_itself_off_did_not_fail(void **state)
{
    struct world w;
    struct guest *g;

    (void)state;
    world_init(&w);
    g = run_with(&w, "demo", VMT__RESTART_POLICY__MODE__ON_FAILURE, 0);
    die(&w, g, HYPERVISOR_EXIT_POWEROFF);
    expect_end(&w, "poweroff", false);
    g = run_with(&w, "demo", VMT__RESTART_POLICY__MODE__ALWAYS, 0);
    die(&w, g, HYPERVISOR_EXIT_POWEROFF);
    expect_end(&w, "poweroff", true);
    world_run(&w, 1000);
    g = come_up(&w, "demo");
    stop(&w);
    guest_free(g);
    world_done(&w);
}

static void
a_restart_that_fails_is_tried_again_and_a_first_start_is_not(void **state)
{
    struct world w;
    struct client_call call;
    struct guest *g;

    (void)state;
    world_init(&w);
    fake_hypervisor_behaviour(w.hv)->start_error = 5;
    start_with(&w, "demo", VMT__RESTART_POLICY__MODE__ALWAYS, 0, &call);
    world_run(&w, 100000);
    assert_false(start_reply(&call)->success);
    client_call_done(&call);
    assert_int_equal(fake_hypervisor_calls(w.hv)->starts, 1);
    fake_hypervisor_behaviour(w.hv)->start_error = 0;
    g = run_with(&w, "demo", VMT__RESTART_POLICY__MODE__ALWAYS, 3);
    fake_hypervisor_behaviour(w.hv)->start_error = 5;
    die(&w, g, HYPERVISOR_EXIT_KILLED);
    world_run(&w, 100000);
    assert_int_equal(fake_hypervisor_calls(w.hv)->starts, 2 + 3);
    expect_end(&w, "start-failed", false);
    assert_int_equal(w.starting_ups, w.stoppeds);
    world_done(&w);
}

static void
stop_and_start_end_the_wait_for_a_restart(void **state)
{
    struct world w;
    struct guest *g;

    (void)state;
    world_init(&w);
    g = run_with(&w, "demo", VMT__RESTART_POLICY__MODE__ALWAYS, 0);
    die(&w, g, HYPERVISOR_EXIT_KILLED);
    stop(&w);
    expect_end(&w, "killed", false);
    world_run(&w, 100000);
    assert_int_equal(fake_hypervisor_count(w.hv), 0);
    g = run_with(&w, "demo", VMT__RESTART_POLICY__MODE__ALWAYS, 0);
    die(&w, g, HYPERVISOR_EXIT_KILLED);
    g = world_run_vm(&w, "demo"); /* by hand, without a policy */
    die(&w, g, HYPERVISOR_EXIT_KILLED);
    world_run(&w, 100000);
    assert_int_equal(fake_hypervisor_count(w.hv), 0);
    world_done(&w);
}

/* Once while the VM runs, once while it waits: both leave it to the next daemon. */
static void
a_restart_outlives_the_daemon(void **state)
{
    struct world w;
    struct guest *g;

    (void)state;
    world_init(&w);
    fake_host_add_image(w.host, "/dev/null");
    g = run_with(&w, "demo", VMT__RESTART_POLICY__MODE__ALWAYS, 0);
    world_kill_daemon(&w);
    world_start_daemon(&w);
    world_run(&w, 1000);
    die(&w, g, HYPERVISOR_EXIT_KILLED);
    expect_end(&w, "killed", true);
    world_kill_daemon(&w);
    world_start_daemon(&w);
    world_run(&w, 1000);
    g = come_up(&w, "demo");
    stop(&w);
    guest_free(g);
    world_done(&w);
}

/* The files are gone or changed hands: that is said, and ends some time. */
static void
a_restart_without_its_files_gives_up(void **state)
{
    struct world w;
    struct guest *g;

    (void)state;
    world_init(&w);
    g = run_with(&w, "demo", VMT__RESTART_POLICY__MODE__ALWAYS, 3);
    world_kill_daemon(&w);
    world_start_daemon(&w);
    world_run(&w, 1000);
    die(&w, g, HYPERVISOR_EXIT_KILLED);
    world_run(&w, 100000);
    expect_end(&w, "killed", false);
    assert_int_equal(fake_hypervisor_calls(w.hv)->starts, 1);
    world_done(&w);
}

static void
start_by(struct world *w, uint32_t uid, const char *name,
         const Vmt__RestartPolicy *policy, struct client_call *call)
{
    struct start_args args;
    char owner[IPC_OWNER_MAX];

    ipc_owner_for_uid(uid, owner);
    start_args_init(&args, name);
    args.request.owner_id = owner;
    args.request.restart = (Vmt__RestartPolicy *)(uintptr_t)policy;
    client_call(w, "StartVm", uid, &args.request.base, args.fds, args.nfds, call);
    world_run(w, 100);
}

/* Each holds descriptors, and comes back: they are VMs of their owner. */
static void
vms_that_wait_for_their_restart_count_as_vms(void **state)
{
    Vmt__RestartPolicy policy = VMT__RESTART_POLICY__INIT;
    struct client_call call, all;
    struct world w;
    char name[16];

    (void)state;
    world_init(&w);
    policy.mode = VMT__RESTART_POLICY__MODE__ALWAYS;
    policy.delay_ms = policy.max_delay_ms = 1000000;
    for (int i = 0; i < 32; i++) {
        (void)snprintf(name, sizeof(name), "vm%d", i);
        start_by(&w, 2000, name, &policy, &call);
        guest_free(come_up(&w, name));
        assert_true(start_reply(&call)->success);
        client_call_done(&call);
        fake_process_exit(fake_hypervisor_find(w.hv, name), HYPERVISOR_EXIT_KILLED, "");
        world_run(&w, 500);
    }
    assert_int_equal(fake_hypervisor_count(w.hv), 0);
    start_by(&w, 2000, "vm32", NULL, &call);
    expect_start_refused(&call, "as many VMs as one may have");
    client_call_done(&call);
    start_by(&w, 2000, "vm3", NULL, &call); /* in its own place */
    assert_int_equal(fake_hypervisor_count(w.hv), 1);
    client_call(&w, "StopAllVms", WORLD_UID, NULL, NULL, 0, &all);
    world_run(&w, 100000);
    client_call_done(&all);
    client_call_done(&call);
    world_done(&w);
}

static void
who_destroys_the_disk_of_a_vm_does_not_want_it_again(void **state)
{
    VmTools__Concierge__DestroyDiskImageRequest request;
    struct client_call call;
    struct world w;
    struct guest *g;

    (void)state;
    world_init(&w);
    g = run_with(&w, "demo", VMT__RESTART_POLICY__MODE__ALWAYS, 0);
    die(&w, g, HYPERVISOR_EXIT_KILLED);
    fake_disks_put(w.host, WORLD_OWNER, "ZGVtbw==.img", 4096);
    vm_tools__concierge__destroy_disk_image_request__init(&request);
    request.cryptohome_id = (char *)(uintptr_t)WORLD_OWNER;
    request.vm_name = (char *)(uintptr_t) "demo";
    client_call(&w, "DestroyDiskImage", WORLD_UID, &request.base, NULL, 0, &call);
    world_run(&w, 1000);
    assert_false(fake_disks_has(w.host, WORLD_OWNER, "ZGVtbw==.img"));
    client_call_done(&call);
    expect_end(&w, "killed", false);
    world_run(&w, 100000);
    assert_int_equal(fake_hypervisor_calls(w.hv)->starts, 1);
    world_done(&w);
}

/* The daemon dies right after it was told to stop a VM: that was the last word. */
static void
an_heir_does_not_start_again_what_was_to_stop(void **state)
{
    struct client_call call;
    struct world w;
    struct guest *g;

    (void)state;
    world_init(&w);
    fake_host_add_image(w.host, "/dev/null");
    g = run_with(&w, "demo", VMT__RESTART_POLICY__MODE__ALWAYS, 0);
    client_stop(&w, "demo", &call);
    world_kill_daemon(&w);
    client_call_done(&call);
    fake_process_exit(fake_hypervisor_find(w.hv, "demo"), HYPERVISOR_EXIT_POWEROFF, "");
    world_run(&w, 100);
    guest_free(g);
    world_start_daemon(&w);
    world_run(&w, 100000);
    expect_end(&w, "stopped", false);
    assert_int_equal(fake_hypervisor_calls(w.hv)->starts, 1);
    world_done(&w);
}

static void
a_policy_that_is_none_is_refused(void **state)
{
    struct world w;
    struct client_call call;

    (void)state;
    world_init(&w);
    start_with(&w, "demo", (Vmt__RestartPolicy__Mode)7, 0, &call);
    expect_start_refused(&call, "restart policy");
    client_call_done(&call);
    world_done(&w);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(how_a_vm_ended_is_told_afterwards_and_to_the_next_daemon),
        cmocka_unit_test(the_end_before_the_last_one_is_never_told_for_it),
        cmocka_unit_test(a_vm_that_died_while_no_daemon_ran_is_lost),
        cmocka_unit_test(a_stop_is_no_failure),
        cmocka_unit_test(who_waits_is_told_the_end),
        cmocka_unit_test(a_failed_vm_is_started_again_as_its_policy_wants),
        cmocka_unit_test(a_guest_that_switches_itself_off_did_not_fail),
        cmocka_unit_test(a_restart_that_fails_is_tried_again_and_a_first_start_is_not),
        cmocka_unit_test(stop_and_start_end_the_wait_for_a_restart),
        cmocka_unit_test(a_restart_outlives_the_daemon),
        cmocka_unit_test(a_restart_without_its_files_gives_up),
        cmocka_unit_test(vms_that_wait_for_their_restart_count_as_vms),
        cmocka_unit_test(who_destroys_the_disk_of_a_vm_does_not_want_it_again),
        cmocka_unit_test(an_heir_does_not_start_again_what_was_to_stop),
        cmocka_unit_test(a_policy_that_is_none_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
