/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/guest/maitred/agent/late.h - what a running guest has beyond a booted one: its
 * memory and its devices are looked after. */
#pragma once

struct agent;

/* Begin, once: when the late part of the boot is over and it is known who we are. As PID
 * 1 only. */
void late_start(struct agent *agent);
