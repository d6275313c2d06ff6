/* SPDX-License-Identifier: BSD-3-Clause */
/* core/disk/request.h - the size of a disk, and how it lies on the host, as asked for. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct vmt_err;

#define DISK_REQUEST_ALIGN 4096u
#define DISK_REQUEST_MIN (1024ull * 1024)
/* What no disk is larger than: the most that the seek table of an export can tell. */
#define DISK_REQUEST_MAX (1ull << 44)

enum disk_allocation {
    DISK_ALLOCATION_AUTO = 0, /* full when a size is given, else sparse */
    DISK_ALLOCATION_SPARSE,
    DISK_ALLOCATION_FULL,
};

/* How a disk of size bytes (0: as large as is good for the host) is to be made. Returns
 * 0, or -EINVAL with words for a combination that makes no sense.
 * Source: spec/concierge.md 9.2, step 2. */
int disk_request_check(uint64_t size, enum disk_allocation allocation,
                       bool storage_ballooning, bool *ret_sparse, struct vmt_err *err);

/* Round a size down to what a disk can have. Returns 0 or -EINVAL. */
int disk_request_size(uint64_t size, uint64_t *ret_size, struct vmt_err *err);
