/* SPDX-License-Identifier: BSD-3-Clause */
/* What becomes of calls that wait for a connection. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "core/adapter/clock.h"
#include "core/base/cleanup.h"
#include "tests/unit/rpc/channel_bed.h"
#include "tests/unit/test.h"

#define ECHO RPCTEST_PATH("Echo")
#define HANG RPCTEST_PATH("Hang")

static void
who_waits_for_ready_outlasts_failures(void **state)
{
    VMT_CLEANUP(bed_done) struct bed bed;
    struct probe patient = {.wait_for_ready = true}, late = {.wait_for_ready = true};

    (void)state;
    bed_init(&bed, NULL);
    assert_int_equal(bed_start(&bed, &patient, ECHO, 1, 60000), 0);
    bed_run(&bed);
    bed_refuse(&bed, ECONNREFUSED, "no");
    assert_int_equal(bed_start(&bed, &late, ECHO, 2, 0), 0);
    for (int i = 0; i < 3; i++) {
        while (!bed.on_done)
            bed_advance(&bed, 100);
        bed_refuse(&bed, ECONNREFUSED, "no");
    }
    assert_int_equal(patient.dones + late.dones, 0);
    while (!bed.on_done)
        bed_advance(&bed, 100);
    bed_serve(&bed);
    assert_ended(&patient, RPC_OK, "");
    assert_ended(&late, RPC_OK, "");
    assert_int_equal(bed.test.requests, 2);
}

static void
waiting_ends_at_the_deadline_with_the_reason(void **state)
{
    VMT_CLEANUP(bed_done) struct bed bed;
    struct probe first = {.wait_for_ready = true}, second = {.wait_for_ready = true};

    (void)state;
    bed_init(&bed, NULL);
    assert_int_equal(bed_start(&bed, &first, ECHO, 1, 500), 0);
    assert_int_equal(bed_start(&bed, &second, ECHO, 1, 900), 0);
    bed_advance(&bed, 500);
    assert_ended(&first, RPC_DEADLINE_EXCEEDED, "without a connection");
    bed_refuse(&bed, ECONNREFUSED, "no such thing");
    bed_advance(&bed, 399);
    assert_int_equal(second.dones, 0);
    bed_advance(&bed, 1);
    assert_ended(&second, RPC_DEADLINE_EXCEEDED, "no such thing");
}

static void
the_deadline_goes_on_over_the_connection(void **state)
{
    VMT_CLEANUP(bed_done) struct bed bed;
    struct probe probe = {0};

    (void)state;
    bed_init(&bed, NULL);
    assert_int_equal(bed_start(&bed, &probe, HANG, 1, 1000), 0);
    bed_advance(&bed, 600);
    bed_serve(&bed);
    assert_int_equal(bed.test.requests, 1);
    bed_advance(&bed, 399);
    assert_int_equal(probe.dones, 0);
    bed_advance(&bed, 1);
    assert_ended(&probe, RPC_DEADLINE_EXCEEDED, "");
}

static void
a_cancelled_call_is_not_heard_of_in_any_state(void **state)
{
    VMT_CLEANUP(bed_done) struct bed bed;
    struct probe probes[6];

    (void)state;
    memset(probes, 0, sizeof(probes));
    bed_init(&bed, NULL);
    assert_int_equal(bed_start(&bed, &probes[0], ECHO, 1, 100), 0);
    rpc_channel_cancel(probes[0].call); /* before the first turn */
    bed_run(&bed);
    assert_int_equal(bed.attempts, 0);
    assert_int_equal(bed_start(&bed, &probes[1], ECHO, 1, 100), 0);
    bed_run(&bed);
    rpc_channel_cancel(probes[1].call); /* CONNECTING */
    bed_refuse(&bed, ECONNREFUSED, "no");
    probes[2].wait_for_ready = true;
    assert_int_equal(bed_start(&bed, &probes[2], ECHO, 1, 100), 0);
    assert_int_equal(bed_start(&bed, &probes[3], ECHO, 1, 100), 0);
    rpc_channel_cancel(probes[2].call); /* TRANSIENT_FAILURE */
    rpc_channel_cancel(probes[3].call);
    bed_advance(&bed, 1000);
    bed_serve(&bed);
    assert_int_equal(bed_start(&bed, &probes[4], ECHO, 1, 100), 0);
    rpc_channel_cancel(probes[4].call); /* READY, not sent */
    assert_int_equal(bed_start(&bed, &probes[5], HANG, 1, 0), 0);
    bed_run(&bed);
    rpc_channel_cancel(probes[5].call);
    rpc_channel_cancel(NULL);
    bed_advance(&bed, 1000);
    assert_int_equal(bed.test.cancels, 1);
    for (size_t i = 0; i < VMT_ARRAY_SIZE(probes); i++)
        assert_int_equal(probes[i].dones + probes[i].messages, 0);
}

static void
a_call_on_a_connection_that_just_broke_ends_once(void **state)
{
    VMT_CLEANUP(bed_done) struct bed bed;
    struct probe first = {0}, next = {0};

    (void)state;
    bed_init(&bed, NULL);
    assert_int_equal(bed_start(&bed, &first, ECHO, 1, 0), 0);
    bed_run(&bed);
    bed_serve(&bed);
    fake_stream_break(bed.ours, -EPIPE);
    assert_int_equal(bed_start(&bed, &next, ECHO, 2, 0), 0);
    bed_run(&bed);
    assert_ended(&next, RPC_UNAVAILABLE, "");
}

static void
a_stream_takes_messages_before_there_is_a_connection(void **state)
{
    VMT_CLEANUP(rpc_metadata_done) struct rpc_metadata metadata = {0};
    VMT_CLEANUP(bed_done) struct bed bed;
    struct probe chat = {.client_streams = true, .metadata = &metadata};
    struct probe collect = {.client_streams = true};

    (void)state;
    bed_init(&bed, NULL);
    assert_int_equal(rpc_metadata_add(&metadata, "k", "v", 1), 0);
    assert_int_equal(bed_start(&bed, &chat, RPCTEST_PATH("Chat"), 0, 0), 0);
    assert_int_equal(bed_start(&bed, &collect, RPCTEST_PATH("Collect"), 0, 0), 0);
    rpc_metadata_done(&metadata);
    for (uint32_t i = 1; i <= 10; i++) {
        assert_int_equal(probe_send(&chat, i), 0);
        assert_int_equal(probe_send(&collect, i), 0);
    }
    assert_int_equal(rpc_channel_queued(chat.call), 10 * (5 + 2));
    rpc_channel_half_close(collect.call);
    assert_int_equal(probe_send(&collect, 11), -EPIPE);
    bed_run(&bed);
    bed_serve(&bed);
    assert_int_equal(rpc_channel_queued(chat.call), 0);
    assert_int_equal(chat.messages, 10);
    assert_int_equal(chat.number, 10);
    assert_true(chat.drains > 0);
    assert_int_equal(chat.dones, 0);
    assert_ended(&collect, RPC_OK, "");
    assert_int_equal(collect.number, 55);
    assert_int_equal(probe_send(&chat, 11), 0);
    bed_run(&bed);
    assert_int_equal(chat.number, 11);
    rpc_channel_half_close(chat.call);
    bed_run(&bed);
    assert_ended(&chat, RPC_OK, "");
}

static void
a_call_may_be_paused_before_it_has_a_connection(void **state)
{
    VMT_CLEANUP(bed_done) struct bed bed;
    struct probe probe = {0};

    (void)state;
    bed_init(&bed, NULL);
    assert_int_equal(bed_start(&bed, &probe, RPCTEST_PATH("Count"), 5, 0), 0);
    rpc_channel_pause(probe.call, true);
    bed_run(&bed);
    bed_serve(&bed);
    assert_int_equal(bed.test.requests, 1);
    assert_int_equal(probe.messages + probe.dones, 0);
    rpc_channel_pause(probe.call, false);
    bed_run(&bed);
    assert_int_equal(probe.messages, 5);
    assert_ended(&probe, RPC_OK, "");
}

static void
what_waits_is_compressed_as_it_was_asked_for(void **state)
{
    VMT_CLEANUP(bed_done) struct bed bed;
    struct probe probe = {.client_streams = true, .encoding = RPC_GZIP, .data_len = 500};

    (void)state;
    bed_init(&bed, NULL);
    assert_int_equal(bed_start(&bed, &probe, RPCTEST_PATH("Collect"), 0, 0), 0);
    for (uint32_t i = 0; i < 4; i++) {
        rpc_channel_compress(probe.call, i % 2 == 0);
        assert_int_equal(probe_send(&probe, 1 + i), 0);
    }
    assert_false(rpc_channel_compressed(probe.call));
    rpc_channel_half_close(probe.call);
    bed_run(&bed);
    bed_serve(&bed);
    assert_ended(&probe, RPC_OK, "");
    assert_int_equal(probe.number, 1 + 2 + 3 + 4);
    assert_int_equal(bed.test.compressed, 2);
}

static void
metadata_is_copied_for_the_wait(void **state)
{
    VMT_CLEANUP(rpc_metadata_done) struct rpc_metadata metadata = {0};
    VMT_CLEANUP(bed_done) struct bed bed;
    struct probe probe = {.metadata = &metadata};

    (void)state;
    bed_init(&bed, NULL);
    assert_int_equal(rpc_metadata_add(&metadata, "k", "v", 1), 0);
    assert_int_equal(rpc_metadata_add(&metadata, "b-bin", "\1\2", 2), 0);
    assert_int_equal(bed_start(&bed, &probe, ECHO, 1, 0), 0);
    rpc_metadata_done(&metadata);
    bed_run(&bed);
    bed_serve(&bed);
    assert_ended(&probe, RPC_OK, "");
    assert_string_equal(probe.initial, "k=v;b-bin=\1\2;");
    assert_int_equal(probe.trailings, 1);
}

static void
descriptors_wait_with_their_call_and_go_with_it(void **state)
{
    VMT_CLEANUP(bed_done) struct bed bed;
    struct probe probe = {0}, many = {0};
    int ends[2], more[16];
    char byte;

    (void)state;
    bed_init(&bed, NULL);
    assert_int_equal(pipe(ends), 0);
    for (size_t i = 0; i < VMT_ARRAY_SIZE(more); i++)
        more[i] = ends[1];
    probe.fds = &ends[1];
    probe.nfds = 1;
    many.fds = more;
    many.nfds = VMT_ARRAY_SIZE(more);
    assert_int_equal(bed_start(&bed, &probe, ECHO, 1, 0), 0);
    assert_int_equal(bed_start(&bed, &many, ECHO, 1, 0), -EINVAL);
    (void)close(ends[1]);
    bed_run(&bed);
    bed_serve(&bed); /* which cannot carry them */
    assert_ended(&probe, RPC_INTERNAL, "not supported");
    assert_int_equal(read(ends[0], &byte, 1), 0); /* no copy is left */
    (void)close(ends[0]);
}

static void
what_waits_is_bounded(void **state)
{
    const struct rpc_channel_config config = {.waiting_max = 3, .waiting_bytes_max = 100};
    VMT_CLEANUP(bed_done) struct bed bed;
    struct probe probes[4], stream = {.client_streams = true};
    size_t sent = 0;

    (void)state;
    memset(probes, 0, sizeof(probes));
    bed_init(&bed, &config);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(bed_start(&bed, &probes[i], ECHO, 1, 0), 0);
    assert_int_equal(bed_start(&bed, &probes[3], ECHO, 1, 0), -ENOBUFS);
    rpc_channel_cancel(probes[2].call);
    assert_int_equal(bed_start(&bed, &stream, RPCTEST_PATH("Collect"), 0, 0), 0);
    while (probe_send(&stream, 1) == 0)
        sent++;
    assert_in_range(sent, 1, 100 / 7);
    assert_int_equal(probe_send(&stream, 1), -ENOBUFS);
    bed_run(&bed);
    bed_serve(&bed);
    assert_int_equal(probe_send(&stream, 1), 0); /* the room is there again */
    rpc_channel_half_close(stream.call);
    bed_run(&bed);
    assert_ended(&stream, RPC_OK, "");
    assert_int_equal(stream.number, sent + 1);
    assert_ended(&probes[0], RPC_OK, "");
}

/* A server that goes down in order while the next one is there already: the calls that
 * cross its GOAWAY are served, too. */
static void
a_drain_costs_no_call(void **state)
{
    VMT_CLEANUP(bed_done) struct bed bed;
    struct probe hangs = {0}, probes[30];
    struct rpc_server *old;

    (void)state;
    memset(probes, 0, sizeof(probes));
    bed_init(&bed, NULL);
    assert_int_equal(bed_start(&bed, &hangs, HANG, 0, 0), 0);
    bed_run(&bed);
    bed_serve(&bed);
    old = bed.server;
    for (size_t i = 0; i < VMT_ARRAY_SIZE(probes); i++) {
        if (i == 10) {
            assert_int_equal(rpc_server_drain(old, 60000, NULL, NULL, NULL), 0);
            assert_int_equal(rpc_server_new(bed.clock, NULL, &bed.server, NULL), 0);
            assert_int_equal(
                rpc_server_add(bed.server, &rpctest_service, &bed.test, NULL), 0);
        }
        assert_int_equal(bed_start(&bed, &probes[i], ECHO, 1, 0), 0);
        if (i % 5 == 4)
            bed_run(&bed);
        if (bed.on_done)
            bed_serve(&bed);
    }
    bed_run(&bed);
    for (size_t i = 0; i < VMT_ARRAY_SIZE(probes); i++)
        assert_ended(&probes[i], RPC_OK, "");
    assert_int_equal(bed.attempts, 2);
    assert_int_equal(bed.test.requests, 1 + VMT_ARRAY_SIZE(probes));
    assert_int_equal(hangs.dones, 0);
    rpc_server_call_fail(bed.test.hung, RPC_ABORTED, "at last");
    bed_run(&bed);
    assert_ended(&hangs, RPC_ABORTED, "at last");
    rpc_server_free(old);
}

static void
a_call_may_be_cancelled_by_its_message(void **state)
{
    VMT_CLEANUP(bed_done) struct bed bed;
    struct probe probe = {.cancel_on_message = true};

    (void)state;
    bed_init(&bed, NULL);
    assert_int_equal(bed_start(&bed, &probe, RPCTEST_PATH("Count"), 5, 0), 0);
    bed_run(&bed);
    bed_serve(&bed);
    assert_int_equal(probe.messages, 1);
    assert_int_equal(probe.dones, 0);
}

/* Something else that the loop has to do, and what it finds. */
struct neighbour {
    const size_t *watched;
    size_t seen;
    bool ran;
};

static void
neighbour_run(void *arg)
{
    struct neighbour *neighbour = arg;

    neighbour->seen = *neighbour->watched;
    neighbour->ran = true;
}

static void
a_call_that_is_started_again_lets_others_run(void **state)
{
    enum { AGAIN = 1000 };
    VMT_CLEANUP(bed_done) struct bed bed;
    struct probe probe = {.again = AGAIN};
    struct neighbour neighbour = {.watched = &probe.dones};
    struct vmt_timer *timer;

    (void)state;
    bed_init(&bed, NULL);
    assert_int_equal(rpc_channel_connect(bed.channel), 0);
    bed_run(&bed);
    bed_refuse(&bed, ECONNREFUSED, "no");
    assert_int_equal(bed_start(&bed, &probe, ECHO, 1, 0), 0);
    assert_int_equal(
        bed.clock->ops->timer_start(bed.clock, 0, neighbour_run, &neighbour, &timer), 0);
    bed_run(&bed);
    assert_true(neighbour.ran);
    assert_in_range(neighbour.seen, 1, 20);
    assert_int_equal(probe.dones, AGAIN + 1);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_waits_for_ready_outlasts_failures),
        cmocka_unit_test(waiting_ends_at_the_deadline_with_the_reason),
        cmocka_unit_test(the_deadline_goes_on_over_the_connection),
        cmocka_unit_test(a_cancelled_call_is_not_heard_of_in_any_state),
        cmocka_unit_test(a_call_on_a_connection_that_just_broke_ends_once),
        cmocka_unit_test(a_stream_takes_messages_before_there_is_a_connection),
        cmocka_unit_test(a_call_may_be_paused_before_it_has_a_connection),
        cmocka_unit_test(what_waits_is_compressed_as_it_was_asked_for),
        cmocka_unit_test(metadata_is_copied_for_the_wait),
        cmocka_unit_test(descriptors_wait_with_their_call_and_go_with_it),
        cmocka_unit_test(what_waits_is_bounded),
        cmocka_unit_test(a_drain_costs_no_call),
        cmocka_unit_test(a_call_may_be_cancelled_by_its_message),
        cmocka_unit_test(a_call_that_is_started_again_lets_others_run),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
