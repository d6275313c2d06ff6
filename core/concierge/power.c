/* SPDX-License-Identifier: BSD-3-Clause */
/* core/concierge/power.c - the host sleeps: VMs are suspended before, all at once, within
 * the time that the host grants; and go on afterwards. What a caller suspended stays so.
 */
#include "core/adapter/clock.h"
#include "core/adapter/watch.h"
#include "core/base/err.h"
#include "core/base/log.h"
#include "core/concierge/concierge_internal.h"

/* Once per announcement, also when not every VM obeyed. */
static void
let_sleep(struct concierge *c)
{
    struct vmt_clock *clock = c->config.clock;

    clock->ops->timer_cancel(clock, c->follow.sleep_end);
    c->follow.sleep_end = NULL;
    c->follow.suspending = 0;
    c->config.sleep->ops->ready(c->config.sleep);
}

static void
one_less(struct concierge *c)
{
    if (c->follow.suspending > 0 && --c->follow.suspending == 0)
        let_sleep(c);
}

static void
on_suspended(void *arg, const char *failure)
{
    if (failure)
        vmt_log_info("a VM is not suspended while the host sleeps: %s", failure);
    one_less(arg);
}

static void
on_sleep_end(void *arg)
{
    struct concierge *c = arg;

    c->follow.sleep_end = NULL;
    vmt_log_warning("%u VMs are not suspended yet, but the host sleeps now",
                    c->follow.suspending);
    let_sleep(c);
}

static void
suspend_all(struct concierge *c, uint32_t prepare_ms)
{
    const struct power_wish wish = {
        .cause = SUSPEND_BY_HOST,
        .prepare_ms = prepare_ms,
        .done = on_suspended,
        .arg = c,
    };

    VMT_LIST_FOREACH(at, following, &c->vms)
    {
        struct concierge_vm *vm = VMT_CONTAINER_OF(at, struct concierge_vm, node);
        struct vmt_err err = {0};
        int r = vm_suspend(vm, &wish, &err);

        if (r == POWER_UNDER_WAY)
            c->follow.suspending++;
        else if (r < 0)
            vmt_log_warning("a VM is not suspended while the host sleeps: %s vm=%s",
                            err.msg, vm->key);
    }
}

static void
on_prepare(void *arg, uint32_t budget_ms)
{
    struct concierge *c = arg;
    struct vmt_clock *clock = c->config.clock;
    uint32_t budget = budget_ms < SLEEP_BUDGET_MAX_MS ? budget_ms : SLEEP_BUDGET_MAX_MS;

    if (c->follow.sleeping)
        return;
    vmt_log_info("the host is about to sleep, within %u ms", budget);
    c->follow.sleeping = true;
    c->follow.suspending = 1; /* while the VMs are asked */
    if (clock->ops->timer_start(clock, budget * SLEEP_TOTAL_PERCENT / 100, on_sleep_end,
                                c, &c->follow.sleep_end) < 0)
        vmt_log_error("no memory to bound the time before the host sleeps");
    suspend_all(c, budget * SLEEP_PREPARE_PERCENT / 100 + 1);
    one_less(c);
}

/* A VM that was still on its way to be suspended is called back. */
static void
on_wake(void *arg)
{
    struct concierge *c = arg;
    const struct power_wish wish = {.done = NULL};

    if (c->follow.sleeping)
        vmt_log_info("the host is awake: VMs go on");
    c->follow.sleeping = false;
    if (c->follow.suspending > 0)
        let_sleep(c);
    VMT_LIST_FOREACH(at, following, &c->vms)
    {
        struct concierge_vm *vm = VMT_CONTAINER_OF(at, struct concierge_vm, node);
        struct vmt_err err = {0};

        if (vm->power.cause == SUSPEND_BY_HOST && vm_resume(vm, &wish, &err) < 0)
            vmt_log_error("a VM is not resumed after the host slept: %s vm=%s", err.msg,
                          vm->key);
    }
}

static const struct host_sleep_events events = {.on_prepare = on_prepare,
                                                .on_wake = on_wake};

void
power_start(struct concierge *c)
{
    if (c->config.sleep)
        c->config.sleep->ops->start(c->config.sleep, &events, c);
}

void
power_stop(struct concierge *c)
{
    struct vmt_clock *clock = c->config.clock;

    if (!c->config.sleep)
        return;
    c->config.sleep->ops->stop(c->config.sleep);
    clock->ops->timer_cancel(clock, c->follow.sleep_end);
    c->follow.sleep_end = NULL;
    c->follow.suspending = 0;
}
