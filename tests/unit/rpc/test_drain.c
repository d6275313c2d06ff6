/* SPDX-License-Identifier: BSD-3-Clause */
/* How a server ends its connections in peace. */
#include <errno.h>

#include "tests/unit/rpc/life_bed.h"
#include "tests/unit/test.h"

#define BYTES(literal) (literal), (sizeof(literal) - 1)
#define NEVER_ID INT32_MAX /* what the first GOAWAY of two says */
#define MINUTE 60000u
#define HOUR (60 * MINUTE)

static const char *const echo[] = {RAW_FIELDS(RPCTEST_PATH("Echo")), NULL};
static const char *const hang[] = {RAW_FIELDS(RPCTEST_PATH("Hang")), NULL};

static void
bed_on_drained(void *arg)
{
    struct bed *bed = arg;

    bed->drained++;
    if (bed->free_server) {
        rpc_server_free(bed->server);
        bed->server = NULL;
    }
}

static void
bed_drain(struct bed *bed, uint32_t grace_ms)
{
    assert_int_equal(rpc_server_drain(bed->server, grace_ms, bed_on_drained, bed, NULL),
                     0);
    assert_int_equal(bed->drained, 0);
}

static void
bed_finish(struct bed *bed)
{
    rpc_server_call_fail(bed->test.hung, RPC_ABORTED, "enough");
    bed->test.hung = NULL;
    bed_settle(bed);
}

static void
a_drain_serves_what_is_on_its_way_and_refuses_what_comes_later(void **state)
{
    VMT_CLEANUP(bed_done) struct bed bed;
    int32_t flying, on_way;

    (void)state;
    bed_init_server(&bed, NULL);
    flying = bed_ask(&bed, hang);
    bed_drain(&bed, 60000);
    /* Before it can know. */
    on_way = raw_request(&bed.raw, echo, BYTES("\0\0\0\0\0"), true);
    assert_true(wire_clock_run(&bed.clock));
    while (bed.raw.goaways == 0)
        assert_true(wire_step(&bed.wire));
    assert_int_equal(bed.raw.goaway_last, NEVER_ID);
    assert_int_equal(bed.raw.goaway_error, NGHTTP2_NO_ERROR);
    bed_settle(&bed);
    assert_true(raw_has(&bed.raw, on_way, "grpc-status: 0\n"));
    assert_int_equal(bed.raw.goaways, 2);
    assert_int_equal(bed.raw.goaway_last, on_way);
    assert_string_equal(bed.raw.goaway_word, "shutting_down");
    bed_advance(&bed, 20000);
    assert_false(bed_is_closed(&bed)); /* the call in flight may end */
    assert_int_equal(bed.drained, 0);
    bed_finish(&bed);
    assert_true(raw_has(&bed.raw, flying, "grpc-status: 10\n"));
    assert_true(bed.raw.ended);
    assert_int_equal(bed.drained, 0); /* the last bytes may still be on their way */
    bed_advance(&bed, 1000);
    assert_true(bed_is_closed(&bed));
    assert_int_equal(bed.drained, 1);
    bed_advance(&bed, 100000);
    assert_int_equal(bed.drained, 1);
}

/* The client ignores the last GOAWAY. */
static void
what_comes_after_the_last_goaway_is_not_served(void **state)
{
    /* HEADERS of stream 9: :method POST, :scheme http, :path /, :authority a */
    static const uint8_t headers[15] = {
        0, 0, 6, NGHTTP2_HEADERS, 5, 0, 0, 0, 9, 0x83, 0x86, 0x84, 0x01, 1, 'a'};
    VMT_CLEANUP(bed_done) struct bed bed;

    (void)state;
    bed_init_server(&bed, NULL);
    (void)bed_ask(&bed, hang);
    bed_drain(&bed, 60000);
    bed_settle(&bed);
    assert_int_equal(bed.raw.goaways, 2);
    assert_int_equal(bed.raw.goaway_last, 1);
    assert_int_equal(
        bed.raw.stream->ops->send(bed.raw.stream, headers, sizeof(headers), NULL, 0), 0);
    bed_settle(&bed);
    assert_string_equal(raw_stream(&bed.raw, 9)->headers, "");
    assert_int_equal(bed.test.requests, 1);
    bed_finish(&bed);
    bed_advance(&bed, 1000);
    assert_int_equal(bed.drained, 1);
}

static void
a_client_that_does_not_answer_gets_the_last_goaway_anyhow(void **state)
{
    VMT_CLEANUP(bed_done) struct bed bed;

    (void)state;
    bed_init_server(&bed, NULL);
    (void)bed_ask(&bed, hang);
    bed.wire.stall[0] = true;
    bed_drain(&bed, 60000);
    bed_advance(&bed, 4999);
    assert_int_equal(bed.raw.goaways, 1);
    bed_advance(&bed, 1);
    assert_int_equal(bed.raw.goaways, 2);
    bed.wire.stall[0] = false;
    bed_finish(&bed);
    bed_advance(&bed, 1000);
    assert_int_equal(bed.drained, 1);
}

static void
what_does_not_end_within_the_grace_is_cut(void **state)
{
    VMT_CLEANUP(bed_done) struct bed bed;

    (void)state;
    bed_init_server(&bed, NULL);
    (void)bed_ask(&bed, hang);
    bed_drain(&bed, 700);
    assert_int_equal(rpc_server_drain(bed.server, 0, bed_on_drained, &bed, NULL),
                     -EALREADY);
    bed_advance(&bed, 699);
    assert_int_equal(bed.test.cancels + bed.drained, 0);
    bed_advance(&bed, 1);
    assert_int_equal(bed.test.cancels, 1);
    assert_int_equal(bed.drained, 1);
    assert_true(bed_is_closed(&bed));
}

/* The last second of one that was thrown out is not waited for. */
static void
what_lingers_is_cut_with_the_rest(void **state)
{
    VMT_CLEANUP(bed_done) struct bed bed;

    (void)state;
    bed_init_server(&bed, NULL);
    (void)bed_ask(&bed, hang);
    bed_drain(&bed, 700);
    bed_settle(&bed);
    bed_advance(&bed, 600);
    for (int i = 0; i < 5; i++)
        bed_ping(&bed);
    assert_string_equal(bed.raw.goaway_word, "too_many_pings");
    assert_int_equal(bed.test.cancels, 1);
    assert_false(bed_is_closed(&bed));
    bed_advance(&bed, 100);
    assert_true(bed_is_closed(&bed));
    assert_int_equal(bed.drained, 1);
}

static void
a_drain_without_connections_is_over_at_once_but_not_from_inside(void **state)
{
    VMT_CLEANUP(bed_done) struct bed bed;
    struct wire late;

    (void)state;
    bed_init_server(&bed, NULL);
    wire_cut(&bed.wire, -EPIPE);
    bed_settle(&bed);
    bed.free_server = true;
    bed_drain(&bed, 700);
    wire_init(&late);
    rpc_server_accept(bed.server, &late.ends[1].base, NULL);
    assert_true(late.ends[1].closed); /* nobody gets in any more */
    bed_advance(&bed, 0);
    assert_int_equal(bed.drained, 1);
    assert_null(bed.server);
    wire_done(&late);
}

static void
free_server_on_cancel(void *arg)
{
    struct bed *bed = arg;

    rpc_server_free(bed->server);
    bed->server = NULL;
}

static void
a_server_may_be_freed_while_it_drains(void **state)
{
    (void)state;
    for (int how = 0; how < 3; how++) {
        VMT_CLEANUP(bed_done) struct bed bed;

        bed_init_server(&bed, NULL);
        (void)bed_ask(&bed, hang);
        if (how == 1) /* by the cut */
            rpc_server_call_on_cancel(bed.test.hung, free_server_on_cancel, &bed);
        bed.free_server = how == 2; /* when it is told */
        bed_drain(&bed, 700);
        if (how == 0)
            free_server_on_cancel(&bed);
        bed_advance(&bed, 700);
        assert_null(bed.server);
        assert_int_equal(bed.drained, how == 2);
    }
}

/* Ages differ, by not more than 10 %. */
static void
an_old_connection_is_drained_and_its_calls_may_end(void **state)
{
    const struct rpc_server_config config = {.age_ms = 10000, .age_grace_ms = 3000};
    uint64_t ages[8];
    bool differ = false;

    (void)state;
    for (size_t i = 0; i < VMT_ARRAY_SIZE(ages); i++) {
        VMT_CLEANUP(bed_done) struct bed bed;

        bed_init_server_at(&bed, &config, 977 * i); /* the jitter begins with the time */
        (void)bed_ask(&bed, hang);
        for (ages[i] = 0; bed.raw.goaways == 0; ages[i] += 10)
            bed_advance(&bed, 10);
        assert_true(ages[i] >= 9000 && ages[i] <= 11010);
        differ |= ages[i] != ages[0];
        assert_string_equal(bed.raw.goaway_word, "max_age");
        bed_advance(&bed, 2980);
        assert_int_equal(bed.test.cancels, 0);
        bed_advance(&bed, 20);
        assert_int_equal(bed.test.cancels, 1);
        assert_true(bed_is_closed(&bed));
    }
    assert_true(differ);
}

static void
without_a_grace_an_old_call_lives_on(void **state)
{
    const struct rpc_server_config config = {.age_ms = 1000};
    VMT_CLEANUP(bed_done) struct bed bed;

    (void)state;
    bed_init_server(&bed, &config);
    (void)bed_ask(&bed, hang);
    bed_advance(&bed, 1100);
    assert_int_equal(bed.raw.goaways, 2);
    bed_advance(&bed, HOUR);
    assert_int_equal(bed.test.cancels, 0);
    bed_finish(&bed);
    bed_advance(&bed, 1000);
    assert_true(bed_is_closed(&bed));
}

/* The call crosses the first GOAWAY. */
static void
a_call_that_ends_idleness_too_late_is_not_cut(void **state)
{
    const struct rpc_server_config config = {.idle_ms = 1000};
    VMT_CLEANUP(bed_done) struct bed bed;
    int32_t id;

    (void)state;
    bed_init_server(&bed, &config);
    bed.wire.stall[1] = true;
    bed_advance(&bed, 1000);
    id = bed_ask(&bed, hang);
    bed.wire.stall[1] = false;
    bed_settle(&bed);
    assert_int_equal(bed.raw.goaways, 2);
    assert_int_equal(bed.raw.goaway_last, id);
    assert_string_equal(bed.raw.goaway_word, "max_idle");
    for (int i = 0; i < 10; i++)
        bed_advance(&bed, MINUTE);
    assert_int_equal(bed.test.cancels, 0);
    bed_finish(&bed);
    assert_true(raw_has(&bed.raw, id, "grpc-status: 10\n"));
    bed_advance(&bed, 1000);
    assert_true(bed_is_closed(&bed));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_drain_serves_what_is_on_its_way_and_refuses_what_comes_later),
        cmocka_unit_test(what_comes_after_the_last_goaway_is_not_served),
        cmocka_unit_test(a_client_that_does_not_answer_gets_the_last_goaway_anyhow),
        cmocka_unit_test(what_does_not_end_within_the_grace_is_cut),
        cmocka_unit_test(what_lingers_is_cut_with_the_rest),
        cmocka_unit_test(a_drain_without_connections_is_over_at_once_but_not_from_inside),
        cmocka_unit_test(a_server_may_be_freed_while_it_drains),
        cmocka_unit_test(an_old_connection_is_drained_and_its_calls_may_end),
        cmocka_unit_test(without_a_grace_an_old_call_lives_on),
        cmocka_unit_test(a_call_that_ends_idleness_too_late_is_not_cut),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
