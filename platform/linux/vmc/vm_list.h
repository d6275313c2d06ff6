/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/vmc/vm_list.h - ask for all VMs of the owner. */
#pragma once

struct vmc;
struct vmt_err;
typedef struct VmTools__Concierge__ListVmsResponse VmTools__Concierge__ListVmsResponse;

/* Returns as vmc_call, or -EIO when the daemon refuses. */
int vm_list_get(struct vmc *vmc, VmTools__Concierge__ListVmsResponse **ret_list,
                struct vmt_err *err);
void vm_list_freep(VmTools__Concierge__ListVmsResponse **list);
