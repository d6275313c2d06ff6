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
disk_plan_open(struct start_plan *plan, const char *path, bool writable,
               const char *serial, int *ret_fd, bool *ret_qcow2, struct vmt_err *err)
{
    struct host *host = plan->host;
    struct plan_image *image = &plan->images[plan->nimages];
    char name[VMT_VM_NAME_MAX + 1];
    enum disk_kind kind;
    const char *file;
    int r;

    if (!host->disks->is_inside(host, plan->id.owner, path, &file))
        return 0;
    if (!disk_file_parse(file, name, &kind) || kind == DISK_KIND_PFLASH ||
        strlen(file) >= sizeof(image->file))
        return vmt_err_setx(err, ENOENT, "disk %s: this is no disk image", path);
    r = host->disks->open(host, plan->id.owner, file, writable, ret_fd, err);
    if (r == -EBUSY) /* people know it by its name */
        return vmt_err_setx(err, EBUSY, "disk %s is in use by another VM or program",
                            name);
    if (r < 0)
        return r;
    *ret_qcow2 = kind == DISK_KIND_QCOW2;
    (void)snprintf(image->serial, sizeof(image->serial), "%s", serial);
    (void)snprintf(image->file, sizeof(image->file), "%s", file);
    image->read_only = !writable;
    plan->nimages++;
    return 1;
}

int
disk_plan_pflash(struct start_plan *plan, int sent, int *ret_fd, struct vmt_err *err)
{
    struct host *host = plan->host;
    char file[DISK_FILE_MAX];
    struct host_disk info;
    int r;

    disk_file_name(plan->id.name, DISK_KIND_PFLASH, file);
    r = host->disks->stat(host, plan->id.owner, file, &info, err);
    if (r == -ENOENT) {
        *ret_fd = sent;
        return 0;
    }
    if (r < 0)
        return r;
    if (sent >= 0)
        return vmt_err_setx(err, EEXIST,
                            "firmware variables are installed for this VM; do not send "
                            "others");
    return host->disks->open(host, plan->id.owner, file, true, ret_fd, err);
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
