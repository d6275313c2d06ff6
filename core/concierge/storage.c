/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/concierge/storage_internal.h"

#include <signal.h>
#include <stdlib.h>

#include "core/adapter/clock.h"
#include "core/adapter/host.h"
#include "core/adapter/spawn.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/log.h"
#include "core/concierge/concierge_internal.h"
#include "core/rpc/rpc.h"
#include "vm_guest.pb-c.h"

#define GIB (UINT64_C(1) << 30)
#define LOOK_MS 10000u
#define LOOK_SOON_MS 2000u /* while space is low */
#define LOOK_TURNS_MAX 3u  /* turns that a silent file system is given */
/* Less than this is not worth a call. */
#define CHANGE_MIN (UINT64_C(64) << 20)

#define STATE(name) VM_TOOLS__STATEFUL_DISK_SPACE_STATE__DISK_##name

int
storage_state(uint64_t free_bytes)
{
    if (free_bytes > 2 * GIB)
        return (int)STATE(NORMAL);
    return free_bytes > GIB ? (int)STATE(LOW) : (int)STATE(CRITICAL);
}

void
storage_done(struct concierge *c)
{
    struct vmt_clock *clock = c->config.clock;

    clock->ops->timer_cancel(clock, c->storage_timer);
    c->storage_timer = NULL;
}

void
vm_storage_begin(struct concierge_vm *vm)
{
    struct host *host = vm->c->config.host;

    vm->storage.wanted = vm->plan.storage_ballooning;
    for (size_t i = 0; i < vm->plan.nblocks && !vm->storage.place; i++) {
        const struct hypervisor_disk *disk = &vm->plan.blocks[i];

        if (vm->storage.wanted && !disk->read_only)
            (void)host->space->place(host, disk->fd, disk->path, &vm->storage.place);
    }
}

void
vm_storage_done(struct concierge_vm *vm)
{
    struct host *host = vm->c->config.host;
    const struct spawn_ops *spawn = vm->c->config.spawn->ops;

    if (vm->storage.look) {
        (void)spawn->kill(vm->storage.look, SIGKILL);
        spawn->release(vm->storage.look);
        vm->storage.look = NULL;
    }
    host->space->number_free(host, vm->storage.answer);
    vm->storage.answer = NULL;
    free(vm->storage.place);
    vm->storage.place = NULL;
}

static void
on_told(void *arg, const struct rpc_status *status, const ProtobufCMessage *reply)
{
    const VmTools__UpdateStorageBalloonResponse *answer =
        (const VmTools__UpdateStorageBalloonResponse *)reply;
    struct concierge_vm *vm = arg;
    bool failed =
        !answer || answer->result != VM_TOOLS__UPDATE_STORAGE_BALLOON_RESULT__SUCCESS;

    (void)status;
    vm->storage.telling = false;
    if (failed && !vm->storage.failed)
        vmt_log_warning("the guest cannot follow the space of its disks vm=%s cid=%u",
                        vm->key, vm->cid);
    vm->storage.failed = failed;
}

static void
tell(struct concierge_vm *vm, int state, uint64_t free_bytes)
{
    static const struct guest_call_spec base = {
        .path = "/vm_tools.Maitred/UpdateStorageBalloon",
        .reply = &vm_tools__update_storage_balloon_response__descriptor,
        .timeout_ms = AGENT_RPC_MS,
        .done = on_told,
    };
    struct guest_call_spec spec = base;
    VmTools__UpdateStorageBalloonRequest request =
        VM_TOOLS__UPDATE_STORAGE_BALLOON_REQUEST__INIT;
    struct vmt_err err = {0};

    request.state = (VmTools__StatefulDiskSpaceState)state;
    request.free_space_bytes = (int64_t)(free_bytes & INT64_MAX);
    spec.arg = vm;
    if (guest_call(vm, &spec, &request.base, &err) < 0) {
        vmt_log_debug("space of disks not told: %s vm=%s", err.msg, vm->key);
        return;
    }
    vm->storage.telling = true;
    vm->storage.state = state;
    vm->storage.free = free_bytes;
}

static bool
is_followed(const struct concierge_vm *vm)
{
    return vm->storage.wanted && vm->storage.place && !vm_is_stopping(vm);
}

static void arm(struct concierge *c, uint64_t delay_ms);

/* The child is back. Space that is low is looked at again soon. */
static void
on_seen(void *arg, const struct spawn_exit *how)
{
    struct concierge_vm *vm = arg;
    struct vm_storage *s = &vm->storage;
    uint64_t free_bytes = *s->answer, change;
    int state = storage_state(free_bytes);

    s->look = NULL;
    if (how->kind != SPAWN_EXIT_CODE || how->code != 0 || vm->state != VM_RUNNING)
        return;
    s->silent = false;
    change = free_bytes > s->free ? free_bytes - s->free : s->free - free_bytes;
    if (!s->telling && (state != s->state || change >= CHANGE_MIN))
        tell(vm, state, free_bytes);
    if (state != (int)STATE(NORMAL)) {
        storage_done(vm->c);
        arm(vm->c, LOOK_SOON_MS);
    }
}

/* In the child. */
static int
look(void *arg)
{
    const struct concierge_vm *vm = arg;
    struct host *host = vm->c->config.host;

    return host->space->free_bytes(host, vm->storage.place, vm->storage.answer) < 0;
}

/* The server of the file system may be dead: a child waits for it. */
static void
begin_look(struct concierge_vm *vm)
{
    struct vm_storage *s = &vm->storage;
    struct host *host = vm->c->config.host;
    struct spawn *spawn = vm->c->config.spawn;
    const struct spawn_spec spec = {
        .call = look, .call_arg = vm, .on_exit = on_seen, .arg = vm};
    struct vmt_err err = {0};

    if (s->look) {
        if (++s->waits != LOOK_TURNS_MAX)
            return;
        if (!s->silent)
            vmt_log_warning("the file system of %s does not say how much is free vm=%s",
                            s->place, vm->key);
        s->silent = true;
        (void)spawn->ops->kill(s->look, SIGKILL);
        return;
    }
    s->waits = 0;
    if (!s->answer && host->space->number_new(host, &s->answer) < 0)
        return;
    if (spawn->ops->start(spawn, &spec, &s->look, &err) < 0)
        vmt_log_warning("the space of disks is not looked at: %s vm=%s",
                        vmt_err_text(&err), vm->key);
}

static void
on_look(void *arg)
{
    struct concierge *c = arg;
    bool any = false;

    c->storage_timer = NULL;
    VMT_LIST_FOREACH(at, following, &c->vms)
    {
        struct concierge_vm *vm = VMT_CONTAINER_OF(at, struct concierge_vm, node);

        if (is_followed(vm) && vm->state == VM_RUNNING)
            begin_look(vm);
        any = any || is_followed(vm);
    }
    if (any)
        arm(c, LOOK_MS);
}

static void
arm(struct concierge *c, uint64_t delay_ms)
{
    struct vmt_clock *clock = c->config.clock;

    if (!c->storage_timer &&
        clock->ops->timer_start(clock, delay_ms, on_look, c, &c->storage_timer) < 0)
        vmt_log_error("no memory to watch the space of disks");
}

void
storage_watch(struct concierge_vm *vm)
{
    if (!vm->storage.wanted || !vm->storage.place)
        return;
    storage_done(vm->c); /* it is told at once, not with the others' next turn */
    arm(vm->c, 0);
}
