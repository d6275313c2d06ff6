/* SPDX-License-Identifier: BSD-3-Clause */
/* core/concierge/disk.c - operations on disk images: their beginning and their end. */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "concierge_service.pb-c.h"
#include "core/adapter/clock.h"
#include "core/adapter/host.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/log.h"
#include "core/concierge/concierge_internal.h"
#include "core/concierge/disk_live_internal.h"
#include "core/ipc/ipc.h"

#define STATUS(name) VM_TOOLS__CONCIERGE__DISK_IMAGE_STATUS__DISK_STATUS_##name

static struct disk_job *
job_of(struct disk_op *op)
{
    return op ? VMT_CONTAINER_OF(op, struct disk_job, op) : NULL;
}

void
disk_desk_init(struct disk_desk *desk)
{
    disk_op_table_init(&desk->table);
    vmt_list_init(&desk->lists);
    vmt_list_init(&desk->tokens);
}

struct disk_job *
disk_job_find(struct concierge *c, const char *uuid)
{
    return job_of(disk_op_find(&c->disks.table, uuid));
}

struct disk_job *
disk_job_find_running(struct concierge *c, const char *owner, const char *name)
{
    return job_of(disk_op_find_running(&c->disks.table, owner, name));
}

size_t
concierge_disk_operations(const struct concierge *c)
{
    size_t n = 0;

    VMT_LIST_FOREACH(at, following, &c->disks.table.ops)
    {
        n += disk_op_is_running(VMT_CONTAINER_OF(at, struct disk_op, node));
    }
    return n;
}

int
disk_job_new(struct concierge *c, const struct vm_id *id, enum disk_op_kind kind,
             struct disk_job **ret_job, struct vmt_err *err)
{
    VMT_CLEANUP(vmt_freep) struct disk_job *job = NULL;
    int r = disk_op_may_begin(&c->disks.table, id, err);

    if (r < 0)
        return r;
    job = calloc(1, sizeof(*job));
    if (!job)
        return vmt_err_set(err, ENOMEM, "begin a disk operation");
    r = concierge_make_uuid(c, job->op.uuid, err);
    if (r < 0)
        return vmt_err_wrap(err, r, "name a disk operation");
    job->c = c;
    job->op.id = *id;
    job->op.kind = kind;
    disk_op_begin(&c->disks.table, &job->op);
    *ret_job = vmt_take_ptr(&job);
    return 0;
}

static void
job_free(struct disk_job *job)
{
    struct concierge *c = job->c;

    c->config.clock->ops->timer_cancel(c->config.clock, job->tick);
    if (job->child)
        c->config.spawn->ops->release(job->child);
    disk_live_free(job->live);
    vmt_list_remove(&job->op.node);
    free(job);
}

static void
remove_log(struct disk_job *job)
{
    struct host *host = job->c->config.host;

    host->disks->progress_remove(host, job->op.uuid);
}

void
disk_job_drop(struct disk_job *job)
{
    if (!job)
        return;
    disk_record_remove(job);
    remove_log(job);
    job_free(job);
}

void
disk_job_forget(struct disk_job *job)
{
    assert(!disk_op_is_running(&job->op));
    disk_job_drop(job);
}

int
disk_job_status(const struct disk_job *job)
{
    static const int of_result[] = {
        [DISK_RESULT_NONE] = STATUS(IN_PROGRESS),
        [DISK_RESULT_OK] = STATUS(CREATED),
        [DISK_RESULT_NO_SPACE] = STATUS(NOT_ENOUGH_SPACE),
        [DISK_RESULT_BAD_IMAGE] = STATUS(BAD_IMAGE),
        [DISK_RESULT_EXISTS] = STATUS(EXISTS),
        [DISK_RESULT_BUSY] = STATUS(FAILED),
        [DISK_RESULT_FAILED] = STATUS(FAILED),
    };
    bool resize = job->op.kind == DISK_OP_RESIZE || job->op.kind == DISK_OP_RESIZE_LIVE;

    if (resize && job->op.result == DISK_RESULT_OK)
        return STATUS(RESIZED);
    return of_result[job->op.result];
}

const char *
disk_job_failure(const struct disk_job *job)
{
    static const char *const words[] = {
        [DISK_RESULT_NONE] = "",
        [DISK_RESULT_OK] = "",
        [DISK_RESULT_NO_SPACE] = "there is not enough space",
        [DISK_RESULT_BAD_IMAGE] = "this is no disk image that could be read",
        [DISK_RESULT_EXISTS] = "a disk of that name exists",
        [DISK_RESULT_BUSY] = "the disk is in use",
        [DISK_RESULT_FAILED] = "the disk operation failed",
    };

    if (job->op.result <= DISK_RESULT_OK)
        return "";
    return job->op.failure[0] ? job->op.failure : words[job->op.result];
}

static void
emit(struct disk_job *job)
{
    VmTools__Concierge__DiskImageStatusResponse s;

    vm_tools__concierge__disk_image_status_response__init(&s);
    s.command_uuid = job->op.uuid;
    s.status = (VmTools__Concierge__DiskImageStatus)disk_job_status(job);
    s.failure_reason = (char *)(uintptr_t)disk_job_failure(job);
    s.progress = job->op.progress;
    s.owner_id = job->op.id.owner;
    if (job->c->ipc && ipc_emit(job->c->ipc, "DiskImageProgress", &s.base) < 0)
        vmt_log_error("signal DiskImageProgress lost disk operation=%s", job->op.uuid);
}

static void
signal_if_due(struct disk_job *job)
{
    struct vmt_clock *clock = job->c->config.clock;

    if (disk_op_wants_signal(&job->op, clock->ops->now_ms(clock)))
        emit(job);
}

void
disk_job_advance(struct disk_job *job, unsigned percent)
{
    disk_op_advance(&job->op, percent);
    signal_if_due(job);
}

static void
answer_cancel(struct disk_job *job)
{
    struct ipc_call *call = vmt_take_ptr(&job->cancel_call);

    if (call)
        reply_success(call, job->op.result == DISK_RESULT_OK
                                ? "the operation was over before it could be cancelled"
                                : NULL);
}

static void
on_reap(void *arg)
{
    struct concierge *c = arg;

    c->disks.reaper = NULL;
    disk_desk_reap(c);
}

void
disk_desk_reap(struct concierge *c)
{
    struct vmt_clock *clock = c->config.clock;
    uint64_t now = clock->ops->now_ms(clock);
    struct disk_op *op;

    while ((op = disk_op_find_expired(&c->disks.table, now)))
        disk_job_forget(job_of(op));
    clock->ops->timer_cancel(clock, vmt_take_ptr(&c->disks.reaper));
    if (disk_op_has_ended(&c->disks.table) &&
        clock->ops->timer_start(clock, DISK_OP_KEEP_MS, on_reap, c, &c->disks.reaper) < 0)
        vmt_log_warning("no memory to forget old disk operations in time");
}

void
disk_job_end(struct disk_job *job, enum disk_result result, const char *text)
{
    struct concierge *c = job->c;
    struct vmt_clock *clock = c->config.clock;
    struct vmt_err err = {0};

    clock->ops->timer_cancel(clock, vmt_take_ptr(&job->tick));
    (void)snprintf(job->op.failure, sizeof(job->op.failure), "%s",
                   result != DISK_RESULT_OK && text ? text : "");
    if (job->op.cancelled && result == DISK_RESULT_OK)
        job->op.cancelled = false; /* too late */
    disk_op_end(&job->op, result, clock->ops->now_ms(clock));
    vmt_log_info("disk operation over: %s%s%s operation=%s owner=%s",
                 disk_op_kind_name(job->op.kind), result == DISK_RESULT_OK ? "" : ", ",
                 disk_job_failure(job), job->op.uuid, job->op.id.owner);
    remove_log(job);
    job->worker.pid = 0;
    if (!job->op.secret && !job->op.cancelled && disk_record_save(job, &err) < 0)
        vmt_log_warning("the end of a disk operation is not remembered: %s", err.msg);
    signal_if_due(job);
    if (job->call)
        job->answer(job);
    answer_cancel(job);
    disk_desk_reap(c);
    concierge_vm_gone(c);
}

void
disk_desk_done(struct concierge *c)
{
    disk_lists_free(c);
    c->config.clock->ops->timer_cancel(c->config.clock, c->disks.reaper);
    VMT_LIST_FOREACH(at, following, &c->disks.table.ops)
    {
        struct disk_job *job = job_of(VMT_CONTAINER_OF(at, struct disk_op, node));
        struct ipc_call *calls[] = {vmt_take_ptr(&job->call),
                                    vmt_take_ptr(&job->cancel_call)};

        for (size_t i = 0; i < VMT_ARRAY_SIZE(calls); i++)
            if (calls[i])
                ipc_call_fail(calls[i], IPC_ERROR_FAILED,
                              "vm_concierge is shutting down");
        job_free(job);
    }
    disk_tokens_free(c);
}
