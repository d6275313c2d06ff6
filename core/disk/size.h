/* SPDX-License-Identifier: BSD-3-Clause */
/* core/disk/size.h - how large a disk is. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Sizes are multiples of this. */
#define DISK_SIZE_ALIGN 4096u
/* What the rule for disks without a size never goes below. */
#define DISK_SIZE_AUTO_MIN (1024ull * 1024 * 1024)

/* Round down to a multiple of DISK_SIZE_ALIGN. */
uint64_t disk_size_align(uint64_t bytes);

/* The size of a disk for which none was asked, on a file system of total_bytes with
 * free_bytes for us: 90 % of what is free, or with a balloon, which gives unused space
 * back, 95 % of everything; aligned, and at least DISK_SIZE_AUTO_MIN.
 * Source: platform2 3050786c, vm_tools/concierge. */
uint64_t disk_size_auto(uint64_t free_bytes, uint64_t total_bytes, bool balloon);
