/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/vm_disk/pace.h - no more than so many bytes a second. */
#pragma once

#include <stdint.h>

struct pace {
    uint64_t max_rate; /* bytes a second, 0: no limit */
    uint64_t since_us, bytes;
};

/* So many more bytes were handled; sleep if that was too early. */
void pace_add(struct pace *pace, uint64_t bytes);
