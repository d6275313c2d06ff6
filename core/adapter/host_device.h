/* SPDX-License-Identifier: BSD-3-Clause */
/* core/adapter/host_device.h - devices of the host that a VM may be given. */
#pragma once

#include <stdint.h>

struct host;
struct vmt_err;

#define HOST_DEVICE_NAME_MAX 16 /* of an interface, with its NUL: IFNAMSIZ */

struct host_usb {
    uint16_t vendor, product;
};

struct host_device_ops {
    /* Is fd, sent by a caller, a USB device of this host, open for reading and writing?
     * Returns 0 and what the device says it is, or -EINVAL, -ENODEV: it was pulled. */
    int (*usb_check)(struct host *host, int fd, struct host_usb *ret_usb,
                     struct vmt_err *err);
    /* Open an existing tap with IFF_NO_PI and IFF_VNET_HDR for a caller: it must belong
     * to uid, unless that is root or ourselves. Returns 0 and a descriptor that is the
     * caller's, or -EINVAL, -ENODEV, -EACCES, -EBUSY, -errno. */
    int (*tap_open)(struct host *host, const char *name, uint32_t uid, int *ret_fd,
                    struct vmt_err *err);
};
