/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/guest/maitred/rpc/blank.h - is a disk empty, so that formatting it destroys
 * nothing? */
#pragma once

struct vmt_err;

/* 1 when the first 2 MiB and the last 1 MiB of the device are zero: every file system,
 * partition table, RAID and LVM keeps a superblock in one of them. 0 when not; -errno. */
int blank_check(const char *device, struct vmt_err *err);
