/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/host/devices.c - USB devices by descriptor, taps by name.
 * Sources: Documentation/admin-guide/devices.txt of Linux 6.1 (189 char: USB devices);
 * drivers/usb/core/devio.c (a read at 0 gives the device descriptor); USB 2.0, table 9-8;
 * Documentation/networking/tuntap.rst. */
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "core/adapter/host_device.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "platform/linux/host/host_internal.h"

#define USB_DEVICE_MAJOR 189u
#define DESCRIPTOR_LEN 18
#define DESCRIPTOR_TYPE_DEVICE 1

static int
devices_usb_check(struct host *host, int fd, struct host_usb *ret_usb,
                  struct vmt_err *err)
{
    uint8_t d[DESCRIPTOR_LEN];
    struct stat st;
    int flags = fcntl(fd, F_GETFL);
    ssize_t n;

    (void)host;
    if (flags < 0 || linux_host_look(fd, &st) < 0)
        return vmt_err_set(err, errno, "look at the USB device");
    if (!S_ISCHR(st.st_mode) || major(st.st_rdev) != USB_DEVICE_MAJOR)
        return vmt_err_setx(err, EINVAL,
                            "the descriptor is no USB device: open one of /dev/bus/usb");
    if ((flags & O_ACCMODE) != O_RDWR || (flags & O_PATH))
        return vmt_err_setx(err, EINVAL,
                            "the USB device is not open for reading and writing");
    n = pread(fd, d, sizeof(d), 0);
    if (n < 0)
        return vmt_err_set(err, errno, "read the USB device's descriptor");
    if (n != DESCRIPTOR_LEN || d[1] != DESCRIPTOR_TYPE_DEVICE)
        return vmt_err_setx(err, EINVAL, "the USB device does not say what it is");
    ret_usb->vendor = (uint16_t)(d[8] | d[9] << 8);
    ret_usb->product = (uint16_t)(d[10] | d[11] << 8);
    return 0;
}

/* dev_valid_name of Linux is a little wider; nobody calls a tap so. */
static bool
is_interface_name(const char *name)
{
    size_t len = strlen(name);

    return len > 0 && len < HOST_DEVICE_NAME_MAX && name[0] != '.' &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                        "-_.") == len;
}

/* Whose tap it is; -1 for nobody's in particular. Returns 0, -ENODEV. */
static int
tap_owner(const char *name, long *ret_owner, struct vmt_err *err)
{
    char path[128], text[32];
    VMT_CLEANUP(vmt_closep) int fd = -1;
    ssize_t n;

    (void)snprintf(path, sizeof(path), "/sys/class/net/%s/owner", name);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
    if (n <= 0)
        return vmt_err_setx(err, ENODEV, "there is no tap %s", name);
    text[n] = '\0';
    *ret_owner = strtol(text, NULL, 10);
    return 0;
}

static int
devices_tap_open(struct host *host, const char *name, uint32_t uid, int *ret_fd,
                 struct vmt_err *err)
{
    VMT_CLEANUP(vmt_closep) int fd = -1;
    struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
    long owner = -1;
    int r;

    (void)host;
    if (!is_interface_name(name))
        return vmt_err_setx(err, EINVAL, "this is no name of a tap");
    r = tap_owner(name, &owner, err);
    if (r < 0)
        return r;
    if (uid != 0 && uid != (uint32_t)geteuid() && owner != (long)uid)
        return vmt_err_setx(err, EACCES, "the tap %s is not yours", name);
    fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return vmt_err_set(err, errno, "open /dev/net/tun");
    (void)snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
    /* If it went away meanwhile, this makes one that is gone with the descriptor. */
    if (ioctl(fd, TUNSETIFF, &request) < 0)
        return vmt_err_set(err, errno, "open the tap %s", name);
    *ret_fd = vmt_take_fd(&fd);
    return 0;
}

const struct host_device_ops linux_host_devices = {
    .usb_check = devices_usb_check,
    .tap_open = devices_tap_open,
};
