/* SPDX-License-Identifier: BSD-3-Clause */
/* core/concierge/shape_internal.h - processors and memory of a VM that is to start. */
#pragma once

struct concierge;
struct start_plan;
struct vmt_err;
typedef struct VmTools__Concierge__StartVmRequest VmTools__Concierge__StartVmRequest;

/* Fill in cpus, mem_mib, cpu_weight and hugepages of plan. Returns 0, -EINVAL for what is
 * out of range, -ENOTSUP for what the hypervisor cannot do. */
int plan_shape(struct concierge *c, const VmTools__Concierge__StartVmRequest *request,
               struct start_plan *plan, struct vmt_err *err);
