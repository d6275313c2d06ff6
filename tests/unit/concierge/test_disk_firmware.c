/* SPDX-License-Identifier: BSD-3-Clause */
/* The variables of firmware: InstallPflash, and starts with them. */
#include <fcntl.h>
#include <string.h>

#include "tests/fake/fake_disks.h"
#include "tests/unit/concierge/disk_calls.h"
#include "tests/unit/concierge/guest.h"
#include "tests/unit/test.h"

/* Row 25. */
static void
firmware_variables_are_installed_once(void **state)
{
    VmTools__Concierge__InstallPflashRequest rq;
    struct client_call call;
    struct world w;
    int fd;

    (void)state;
    world_init(&w);
    vm_tools__concierge__install_pflash_request__init(&rq);
    rq.owner_id = (char *)(uintptr_t)WORLD_OWNER;
    rq.vm_name = (char *)(uintptr_t) "a";
    fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    client_call(&w, "InstallPflash", WORLD_UID, &rq.base, &fd, 1, &call);
    world_run(&w, 200);
    assert_true(stop_reply(&call)->success);
    client_call_done(&call);
    assert_true(fake_disks_has(w.host, WORLD_OWNER, "YQ==.pflash"));
    fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    client_call(&w, "InstallPflash", WORLD_UID, &rq.base, &fd, 1, &call);
    assert_false(stop_reply(&call)->success);
    assert_non_null(strstr(stop_reply(&call)->failure_reason, "installed already"));
    client_call_done(&call);
    world_done(&w);
}

static void
firmware_boots_with_its_installed_variables(void **state)
{
    const struct fake_start *start;
    struct start_args args;
    struct client_call call;
    struct world w;

    (void)state;
    world_init(&w);
    (void)fake_disks_put(w.host, WORLD_OWNER, "YQ==.pflash", 4096);
    start_args_init(&args, "a");
    args.kinds[0] = VM_TOOLS__CONCIERGE__START_VM_REQUEST__FD_TYPE__BIOS;
    client_start(&w, &args, &call);
    world_run(&w, 200);
    start = fake_process_start(fake_hypervisor_find(w.hv, "a"));
    assert_int_equal(start->kernel_fd, -1);
    assert_true(start->firmware_fd > 0);
    assert_true(start->pflash_fd > 0);
    assert_int_equal(start->accel, HYPERVISOR_ACCEL_TCG);
    assert_int_equal(fake_hypervisor_calls(w.hv)->probes, 0);
    fake_process_exit(fake_hypervisor_find(w.hv, "a"), HYPERVISOR_EXIT_POWEROFF, "");
    world_run(&w, 30000);
    client_call_done(&call);
    world_done(&w);
}

/* Row 25; spec 4.1, 10. */
static void
a_start_takes_installed_variables_or_sent_ones(void **state)
{
    struct client_call call;
    struct start_args args;
    struct world w;

    (void)state;
    world_init(&w);
    (void)fake_disks_put(w.host, WORLD_OWNER, "YQ==.pflash", 4096);
    start_args_init(&args, "a");
    args.kinds[0] = VM_TOOLS__CONCIERGE__START_VM_REQUEST__FD_TYPE__BIOS;
    args.kinds[1] = VM_TOOLS__CONCIERGE__START_VM_REQUEST__FD_TYPE__PFLASH;
    client_start(&w, &args, &call);
    expect_start_refused(&call, "installed for this VM");
    client_call_done(&call);
    fake_disks_lock(w.host, WORLD_OWNER, "YQ==.pflash", true);
    start_args_init(&args, "a");
    args.kinds[0] = VM_TOOLS__CONCIERGE__START_VM_REQUEST__FD_TYPE__BIOS;
    client_start(&w, &args, &call); /* with the installed ones, which somebody has */
    expect_start_refused(&call, "in use");
    client_call_done(&call);
    world_done(&w);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(firmware_variables_are_installed_once),
        cmocka_unit_test(firmware_boots_with_its_installed_variables),
        cmocka_unit_test(a_start_takes_installed_variables_or_sent_ones),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
