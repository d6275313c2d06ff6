/* SPDX-License-Identifier: BSD-3-Clause */
/* core/concierge/snapshot_restore.c - start a VM from a snapshot of it. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/adapter/clock.h"
#include "core/adapter/host.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/log.h"
#include "core/concierge/concierge_internal.h"
#include "core/concierge/disk_plan_internal.h"
#include "core/concierge/snapshot_internal.h"
#include "core/ipc/ipc.h"
#include "vmt_agent.pb-c.h"
#include "vmt_snapshot.pb-c.h"
#include "vmt_state.pb-c.h"

#define BUILD_ID_MAX 512
#define IDENTITY_MAX 160
#define THAW_MS 20000u

/* Part of a start from a snapshot, until it is launched. */
struct vm_restore {
    struct snapshot_id id;
    struct snapshot_copy copy;
};

static int
check_build(struct concierge *c, const Vmt__SnapshotRecord *record, struct vmt_err *err)
{
    struct hypervisor *hv = c->config.hypervisor;
    char build[BUILD_ID_MAX];
    int r;

    if (strcmp(record->hypervisor, hv->ops->name) != 0)
        return vmt_err_setx(err, ENOTSUP, "the snapshot is of a VM on %s",
                            record->hypervisor);
    r = hv->ops->build_id(hv, build, sizeof(build), err);
    if (r < 0)
        return r;
    if (strcmp(build, record->build_id) != 0)
        return vmt_err_setx(err, ESTALE,
                            "the snapshot was made by another build of %s (%s, now %s)",
                            record->hypervisor, record->build_id, build);
    return 0;
}

/* Open one file as its owner may, and see that it is what it was. */
static int
open_image(struct concierge *c, const Vmt__SnapshotImage *image, uint32_t uid,
           int *ret_fd, struct vmt_err *err)
{
    struct host *host = c->config.host;
    char now[IDENTITY_MAX];
    int r = host->files->image_open(
        host, image->path, !image->read_only && !*image->identity, uid, ret_fd, err);

    if (r < 0 || !*image->identity)
        return r;
    r = host->state->identify(host, *ret_fd, now, sizeof(now), err);
    if (r == 0 && strcmp(now, image->identity) != 0)
        r = vmt_err_setx(err, ESTALE,
                         "%s (%s) has changed since the snapshot was made, which cannot "
                         "go on without it",
                         image->path, image->role);
    if (r < 0)
        host->files->close(host, vmt_take_fd(ret_fd));
    return r;
}

static void
add_block(struct start_plan *plan, const Vmt__SnapshotImage *image, int fd)
{
    struct hypervisor_disk *b = &plan->blocks[plan->nblocks];
    char *serial = plan->serials[plan->nblocks++];

    (void)snprintf(serial, PLAN_SERIAL_MAX, "%s", image->role);
    *b = (struct hypervisor_disk){.fd = fd,
                                  .read_only = image->read_only,
                                  .qcow2 = image->qcow2,
                                  .direct = image->direct,
                                  .block_size = image->block_size,
                                  .serial = serial};
}

static int
add_image(struct concierge *c, const Vmt__SnapshotImage *image, uint32_t uid,
          struct start_plan *plan, struct vmt_err *err)
{
    int fd = -1;
    int r = open_image(c, image, uid, &fd, err);

    if (r < 0)
        return r;
    if (strcmp(image->role, "kernel") == 0)
        plan->kernel_fd = fd;
    else if (strcmp(image->role, "initrd") == 0)
        plan->initrd_fd = fd;
    else
        add_block(plan, image, fd);
    return 0;
}

/* Disks that are put back are opened later, when they are what they were. */
static bool
comes_later(const Vmt__SnapshotImage *image)
{
    return !*image->identity;
}

static int
make_plan(struct concierge *c, const Vmt__SnapshotRecord *record, uint32_t uid,
          struct start_plan *plan, struct vmt_err *err)
{
    int r = vm_id_set(&plan->id, record->owner_id, record->snapshot->vm_name, err);

    if (r == 0 && record->net != HYPERVISOR_NET_NONE &&
        record->net != HYPERVISOR_NET_USER)
        r = vmt_err_setx(err, EBADMSG, "the snapshot has a network that is not known");
    if (r == 0 && record->n_images > PLAN_BLOCKS_MAX + 2)
        r = vmt_err_setx(err, EBADMSG, "the snapshot names too many files");
    if (r < 0)
        return r;
    plan->vm_type = record->vm_type;
    plan->mem_mib = record->snapshot->memory_mib;
    plan->cpus = record->snapshot->cpus;
    plan->accel =
        strcmp(record->accel, "kvm") == 0 ? HYPERVISOR_ACCEL_KVM : HYPERVISOR_ACCEL_TCG;
    plan->net = (enum hypervisor_net)record->net;
    plan->cmdline = strdup(record->cmdline);
    plan->vm_username = strdup(record->vm_username);
    if (!plan->cmdline || !plan->vm_username)
        return vmt_err_set(err, ENOMEM, "plan the start");
    for (size_t i = 0; i < record->n_images && r == 0; i++) {
        if (comes_later(record->images[i]))
            add_block(plan, record->images[i], -1);
        else
            r = add_image(c, record->images[i], uid, plan, err);
    }
    if (r == 0 && plan->kernel_fd < 0)
        r = vmt_err_setx(err, EBADMSG, "the snapshot names no kernel");
    return r;
}

static void
fail_start(struct concierge_vm *vm, const char *why)
{
    vm_blame(vm, "%s", why);
    vm_post(vm, VM_EV_FAILED);
}

static int
open_disks(struct concierge_vm *vm, struct vmt_err *err)
{
    struct host *host = vm->c->config.host;

    for (size_t i = 0; i < vm->images->n; i++) {
        const struct vm_image *image = &vm->images->v[i];
        bool qcow2; /* the snapshot knows it */
        int fd = -1;
        int r;

        if (image->identity[0])
            continue;
        r = disk_plan_open(&vm->plan, image->path, true, image->role, &fd, &qcow2, err);
        if (r == 0)
            r = host->files->image_open(host, image->path, true,
                                        ipc_call_caller(vm->start_call)->uid, &fd, err);
        if (r < 0)
            return r;
        for (size_t b = 0; b < vm->plan.nblocks; b++)
            if (strcmp(vm->plan.serials[b], image->role) == 0)
                vm->plan.blocks[b].fd = vmt_take_fd(&fd);
        host->files->close(host, fd);
    }
    return 0;
}

static void
on_copied(void *arg, const char *failure)
{
    struct concierge_vm *vm = arg;
    struct vmt_err err = {0};

    vm->restore->copy.vm = NULL;
    if (failure)
        fail_start(vm, failure);
    else if (open_disks(vm, &err) < 0)
        fail_start(vm, err.msg);
    else
        vm_post(vm, VM_EV_PROBED);
}

static int
begin(struct concierge_vm *vm, const struct snapshot_id *id, uint32_t uid,
      struct vmt_err *err)
{
    vm->restore = calloc(1, sizeof(*vm->restore));
    vm->warm = calloc(1, sizeof(*vm->warm));
    if (!vm->restore || !vm->warm)
        return vmt_err_set(err, ENOMEM, "restore a snapshot");
    vm->restore->id = *id;
    vm->restore->copy = (struct snapshot_copy){.vm = vm,
                                               .id = &vm->restore->id,
                                               .uid = uid,
                                               .back = true,
                                               .done = on_copied,
                                               .arg = vm};
    vm->warm->state = WARM_RESTORING;
    vm->start_mode = "snapshot";
    return snapshot_copy_start(&vm->restore->copy, err);
}

static int
make_vm(struct concierge *c, const Vmt__SnapshotRecord *record, uint32_t uid,
        struct concierge_vm **ret_vm, struct vmt_err *err)
{
    VMT_CLEANUP(plan_done)
    struct start_plan plan = {.host = c->config.host, .kernel_fd = -1, .initrd_fd = -1};
    int r = make_plan(c, record, uid, &plan, err);

    if (r == 0)
        r = vm_new(c, &plan, ret_vm, err);
    if (r < 0 || !*ret_vm)
        return r;
    (*ret_vm)->images = vm_images_of(record->images, record->n_images, record->cmdline,
                                     record->snapshot->cpus);
    if (!(*ret_vm)->images)
        return vmt_err_set(err, ENOMEM, "restore a snapshot");
    return concierge_make_uuid(c, (*ret_vm)->token, err);
}

int
snapshot_restore(struct concierge *c, const struct snapshot_id *id, struct ipc_call *call,
                 struct vmt_err *err)
{
    VMT_CLEANUP(vm_freep) struct concierge_vm *vm = NULL;
    struct vmt_clock *clock = c->config.clock;
    Vmt__SnapshotRecord *record = NULL;
    int r = snapshot_load(c, id, &record, err);

    if (r < 0)
        return r;
    r = check_build(c, record, err);
    if (r == 0)
        r = make_vm(c, record, ipc_call_caller(call)->uid, &vm, err);
    vmt__snapshot_record__free_unpacked(record, NULL);
    if (r == 0)
        r = begin(vm, id, ipc_call_caller(call)->uid, err);
    if (r < 0 || !vm)
        return r;
    vm->start_call = call;
    vm->times.request = clock->ops->now_us(clock);
    vm_insert(vmt_take_ptr(&vm));
    return 0;
}

int
vm_restore_open(struct concierge_vm *vm)
{
    struct host *host = vm->c->config.host;
    char path[SNAPSHOT_PATH_MAX];
    struct vmt_err err = {0};
    uint64_t bytes;
    int fd = -1;

    if (host->state->open(host, snapshot_file(&vm->restore->id, "state", path), &fd,
                          &bytes, &err) < 0)
        vmt_log_warning("snapshot not read: %s vm=%s", err.msg, vm->key);
    return fd;
}

void
vm_restore_cancel(struct concierge_vm *vm)
{
    if (!vm->restore)
        return;
    snapshot_copy_cancel(&vm->restore->copy);
    free(vmt_take_ptr(&vm->restore));
}

int
vm_thaw(struct concierge_vm *vm, guest_call_fn *done, struct vmt_err *err)
{
    const struct guest_call_spec spec = {
        .path = "/vmt.Agent/Thaw",
        .reply = &vmt__thaw_response__descriptor,
        .timeout_ms = THAW_MS,
        .done = done,
        .arg = vm,
    };
    Vmt__ThawRequest request = VMT__THAW_REQUEST__INIT;

    return guest_call(vm, &spec, &request.base, err);
}
