/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/vm/memory.h"

static uint64_t
min_of(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t
max_of(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

uint32_t
vm_memory_alone(uint64_t host_mib)
{
    uint64_t mib = host_mib >= 4096 ? host_mib - 1024 : host_mib / 4 * 3;

    return (uint32_t)min_of(mib, UINT32_MAX);
}

uint32_t
vm_memory_default(uint64_t host_mib, uint64_t promised_mib, uint64_t available_mib)
{
    uint64_t alone = vm_memory_alone(host_mib), mib;

    if (promised_mib == 0)
        return (uint32_t)alone;
    mib = promised_mib < alone ? alone - promised_mib : 0;
    mib = max_of(mib, min_of(alone / 4, available_mib / 2));
    return (uint32_t)min_of(alone, max_of(mib, VM_MEMORY_LEAST_MIB));
}
