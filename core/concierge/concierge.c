/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/concierge/concierge.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "concierge_service.pb-c.h"
#include "core/adapter/clock.h"
#include "core/adapter/host.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/log.h"
#include "core/concierge/concierge_internal.h"
#include "core/ipc/ipc.h"
#include "core/vm/mitigation.h"

VMT_DEFINE_FREEP(struct concierge, concierge_free)

int
concierge_new(const struct concierge_config *config, struct concierge **ret_concierge,
              struct vmt_err *err)
{
    VMT_CLEANUP(concierge_freep) struct concierge *c = calloc(1, sizeof(*c));
    int r;

    if (!c)
        return vmt_err_set(err, ENOMEM, "create the VM daemon");
    c->config = *config;
    vmt_list_init(&c->vms);
    vmt_list_init(&c->openings);
    vmt_list_init(&c->syncs);
    disk_desk_init(&c->disks);
    ends_init(c);
    restarts_init(c);
    if (vm_index_init(&c->by_id) < 0)
        return vmt_err_set(err, ENOMEM, "create the VM daemon");
    balloons_init(c);
    concierge_record_load(c);
    ends_load(c);
    r = template_builder_new(c, &c->builder, err);
    if (r < 0)
        return r;
    r = startup_listen(c, err);
    if (r < 0)
        return r;
    follow_start(c);
    *ret_concierge = vmt_take_ptr(&c);
    return 0;
}

/* Whoever waits is told, so that no call stays open. */
static void
forget(struct concierge_vm *vm)
{
    struct ipc_call *call = vmt_take_ptr(&vm->start_call);

    if (call)
        ipc_call_fail(call, IPC_ERROR_FAILED, "vm_concierge is shutting down");
    vm_answer_waiters(vm, "vm_concierge is shutting down");
    vm_free(vm);
}

void
concierge_free(struct concierge *c)
{
    if (!c)
        return;
    VMT_LIST_FOREACH(at, following, &c->vms)
    forget(VMT_CONTAINER_OF(at, struct concierge_vm, node));
    template_builder_free(c->builder);
    follow_stop(c);
    network_stop(c);
    restarts_done(c);
    openings_done(c);
    ends_done(c);
    time_syncs_free(c);
    balloons_done(c);
    disk_desk_done(c);
    cpu_shares_done(c);
    storage_done(c);
    c->config.clock->ops->timer_cancel(c->config.clock, c->log_timer);
    startup_unlisten(c);
    vm_index_done(&c->by_id);
    free(c->launch_refusal);
    free(c);
}

void
concierge_set_ipc(struct concierge *c, struct ipc *ipc)
{
    c->ipc = ipc;
}

size_t
concierge_vm_count(const struct concierge *c)
{
    return c->by_id.n;
}

bool
concierge_is_busy(const struct concierge *c)
{
    return !vmt_list_empty(&c->vms) || template_builder_is_busy(c->builder) ||
           concierge_disk_operations(c) > 0 || restart_pending(c, NULL, NULL) > 0;
}

void
concierge_vm_gone(struct concierge *c)
{
    if (!concierge_is_busy(c) && c->config.on_idle)
        c->config.on_idle(c->config.arg);
}

/* Asking the hypervisor's program would block the loop; the last start knows as well. */
void
concierge_note_launch(struct concierge *c, const struct vmt_err *err)
{
    free(c->launch_refusal);
    c->launch_refusal = NULL;
    if (err && (err->code == ENOENT || err->code == ENOTSUP))
        c->launch_refusal = strdup(err->msg);
}

static bool
processor_is_safe(const struct concierge *c, const char **ret_why)
{
    struct host *host = c->config.host;
    char l1tf[256], mds[256];
    bool has_l1tf, has_mds;

    if (!c->config.require_mitigations)
        return true;
    has_l1tf = host->facts->vulnerability(host, "l1tf", l1tf, sizeof(l1tf));
    has_mds = host->facts->vulnerability(host, "mds", mds, sizeof(mds));
    return vm_mitigation_check(has_l1tf ? l1tf : NULL, has_mds ? mds : NULL, ret_why);
}

bool
concierge_launch_allowed(const struct concierge *c, const char **ret_why)
{
    if (!processor_is_safe(c, ret_why))
        return false;
    if (c->launch_refusal)
        *ret_why = c->launch_refusal;
    return !c->launch_refusal;
}

bool
concierge_start_allowed(const struct concierge *c, const char **ret_why)
{
    return processor_is_safe(c, ret_why);
}

void
concierge_shutdown(struct concierge *c, void (*done)(void *arg), void *arg)
{
    struct stop_group *group = calloc(1, sizeof(*group));
    struct vmt_clock *clock = c->config.clock;

    c->shutting_down = true;
    if (c->config.shutdown_limit_ms)
        c->shutdown_end_ms = clock->ops->now_ms(clock) + c->config.shutdown_limit_ms;
    (void)restart_cancel(c, NULL, NULL);
    template_builder_stop(c->builder);
    startup_leave(c);
    if (!group) {
        vmt_log_error("no memory to stop the VMs; they are left running");
        done(arg);
        return;
    }
    group->left = 1;
    group->done = done;
    group->arg = arg;
    VMT_LIST_FOREACH(at, following, &c->vms)
    {
        struct concierge_vm *vm = VMT_CONTAINER_OF(at, struct concierge_vm, node);

        if (vm_is_stopping(vm) && vm->timer) /* its step began without a limit */
            vm_arm_stop(vm);
        if (vm_stop(vm, group, VM_TOOLS__CONCIERGE__VM_STOP_REASON__SERVICE_SHUTDOWN) < 0)
            vmt_log_error("no memory to stop a VM; it is left running vm=%s", vm->key);
    }
    stop_group_filled(group);
}
