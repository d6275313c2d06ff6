/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/guest/maitred/init/uevent.h"

#include <errno.h>
#include <linux/netlink.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "platform/guest/maitred/init/report.h"

#define UEVENT_MAX 8192
#define KERNEL_GROUP 1 /* lib/kobject_uevent.c; udev sends its own to group 2 */

int
uevent_open(int *ret_fd, struct vmt_err *err)
{
    struct sockaddr_nl addr = {.nl_family = AF_NETLINK, .nl_groups = KERNEL_GROUP};
    VMT_CLEANUP(vmt_closep)
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK,
                    NETLINK_KOBJECT_UEVENT);

    if (fd < 0)
        return vmt_err_set(err, errno, "open device event socket");
    if (bind(fd, (const struct sockaddr *)&addr, sizeof(addr)) < 0)
        return vmt_err_set(err, errno, "bind device event socket");
    *ret_fd = vmt_take_fd(&fd);
    return 0;
}

int
uevent_read(int fd, char *buf, size_t cap)
{
    struct sockaddr_nl from = {0};
    socklen_t from_len = sizeof(from);
    ssize_t n = recvfrom(fd, buf, cap - 1, 0, (struct sockaddr *)&from, &from_len);

    if (n < 0)
        return errno == EINTR ? -EAGAIN : -errno;
    if (from.nl_pid != 0) /* not the kernel */
        n = 0;
    buf[n] = '\0';
    return (int)n;
}

const char *
uevent_find(const char *event, size_t len, const char *key)
{
    size_t key_len = strlen(key);

    for (size_t at = 0; at < len; at += strlen(event + at) + 1) {
        if (strncmp(event + at, key, key_len) == 0 && event[at + key_len] == '=')
            return event + at + key_len + 1;
    }
    return NULL;
}

int
uevent_wait_path(int fd, const char *path, unsigned timeout_ms)
{
    uint64_t until = report_now_us() + (uint64_t)timeout_ms * 1000;
    char event[UEVENT_MAX];

    while (access(path, F_OK) < 0) {
        uint64_t now = report_now_us();
        struct pollfd p = {.fd = fd, .events = POLLIN};

        if (fd < 0 || now >= until)
            return -ETIMEDOUT;
        (void)poll(&p, 1, (int)((until - now) / 1000 + 1));
        while (uevent_read(fd, event, sizeof(event)) > 0)
            ;
    }
    return 0;
}
