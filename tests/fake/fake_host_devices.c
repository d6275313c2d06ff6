/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/fake/fake_host_devices.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "core/base/err.h"
#include "tests/fake/fake_host.h"

static int usb_error;
static struct host_usb usb = {0x18d1, 0x4ee7};

void
fake_host_set_usb(int error, uint16_t vendor, uint16_t product)
{
    usb_error = error;
    usb = (struct host_usb){vendor, product};
}

static int
usb_check(struct host *host, int fd, struct host_usb *ret_usb, struct vmt_err *err)
{
    if (fake_host_may_fail(host, "look at the USB device", err) < 0)
        return -EIO;
    if (usb_error || fd < 0)
        return vmt_err_setx(err, usb_error ? usb_error : EBADF,
                            "the descriptor is no USB device");
    *ret_usb = usb;
    return 0;
}

static int
tap_open(struct host *host, const char *name, uint32_t uid, int *ret_fd,
         struct vmt_err *err)
{
    int r = fake_host_may_fail(host, "open the tap", err);

    if (r < 0)
        return r;
    if (strcmp(name, FAKE_TAP) != 0)
        return vmt_err_setx(err, ENODEV, "there is no tap %s", name);
    if (uid != 0 && uid != FAKE_TAP_UID)
        return vmt_err_setx(err, EACCES, "the tap %s is not yours", name);
    *ret_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    return *ret_fd < 0 ? -errno : 0;
}

const struct host_device_ops fake_host_devices = {.usb_check = usb_check,
                                                  .tap_open = tap_open};
