/* SPDX-License-Identifier: BSD-3-Clause */
/* core/concierge/balloon.c - the rounds of the balloon policy.
 *
 * A round: look at the host; ask those VMs of which an answer could matter (mostly none);
 * give them BALLOON_ANSWER_MS; decide about those that answered, in order, with one
 * budget. A hypervisor that does not answer holds up nobody, and is not asked again until
 * it has. Everything is learned anew by the next daemon: balloons keep what they hold,
 * and the first look at a VM tells how much that is. */
#include "core/concierge/balloon_internal.h"

#include <errno.h>

#include "core/adapter/clock.h"
#include "core/adapter/host.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/log.h"
#include "core/concierge/concierge_internal.h"

/* A VM without statistics is asked more and more rarely: up to every 16th round. */
#define PASS_SHIFT_MAX 4u

/* Not 0: until the first look at a VM its balloon may hold something, so a look is due.
 * The daemon before, or the VM that a snapshot was made of, may have wanted something. */
#define NOT_LOOKED_AT 1u
#define NOT_KNOWN 1u

void
balloons_init(struct concierge *c)
{
    c->balloons.interval_ms = BALLOON_INTERVAL_MS;
}

void
balloons_done(struct concierge *c)
{
    struct vmt_clock *clock = c->config.clock;

    clock->ops->timer_cancel(clock, c->balloons.tick);
    clock->ops->timer_cancel(clock, c->balloons.close);
    c->balloons.tick = c->balloons.close = NULL;
}

void
vm_balloon_init(struct concierge_vm *vm)
{
    vmt_list_init(&vm->balloon.waiters);
    vm->balloon.guest.ram = (uint64_t)vm->mem_mib << 20;
    vm->balloon.guest.balloon = NOT_LOOKED_AT;
    vm->balloon.guest.target = NOT_KNOWN;
}

/* The round goes on without vm. */
static void
leave_round(struct concierge_vm *vm)
{
    if (!vm->balloon.in_round)
        return;
    vm->balloon.in_round = false;
    vm->c->balloons.asked--;
}

void
vm_balloon_done(struct concierge_vm *vm)
{
    leave_round(vm);
    vm_balloon_answer(vm, "the VM has ended");
}

static void
on_set(void *arg, int result, const struct vmt_err *err)
{
    struct concierge_vm *vm = arg;

    vm->balloon.setting = false;
    if (result == 0)
        return;
    vm->balloon.guest.target = NOT_KNOWN;
    vmt_log_debug("balloon not set: %s vm=%s cid=%u", vmt_err_text(err), vm->key,
                  vm->cid);
}

static void
set_balloon(struct concierge_vm *vm, uint64_t bytes)
{
    struct hypervisor *hv = vm->c->config.hypervisor;

    vmt_log_debug("balloon from %llu to %llu MiB vm=%s cid=%u",
                  (unsigned long long)(vm->balloon.sample.balloon >> 20),
                  (unsigned long long)(bytes >> 20), vm->key, vm->cid);
    vm->balloon.setting = hv->ops->balloon_set(vm->hv, bytes, on_set, vm) == 0;
    if (!vm->balloon.setting)
        vm->balloon.guest.target = NOT_KNOWN;
}

static void
decide(struct concierge_vm *vm)
{
    struct vm_balloon *b = &vm->balloon;
    const struct balloon_sample sample = {
        .available = b->sample.free + b->sample.caches,
        .balloon = b->sample.balloon,
    };
    uint64_t target;

    if (vm->state == VM_RUNNING && b->fresh && !b->setting &&
        balloon_decide(&vm->c->balloons.budget, &b->guest, &sample, &target))
        set_balloon(vm, target);
}

static void
on_close(void *arg)
{
    struct concierge *c = arg;

    c->balloons.close = NULL;
    VMT_LIST_FOREACH(at, following, &c->vms)
    {
        struct concierge_vm *vm = VMT_CONTAINER_OF(at, struct concierge_vm, node);

        leave_round(vm);
        decide(vm);
        vm->balloon.fresh = false;
    }
}

/* The answers of a round are used from the next turn on, not from inside the last one. */
static void
close_round(struct concierge *c, uint64_t delay_ms)
{
    struct vmt_clock *clock = c->config.clock;

    clock->ops->timer_cancel(clock, c->balloons.close);
    c->balloons.close = NULL;
    if (clock->ops->timer_start(clock, delay_ms, on_close, c, &c->balloons.close) < 0)
        vmt_log_error("no memory to look after balloons");
}

static void
note_failure(struct vm_balloon *b)
{
    b->failures++;
    b->pass = 1u << (b->failures < PASS_SHIFT_MAX ? b->failures : PASS_SHIFT_MAX);
}

static void
on_memory(void *arg, int result, const struct hypervisor_memory *memory)
{
    struct concierge_vm *vm = arg;
    struct concierge *c = vm->c;
    struct vm_balloon *b = &vm->balloon;
    bool in_round = b->in_round;

    b->asked = false;
    leave_round(vm);
    if (memory) {
        b->sample = *memory;
        b->sampled_ms = c->config.clock->ops->now_ms(c->config.clock);
        b->fresh = true;
        b->failures = 0;
    } else {
        note_failure(b);
    }
    vm_balloon_answer(vm, memory ? NULL
                          : result == -EAGAIN
                              ? "the guest has not reported its memory yet"
                              : "the hypervisor does not tell it");
    if (in_round && c->balloons.asked == 0)
        close_round(c, 0);
}

int
vm_balloon_ask(struct concierge_vm *vm)
{
    struct hypervisor *hv = vm->c->config.hypervisor;
    int r;

    if (vm->balloon.asked)
        return 0;
    if (!(hv->ops->caps & HYPERVISOR_CAP_BALLOON))
        return -ENOTSUP;
    if (!vm->hv)
        return -ENOTCONN;
    r = hv->ops->memory(vm->hv, on_memory, vm);
    vm->balloon.asked = r == 0;
    return r;
}

static void
ask_in_round(struct concierge_vm *vm)
{
    struct vm_balloon *b = &vm->balloon;

    if (vm->state != VM_RUNNING || b->asked ||
        !balloon_wants_look(&vm->c->balloons.budget, &b->guest))
        return;
    if (b->pass > 0) {
        b->pass--;
        return;
    }
    if (vm_balloon_ask(vm) < 0) {
        note_failure(b);
        return;
    }
    b->in_round = true;
    vm->c->balloons.asked++;
}

/* Returns whether there is a VM that may need a look some time. */
static bool
ask_all(struct concierge *c)
{
    bool any = false;

    VMT_LIST_FOREACH(at, following, &c->vms)
    {
        struct concierge_vm *vm = VMT_CONTAINER_OF(at, struct concierge_vm, node);

        ask_in_round(vm);
        any = any || !(vm_is_booting(vm) || vm_is_stopping(vm));
    }
    return any;
}

static void arm_tick(struct concierge *c);

static void
on_tick(void *arg)
{
    struct concierge *c = arg;
    struct host *host = c->config.host;
    struct host_memory memory = {0};
    struct balloon_host now;

    c->balloons.tick = NULL;
    host->memory->now(host, &memory);
    now = (struct balloon_host){memory.total, memory.available, memory.some_stalled,
                                memory.all_stalled};
    if (c->balloons.close || now.total == 0) {
        arm_tick(c);
        return;
    }
    balloon_budget_begin(&c->balloons.budget, &now);
    if (ask_all(c))
        arm_tick(c);
    if (c->balloons.asked > 0)
        close_round(c, BALLOON_ANSWER_MS);
}

static void
arm_tick(struct concierge *c)
{
    struct vmt_clock *clock = c->config.clock;

    if (c->balloons.tick || c->balloons.interval_ms == 0 ||
        !(c->config.hypervisor->ops->caps & HYPERVISOR_CAP_BALLOON))
        return;
    if (clock->ops->timer_start(clock, c->balloons.interval_ms, on_tick, c,
                                &c->balloons.tick) < 0)
        vmt_log_error("no memory to look after balloons");
}

void
balloons_watch(struct concierge_vm *vm)
{
    arm_tick(vm->c);
}

bool
balloons_set_interval(struct concierge *c, uint64_t interval_ms)
{
    struct vmt_clock *clock = c->config.clock;
    bool any = false;

    VMT_LIST_FOREACH(at, following, &c->vms)
    any = any || VMT_CONTAINER_OF(at, struct concierge_vm, node)->state == VM_RUNNING;
    if (!any)
        return false;
    if (interval_ms > 0 && interval_ms < BALLOON_INTERVAL_MIN_MS)
        interval_ms = BALLOON_INTERVAL_MIN_MS;
    if (interval_ms > BALLOON_INTERVAL_MAX_MS)
        interval_ms = BALLOON_INTERVAL_MAX_MS;
    c->balloons.interval_ms = interval_ms;
    c->balloons.interval_chosen = true;
    clock->ops->timer_cancel(clock, c->balloons.tick);
    c->balloons.tick = NULL;
    arm_tick(c);
    return true;
}
