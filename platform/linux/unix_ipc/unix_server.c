/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/unix_ipc/unix_server.c - methods of the table as unary gRPC methods. */
#include "platform/linux/unix_ipc/unix_server.h"

#include <errno.h>
#include <stdlib.h>

#include <protobuf-c/protobuf-c.h>

#include "common.pb-c.h"
#include "core/adapter/stream.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/limits.h"
#include "core/ipc/ipc.h"
#include "core/rpc/health.h"
#include "platform/linux/os/loop.h"
#include "platform/linux/os/unix_socket.h"
#include "platform/linux/unix_ipc/unix_internal.h"
#include "vmt_ipc.file.h"
#include "vmt_ipc.pb-c.h"

#define UNIX_CONNECTIONS_MAX 256
#define UNIX_STREAMS_MAX 256

/* The backend's name for a call that ipc dispatches. */
struct unix_call {
    struct unix_server *server;  /* borrowed; ipc answers all calls before it frees it */
    struct rpc_server_call *rpc; /* borrowed until finished */
    const struct ipc_method *method;
};

static const enum rpc_code unix_codes[] = {
    [IPC_ERROR_FAILED] = RPC_UNKNOWN,
    [IPC_ERROR_INVALID_ARGS] = RPC_INVALID_ARGUMENT,
    [IPC_ERROR_ACCESS_DENIED] = RPC_PERMISSION_DENIED,
    [IPC_ERROR_UNKNOWN_METHOD] = RPC_UNIMPLEMENTED,
    [IPC_ERROR_NO_MEMORY] = RPC_RESOURCE_EXHAUSTED,
};

static void
unix_answer_reply(void *token, const uint8_t *bytes, size_t len, const int *fds,
                  size_t nfds)
{
    VMT_CLEANUP(vmt_freep) struct unix_call *c = token;
    VmTools__EmptyMessage empty = VM_TOOLS__EMPTY_MESSAGE__INIT;
    struct rpc_status ok = {.code = RPC_OK};
    struct ProtobufCMessage *message = NULL;
    int r;

    if (bytes) {
        message = protobuf_c_message_unpack(c->method->reply, NULL, len, bytes);
        if (!message) {
            rpc_server_call_fail(c->rpc, RPC_RESOURCE_EXHAUSTED, "out of memory");
            return;
        }
    }
    r = rpc_server_call_send(c->rpc, message ? message : &empty.base, fds, nfds);
    if (message)
        protobuf_c_message_free_unpacked(message, NULL);
    if (r < 0)
        rpc_server_call_fail(c->rpc, RPC_INTERNAL, "the reply could not be sent");
    else
        rpc_server_call_finish(c->rpc, &ok);
}

static void
unix_answer_fail(void *token, enum ipc_error code, const char *text)
{
    VMT_CLEANUP(vmt_freep) struct unix_call *c = token;

    rpc_server_call_fail(c->rpc, unix_codes[code], "%s", text);
}

static const struct ipc_answer_ops unix_answer_ops = {.reply = unix_answer_reply,
                                                      .fail = unix_answer_fail};

static void
unix_on_cancel(void *arg)
{
    VMT_CLEANUP(vmt_freep) struct unix_call *c = arg;

    ipc_cancel(c->server->ipc, c);
}

/* Hand a call over to ipc, which parses the bytes by itself: its copy of the request
 * lives as long as its call, whatever becomes of the connection. */
static void
unix_call_dispatch(struct unix_server *s, struct unix_call *c, const uint8_t *bytes,
                   size_t len)
{
    const struct stream_peer *peer = rpc_server_call_peer(c->rpc);
    struct ipc_incoming in = {.method = c->method,
                              .caller = {.uid = peer->uid, .pid = peer->pid},
                              .bytes = bytes,
                              .len = len,
                              .token = c};
    int fds[VMT_FDS_MAX + 1];

    rpc_server_call_on_cancel(c->rpc, unix_on_cancel, c);
    in.nfds = rpc_server_call_take_fds(c->rpc, fds, VMT_ARRAY_SIZE(fds));
    in.fds = fds;
    ipc_dispatch(s->ipc, &in, &unix_answer_ops);
}

/* The handler of every unary method. */
static void
unix_handle(void *ctx, struct rpc_server_call *call,
            const struct ProtobufCMessage *request)
{
    struct unix_server *s = ctx;
    const struct ipc_service *service = ipc_service(s->ipc);
    VMT_CLEANUP(vmt_freep) struct unix_call *c = NULL;
    VMT_CLEANUP(vmt_freep) uint8_t *bytes = NULL;
    size_t len;

    if (rpc_server_call_peer(call)->kind != STREAM_PEER_UNIX) {
        rpc_server_call_fail(call, RPC_UNAUTHENTICATED, "who calls is not known");
        return;
    }
    c = calloc(1, sizeof(*c));
    len = protobuf_c_message_get_packed_size(request);
    bytes = malloc(len ? len : 1);
    if (!c || !bytes) {
        rpc_server_call_fail(call, RPC_RESOURCE_EXHAUSTED, "out of memory");
        return;
    }
    c->server = s;
    c->rpc = call;
    c->method = &service->methods[rpc_server_call_method(call) - s->methods];
    if (c->method->request)
        (void)protobuf_c_message_pack(request, bytes);
    else
        len = 0;
    unix_call_dispatch(s, vmt_take_ptr(&c), bytes, len);
}

static void
unix_server_free(struct ipc_server *server)
{
    struct unix_server *s = VMT_CONTAINER_OF(server, struct unix_server, base);

    s->on_clients = NULL;
    os_listener_free(s->listener);
    rpc_server_free(s->rpc);
    unix_signals_done(s);
    free(s->methods);
    free(s);
}

static void
unix_server_freep(struct unix_server **s)
{
    if (*s)
        unix_server_free(&(*s)->base);
}

static const struct ipc_server_ops unix_server_ops = {
    .name = "unix", .emit = unix_signals_emit, .free = unix_server_free};

/* One row per method, one per signal, one for all signals. */
static int
unix_server_fill(struct unix_server *s)
{
    const struct ipc_service *from = ipc_service(s->ipc);
    const struct ProtobufCMessageDescriptor *empty = &vm_tools__empty_message__descriptor;
    size_t n = from->nmethods + from->nsignals + 1;
    struct rpc_server_method *m = calloc(n, sizeof(*m));

    if (!m)
        return -ENOMEM;
    s->methods = m;
    for (size_t i = 0; i < from->nmethods; i++, m++) {
        const struct ProtobufCMessageDescriptor *request = from->methods[i].request;

        *m = (struct rpc_server_method){.name = from->methods[i].name,
                                        .request = request ? request : empty,
                                        .handle = unix_handle};
    }
    for (size_t i = 0; i <= from->nsignals; i++, m++)
        *m = (struct rpc_server_method){.name = i < from->nsignals ? from->signals[i].name
                                                                   : "SubscribeSignals",
                                        .request = empty,
                                        .handle = unix_signals_subscribe,
                                        .server_streams = true};
    s->service = (struct rpc_server_service){.name = from->grpc_name,
                                             .methods = s->methods,
                                             .nmethods = n,
                                             .file = from->file};
    return 0;
}

static void
unix_get_properties(void *ctx, struct rpc_server_call *call,
                    const struct ProtobufCMessage *request)
{
    const struct unix_server *s = ctx;
    const struct ipc_properties *p = ipc_properties(s->ipc);
    Vmt__Properties m = VMT__PROPERTIES__INIT;

    (void)request;
    m.version = (char *)(uintptr_t)p->version; /* packed, not written to */
    m.capabilities = (char **)(uintptr_t)p->capabilities;
    m.n_capabilities = p->ncapabilities;
    rpc_server_call_reply(call, &m.base);
}

/* What Properties are on a bus. */
static const struct rpc_server_method unix_daemon_methods[] = {
    {.name = "GetProperties",
     .request = &vm_tools__empty_message__descriptor,
     .handle = unix_get_properties},
};
static const struct rpc_server_service unix_daemon_service = {
    .name = "vmt.Daemon",
    .methods = unix_daemon_methods,
    .nmethods = VMT_ARRAY_SIZE(unix_daemon_methods),
    .file = &proto_file_vmt_ipc,
};

bool
unix_is_full_for(const struct unix_server *s, uint32_t uid, const struct unix_share *used,
                 size_t all)
{
    return !ipc_is_service(s->ipc, uid) &&
           (used->own >= (all + UNIX_SHARE - 1) / UNIX_SHARE ||
            used->foreign >= all - all / UNIX_SHARE);
}

static void
unix_server_on_accept(void *arg, struct stream *stream, const struct stream_peer *peer)
{
    struct unix_server *s = arg;
    struct stream *counted = NULL;

    if (!unix_conn_is_full(s, peer->uid))
        counted = unix_conn_new(s, stream, peer->uid);
    if (!counted) {
        stream_close(stream);
        return;
    }
    rpc_server_accept(s->rpc, counted, peer);
}

int
unix_server_new(struct os_loop *loop, struct ipc *ipc,
                const struct unix_server_config *config, struct ipc_server **ret_server,
                struct vmt_err *err)
{
    VMT_CLEANUP(unix_server_freep) struct unix_server *s = calloc(1, sizeof(*s));
    struct rpc_server_config rpc = {.connections_max = UNIX_CONNECTIONS_MAX,
                                    .streams_max = UNIX_STREAMS_MAX,
                                    .idle_ms = UNIX_IDLE_MS,
                                    /* The kernel tells of every death, and a client
                                     * under a debugger does not answer. */
                                    .keepalive_ms = RPC_NEVER_MS};
    int r;

    if (!s)
        return vmt_err_set(err, ENOMEM, "create unix ipc server");
    s->base.ops = &unix_server_ops;
    s->ipc = ipc;
    s->on_clients = config->on_clients;
    s->arg = config->arg;
    vmt_list_init(&s->subscribers);
    vmt_list_init(&s->conns);
    if (config->connections_max)
        rpc.connections_max = config->connections_max;
    s->connections_max = rpc.connections_max;
    if (unix_server_fill(s) < 0)
        return vmt_err_set(err, ENOMEM, "create unix ipc server");
    r = rpc_server_new(os_loop_clock(loop), &rpc, &s->rpc, err);
    if (r < 0)
        return r;
    r = rpc_server_add(s->rpc, &s->service, s, err);
    if (r == 0)
        r = rpc_server_add(s->rpc, &unix_daemon_service, s, err);
    if (r == 0)
        r = rpc_server_add_standard(s->rpc, err);
    if (r < 0)
        return r;
    r = os_listener_new(loop, config->listen_fd, NULL, unix_server_on_accept, s,
                        &s->listener, err);
    if (r < 0)
        return r;
    *ret_server = &vmt_take_ptr(&s)->base;
    return 0;
}

void
unix_server_leaving(struct ipc_server *server)
{
    rpc_health_shutdown(VMT_CONTAINER_OF(server, struct unix_server, base)->rpc);
}

int
unix_server_drain(struct ipc_server *server, uint32_t grace_ms,
                  void (*on_drained)(void *arg), void *arg, struct vmt_err *err)
{
    struct unix_server *s = VMT_CONTAINER_OF(server, struct unix_server, base);
    int r = rpc_server_drain(s->rpc, grace_ms, on_drained, arg, err);

    if (r < 0)
        return r;
    s->draining = true;
    unix_signals_end(s);
    return 0;
}

void
unix_server_count(struct unix_server *s, int change)
{
    s->clients += (size_t)change;
    if (s->on_clients)
        s->on_clients(s->arg, s->clients);
}

size_t
unix_server_clients(const struct ipc_server *server)
{
    const struct unix_server *s = VMT_CONTAINER_OF((struct ipc_server *)(uintptr_t)server,
                                                   struct unix_server, base);

    return s->clients;
}
