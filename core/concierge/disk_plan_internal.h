/* SPDX-License-Identifier: BSD-3-Clause */
/* core/concierge/disk_plan_internal.h - images of owners as disks of VMs. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "core/concierge/plan_internal.h"

struct concierge;
struct vmt_err;
typedef struct Vmt__DiskUseRecord Vmt__DiskUseRecord;
typedef struct Vmt__VmRecord Vmt__VmRecord;

/* file->name is the path of a disk: choose how it is opened. An image of the plan's owner
 * is locked for as long as the hypervisor has it, and its name tells the format: then
 * file->name points behind its folder, and the plan remembers that the disk with this
 * serial is that image. Other paths leave *ret_qcow2 alone. Returns 0 or -ENOENT. */
int disk_plan_find(struct start_plan *plan, const char *serial, struct opening_file *file,
                   bool *ret_qcow2, struct vmt_err *err);

/* The first disk of a request on which an operation is going on; NULL: none. For a
 * StartVm of this VM. Returns its words. */
const char *disk_plan_busy(struct concierge *c,
                           const VmTools__Concierge__StartVmRequest *request);

/* For records. Both arrays have room for PLAN_BLOCKS_MAX; strings point into plan. */
size_t disk_uses_fill(struct start_plan *plan, Vmt__DiskUseRecord *uses,
                      Vmt__DiskUseRecord **list);
void disk_uses_restore(const Vmt__VmRecord *record, struct start_plan *plan);
