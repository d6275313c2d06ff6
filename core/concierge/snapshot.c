/* SPDX-License-Identifier: BSD-3-Clause */
/* core/concierge/snapshot.c - make a snapshot of a running VM.
 *
 * The agent freezes every program but itself; the vsock device is taken out, because its
 * state cannot be saved; the processors are halted; disks and memory are written; and
 * then everything back in reverse order. What was done is undone whatever fails, and an
 * heir of the daemon undoes it too. A guest whose host never comes back thaws by itself.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/adapter/clock.h"
#include "core/adapter/host.h"
#include "core/adapter/spawn.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/log.h"
#include "core/concierge/concierge_internal.h"
#include "core/concierge/guest_call_internal.h"
#include "core/concierge/snapshot_internal.h"
#include "core/ipc/ipc.h"
#include "vmt_agent.pb-c.h"
#include "vmt_snapshot.pb-c.h"
#include "vmt_state.pb-c.h"

#define FREEZE_MS 10000u
#define COMMAND_MS 30000u
#define SAVE_MS 300000u

struct snapshot_op {
    struct concierge_vm *vm; /* borrowed */
    struct snapshot_id id;
    struct ipc_call *call; /* owned */
    struct snapshot_copy copy;
    struct spawn_child *sync; /* owned */
    struct vmt_timer *timer;  /* owned */
    int state_fd;
    unsigned step; /* number in steps, or in back */
    bool undoing;  /* back to a running VM */
    bool frozen, unplugged, paused;
    bool has_no_vsock; /* the machine: asked to give its device up, not yet to take one */
    char why[VMT_ERR_MSG_MAX + 128]; /* first failure, "" */
};

static void go_on(struct snapshot_op *op);
static void on_deadline(void *arg);

static void
arm(struct snapshot_op *op, uint64_t ms)
{
    struct vmt_clock *clock = op->vm->c->config.clock;

    clock->ops->timer_cancel(clock, op->timer);
    op->timer = NULL;
    if (ms && clock->ops->timer_start(clock, ms, on_deadline, op, &op->timer) < 0)
        vmt_log_error("no memory for the deadline of a snapshot vm=%s", op->vm->key);
}

static void
note(struct snapshot_op *op, const char *what, const char *why)
{
    if (!op->why[0])
        (void)snprintf(op->why, sizeof(op->why), "%s: %s", what, why);
}

/* A step is over; failures on the way back are only noted. */
static void
step_done(struct snapshot_op *op, const char *what, int result, const struct vmt_err *err)
{
    if (result < 0)
        note(op, what, err && err->msg[0] ? err->msg : strerror(-result));
    if (result < 0 && !op->undoing) {
        op->undoing = true;
        op->step = 0;
    } else {
        op->step++;
    }
    go_on(op);
}

/* The hypervisor was told to do something for the snapshot; r is what it said to that. */
static int
asked(struct snapshot_op *op, int r)
{
    op->vm->snapshot_answers += r == 0;
    return r;
}

/* It did. A snapshot that was given up meanwhile is not told, and there is no other one
 * before the answer came. */
static void
answered(struct concierge_vm *vm, const char *what, int result, const struct vmt_err *err)
{
    vm->snapshot_answers--;
    if (vm->snapshot)
        step_done(vm->snapshot, what, result, err);
}

/* --- there --- */

static void
on_frozen(void *arg, const struct rpc_status *status,
          const struct ProtobufCMessage *reply)
{
    struct concierge_vm *vm = arg;
    struct vmt_err err = {0};
    int r = 0;

    (void)reply;
    if (!vm->snapshot)
        return;
    if (status->code != RPC_OK)
        r = vmt_err_setx(&err, EIO, "%s", rpc_code_name(status->code));
    vm->snapshot->frozen = true; /* perhaps also when the answer was lost */
    step_done(vm->snapshot, "the guest did not stop its programs", r, &err);
}

static int
freeze(struct snapshot_op *op, struct vmt_err *err)
{
    const struct guest_call_spec spec = {
        .path = "/vmt.Agent/Freeze",
        .reply = &vmt__freeze_response__descriptor,
        .timeout_ms = FREEZE_MS,
        .done = on_frozen,
        .arg = op->vm,
    };
    Vmt__FreezeRequest request = VMT__FREEZE_REQUEST__INIT;

    snapshot_tell(op->vm->c, &op->id, "freeze", 0, 0);
    return guest_call(op->vm, &spec, &request.base, err);
}

static void
on_unplugged(void *arg, int result, const struct vmt_err *err)
{
    struct concierge_vm *vm = arg;

    if (vm->snapshot)
        vm->snapshot->unplugged = vm->snapshot->has_no_vsock = result == 0;
    else if (result == 0)
        vm_snapshot_on_vsock_gone(vm);
    answered(vm, "the vsock device was not taken out", result, err);
}

static int
unplug(struct snapshot_op *op, struct vmt_err *err)
{
    struct hypervisor *hv = op->vm->c->config.hypervisor;
    int r;

    guest_calls_close(op->vm);
    r = asked(op, hv->ops->vsock_remove(op->vm->hv, on_unplugged, op->vm));
    op->has_no_vsock = r >= 0;
    return r < 0 ? vmt_err_set(err, -r, "take the vsock device out") : 0;
}

bool
vm_snapshot_has_no_vsock(const struct concierge_vm *vm)
{
    return vm->snapshot && vm->snapshot->has_no_vsock;
}

static void
on_paused(void *arg, int result, const struct vmt_err *err)
{
    struct concierge_vm *vm = arg;

    if (vm->snapshot)
        vm->snapshot->paused = true;
    answered(vm, "the VM was not halted", result, err);
}

static int
pause_vm(struct snapshot_op *op, struct vmt_err *err)
{
    struct hypervisor *hv = op->vm->c->config.hypervisor;
    int r = asked(op, hv->ops->pause(op->vm->hv, true, on_paused, op->vm));

    return r < 0 ? vmt_err_set(err, -r, "halt the VM") : 0;
}

static void
on_copied(void *arg, const char *failure)
{
    struct snapshot_op *op = arg;
    struct vmt_err err = {0};
    uint64_t bytes;
    int r;

    op->copy.vm = NULL;
    if (failure)
        r = vmt_err_setx(&err, EIO, "%s", failure);
    else /* before the memory is written, too */
        r = snapshot_check_size(op->vm->c, &op->id, &bytes, &err);
    step_done(op, "disks", r, &err);
}

/* Without a deadline: it ends with its process, and a stop of the VM cancels it. */
static int
copy_disks(struct snapshot_op *op, struct vmt_err *err)
{
    arm(op, 0);
    op->copy = (struct snapshot_copy){.vm = op->vm,
                                      .id = &op->id,
                                      .uid = ipc_call_caller(op->call)->uid,
                                      .done = on_copied,
                                      .arg = op};
    snapshot_tell(op->vm->c, &op->id, "disks", 0, 0);
    return snapshot_copy_start(&op->copy, err);
}

static void
on_saved(void *arg, int result, const struct vmt_err *err)
{
    answered(arg, "the state was not saved", result, err);
}

static int
save(struct snapshot_op *op, struct vmt_err *err)
{
    struct hypervisor *hv = op->vm->c->config.hypervisor;
    struct host *host = op->vm->c->config.host;
    int r = host->state->create(host, op->id.dir, &op->state_fd, err);

    if (r < 0)
        return r;
    arm(op, SAVE_MS);
    snapshot_tell(op->vm->c, &op->id, "memory", 0, (uint64_t)op->vm->mem_mib << 20);
    r = asked(op, hv->ops->save(op->vm->hv, op->state_fd, on_saved, op->vm));
    return r < 0 ? vmt_err_set(err, -r, "save the state") : 0;
}

/* --- and back --- */

static void
on_back(void *arg, int result, const struct vmt_err *err)
{
    answered(arg, "the VM did not go on as it was", result, err);
}

static int
plug(struct snapshot_op *op, struct vmt_err *err)
{
    struct hypervisor *hv = op->vm->c->config.hypervisor;
    VMT_CLEANUP(vmt_freep) char *path = vm_vhost_path(op->vm);
    int r =
        path ? asked(op, hv->ops->vsock_add(op->vm->hv, path, on_back, op->vm)) : -ENOMEM;

    snapshot_tell(op->vm->c, &op->id, "resume", 0, 0);
    op->unplugged = op->has_no_vsock = false;
    return r < 0 ? vmt_err_set(err, -r, "put the vsock device back") : 0;
}

static int
resume(struct snapshot_op *op, struct vmt_err *err)
{
    struct hypervisor *hv = op->vm->c->config.hypervisor;
    int r = asked(op, hv->ops->pause(op->vm->hv, false, on_back, op->vm));

    op->paused = false;
    return r < 0 ? vmt_err_set(err, -r, "let the VM go on") : 0;
}

static void
on_thawed(void *arg, const struct rpc_status *status,
          const struct ProtobufCMessage *reply)
{
    struct concierge_vm *vm = arg;
    struct vmt_err err = {0};
    int r = 0;

    (void)reply;
    if (!vm->snapshot)
        return;
    if (status->code != RPC_OK)
        r = vmt_err_setx(&err, EIO, "%s", rpc_code_name(status->code));
    step_done(vm->snapshot, "the guest did not let its programs go on", r, &err);
}

static int
thaw(struct snapshot_op *op, struct vmt_err *err)
{
    op->frozen = false;
    return vm_thaw(op->vm, on_thawed, err);
}

static void
on_synced(void *arg, const struct spawn_exit *how)
{
    struct snapshot_op *op = arg;
    bool good = how->kind == SPAWN_EXIT_CODE && how->code == 0;

    op->sync = NULL;
    step_done(op, "the state was not written out", good ? 0 : -EIO, NULL);
}

/* As for a template: the wait for the disk is a process's. */
static int
sync_state(struct snapshot_op *op, struct vmt_err *err)
{
    static const char *const argv[] = {"sync", "/proc/self/fd/3", NULL};
    const struct spawn_fd fds[] = {{op->state_fd, 3}};
    const struct spawn_spec spec = {
        .argv = argv, .fds = fds, .nfds = 1, .on_exit = on_synced, .arg = op};
    struct spawn *spawn = op->vm->c->config.spawn;

    arm(op, SAVE_MS);
    return spawn->ops->start(spawn, &spec, &op->sync, err);
}

/* --- the two ways --- */

struct step {
    const char *what;
    int (*run)(struct snapshot_op *op, struct vmt_err *err);
    bool (*wanted)(const struct snapshot_op *op); /* NULL: always */
};

static bool
is_unplugged(const struct snapshot_op *op)
{
    return op->unplugged;
}

static bool
is_paused(const struct snapshot_op *op)
{
    return op->paused;
}

static bool
is_frozen(const struct snapshot_op *op)
{
    return op->frozen;
}

static bool
is_saved(const struct snapshot_op *op)
{
    return !op->why[0];
}

static const struct step there[] = {
    {"freeze the guest", freeze, NULL}, {"take the vsock device out", unplug, NULL},
    {"halt the VM", pause_vm, NULL},    {"copy the disks", copy_disks, NULL},
    {"save the state", save, NULL},
};
static const struct step back[] = {
    {"put the vsock device back", plug, is_unplugged},
    {"let the VM go on", resume, is_paused},
    {"thaw the guest", thaw, is_frozen},
    {"write the state out", sync_state, is_saved},
};

static void
free_op(struct snapshot_op *op)
{
    struct host *host = op->vm->c->config.host;
    struct spawn *spawn = op->vm->c->config.spawn;

    arm(op, 0);
    snapshot_copy_cancel(&op->copy);
    if (op->sync)
        spawn->ops->release(op->sync);
    host->state->drop(host, op->state_fd);
    op->vm->snapshot = NULL;
    free(op);
}

static void
answer(struct snapshot_op *op, Vmt__Snapshot *snapshot)
{
    Vmt__CreateSnapshotResponse response;

    vmt__create_snapshot_response__init(&response);
    response.success = !op->why[0];
    response.failure_reason = op->why;
    response.snapshot = op->why[0] ? NULL : snapshot;
    snapshot_tell(op->vm->c, &op->id, op->why[0] ? "failed" : "done", snapshot->bytes,
                  snapshot->bytes);
    ipc_call_reply(vmt_take_ptr(&op->call), &response.base, NULL, 0);
}

static void
end(struct snapshot_op *op)
{
    struct concierge_vm *vm = op->vm;
    struct vmt_err err = {0};
    Vmt__Snapshot snapshot;

    vmt__snapshot__init(&snapshot);
    if (!op->why[0] && snapshot_keep(vm, &op->id, op->state_fd, &snapshot, &err) < 0)
        note(op, "the snapshot was not kept", err.msg);
    if (op->why[0]) {
        vmt_log_warning("snapshot failed: %s vm=%s", op->why, vm->key);
        snapshot_remove(vm->c, &op->id);
    } else {
        vmt_log_info("snapshot made bytes=%llu vm=%s", (unsigned long long)snapshot.bytes,
                     vm->key);
    }
    answer(op, &snapshot);
    vm->frozen = false;
    free_op(op);
    snapshot_remember(vm);
}

static const struct step *
current(struct snapshot_op *op)
{
    if (!op->undoing && op->step == VMT_ARRAY_SIZE(there)) {
        op->undoing = true;
        op->step = 0;
    }
    if (!op->undoing)
        return &there[op->step];
    return op->step < VMT_ARRAY_SIZE(back) ? &back[op->step] : NULL;
}

static void
go_on(struct snapshot_op *op)
{
    const struct step *step = current(op);
    struct vmt_err err = {0};
    int r;

    if (!step) {
        end(op);
        return;
    }
    if (step->wanted && !step->wanted(op)) {
        op->step++;
        go_on(op);
        return;
    }
    arm(op, COMMAND_MS);
    r = step->run(op, &err);
    if (r < 0)
        step_done(op, step->what, r, &err);
}

static void
on_deadline(void *arg)
{
    struct snapshot_op *op = arg;
    struct spawn *spawn = op->vm->c->config.spawn;

    op->timer = NULL;
    if (op->sync) {
        (void)spawn->ops->kill(op->sync, SIGKILL);
        spawn->ops->release(vmt_take_ptr(&op->sync));
    }
    /* An answer that comes later would be taken for that of a later step. */
    vm_snapshot_cancel(op->vm, "the hypervisor did not answer in time");
}

/* Returns 0, or why not. */
static int
check(struct concierge_vm *vm, const struct snapshot_id *id, struct vmt_err *err)
{
    const uint32_t caps =
        HYPERVISOR_CAP_SNAPSHOT | HYPERVISOR_CAP_VSOCK_HOTPLUG | HYPERVISOR_CAP_PAUSE;
    const struct hypervisor *hv = vm->c->config.hypervisor;
    Vmt__SnapshotRecord *old = NULL;

    if ((hv->ops->caps & caps) != caps)
        return vmt_err_setx(err, ENOTSUP, "%s makes no snapshots", hv->ops->name);
    if (vm->state != VM_RUNNING)
        return vmt_err_setx(err, EBUSY, "the VM is %s; it has to run for a snapshot",
                            vm_state_name(vm->state));
    if (vm->snapshot)
        return vmt_err_setx(err, EBUSY, "another snapshot of this VM is being made");
    if (vm->snapshot_answers)
        return vmt_err_setx(err, EBUSY,
                            "the hypervisor has not answered since the last snapshot");
    /* What undoes it must neither be forgotten nor meet what a new one does. */
    if (vm->frozen)
        return vmt_err_setx(err, EBUSY,
                            "the VM is being put right after a snapshot that was cut "
                            "off; try again");
    if (!vm->images)
        return vmt_err_setx(err, ENOTSUP,
                            "a VM with huge pages, firmware, SMBIOS strings or files "
                            "without a path has no snapshots");
    if (vm_hotplug_any(vm))
        return vmt_err_setx(err, ENOTSUP,
                            "devices were plugged into the VM while it ran: detach them; "
                            "after a USB device only a new start helps");
    if (vm->plan.net == HYPERVISOR_NET_TAP)
        return vmt_err_setx(err, ENOTSUP, "a VM with a tap device has no snapshots");
    for (size_t i = 0; i < vm->images->n; i++)
        if (vm->images->v[i].plugged)
            return vmt_err_setx(err, ENOTSUP,
                                "its disk was plugged into a template; start the VM with "
                                "--cold for snapshots");
    if (snapshot_load(vm->c, id, &old, NULL) == 0) {
        vmt__snapshot_record__free_unpacked(old, NULL);
        return vmt_err_setx(err, EEXIST, "there is a snapshot %s already", id->name);
    }
    return snapshot_check_room(vm->c, vm->id.owner, err);
}

int
vm_snapshot_start(struct concierge_vm *vm, const struct snapshot_id *id,
                  struct ipc_call *call, struct vmt_err *err)
{
    VMT_CLEANUP(vmt_freep) struct snapshot_op *op = calloc(1, sizeof(*op));
    int r = check(vm, id, err);

    if (r < 0)
        return r;
    if (!op)
        return vmt_err_set(err, ENOMEM, "make a snapshot");
    snapshot_remove(vm->c, id); /* what is not whole */
    vm->frozen = true;
    r = vm_record_save(vm, err);
    if (r < 0) {
        vm->frozen = false;
        return r;
    }
    op->vm = vm;
    op->id = *id;
    op->call = call;
    op->state_fd = -1;
    vm->snapshot = op;
    go_on(vmt_take_ptr(&op));
    return 0;
}

bool
vm_snapshot_is_going_on(const struct concierge_vm *vm)
{
    return vm->snapshot != NULL;
}

void
vm_snapshot_cancel(struct concierge_vm *vm, const char *why)
{
    struct snapshot_op *op = vm->snapshot;
    Vmt__Snapshot none = VMT__SNAPSHOT__INIT;

    if (!op)
        return;
    note(op, "cut off", why);
    vmt_log_warning("snapshot failed: %s vm=%s", op->why, vm->key);
    answer(op, &none);
    snapshot_copy_cancel(&op->copy);
    snapshot_remove(vm->c, &op->id);
    free_op(op);
    snapshot_undo(vm);
}

void
vm_snapshot_forget(struct concierge_vm *vm)
{
    struct snapshot_op *op = vm->snapshot;

    if (!op)
        return;
    ipc_call_fail(vmt_take_ptr(&op->call), IPC_ERROR_FAILED,
                  "vm_concierge is shutting down");
    free_op(op);
}
