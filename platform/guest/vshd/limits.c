/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/guest/vshd/limits.h"

#include "core/base/limits.h"

/* A queue takes one read beyond the mark at which its source is stopped. */
#define CARRIED_BYTES (2u * (VMT_STREAM_HIGH_MARK + 64u * 1024))

unsigned
vshd_carried_max(uint64_t memory_bytes)
{
    uint64_t fit = memory_bytes / 4 / CARRIED_BYTES;

    if (fit < VSHD_CARRIED_MIN)
        return VSHD_CARRIED_MIN;
    return fit > VSHD_CARRIED_MAX ? VSHD_CARRIED_MAX : (unsigned)fit;
}
