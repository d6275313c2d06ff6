/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/guest/maitred/agent/watchdog.h - a watchdog device of the machine: it resets
 * the VM when this process stands still. */
#pragma once

#include <stdint.h>

struct vmt_clock;
struct watchdog;

/* Begin to look after the device if the machine has one: timeout_s is asked for, and the
 * device may take another. NULL in *ret_watchdog: there is none. Returns 0, -ENOMEM,
 * -errno: it is there but cannot be used. */
int watchdog_new(struct vmt_clock *clock, unsigned timeout_s,
                 struct watchdog **ret_watchdog);

/* The machine goes down and has timeout_s for it: from now on the device is left to
 * itself. NULL is legal. */
void watchdog_last_time(struct watchdog *watchdog, unsigned timeout_s);

/* Stop the device and let go of it. NULL is legal. */
void watchdog_free(struct watchdog *watchdog);
