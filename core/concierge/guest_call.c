/* SPDX-License-Identifier: BSD-3-Clause */
/* core/concierge/guest_call.c - calls to an agent, whether or not a connection stands.
 * The VM's own connection is used when it is there. It belongs to the set-up and to the
 * stop, and is closed when it is idle. Then a second one is made, which goes the same
 * way. */
#include "core/concierge/guest_call_internal.h"

#include <errno.h>
#include <protobuf-c/protobuf-c.h>
#include <stdlib.h>

#include "core/adapter/clock.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/log.h"
#include "core/concierge/concierge_internal.h"

#define RETRY_MS 50u           /* from a refusal to the next attempt to connect */
#define RETRY_CONNECT_MS 2000u /* for one attempt */

struct guest_call {
    struct vmt_list node;
    struct concierge_vm *vm; /* borrowed */
    struct guest_call_spec spec;
    ProtobufCMessage *message; /* owned until sent */
    ProtobufCMessage *reply;   /* owned; NULL until it came */
    uint64_t start_ms;
    struct rpc_client_call *call; /* borrowed: the client's; NULL until sent */
    const struct vm_agent *over;  /* borrowed: the connection that call is on */
};

static uint64_t
now_ms(const struct concierge_vm *vm)
{
    struct vmt_clock *clock = vm->c->config.clock;

    return clock->ops->now_ms(clock);
}

static ProtobufCMessage *
copy_message(const ProtobufCMessage *message)
{
    size_t len = protobuf_c_message_get_packed_size(message);
    VMT_CLEANUP(vmt_freep) uint8_t *bytes = malloc(len + 1);

    if (!bytes)
        return NULL;
    (void)protobuf_c_message_pack(message, bytes);
    return protobuf_c_message_unpack(message->descriptor, NULL, len, bytes);
}

static void
free_message(ProtobufCMessage *message)
{
    if (message)
        protobuf_c_message_free_unpacked(message, NULL);
}

static void
call_free(struct guest_call *c)
{
    if (!c)
        return;
    vmt_list_remove(&c->node);
    free_message(c->message);
    free_message(c->reply);
    free(c);
}
VMT_DEFINE_FREEP(struct guest_call, call_free)

/* done may start another call, or free what the argument points to. */
static void
finish(struct guest_call *c, const struct rpc_status *status)
{
    const struct guest_call_spec spec = c->spec;
    ProtobufCMessage *reply = vmt_take_ptr(&c->reply);

    call_free(c);
    spec.done(spec.arg, status, status->code == RPC_OK ? reply : NULL);
    free_message(reply);
}

static void
fail(struct guest_call *c, enum rpc_code code, const char *text)
{
    struct rpc_status status = {.code = code};

    rpc_status_set(&status, code, "%s", text);
    finish(c, &status);
}

static void
on_message(void *arg, const ProtobufCMessage *reply, const int *fds, size_t nfds)
{
    struct guest_call *c = arg;

    (void)fds;
    (void)nfds;
    free_message(c->reply);
    c->reply = copy_message(reply);
}

static void
on_done(void *arg, const struct rpc_status *status)
{
    struct guest_call *c = arg;

    c->call = NULL;
    if (status->code == RPC_OK && !c->reply)
        fail(c, RPC_RESOURCE_EXHAUSTED, "out of memory for the answer");
    else
        finish(c, status);
}

static const struct rpc_client_handler handler = {.on_message = on_message,
                                                  .on_done = on_done};

static int
send_call(struct guest_call *c, struct vm_agent *agent, struct vmt_err *err)
{
    uint64_t waited = now_ms(c->vm) - c->start_ms;
    const struct rpc_client_request request = {
        .path = c->spec.path,
        .reply = c->spec.reply,
        .timeout_ms =
            waited < c->spec.timeout_ms ? c->spec.timeout_ms - (uint32_t)waited : 1,
        .handler = &handler,
        .arg = c,
    };
    int r;

    if (c->spec.refresh)
        c->spec.refresh(c->vm, c->message);
    if (!vm_agent_is_open(agent))
        return vmt_err_set(err, ENOTCONN, "call %s", request.path);
    agent->used = true;
    r = rpc_client_start(agent->client, &request, c->message, &c->call, err);
    if (r < 0)
        return r;
    c->over = agent;
    free_message(vmt_take_ptr(&c->message));
    return 0;
}

static bool
is_late(const struct guest_call *c)
{
    return now_ms(c->vm) - c->start_ms >= c->spec.timeout_ms;
}

static void on_side_open(void *arg, const struct vmt_err *err);

/* Those who could wait longer do, unless that cannot be. */
static int
open_side(struct concierge_vm *vm, struct vmt_err *err)
{
    return vm_agent_open(&vm->guest_calls.side, RETRY_CONNECT_MS, on_side_open, vm, err);
}

static void
on_retry(void *arg)
{
    struct concierge_vm *vm = arg;
    struct vmt_err err = {0};

    vm->guest_calls.retry = NULL;
    if (open_side(vm, &err) < 0)
        on_side_open(vm, &err);
}

/* The calls that wait for a connection, to a list of the caller's: what happens to one
 * may add another. */
static void
take_waiting(struct concierge_vm *vm, struct vmt_list *waiting)
{
    vmt_list_init(waiting);
    VMT_LIST_FOREACH(at, following, &vm->guest_calls.calls)
    {
        if (VMT_CONTAINER_OF(at, struct guest_call, node)->call)
            continue;
        vmt_list_remove(at);
        vmt_list_append(waiting, at);
    }
}

/* All that waited go out; without a connection only those end whose time is over. */
static void
on_side_open(void *arg, const struct vmt_err *err)
{
    struct concierge_vm *vm = arg;
    struct vmt_clock *clock = vm->c->config.clock;
    bool again = false;
    struct vmt_list waiting;
    struct vmt_err why = {0};

    take_waiting(vm, &waiting);
    while (!vmt_list_empty(&waiting)) {
        struct guest_call *c = VMT_CONTAINER_OF(waiting.next, struct guest_call, node);

        vmt_list_remove(&c->node);
        vmt_list_append(&vm->guest_calls.calls, &c->node);
        if (err && is_late(c))
            fail(c, RPC_UNAVAILABLE, err->msg);
        else if (err)
            again = true;
        else if (send_call(c, &vm->guest_calls.side, &why) < 0)
            fail(c, RPC_UNAVAILABLE, why.msg);
    }
    if (again && !vm->guest_calls.retry && !vm->guest_calls.side.op &&
        clock->ops->timer_start(clock, RETRY_MS, on_retry, vm, &vm->guest_calls.retry) <
            0)
        vmt_log_error("no memory to call the agent again vm=%s", vm->key);
}

static int
send_or_wait(struct guest_call *c, struct vmt_err *err)
{
    struct concierge_vm *vm = c->vm;
    struct vm_agent *side = &vm->guest_calls.side;

    if (vm_agent_is_open(&vm->agent))
        return send_call(c, &vm->agent, err);
    if (vm_agent_is_open(side))
        return send_call(c, side, err);
    if (side->op || vm->guest_calls.retry)
        return 0;
    side->cid = vm->cid;
    return open_side(vm, err);
}

int
guest_call(struct concierge_vm *vm, const struct guest_call_spec *spec,
           const ProtobufCMessage *message, struct vmt_err *err)
{
    VMT_CLEANUP(call_freep) struct guest_call *c = calloc(1, sizeof(*c));
    int r;

    if (!c)
        return vmt_err_set(err, ENOMEM, "call %s", spec->path);
    vmt_list_append(&vm->guest_calls.calls, &c->node);
    c->vm = vm;
    c->spec = *spec;
    c->start_ms = now_ms(vm);
    c->message = copy_message(message);
    if (!c->message)
        return vmt_err_set(err, ENOMEM, "call %s", spec->path);
    r = send_or_wait(c, err);
    if (r < 0)
        return r;
    (void)vmt_take_ptr(&c);
    return 0;
}

/* Those in flight are taken out first: one that ends may start another. */
void
guest_calls_close(struct concierge_vm *vm)
{
    struct vmt_list broken;

    vmt_list_init(&broken);
    VMT_LIST_FOREACH(at, following, &vm->guest_calls.calls)
    {
        struct guest_call *c = VMT_CONTAINER_OF(at, struct guest_call, node);

        if (!c->call || c->over != &vm->agent)
            continue;
        c->call = NULL; /* goes with its client */
        vmt_list_remove(at);
        vmt_list_append(&broken, at);
    }
    vm_agent_close(&vm->agent);
    while (!vmt_list_empty(&broken))
        fail(VMT_CONTAINER_OF(broken.next, struct guest_call, node), RPC_UNAVAILABLE,
             "the connection to the agent was closed");
}

void
guest_calls_init(struct concierge_vm *vm)
{
    vmt_list_init(&vm->guest_calls.calls);
    vm->guest_calls.side.clock = vm->c->config.clock;
    vm->guest_calls.side.transport = vm->c->config.transport;
}

void
guest_calls_done(struct concierge_vm *vm)
{
    struct vmt_clock *clock = vm->c->config.clock;

    while (!vmt_list_empty(&vm->guest_calls.calls)) {
        struct guest_call *c =
            VMT_CONTAINER_OF(vm->guest_calls.calls.next, struct guest_call, node);

        rpc_client_cancel(vmt_take_ptr(&c->call));
        fail(c, RPC_CANCELLED, "the VM ended");
    }
    clock->ops->timer_cancel(clock, vmt_take_ptr(&vm->guest_calls.retry));
    vm_agent_close(&vm->guest_calls.side);
}
