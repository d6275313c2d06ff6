/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdio.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "core/base/limits.h"
#include "tests/unit/concierge/guest.h"
#include "tests/unit/test.h"

#define STARTING VM_TOOLS__CONCIERGE__VM_STATUS__VM_STATUS_STARTING
#define RUNNING VM_TOOLS__CONCIERGE__VM_STATUS__VM_STATUS_RUNNING

static uint64_t
phase(const VmTools__Concierge__StartVmResponse *r, const char *name)
{
    for (size_t i = 0; i < r->n_boot_phases; i++)
        if (strcmp(r->boot_phases[i]->name, name) == 0)
            return r->boot_phases[i]->duration_us;
    return 0;
}

static void
a_start_goes_through_signals_and_set_up_in_order(void **state)
{
    const VmTools__Concierge__StartVmResponse *r;
    struct world w;
    struct client_call call;
    struct guest *g;

    (void)state;
    world_init(&w);
    client_start_name(&w, "demo", &call);
    world_expect_signals(&w, "VmStartingUp demo 32\n");
    world_run(&w, 500);
    assert_int_equal(call.answers, 0);
    assert_int_equal(client_status(&w, "demo"), STARTING);
    g = guest_new(&w, 32);
    guest_power_off_on_shutdown(g, "demo");
    world_become_ready(&w, g);
    world_expect_signals(&w, "VmStarted demo 32 status 1\n");
    r = start_reply(&call);
    assert_true(r->success);
    assert_int_equal(r->status, RUNNING);
    assert_int_equal(r->vm_info->cid, 32);
    assert_string_equal(r->vm_info->transport, "fake:32");
    assert_string_equal(r->vm_info->permission_token,
                        "abababab-abab-4bab-abab-abababababab");
    assert_memory_equal(&r->vm_info->ipv4_address, "\x0a\x00\x02\x0f", 4);
    assert_int_equal(r->vm_info->allocated_memory, 256ll << 20);
    assert_string_equal(r->accel, "tcg");
    assert_int_equal(phase(r, "maitred"), 40000);
    assert_int_equal(client_status(&w, "demo"), RUNNING);
    assert_string_equal(guest_calls(g), "ConfigureNetwork SetResolvConfig SetTime "
                                        "SetTimezone ConfigureContainerGuest "
                                        "SetIdentity GetBootReport");
    client_call_done(&call);
    world_stop_vm(&w, "demo", g);
    world_done(&w);
}

static int64_t
pid_of(struct world *w, const char *name)
{
    VmTools__Concierge__GetVmInfoRequest request;
    struct client_call call;
    int64_t pid;

    vm_tools__concierge__get_vm_info_request__init(&request);
    request.name = (char *)(uintptr_t)name;
    request.owner_id = (char *)(uintptr_t)WORLD_OWNER;
    client_call(w, "GetVmInfo", WORLD_UID, &request.base, NULL, 0, &call);
    pid = ((const VmTools__Concierge__GetVmInfoResponse *)(const void *)call.reply)
              ->vm_info->pid;
    client_call_done(&call);
    return pid;
}

static void
a_second_start_changes_nothing(void **state)
{
    int64_t pid;
    struct world w;
    struct client_call call;
    struct guest *g;

    (void)state;
    world_init(&w);
    g = world_run_vm(&w, "demo");
    world_expect_signals(&w, "VmStartingUp demo 32\nVmStarted demo 32 status 1\n");
    pid = pid_of(&w, "demo");
    client_start_name(&w, "demo", &call);
    assert_true(start_reply(&call)->success);
    assert_int_equal(start_reply(&call)->vm_info->pid, pid);
    assert_int_equal(start_reply(&call)->status, RUNNING);
    assert_int_equal(start_reply(&call)->vm_info->cid, 32);
    assert_string_equal(start_reply(&call)->vm_info->permission_token, "");
    client_call_done(&call);
    world_expect_signals(&w, "");
    assert_int_equal(fake_hypervisor_calls(w.hv)->starts, 1);
    world_stop_vm(&w, "demo", g);
    world_done(&w);
}

static void
a_start_of_a_booting_vm_says_starting(void **state)
{
    struct world w;
    struct client_call first, second, stop;

    (void)state;
    world_init(&w);
    client_start_name(&w, "demo", &first);
    client_start_name(&w, "demo", &second);
    assert_true(start_reply(&second)->success);
    assert_int_equal(start_reply(&second)->status, STARTING);
    client_call_done(&second);
    client_stop(&w, "demo", &stop);
    client_start_name(&w, "demo", &second);
    expect_start_refused(&second, "being stopped");
    client_call_done(&second);
    world_run(&w, 3000);
    client_call_done(&stop);
    client_call_done(&first);
    world_done(&w);
}

static void
a_guest_that_never_reports_fails_within_its_timeout(void **state)
{
    struct world w;
    struct start_args args;
    struct client_call call;

    (void)state;
    world_init(&w);
    start_args_init(&args, "demo");
    args.request.timeout = 2;
    client_start(&w, &args, &call);
    fake_host_append(w.host, "/state/console/", "line 1\nline \x1b[31m2\r\n");
    world_run(&w, 1900);
    assert_int_equal(call.answers, 0);
    world_run(&w, 1000);
    expect_start_refused(&call, "did not report ready within 2 s");
    assert_string_equal(start_reply(&call)->console_tail, "line 1\nline \\x1b[31m2\n");
    world_expect_signals(&w, "VmStartingUp demo 32\nVmStopped demo 32 reason 0 left 0\n");
    client_call_done(&call);
    world_done(&w);
}

/* As when the vsock device's worker dies and is replaced. */
static void
set_up_begins_again_when_the_connection_breaks(void **state)
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
    guest_set(g, "SetTime", GUEST_IGNORES);
    guest_call_ready(g, &status, &answers);
    world_run(&w, 100);
    assert_int_equal(call.answers, 0);
    guest_free(g);
    g = guest_new(&w, 32);
    guest_power_off_on_shutdown(g, "demo");
    world_run(&w, 1000);
    assert_true(start_reply(&call)->success);
    assert_non_null(strstr(guest_calls(g), "ConfigureNetwork"));
    client_call_done(&call);
    client_stop(&w, "demo", &call);
    world_run(&w, 2000);
    client_call_done(&call);
    guest_free(g);
    world_done(&w);
}

static void
a_connection_that_breaks_again_and_again_fails_the_start(void **state)
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
    guest_call_ready(g, &status, &answers);
    guest_set(g, "ConfigureNetwork", GUEST_IGNORES);
    for (int i = 0; i < 5; i++) {
        world_run(&w, 300);
        guest_free(g);
        g = guest_new(&w, 32);
        guest_set(g, "ConfigureNetwork", GUEST_IGNORES);
    }
    world_run(&w, 20000);
    expect_start_refused(&call, "UNAVAILABLE");
    client_call_done(&call);
    guest_free(g);
    world_done(&w);
}

static void
progress_on_the_console_extends_a_deadline_that_nobody_set(void **state)
{
    struct world w;
    struct client_call call;

    (void)state;
    world_init(&w);
    client_start_name(&w, "demo", &call);
    for (int i = 0; i < 5; i++) {
        world_run(&w, 50000);
        assert_int_equal(call.answers, 0);
        fake_host_append(w.host, "/state/console/", "still here\n");
    }
    world_run(&w, 59000);
    assert_int_equal(call.answers, 0);
    world_run(&w, 5000);
    expect_start_refused(&call, "did not report ready within 60 s");
    client_call_done(&call);
    world_done(&w);
}

static void
a_guest_that_only_talks_is_given_up_in_the_end(void **state)
{
    struct world w;
    struct client_call call;
    unsigned seconds = 0;

    (void)state;
    world_init(&w);
    client_start_name(&w, "demo", &call);
    while (call.answers == 0 && seconds < 700) {
        fake_host_append(w.host, "/state/console/", "x");
        world_run(&w, 5000);
        seconds += 5;
    }
    expect_start_refused(&call, "did not report ready within 600 s");
    assert_in_range(seconds, 600, 620);
    client_call_done(&call);
    world_done(&w);
}

static void
ready_is_taken_once_and_from_the_vm_only(void **state)
{
    struct world w;
    struct client_call call;
    struct rpc_status status;
    struct guest *g, *stranger;
    int answers;

    (void)state;
    world_init(&w);
    client_start_name(&w, "demo", &call);
    world_run(&w, 100);
    stranger = guest_new(&w, 99);
    assert_int_equal(w.transport->ops->vm_add(w.transport, 99, "", NULL), 0);
    guest_call_ready(stranger, &status, &answers);
    world_run(&w, 1000);
    assert_int_equal(answers, 1);
    assert_int_equal(status.code, RPC_FAILED_PRECONDITION);
    assert_int_equal(call.answers, 0);
    g = guest_new(&w, 32);
    guest_power_off_on_shutdown(g, "demo");
    world_become_ready(&w, g);
    assert_true(start_reply(&call)->success);
    client_call_done(&call);
    guest_call_ready(g, &status, &answers);
    world_run(&w, 1000);
    assert_int_equal(answers, 1);
    assert_int_equal(status.code, RPC_FAILED_PRECONDITION);
    w.transport->ops->vm_remove(w.transport, 99);
    guest_free(stranger);
    world_stop_vm(&w, "demo", g);
    world_done(&w);
}

static void
a_panic_is_reported_at_once(void **state)
{
    struct world w;
    struct client_call call;

    (void)state;
    world_init(&w);
    client_start_name(&w, "demo", &call);
    world_run(&w, 200);
    fake_host_append(w.host, "/state/console/", "Kernel panic - not syncing\n");
    fake_process_panic(fake_hypervisor_find(w.hv, "demo"));
    world_run(&w, 3000);
    expect_start_refused(&call, "kernel panicked");
    assert_non_null(strstr(start_reply(&call)->console_tail, "not syncing"));
    world_expect_signals(&w, "VmStartingUp demo 32\nVmStopped demo 32 reason 0 left 0\n");
    client_call_done(&call);
    world_done(&w);
}

/* Before its pvpanic driver is loaded, a kernel that panics just reboots. */
static void
an_early_panic_is_read_off_the_console(void **state)
{
    struct world w;
    struct client_call call;

    (void)state;
    world_init(&w);
    client_start_name(&w, "demo", &call);
    world_run(&w, 200);
    fake_host_append(w.host, "/state/console/",
                     "[ 2.9] Kernel panic - not syncing: VFS\x1b[0m\r\n[ 2.9] more\n");
    fake_process_exit(fake_hypervisor_find(w.hv, "demo"), HYPERVISOR_EXIT_RESET, "");
    world_run(&w, 3000);
    expect_start_refused(&call, "the guest kernel panicked while it booted: "
                                "Kernel panic - not syncing: VFS\\x1b[0m");
    client_call_done(&call);
    world_done(&w);
}

static void
a_hypervisor_that_ends_during_boot_is_quoted(void **state)
{
    struct world w;
    struct client_call call;

    (void)state;
    world_init(&w);
    client_start_name(&w, "demo", &call);
    fake_process_exit(fake_hypervisor_find(w.hv, "demo"), HYPERVISOR_EXIT_CONFIG,
                      "no such device: foo");
    world_run(&w, 3000);
    expect_start_refused(&call, "refused its configuration");
    expect_start_refused(&call, "no such device: foo");
    client_call_done(&call);
    world_done(&w);
}

static void
a_vsock_device_that_dies_during_boot_is_blamed(void **state)
{
    struct world w;
    struct client_call call;

    (void)state;
    world_init(&w);
    client_start_name(&w, "demo", &call);
    world_run(&w, 100);
    fake_host_append(w.host, "vm_vsock.log", "first\nbad frontend\n");
    assert_int_equal(fake_spawn_exit(w.spawn, w.companions[0], SPAWN_EXIT_CODE, 3), 0);
    world_run(&w, 3000);
    expect_start_refused(&call, "(vm_vsock) of the VM died, exit code 3: bad frontend");
    world_expect_signals(&w, "VmStartingUp demo 32\nVmStopped demo 32 reason 0 left 0\n");
    client_call_done(&call);
    world_done(&w);
}

static void
set_up_fails(const char *method, enum guest_way way, const char *words, uint64_t after_ms)
{
    struct world w;
    struct client_call call;
    struct guest *g;

    world_init(&w);
    client_start_name(&w, "demo", &call);
    world_run(&w, 100);
    g = guest_new(&w, 32);
    guest_set(g, method, way);
    world_become_ready(&w, g);
    world_run(&w, after_ms + 3000);
    expect_start_refused(&call, words);
    world_expect_signals(&w, "VmStartingUp demo 32\nVmStopped demo 32 reason 0 left 0\n");
    client_call_done(&call);
    guest_free(g);
    world_done(&w);
}

static void
a_set_up_step_that_fails_fails_the_start(void **state)
{
    (void)state;
    set_up_fails("ConfigureNetwork", GUEST_FAILS,
                 "configure its network: INTERNAL: no luck", 0);
    set_up_fails("SetResolvConfig", GUEST_FAILS, "set its name servers: INTERNAL", 0);
    set_up_fails("ConfigureNetwork", GUEST_IGNORES, "DEADLINE_EXCEEDED", 20000);
}

static void
steps_that_may_fail_do_not_fail_the_start(void **state)
{
    static const char *const optional[] = {"SetTimezone", "ConfigureContainerGuest",
                                           "SetTime", "GetBootReport"};

    (void)state;
    for (size_t i = 0; i < VMT_ARRAY_SIZE(optional); i++) {
        struct world w;
        struct client_call call;
        struct guest *g;

        world_init(&w);
        client_start_name(&w, "demo", &call);
        world_run(&w, 100);
        g = guest_new(&w, 32);
        guest_power_off_on_shutdown(g, "demo");
        guest_set(g, optional[i], i < 2 ? GUEST_IGNORES : GUEST_FAILS);
        world_become_ready(&w, g);
        assert_true(start_reply(&call)->success);
        client_call_done(&call);
        world_stop_vm(&w, "demo", g);
        world_done(&w);
    }
}

static void
forty_starts_at_once_get_cids_of_their_own(void **state)
{
    struct world w;
    struct client_call calls[40], stop;
    bool seen[40] = {false};

    (void)state;
    world_init(&w);
    for (int i = 0; i < 40; i++) {
        char name[16];
        uint32_t cid;

        (void)snprintf(name, sizeof(name), "vm%d", i);
        client_start_name(&w, name, &calls[i]);
        cid = fake_process_start(fake_hypervisor_find(w.hv, name))->cid;
        assert_in_range(cid, VMT_CID_FIRST, VMT_CID_FIRST + 39);
        assert_false(seen[cid - VMT_CID_FIRST]);
        seen[cid - VMT_CID_FIRST] = true;
    }
    client_call(&w, "StopAllVms", WORLD_UID, NULL, NULL, 0, &stop);
    world_run(&w, 5000);
    assert_int_equal(stop.answers, 1);
    for (int i = 0; i < 40; i++) {
        expect_start_refused(&calls[i], "cancelled by StopAllVms");
        client_call_done(&calls[i]);
    }
    w.journal[0] = '\0';
    world_done(&w);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_start_goes_through_signals_and_set_up_in_order),
        cmocka_unit_test(a_second_start_changes_nothing),
        cmocka_unit_test(a_start_of_a_booting_vm_says_starting),
        cmocka_unit_test(a_guest_that_never_reports_fails_within_its_timeout),
        cmocka_unit_test(set_up_begins_again_when_the_connection_breaks),
        cmocka_unit_test(a_connection_that_breaks_again_and_again_fails_the_start),
        cmocka_unit_test(progress_on_the_console_extends_a_deadline_that_nobody_set),
        cmocka_unit_test(a_guest_that_only_talks_is_given_up_in_the_end),
        cmocka_unit_test(ready_is_taken_once_and_from_the_vm_only),
        cmocka_unit_test(a_panic_is_reported_at_once),
        cmocka_unit_test(an_early_panic_is_read_off_the_console),
        cmocka_unit_test(a_hypervisor_that_ends_during_boot_is_quoted),
        cmocka_unit_test(a_vsock_device_that_dies_during_boot_is_blamed),
        cmocka_unit_test(a_set_up_step_that_fails_fails_the_start),
        cmocka_unit_test(steps_that_may_fail_do_not_fail_the_start),
        cmocka_unit_test(forty_starts_at_once_get_cids_of_their_own),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
