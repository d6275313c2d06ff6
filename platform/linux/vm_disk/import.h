/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/vm_disk/import.h - take what comes in and make it a raw file. */
#pragma once

#include "core/disk/format.h"

struct jail_answer;
struct vmt_err;
struct work;

/* Read all of --data-fd in a jail and put the disk into work->temp, which is made here,
 * in the format to; what has to be converted goes into another temporary that takes its
 * place. The size in the answer is that of the disk. Returns 0;
 * -EBADMSG: no disk; -EFBIG: larger than --max-size; -ENOSPC; -EIO: damaged. */
int import_read(struct work *work, enum disk_format to, struct jail_answer *ret_answer,
                struct vmt_err *err);
