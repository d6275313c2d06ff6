/* SPDX-License-Identifier: BSD-3-Clause */
/* core/concierge/cpu_internal.h - a cgroup for each VM, and its share of processors. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define CPU_CLASSES 3 /* of SetVmCpuRestriction */

struct concierge;
struct concierge_vm;
struct vmt_timer;

/* Of the daemon. */
struct cpu_shares {
    bool background[CPU_CLASSES]; /* the class is restricted */
    bool told;                    /* that there are no groups */
    struct vmt_timer *sweep;      /* owned: try once more to remove what is left */
    unsigned sweeps;              /* so often already */
};

/* Of a VM. */
struct vm_cpu {
    uint32_t weight;   /* that was asked for, 0: the usual one */
    uint32_t in_force; /* what its group has; 0: none, or it cannot be told */
    bool grouped;      /* it has a group, named like its run_dir */
    int fd;            /* owned while the VM starts: for new processes; below 1: none */
};

void cpu_shares_done(struct concierge *c);
/* Remove groups of VMs that are no more. */
void cpu_shares_sweep(struct concierge *c);

/* Make the group of a VM that has its run_dir. Without groups on this host nothing
 * happens; it is logged once why. */
void vm_cpu_join(struct concierge_vm *vm);
/* Its processes have been started. */
void vm_cpu_started(struct concierge_vm *vm);
/* It was taken over: its group gets the weight again that a restart of the service may
 * have cost it. */
void vm_cpu_adopt(struct concierge_vm *vm);
/* Its processes are gone. */
void vm_cpu_leave(struct concierge_vm *vm);
