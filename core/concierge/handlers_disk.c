/* SPDX-License-Identifier: BSD-3-Clause */
/* core/concierge/handlers_disk.c - CreateDiskImage, and what becomes of an operation:
 * DiskImageStatus, CancelDiskImageOperation. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "concierge_service.pb-c.h"
#include "core/adapter/host.h"
#include "core/base/argv.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/log.h"
#include "core/concierge/concierge_internal.h"
#include "core/concierge/disk_reply_internal.h"
#include "core/concierge/handlers_internal.h"
#include "core/disk/request.h"
#include "core/ipc/ipc.h"

#define MKFS_OPTIONS_MAX 32
#define STATUS(name) VM_TOOLS__CONCIERGE__DISK_IMAGE_STATUS__DISK_STATUS_##name
#define IMAGE(name) VM_TOOLS__CONCIERGE__DISK_IMAGE_TYPE__DISK_IMAGE_##name

typedef VmTools__Concierge__CreateDiskImageRequest create_request;

/* spec 2: the attribute of the file counts otherwise than the messages do. */
static const int apps_types[] = {
    [VM_TYPE(UNKNOWN)] = 4,   [VM_TYPE(TERMINA)] = 0,  [VM_TYPE(ARC_VM)] = 5,
    [VM_TYPE(PLUGIN_VM)] = 1, [VM_TYPE(BOREALIS)] = 2, [VM_TYPE(BRUSCHETTA)] = 3,
    [VM_TYPE(BAGUETTE)] = 6,
};

int
disk_apps_type(int vm_type)
{
    return vm_type >= 0 && (size_t)vm_type < VMT_ARRAY_SIZE(apps_types)
               ? apps_types[vm_type]
               : apps_types[VM_TYPE(UNKNOWN)];
}

int
disk_vm_type(int apps_type)
{
    for (size_t i = 0; i < VMT_ARRAY_SIZE(apps_types); i++)
        if (apps_types[i] == apps_type)
            return (int)i;
    return VM_TYPE(UNKNOWN);
}

int
disk_find(struct concierge *c, const struct vm_id *id, enum disk_kind *ret_kind,
          struct host_disk *ret_info, struct vmt_err *err)
{
    struct host *host = c->config.host;
    struct host_disk raw, qcow2;
    char file[DISK_FILE_MAX];
    int r, q;

    r = host->disks->stat(host, id->owner, disk_file_name(id->name, DISK_KIND_RAW, file),
                          &raw, err);
    if (r < 0 && r != -ENOENT)
        return r;
    q = host->disks->stat(host, id->owner,
                          disk_file_name(id->name, DISK_KIND_QCOW2, file), &qcow2, err);
    if (q < 0 && q != -ENOENT)
        return q;
    if (r < 0 && q < 0)
        return vmt_err_setx(err, ENOENT, "there is no disk of that name");
    if (r == 0 && q == 0)
        return vmt_err_setx(err, EEXIST,
                            "there is a raw and a qcow2 disk of that name; remove one");
    *ret_kind = r == 0 ? DISK_KIND_RAW : DISK_KIND_QCOW2;
    *ret_info = r == 0 ? raw : qcow2;
    return 0;
}

int
disk_add_image(struct disk_job *job, struct vmt_argv *args, struct vmt_err *err)
{
    struct host *host = job->c->config.host;
    VMT_CLEANUP(vmt_freep) char *path = NULL;
    char file[DISK_FILE_MAX];
    int r = host->disks->prepare(host, job->op.id.owner, err);

    disk_file_name(job->op.id.name, job->image, file);
    if (r == 0)
        r = host->disks->path(host, job->op.id.owner, file, &path, err);
    if (r < 0)
        return r;
    vmt_argv_addf(args, "--image=%s", path);
    vmt_argv_addf(args, "--format=%s", job->image == DISK_KIND_QCOW2 ? "qcow2" : "raw");
    return 0;
}

void
disk_close_fds(struct concierge *c, int *fds, size_t n)
{
    struct host *host = c->config.host;

    for (size_t i = 0; i < n; i++)
        host->files->close(host, vmt_take_fd(&fds[i]));
}

static void
reply_create(struct concierge *c, struct ipc_call *call, const struct disk_answer *a)
{
    VmTools__Concierge__CreateDiskImageResponse response;
    struct host *host = c->config.host;
    VMT_CLEANUP(vmt_freep) char *path = NULL;
    char file[DISK_FILE_MAX];

    vm_tools__concierge__create_disk_image_response__init(&response);
    response.status = (VmTools__Concierge__DiskImageStatus)a->status;
    response.failure_reason = (char *)(uintptr_t)(a->why ? a->why : "");
    if (a->id) {
        disk_file_name(a->id->name, a->image, file);
        (void)host->disks->path(host, a->id->owner, file, &path, NULL);
    }
    if (path)
        response.disk_path = path;
    ipc_call_reply(call, &response.base, NULL, 0);
}

static void
answer_create(struct disk_job *job)
{
    const struct disk_answer a = {
        .status = disk_job_status(job),
        .why = disk_job_failure(job),
        .id = &job->op.id,
        .image = job->image,
    };

    reply_create(job->c, vmt_take_ptr(&job->call), &a);
}

/* Everything of a request that can be judged by itself. */
static int
check_create(const create_request *rq, bool *ret_sparse, struct vmt_err *err)
{
    bool plugin = rq->image_type == IMAGE(PLUGINVM) || rq->storage_location != 0;

    if (plugin)
        return vmt_err_setx(err, ENOTSUP, "disks of plugin VMs are not supported");
    if (rq->image_type > IMAGE(PLUGINVM))
        return vmt_err_setx(err, EINVAL, "there is no such type of disk image");
    if (rq->n_mkfs_opts + rq->n_tune2fs_opts > MKFS_OPTIONS_MAX)
        return vmt_err_setx(err, EINVAL, "there are more than %d options for mkfs",
                            MKFS_OPTIONS_MAX);
    if (*rq->filesystem && strcmp(rq->filesystem, "ext4") != 0 &&
        strcmp(rq->filesystem, "btrfs") != 0)
        return vmt_err_setx(err, EINVAL, "filesystem is ext4 or btrfs");
    if ((int)rq->allocation_type < 0 || rq->allocation_type > 2)
        return vmt_err_setx(err, EINVAL, "there is no such type of allocation");
    if (disk_request_check(rq->disk_size, (enum disk_allocation)rq->allocation_type,
                           rq->storage_ballooning, ret_sparse, err) < 0)
        return -EINVAL;
    if (!*ret_sparse && rq->image_type == IMAGE(QCOW2)) {
        /* AUTO with a size means preallocated only where the format can. */
        if (rq->allocation_type == 0)
            *ret_sparse = true;
        else
            return vmt_err_setx(err, EINVAL, "a qcow2 disk cannot be preallocated");
    }
    return 0;
}

static const char *
file_system(const create_request *rq)
{
    if (*rq->filesystem)
        return rq->filesystem;
    return rq->filesystem_type == VM_TOOLS__CONCIERGE__FILESYSTEM_TYPE__EXT4 ? "ext4"
                                                                             : NULL;
}

static int
run_create(struct disk_job *job, const create_request *rq, bool sparse, int data_fd,
           struct vmt_err *err)
{
    VMT_CLEANUP(vmt_argv_done) struct vmt_argv args = {0};
    const struct disk_fd fds[] = {{data_fd, DISK_CHILD_DATA_FD}};
    int type = rq->copy_baguette_image ? (int)VM_TYPE(BAGUETTE) : (int)rq->vm_type;
    const char *fs = file_system(rq);
    int r;

    vmt_argv_add(&args, "create");
    r = disk_add_image(job, &args, err);
    if (r < 0)
        return r;
    vmt_argv_addf(&args, "--size=%llu", (unsigned long long)rq->disk_size);
    vmt_argv_addf(&args, "--allocation=%s", sparse ? "sparse" : "full");
    vmt_argv_addf(&args, "--vm-type=%d", disk_apps_type(type));
    if (rq->storage_ballooning)
        vmt_argv_add(&args, "--storage-balloon");
    if (data_fd >= 0)
        vmt_argv_addf(&args, "--data-fd=%d", DISK_CHILD_DATA_FD);
    if (fs)
        vmt_argv_addf(&args, "--fs=%s", fs);
    for (size_t i = 0; fs && i < rq->n_mkfs_opts; i++)
        vmt_argv_addf(&args, "--fs-option=%s", rq->mkfs_opts[i]);
    for (size_t i = 0; fs && i < rq->n_tune2fs_opts; i++)
        vmt_argv_addf(&args, "--tune-option=%s", rq->tune2fs_opts[i]);
    return disk_job_run(job, &args, fds, VMT_ARRAY_SIZE(fds), err);
}

/* Returns 0 when the answer comes later; else *a says what to answer, and its words are
 * in err. */
static int
start_create(struct concierge *c, struct ipc_call *call, const create_request *rq,
             struct disk_answer *a, struct vmt_err *err)
{
    VMT_CLEANUP(disk_job_dropp) struct disk_job *job = NULL;
    struct host *host = c->config.host;
    struct host_disk info;
    int fds[VMT_FDS_MAX];
    size_t nfds = ipc_call_take_fds(call, fds, VMT_ARRAY_SIZE(fds));
    bool sparse = true;
    int data_fd = -1;
    int r = check_create(rq, &sparse, err);

    /* spec 9.2, step 2: the original leaves the status at UNKNOWN here. */
    a->status = STATUS(UNKNOWN);
    if (r == 0) {
        a->status = STATUS(FAILED);
        r = disk_find(c, a->id, &a->image, &info, err);
        if (r == 0)
            a->status = STATUS(EXISTS);
        r = r == 0 || r == -EEXIST
                ? vmt_err_setx(err, EEXIST, "a disk of that name exists")
            : r == -ENOENT ? 0
                           : r;
    }
    a->image = r == -EEXIST                     ? a->image
               : rq->image_type == IMAGE(QCOW2) ? DISK_KIND_QCOW2
                                                : DISK_KIND_RAW;
    if (r == 0 && rq->copy_baguette_image) {
        if (nfds == 0)
            r = vmt_err_setx(err, EINVAL, "copy_baguette_image needs a descriptor");
        else
            r = host->disks->source_check(host, fds[0], err);
        data_fd = nfds ? fds[0] : -1;
    }
    if (r == 0)
        r = disk_job_new(c, a->id, DISK_OP_CREATE, &job, err);
    if (r == 0) {
        job->op.secret = true;
        job->image = a->image;
        r = run_create(job, rq, sparse, data_fd, err);
    }
    if (r == 0) {
        job->call = call;
        job->answer = answer_create;
        job = NULL;
    }
    disk_close_fds(c, fds, nfds);
    return r;
}

void
concierge_handle_create_disk_image(void *ctx, struct ipc_call *call,
                                   const ProtobufCMessage *message)
{
    const create_request *rq = (const create_request *)message;
    struct disk_answer a = {.status = STATUS(FAILED)};
    struct concierge *c = ctx;
    struct vmt_err err = {0};
    struct vm_id id;

    if (disk_is_leaving(c, call))
        return;
    if (vm_id_set(&id, rq->cryptohome_id, rq->vm_name, &err) == 0) {
        a.id = &id;
        if (start_create(c, call, rq, &a, &err) == 0)
            return;
    }
    if (a.status != STATUS(EXISTS))
        a.id = NULL;
    a.why = err.msg;
    reply_create(c, call, &a);
}

bool
disk_is_leaving(struct concierge *c, struct ipc_call *call)
{
    if (c->shutting_down)
        ipc_call_fail(call, IPC_ERROR_FAILED, "vm_concierge is shutting down");
    return c->shutting_down;
}

/* An operation of somebody else is as one that does not exist: a uuid alone opens
 * nothing. */
static struct disk_job *
find_own(struct concierge *c, const struct ipc_call *call, const char *uuid)
{
    const struct ipc_caller *caller = ipc_call_caller(call);
    struct disk_job *job = disk_job_find(c, uuid);
    char own[IPC_OWNER_MAX];

    ipc_owner_for_uid(caller->uid, own);
    if (job && !caller->privileged && strcmp(own, job->op.id.owner) != 0)
        return NULL;
    return job && !job->op.secret ? job : NULL;
}

void
concierge_handle_disk_image_status(void *ctx, struct ipc_call *call,
                                   const ProtobufCMessage *message)
{
    const VmTools__Concierge__DiskImageStatusRequest *rq =
        (const VmTools__Concierge__DiskImageStatusRequest *)message;
    VmTools__Concierge__DiskImageStatusResponse response;
    struct disk_job *job = find_own(ctx, call, rq->command_uuid);

    vm_tools__concierge__disk_image_status_response__init(&response);
    response.command_uuid = rq->command_uuid;
    if (!job || (job->op.cancelled && !disk_op_is_running(&job->op))) {
        response.status = STATUS(FAILED);
        response.failure_reason =
            (char *)(uintptr_t) "there is no disk operation of yours with this id";
        ipc_call_reply(call, &response.base, NULL, 0);
        return;
    }
    if (disk_op_is_running(&job->op))
        disk_job_look(job);
    response.status = (VmTools__Concierge__DiskImageStatus)disk_job_status(job);
    response.failure_reason = (char *)(uintptr_t)disk_job_failure(job);
    response.progress = job->op.progress;
    response.owner_id = job->op.id.owner;
    ipc_call_reply(call, &response.base, NULL, 0);
    if (!disk_op_is_running(&job->op)) /* spec 9.4: told once */
        disk_job_forget(job);
}

void
concierge_handle_cancel_disk_image_operation(void *ctx, struct ipc_call *call,
                                             const ProtobufCMessage *message)
{
    const VmTools__Concierge__CancelDiskImageRequest *rq =
        (const VmTools__Concierge__CancelDiskImageRequest *)message;
    struct disk_job *job = find_own(ctx, call, rq->command_uuid);

    if (!job)
        reply_success(call, "there is no disk operation of yours with this id");
    else if (!disk_op_is_running(&job->op))
        reply_success(call, "the operation is over already");
    else if (job->op.kind == DISK_OP_RESIZE || job->op.kind == DISK_OP_RESIZE_LIVE)
        reply_success(call, "a resize cannot be undone half-way; let it end");
    else if (job->cancel_call)
        reply_success(call, "the operation is being cancelled already");
    else
        disk_job_cancel(job, call);
}
