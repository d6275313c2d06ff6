/* SPDX-License-Identifier: BSD-3-Clause */
/* SuspendVm and ResumeVm. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "tests/unit/concierge/guest.h"
#include "tests/unit/test.h"

static void
ask(struct world *w, const char *method, const char *name, struct client_call *call)
{
    VmTools__Concierge__SuspendVmRequest request;

    vm_tools__concierge__suspend_vm_request__init(&request);
    request.name = (char *)(uintptr_t)name;
    request.owner_id = (char *)(uintptr_t)WORLD_OWNER;
    client_call(w, method, WORLD_UID, &request.base, NULL, 0, call);
}

/* Ask, and wait for a yes. */
static void
insist(struct world *w, const char *method, const char *name)
{
    struct client_call call;

    ask(w, method, name, &call);
    world_run(w, 1000);
    assert_string_equal(stop_reply(&call)->failure_reason, "");
    assert_true(stop_reply(&call)->success);
    client_call_done(&call);
}

static void
expect_no(struct client_call *call, const char *words)
{
    assert_false(stop_reply(call)->success);
    if (!strstr(stop_reply(call)->failure_reason, words))
        fail_msg("\"%s\" does not say \"%s\"", stop_reply(call)->failure_reason, words);
    client_call_done(call);
}

static void
expect_state(struct world *w, const char *name, const char *state)
{
    VmTools__Concierge__GetVmInfoRequest request;
    const VmTools__Concierge__GetVmInfoResponse *info;
    struct client_call call;

    vm_tools__concierge__get_vm_info_request__init(&request);
    request.name = (char *)(uintptr_t)name;
    request.owner_id = (char *)(uintptr_t)WORLD_OWNER;
    client_call(w, "GetVmInfo", WORLD_UID, &request.base, NULL, 0, &call);
    info = (const VmTools__Concierge__GetVmInfoResponse *)call.reply;
    assert_true(info->success);
    assert_string_equal(info->vm_info->state, state);
    assert_int_equal(info->vm_info->status,
                     VM_TOOLS__CONCIERGE__VM_STATUS__VM_STATUS_RUNNING);
    client_call_done(&call);
}

static bool
is_paused(struct world *w, const char *name)
{
    return fake_process_is_paused(fake_hypervisor_find(w->hv, name));
}

static void
end(struct world *w, struct guest *g)
{
    struct client_call call;

    client_stop(w, "demo", &call);
    world_run(w, 200000);
    assert_true(stop_reply(&call)->success);
    client_call_done(&call);
    guest_free(g);
    world_done(w);
}

static void
a_suspended_vm_gets_the_time_and_its_name_servers_when_it_goes_on(void **state)
{
    struct world w;
    struct guest *g;

    (void)state;
    world_init(&w);
    g = world_run_vm(&w, "demo");
    insist(&w, "SuspendVm", "demo");
    assert_true(is_paused(&w, "demo"));
    expect_state(&w, "demo", "suspended");
    assert_non_null(strstr(guest_calls(g), "PrepareToSuspend"));
    fake_clock_set_wall(w.clock, 1800000000);
    insist(&w, "ResumeVm", "demo");
    assert_false(is_paused(&w, "demo"));
    expect_state(&w, "demo", "running");
    assert_true(guest_time(g) >= 1800000000);
    assert_non_null(strstr(guest_calls(g), "PrepareToSuspend SetTime SetResolvConfig"));
    world_expect_signals(&w, "VmStartingUp demo 32\nVmStarted demo 32 status 1\n");
    end(&w, g);
}

static void
what_is_so_already_is_a_success(void **state)
{
    struct world w;
    struct guest *g;

    (void)state;
    world_init(&w);
    g = world_run_vm(&w, "demo");
    insist(&w, "ResumeVm", "demo");
    insist(&w, "SuspendVm", "nobody");
    insist(&w, "ResumeVm", "nobody");
    insist(&w, "SuspendVm", "demo");
    insist(&w, "SuspendVm", "demo");
    assert_int_equal(fake_hypervisor_calls(w.hv)->pauses, 1);
    insist(&w, "ResumeVm", "demo");
    end(&w, g);
}

static void
a_vm_that_starts_cannot_be_suspended(void **state)
{
    struct world w;
    struct client_call start, call;

    (void)state;
    world_init(&w);
    client_start_name(&w, "demo", &start);
    world_run(&w, 100);
    ask(&w, "SuspendVm", "demo", &call);
    expect_no(&call, "starting");
    client_stop(&w, "demo", &call);
    world_run(&w, 20000);
    client_call_done(&call);
    client_call_done(&start);
    world_done(&w);
}

static void
a_guest_that_does_not_get_ready_is_suspended_all_the_same(void **state)
{
    struct world w;
    struct guest *g;
    struct client_call call;

    (void)state;
    world_init(&w);
    g = world_run_vm(&w, "demo");
    guest_set(g, "PrepareToSuspend", GUEST_IGNORES);
    ask(&w, "SuspendVm", "demo", &call);
    world_run(&w, 4000);
    assert_int_equal(call.answers, 0);
    expect_state(&w, "demo", "preparing");
    world_run(&w, 2000);
    assert_true(stop_reply(&call)->success);
    client_call_done(&call);
    assert_true(is_paused(&w, "demo"));
    end(&w, g);
}

static void
a_hypervisor_that_refuses_leaves_the_vm_running(void **state)
{
    struct world w;
    struct guest *g;
    struct client_call call;

    (void)state;
    world_init(&w);
    g = world_run_vm(&w, "demo");
    fake_hypervisor_behaviour(w.hv)->call_error = EIO;
    ask(&w, "SuspendVm", "demo", &call);
    world_run(&w, 1000);
    expect_no(&call, "refused");
    expect_state(&w, "demo", "running");
    fake_hypervisor_behaviour(w.hv)->call_error = 0;
    insist(&w, "SuspendVm", "demo");
    fake_hypervisor_behaviour(w.hv)->call_error = EIO;
    ask(&w, "ResumeVm", "demo", &call);
    world_run(&w, 1000);
    expect_no(&call, "refused");
    expect_state(&w, "demo", "suspended");
    fake_hypervisor_behaviour(w.hv)->call_error = 0;
    insist(&w, "ResumeVm", "demo");
    end(&w, g);
}

static void
a_hypervisor_that_hangs_delays_the_answer_only_so_long(void **state)
{
    struct world w;
    struct guest *g;
    struct client_call call;

    (void)state;
    world_init(&w);
    g = world_run_vm(&w, "demo");
    fake_process_freeze(fake_hypervisor_find(w.hv, "demo"));
    ask(&w, "SuspendVm", "demo", &call);
    world_run(&w, 6000);
    expect_no(&call, "does not answer");
    expect_state(&w, "demo", "running");
    assert_int_equal(fake_hypervisor_calls(w.hv)->resumes, 1); /* undoes it */
    end(&w, g);
}

static void
a_stop_of_a_suspended_vm_lets_the_guest_shut_down(void **state)
{
    struct world w;
    struct guest *g;

    (void)state;
    world_init(&w);
    g = world_run_vm(&w, "demo");
    insist(&w, "SuspendVm", "demo");
    w.journal[0] = '\0';
    end(&w, g);
}

static void
a_stop_answers_those_who_wait_for_a_suspension(void **state)
{
    struct world w;
    struct guest *g;
    struct client_call suspend, stop;

    (void)state;
    world_init(&w);
    g = world_run_vm(&w, "demo");
    guest_set(g, "PrepareToSuspend", GUEST_IGNORES);
    ask(&w, "SuspendVm", "demo", &suspend);
    world_run(&w, 100);
    client_stop(&w, "demo", &stop);
    world_run(&w, 100);
    expect_no(&suspend, "being stopped");
    world_run(&w, 20000);
    assert_true(stop_reply(&stop)->success);
    client_call_done(&stop);
    assert_non_null(strstr(guest_calls(g), "Shutdown"));
    guest_free(g);
    world_done(&w);
}

static void
a_resume_during_the_preparation_calls_it_off(void **state)
{
    struct world w;
    struct guest *g;
    struct client_call suspend, resume;

    (void)state;
    world_init(&w);
    g = world_run_vm(&w, "demo");
    guest_set(g, "PrepareToSuspend", GUEST_IGNORES);
    ask(&w, "SuspendVm", "demo", &suspend);
    world_run(&w, 100);
    ask(&w, "ResumeVm", "demo", &resume);
    world_run(&w, 100);
    expect_no(&suspend, "resumed meanwhile");
    assert_true(stop_reply(&resume)->success);
    client_call_done(&resume);
    world_run(&w, 20000);
    assert_false(is_paused(&w, "demo"));
    assert_int_equal(fake_hypervisor_calls(w.hv)->pauses, 0);
    end(&w, g);
}

static void
a_suspended_vm_outlives_the_daemon_and_stays_suspended(void **state)
{
    struct world w;
    struct guest *g;
    struct client_call call;

    (void)state;
    world_init(&w);
    g = world_run_vm(&w, "demo");
    insist(&w, "SuspendVm", "demo");
    world_kill_daemon(&w);
    world_run(&w, 500);
    world_start_daemon(&w);
    expect_state(&w, "demo", "suspended");
    ask(&w, "ResumeVm", "demo", &call); /* before the hypervisor is connected */
    world_run(&w, 1000);
    assert_true(stop_reply(&call)->success);
    client_call_done(&call);
    expect_state(&w, "demo", "running");
    assert_false(is_paused(&w, "demo"));
    end(&w, g);
}

/* The record comes before the command: the heir makes it true. */
static void
a_daemon_that_died_before_it_told_the_hypervisor_is_made_honest(void **state)
{
    struct world w;
    struct guest *g;
    struct client_call call;

    (void)state;
    world_init(&w);
    g = world_run_vm(&w, "demo");
    fake_hypervisor_behaviour(w.hv)->call_error = EIO; /* the command has no effect */
    fake_process_freeze(fake_hypervisor_find(w.hv, "demo"));
    ask(&w, "SuspendVm", "demo", &call);
    world_run(&w, 1000);
    assert_int_equal(fake_hypervisor_calls(w.hv)->pauses, 1);
    world_kill_daemon(&w);
    client_call_done(&call);
    fake_process_thaw(fake_hypervisor_find(w.hv, "demo"));
    assert_false(is_paused(&w, "demo"));
    fake_hypervisor_behaviour(w.hv)->call_error = 0;
    world_start_daemon(&w);
    expect_state(&w, "demo", "suspended");
    world_run(&w, 1000);
    assert_true(is_paused(&w, "demo"));
    insist(&w, "ResumeVm", "demo");
    end(&w, g);
}

/* What is cancelled by the end of the daemon is no answer of the guest. */
static void
a_daemon_that_leaves_during_the_preparation_leaves_the_vm_running(void **state)
{
    struct world w;
    struct guest *g;
    struct client_call call;

    (void)state;
    world_init(&w);
    g = world_run_vm(&w, "demo");
    guest_set(g, "PrepareToSuspend", GUEST_IGNORES);
    ask(&w, "SuspendVm", "demo", &call);
    world_run(&w, 100);
    world_kill_daemon(&w);
    assert_int_equal(call.answers, 1);
    client_call_done(&call);
    assert_int_equal(fake_hypervisor_calls(w.hv)->pauses, 0);
    world_start_daemon(&w);
    world_run(&w, 1000);
    expect_state(&w, "demo", "running");
    end(&w, g);
}

static void
a_suspended_vm_that_dies_is_gone_like_any_other(void **state)
{
    struct world w;
    struct guest *g;

    (void)state;
    world_init(&w);
    g = world_run_vm(&w, "demo");
    insist(&w, "SuspendVm", "demo");
    w.journal[0] = '\0';
    fake_process_exit(fake_hypervisor_find(w.hv, "demo"), HYPERVISOR_EXIT_KILLED, "");
    world_run(&w, 3000);
    world_expect_signals(&w, "VmStopped demo 32 reason 0 left 0\n");
    guest_free(g);
    world_done(&w);
}

/* A guest that cannot take the time does not keep the caller for ever. */
static void
a_resume_is_answered_though_the_guest_does_not_take_the_time(void **state)
{
    struct world w;
    struct guest *g;
    struct client_call call;

    (void)state;
    world_init(&w);
    g = world_run_vm(&w, "demo");
    insist(&w, "SuspendVm", "demo");
    guest_set(g, "SetTime", GUEST_IGNORES);
    ask(&w, "ResumeVm", "demo", &call);
    world_run(&w, 1000);
    assert_int_equal(call.answers, 0);
    world_run(&w, 5000);
    assert_true(stop_reply(&call)->success);
    client_call_done(&call);
    end(&w, g);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(
            a_suspended_vm_gets_the_time_and_its_name_servers_when_it_goes_on),
        cmocka_unit_test(what_is_so_already_is_a_success),
        cmocka_unit_test(a_vm_that_starts_cannot_be_suspended),
        cmocka_unit_test(a_guest_that_does_not_get_ready_is_suspended_all_the_same),
        cmocka_unit_test(a_hypervisor_that_refuses_leaves_the_vm_running),
        cmocka_unit_test(a_hypervisor_that_hangs_delays_the_answer_only_so_long),
        cmocka_unit_test(a_stop_of_a_suspended_vm_lets_the_guest_shut_down),
        cmocka_unit_test(a_stop_answers_those_who_wait_for_a_suspension),
        cmocka_unit_test(a_resume_during_the_preparation_calls_it_off),
        cmocka_unit_test(a_suspended_vm_outlives_the_daemon_and_stays_suspended),
        cmocka_unit_test(a_daemon_that_died_before_it_told_the_hypervisor_is_made_honest),
        cmocka_unit_test(
            a_daemon_that_leaves_during_the_preparation_leaves_the_vm_running),
        cmocka_unit_test(a_suspended_vm_that_dies_is_gone_like_any_other),
        cmocka_unit_test(a_resume_is_answered_though_the_guest_does_not_take_the_time),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
