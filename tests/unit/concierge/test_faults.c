/* SPDX-License-Identifier: BSD-3-Clause */
/* Each call to the host fails once, at every place of a life: whatever happens, the start
 * is answered, the signals pair up, and world_done finds nothing left. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "tests/unit/concierge/guest.h"
#include "tests/unit/test.h"

static size_t
count(const char *text, const char *part)
{
    size_t n = 0;

    for (const char *p = strstr(text, part); p; p = strstr(p + 1, part))
        n++;
    return n;
}

static void
stop_if_running(struct world *w)
{
    struct client_call call;

    client_stop(w, "demo", &call);
    world_run(w, 90000);
    assert_true(stop_reply(&call)->success);
    client_call_done(&call);
}

/* Returns whether the fault was met. */
static bool
live_with_fault(unsigned nth, int error)
{
    struct world w;
    struct client_call call;
    struct rpc_status status;
    struct fake_process *process;
    struct guest *g = NULL;
    bool met;
    int answers;

    world_init(&w);
    fake_host_fail_after(w.host, nth, error);
    client_start_name(&w, "demo", &call);
    world_run(&w, 200);
    process = fake_hypervisor_find(w.hv, "demo");
    if (process) {
        g = guest_new(&w, fake_process_start(process)->cid);
        guest_power_off_on_shutdown(g, "demo");
        guest_call_ready(g, &status, &answers);
        world_run(&w, 1000);
    }
    assert_int_equal(call.answers, 1);
    if (!start_reply(&call)->success)
        expect_start_refused(&call, strerror(error));
    stop_if_running(&w);
    assert_int_equal(count(w.journal, "VmStartingUp"), count(w.journal, "VmStopped"));
    assert_true(count(w.journal, "left 0") == count(w.journal, "VmStopped"));
    met = fake_host_has_failed(w.host);
    fake_host_fail_after(w.host, 0, 0);
    client_call_done(&call);
    if (g)
        guest_free(g);
    world_done(&w);
    return met;
}

static void
every_fault_of_the_host_is_survived(void **state)
{
    unsigned n = 0;

    (void)state;
    while (live_with_fault(n, ENOSPC))
        n++;
    assert_in_range(n, 8, 100); /* else the faults were not reached */
}

/* Whether VMs can be started, as GetVmLaunchAllowed says it. */
static bool
launch_allowed(struct world *w)
{
    VmTools__Concierge__GetVmLaunchAllowedRequest request =
        VM_TOOLS__CONCIERGE__GET_VM_LAUNCH_ALLOWED_REQUEST__INIT;
    const VmTools__Concierge__GetVmLaunchAllowedResponse *reply;
    struct client_call call;
    bool allowed;

    client_call(w, "GetVmLaunchAllowed", WORLD_UID, &request.base, NULL, 0, &call);
    reply = (const VmTools__Concierge__GetVmLaunchAllowedResponse *)call.reply;
    allowed = reply->allowed;
    assert_int_equal(*reply->reason == '\0', allowed);
    client_call_done(&call);
    return allowed;
}

static void
a_missing_hypervisor_forbids_starts_until_one_succeeds(void **state)
{
    struct world w;
    struct client_call call;
    struct guest *g;

    (void)state;
    world_init(&w);
    fake_hypervisor_behaviour(w.hv)->start_error = ENOENT;
    client_start_name(&w, "demo", &call);
    world_run(&w, 3000);
    client_call_done(&call);
    assert_false(launch_allowed(&w));
    fake_hypervisor_behaviour(w.hv)->start_error = 0;
    g = world_run_vm(&w, "demo");
    assert_true(launch_allowed(&w));
    client_stop(&w, "demo", &call);
    world_run(&w, 2000);
    client_call_done(&call);
    guest_free(g);
    world_done(&w);
}

static void
a_hypervisor_that_does_not_start_is_explained(void **state)
{
    struct world w;
    struct client_call call;

    (void)state;
    world_init(&w);
    fake_hypervisor_behaviour(w.hv)->start_error = ENOENT;
    client_start_name(&w, "demo", &call);
    world_run(&w, 3000);
    expect_start_refused(&call, "start the hypervisor");
    world_expect_signals(&w, "VmStartingUp demo 32\nVmStopped demo 32 reason 0 left 0\n");
    client_call_done(&call);
    world_done(&w);
}

static void
a_missing_vsock_device_is_named(void **state)
{
    struct world w;
    struct client_call call;

    (void)state;
    world_init(&w);
    w.companion_missing = true;
    client_start_name(&w, "demo", &call);
    world_run(&w, 3000);
    expect_start_refused(&call, "start vm_vsock");
    world_expect_signals(&w, "VmStartingUp demo 32\nVmStopped demo 32 reason 0 left 0\n");
    client_call_done(&call);
    world_done(&w);
}

/* A control channel that never answers: the boot fails, and no step waits for it. */
static void
a_hypervisor_that_never_answers_is_terminated(void **state)
{
    struct world w;
    struct client_call call;

    (void)state;
    world_init(&w);
    fake_hypervisor_behaviour(w.hv)->no_control = true;
    client_start_name(&w, "demo", &call);
    world_run(&w, 70000);
    expect_start_refused(&call, "does not answer on its control socket");
    assert_int_equal(fake_hypervisor_calls(w.hv)->kills, 1);
    client_call_done(&call);
    world_done(&w);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_fault_of_the_host_is_survived),
        cmocka_unit_test(a_missing_hypervisor_forbids_starts_until_one_succeeds),
        cmocka_unit_test(a_hypervisor_that_does_not_start_is_explained),
        cmocka_unit_test(a_missing_vsock_device_is_named),
        cmocka_unit_test(a_hypervisor_that_never_answers_is_terminated),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
