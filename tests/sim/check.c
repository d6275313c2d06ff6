/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/sim/check.c - the invariants: whatever happens, every call is answered once and
 * in time, every VmStartingUp gets its one VmStopped, what is told is true, and nothing
 * is left. */
#include <stdlib.h>
#include <string.h>

#include "core/adapter/clock.h"
#include "core/base/cleanup.h"
#include "tests/fake/fake_host_net.h"
#include "tests/sim/sim.h"
#include "tests/unit/test.h"

static void
check_calls(struct sim *s)
{
    struct vmt_clock *clock = fake_clock_base(s->w.clock);
    uint64_t now = clock->ops->now_ms(clock);

    for (size_t i = 0; i < s->ncalls; i++) {
        const struct sim_call *call = &s->calls[i];

        if (call->call.answers > 1)
            fail_msg("%s was answered %d times", call->method, call->call.answers);
        if (call->call.answers == 0 && now > call->deadline_ms)
            fail_msg("%s is unanswered %llu ms after its deadline", call->method,
                     (unsigned long long)(now - call->deadline_ms));
    }
}

/* No two VMs that are told of share a cid or an address, and none is told of twice. */
static void
check_list(const VmTools__Concierge__ListVmsResponse *list)
{
    for (size_t i = 0; i < list->n_vms; i++) {
        const VmTools__Concierge__ExtendedVmInfo *vm = list->vms[i];

        assert_string_equal(vm->vm_info->permission_token, "");
        for (size_t k = 0; k < i; k++) {
            const VmTools__Concierge__ExtendedVmInfo *other = list->vms[k];

            if (strcmp(vm->name, other->name) == 0)
                fail_msg("ListVms tells of %s twice", vm->name);
            if (*vm->vm_info->mac_address &&
                strcmp(vm->vm_info->mac_address, other->vm_info->mac_address) == 0)
                fail_msg("%s and %s have the same network address", vm->name,
                         other->name);
            if (strcmp(vm->vm_info->network, "tap") == 0 && vm->vm_info->ipv4_address &&
                vm->vm_info->ipv4_address == other->vm_info->ipv4_address)
                fail_msg("%s and %s have the same IPv4 address", vm->name, other->name);
            if (vm->vm_info->cid && vm->vm_info->cid == other->vm_info->cid)
                fail_msg("%s and %s have the cid %d", vm->name, other->name,
                         (int)vm->vm_info->cid);
        }
    }
}

static size_t
number_of(const char *name)
{
    size_t n = strtoul(name + strlen("vm"), NULL, 10);

    assert_true(n < SIM_NAMES_MAX);
    return n;
}

void
sim_on_signal(struct world *w, const char *name, const ProtobufCMessage *m)
{
    struct sim *s = VMT_CONTAINER_OF(w, struct sim, w);

    if (strcmp(name, "VmStoppedSignal") == 0)
        s->stopping[number_of(((const VmTools__Concierge__VmStoppedSignal *)m)->name)] =
            false;
    else if (strcmp(name, "VmStoppingSignal") == 0) /* not if it could not be noted */
        s->stopping[number_of(((const VmTools__Concierge__VmStoppingSignal *)m)->name)] =
            !fake_host_has_failed(w->host);
}

/* No death of the daemon lets a VM go on that it said to stop. */
static void
check_stopping(const struct sim *s, const VmTools__Concierge__ListVmsResponse *list)
{
    for (size_t i = 0; i < list->n_vms; i++) {
        const VmTools__Concierge__ExtendedVmInfo *vm = list->vms[i];

        if (s->stopping[number_of(vm->name)] &&
            (strcmp(vm->vm_info->state, "running") == 0 ||
             strcmp(vm->vm_info->state, "suspended") == 0))
            fail_msg("%s was said to stop, and is %s", vm->name, vm->vm_info->state);
    }
}

static void
check_told(struct sim *s)
{
    VmTools__Concierge__ListVmsRequest request =
        VM_TOOLS__CONCIERGE__LIST_VMS_REQUEST__INIT;
    struct client_call call;

    request.owner_id = (char *)(uintptr_t)WORLD_OWNER;
    client_call(&s->w, "ListVms", WORLD_UID, &request.base, NULL, 0, &call);
    assert_int_equal(call.answers, 1); /* at once, whatever hangs */
    assert_false(call.failed);
    check_list((const VmTools__Concierge__ListVmsResponse *)call.reply);
    check_stopping(s, (const VmTools__Concierge__ListVmsResponse *)call.reply);
    client_call_done(&call);
}

void
sim_check(struct sim *s)
{
    check_calls(s);
    check_told(s);
    if (s->w.stoppeds > s->w.starting_ups)
        fail_msg("%u VmStopped for %u VmStartingUp", s->w.stoppeds, s->w.starting_ups);
    if (s->w.starting_ups - s->w.stoppeds > concierge_vm_count(s->w.c))
        fail_msg("%u VMs were announced and not told to have stopped, but there are %zu",
                 s->w.starting_ups - s->w.stoppeds, concierge_vm_count(s->w.c));
}

/* A VM that is told to run does. */
void
sim_check_calm(struct sim *s)
{
    VmTools__Concierge__ListVmsRequest request =
        VM_TOOLS__CONCIERGE__LIST_VMS_REQUEST__INIT;
    const VmTools__Concierge__ListVmsResponse *list;
    struct client_call call;

    request.owner_id = (char *)(uintptr_t)WORLD_OWNER;
    client_call(&s->w, "ListVms", WORLD_UID, &request.base, NULL, 0, &call);
    list = (const VmTools__Concierge__ListVmsResponse *)call.reply;
    for (size_t i = 0; i < list->n_vms; i++) {
        const VmTools__Concierge__ExtendedVmInfo *vm = list->vms[i];
        struct fake_process *p = fake_hypervisor_find(s->w.hv, vm->name);

        if (strcmp(vm->vm_info->state, "running") != 0)
            continue;
        if (!p)
            fail_msg("%s is told to run, and has no process", vm->name);
        if (fake_process_is_paused(p))
            fail_msg("%s is told to run, but stands still", vm->name);
    }
    client_call_done(&call);
}

void
sim_check_end(struct sim *s)
{
    for (size_t i = 0; i < s->ncalls; i++) {
        if (s->calls[i].call.answers != 1)
            fail_msg("%s was answered %d times", s->calls[i].method,
                     s->calls[i].call.answers);
        client_call_done(&s->calls[i].call);
    }
    if (s->w.starting_ups != s->w.stoppeds)
        fail_msg("%u VmStartingUp, but %u VmStopped", s->w.starting_ups, s->w.stoppeds);
    if (concierge_vm_count(s->w.c) != 0)
        fail_msg("%zu VMs are left", concierge_vm_count(s->w.c));
    for (size_t i = 0; i < s->nguests; i++)
        guest_free(s->guests[i].guest);
    if (s->w.host_net && fake_host_net_count(s->w.host_net) != 0)
        fail_msg("%zu taps are left", fake_host_net_count(s->w.host_net));
    world_done(&s->w);
    if (s->w.host_net)
        s->w.host_net->ops->free(s->w.host_net);
}
