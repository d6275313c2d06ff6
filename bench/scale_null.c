/* SPDX-License-Identifier: BSD-3-Clause */
#include "bench/scale_null.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/adapter/clock.h"
#include "core/adapter/hypervisor.h"
#include "core/base/cleanup.h"

struct null {
    struct hypervisor base;
    struct vmt_clock *clock; /* borrowed */
};

struct hypervisor_vm {
    struct null *hv;
    const struct hypervisor_events *events; /* borrowed, as arg */
    void *arg;
    struct vmt_timer *timer; /* owned: the next event */
};

static void
on_control(void *arg)
{
    struct hypervisor_vm *vm = arg;

    vm->timer = NULL;
    vm->events->on_control(vm->arg);
}

static void
on_end(void *arg)
{
    struct hypervisor_vm *vm = arg;
    const struct hypervisor_exit_info info = {.reason = HYPERVISOR_EXIT_REQUEST,
                                              .text = ""};

    vm->timer = NULL;
    vm->events->on_exit(vm->arg, &info);
}

static int
next(struct hypervisor_vm *vm, vmt_timer_fn *fn)
{
    const struct vmt_clock_ops *clock = vm->hv->clock->ops;

    clock->timer_cancel(vm->hv->clock, vm->timer);
    vm->timer = NULL;
    return clock->timer_start(vm->hv->clock, 0, fn, vm, &vm->timer);
}

static int
null_check(struct hypervisor *hv, struct vmt_err *err)
{
    (void)hv, (void)err;
    return 0;
}

static int
null_start(struct hypervisor *hv, const struct vm_spec *spec,
           const struct hypervisor_events *events, void *arg,
           struct hypervisor_vm **ret_vm, struct vmt_err *err)
{
    struct hypervisor_vm *vm = calloc(1, sizeof(*vm));
    int r;

    (void)spec, (void)err;
    if (!vm)
        return -ENOMEM;
    vm->hv = VMT_CONTAINER_OF(hv, struct null, base);
    vm->events = events;
    vm->arg = arg;
    r = next(vm, on_control);
    if (r < 0) {
        free(vm);
        return r;
    }
    *ret_vm = vm;
    return 0;
}

/* Nothing runs, so this very process stands for it. */
static void
null_id(const struct hypervisor_vm *vm, struct spawn_id *ret_id)
{
    (void)vm;
    *ret_id = (struct spawn_id){.pid = getpid(), .start_time = 1};
}

static int
null_quit(struct hypervisor_vm *vm)
{
    return next(vm, on_end);
}

static int
null_kill(struct hypervisor_vm *vm, int sig)
{
    (void)sig;
    return next(vm, on_end);
}

static void
null_vm_free(struct hypervisor_vm *vm)
{
    if (vm)
        vm->hv->clock->ops->timer_cancel(vm->hv->clock, vm->timer);
    free(vm);
}

static void
null_free(struct hypervisor *hv)
{
    free(VMT_CONTAINER_OF(hv, struct null, base));
}

static const struct hypervisor_ops ops = {
    .name = "null",
    .caps = HYPERVISOR_CAP_TCG | HYPERVISOR_CAP_USER_NET | HYPERVISOR_CAP_VHOST_USER,
    .check = null_check,
    .start = null_start,
    .id = null_id,
    .quit = null_quit,
    .kill = null_kill,
    .vm_free = null_vm_free,
    .free = null_free,
};

int
scale_null_new(struct vmt_clock *clock, struct hypervisor **ret_hv)
{
    struct null *hv = calloc(1, sizeof(*hv));

    if (!hv)
        return -ENOMEM;
    hv->base.ops = &ops;
    hv->clock = clock;
    *ret_hv = &hv->base;
    return 0;
}
