/* SPDX-License-Identifier: BSD-3-Clause */
/* Calls of our client against our server. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/rpc/pair.h"
#include "tests/unit/test.h"

static void
a_unary_call_gets_its_reply(void **state)
{
    Vmt__Rpctest__Request request = rpctest_request();
    VMT_CLEANUP(pair_done) struct pair pair;
    struct pair_call call = {0};

    (void)state;
    pair_init(&pair, NULL);
    request.text = (char *)(uintptr_t) "h\xc3\xa9llo";
    request.number = 42;
    pair_run(&pair, &call, RPCTEST_PATH("Echo"), &request);
    assert_int_equal(call.status.code, RPC_OK);
    assert_string_equal(call.status.text, "");
    assert_int_equal(call.messages, 1);
    assert_string_equal(call.text, "h\xc3\xa9llo");
    assert_int_equal(call.number, 42);
}

static void
one_turn_writes_once_however_many_calls(void **state)
{
    VMT_CLEANUP(pair_done) struct pair pair;
    struct pair_call calls[20] = {0};
    size_t before;

    (void)state;
    pair_init(&pair, NULL);
    wire_settle(&pair.clock, &pair.wire);
    before = pair.wire.ends[0].nsends;
    for (size_t i = 0; i < VMT_ARRAY_SIZE(calls); i++)
        assert_int_equal(pair_start(&pair, &calls[i], RPCTEST_PATH("Echo"), NULL, 0), 0);
    assert_true(wire_clock_run(&pair.clock));
    assert_int_equal(pair.wire.ends[0].nsends, before + 1);
    wire_settle(&pair.clock, &pair.wire);
    for (size_t i = 0; i < VMT_ARRAY_SIZE(calls); i++)
        assert_int_equal(calls[i].dones, 1);
}

static void
a_failure_arrives_with_code_and_text(void **state)
{
    Vmt__Rpctest__Request request = rpctest_request();
    VMT_CLEANUP(pair_done) struct pair pair;
    struct pair_call call = {0};

    (void)state;
    pair_init(&pair, NULL);
    request.text = (char *)(uintptr_t) "100% \xe2\x82\xac\n\"quoted\"";
    for (uint32_t code = 1; code < RPC_CODE_COUNT; code++) {
        request.number = code;
        pair_run(&pair, &call, RPCTEST_PATH("Fail"), &request);
        assert_int_equal(call.status.code, code);
        assert_string_equal(call.status.text, request.text);
        assert_int_equal(call.messages, 0);
    }
}

static void
a_stream_gives_every_reply_in_order(void **state)
{
    Vmt__Rpctest__Request request = rpctest_request();
    VMT_CLEANUP(pair_done) struct pair pair;
    struct pair_call call = {0};

    (void)state;
    pair_init(&pair, NULL);
    request.number = 1000;
    pair_run(&pair, &call, RPCTEST_PATH("Count"), &request);
    assert_int_equal(call.status.code, RPC_OK);
    assert_int_equal(call.messages, 1000);
    assert_int_equal(call.number, 999);
    request.number = 0;
    pair_run(&pair, &call, RPCTEST_PATH("Count"), &request);
    assert_int_equal(call.status.code, RPC_OK);
    assert_int_equal(call.messages, 0);
}

static void
unknown_service_and_method_are_unimplemented(void **state)
{
    VMT_CLEANUP(pair_done) struct pair pair;
    struct pair_call call = {0};

    (void)state;
    pair_init(&pair, NULL);
    pair_run(&pair, &call, "/vmt.rpctest.Other/Echo", NULL);
    assert_int_equal(call.status.code, RPC_UNIMPLEMENTED);
    assert_string_equal(call.status.text, "unknown service: /vmt.rpctest.Other/Echo");
    pair_run(&pair, &call, RPCTEST_PATH("Ech"), NULL);
    assert_int_equal(call.status.code, RPC_UNIMPLEMENTED);
    assert_string_equal(call.status.text, "unknown method: /vmt.rpctest.Test/Ech");
    assert_int_equal(pair.test.requests, 0);
}

static void
a_deadline_ends_the_call_on_both_sides(void **state)
{
    VMT_CLEANUP(pair_done) struct pair pair;
    struct pair_call call = {0};

    (void)state;
    pair_init(&pair, NULL);
    assert_int_equal(pair_start(&pair, &call, RPCTEST_PATH("Hang"), NULL, 500), 0);
    wire_advance(&pair.clock, &pair.wire, 499);
    assert_int_equal(call.dones, 0);
    assert_int_equal(pair.test.cancels, 0);
    wire_advance(&pair.clock, &pair.wire, 1);
    assert_int_equal(call.dones, 1);
    assert_int_equal(call.status.code, RPC_DEADLINE_EXCEEDED);
    assert_int_equal(pair.test.cancels, 1);
}

static void
the_server_enforces_a_deadline_by_itself(void **state)
{
    VMT_CLEANUP(pair_done) struct pair pair;
    struct pair_call call = {0};

    (void)state;
    pair_init(&pair, NULL);
    assert_int_equal(pair_start(&pair, &call, RPCTEST_PATH("Hang"), NULL, 500), 0);
    wire_settle(&pair.clock, &pair.wire);
    pair.wire.stall[0] = true; /* the client's reset does not get through */
    wire_advance(&pair.clock, &pair.wire, 500);
    assert_int_equal(pair.test.cancels, 1);
}

static void
a_cancel_reaches_the_handler_and_nobody_else(void **state)
{
    VMT_CLEANUP(pair_done) struct pair pair;
    struct pair_call call = {0}, other = {0};

    (void)state;
    pair_init(&pair, NULL);
    assert_int_equal(pair_start(&pair, &call, RPCTEST_PATH("Hang"), NULL, 0), 0);
    wire_settle(&pair.clock, &pair.wire);
    assert_non_null(pair.test.hung);
    rpc_client_cancel(call.call);
    wire_settle(&pair.clock, &pair.wire);
    assert_int_equal(pair.test.cancels, 1);
    assert_int_equal(call.dones + call.messages, 0);
    pair_run(&pair, &other, RPCTEST_PATH("Echo"), NULL);
    assert_int_equal(other.status.code, RPC_OK);
}

static void
a_handler_without_cancel_callback_finishes_into_the_void(void **state)
{
    Vmt__Rpctest__Reply reply = rpctest_reply();
    VMT_CLEANUP(pair_done) struct pair pair;
    struct pair_call call = {0};

    (void)state;
    pair_init(&pair, NULL);
    pair.test.keep_on_cancel = true;
    assert_int_equal(pair_start(&pair, &call, RPCTEST_PATH("Hang"), NULL, 0), 0);
    wire_settle(&pair.clock, &pair.wire);
    rpc_client_cancel(call.call);
    wire_settle(&pair.clock, &pair.wire);
    assert_int_equal(rpc_server_call_send(pair.test.hung, &reply.base, NULL, 0), -EPIPE);
    assert_int_equal(rpc_server_call_peer(pair.test.hung)->uid, 7);
    rpc_server_call_reply(pair.test.hung, &reply.base);
}

static void
a_method_that_does_not_stream_sends_one_message(void **state)
{
    const Vmt__Rpctest__Reply reply = rpctest_reply();
    const struct rpc_status ok = {.code = RPC_OK};
    VMT_CLEANUP(pair_done) struct pair pair;
    struct pair_call call = {0};

    (void)state;
    pair_init(&pair, NULL);
    assert_int_equal(pair_start(&pair, &call, RPCTEST_PATH("Hang"), NULL, 0), 0);
    wire_settle(&pair.clock, &pair.wire);
    assert_int_equal(rpc_server_call_send(pair.test.hung, &reply.base, NULL, 0), 0);
    assert_int_equal(rpc_server_call_send(pair.test.hung, &reply.base, NULL, 0), -EINVAL);
    rpc_server_call_finish(pair.test.hung, &ok);
    wire_settle(&pair.clock, &pair.wire);
    assert_int_equal(call.status.code, RPC_OK);
    assert_int_equal(pair_start(&pair, &call, RPCTEST_PATH("Hang"), NULL, 0), 0);
    wire_settle(&pair.clock, &pair.wire);
    rpc_server_call_finish(pair.test.hung, &ok);
    wire_settle(&pair.clock, &pair.wire);
    assert_int_equal(call.status.code, RPC_INTERNAL);
    assert_string_equal(call.status.text, "the method gave no reply");
}

static void
a_broken_connection_answers_every_call_once(void **state)
{
    VMT_CLEANUP(pair_done) struct pair pair;
    struct pair_call calls[5] = {0};

    (void)state;
    pair_init(&pair, NULL);
    for (size_t i = 0; i < VMT_ARRAY_SIZE(calls); i++)
        assert_int_equal(pair_start(&pair, &calls[i], RPCTEST_PATH("Hang"), NULL, 0), 0);
    wire_settle(&pair.clock, &pair.wire);
    wire_cut(&pair.wire, -ECONNRESET);
    for (size_t i = 0; i < VMT_ARRAY_SIZE(calls); i++) {
        assert_int_equal(calls[i].dones, 1);
        assert_int_equal(calls[i].status.code, RPC_UNAVAILABLE);
    }
    assert_int_equal(pair.test.cancels, 5);
    assert_int_equal(pair.closed, 1);
    assert_int_equal(pair_start(&pair, &calls[0], RPCTEST_PATH("Echo"), NULL, 0),
                     -ENOTCONN);
}

/* Each side bounds what it takes and what it sends, before compression and after. */
static void
messages_are_bounded_both_ways(void **state)
{
    /* Whose limit is 2000 bytes: what the server takes or sends, what the client does. */
    const struct {
        struct rpc_server_config server;
        struct rpc_client_config client;
    } cases[] = {{.server.message_max = 2000},
                 {.server.send_max = 2000},
                 {.client.message_max = 2000},
                 {.client.send_max = 2000}};
    static uint8_t data[2000];

    (void)state;
    for (size_t i = 0; i < 2 * VMT_ARRAY_SIZE(cases); i++) {
        VMT_CLEANUP(pair_done) struct pair pair;
        Vmt__Rpctest__Request request = rpctest_request();
        struct pair_call call = {0};

        pair_init_both(&pair, &cases[i / 2].server, &cases[i / 2].client);
        pair.encoding = pair.test.encoding = i % 2 ? RPC_GZIP : RPC_IDENTITY;
        request.data.data = data;
        request.data.len = 2000 - 3; /* and a tag, and a length of 2 bytes */
        pair_run(&pair, &call, RPCTEST_PATH("Echo"), &request);
        assert_int_equal(call.status.code, RPC_OK);
        request.data.len++;
        if (i / 2 == 3) {
            assert_int_equal(pair_start(&pair, &call, RPCTEST_PATH("Echo"), &request, 0),
                             -EMSGSIZE);
            continue;
        }
        pair_run(&pair, &call, RPCTEST_PATH("Echo"), &request);
        assert_int_equal(call.status.code, RPC_RESOURCE_EXHAUSTED);
        assert_int_equal(call.messages, 0);
    }
}

/* For one call: the others keep the client's. */
static void
a_call_may_have_a_bound_of_its_own(void **state)
{
    const struct rpc_client_config config = {.message_max = 1000};
    static uint8_t data[5000];
    VMT_CLEANUP(pair_done) struct pair pair;
    Vmt__Rpctest__Request request = rpctest_request();
    struct pair_call call = {0};

    (void)state;
    pair_init_both(&pair, NULL, &config);
    request.data.data = data;
    request.data.len = 4000 - 3; /* and a tag, and a length of 2 bytes */
    pair.reply_max = 4000;
    pair_run(&pair, &call, RPCTEST_PATH("Echo"), &request);
    assert_int_equal(call.status.code, RPC_OK);
    request.data.len++;
    pair_run(&pair, &call, RPCTEST_PATH("Echo"), &request);
    assert_int_equal(call.status.code, RPC_RESOURCE_EXHAUSTED);
    request.data.len = 2000;
    pair.reply_max = 0;
    pair_run(&pair, &call, RPCTEST_PATH("Echo"), &request);
    assert_int_equal(call.status.code, RPC_RESOURCE_EXHAUSTED);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_unary_call_gets_its_reply),
        cmocka_unit_test(one_turn_writes_once_however_many_calls),
        cmocka_unit_test(a_failure_arrives_with_code_and_text),
        cmocka_unit_test(a_stream_gives_every_reply_in_order),
        cmocka_unit_test(unknown_service_and_method_are_unimplemented),
        cmocka_unit_test(a_deadline_ends_the_call_on_both_sides),
        cmocka_unit_test(the_server_enforces_a_deadline_by_itself),
        cmocka_unit_test(a_cancel_reaches_the_handler_and_nobody_else),
        cmocka_unit_test(a_handler_without_cancel_callback_finishes_into_the_void),
        cmocka_unit_test(a_method_that_does_not_stream_sends_one_message),
        cmocka_unit_test(a_call_may_have_a_bound_of_its_own),
        cmocka_unit_test(messages_are_bounded_both_ways),
        cmocka_unit_test(a_broken_connection_answers_every_call_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
