/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/unix_ipc/unix_client.c - calls and signals over core/rpc. */
#include "platform/linux/unix_ipc/unix_client.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <protobuf-c/protobuf-c.h>

#include "common.pb-c.h"
#include "core/adapter/stream.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/limits.h"
#include "core/base/list.h"
#include "core/rpc/channel.h"
#include "platform/linux/os/connectors.h"
#include "platform/linux/os/loop.h"
#include "platform/linux/os/stream_fd.h"
#include "platform/linux/os/unix_socket.h"
#include "platform/linux/unix_ipc/unix_client.h"
#include "vmt_ipc.pb-c.h"

#define UNIX_PATH_MAX 256

/* Asking the kernel whether a daemon listens again costs it and us next to nothing. */
#define RECONNECT_MIN_MS 50
#define RECONNECT_MAX_MS 1000

struct unix_client {
    struct rpc_channel *rpc; /* owned */
    char *service;           /* owned */
    struct vmt_list calls;   /* each owned until it is over */
    bool open;               /* there is a connection, and its end is told */
    void (*on_closed)(void *arg, const char *reason);
    void *arg; /* borrowed */
};

struct unix_client_call {
    struct vmt_list node;
    struct unix_client *client;     /* borrowed */
    struct rpc_channel_call *rpc;   /* borrowed until over */
    struct ProtobufCMessage *reply; /* owned; the answer until the status is here */
    int fds[VMT_FDS_MAX];           /* owned */
    size_t nfds;
    bool has_result;
    unix_client_done_fn *on_done; /* a call, or else a subscription */
    void *arg;                    /* borrowed */
    struct unix_client_subscription subscription;
};

static void
call_free(struct unix_client_call *c)
{
    if (!c)
        return;
    vmt_list_remove(&c->node);
    for (size_t i = 0; i < c->nfds; i++)
        vmt_closep(&c->fds[i]);
    if (c->reply)
        protobuf_c_message_free_unpacked(c->reply, NULL);
    free(c);
}

VMT_DEFINE_FREEP(struct unix_client_call, call_free)

/* A copy by way of the wire; NULL: no memory. */
static struct ProtobufCMessage *
message_copy(const struct ProtobufCMessage *m)
{
    size_t len = protobuf_c_message_get_packed_size(m);
    VMT_CLEANUP(vmt_freep) uint8_t *bytes = malloc(len ? len : 1);

    if (!bytes)
        return NULL;
    (void)protobuf_c_message_pack(m, bytes);
    return protobuf_c_message_unpack(m->descriptor, NULL, len, bytes);
}

static void
call_on_message(void *arg, const struct ProtobufCMessage *reply, const int *fds,
                size_t nfds)
{
    struct unix_client_call *c = arg;

    if (c->has_result && !c->reply)
        c->reply = message_copy(reply);
    for (size_t i = 0; i < nfds; i++) {
        int fd = fds[i];

        if (c->nfds < VMT_ARRAY_SIZE(c->fds))
            c->fds[c->nfds++] = fd;
        else
            vmt_closep(&fd);
    }
}

static void
call_on_done(void *arg, const struct rpc_status *status)
{
    VMT_CLEANUP(call_freep) struct unix_client_call *c = arg;
    struct rpc_status lost;
    size_t nfds = c->nfds;

    vmt_list_remove(&c->node);
    if (status->code == RPC_OK && c->has_result && !c->reply)
        status = rpc_status_set(&lost, RPC_RESOURCE_EXHAUSTED, "out of memory");
    if (status->code != RPC_OK) {
        c->on_done(c->arg, status, NULL, NULL, 0);
        return;
    }
    c->nfds = 0; /* the callee's from here on */
    c->on_done(c->arg, status, c->reply, c->fds, nfds);
}

static const struct rpc_client_handler call_handler = {.on_message = call_on_message,
                                                       .on_done = call_on_done};

static void
subscription_on_message(void *arg, const struct ProtobufCMessage *reply, const int *fds,
                        size_t nfds)
{
    struct unix_client_call *c = arg;
    const Vmt__Signal *signal = (const Vmt__Signal *)reply;

    for (size_t i = 0; i < nfds; i++) {
        int fd = fds[i];

        vmt_closep(&fd);
    }
    if (signal->name[0] != '\0')
        c->subscription.on_signal(c->subscription.arg, signal->name, signal->message.data,
                                  signal->message.len);
    else if (c->subscription.on_ready)
        c->subscription.on_ready(c->subscription.arg);
}

static void
subscription_on_done(void *arg, const struct rpc_status *status)
{
    VMT_CLEANUP(call_freep) struct unix_client_call *c = arg;

    vmt_list_remove(&c->node);
    c->subscription.on_end(c->subscription.arg, status);
}

static const struct rpc_client_handler subscription_handler = {
    .on_message = subscription_on_message, .on_done = subscription_on_done};

static void
client_on_state(void *arg, enum rpc_channel_state state, const char *reason)
{
    struct unix_client *client = arg;
    bool was_open = client->open;

    if (state == RPC_CHANNEL_CONNECTING)
        return;
    client->open = state == RPC_CHANNEL_READY;
    if (was_open && !client->open && client->on_closed)
        client->on_closed(client->arg, reason);
}

void
unix_client_free(struct unix_client *client)
{
    if (!client)
        return;
    rpc_channel_free(client->rpc);
    VMT_LIST_FOREACH(node, next, &client->calls)
    {
        call_free(VMT_CONTAINER_OF(node, struct unix_client_call, node));
    }
    free(client->service);
    free(client);
}

VMT_DEFINE_FREEP(struct unix_client, unix_client_free)

static void
stream_closep(struct stream **s)
{
    stream_close(*s);
}

/* The first connection is made at once, so that the caller learns that nobody listens. */
static int
client_connect(struct os_loop *loop, struct unix_client *client, const char *path,
               struct vmt_err *err)
{
    VMT_CLEANUP(stream_closep) struct stream *stream = NULL;
    VMT_CLEANUP(vmt_closep) int fd = -1;
    int r = os_unix_connect(path, &fd, err);

    if (r < 0)
        return r;
    r = os_stream_new(loop, fd, NULL, &stream, err);
    if (r < 0)
        return r;
    (void)vmt_take_fd(&fd);
    r = rpc_channel_adopt(client->rpc, stream, err);
    if (r < 0)
        return r;
    (void)vmt_take_ptr(&stream);
    client->open = true;
    return 0;
}

static int
client_open_channel(struct os_loop *loop, struct unix_client *client, const char *path,
                    struct vmt_err *err)
{
    struct rpc_channel_config config = {.backoff_initial_ms = RECONNECT_MIN_MS,
                                        .backoff_max_ms = RECONNECT_MAX_MS,
                                        .lazy = true,
                                        .on_state = client_on_state,
                                        .arg = client};
    struct connector *connector = NULL;
    int r = connector_unix_new(loop, path, &connector, err);

    if (r < 0)
        return r;
    r = rpc_channel_new(os_loop_clock(loop), connector, &config, &client->rpc, err);
    if (r < 0)
        connector_free(connector);
    return r;
}

int
unix_client_new(struct os_loop *loop, const struct unix_client_config *config,
                struct unix_client **ret_client, struct vmt_err *err)
{
    VMT_CLEANUP(unix_client_freep)
    struct unix_client *client = calloc(1, sizeof(*client));
    int r;

    if (!client)
        return vmt_err_set(err, ENOMEM, "create ipc client");
    vmt_list_init(&client->calls);
    client->on_closed = config->on_closed;
    client->arg = config->arg;
    client->service = strdup(config->service);
    if (!client->service)
        return vmt_err_set(err, ENOMEM, "create ipc client");
    r = client_open_channel(loop, client, config->path, err);
    if (r == 0)
        r = client_connect(loop, client, config->path, err);
    if (r < 0)
        return r;
    *ret_client = vmt_take_ptr(&client);
    return 0;
}

/* Start c on the wire as method; c is its client's from success on. */
static int
client_start(struct unix_client_call *c, const char *method,
             struct rpc_client_request *rpc, const struct ProtobufCMessage *message,
             struct vmt_err *err)
{
    VmTools__EmptyMessage empty = VM_TOOLS__EMPTY_MESSAGE__INIT;
    char path[UNIX_PATH_MAX];
    int n = snprintf(path, sizeof(path), "/%s/%s", c->client->service, method);
    int r;

    if (n < 0 || (size_t)n >= sizeof(path))
        return vmt_err_setx(err, EINVAL, "method name %s is too long", method);
    rpc->path = path;
    rpc->arg = c;
    r = rpc_channel_start(c->client->rpc, rpc, message ? message : &empty.base, &c->rpc,
                          err);
    rpc->path = NULL;
    if (r == 0)
        vmt_list_append(&c->client->calls, &c->node);
    return r;
}

int
unix_client_start(struct unix_client *client, const struct unix_client_request *request,
                  struct unix_client_call **ret_call, struct vmt_err *err)
{
    VMT_CLEANUP(call_freep) struct unix_client_call *c = calloc(1, sizeof(*c));
    struct rpc_client_request rpc = {
        .reply = request->reply ? request->reply : &vm_tools__empty_message__descriptor,
        .timeout_ms = request->timeout_ms,
        .reply_max = request->reply_max,
        .handler = &call_handler,
        .fds = request->fds,
        .nfds = request->nfds};
    int r;

    if (!c)
        return vmt_err_set(err, ENOMEM, "call %s", request->method);
    c->client = client;
    c->has_result = request->reply != NULL;
    c->on_done = request->on_done;
    c->arg = request->arg;
    r = client_start(c, request->method, &rpc, request->message, err);
    if (r < 0)
        return r;
    if (ret_call)
        *ret_call = c;
    (void)vmt_take_ptr(&c);
    return 0;
}

int
unix_client_subscribe(struct unix_client *client,
                      const struct unix_client_subscription *subscription,
                      struct unix_client_call **ret_call, struct vmt_err *err)
{
    VMT_CLEANUP(call_freep) struct unix_client_call *c = calloc(1, sizeof(*c));
    struct rpc_client_request rpc = {.reply = &vmt__signal__descriptor,
                                     .server_streams = true,
                                     .handler = &subscription_handler};
    int r;

    if (!c)
        return vmt_err_set(err, ENOMEM, "subscribe to signals");
    c->client = client;
    c->subscription = *subscription;
    r = client_start(c, "SubscribeSignals", &rpc, NULL, err);
    if (r < 0)
        return r;
    if (ret_call)
        *ret_call = c;
    (void)vmt_take_ptr(&c);
    return 0;
}

void
unix_client_cancel(struct unix_client_call *call)
{
    if (!call)
        return;
    rpc_channel_cancel(call->rpc);
    call_free(call);
}
