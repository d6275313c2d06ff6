/* SPDX-License-Identifier: BSD-3-Clause */
/* The life of a connection, from its first SETTINGS to its last GOAWAY, both sides. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/rpc/client.h"
#include "core/rpc/server.h"
#include "tests/unit/rpc/raw.h"
#include "tests/unit/rpc/service.h"
#include "tests/unit/test.h"

#define BYTES(literal) (literal), (sizeof(literal) - 1)
#define NEVER_ID INT32_MAX /* what the first GOAWAY of two says */
#define MINUTE 60000u
#define HOUR (60 * MINUTE)

static const char *const echo[] = {RAW_FIELDS(RPCTEST_PATH("Echo")), NULL};
static const char *const hang[] = {RAW_FIELDS(RPCTEST_PATH("Hang")), NULL};

/* A server of ours and a raw client, or the other way round. */
struct bed {
    struct wire_clock clock;
    struct wire wire;
    struct rpc_server *server;
    struct rpc_client *client;
    struct rpctest test;
    struct raw raw;
    size_t closed, drained, dones;
    struct rpc_status status;
    char reason[200];
    bool free_server;
};

static void
bed_init_wire(struct bed *bed)
{
    memset(bed, 0, sizeof(*bed));
    wire_clock_init(&bed->clock);
    wire_init(&bed->wire);
}

static void
bed_init_server_at(struct bed *bed, const struct rpc_server_config *config, uint64_t ms)
{
    bed_init_wire(bed);
    bed->clock.now_ms += ms;
    assert_int_equal(rpc_server_new(&bed->clock.base, config, &bed->server, NULL), 0);
    assert_int_equal(rpc_server_add(bed->server, &rpctest_service, &bed->test, NULL), 0);
    rpc_server_accept(bed->server, &bed->wire.ends[1].base, NULL);
    raw_init(&bed->raw, &bed->wire.ends[0].base, false);
    wire_settle(&bed->clock, &bed->wire);
}

static void
bed_init_server(struct bed *bed, const struct rpc_server_config *config)
{
    bed_init_server_at(bed, config, 0);
}

static void
bed_on_closed(void *arg, const char *reason)
{
    struct bed *bed = arg;

    bed->closed++;
    (void)snprintf(bed->reason, sizeof(bed->reason), "%s", reason);
}

static void
bed_init_client_to(struct bed *bed, const struct rpc_client_config *config, bool silent)
{
    struct rpc_client_config copy = *config;

    copy.on_closed = bed_on_closed;
    copy.arg = bed;
    bed_init_wire(bed);
    bed->wire.stall[1] = silent;
    raw_init(&bed->raw, &bed->wire.ends[1].base, true);
    assert_int_equal(rpc_client_new(&bed->clock.base, &bed->wire.ends[0].base, &copy,
                                    &bed->client, NULL),
                     0);
    wire_settle(&bed->clock, &bed->wire);
}

static void
bed_init_client(struct bed *bed, const struct rpc_client_config *config)
{
    bed_init_client_to(bed, config, false);
}

static void
bed_done(struct bed *bed)
{
    rpc_client_free(bed->client);
    raw_done(&bed->raw);
    rpc_server_free(bed->server);
    wire_done(&bed->wire);
    assert_int_equal(bed->clock.ntimers, 0);
}

static void
bed_advance(struct bed *bed, uint64_t ms)
{
    wire_advance(&bed->clock, &bed->wire, ms);
}

static void
bed_settle(struct bed *bed)
{
    raw_flush(&bed->raw);
    bed_advance(bed, 0);
}

static bool
bed_is_closed(const struct bed *bed)
{
    return bed->wire.ends[bed->server ? 1 : 0].closed;
}

static void
bed_ping(struct bed *bed)
{
    assert_int_equal(nghttp2_submit_ping(bed->raw.session, 0, NULL), 0);
    bed_settle(bed);
}

static int32_t
bed_ask(struct bed *bed, const char *const *fields)
{
    int32_t id = raw_request(&bed->raw, fields, BYTES("\0\0\0\0\0"), true);

    bed_settle(bed);
    return id;
}

static void
on_done(void *arg, const struct rpc_status *status)
{
    struct bed *bed = arg;

    bed->dones++;
    bed->status = *status;
}

static void
bed_call(struct bed *bed)
{
    static const struct rpc_client_handler handler = {.on_done = on_done};
    const Vmt__Rpctest__Request message = rpctest_request();
    const struct rpc_client_request request = {.path = RPCTEST_PATH("Echo"),
                                               .reply = &vmt__rpctest__reply__descriptor,
                                               .handler = &handler,
                                               .arg = bed};

    assert_int_equal(rpc_client_start(bed->client, &request, &message.base, NULL, NULL),
                     0);
    bed_settle(bed);
}

static void
a_client_asks_a_silent_server_while_a_call_is_open(void **state)
{
    const struct rpc_client_config config = {.keepalive_ms = 1000};
    VMT_CLEANUP(bed_done) struct bed bed;

    (void)state;
    bed_init_client(&bed, &config);
    for (int i = 0; i < 10; i++)
        bed_advance(&bed, 1000);
    assert_int_equal(bed.raw.pings, 0); /* without a call nobody cares */
    bed_call(&bed);
    bed_advance(&bed, 1000);
    assert_int_equal(bed.raw.pings, 1);
    bed_advance(&bed, 999);
    assert_int_equal(bed.raw.pings, 1);
    for (int i = 0; i < 25; i++) /* the answers count as signs of life */
        bed_advance(&bed, 1000);
    assert_true(bed.raw.pings > 20);
    assert_int_equal(bed.closed, 0);
}

static void
a_client_may_ask_without_calls_too(void **state)
{
    const struct rpc_client_config config = {.keepalive_ms = 1000,
                                             .keepalive_without_calls = true};
    VMT_CLEANUP(bed_done) struct bed bed;

    (void)state;
    bed_init_client(&bed, &config);
    bed_advance(&bed, 999);
    assert_int_equal(bed.raw.pings, 0);
    bed_advance(&bed, 1);
    assert_int_equal(bed.raw.pings, 1);
    /* Any byte will do. */
    bed_advance(&bed, 500);
    assert_int_equal(nghttp2_submit_settings(bed.raw.session, 0, NULL, 0), 0);
    bed_settle(&bed);
    bed_advance(&bed, 999);
    assert_int_equal(bed.raw.pings, 1);
    bed_advance(&bed, 1);
    assert_int_equal(bed.raw.pings, 2);
}

static void
without_the_option_no_client_asks(void **state)
{
    const struct rpc_client_config config = {.keepalive_ms = 0};
    VMT_CLEANUP(bed_done) struct bed bed;

    (void)state;
    bed_init_client(&bed, &config);
    bed_call(&bed);
    for (int i = 0; i < 48; i++)
        bed_advance(&bed, HOUR);
    assert_int_equal(bed.raw.pings, 0);
    assert_int_equal(bed.closed, 0);
}

static void
a_server_that_does_not_answer_is_given_up(void **state)
{
    const struct rpc_client_config config = {.keepalive_ms = 1000,
                                             .keepalive_timeout_ms = 300};
    VMT_CLEANUP(bed_done) struct bed bed;

    (void)state;
    bed_init_client(&bed, &config);
    bed_call(&bed);
    bed.raw.mute = true;
    bed_advance(&bed, 1000);
    bed_advance(&bed, 299);
    assert_int_equal(bed.dones, 0);
    bed_advance(&bed, 1);
    assert_int_equal(bed.dones, 1);
    assert_int_equal(bed.status.code, RPC_UNAVAILABLE);
    assert_non_null(strstr(bed.status.text, "keepalive timeout"));
    assert_int_equal(bed.closed, 1);
    assert_true(bed_is_closed(&bed));
}

static void
a_server_asks_its_clients_after_two_hours(void **state)
{
    VMT_CLEANUP(bed_done) struct bed bed;

    (void)state;
    bed_init_server(&bed, NULL);
    bed_advance(&bed, 2 * HOUR - 1);
    assert_int_equal(bed.raw.pings, 0);
    bed_advance(&bed, 1);
    assert_int_equal(bed.raw.pings, 1);
    bed_advance(&bed, 20000);
    assert_false(bed_is_closed(&bed));
    bed.raw.mute = true;
    bed_advance(&bed, 2 * HOUR);
    bed_advance(&bed, 19999);
    assert_false(bed_is_closed(&bed));
    bed_advance(&bed, 1);
    assert_true(bed_is_closed(&bed));
}

static void
a_client_that_pings_too_often_is_told_so_and_closed(void **state)
{
    VMT_CLEANUP(bed_done) struct bed bed;

    (void)state;
    bed_init_server(&bed, NULL);
    (void)bed_ask(&bed, hang);
    for (int i = 0; i < 3; i++) { /* one that is fine, two that are forgiven */
        bed_ping(&bed);
        bed_advance(&bed, 5 * MINUTE - 1);
    }
    assert_int_equal(bed.raw.goaways, 0);
    bed_ping(&bed);
    assert_int_equal(bed.raw.goaways, 1);
    assert_int_equal(bed.raw.goaway_error, NGHTTP2_ENHANCE_YOUR_CALM);
    assert_string_equal(bed.raw.goaway_word, "too_many_pings");
    assert_int_equal(bed.raw.goaway_last, 1);
    assert_true(bed.raw.ended);
    assert_int_equal(bed.test.cancels, 1); /* its call is over at once */
    bed_advance(&bed, 1000);
    assert_true(bed_is_closed(&bed));
}

static void
a_client_that_pings_rarely_or_for_a_reason_is_left_alone(void **state)
{
    VMT_CLEANUP(bed_done) struct bed bed;

    (void)state;
    bed_init_server(&bed, NULL);
    for (int i = 0; i < 20; i++) { /* each answer may be asked after */
        (void)bed_ask(&bed, echo);
        bed_ping(&bed);
        bed_ping(&bed);
    }
    (void)bed_ask(&bed, hang);
    for (int i = 0; i < 20; i++) {
        bed_ping(&bed);
        bed_advance(&bed, 5 * MINUTE);
    }
    assert_int_equal(bed.raw.goaways, 0);
    assert_int_equal(bed.raw.pings_acked, 60);
}

/* How: 0 as it is, 1 with ping_without_calls. */
static void
without_a_call_pings_are_wanted_less(void **state)
{
    (void)state;
    for (int how = 0; how < 2; how++) {
        const struct rpc_server_config config = {
            .ping_min_ms = 1000, .ping_strikes = 1, .ping_without_calls = how == 1};
        VMT_CLEANUP(bed_done) struct bed bed;

        bed_init_server(&bed, &config);
        for (int i = 0; i < 6; i++) {
            bed_ping(&bed);
            bed_advance(&bed, 1000);
        }
        assert_int_equal(bed.raw.goaways, how == 0);
    }
}

static void
pings_are_not_judged_when_all_are_forgiven(void **state)
{
    const struct rpc_server_config config = {.ping_strikes = UINT32_MAX};
    VMT_CLEANUP(bed_done) struct bed bed;

    (void)state;
    bed_init_server(&bed, &config);
    for (int i = 0; i < 50; i++)
        bed_ping(&bed);
    assert_int_equal(bed.raw.goaways, 0);
    assert_int_equal(bed.raw.pings_acked, 50);
}

static void
a_client_that_never_says_settings_is_closed(void **state)
{
    struct bed bed;

    (void)state;
    for (size_t len = 0; len < 24; len += 23) { /* nothing, or most of the preface */
        bed_init_wire(&bed);
        assert_int_equal(rpc_server_new(&bed.clock.base, NULL, &bed.server, NULL), 0);
        rpc_server_accept(bed.server, &bed.wire.ends[1].base, NULL);
        if (len > 0)
            assert_int_equal(bed.wire.ends[0].base.ops->send(&bed.wire.ends[0].base,
                                                             NGHTTP2_CLIENT_MAGIC, len,
                                                             NULL, 0),
                             0);
        bed_advance(&bed, 19999);
        assert_false(bed.wire.ends[1].shut);
        bed_advance(&bed, 1);
        assert_true(bed.wire.ends[1].shut);
        bed_advance(&bed, 1000);
        assert_true(bed_is_closed(&bed));
        rpc_server_free(bed.server);
        wire_done(&bed.wire);
        assert_int_equal(bed.clock.ntimers, 0);
    }
}

static void
a_server_that_never_says_settings_is_given_up(void **state)
{
    const struct rpc_client_config config = {.setup_ms = 700};

    (void)state;
    for (int silent = 0; silent < 2; silent++) {
        VMT_CLEANUP(bed_done) struct bed bed;

        bed_init_client_to(&bed, &config, silent);
        bed_call(&bed);
        bed_advance(&bed, 699);
        assert_int_equal(bed.dones, 0);
        bed_advance(&bed, 1);
        assert_int_equal(bed.dones, silent);
        assert_int_equal(bed.closed, silent);
        if (silent)
            assert_int_equal(bed.status.code, RPC_UNAVAILABLE);
    }
}

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
        cmocka_unit_test(a_client_asks_a_silent_server_while_a_call_is_open),
        cmocka_unit_test(a_client_may_ask_without_calls_too),
        cmocka_unit_test(without_the_option_no_client_asks),
        cmocka_unit_test(a_server_that_does_not_answer_is_given_up),
        cmocka_unit_test(a_server_asks_its_clients_after_two_hours),
        cmocka_unit_test(a_client_that_pings_too_often_is_told_so_and_closed),
        cmocka_unit_test(a_client_that_pings_rarely_or_for_a_reason_is_left_alone),
        cmocka_unit_test(without_a_call_pings_are_wanted_less),
        cmocka_unit_test(pings_are_not_judged_when_all_are_forgiven),
        cmocka_unit_test(a_client_that_never_says_settings_is_closed),
        cmocka_unit_test(a_server_that_never_says_settings_is_given_up),
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
