/* SPDX-License-Identifier: BSD-3-Clause */
/* Health and reflection while the connection breaks or memory ends: every call is
 * answered exactly once, and nothing leaks (the sanitizer says so). */
#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "core/rpc/health.h"
#include "grpc/health/v1/health.pb-c.h"
#include "grpc/reflection/v1/reflection.pb-c.h"
#include "tests/unit/rpc/alloc.h"
#include "tests/unit/rpc/pair.h"
#include "tests/unit/test.h"

#define HEALTH "/grpc.health.v1.Health/"
#define REFLECTION "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
#define CALLS 4

struct asked {
    struct rpc_client_call *call;
    size_t messages, dones;
    enum rpc_code code;
};

static void
on_message(void *arg, const struct ProtobufCMessage *message, const int *fds, size_t nfds)
{
    (void)message, (void)fds, (void)nfds;
    ((struct asked *)arg)->messages++;
}

static void
on_done(void *arg, const struct rpc_status *status)
{
    struct asked *a = arg;

    a->call = NULL;
    a->dones++;
    a->code = status->code;
}

static const struct rpc_client_handler handler = {.on_message = on_message,
                                                  .on_done = on_done};

static void
ask_reflection(struct asked *a)
{
    Grpc__Reflection__V1__ServerReflectionRequest request;
    char symbol[] = "vmt.rpctest.Test";

    grpc__reflection__v1__server_reflection_request__init(&request);
    request.message_request_case =
        GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_CONTAINING_SYMBOL;
    request.file_containing_symbol = symbol;
    (void)rpc_client_send(a->call, &request.base);
    request.message_request_case =
        GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_LIST_SERVICES;
    (void)rpc_client_send(a->call, &request.base);
    request.message_request_case =
        GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_ALL_EXTENSION_NUMBERS_OF_TYPE;
    (void)rpc_client_send(a->call, &request.base);
    rpc_client_half_close(a->call);
}

/* One call of each kind. */
static void
start_some(struct pair *pair, struct asked *calls)
{
    static const char *const paths[CALLS] = {HEALTH "Check", HEALTH "Watch",
                                             HEALTH "List", REFLECTION};
    static const ProtobufCMessageDescriptor *const replies[CALLS] = {
        &grpc__health__v1__health_check_response__descriptor,
        &grpc__health__v1__health_check_response__descriptor,
        &grpc__health__v1__health_list_response__descriptor,
        &grpc__reflection__v1__server_reflection_response__descriptor};
    Grpc__Health__V1__HealthCheckRequest message;

    grpc__health__v1__health_check_request__init(&message); /* List takes it as well */
    memset(calls, 0, CALLS * sizeof(*calls));
    for (size_t i = 0; i < CALLS; i++) {
        const struct rpc_client_request request = {.path = paths[i],
                                                   .reply = replies[i],
                                                   .server_streams = i % 2,
                                                   .client_streams = i == 3,
                                                   .timeout_ms = 400,
                                                   .handler = &handler,
                                                   .arg = &calls[i]};

        (void)rpc_client_start(pair->client, &request, i < 3 ? &message.base : NULL,
                               &calls[i].call, NULL);
        if (!calls[i].call)
            calls[i].dones = 1; /* it was refused, which is an answer */
        else if (i == 3)
            ask_reflection(&calls[i]);
    }
}

static void
check_answered_once(const struct asked *calls)
{
    for (size_t i = 0; i < CALLS; i++) {
        if (calls[i].dones != 1)
            fail_msg("call %zu was answered %zu times", i, calls[i].dones);
    }
}

/* The calls, a change for the watcher, and the watcher's deadline. */
static void
go_through(struct pair *pair, struct asked *calls)
{
    start_some(pair, calls);
    wire_settle(&pair->clock, &pair->wire);
    (void)rpc_health_set(pair->server, "", RPC_HEALTH_NOT_SERVING);
    (void)rpc_health_set(pair->server, "other", RPC_HEALTH_SERVING);
    wire_settle(&pair->clock, &pair->wire);
    wire_advance(&pair->clock, &pair->wire, 400);
}

static void
without_faults_all_is_answered(void **state)
{
    static const size_t messages[CALLS] = {1, 2, 1, 3};
    struct asked calls[CALLS];
    struct pair pair;

    (void)state;
    pair_init(&pair, NULL);
    assert_int_equal(rpc_server_add_standard(pair.server, NULL), 0);
    go_through(&pair, calls);
    check_answered_once(calls);
    for (size_t i = 0; i < CALLS; i++) {
        assert_int_equal(calls[i].messages, messages[i]);
        assert_int_equal(calls[i].code, i == 1 ? RPC_DEADLINE_EXCEEDED : RPC_OK);
    }
    pair_done(&pair);
}

static void
a_failed_allocation_anywhere_loses_no_call(void **state)
{
    bool reached = true;
    size_t n;

    (void)state;
    for (n = 0; reached; n++) {
        struct asked calls[CALLS];
        struct pair pair;

        pair_init(&pair, NULL);
        alloc_fail_after(n);
        (void)rpc_server_add_standard(pair.server, NULL);
        go_through(&pair, calls);
        reached = alloc_fail_over();
        wire_advance(&pair.clock, &pair.wire, 400);
        check_answered_once(calls);
        pair_done(&pair);
    }
    assert_true(n > 5 * CALLS); /* or the allocator is not ours */
}

static void
a_cut_at_any_byte_answers_every_call_once(void **state)
{
    (void)state;
    for (size_t side = 0; side < 2; side++) {
        size_t total = 1;

        for (size_t at = 0; at < total; at += 1 + at / 60) {
            struct asked calls[CALLS];
            struct pair pair;

            pair_init(&pair, NULL);
            assert_int_equal(rpc_server_add_standard(pair.server, NULL), 0);
            pair.wire.stop_after[side] = at;
            pair.wire.cut_status = at % 2 ? -ECONNRESET : 0;
            go_through(&pair, calls);
            rpc_health_shutdown(pair.server);
            check_answered_once(calls);
            if (total < pair.wire.ends[side].sent_total)
                total = pair.wire.ends[side].sent_total;
            pair_done(&pair);
        }
        assert_true(total > 300);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_faults_all_is_answered),
        cmocka_unit_test(a_failed_allocation_anywhere_loses_no_call),
        cmocka_unit_test(a_cut_at_any_byte_answers_every_call_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
