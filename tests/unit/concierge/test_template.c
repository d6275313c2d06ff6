/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "core/base/limits.h"
#include "tests/fake/fake_host_net.h"
#include "tests/fake/fake_states.h"
#include "tests/unit/concierge/guest.h"
#include "tests/unit/test.h"

#define READY "vm_tools-template-ready\n"

/* As world_init, with templates. */
static void
init(struct world *w)
{
    world_init(w);
    world_kill_daemon(w);
    w->template_count = 2;
    w->template_bytes = 1 << 20;
    world_start_daemon(w);
}

/* The throw-away VM, or NULL. */
static struct fake_process *
builder(struct world *w)
{
    for (size_t i = 0; i < fake_hypervisor_count(w->hv); i++) {
        struct fake_process *p = fake_hypervisor_process(w->hv, i);

        if (strstr(fake_process_start(p)->cmdline, "maitred.template") &&
            fake_process_start(p)->restore_fd <= 0)
            return p;
    }
    return NULL;
}

static void
say(struct world *w, const char *text)
{
    assert_non_null(builder(w));
    fake_host_append(w->host, fake_process_start(builder(w))->run_dir, text);
}

static const char *
mode_of(const struct client_call *call)
{
    assert_true(start_reply(call)->success);
    assert_string_equal(start_reply(call)->start_mode,
                        start_reply(call)->vm_info->start_mode);
    return start_reply(call)->start_mode;
}

/* Let the guest of a start that waits report ready. */
static struct guest *
get_ready(struct world *w, const char *name)
{
    struct fake_process *p = fake_hypervisor_find(w->hv, name);
    struct rpc_status status;
    struct guest *g;
    int answers;

    assert_non_null(p);
    g = guest_new(w, fake_process_start(p)->cid);
    guest_power_off_on_shutdown(g, name);
    guest_call_ready(g, &status, &answers);
    world_run(w, 1000);
    assert_int_equal(answers, 1);
    assert_int_equal(status.code, RPC_OK);
    return g;
}

/* Start, and say how it went: "cold" or "warm". */
static const char *
run(struct world *w, struct start_args *args, struct guest **ret_guest)
{
    static char mode[16];
    struct client_call call;

    client_start(w, args, &call);
    world_run(w, 500);
    *ret_guest = get_ready(w, args->request.name);
    (void)snprintf(mode, sizeof(mode), "%s", mode_of(&call));
    client_call_done(&call);
    return mode;
}

static const char *
run_once(struct world *w, const char *name)
{
    struct start_args args;
    const char *mode;
    struct guest *g;

    start_args_init(&args, name);
    mode = run(w, &args, &g);
    world_stop_vm(w, name, g);
    return mode;
}

/* Have a template made. */
static void
make(struct world *w)
{
    assert_string_equal(run_once(w, "first"), "cold");
    world_run(w, 4000);
    say(w, READY);
    world_run(w, 1000);
    assert_null(builder(w));
    assert_int_equal(fake_states_count(w->host), 2);
    world_run(w, 1000);
    w->journal[0] = '\0';
}

static void
after_a_cold_start_a_nameless_vm_makes_a_template(void **state)
{
    struct world w;
    const struct fake_start *s;
    struct start_args args;
    struct fake_process *p;
    struct guest *g;

    (void)state;
    init(&w);
    start_args_init(&args, "demo");
    assert_string_equal(run(&w, &args, &g), "cold");
    world_expect_signals(&w, "VmStartingUp demo 32\nVmStarted demo 32 status 1\n");
    assert_null(builder(&w)); /* not at once */
    world_run(&w, 4000);
    p = builder(&w);
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
    say(&w, "booting\n");
    world_run(&w, 1000);
    assert_int_equal(fake_process_saved(p), -1);
    say(&w, READY);
    world_run(&w, 1000);
    assert_null(builder(&w));
    assert_int_equal(fake_states_count(w.host), 2);
    assert_int_equal(fake_hypervisor_calls(w.hv)->ops[FAKE_OP_SAVE], 1);
    world_expect_signals(&w, "");
    world_stop_vm(&w, "demo", g);
    assert_false(concierge_is_busy(w.c));
    world_done(&w);
}

static void
the_next_start_is_restored_and_gets_its_identity_first(void **state)
{
    struct world w;
    const struct fake_start *s;
    struct fake_process *p;
    struct client_call call;
    struct guest *g;

    (void)state;
    init(&w);
    make(&w);
    client_start_name(&w, "Second VM", &call);
    world_run(&w, 500);
    p = fake_hypervisor_find(w.hv, "Second VM");
    assert_non_null(p);
    s = fake_process_start(p);
    assert_true(s->restore_fd > 0);
    assert_int_equal(s->vsock, HYPERVISOR_VSOCK_NONE);
    assert_non_null(strstr(s->cmdline, "maitred.template"));
    assert_string_not_equal(s->generation, "");
    assert_non_null(strstr(s->name, s->run_dir)); /* an orphan can be found */
    assert_non_null(fake_process_vsock(p));
    assert_non_null(strstr(fake_process_vsock(p), s->run_dir));
    assert_false(fake_process_is_paused(p));
    g = get_ready(&w, "Second VM");
    assert_string_equal(mode_of(&call), "warm");
    client_call_done(&call);
    assert_memory_equal(guest_calls(g), "SetIdentity ConfigureNetwork ", 29);
    assert_string_equal(guest_identity(g)->hostname, "second-vm");
    assert_int_equal(strlen(guest_identity(g)->machine_id), 32);
    assert_int_equal(guest_identity(g)->entropy, 64);
    assert_int_equal(guest_identity(g)->mac, 6);
    assert_true(guest_identity(g)->time_ns > 0);
    world_expect_signals(&w,
                         "VmStartingUp Second VM 33\nVmStarted Second VM 33 status 1\n");
    world_stop_vm(&w, "Second VM", g);
    world_run(&w, 5000);
    assert_null(builder(&w)); /* there is one */
    world_done(&w);
}

static void
a_writable_disk_is_plugged_in_and_waited_for(void **state)
{
    VmTools__Concierge__DiskImage disk;
    VmTools__Concierge__DiskImage *disks[] = {&disk, &disk};
    struct world w;
    struct start_args args;
    struct fake_process *p;
    struct guest *g;

    (void)state;
    init(&w);
    make(&w);
    fake_host_add_image(w.host, "/disk");
    vm_tools__concierge__disk_image__init(&disk);
    disk.path = (char *)(uintptr_t) "/disk";
    disk.writable = true;
    start_args_init(&args, "demo");
    args.request.disks = disks;
    args.request.n_disks = 1;
    assert_string_equal(run(&w, &args, &g), "warm");
    p = fake_hypervisor_find(w.hv, "demo");
    assert_int_equal(fake_process_start(p)->ndisks, 1);
    assert_non_null(fake_process_disk(p, "disk1"));
    assert_string_equal(guest_identity(g)->disks, "disk1");
    world_stop_vm(&w, "demo", g);
    start_args_init(&args, "two"); /* which of them would be /dev/vdb? */
    args.request.disks = disks;
    args.request.n_disks = 2;
    assert_string_equal(run(&w, &args, &g), "cold");
    world_stop_vm(&w, "two", g);
    world_run(&w, 5000);
    world_done(&w);
}

/* All of them in one start that goes on as a boot. */
enum trouble {
    REFUSED_OPTIONS,
    EXIT_AT_ONCE,
    PANIC,
    VSOCK_REFUSED,
    VSOCK_FAILED,
    NOT_RESUMED,
    SILENCE,
    IDENTITY_FAILED,
    TROUBLES
};

static void
make_trouble(struct world *w, enum trouble t)
{
    struct fake_behaviour *b = fake_hypervisor_behaviour(w->hv);

    b->no_control = t == EXIT_AT_ONCE;
    b->refuse[FAKE_OP_VSOCK_ADD] = t == VSOCK_REFUSED ? ENOSPC : 0;
    b->fail[FAKE_OP_VSOCK_ADD] = t == VSOCK_FAILED ? EIO : 0;
    b->call_error = t == NOT_RESUMED ? EIO : 0;
}

static void
let_it_show(struct world *w, enum trouble t)
{
    struct fake_process *p = fake_hypervisor_find(w->hv, "demo");
    struct guest *g;

    if (t == EXIT_AT_ONCE || t == REFUSED_OPTIONS)
        fake_process_exit(p, HYPERVISOR_EXIT_CONFIG, "unsupported state");
    if (t == PANIC)
        fake_process_panic(p);
    if (t == SILENCE)
        world_run(w, 40000);
    if (t == IDENTITY_FAILED) {
        struct rpc_status status;
        int answers;

        g = guest_new(w, fake_process_start(p)->cid);
        guest_set(g, "SetIdentity", GUEST_FAILS);
        guest_call_ready(g, &status, &answers);
        world_run(w, 1000);
        guest_free(g);
    }
}

static void
whatever_fails_before_the_identity_becomes_a_boot(void **state)
{
    (void)state;
    for (enum trouble t = 0; t < TROUBLES; t++) {
        struct client_call call;
        struct world w;
        struct guest *g;

        init(&w);
        make(&w);
        make_trouble(&w, t);
        client_start_name(&w, "demo", &call);
        if (t != EXIT_AT_ONCE)
            world_run(&w, 100);
        let_it_show(&w, t);
        make_trouble(&w, TROUBLES);
        world_run(&w, 500);
        assert_int_equal(call.answers, 0);
        assert_int_equal(
            fake_process_start(fake_hypervisor_find(w.hv, "demo"))->restore_fd, 0);
        assert_int_equal(fake_process_start(fake_hypervisor_find(w.hv, "demo"))->vsock,
                         HYPERVISOR_VSOCK_VHOST_USER);
        g = get_ready(&w, "demo");
        assert_string_equal(mode_of(&call), "cold");
        client_call_done(&call);
        assert_int_equal(guest_identity(g)->sent, 1); /* its names, as at any boot */
        world_expect_signals(&w, "VmStartingUp demo 33\nVmStarted demo 33 status 1\n");
        assert_int_equal(fake_states_count(w.host), 1); /* the note that it failed */
        world_stop_vm(&w, "demo", g);
        assert_string_equal(run_once(&w, "again"), "cold");
        world_done(&w);
    }
}

static void
a_stop_ends_a_start_at_every_step_of_falling_back(void **state)
{
    (void)state;
    for (unsigned turns = 0; turns < 6; turns++) {
        struct client_call call, stopping;
        struct world w;

        init(&w);
        make(&w);
        make_trouble(&w, VSOCK_FAILED);
        client_start_name(&w, "demo", &call);
        for (unsigned i = 0; i < turns; i++)
            fake_clock_advance(w.clock, 0);
        client_stop(&w, "demo", &stopping);
        world_run(&w, 60000);
        assert_true(stop_reply(&stopping)->success);
        assert_false(start_reply(&call)->success);
        assert_int_equal(w.starting_ups, w.stoppeds);
        client_call_done(&call);
        client_call_done(&stopping);
        world_done(&w);
    }
}

static void
a_changed_image_another_owner_or_a_wish_lead_to_a_boot(void **state)
{
    struct start_args args;
    struct world w;
    struct guest *g;

    (void)state;
    init(&w);
    make(&w);
    start_args_init(&args, "wish");
    args.request.cold = true;
    assert_string_equal(run(&w, &args, &g), "cold");
    world_stop_vm(&w, "wish", g);
    start_args_init(&args, "size");
    args.request.memory_mib = 512;
    assert_string_equal(run(&w, &args, &g), "cold");
    world_stop_vm(&w, "size", g);
    assert_string_equal(run_once(&w, "same"), "warm");
    start_args_init(&args, "huge");
    args.request.hugepages = true;
    assert_string_equal(run(&w, &args, &g), "cold");
    world_stop_vm(&w, "huge", g);
    fake_states_set_identity(w.host, "file 2");
    assert_string_equal(run_once(&w, "changed"), "cold");
    fake_states_set_identity(w.host, NULL); /* a block device */
    assert_string_equal(run_once(&w, "device"), "cold");
    fake_states_set_identity(w.host, "file 1");
    fake_hypervisor_behaviour(w.hv)->build_id = "fake 2";
    assert_string_equal(run_once(&w, "upgraded"), "cold");
    world_done(&w);
}

static void
damaged_templates_are_not_used_and_removed(void **state)
{
    (void)state;
    for (int what = 0; what < 3; what++) {
        char file[128], record[128];
        struct world w;

        init(&w);
        make(&w);
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
        assert_string_equal(run_once(&w, "demo"), "cold");
        assert_int_equal(fake_states_count(w.host), 0);
        world_run(&w, 4000); /* and made anew */
        say(&w, READY);
        world_run(&w, 1000);
        assert_string_equal(run_once(&w, "next"), "warm");
        world_done(&w);
    }
}

static void
a_new_daemon_removes_what_is_of_no_use(void **state)
{
    struct world w;

    (void)state;
    init(&w);
    make(&w);
    world_kill_daemon(&w);
    world_start_daemon(&w);
    assert_int_equal(fake_states_count(w.host), 2);
    assert_string_equal(run_once(&w, "again"), "warm");
    world_kill_daemon(&w);
    fake_hypervisor_behaviour(w.hv)->build_id = "fake 2"; /* never fits again */
    world_start_daemon(&w);
    assert_int_equal(fake_states_count(w.host), 0);
    fake_hypervisor_behaviour(w.hv)->build_id = NULL;
    make(&w);
    world_kill_daemon(&w);
    w.template_count = 0;
    world_start_daemon(&w);
    assert_int_equal(fake_states_count(w.host), 0);
    assert_string_equal(run_once(&w, "off"), "cold");
    world_run(&w, 10000);
    assert_null(builder(&w));
    world_done(&w);
}

static void
a_failure_is_not_repeated_for_a_while(void **state)
{
    enum { EXITS, PANICS, NEVER, SAVE_FAILS, SYNC_FAILS, NO_FILE, COUNT };

    (void)state;
    for (int how = 0; how < COUNT; how++) {
        struct world w;

        init(&w);
        assert_string_equal(run_once(&w, "first"), "cold");
        world_run(&w, 3300);
        assert_non_null(builder(&w));
        if (how == EXITS)
            fake_process_exit(builder(&w), HYPERVISOR_EXIT_KILLED, "boom");
        if (how == PANICS)
            fake_process_panic(builder(&w));
        if (how == NEVER)
            world_run(&w, 61000);
        fake_hypervisor_behaviour(w.hv)->fail[FAKE_OP_SAVE] =
            how == SAVE_FAILS ? ENOSPC : 0;
        w.sync_fails = how == SYNC_FAILS;
        if (how == NO_FILE)
            fake_states_fail_after(w.host, 0, EROFS);
        if (how >= SAVE_FAILS)
            say(&w, READY);
        world_run(&w, 2000);
        assert_null(builder(&w));
        assert_int_equal(fake_host_dirs(w.host), 0);
        assert_int_equal(fake_states_count(w.host), 1);
        assert_false(concierge_is_busy(w.c));
        assert_string_equal(run_once(&w, "again"), "cold");
        world_run(&w, 10000);
        assert_null(builder(&w));
        world_run(&w, 3600 * 1000);
        fake_hypervisor_behaviour(w.hv)->fail[FAKE_OP_SAVE] = 0;
        assert_string_equal(run_once(&w, "later"), "cold");
        world_run(&w, 4000);
        assert_non_null(builder(&w));
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
    init(&w);
    assert_string_equal(run_once(&w, "first"), "cold");
    world_run(&w, 4000);
    assert_false(fake_process_is_paused(builder(&w)));
    start_args_init(&args, "demo");
    args.request.timeout = 300;
    client_start(&w, &args, &call);
    world_run(&w, 100000); /* longer than a build may take without progress */
    assert_true(fake_process_is_paused(builder(&w)));
    g = get_ready(&w, "demo");
    assert_string_equal(mode_of(&call), "cold");
    client_call_done(&call);
    assert_non_null(builder(&w));
    assert_false(fake_process_is_paused(builder(&w)));
    say(&w, READY);
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
    init(&w);
    world_kill_daemon(&w);
    w.template_bytes = FAKE_STATE_BYTES - 1;
    world_start_daemon(&w);
    assert_string_equal(run_once(&w, "first"), "cold");
    world_run(&w, 4000);
    say(&w, READY);
    world_run(&w, 1000);
    assert_int_equal(fake_states_count(w.host), 1); /* the note */
    assert_string_equal(run_once(&w, "again"), "cold");
    world_done(&w);
}

static void
the_death_of_the_daemon_ends_the_builder(void **state)
{
    struct world w;

    (void)state;
    init(&w);
    assert_string_equal(run_once(&w, "first"), "cold");
    world_run(&w, 4000);
    assert_non_null(builder(&w));
    world_kill_daemon(&w);
    world_start_daemon(&w);
    world_run(&w, 1000);
    assert_null(builder(&w));
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
    init(&w);
    assert_string_equal(run_once(&w, "first"), "cold");
    world_run(&w, 4000);
    assert_non_null(builder(&w));
    concierge_shutdown(w.c, on_stopped, &stopped);
    world_run(&w, 100);
    assert_int_equal(stopped, 1);
    assert_null(builder(&w));
    world_done(&w);
}

static void
an_heir_completes_a_restore_that_was_cut_off(void **state)
{
    (void)state;
    for (unsigned turns = 0; turns < 5; turns++) {
        struct client_call call;
        struct world w;
        struct guest *g;

        init(&w);
        make(&w);
        client_start_name(&w, "demo", &call);
        for (unsigned i = 0; i < turns; i++)
            fake_clock_advance(w.clock, 0);
        world_kill_daemon(&w);
        world_start_daemon(&w);
        world_run(&w, 500);
        assert_false(fake_process_is_paused(fake_hypervisor_find(w.hv, "demo")));
        assert_non_null(fake_process_vsock(fake_hypervisor_find(w.hv, "demo")));
        g = get_ready(&w, "demo");
        assert_int_equal(guest_identity(g)->sent, 1);
        assert_int_equal(client_status(&w, "demo"),
                         VM_TOOLS__CONCIERGE__VM_STATUS__VM_STATUS_RUNNING);
        client_call_done(&call);
        world_stop_vm(&w, "demo", g);
        world_done(&w);
    }
}

static void
templates_stay_few(void **state)
{
    struct start_args args;
    struct world w;
    struct guest *g;

    (void)state;
    init(&w);
    for (uint32_t mem = 100; mem < 105; mem++) {
        start_args_init(&args, "demo");
        args.request.memory_mib = mem;
        assert_string_equal(run(&w, &args, &g), "cold");
        world_stop_vm(&w, "demo", g);
        world_run(&w, 4000);
        say(&w, READY);
        world_run(&w, 2000);
        assert_true(fake_states_count(w.host) <= 4);
    }
    start_args_init(&args, "demo");
    args.request.memory_mib = 104;
    assert_string_equal(run(&w, &args, &g), "warm");
    world_stop_vm(&w, "demo", g);
    start_args_init(&args, "demo");
    args.request.memory_mib = 100;
    assert_string_equal(run(&w, &args, &g), "cold");
    world_stop_vm(&w, "demo", g);
    world_done(&w);
}

/* The template's tap leads nowhere; each VM brings its own. */
static void
vms_with_a_tap_start_from_a_template_too(void **state)
{
    const struct fake_start *s;
    struct start_args args;
    struct host_net *net;
    struct guest *g;
    struct world w;

    (void)state;
    init(&w);
    world_kill_daemon(&w);
    w.host_net = net = fake_host_net_new();
    w.network = (struct concierge_network){
        .prefer_tap = true, .subnets = {0x64735c00, 24}, .containers = {0x64735cc0, 26}};
    world_start_daemon(&w);
    assert_string_equal(run_once(&w, "first"), "cold");
    world_run(&w, 4000);
    s = fake_process_start(builder(&w));
    assert_int_equal(s->net, HYPERVISOR_NET_TAP);
    assert_true(s->tap_fd > 2);
    assert_int_equal(fake_host_net_count(net), 0);
    say(&w, READY);
    world_run(&w, 2000);
    start_args_init(&args, "second");
    assert_string_equal(run(&w, &args, &g), "warm");
    s = fake_process_start(fake_hypervisor_find(w.hv, "second"));
    assert_true(s->restore_fd > 0 && s->tap_fd > 2);
    assert_int_equal(fake_host_net_count(net), 1);
    world_stop_vm(&w, "second", g);
    assert_int_equal(fake_host_net_count(net), 0);
    world_done(&w);
    net->ops->free(net);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(after_a_cold_start_a_nameless_vm_makes_a_template),
        cmocka_unit_test(the_next_start_is_restored_and_gets_its_identity_first),
        cmocka_unit_test(a_writable_disk_is_plugged_in_and_waited_for),
        cmocka_unit_test(whatever_fails_before_the_identity_becomes_a_boot),
        cmocka_unit_test(a_stop_ends_a_start_at_every_step_of_falling_back),
        cmocka_unit_test(a_changed_image_another_owner_or_a_wish_lead_to_a_boot),
        cmocka_unit_test(damaged_templates_are_not_used_and_removed),
        cmocka_unit_test(a_new_daemon_removes_what_is_of_no_use),
        cmocka_unit_test(a_failure_is_not_repeated_for_a_while),
        cmocka_unit_test(the_builder_stands_still_while_a_vm_boots),
        cmocka_unit_test(a_template_larger_than_all_room_is_not_kept),
        cmocka_unit_test(the_death_of_the_daemon_ends_the_builder),
        cmocka_unit_test(a_shutdown_does_not_wait_for_the_builder),
        cmocka_unit_test(an_heir_completes_a_restore_that_was_cut_off),
        cmocka_unit_test(templates_stay_few),
        cmocka_unit_test(vms_with_a_tap_start_from_a_template_too),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
