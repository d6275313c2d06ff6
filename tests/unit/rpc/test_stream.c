/* SPDX-License-Identifier: BSD-3-Clause */
/* Calls in which the client sends more than one message. */
#include <errno.h>
#include <string.h>

#include "tests/unit/rpc/pair.h"
#include "tests/unit/rpc/raw.h"
#include "tests/unit/test.h"

#define COLLECT RPCTEST_PATH("Collect")
#define CHAT RPCTEST_PATH("Chat")
#define BYTES(literal) (literal), (sizeof(literal) - 1)
#define BIG (100u * 1024)

static uint8_t big[BIG];

static int
send_one(struct pair_call *call, uint32_t number, size_t size)
{
    Vmt__Rpctest__Request request = rpctest_request();

    request.number = number;
    request.data.data = big;
    request.data.len = size;
    return rpc_client_send(call->call, &request.base);
}

static void
settle(struct pair *pair)
{
    wire_settle(&pair->clock, &pair->wire);
}

static void
many_requests_give_one_reply(void **state)
{
    VMT_CLEANUP(pair_done) struct pair pair;
    struct pair_call call = {0};

    (void)state;
    pair_init(&pair, NULL);
    assert_int_equal(pair_open(&pair, &call, COLLECT, 0), 0);
    settle(&pair);
    assert_int_equal(pair.test.requests, 1);
    for (uint32_t i = 1; i <= 10; i++) {
        assert_int_equal(send_one(&call, i, i == 5 ? BIG : 0), 0);
        if (i % 2)
            settle(&pair);
    }
    settle(&pair);
    assert_int_equal(pair.test.half_closes + call.dones, 0);
    rpc_client_half_close(call.call);
    assert_int_equal(send_one(&call, 1, 0), -EPIPE);
    settle(&pair);
    assert_int_equal(call.status.code, RPC_OK);
    assert_int_equal(call.messages, 1);
    assert_int_equal(call.number, 55);
    assert_string_equal(call.text, "102400");
    assert_int_equal(pair.test.half_closes, 1);
}

static void
a_stream_without_requests_is_legal(void **state)
{
    VMT_CLEANUP(pair_done) struct pair pair;
    struct pair_call call = {0};

    (void)state;
    pair_init(&pair, NULL);
    assert_int_equal(pair_open(&pair, &call, CHAT, 0), 0);
    rpc_client_half_close(call.call);
    settle(&pair);
    assert_int_equal(call.status.code, RPC_OK);
    assert_int_equal(call.messages, 0);
    assert_int_equal(call.dones, 1);
}

static void
chat_in_pieces(size_t chunk)
{
    VMT_CLEANUP(pair_done) struct pair pair;
    struct pair_call call = {0};

    pair_init(&pair, NULL);
    pair.wire.chunk = chunk;
    assert_int_equal(pair_open(&pair, &call, CHAT, 0), 0);
    for (uint32_t i = 1; i <= 5; i++) {
        assert_int_equal(send_one(&call, i, i), 0);
        settle(&pair);
        assert_int_equal(call.messages, i);
        assert_int_equal(call.number, i);
    }
    assert_int_equal(call.drains, 5);
    assert_int_equal(pair.test.drains, 5);
    rpc_client_half_close(call.call);
    settle(&pair);
    assert_int_equal(call.dones, 1);
    assert_int_equal(call.status.code, RPC_OK);
}

static void
each_request_is_answered_as_it_comes(void **state)
{
    (void)state;
    for (size_t chunk = 0; chunk < 20; chunk++)
        chat_in_pieces(chunk);
}

static void
the_handler_hears_of_cancel_and_deadline(void **state)
{
    VMT_CLEANUP(pair_done) struct pair pair;
    struct pair_call call = {0};

    (void)state;
    pair_init(&pair, NULL);
    assert_int_equal(pair_open(&pair, &call, CHAT, 0), 0);
    assert_int_equal(send_one(&call, 1, 0), 0);
    settle(&pair);
    rpc_client_cancel(call.call);
    settle(&pair);
    assert_int_equal(pair.test.stream_cancels, 1);
    assert_int_equal(pair_open(&pair, &call, COLLECT, 300), 0);
    settle(&pair);
    wire_advance(&pair.clock, &pair.wire, 300);
    assert_int_equal(pair.test.stream_cancels, 2);
    assert_int_equal(call.status.code, RPC_DEADLINE_EXCEEDED);
    assert_int_equal(pair_open(&pair, &call, COLLECT, 0), 0);
    settle(&pair);
    wire_cut(&pair.wire, -ECONNRESET);
    settle(&pair);
    assert_int_equal(pair.test.stream_cancels, 3);
    assert_int_equal(call.status.code, RPC_UNAVAILABLE);
}

/* The server answers before the client is done; the client's rest is dropped. */
static void
an_early_answer_ends_the_call(void **state)
{
    VMT_CLEANUP(pair_done) struct pair pair;
    struct pair_call call = {0};

    (void)state;
    pair_init(&pair, NULL);
    assert_int_equal(pair_open(&pair, &call, CHAT, 0), 0);
    settle(&pair);
    pair.test.enough = true;
    assert_int_equal(send_one(&call, 1, 0), 0);
    assert_int_equal(send_one(&call, 2, BIG), 0);
    settle(&pair);
    assert_int_equal(call.dones, 1);
    assert_int_equal(call.status.code, RPC_ABORTED);
    assert_int_equal(call.messages, 0);
}

/* What comes back is not taken: the server takes no more requests, so both queues stay
 * where their producers see them. */
static void
a_client_that_does_not_read_is_not_read(void **state)
{
    VMT_CLEANUP(pair_done) struct pair pair;
    struct pair_call call = {0};

    (void)state;
    pair_init(&pair, NULL);
    assert_int_equal(pair_open(&pair, &call, CHAT, 0), 0);
    settle(&pair);
    pair.wire.stall[1] = true;
    for (uint32_t i = 0; i < 40; i++)
        assert_int_equal(send_one(&call, i, BIG), 0);
    settle(&pair);
    assert_true(rpc_client_queued(call.call) > 1024u * 1024);
    assert_int_equal(call.drains, 0);
    assert_true(rpc_server_call_queued(pair.test.stream) < 1024u * 1024);
    pair.wire.stall[1] = false;
    settle(&pair);
    assert_int_equal(rpc_client_queued(call.call), 0);
    assert_int_equal(call.drains, 1);
    assert_int_equal(call.messages, 40);
    rpc_client_half_close(call.call);
    settle(&pair);
    assert_int_equal(call.status.code, RPC_OK);
}

struct bad {
    const char *body;
    size_t len;
    const char *status;
};

static void
check_bad(const struct bad *bad)
{
    static const char path[] = CHAT;
    static const char *const fields[] = {RAW_FIELDS(path), NULL};
    struct rpc_server *server;
    struct wire_clock clock;
    struct rpctest test = {0};
    struct wire wire;
    struct raw raw;
    int32_t id;

    wire_clock_init(&clock);
    wire_init(&wire);
    memset(&raw, 0, sizeof(raw));
    assert_int_equal(rpc_server_new(&clock.base, NULL, &server, NULL), 0);
    assert_int_equal(rpc_server_add(server, &rpctest_service, &test, NULL), 0);
    rpc_server_accept(server, &wire.ends[1].base, NULL);
    raw_init(&raw, &wire.ends[0].base, false);
    id = raw_request(&raw, fields, bad->body, bad->len, true);
    wire_settle(&clock, &wire);
    if (!raw_has(&raw, id, bad->status))
        fail_msg("no %s in %s", bad->status, raw_stream(&raw, id)->headers);
    assert_int_equal(test.stream_cancels, 1);
    assert_int_equal(test.half_closes, 0);
    raw_done(&raw);
    rpc_server_free(server);
    wire_done(&wire);
}

static void
a_bad_request_in_a_stream_ends_it(void **state)
{
    static const struct bad cases[] = {
        {BYTES("\0\0\0\0\2\x18\7\0\0\0\0\2\x0a\x7f"), "grpc-status: 3\n"},
        {BYTES("\0\0\0\0\2\x18\7\1\0\0\0\0"), "grpc-status: 13\n"},
        {BYTES("\0\0\0\0\2\x18\7\2\0\0\0\0"), "grpc-status: 13\n"},
        {BYTES("\0\0\0\0\2\x18"), "grpc-status: 13\n"},
        {BYTES("\0\x7f\0\0\0"), "grpc-status: 8\n"},
    };

    (void)state;
    for (size_t i = 0; i < VMT_ARRAY_SIZE(cases); i++)
        check_bad(&cases[i]);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(many_requests_give_one_reply),
        cmocka_unit_test(a_stream_without_requests_is_legal),
        cmocka_unit_test(each_request_is_answered_as_it_comes),
        cmocka_unit_test(the_handler_hears_of_cancel_and_deadline),
        cmocka_unit_test(an_early_answer_ends_the_call),
        cmocka_unit_test(a_client_that_does_not_read_is_not_read),
        cmocka_unit_test(a_bad_request_in_a_stream_ends_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
