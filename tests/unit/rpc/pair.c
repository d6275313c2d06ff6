/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/rpc/pair.h"

#include <stdio.h>
#include <string.h>

#include "tests/unit/test.h"

static void
pair_on_closed(void *arg, const char *reason)
{
    struct pair *pair = arg;

    pair->closed++;
    (void)snprintf(pair->reason, sizeof(pair->reason), "%s", reason);
}

void
pair_init(struct pair *pair, const struct rpc_server_config *config)
{
    const struct rpc_client_config client = {0};

    pair_init_both(pair, config, &client);
}

void
pair_init_both(struct pair *pair, const struct rpc_server_config *config,
               const struct rpc_client_config *client_config)
{
    struct rpc_client_config client = *client_config;

    client.on_closed = pair_on_closed;
    client.arg = pair;
    memset(pair, 0, sizeof(*pair));
    wire_clock_init(&pair->clock);
    wire_init(&pair->wire);
    assert_int_equal(rpc_server_new(&pair->clock.base, config, &pair->server, NULL), 0);
    assert_int_equal(rpc_server_add(pair->server, &rpctest_service, &pair->test, NULL),
                     0);
    rpc_server_accept(pair->server, &pair->wire.ends[1].base, NULL);
    assert_int_equal(rpc_client_new(&pair->clock.base, &pair->wire.ends[0].base, &client,
                                    &pair->client, NULL),
                     0);
}

void
pair_done(struct pair *pair)
{
    rpc_client_free(pair->client);
    rpc_server_free(pair->server);
    wire_done(&pair->wire);
    assert_int_equal(pair->clock.ntimers, 0);
}

static void
pair_call_on_message(void *arg, const struct ProtobufCMessage *message, const int *fds,
                     size_t nfds)
{
    const Vmt__Rpctest__Reply *reply = (const Vmt__Rpctest__Reply *)message;
    struct pair_call *call = arg;

    assert_int_equal(call->dones, 0);
    call->messages++;
    call->number = reply->number;
    call->data_len = reply->data.len;
    call->bytes += reply->data.len;
    call->compressed += rpc_client_compressed(call->call);
    (void)snprintf(call->text, sizeof(call->text), "%s", reply->text);
    assert_true(nfds <= VMT_ARRAY_SIZE(call->fds));
    memcpy(call->fds, fds, nfds * sizeof(*fds));
    call->nfds = nfds;
    if (call->pause_on_message)
        rpc_client_pause(call->call, true);
    if (call->cancel_on_message)
        rpc_client_cancel(call->call);
    if (call->free_on_message) {
        rpc_client_free(call->pair->client);
        call->pair->client = NULL;
    }
}

static void
pair_call_on_done(void *arg, const struct rpc_status *status)
{
    struct pair_call *call = arg;

    call->dones++;
    call->call = NULL;
    call->status = *status;
    if (call->free_on_done) {
        rpc_client_free(call->pair->client);
        call->pair->client = NULL;
    }
}

static void
pair_print(char *out, size_t size, const struct rpc_metadata *metadata)
{
    const struct rpc_metadata_entry *e = metadata->first;
    size_t used = 0;

    out[0] = '\0';
    for (; e; e = e->next)
        used += (size_t)snprintf(out + used, used < size ? size - used : 0, "%s=%.*s;",
                                 e->key, (int)e->len, (const char *)e->value);
    assert_true(used < size);
}

static void
pair_call_on_initial(void *arg, const struct rpc_metadata *metadata)
{
    struct pair_call *call = arg;

    call->initials++;
    pair_print(call->initial, sizeof(call->initial), metadata);
    if (call->cancel_on_initial)
        rpc_client_cancel(call->call);
}

static void
pair_call_on_trailing(void *arg, const struct rpc_metadata *metadata)
{
    struct pair_call *call = arg;

    call->trailings++;
    pair_print(call->trailing, sizeof(call->trailing), metadata);
    if (call->free_on_trailing) {
        rpc_client_free(call->pair->client);
        call->pair->client = NULL;
    }
}

static void
pair_call_on_drain(void *arg)
{
    ((struct pair_call *)arg)->drains++;
}

static const struct rpc_client_handler pair_handler = {
    .on_message = pair_call_on_message,
    .on_done = pair_call_on_done,
    .on_initial = pair_call_on_initial,
    .on_trailing = pair_call_on_trailing,
    .on_drain = pair_call_on_drain,
};

static int
pair_start_request(struct pair *pair, struct pair_call *call,
                   struct rpc_client_request *request,
                   const Vmt__Rpctest__Request *message)
{
    call->pair = pair;
    call->call = NULL;
    call->messages = call->dones = call->drains = 0;
    call->bytes = call->nfds = call->compressed = 0;
    call->initials = call->trailings = 0;
    call->initial[0] = call->trailing[0] = '\0';
    request->metadata = pair->metadata;
    request->encoding = pair->encoding;
    request->reply_max = pair->reply_max;
    request->reply = &vmt__rpctest__reply__descriptor;
    request->server_streams =
        strstr(request->path, "Count") || strstr(request->path, "Chat");
    request->handler = &pair_handler;
    request->arg = call;
    return rpc_client_start(pair->client, request, message ? &message->base : NULL,
                            &call->call, NULL);
}

int
pair_start(struct pair *pair, struct pair_call *call, const char *path,
           const Vmt__Rpctest__Request *message, uint32_t timeout_ms)
{
    struct rpc_client_request request = {.path = path, .timeout_ms = timeout_ms};
    Vmt__Rpctest__Request empty = rpctest_request();

    return pair_start_request(pair, call, &request, message ? message : &empty);
}

int
pair_open(struct pair *pair, struct pair_call *call, const char *path,
          uint32_t timeout_ms)
{
    struct rpc_client_request request = {
        .path = path, .timeout_ms = timeout_ms, .client_streams = true};

    return pair_start_request(pair, call, &request, NULL);
}

int
pair_start_fds(struct pair *pair, struct pair_call *call, const char *path,
               const int *fds, size_t nfds)
{
    struct rpc_client_request request = {.path = path, .fds = fds, .nfds = nfds};
    Vmt__Rpctest__Request empty = rpctest_request();

    return pair_start_request(pair, call, &request, &empty);
}

void
pair_run(struct pair *pair, struct pair_call *call, const char *path,
         const Vmt__Rpctest__Request *message)
{
    assert_int_equal(pair_start(pair, call, path, message, 0), 0);
    assert_int_equal(call->messages + call->dones, 0);
    wire_settle(&pair->clock, &pair->wire);
    assert_int_equal(call->dones, 1);
}
