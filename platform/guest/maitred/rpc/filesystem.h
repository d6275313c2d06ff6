/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/guest/maitred/rpc/filesystem.h - a mounted file system on one of the VM's
 * disks: which one, how large, and larger or smaller. All calls may block on the disk. */
#pragma once

#include <stdint.h>

struct vmt_err;

#define FILESYSTEM_TARGET_MAX 512
#define FILESYSTEM_DEVICE_MAX 64
#define FILESYSTEM_SERIAL_MAX 64 /* virtio-blk has 20 bytes */

struct filesystem {
    char device[FILESYSTEM_DEVICE_MAX]; /* "/dev/vdb" */
    char target[FILESYSTEM_TARGET_MAX]; /* where it is mounted */
    char type[16];                      /* "ext4" */
};

/* The file system on the disk with this virtio serial; "" is the stateful disk: what is
 * mounted at /mnt/stateful, else the first mounted virtio disk that is not the root.
 * Returns 0, or -ENODEV with words when there is no such disk, or nothing of it is
 * mounted. */
int filesystem_find(const char *serial, struct filesystem *ret_fs, struct vmt_err *err);

/* The file system that is mounted at target, of several the last one, which hides the
 * others. Returns 0, -ENODEV, -errno. */
int filesystem_at(const char *target, struct filesystem *ret_fs);

/* Bytes that the file system takes of its disk, and the least it can have while it is
 * mounted. Returns 0, -ENOTSUP for a type that cannot be resized, -errno. */
int filesystem_size(const struct filesystem *fs, uint64_t *ret_size, uint64_t *ret_min,
                    struct vmt_err *err);

/* Make it so many bytes large. Waits a few seconds for the disk to become large enough.
 * Returns 0, -ENOTSUP for what the file system cannot do, -ENOSPC, -errno. */
int filesystem_resize(const struct filesystem *fs, uint64_t size, struct vmt_err *err);
