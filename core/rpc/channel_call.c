/* SPDX-License-Identifier: BSD-3-Clause */
/* A channel's calls: those that wait for a connection, and those on one. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <protobuf-c/protobuf-c.h>

#include "core/adapter/clock.h"
#include "core/base/err.h"
#include "core/rpc/channel_internal.h"
#include "core/rpc/client_internal.h"

static struct rpc_channel_call *
call_at(struct vmt_list *node)
{
    return VMT_CONTAINER_OF(node, struct rpc_channel_call, node);
}

static void
pending_free(struct rpc_channel *ch, struct channel_pending *p)
{
    if (!p)
        return;
    ch->clock->ops->timer_cancel(ch->clock, p->deadline);
    ch->waiting_bytes -= p->bytes;
    ch->nwaiting--;
    VMT_LIST_FOREACH(node, next, &p->messages)
    {
        vmt_list_remove(node);
        free(VMT_CONTAINER_OF(node, struct channel_message, node));
    }
    rpc_metadata_done(&p->metadata);
    rpc_fds_close(p->fds, &p->nfds);
    free(p->path);
    free(p);
}

static void
call_free(struct rpc_channel_call *call)
{
    vmt_list_remove(&call->node);
    pending_free(call->channel, call->pending);
    free(call);
}

void
channel_drop(struct vmt_list *calls)
{
    VMT_LIST_FOREACH(node, next, calls)
    call_free(call_at(node));
}

/* Tell the end of a call that has no connection, or none any more. */
static void
call_end(struct rpc_channel_call *call, const struct rpc_status *status)
{
    const struct rpc_client_handler *handler = call->handler;
    void *arg = call->arg;

    call_free(call);
    if (handler->on_done)
        handler->on_done(arg, status);
}

void
channel_fail_first(struct rpc_channel *ch)
{
    struct rpc_status status;

    (void)rpc_status_set(&status, RPC_UNAVAILABLE, "%s", ch->reason);
    call_end(call_at(ch->failing.next), &status);
}

void
channel_give_up(struct rpc_channel *ch, bool all)
{
    VMT_LIST_FOREACH(node, next, &ch->waiting)
    {
        if (!all && call_at(node)->pending->request.wait_for_ready)
            continue;
        vmt_list_remove(node);
        vmt_list_append(&ch->failing, node);
    }
}

static void
call_on_deadline(void *arg)
{
    struct rpc_channel_call *call = arg;
    struct rpc_channel *ch = call->channel;
    struct rpc_status status;

    call->pending->deadline = NULL;
    (void)rpc_status_set(&status, RPC_DEADLINE_EXCEEDED,
                         "Deadline Exceeded without a connection%s%s",
                         ch->reason[0] ? ": " : "", ch->reason);
    channel_enter(ch);
    call_end(call, &status);
    channel_leave(ch);
}

/* The handler of every call on a connection; each hands on to the owner's. */
static void
call_on_message(void *arg, const struct ProtobufCMessage *reply, const int *fds,
                size_t nfds)
{
    struct rpc_channel_call *call = arg;
    int left[RPC_FDS_MAX];

    if (call->handler->on_message) {
        call->handler->on_message(call->arg, reply, fds, nfds);
        return;
    }
    memcpy(left, fds, nfds * sizeof(*fds));
    rpc_fds_close(left, &nfds);
}

static void
call_on_done(void *arg, const struct rpc_status *status)
{
    struct rpc_channel_call *call = arg;

    channel_link_done(call->link);
    call_end(call, status);
}

static void
call_on_initial(void *arg, const struct rpc_metadata *metadata)
{
    struct rpc_channel_call *call = arg;

    if (call->handler->on_initial)
        call->handler->on_initial(call->arg, metadata);
}

static void
call_on_trailing(void *arg, const struct rpc_metadata *metadata)
{
    struct rpc_channel_call *call = arg;

    if (call->handler->on_trailing)
        call->handler->on_trailing(call->arg, metadata);
}

static void
call_on_drain(void *arg)
{
    struct rpc_channel_call *call = arg;

    if (call->handler->on_drain)
        call->handler->on_drain(call->arg);
}

static const struct rpc_client_handler call_handler = {
    .on_message = call_on_message,
    .on_done = call_on_done,
    .on_initial = call_on_initial,
    .on_trailing = call_on_trailing,
    .on_drain = call_on_drain,
};

/* Start a call on the connection. Returns what rpc_client_start gives. */
static int
call_start(struct rpc_channel_call *call, const struct rpc_client_request *request,
           const struct ProtobufCMessage *message, struct vmt_err *err)
{
    struct channel_link *link = call->channel->link;
    struct rpc_client_request own = *request;
    int r;

    own.handler = &call_handler;
    own.arg = call;
    r = rpc_client_start(link->client, &own, message, &call->call, err);
    if (r < 0)
        return r;
    call->link = link;
    link->ncalls++;
    link->used = true;
    vmt_list_remove(&call->node);
    vmt_list_append(&call->channel->running, &call->node);
    return 0;
}

static struct ProtobufCMessage *
message_unpack(const struct channel_message *m)
{
    return protobuf_c_message_unpack(m->type, NULL, m->len, m->bytes);
}

/* Send what was queued after the call's begin. Returns 0 or -errno. */
static int
pending_send(struct rpc_channel_call *call, const struct channel_pending *p)
{
    int r = 0;

    VMT_LIST_FOREACH(node, next, &p->messages)
    {
        const struct channel_message *m =
            VMT_CONTAINER_OF(node, struct channel_message, node);
        struct ProtobufCMessage *message = r == 0 ? message_unpack(m) : NULL;

        rpc_client_compress(call->call, m->compress);
        if (r == 0)
            r = message ? rpc_client_send(call->call, message) : -ENOMEM;
        if (message)
            protobuf_c_message_free_unpacked(message, NULL);
    }
    rpc_client_compress(call->call, p->compress);
    if (r == 0 && p->half_closed)
        rpc_client_half_close(call->call);
    return r;
}

/* Start a call that waited: a single request goes with it, a stream's requests after it.
 * On failure it may or may not have been started. */
static int
pending_start(struct rpc_channel_call *call, struct vmt_err *err)
{
    struct channel_pending *p = call->pending;
    struct vmt_clock *clock = call->channel->clock;
    struct ProtobufCMessage *message = NULL;
    int r;

    if (p->request.timeout_ms > 0) {
        uint64_t now = clock->ops->now_ms(clock);

        /* What is due already ends right after it was sent. */
        p->request.timeout_ms = p->due_ms > now ? (uint32_t)(p->due_ms - now) : 1;
    }
    if (!p->request.client_streams) {
        message = message_unpack(
            VMT_CONTAINER_OF(p->messages.next, struct channel_message, node));
        if (!message)
            return vmt_err_set(err, ENOMEM, "call %s", p->path);
    }
    r = call_start(call, &p->request, message, err);
    if (message)
        protobuf_c_message_free_unpacked(message, NULL);
    if (r < 0)
        return r;
    r = p->request.client_streams ? pending_send(call, p) : 0;
    if (r < 0)
        return vmt_err_set(err, -r, "call %s", p->path);
    if (p->paused)
        rpc_client_pause(call->call, true);
    return 0;
}

static void
call_fail_start(struct rpc_channel_call *call, int code, const struct vmt_err *err)
{
    bool resource = code == -ENOMEM || code == -EMSGSIZE;
    struct rpc_status status;

    (void)rpc_status_set(&status, resource ? RPC_RESOURCE_EXHAUSTED : RPC_INTERNAL, "%s",
                         vmt_err_text(err));
    if (call->link) {
        rpc_client_cancel(call->call);
        channel_link_done(call->link);
    }
    call_end(call, &status);
}

/* Why a connection that seemed READY takes no calls. */
static const char *
link_reason(const struct channel_link *link)
{
    return link->client->base.lost ? link->client->base.reason
                                   : "the server is going away";
}

void
channel_flush(struct rpc_channel *ch)
{
    struct rpc_channel_call *call = call_at(ch->waiting.next);
    struct vmt_err err = {0};
    int r = pending_start(call, &err);

    if (r == -ENOTCONN) {
        channel_retire(ch, link_reason(ch->link));
        return;
    }
    if (r < 0) {
        call_fail_start(call, r, &err);
        return;
    }
    pending_free(ch, call->pending);
    call->pending = NULL;
}

/* Keep a copy of message. Returns 0, -ENOMEM, -ENOBUFS, -EMSGSIZE. */
static int
pending_add(struct rpc_channel *ch, struct channel_pending *p,
            const struct ProtobufCMessage *message)
{
    size_t len = protobuf_c_message_get_packed_size(message);
    size_t framed = len + RPC_FRAME_PREFIX;
    struct channel_message *m;

    if (len > UINT32_MAX)
        return -EMSGSIZE;
    if (framed > ch->config.waiting_bytes_max ||
        ch->waiting_bytes > ch->config.waiting_bytes_max - framed)
        return -ENOBUFS;
    m = malloc(sizeof(*m) + len);
    if (!m)
        return -ENOMEM;
    m->type = message->descriptor;
    m->compress = p->compress;
    m->len = protobuf_c_message_pack(message, m->bytes);
    vmt_list_append(&p->messages, &m->node);
    p->bytes += framed;
    ch->waiting_bytes += framed;
    return 0;
}

static int
pending_copy_fds(struct channel_pending *p)
{
    const struct rpc_client_request *request = &p->request;

    if (request->nfds > RPC_FDS_MAX)
        return -EINVAL;
    for (size_t i = 0; i < request->nfds; i++) {
        int fd = vmt_dup_fd(request->fds[i]);

        if (fd < 0)
            return fd;
        p->fds[p->nfds++] = fd;
    }
    return 0;
}

static int
pending_copy_metadata(struct channel_pending *p)
{
    const struct rpc_metadata *from = p->request.metadata;
    const struct rpc_metadata_entry *e = from ? from->first : NULL;
    int r = 0;

    for (; e && r == 0; e = e->next)
        r = rpc_metadata_add(&p->metadata, e->key, e->value, e->len);
    return r;
}

static int
pending_arm(struct rpc_channel_call *call)
{
    struct vmt_clock *clock = call->channel->clock;
    struct channel_pending *p = call->pending;

    if (p->request.timeout_ms == 0)
        return 0;
    p->due_ms = clock->ops->now_ms(clock) + p->request.timeout_ms;
    return clock->ops->timer_start(clock, p->request.timeout_ms, call_on_deadline, call,
                                   &p->deadline);
}

/* Copy all that the call needs when its connection is there. */
static int
call_queue(struct rpc_channel_call *call, const struct rpc_client_request *request,
           const struct ProtobufCMessage *message)
{
    struct rpc_channel *ch = call->channel;
    struct channel_pending *p;
    int r;

    if (!message && !request->client_streams)
        return -EINVAL;
    if (ch->nwaiting >= ch->config.waiting_max)
        return -ENOBUFS;
    p = calloc(1, sizeof(*p));
    if (!p)
        return -ENOMEM;
    call->pending = p;
    ch->nwaiting++;
    vmt_list_init(&p->messages);
    p->compress = true;
    p->request = *request;
    p->path = strdup(request->path);
    r = p->path ? pending_copy_fds(p) : -ENOMEM;
    if (r == 0)
        r = pending_copy_metadata(p);
    if (r == 0 && message)
        r = pending_add(ch, p, message);
    if (r == 0)
        r = pending_arm(call);
    if (r == 0)
        r = channel_turn(ch);
    if (r < 0)
        return r;
    p->request.path = p->path;
    p->request.fds = p->fds;
    p->request.metadata = &p->metadata;
    vmt_list_append(ch->state == RPC_CHANNEL_TRANSIENT_FAILURE && !request->wait_for_ready
                        ? &ch->failing
                        : &ch->waiting,
                    &call->node);
    return 0;
}

int
rpc_channel_start(struct rpc_channel *ch, const struct rpc_client_request *request,
                  const struct ProtobufCMessage *message,
                  struct rpc_channel_call **ret_call, struct vmt_err *err)
{
    struct rpc_channel_call *call;
    int r = -ENOTCONN;

    if (ch->state == RPC_CHANNEL_SHUTDOWN)
        return vmt_err_set(err, ESHUTDOWN, "call %s", request->path);
    call = calloc(1, sizeof(*call));
    if (!call)
        return vmt_err_set(err, ENOMEM, "call %s", request->path);
    call->channel = ch;
    call->handler = request->handler;
    call->arg = request->arg;
    /* In order: after those that wait. */
    if (ch->state == RPC_CHANNEL_READY && vmt_list_empty(&ch->waiting))
        r = call_start(call, request, message, err);
    if (r == -ENOTCONN) {
        r = call_queue(call, request, message);
        if (r < 0)
            (void)vmt_err_set(err, -r, "call %s", request->path);
    }
    if (r < 0) {
        call_free(call);
        return r;
    }
    if (ret_call)
        *ret_call = call;
    return 0;
}

int
rpc_channel_send(struct rpc_channel_call *call, const struct ProtobufCMessage *message)
{
    struct channel_pending *p = call->pending;

    if (!p)
        return rpc_client_send(call->call, message);
    if (!p->request.client_streams || p->half_closed)
        return -EPIPE;
    return pending_add(call->channel, p, message);
}

void
rpc_channel_compress(struct rpc_channel_call *call, bool on)
{
    if (call->pending)
        call->pending->compress = on;
    else
        rpc_client_compress(call->call, on);
}

bool
rpc_channel_compressed(const struct rpc_channel_call *call)
{
    return !call->pending && rpc_client_compressed(call->call);
}

void
rpc_channel_pause(struct rpc_channel_call *call, bool paused)
{
    if (call->pending)
        call->pending->paused = paused;
    else
        rpc_client_pause(call->call, paused);
}

size_t
rpc_channel_queued(const struct rpc_channel_call *call)
{
    return call->pending ? call->pending->bytes : rpc_client_queued(call->call);
}

void
rpc_channel_half_close(struct rpc_channel_call *call)
{
    if (call->pending)
        call->pending->half_closed = true;
    else
        rpc_client_half_close(call->call);
}

void
rpc_channel_cancel(struct rpc_channel_call *call)
{
    if (!call)
        return;
    if (call->link) {
        rpc_client_cancel(call->call);
        channel_link_done(call->link);
    }
    call_free(call);
}
