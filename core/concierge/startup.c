/* SPDX-License-Identifier: BSD-3-Clause */
/* core/concierge/startup.c - vm_tools.StartupListener: guests say that they are ready.
 * Who calls is known from the transport. Each VM has a server of its own, so that one
 * guest cannot use up the connections of another. */
#include <errno.h>

#include "common.pb-c.h"
#include "concierge_service.pb-c.h"
#include "core/adapter/clock.h"
#include "core/adapter/stream.h"
#include "core/adapter/transport.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/limits.h"
#include "core/base/log.h"
#include "core/concierge/concierge_internal.h"
#include "core/ipc/ipc.h"
#include "core/rpc/health.h"
#include "core/rpc/server.h"
#include "vm_host.file.h"
#include "vm_host.pb-c.h"

/* A guest makes one connection and one call; a retry may overlap with it. */
#define CONNECTIONS_MAX 4
#define STREAMS_MAX 4
#define MESSAGE_MAX 65536
#define IDLE_MS 30000
#define REFUSALS_LOGGED_MAX 5
/* What a guest reports more often is not passed on: it may not flood the bus. */
#define INSTALL_STATUS_MS 100

/* Both services have this shape: ctx is the calling VM, NULL for a stranger. */
static void
handle_vm_ready(void *ctx, struct rpc_server_call *call, const ProtobufCMessage *request)
{
    struct concierge_vm *vm = ctx;
    VmTools__EmptyMessage reply = VM_TOOLS__EMPTY_MESSAGE__INIT;
    struct vmt_err err = {0};
    struct vmt_clock *clock;

    (void)request;
    if (!vm || (vm->state != VM_SPAWNING && vm->state != VM_BOOTING)) {
        if (vm && vm->refusals_logged++ < REFUSALS_LOGGED_MAX)
            vmt_log_warning("VmReady refused: nobody waits for it vm=%s cid=%u", vm->key,
                            vm->cid);
        rpc_server_call_fail(call, RPC_FAILED_PRECONDITION,
                             "no VM with this cid is waiting to become ready");
        return;
    }
    clock = vm->c->config.clock;
    vm->times.ready = clock->ops->now_us(clock);
    if (vm_record_save(vm, &err) < 0)
        vmt_log_warning("vm record not updated: %s vm=%s", err.msg, vm->key);
    vm_post(vm, VM_EV_READY);
    rpc_server_call_reply(call, &reply.base);
}

static bool
is_too_often(struct concierge_vm *vm)
{
    struct vmt_clock *clock = vm->c->config.clock;
    uint64_t now = clock->ops->now_ms(clock);

    if (vm->install_ms && now - vm->install_ms < INSTALL_STATUS_MS)
        return true;
    vm->install_ms = now;
    return false;
}

static void
handle_vm_install_status(void *ctx, struct rpc_server_call *call,
                         const ProtobufCMessage *request)
{
    struct concierge_vm *vm = ctx;
    const VmTools__VmInstallState *state = (const VmTools__VmInstallState *)request;
    VmTools__Concierge__VmInstallStateSignal signal;
    VmTools__EmptyMessage reply = VM_TOOLS__EMPTY_MESSAGE__INIT;

    vm_tools__concierge__vm_install_state_signal__init(&signal);
    if (!vm) {
        rpc_server_call_fail(call, RPC_FAILED_PRECONDITION, "no VM has this cid");
        return;
    }
    if (is_too_often(vm)) {
        rpc_server_call_reply(call, &reply.base);
        return;
    }
    /* spec 4.3: state and step only; a guest's free text does not reach the bus. */
    signal.state = (VmTools__Concierge__VmInstallStateSignal__State)state->state;
    signal.in_progress_step =
        (VmTools__Concierge__VmInstallStateSignal__Step)state->in_progress_step;
    if (vm->c->ipc)
        (void)ipc_emit(vm->c->ipc, "VmInstallStateSignal", &signal.base);
    rpc_server_call_reply(call, &reply.base);
}

static const struct rpc_server_method methods[] = {
    {.name = "VmReady",
     .request = &vm_tools__empty_message__descriptor,
     .handle = handle_vm_ready},
    {.name = "VmInstallStatus",
     .request = &vm_tools__vm_install_state__descriptor,
     .handle = handle_vm_install_status},
};

static const struct rpc_server_service service = {
    .name = "vm_tools.StartupListener",
    .methods = methods,
    .nmethods = VMT_ARRAY_SIZE(methods),
    .file = &proto_file_vm_host,
};

static int
new_server(struct concierge *c, void *ctx, struct rpc_server **ret_server,
           struct vmt_err *err)
{
    const struct rpc_server_config config = {
        .connections_max = CONNECTIONS_MAX,
        .streams_max = STREAMS_MAX,
        .message_max = MESSAGE_MAX,
        .idle_ms = IDLE_MS,
    };
    struct rpc_server *server = NULL;
    int r = rpc_server_new(c->config.clock, &config, &server, err);

    if (r < 0)
        return r;
    r = rpc_server_add(server, &service, ctx, err);
    if (r == 0)
        r = rpc_server_add(server, &guest_events_service, ctx, err);
    if (r == 0)
        r = rpc_server_add_standard(server, err);
    if (r < 0) {
        rpc_server_free(server);
        return r;
    }
    *ret_server = server;
    return 0;
}

int
startup_serve(struct concierge_vm *vm, struct vmt_err *err)
{
    int r = new_server(vm->c, vm, &vm->listener, err);

    return r < 0 ? vmt_err_wrap(err, r, "serve the start-up listener") : 0;
}

static void
on_accept(void *arg, struct stream *s, const struct stream_peer *peer)
{
    struct concierge *c = arg;
    struct concierge_vm *vm = NULL;

    if (peer->kind == STREAM_PEER_VSOCK || peer->kind == STREAM_PEER_VM)
        vm = vm_find_cid(c, peer->cid);
    rpc_server_accept(vm && vm->listener ? vm->listener : c->strangers, s, peer);
}

int
startup_listen(struct concierge *c, struct vmt_err *err)
{
    struct transport *t = c->config.transport;
    int r = new_server(c, NULL, &c->strangers, err);

    if (r == 0)
        r = t->ops->listen(t, VMT_PORT_STARTUP_LISTENER, on_accept, c, &c->listener, err);
    return r < 0 ? vmt_err_wrap(err, r, "listen for guests") : 0;
}

void
startup_leave(struct concierge *c)
{
    if (c->strangers)
        rpc_health_shutdown(c->strangers);
    VMT_LIST_FOREACH(node, next, &c->vms)
    {
        struct concierge_vm *vm = VMT_CONTAINER_OF(node, struct concierge_vm, node);

        if (vm->listener)
            rpc_health_shutdown(vm->listener);
    }
}

void
startup_unlisten(struct concierge *c)
{
    if (c->listener)
        c->config.transport->ops->unlisten(c->listener);
    if (c->strangers)
        rpc_server_free(c->strangers);
    c->listener = NULL;
    c->strangers = NULL;
}
