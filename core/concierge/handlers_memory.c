/* SPDX-License-Identifier: BSD-3-Clause */
/* core/concierge/handlers_memory.c - methods about the memory of VMs. */
#include <errno.h>
#include <stdlib.h>

#include "concierge_service.pb-c.h"
#include "core/adapter/clock.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/log.h"
#include "core/concierge/balloon_internal.h"
#include "core/concierge/concierge_internal.h"
#include "core/concierge/handlers_internal.h"
#include "core/ipc/ipc.h"

/* Without a newer answer a sample of the last rounds will do; without any sample a host
 * that is slow is given more time. */
#define SAMPLE_AGE_MAX_MS 10000u
#define FIRST_ANSWER_MS 2000u
#define WAITERS_MAX 32u

/* One GetBalloonInfo in flight; in the list of its VM. */
struct balloon_waiter {
    struct vmt_list node;
    struct concierge_vm *vm; /* borrowed */
    struct ipc_call *call;   /* owned */
    struct vmt_timer *timer; /* owned */
};

static void
reply_info(struct ipc_call *call, const struct hypervisor_memory *memory)
{
    VmTools__Concierge__GetBalloonInfoResponse response =
        VM_TOOLS__CONCIERGE__GET_BALLOON_INFO_RESPONSE__INIT;
    VmTools__Concierge__BalloonInfo info = VM_TOOLS__CONCIERGE__BALLOON_INFO__INIT;

    /* A guest may claim anything; the fields are signed. */
    info.available_memory = (int64_t)(memory->available & INT64_MAX);
    info.free_memory = (int64_t)(memory->free & INT64_MAX);
    info.balloon_size = (int64_t)(memory->balloon & INT64_MAX);
    response.success = true;
    response.balloon_info = &info;
    ipc_call_reply(call, &response.base, NULL, 0);
}

static void
reply_no_info(struct ipc_call *call, const char *why)
{
    VmTools__Concierge__GetBalloonInfoResponse response =
        VM_TOOLS__CONCIERGE__GET_BALLOON_INFO_RESPONSE__INIT;

    response.failure_reason = (char *)(uintptr_t)why;
    ipc_call_reply(call, &response.base, NULL, 0);
}

/* Takes w from the list; failure NULL: with the newest sample. */
static void
answer(struct balloon_waiter *w, const char *failure)
{
    struct vmt_clock *clock = w->vm->c->config.clock;

    clock->ops->timer_cancel(clock, w->timer);
    vmt_list_remove(&w->node);
    w->vm->balloon.nwaiters--;
    if (failure)
        reply_no_info(w->call, failure);
    else
        reply_info(w->call, &w->vm->balloon.sample);
    free(w);
}

void
vm_balloon_answer(struct concierge_vm *vm, const char *failure)
{
    VMT_LIST_FOREACH(at, following, &vm->balloon.waiters)
    answer(VMT_CONTAINER_OF(at, struct balloon_waiter, node), failure);
}

static bool
has_sample(const struct concierge_vm *vm)
{
    struct vmt_clock *clock = vm->c->config.clock;

    return vm->balloon.sampled_ms > 0 &&
           clock->ops->now_ms(clock) - vm->balloon.sampled_ms <= SAMPLE_AGE_MAX_MS;
}

static void
on_timeout(void *arg)
{
    struct balloon_waiter *w = arg;

    w->timer = NULL;
    answer(w, has_sample(w->vm) ? NULL : "the hypervisor does not answer in time");
}

static int
wait_for_sample(struct concierge_vm *vm, struct ipc_call *call)
{
    struct vmt_clock *clock = vm->c->config.clock;
    VMT_CLEANUP(vmt_freep) struct balloon_waiter *w = calloc(1, sizeof(*w));
    int r;

    if (!w)
        return -ENOMEM;
    r = clock->ops->timer_start(clock,
                                has_sample(vm) ? BALLOON_ANSWER_MS : FIRST_ANSWER_MS,
                                on_timeout, w, &w->timer);
    if (r < 0)
        return r;
    w->vm = vm;
    w->call = call;
    vm->balloon.nwaiters++;
    vmt_list_append(&vm->balloon.waiters, &w->node);
    (void)vmt_take_ptr(&w);
    return 0;
}

void
concierge_handle_get_balloon_info(void *ctx, struct ipc_call *call,
                                  const ProtobufCMessage *message)
{
    const VmTools__Concierge__GetBalloonInfoRequest *request =
        (const VmTools__Concierge__GetBalloonInfoRequest *)message;
    struct concierge_vm *vm = vm_find(ctx, request->owner_id, request->name);
    int r;

    if (!vm || vm->state != VM_RUNNING) {
        reply_no_info(call, vm ? "the VM does not run now" : "there is no such VM");
        return;
    }
    if (vm->balloon.nwaiters >= WAITERS_MAX) {
        reply_no_info(call, "too many wait for the same answer");
        return;
    }
    r = vm_balloon_ask(vm);
    if (r == 0)
        r = wait_for_sample(vm, call);
    if (r == -ENOTSUP)
        reply_no_info(call, "this hypervisor has no balloon");
    else if (r == -ENOMEM)
        reply_no_info(call, "out of memory");
    else if (r < 0)
        reply_no_info(call, "the hypervisor cannot be asked now");
}

/* spec 10.2: ignored, and not refused, when no VM needs it. */
void
concierge_handle_set_balloon_timer(void *ctx, struct ipc_call *call,
                                   const ProtobufCMessage *message)
{
    const VmTools__Concierge__SetBalloonTimerRequest *request =
        (const VmTools__Concierge__SetBalloonTimerRequest *)message;
    struct concierge *c = ctx;
    struct vmt_err err = {0};

    if (balloons_set_interval(c, request->timer_interval_millis) &&
        concierge_record_save(c, &err) < 0)
        vmt_log_warning("the balloon timer is not remembered: %s", err.msg);
    reply_success(call, NULL);
}
