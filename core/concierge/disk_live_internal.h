/* SPDX-License-Identifier: BSD-3-Clause */
/* core/concierge/disk_live_internal.h - the resize of a disk that a VM has. */
#pragma once

#include <stdint.h>

struct concierge;
struct disk_job;
struct disk_live;
struct vm_id;
struct vmt_err;
typedef struct Vmt__DiskOperationRecord Vmt__DiskOperationRecord;

struct disk_live_plan {
    const char *file, *serial;
    uint64_t old_size, new_size; /* bytes */
};

/* Begin; everything is copied. The job ends by itself. On failure it is the caller's.
 * Returns 0, -ENOMEM, or what the record gave. */
int disk_live_start(struct disk_job *job, const struct vm_id *vm,
                    const struct disk_live_plan *plan, struct vmt_err *err);
/* Go on where an earlier daemon was: after the VMs were taken over. */
void disk_live_restore(struct disk_job *job, const Vmt__DiskOperationRecord *record);
/* Fill in the fields of a resize; live may be NULL. Strings point into live. */
void disk_live_to_record(struct disk_live *live, Vmt__DiskOperationRecord *record);
void disk_live_free(struct disk_live *live); /* NULL is legal */

/* After the hypervisor's VMs and all jobs were freed. */
void disk_tokens_free(struct concierge *c);
