/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "core/snapshot/frame.h"
#include "tests/fake/fake_states.h"
#include "tests/unit/concierge/guest.h"
#include "tests/unit/test.h"
#include "vmt_life.pb-c.h"
#include "vmt_snapshot.pb-c.h"
#include "vmt_state.pb-c.h"

static void
create(struct world *w, const char *name, struct client_call *call)
{
    Vmt__CreateSnapshotRequest request = VMT__CREATE_SNAPSHOT_REQUEST__INIT;

    request.owner_id = (char *)(uintptr_t)WORLD_OWNER;
    request.vm_name = (char *)(uintptr_t) "demo";
    request.snapshot_name = (char *)(uintptr_t)name;
    client_call(w, "CreateSnapshot", WORLD_UID, &request.base, NULL, 0, call);
}

/* NULL: it worked; else why not. */
static const char *
outcome(const struct client_call *call)
{
    const Vmt__CreateSnapshotResponse *r = (const void *)call->reply;

    assert_int_equal(call->answers, 1);
    assert_false(call->failed);
    return r->success ? NULL : r->failure_reason;
}

static void
restore(struct world *w, const char *name, struct client_call *call)
{
    Vmt__RestoreSnapshotRequest request = VMT__RESTORE_SNAPSHOT_REQUEST__INIT;

    request.owner_id = (char *)(uintptr_t)WORLD_OWNER;
    request.vm_name = (char *)(uintptr_t) "demo";
    request.snapshot_name = (char *)(uintptr_t)name;
    client_call(w, "RestoreSnapshot", WORLD_UID, &request.base, NULL, 0, call);
}

static size_t
count(struct world *w)
{
    Vmt__ListSnapshotsRequest request = VMT__LIST_SNAPSHOTS_REQUEST__INIT;
    struct client_call call;
    size_t n;

    request.owner_id = (char *)(uintptr_t)WORLD_OWNER;
    client_call(w, "ListSnapshots", WORLD_UID, &request.base, NULL, 0, &call);
    assert_int_equal(call.answers, 1);
    n = ((const Vmt__ListSnapshotsResponse *)(const void *)call.reply)->n_snapshots;
    client_call_done(&call);
    return n;
}

static void
delete_one(struct world *w, const char *name)
{
    Vmt__DeleteSnapshotRequest request = VMT__DELETE_SNAPSHOT_REQUEST__INIT;
    struct client_call call;

    request.owner_id = (char *)(uintptr_t)WORLD_OWNER;
    request.vm_name = (char *)(uintptr_t) "demo";
    request.snapshot_name = (char *)(uintptr_t)name;
    client_call(w, "DeleteSnapshot", WORLD_UID, &request.base, NULL, 0, &call);
    assert_int_equal(call.answers, 1);
    client_call_done(&call);
}

static void
stop(struct world *w, struct guest *g)
{
    struct client_call call;

    client_stop(w, "demo", &call);
    world_run(w, 3000);
    assert_true(stop_reply(&call)->success);
    client_call_done(&call);
    guest_free(g);
}

/* As if nothing had happened. */
static void
expect_goes_on(struct world *w)
{
    struct fake_process *p = fake_hypervisor_find(w->hv, "demo");

    assert_non_null(p);
    assert_false(fake_process_is_paused(p));
    assert_non_null(fake_process_vsock(p));
    assert_int_equal(client_status(w, "demo"),
                     VM_TOOLS__CONCIERGE__VM_STATUS__VM_STATUS_RUNNING);
}

static void
a_snapshot_freezes_saves_and_thaws(void **state)
{
    struct client_call call;
    struct world w;
    struct guest *g;

    (void)state;
    world_init(&w);
    g = world_run_vm(&w, "demo");
    create(&w, "one", &call);
    world_run(&w, 2000);
    assert_null(outcome(&call));
    client_call_done(&call);
    assert_non_null(strstr(guest_calls(g), "Freeze Thaw"));
    assert_int_equal(fake_hypervisor_calls(w.hv)->ops[FAKE_OP_SAVE], 1);
    assert_int_equal(fake_hypervisor_calls(w.hv)->ops[FAKE_OP_VSOCK_REMOVE], 1);
    expect_goes_on(&w);
    assert_int_equal(count(&w), 1);
    create(&w, "one", &call);
    world_run(&w, 100);
    assert_non_null(strstr(outcome(&call), "already"));
    client_call_done(&call);
    delete_one(&w, "one");
    assert_int_equal(count(&w), 0);
    assert_int_equal(fake_states_count(w.host), 0);
    stop(&w, g);
    world_done(&w);
}

static void
whatever_fails_the_vm_goes_on(void **state)
{
    enum { FREEZE, UNPLUG_REFUSED, UNPLUG_FAILS, SAVE_REFUSED, SAVE_FAILS, SYNC, COUNT };

    (void)state;
    for (int what = 0; what < COUNT; what++) {
        struct fake_behaviour *b;
        struct client_call call;
        struct world w;
        struct guest *g;

        world_init(&w);
        g = world_run_vm(&w, "demo");
        b = fake_hypervisor_behaviour(w.hv);
        if (what == FREEZE)
            guest_set(g, "Freeze", GUEST_FAILS);
        b->refuse[FAKE_OP_VSOCK_REMOVE] = what == UNPLUG_REFUSED ? EBUSY : 0;
        b->fail[FAKE_OP_VSOCK_REMOVE] = what == UNPLUG_FAILS ? ETIMEDOUT : 0;
        b->refuse[FAKE_OP_SAVE] = what == SAVE_REFUSED ? EINVAL : 0;
        b->fail[FAKE_OP_SAVE] = what == SAVE_FAILS ? ENOSPC : 0;
        w.sync_fails = what == SYNC;
        create(&w, "one", &call);
        world_run(&w, 3000);
        assert_non_null(outcome(&call));
        client_call_done(&call);
        expect_goes_on(&w);
        if (what != FREEZE)
            assert_non_null(strstr(guest_calls(g), "Thaw"));
        assert_int_equal(count(&w), 0);
        assert_int_equal(fake_states_count(w.host), 0);
        stop(&w, g);
        world_done(&w);
    }
}

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
    create(&w, "one", &call);
    world_run(&w, 2000);
    assert_null(outcome(&call));
    client_call_done(&call);
    restore(&w, "one", &call);
    expect_start_refused(&call, "stop it");
    client_call_done(&call);
    stop(&w, g);
    fake_host_add_image(w.host, "/images/file");
    restore(&w, "other", &call);
    expect_start_refused(&call, "");
    client_call_done(&call);
    restore(&w, "one", &call);
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
    stop(&w, g);
    fake_states_set_identity(w.host, "file 2");
    restore(&w, "one", &call);
    expect_start_refused(&call, "has changed since");
    client_call_done(&call);
    fake_states_set_identity(w.host, "file 1");
    fake_hypervisor_behaviour(w.hv)->build_id = "fake 2";
    restore(&w, "one", &call);
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
    create(&w, "one", &call);
    world_run(&w, 2000);
    assert_null(outcome(&call));
    client_call_done(&call);
    stop(&w, g);
    first = fake_states_path(w.host, 0);
    (void)snprintf(path, sizeof(path), "%.*s/progress",
                   (int)(strrchr(first, '/') - first), first);
    assert_int_equal(w.host->state->save(w.host, path, "progress", 8, NULL), 0);
    assert_int_equal(fake_states_count(w.host), 3);
    fake_host_add_image(w.host, "/images/file");
    restore(&w, "one", &call);
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
    create(&w, "one", &call);
    world_run(&w, 2000);
    client_call_done(&call);
    stop(&w, g);
    fake_host_add_image(w.host, "/images/file");
    fake_hypervisor_behaviour(w.hv)->fail[FAKE_OP_VSOCK_ADD] = EIO;
    restore(&w, "one", &call);
    world_run(&w, 3000);
    expect_start_refused(&call, "not restored");
    client_call_done(&call);
    assert_int_equal(w.starting_ups, w.stoppeds);
    world_done(&w);
}

static void
a_stop_or_a_death_in_the_middle_leaves_nothing(void **state)
{
    (void)state;
    for (unsigned turns = 0; turns < 12; turns++) {
        for (int dies = 0; dies < 2; dies++) {
            struct client_call call, stopping;
            struct world w;
            struct guest *g;

            world_init(&w);
            g = world_run_vm(&w, "demo");
            create(&w, "one", &call);
            for (unsigned i = 0; i < turns; i++)
                fake_clock_advance(w.clock, 0);
            if (dies)
                fake_process_exit(fake_hypervisor_find(w.hv, "demo"),
                                  HYPERVISOR_EXIT_KILLED, "");
            else
                client_stop(&w, "demo", &stopping);
            world_run(&w, 100000);
            assert_int_equal(call.answers, 1);
            if (outcome(&call))
                assert_int_equal(fake_states_count(w.host), 0);
            client_call_done(&call);
            if (!dies)
                client_call_done(&stopping);
            guest_free(g);
            assert_int_equal(w.starting_ups, w.stoppeds);
            world_done(&w);
        }
    }
}

static void
an_heir_lets_the_vm_go_on(void **state)
{
    (void)state;
    for (unsigned turns = 0; turns < 12; turns++) {
        struct client_call call;
        struct world w;
        struct guest *g;

        world_init(&w);
        g = world_run_vm(&w, "demo");
        create(&w, "one", &call);
        for (unsigned i = 0; i < turns; i++)
            fake_clock_advance(w.clock, 0);
        world_kill_daemon(&w);
        world_start_daemon(&w);
        world_run(&w, 5000);
        expect_goes_on(&w);
        assert_int_equal(fake_states_count(w.host), 2 * count(&w));
        client_call_done(&call);
        stop(&w, g);
        world_done(&w);
    }
}

/* A client whose daemon died asks the next one the same at once. */
static void
an_heir_makes_no_snapshot_before_the_vm_goes_on(void **state)
{
    (void)state;
    for (unsigned turns = 0; turns < 12; turns++) {
        struct client_call call, again, later;
        struct world w;
        struct guest *g;
        bool cut_off;

        world_init(&w);
        g = world_run_vm(&w, "demo");
        create(&w, "one", &call);
        for (unsigned i = 0; i < turns; i++)
            fake_clock_advance(w.clock, 0);
        world_kill_daemon(&w);
        world_start_daemon(&w);
        cut_off = count(&w) == 0;
        create(&w, "two", &again);
        world_run(&w, 15000);
        expect_goes_on(&w);
        assert_int_equal(outcome(&again) != NULL, cut_off);
        if (cut_off)
            assert_non_null(strstr(outcome(&again), "being put right"));
        create(&w, "three", &later);
        world_run(&w, 5000);
        assert_null(outcome(&later));
        expect_goes_on(&w);
        client_call_done(&call);
        client_call_done(&again);
        client_call_done(&later);
        stop(&w, g);
        world_done(&w);
    }
}

static void
an_owner_has_only_so_many(void **state)
{
    static const char *const names[] = {"a", "b", "c"};
    struct client_call call;
    struct world w;
    struct guest *g;

    (void)state;
    world_init(&w);
    g = world_run_vm(&w, "demo");
    for (size_t i = 0; i < VMT_ARRAY_SIZE(names); i++) {
        create(&w, names[i], &call);
        world_run(&w, 2000);
        if (i < WORLD_SNAPSHOTS)
            assert_null(outcome(&call));
        else
            assert_non_null(strstr(outcome(&call), "no more"));
        client_call_done(&call);
    }
    create(&w, "bad\nname", &call);
    assert_non_null(outcome(&call));
    client_call_done(&call);
    stop(&w, g);
    create(&w, "d", &call);
    assert_non_null(strstr(outcome(&call), "no such VM"));
    client_call_done(&call);
    world_done(&w);
}

/* One after the other or all at once. */
static void
snapshots_that_are_being_made_count(void **state)
{
    static const char *const names[] = {"demo", "b", "c"};
    struct client_call calls[VMT_ARRAY_SIZE(names)];
    Vmt__CreateSnapshotRequest request = VMT__CREATE_SNAPSHOT_REQUEST__INIT;
    struct guest *guests[VMT_ARRAY_SIZE(names)];
    struct client_call all;
    struct world w;

    (void)state;
    world_init(&w);
    for (size_t i = 0; i < VMT_ARRAY_SIZE(names); i++)
        guests[i] = world_run_vm(&w, names[i]);
    request.owner_id = (char *)(uintptr_t)WORLD_OWNER;
    request.snapshot_name = (char *)(uintptr_t) "one";
    for (size_t i = 0; i < VMT_ARRAY_SIZE(names); i++) {
        request.vm_name = (char *)(uintptr_t)names[i];
        client_call(&w, "CreateSnapshot", WORLD_UID, &request.base, NULL, 0, &calls[i]);
        assert_int_equal(calls[i].answers, i >= WORLD_SNAPSHOTS);
    }
    world_run(&w, 3000);
    for (size_t i = 0; i < VMT_ARRAY_SIZE(names); i++) {
        assert_int_equal(outcome(&calls[i]) == NULL, i < WORLD_SNAPSHOTS);
        client_call_done(&calls[i]);
    }
    assert_int_equal(count(&w), WORLD_SNAPSHOTS);
    client_call(&w, "StopAllVms", WORLD_UID, NULL, NULL, 0, &all);
    world_run(&w, 3000);
    client_call_done(&all);
    for (size_t i = 0; i < VMT_ARRAY_SIZE(names); i++)
        guest_free(guests[i]);
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
    create(&w, "one", &call);
    world_run(&w, 2000);
    client_call_done(&call);
    stop(&w, g);
    fake_host_add_image(w.host, "/images/file");
    make_network_unknown(&w);
    restore(&w, "one", &call);
    world_run(&w, 1000);
    expect_start_refused(&call, "a network that is not known");
    client_call_done(&call);
    world_done(&w);
}

/* An answer to the one that was given up is none to the next. */
static void
a_hypervisor_that_owes_an_answer_makes_no_other_snapshot(void **state)
{
    struct client_call call;
    struct world w;
    struct guest *g;

    (void)state;
    world_init(&w);
    g = world_run_vm(&w, "demo");
    fake_hypervisor_behaviour(w.hv)->hold[FAKE_OP_VSOCK_REMOVE] = true;
    create(&w, "one", &call);
    world_run(&w, 31000);
    assert_non_null(strstr(outcome(&call), "did not answer in time"));
    client_call_done(&call);
    create(&w, "two", &call);
    assert_non_null(strstr(outcome(&call), "has not answered since"));
    client_call_done(&call);
    fake_hypervisor_behaviour(w.hv)->hold[FAKE_OP_VSOCK_REMOVE] = false;
    fake_process_thaw(fake_hypervisor_find(w.hv, "demo"));
    world_run(&w, 1000);
    create(&w, "two", &call);
    world_run(&w, 2000);
    (void)outcome(&call); /* the vsock device may be gone by now */
    client_call_done(&call);
    stop(&w, g);
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
    create(&w, "one", &call);
    world_run(&w, 2000);
    assert_null(outcome(&call));
    client_call_done(&call);
    fake_process_exit(fake_hypervisor_find(w.hv, "demo"), HYPERVISOR_EXIT_KILLED, "");
    world_run(&w, 500);
    guest_free(g);
    fake_host_add_image(w.host, "/images/file");
    restore(&w, "one", &call);
    world_run(&w, 3000);
    assert_int_equal(concierge_vm_count(w.c), 1);
    assert_int_equal(fake_hypervisor_count(w.hv), 1);
    g = guest_new(&w, fake_process_start(fake_hypervisor_find(w.hv, "demo"))->cid);
    guest_power_off_on_shutdown(g, "demo");
    guest_call_ready(g, &status, &answers);
    world_run(&w, 1000);
    assert_true(start_reply(&call)->success);
    client_call_done(&call);
    stop(&w, g);
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
    create(&w, "one", &call);
    world_run(&w, 2000);
    client_call_done(&call);
    stop(&w, g);
    world_kill_daemon(&w);
    w.require_mitigations = true;
    world_start_daemon(&w);
    fake_host_set_l1tf(w.host, "Vulnerable\n");
    restore(&w, "one", &call);
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
    create(&w, "one", &call);
    world_run(&w, 2000);
    assert_null(outcome(&call));
    client_call_done(&call);
    assert_non_null(
        strstr(workers_last(&w)->args, "convert --image=/proc/self/fd/4/./file "));
    stop(&w, g);
    restore(&w, "one", &call);
    world_run(&w, 500);
    assert_non_null(
        strstr(workers_last(&w)->args, "import --image=/proc/self/fd/4/./file "));
    g = guest_new(&w, fake_process_start(fake_hypervisor_find(w.hv, "demo"))->cid);
    guest_power_off_on_shutdown(g, "demo");
    guest_call_ready(g, &status, &answers);
    world_run(&w, 1000);
    assert_true(start_reply(&call)->success);
    client_call_done(&call);
    stop(&w, g);
    world_done(&w);
}

/* It runs, and the connection of its set-up still stands. */
static struct guest *
run_vm_just_now(struct world *w)
{
    struct rpc_status status;
    struct client_call call;
    struct guest *g;
    int answers;

    client_start_name(w, "demo", &call);
    world_run(w, 100);
    g = guest_new(w, fake_process_start(fake_hypervisor_find(w->hv, "demo"))->cid);
    guest_power_off_on_shutdown(g, "demo");
    guest_set(g, "SetUpUser", GUEST_IGNORES);
    guest_call_ready(g, &status, &answers);
    for (int i = 0; i < 100 && !call.answers; i++)
        fake_clock_advance(w->clock, 0);
    assert_true(start_reply(&call)->success);
    client_call_done(&call);
    return g;
}

/* The connection that a question went over is closed for a snapshot: its answer cannot
 * come any more, and who asked is told at once. */
static void
a_question_to_the_guest_does_not_outlive_its_connection(void **state)
{
    VmTools__Concierge__SetUpVmUserRequest request;
    const VmTools__Concierge__SetUpVmUserResponse *reply;
    struct client_call call, user;
    struct world w;
    struct guest *g;

    (void)state;
    world_init(&w);
    g = run_vm_just_now(&w);
    vm_tools__concierge__set_up_vm_user_request__init(&request);
    request.vm_name = (char *)(uintptr_t) "demo";
    request.owner_id = (char *)(uintptr_t)WORLD_OWNER;
    request.username = (char *)(uintptr_t) "user";
    client_call(&w, "SetUpVmUser", WORLD_UID, &request.base, NULL, 0, &user);
    create(&w, "one", &call);
    world_run(&w, 2000);
    assert_null(outcome(&call));
    client_call_done(&call);
    assert_int_equal(user.answers, 1);
    reply = (const void *)user.reply;
    assert_non_null(strstr(reply->failure_reason, "UNAVAILABLE"));
    client_call_done(&user);
    expect_goes_on(&w);
    stop(&w, g);
    world_done(&w);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_snapshot_freezes_saves_and_thaws),
        cmocka_unit_test(whatever_fails_the_vm_goes_on),
        cmocka_unit_test(a_restored_vm_gets_its_identity_before_it_thaws),
        cmocka_unit_test(what_the_copying_of_disks_told_is_not_kept),
        cmocka_unit_test(a_snapshot_that_is_not_taken_fails_the_start),
        cmocka_unit_test(a_stop_or_a_death_in_the_middle_leaves_nothing),
        cmocka_unit_test(an_heir_lets_the_vm_go_on),
        cmocka_unit_test(an_heir_makes_no_snapshot_before_the_vm_goes_on),
        cmocka_unit_test(an_owner_has_only_so_many),
        cmocka_unit_test(snapshots_that_are_being_made_count),
        cmocka_unit_test(a_snapshot_of_a_network_that_nobody_knows_is_refused),
        cmocka_unit_test(a_hypervisor_that_owes_an_answer_makes_no_other_snapshot),
        cmocka_unit_test(a_restore_ends_the_wait_for_a_restart),
        cmocka_unit_test(a_restore_asks_whether_the_processor_is_safe),
        cmocka_unit_test(the_disks_of_a_caller_are_copied_by_their_open_folder),
        cmocka_unit_test(a_question_to_the_guest_does_not_outlive_its_connection),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
