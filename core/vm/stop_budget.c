/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/vm/stop_budget.h"

#include <stddef.h>

#include "core/base/cleanup.h"

/* In the order in which they follow each other; a companion may need two tries. */
static const struct {
    enum vm_state state;
    uint32_t normal_ms;
    unsigned tries;
} steps[] = {
    {VM_ASKING, 30000, 1},      {VM_WAITING, 10000, 1}, {VM_QUITTING, 10000, 1},
    {VM_TERMINATING, 10000, 1}, {VM_KILLING, 10000, 1}, {VM_RELEASING, 2000, 2},
};

uint32_t
stop_budget_ms(enum vm_state state, uint64_t left_ms)
{
    uint64_t all = 0;
    uint32_t normal = 0;

    for (size_t i = 0; i < VMT_ARRAY_SIZE(steps); i++) {
        if (steps[i].state == state)
            normal = steps[i].normal_ms;
        if (normal)
            all += (uint64_t)steps[i].normal_ms * steps[i].tries;
    }
    if (normal == 0 || left_ms >= all)
        return normal;
    return (uint32_t)(left_ms * normal / all);
}
