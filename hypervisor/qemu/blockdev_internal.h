/* SPDX-License-Identifier: BSD-3-Clause */
/* hypervisor/qemu/blockdev_internal.h - disks that can be plugged, as QEMU wants them
 * described. */
#pragma once

#include <jansson.h>

#include "core/adapter/hypervisor.h"

struct vmt_err;

/* Flash has the first two of these fd sets. Descriptors of plugged disks are in the fd
 * set of this number and the slot, those of USB devices in that and the port. Smaller
 * ones belong to the start. */
#define QEMU_FDSET_FLASH 50u
#define QEMU_FDSET_SLOT 100u
#define QEMU_FDSET_USB 200u

/* The whole chain of nodes for the disk of a slot, its top named "slot<n>". The file is
 * disk->path, or the fd set of the slot. NULL: no memory. */
json_t *qemu_blockdev_node(const struct hypervisor_disk *disk, unsigned slot);

/* The virtio-blk device in the slot, id is its name. NULL: no memory. */
json_t *qemu_blockdev_device(const struct hypervisor_disk *disk, unsigned slot,
                             const char *id);

/* May QEMU have this disk? Looks at the numbers and at the file: QEMU opens a descriptor
 * of an fd set only with exactly the access mode that it asks for, and a qcow2 image must
 * not name other files. Returns 0, -EINVAL, or what reading gave. */
int qemu_blockdev_check(const struct hypervisor_disk *disk, struct vmt_err *err);

/* Is fd open in mode (O_RDONLY ..)? what is its name in words. Returns 0, -EINVAL. */
int qemu_check_mode(int fd, int mode, const char *what, struct vmt_err *err);
