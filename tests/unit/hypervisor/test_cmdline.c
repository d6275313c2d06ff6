/* SPDX-License-Identifier: BSD-3-Clause */
/* Command lines are compared whole with tests/golden/qemu-<name>.args, one argument a
 * line. VMT_GOLDEN_UPDATE=1 in the environment writes these files anew. */
#include "hypervisor/qemu/cmdline_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/adapter/hypervisor.h"
#include "core/base/argv.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "tests/unit/test.h"

static const struct vm_spec minimal = {
    .name = "minimal",
    .run_dir = "/run/vm",
    .kernel_fd = 10,
    .initrd_fd = -1,
    .console_fd = -1,
    .cid = 32,
    .mem_mib = 256,
    .vcpus = 1,
    .accel = HYPERVISOR_ACCEL_TCG,
};

static int
build(const struct vm_spec *spec, const char *kvm_cpu, struct vmt_argv *argv,
      struct vmt_err *err)
{
    const struct qemu_cmdline in = {.spec = spec,
                                    .binary = "qemu-system-x86_64",
                                    .kvm_cpu = kvm_cpu ? kvm_cpu : "host",
                                    .qmp = true};

    return qemu_cmdline_build(&in, argv, err);
}

static void
expect_golden(const struct vm_spec *spec, const char *kvm_cpu, const char *name)
{
    VMT_CLEANUP(vmt_argv_done) struct vmt_argv argv = {0};
    VMT_CLEANUP(vmt_fclosep) FILE *f = NULL;
    char path[512], line[1024];
    size_t i = 0;

    (void)snprintf(path, sizeof(path), VMT_GOLDEN_DIR "/qemu-%s.args", name);
    assert_int_equal(build(spec, kvm_cpu, &argv, NULL), 0);
    if (getenv("VMT_GOLDEN_UPDATE")) {
        f = fopen(path, "w");
        assert_non_null(f);
        for (i = 0; i < argv.n; i++)
            assert_true(fprintf(f, "%s\n", argv.v[i]) > 0);
        return;
    }
    f = fopen(path, "r");
    assert_non_null(f);
    for (; fgets(line, sizeof(line), f); i++) {
        line[strcspn(line, "\n")] = '\0';
        assert_true(i < argv.n);
        assert_string_equal(argv.v[i], line);
    }
    assert_int_equal(i, argv.n);
}

static void
expect_refusal(const struct vm_spec *spec, const char *words)
{
    VMT_CLEANUP(vmt_argv_done) struct vmt_argv argv = {0};
    struct vmt_err err = {0};

    assert_int_equal(build(spec, NULL, &argv, &err), -EINVAL);
    if (!strstr(err.msg, words))
        fail_msg("\"%s\" does not say \"%s\"", err.msg, words);
    assert_int_equal(argv.n, 0); /* nothing half built */
}

static void
a_kernel_alone_makes_the_smallest_command_line(void **state)
{
    (void)state;
    expect_golden(&minimal, NULL, "minimal");
}

static void
all_that_a_vm_can_have_stands_in_order(void **state)
{
    const struct hypervisor_disk disks[] = {
        {.path = "/img/root.squashfs", .fd = -1, .read_only = true, .serial = "root"},
        {.fd = 20, .qcow2 = true, .serial = "state", .block_size = 4096, .direct = true},
        {.fd = 21, .read_only = true},
    };
    const char *const oem[] = {"vmt:one", "vmt:two=2", NULL};
    struct vm_spec spec = minimal;

    (void)state;
    spec.name = "full";
    spec.initrd_fd = 11;
    spec.console_fd = 12;
    spec.cmdline = "console=ttyS0 panic=-1 quiet root=/dev/vda ro";
    spec.cid = 0x01020304;
    spec.mem_mib = 1024;
    spec.vcpus = 2;
    spec.net = HYPERVISOR_NET_USER;
    spec.vsock = HYPERVISOR_VSOCK_VHOST_USER;
    spec.vsock_socket = "/run/vm/vhost-vsock.sock";
    spec.disks = disks;
    spec.ndisks = VMT_ARRAY_SIZE(disks);
    spec.oem_strings = oem;
    expect_golden(&spec, NULL, "full");
}

static void
a_tap_is_inherited_and_has_the_given_address(void **state)
{
    struct vm_spec spec = minimal;
    struct spawn_fd fds[QEMU_FDS_MAX];

    (void)state;
    spec.name = "tap";
    spec.net = HYPERVISOR_NET_TAP;
    spec.tap_fd = 30;
    memcpy(spec.mac, "\x02\x11\x22\x33\x44\x55", HYPERVISOR_MAC_LEN);
    expect_golden(&spec, NULL, "tap");
    assert_int_equal(qemu_cmdline_fds(&spec, -1, -1, fds), 2);
    assert_int_equal(fds[1].from, 30);
    assert_int_equal(fds[1].to, QEMU_FD_TAP);
    spec.tap_fd = 0;
    expect_refusal(&spec, "no tap");
}

static void
kvm_takes_the_cpu_that_the_probe_found(void **state)
{
    struct vm_spec spec = minimal;

    (void)state;
    spec.name = "kvm";
    spec.accel = HYPERVISOR_ACCEL_KVM;
    spec.vsock = HYPERVISOR_VSOCK_KERNEL;
    expect_golden(&spec, "host,-arch-capabilities", "kvm");
}

static void
commas_in_names_and_paths_inject_nothing(void **state)
{
    const struct hypervisor_disk disks[] = {
        {.path = "/img/a,read-only=off,b", .fd = -1, .serial = "x,drive=disk9"},
    };
    const char *const oem[] = {"a,path=/etc/passwd", NULL};
    struct vm_spec spec = minimal;

    (void)state;
    spec.name = "x,process=init,,";
    spec.cmdline = "-kernel /etc/passwd,a=b \"quoted\"";
    spec.vsock = HYPERVISOR_VSOCK_VHOST_USER;
    spec.vsock_socket = "/run/a,server=on/s";
    spec.disks = disks;
    spec.ndisks = 1;
    spec.oem_strings = oem;
    expect_golden(&spec, NULL, "commas");
}

static void
reserved_cids_are_refused_by_name(void **state)
{
    struct vm_spec spec = minimal;

    (void)state;
    spec.cid = 2;
    expect_refusal(&spec, "cid 2 is reserved");
    spec.cid = UINT32_MAX;
    expect_refusal(&spec, "cid 4294967295 is reserved");
}

static void
a_vm_without_kernel_memory_cpu_or_name_is_refused(void **state)
{
    struct vm_spec spec = minimal;

    (void)state;
    spec.kernel_fd = -1;
    expect_refusal(&spec, "no kernel");
    spec = minimal;
    spec.mem_mib = 0;
    expect_refusal(&spec, "memory");
    spec = minimal;
    spec.vcpus = 0;
    expect_refusal(&spec, "vcpu");
    spec = minimal;
    spec.name = "";
    expect_refusal(&spec, "name");
    spec.name = "a\nb";
    expect_refusal(&spec, "name");
    spec = minimal;
    spec.accel = HYPERVISOR_ACCEL_AUTO;
    expect_refusal(&spec, "accelerator");
}

static void
bad_disks_are_refused_by_number(void **state)
{
    struct hypervisor_disk disks[QEMU_DISKS_MAX + 1] = {
        {.path = "/a", .fd = -1},
        {.path = "/b", .fd = -1, .serial = "123456789012345678901"},
    };
    struct vm_spec spec = minimal;

    (void)state;
    spec.disks = disks;
    spec.ndisks = 2;
    expect_refusal(&spec, "disk 1: the serial");
    disks[1].serial = "";
    expect_refusal(&spec, "disk 1: the serial");
    disks[1].serial = "a\x01";
    expect_refusal(&spec, "disk 1: the serial");
    disks[1].serial = NULL;
    disks[1].block_size = 513;
    expect_refusal(&spec, "disk 1: block size 513");
    disks[1].block_size = 8192;
    expect_refusal(&spec, "block size 8192");
    disks[1] = (struct hypervisor_disk){.path = "b", .fd = -1};
    expect_refusal(&spec, "disk 1: path b is not absolute");
    disks[1] = (struct hypervisor_disk){.fd = -1};
    expect_refusal(&spec, "disk 1: it has neither path nor descriptor");
    spec.ndisks = QEMU_DISKS_MAX + 1;
    expect_refusal(&spec, "17 disks are more than 16");
}

static void
spare_slots_bring_ports_and_disks_that_can_leave(void **state)
{
    const struct hypervisor_disk disks[] = {
        {.path = "/img/root.squashfs", .fd = -1, .read_only = true, .serial = "root"},
        {.fd = 20, .qcow2 = true, .serial = "a,\"b", .slot = 2},
        {.path = "/img/c,d", .fd = -1, .read_only = true, .serial = "c", .slot = 1},
    };
    struct vm_spec spec = minimal;

    (void)state;
    spec.spare_slots = 2;
    spec.vsock = HYPERVISOR_VSOCK_VHOST_USER;
    spec.vsock_socket = "/run/vm/vhost-vsock.sock";
    spec.disks = disks;
    spec.ndisks = VMT_ARRAY_SIZE(disks);
    expect_golden(&spec, NULL, "slots");
}

static void
a_restored_vm_waits_for_its_state(void **state)
{
    struct vm_spec spec = minimal;

    (void)state;
    spec.spare_slots = 1;
    spec.restore_fd = 20;
    spec.generation = "324e6eaf-d1d1-4bf6-bf41-b9bb6c91fb87";
    expect_golden(&spec, NULL, "restored");
}

static void
firmware_stands_in_for_a_kernel(void **state)
{
    struct vm_spec spec = minimal;

    (void)state;
    spec.firmware_fd = 13;
    expect_refusal(&spec, "a kernel boots without firmware");
    spec.firmware_fd = 0;
    spec.pflash_fd = 14;
    expect_refusal(&spec, "variables need their firmware");
    spec.kernel_fd = -1;
    spec.firmware_fd = 13;
    spec.hugepages = true; /* which the host has not: see vm.c */
    expect_golden(&spec, NULL, "firmware");
}

static void
huge_pages_are_asked_for_where_the_host_has_them(void **state)
{
    VMT_CLEANUP(vmt_argv_done) struct vmt_argv argv = {0};
    const struct qemu_cmdline in = {.spec = &minimal,
                                    .binary = "qemu-system-x86_64",
                                    .kvm_cpu = "host",
                                    .hugetlb = true};

    (void)state;
    assert_int_equal(qemu_cmdline_build(&in, &argv, NULL), 0);
    for (size_t i = 0; i < argv.n; i++)
        if (strcmp(argv.v[i], "memory-backend-memfd,id=mem0,size=256M,share=on,"
                              "hugetlb=on,hugetlbsize=2M") == 0)
            return;
    fail_msg("no huge pages");
}

static void
slots_that_are_not_there_are_refused(void **state)
{
    struct hypervisor_disk disks[] = {
        {.path = "/a", .fd = -1, .serial = "a", .slot = 1},
        {.path = "/b", .fd = -1, .serial = "b", .slot = 1},
    };
    struct vm_spec spec = minimal;

    (void)state;
    spec.disks = disks;
    spec.ndisks = 2;
    expect_refusal(&spec, "disk 0: there is no slot 1");
    spec.spare_slots = 9;
    expect_refusal(&spec, "9 spare slots are more than 8");
    spec.spare_slots = 2;
    expect_refusal(&spec, "disk 1: slot 1 is taken");
    disks[1].slot = 2;
    disks[1].serial = NULL;
    expect_refusal(&spec, "disk 1: without a serial");
}

static void
bad_vsock_paths_and_oem_strings_are_refused(void **state)
{
    const char *const oem[] = {"a", "", NULL};
    char path[200] = "/";
    struct vm_spec spec = minimal;

    (void)state;
    spec.vsock = HYPERVISOR_VSOCK_VHOST_USER;
    expect_refusal(&spec, "vsock device has no absolute path");
    spec.vsock_socket = "relative";
    expect_refusal(&spec, "vsock device has no absolute path");
    memset(path + 1, 'a', sizeof(path) - 2);
    spec.vsock_socket = path;
    expect_refusal(&spec, "too long");
    spec = minimal;
    spec.oem_strings = oem;
    expect_refusal(&spec, "oem string 1 is empty");
}

static void
the_inherited_descriptors_match_the_command_line(void **state)
{
    const struct hypervisor_disk disks[] = {{.path = "/a", .fd = 30}, {.fd = 31}};
    struct spawn_fd fds[QEMU_FDS_MAX];
    struct vm_spec spec = minimal;

    (void)state;
    spec.console_fd = 12;
    spec.disks = disks;
    spec.ndisks = 2;
    assert_int_equal(qemu_cmdline_fds(&spec, 9, 8, fds), 5);
    assert_memory_equal(fds,
                        ((const struct spawn_fd[]){{8, QEMU_FD_STDERR},
                                                   {9, QEMU_FD_QMP},
                                                   {12, QEMU_FD_CONSOLE},
                                                   {10, QEMU_FD_KERNEL},
                                                   {31, QEMU_FD_DISK + 1}}),
                        5 * sizeof(fds[0]));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_kernel_alone_makes_the_smallest_command_line),
        cmocka_unit_test(all_that_a_vm_can_have_stands_in_order),
        cmocka_unit_test(a_tap_is_inherited_and_has_the_given_address),
        cmocka_unit_test(kvm_takes_the_cpu_that_the_probe_found),
        cmocka_unit_test(commas_in_names_and_paths_inject_nothing),
        cmocka_unit_test(reserved_cids_are_refused_by_name),
        cmocka_unit_test(a_vm_without_kernel_memory_cpu_or_name_is_refused),
        cmocka_unit_test(bad_disks_are_refused_by_number),
        cmocka_unit_test(spare_slots_bring_ports_and_disks_that_can_leave),
        cmocka_unit_test(a_restored_vm_waits_for_its_state),
        cmocka_unit_test(firmware_stands_in_for_a_kernel),
        cmocka_unit_test(huge_pages_are_asked_for_where_the_host_has_them),
        cmocka_unit_test(slots_that_are_not_there_are_refused),
        cmocka_unit_test(bad_vsock_paths_and_oem_strings_are_refused),
        cmocka_unit_test(the_inherited_descriptors_match_the_command_line),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
