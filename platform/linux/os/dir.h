/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/os/dir.h - scope cleanup of an open directory. */
#pragma once

#include <dirent.h>

static inline void
os_closedirp(DIR **dir)
{
    if (*dir)
        (void)closedir(*dir);
}
