/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/disk/attrs.h - attributes of an image on the disk: extended attributes
 * of the file, or the file ".<name>.attrs" beside it where the file system has none. */
#pragma once

#include "core/disk/attrs.h"

struct vmt_err;

/* fd is the image, open in any way but O_PATH. Returns 0 or -errno. */
int disk_attrs_read(int dir_fd, const char *name, int fd, struct disk_attrs *ret_attrs,
                    struct vmt_err *err);

/* Set those that are set in attrs; others stay. The image may have no name yet. */
int disk_attrs_write(int dir_fd, const char *name, int fd, const struct disk_attrs *attrs,
                     struct vmt_err *err);

/* Remove what is beside the image, before the image itself goes or is made anew; a
 * missing one is success. */
int disk_attrs_remove(int dir_fd, const char *name, struct vmt_err *err);
