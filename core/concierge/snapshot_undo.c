/* SPDX-License-Identifier: BSD-3-Clause */
/* core/concierge/snapshot_undo.c - let a VM go on whose snapshot was cut off, here or in
 * an earlier daemon. */
#include <errno.h>
#include <string.h>

#include "core/adapter/hypervisor.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/log.h"
#include "core/concierge/concierge_internal.h"
#include "core/concierge/guest_call_internal.h"
#include "core/concierge/snapshot_internal.h"

/* A guest may throw the device out whenever it likes: no work and no log without end. */
#define VSOCK_LOSSES_MAX 8u

void
snapshot_remember(struct concierge_vm *vm)
{
    struct vmt_err err = {0};

    if (vm_record_save(vm, &err) < 0)
        vmt_log_warning("vm record not updated: %s vm=%s", err.msg, vm->key);
}

static void
undone(struct concierge_vm *vm)
{
    vm->frozen = false;
    if (vm->state == VM_RUNNING || vm->state == VM_SUSPENDED)
        snapshot_remember(vm);
}

static void
on_late_thaw(void *arg, const struct rpc_status *status,
             const struct ProtobufCMessage *reply)
{
    (void)reply;
    if (status->code != RPC_CANCELLED) /* the VM ends */
        undone(arg);
}

void
vm_snapshot_on_vsock_gone(struct concierge_vm *vm)
{
    struct hypervisor *hv = vm->c->config.hypervisor;
    VMT_CLEANUP(vmt_freep) char *path = vm_vhost_path(vm);
    int r = -ENOMEM;

    if (!vm->hv || vm->vsock_losses == VSOCK_LOSSES_MAX)
        return;
    vm->vsock_losses++;
    if (path)
        r = hv->ops->vsock_add(vm->hv, path, NULL, NULL);
    vmt_log(r < 0 ? VMT_LOG_ERROR : VMT_LOG_NOTICE,
            "the guest let go of its vsock device late: it is put back%s%s vm=%s",
            r < 0 ? ", which fails: " : "", r < 0 ? strerror(-r) : "", vm->key);
}

/* Commands are answered in order: nobody waits for these, but for the thaw. */
void
snapshot_undo(struct concierge_vm *vm)
{
    struct hypervisor *hv = vm->c->config.hypervisor;
    VMT_CLEANUP(vmt_freep) char *path = vm_vhost_path(vm);
    struct vmt_err err = {0};

    if (!vm->hv)
        return;
    if (path)
        (void)hv->ops->vsock_add(vm->hv, path, NULL, NULL);
    (void)hv->ops->pause(vm->hv, false, NULL, NULL);
    if (vm->state != VM_RUNNING)
        return;
    if (vm_thaw(vm, on_late_thaw, &err) == 0)
        return;
    vmt_log_warning("the guest is not thawed, and will do it itself: %s vm=%s", err.msg,
                    vm->key);
    undone(vm);
}

void
vm_snapshot_on_control(struct concierge_vm *vm)
{
    bool goes_on = vm->state == VM_RUNNING || vm->state == VM_ASKING;

    if (!vm->frozen || vm->snapshot || !goes_on)
        return;
    vmt_log_notice("an earlier daemon was making a snapshot: the VM goes on vm=%s",
                   vm->key);
    snapshot_undo(vm);
}
