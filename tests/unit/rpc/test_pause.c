/* SPDX-License-Identifier: BSD-3-Clause */
/* Calls whose receiver takes no more messages for a while. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/rpc/alloc.h"
#include "tests/unit/rpc/pair.h"
#include "tests/unit/rpc/raw.h"
#include "tests/unit/test.h"

#define BIG (100u * 1024)
#define MANY 40u
#define WINDOW 65535u

static const char collect_path[] = RPCTEST_PATH("Collect");
static const char chat_path[] = RPCTEST_PATH("Chat");
static const char count_path[] = RPCTEST_PATH("Count");
static const char echo_path[] = RPCTEST_PATH("Echo");

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

/* A large message each way: more than any window. */
static void
check_others_go_on(struct pair *pair)
{
    Vmt__Rpctest__Request request = rpctest_request();
    struct pair_call call = {0};
    static uint8_t data[2 << 20];

    request.data.data = data;
    request.data.len = sizeof(data);
    pair_run(pair, &call, echo_path, &request);
    assert_int_equal(call.status.code, RPC_OK);
    assert_int_equal(call.bytes, sizeof(data));
}

static void
a_paused_handler_holds_its_client_back_and_nobody_else(void **state)
{
    VMT_CLEANUP(pair_done) struct pair pair;
    struct pair_call calls[3] = {0};

    (void)state;
    pair_init(&pair, NULL);
    pair.test.pause_first = true;
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(pair_open(&pair, &calls[i], collect_path, 0), 0);
        for (uint32_t n = 1; n <= MANY; n++)
            assert_int_equal(send_one(&calls[i], n, BIG), 0);
        rpc_client_half_close(calls[i].call);
    }
    settle(&pair);
    for (size_t i = 0; i < 3; i++) {
        assert_true(rpc_client_queued(calls[i].call) >= MANY * BIG - WINDOW);
        assert_int_equal(calls[i].drains, 0);
    }
    assert_int_equal(pair.test.taken, 0);
    check_others_go_on(&pair);
    check_others_go_on(&pair); /* more than the connection's window in all */
    rpc_server_call_pause(pair.test.streams[1].call, false);
    assert_int_equal(pair.test.taken, 0); /* from the loop */
    settle(&pair);
    assert_int_equal(pair.test.taken, MANY);
    assert_int_equal(calls[1].status.code, RPC_OK);
    assert_int_equal(calls[1].number, MANY * (MANY + 1) / 2);
    assert_int_equal(calls[0].dones + calls[2].dones, 0);
}

/* The half-close comes after the last request, each of them when it is wanted. */
static void
take_one_by_one(size_t chunk)
{
    VMT_CLEANUP(pair_done) struct pair pair;
    struct pair_call call = {0};

    pair_init(&pair, NULL);
    pair.wire.chunk = chunk;
    pair.test.pause_each = true;
    assert_int_equal(pair_open(&pair, &call, chat_path, 0), 0);
    for (uint32_t i = 1; i <= 20; i++)
        assert_int_equal(send_one(&call, i, i == 7 ? BIG : i), 0);
    rpc_client_half_close(call.call);
    for (size_t i = 1; i <= 20; i++) {
        settle(&pair);
        assert_int_equal(pair.test.taken, i);
        assert_int_equal(call.number, i);
        assert_int_equal(pair.test.half_closes, 0);
        rpc_server_call_pause(pair.test.stream, false);
        if (i % 3 == 0) { /* and again, in the same turn */
            rpc_server_call_pause(pair.test.stream, true);
            settle(&pair);
            assert_int_equal(pair.test.taken, i);
            rpc_server_call_pause(pair.test.stream, false);
        }
    }
    settle(&pair);
    assert_int_equal(pair.test.half_closes, 1);
    assert_int_equal(call.status.code, RPC_OK);
    assert_int_equal(call.messages, 20);
}

static void
requests_come_one_by_one_when_wanted(void **state)
{
    (void)state;
    take_one_by_one(0);
    for (size_t chunk = 1; chunk < 100; chunk += 11)
        take_one_by_one(chunk);
}

static void
a_paused_handler_hears_of_cancel_and_deadline(void **state)
{
    VMT_CLEANUP(pair_done) struct pair pair;

    (void)state;
    pair_init(&pair, NULL);
    pair.test.pause_first = true;
    for (size_t how = 0; how < 3; how++) {
        struct pair_call call = {0};

        assert_int_equal(pair_open(&pair, &call, collect_path, how == 1 ? 300 : 0), 0);
        assert_int_equal(send_one(&call, 1, BIG), 0);
        rpc_client_half_close(call.call);
        settle(&pair);
        if (how == 0)
            rpc_client_cancel(call.call);
        pair.wire.stall[0] = how == 1; /* the server's own deadline */
        if (how == 2)
            wire_cut(&pair.wire, -ECONNRESET);
        wire_advance(&pair.clock, &pair.wire, 300);
        pair.wire.stall[0] = false;
        assert_int_equal(pair.test.stream_cancels, how + 1);
        settle(&pair);
        assert_int_equal(call.dones, how != 0);
    }
    assert_int_equal(pair.test.taken + pair.test.half_closes, 0);
}

static void
a_handler_may_finish_what_it_paused(void **state)
{
    VMT_CLEANUP(pair_done) struct pair pair;

    (void)state;
    pair_init(&pair, NULL);
    pair.test.pause_first = true;
    for (int how = 0; how < 2; how++) {
        struct pair_call call = {0};

        assert_int_equal(pair_open(&pair, &call, collect_path, 0), 0);
        for (uint32_t n = 0; n < 5; n++)
            assert_int_equal(send_one(&call, n, BIG), 0);
        settle(&pair);
        if (how)
            rpc_server_call_pause(pair.test.stream, false);
        rpc_server_call_fail(pair.test.stream, RPC_ABORTED, "enough");
        pair.test.streams[0].call = NULL;
        settle(&pair);
        assert_int_equal(call.status.code, RPC_ABORTED);
        wire_advance(&pair.clock, &pair.wire, 5000);
    }
    assert_int_equal(pair.test.taken, 0);
    check_others_go_on(&pair);
}

static void
a_bad_request_is_found_when_its_turn_comes(void **state)
{
    static const char *const fields[] = {RAW_FIELDS(collect_path), NULL};
    static const char body[] = "\0\0\0\0\2\x18\7\0\0\0\0\2\x18\7\2\0\0\0\0";
    struct rpctest test = {.pause_each = true};
    struct rpc_server *server;
    struct wire_clock clock;
    struct wire wire;
    struct raw raw;
    int32_t id;

    (void)state;
    wire_clock_init(&clock);
    wire_init(&wire);
    memset(&raw, 0, sizeof(raw));
    assert_int_equal(rpc_server_new(&clock.base, NULL, &server, NULL), 0);
    assert_int_equal(rpc_server_add(server, &rpctest_service, &test, NULL), 0);
    rpc_server_accept(server, &wire.ends[1].base, NULL);
    raw_init(&raw, &wire.ends[0].base, false);
    id = raw_request(&raw, fields, body, sizeof(body) - 1, true);
    for (size_t i = 1; i <= 2; i++) {
        wire_settle(&clock, &wire);
        assert_int_equal(test.taken, i);
        assert_int_equal(test.stream_cancels, 0);
        rpc_server_call_pause(test.stream, false);
    }
    wire_settle(&clock, &wire);
    assert_int_equal(test.stream_cancels, 1);
    assert_true(raw_has(&raw, id, "grpc-status: 13\n"));
    raw_done(&raw);
    rpc_server_free(server);
    wire_done(&wire);
}

static void
a_paused_client_holds_its_server_back(void **state)
{
    VMT_CLEANUP(pair_done) struct pair pair;
    struct pair_call call = {0};

    (void)state;
    pair_init(&pair, NULL);
    assert_int_equal(pair_open(&pair, &call, chat_path, 0), 0);
    rpc_client_pause(call.call, true);
    for (uint32_t i = 0; i < MANY; i++)
        assert_int_equal(send_one(&call, i, BIG), 0);
    settle(&pair);
    assert_int_equal(call.messages, 0);
    assert_true(rpc_server_call_queued(pair.test.stream) > 256u * 1024);
    assert_true(rpc_client_queued(call.call) > 1024u * 1024);
    assert_int_equal(call.drains + pair.test.drains, 0);
    check_others_go_on(&pair);
    rpc_client_half_close(call.call);
    rpc_client_pause(call.call, false);
    assert_int_equal(call.messages, 0);
    settle(&pair);
    assert_int_equal(call.messages, MANY);
    assert_true(pair.test.drains > 0);
    assert_int_equal(call.status.code, RPC_OK);
}

/* Start a call with five replies that is paused at the first, its answer complete. */
static void
start_complete(struct pair *pair, struct pair_call *call, uint32_t timeout_ms)
{
    Vmt__Rpctest__Request request = rpctest_request();

    request.number = 5;
    *call = (struct pair_call){.pause_on_message = true};
    assert_int_equal(pair_start(pair, call, count_path, &request, timeout_ms), 0);
    settle(pair);
    assert_int_equal(call->messages, 1);
    assert_int_equal(call->dones + call->trailings, 0);
}

static void
the_status_waits_behind_the_replies(void **state)
{
    VMT_CLEANUP(pair_done) struct pair pair;
    struct pair_call call;

    (void)state;
    pair_init(&pair, NULL);
    start_complete(&pair, &call, 0);
    for (size_t i = 2; i <= 5; i++) {
        rpc_client_pause(call.call, false);
        settle(&pair);
        assert_int_equal(call.messages, i);
        assert_int_equal(call.number, i - 1);
        assert_int_equal(call.dones + call.trailings, 0);
    }
    rpc_client_pause(call.call, false);
    settle(&pair);
    assert_int_equal(call.dones, 1);
    assert_int_equal(call.trailings, 1);
    assert_int_equal(call.status.code, RPC_OK);
    check_others_go_on(&pair);
}

static void
a_paused_reply_ends_by_deadline_or_cancel(void **state)
{
    VMT_CLEANUP(pair_done) struct pair pair;
    struct pair_call call;

    (void)state;
    pair_init(&pair, NULL);
    start_complete(&pair, &call, 300);
    wire_advance(&pair.clock, &pair.wire, 300);
    assert_int_equal(call.dones, 1);
    assert_int_equal(call.messages, 1);
    assert_int_equal(call.status.code, RPC_DEADLINE_EXCEEDED);
    start_complete(&pair, &call, 0);
    rpc_client_cancel(call.call);
    settle(&pair);
    assert_int_equal(call.messages, 1);
    assert_int_equal(call.dones, 0);
    start_complete(&pair, &call, 0);
    rpc_client_pause(call.call, false); /* and goes before its turn */
    rpc_client_cancel(call.call);
    check_others_go_on(&pair);
}

/* With the connection a call is lost, unless its answer is here. */
static void
a_complete_answer_outlives_the_connection(void **state)
{
    (void)state;
    for (int how = 0; how < 3; how++) {
        struct pair_call half = {.pause_on_message = true}, call;
        struct pair pair;

        pair_init(&pair, NULL);
        assert_int_equal(pair_open(&pair, &half, chat_path, 0), 0);
        for (uint32_t i = 0; i < 3; i++)
            assert_int_equal(send_one(&half, i, 0), 0);
        start_complete(&pair, &call, 0);
        assert_int_equal(half.messages, 1);
        call.free_on_message = how == 1;
        call.cancel_on_message = how == 2;
        wire_cut(&pair.wire, -ECONNRESET);
        settle(&pair);
        assert_int_equal(half.messages, 1);
        assert_int_equal(half.dones, how == 1 ? half.dones : 1);
        assert_int_equal(call.messages, how == 0 ? 5 : 2);
        assert_int_equal(call.dones, how == 0);
        if (how == 0)
            assert_int_equal(call.status.code, RPC_OK);
        pair_done(&pair);
    }
}

/* The server says goodbye and closes: for it the call is over. */
static void
a_complete_answer_outlives_a_drain(void **state)
{
    VMT_CLEANUP(pair_done) struct pair pair;
    struct pair_call call;

    (void)state;
    pair_init(&pair, NULL);
    start_complete(&pair, &call, 0);
    assert_int_equal(rpc_server_drain(pair.server, 1000, NULL, NULL, NULL), 0);
    wire_advance(&pair.clock, &pair.wire, 5000);
    assert_int_equal(pair.closed, 1);
    assert_int_equal(call.messages, 5);
    assert_int_equal(call.dones, 1);
    assert_int_equal(call.status.code, RPC_OK);
}

static void
a_call_that_the_server_ended_takes_no_more(void **state)
{
    VMT_CLEANUP(pair_done) struct pair pair;
    struct pair_call call = {.pause_on_message = true};

    (void)state;
    pair_init(&pair, NULL);
    assert_int_equal(pair_open(&pair, &call, chat_path, 0), 0);
    assert_int_equal(send_one(&call, 1, 0), 0);
    assert_int_equal(send_one(&call, 2, 0), 0);
    settle(&pair);
    pair.test.enough = true;
    assert_int_equal(send_one(&call, 3, 0), 0);
    settle(&pair);
    wire_advance(&pair.clock, &pair.wire, 5000); /* the server resets the rest */
    assert_int_equal(call.dones, 0);
    assert_int_equal(send_one(&call, 4, 0), -EPIPE);
    call.pause_on_message = false;
    rpc_client_pause(call.call, false);
    settle(&pair);
    assert_int_equal(call.messages, 2);
    assert_int_equal(call.status.code, RPC_ABORTED);
}

/* Make the server hold size bytes of a message that is longer. */
static int32_t
hold_partial(struct raw *raw, const char *path, size_t size)
{
    const char *fields[] = {RAW_FIELDS(path), NULL};
    uint8_t *body = calloc(1, size);
    int32_t id;

    assert_non_null(body);
    body[2] = 0x3f; /* 4128768 bytes are promised */
    id = raw_request(raw, fields, body, size, false);
    free(body);
    return id;
}

struct bed {
    struct wire_clock clock;
    struct wire wire;
    struct rpc_server *server;
    struct rpctest test;
    struct raw raw;
};

static void
bed_init(struct bed *bed)
{
    memset(bed, 0, sizeof(*bed));
    wire_clock_init(&bed->clock);
    wire_init(&bed->wire);
    assert_int_equal(rpc_server_new(&bed->clock.base, NULL, &bed->server, NULL), 0);
    assert_int_equal(rpc_server_add(bed->server, &rpctest_service, &bed->test, NULL), 0);
    rpc_server_accept(bed->server, &bed->wire.ends[1].base, NULL);
    raw_init(&bed->raw, &bed->wire.ends[0].base, false);
}

static void
bed_done(struct bed *bed)
{
    raw_done(&bed->raw);
    rpc_server_free(bed->server);
    wire_done(&bed->wire);
    assert_int_equal(bed->clock.ntimers, 0);
}

static void
bed_settle(struct bed *bed)
{
    wire_settle(&bed->clock, &bed->wire);
}

/* Above the budget for partial messages one call reads on at a time; it may be paused. */
static void
a_paused_call_gives_its_turn_away(void **state)
{
    VMT_CLEANUP(bed_done) struct bed bed;
    int32_t ids[3];

    (void)state;
    bed_init(&bed);
    for (size_t i = 0; i < 3; i++) {
        ids[i] = hold_partial(&bed.raw, collect_path, 4000000);
        bed_settle(&bed);
    }
    /* The third went above the budget and is the one that reads on. */
    raw_more(&bed.raw, ids[0], big, 90000, false);
    bed_settle(&bed);
    assert_true(raw_stream(&bed.raw, ids[0])->send.len > 0);
    rpc_server_call_pause(bed.test.stream, true);
    bed_settle(&bed);
    assert_int_equal(raw_stream(&bed.raw, ids[0])->send.len, 0);
}

/* One that waits for the budget and meanwhile queues much is fed when the budget is
 * there, but cannot eat: this went round for ever. */
static void
a_call_may_wait_for_the_budget_and_its_reader_at_once(void **state)
{
    VMT_CLEANUP(bed_done) struct bed bed;
    Vmt__Rpctest__Reply reply = rpctest_reply();
    struct rpc_server_call *chat;
    int32_t ids[3];

    (void)state;
    bed_init(&bed);
    for (size_t i = 0; i < 3; i++) {
        ids[i] = hold_partial(&bed.raw, collect_path, 4000000);
        bed_settle(&bed);
    }
    (void)hold_partial(&bed.raw, chat_path, 1000);
    bed_settle(&bed);
    chat = bed.test.stream;
    bed.wire.stall[1] = true;
    reply.data.data = big;
    reply.data.len = BIG;
    for (size_t i = 0; i < 20; i++)
        assert_int_equal(rpc_server_call_send(chat, &reply.base, NULL, 0), 0);
    assert_int_equal(nghttp2_submit_rst_stream(bed.raw.session, 0, ids[2], 8), 0);
    raw_flush(&bed.raw);
    bed_settle(&bed);
    bed.wire.stall[1] = false;
    bed_settle(&bed);
    assert_int_equal(rpc_server_call_queued(chat), 0);
}

static void
without_memory_a_paused_call_ends_in_order(void **state)
{
    bool reached = true;

    (void)state;
    for (size_t n = 0; reached; n++) {
        struct pair_call calls[2] = {{0}, {.pause_on_message = true}};
        Vmt__Rpctest__Request request = rpctest_request();
        struct pair pair;

        pair_init(&pair, NULL);
        pair.test.pause_each = true;
        assert_int_equal(pair_open(&pair, &calls[0], chat_path, 400), 0);
        request.number = 5;
        assert_int_equal(pair_start(&pair, &calls[1], count_path, &request, 400), 0);
        for (uint32_t i = 0; i < 3; i++)
            assert_int_equal(send_one(&calls[0], i, 3000), 0);
        rpc_client_half_close(calls[0].call);
        alloc_fail_after(n);
        for (size_t i = 0; i < 5; i++) {
            settle(&pair);
            if (pair.test.stream)
                rpc_server_call_pause(pair.test.stream, false);
            if (calls[1].call)
                rpc_client_pause(calls[1].call, false);
        }
        settle(&pair);
        reached = alloc_fail_over();
        wire_advance(&pair.clock, &pair.wire, 400);
        assert_int_equal(calls[0].dones, 1);
        assert_int_equal(calls[1].dones, 1);
        pair_done(&pair);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_paused_handler_holds_its_client_back_and_nobody_else),
        cmocka_unit_test(requests_come_one_by_one_when_wanted),
        cmocka_unit_test(a_paused_handler_hears_of_cancel_and_deadline),
        cmocka_unit_test(a_handler_may_finish_what_it_paused),
        cmocka_unit_test(a_bad_request_is_found_when_its_turn_comes),
        cmocka_unit_test(a_paused_client_holds_its_server_back),
        cmocka_unit_test(the_status_waits_behind_the_replies),
        cmocka_unit_test(a_paused_reply_ends_by_deadline_or_cancel),
        cmocka_unit_test(a_complete_answer_outlives_the_connection),
        cmocka_unit_test(a_complete_answer_outlives_a_drain),
        cmocka_unit_test(a_call_that_the_server_ended_takes_no_more),
        cmocka_unit_test(a_paused_call_gives_its_turn_away),
        cmocka_unit_test(a_call_may_wait_for_the_budget_and_its_reader_at_once),
        cmocka_unit_test(without_memory_a_paused_call_ends_in_order),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
