/* SPDX-License-Identifier: BSD-3-Clause */
/* core/concierge/handlers_disk_destroy.c - DestroyDiskImage, and the rename of AdjustVm.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "concierge_service.pb-c.h"
#include "core/adapter/host.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/log.h"
#include "core/concierge/concierge_internal.h"
#include "core/concierge/disk_reply_internal.h"
#include "core/concierge/handlers_internal.h"
#include "core/ipc/ipc.h"

#define STATUS(name) VM_TOOLS__CONCIERGE__DISK_IMAGE_STATUS__DISK_STATUS_##name

struct concierge_vm *
disk_user(struct concierge *c, const char *owner, const char *file,
          const struct plan_image **ret_use)
{
    VMT_LIST_FOREACH(at, following, &c->vms)
    {
        struct concierge_vm *vm = VMT_CONTAINER_OF(at, struct concierge_vm, node);

        if (strcmp(vm->id.owner, owner) != 0)
            continue;
        for (size_t i = 0; i < vm->plan.nimages; i++) {
            if (strcmp(vm->plan.images[i].file, file) != 0)
                continue;
            if (ret_use)
                *ret_use = &vm->plan.images[i];
            return vm;
        }
    }
    return NULL;
}

struct concierge_vm *
disk_user_of_id(struct concierge *c, const struct vm_id *id)
{
    struct concierge_vm *vm = vm_find(c, id->owner, id->name);
    char file[DISK_FILE_MAX];

    for (int kind = 0; !vm && kind < DISK_KIND_COUNT; kind++)
        vm = disk_user(c, id->owner, disk_file_name(id->name, (enum disk_kind)kind, file),
                       NULL);
    return vm;
}

static void
reply_destroy(struct ipc_call *call, int status, const char *why)
{
    VmTools__Concierge__DestroyDiskImageResponse response;

    vm_tools__concierge__destroy_disk_image_response__init(&response);
    response.status = (VmTools__Concierge__DiskImageStatus)status;
    response.failure_reason = (char *)(uintptr_t)why;
    ipc_call_reply(call, &response.base, NULL, 0);
}

static void
answer_destroy(struct disk_job *job)
{
    bool ok = job->op.result == DISK_RESULT_OK;

    reply_destroy(vmt_take_ptr(&job->call), ok ? STATUS(DESTROYED) : STATUS(FAILED),
                  disk_job_failure(job));
}

/* Nobody may have it open: a worker that an earlier daemon lost is not in any table. */
static int
remove_file(struct concierge *c, const struct vm_id *id, enum disk_kind kind,
            struct vmt_err *err)
{
    struct host *host = c->config.host;
    char file[DISK_FILE_MAX];
    int fd = -1;
    int r;

    disk_file_name(id->name, kind, file);
    r = host->disks->open(host, id->owner, file, true, &fd, err);
    if (r == 0)
        r = host->disks->remove(host, id->owner, file, err);
    host->files->close(host, fd);
    return r == -ENOENT ? 0 : r;
}

static void
destroy(struct disk_job *job)
{
    struct vmt_err err = {0};
    int r = 0;

    for (int kind = 0; r == 0 && kind < DISK_KIND_COUNT; kind++)
        r = remove_file(job->c, &job->op.id, (enum disk_kind)kind, &err);
    disk_job_end(job, r < 0 ? DISK_RESULT_FAILED : DISK_RESULT_OK, err.msg);
}

static void
on_stopped(void *arg)
{
    struct disk_job *job = arg;
    struct stop_group *group = vmt_take_ptr(&job->group);
    char why[DISK_FAILURE_MAX];

    if (!group->failure[0]) {
        destroy(job);
        return;
    }
    (void)snprintf(why, sizeof(why), "the VM could not be stopped: %.400s",
                   group->failure);
    disk_job_end(job, DISK_RESULT_FAILED, why);
}

/* Every VM that has the image, and the VM of its name. */
static int
stop_users(struct disk_job *job, struct stop_group *group)
{
    struct concierge *c = job->c;

    VMT_LIST_FOREACH(at, following, &c->vms)
    {
        struct concierge_vm *vm = VMT_CONTAINER_OF(at, struct concierge_vm, node);
        bool uses = vm_id_compare(&vm->id, job->op.id.owner, job->op.id.name) == 0;
        char file[DISK_FILE_MAX];

        for (int kind = 0; !uses && kind < DISK_KIND_COUNT; kind++) {
            disk_file_name(job->op.id.name, (enum disk_kind)kind, file);
            for (size_t i = 0; i < vm->plan.nimages && !uses; i++)
                uses = strcmp(vm->id.owner, job->op.id.owner) == 0 &&
                       strcmp(vm->plan.images[i].file, file) == 0;
        }
        if (uses &&
            vm_stop(vm, group,
                    VM_TOOLS__CONCIERGE__VM_STOP_REASON__DESTROY_DISK_IMAGE_REQUESTED) <
                0)
            return -ENOMEM;
    }
    return 0;
}

static int
start_destroy(struct concierge *c, struct ipc_call *call, const struct vm_id *id,
              int *ret_status, struct vmt_err *err)
{
    VMT_CLEANUP(vmt_freep) struct stop_group *group = calloc(1, sizeof(*group));
    struct disk_job *job = NULL;
    struct host_disk info;
    enum disk_kind kind;
    int r = disk_find(c, id, &kind, &info, err);

    if (r == -ENOENT)
        *ret_status = STATUS(DOES_NOT_EXIST);
    if (r < 0 && r != -EEXIST) /* of two files of one name both go */
        return r;
    if (!group)
        return vmt_err_set(err, ENOMEM, "destroy a disk");
    r = disk_job_new(c, id, DISK_OP_DESTROY, &job, err);
    if (r < 0)
        return r;
    job->op.secret = true;
    job->call = call;
    job->answer = answer_destroy;
    group->left = 1;
    group->done = on_stopped;
    group->arg = job;
    job->group = group;
    (void)restart_cancel(c, id->owner, id->name);
    if (stop_users(job, group) < 0)
        (void)snprintf(group->failure, sizeof(group->failure), "out of memory");
    stop_group_filled(vmt_take_ptr(&group));
    return 0;
}

void
concierge_handle_destroy_disk_image(void *ctx, struct ipc_call *call,
                                    const ProtobufCMessage *message)
{
    const VmTools__Concierge__DestroyDiskImageRequest *rq =
        (const VmTools__Concierge__DestroyDiskImageRequest *)message;
    int status = STATUS(FAILED);
    struct vmt_err err = {0};
    struct vm_id id;

    if (disk_is_leaving(ctx, call))
        return;
    if (vm_id_set(&id, rq->cryptohome_id, rq->vm_name, &err) == 0 &&
        start_destroy(ctx, call, &id, &status, &err) == 0)
        return;
    reply_destroy(call, status, err.msg);
}

/* Both names are held, so that nothing begins on either meanwhile. */
static int
rename_files(struct concierge *c, const struct vm_id *from, const struct vm_id *to,
             struct vmt_err *err)
{
    struct host *host = c->config.host;
    char old_file[DISK_FILE_MAX], new_file[DISK_FILE_MAX];
    int r = 0;

    for (int kind = 0; r == 0 && kind < DISK_KIND_COUNT; kind++) {
        disk_file_name(from->name, (enum disk_kind)kind, old_file);
        disk_file_name(to->name, (enum disk_kind)kind, new_file);
        r = host->disks->rename(host, from->owner, old_file, new_file, err);
        if (r == -ENOENT)
            r = 0;
        if (r == -EEXIST)
            (void)vmt_err_setx(err, EEXIST, "the new name is taken");
    }
    return r;
}

static int
rename_vm(struct concierge *c, const VmTools__Concierge__AdjustVmRequest *rq,
          const struct vm_id *from, struct vmt_err *err)
{
    struct host_disk info;
    enum disk_kind kind;
    struct vm_id to;
    int r;

    if (rq->n_params != 1)
        return vmt_err_setx(err, EINVAL, "rename takes one parameter, the new name");
    r = vm_id_set(&to, from->owner, rq->params[0], err);
    if (r == 0)
        r = disk_find(c, from, &kind, &info, err);
    if (r < 0)
        return r;
    if (disk_user_of_id(c, from) || disk_user_of_id(c, &to))
        return vmt_err_setx(err, EBUSY, "a VM that runs cannot be renamed; stop it");
    r = disk_op_may_begin(&c->disks.table, from, err);
    if (r == 0)
        r = disk_op_may_begin(&c->disks.table, &to, err);
    if (r == 0 && disk_find(c, &to, &kind, &info, NULL) != -ENOENT)
        r = vmt_err_setx(err, EEXIST, "the new name is taken");
    return r < 0 ? r : rename_files(c, from, &to, err);
}

/* The other operations of the original are for plugin VMs. */
void
concierge_handle_adjust_vm(void *ctx, struct ipc_call *call,
                           const ProtobufCMessage *message)
{
    const VmTools__Concierge__AdjustVmRequest *rq =
        (const VmTools__Concierge__AdjustVmRequest *)message;
    struct vmt_err err = {0};
    struct vm_id id;
    int r;

    if (disk_is_leaving(ctx, call))
        return;
    r = vm_id_set(&id, rq->owner_id, rq->name, &err);
    if (r == 0 && strcmp(rq->operation, "rename") != 0)
        r = vmt_err_setx(&err, ENOTSUP, "there is no such operation; there is: rename");
    if (r == 0)
        r = rename_vm(ctx, rq, &id, &err);
    reply_success(call, r < 0 ? err.msg : NULL);
}
