/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/disk/size.h"

uint64_t
disk_size_align(uint64_t bytes)
{
    return bytes - bytes % DISK_SIZE_ALIGN;
}

/* Without overflow for any of 64 bits. */
static uint64_t
size_percent(uint64_t bytes, unsigned percent)
{
    return bytes / 100 * percent + bytes % 100 * percent / 100;
}

uint64_t
disk_size_auto(uint64_t free_bytes, uint64_t total_bytes, bool balloon)
{
    uint64_t bytes =
        balloon ? size_percent(total_bytes, 95) : size_percent(free_bytes, 90);

    bytes = disk_size_align(bytes);
    return bytes < DISK_SIZE_AUTO_MIN ? DISK_SIZE_AUTO_MIN : bytes;
}
