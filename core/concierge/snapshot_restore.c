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

static int
add_block(struct start_plan *plan, const Vmt__SnapshotImage *image, struct vmt_err *err)
{
    struct hypervisor_disk *b = &plan->blocks[plan->nblocks];
    char *serial;

    if (plan->nblocks == PLAN_BLOCKS_MAX)
        return vmt_err_setx(err, EBADMSG, "the snapshot names too many disks");
    serial = plan->serials[plan->nblocks++];
    (void)snprintf(serial, PLAN_SERIAL_MAX, "%s", image->role);
    *b = (struct hypervisor_disk){.fd = -1,
                                  .read_only = image->read_only,
                                  .qcow2 = image->qcow2,
                                  .direct = image->direct,
                                  .block_size = image->block_size,
                                  .serial = serial};
    return 0;
}

/* Disks that are put back are opened later, when they are what they were. */
static bool
comes_later(const Vmt__SnapshotImage *image)
{
    return !*image->identity;
}

static int
add_image(const Vmt__SnapshotImage *image, struct start_plan *plan, struct vmt_err *err)
{
    const struct opening_file file = {.kind = OPENING_IMAGE, .name = image->path};
    int r;

    if (comes_later(image))
        return add_block(plan, image, err);
    if (strcmp(image->role, "kernel") == 0)
        return plan_file_add(plan, &file, PLAN_KERNEL, err);
    if (strcmp(image->role, "initrd") == 0)
        return plan_file_add(plan, &file, PLAN_INITRD, err);
    r = add_block(plan, image, err);
    return r < 0 ? r : plan_file_add(plan, &file, (int)plan->nblocks - 1, err);
}

static int
make_plan(const Vmt__SnapshotRecord *record, struct start_plan *plan, struct vmt_err *err)
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
    for (size_t i = 0; i < record->n_images && r == 0; i++)
        r = add_image(record->images[i], plan, err);
    for (size_t i = 0; i < plan->nfiles && r == 0; i++)
        if (plan->files[i].target == PLAN_KERNEL)
            return 0;
    return r < 0 ? r : vmt_err_setx(err, EBADMSG, "the snapshot names no kernel");
}

static void
fail_start(struct concierge_vm *vm, const char *why)
{
    vm_blame(vm, "%s", why);
    vm_post(vm, VM_EV_FAILED);
}

static void
on_disks(struct concierge_vm *vm)
{
    vm_post(vm, VM_EV_PROBED);
}

/* The block of a role, PLAN_BLOCKS_MAX: none. */
static size_t
block_of(const struct start_plan *plan, const char *role)
{
    for (size_t i = 0; i < plan->nblocks; i++)
        if (strcmp(plan->serials[i], role) == 0)
            return i;
    return PLAN_BLOCKS_MAX;
}

static int
plan_disks(struct concierge_vm *vm, struct vmt_err *err)
{
    for (size_t i = 0; i < vm->images->n; i++) {
        const struct vm_image *image = &vm->images->v[i];
        struct opening_file file = {.name = image->path, .writable = true};
        size_t block = block_of(&vm->plan, image->role);
        bool qcow2; /* the snapshot knows it */
        int r;

        if (image->identity[0] || block == PLAN_BLOCKS_MAX)
            continue;
        r = disk_plan_find(&vm->plan, image->role, &file, &qcow2, err);
        if (r == 0)
            r = plan_file_add(&vm->plan, &file, (int)block, err);
        if (r < 0)
            return r;
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
    else if (plan_disks(vm, &err) < 0)
        fail_start(vm, err.msg);
    else
        vm_open_files(vm, ipc_call_caller(vm->start_call), on_disks);
}

static int
fd_of(const struct start_plan *plan, const char *role)
{
    size_t block = block_of(plan, role);

    if (strcmp(role, "kernel") == 0)
        return plan->kernel_fd;
    if (strcmp(role, "initrd") == 0)
        return plan->initrd_fd;
    return block < PLAN_BLOCKS_MAX ? plan->blocks[block].fd : -1;
}

/* Is every file what it was that must be? */
static int
check_images(struct concierge_vm *vm, struct vmt_err *err)
{
    struct host *host = vm->c->config.host;

    for (size_t i = 0; i < vm->images->n; i++) {
        const struct vm_image *image = &vm->images->v[i];
        char now[IDENTITY_MAX];
        int r;

        if (!image->identity[0])
            continue;
        r = host->state->identify(host, fd_of(&vm->plan, image->role), now, sizeof(now),
                                  err);
        if (r < 0)
            return r;
        if (strcmp(now, image->identity) != 0)
            return vmt_err_setx(err, ESTALE,
                                "%s (%s) has changed since the snapshot was made, which "
                                "cannot go on without it",
                                image->path, image->role);
    }
    return 0;
}

static void
on_images(struct concierge_vm *vm)
{
    struct vmt_err err = {0};

    if (check_images(vm, &err) < 0 || snapshot_copy_start(&vm->restore->copy, &err) < 0)
        fail_start(vm, err.msg);
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
    return 0;
}

static int
make_vm(struct concierge *c, const Vmt__SnapshotRecord *record,
        struct concierge_vm **ret_vm, struct vmt_err *err)
{
    VMT_CLEANUP(plan_done)
    struct start_plan plan = {.host = c->config.host, .kernel_fd = -1, .initrd_fd = -1};
    int r = make_plan(record, &plan, err);

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
    struct concierge_vm *starting;
    Vmt__SnapshotRecord *record = NULL;
    int r = snapshot_load(c, id, &record, err);

    if (r < 0)
        return r;
    r = check_build(c, record, err);
    if (r == 0)
        r = make_vm(c, record, &vm, err);
    vmt__snapshot_record__free_unpacked(record, NULL);
    if (r == 0)
        r = begin(vm, id, ipc_call_caller(call)->uid, err);
    if (r < 0 || !vm)
        return r;
    vm->start_call = call;
    vm->times.request = clock->ops->now_us(clock);
    starting = vmt_take_ptr(&vm);
    vm_insert(starting);
    vm_open_files(starting, ipc_call_caller(call), on_images);
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
