/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/linux/vsh/concierge_client.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "concierge_service.pb-c.h"

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/log.h"
#include "core/ipc/ipc.h"
#include "platform/linux/os/loop.h"
#include "platform/linux/unix_ipc/unix_client.h"
#include "platform/linux/vsh/end_words.h"
#include "platform/linux/vsh/endpoint.h"

#define INFO_TIMEOUT_MS 30000u

/* The call that is being waited for. */
struct pending {
    const struct ProtobufCMessageDescriptor *type;
    struct ProtobufCMessage *reply; /* owned */
    struct rpc_status status;
    bool done;
};

struct concierge_client {
    struct os_loop *loop;           /* borrowed */
    struct unix_client *conn;       /* owned */
    struct pending *pending;        /* borrowed; NULL: none */
    struct unix_client_call *watch; /* owned by conn; NULL: none */
    concierge_signal_fn *on_signal;
    void *signal_arg; /* borrowed */
    concierge_vm_fn *on_vm;
    void *vm_arg; /* borrowed */
};

VMT_DEFINE_FREEP(struct concierge_client, concierge_client_free)

void
concierge_client_free(struct concierge_client *client)
{
    if (!client)
        return;
    unix_client_free(client->conn);
    free(client);
}

int
concierge_client_new(struct os_loop *loop, const char *socket_path,
                     struct concierge_client **ret_client, struct vmt_err *err)
{
    VMT_CLEANUP(concierge_client_freep)
    struct concierge_client *client = calloc(1, sizeof(*client));
    struct unix_client_config config = {
        .path = socket_path,
        .service = "vm_tools.concierge.VmConcierge",
    };
    int r;

    if (!client)
        return vmt_err_set(err, ENOMEM, "connect to vm_concierge");
    client->loop = loop;
    r = unix_client_new(loop, &config, &client->conn, err);
    if (r < 0)
        return vmt_err_wrap(err, r, "connect to vm_concierge");
    *ret_client = vmt_take_ptr(&client);
    return 0;
}

/* A copy, since the original is gone when the callback returns. */
static struct ProtobufCMessage *
message_copy(const struct ProtobufCMessageDescriptor *type,
             const struct ProtobufCMessage *message)
{
    size_t len = protobuf_c_message_get_packed_size(message);
    VMT_CLEANUP(vmt_freep) uint8_t *bytes = malloc(len + 1);

    if (!bytes)
        return NULL;
    protobuf_c_message_pack(message, bytes);
    return protobuf_c_message_unpack(type, NULL, len, bytes);
}

static void
client_on_done(void *arg, const struct rpc_status *status,
               const struct ProtobufCMessage *reply, const int *fds, size_t nfds)
{
    struct concierge_client *client = arg;
    struct pending *pending = client->pending;

    for (size_t i = 0; i < nfds; i++)
        (void)close(fds[i]); /* no method that we call sends any */
    pending->status = *status;
    if (reply)
        pending->reply = message_copy(pending->type, reply);
    pending->done = true;
    os_loop_stop(client->loop, 0);
}

void
concierge_client_interrupt(struct concierge_client *client)
{
    os_loop_stop(client->loop, 0);
}

static void
client_on_signal(void *arg, const char *name, const uint8_t *bytes, size_t len)
{
    struct concierge_client *client = arg;

    client->on_signal(client->signal_arg, name, bytes, len);
}

static void
client_on_signals_end(void *arg, const struct rpc_status *status)
{
    struct concierge_client *client = arg;

    (void)status;
    client->watch = NULL;
}

int
concierge_client_watch(struct concierge_client *client, concierge_signal_fn *fn,
                       void *arg, struct vmt_err *err)
{
    const struct unix_client_subscription subscription = {
        .on_signal = client_on_signal,
        .on_end = client_on_signals_end,
        .arg = client,
    };

    if (client->watch)
        return vmt_err_setx(err, EBUSY, "signals are being watched already");
    client->on_signal = fn;
    client->signal_arg = arg;
    return unix_client_subscribe(client->conn, &subscription, &client->watch, err);
}

void
concierge_client_unwatch(struct concierge_client *client)
{
    if (!client)
        return;
    unix_client_cancel(client->watch);
    client->watch = NULL;
}

static int
status_error(const struct rpc_status *status, const char *method, struct vmt_err *err)
{
    static const struct {
        enum rpc_code code;
        int error;
    } map[] = {
        {RPC_UNAVAILABLE, ENOTCONN},     {RPC_DEADLINE_EXCEEDED, ETIMEDOUT},
        {RPC_PERMISSION_DENIED, EACCES}, {RPC_UNAUTHENTICATED, EACCES},
        {RPC_INVALID_ARGUMENT, EINVAL},  {RPC_UNIMPLEMENTED, ENOTSUP},
    };
    char text[RPC_MESSAGE_TEXT_MAX];
    int error = EIO;

    if (status->code == RPC_OK)
        return 0;
    for (size_t i = 0; i < VMT_ARRAY_SIZE(map); i++)
        if (map[i].code == status->code)
            error = map[i].error;
    (void)vmt_log_escape(text, sizeof(text), status->text, strlen(status->text));
    return vmt_err_setx(err, error, "vm_concierge refused %s: %s", method,
                        *text ? text : rpc_code_name(status->code));
}

int
concierge_client_call(struct concierge_client *client, const struct concierge_call *call,
                      struct ProtobufCMessage **ret_reply, struct vmt_err *err)
{
    struct pending pending = {.type = call->reply};
    struct unix_client_call *handle = NULL;
    struct unix_client_request request = {
        .method = call->method,
        .message = call->request,
        .reply = call->reply,
        .fds = call->fds,
        .nfds = call->nfds,
        .timeout_ms = call->timeout_ms,
        .reply_max = call->reply_max,
        .on_done = client_on_done,
        .arg = client,
    };
    int r = unix_client_start(client->conn, &request, &handle, err);

    if (r < 0)
        return vmt_err_wrap(err, r, "call %s", call->method);
    client->pending = &pending;
    (void)os_loop_run(client->loop);
    client->pending = NULL;
    if (!pending.done) {
        unix_client_cancel(handle);
        return vmt_err_setx(err, EINTR, "%s was interrupted", call->method);
    }
    r = status_error(&pending.status, call->method, err);
    if (r == 0 && call->reply && !pending.reply)
        r = vmt_err_set(err, ENOMEM, "read the answer of %s", call->method);
    if (r == 0)
        *ret_reply = pending.reply;
    else if (pending.reply)
        protobuf_c_message_free_unpacked(pending.reply, NULL);
    return r;
}

int
concierge_vm_fill(const VmTools__Concierge__GetVmInfoResponse *response,
                  struct concierge_vm *vm, struct vmt_err *err)
{
    const VmTools__Concierge__VmInfo *info = response->vm_info;

    memset(vm, 0, sizeof(*vm));
    vm->runs = response->success && info;
    if (vm->runs && *info->transport == '\0') { /* the original's daemon has no other */
        vm->endpoint.kind = VSH_ENDPOINT_VSOCK;
        vm->endpoint.cid = (uint32_t)info->cid;
        return 0;
    }
    if (vm->runs)
        vm->is_suspended = strcmp(info->state, "suspended") == 0;
    if (vm->runs)
        return vsh_endpoint_parse(info->transport, &vm->endpoint, err);
    if (response->last_end) {
        (void)vm_end_words(response->last_end, vm->end, sizeof(vm->end));
        vm->ended_s = response->last_end->ended_s;
    }
    return 0;
}

/* Strings are borrowed; self is where the owner is kept that stands for NULL. */
static void
info_request_fill(VmTools__Concierge__GetVmInfoRequest *request, const char *vm_name,
                  const char *owner, char self[static IPC_OWNER_MAX])
{
    ipc_owner_for_uid(getuid(), self);
    vm_tools__concierge__get_vm_info_request__init(request);
    request->name = (char *)(uintptr_t)vm_name;
    request->owner_id = owner ? (char *)(uintptr_t)owner : self;
}

static void
client_on_vm(void *arg, const struct rpc_status *status,
             const struct ProtobufCMessage *reply, const int *fds, size_t nfds)
{
    struct concierge_client *client = arg;
    struct concierge_vm vm;
    bool known = status->code == RPC_OK && reply &&
                 concierge_vm_fill(
                     (const VmTools__Concierge__GetVmInfoResponse *)(const void *)reply,
                     &vm, NULL) == 0;

    for (size_t i = 0; i < nfds; i++)
        (void)close(fds[i]);
    client->on_vm(client->vm_arg, known ? &vm : NULL);
}

int
concierge_client_ask_vm(struct concierge_client *client, const char *vm_name,
                        const char *owner, concierge_vm_fn *fn, void *arg,
                        struct vmt_err *err)
{
    VmTools__Concierge__GetVmInfoRequest request;
    struct unix_client_request call = {
        .method = "GetVmInfo",
        .message = &request.base,
        .reply = &vm_tools__concierge__get_vm_info_response__descriptor,
        .timeout_ms = INFO_TIMEOUT_MS,
        .on_done = client_on_vm,
        .arg = client,
    };
    char self[IPC_OWNER_MAX];

    info_request_fill(&request, vm_name, owner, self);
    client->on_vm = fn;
    client->vm_arg = arg;
    return unix_client_start(client->conn, &call, NULL, err);
}

int
concierge_client_vm(struct concierge_client *client, const char *vm_name,
                    const char *owner, struct concierge_vm *ret_vm, struct vmt_err *err)
{
    VmTools__Concierge__GetVmInfoRequest request;
    struct concierge_call call = {
        .method = "GetVmInfo",
        .request = &request.base,
        .reply = &vm_tools__concierge__get_vm_info_response__descriptor,
        .timeout_ms = INFO_TIMEOUT_MS,
    };
    struct ProtobufCMessage *reply = NULL;
    char self[IPC_OWNER_MAX];
    int r;

    info_request_fill(&request, vm_name, owner, self);
    r = concierge_client_call(client, &call, &reply, err);
    if (r < 0)
        return r;
    if (!reply) /* it has a result: the client would have failed */
        return vmt_err_setx(err, EIO, "GetVmInfo: no answer");
    r = concierge_vm_fill((VmTools__Concierge__GetVmInfoResponse *)(void *)reply, ret_vm,
                          err);
    protobuf_c_message_free_unpacked(reply, NULL);
    return r;
}

int
concierge_vm_endpoint(const struct concierge_vm *vm, const char *vm_name,
                      struct vsh_endpoint *ret_endpoint, struct vmt_err *err)
{
    char name[64];

    (void)vmt_log_escape(name, sizeof(name), vm_name, strlen(vm_name));
    if (!vm->runs)
        return vmt_err_setx(err, ENOENT, "no VM named %s runs%s%s", name,
                            *vm->end ? "; the last one ended: " : "", vm->end);
    if (vm->is_suspended)
        return vmt_err_setx(err, EBUSY, "%s is suspended; vmc resume lets it go on",
                            name);
    *ret_endpoint = vm->endpoint;
    return 0;
}

int
concierge_client_endpoint(struct concierge_client *client, const char *vm_name,
                          const char *owner, struct vsh_endpoint *ret_endpoint,
                          struct vmt_err *err)
{
    struct concierge_vm vm = {0};
    int r = concierge_client_vm(client, vm_name, owner, &vm, err);

    return r < 0 ? r : concierge_vm_endpoint(&vm, vm_name, ret_endpoint, err);
}
