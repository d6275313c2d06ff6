/* SPDX-License-Identifier: BSD-3-Clause */
/* What callers send as a device, and is none. */
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <sched.h>
#include <stdbool.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/wait.h>
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

#define TAP "vmt-test"
#define TAP_UID 1234u

/* A tap that stays, in a network and with a sysfs of our own. */
static bool
make_tap(void)
{
    struct ifreq rq = {.ifr_name = TAP, .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
    int fd;

    if (unshare(CLONE_NEWNET | CLONE_NEWNS) < 0 ||
        mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount("sysfs", "/sys", "sysfs", 0, NULL) < 0)
        return false;
    fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
    if (fd < 0 || ioctl(fd, TUNSETIFF, &rq) < 0 || ioctl(fd, TUNSETOWNER, TAP_UID) < 0 ||
        ioctl(fd, TUNSETPERSIST, 1) < 0)
        return false;
    close(fd);
    return true;
}

/* The number of what went wrong; 0: nothing. */
static int
use_tap(void)
{
    int fd = -1, second = -1;

    if (linux_host_devices.tap_open(NULL, TAP, TAP_UID + 1, &fd, NULL) != -EACCES)
        return 1;
    if (linux_host_devices.tap_open(NULL, TAP, TAP_UID, &fd, NULL) != 0)
        return 2;
    if (linux_host_devices.tap_open(NULL, TAP, TAP_UID, &second, NULL) != -EBUSY)
        return 3;
    close(fd);
    if (linux_host_devices.tap_open(NULL, TAP, 0, &fd, NULL) != 0)
        return 4;
    close(fd);
    return second == -1 ? 0 : 5;
}

#define NO_RIGHT 77

static void
a_tap_is_for_its_owner_once(void **state)
{
    int status;
    pid_t child = fork();

    (void)state;
    assert_true(child >= 0);
    if (child == 0)
        _exit(make_tap() ? use_tap() : NO_RIGHT);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == NO_RIGHT)
        skip();
    assert_int_equal(WEXITSTATUS(status), 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_nodes_of_usbfs_are_usb_devices),
        cmocka_unit_test(names_that_are_no_taps_are_refused),
        cmocka_unit_test(a_tap_is_for_its_owner_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
