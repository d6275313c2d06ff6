/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/fake/fake_process.c - what a process of the fake hypervisor tells who watches it,
 * and its end. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "tests/fake/fake_hypervisor_internal.h"

void
fake_later(struct fake *hv, vmt_timer_fn *fn, void *arg, struct vmt_timer **ret_timer)
{
    if (!*ret_timer && hv->clock->ops->timer_start(hv->clock, 0, fn, arg, ret_timer) < 0)
        abort(); /* a test has no use for going on */
}

void
fake_cancel(struct fake *hv, struct vmt_timer **timer)
{
    hv->clock->ops->timer_cancel(hv->clock, *timer);
    *timer = NULL;
}

void
fake_process_free(struct fake_process *p)
{
    fake_cancel(p->hv, &p->exit_timer);
    vmt_list_remove(&p->node);
    free(p);
}

void
fake_call_free(struct fake_call *c)
{
    fake_cancel(c->vm->hv, &c->timer);
    vmt_list_remove(&c->node);
    free(c);
}

void
fake_call_fire(void *arg)
{
    struct fake_call *c = arg;
    struct hypervisor_vm *vm = c->vm;
    hypervisor_done_fn *done = c->done;
    hypervisor_memory_fn *memory_done = c->memory_done;
    void *done_arg = c->arg;
    struct hypervisor_memory memory = {0};
    struct vmt_err err;
    int result = c->result;

    c->timer = NULL;
    if (result == 0 && c->apply)
        result = c->apply(vm->process, c);
    if (vm->process) {
        memory = vm->process->devices.memory;
        memory.balloon = vm->process->devices.stuck ? vm->process->devices.inflated
                                                    : vm->process->devices.balloon;
    }
    fake_call_free(c);
    (void)vmt_err_setx(&err, result < 0 ? -result : EINVAL, "scripted failure");
    if (memory_done)
        memory_done(done_arg, result, result < 0 ? NULL : &memory);
    if (done)
        done(done_arg, result, result < 0 ? &err : NULL);
}

static struct spawn_exit
process_status(const struct fake_process *p)
{
    if (p->vm->adopted)
        return (struct spawn_exit){SPAWN_EXIT_UNKNOWN, 0};
    if (p->reason == HYPERVISOR_EXIT_KILLED)
        return (struct spawn_exit){SPAWN_EXIT_SIGNAL, SIGKILL};
    return (struct spawn_exit){SPAWN_EXIT_CODE, p->reason == HYPERVISOR_EXIT_CONFIG};
}

/* Each callback may free the vm; p->vm is NULL then. */
static void
exit_fire(void *arg)
{
    struct fake_process *p = arg;
    struct hypervisor_exit_info info = {.reason = p->reason, .text = p->text};
    struct hypervisor_vm *vm = p->vm;

    p->exit_timer = NULL;
    vmt_list_remove(&p->node);
    if (vm) {
        info.process = process_status(p);
        vm->control = false;
        fake_cancel(p->hv, &vm->control_timer);
        fake_cancel(p->hv, &vm->panic_timer);
    }
    while (p->vm && !vmt_list_empty(&p->vm->pending)) {
        struct fake_call *c =
            VMT_CONTAINER_OF(p->vm->pending.next, struct fake_call, node);

        c->result = -ENOTCONN;
        fake_cancel(p->hv, &c->timer);
        fake_call_fire(c);
    }
    vm = p->vm;
    if (vm) {
        vm->process = NULL;
        vm->events->on_exit(vm->arg, &info);
    }
    fake_process_free(p);
}

void
fake_process_exit(struct fake_process *process, enum hypervisor_exit reason,
                  const char *text)
{
    if (process->exit_timer)
        return; /* the first reason counts */
    process->reason = reason;
    (void)snprintf(process->text, sizeof(process->text), "%s", text ? text : "");
    fake_later(process->hv, exit_fire, process, &process->exit_timer);
}

static void
control_fire(void *arg)
{
    struct hypervisor_vm *vm = arg;

    vm->control_timer = NULL;
    vm->control = true;
    vm->events->on_control(vm->arg);
}

void
fake_process_control(struct fake_process *process)
{
    if (process->vm && !process->vm->control)
        fake_later(process->hv, control_fire, process->vm, &process->vm->control_timer);
}

static void
panic_fire(void *arg)
{
    struct hypervisor_vm *vm = arg;

    vm->panic_timer = NULL;
    vm->events->on_panic(vm->arg);
}

void
fake_process_panic(struct fake_process *process)
{
    if (process->vm)
        fake_later(process->hv, panic_fire, process->vm, &process->vm->panic_timer);
}

void
fake_process_freeze(struct fake_process *process)
{
    process->frozen = true;
}

void
fake_process_thaw(struct fake_process *process)
{
    process->frozen = false;
    if (!process->vm)
        return;
    VMT_LIST_FOREACH(node, next, &process->vm->pending)
    {
        struct fake_call *c = VMT_CONTAINER_OF(node, struct fake_call, node);

        fake_later(process->hv, fake_call_fire, c, &c->timer);
    }
}

const struct fake_start *
fake_process_start(const struct fake_process *process)
{
    return &process->start;
}

bool
fake_process_is_paused(const struct fake_process *process)
{
    return process->paused;
}
