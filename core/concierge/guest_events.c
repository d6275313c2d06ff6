/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/concierge/guest_events_internal.h"

#include <stdio.h>
#include <string.h>

#include "common.pb-c.h"
#include "concierge_service.pb-c.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/log.h"
#include "core/concierge/concierge_internal.h"
#include "core/rpc/server.h"
#include "vmt_agent.file.h"
#include "vmt_agent.pb-c.h"
#include "vmt_life.pb-c.h"
#include "vmt_state.pb-c.h"

static void
copy_text(char to[GUEST_EVENT_TEXT_MAX], const char *from)
{
    (void)vmt_log_escape(to, GUEST_EVENT_TEXT_MAX, from, strlen(from));
}

static void
save(struct concierge_vm *vm)
{
    struct vmt_err err = {0};

    if (vm_record_save(vm, &err) < 0)
        vmt_log_warning("vm record not updated: %s vm=%s", err.msg, vm->key);
}

static bool
may_log(struct concierge_vm *vm)
{
    return vm->events_of_guest.logged++ < GUEST_EVENTS_LOGGED_MAX;
}

/* Exit codes and signals are small: what a guest makes up stays within them. */
static int
bounded(int n)
{
    return n & 0xff;
}

static void
take_application(struct concierge_vm *vm, const Vmt__ApplicationExit *end)
{
    struct guest_application *a = &vm->events_of_guest.application;

    if (a->is_over)
        return;
    a->is_over = true;
    a->exit_code = bounded(end->exit_code);
    a->signal = bounded(end->signal);
    copy_text(a->program, end->program);
    vmt_log_notice("%s ended with %s %d, and its VM with it vm=%s cid=%u", a->program,
                   a->signal ? "signal" : "status", a->signal ? a->signal : a->exit_code,
                   vm->key, vm->cid);
    save(vm);
}

static void
take_out_of_memory(struct concierge_vm *vm, const Vmt__OutOfMemory *oom)
{
    struct guest_events *e = &vm->events_of_guest;

    if (oom->killed > UINT64_MAX - e->oom_kills)
        return;
    e->oom_kills += oom->killed;
    copy_text(e->oom_group, oom->group);
    if (!may_log(vm)) /* nor may it make us write for ever */
        return;
    vmt_log_warning("the guest has no memory left: %llu processes were killed in %s "
                    "vm=%s cid=%u",
                    (unsigned long long)oom->killed,
                    *e->oom_group ? e->oom_group : "no group of a job", vm->key, vm->cid);
    save(vm);
}

static void
take_pressure(struct concierge_vm *vm, const Vmt__MemoryPressure *pressure)
{
    struct guest_events *e = &vm->events_of_guest;

    e->pressure_permille =
        pressure->some_permille < 1000 ? pressure->some_permille : 1000;
    if (may_log(vm))
        vmt_log_notice("the guest waits for memory for %u.%u %% of its time vm=%s cid=%u",
                       e->pressure_permille / 10, e->pressure_permille % 10, vm->key,
                       vm->cid);
}

static void
take_last_words(struct concierge_vm *vm, const Vmt__LastWords *words)
{
    struct guest_events *e = &vm->events_of_guest;

    copy_text(e->last_words, words->text);
    if (may_log(vm))
        vmt_log_error("the guest's agent died: %s vm=%s cid=%u", e->last_words, vm->key,
                      vm->cid);
}

static void
answer(struct rpc_server_call *call)
{
    const VmTools__EmptyMessage empty = VM_TOOLS__EMPTY_MESSAGE__INIT;

    rpc_server_call_reply(call, &empty.base);
}

void
guest_events_release(struct concierge_vm *vm)
{
    struct rpc_server_call *call = vmt_take_ptr(&vm->events_of_guest.waiting);

    if (call)
        answer(call);
}

static void
on_cancel(void *arg)
{
    struct concierge_vm *vm = arg;

    vm->events_of_guest.waiting = NULL;
}

/* A guest whose program ends during the set-up would be taken for one that failed: its
 * call is answered when the start was. One waits at a time. */
static void
answer_application(struct concierge_vm *vm, struct rpc_server_call *call)
{
    if (!vm_is_booting(vm) || vm->events_of_guest.waiting) {
        answer(call);
        return;
    }
    vm->events_of_guest.waiting = call;
    rpc_server_call_on_cancel(call, on_cancel, vm);
}

static void
handle_report_event(void *ctx, struct rpc_server_call *call,
                    const ProtobufCMessage *request)
{
    const Vmt__GuestEvent *event = (const Vmt__GuestEvent *)request;
    struct concierge_vm *vm = ctx;

    if (!vm) {
        rpc_server_call_fail(call, RPC_FAILED_PRECONDITION, "no VM has this cid");
        return;
    }
    if (event->event_case == VMT__GUEST_EVENT__EVENT_APPLICATION_EXIT) {
        take_application(vm, event->application_exit);
        answer_application(vm, call);
        return;
    }
    if (event->event_case == VMT__GUEST_EVENT__EVENT_OUT_OF_MEMORY)
        take_out_of_memory(vm, event->out_of_memory);
    if (event->event_case == VMT__GUEST_EVENT__EVENT_MEMORY_PRESSURE)
        take_pressure(vm, event->memory_pressure);
    if (event->event_case == VMT__GUEST_EVENT__EVENT_LAST_WORDS)
        take_last_words(vm, event->last_words);
    answer(call);
}

static const struct rpc_server_method methods[] = {
    {.name = "ReportEvent",
     .request = &vmt__guest_event__descriptor,
     .handle = handle_report_event},
};

const struct rpc_server_service guest_events_service = {
    .name = "vmt.GuestListener",
    .methods = methods,
    .nmethods = VMT_ARRAY_SIZE(methods),
    .file = &proto_file_vmt_agent,
};

void
guest_events_info(const struct concierge_vm *vm, VmTools__Concierge__VmInfo *info)
{
    const struct guest_events *e = &vm->events_of_guest;

    info->oom_kills = e->oom_kills;
    info->oom_group = (char *)(uintptr_t)e->oom_group;
    info->memory_pressure_permille = e->pressure_permille;
}

bool
guest_application_failed(const struct guest_application *a)
{
    return a->is_over && (a->exit_code || a->signal);
}

void
guest_application_fill(const struct guest_application *a, Vmt__ApplicationEnd *end)
{
    vmt__application_end__init(end);
    end->program = (char *)(uintptr_t)a->program;
    end->exit_code = a->exit_code;
    end->signal = a->signal;
}

void
guest_application_read(struct guest_application *a, const Vmt__ApplicationEnd *end)
{
    if (!end)
        return;
    a->is_over = true;
    a->exit_code = end->exit_code;
    a->signal = end->signal;
    (void)snprintf(a->program, sizeof(a->program), "%s", end->program);
}

void
guest_events_record_fill(const struct concierge_vm *vm, Vmt__ApplicationEnd *end,
                         Vmt__VmRecord *record)
{
    const struct guest_events *e = &vm->events_of_guest;

    guest_application_fill(&e->application, end);
    record->application = e->application.is_over ? end : NULL;
    record->oom_kills = e->oom_kills;
    record->oom_group = (char *)(uintptr_t)e->oom_group;
}

void
guest_events_record_read(struct concierge_vm *vm, const Vmt__VmRecord *record)
{
    struct guest_events *e = &vm->events_of_guest;

    guest_application_read(&e->application, record->application);
    e->oom_kills = record->oom_kills;
    (void)snprintf(e->oom_group, sizeof(e->oom_group), "%s", record->oom_group);
}
