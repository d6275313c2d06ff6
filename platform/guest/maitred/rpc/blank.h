/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/guest/maitred/rpc/blank.h - is a disk empty, so that formatting it destroys
 * nothing? */
#pragma once

struct vmt_err;

/* 1 when the device is zero at the front (64 MiB and a little), in samples all over it,
 * and at its end: where every file system, partition table, RAID and LVM keeps something,
 * be it after the loss of its superblock. 0 when not; -errno. */
int blank_check(const char *device, struct vmt_err *err);
