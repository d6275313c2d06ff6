/* SPDX-License-Identifier: BSD-3-Clause */
/* core/concierge/handlers_life.c - StartVm and the stops. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "concierge_service.pb-c.h"
#include "core/adapter/clock.h"
#include "core/adapter/host.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/log.h"
#include "core/concierge/concierge_internal.h"
#include "core/concierge/disk_plan_internal.h"
#include "core/concierge/handlers_internal.h"
#include "core/ipc/ipc.h"

/* A VM costs four descriptors here at least, and memory; the list is searched in order.
 */
#define VMS_MAX 4096
/* VMs of one owner who is neither root nor the daemon's own user, counted until the last
 * of each is released: each is a process of the host that may have all its memory. */
#define VMS_PER_OWNER_MAX 32u

#define SHUTTING_DOWN "vm_concierge is shutting down"

int
concierge_make_uuid(struct concierge *c, char *uuid, struct vmt_err *err)
{
    struct host *host = c->config.host;
    uint8_t b[16];
    int r = host->facts->random(host, b, sizeof(b), err);

    if (r < 0)
        return vmt_err_wrap(err, r, "make a UUID");
    b[6] = (uint8_t)((b[6] & 0x0f) | 0x40);
    b[8] = (uint8_t)((b[8] & 0x3f) | 0x80);
    (void)snprintf(uuid, VM_TOKEN_MAX,
                   "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x",
                   b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10],
                   b[11], b[12], b[13], b[14], b[15]);
    return 0;
}

int
concierge_make_vm(struct concierge *c, const struct plan_input *in,
                  struct concierge_vm **ret_vm, struct vmt_err *err)
{
    VMT_CLEANUP(plan_done) struct start_plan plan = {.kernel_fd = -1, .initrd_fd = -1};
    VMT_CLEANUP(vm_freep) struct concierge_vm *vm = NULL;
    int r = plan_make(c, in, &plan, err);

    if (r == 0)
        r = vm_new(c, &plan, &vm, err);
    if (r == 0)
        r = concierge_make_uuid(c, vm->token, err);
    if (r < 0)
        return r;
    *ret_vm = vmt_take_ptr(&vm);
    return 0;
}

static void
close_all(struct concierge *c, const int *fds, size_t n)
{
    struct host *host = c->config.host;

    for (size_t i = 0; i < n; i++)
        host->files->close(host, fds[i]);
}

static int
make_vm(struct concierge *c, struct ipc_call *call,
        const VmTools__Concierge__StartVmRequest *request, struct concierge_vm **ret_vm,
        struct vmt_err *err)
{
    struct concierge_vm *vm = NULL;
    struct vm_restart *restart = NULL;
    int fds[VMT_FDS_MAX];
    const struct plan_input in = {
        .request = request,
        .caller = ipc_call_caller(call),
        .fds = fds,
        .nfds = ipc_call_take_fds(call, fds, VMT_ARRAY_SIZE(fds)),
    };
    int r = restart_keep(c, request, in.caller, fds, in.nfds, &restart, err);

    if (r < 0) {
        close_all(c, fds, in.nfds);
        return r;
    }
    r = concierge_make_vm(c, &in, &vm, err);
    if (r < 0) {
        restart_free(restart);
        return r;
    }
    vm->restart = restart;
    *ret_vm = vm;
    return 0;
}

/* A VM that waits to be started again counts: it holds its descriptors, and comes back.
 * One of the name that is asked for is replaced. */
static bool
owner_has_enough(struct concierge *c, const struct ipc_call *call, const struct vm_id *id)
{
    size_t n = restart_pending(c, id->owner, id->name);

    VMT_LIST_FOREACH(at, following, &c->vms)
    {
        n += strcmp(VMT_CONTAINER_OF(at, struct concierge_vm, node)->id.owner,
                    id->owner) == 0;
    }
    return n >= VMS_PER_OWNER_MAX && !ipc_call_caller(call)->privileged;
}

int
concierge_check_room(struct concierge *c, const struct ipc_call *call,
                     const struct vm_id *id, struct vmt_err *err)
{
    if (concierge_vm_count(c) + restart_pending(c, NULL, NULL) >= VMS_MAX)
        return vmt_err_setx(err, EAGAIN,
                            "there are too many VMs on this host; stop one first");
    if (owner_has_enough(c, call, id))
        return vmt_err_setx(err, EAGAIN,
                            "this owner has as many VMs as one may have: stop one");
    return 0;
}

void
concierge_handle_start_vm(void *ctx, struct ipc_call *call,
                          const ProtobufCMessage *message)
{
    const VmTools__Concierge__StartVmRequest *request =
        (const VmTools__Concierge__StartVmRequest *)message;
    struct concierge *c = ctx;
    struct vmt_clock *clock = c->config.clock;
    struct concierge_vm *vm;
    struct vm_id id;
    struct vmt_err err = {0};
    const char *why = "";

    if (c->shutting_down) {
        ipc_call_fail(call, IPC_ERROR_FAILED, SHUTTING_DOWN);
        return;
    }
    if (plan_check_first(c, request, &id, &err) < 0) {
        reply_start_failure(call, err.msg);
        return;
    }
    vm = vm_find(c, id.owner, id.name);
    if (vm) {
        reply_present(vm, call);
        return;
    }
    if (disk_plan_busy(c, request)) {
        reply_start_busy(call, disk_plan_busy(c, request));
        return;
    }
    if (concierge_check_room(c, call, &id, &err) < 0) {
        reply_start_failure(call, err.msg);
        return;
    }
    if (!concierge_start_allowed(c, &why)) {
        reply_start_failure(call, why);
        return;
    }
    if (make_vm(c, call, request, &vm, &err) < 0) {
        reply_start_failure(call, err.msg);
        return;
    }
    (void)restart_cancel(c, id.owner, id.name); /* this is it */
    vm->start_call = call;
    vm->times.request = clock->ops->now_us(clock);
    vm_insert(vm);
    vm_open_files(vm, ipc_call_caller(call), vm_probe);
}

static void
answer_stop(struct stop_group *group)
{
    reply_success(group->call, group->failure[0] ? group->failure : NULL);
}

/* The method has no result; what could not be stopped is in the log and the list. */
static void
answer_stop_all(struct stop_group *group)
{
    if (group->failure[0])
        vmt_log_warning("not every VM was stopped: %s", group->failure);
    ipc_call_reply(group->call, NULL, NULL, 0);
}

static void
join_group(struct concierge_vm *vm, struct stop_group *group, int reason)
{
    if (vm_stop(vm, group, reason) < 0 && !group->failure[0])
        (void)snprintf(group->failure, sizeof(group->failure), "out of memory");
}

/* NULL: the call has been answered. */
static struct stop_group *
new_group(struct ipc_call *call, void (*answer)(struct stop_group *group))
{
    struct stop_group *group = calloc(1, sizeof(*group));

    if (!group) {
        ipc_call_fail(call, IPC_ERROR_NO_MEMORY, "out of memory");
        return NULL;
    }
    group->call = call;
    group->answer = answer;
    group->left = 1;
    return group;
}

void
concierge_handle_stop_vm(void *ctx, struct ipc_call *call,
                         const ProtobufCMessage *message)
{
    const VmTools__Concierge__StopVmRequest *request =
        (const VmTools__Concierge__StopVmRequest *)message;
    struct stop_group *group;
    struct concierge_vm *vm;
    struct vmt_err err = {0};

    if (vm_id_check(request->owner_id, request->name, &err) < 0) {
        reply_success(call, err.msg);
        return;
    }
    group = new_group(call, answer_stop);
    if (!group)
        return;
    (void)restart_cancel(ctx, request->owner_id, request->name);
    vm = vm_find(ctx, request->owner_id, request->name);
    if (vm) /* an unknown VM is a stopped one, spec 4.4 */
        join_group(vm, group, VM_TOOLS__CONCIERGE__VM_STOP_REASON__STOP_VM_REQUESTED);
    stop_group_filled(group);
}

void
concierge_handle_stop_vm_without_owner_id(void *ctx, struct ipc_call *call,
                                          const ProtobufCMessage *message)
{
    const VmTools__Concierge__StopVmRequest *request =
        (const VmTools__Concierge__StopVmRequest *)message;
    struct concierge *c = ctx;
    struct stop_group *group;

    if (!*request->name) {
        reply_success(call, "the VM name is empty");
        return;
    }
    group = new_group(call, answer_stop);
    if (!group)
        return;
    (void)restart_cancel(c, NULL, request->name);
    VMT_LIST_FOREACH(at, following, &c->vms)
    {
        struct concierge_vm *vm = VMT_CONTAINER_OF(at, struct concierge_vm, node);

        if (strcmp(vm->id.name, request->name) == 0)
            join_group(vm, group, VM_TOOLS__CONCIERGE__VM_STOP_REASON__STOP_VM_REQUESTED);
    }
    stop_group_filled(group);
}

void
concierge_handle_stop_all_vms(void *ctx, struct ipc_call *call,
                              const ProtobufCMessage *message)
{
    struct concierge *c = ctx;
    struct stop_group *group = new_group(call, answer_stop_all);

    (void)message;
    if (!group)
        return;
    (void)restart_cancel(c, NULL, NULL);
    VMT_LIST_FOREACH(at, following, &c->vms)
    join_group(VMT_CONTAINER_OF(at, struct concierge_vm, node), group,
               VM_TOOLS__CONCIERGE__VM_STOP_REASON__STOP_ALL_VMS_REQUESTED);
    stop_group_filled(group);
}
