/* SPDX-License-Identifier: BSD-3-Clause */
/* core/concierge/handlers_time.c - SyncVmTimes: every guest gets the host's time now.
 * Each guest is called over a connection of its own, so that a guest that hangs delays
 * neither the others nor its own stop. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common.pb-c.h"
#include "concierge_service.pb-c.h"
#include "core/adapter/clock.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/log.h"
#include "core/concierge/concierge_internal.h"
#include "core/concierge/handlers_internal.h"
#include "core/ipc/ipc.h"
#include "vm_guest.pb-c.h"

#define TEXT_MAX 256

struct sync_guest {
    struct time_sync *sync; /* borrowed */
    struct vm_agent agent;
    char name[VMT_VM_NAME_MAX + 1];
    char failure[TEXT_MAX]; /* "" while all went well */
};

struct time_sync {
    struct vmt_list node;
    struct concierge *c;
    struct ipc_call *call; /* owned until answered */
    struct vmt_timer *reaper;
    size_t n, left;
    struct sync_guest guests[];
};

static void
sync_free(struct time_sync *sync)
{
    struct vmt_clock *clock = sync->c->config.clock;

    clock->ops->timer_cancel(clock, sync->reaper);
    for (size_t i = 0; i < sync->n; i++)
        vm_agent_close(&sync->guests[i].agent);
    vmt_list_remove(&sync->node);
    free(sync);
}

static void
on_reap(void *arg)
{
    struct time_sync *sync = arg;

    sync->reaper = NULL;
    sync_free(sync);
}

static void
answer(struct time_sync *sync)
{
    VmTools__Concierge__SyncVmTimesResponse response =
        VM_TOOLS__CONCIERGE__SYNC_VM_TIMES_RESPONSE__INIT;
    VMT_CLEANUP(vmt_freep) char **texts = calloc(sync->n + 1, sizeof(*texts));

    response.requests = (uint32_t)sync->n;
    response.failure_reason = texts;
    for (size_t i = 0; i < sync->n; i++) {
        if (!sync->guests[i].failure[0])
            continue;
        response.failures++;
        if (texts)
            texts[response.n_failure_reason++] = sync->guests[i].failure;
    }
    ipc_call_reply(vmt_take_ptr(&sync->call), &response.base, NULL, 0);
}

/* The last guest's callback is on the stack: its connection is closed from the loop. */
static void
guest_done(struct sync_guest *guest)
{
    struct time_sync *sync = guest->sync;
    struct vmt_clock *clock = sync->c->config.clock;

    if (--sync->left > 0)
        return;
    answer(sync);
    if (clock->ops->timer_start(clock, 0, on_reap, sync, &sync->reaper) < 0)
        vmt_log_error("no memory to close the connections of SyncVmTimes");
}

static void
guest_failed(struct sync_guest *guest, const char *why)
{
    char text[TEXT_MAX - VMT_VM_NAME_MAX - 3];

    (void)vmt_log_escape(text, sizeof(text), why, strlen(why));
    (void)snprintf(guest->failure, sizeof(guest->failure), "%s: %s", guest->name, text);
    guest_done(guest);
}

static void
on_done(void *arg, const struct rpc_status *status)
{
    if (status->code == RPC_OK)
        guest_done(arg);
    else
        guest_failed(arg, *status->text ? status->text : rpc_code_name(status->code));
}

static const struct rpc_client_handler handler = {.on_done = on_done};

static void
on_open(void *arg, const struct vmt_err *err)
{
    struct sync_guest *guest = arg;
    struct vmt_clock *clock = guest->sync->c->config.clock;
    const struct rpc_client_request request = {
        .path = "/vm_tools.Maitred/SetTime",
        .reply = &vm_tools__empty_message__descriptor,
        .timeout_ms = AGENT_RPC_MS,
        .handler = &handler,
        .arg = guest,
    };
    Google__Protobuf__Timestamp time = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
    VmTools__SetTimeRequest message = VM_TOOLS__SET_TIME_REQUEST__INIT;
    struct vmt_err why = {0};

    if (err) {
        guest_failed(guest, err->msg);
        return;
    }
    clock->ops->wall(clock, &time.seconds, &time.nanos);
    message.time = &time;
    if (vm_agent_call(&guest->agent, &request, &message.base, &why) < 0)
        guest_failed(guest, why.msg);
}

static void
add_guest(struct time_sync *sync, const struct concierge_vm *vm)
{
    struct sync_guest *guest = &sync->guests[sync->n++];

    guest->sync = sync;
    guest->agent.clock = vm->agent.clock;
    guest->agent.transport = vm->agent.transport;
    guest->agent.cid = vm->cid;
    memcpy(guest->name, vm->id.name, strlen(vm->id.name) + 1);
}

/* Room for every VM; only those that run are asked. */
static struct time_sync *
sync_new(struct concierge *c, struct ipc_call *call)
{
    size_t max = concierge_vm_count(c);
    struct time_sync *sync = calloc(1, sizeof(*sync) + max * sizeof(sync->guests[0]));

    if (!sync)
        return NULL;
    sync->c = c;
    sync->call = call;
    VMT_LIST_FOREACH(at, following, &c->vms)
    {
        struct concierge_vm *vm = VMT_CONTAINER_OF(at, struct concierge_vm, node);

        if (vm->state == VM_RUNNING)
            add_guest(sync, vm);
    }
    vmt_list_append(&c->syncs, &sync->node);
    return sync;
}

void
concierge_handle_sync_vm_times(void *ctx, struct ipc_call *call,
                               const ProtobufCMessage *request)
{
    struct time_sync *sync = sync_new(ctx, call);
    struct vmt_err err = {0};

    (void)request;
    if (!sync) {
        ipc_call_fail(call, IPC_ERROR_NO_MEMORY, "out of memory");
        return;
    }
    if (sync->n == 0) {
        answer(sync);
        sync_free(sync);
        return;
    }
    sync->left = sync->n + 1; /* the loop below counts as one */
    for (size_t i = 0; i < sync->n; i++) {
        struct sync_guest *guest = &sync->guests[i];

        if (vm_agent_open(&guest->agent, AGENT_CONNECT_MS, on_open, guest, &err) < 0)
            guest_failed(guest, err.msg);
    }
    guest_done(&sync->guests[0]);
}

void
time_syncs_free(struct concierge *c)
{
    VMT_LIST_FOREACH(at, following, &c->syncs)
    {
        struct time_sync *sync = VMT_CONTAINER_OF(at, struct time_sync, node);

        if (sync->call)
            ipc_call_fail(sync->call, IPC_ERROR_FAILED, "vm_concierge is shutting down");
        sync_free(sync);
    }
}
