/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/guest/maitred/init/power.h - the last call of all. */
#pragma once

#include "platform/guest/maitred/init/cmdline.h"

/* Turn the machine off as the mode says; as PID 1 this does not return. With auto, a
 * machine that has no way to power itself off is reset instead, which ends a VM as well:
 * RB_POWER_OFF would only halt it. */
void power_down(enum cmdline_poweroff mode);
