/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/vmc/cmd_wait.h - wait for the end of a VM, for vmc start --wait. */
#pragma once

struct vmc;
struct vmt_err;

/* Wait, and print how it ended. *ret_exit_code is what the command is to end with.
 * Returns as vmc_call, or -ENOENT: no such VM is known. */
int vm_wait(struct vmc *vmc, const char *name, int *ret_exit_code, struct vmt_err *err);
