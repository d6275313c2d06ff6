/* SPDX-License-Identifier: BSD-3-Clause */
/* The first SETTINGS of a connection, and whether its peer is there, both sides. */
#include <string.h>

#include "tests/unit/rpc/life_bed.h"
#include "tests/unit/test.h"

#define MINUTE 60000u
#define HOUR (60 * MINUTE)

static const char *const echo[] = {RAW_FIELDS(RPCTEST_PATH("Echo")), NULL};
static const char *const hang[] = {RAW_FIELDS(RPCTEST_PATH("Hang")), NULL};

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
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
