/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/concierge/snapshot_calls.h"

#include "tests/unit/concierge/guest.h"
#include "tests/unit/test.h"
#include "vmt_snapshot.pb-c.h"

void
take_snapshot(struct world *w, const char *name, struct client_call *call)
{
    Vmt__CreateSnapshotRequest request = VMT__CREATE_SNAPSHOT_REQUEST__INIT;

    request.owner_id = (char *)(uintptr_t)WORLD_OWNER;
    request.vm_name = (char *)(uintptr_t) "demo";
    request.snapshot_name = (char *)(uintptr_t)name;
    client_call(w, "CreateSnapshot", WORLD_UID, &request.base, NULL, 0, call);
}

const char *
snapshot_outcome(const struct client_call *call)
{
    const Vmt__CreateSnapshotResponse *r = (const void *)call->reply;

    assert_int_equal(call->answers, 1);
    assert_false(call->failed);
    return r->success ? NULL : r->failure_reason;
}

void
restore_snapshot(struct world *w, const char *name, struct client_call *call)
{
    Vmt__RestoreSnapshotRequest request = VMT__RESTORE_SNAPSHOT_REQUEST__INIT;

    request.owner_id = (char *)(uintptr_t)WORLD_OWNER;
    request.vm_name = (char *)(uintptr_t) "demo";
    request.snapshot_name = (char *)(uintptr_t)name;
    client_call(w, "RestoreSnapshot", WORLD_UID, &request.base, NULL, 0, call);
}

size_t
count_snapshots(struct world *w)
{
    Vmt__ListSnapshotsRequest request = VMT__LIST_SNAPSHOTS_REQUEST__INIT;
    struct client_call call;
    size_t n;

    request.owner_id = (char *)(uintptr_t)WORLD_OWNER;
    client_call(w, "ListSnapshots", WORLD_UID, &request.base, NULL, 0, &call);
    assert_int_equal(call.answers, 1);
    n = ((const Vmt__ListSnapshotsResponse *)(const void *)call.reply)->n_snapshots;
    client_call_done(&call);
    return n;
}

void
delete_snapshot(struct world *w, const char *name)
{
    Vmt__DeleteSnapshotRequest request = VMT__DELETE_SNAPSHOT_REQUEST__INIT;
    struct client_call call;

    request.owner_id = (char *)(uintptr_t)WORLD_OWNER;
    request.vm_name = (char *)(uintptr_t) "demo";
    request.snapshot_name = (char *)(uintptr_t)name;
    client_call(w, "DeleteSnapshot", WORLD_UID, &request.base, NULL, 0, &call);
    assert_int_equal(call.answers, 1);
    client_call_done(&call);
}

void
stop_vm(struct world *w, struct guest *g)
{
    struct client_call call;

    client_stop(w, "demo", &call);
    world_run(w, 3000);
    assert_true(stop_reply(&call)->success);
    client_call_done(&call);
    guest_free(g);
}

void
expect_vm_goes_on(struct world *w)
{
    struct fake_process *p = fake_hypervisor_find(w->hv, "demo");

    assert_non_null(p);
    assert_false(fake_process_is_paused(p));
    assert_non_null(fake_process_vsock(p));
    assert_int_equal(client_status(w, "demo"),
                     VM_TOOLS__CONCIERGE__VM_STATUS__VM_STATUS_RUNNING);
}
