/* SPDX-License-Identifier: BSD-3-Clause */
/* Starts from a template, and what becomes of them when something fails. */
#include <errno.h>
#include <string.h>

#include "tests/fake/fake_host_net.h"
#include "tests/fake/fake_states.h"
#include "tests/unit/concierge/guest.h"
#include "tests/unit/concierge/template_calls.h"
#include "tests/unit/test.h"

static void
the_next_start_is_restored_and_gets_its_identity_first(void **state)
{
    struct world w;
    const struct fake_start *s;
    struct fake_process *p;
    struct client_call call;
    struct guest *g;

    (void)state;
    template_init(&w);
    template_make(&w);
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
    g = template_get_ready(&w, "Second VM");
    assert_string_equal(template_mode_of(&call), "warm");
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
    assert_null(template_builder(&w)); /* there is one */
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
    template_init(&w);
    template_make(&w);
    fake_host_add_image(w.host, "/disk");
    vm_tools__concierge__disk_image__init(&disk);
    disk.path = (char *)(uintptr_t) "/disk";
    disk.writable = true;
    start_args_init(&args, "demo");
    args.request.disks = disks;
    args.request.n_disks = 1;
    assert_string_equal(template_run(&w, &args, &g), "warm");
    p = fake_hypervisor_find(w.hv, "demo");
    assert_int_equal(fake_process_start(p)->ndisks, 1);
    assert_non_null(fake_process_disk(p, "disk1"));
    assert_string_equal(guest_identity(g)->disks, "disk1");
    world_stop_vm(&w, "demo", g);
    start_args_init(&args, "two"); /* which of them would be /dev/vdb? */
    args.request.disks = disks;
    args.request.n_disks = 2;
    assert_string_equal(template_run(&w, &args, &g), "cold");
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

        template_init(&w);
        template_make(&w);
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
        g = template_get_ready(&w, "demo");
        assert_string_equal(template_mode_of(&call), "cold");
        client_call_done(&call);
        assert_int_equal(guest_identity(g)->sent, 1); /* its names, as at any boot */
        world_expect_signals(&w, "VmStartingUp demo 33\nVmStarted demo 33 status 1\n");
        assert_int_equal(fake_states_count(w.host), 1); /* the note that it failed */
        world_stop_vm(&w, "demo", g);
        assert_string_equal(template_run_once(&w, "again"), "cold");
        world_done(&w);
    }
}

/* How many vm_vsock the start of one VM took, of which each dies at once. */
static size_t
companions_of_a_start(struct world *w, unsigned deaths, struct client_call *call)
{
    size_t before = w->ncompanions;

    client_start_name(w, "demo", call);
    for (int i = 0; i < 6 && w->ncompanions == before; i++)
        fake_clock_advance(w->clock, 0);
    for (unsigned i = 0; i < deaths; i++) {
        assert_int_equal(fake_spawn_exit(w->spawn, w->companions[w->ncompanions - 1],
                                         SPAWN_EXIT_SIGNAL, 9),
                         0);
        fake_clock_advance(w->clock, 0);
        fake_clock_advance(w->clock, 0);
    }
    return w->ncompanions - before;
}

/* There is no device in the machine yet that could have been lost. */
static void
a_vsock_that_dies_before_it_is_plugged_in_is_replaced(void **state)
{
    struct client_call call;
    struct world w;
    struct guest *g;

    (void)state;
    template_init(&w);
    template_make(&w);
    fake_hypervisor_behaviour(w.hv)->no_control = true;
    assert_int_equal(companions_of_a_start(&w, 2, &call), 3);
    assert_int_equal(call.answers, 0);
    fake_hypervisor_behaviour(w.hv)->no_control = false;
    fake_process_control(fake_hypervisor_find(w.hv, "demo"));
    world_run(&w, 500);
    g = template_get_ready(&w, "demo");
    assert_string_equal(template_mode_of(&call), "warm");
    client_call_done(&call);
    world_stop_vm(&w, "demo", g);
    world_done(&w);
}

static void
a_vsock_that_always_dies_fails_the_start(void **state)
{
    struct client_call call;
    struct world w;

    (void)state;
    template_init(&w);
    template_make(&w);
    fake_hypervisor_behaviour(w.hv)->no_control = true;
    assert_int_equal(companions_of_a_start(&w, 4, &call), 4);
    world_run(&w, 60000);
    expect_start_refused(&call, "(vm_vsock) of the VM died");
    client_call_done(&call);
    world_done(&w);
}

static void
a_stop_ends_a_start_at_every_step_of_falling_back(void **state)
{
    (void)state;
    for (unsigned turns = 0; turns < 6; turns++) {
        struct client_call call, stopping;
        struct world w;

        template_init(&w);
        template_make(&w);
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
    template_init(&w);
    template_make(&w);
    start_args_init(&args, "wish");
    args.request.cold = true;
    assert_string_equal(template_run(&w, &args, &g), "cold");
    world_stop_vm(&w, "wish", g);
    start_args_init(&args, "size");
    args.request.memory_mib = 512;
    assert_string_equal(template_run(&w, &args, &g), "cold");
    world_stop_vm(&w, "size", g);
    assert_string_equal(template_run_once(&w, "same"), "warm");
    start_args_init(&args, "huge");
    args.request.hugepages = true;
    assert_string_equal(template_run(&w, &args, &g), "cold");
    world_stop_vm(&w, "huge", g);
    fake_states_set_identity(w.host, "file 2");
    assert_string_equal(template_run_once(&w, "changed"), "cold");
    fake_states_set_identity(w.host, NULL); /* a block device */
    assert_string_equal(template_run_once(&w, "device"), "cold");
    fake_states_set_identity(w.host, "file 1");
    fake_hypervisor_behaviour(w.hv)->build_id = "fake 2";
    assert_string_equal(template_run_once(&w, "upgraded"), "cold");
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

        template_init(&w);
        template_make(&w);
        client_start_name(&w, "demo", &call);
        for (unsigned i = 0; i < turns; i++)
            fake_clock_advance(w.clock, 0);
        world_kill_daemon(&w);
        world_start_daemon(&w);
        world_run(&w, 500);
        assert_false(fake_process_is_paused(fake_hypervisor_find(w.hv, "demo")));
        assert_non_null(fake_process_vsock(fake_hypervisor_find(w.hv, "demo")));
        g = template_get_ready(&w, "demo");
        assert_int_equal(guest_identity(g)->sent, 1);
        assert_int_equal(client_status(&w, "demo"),
                         VM_TOOLS__CONCIERGE__VM_STATUS__VM_STATUS_RUNNING);
        client_call_done(&call);
        world_stop_vm(&w, "demo", g);
        world_done(&w);
    }
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
    template_init(&w);
    world_kill_daemon(&w);
    w.host_net = net = fake_host_net_new();
    w.network = (struct concierge_network){
        .prefer_tap = true, .subnets = {0x64735c00, 24}, .containers = {0x64735cc0, 26}};
    world_start_daemon(&w);
    assert_string_equal(template_run_once(&w, "first"), "cold");
    world_run(&w, 4000);
    s = fake_process_start(template_builder(&w));
    assert_int_equal(s->net, HYPERVISOR_NET_TAP);
    assert_true(s->tap_fd > 2);
    assert_int_equal(fake_host_net_count(net), 0);
    template_say(&w, TEMPLATE_READY);
    world_run(&w, 2000);
    start_args_init(&args, "second");
    assert_string_equal(template_run(&w, &args, &g), "warm");
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
        cmocka_unit_test(the_next_start_is_restored_and_gets_its_identity_first),
        cmocka_unit_test(a_writable_disk_is_plugged_in_and_waited_for),
        cmocka_unit_test(whatever_fails_before_the_identity_becomes_a_boot),
        cmocka_unit_test(a_vsock_that_dies_before_it_is_plugged_in_is_replaced),
        cmocka_unit_test(a_vsock_that_always_dies_fails_the_start),
        cmocka_unit_test(a_stop_ends_a_start_at_every_step_of_falling_back),
        cmocka_unit_test(a_changed_image_another_owner_or_a_wish_lead_to_a_boot),
        cmocka_unit_test(an_heir_completes_a_restore_that_was_cut_off),
        cmocka_unit_test(vms_with_a_tap_start_from_a_template_too),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
