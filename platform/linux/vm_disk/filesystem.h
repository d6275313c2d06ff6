/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/vm_disk/filesystem.h - file systems in raw images, by their own tools.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "core/disk/superblock.h"

struct options;
struct vmt_err;

/* Options that a caller gives to mke2fs and the like; others, as mke2fs -d, would read
 * files with our rights. Returns 0; -EINVAL names the one that is not allowed. */
int filesystem_check_options(const struct options *opt, struct vmt_err *err);

/* Make the file system that opt asks for in a raw image, unless it is there. Anything
 * else that is there is -EIO. */
int filesystem_make(const struct options *opt, int fd, struct vmt_err *err);

/* What the disk begins with. */
int filesystem_probe(int fd, struct disk_probe *ret_probe, struct vmt_err *err);

/* Check the ext file system in the raw image, and mend what needs no question. The caller
 * holds signals: it must not be stopped half way. */
int filesystem_check(int fd, bool filter, struct vmt_err *err);

/* Give the file system, which was checked, as many bytes. The caller holds signals. */
int filesystem_resize(int fd, uint64_t size, bool filter, struct vmt_err *err);
