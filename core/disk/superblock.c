/* SPDX-License-Identifier: BSD-3-Clause */
/* Sources: Linux 6.1, fs/ext4/ext4.h, struct ext4_super_block; btrfs_tree.h, struct
 * btrfs_super_block; file systems' own magic numbers as magic(5) has them; UEFI 2.10,
 * 5.2.3 and 5.3.2 for partition tables. */
#include "core/disk/superblock.h"

#include <stdbool.h>
#include <string.h>

#include "core/base/cleanup.h"

/* ext */
#define EXT_AT 1024u
#define EXT_BLOCKS_LO (EXT_AT + 0x4)
#define EXT_LOG_BLOCK_SIZE (EXT_AT + 0x18)
#define EXT_INCOMPAT (EXT_AT + 0x60)
#define EXT_BLOCKS_HI (EXT_AT + 0x150)
#define EXT_INCOMPAT_64BIT 0x80u
#define EXT_LOG_MAX 6u /* 64 KiB */
/* btrfs */
#define BTRFS_AT 65536u
#define BTRFS_TOTAL_BYTES (BTRFS_AT + 0x70)

static const struct {
    size_t at;
    const char *bytes;
    size_t len;
    enum disk_content content;
    const char *name;
} magics[] = {
    {EXT_AT + 0x38, "\x53\xef", 2, DISK_CONTENT_EXT, "ext4"},
    {BTRFS_AT + 0x40, "_BHRfS_M", 8, DISK_CONTENT_BTRFS, "btrfs"},
    {0, "XFSB", 4, DISK_CONTENT_OTHER, "xfs"},
    {1024, "\x10\x20\xf5\xf2", 4, DISK_CONTENT_OTHER, "f2fs"},
    {0, "hsqs", 4, DISK_CONTENT_OTHER, "squashfs"},
    {1024, "\xe2\xe1\xf5\xe0", 4, DISK_CONTENT_OTHER, "erofs"},
    {0, "LUKS\xba\xbe", 6, DISK_CONTENT_OTHER, "luks"},
    {32769, "CD001", 5, DISK_CONTENT_OTHER, "iso9660"},
    {3, "NTFS    ", 8, DISK_CONTENT_OTHER, "ntfs"},
    {536, "LVM2 001", 8, DISK_CONTENT_OTHER, "lvm2"},
    {4086, "SWAPSPACE2", 10, DISK_CONTENT_OTHER, "swap"},
    {512, "EFI PART", 8, DISK_CONTENT_PARTITIONS, "gpt"},
    {510, "\x55\xaa", 2, DISK_CONTENT_PARTITIONS, "mbr"},
};

/* size bytes, little endian; those beyond the end are zero. */
static uint64_t
get_le(const uint8_t *data, size_t len, size_t at, unsigned size)
{
    uint64_t value = 0;

    for (unsigned i = size; i-- > 0;)
        value = value << 8 | (at + i < len ? data[at + i] : 0);
    return value;
}

/* Returns 0 for what no kernel would mount. */
static uint64_t
ext_size(const uint8_t *data, size_t len)
{
    uint64_t blocks = get_le(data, len, EXT_BLOCKS_LO, 4);
    uint64_t log = get_le(data, len, EXT_LOG_BLOCK_SIZE, 4);

    if (get_le(data, len, EXT_INCOMPAT, 4) & EXT_INCOMPAT_64BIT)
        blocks |= get_le(data, len, EXT_BLOCKS_HI, 4) << 32;
    if (log > EXT_LOG_MAX || blocks > UINT64_MAX >> (10 + log))
        return 0;
    return blocks << (10 + log);
}

void
disk_probe(const uint8_t *data, size_t len, struct disk_probe *ret_probe)
{
    *ret_probe = (struct disk_probe){.content = DISK_CONTENT_UNKNOWN};
    for (size_t i = 0; i < VMT_ARRAY_SIZE(magics); i++) {
        if (len < magics[i].at + magics[i].len ||
            memcmp(data + magics[i].at, magics[i].bytes, magics[i].len) != 0)
            continue;
        ret_probe->content = magics[i].content;
        ret_probe->name = magics[i].name;
        break;
    }
    if (ret_probe->content == DISK_CONTENT_EXT)
        ret_probe->size = ext_size(data, len);
    if (ret_probe->content == DISK_CONTENT_BTRFS)
        ret_probe->size = get_le(data, len, BTRFS_TOTAL_BYTES, 8);
}
