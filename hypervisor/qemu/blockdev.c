/* SPDX-License-Identifier: BSD-3-Clause */
#include "hypervisor/qemu/blockdev_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "core/base/err.h"
#include "hypervisor/qemu/qcow2_internal.h"

#define NAME_MAX_LEN 64

/* What a guest discards becomes a hole in the file. */
static json_t *
file_node(const struct hypervisor_disk *disk, unsigned slot)
{
    char set[NAME_MAX_LEN];

    (void)snprintf(set, sizeof(set), "/dev/fdset/%u", QEMU_FDSET_SLOT + slot);
    return json_pack("{s:s,s:s,s:b,s:s,s:{s:b}}", "driver", "file", "filename",
                     disk->path ? disk->path : set, "read-only", disk->read_only,
                     "discard", disk->read_only ? "ignore" : "unmap", "cache", "direct",
                     disk->direct);
}

/* The format is never guessed, because a guest could write another one's header, and has
 * no backing file, whatever the image asks for. */
json_t *
qemu_blockdev_node(const struct hypervisor_disk *disk, unsigned slot)
{
    char name[NAME_MAX_LEN];
    json_t *node;

    (void)snprintf(name, sizeof(name), "slot%u", slot);
    node = json_pack("{s:s,s:s,s:b,s:s,s:{s:b},s:o}", "driver",
                     disk->qcow2 ? "qcow2" : "raw", "node-name", name, "read-only",
                     disk->read_only, "discard", disk->read_only ? "ignore" : "unmap",
                     "cache", "direct", disk->direct, "file", file_node(disk, slot));
    if (node && disk->qcow2 && json_object_set_new(node, "backing", json_null()) < 0) {
        json_decref(node);
        return NULL;
    }
    return node;
}

json_t *
qemu_blockdev_device(const struct hypervisor_disk *disk, unsigned slot, const char *id)
{
    json_int_t block_size = disk->block_size ? disk->block_size : 512;
    char drive[NAME_MAX_LEN], bus[NAME_MAX_LEN];

    (void)snprintf(drive, sizeof(drive), "slot%u", slot);
    (void)snprintf(bus, sizeof(bus), "rp%u", slot);
    return json_pack("{s:s,s:s,s:s,s:s,s:s,s:I,s:I}", "driver", "virtio-blk-pci", "id",
                     id, "bus", bus, "drive", drive, "serial",
                     disk->serial ? disk->serial : "", "logical_block_size", block_size,
                     "physical_block_size", block_size);
}

int
qemu_check_mode(int fd, int mode, const char *what, struct vmt_err *err)
{
    int flags = fcntl(fd, F_GETFL);

    if (flags < 0)
        return vmt_err_set(err, errno, "%s", what);
    if ((flags & O_ACCMODE) != mode)
        return vmt_err_setx(err, EINVAL, "%s must be open %s", what,
                            mode == O_RDONLY   ? "read-only"
                            : mode == O_WRONLY ? "write-only"
                                               : "for reading and writing");
    return 0;
}

int
qemu_blockdev_check(const struct hypervisor_disk *disk, struct vmt_err *err)
{
    int r = 0;

    if (!disk->path)
        r = qemu_check_mode(disk->fd, disk->read_only ? O_RDONLY : O_RDWR,
                            "its descriptor", err);
    return r == 0 && disk->qcow2 ? qcow2_check(disk->fd, disk->path, err) : r;
}
