/* SPDX-License-Identifier: BSD-3-Clause */
/* hypervisor/qemu/cmdline_internal.h - the command line that boots a vm_spec. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "core/adapter/spawn.h"

struct hypervisor_disk;
struct vm_spec;
struct vmt_argv;
struct vmt_err;

/* Numbers of the inherited descriptors in QEMU. Disks given by descriptor follow from
 * QEMU_FD_DISK on, in the order of spec->disks. */
enum qemu_fd {
    QEMU_FD_STDERR = 2,
    QEMU_FD_QMP = 3, /* listening unix stream socket */
    QEMU_FD_CONSOLE = 4,
    QEMU_FD_KERNEL = 5,
    QEMU_FD_INITRD = 6,
    QEMU_FD_DISK = 7,
    QEMU_FD_TAP = 23, /* behind the disks */
    QEMU_FD_FIRMWARE = 24,
    QEMU_FD_PFLASH = 25,
};

/* virtio-blk-pci takes one slot each; 16 leaves room on the bus of 32 for all others. */
#define QEMU_DISKS_MAX 16

/* Descriptors that one VM inherits at most: stderr, QMP and so on, one a disk. */
#define QEMU_FDS_MAX (8 + QEMU_DISKS_MAX)

/* virtio 1.2, 5.2.6.4: the identification of a block device has 20 bytes. */
#define QEMU_DISK_SERIAL_MAX 20

struct qemu_cmdline {
    const struct vm_spec *spec;
    const char *binary;
    const char *kvm_cpu; /* value of -cpu under KVM */
    bool qmp;            /* QMP on QEMU_FD_QMP */
    bool hugetlb;        /* RAM from the host's pool of huge pages of 2 MiB */
};

/* The root port of the vsock device in a VM with spare slots. */
#define QEMU_VSOCK_PORT "rpvsock"

/* Can QEMU have a disk like this? No I/O. Returns 0, -EINVAL with a sentence. */
int qemu_cmdline_check_disk(const struct hypervisor_disk *disk, struct vmt_err *err);

/* Append the command line of in->spec to argv, which stays the caller's and must be
 * empty. No I/O. Returns 0; -EINVAL with a sentence: QEMU cannot run this spec; -ENOMEM.
 * On failure argv is empty. */
int qemu_cmdline_build(const struct qemu_cmdline *in, struct vmt_argv *argv,
                       struct vmt_err *err);

/* Fill fds, at least QEMU_FDS_MAX elements, with what that command line expects to
 * inherit. qmp_fd and stderr_fd are left out when negative. Returns how many were
 * written. */
size_t qemu_cmdline_fds(const struct vm_spec *spec, int qmp_fd, int stderr_fd,
                        struct spawn_fd *fds);
