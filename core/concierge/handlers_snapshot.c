/* SPDX-License-Identifier: BSD-3-Clause */
/* core/concierge/handlers_snapshot.c - the methods of vmt_snapshot.proto. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/concierge/concierge_internal.h"
#include "core/concierge/handlers_internal.h"
#include "core/concierge/snapshot_internal.h"
#include "core/ipc/ipc.h"
#include "vmt_snapshot.pb-c.h"
#include "vmt_state.pb-c.h"

static void
refuse_create(struct ipc_call *call, const char *why)
{
    Vmt__CreateSnapshotResponse response;

    vmt__create_snapshot_response__init(&response);
    response.failure_reason = (char *)(uintptr_t)why;
    ipc_call_reply(call, &response.base, NULL, 0);
}

void
concierge_handle_create_snapshot(void *ctx, struct ipc_call *call,
                                 const ProtobufCMessage *message)
{
    const Vmt__CreateSnapshotRequest *request =
        (const Vmt__CreateSnapshotRequest *)message;
    struct concierge_vm *vm = vm_find(ctx, request->owner_id, request->vm_name);
    struct snapshot_id id;
    struct vmt_err err = {0};
    int r = snapshot_id_set(&id, request->owner_id, request->vm_name,
                            request->snapshot_name, &err);

    if (r == 0 && !vm)
        r = vmt_err_setx(&err, ENOENT,
                         "there is no such VM; it has to run for a snapshot");
    if (r == 0)
        r = vm_snapshot_start(vm, &id, call, &err);
    if (r < 0)
        refuse_create(call, err.msg);
}

#define LISTED_MAX 1024u /* more than an owner may have */

struct listing {
    Vmt__Snapshot *v[LISTED_MAX]; /* owned */
    size_t n;
    bool no_memory;
};

/* The messages of the record outlive it by being packed and unpacked. */
static void
on_snapshot(void *arg, const Vmt__SnapshotRecord *record)
{
    struct listing *l = arg;
    size_t len = vmt__snapshot__get_packed_size(record->snapshot);
    VMT_CLEANUP(vmt_freep) uint8_t *bytes = malloc(len + 1);
    Vmt__Snapshot *copy = NULL;

    if (bytes) {
        (void)vmt__snapshot__pack(record->snapshot, bytes);
        copy = vmt__snapshot__unpack(NULL, len, bytes);
    }
    if (!copy)
        l->no_memory = true;
    else if (l->n < LISTED_MAX)
        l->v[l->n++] = copy;
    else
        vmt__snapshot__free_unpacked(copy, NULL);
}

void
concierge_handle_list_snapshots(void *ctx, struct ipc_call *call,
                                const ProtobufCMessage *message)
{
    const Vmt__ListSnapshotsRequest *request = (const Vmt__ListSnapshotsRequest *)message;
    struct listing l = {.n = 0};
    Vmt__ListSnapshotsResponse response;
    struct vmt_err err = {0};
    int r = vm_owner_check(request->owner_id, &err);

    vmt__list_snapshots_response__init(&response);
    if (r == 0)
        r = snapshot_each(ctx, request->owner_id, request->vm_name, on_snapshot, &l,
                          &err);
    if (r == 0 && l.no_memory)
        r = vmt_err_set(&err, ENOMEM, "list the snapshots");
    response.success = r == 0;
    response.failure_reason = err.msg;
    response.snapshots = l.v;
    response.n_snapshots = r == 0 ? l.n : 0;
    ipc_call_reply(call, &response.base, NULL, 0);
    for (size_t i = 0; i < l.n; i++)
        vmt__snapshot__free_unpacked(l.v[i], NULL);
}

void
concierge_handle_restore_snapshot(void *ctx, struct ipc_call *call,
                                  const ProtobufCMessage *message)
{
    const Vmt__RestoreSnapshotRequest *request =
        (const Vmt__RestoreSnapshotRequest *)message;
    struct concierge *c = ctx;
    const char *why = "";
    struct snapshot_id id;
    struct vmt_err err = {0};
    int r = snapshot_id_set(&id, request->owner_id, request->vm_name,
                            request->snapshot_name, &err);

    if (c->shutting_down) {
        ipc_call_fail(call, IPC_ERROR_FAILED, "vm_concierge is shutting down");
        return;
    }
    if (r == 0 && vm_find(c, id.vm.owner, id.vm.name))
        r = vmt_err_setx(&err, EBUSY,
                         "the VM runs; stop it before a snapshot is restored");
    if (r == 0)
        r = concierge_check_room(c, call, &id.vm, &err);
    if (r == 0 && !concierge_start_allowed(c, &why))
        r = vmt_err_setx(&err, EPERM, "%s", why);
    if (r == 0)
        r = snapshot_restore(c, &id, call, &err);
    if (r < 0)
        reply_start_failure(call, err.msg);
    else
        (void)restart_cancel(c, id.vm.owner, id.vm.name); /* this is it */
}

/* Is it being made, or being restored? */
static bool
is_in_use(struct concierge *c, const struct snapshot_id *id)
{
    struct concierge_vm *vm = vm_find(c, id->vm.owner, id->vm.name);

    return vm && (vm_snapshot_is_going_on(vm) || vm_is_booting(vm));
}

void
concierge_handle_delete_snapshot(void *ctx, struct ipc_call *call,
                                 const ProtobufCMessage *message)
{
    const Vmt__DeleteSnapshotRequest *request =
        (const Vmt__DeleteSnapshotRequest *)message;
    struct snapshot_id id;
    struct vmt_err err = {0};
    int r = snapshot_id_set(&id, request->owner_id, request->vm_name,
                            request->snapshot_name, &err);

    if (r == 0 && is_in_use(ctx, &id))
        r = vmt_err_setx(&err, EBUSY, "a snapshot of this VM is being made or restored");
    if (r == 0)
        snapshot_remove(ctx, &id);
    reply_success(call, r < 0 ? err.msg : NULL);
}
