/* SPDX-License-Identifier: BSD-3-Clause */
/* core/concierge/suspend.c - SuspendVm and ResumeVm.
 *
 * What is wanted is written down before the hypervisor is asked, so that a daemon that
 * takes the VM over tells the truth, and makes it true once more. Commands to the
 * hypervisor are answered in order: only the answer to the last one says how things are.
 * Source: spec 4.7; PrepareToSuspend and SetTime as in the original's order. */
#include "core/concierge/suspend_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common.pb-c.h"
#include "concierge_service.pb-c.h"
#include "core/adapter/clock.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/log.h"
#include "core/concierge/concierge_internal.h"
#include "core/concierge/guest_call_internal.h"
#include "core/concierge/handlers_internal.h"
#include "core/ipc/ipc.h"
#include "vm_guest.pb-c.h"

struct power_waiter {
    struct vmt_list node;
    bool suspend; /* else it waits for the resume */
    power_done_fn *done;
    void *arg;
};

void
vm_power_init(struct concierge_vm *vm)
{
    vmt_list_init(&vm->power.waiters);
}

/* Tell those who wait for a suspension, or those who wait for a resume. */
static void
tell(struct concierge_vm *vm, bool suspend, const char *failure)
{
    VMT_LIST_FOREACH(at, following, &vm->power.waiters)
    {
        struct power_waiter *w = VMT_CONTAINER_OF(at, struct power_waiter, node);

        if (w->suspend != suspend)
            continue;
        vmt_list_remove(at);
        if (w->done)
            w->done(w->arg, failure);
        free(w);
    }
}

void
vm_power_drop(struct concierge_vm *vm, const char *why)
{
    tell(vm, true, why);
    tell(vm, false, why);
}

static int
add_waiter(struct concierge_vm *vm, bool suspend, const struct power_wish *wish,
           struct vmt_err *err)
{
    struct power_waiter *w = calloc(1, sizeof(*w));

    if (!w)
        return vmt_err_set(err, ENOMEM, "wait for the VM");
    w->suspend = suspend;
    w->done = wish->done;
    w->arg = wish->arg;
    vmt_list_append(&vm->power.waiters, &w->node);
    return POWER_UNDER_WAY;
}

static void
note_failure(struct concierge_vm *vm, const char *what, const char *why)
{
    (void)snprintf(vm->power.failure, sizeof(vm->power.failure), "%s: %s", what, why);
}

static void
remember(struct concierge_vm *vm)
{
    struct vmt_err err = {0};

    if (vm_record_save(vm, &err) < 0)
        vmt_log_warning("vm record not updated: %s vm=%s", err.msg, vm->key);
}

/* A caller's wish outlives the sleep of the host. */
static void
add_cause(struct concierge_vm *vm, enum suspend_cause cause)
{
    if (vm->power.cause != SUSPEND_BY_CALLER)
        vm->power.cause = cause;
}

int
vm_suspend(struct concierge_vm *vm, const struct power_wish *wish, struct vmt_err *err)
{
    const struct hypervisor *hv = vm->c->config.hypervisor;
    int r;

    if (vm_is_booting(vm) || vm_is_stopping(vm))
        return POWER_NOT_NOW;
    if (!(hv->ops->caps & HYPERVISOR_CAP_PAUSE))
        return vmt_err_setx(err, ENOTSUP, "%s cannot halt a VM", hv->ops->name);
    if (vm->snapshot) /* which lets the VM run when it is done */
        return vmt_err_setx(err, EBUSY, "a snapshot of the VM is being made");
    if (vm->state == VM_SUSPENDED) {
        add_cause(vm, wish->cause);
        remember(vm);
        return POWER_THERE;
    }
    r = add_waiter(vm, true, wish, err);
    if (r < 0)
        return r;
    add_cause(vm, wish->cause);
    if (vm->state == VM_RUNNING)
        vm->power.prepare_ms = wish->prepare_ms;
    vm_post(vm, VM_EV_SUSPEND);
    return r;
}

int
vm_resume(struct concierge_vm *vm, const struct power_wish *wish, struct vmt_err *err)
{
    int r;

    if (vm_is_booting(vm) || vm_is_stopping(vm))
        return POWER_NOT_NOW;
    if (vm->state == VM_RUNNING && !vm->power.clock_asked)
        return POWER_THERE;
    r = add_waiter(vm, false, wish, err);
    if (r < 0)
        return r;
    if (vm->state == VM_PREPARING)
        note_failure(vm, "not suspended", "it was resumed meanwhile");
    vm_post(vm, VM_EV_RESUME);
    return r;
}

static void
on_prepared(void *arg, const struct rpc_status *status, const ProtobufCMessage *reply)
{
    struct concierge_vm *vm = arg;

    (void)reply;
    if (vm->state != VM_PREPARING)
        return;
    if (status->code != RPC_OK)
        vmt_log_info("the agent did not get ready for a suspension: %s vm=%s cid=%u",
                     rpc_code_name(status->code), vm->key, vm->cid);
    vm_post(vm, status->code == RPC_OK ? VM_EV_AGENT_OK : VM_EV_AGENT_FAILED);
}

void
vm_act_prepare(struct concierge_vm *vm)
{
    const struct guest_call_spec spec = {
        .path = "/vm_tools.Maitred/PrepareToSuspend",
        .reply = &vm_tools__empty_message__descriptor,
        .timeout_ms = vm->power.prepare_ms,
        .done = on_prepared,
        .arg = vm,
    };
    VmTools__EmptyMessage message = VM_TOOLS__EMPTY_MESSAGE__INIT;
    struct vmt_err err = {0};

    vm->power.failure[0] = '\0';
    vm_arm(vm, vm->power.prepare_ms);
    if (guest_call(vm, &spec, &message.base, &err) == 0)
        return;
    vmt_log_info("the agent cannot be told of a suspension: %s vm=%s", err.msg, vm->key);
    vm_post(vm, VM_EV_AGENT_FAILED);
}

static void
on_command_done(void *arg, int result, const struct vmt_err *err)
{
    struct concierge_vm *vm = arg;

    if (--vm->power.commands > 0)
        return;
    if (result < 0) {
        note_failure(vm, "the hypervisor refused", err ? vmt_err_text(err) : "no reason");
        vm_post(vm, VM_EV_PAUSE_FAILED);
    } else {
        vm_post(vm, vm->power.paused ? VM_EV_PAUSED : VM_EV_UNPAUSED);
    }
}

/* A hypervisor that was taken over just now is not connected yet: when it is, CONTROL
 * comes and the step is taken again, within its deadline. Returns 0 or -errno. */
static int
command(struct concierge_vm *vm, bool paused)
{
    struct hypervisor *hv = vm->c->config.hypervisor;
    int r = hv->ops->pause(vm->hv, paused, on_command_done, vm);

    if (r == -ENOTCONN && !vm->times.control)
        return 0;
    if (r < 0) {
        note_failure(vm, "the hypervisor cannot be told", strerror(-r));
        return r;
    }
    vm->power.paused = paused;
    vm->power.commands++;
    return 0;
}

void
vm_act_pause(struct concierge_vm *vm)
{
    struct vmt_err err = {0};

    vm_arm(vm, SUSPEND_PAUSE_MS);
    if (vm_record_save(vm, &err) < 0) {
        note_failure(vm, "the suspension cannot be written down", err.msg);
        vm_post(vm, VM_EV_PAUSE_FAILED);
        return;
    }
    if (command(vm, true) < 0)
        vm_post(vm, VM_EV_PAUSE_FAILED);
}

void
vm_act_rest(struct concierge_vm *vm)
{
    vm_disarm(vm);
    vm->power.clock_asked = false;
    tell(vm, false, "the VM was suspended again");
    tell(vm, true, NULL);
}

/* The daemon before us may have died before it told the hypervisor, and the host that it
 * suspended the VM for is awake: we run. */
void
vm_act_hold(struct concierge_vm *vm)
{
    if (vm->power.cause == SUSPEND_BY_HOST)
        vm_post(vm, VM_EV_RESUME);
    else if (command(vm, true) < 0)
        vmt_log_warning("%s vm=%s cid=%u", vm->power.failure, vm->key, vm->cid);
}

void
vm_act_unpause(struct concierge_vm *vm)
{
    vm->power.failure[0] = '\0';
    vm_arm(vm, SUSPEND_PAUSE_MS);
    if (command(vm, false) < 0)
        vm_post(vm, VM_EV_PAUSE_FAILED);
}

static void
on_clock_set(void *arg, const struct rpc_status *status, const ProtobufCMessage *reply)
{
    struct concierge_vm *vm = arg;

    (void)reply;
    if (status->code != RPC_OK)
        vmt_log_warning("the clock of a VM that was resumed is not set: %s %s vm=%s "
                        "cid=%u",
                        rpc_code_name(status->code), status->text, vm->key, vm->cid);
    if (!vm->power.clock_asked)
        return;
    vm->power.clock_asked = false;
    if (vm->state == VM_RUNNING)
        tell(vm, false, NULL);
}

void
vm_refresh_time(struct concierge_vm *vm, ProtobufCMessage *message)
{
    VmTools__SetTimeRequest *request = (VmTools__SetTimeRequest *)(void *)message;
    struct vmt_clock *clock = vm->c->config.clock;

    clock->ops->wall(clock, &request->time->seconds, &request->time->nanos);
}

/* First of all: the time is wrong until then. */
static void
set_clock(struct concierge_vm *vm)
{
    const struct guest_call_spec spec = {
        .path = "/vm_tools.Maitred/SetTime",
        .reply = &vm_tools__empty_message__descriptor,
        .timeout_ms = RESUME_CLOCK_MS,
        .refresh = vm_refresh_time,
        .done = on_clock_set,
        .arg = vm,
    };
    Google__Protobuf__Timestamp time = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
    VmTools__SetTimeRequest request = VM_TOOLS__SET_TIME_REQUEST__INIT;
    struct vmt_err err = {0};

    request.time = &time;
    vm->power.clock_asked = guest_call(vm, &spec, &request.base, &err) == 0;
    if (!vm->power.clock_asked)
        vmt_log_warning("the clock of a VM that was resumed is not set: %s vm=%s",
                        err.msg, vm->key);
}

void
vm_act_catch_up(struct concierge_vm *vm)
{
    vm_disarm(vm);
    set_clock(vm);
    follow_mark(vm);
    setup_send_resolv(vm); /* spec 4.7: after every resume */
    follow_zone(vm);
    vm->power.cause = SUSPEND_NONE;
    remember(vm);
    tell(vm, true, "the VM was resumed meanwhile");
    if (!vm->power.clock_asked)
        tell(vm, false, NULL);
}

static const char *
failure_of(const struct concierge_vm *vm)
{
    return vm->power.failure[0] ? vm->power.failure : "the hypervisor does not answer";
}

/* A hypervisor that hangs may still have the command to halt before it: the one that
 * follows undoes it. */
void
vm_act_stay(struct concierge_vm *vm)
{
    vm_disarm(vm);
    if (vm->power.paused && vm->power.commands > 0)
        (void)command(vm, false);
    vm->power.cause = SUSPEND_NONE;
    remember(vm);
    tell(vm, true, failure_of(vm));
    tell(vm, false, NULL);
}

void
vm_act_sleep_on(struct concierge_vm *vm)
{
    vm_disarm(vm);
    tell(vm, false, failure_of(vm));
}

static void
on_shutdown_done(void *arg, const struct rpc_status *status,
                 const ProtobufCMessage *reply)
{
    struct concierge_vm *vm = arg;

    (void)reply;
    if (vm->state == VM_ASKING)
        vm_post(vm, status->code == RPC_OK ? VM_EV_AGENT_OK : VM_EV_AGENT_FAILED);
}

static void
ask_after_wake(struct concierge_vm *vm)
{
    const struct guest_call_spec spec = {
        .path = "/vm_tools.Maitred/Shutdown",
        .reply = &vm_tools__empty_message__descriptor,
        .timeout_ms = AGENT_SHUTDOWN_MS,
        .done = on_shutdown_done,
        .arg = vm,
    };
    VmTools__EmptyMessage message = VM_TOOLS__EMPTY_MESSAGE__INIT;

    if (guest_call(vm, &spec, &message.base, NULL) < 0)
        vm_post(vm, VM_EV_AGENT_FAILED);
}

static void
on_woken(void *arg, int result, const struct vmt_err *err)
{
    struct concierge_vm *vm = arg;

    vm->power.commands--;
    if (vm->state != VM_ASKING)
        return;
    if (result >= 0) {
        ask_after_wake(vm);
        return;
    }
    vmt_log_warning("the VM cannot be resumed for its stop: %s vm=%s cid=%u",
                    err ? vmt_err_text(err) : "no reason", vm->key, vm->cid);
    vm_post(vm, VM_EV_AGENT_FAILED);
}

/* A guest that runs can close its files. */
void
vm_act_wake(struct concierge_vm *vm)
{
    struct hypervisor *hv = vm->c->config.hypervisor;

    if (hv->ops->pause(vm->hv, false, on_woken, vm) < 0) {
        vm_post(vm, VM_EV_AGENT_FAILED);
        return;
    }
    vm->power.commands++;
    vm_arm_stop(vm);
}

static void
on_power_done(void *arg, const char *failure)
{
    reply_success(arg, failure);
}

static const char *
why_not(const struct concierge_vm *vm)
{
    return vm_is_booting(vm) ? "the VM is still starting" : "the VM is being stopped";
}

static void
answer_outcome(struct ipc_call *call, const struct concierge_vm *vm, int outcome,
               const struct vmt_err *err)
{
    if (outcome < 0)
        reply_success(call, err->msg);
    else if (outcome == POWER_NOT_NOW)
        reply_success(call, why_not(vm));
    else if (outcome == POWER_THERE)
        reply_success(call, NULL);
}

void
concierge_handle_suspend_vm(void *ctx, struct ipc_call *call,
                            const ProtobufCMessage *message)
{
    const VmTools__Concierge__SuspendVmRequest *request =
        (const VmTools__Concierge__SuspendVmRequest *)message;
    const struct power_wish wish = {
        .cause = SUSPEND_BY_CALLER,
        .prepare_ms = SUSPEND_PREPARE_MS,
        .done = on_power_done,
        .arg = call,
    };
    struct concierge_vm *vm;
    struct vmt_err err = {0};

    if (vm_id_check(request->owner_id, request->name, &err) < 0) {
        reply_success(call, err.msg);
        return;
    }
    vm = vm_find(ctx, request->owner_id, request->name);
    if (vm)
        answer_outcome(call, vm, vm_suspend(vm, &wish, &err), &err);
    else /* spec 4.7: as of a VM that is stopped already */
        reply_success(call, NULL);
}

void
concierge_handle_resume_vm(void *ctx, struct ipc_call *call,
                           const ProtobufCMessage *message)
{
    const VmTools__Concierge__ResumeVmRequest *request =
        (const VmTools__Concierge__ResumeVmRequest *)message;
    const struct power_wish wish = {.done = on_power_done, .arg = call};
    struct concierge_vm *vm;
    struct vmt_err err = {0};

    if (vm_id_check(request->owner_id, request->name, &err) < 0) {
        reply_success(call, err.msg);
        return;
    }
    vm = vm_find(ctx, request->owner_id, request->name);
    if (vm)
        answer_outcome(call, vm, vm_resume(vm, &wish, &err), &err);
    else
        reply_success(call, NULL);
}
