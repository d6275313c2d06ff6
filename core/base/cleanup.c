/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/base/cleanup.h"

#include <errno.h>
#include <unistd.h>

void
vmt_closep(int *fd)
{
    int saved = errno;

    if (*fd >= 0)
        (void)close(*fd);
    errno = saved;
}
