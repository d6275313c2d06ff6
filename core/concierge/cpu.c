/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/concierge/cpu_internal.h"

#include <errno.h>
#include <string.h>

#include "concierge_service.pb-c.h"
#include "core/adapter/clock.h"
#include "core/adapter/host.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/log.h"
#include "core/concierge/concierge_internal.h"
#include "core/concierge/handlers_internal.h"
#include "core/ipc/ipc.h"

#define WEIGHT_USUAL 100u /* cpu.weight of a group that nobody set */

/* cpu.shares of a restricted class beside those of any other; spec 10.2. */
#define BACKGROUND_SHARES 64u
#define FOREGROUND_SHARES 1024u

/* A killed process is gone within milliseconds; one that hangs in the kernel is not, and
 * the next daemon looks again. */
#define SWEEP_MS 100u
#define SWEEPS_MAX 50u

#define CLASS(name) VM_TOOLS__CONCIERGE__CPU_CGROUP__CPU_CGROUP_##name
#define RESTRICTION(name)                                                                \
    VM_TOOLS__CONCIERGE__CPU_RESTRICTION_STATE__CPU_RESTRICTION_##name

/* The name of a VM's group: what its directory has after the last slash. */
static const char *
group_of(const struct concierge_vm *vm)
{
    const char *slash = vm->run_dir ? strrchr(vm->run_dir, '/') : NULL;

    return slash ? slash + 1 : NULL;
}

/* Neither Android nor plugin VMs exist here: all are of the first class. */
static uint32_t
weight_of(const struct concierge_vm *vm)
{
    uint32_t weight = vm->cpu.weight ? vm->cpu.weight : WEIGHT_USUAL;

    if (!vm->c->cpu.background[CLASS(TERMINA)])
        return weight;
    weight = weight * BACKGROUND_SHARES / FOREGROUND_SHARES;
    return weight ? weight : 1;
}

static int
set_weight(struct concierge_vm *vm, struct vmt_err *err)
{
    struct host *host = vm->c->config.host;
    uint32_t weight = weight_of(vm);
    int r = host->cgroups->set_weight(host, group_of(vm), weight, err);

    vm->cpu.in_force = r == 0 ? weight : 0;
    return r;
}

static bool
has_groups(struct concierge *c)
{
    struct host *host = c->config.host;
    struct vmt_err err = {0};

    if (host->cgroups->prepare(host, &err) == 0)
        return true;
    if (!c->cpu.told)
        vmt_log_info("VMs get no cgroups of their own: %s", err.msg);
    c->cpu.told = true;
    return false;
}

/* What was asked for and cannot be had is worth a warning, the usual is not. */
static void
tell_weight_failure(const struct concierge_vm *vm, const struct vmt_err *err)
{
    vmt_log(vm->cpu.weight ? VMT_LOG_WARNING : VMT_LOG_DEBUG,
            "cpu weight not set: %s vm=%s cid=%u", err->msg, vm->key, vm->cid);
}

void
vm_cpu_join(struct concierge_vm *vm)
{
    struct host *host = vm->c->config.host;
    struct vmt_err err = {0};

    vm->cpu.weight = vm->plan.cpu_weight;
    if (!group_of(vm) || !has_groups(vm->c))
        return;
    if (host->cgroups->make(host, group_of(vm), &vm->cpu.fd, &err) < 0) {
        vmt_log_warning("no cgroup for a VM: %s vm=%s", err.msg, vm->key);
        return;
    }
    vm->cpu.grouped = true;
    if (set_weight(vm, &err) < 0)
        tell_weight_failure(vm, &err);
}

void
vm_cpu_started(struct concierge_vm *vm)
{
    struct host *host = vm->c->config.host;

    if (vm->cpu.fd > 0)
        host->files->close(host, vm->cpu.fd);
    vm->cpu.fd = -1;
}

void
vm_cpu_adopt(struct concierge_vm *vm)
{
    struct vmt_err err = {0};

    if (vm->cpu.grouped && has_groups(vm->c) && set_weight(vm, &err) < 0)
        tell_weight_failure(vm, &err);
}

void
vm_cpu_leave(struct concierge_vm *vm)
{
    struct host *host = vm->c->config.host;

    vm_cpu_started(vm);
    if (!vm->cpu.grouped)
        return;
    vm->cpu.grouped = false;
    if (host->cgroups->remove(host, group_of(vm)) < 0)
        cpu_shares_sweep(vm->c);
}

static bool
is_in_use(struct concierge *c, const char *name)
{
    VMT_LIST_FOREACH(at, following, &c->vms)
    {
        struct concierge_vm *vm = VMT_CONTAINER_OF(at, struct concierge_vm, node);
        const char *group = group_of(vm);

        if (group && strcmp(group, name) == 0 && vm->cpu.grouped)
            return true;
    }
    return false;
}

struct sweep {
    struct concierge *c;
    unsigned left;
};

static void
sweep_one(void *arg, const char *name)
{
    struct sweep *sweep = arg;
    struct host *host = sweep->c->config.host;

    if (!is_in_use(sweep->c, name) && host->cgroups->remove(host, name) < 0)
        sweep->left++;
}

static void
on_sweep(void *arg)
{
    struct concierge *c = arg;

    c->cpu.sweep = NULL;
    cpu_shares_sweep(c);
}

void
cpu_shares_sweep(struct concierge *c)
{
    struct vmt_clock *clock = c->config.clock;
    struct host *host = c->config.host;
    struct sweep sweep = {.c = c};

    if (c->cpu.sweep || !has_groups(c))
        return;
    host->cgroups->each(host, sweep_one, &sweep);
    if (sweep.left == 0 || ++c->cpu.sweeps > SWEEPS_MAX) {
        if (sweep.left > 0)
            vmt_log_warning("%u cgroups of ended VMs could not be removed", sweep.left);
        c->cpu.sweeps = 0;
        return;
    }
    (void)clock->ops->timer_start(clock, SWEEP_MS, on_sweep, c, &c->cpu.sweep);
}

void
cpu_shares_done(struct concierge *c)
{
    struct vmt_clock *clock = c->config.clock;

    clock->ops->timer_cancel(clock, c->cpu.sweep);
    c->cpu.sweep = NULL;
}

/* Give all VMs of a class their share. Returns the first failure. */
static int
restrict_class(struct concierge *c, int class, bool background, struct vmt_err *err)
{
    struct host *host = c->config.host;
    struct vmt_err one = {0};
    int r = host->cgroups->prepare(host, err);

    if (r < 0)
        return r;
    c->cpu.background[class] = background;
    VMT_LIST_FOREACH(at, following, &c->vms)
    {
        struct concierge_vm *vm = VMT_CONTAINER_OF(at, struct concierge_vm, node);

        if (!vm->cpu.grouped || set_weight(vm, &one) == 0 || r < 0)
            continue;
        r = -one.code;
        *err = one;
    }
    return r;
}

void
concierge_handle_set_vm_cpu_restriction(void *ctx, struct ipc_call *call,
                                        const ProtobufCMessage *message)
{
    const VmTools__Concierge__SetVmCpuRestrictionRequest *request =
        (const VmTools__Concierge__SetVmCpuRestrictionRequest *)message;
    VmTools__Concierge__SetVmCpuRestrictionResponse response =
        VM_TOOLS__CONCIERGE__SET_VM_CPU_RESTRICTION_RESPONSE__INIT;
    struct concierge *c = ctx;
    struct vmt_err err = {0};
    int class = (int)request->cpu_cgroup, state = (int)request->cpu_restriction_state;

    if (class < 0 || class >= CPU_CLASSES)
        (void)vmt_err_setx(&err, EINVAL, "there is no such class of VMs");
    else if (state != (int)RESTRICTION(FOREGROUND) &&
             state != (int)RESTRICTION(BACKGROUND))
        (void)vmt_err_setx(&err, ENOTSUP, "a hard limit exists for Android VMs only");
    else if (restrict_class(c, class, state == (int)RESTRICTION(BACKGROUND), &err) == 0)
        response.success = true;
    response.failure_reason = err.msg;
    ipc_call_reply(call, &response.base, NULL, 0);
    if (response.success && concierge_record_save(c, &err) < 0)
        vmt_log_warning("the CPU restriction is not remembered: %s", err.msg);
}
