/* SPDX-License-Identifier: BSD-3-Clause */
/* core/concierge/handlers_disk_move.c - ExportDiskImage, ImportDiskImage,
 * ResizeDiskImage, InstallPflash: what takes a while and is told by its uuid. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "concierge_service.pb-c.h"
#include "core/adapter/host.h"
#include "core/adapter/hypervisor.h"
#include "core/base/argv.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/log.h"
#include "core/concierge/concierge_internal.h"
#include "core/concierge/disk_live_internal.h"
#include "core/concierge/disk_reply_internal.h"
#include "core/concierge/handlers_internal.h"
#include "core/disk/request.h"
#include "core/ipc/ipc.h"

#define STATUS(name) VM_TOOLS__CONCIERGE__DISK_IMAGE_STATUS__DISK_STATUS_##name

/* The largest flash that QEMU's pc machines map is 8 MiB, on other machines 64 MiB. */
#define PFLASH_BYTES_MAX (64ull * 1024 * 1024)

/* A request that begins an operation, whatever its type. */
struct begin {
    struct concierge *c;
    struct ipc_call *call;
    struct vm_id id;
    int fds[VMT_FDS_MAX]; /* owned */
    size_t nfds;
    int status;            /* to answer */
    struct disk_job *job;  /* borrowed; NULL: none began */
    enum disk_kind image;  /* when there is one */
    struct host_disk info; /* of it */
};

typedef int begin_fn(struct begin *b, const void *request, struct vmt_err *err);

static void
begin(struct begin *b, const char *owner, const char *name, begin_fn *fn,
      const void *request, struct vmt_err *err)
{
    int r;

    b->status = STATUS(FAILED);
    b->nfds = ipc_call_take_fds(b->call, b->fds, VMT_ARRAY_SIZE(b->fds));
    r = vm_id_set(&b->id, owner, name, err);
    if (r == 0)
        r = fn(b, request, err);
    disk_close_fds(b->c, b->fds, b->nfds);
    if (r < 0 && b->job) {
        disk_job_drop(b->job);
        b->job = NULL;
    }
    if (b->job)
        b->status = STATUS(IN_PROGRESS);
    if (r == 0) /* that something was not there may have been well */
        err->msg[0] = '\0';
}

/* All three responses have the fields by which they are filled in here. */
#define REPLY(b, type, err)                                                              \
    do {                                                                                 \
        type response;                                                                   \
                                                                                         \
        INIT(&response);                                                                 \
        response.status = (VmTools__Concierge__DiskImageStatus)(b)->status;              \
        response.failure_reason = (err)->msg;                                            \
        if ((b)->job)                                                                    \
            response.command_uuid = (b)->job->op.uuid;                                   \
        ipc_call_reply((b)->call, &response.base, NULL, 0);                              \
    } while (0)

static int
find_image(struct begin *b, struct vmt_err *err)
{
    int r = disk_find(b->c, &b->id, &b->image, &b->info, err);

    if (r == -ENOENT || r == -EEXIST)
        b->status = STATUS(DOES_NOT_EXIST); /* spec 9.1: both present is none */
    return r;
}

static int
new_job(struct begin *b, enum disk_op_kind kind, struct vmt_err *err)
{
    int r = disk_job_new(b->c, &b->id, kind, &b->job, err);

    if (r == 0)
        b->job->image = b->image;
    return r;
}

static int
run_export(struct begin *b, bool digest, bool force, struct vmt_err *err)
{
    VMT_CLEANUP(vmt_argv_done) struct vmt_argv args = {0};
    const struct disk_fd fds[] = {{b->fds[0], DISK_CHILD_DATA_FD},
                                  {digest ? b->fds[1] : -1, DISK_CHILD_DIGEST_FD}};
    int r;

    vmt_argv_add(&args, "export");
    r = disk_add_image(b->job, &args, err);
    if (r < 0)
        return r;
    vmt_argv_addf(&args, "--data-fd=%d", DISK_CHILD_DATA_FD);
    if (digest)
        vmt_argv_addf(&args, "--digest-fd=%d", DISK_CHILD_DIGEST_FD);
    if (force)
        vmt_argv_add(&args, "--force");
    return disk_job_run(b->job, &args, fds, VMT_ARRAY_SIZE(fds), err);
}

static int
begin_export(struct begin *b, const void *request, struct vmt_err *err)
{
    const VmTools__Concierge__ExportDiskImageRequest *rq = request;
    struct host *host = b->c->config.host;
    bool digest = rq->generate_sha256_digest;
    bool running;
    int r = find_image(b, err);

    if (r == 0 && b->nfds < (digest ? 2u : 1u))
        r = vmt_err_setx(err, EINVAL, "an export needs a descriptor%s",
                         digest ? ", and another one for the digest" : "");
    for (size_t i = 0; r == 0 && i < (digest ? 2u : 1u); i++)
        r = host->disks->target_check(host, b->fds[i], err);
    if (r < 0)
        return r;
    running = disk_user_of_id(b->c, &b->id) != NULL;
    if (running && !rq->force)
        return vmt_err_setx(err, EBUSY,
                            "the VM runs: stop it first, or force the export of a disk "
                            "that changes meanwhile");
    r = new_job(b, DISK_OP_EXPORT, err);
    return r < 0 ? r : run_export(b, digest, rq->force, err);
}

#define INIT vm_tools__concierge__export_disk_image_response__init
void
concierge_handle_export_disk_image(void *ctx, struct ipc_call *call,
                                   const ProtobufCMessage *message)
{
    const VmTools__Concierge__ExportDiskImageRequest *rq =
        (const VmTools__Concierge__ExportDiskImageRequest *)message;
    struct begin b = {.c = ctx, .call = call};
    struct vmt_err err = {0};

    if (disk_is_leaving(ctx, call))
        return;
    begin(&b, rq->cryptohome_id, rq->vm_name, begin_export, rq, &err);
    REPLY(&b, VmTools__Concierge__ExportDiskImageResponse, &err);
}
#undef INIT

static int
run_import(struct begin *b, const VmTools__Concierge__ImportDiskImageRequest *rq,
           struct vmt_err *err)
{
    VMT_CLEANUP(vmt_argv_done) struct vmt_argv args = {0};
    const struct disk_fd fds[] = {{b->fds[0], DISK_CHILD_DATA_FD}};
    int r;

    vmt_argv_add(&args, "import");
    r = disk_add_image(b->job, &args, err);
    if (r < 0)
        return r;
    vmt_argv_addf(&args, "--data-fd=%d", DISK_CHILD_DATA_FD);
    vmt_argv_addf(&args, "--source-size=%llu", (unsigned long long)rq->source_size);
    if (rq->vm_type != VM_TYPE(UNKNOWN))
        vmt_argv_addf(&args, "--vm-type=%d", disk_apps_type((int)rq->vm_type));
    return disk_job_run(b->job, &args, fds, VMT_ARRAY_SIZE(fds), err);
}

static int
begin_import(struct begin *b, const void *request, struct vmt_err *err)
{
    const VmTools__Concierge__ImportDiskImageRequest *rq = request;
    struct host *host = b->c->config.host;
    int r;

    if (rq->storage_location != 0)
        return vmt_err_setx(err, ENOTSUP, "disks of plugin VMs are not supported");
    if (b->nfds < 1)
        return vmt_err_setx(err, EINVAL, "an import needs a descriptor");
    r = host->disks->source_check(host, b->fds[0], err);
    if (r < 0) {
        b->status = STATUS(BAD_IMAGE); /* spec 9.6 */
        return r;
    }
    if (disk_user_of_id(b->c, &b->id)) {
        b->status = STATUS(EXISTS);
        return vmt_err_setx(err, EEXIST, "a VM with this disk runs; stop it first");
    }
    b->image = DISK_KIND_RAW;
    r = disk_find(b->c, &b->id, &b->image, &b->info, err); /* is replaced as it is */
    if (r < 0 && r != -ENOENT)
        return r;
    r = new_job(b, DISK_OP_IMPORT, err);
    return r < 0 ? r : run_import(b, rq, err);
}

#define INIT vm_tools__concierge__import_disk_image_response__init
void
concierge_handle_import_disk_image(void *ctx, struct ipc_call *call,
                                   const ProtobufCMessage *message)
{
    const VmTools__Concierge__ImportDiskImageRequest *rq =
        (const VmTools__Concierge__ImportDiskImageRequest *)message;
    struct begin b = {.c = ctx, .call = call};
    struct vmt_err err = {0};

    if (disk_is_leaving(ctx, call))
        return;
    begin(&b, rq->cryptohome_id, rq->vm_name, begin_import, rq, &err);
    REPLY(&b, VmTools__Concierge__ImportDiskImageResponse, &err);
}
#undef INIT

/* Offline: the worker changes the image and the file system in it. */
static int
run_resize(struct begin *b, uint64_t size, struct vmt_err *err)
{
    VMT_CLEANUP(vmt_argv_done) struct vmt_argv args = {0};
    int r;

    vmt_argv_add(&args, "resize");
    r = disk_add_image(b->job, &args, err);
    if (r < 0)
        return r;
    vmt_argv_addf(&args, "--size=%llu", (unsigned long long)size);
    vmt_argv_add(&args, size < b->info.bytes ? "--shrink-fs" : "--grow-fs");
    vmt_argv_add(&args, "--user-chosen-size");
    return disk_job_run(b->job, &args, NULL, 0, err);
}

static int
resize_live(struct begin *b, struct concierge_vm *vm, const struct plan_image *use,
            uint64_t size, struct vmt_err *err)
{
    const struct disk_live_plan plan = {
        .file = use->file,
        .serial = use->serial,
        .old_size = b->info.bytes,
        .new_size = size,
    };
    int r;

    if (use->read_only)
        return vmt_err_setx(err, EBUSY, "the VM has this disk for reading only; stop it");
    if (vm->state != VM_RUNNING)
        return vmt_err_setx(err, EBUSY, "the VM is neither running nor stopped; wait");
    if (!(b->c->config.hypervisor->ops->caps & HYPERVISOR_CAP_DISK_RESIZE))
        return vmt_err_setx(err, ENOTSUP,
                            "this hypervisor cannot resize a disk in use; stop the VM");
    r = new_job(b, DISK_OP_RESIZE_LIVE, err);
    return r < 0 ? r : disk_live_start(b->job, &vm->id, &plan, err);
}

static int
begin_resize(struct begin *b, const void *request, struct vmt_err *err)
{
    const VmTools__Concierge__ResizeDiskImageRequest *rq = request;
    const struct plan_image *use = NULL;
    struct concierge_vm *vm;
    char file[DISK_FILE_MAX];
    uint64_t size = 0;
    int r = find_image(b, err);

    if (r == 0)
        r = disk_op_may_begin(&b->c->disks.table, &b->id, err);
    if (r == 0)
        r = disk_request_size(rq->disk_size, &size, err);
    if (r < 0)
        return r;
    if (size == b->info.bytes) {
        b->status = STATUS(RESIZED);
        return 0;
    }
    disk_file_name(b->id.name, b->image, file);
    vm = disk_user(b->c, b->id.owner, file, &use);
    if (vm && use)
        return resize_live(b, vm, use, size, err);
    r = new_job(b, DISK_OP_RESIZE, err);
    return r < 0 ? r : run_resize(b, size, err);
}

#define INIT vm_tools__concierge__resize_disk_image_response__init
void
concierge_handle_resize_disk_image(void *ctx, struct ipc_call *call,
                                   const ProtobufCMessage *message)
{
    const VmTools__Concierge__ResizeDiskImageRequest *rq =
        (const VmTools__Concierge__ResizeDiskImageRequest *)message;
    struct begin b = {.c = ctx, .call = call};
    struct vmt_err err = {0};

    if (disk_is_leaving(ctx, call))
        return;
    begin(&b, rq->cryptohome_id, rq->vm_name, begin_resize, rq, &err);
    REPLY(&b, VmTools__Concierge__ResizeDiskImageResponse, &err);
}
#undef INIT

static void
answer_pflash(struct disk_job *job)
{
    reply_success(vmt_take_ptr(&job->call),
                  job->op.result == DISK_RESULT_OK ? NULL : disk_job_failure(job));
}

static int
begin_pflash(struct begin *b, const void *request, struct vmt_err *err)
{
    VMT_CLEANUP(vmt_argv_done) struct vmt_argv args = {0};
    struct host *host = b->c->config.host;
    const struct disk_fd fds[] = {{b->nfds ? b->fds[0] : -1, DISK_CHILD_DATA_FD}};
    char file[DISK_FILE_MAX];
    int r;

    (void)request;
    b->image = DISK_KIND_PFLASH;
    if (b->nfds < 1)
        return vmt_err_setx(err, EINVAL, "firmware variables need a descriptor");
    r = host->disks->source_check(host, b->fds[0], err);
    if (r < 0)
        return r;
    disk_file_name(b->id.name, DISK_KIND_PFLASH, file);
    r = host->disks->stat(host, b->id.owner, file, &b->info, err);
    if (r == 0)
        return vmt_err_setx(err, EEXIST, "firmware variables are installed already");
    if (r != -ENOENT)
        return r;
    r = new_job(b, DISK_OP_PFLASH, err);
    if (r < 0)
        return r;
    b->job->op.secret = true;
    vmt_argv_add(&args, "import");
    r = disk_add_image(b->job, &args, err);
    if (r < 0)
        return r;
    vmt_argv_addf(&args, "--data-fd=%d", DISK_CHILD_DATA_FD);
    vmt_argv_add(&args, "--source=raw");
    vmt_argv_addf(&args, "--max-size=%llu", PFLASH_BYTES_MAX);
    vmt_argv_addf(&args, "--vm-type=%d", disk_apps_type(VM_TYPE(UNKNOWN)));
    return disk_job_run(b->job, &args, fds, VMT_ARRAY_SIZE(fds), err);
}

void
concierge_handle_install_pflash(void *ctx, struct ipc_call *call,
                                const ProtobufCMessage *message)
{
    const VmTools__Concierge__InstallPflashRequest *rq =
        (const VmTools__Concierge__InstallPflashRequest *)message;
    struct begin b = {.c = ctx, .call = call};
    struct vmt_err err = {0};

    if (disk_is_leaving(ctx, call))
        return;
    begin(&b, rq->owner_id, rq->vm_name, begin_pflash, rq, &err);
    if (!b.job) {
        reply_success(call, err.msg);
        return;
    }
    b.job->call = call;
    b.job->answer = answer_pflash;
}
