/* SPDX-License-Identifier: BSD-3-Clause */
/* How templates are made, kept, and removed. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "tests/fake/fake_states.h"
#include "tests/unit/concierge/guest.h"
#include "tests/unit/concierge/template_calls.h"
#include "tests/unit/test.h"

static void
after_a_cold_start_a_nameless_vm_makes_a_template(void **state)
{
    struct world w;
    const struct fake_start *s;
    struct start_args args;
    struct fake_process *p;
    struct guest *g;

    (void)state;
    template_init(&w);
    start_args_init(&args, "demo");
    assert_string_equal(template_run(&w, &args, &g), "cold");
    world_expect_signals(&w, "VmStartingUp demo 32\nVmStarted demo 32 status 1\n");
    assert_null(template_builder(&w)); /* not at once */
    world_run(&w, 4000);
    p = template_builder(&w);
    assert_non_null(p);
    s = fake_process_start(p);
    assert_int_equal(s->vsock, HYPERVISOR_VSOCK_NONE);
    assert_int_equal(s->ndisks, 1);
    assert_true(s->disks[0].read_only);
    assert_int_equal(s->mem_mib, 256);
    assert_non_null(strstr(s->name, s->run_dir)); /* an orphan can be found */
    assert_int_equal(fake_states_backgrounds(w.host), 1);
    assert_int_equal(concierge_vm_count(w.c), 1);
    assert_true(concierge_is_busy(w.c));
    template_say(&w, "booting\n");
    world_run(&w, 1000);
    assert_int_equal(fake_process_saved(p), -1);
    template_say(&w, TEMPLATE_READY);
    world_run(&w, 1000);
    assert_null(template_builder(&w));
    assert_int_equal(fake_states_count(w.host), 2);
    assert_int_equal(fake_hypervisor_calls(w.hv)->ops[FAKE_OP_SAVE], 1);
    world_expect_signals(&w, "");
    world_stop_vm(&w, "demo", g);
    assert_false(concierge_is_busy(w.c));
    world_done(&w);
}

static void
damaged_templates_are_not_used_and_removed(void **state)
{
    (void)state;
    for (int what = 0; what < 3; what++) {
        char file[128], record[128];
        struct world w;

        template_init(&w);
        template_make(&w);
        (void)snprintf(file, sizeof(file), "%s", fake_states_path(w.host, 0));
        (void)snprintf(record, sizeof(record), "%s", fake_states_path(w.host, 1));
        assert_non_null(strstr(file, ".state"));
        assert_non_null(strstr(record, ".record"));
        if (what == 0)
            fake_states_cut(w.host, file, 5);
        if (what == 1)
            fake_states_damage(w.host, record);
        if (what == 2)
            fake_states_cut(w.host, record, 20);
        assert_string_equal(template_run_once(&w, "demo"), "cold");
        assert_int_equal(fake_states_count(w.host), 0);
        world_run(&w, 4000); /* and made anew */
        template_say(&w, TEMPLATE_READY);
        world_run(&w, 1000);
        assert_string_equal(template_run_once(&w, "next"), "warm");
        world_done(&w);
    }
}

static void
a_new_daemon_removes_what_is_of_no_use(void **state)
{
    struct world w;

    (void)state;
    template_init(&w);
    template_make(&w);
    world_kill_daemon(&w);
    world_start_daemon(&w);
    assert_int_equal(fake_states_count(w.host), 2);
    assert_string_equal(template_run_once(&w, "again"), "warm");
    world_kill_daemon(&w);
    fake_hypervisor_behaviour(w.hv)->build_id = "fake 2"; /* never fits again */
    world_start_daemon(&w);
    assert_int_equal(fake_states_count(w.host), 0);
    fake_hypervisor_behaviour(w.hv)->build_id = NULL;
    template_make(&w);
    world_kill_daemon(&w);
    w.template_count = 0;
    world_start_daemon(&w);
    assert_int_equal(fake_states_count(w.host), 0);
    assert_string_equal(template_run_once(&w, "off"), "cold");
    world_run(&w, 10000);
    assert_null(template_builder(&w));
    world_done(&w);
}

static void
a_failure_is_not_repeated_for_a_while(void **state)
{
    enum { EXITS, PANICS, NEVER, SAVE_FAILS, SYNC_FAILS, NO_FILE, COUNT };

    (void)state;
    for (int how = 0; how < COUNT; how++) {
        struct world w;

        template_init(&w);
        assert_string_equal(template_run_once(&w, "first"), "cold");
        world_run(&w, 3300);
        assert_non_null(template_builder(&w));
        if (how == EXITS)
            fake_process_exit(template_builder(&w), HYPERVISOR_EXIT_KILLED, "boom");
        if (how == PANICS)
            fake_process_panic(template_builder(&w));
        if (how == NEVER)
            world_run(&w, 301000);
        fake_hypervisor_behaviour(w.hv)->fail[FAKE_OP_SAVE] =
            how == SAVE_FAILS ? ENOSPC : 0;
        w.sync_fails = how == SYNC_FAILS;
        if (how == NO_FILE)
            fake_states_fail_after(w.host, 0, EROFS);
        if (how >= SAVE_FAILS)
            template_say(&w, TEMPLATE_READY);
        world_run(&w, 2000);
        assert_null(template_builder(&w));
        assert_int_equal(fake_host_dirs(w.host), 0);
        assert_int_equal(fake_states_count(w.host), 1);
        assert_false(concierge_is_busy(w.c));
        assert_string_equal(template_run_once(&w, "again"), "cold");
        world_run(&w, 10000);
        assert_null(template_builder(&w));
        world_run(&w, 3600 * 1000);
        fake_hypervisor_behaviour(w.hv)->fail[FAKE_OP_SAVE] = 0;
        assert_string_equal(template_run_once(&w, "later"), "cold");
        world_run(&w, 4000);
        assert_non_null(template_builder(&w));
        world_done(&w);
    }
}

static void
the_builder_stands_still_while_a_vm_boots(void **state)
{
    struct start_args args;
    struct client_call call;
    struct world w;
    struct guest *g;

    (void)state;
    template_init(&w);
    assert_string_equal(template_run_once(&w, "first"), "cold");
    world_run(&w, 4000);
    assert_false(fake_process_is_paused(template_builder(&w)));
    start_args_init(&args, "demo");
    args.request.timeout = 300;
    client_start(&w, &args, &call);
    world_run(&w, 100000); /* longer than a build may take without progress */
    assert_true(fake_process_is_paused(template_builder(&w)));
    g = template_get_ready(&w, "demo");
    assert_string_equal(template_mode_of(&call), "cold");
    client_call_done(&call);
    assert_non_null(template_builder(&w));
    assert_false(fake_process_is_paused(template_builder(&w)));
    template_say(&w, TEMPLATE_READY);
    world_run(&w, 1000);
    assert_int_equal(fake_states_count(w.host), 2);
    world_stop_vm(&w, "demo", g);
    world_done(&w);
}

static void
a_template_larger_than_all_room_is_not_kept(void **state)
{
    struct world w;

    (void)state;
    template_init(&w);
    world_kill_daemon(&w);
    w.template_bytes = FAKE_STATE_BYTES - 1;
    world_start_daemon(&w);
    assert_string_equal(template_run_once(&w, "first"), "cold");
    world_run(&w, 4000);
    template_say(&w, TEMPLATE_READY);
    world_run(&w, 1000);
    assert_int_equal(fake_states_count(w.host), 1); /* the note */
    assert_string_equal(template_run_once(&w, "again"), "cold");
    world_done(&w);
}

static void
the_death_of_the_daemon_ends_the_builder(void **state)
{
    struct world w;

    (void)state;
    template_init(&w);
    assert_string_equal(template_run_once(&w, "first"), "cold");
    world_run(&w, 4000);
    assert_non_null(template_builder(&w));
    world_kill_daemon(&w);
    world_start_daemon(&w);
    world_run(&w, 1000);
    assert_null(template_builder(&w));
    assert_int_equal(fake_states_count(w.host), 0);
    world_done(&w);
}

static void
on_stopped(void *arg)
{
    ++*(int *)arg;
}

static void
a_shutdown_does_not_wait_for_the_builder(void **state)
{
    struct world w;
    int stopped = 0;

    (void)state;
    template_init(&w);
    assert_string_equal(template_run_once(&w, "first"), "cold");
    world_run(&w, 4000);
    assert_non_null(template_builder(&w));
    concierge_shutdown(w.c, on_stopped, &stopped);
    world_run(&w, 100);
    assert_int_equal(stopped, 1);
    assert_null(template_builder(&w));
    world_done(&w);
}

static void
templates_stay_few(void **state)
{
    struct start_args args;
    struct world w;
    struct guest *g;

    (void)state;
    template_init(&w);
    for (uint32_t mem = 100; mem < 105; mem++) {
        start_args_init(&args, "demo");
        args.request.memory_mib = mem;
        assert_string_equal(template_run(&w, &args, &g), "cold");
        world_stop_vm(&w, "demo", g);
        world_run(&w, 4000);
        template_say(&w, TEMPLATE_READY);
        world_run(&w, 2000);
        assert_true(fake_states_count(w.host) <= 4);
    }
    start_args_init(&args, "demo");
    args.request.memory_mib = 104;
    assert_string_equal(template_run(&w, &args, &g), "warm");
    world_stop_vm(&w, "demo", g);
    start_args_init(&args, "demo");
    args.request.memory_mib = 100;
    assert_string_equal(template_run(&w, &args, &g), "cold");
    world_stop_vm(&w, "demo", g);
    world_done(&w);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(after_a_cold_start_a_nameless_vm_makes_a_template),
        cmocka_unit_test(damaged_templates_are_not_used_and_removed),
        cmocka_unit_test(a_new_daemon_removes_what_is_of_no_use),
        cmocka_unit_test(a_failure_is_not_repeated_for_a_while),
        cmocka_unit_test(the_builder_stands_still_while_a_vm_boots),
        cmocka_unit_test(a_template_larger_than_all_room_is_not_kept),
        cmocka_unit_test(the_death_of_the_daemon_ends_the_builder),
        cmocka_unit_test(a_shutdown_does_not_wait_for_the_builder),
        cmocka_unit_test(templates_stay_few),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
