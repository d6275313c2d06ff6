/* SPDX-License-Identifier: BSD-3-Clause */
/* core/concierge/disk_record.c - disk operations that outlive the daemon. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/adapter/clock.h"
#include "core/adapter/host.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/log.h"
#include "core/base/str.h"
#include "core/concierge/concierge_internal.h"
#include "core/concierge/disk_live_internal.h"
#include "core/concierge/record_internal.h"
#include "vmt_state.pb-c.h"

#define NAME_MAX_BYTES (sizeof(DISK_RECORD_PREFIX) + DISK_UUID_MAX)

static const char *
record_name(const char *uuid, char *buf)
{
    (void)snprintf(buf, NAME_MAX_BYTES, DISK_RECORD_PREFIX "%s", uuid);
    return buf;
}

int
disk_record_save(struct disk_job *job, struct vmt_err *err)
{
    Vmt__DiskOperationRecord record = VMT__DISK_OPERATION_RECORD__INIT;
    Vmt__ProcessRecord worker = VMT__PROCESS_RECORD__INIT;
    char name[NAME_MAX_BYTES];
    int r;

    record.uuid = job->op.uuid;
    record.owner_id = job->op.id.owner;
    record.name = job->op.id.name;
    record.kind = (int32_t)job->op.kind;
    record.result = (int32_t)job->op.result;
    record.failure = job->op.failure;
    record.cancelled = job->op.cancelled;
    record.secret = job->op.secret;
    worker.pid = job->worker.pid;
    worker.start_time = job->worker.start_time;
    record.worker = job->worker.pid ? &worker : NULL;
    disk_live_to_record(job->live, &record);
    r = concierge_record_put(job->c, record_name(job->op.uuid, name), &record.base, err);
    return r < 0 ? vmt_err_wrap(err, r, "remember the disk operation") : 0;
}

void
disk_record_remove(struct disk_job *job)
{
    struct host *host = job->c->config.host;
    char name[NAME_MAX_BYTES];

    host->store->remove(host, record_name(job->op.uuid, name));
}

static bool
is_sane(const Vmt__DiskOperationRecord *record, struct vm_id *ret_id)
{
    return strlen(record->uuid) == DISK_UUID_MAX - 1 && record->kind >= 0 &&
           record->kind < DISK_OP_KIND_COUNT && record->result >= 0 &&
           record->result <= DISK_RESULT_FAILED &&
           vm_id_set(ret_id, record->owner_id, record->name, NULL) == 0;
}

static void
restore(struct concierge *c, const Vmt__DiskOperationRecord *record,
        const struct vm_id *id)
{
    struct vmt_clock *clock = c->config.clock;
    struct disk_job *job = calloc(1, sizeof(*job));

    if (!job) {
        vmt_log_error("no memory for a disk operation of an earlier daemon");
        return;
    }
    job->c = c;
    job->op.id = *id;
    job->op.kind = (enum disk_op_kind)record->kind;
    job->op.cancelled = record->cancelled;
    job->op.secret = record->secret;
    (void)snprintf(job->op.uuid, sizeof(job->op.uuid), "%s", record->uuid);
    if (record->worker) {
        job->worker.pid = record->worker->pid;
        job->worker.start_time = record->worker->start_time;
    }
    disk_op_begin(&c->disks.table, &job->op);
    if (record->result) {
        (void)snprintf(job->op.failure, sizeof(job->op.failure), "%s", record->failure);
        disk_op_end(&job->op, (enum disk_result)record->result,
                    clock->ops->now_ms(clock));
    } else if (job->op.kind == DISK_OP_RESIZE_LIVE) {
        disk_live_restore(job, record);
    } else {
        disk_job_resume(job);
    }
}

static void
on_record(void *arg, const char *name)
{
    struct concierge *c = arg;
    struct host *host = c->config.host;
    VMT_CLEANUP(vmt_freep) void *data = NULL;
    Vmt__DiskOperationRecord *record;
    struct vm_id id;
    size_t len = 0;

    if (!vmt_str_has_prefix(name, DISK_RECORD_PREFIX) ||
        host->store->load(host, name, &data, &len, NULL) < 0)
        return;
    record = vmt__disk_operation_record__unpack(NULL, len, data);
    if (record && is_sane(record, &id)) {
        restore(c, record, &id);
    } else {
        vmt_log_error("the record of a disk operation is damaged: %s", name);
        host->store->remove(host, name);
    }
    if (record)
        vmt__disk_operation_record__free_unpacked(record, NULL);
}

static void
on_log(void *arg, const char *name)
{
    struct concierge *c = arg;
    struct host *host = c->config.host;
    char uuid[DISK_UUID_MAX];

    (void)snprintf(uuid, sizeof(uuid), "%s", name); /* also of what a cut kept */
    if (!disk_job_find(c, uuid))
        host->disks->progress_remove(host, name);
}

void
disks_adopt(struct concierge *c)
{
    struct host *host = c->config.host;
    struct vmt_err err = {0};

    if (host->store->each(host, on_record, c, &err) < 0 ||
        host->disks->progress_each(host, on_log, c, &err) < 0)
        vmt_log_error("earlier disk operations not found: %s", err.msg);
    disk_desk_reap(c);
}
