/* SPDX-License-Identifier: BSD-3-Clause */
/* core/concierge/disk_plan_internal.h - images of owners as disks of VMs. */
#pragma once

#include <stddef.h>

#include "core/concierge/plan_internal.h"

struct concierge;
struct vmt_err;
typedef struct Vmt__DiskUseRecord Vmt__DiskUseRecord;
typedef struct Vmt__VmRecord Vmt__VmRecord;

/* Is path an image of the plan's owner? Then open it, locked for as long as the
 * hypervisor has it, and remember in the plan that the disk with this serial is that
 * image. Returns 1 and a descriptor; 0 for another path; -EBUSY, -ENOENT, -errno. */
int disk_plan_open(struct start_plan *plan, const char *path, bool writable,
                   const char *serial, int *ret_fd, bool *ret_qcow2, struct vmt_err *err);

/* The variables of the firmware: the installed ones, else sent (owned, -1: none). Both
 * is an error. *ret_fd is -1 when there are none. Returns 0, -EEXIST, -EBUSY, -errno; on
 * failure sent is still the caller's. spec/concierge.md 4.1, 10. */
int disk_plan_pflash(struct start_plan *plan, int sent, int *ret_fd, struct vmt_err *err);

/* The first disk of a request on which an operation is going on; NULL: none. For a
 * StartVm of this VM. Returns its words. */
const char *disk_plan_busy(struct concierge *c,
                           const VmTools__Concierge__StartVmRequest *request);

/* For records. Both arrays have room for PLAN_BLOCKS_MAX; strings point into plan. */
size_t disk_uses_fill(struct start_plan *plan, Vmt__DiskUseRecord *uses,
                      Vmt__DiskUseRecord **list);
void disk_uses_restore(const Vmt__VmRecord *record, struct start_plan *plan);
