/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/guest/maitred/rpc/stateful.h - the disk that keeps the containers: made when
 * it is empty, mounted, and as large as the disk. Reads and writes it: for workers. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct vmt_err;

/* Source: platform2 vm_tools/maitred/service_impl.cc, kStatefulMount, and
 * spec/maitred.md 9. */
#define STATEFUL_DIR "/mnt/stateful"
#define STATEFUL_DEVICE_DEFAULT "/dev/vdb"
#define STATEFUL_DEVICE_MAX 128

enum stateful_outcome {
    STATEFUL_MOUNTED = 1,
    STATEFUL_OLDER,  /* the newest state is damaged, the one before it is mounted */
    STATEFUL_FAILED, /* it holds something that does not mount, and is kept as it is */
};

struct stateful {
    enum stateful_outcome outcome;
    bool has_free;
    uint64_t free_bytes;
    char why[256]; /* in words, for STATEFUL_FAILED and STATEFUL_OLDER; else "" */
};

/* Mount the device at STATEFUL_DIR; once it is, further calls change nothing. An empty
 * disk gets a btrfs. One with btrfs, ext4 or xfs is mounted as such. Returns 0 and says
 * in ret what came of it; -ENODEV: there is no such disk, or another one is mounted
 * there; -ENOENT: no mkfs.btrfs; -errno. */
int stateful_mount(const char *device, struct stateful *ret, struct vmt_err *err);
