/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/vmc/cmd_stop.h - stop a VM, for vmc start that is interrupted. */
#pragma once

struct vmc;
struct vmt_err;

/* Stop and wait until it is gone; one that does not run is success, as on the original's
 * bus. Returns as vmc_call, or -EIO with the daemon's reason. */
int vm_stop(struct vmc *vmc, const char *name, struct vmt_err *err);
