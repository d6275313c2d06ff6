/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "tests/fake/fake_states.h"
#include "tests/unit/concierge/guest.h"
#include "tests/unit/concierge/snapshot_calls.h"
#include "tests/unit/test.h"
#include "vmt_snapshot.pb-c.h"

static void
a_snapshot_freezes_saves_and_thaws(void **state)
{
    struct client_call call;
    struct world w;
    struct guest *g;

    (void)state;
    world_init(&w);
    g = world_run_vm(&w, "demo");
    take_snapshot(&w, "one", &call);
    world_run(&w, 2000);
    assert_null(snapshot_outcome(&call));
    client_call_done(&call);
    assert_non_null(strstr(guest_calls(g), "Freeze Thaw"));
    assert_int_equal(fake_hypervisor_calls(w.hv)->ops[FAKE_OP_SAVE], 1);
    assert_int_equal(fake_hypervisor_calls(w.hv)->ops[FAKE_OP_VSOCK_REMOVE], 1);
    expect_vm_goes_on(&w);
    assert_int_equal(count_snapshots(&w), 1);
    take_snapshot(&w, "one", &call);
    world_run(&w, 100);
    assert_non_null(strstr(snapshot_outcome(&call), "already"));
    client_call_done(&call);
    delete_snapshot(&w, "one");
    assert_int_equal(count_snapshots(&w), 0);
    assert_int_equal(fake_states_count(w.host), 0);
    stop_vm(&w, g);
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
        take_snapshot(&w, "one", &call);
        world_run(&w, 3000);
        assert_non_null(snapshot_outcome(&call));
        client_call_done(&call);
        expect_vm_goes_on(&w);
        if (what != FREEZE)
            assert_non_null(strstr(guest_calls(g), "Thaw"));
        assert_int_equal(count_snapshots(&w), 0);
        assert_int_equal(fake_states_count(w.host), 0);
        stop_vm(&w, g);
        world_done(&w);
    }
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
            take_snapshot(&w, "one", &call);
            for (unsigned i = 0; i < turns; i++)
                fake_clock_advance(w.clock, 0);
            if (dies)
                fake_process_exit(fake_hypervisor_find(w.hv, "demo"),
                                  HYPERVISOR_EXIT_KILLED, "");
            else
                client_stop(&w, "demo", &stopping);
            world_run(&w, 100000);
            assert_int_equal(call.answers, 1);
            if (snapshot_outcome(&call))
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
        take_snapshot(&w, "one", &call);
        for (unsigned i = 0; i < turns; i++)
            fake_clock_advance(w.clock, 0);
        world_kill_daemon(&w);
        world_start_daemon(&w);
        world_run(&w, 5000);
        expect_vm_goes_on(&w);
        assert_int_equal(fake_states_count(w.host), 2 * count_snapshots(&w));
        client_call_done(&call);
        stop_vm(&w, g);
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
        take_snapshot(&w, "one", &call);
        for (unsigned i = 0; i < turns; i++)
            fake_clock_advance(w.clock, 0);
        world_kill_daemon(&w);
        world_start_daemon(&w);
        cut_off = count_snapshots(&w) == 0;
        take_snapshot(&w, "two", &again);
        world_run(&w, 15000);
        expect_vm_goes_on(&w);
        assert_int_equal(snapshot_outcome(&again) != NULL, cut_off);
        if (cut_off)
            assert_non_null(strstr(snapshot_outcome(&again), "being put right"));
        take_snapshot(&w, "three", &later);
        world_run(&w, 5000);
        assert_null(snapshot_outcome(&later));
        expect_vm_goes_on(&w);
        client_call_done(&call);
        client_call_done(&again);
        client_call_done(&later);
        stop_vm(&w, g);
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
        take_snapshot(&w, names[i], &call);
        world_run(&w, 2000);
        if (i < WORLD_SNAPSHOTS)
            assert_null(snapshot_outcome(&call));
        else
            assert_non_null(strstr(snapshot_outcome(&call), "no more"));
        client_call_done(&call);
    }
    take_snapshot(&w, "bad\nname", &call);
    assert_non_null(snapshot_outcome(&call));
    client_call_done(&call);
    stop_vm(&w, g);
    take_snapshot(&w, "d", &call);
    assert_non_null(strstr(snapshot_outcome(&call), "no such VM"));
    client_call_done(&call);
    world_done(&w);
}

/* How big it is shows only when it is there. */
static void
a_snapshot_that_turns_out_too_big_is_given_up(void **state)
{
    struct client_call call;
    struct world w;
    struct guest *g;

    (void)state;
    world_init(&w);
    w.snapshot_bytes = 1;
    world_kill_daemon(&w);
    world_start_daemon(&w);
    g = world_run_vm(&w, "demo");
    take_snapshot(&w, "one", &call);
    world_run(&w, 2000);
    assert_non_null(strstr(snapshot_outcome(&call), "more than 1: delete one"));
    client_call_done(&call);
    assert_int_equal(fake_hypervisor_calls(w.hv)->ops[FAKE_OP_SAVE], 1);
    expect_vm_goes_on(&w);
    assert_int_equal(count_snapshots(&w), 0);
    assert_int_equal(fake_states_count(w.host), 0);
    stop_vm(&w, g);
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
        assert_int_equal(snapshot_outcome(&calls[i]) == NULL, i < WORLD_SNAPSHOTS);
        client_call_done(&calls[i]);
    }
    assert_int_equal(count_snapshots(&w), WORLD_SNAPSHOTS);
    client_call(&w, "StopAllVms", WORLD_UID, NULL, NULL, 0, &all);
    world_run(&w, 3000);
    client_call_done(&all);
    for (size_t i = 0; i < VMT_ARRAY_SIZE(names); i++)
        guest_free(guests[i]);
    world_done(&w);
}

/* Without its vsock device nobody would reach the guest again. */
static void
a_device_that_goes_late_is_put_back(void **state)
{
    struct fake_process *p;
    struct client_call call;
    struct world w;
    struct guest *g;

    (void)state;
    world_init(&w);
    g = world_run_vm(&w, "demo");
    p = fake_hypervisor_find(w.hv, "demo");
    fake_process_set_consent(p, false);
    take_snapshot(&w, "one", &call);
    world_run(&w, 3000);
    assert_non_null(strstr(snapshot_outcome(&call), "not taken out"));
    client_call_done(&call);
    expect_vm_goes_on(&w);
    fake_process_set_consent(p, true);
    fake_process_lose_vsock(p);
    world_run(&w, 1000);
    expect_vm_goes_on(&w);
    take_snapshot(&w, "one", &call);
    world_run(&w, 2000);
    assert_null(snapshot_outcome(&call));
    client_call_done(&call);
    stop_vm(&w, g);
    world_done(&w);
}

static void
a_device_that_is_thrown_out_again_and_again_stays_out(void **state)
{
    struct fake_process *p;
    struct world w;
    struct guest *g;

    (void)state;
    world_init(&w);
    g = world_run_vm(&w, "demo");
    p = fake_hypervisor_find(w.hv, "demo");
    for (int i = 0; i < 20; i++) {
        fake_process_lose_vsock(p);
        world_run(&w, 100);
    }
    assert_in_range(fake_hypervisor_calls(w.hv)->ops[FAKE_OP_VSOCK_ADD], 1, 8);
    assert_null(fake_process_vsock(p));
    fake_process_exit(p, HYPERVISOR_EXIT_POWEROFF, "");
    world_run(&w, 1000);
    guest_free(g);
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
    take_snapshot(&w, "one", &call);
    world_run(&w, 31000);
    assert_non_null(strstr(snapshot_outcome(&call), "did not answer in time"));
    client_call_done(&call);
    take_snapshot(&w, "two", &call);
    assert_non_null(strstr(snapshot_outcome(&call), "has not answered since"));
    client_call_done(&call);
    fake_hypervisor_behaviour(w.hv)->hold[FAKE_OP_VSOCK_REMOVE] = false;
    fake_process_thaw(fake_hypervisor_find(w.hv, "demo"));
    world_run(&w, 1000);
    expect_vm_goes_on(&w); /* the device went late, and was put back */
    take_snapshot(&w, "two", &call);
    world_run(&w, 2000);
    assert_null(snapshot_outcome(&call));
    client_call_done(&call);
    stop_vm(&w, g);
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
    take_snapshot(&w, "one", &call);
    world_run(&w, 2000);
    assert_null(snapshot_outcome(&call));
    client_call_done(&call);
    assert_int_equal(user.answers, 1);
    reply = (const void *)user.reply;
    assert_non_null(strstr(reply->failure_reason, "UNAVAILABLE"));
    client_call_done(&user);
    expect_vm_goes_on(&w);
    stop_vm(&w, g);
    world_done(&w);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_snapshot_freezes_saves_and_thaws),
        cmocka_unit_test(whatever_fails_the_vm_goes_on),
        cmocka_unit_test(a_stop_or_a_death_in_the_middle_leaves_nothing),
        cmocka_unit_test(an_heir_lets_the_vm_go_on),
        cmocka_unit_test(an_heir_makes_no_snapshot_before_the_vm_goes_on),
        cmocka_unit_test(an_owner_has_only_so_many),
        cmocka_unit_test(a_snapshot_that_turns_out_too_big_is_given_up),
        cmocka_unit_test(snapshots_that_are_being_made_count),
        cmocka_unit_test(a_device_that_goes_late_is_put_back),
        cmocka_unit_test(a_device_that_is_thrown_out_again_and_again_stays_out),
        cmocka_unit_test(a_hypervisor_that_owes_an_answer_makes_no_other_snapshot),
        cmocka_unit_test(a_question_to_the_guest_does_not_outlive_its_connection),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
