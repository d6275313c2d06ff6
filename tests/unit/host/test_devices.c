/* SPDX-License-Identifier: BSD-3-Clause */
/* What callers send as a device, and is none. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "core/adapter/host_device.h"
#include "core/base/err.h"
#include "platform/linux/host/host_internal.h"
#include "tests/unit/test.h"

static void
expect_no_usb(int fd)
{
    struct host_usb usb = {1, 2};
    struct vmt_err err = {0};

    assert_true(fd >= 0);
    assert_int_equal(linux_host_devices.usb_check(NULL, fd, &usb, &err), -EINVAL);
    assert_non_null(strstr(err.msg, "no USB device"));
    assert_int_equal(usb.vendor, 1);
    close(fd);
}

static void
only_nodes_of_usbfs_are_usb_devices(void **state)
{
    int ends[2];
    struct host_usb usb;

    (void)state;
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    expect_no_usb(ends[0]);
    expect_no_usb(ends[1]);
    expect_no_usb(open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    expect_no_usb(open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
    expect_no_usb(open("/dev/null", O_RDWR | O_CLOEXEC));
    expect_no_usb(open("/dev/null", O_PATH | O_CLOEXEC));
    assert_int_equal(linux_host_devices.usb_check(NULL, -1, &usb, NULL), -EBADF);
    assert_int_equal(linux_host_devices.usb_check(NULL, 9999, &usb, NULL), -EBADF);
}

static void
names_that_are_no_taps_are_refused(void **state)
{
    static const char *const bad[] = {"",    ".",  "../tun", "a/b", "0123456789abcdef",
                                      "a b", "a%d"};
    struct vmt_err err = {0};
    int fd = -1;

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(linux_host_devices.tap_open(NULL, bad[i], 0, &fd, &err),
                         -EINVAL);
    /* No tap, and one that nobody has. */
    assert_int_equal(linux_host_devices.tap_open(NULL, "lo", 0, &fd, &err), -ENODEV);
    assert_int_equal(linux_host_devices.tap_open(NULL, "vmt-none", 0, &fd, &err),
                     -ENODEV);
    assert_non_null(strstr(err.msg, "vmt-none"));
    assert_int_equal(fd, -1);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_nodes_of_usbfs_are_usb_devices),
        cmocka_unit_test(names_that_are_no_taps_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
