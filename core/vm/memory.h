/* SPDX-License-Identifier: BSD-3-Clause */
/* core/vm/memory.h - how much RAM a VM gets when its start does not say. Pure. */
#pragma once

#include <stdint.h>

/* For a VM alone on its host, MiB: all but 1 GiB, or 3/4 below 4 GiB. spec 6.2 */
uint32_t vm_memory_alone(uint64_t host_mib);

/* For a VM on a host where others were promised something: what they leave of the amount
 * above, so that the promises fit. When that is little, up to a quarter of the amount all
 * the same, but no more than half of what the host could give now: VMs do not use all
 * that they may, and balloons move the rest. Never less than VM_MEMORY_LEAST_MIB, as far
 * as the amount has that. promised 0: vm_memory_alone. */
#define VM_MEMORY_LEAST_MIB 512u
uint32_t vm_memory_default(uint64_t host_mib, uint64_t promised_mib,
                           uint64_t available_mib);
