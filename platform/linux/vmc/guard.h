/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/vmc/guard.h - a VM that is there for one call of vmc ends with it. */
#pragma once

#include <sys/types.h>

struct vmc;
struct vmt_err;

/* A process of ours that outlives what nobody can catch, such as SIGKILL, and stops the
 * VM then. */
struct vmc_guard {
    pid_t pid;
    int fd; /* owned; its end tells the guard that we are gone */
};

/* Start it, before the VM. The name is borrowed for the call. vmc_guard_dismiss on
 * success. Returns 0, -errno of pipe2 or fork. */
int vmc_guard_start(const struct vmc *vmc, const char *name, struct vmc_guard *ret_guard,
                    struct vmt_err *err);

/* The VM has ended, or shall stay. */
void vmc_guard_dismiss(struct vmc_guard *guard);
