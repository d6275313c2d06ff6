/* SPDX-License-Identifier: BSD-3-Clause */
#include <event2/event.h>
#include <protobuf-c/protobuf-c.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common.pb-c.h"
#include "core/base/cleanup.h"
#include "platform/linux/os/loop.h"
#include "platform/linux/unix_ipc/unix_client.h"
#include "tests/contract/ipc/client.h"
#include "tests/contract/ipc/echo.h"
#include "tests/unit/test.h"

struct client_unix {
    struct client base;
    struct os_loop *loop;
    struct unix_client *unix_client;
    bool lost;
    struct signals_seen *seen;
};

static struct client_unix *
unix_of(const struct client *c)
{
    return VMT_CONTAINER_OF((struct client *)(uintptr_t)c, struct client_unix, base);
}

static enum ipc_error
error_of(enum rpc_code code)
{
    static const enum ipc_error errors[RPC_CODE_COUNT] = {
        [RPC_UNKNOWN] = IPC_ERROR_FAILED,
        [RPC_INVALID_ARGUMENT] = IPC_ERROR_INVALID_ARGS,
        [RPC_PERMISSION_DENIED] = IPC_ERROR_ACCESS_DENIED,
        [RPC_UNIMPLEMENTED] = IPC_ERROR_UNKNOWN_METHOD,
        [RPC_RESOURCE_EXHAUSTED] = IPC_ERROR_NO_MEMORY,
    };

    return errors[code];
}

static void
on_closed(void *arg, const char *reason)
{
    struct client_unix *c = arg;

    (void)reason;
    c->lost = true;
}

static struct client *
client_unix_connect(const char *address)
{
    struct client_unix *c = calloc(1, sizeof(*c));
    struct unix_client_config config = {.path = address,
                                        .service = echo_service.grpc_name,
                                        .on_closed = on_closed,
                                        .arg = c};

    assert_non_null(c);
    c->base.ops = &client_unix_ops;
    assert_int_equal(os_loop_new(&c->loop, NULL), 0);
    if (unix_client_new(c->loop, &config, &c->unix_client, NULL) == 0)
        return &c->base;
    os_loop_free(c->loop);
    free(c);
    return NULL;
}

static void
on_done(void *arg, const struct rpc_status *status, const struct ProtobufCMessage *reply,
        const int *fds, size_t nfds)
{
    struct answer *a = arg;

    assert_false(a->done);
    a->done = true;
    a->ok = status->code == RPC_OK;
    if (!a->ok)
        a->code = error_of(status->code);
    (void)snprintf(a->text, sizeof(a->text), "%s", status->text);
    if (reply) {
        size_t len = protobuf_c_message_get_packed_size(reply);
        uint8_t *bytes = malloc(len + 1);

        assert_non_null(bytes);
        (void)protobuf_c_message_pack(reply, bytes);
        a->message = protobuf_c_message_unpack(reply->descriptor, NULL, len, bytes);
        assert_non_null(a->message);
        free(bytes);
    }
    assert_true(nfds <= VMT_FDS_MAX);
    for (size_t i = 0; i < nfds; i++)
        a->fds[i] = fds[i];
    a->nfds = nfds;
}

static void
client_unix_start(struct client *client, const struct call_spec *spec, struct answer *a)
{
    struct unix_client_request request = {.method = spec->method,
                                          .message = spec->message,
                                          .reply = spec->reply,
                                          .fds = spec->fds,
                                          .nfds = spec->nfds,
                                          .on_done = on_done,
                                          .arg = a};
    struct ProtobufCMessage *junk = NULL;

    if (spec->bytes) { /* fields that the empty message does not know go out as they are
                        */
        junk = protobuf_c_message_unpack(&vm_tools__empty_message__descriptor, NULL,
                                         spec->len, spec->bytes);
        assert_non_null(junk);
        request.message = junk;
    }
    memset(a, 0, sizeof(*a));
    assert_int_equal(
        unix_client_start(unix_of(client)->unix_client, &request, NULL, NULL), 0);
    if (junk)
        protobuf_c_message_free_unpacked(junk, NULL);
}

static void
on_ready(void *arg)
{
    struct client_unix *c = arg;

    c->seen->ready = true;
}

static void
on_signal(void *arg, const char *name, const uint8_t *bytes, size_t len)
{
    struct client_unix *c = arg;

    assert_string_equal(name, "Rose");
    c->seen->count++;
    c->seen->len = len;
    if (len && len <= sizeof(c->seen->bytes))
        memcpy(c->seen->bytes, bytes, len);
}

static void
on_end(void *arg, const struct rpc_status *status)
{
    struct client_unix *c = arg;

    (void)status;
    c->seen->ended = true;
}

static void
client_unix_subscribe(struct client *client, struct signals_seen *seen)
{
    struct client_unix *c = unix_of(client);
    struct unix_client_subscription subscription = {
        .on_ready = on_ready, .on_signal = on_signal, .on_end = on_end, .arg = c};

    c->seen = seen;
    assert_int_equal(unix_client_subscribe(c->unix_client, &subscription, NULL, NULL), 0);
}

static void
on_turn_over(void *arg)
{
    *(struct vmt_timer **)arg = NULL;
}

static void
client_unix_turn(struct client *client)
{
    struct client_unix *c = unix_of(client);
    struct vmt_clock *clock = os_loop_clock(c->loop);
    struct vmt_timer *timer = NULL;

    assert_int_equal(clock->ops->timer_start(clock, 50, on_turn_over, &timer, &timer), 0);
    (void)event_base_loop(os_loop_base(c->loop), EVLOOP_ONCE);
    clock->ops->timer_cancel(clock, timer);
}

static bool
client_unix_lost(const struct client *client)
{
    return unix_of(client)->lost;
}

static bool
client_unix_served(const struct client *client)
{
    return !unix_of(client)->lost;
}

static void
client_unix_close(struct client *client)
{
    struct client_unix *c = unix_of(client);

    unix_client_free(c->unix_client);
    os_loop_free(c->loop);
    free(c);
}

const struct client_ops client_unix_ops = {
    .name = "unix",
    .connect = client_unix_connect,
    .start = client_unix_start,
    .subscribe = client_unix_subscribe,
    .turn = client_unix_turn,
    .lost = client_unix_lost,
    .served = client_unix_served,
    .close = client_unix_close,
};
