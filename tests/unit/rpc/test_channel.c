/* SPDX-License-Identifier: BSD-3-Clause */
/* When a channel connects, when it does so again, how it ends. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/base/limits.h"
#include "core/rpc/transport_connector.h"
#include "tests/fake/fake_transport.h"
#include "tests/unit/rpc/channel_bed.h"
#include "tests/unit/rpc/raw.h"
#include "tests/unit/test.h"

#define ECHO RPCTEST_PATH("Echo")
#define HANG RPCTEST_PATH("Hang")

static void
a_channel_is_idle_until_a_call_wants_it(void **state)
{
    VMT_CLEANUP(bed_done) struct bed bed;
    struct probe probe = {0};

    (void)state;
    bed_init(&bed, NULL);
    bed_advance(&bed, 100000);
    assert_int_equal(bed.attempts, 0);
    assert_int_equal(bed_start(&bed, &probe, ECHO, 7, 0), 0);
    assert_int_equal(bed.attempts, 0); /* from the loop */
    bed_run(&bed);
    assert_int_equal(bed.attempts, 1);
    assert_int_equal(bed.timeout_ms, 20000);
    assert_string_equal(bed.states, "CONNECTING ");
    bed_serve(&bed);
    assert_ended(&probe, RPC_OK, "");
    assert_int_equal(probe.messages, 1);
    assert_int_equal(probe.number, 7);
    assert_string_equal(probe.text, "text");
    assert_string_equal(bed.states, "CONNECTING READY ");
    assert_int_equal(rpc_channel_state(bed.channel), RPC_CHANNEL_READY);
}

static void
a_channel_connects_without_a_call_when_asked(void **state)
{
    VMT_CLEANUP(bed_done) struct bed bed;

    (void)state;
    bed_init(&bed, NULL);
    assert_int_equal(rpc_channel_connect(bed.channel), 0);
    bed_run(&bed);
    bed_serve(&bed);
    assert_string_equal(bed.states, "CONNECTING READY ");
    assert_int_equal(rpc_channel_connect(bed.channel), 0); /* is already */
    bed_run(&bed);
    assert_int_equal(bed.attempts, 1);
}

static void
a_channel_may_begin_with_a_connection(void **state)
{
    VMT_CLEANUP(bed_done) struct bed bed;
    struct probe probe = {0}, next = {0};
    struct stream *ends[2];

    (void)state;
    bed_init(&bed, NULL);
    assert_int_equal(fake_stream_pair(bed.clock, ends), 0);
    assert_int_equal(rpc_channel_adopt(bed.channel, ends[0], NULL), 0);
    assert_int_equal(rpc_channel_adopt(bed.channel, ends[0], NULL), -EALREADY);
    assert_int_equal(bed_start(&bed, &probe, ECHO, 1, 0), 0);
    rpc_server_accept(bed.server, ends[1], NULL);
    bed_run(&bed);
    assert_ended(&probe, RPC_OK, "");
    assert_int_equal(bed.attempts, 0);
    fake_stream_break(ends[0], -EPIPE);
    bed_run(&bed);
    assert_int_equal(bed_start(&bed, &next, ECHO, 2, 0), 0);
    bed_run(&bed);
    bed_serve(&bed);
    assert_ended(&next, RPC_OK, "");
    assert_int_equal(bed.attempts, 1);
}

static void
calls_wait_for_the_attempt_and_share_its_failure(void **state)
{
    VMT_CLEANUP(bed_done) struct bed bed;
    struct probe a = {0}, b = {0}, late = {0};

    (void)state;
    bed_init(&bed, NULL);
    assert_int_equal(bed_start(&bed, &a, ECHO, 1, 0), 0);
    bed_run(&bed);
    assert_int_equal(bed_start(&bed, &b, ECHO, 2, 0), 0);
    bed_run(&bed);
    assert_int_equal(a.dones + b.dones, 0);
    bed_refuse(&bed, ECONNREFUSED, "nobody is there");
    assert_ended(&a, RPC_UNAVAILABLE, "nobody is there");
    assert_ended(&b, RPC_UNAVAILABLE, "nobody is there");
    assert_string_equal(bed.states, "CONNECTING TRANSIENT_FAILURE ");
    assert_string_equal(bed.reason, "nobody is there");
    /* Between attempts there is nothing to wait for. */
    assert_int_equal(bed_start(&bed, &late, ECHO, 3, 0), 0);
    assert_int_equal(late.dones, 0);
    bed_run(&bed);
    assert_ended(&late, RPC_UNAVAILABLE, "nobody is there");
    assert_int_equal(bed.attempts, 1);
}

static void
a_connector_that_fails_at_once_is_an_attempt_like_others(void **state)
{
    VMT_CLEANUP(bed_done) struct bed bed;
    struct probe probe = {0};

    (void)state;
    bed_init(&bed, NULL);
    bed.refuse_at_once = true;
    assert_int_equal(bed_start(&bed, &probe, ECHO, 1, 0), 0);
    bed_run(&bed);
    assert_ended(&probe, RPC_UNAVAILABLE, "no way there");
    assert_string_equal(bed.states, "TRANSIENT_FAILURE ");
    assert_int_equal(bed.attempts, 1);
    bed_advance(&bed, 999);
    assert_int_equal(bed.attempts, 1);
    bed_advance(&bed, 1);
    assert_int_equal(bed.attempts, 2);
}

/* The time that a call waited is gone from its deadline. */
/* Milliseconds from the begin of one attempt, which fails at once, to the next. */
static uint64_t
pause_after_failure(struct bed *bed)
{
    uint64_t before = bed->clock->ops->now_ms(bed->clock);
    size_t attempts = bed->attempts;

    bed_refuse(bed, ECONNREFUSED, "no");
    while (bed->attempts == attempts)
        bed_advance(bed, fake_clock_next_ms(bed->fake));
    return bed->clock->ops->now_ms(bed->clock) - before;
}

static void
begin_attempts(struct bed *bed, uint64_t seed)
{
    const struct rpc_channel_config config = {.seed = seed};

    bed_init(bed, &config);
    assert_int_equal(rpc_channel_connect(bed->channel), 0);
    bed_run(bed);
}

static void
attempts_back_off_as_grpc_has_it(void **state)
{
    VMT_CLEANUP(bed_done) struct bed bed;
    double mean = 1000;
    uint64_t last = 0;

    (void)state;
    begin_attempts(&bed, 5);
    assert_int_equal(pause_after_failure(&bed), 1000);
    for (int i = 0; i < 20; i++) {
        mean = mean * 1.6 < 120000 ? mean * 1.6 : 120000;
        last = pause_after_failure(&bed);
        assert_true((double)last >= mean * 0.8 - 2 && (double)last <= mean * 1.2 + 2);
        assert_true(bed.timeout_ms >= 20000);
    }
    assert_true(last >= 96000);
    assert_true(bed.timeout_ms >= 96000); /* an attempt may take as long as its pause */
}

static void
success_begins_the_backoff_anew(void **state)
{
    VMT_CLEANUP(bed_done) struct bed bed;
    struct probe probe = {0};

    (void)state;
    begin_attempts(&bed, 5);
    for (int i = 0; i < 5; i++)
        (void)pause_after_failure(&bed);
    bed_serve(&bed);
    assert_string_equal(bed.reason, "");
    bed_advance(&bed, 1000000);
    fake_stream_break(bed.ours, -ECONNRESET);
    bed_run(&bed);
    assert_int_equal(bed_start(&bed, &probe, ECHO, 1, 0), 0);
    bed_run(&bed);
    assert_int_equal(pause_after_failure(&bed), 1000);
}

static void
a_reset_of_the_backoff_tries_at_once(void **state)
{
    VMT_CLEANUP(bed_done) struct bed bed;

    (void)state;
    begin_attempts(&bed, 5);
    for (int i = 0; i < 5; i++)
        (void)pause_after_failure(&bed);
    bed_refuse(&bed, ECONNREFUSED, "no");
    assert_int_equal(bed.attempts, 6);
    assert_int_equal(rpc_channel_reset_backoff(bed.channel), 0);
    bed_run(&bed);
    assert_int_equal(bed.attempts, 7);
    assert_int_equal(pause_after_failure(&bed), 1000);
    assert_int_equal(rpc_channel_reset_backoff(bed.channel), 0); /* CONNECTING: goes on */
    bed_run(&bed);
    assert_int_equal(bed.attempts, 8);
}

static void
a_lazy_channel_makes_no_attempt_that_nobody_waits_for(void **state)
{
    const struct rpc_channel_config config = {.lazy = true};
    VMT_CLEANUP(bed_done) struct bed bed;
    struct probe probes[3];

    (void)state;
    memset(probes, 0, sizeof(probes));
    bed_init(&bed, &config);
    assert_int_equal(bed_start(&bed, &probes[0], ECHO, 1, 0), 0);
    bed_run(&bed);
    bed_refuse(&bed, ECONNREFUSED, "no");
    bed_advance(&bed, 1000000);
    assert_int_equal(bed.attempts, 1);
    assert_string_equal(bed.states, "CONNECTING TRANSIENT_FAILURE IDLE ");
    assert_int_equal(bed_start(&bed, &probes[1], ECHO, 1, 0), 0);
    bed_run(&bed);
    bed_refuse(&bed, ECONNREFUSED, "no");
    probes[2].wait_for_ready = true;
    assert_int_equal(bed_start(&bed, &probes[2], ECHO, 1, 0), 0);
    bed_advance(&bed, 10000);
    assert_int_equal(bed.attempts, 3); /* somebody waits */
    bed_refuse(&bed, ECONNREFUSED, "no");
    rpc_channel_cancel(probes[2].call);
    assert_int_equal(rpc_channel_connect(bed.channel), 0);
    bed_advance(&bed, 10000);
    assert_int_equal(bed.attempts, 4); /* somebody asked */
}

static void
a_seed_replays_the_chance(void **state)
{
    uint64_t pauses[3][8];
    static const uint64_t seeds[3] = {11, 11, 12};

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        VMT_CLEANUP(bed_done) struct bed bed;

        begin_attempts(&bed, seeds[i]);
        for (size_t n = 0; n < 8; n++)
            pauses[i][n] = pause_after_failure(&bed);
    }
    assert_memory_equal(pauses[0], pauses[1], sizeof(pauses[0]));
    assert_memory_not_equal(pauses[0], pauses[2], sizeof(pauses[0]));
}

static void
who_accepts_and_says_nothing_is_not_ready(void **state)
{
    VMT_CLEANUP(bed_done) struct bed bed;
    struct probe probe = {0};

    (void)state;
    bed_init(&bed, NULL);
    assert_int_equal(bed_start(&bed, &probe, ECHO, 1, 0), 0);
    bed_run(&bed);
    bed_advance(&bed, 5000);
    bed_connect(&bed);
    bed_advance(&bed, 14999);
    assert_string_equal(bed.states, "CONNECTING ");
    assert_int_equal(probe.dones, 0);
    bed_advance(&bed, 1);
    assert_ended(&probe, RPC_UNAVAILABLE, "HTTP/2");
    /* The pause is over long since. */
    assert_int_equal(bed.attempts, 2);
}

static void
who_accepts_and_closes_is_not_run_after(void **state)
{
    VMT_CLEANUP(bed_done) struct bed bed;
    struct probe probe = {.wait_for_ready = true};

    (void)state;
    bed_init(&bed, NULL);
    assert_int_equal(bed_start(&bed, &probe, ECHO, 1, 0), 0);
    bed_run(&bed);
    for (size_t i = 1; i <= 4; i++) {
        assert_int_equal(bed.attempts, i);
        bed_connect(&bed);
        stream_close(bed.theirs);
        bed.theirs = NULL;
        bed_run(&bed);
        bed_advance(&bed, 999);
        assert_int_equal(bed.attempts, i);
        while (bed.attempts == i)
            bed_advance(&bed, 100);
    }
    assert_int_equal(probe.dones, 0);
}

/* A server that speaks HTTP/2 and sends everyone away before a call came. */
static void
who_settles_and_says_goaway_is_not_run_after(void **state)
{
    VMT_CLEANUP(bed_done) struct bed bed;

    (void)state;
    begin_attempts(&bed, 1);
    for (size_t i = 1; i <= 4; i++) {
        struct raw raw;

        assert_int_equal(bed.attempts, i);
        bed_connect(&bed);
        raw_init(&raw, bed.theirs, true);
        bed.theirs = NULL;
        assert_int_equal(nghttp2_submit_goaway(raw.session, 0, 0, 0, NULL, 0), 0);
        raw_flush(&raw);
        bed_run(&bed);
        raw_done(&raw);
        bed_run(&bed);
        assert_int_equal(rpc_channel_state(bed.channel), RPC_CHANNEL_TRANSIENT_FAILURE);
        assert_int_equal(bed.attempts, i);
        bed_advance(&bed, 999);
        assert_int_equal(bed.attempts, i);
        bed_advance(&bed, 1);
    }
}

static void
a_lost_connection_ends_its_calls_and_the_next_call_makes_another(void **state)
{
    VMT_CLEANUP(bed_done) struct bed bed;
    struct probe hangs = {.wait_for_ready = true}, next = {0};

    (void)state;
    bed_init(&bed, NULL);
    assert_int_equal(bed_start(&bed, &hangs, HANG, 1, 0), 0);
    bed_run(&bed);
    bed_serve(&bed);
    assert_int_equal(bed.test.requests, 1);
    fake_stream_break(bed.ours, -ECONNRESET);
    bed_run(&bed);
    assert_ended(&hangs, RPC_UNAVAILABLE, "connection broken");
    assert_string_equal(bed.states, "CONNECTING READY IDLE ");
    bed_advance(&bed, 100000);
    assert_int_equal(bed.attempts, 1);
    assert_int_equal(bed_start(&bed, &next, ECHO, 2, 0), 0);
    bed_run(&bed);
    assert_int_equal(bed.attempts, 2);
    bed_serve(&bed);
    assert_ended(&next, RPC_OK, "");
    assert_int_equal(bed.test.requests, 2); /* nothing was sent twice */
}

/* The break is known to nobody when the call starts. */
static void
goaway_lets_calls_end_while_new_ones_go_elsewhere(void **state)
{
    static const char *const fields[] = {":status", "200", "content-type",
                                         "application/grpc", NULL};
    static const char *const trailers[] = {"grpc-status", "0", NULL};
    VMT_CLEANUP(bed_done) struct bed bed;
    struct probe old = {0}, next = {0};
    struct raw raw;

    (void)state;
    bed_init(&bed, NULL);
    assert_int_equal(bed_start(&bed, &old, ECHO, 1, 0), 0);
    bed_run(&bed);
    bed_connect(&bed);
    raw_init(&raw, bed.theirs, true);
    bed.theirs = NULL;
    raw_flush(&raw);
    bed_run(&bed);
    assert_int_equal(nghttp2_submit_goaway(raw.session, 0, 1, 0, NULL, 0), 0);
    raw_flush(&raw);
    bed_run(&bed);
    assert_string_equal(bed.states, "CONNECTING READY IDLE ");
    assert_int_equal(bed_start(&bed, &next, ECHO, 2, 0), 0);
    bed_run(&bed);
    assert_int_equal(bed.attempts, 2);
    bed_serve(&bed);
    assert_ended(&next, RPC_OK, "");
    assert_int_equal(old.dones, 0);
    raw_respond(&raw, 1, fields, "\0\0\0\0\0", 5, trailers);
    bed_run(&bed);
    assert_ended(&old, RPC_OK, "");
    assert_true(raw.ended); /* and its connection is closed */
    raw_done(&raw);
}

/* The next connection, to a raw server. */
static void
begin_raw(struct bed *bed, struct raw *raw)
{
    assert_int_equal(rpc_channel_connect(bed->channel), 0);
    bed_run(bed);
    bed_connect(bed);
    raw_init(raw, bed->theirs, true);
    bed->theirs = NULL;
    raw_flush(raw);
    bed_run(bed);
}

static void
keepalive_is_less_eager_after_too_many_pings(void **state)
{
    static const char why[] = "too_many_pings";
    const struct rpc_channel_config config = {
        .client = {.keepalive_ms = 10000, .keepalive_without_calls = true}};
    VMT_CLEANUP(bed_done) struct bed bed;

    (void)state;
    bed_init(&bed, &config);
    for (uint64_t ms = 10000; ms <= 40000; ms *= 2) {
        struct raw raw;

        begin_raw(&bed, &raw);
        bed_advance(&bed, ms - 1);
        assert_int_equal(raw.pings, 0);
        bed_advance(&bed, 1);
        assert_int_equal(raw.pings, 1);
        assert_int_equal(nghttp2_submit_goaway(raw.session, 0, 0,
                                               NGHTTP2_ENHANCE_YOUR_CALM,
                                               (const uint8_t *)why, sizeof(why) - 1),
                         0);
        raw_flush(&raw);
        bed_run(&bed);
        assert_int_equal(rpc_channel_state(bed.channel), RPC_CHANNEL_IDLE);
        raw_done(&raw);
    }
}

struct late_server {
    struct rpc_server *server;
};

static void
on_accept(void *arg, struct stream *s, const struct stream_peer *peer)
{
    rpc_server_accept(((struct late_server *)arg)->server, s, peer);
}

/* Over a transport: nobody listens at first, then a server comes, goes and comes. */
static void
a_transport_is_dialed_until_somebody_listens(void **state)
{
    VMT_CLEANUP(bed_done) struct bed bed;
    struct transport *host = NULL, *guest = NULL;
    struct transport_listener *listener = NULL;
    struct connector *connector = NULL;
    struct probe probe = {.wait_for_ready = true};
    struct late_server late;
    struct fake_net *net;

    (void)state;
    bed_init(&bed, NULL);
    bed_free_channel(&bed);
    net = fake_net_new(bed.clock);
    assert_non_null(net);
    assert_int_equal(fake_net_transport(net, VMT_CID_HOST, &host), 0);
    assert_int_equal(fake_net_transport(net, 40, &guest), 0);
    assert_int_equal(guest->ops->vm_add(guest, VMT_CID_HOST, NULL, NULL), 0);
    assert_int_equal(transport_connector_new(host, 40, 8888, &connector, NULL), 0);
    assert_int_equal(rpc_channel_new(bed.clock, connector, NULL, &bed.channel, NULL), 0);
    assert_int_equal(bed_start(&bed, &probe, ECHO, 3, 0), 0);
    bed_advance(&bed, 500); /* no such VM */
    assert_int_equal(rpc_channel_state(bed.channel), RPC_CHANNEL_TRANSIENT_FAILURE);
    assert_int_equal(host->ops->vm_add(host, 40, NULL, NULL), 0);
    bed_advance(&bed, 1000); /* refused */
    late.server = bed.server;
    assert_int_equal(guest->ops->listen(guest, 8888, on_accept, &late, &listener, NULL),
                     0);
    bed_advance(&bed, 5000);
    assert_ended(&probe, RPC_OK, "");
    bed_free_channel(&bed);
    guest->ops->unlisten(listener);
    rpc_server_free(bed.server);
    bed.server = NULL;
    bed_run(&bed);
    guest->ops->free(guest);
    host->ops->free(host);
    fake_net_free(net);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_channel_is_idle_until_a_call_wants_it),
        cmocka_unit_test(a_channel_connects_without_a_call_when_asked),
        cmocka_unit_test(a_channel_may_begin_with_a_connection),
        cmocka_unit_test(calls_wait_for_the_attempt_and_share_its_failure),
        cmocka_unit_test(a_connector_that_fails_at_once_is_an_attempt_like_others),
        cmocka_unit_test(attempts_back_off_as_grpc_has_it),
        cmocka_unit_test(success_begins_the_backoff_anew),
        cmocka_unit_test(a_reset_of_the_backoff_tries_at_once),
        cmocka_unit_test(a_lazy_channel_makes_no_attempt_that_nobody_waits_for),
        cmocka_unit_test(a_seed_replays_the_chance),
        cmocka_unit_test(who_accepts_and_says_nothing_is_not_ready),
        cmocka_unit_test(who_accepts_and_closes_is_not_run_after),
        cmocka_unit_test(who_settles_and_says_goaway_is_not_run_after),
        cmocka_unit_test(
            a_lost_connection_ends_its_calls_and_the_next_call_makes_another),
        cmocka_unit_test(goaway_lets_calls_end_while_new_ones_go_elsewhere),
        cmocka_unit_test(keepalive_is_less_eager_after_too_many_pings),
        cmocka_unit_test(a_transport_is_dialed_until_somebody_listens),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
