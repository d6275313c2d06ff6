/* SPDX-License-Identifier: BSD-3-Clause */
/* Whatever happens to the connection or to memory: every call that was started is
 * answered exactly once, and nothing leaks (the sanitizer says so). */
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/rpc/alloc.h"
#include "tests/unit/rpc/pair.h"
#include "tests/unit/rpc/raw.h"
#include "tests/unit/test.h"

#define CALLS 6

/* One of each kind, half of them compressed. Returns how many were started. */
static size_t
start_some(struct pair *pair, struct pair_call *calls)
{
    static const char *const paths[CALLS] = {RPCTEST_PATH("Echo"), RPCTEST_PATH("Count"),
                                             RPCTEST_PATH("Fail"), RPCTEST_PATH("Echo"),
                                             RPCTEST_PATH("Hang"), "/no/Such"};
    VMT_CLEANUP(rpc_metadata_done) struct rpc_metadata metadata = {0};
    Vmt__Rpctest__Request request = rpctest_request();
    static uint8_t data[3000];
    size_t started = 0;

    (void)rpc_metadata_add(&metadata, "k", "v", 1);
    (void)rpc_metadata_add(&metadata, "b-bin", "\0\xff", 2);
    pair->metadata = &metadata;
    pair->test.encoding = RPC_GZIP;

    request.text = (char *)(uintptr_t) "text";
    request.number = 5;
    request.data.data = data;
    request.data.len = sizeof(data);
    for (size_t i = 0; i < CALLS; i++) {
        memset(&calls[i], 0, sizeof(calls[i]));
        pair->encoding = i % 2 ? RPC_GZIP : RPC_IDENTITY;
        if (pair_start(pair, &calls[i], paths[i], &request, 400) == 0)
            started++;
        else
            calls[i].pair = NULL;
    }
    pair->metadata = NULL; /* the calls have copies */
    return started;
}

static void
check_answered_once(const struct pair_call *calls)
{
    for (size_t i = 0; i < CALLS; i++) {
        if (calls[i].dones != (calls[i].pair ? 1 : 0))
            fail_msg("call %zu was answered %zu times", i, calls[i].dones);
    }
}

static void
every_size_of_pieces_gives_the_same_answers(void **state)
{
    static const enum rpc_code codes[CALLS] = {
        RPC_OK, RPC_OK, RPC_NOT_FOUND, RPC_OK, RPC_DEADLINE_EXCEEDED, RPC_UNIMPLEMENTED};

    (void)state;
    for (size_t chunk = 1; chunk < 300; chunk += chunk < 40 ? 1 : 37) {
        struct pair_call calls[CALLS];
        struct pair pair;

        pair_init(&pair, NULL);
        pair.wire.chunk = chunk;
        assert_int_equal(start_some(&pair, calls), CALLS);
        wire_settle(&pair.clock, &pair.wire);
        wire_advance(&pair.clock, &pair.wire, 400);
        check_answered_once(calls);
        for (size_t i = 0; i < CALLS; i++)
            assert_int_equal(calls[i].status.code, codes[i]);
        assert_int_equal(calls[1].messages, 5);
        assert_int_equal(calls[1].bytes, 5 * 3000);
        pair_done(&pair);
    }
}

/* Cut one direction after every number of bytes, by an end and by an error. */
static void
a_cut_at_any_byte_answers_every_call_once(void **state)
{
    (void)state;
    for (size_t side = 0; side < 2; side++) {
        size_t total = 1;

        for (size_t at = 0; at < total; at += 1 + at / 60) {
            struct pair_call calls[CALLS];
            struct pair pair;

            pair_init(&pair, NULL);
            pair.wire.stop_after[side] = at;
            pair.wire.cut_status = at % 2 ? -ECONNRESET : 0;
            (void)start_some(&pair, calls);
            wire_settle(&pair.clock, &pair.wire);
            wire_advance(&pair.clock, &pair.wire, 400);
            check_answered_once(calls);
            if (pair.test.hung)
                fail_msg("a handler was not told, cut at %zu", at);
            /* On the way to the cut as much as flows without one. */
            if (total < pair.wire.ends[side].sent_total)
                total = pair.wire.ends[side].sent_total;
            pair_done(&pair);
        }
        assert_true(total > 1000);
    }
}

static void
a_failed_allocation_anywhere_loses_no_call(void **state)
{
    bool reached = true;
    size_t n;

    (void)state;
    for (n = 0; reached; n++) {
        struct pair_call calls[CALLS];
        struct pair pair;

        pair_init(&pair, NULL);
        alloc_fail_after(n);
        (void)start_some(&pair, calls);
        wire_settle(&pair.clock, &pair.wire);
        wire_advance(&pair.clock, &pair.wire, 400);
        reached = alloc_fail_over();
        wire_advance(&pair.clock, &pair.wire, 400);
        check_answered_once(calls);
        if (pair.test.hung)
            rpc_server_call_fail(pair.test.hung, RPC_ABORTED, "test over");
        pair_done(&pair);
    }
    assert_true(n > 5 * CALLS); /* or the allocator is not ours */
}

static void
a_failed_allocation_in_setting_up_leaves_nothing(void **state)
{
    bool reached = true;

    (void)state;
    for (size_t n = 0; reached; n++) {
        struct rpc_server *server = NULL;
        struct rpc_client *client = NULL;
        struct rpctest test = {0};
        struct wire_clock clock;
        struct wire wire;

        wire_clock_init(&clock);
        wire_init(&wire);
        alloc_fail_after(n);
        if (rpc_server_new(&clock.base, NULL, &server, NULL) == 0 &&
            rpc_server_add(server, &rpctest_service, &test, NULL) == 0)
            rpc_server_accept(server, &wire.ends[1].base, NULL);
        (void)rpc_client_new(&clock.base, &wire.ends[0].base, NULL, &client, NULL);
        reached = alloc_fail_over();
        rpc_client_free(client);
        rpc_server_free(server);
        wire_done(&wire);
        assert_int_equal(clock.ntimers, 0);
    }
}

/* The client, and with it the call, is freed by its own callbacks. */
static void
a_client_may_be_freed_by_its_callbacks(void **state)
{
    Vmt__Rpctest__Request request = rpctest_request();

    (void)state;
    request.number = 3;
    for (int how = 0; how < 5; how++) {
        struct pair_call calls[3] = {0};
        struct pair pair;

        pair_init(&pair, NULL);
        calls[0].free_on_done = how == 0;
        calls[0].free_on_message = how == 1 || how == 2;
        calls[0].cancel_on_message = how == 3 || how == 4;
        for (size_t i = 0; i < 3; i++)
            assert_int_equal(
                pair_start(&pair, &calls[i],
                           how % 2 ? RPCTEST_PATH("Count") : RPCTEST_PATH("Echo"),
                           &request, 0),
                0);
        wire_settle(&pair.clock, &pair.wire);
        assert_int_equal(calls[0].dones, how == 0);
        assert_int_equal(calls[0].messages, 1);
        assert_int_equal(calls[2].dones, how >= 3);
        pair_done(&pair);
    }
}

static void
cancel_frees_server(void *arg)
{
    struct pair *pair = arg;

    rpc_server_free(pair->server);
    pair->server = NULL;
}

static void
a_server_may_be_freed_by_its_callbacks(void **state)
{
    (void)state;
    for (int how = 0; how < 3; how++) {
        struct pair_call calls[2] = {0};
        struct pair pair;

        pair_init(&pair, NULL);
        for (size_t i = 0; i < 2; i++)
            assert_int_equal(pair_start(&pair, &calls[i], RPCTEST_PATH("Hang"), NULL,
                                        how == 2 ? 300 : 0),
                             0);
        wire_settle(&pair.clock, &pair.wire);
        rpc_server_call_on_cancel(pair.test.hung, cancel_frees_server, &pair);
        if (how == 0)
            rpc_client_cancel(calls[1].call);
        if (how == 1)
            wire_cut(&pair.wire, -EPIPE);
        pair.wire.stall[0] = how == 2;
        wire_advance(&pair.clock, &pair.wire, 300);
        assert_null(pair.server);
        pair_done(&pair);
    }
}

static void
a_late_wish_to_be_told_of_the_cancel_is_granted(void **state)
{
    (void)state;
    for (int how = 0; how < 3; how++) {
        struct pair_call call = {0};
        struct pair pair;

        pair_init(&pair, NULL);
        pair.test.keep_on_cancel = true;
        assert_int_equal(pair_start(&pair, &call, RPCTEST_PATH("Hang"), NULL, 300), 0);
        wire_settle(&pair.clock, &pair.wire);
        if (how == 0)
            rpc_client_cancel(call.call);
        pair.wire.stall[0] = how == 2; /* deadline, the stream stays open */
        wire_advance(&pair.clock, &pair.wire, 300);
        rpc_server_call_on_cancel(pair.test.hung, cancel_frees_server, &pair);
        assert_non_null(pair.server); /* not from inside */
        wire_settle(&pair.clock, &pair.wire);
        assert_null(pair.server);
        pair_done(&pair);
    }
}

static void
a_server_goes_with_calls_that_nobody_finished(void **state)
{
    struct pair_call calls[2] = {0};
    struct pair pair;

    (void)state;
    pair_init(&pair, NULL);
    pair.test.keep_on_cancel = true;
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(pair_start(&pair, &calls[i], RPCTEST_PATH("Hang"), NULL, 0), 0);
    wire_settle(&pair.clock, &pair.wire);
    rpc_client_cancel(calls[0].call);
    wire_settle(&pair.clock, &pair.wire);
    pair_done(&pair);
}

/* A client of ours and a server that neither closes nor answers. */
struct deaf {
    struct wire_clock clock;
    struct wire wire;
    struct rpc_client *client;
    struct raw raw;
    size_t dones;
};

static void
deaf_init(struct deaf *deaf)
{
    memset(deaf, 0, sizeof(*deaf));
    wire_clock_init(&deaf->clock);
    wire_init(&deaf->wire);
    raw_init(&deaf->raw, &deaf->wire.ends[1].base, true);
    assert_int_equal(rpc_client_new(&deaf->clock.base, &deaf->wire.ends[0].base, NULL,
                                    &deaf->client, NULL),
                     0);
    wire_settle(&deaf->clock, &deaf->wire);
}

static void
deaf_done(struct deaf *deaf)
{
    rpc_client_free(deaf->client);
    raw_done(&deaf->raw);
    wire_done(&deaf->wire);
    assert_int_equal(deaf->clock.ntimers, 0);
}

static void
deaf_on_done(void *arg, const struct rpc_status *status)
{
    assert_int_not_equal(status->code, RPC_OK);
    ((struct deaf *)arg)->dones++;
}

static int
deaf_start(struct deaf *deaf, struct rpc_client_call **ret_call)
{
    static const struct rpc_client_handler handler = {.on_done = deaf_on_done};
    const struct rpc_client_request request = {.path = RPCTEST_PATH("Echo"),
                                               .reply = &vmt__rpctest__reply__descriptor,
                                               .handler = &handler,
                                               .arg = deaf};
    const Vmt__Rpctest__Request message = rpctest_request();

    return rpc_client_start(deaf->client, &request, &message.base, ret_call, NULL);
}

/* Its peer may never say anything again. */
static void
a_call_that_was_started_without_memory_to_spare_is_sent_or_ends(void **state)
{
    bool reached = true;
    size_t sent = 0;

    (void)state;
    for (size_t n = 0; reached; n++) {
        struct deaf deaf;
        int r;

        deaf_init(&deaf);
        alloc_fail_after(n);
        r = deaf_start(&deaf, NULL);
        reached = alloc_fail_over();
        wire_settle(&deaf.clock, &deaf.wire);
        sent += raw_has(&deaf.raw, 1, ":path");
        if (r == 0 && deaf.dones == 0 && !raw_has(&deaf.raw, 1, ":path"))
            fail_msg("nothing became of the call, allocation %zu", n);
        deaf_done(&deaf);
    }
    assert_true(sent > 1); /* with a failure, too */
}

/* Not even a timer for the news is to be had. */
static void
a_connection_that_failed_without_any_memory_is_told_with_the_next_bytes(void **state)
{
    static const uint8_t ping[17] = {0, 0, 8, NGHTTP2_PING};
    struct rpc_client_call *calls[2];
    struct deaf deaf;

    (void)state;
    deaf_init(&deaf);
    for (size_t i = 0; i < VMT_ARRAY_SIZE(calls); i++)
        assert_int_equal(deaf_start(&deaf, &calls[i]), 0);
    wire_settle(&deaf.clock, &deaf.wire);
    alloc_fail_all();
    rpc_client_cancel(calls[0]);
    (void)alloc_fail_over();
    assert_int_equal(deaf.dones, 0);
    assert_true(deaf.wire.ends[0].shut); /* an honest peer would close */
    assert_int_equal(
        deaf.raw.stream->ops->send(deaf.raw.stream, ping, sizeof(ping), NULL, 0), 0);
    wire_settle(&deaf.clock, &deaf.wire);
    assert_int_equal(deaf.dones, 1);
    deaf_done(&deaf);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_size_of_pieces_gives_the_same_answers),
        cmocka_unit_test(a_cut_at_any_byte_answers_every_call_once),
        cmocka_unit_test(a_failed_allocation_anywhere_loses_no_call),
        cmocka_unit_test(a_failed_allocation_in_setting_up_leaves_nothing),
        cmocka_unit_test(a_client_may_be_freed_by_its_callbacks),
        cmocka_unit_test(a_server_may_be_freed_by_its_callbacks),
        cmocka_unit_test(a_late_wish_to_be_told_of_the_cancel_is_granted),
        cmocka_unit_test(a_server_goes_with_calls_that_nobody_finished),
        cmocka_unit_test(a_call_that_was_started_without_memory_to_spare_is_sent_or_ends),
        cmocka_unit_test(
            a_connection_that_failed_without_any_memory_is_told_with_the_next_bytes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
