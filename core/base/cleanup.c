/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/base/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

void
vmt_closep(int *fd)
{
    int saved = errno;

    if (*fd >= 0)
        (void)close(*fd);
    errno = saved;
}

int
vmt_dup_fd(int fd)
{
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);

    return copy < 0 ? -errno : copy;
}
