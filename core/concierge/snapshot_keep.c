/* SPDX-License-Identifier: BSD-3-Clause */
/* core/concierge/snapshot_keep.c - a state that was saved becomes a snapshot. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/adapter/clock.h"
#include "core/adapter/host.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/concierge/concierge_internal.h"
#include "core/concierge/snapshot_internal.h"
#include "vmt_snapshot.pb-c.h"
#include "vmt_state.pb-c.h"

#define BUILD_ID_MAX 512

static int
fill_and_save(const struct concierge_vm *vm, const struct snapshot_id *id,
              Vmt__SnapshotRecord *record, struct vmt_err *err)
{
    const struct vm_images *images = vm->images;
    struct hypervisor *hv = vm->c->config.hypervisor;
    VMT_CLEANUP(vmt_freep)
    Vmt__SnapshotImage *rows = calloc(images->n, sizeof(*rows));
    VMT_CLEANUP(vmt_freep)
    Vmt__SnapshotImage **list = calloc(images->n, sizeof(Vmt__SnapshotImage *));
    VMT_CLEANUP(vmt_freep) char **disks = calloc(images->n + 1, sizeof(char *));
    char build[BUILD_ID_MAX];
    int r = hv->ops->build_id(hv, build, sizeof(build), err);

    if (r < 0)
        return r;
    if (!rows || !list || !disks)
        return vmt_err_set(err, ENOMEM, "remember the snapshot");
    vm_images_fill(images, rows, list);
    record->images = list;
    record->n_images = images->n;
    record->build_id = build;
    record->snapshot->disks = disks;
    for (size_t i = 0; i < images->n; i++)
        if (!images->v[i].identity[0])
            disks[record->snapshot->n_disks++] = images->v[i].path;
    r = snapshot_save(vm->c, id, record, err);
    record->snapshot->disks = NULL; /* they are in the record: the answer does without */
    record->snapshot->n_disks = 0;
    record->build_id = NULL; /* it and the next are of this function */
    record->images = NULL;
    record->n_images = 0;
    return r;
}

static void
fill_snapshot(struct concierge_vm *vm, const struct snapshot_id *id,
              Vmt__Snapshot *snapshot)
{
    struct vmt_clock *clock = vm->c->config.clock;
    int32_t nsec;

    vmt__snapshot__init(snapshot);
    snapshot->name = (char *)(uintptr_t)id->name;
    snapshot->vm_name = (char *)(uintptr_t)id->vm.name;
    clock->ops->wall(clock, &snapshot->made_s, &nsec);
    snapshot->memory_mib = vm->mem_mib;
    snapshot->cpus = vm->images->cpus;
}

/* The record is the last file: only now there is a snapshot. */
int
snapshot_keep(struct concierge_vm *vm, const struct snapshot_id *id, int state_fd,
              Vmt__Snapshot *snapshot, struct vmt_err *err)
{
    struct host *host = vm->c->config.host;
    Vmt__SnapshotRecord record;
    char path[SNAPSHOT_PATH_MAX];
    int fd = -1;
    int r = host->state->commit(host, state_fd, snapshot_file(id, "state", path), err);

    vmt__snapshot_record__init(&record);
    fill_snapshot(vm, id, snapshot);
    if (r == 0)
        r = host->state->open(host, path, &fd, &record.state_bytes, err);
    host->files->close(host, fd);
    if (r == 0)
        r = snapshot_check_size(vm->c, id, &snapshot->bytes, err);
    if (r < 0)
        return r;
    record.snapshot = snapshot;
    record.owner_id = vm->id.owner;
    record.hypervisor = (char *)(uintptr_t)vm->c->config.hypervisor->ops->name;
    record.accel = (char *)(uintptr_t)(vm->accel == HYPERVISOR_ACCEL_KVM ? "kvm" : "tcg");
    record.net = (int32_t)vm->plan.net;
    record.cmdline = vm->images->cmdline;
    record.vm_type = vm->vm_type;
    if (vm->plan.vm_username)
        record.vm_username = vm->plan.vm_username;
    return fill_and_save(vm, id, &record, err);
}
