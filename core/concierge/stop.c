/* SPDX-License-Identifier: BSD-3-Clause */
/* core/concierge/stop.c - the way out: escalation (spec/concierge.md 4.4), release, and
 * those who wait for it. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common.pb-c.h"
#include "concierge_service.pb-c.h"
#include "core/adapter/clock.h"
#include "core/adapter/host.h"
#include "core/adapter/transport.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/log.h"
#include "core/concierge/concierge_internal.h"
#include "core/concierge/snapshot_internal.h"
#include "core/rpc/server.h"
#include "core/vm/stop_budget.h"

static void
on_shutdown_done(void *arg, const struct rpc_status *status)
{
    struct concierge_vm *vm = arg;

    if (status->code != RPC_OK)
        vmt_log_info("the agent did not shut down: %s vm=%s cid=%u",
                     rpc_code_name(status->code), vm->key, vm->cid);
    vm_post(vm, status->code == RPC_OK ? VM_EV_AGENT_OK : VM_EV_AGENT_FAILED);
}

static const struct rpc_client_handler shutdown_handler = {.on_done = on_shutdown_done};

static void
ask(struct concierge_vm *vm)
{
    const struct rpc_client_request request = {
        .path = "/vm_tools.Maitred/Shutdown",
        .reply = &vm_tools__empty_message__descriptor,
        .timeout_ms = AGENT_SHUTDOWN_MS,
        .handler = &shutdown_handler,
        .arg = vm,
    };
    VmTools__EmptyMessage message = VM_TOOLS__EMPTY_MESSAGE__INIT;
    struct vmt_err err = {0};

    if (vm_agent_call(&vm->agent, &request, &message.base, &err) == 0)
        return;
    vmt_log_info("the agent cannot be asked to shut down: %s vm=%s", err.msg, vm->key);
    vm_post(vm, VM_EV_AGENT_FAILED);
}

static void
on_open(void *arg, const struct vmt_err *err)
{
    struct concierge_vm *vm = arg;

    if (vm->state != VM_ASKING)
        return;
    if (!err) {
        ask(vm);
        return;
    }
    vmt_log_info("the agent cannot be reached: %s vm=%s cid=%u", err->msg, vm->key,
                 vm->cid);
    vm_post(vm, VM_EV_AGENT_FAILED);
}

void
vm_arm_stop(struct concierge_vm *vm)
{
    struct vmt_clock *clock = vm->c->config.clock;
    uint64_t end = vm->c->shutdown_end_ms, left = STOP_NO_LIMIT, now;

    if (end) {
        now = clock->ops->now_ms(clock);
        left = end > now ? end - now : 0;
    }
    vm_arm(vm, stop_budget_ms(vm->state, left));
}

/* The one deadline covers connecting and the answer. */
void
vm_act_ask(struct concierge_vm *vm)
{
    struct vmt_err err = {0};

    vm_arm_stop(vm);
    if (vm_agent_is_open(&vm->agent)) {
        ask(vm);
        return;
    }
    if (vm_agent_open(&vm->agent, AGENT_SHUTDOWN_MS, on_open, vm, &err) < 0)
        vm_post(vm, VM_EV_AGENT_FAILED);
}

void
vm_act_wait(struct concierge_vm *vm)
{
    vm_arm_stop(vm);
}

/* A step that cannot even be tried takes no time. */
static void
arm_step(struct concierge_vm *vm, int r)
{
    if (r < 0)
        vm_arm(vm, 0);
    else
        vm_arm_stop(vm);
}

void
vm_act_quit(struct concierge_vm *vm)
{
    struct hypervisor *hv = vm->c->config.hypervisor;

    arm_step(vm, hv->ops->quit(vm->hv));
}

void
vm_act_term(struct concierge_vm *vm)
{
    struct hypervisor *hv = vm->c->config.hypervisor;

    arm_step(vm, hv->ops->kill(vm->hv, SIGTERM));
}

/* Even -ESRCH waits: the exit is on its way. */
void
vm_act_kill(struct concierge_vm *vm)
{
    struct hypervisor *hv = vm->c->config.hypervisor;

    (void)hv->ops->kill(vm->hv, SIGKILL);
    vm_arm_stop(vm);
}

void
vm_act_give_up(struct concierge_vm *vm)
{
    vmt_log_error("the hypervisor survived SIGKILL pid=%d vm=%s cid=%u", vm->hv_id.pid,
                  vm->key, vm->cid);
    vm_blame(vm, "the hypervisor could not be stopped");
    vm_answer_start(vm);
    vm_answer_waiters(vm, "the hypervisor survived SIGKILL; it may hang in the kernel");
}

/* Not from here: the hypervisor's own callback may be on the stack. */
void
vm_act_release(struct concierge_vm *vm)
{
    struct concierge *c = vm->c;
    struct hypervisor *hv = c->config.hypervisor;

    vm_disarm(vm);
    vm_restore_cancel(vm);
    vm_snapshot_cancel(vm, "the VM ended");
    opening_cancel(vmt_take_ptr(&vm->opening));
    if (vm->probe)
        hv->ops->probe_cancel(vm->probe);
    vm->probe = NULL;
    if (!vm->companion) {
        vm_post_later(vm, VM_EV_COMPANION_EXIT);
        return;
    }
    (void)c->config.spawn->ops->kill(vm->companion, SIGTERM);
    vm_arm_stop(vm);
}

void
vm_act_kill_companion(struct concierge_vm *vm)
{
    struct concierge *c = vm->c;

    vmt_log_warning("vm_vsock does not end, killing it pid=%d vm=%s cid=%u",
                    vm->companion_id.pid, vm->key, vm->cid);
    if (vm->companion)
        (void)c->config.spawn->ops->kill(vm->companion, SIGKILL);
    vm_arm_stop(vm);
}

/* spec 16.2: VmStopped only after everything was released. */
void
vm_act_finish(struct concierge_vm *vm)
{
    struct concierge *c = vm->c;
    struct host *host = c->config.host;
    struct hypervisor *hv = c->config.hypervisor;
    struct vmt_err err = {0};

    vm_disarm(vm);
    guest_calls_done(vm);
    vm_agent_close(&vm->agent);
    if (vm->listener)
        rpc_server_free(vm->listener);
    vm->listener = NULL;
    if (vm->hv)
        hv->ops->vm_free(vm->hv);
    vm->hv = NULL;
    if (vm->reachable)
        c->config.transport->ops->vm_remove(c->config.transport, vm->cid);
    vm->reachable = false;
    network_disconnect(vm);
    vm_cpu_leave(vm);
    if (vm->run_dir && host->files->dir_remove(host, vm->run_dir, &err) < 0)
        vmt_log_warning("runtime directory not removed: %s vm=%s", err.msg, vm->key);
    vm_remove(vm);
    life_end(vm);
    if (!restart_consider(vm))
        vm_record_remove(vm);
    signal_stopped(vm);
    vm_answer_start(vm);
    life_tell(vm);
    vm_answer_waiters(vm, NULL);
}

static void
group_unref(struct stop_group *group)
{
    if (--group->left > 0)
        return;
    if (group->call)
        group->answer(group);
    else if (group->done)
        group->done(group->arg);
    free(group);
}

void
stop_group_filled(struct stop_group *group)
{
    group_unref(group);
}

void
vm_answer_waiters(struct concierge_vm *vm, const char *failure)
{
    VMT_LIST_FOREACH(at, following, &vm->waiters)
    {
        struct stop_waiter *w = VMT_CONTAINER_OF(at, struct stop_waiter, node);
        struct stop_group *group = w->group;

        if (failure && !group->failure[0])
            (void)snprintf(group->failure, sizeof(group->failure), "%s", failure);
        vmt_list_remove(at);
        free(w);
        group_unref(group);
    }
}

static const char *const cancel_words[] = {
    [VM_TOOLS__CONCIERGE__VM_STOP_REASON__STOP_VM_REQUESTED] =
        "the start was cancelled by StopVm",
    [VM_TOOLS__CONCIERGE__VM_STOP_REASON__STOP_ALL_VMS_REQUESTED] =
        "the start was cancelled by StopAllVms",
    [VM_TOOLS__CONCIERGE__VM_STOP_REASON__DESTROY_DISK_IMAGE_REQUESTED] =
        "the start was cancelled: its disk is destroyed",
    [VM_TOOLS__CONCIERGE__VM_STOP_REASON__SERVICE_SHUTDOWN] =
        "the start was cancelled: vm_concierge shuts down",
};

/* NULL: its start failed by itself, or the record of an earlier daemon is odd. */
static const char *
why_cancelled(const struct concierge_vm *vm)
{
    size_t reason = (size_t)vm->stop_reason;

    return reason < VMT_ARRAY_SIZE(cancel_words) ? cancel_words[reason] : NULL;
}

/* A daemon that dies before the VM does leaves it to an heir, which must not let it go on
 * that was told to stop, nor start it again. */
static void
note_wish(struct concierge_vm *vm, int reason)
{
    struct vmt_err err = {0};

    if (vm->life.asked)
        return;
    vm->life.asked = true;
    if (!vm_is_stopping(vm))
        vm->stop_reason = reason;
    if (vm->announced && vm_record_save(vm, &err) < 0)
        vmt_log_warning("the wish to stop is not written down: %s vm=%s", err.msg,
                        vm->key);
}

void
vm_stop_asked(struct concierge_vm *vm)
{
    if (!vm_is_stopping(vm) && !vm->stopping_announced) {
        if (vm_is_booting(vm) && why_cancelled(vm))
            vm_blame(vm, "%s", why_cancelled(vm));
        signal_stopping(vm);
    }
    vm_snapshot_cancel(vm, "the VM is being stopped");
    vm_post(vm, VM_EV_STOP);
}

int
vm_stop(struct concierge_vm *vm, struct stop_group *group, int reason)
{
    struct stop_waiter *w = calloc(1, sizeof(*w));

    if (!w)
        return -ENOMEM;
    w->group = group;
    group->left++;
    vmt_list_append(&vm->waiters, &w->node);
    note_wish(vm, reason);
    vm_stop_asked(vm);
    return 0;
}
