/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/vm_disk/pack.h - write a disk as seekable zstd. */
#pragma once

#include <stdint.h>

struct vmt_err;

struct pack {
    int from_fd, to_fd; /* borrowed; to may be a pipe or a socket */
    int vm_type;        /* or DISK_VM_TYPE_UNKNOWN: no metadata */
    unsigned threads;   /* 1 to PACK_THREADS_MAX */
    uint64_t size;      /* of the disk, in bytes */
    uint64_t max_rate;  /* bytes of the disk a second, 0: no limit */
};
#define PACK_THREADS_MAX 2u

/* Write it, and tell the SHA-256 of all that was written. The bytes depend on those of
 * the disk and the version of zstd only. Returns 0; -EFBIG: more frames than a seek table
 * has; -errno. */
int pack_run(const struct pack *pack, char ret_sha256[65], struct vmt_err *err);
