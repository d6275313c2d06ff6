/* SPDX-License-Identifier: BSD-3-Clause */
/* core/concierge/record_memory.c - what survives the daemon about memory and processors.
 */
#include <string.h>

#include "core/concierge/concierge_internal.h"
#include "core/concierge/record_internal.h"
#include "vmt_state.pb-c.h"

void
record_memory_fill(const struct concierge *c, Vmt__DaemonRecord *record)
{
    record->balloon_interval_chosen = c->balloons.interval_chosen;
    record->balloon_interval_ms = c->balloons.interval_ms;
    for (unsigned i = 0; i < CPU_CLASSES; i++)
        record->cpu_background |= (uint32_t)c->cpu.background[i] << i;
}

void
record_memory_read(struct concierge *c, const Vmt__DaemonRecord *record)
{
    for (unsigned i = 0; i < CPU_CLASSES; i++)
        c->cpu.background[i] = record->cpu_background >> i & 1;
    c->balloons.interval_chosen = record->balloon_interval_chosen;
    if (record->balloon_interval_chosen &&
        record->balloon_interval_ms <= BALLOON_INTERVAL_MAX_MS)
        c->balloons.interval_ms = record->balloon_interval_ms;
}

void
record_cpu_fill(const struct concierge_vm *vm, Vmt__VmRecord *record)
{
    record->cpu_weight = vm->cpu.weight;
    record->has_cgroup = vm->cpu.grouped;
    record->storage_ballooning = vm->storage.wanted;
    if (vm->storage.place)
        record->storage_place = vm->storage.place;
}

void
record_cpu_read(struct concierge_vm *vm, const Vmt__VmRecord *record)
{
    vm->cpu.weight = record->cpu_weight;
    vm->cpu.grouped = record->has_cgroup && vm->run_dir;
    vm->storage.wanted = record->storage_ballooning;
    if (*record->storage_place) /* without memory the guest is not told, no more */
        vm->storage.place = strdup(record->storage_place);
}
