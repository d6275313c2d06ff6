/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/guest/maitred/init/power.h"

#include <stdbool.h>
#include <sys/reboot.h>
#include <unistd.h>

/* ACPI on PCs, PSCI on arm. Both stand in /sys or the device tree; without /sys nothing
 * is known, and ACPI is the likely case. */
static bool
can_power_off(void)
{
    return access("/sys/firmware", F_OK) < 0 || access("/sys/firmware/acpi", F_OK) == 0 ||
           access("/sys/firmware/devicetree/base/psci", F_OK) == 0;
}

void
power_down(enum cmdline_poweroff mode)
{
    int how = RB_POWER_OFF;

    if (mode == CMDLINE_POWEROFF_HALT)
        how = RB_HALT_SYSTEM;
    if (mode == CMDLINE_POWEROFF_REBOOT ||
        (mode == CMDLINE_POWEROFF_AUTO && !can_power_off()))
        how = RB_AUTOBOOT;
    (void)reboot(how);
    (void)reboot(RB_AUTOBOOT); /* the first was refused */
    while (getpid() == 1)
        (void)pause();
}
