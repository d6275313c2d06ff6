/* SPDX-License-Identifier: BSD-3-Clause */
/* core/ipc/ipc.c - the service, its servers, dispatch and signals. */
#include "core/ipc/ipc.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <protobuf-c/protobuf-c.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/ipc/ipc_internal.h"

VMT_DEFINE_FREEP(struct ipc, ipc_free)

/* A request type without an owner would let nobody but root in, and nobody would know
 * why. */
static int
ipc_service_check(const struct ipc_service *service, struct vmt_err *err)
{
    for (size_t i = 0; i < service->nmethods; i++) {
        const struct ipc_method *m = &service->methods[i];

        if (m->access == IPC_ACCESS_OWNER && !ipc_owner_field(m->request))
            return vmt_err_setx(err, EINVAL,
                                "method %s checks the owner, its request names none",
                                m->name);
    }
    return 0;
}

int
ipc_new(const struct ipc_service *service, void *ctx, const struct ipc_identity *self,
        struct ipc **ret_ipc, struct vmt_err *err)
{
    VMT_CLEANUP(ipc_freep) struct ipc *ipc = NULL;
    int r = ipc_service_check(service, err);

    if (r < 0)
        return r;
    ipc = calloc(1, sizeof(*ipc));
    if (!ipc)
        return vmt_err_set(err, ENOMEM, "create ipc");
    vmt_list_init(&ipc->calls);
    ipc->refusals = calloc(service->nmethods + 1, sizeof(*ipc->refusals));
    ipc->bad = calloc(service->nmethods + 1, sizeof(*ipc->bad));
    if (!ipc->refusals || !ipc->bad)
        return vmt_err_set(err, ENOMEM, "create ipc");
    ipc->service = service;
    ipc->ctx = ctx;
    ipc->self = *self;
    ipc->properties.version = VMT_VERSION;
    *ret_ipc = vmt_take_ptr(&ipc);
    return 0;
}

void
ipc_free(struct ipc *ipc)
{
    if (!ipc)
        return;
    VMT_LIST_FOREACH(node, next, &ipc->calls)
    {
        ipc_call_detach(VMT_CONTAINER_OF(node, struct ipc_call, node), IPC_ERROR_FAILED,
                        "the daemon is shutting down");
    }
    for (size_t i = 0; i < ipc->nservers; i++)
        ipc->servers[i]->ops->free(ipc->servers[i]);
    free(ipc->servers);
    free(ipc->refusals);
    free(ipc->bad);
    free(ipc);
}

int
ipc_add_server(struct ipc *ipc, struct ipc_server *server, struct vmt_err *err)
{
    struct ipc_server **grown =
        realloc(ipc->servers, (ipc->nservers + 1) * sizeof(struct ipc_server *));

    if (!grown)
        return vmt_err_set(err, ENOMEM, "add ipc server %s", server->ops->name);
    ipc->servers = grown;
    ipc->servers[ipc->nservers++] = server;
    return 0;
}

static const struct ipc_signal *
ipc_find_signal(const struct ipc *ipc, const char *name)
{
    for (size_t i = 0; i < ipc->service->nsignals; i++)
        if (strcmp(ipc->service->signals[i].name, name) == 0)
            return &ipc->service->signals[i];
    return NULL;
}

int
ipc_emit(struct ipc *ipc, const char *signal, const struct ProtobufCMessage *message)
{
    VMT_CLEANUP(vmt_freep) uint8_t *bytes = NULL;
    const struct ipc_signal *sig = ipc_find_signal(ipc, signal);
    size_t len;

    if (!sig || message->descriptor != sig->message)
        return -ENOENT;
    len = protobuf_c_message_get_packed_size(message);
    bytes = malloc(len ? len : 1);
    if (!bytes)
        return -ENOMEM;
    (void)protobuf_c_message_pack(message, bytes);
    for (size_t i = 0; i < ipc->nservers; i++)
        ipc->servers[i]->ops->emit(ipc->servers[i], sig, bytes, len);
    return 0;
}

const struct ipc_service *
ipc_service(const struct ipc *ipc)
{
    return ipc->service;
}

const struct ipc_properties *
ipc_properties(const struct ipc *ipc)
{
    return &ipc->properties;
}

void
ipc_set_capabilities(struct ipc *ipc, const char *const *capabilities, size_t n)
{
    ipc->properties.capabilities = capabilities;
    ipc->properties.ncapabilities = n;
}

const struct ipc_method *
ipc_find_method(const struct ipc *ipc, const char *name)
{
    for (size_t i = 0; i < ipc->service->nmethods; i++)
        if (strcmp(ipc->service->methods[i].name, name) == 0)
            return &ipc->service->methods[i];
    return NULL;
}

static size_t
ipc_call_memory(const struct ipc_call *call)
{
    return IPC_REQUEST_MEMORY_MAX - call->budget;
}

/* Whether the caller has more in flight than one user may, this call included. Root and
 * the daemons of the set may have what they like. */
static bool
ipc_is_too_much(const struct ipc *ipc, const struct ipc_call *call)
{
    size_t memory = 0, fds = 0, n = 0;

    if (call->caller.privileged)
        return false;
    VMT_LIST_FOREACH(node, next, &ipc->calls)
    {
        const struct ipc_call *other = VMT_CONTAINER_OF(node, struct ipc_call, node);

        if (other->caller.uid != call->caller.uid)
            continue;
        n++;
        memory += ipc_call_memory(other);
        fds += other->nfds;
    }
    return n > IPC_CALLS_PER_UID_MAX || fds > IPC_FDS_PER_UID_MAX ||
           memory > IPC_MEMORY_PER_UID_MAX;
}

void
ipc_dispatch(struct ipc *ipc, const struct ipc_incoming *in,
             const struct ipc_answer_ops *answer)
{
    const char *text = "";
    struct ipc_call *call;
    enum ipc_error e = ipc_call_new(in, &call, &text);

    if (e) {
        if (e == IPC_ERROR_INVALID_ARGS)
            ipc_log_bad(ipc, in, text);
        answer->fail(in->token, e, text);
        return;
    }
    call->answer = answer;
    call->caller.privileged = ipc_is_service(ipc, call->caller.uid);
    vmt_list_append(&ipc->calls, &call->node);
    if (ipc_is_too_much(ipc, call)) {
        ipc_call_fail(call, IPC_ERROR_NO_MEMORY,
                      "uid %u has too many calls in flight; wait for their answers",
                      call->caller.uid);
        return;
    }
    if (!ipc_access_check(ipc, call)) {
        ipc_call_fail(call, IPC_ERROR_ACCESS_DENIED, "uid %u may not call %s%s",
                      call->caller.uid, call->method->name,
                      call->method->access == IPC_ACCESS_OWNER ? " for this owner" : "");
        return;
    }
    call->method->handle(ipc->ctx, call, call->request);
}

void
ipc_cancel(struct ipc *ipc, void *token)
{
    VMT_LIST_FOREACH(node, next, &ipc->calls)
    {
        struct ipc_call *call = VMT_CONTAINER_OF(node, struct ipc_call, node);

        if (!call->answer || call->token != token)
            continue;
        ipc_call_abandon(call);
        return;
    }
}
