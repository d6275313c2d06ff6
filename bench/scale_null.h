/* SPDX-License-Identifier: BSD-3-Clause */
/* bench/scale_null.h - a hypervisor that runs nothing, so that only our own cost is left.
 */
#pragma once

struct hypervisor;
struct vmt_clock;

/* A VM's control channel answers on the turn after its start, and it ends on the turn
 * after it was told to. clock is borrowed. Returns 0 or -ENOMEM. */
int scale_null_new(struct vmt_clock *clock, struct hypervisor **ret_hv);
