/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "core/snapshot/frame.h"
#include "tests/fake/fake_states.h"
#include "tests/unit/concierge/guest.h"
#include "tests/unit/concierge/snapshot_calls.h"
#include "tests/unit/test.h"
#include "vmt_life.pb-c.h"
#include "vmt_snapshot.pb-c.h"
#include "vmt_state.pb-c.h"

static void
a_restored_vm_gets_its_identity_before_it_thaws(void **state)
{
    struct rpc_status status;
    struct fake_process *p;
    struct client_call call;
    struct world w;
    struct guest *g;
    int answers;

    (void)state;
    world_init(&w);
    g = world_run_vm(&w, "demo");
    take_snapshot(&w, "one", &call);
    world_run(&w, 2000);
    assert_null(snapshot_outcome(&call));
    client_call_done(&call);
    restore_snapshot(&w, "one", &call);
    expect_start_refused(&call, "stop it");
    client_call_done(&call);
    stop_vm(&w, g);
    fake_host_add_image(w.host, "/images/file");
    restore_snapshot(&w, "other", &call);
    expect_start_refused(&call, "");
    client_call_done(&call);
    restore_snapshot(&w, "one", &call);
    world_run(&w, 500);
    p = fake_hypervisor_find(w.hv, "demo");
    assert_non_null(p);
    assert_true(fake_process_start(p)->restore_fd > 0);
    assert_int_equal(fake_process_start(p)->mem_mib, 256);
    assert_false(fake_process_is_paused(p));
    g = guest_new(&w, fake_process_start(p)->cid);
    guest_power_off_on_shutdown(g, "demo");
    guest_call_ready(g, &status, &answers);
    world_run(&w, 1000);
    assert_true(start_reply(&call)->success);
    assert_string_equal(start_reply(&call)->start_mode, "snapshot");
    client_call_done(&call);
    assert_memory_equal(guest_calls(g), "SetIdentity Thaw ", 17);
    stop_vm(&w, g);
    fake_states_set_identity(w.host, "file 2");
    restore_snapshot(&w, "one", &call);
    expect_start_refused(&call, "has changed since");
    client_call_done(&call);
    fake_states_set_identity(w.host, "file 1");
    fake_hypervisor_behaviour(w.hv)->build_id = "fake 2";
    restore_snapshot(&w, "one", &call);
    expect_start_refused(&call, "another build");
    client_call_done(&call);
    world_done(&w);
}

static void
what_the_copying_of_disks_told_is_not_kept(void **state)
{
    struct client_call call;
    char path[256];
    struct world w;
    struct guest *g;
    const char *first;

    (void)state;
    world_init(&w);
    g = world_run_vm(&w, "demo");
    take_snapshot(&w, "one", &call);
    world_run(&w, 2000);
    assert_null(snapshot_outcome(&call));
    client_call_done(&call);
    stop_vm(&w, g);
    first = fake_states_path(w.host, 0);
    (void)snprintf(path, sizeof(path), "%.*s/progress",
                   (int)(strrchr(first, '/') - first), first);
    assert_int_equal(w.host->state->save(w.host, path, "progress", 8, NULL), 0);
    assert_int_equal(fake_states_count(w.host), 3);
    fake_host_add_image(w.host, "/images/file");
    restore_snapshot(&w, "one", &call);
    world_run(&w, 500);
    assert_int_equal(fake_states_count(w.host), 2); /* a state and a record */
    fake_process_exit(fake_hypervisor_find(w.hv, "demo"), HYPERVISOR_EXIT_KILLED, NULL);
    world_run(&w, 1000);
    client_call_done(&call);
    world_done(&w);
}

/* The state is of no use: there is nothing to boot instead. */
static void
a_snapshot_that_is_not_taken_fails_the_start(void **state)
{
    struct client_call call;
    struct world w;
    struct guest *g;

    (void)state;
    world_init(&w);
    g = world_run_vm(&w, "demo");
    take_snapshot(&w, "one", &call);
    world_run(&w, 2000);
    client_call_done(&call);
    stop_vm(&w, g);
    fake_host_add_image(w.host, "/images/file");
    fake_hypervisor_behaviour(w.hv)->fail[FAKE_OP_VSOCK_ADD] = EIO;
    restore_snapshot(&w, "one", &call);
    world_run(&w, 3000);
    expect_start_refused(&call, "not restored");
    client_call_done(&call);
    assert_int_equal(w.starting_ups, w.stoppeds);
    world_done(&w);
}

/* Give the record of the only snapshot a network that is none, as one of a later version
 * might be. */
static void
make_network_unknown(struct world *w)
{
    const struct host_state_ops *state = w->host->state;
    VMT_CLEANUP(vmt_freep) void *data = NULL;
    Vmt__SnapshotRecord *record;
    const uint8_t *body;
    uint8_t out[4096];
    char path[256] = "";
    size_t len;

    for (size_t i = 0; !strstr(path, "/record"); i++)
        (void)snprintf(path, sizeof(path), "%s", fake_states_path(w->host, i));
    assert_int_equal(state->load(w->host, path, &data, &len, NULL), 0);
    assert_int_equal(snapshot_frame_open(data, len, &body, &len, NULL), 0);
    record = vmt__snapshot_record__unpack(NULL, len, body);
    assert_non_null(record);
    record->net = 99;
    len = vmt__snapshot_record__get_packed_size(record);
    assert_true(SNAPSHOT_FRAME_HEAD + len <= sizeof(out));
    (void)vmt__snapshot_record__pack(record, out + SNAPSHOT_FRAME_HEAD);
    snapshot_frame_head(out + SNAPSHOT_FRAME_HEAD, len, out);
    vmt__snapshot_record__free_unpacked(record, NULL);
    assert_int_equal(state->save(w->host, path, out, SNAPSHOT_FRAME_HEAD + len, NULL), 0);
}

static void
a_snapshot_of_a_network_that_nobody_knows_is_refused(void **state)
{
    struct client_call call;
    struct world w;
    struct guest *g;

    (void)state;
    world_init(&w);
    g = world_run_vm(&w, "demo");
    take_snapshot(&w, "one", &call);
    world_run(&w, 2000);
    client_call_done(&call);
    stop_vm(&w, g);
    fake_host_add_image(w.host, "/images/file");
    make_network_unknown(&w);
    restore_snapshot(&w, "one", &call);
    world_run(&w, 1000);
    expect_start_refused(&call, "a network that is not known");
    client_call_done(&call);
    world_done(&w);
}

/* There is one VM of a name: the snapshot takes the place of the restart. */
static void
a_restore_ends_the_wait_for_a_restart(void **state)
{
    Vmt__RestartPolicy policy = VMT__RESTART_POLICY__INIT;
    struct rpc_status status;
    struct start_args args;
    struct client_call call;
    struct world w;
    struct guest *g;
    int answers;

    (void)state;
    world_init(&w);
    policy.mode = VMT__RESTART_POLICY__MODE__ALWAYS;
    policy.delay_ms = 2000;
    start_args_init(&args, "demo");
    args.request.restart = &policy;
    client_start(&w, &args, &call);
    world_run(&w, 100);
    g = guest_new(&w, fake_process_start(fake_hypervisor_find(w.hv, "demo"))->cid);
    guest_call_ready(g, &status, &answers);
    world_run(&w, 1000);
    client_call_done(&call);
    take_snapshot(&w, "one", &call);
    world_run(&w, 2000);
    assert_null(snapshot_outcome(&call));
    client_call_done(&call);
    fake_process_exit(fake_hypervisor_find(w.hv, "demo"), HYPERVISOR_EXIT_KILLED, "");
    world_run(&w, 500);
    guest_free(g);
    fake_host_add_image(w.host, "/images/file");
    restore_snapshot(&w, "one", &call);
    world_run(&w, 3000);
    assert_int_equal(concierge_vm_count(w.c), 1);
    assert_int_equal(fake_hypervisor_count(w.hv), 1);
    g = guest_new(&w, fake_process_start(fake_hypervisor_find(w.hv, "demo"))->cid);
    guest_power_off_on_shutdown(g, "demo");
    guest_call_ready(g, &status, &answers);
    world_run(&w, 1000);
    assert_true(start_reply(&call)->success);
    client_call_done(&call);
    stop_vm(&w, g);
    world_done(&w);
}

static void
a_restore_asks_whether_the_processor_is_safe(void **state)
{
    struct client_call call;
    struct world w;
    struct guest *g;

    (void)state;
    world_init(&w);
    g = world_run_vm(&w, "demo");
    take_snapshot(&w, "one", &call);
    world_run(&w, 2000);
    client_call_done(&call);
    stop_vm(&w, g);
    world_kill_daemon(&w);
    w.require_mitigations = true;
    world_start_daemon(&w);
    fake_host_set_l1tf(w.host, "Vulnerable\n");
    restore_snapshot(&w, "one", &call);
    expect_start_refused(&call, "l1tf");
    client_call_done(&call);
    world_done(&w);
}

/* A worker has the daemon's rights: a path of a caller's would lead it wherever the
 * caller puts a link meanwhile. */
static void
the_disks_of_a_caller_are_copied_by_their_open_folder(void **state)
{
    VmTools__Concierge__DiskImage disk, *disks[] = {&disk};
    struct rpc_status status;
    struct start_args args;
    struct client_call call;
    struct world w;
    struct guest *g;
    int answers;

    (void)state;
    world_init(&w);
    fake_host_add_image(w.host, "/images/file");
    vm_tools__concierge__disk_image__init(&disk);
    disk.path = (char *)(uintptr_t) "/images/file";
    disk.writable = true;
    start_args_init(&args, "demo");
    args.request.disks = disks;
    args.request.n_disks = 1;
    client_start(&w, &args, &call);
    world_run(&w, 100);
    g = guest_new(&w, fake_process_start(fake_hypervisor_find(w.hv, "demo"))->cid);
    guest_power_off_on_shutdown(g, "demo");
    guest_call_ready(g, &status, &answers);
    world_run(&w, 1000);
    assert_true(start_reply(&call)->success);
    client_call_done(&call);
    take_snapshot(&w, "one", &call);
    world_run(&w, 2000);
    assert_null(snapshot_outcome(&call));
    client_call_done(&call);
    assert_non_null(
        strstr(workers_last(&w)->args, "convert --image=/proc/self/fd/4/./file "));
    stop_vm(&w, g);
    restore_snapshot(&w, "one", &call);
    world_run(&w, 500);
    assert_non_null(
        strstr(workers_last(&w)->args, "import --image=/proc/self/fd/4/./file "));
    g = guest_new(&w, fake_process_start(fake_hypervisor_find(w.hv, "demo"))->cid);
    guest_power_off_on_shutdown(g, "demo");
    guest_call_ready(g, &status, &answers);
    world_run(&w, 1000);
    assert_true(start_reply(&call)->success);
    client_call_done(&call);
    stop_vm(&w, g);
    world_done(&w);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_restored_vm_gets_its_identity_before_it_thaws),
        cmocka_unit_test(what_the_copying_of_disks_told_is_not_kept),
        cmocka_unit_test(a_snapshot_that_is_not_taken_fails_the_start),
        cmocka_unit_test(a_snapshot_of_a_network_that_nobody_knows_is_refused),
        cmocka_unit_test(a_restore_ends_the_wait_for_a_restart),
        cmocka_unit_test(a_restore_asks_whether_the_processor_is_safe),
        cmocka_unit_test(the_disks_of_a_caller_are_copied_by_their_open_folder),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
