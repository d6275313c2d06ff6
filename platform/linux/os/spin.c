/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/linux/os/spin_internal.h"

void
os_spin_init(struct os_spin *spin, long cores)
{
    *spin = (struct os_spin){.need = OS_SPIN_NEED_MIN, .never = cores < 2};
}

bool
os_spin_wants(const struct os_spin *spin)
{
    return !spin->never && spin->quick >= spin->need;
}

void
os_spin_event(struct os_spin *spin, uint64_t pause_ns)
{
    if (pause_ns > OS_SPIN_NS) {
        spin->quick = 0;
        return;
    }
    if (spin->quick < spin->need)
        spin->quick++;
    else
        spin->caught++;
}

void
os_spin_in_vain(struct os_spin *spin)
{
    if (spin->caught >= OS_SPIN_PAID)
        spin->need = OS_SPIN_NEED_MIN;
    else if (spin->need < OS_SPIN_NEED_MAX)
        spin->need *= 2;
    spin->quick = spin->caught = 0;
}
