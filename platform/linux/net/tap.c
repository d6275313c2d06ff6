/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/net/tap.c - taps. Source: linux/Documentation/networking/tuntap.rst. */
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "platform/linux/net/net_internal.h"

#define TUN "/dev/net/tun"

/* What the original's taps have too: spec/concierge.md 8. The length of the header and
 * the offloads are the hypervisor's to choose. */
int
tap_open(char name[HOST_NET_NAME_MAX], int *ret_fd, struct vmt_err *err)
{
    VMT_CLEANUP(vmt_closep) int fd = open(TUN, O_RDWR | O_CLOEXEC | O_NONBLOCK);
    struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};

    if (fd < 0)
        return vmt_err_set(err, errno,
                           "open " TUN " (is the module tun loaded, and may we use it?)");
    (void)snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", TAP_TEMPLATE);
    if (ioctl(fd, TUNSETIFF, &request) < 0)
        return errno == EPERM
                   ? vmt_err_setx(err, EPERM, "make a tap: CAP_NET_ADMIN is missing")
                   : vmt_err_set(err, errno, "make a tap");
    /* Whoever runs as we do may open it again, without rights on the network. */
    if (ioctl(fd, TUNSETOWNER, (unsigned long)geteuid()) < 0)
        return vmt_err_set(err, errno, "own the tap");
    memcpy(name, request.ifr_name, HOST_NET_NAME_MAX);
    name[HOST_NET_NAME_MAX - 1] = '\0';
    *ret_fd = vmt_take_fd(&fd);
    return 0;
}

int
tap_keep(int fd, struct vmt_err *err)
{
    if (ioctl(fd, TUNSETPERSIST, 1ul) < 0)
        return vmt_err_set(err, errno, "keep the tap");
    return 0;
}
