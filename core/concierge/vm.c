/* SPDX-License-Identifier: BSD-3-Clause */
/* core/concierge/vm.c - one VM: its event queue, and the table's actions called by name.
 */
#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/adapter/clock.h"
#include "core/adapter/transport.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/log.h"
#include "core/concierge/concierge_internal.h"
#include "core/concierge/snapshot_internal.h"
#include "core/rpc/server.h"

typedef void action_fn(struct concierge_vm *vm);

static void
act_none(struct concierge_vm *vm)
{
    (void)vm;
}

static action_fn *const actions[] = {
    [VM_ACT_NONE] = act_none,
    [VM_ACT_LAUNCH] = vm_act_launch,
    [VM_ACT_CONFIGURE] = vm_act_configure,
    [VM_ACT_ANNOUNCE] = vm_act_announce,
    [VM_ACT_FALL_BACK] = vm_act_fall_back,
    [VM_ACT_START_OVER] = vm_act_start_over,
    [VM_ACT_RELAUNCH] = vm_act_relaunch,
    [VM_ACT_ASK] = vm_act_ask,
    [VM_ACT_WAIT] = vm_act_wait,
    [VM_ACT_QUIT] = vm_act_quit,
    [VM_ACT_TERM] = vm_act_term,
    [VM_ACT_KILL] = vm_act_kill,
    [VM_ACT_GIVE_UP] = vm_act_give_up,
    [VM_ACT_RELEASE] = vm_act_release,
    [VM_ACT_KILL_COMPANION] = vm_act_kill_companion,
    [VM_ACT_FINISH] = vm_act_finish,
    [VM_ACT_PREPARE] = vm_act_prepare,
    [VM_ACT_PAUSE] = vm_act_pause,
    [VM_ACT_REST] = vm_act_rest,
    [VM_ACT_HOLD] = vm_act_hold,
    [VM_ACT_UNPAUSE] = vm_act_unpause,
    [VM_ACT_CATCH_UP] = vm_act_catch_up,
    [VM_ACT_STAY] = vm_act_stay,
    [VM_ACT_SLEEP_ON] = vm_act_sleep_on,
    [VM_ACT_WAKE] = vm_act_wake,
};
static_assert(VMT_ARRAY_SIZE(actions) == VM_ACTION_COUNT, "an action has no function");

int
vm_new(struct concierge *c, struct start_plan *plan, struct concierge_vm **ret_vm,
       struct vmt_err *err)
{
    VMT_CLEANUP(vm_freep) struct concierge_vm *vm = calloc(1, sizeof(*vm));

    if (!vm)
        return vmt_err_set(err, ENOMEM, "remember the VM");
    vm->c = c;
    vm->id = plan->id;
    (void)vm_id_key(&vm->id, vm->key);
    vm->state = VM_CREATED;
    vm->mem_mib = plan->mem_mib;
    vm->start_mode = "cold";
    vmt_list_init(&vm->waiters);
    vm_power_init(vm);
    life_init(vm);
    guest_calls_init(vm);
    vm_balloon_init(vm);
    vm->agent.clock = c->config.clock;
    vm->agent.transport = c->config.transport;
    vm->console = console_path(c, &vm->id);
    if (!vm->console)
        return vmt_err_set(err, ENOMEM, "remember the VM");
    vm->vm_type = plan->vm_type;
    vm->accel = plan->accel;
    vm->plan = *plan;
    for (size_t i = 0; i < plan->nblocks; i++)
        vm->plan.blocks[i].serial = vm->plan.serials[i];
    *plan = (struct start_plan){.kernel_fd = -1, .initrd_fd = -1};
    *ret_vm = vmt_take_ptr(&vm);
    return 0;
}

static void
forget_processes(struct concierge_vm *vm)
{
    struct concierge *c = vm->c;
    struct hypervisor *hv = c->config.hypervisor;

    opening_cancel(vmt_take_ptr(&vm->opening));
    if (vm->probe)
        hv->ops->probe_cancel(vm->probe);
    if (vm->hv)
        hv->ops->vm_free(vm->hv);
    if (vm->companion)
        c->config.spawn->ops->release(vm->companion);
    vm->probe = NULL;
    vm->hv = NULL;
    vm->companion = NULL;
}

void
vm_free(struct concierge_vm *vm)
{
    struct concierge *c;

    if (!vm)
        return;
    c = vm->c;
    vm_snapshot_forget(vm);
    vm_cpu_started(vm);
    vm->forgotten = true;
    vm_power_drop(vm, "vm_concierge is shutting down");
    life_done(vm);
    restart_free(vm->restart);
    guest_calls_done(vm);
    vm_balloon_done(vm);
    vm_reclaim_drop(vm);
    vm_storage_done(vm);
    vm_hotplug_free(vm);
    vm_agent_close(&vm->agent);
    if (vm->listener)
        rpc_server_free(vm->listener);
    forget_processes(vm);
    network_close_fd(vm);
    c->config.clock->ops->timer_cancel(c->config.clock, vm->timer);
    c->config.clock->ops->timer_cancel(c->config.clock, vm->deferred);
    if (vm->reachable)
        c->config.transport->ops->vm_remove(c->config.transport, vm->cid);
    vm_remove(vm);
    vm_restore_cancel(vm);
    vm_images_free(vm->images);
    vm_warm_free(vm->warm);
    plan_done(&vm->plan);
    free(vm->run_dir);
    free(vm->console);
    free(vm->companion_log);
    free(vm);
}

void
vm_remove(struct concierge_vm *vm)
{
    vmt_list_remove(&vm->node);
    vm_index_remove(&vm->c->by_id, vm);
}

void
vm_insert(struct concierge_vm *vm)
{
    vm_index_add(&vm->c->by_id, vm);
    VMT_LIST_FOREACH(at, following, &vm->c->vms)
    {
        struct concierge_vm *other = VMT_CONTAINER_OF(at, struct concierge_vm, node);

        if (vm_id_compare(&other->id, vm->id.owner, vm->id.name) < 0)
            continue;
        vmt_list_append(at, &vm->node); /* appending to a node puts it before that */
        return;
    }
    vmt_list_append(&vm->c->vms, &vm->node);
}

struct concierge_vm *
vm_find(struct concierge *c, const char *owner, const char *name)
{
    return vm_index_find(&c->by_id, owner, name);
}

struct concierge_vm *
vm_find_cid(struct concierge *c, uint32_t cid)
{
    VMT_LIST_FOREACH(at, following, &c->vms)
    {
        struct concierge_vm *vm = VMT_CONTAINER_OF(at, struct concierge_vm, node);

        if (vm->cid == cid && cid)
            return vm;
    }
    return NULL;
}

/* The one place that assigns state. */
static void
handle(struct concierge_vm *vm, enum vm_event event)
{
    struct vm_cell cell = vm_lifecycle_next(vm->state, event);

    if (cell.state == VM_STATE_NONE) {
        vmt_log_debug("event %s is meaningless in state %s vm=%s cid=%u",
                      vm_event_name(event), vm_state_name(vm->state), vm->key, vm->cid);
        return;
    }
    if (cell.state != vm->state)
        vmt_log_info("%s -> %s on %s vm=%s cid=%u", vm_state_name(vm->state),
                     vm_state_name(cell.state), vm_event_name(event), vm->key, vm->cid);
    vm->state = cell.state;
    if (vm_is_stopping(vm))
        vm_power_drop(vm, "the VM is being stopped");
    actions[cell.action](vm);
}

static enum vm_event
next_event(struct concierge_vm *vm)
{
    enum vm_event event = vm->events[0];

    vm->nevents--;
    memmove(vm->events, vm->events + 1, vm->nevents * sizeof(vm->events[0]));
    return event;
}

void
vm_post(struct concierge_vm *vm, enum vm_event event)
{
    struct concierge *c = vm->c;

    if (vm->forgotten) /* calls that end now tell nothing about the VM */
        return;
    /* An action posts one event at most, and an event of the loop finds the queue empty.
     */
    assert(vm->nevents < VM_EVENTS_MAX);
    vm->events[vm->nevents++] = event;
    if (vm->dispatching)
        return;
    vm->dispatching = true;
    while (vm->nevents > 0)
        handle(vm, next_event(vm));
    vm->dispatching = false;
    if (vm->state != VM_GONE)
        return;
    vm_free(vm);
    concierge_vm_gone(c);
}

static void
on_timer(void *arg)
{
    struct concierge_vm *vm = arg;

    vm->timer = NULL;
    if (vm->state == VM_SPAWNING || vm->state == VM_BOOTING)
        vm_watch_boot(vm);
    else
        vm_post(vm, VM_EV_TIMEOUT);
}

void
vm_disarm(struct concierge_vm *vm)
{
    struct vmt_clock *clock = vm->c->config.clock;

    clock->ops->timer_cancel(clock, vm->timer);
    vm->timer = NULL;
}

/* A deadline that cannot be set would leave the VM for ever in its state: then the step
 * is over at once. */
void
vm_arm(struct concierge_vm *vm, uint64_t delay_ms)
{
    struct vmt_clock *clock = vm->c->config.clock;

    vm_disarm(vm);
    if (clock->ops->timer_start(clock, delay_ms, on_timer, vm, &vm->timer) < 0)
        vm_post(vm, VM_EV_TIMEOUT);
}

static void
on_deferred(void *arg)
{
    struct concierge_vm *vm = arg;

    vm->deferred = NULL;
    vm_post(vm, vm->deferred_event);
}

void
vm_post_later(struct concierge_vm *vm, enum vm_event event)
{
    struct vmt_clock *clock = vm->c->config.clock;

    clock->ops->timer_cancel(clock, vm->deferred);
    vm->deferred = NULL;
    vm->deferred_event = event;
    if (clock->ops->timer_start(clock, 0, on_deferred, vm, &vm->deferred) < 0)
        vmt_log_error("no memory for an event vm=%s cid=%u", vm->key, vm->cid);
}

__attribute__((format(printf, 2, 0))) static void
blame(struct concierge_vm *vm, const char *fmt, va_list ap)
{
    if (!vm->failure[0])
        (void)vsnprintf(vm->failure, sizeof(vm->failure), fmt, ap);
}

void
vm_blame(struct concierge_vm *vm, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    blame(vm, fmt, ap);
    va_end(ap);
}

void
vm_fail(struct concierge_vm *vm, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    blame(vm, fmt, ap);
    va_end(ap);
    vm_post(vm, VM_EV_FAILED);
}

bool
vm_is_booting(const struct concierge_vm *vm)
{
    return vm->state < VM_RUNNING;
}

bool
vm_is_stopping(const struct concierge_vm *vm)
{
    return vm->state >= VM_ASKING;
}

void
vm_act_announce(struct concierge_vm *vm)
{
    struct vmt_clock *clock = vm->c->config.clock;
    struct vmt_err err = {0};

    vm->times.running = clock->ops->now_us(clock);
    vm->life.running_us = vm->times.running;
    vm->was_running = true;
    if (vm_record_save(vm, &err) < 0)
        vmt_log_warning("vm record not updated: %s vm=%s", err.msg, vm->key);
    balloons_watch(vm);
    storage_watch(vm);
    follow_catch_up(vm); /* what changed during the set-up */
    signal_started(vm);
    vm_answer_start(vm);
    guest_events_release(vm);
    vm_warm_on_running(vm);
    if (vm->c->builder)
        template_builder_poke(vm->c->builder);
}
