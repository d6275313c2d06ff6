/* SPDX-License-Identifier: BSD-3-Clause */
/* The check against shell scripts that answer like some QEMU. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/err.h"
#include "hypervisor/qemu/qemu.h"
#include "tests/unit/test.h"

#define VERSION_7_2 "QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18)"
#define DEVICES_BUT_VSOCK                                                                \
    "name \"virtio-blk-pci\", bus PCI\nname \"virtio-net-pci\", bus PCI\n"               \
    "name \"virtio-rng-pci\", bus PCI\nname \"virtio-balloon-pci\", bus PCI\n"           \
    "name \"pcie-root-port\", bus PCI\nname \"qemu-xhci\", bus PCI\n"                    \
    "name \"pvpanic\", bus ISA\nname \"vmgenid\"\n"
#define DEVICES DEVICES_BUT_VSOCK "name \"vhost-user-vsock-pci\", bus PCI\n"

/* Run the check on a script with these answers. */
static int
check(const char *version, const char *devices, struct vmt_err *err)
{
    char path[] = "/tmp/vmt-check-XXXXXX";
    struct qemu_config config = {.binary = path};
    struct hypervisor *hv = NULL;
    int fd = mkstemp(path), r;

    assert_true(fd >= 0);
    assert_true(dprintf(fd,
                        "#!/bin/sh\ncase $1 in\n--version) cat <<'END'\n%s\nEND\n;;\n*) "
                        "cat <<'END'\n%s\nEND\n;;\nesac\n",
                        version, devices) > 0);
    assert_int_equal(fchmod(fd, 0700), 0);
    close(fd);
    assert_int_equal(qemu_new(&config, &hv, NULL), 0);
    r = hv->ops->check(hv, err);
    hv->ops->free(hv);
    unlink(path);
    return r;
}

static void
a_usable_qemu_passes(void **state)
{
    struct vmt_err err = {0};

    (void)state;
    if (check(VERSION_7_2, DEVICES, &err) != 0)
        fail_msg("%s", err.msg);
    assert_int_equal(check("QEMU emulator version 10.1.0", DEVICES, NULL), 0);
}

static void
an_old_qemu_is_refused_with_its_version(void **state)
{
    struct vmt_err err = {0};

    (void)state;
    assert_int_equal(check("QEMU emulator version 7.1.9", DEVICES, &err), -ENOTSUP);
    assert_non_null(strstr(err.msg, "version 7.1, and 7.2 is needed"));
    assert_int_equal(check("QEMU emulator version 6.8.0", DEVICES, &err), -ENOTSUP);
}

static void
a_missing_device_is_named(void **state)
{
    struct vmt_err err = {0};

    (void)state;
    assert_int_equal(check(VERSION_7_2, DEVICES_BUT_VSOCK, &err), -ENOTSUP);
    assert_non_null(strstr(err.msg, "vhost-user-vsock-pci"));
    assert_non_null(strstr(err.msg, "apt install qemu-system-x86"));
}

static void
an_emulator_of_another_machine_is_refused(void **state)
{
    struct vmt_err err = {0};

    (void)state;
    assert_int_equal(check(VERSION_7_2, "qemu: unsupported machine type", &err),
                     -ENOTSUP);
    assert_non_null(strstr(err.msg, "no machine q35"));
}

static void
another_program_is_refused(void **state)
{
    struct vmt_err err = {0};

    (void)state;
    assert_int_equal(check("GNU bash, version 5.2", DEVICES, &err), -ENOTSUP);
    assert_int_equal(check("", "", &err), -ENOTSUP);
}

/* Without the kill the check lasts as long as the program that it started. */
static void
a_program_that_stays_after_its_answer_is_ended(void **state)
{
    struct vmt_err err = {0};

    (void)state;
    if (check(VERSION_7_2 "\nEND\nexec sleep 1000 >&- 2>&-\ncat <<'END'", DEVICES,
              &err) != 0)
        fail_msg("%s", err.msg);
}

static void
a_missing_binary_says_what_to_install(void **state)
{
    const struct qemu_config config = {.binary = "qemu-system-nonexistent"};
    struct hypervisor *hv = NULL;
    struct vmt_err err = {0};

    (void)state;
    assert_int_equal(qemu_new(&config, &hv, NULL), 0);
    assert_int_equal(hv->ops->check(hv, &err), -ENOENT);
    assert_non_null(strstr(err.msg, "qemu-system-nonexistent is not installed"));
    assert_non_null(strstr(err.msg, "apt install"));
    hv->ops->free(hv);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_usable_qemu_passes),
        cmocka_unit_test(an_old_qemu_is_refused_with_its_version),
        cmocka_unit_test(a_missing_device_is_named),
        cmocka_unit_test(an_emulator_of_another_machine_is_refused),
        cmocka_unit_test(another_program_is_refused),
        cmocka_unit_test(a_program_that_stays_after_its_answer_is_ended),
        cmocka_unit_test(a_missing_binary_says_what_to_install),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
