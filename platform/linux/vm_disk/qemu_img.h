/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/vm_disk/qemu_img.h - qcow2, by QEMU's own tool. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "core/disk/format.h"

struct vmt_err;

/* Whether the qcow2 image refers to no other file, and how large the disk in it is.
 * Everything below refuses one that does: it could name any file of the host.
 * -EBADMSG: see disk_qcow2_check. */
int qemu_img_check(int fd, uint64_t *ret_size, struct vmt_err *err);

/* Make the empty file to_fd an image with the content of from_fd; of other formats than
 * from one raw to another. Returns 0; what qemu_img_check and tool_run say. */
int qemu_img_convert(int from_fd, enum disk_format from, int to_fd, enum disk_format to,
                     bool filter, struct vmt_err *err);

/* Make the empty file an empty qcow2 image. */
int qemu_img_create(int fd, uint64_t size, bool filter, struct vmt_err *err);

/* Make the disk in a qcow2 image that nobody else has open larger. */
int qemu_img_resize(int fd, uint64_t size, bool filter, struct vmt_err *err);
