/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/guest/maitred/agent/memory.h - look after the guest's memory, and tell the
 * host when it is not enough. */
#pragma once

struct agent;

/* Hand the controllers down to the groups of programs and begin to watch; once is enough.
 * As PID 1 only. */
void memory_start(struct agent *agent);
