/* SPDX-License-Identifier: BSD-3-Clause */
/* core/disk/superblock.h - what the first bytes of a disk say that it holds. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* As many bytes as are looked at: btrfs has its superblock at 64 KiB. */
#define DISK_PROBE_BYTES (68u * 1024)

enum disk_content {
    DISK_CONTENT_UNKNOWN, /* also nothing */
    DISK_CONTENT_EXT,     /* ext2, ext3 or ext4 */
    DISK_CONTENT_BTRFS,
    DISK_CONTENT_PARTITIONS, /* a table of them */
    DISK_CONTENT_OTHER,      /* a file system of which only the name is known here */
};

struct disk_probe {
    enum disk_content content;
    const char *name; /* "ext4" and the like; NULL when unknown */
    uint64_t size;    /* bytes of an ext or btrfs file system, 0 for others */
};

/* The disk begins with len bytes at data; those that are missing are as zeros. A disk is
 * what a hostile guest made of it. */
void disk_probe(const uint8_t *data, size_t len, struct disk_probe *ret_probe);
