/* SPDX-License-Identifier: BSD-3-Clause */
/* The daemon dies and comes back: spec 17, row 13. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "tests/unit/concierge/guest.h"
#include "tests/unit/test.h"

#define STARTING VM_TOOLS__CONCIERGE__VM_STATUS__VM_STATUS_STARTING
#define RUNNING VM_TOOLS__CONCIERGE__VM_STATUS__VM_STATUS_RUNNING

static void
restart(struct world *w)
{
    world_kill_daemon(w);
    world_run(w, 500);
    w->journal[0] = '\0';
    world_start_daemon(w);
}

static void
a_running_vm_outlives_the_daemon(void **state)
{
    VmTools__Concierge__GetVmInfoRequest request;
    const VmTools__Concierge__GetVmInfoResponse *info;
    struct world w;
    struct client_call call;
    struct guest *g;

    vm_tools__concierge__get_vm_info_request__init(&request);
    (void)state;
    world_init(&w);
    g = world_run_vm(&w, "demo");
    restart(&w);
    world_expect_signals(&w, "");
    request.name = (char *)(uintptr_t) "demo";
    request.owner_id = (char *)(uintptr_t)WORLD_OWNER;
    client_call(&w, "GetVmInfo", WORLD_UID, &request.base, NULL, 0, &call);
    info = (const VmTools__Concierge__GetVmInfoResponse *)call.reply;
    assert_true(info->success);
    assert_int_equal(info->vm_info->cid, 32);
    assert_int_equal(info->vm_info->status, RUNNING);
    assert_true(info->vm_info->pid > 0);
    assert_string_equal(info->vm_info->permission_token,
                        "abababab-abab-4bab-abab-abababababab");
    assert_int_equal(info->vm_info->allocated_memory, 256ll << 20);
    client_call_done(&call);
    world_stop_vm(&w, "demo", NULL);
    world_expect_signals(&w, "VmStopping demo 32\nVmStopped demo 32 reason 1 left 0\n");
    assert_non_null(strstr(guest_calls(g), "Shutdown"));
    guest_free(g);
    world_done(&w);
}

static void
cids_go_on_where_they_were(void **state)
{
    struct world w;
    struct client_call call;
    struct guest *g;

    (void)state;
    world_init(&w);
    g = world_run_vm(&w, "a");
    world_stop_vm(&w, "a", NULL);
    guest_free(g);
    restart(&w);
    client_start_name(&w, "b", &call);
    assert_int_equal(fake_process_start(fake_hypervisor_find(w.hv, "b"))->cid, 33);
    world_stop_vm(&w, "b", NULL);
    client_call_done(&call);
    world_done(&w);
}

/* The guest repeats VmReady until somebody takes it. */
static void
a_booting_vm_becomes_ready_under_the_next_daemon(void **state)
{
    struct world w;
    struct client_call call;
    struct rpc_status status;
    struct guest *g;
    int answers;

    (void)state;
    world_init(&w);
    client_start_name(&w, "demo", &call);
    world_run(&w, 200);
    restart(&w);
    assert_true(call.failed);
    assert_int_equal(client_status(&w, "demo"), STARTING);
    g = guest_new(&w, 32);
    guest_power_off_on_shutdown(g, "demo");
    guest_call_ready(g, &status, &answers);
    world_run(&w, 1000);
    assert_int_equal(status.code, RPC_OK);
    world_expect_signals(&w, "VmStarted demo 32 status 1\n");
    world_stop_vm(&w, "demo", NULL);
    guest_free(g);
    world_done(&w);
}

static void
a_set_up_that_was_cut_short_is_made_again(void **state)
{
    struct world w;
    struct client_call call;
    struct rpc_status status;
    struct guest *g;
    int answers;

    (void)state;
    world_init(&w);
    client_start_name(&w, "demo", &call);
    world_run(&w, 200);
    g = guest_new(&w, 32);
    guest_power_off_on_shutdown(g, "demo");
    guest_set(g, "SetTime", GUEST_IGNORES);
    guest_call_ready(g, &status, &answers);
    world_run(&w, 1000);
    assert_int_equal(call.answers, 0);
    restart(&w);
    world_run(&w, 21000); /* the step that is ignored may fail */
    world_expect_signals(&w, "VmStarted demo 32 status 1\n");
    world_stop_vm(&w, "demo", NULL);
    guest_free(g);
    world_done(&w);
}

/* Each waiter of the earlier daemon is gone with it; the wish is not. */
static void
a_vm_that_was_told_to_stop_does_under_the_next_daemon(void **state)
{
    struct world w;
    struct client_call call;
    struct guest *g;

    (void)state;
    world_init(&w);
    g = world_run_vm(&w, "demo");
    guest_set(g, "Shutdown", GUEST_IGNORES);
    client_stop(&w, "demo", &call);
    world_run(&w, 10);
    assert_int_equal(call.answers, 0);
    guest_set(g, "Shutdown", GUEST_ANSWERS);
    restart(&w);
    assert_true(call.failed);
    client_call_done(&call);
    world_run(&w, 5000);
    world_expect_signals(&w, "VmStopping demo 32\nVmStopped demo 32 reason 1 left 0\n");
    guest_free(g);
    world_done(&w);
}

static void
a_start_that_was_cancelled_ends_under_the_next_daemon(void **state)
{
    struct world w;
    struct client_call start, stop;

    (void)state;
    world_init(&w);
    client_start_name(&w, "demo", &start);
    world_run(&w, 200);
    fake_process_freeze(fake_hypervisor_find(w.hv, "demo"));
    client_stop(&w, "demo", &stop);
    restart(&w);
    fake_process_thaw(fake_hypervisor_find(w.hv, "demo"));
    world_run(&w, 60000);
    world_expect_signals(&w, "VmStopping demo 32\nVmStopped demo 32 reason 1 left 0\n");
    client_call_done(&start);
    client_call_done(&stop);
    world_done(&w);
}

static void
a_vm_that_died_meanwhile_is_cleaned_up(void **state)
{
    struct world w;
    struct guest *g;

    (void)state;
    world_init(&w);
    g = world_run_vm(&w, "demo");
    world_kill_daemon(&w);
    fake_process_exit(fake_hypervisor_find(w.hv, "demo"), HYPERVISOR_EXIT_KILLED, "");
    world_run(&w, 500);
    w.journal[0] = '\0';
    world_start_daemon(&w);
    world_run(&w, 3000);
    world_expect_signals(&w, "VmStopped demo 32 reason 0 left 0\n");
    assert_int_equal(client_status(&w, "demo"), -1);
    guest_free(g);
    world_done(&w);
}

static void
a_vm_without_its_vsock_device_is_stopped(void **state)
{
    struct world w;
    struct guest *g;

    (void)state;
    world_init(&w);
    g = world_run_vm(&w, "demo");
    world_kill_daemon(&w);
    (void)fake_spawn_exit(w.spawn, w.companions[0], SPAWN_EXIT_CODE, 1);
    world_run(&w, 500);
    w.journal[0] = '\0';
    world_start_daemon(&w);
    world_run(&w, 30000);
    world_expect_signals(&w, "VmStopped demo 32 reason 0 left 0\n");
    guest_free(g);
    world_done(&w);
}

static void
a_vsock_device_that_lost_its_keeper_meanwhile_is_taken_over(void **state)
{
    struct world w;
    struct spawn_id worker;
    struct guest *g;

    (void)state;
    world_init(&w);
    g = world_run_vm(&w, "demo");
    world_kill_daemon(&w);
    assert_int_equal(fake_spawn_plant(w.spawn, &worker), 0);
    fake_host_add_user(w.host, "/run/vm.000000", &worker);
    (void)fake_spawn_exit(w.spawn, w.companions[0], SPAWN_EXIT_SIGNAL, 9);
    world_run(&w, 500);
    w.journal[0] = '\0';
    world_start_daemon(&w);
    world_run(&w, 3000);
    world_expect_signals(&w, "");
    assert_int_equal(client_status(&w, "demo"),
                     VM_TOOLS__CONCIERGE__VM_STATUS__VM_STATUS_RUNNING);
    assert_int_equal(fake_spawn_exit(w.spawn, worker.pid, SPAWN_EXIT_SIGNAL, 11), 0);
    world_run(&w, 30000);
    world_expect_signals(&w, "VmStopped demo 32 reason 0 left 0\n");
    guest_free(g);
    world_done(&w);
}

/* A daemon that dies between starting a process and writing that down. */
static void
processes_that_no_record_names_are_killed(void **state)
{
    static const uint8_t record[] = "\x0a\x08" WORLD_OWNER "\x12\x04"
                                    "demo\x18\x20\x22\x0e/run/vm.000000";
    struct world w;
    struct spawn_id ids[2];

    (void)state;
    world_init(&w);
    world_kill_daemon(&w);
    assert_int_equal(fake_spawn_plant(w.spawn, &ids[0]), 0);
    assert_int_equal(fake_spawn_plant(w.spawn, &ids[1]), 0);
    for (size_t i = 0; i < VMT_ARRAY_SIZE(ids); i++)
        fake_host_add_user(w.host, "/run/vm.000000", &ids[i]);
    fake_host_set_record(w.host, WORLD_OWNER "-ZGVtbw", record, sizeof(record) - 1);
    world_start_daemon(&w);
    world_run(&w, 3000);
    assert_int_equal(fake_spawn_running(w.spawn), 0);
    assert_int_equal(client_status(&w, "demo"), -1);
    world_done(&w);
}

static void
a_directory_of_no_vm_is_removed(void **state)
{
    struct world w;
    struct guest *g;
    char *path;

    (void)state;
    world_init(&w);
    g = world_run_vm(&w, "demo");
    world_kill_daemon(&w);
    assert_int_equal(w.host->files->dir_make(w.host, &path, NULL), 0);
    free(path);
    assert_int_equal(fake_host_dirs(w.host), 2);
    world_start_daemon(&w);
    assert_int_equal(fake_host_dirs(w.host), 1);
    world_stop_vm(&w, "demo", NULL);
    guest_free(g);
    world_done(&w);
}

static void
damaged_records_are_dropped(void **state)
{
    struct world w;

    (void)state;
    world_init(&w);
    world_kill_daemon(&w);
    fake_host_set_record(w.host, "00-junk", "\xff\xff\xff\xff", 4);
    fake_host_set_record(w.host, "00-empty", "", 0);
    fake_host_set_record(w.host, "daemon", "\xff\xff", 2);
    world_start_daemon(&w);
    assert_int_equal(concierge_vm_count(w.c), 0);
    assert_int_equal(fake_host_records(w.host), 1);
    world_done(&w);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_running_vm_outlives_the_daemon),
        cmocka_unit_test(cids_go_on_where_they_were),
        cmocka_unit_test(a_booting_vm_becomes_ready_under_the_next_daemon),
        cmocka_unit_test(a_set_up_that_was_cut_short_is_made_again),
        cmocka_unit_test(a_vm_that_was_told_to_stop_does_under_the_next_daemon),
        cmocka_unit_test(a_start_that_was_cancelled_ends_under_the_next_daemon),
        cmocka_unit_test(a_vm_that_died_meanwhile_is_cleaned_up),
        cmocka_unit_test(a_vm_without_its_vsock_device_is_stopped),
        cmocka_unit_test(a_vsock_device_that_lost_its_keeper_meanwhile_is_taken_over),
        cmocka_unit_test(processes_that_no_record_names_are_killed),
        cmocka_unit_test(a_directory_of_no_vm_is_removed),
        cmocka_unit_test(damaged_records_are_dropped),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
