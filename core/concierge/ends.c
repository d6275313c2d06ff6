/* SPDX-License-Identifier: BSD-3-Clause */
/* core/concierge/ends.c - how VMs ended: told with VmStopped, by GetVmInfo when the VM is
 * gone, and to those who wait for it. */
#include "core/concierge/ends_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/adapter/clock.h"
#include "core/adapter/host.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/log.h"
#include "core/concierge/concierge_internal.h"
#include "core/concierge/end_message_internal.h"
#include "core/concierge/handlers_internal.h"
#include "core/concierge/record_internal.h"
#include "core/ipc/ipc.h"
#include "vmt_life.pb-c.h"
#include "vmt_state.pb-c.h"

struct vm_end {
    struct vmt_list node;
    struct vm_id id;
    enum end_cause cause;
    int exit_code, signal, reason;
    uint64_t uptime_ms;
    int64_t ended_s;
    unsigned restarts;
    char text[END_TEXT_MAX];
    struct guest_application application;
};

struct vm_wait {
    struct vmt_list node;
    struct ipc_call *call; /* owned until answered */
};

static const char *const cause_names[] = {
    [END_UNKNOWN] = "unknown",   [END_STOPPED] = "stopped",
    [END_POWEROFF] = "poweroff", [END_REBOOT] = "reboot",
    [END_PANIC] = "panic",       [END_KILLED] = "killed",
    [END_CONFIG] = "config",     [END_ACCEL] = "accelerator",
    [END_DEVICE] = "device",     [END_START] = "start-failed",
    [END_LOST] = "lost",
};
_Static_assert(VMT_ARRAY_SIZE(cause_names) == END_CAUSE_COUNT, "a cause lacks its name");

static char *
cause_name(enum end_cause cause)
{
    return (char *)(uintptr_t)cause_names[cause]; /* packing only reads it */
}

static enum end_cause
cause_of_name(const char *name)
{
    for (int i = 0; i < END_CAUSE_COUNT; i++)
        if (strcmp(name, cause_names[i]) == 0)
            return (enum end_cause)i;
    return END_UNKNOWN;
}

void
life_init(struct concierge_vm *vm)
{
    vmt_list_init(&vm->life.waits);
}

static const enum end_cause causes[] = {
    [HYPERVISOR_EXIT_UNKNOWN] = END_UNKNOWN, [HYPERVISOR_EXIT_POWEROFF] = END_POWEROFF,
    [HYPERVISOR_EXIT_RESET] = END_REBOOT,    [HYPERVISOR_EXIT_PANIC] = END_PANIC,
    [HYPERVISOR_EXIT_REQUEST] = END_STOPPED, [HYPERVISOR_EXIT_KILLED] = END_KILLED,
    [HYPERVISOR_EXIT_CONFIG] = END_CONFIG,   [HYPERVISOR_EXIT_ACCEL] = END_ACCEL,
};

void
life_note_exit(struct concierge_vm *vm, const struct hypervisor_exit_info *info)
{
    size_t n = (size_t)info->reason;

    vm->life.exit_code = vm->life.signal = 0;
    vm->life.cause = n < VMT_ARRAY_SIZE(causes) ? causes[n] : END_UNKNOWN;
    if (info->process.kind == SPAWN_EXIT_CODE)
        vm->life.exit_code = info->process.code;
    if (info->process.kind == SPAWN_EXIT_SIGNAL)
        vm->life.signal = info->process.code;
    (void)snprintf(vm->life.text, sizeof(vm->life.text), "%s",
                   info->text ? info->text : "");
}

/* What weighs most: a wish, then what is known of the guest, then of the processes. */
static enum end_cause
decide_cause(const struct concierge_vm *vm)
{
    if (vm->life.asked)
        return END_STOPPED;
    if (vm->life.lost)
        return END_LOST;
    if (vm->panicked)
        return END_PANIC;
    if (!vm->was_running)
        return END_START;
    if (vm->life.device)
        return END_DEVICE;
    return vm->life.cause;
}

uint64_t
life_uptime_ms(const struct concierge_vm *vm)
{
    struct vmt_clock *clock = vm->c->config.clock;
    uint64_t now = clock->ops->now_us(clock);

    if (vm->life.ended_s)
        return vm->life.uptime_ms;
    return vm->life.running_us && now > vm->life.running_us
               ? (now - vm->life.running_us) / 1000
               : 0;
}

static void
drop_end(struct concierge_ends *ends, struct vm_end *end)
{
    vmt_list_remove(&end->node);
    ends->count--;
    free(end);
}

static struct vm_end *
find_end(struct concierge *c, const char *owner, const char *name)
{
    VMT_LIST_FOREACH(at, following, &c->ends.ends)
    {
        struct vm_end *end = VMT_CONTAINER_OF(at, struct vm_end, node);

        if (vm_id_compare(&end->id, owner, name) == 0)
            return end;
    }
    return NULL;
}

const struct vm_end *
ends_find(struct concierge *c, const char *owner, const char *name)
{
    return find_end(c, owner, name);
}

/* A new one in the place of the one before, or of the oldest. NULL: no memory. */
static struct vm_end *
new_end(struct concierge *c, const struct vm_id *id)
{
    struct vm_end *old = find_end(c, id->owner, id->name);
    struct vm_end *end = calloc(1, sizeof(*end));

    if (!end)
        return NULL;
    if (!old && c->ends.count == ENDS_MAX)
        old = VMT_CONTAINER_OF(c->ends.ends.next, struct vm_end, node);
    if (old)
        drop_end(&c->ends, old);
    end->id = *id;
    vmt_list_append(&c->ends.ends, &end->node);
    c->ends.count++;
    return end;
}

static void
end_record_fill(const struct vm_end *end, Vmt__ApplicationEnd *application, Vmt__VmEnd *m)
{
    vmt__vm_end__init(m);
    m->cause = cause_name(end->cause);
    m->exit_code = end->exit_code;
    m->signal = end->signal;
    m->uptime_ms = end->uptime_ms;
    m->ended_s = end->ended_s;
    m->reason = end->reason;
    m->restarts = end->restarts;
    m->text = (char *)(uintptr_t)end->text;
    guest_application_fill(&end->application, application);
    m->application = end->application.is_over ? application : NULL;
}

void
end_fill(struct concierge *c, const struct vm_end *end, struct end_message *message)
{
    Vmt__VmEnd *m = &message->end;

    end_record_fill(end, &message->application, m);
    m->will_restart = restart_is_due(c, &end->id, &m->restart_in_ms);
}

static void
save(struct concierge *c)
{
    struct end_room {
        Vmt__EndRecord record;
        struct end_message message;
    };
    VMT_CLEANUP(vmt_freep) struct end_room *room = calloc(ENDS_MAX, sizeof(*room));
    Vmt__EndRecord *list[ENDS_MAX];
    Vmt__EndsRecord record = VMT__ENDS_RECORD__INIT;
    struct vmt_err err = {0};

    record.ends = list;
    VMT_LIST_FOREACH(at, following, &c->ends.ends)
    {
        struct vm_end *end = VMT_CONTAINER_OF(at, struct vm_end, node);
        struct end_room *r = room ? &room[record.n_ends] : NULL;

        if (!r)
            break;
        vmt__end_record__init(&r->record);
        end_record_fill(end, &r->message.application, &r->message.end);
        r->record.owner_id = end->id.owner;
        r->record.name = end->id.name;
        r->record.end = &r->message.end;
        list[record.n_ends++] = &r->record;
    }
    if (!room || concierge_record_put(c, ENDS_RECORD, &record.base, &err) < 0)
        vmt_log_warning("the ends of VMs are not written down: %s",
                        room ? err.msg : "out of memory");
}

static void
on_save(void *arg)
{
    struct concierge *c = arg;

    c->ends.save = NULL;
    save(c);
}

static void
save_soon(struct concierge *c)
{
    struct vmt_clock *clock = c->config.clock;

    if (!c->ends.save &&
        clock->ops->timer_start(clock, ENDS_SAVE_MS, on_save, c, &c->ends.save) < 0)
        save(c);
}

void
life_end(struct concierge_vm *vm)
{
    struct concierge *c = vm->c;
    struct vmt_clock *clock = c->config.clock;
    const char *words = *vm->life.text ? vm->life.text : vm->failure;
    struct vm_end *end;
    int32_t nsec;

    vm->life.uptime_ms = life_uptime_ms(vm);
    clock->ops->wall(clock, &vm->life.ended_s, &nsec);
    vm->life.cause = decide_cause(vm);
    if (*vm->events_of_guest.last_words && !vm->life.asked)
        words = vm->events_of_guest.last_words;
    if (words != vm->life.text)
        (void)vmt_log_escape(vm->life.text, sizeof(vm->life.text), words, strlen(words));
    if (!vm->announced) /* nothing ever ran */
        return;
    end = new_end(c, &vm->id);
    if (!end) {
        vmt_log_error("no memory to remember how a VM ended vm=%s", vm->key);
        return;
    }
    end->cause = vm->life.cause;
    end->exit_code = vm->life.exit_code;
    end->signal = vm->life.signal;
    end->reason = vm->stop_reason;
    end->uptime_ms = vm->life.uptime_ms;
    end->ended_s = vm->life.ended_s;
    end->restarts = restart_count(vm);
    memcpy(end->text, vm->life.text, sizeof(end->text));
    end->application = vm->events_of_guest.application;
    save_soon(c);
}

void
life_fill(const struct concierge_vm *vm, struct end_message *message)
{
    const struct guest_application *application = &vm->events_of_guest.application;
    Vmt__VmEnd *m = &message->end;

    vmt__vm_end__init(m);
    m->cause = cause_name(vm->life.cause);
    m->exit_code = vm->life.exit_code;
    m->signal = vm->life.signal;
    m->uptime_ms = vm->life.uptime_ms;
    m->ended_s = vm->life.ended_s;
    m->reason = vm->stop_reason;
    m->restarts = restart_count(vm);
    m->text = (char *)(uintptr_t)vm->life.text;
    guest_application_fill(application, &message->application);
    m->application = application->is_over ? &message->application : NULL;
    m->will_restart = restart_is_due(vm->c, &vm->id, &m->restart_in_ms);
}

void
ends_init(struct concierge *c)
{
    vmt_list_init(&c->ends.ends);
}

void
ends_load(struct concierge *c)
{
    struct host *host = c->config.host;
    VMT_CLEANUP(vmt_freep) void *data = NULL;
    Vmt__EndsRecord *record;
    size_t len;

    if (host->store->load(host, ENDS_RECORD, &data, &len, NULL) < 0)
        return;
    record = vmt__ends_record__unpack(NULL, len, data);
    for (size_t i = 0; record && i < record->n_ends; i++) {
        const Vmt__EndRecord *from = record->ends[i];
        struct vm_id id;
        struct vm_end *end;

        if (!from->end || vm_id_set(&id, from->owner_id, from->name, NULL) < 0)
            continue;
        end = new_end(c, &id);
        if (!end)
            break;
        end->cause = cause_of_name(from->end->cause);
        end->exit_code = from->end->exit_code;
        end->signal = from->end->signal;
        end->reason = from->end->reason;
        end->uptime_ms = from->end->uptime_ms;
        end->ended_s = from->end->ended_s;
        end->restarts = from->end->restarts;
        (void)snprintf(end->text, sizeof(end->text), "%s", from->end->text);
        guest_application_read(&end->application, from->end->application);
    }
    if (record)
        vmt__ends_record__free_unpacked(record, NULL);
}

void
ends_done(struct concierge *c)
{
    struct vmt_clock *clock = c->config.clock;

    if (c->ends.save) {
        clock->ops->timer_cancel(clock, vmt_take_ptr(&c->ends.save));
        save(c);
    }
    while (!vmt_list_empty(&c->ends.ends))
        drop_end(&c->ends, VMT_CONTAINER_OF(c->ends.ends.next, struct vm_end, node));
}

static void
answer_wait(struct ipc_call *call, Vmt__VmEnd *end, const char *failure)
{
    Vmt__WaitVmResponse response = VMT__WAIT_VM_RESPONSE__INIT;

    response.success = failure == NULL;
    response.failure_reason = (char *)(uintptr_t)(failure ? failure : "");
    response.end = end;
    ipc_call_reply(call, &response.base, NULL, 0);
}

static void
answer_waits(struct concierge_vm *vm, Vmt__VmEnd *end, const char *failure)
{
    VMT_LIST_FOREACH(at, following, &vm->life.waits)
    {
        struct vm_wait *wait = VMT_CONTAINER_OF(at, struct vm_wait, node);

        vmt_list_remove(at);
        answer_wait(wait->call, end, failure);
        free(wait);
    }
    vm->life.nwaits = 0;
}

void
life_tell(struct concierge_vm *vm)
{
    struct end_message message;

    life_fill(vm, &message);
    answer_waits(vm, &message.end, NULL);
}

void
life_done(struct concierge_vm *vm)
{
    answer_waits(vm, NULL, "vm_concierge is shutting down");
}

static void
wait_for(struct concierge_vm *vm, struct ipc_call *call)
{
    struct vm_wait *wait = vm->life.nwaits < WAITS_MAX ? calloc(1, sizeof(*wait)) : NULL;

    if (!wait) {
        answer_wait(call, NULL, "too many wait for this VM already");
        return;
    }
    wait->call = call;
    vmt_list_append(&vm->life.waits, &wait->node);
    vm->life.nwaits++;
}

/* A VM that is over, or between two lives, is not waited for. */
void
concierge_handle_wait_vm(void *ctx, struct ipc_call *call,
                         const ProtobufCMessage *message)
{
    const Vmt__WaitVmRequest *request = (const Vmt__WaitVmRequest *)message;
    const struct vm_end *end;
    struct concierge_vm *vm;
    struct vmt_err err = {0};
    struct end_message last;

    if (vm_id_check(request->owner_id, request->name, &err) < 0) {
        answer_wait(call, NULL, err.msg);
        return;
    }
    vm = vm_find(ctx, request->owner_id, request->name);
    if (vm) {
        wait_for(vm, call);
        return;
    }
    end = ends_find(ctx, request->owner_id, request->name);
    if (!end) {
        answer_wait(call, NULL, "there is no VM of this name, and none is remembered");
        return;
    }
    end_fill(ctx, end, &last);
    answer_wait(call, &last.end, NULL);
}
