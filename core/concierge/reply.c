/* SPDX-License-Identifier: BSD-3-Clause */
/* core/concierge/reply.c - answers to StartVm, and the plainest one. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "concierge_service.pb-c.h"
#include "core/adapter/clock.h"
#include "core/base/cleanup.h"
#include "core/base/log.h"
#include "core/concierge/concierge_internal.h"
#include "core/ipc/ipc.h"

#define PHASES_MAX 8

typedef VmTools__Concierge__StartVmResponse response_t;
typedef VmTools__Concierge__BootPhase phase_t;

void
reply_success(struct ipc_call *call, const char *why)
{
    VmTools__Concierge__SuccessFailureResponse response;

    vm_tools__concierge__success_failure_response__init(&response);
    response.success = !why;
    response.failure_reason = (char *)(uintptr_t)(why ? why : "");
    ipc_call_reply(call, &response.base, NULL, 0);
}

static const char *
accel_name(const struct concierge_vm *vm)
{
    return vm->accel == HYPERVISOR_ACCEL_KVM   ? "kvm"
           : vm->accel == HYPERVISOR_ACCEL_TCG ? "tcg"
                                               : "";
}

void
reply_start_failure(struct ipc_call *call, const char *why)
{
    response_t response;

    vm_tools__concierge__start_vm_response__init(&response);
    response.failure_reason = (char *)(uintptr_t)why;
    response.status = VM_TOOLS__CONCIERGE__VM_STATUS__VM_STATUS_FAILURE;
    ipc_call_reply(call, &response.base, NULL, 0);
}

void
reply_start_busy(struct ipc_call *call, const char *what)
{
    response_t response;
    char why[128];

    (void)snprintf(why, sizeof(why),
                   "%s is going on for a disk of this VM; wait or cancel it", what);
    vm_tools__concierge__start_vm_response__init(&response);
    response.failure_reason = why;
    response.status = VM_TOOLS__CONCIERGE__VM_STATUS__VM_STATUS_DISK_OP_IN_PROGRESS;
    ipc_call_reply(call, &response.base, NULL, 0);
}

static void
answer_failure(struct concierge_vm *vm, struct ipc_call *call)
{
    VMT_CLEANUP(vmt_freep) char *tail = console_last_lines(vm, CONSOLE_TAIL_LINES);
    response_t response;
    VMT_CLEANUP(vmt_freep)
    char *why = console_escape(vm->failure, strlen(vm->failure));

    vm_tools__concierge__start_vm_response__init(&response);
    if (why)
        response.failure_reason = why;
    vmt_log_warning("vm start failed: %s vm=%s cid=%u", response.failure_reason, vm->key,
                    vm->cid);
    response.status = VM_TOOLS__CONCIERGE__VM_STATUS__VM_STATUS_FAILURE;
    response.accel = (char *)(uintptr_t)accel_name(vm);
    if (tail)
        response.console_tail = tail;
    ipc_call_reply(call, &response.base, NULL, 0);
}

struct phases {
    phase_t v[PHASES_MAX];
    phase_t *list[PHASES_MAX];
    size_t n;
};

static void
add_phase(struct phases *p, const char *name, uint64_t us)
{
    if (us == 0 || p->n == PHASES_MAX)
        return;
    vm_tools__concierge__boot_phase__init(&p->v[p->n]);
    p->v[p->n].name = (char *)(uintptr_t)name;
    p->v[p->n].duration_us = us;
    p->list[p->n] = &p->v[p->n];
    p->n++;
}

static uint64_t
between(uint64_t from, uint64_t to)
{
    return from && to > from ? to - from : 0;
}

/* In order and without gaps: their sum is what the caller waited. What the agent says of
 * itself is cut out of the time between the hypervisor's first answer and VmReady. */
static void
fill_phases(const struct boot_times *t, struct phases *p)
{
    uint64_t control = t->control && t->control < t->ready ? t->control : t->spawn;
    uint64_t guest = between(control, t->ready);
    uint64_t agent = t->guest_agent_us < guest ? t->guest_agent_us : 0;

    add_phase(p, "probe", t->probe);
    add_phase(p, "daemon", between(t->request, t->spawn) - t->probe);
    add_phase(p, "vmm", between(t->spawn, control));
    if (t->resumed) { /* what the agent says is of the template's own boot */
        add_phase(p, "restore", between(control, t->resumed));
        add_phase(p, "guest", between(t->resumed, t->ready));
        add_phase(p, "ready", between(t->ready, t->running));
        return;
    }
    add_phase(p, agent ? "kernel" : "guest", guest - agent);
    add_phase(p, "maitred", agent);
    add_phase(p, "ready", between(t->ready, t->running));
}

static void
answer_success(struct concierge_vm *vm, struct ipc_call *call)
{
    response_t response;
    VmTools__Concierge__VmInfo info;
    struct phases phases = {.n = 0};
    char transport[VM_TRANSPORT_MAX];

    vm_tools__concierge__start_vm_response__init(&response);
    vm_info_fill(vm, &info, transport);
    info.permission_token = vm->token;
    fill_phases(&vm->times, &phases);
    response.success = true;
    response.vm_info = &info;
    response.status = info.status;
    response.accel = (char *)(uintptr_t)accel_name(vm);
    response.accel_reason = vm->accel_reason;
    response.start_mode = (char *)(uintptr_t)vm->start_mode;
    response.boot_phases = phases.list;
    response.n_boot_phases = phases.n;
    ipc_call_reply(call, &response.base, NULL, 0);
}

void
vm_answer_start(struct concierge_vm *vm)
{
    struct ipc_call *call = vmt_take_ptr(&vm->start_call);

    if (!call)
        return;
    if (vm->state == VM_RUNNING)
        answer_success(vm, call);
    else
        answer_failure(vm, call);
}

void
reply_present(struct concierge_vm *vm, struct ipc_call *call)
{
    response_t response;
    VmTools__Concierge__VmInfo info;
    char transport[VM_TRANSPORT_MAX];

    vm_tools__concierge__start_vm_response__init(&response);
    if (vm_is_stopping(vm)) {
        reply_start_failure(call, "the VM is being stopped; start it again when that is "
                                  "over");
        return;
    }
    vm_info_fill(vm, &info, transport);
    response.success = true;
    response.vm_info = &info;
    response.status = info.status;
    response.accel = (char *)(uintptr_t)accel_name(vm);
    response.start_mode = (char *)(uintptr_t)vm->start_mode;
    ipc_call_reply(call, &response.base, NULL, 0);
}
