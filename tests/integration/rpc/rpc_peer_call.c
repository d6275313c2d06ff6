/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/adapter/clock.h"
#include "core/base/cleanup.h"
#include "core/rpc/client.h"
#include "platform/linux/os/loop.h"
#include "tests/integration/rpc/rpc_peer.h"
#include "tests/unit/rpc/service.h"

/* What the command line asks for. */
struct peer_plan {
    struct os_loop *loop;
    struct rpc_client *client;
    char path[128];
    const char *text;
    unsigned long number, size, timeout, count; /* count: calls at the same time */
    unsigned long cancel; /* this many calls are cancelled at their first reply */
    unsigned long sends;  /* requests of each call; 0: one, and no stream */
    unsigned long gzip, pause;
    const Vmt__Rpctest__Request *message;
    size_t over;
    struct rpc_metadata metadata;
};

struct peer_result {
    struct peer_plan *plan;
    struct rpc_client_call *call;
    size_t messages, bytes, sent, compressed;
    uint32_t number;
    char text[600];
    bool cancel;
    char initial[600], trailing[600];
};

static void
result_over(struct peer_result *result, const char *code, const char *status_text)
{
    struct peer_plan *plan = result->plan;

    (void)printf("%s\t%zu\t%zu\t%u\t%s\t%s\t%s\t%s\t%zu\n", code, result->messages,
                 result->bytes, result->number, result->text, status_text,
                 result->initial, result->trailing, result->compressed);
    if (++plan->over == plan->count)
        os_loop_stop(plan->loop, 0);
}

static void
result_on_resume(void *arg)
{
    struct peer_result *result = arg;

    rpc_client_pause(result->call, false);
}

/* Until the next turn of the loop. */
static void
result_pause(struct peer_result *result)
{
    struct vmt_clock *clock = os_loop_clock(result->plan->loop);
    struct vmt_timer *timer;

    if (clock->ops->timer_start(clock, 0, result_on_resume, result, &timer) == 0)
        rpc_client_pause(result->call, true);
}

static void
result_on_message(void *arg, const struct ProtobufCMessage *message, const int *fds,
                  size_t nfds)
{
    const Vmt__Rpctest__Reply *reply = (const Vmt__Rpctest__Reply *)message;
    struct peer_result *result = arg;

    (void)fds, (void)nfds;
    result->messages++;
    result->bytes += reply->data.len;
    result->compressed += rpc_client_compressed(result->call);
    result->number = reply->number;
    (void)snprintf(result->text, sizeof(result->text), "%s", reply->text);
    if (result->plan->pause)
        result_pause(result);
    if (result->cancel) {
        rpc_client_cancel(result->call);
        result_over(result, "cancelled here", "");
    }
}

static void
result_on_done(void *arg, const struct rpc_status *status)
{
    result_over(arg, rpc_code_name(status->code), status->text);
}

static void
result_print(char *out, size_t size, const struct rpc_metadata *metadata)
{
    const struct rpc_metadata_entry *e = metadata->first;
    FILE *f = fmemopen(out, size, "w");

    for (; f && e; e = e->next) {
        (void)fprintf(f, "%s%s:", e == metadata->first ? "" : ",", e->key);
        for (size_t i = 0; i < e->len; i++)
            (void)fprintf(f, "%02x", e->value[i]);
    }
    if (f)
        (void)fclose(f);
}

static void
result_on_initial(void *arg, const struct rpc_metadata *metadata)
{
    struct peer_result *result = arg;

    result_print(result->initial, sizeof(result->initial), metadata);
}

static void
result_on_trailing(void *arg, const struct rpc_metadata *metadata)
{
    struct peer_result *result = arg;

    result_print(result->trailing, sizeof(result->trailing), metadata);
}

/* Some at a time; the last ends the requests. */
static void
result_on_drain(void *arg)
{
    struct peer_result *result = arg;
    struct peer_plan *plan = result->plan;

    while (result->sent < plan->sends && rpc_client_queued(result->call) < 65536 &&
           rpc_client_send(result->call, &plan->message->base) == 0)
        rpc_client_compress(result->call, ++result->sent % 2 == 0);
    if (result->sent == plan->sends)
        rpc_client_half_close(result->call);
}

static const struct rpc_client_handler result_handler = {
    .on_message = result_on_message,
    .on_done = result_on_done,
    .on_initial = result_on_initial,
    .on_trailing = result_on_trailing,
    .on_drain = result_on_drain,
};

/* KEY:HEX */
static int
plan_add_metadata(struct peer_plan *plan, const char *arg)
{
    const char *colon = strchr(arg, ':');
    uint8_t value[256];
    char key[64];
    size_t n = 0;

    if (!colon || colon - arg >= (ssize_t)sizeof(key))
        return -1;
    (void)snprintf(key, sizeof(key), "%.*s", (int)(colon - arg), arg);
    for (const char *at = colon + 1; at[0] && at[1] && n < sizeof(value); at += 2) {
        const char digits[] = {at[0], at[1], '\0'};

        value[n++] = (uint8_t)strtoul(digits, NULL, 16);
    }
    return rpc_metadata_add(&plan->metadata, key, value, n);
}

static int
plan_set(struct peer_plan *plan, const char *arg)
{
    const struct {
        const char *key;
        unsigned long *value;
    } keys[] = {{"number=", &plan->number},   {"size=", &plan->size},
                {"timeout=", &plan->timeout}, {"count=", &plan->count},
                {"cancel=", &plan->cancel},   {"sends=", &plan->sends},
                {"gzip=", &plan->gzip},       {"pause=", &plan->pause}};

    if (strncmp(arg, "text=", 5) == 0) {
        plan->text = arg + 5;
        return 0;
    }
    if (strncmp(arg, "meta=", 5) == 0)
        return plan_add_metadata(plan, arg + 5);
    for (size_t i = 0; i < VMT_ARRAY_SIZE(keys); i++) {
        if (strncmp(arg, keys[i].key, strlen(keys[i].key)) == 0) {
            *keys[i].value = strtoul(arg + strlen(keys[i].key), NULL, 10);
            return 0;
        }
    }
    (void)fprintf(stderr, "rpc_peer: unknown argument %s\n", arg);
    return -1;
}

static int
plan_start(struct peer_plan *plan, struct peer_result *result,
           const Vmt__Rpctest__Request *message)
{
    const struct rpc_client_request request = {
        .path = plan->path,
        .reply = &vmt__rpctest__reply__descriptor,
        .server_streams = strstr(plan->path, "Count") || strstr(plan->path, "Chat"),
        .client_streams = plan->sends > 0,
        .timeout_ms = (uint32_t)plan->timeout,
        .handler = &result_handler,
        .arg = result,
        .metadata = &plan->metadata,
        .encoding = plan->gzip ? RPC_GZIP : RPC_IDENTITY,
    };

    int r;

    result->plan = plan;
    plan->message = message;
    r = rpc_client_start(plan->client, &request, plan->sends > 0 ? NULL : &message->base,
                         &result->call, NULL);
    if (r == 0 && plan->sends > 0)
        result_on_drain(result);
    return r;
}

static int
plan_run(struct peer_plan *plan)
{
    VMT_CLEANUP(vmt_freep)
    struct peer_result *results = calloc(plan->count, sizeof(*results));
    VMT_CLEANUP(vmt_freep) uint8_t *data = calloc(1, plan->size + 1);
    Vmt__Rpctest__Request message = rpctest_request();

    if (!results || !data)
        return 2;
    message.text = (char *)(uintptr_t)plan->text;
    message.number = (uint32_t)plan->number;
    message.data.data = data;
    message.data.len = plan->size;
    for (size_t i = 0; i < plan->count; i++) {
        results[i].cancel = i < plan->cancel;
        if (plan_start(plan, &results[i], &message) < 0)
            return 2;
    }
    rpc_metadata_done(&plan->metadata);
    (void)os_loop_run(plan->loop);
    rpc_client_free(plan->client);
    return 0;
}

int
rpc_peer_call(struct os_loop *loop, struct stream *stream, int argc, char **argv)
{
    struct peer_plan plan = {.loop = loop, .text = "", .count = 1};

    if (argc < 1)
        return 2;
    (void)snprintf(plan.path, sizeof(plan.path), "%s%s", argv[0][0] == '/' ? "" : "/",
                   argv[0]);
    for (int i = 1; i < argc; i++) {
        if (plan_set(&plan, argv[i]) < 0)
            return 2;
    }
    if (rpc_client_new(os_loop_clock(loop), stream, NULL, &plan.client, NULL) < 0)
        return 2;
    return plan_run(&plan);
}
