/* SPDX-License-Identifier: BSD-3-Clause */
/* core/concierge/disk_plan.c - images of owners as disks of VMs. */
#include "core/concierge/disk_plan_internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "concierge_service.pb-c.h"
#include "core/adapter/host.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/concierge/concierge_internal.h"
#include "vmt_state.pb-c.h"

int
disk_plan_find(struct start_plan *plan, const char *serial, struct opening_file *file,
               bool *ret_qcow2, struct vmt_err *err)
{
    struct host *host = plan->host;
    struct plan_image *image = &plan->images[plan->nimages];
    char name[VMT_VM_NAME_MAX + 1];
    enum disk_kind kind;
    const char *inside;

    file->kind = OPENING_IMAGE;
    if (!host->disks->is_inside(host, plan->id.owner, file->name, &inside))
        return 0;
    if (!disk_file_parse(inside, name, &kind) || kind == DISK_KIND_PFLASH ||
        strlen(inside) >= sizeof(image->file))
        return vmt_err_setx(err, ENOENT, "disk %s: this is no disk image", file->name);
    file->kind = OPENING_STORE;
    file->name = inside;
    *ret_qcow2 = kind == DISK_KIND_QCOW2;
    (void)snprintf(image->serial, sizeof(image->serial), "%s", serial);
    (void)snprintf(image->file, sizeof(image->file), "%s", inside);
    image->read_only = !file->writable;
    plan->nimages++;
    return 0;
}

const char *
disk_plan_busy(struct concierge *c, const VmTools__Concierge__StartVmRequest *request)
{
    struct host *host = c->config.host;
    struct disk_job *job = disk_job_find_running(c, request->owner_id, request->name);

    for (size_t i = 0; !job && i < request->n_disks; i++) {
        char name[VMT_VM_NAME_MAX + 1];
        enum disk_kind kind;
        const char *file;

        if (host->disks->is_inside(host, request->owner_id, request->disks[i]->path,
                                   &file) &&
            disk_file_parse(file, name, &kind))
            job = disk_job_find_running(c, request->owner_id, name);
    }
    return job ? disk_op_kind_name(job->op.kind) : NULL;
}

size_t
disk_uses_fill(struct start_plan *plan, Vmt__DiskUseRecord *uses,
               Vmt__DiskUseRecord **list)
{
    for (size_t i = 0; i < plan->nimages; i++) {
        vmt__disk_use_record__init(&uses[i]);
        uses[i].serial = plan->images[i].serial;
        uses[i].file = plan->images[i].file;
        uses[i].read_only = plan->images[i].read_only;
        list[i] = &uses[i];
    }
    return plan->nimages;
}

void
disk_uses_restore(const Vmt__VmRecord *record, struct start_plan *plan)
{
    for (size_t i = 0; i < record->n_disks && i < PLAN_BLOCKS_MAX; i++) {
        struct plan_image *image = &plan->images[plan->nimages++];

        (void)snprintf(image->serial, sizeof(image->serial), "%s",
                       record->disks[i]->serial);
        (void)snprintf(image->file, sizeof(image->file), "%s", record->disks[i]->file);
        image->read_only = record->disks[i]->read_only;
    }
}
