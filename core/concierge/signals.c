/* SPDX-License-Identifier: BSD-3-Clause */
/* core/concierge/signals.c - what the bus hears about a VM. */
#include <stdio.h>
#include <string.h>

#include "concierge_service.pb-c.h"
#include "core/adapter/host.h"
#include "core/adapter/transport.h"
#include "core/base/cleanup.h"
#include "core/base/log.h"
#include "core/concierge/concierge_internal.h"
#include "core/concierge/end_message_internal.h"
#include "core/ipc/ipc.h"
#include "vmt_life.pb-c.h"

static void
emit(struct concierge_vm *vm, const char *name, const ProtobufCMessage *message)
{
    if (vm->c->ipc && ipc_emit(vm->c->ipc, name, message) < 0)
        vmt_log_error("signal %s lost vm=%s cid=%u", name, vm->key, vm->cid);
}

int
vm_status(const struct concierge_vm *vm)
{
    if (vm->state == VM_GONE)
        return VM_TOOLS__CONCIERGE__VM_STATUS__VM_STATUS_STOPPED;
    return vm_is_booting(vm) ? VM_TOOLS__CONCIERGE__VM_STATUS__VM_STATUS_STARTING
                             : VM_TOOLS__CONCIERGE__VM_STATUS__VM_STATUS_RUNNING;
}

void
vm_info_fill(const struct concierge_vm *vm, VmTools__Concierge__VmInfo *info,
             char *transport)
{
    const char *kind = vm->c->config.transport->ops->name;

    vm_tools__concierge__vm_info__init(info);
    network_info(vm, info);
    info->pid = vm->hv_id.pid;
    info->cid = vm->cid;
    info->vm_type = (VmTools__Concierge__VmInfo__VmType)vm->vm_type;
    info->status = (VmTools__Concierge__VmStatus)vm_status(vm);
    info->allocated_memory = (int64_t)vm->mem_mib << 20;
    info->cpu_weight = vm->cpu.in_force;
    info->storage_ballooning = vm->storage.wanted;
    if (strcmp(kind, "hybrid") == 0)
        (void)snprintf(transport, VM_TRANSPORT_MAX, "%s:%s", kind,
                       vm->run_dir ? vm->run_dir : "");
    else
        (void)snprintf(transport, VM_TRANSPORT_MAX, "%s:%u", kind, vm->cid);
    info->transport = transport;
    info->state = (char *)(uintptr_t)vm_state_name(vm->state);
    info->uptime_ms = life_uptime_ms(vm);
    info->restarts = restart_count(vm);
    info->restart_mode = (char *)(uintptr_t)restart_mode_name(vm);
    info->start_mode = (char *)(uintptr_t)vm->start_mode;
    guest_events_info(vm, info);
}

void
signal_starting_up(struct concierge_vm *vm)
{
    VmTools__Concierge__VmStartingUpSignal s;

    vm_tools__concierge__vm_starting_up_signal__init(&s);
    s.name = vm->id.name;
    s.owner_id = vm->id.owner;
    s.vm_type = (VmTools__Concierge__VmInfo__VmType)vm->vm_type;
    s.cid = vm->cid;
    vm->announced = true;
    emit(vm, "VmStartingUpSignal", &s.base);
}

void
signal_started(struct concierge_vm *vm)
{
    VmTools__Concierge__VmStartedSignal s;
    VmTools__Concierge__VmInfo info;
    char transport[VM_TRANSPORT_MAX];

    vm_tools__concierge__vm_started_signal__init(&s);
    vm_info_fill(vm, &info, transport);
    s.name = vm->id.name;
    s.owner_id = vm->id.owner;
    s.vm_info = &info;
    s.status = info.status;
    emit(vm, "VmStartedSignal", &s.base);
}

void
signal_stopping(struct concierge_vm *vm)
{
    VmTools__Concierge__VmStoppingSignal s;

    vm_tools__concierge__vm_stopping_signal__init(&s);
    if (!vm->announced || vm->stopping_announced)
        return;
    s.name = vm->id.name;
    s.owner_id = vm->id.owner;
    s.cid = vm->cid;
    vm->stopping_announced = true;
    emit(vm, "VmStoppingSignal", &s.base);
}

void
signal_stopped(struct concierge_vm *vm)
{
    VmTools__Concierge__VmStoppedSignal s;
    struct end_message message;

    vm_tools__concierge__vm_stopped_signal__init(&s);
    if (!vm->announced)
        return;
    s.name = vm->id.name;
    s.owner_id = vm->id.owner;
    s.cid = vm->cid;
    s.reason = (VmTools__Concierge__VmStopReason)vm->stop_reason;
    life_fill(vm, &message);
    s.end = &message.end;
    vm->announced = false;
    emit(vm, "VmStoppedSignal", &s.base);
}
