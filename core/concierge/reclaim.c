/* SPDX-License-Identifier: BSD-3-Clause */
/* core/concierge/reclaim.c - ReclaimVmMemory. The work blocks in the kernel, perhaps for
 * seconds, so a child of ours does it; what it achieved is what the VMM has less. */
#include "core/concierge/reclaim_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "concierge_service.pb-c.h"
#include "core/adapter/clock.h"
#include "core/adapter/host.h"
#include "core/adapter/spawn.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/log.h"
#include "core/concierge/concierge_internal.h"
#include "core/concierge/handlers_internal.h"
#include "core/ipc/ipc.h"

#define RECLAIM_MS 10000u /* spec 10.2 */
#define PAGE_BYTES 4096u  /* what page_limit counts */

struct vm_reclaim {
    struct concierge_vm *vm; /* borrowed */
    struct ipc_call *call;   /* owned */
    struct spawn_child *child;
    struct vmt_timer *timer; /* owned */
    struct host_reclaim what;
    uint64_t before; /* bytes of the VMM in RAM */
};

static void
reply(struct ipc_call *call, uint64_t bytes, const char *failure)
{
    VmTools__Concierge__ReclaimVmMemoryResponse response =
        VM_TOOLS__CONCIERGE__RECLAIM_VM_MEMORY_RESPONSE__INIT;

    response.success = !failure;
    response.reclaimed_bytes = bytes;
    if (failure)
        response.failure_reason = (char *)(uintptr_t)failure;
    ipc_call_reply(call, &response.base, NULL, 0);
}

/* Answer and forget; the child, if there still is one, ends unwatched. */
static void
finish(struct vm_reclaim *work, const char *failure)
{
    struct concierge *c = work->vm->c;
    struct host *host = c->config.host;
    uint64_t now =
        failure ? work->before : host->reclaim->resident(host, work->what.id.pid);
    uint64_t bytes = now < work->before ? work->before - now : 0;

    if (work->child) {
        (void)c->config.spawn->ops->kill(work->child, SIGKILL);
        c->config.spawn->ops->release(work->child);
    }
    c->config.clock->ops->timer_cancel(c->config.clock, work->timer);
    work->vm->reclaim = NULL;
    if (!failure && bytes == 0)
        failure = "nothing could be pushed out: has this host swap to put it in?";
    reply(work->call, bytes, failure);
    free(work);
}

/* The child ended: its code is an errno. */
static void
on_exit(void *arg, const struct spawn_exit *how)
{
    struct vm_reclaim *work = arg;
    char text[160];

    work->child = NULL;
    if (how->kind == SPAWN_EXIT_CODE && how->code == 0) {
        finish(work, NULL);
        return;
    }
    if (how->kind == SPAWN_EXIT_CODE && (how->code == EPERM || how->code == EACCES))
        (void)snprintf(text, sizeof(text),
                       "this daemon may not: it needs a delegated cgroup with the memory "
                       "controller, or CAP_SYS_NICE");
    else
        (void)snprintf(text, sizeof(text), "the kernel could not do it: %s",
                       how->kind == SPAWN_EXIT_CODE ? strerror(how->code) : "killed");
    finish(work, text);
}

/* What was done until then counts. */
static void
on_timeout(void *arg)
{
    struct vm_reclaim *work = arg;

    work->timer = NULL;
    vmt_log_info("memory is pushed out slowly, no more of it vm=%s", work->vm->key);
    finish(work, NULL);
}

void
vm_reclaim_drop(struct concierge_vm *vm)
{
    if (vm->reclaim)
        finish(vm->reclaim, "the VM has ended");
}

struct job {
    struct host *host;
    const struct host_reclaim *what;
};

/* In the child. */
static int
run(void *arg)
{
    const struct job *job = arg;

    return -job->host->reclaim->run(job->host, job->what);
}

static int
begin(struct vm_reclaim *work, int32_t page_limit, struct vmt_err *err)
{
    struct concierge *c = work->vm->c;
    struct host *host = c->config.host;
    const char *slash = work->vm->run_dir ? strrchr(work->vm->run_dir, '/') : NULL;
    struct job job = {.host = host, .what = &work->what};
    const struct spawn_spec spec = {
        .call = run, .call_arg = &job, .on_exit = on_exit, .arg = work};
    int r;

    work->what.id = work->vm->hv_id;
    work->what.group = work->vm->cpu.grouped && slash ? slash + 1 : NULL;
    work->what.bytes = page_limit > 0 ? (uint64_t)page_limit * PAGE_BYTES
                                      : (uint64_t)work->vm->mem_mib << 20;
    work->before = host->reclaim->resident(host, work->what.id.pid);
    r = c->config.clock->ops->timer_start(c->config.clock, RECLAIM_MS, on_timeout, work,
                                          &work->timer);
    if (r < 0)
        return vmt_err_set(err, -r, "watch the work");
    r = c->config.spawn->ops->start(c->config.spawn, &spec, &work->child, err);
    if (r < 0)
        c->config.clock->ops->timer_cancel(c->config.clock, work->timer);
    return r;
}

void
concierge_handle_reclaim_vm_memory(void *ctx, struct ipc_call *call,
                                   const ProtobufCMessage *message)
{
    const VmTools__Concierge__ReclaimVmMemoryRequest *request =
        (const VmTools__Concierge__ReclaimVmMemoryRequest *)message;
    struct concierge_vm *vm = vm_find(ctx, request->owner_id, request->name);
    VMT_CLEANUP(vmt_freep) struct vm_reclaim *work = calloc(1, sizeof(*work));
    struct vmt_err err = {0};
    const char *failure = !work                          ? "out of memory"
                          : !vm                          ? "there is no such VM"
                          : request->page_limit < 0      ? "page_limit is negative"
                          : !vm->hv || vm_is_booting(vm) ? "the VM does not run yet"
                          : vm->reclaim                  ? "this is already being done"
                                                         : NULL;

    if (!failure) {
        work->vm = vm;
        work->call = call;
        if (begin(work, request->page_limit, &err) < 0)
            failure = err.msg;
    }
    if (failure) {
        reply(call, 0, failure);
        return;
    }
    vm->reclaim = work;
    (void)vmt_take_ptr(&work);
}
