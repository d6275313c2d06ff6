/* SPDX-License-Identifier: BSD-3-Clause */
/* Starts with disks, and with an accelerator that is found out. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "tests/unit/concierge/guest.h"
#include "tests/unit/test.h"

#define STARTING VM_TOOLS__CONCIERGE__VM_STATUS__VM_STATUS_STARTING

static void
add_disks(struct start_args *args, VmTools__Concierge__DiskImage *disks,
          VmTools__Concierge__DiskImage **list, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        vm_tools__concierge__disk_image__init(&disks[i]);
        disks[i].path = (char *)(uintptr_t) "/disk";
        disks[i].do_mount = true;
        disks[i].mount_point = (char *)(uintptr_t) "/mnt/data";
        disks[i].fstype = (char *)(uintptr_t) "ext4";
        list[i] = &disks[i];
    }
    args->request.disks = list;
    args->request.n_disks = n;
}

static void
disks_are_mounted_one_after_the_other(void **state)
{
    VmTools__Concierge__DiskImage disks[2], *list[2];
    struct world w;
    struct start_args args;
    struct client_call call;
    struct guest *g;

    (void)state;
    world_init(&w);
    fake_host_add_image(w.host, "/disk");
    start_args_init(&args, "demo");
    add_disks(&args, disks, list, 2);
    client_start(&w, &args, &call);
    world_run(&w, 100);
    assert_int_equal(fake_process_start(fake_hypervisor_find(w.hv, "demo"))->ndisks, 3);
    g = guest_new(&w, 32);
    guest_power_off_on_shutdown(g, "demo");
    world_become_ready(&w, g);
    assert_true(start_reply(&call)->success);
    assert_non_null(strstr(guest_calls(g), "Mount Mount"));
    client_call_done(&call);
    world_stop_vm(&w, "demo", g);
    world_done(&w);
}

/* spec 7: a mount succeeds only if the call is OK and its errno is 0. */
static void
a_mount_that_fails_in_the_guest_fails_the_start(void **state)
{
    VmTools__Concierge__DiskImage disk, *list[1];
    struct world w;
    struct start_args args;
    struct client_call call;
    struct guest *g;

    (void)state;
    world_init(&w);
    fake_host_add_image(w.host, "/disk");
    start_args_init(&args, "demo");
    add_disks(&args, &disk, list, 1);
    client_start(&w, &args, &call);
    world_run(&w, 100);
    g = guest_new(&w, 32);
    guest_set_mount_error(g, EINVAL);
    world_become_ready(&w, g);
    world_run(&w, 3000);
    expect_start_refused(&call, "mount /dev/vdb on /mnt/data: Invalid argument");
    client_call_done(&call);
    guest_free(g);
    world_done(&w);
}

static void
start_auto(struct world *w, struct client_call *call)
{
    struct start_args args;

    start_args_init(&args, "demo");
    args.request.accel = (char *)(uintptr_t) "";
    vmt_closep(
        &args.fds[1]); /* one that is taken as it is: nothing runs before the probe */
    args.fds[1] = open("/dev/null", O_RDONLY | O_CLOEXEC);
    client_start(w, &args, call);
}

static void
the_accelerator_is_probed_when_it_is_left_open(void **state)
{
    struct world w;
    struct client_call call;
    struct guest *g;

    (void)state;
    world_init(&w);
    fake_hypervisor_set_probe(w.hv, HYPERVISOR_ACCEL_KVM, "it booted", false);
    start_auto(&w, &call);
    world_expect_signals(&w, ""); /* nothing is announced before it is known */
    assert_int_equal(client_status(&w, "demo"), STARTING);
    world_run(&w, 100);
    world_expect_signals(&w, "VmStartingUp demo 32\n");
    assert_int_equal(fake_process_start(fake_hypervisor_find(w.hv, "demo"))->accel,
                     HYPERVISOR_ACCEL_KVM);
    g = guest_new(&w, 32);
    guest_power_off_on_shutdown(g, "demo");
    world_become_ready(&w, g);
    assert_string_equal(start_reply(&call)->accel, "kvm");
    client_call_done(&call);
    world_stop_vm(&w, "demo", g);
    world_done(&w);
}

static void
a_stop_during_the_probe_leaves_no_trace(void **state)
{
    struct world w;
    struct client_call call, stop;

    (void)state;
    world_init(&w);
    fake_hypervisor_hold_probes(w.hv, true);
    start_auto(&w, &call);
    world_run(&w, 1000);
    assert_int_equal(call.answers, 0);
    client_stop(&w, "demo", &stop);
    world_run(&w, 100);
    assert_true(stop_reply(&stop)->success);
    expect_start_refused(&call, "cancelled by StopVm");
    world_expect_signals(&w, "");
    assert_int_equal(fake_hypervisor_calls(w.hv)->starts, 0);
    client_call_done(&call);
    client_call_done(&stop);
    world_done(&w);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(disks_are_mounted_one_after_the_other),
        cmocka_unit_test(a_mount_that_fails_in_the_guest_fails_the_start),
        cmocka_unit_test(the_accelerator_is_probed_when_it_is_left_open),
        cmocka_unit_test(a_stop_during_the_probe_leaves_no_trace),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
