/* SPDX-License-Identifier: BSD-3-Clause */
/* A channel that is shut down, or freed where one would rather not. */
#include <errno.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "tests/unit/rpc/channel_bed.h"
#include "tests/unit/test.h"

#define ECHO RPCTEST_PATH("Echo")
#define HANG RPCTEST_PATH("Hang")

static void
a_shutdown_lets_sent_calls_end(void **state)
{
    VMT_CLEANUP(bed_done) struct bed bed;
    struct probe hangs = {0}, late = {0};

    (void)state;
    bed_init(&bed, NULL);
    assert_int_equal(bed_start(&bed, &hangs, HANG, 1, 0), 0);
    bed_run(&bed);
    bed_serve(&bed);
    assert_int_equal(rpc_channel_shutdown(bed.channel), 0);
    assert_int_equal(bed_start(&bed, &late, ECHO, 1, 0), -ESHUTDOWN);
    bed_run(&bed);
    assert_string_equal(bed.states, "CONNECTING READY SHUTDOWN ");
    assert_int_equal(hangs.dones, 0);
    rpc_server_call_fail(bed.test.hung, RPC_ABORTED, "at last");
    bed_run(&bed);
    assert_ended(&hangs, RPC_ABORTED, "at last");
    bed_run(&bed);
    assert_int_equal(fake_clock_pending(bed.fake), 0); /* the connection is gone */
    assert_int_equal(rpc_channel_shutdown(bed.channel), 0);
    assert_int_equal(rpc_channel_connect(bed.channel), 0);
    assert_int_equal(rpc_channel_reset_backoff(bed.channel), 0);
    bed_advance(&bed, 200000);
    assert_int_equal(bed.attempts, 1);
}

static void
a_shutdown_ends_what_waits(void **state)
{
    (void)state;
    for (int how = 0; how < 4; how++) {
        VMT_CLEANUP(bed_done) struct bed bed;
        struct probe probe = {.wait_for_ready = true};

        bed_init(&bed, NULL);
        assert_int_equal(bed_start(&bed, &probe, ECHO, 1, 0), 0);
        if (how > 0)
            bed_run(&bed);
        if (how == 2)
            bed_refuse(&bed, ECONNREFUSED, "no");
        if (how == 3)
            bed_connect(&bed);
        assert_int_equal(rpc_channel_shutdown(bed.channel), 0);
        assert_int_equal(probe.dones, 0);
        bed_run(&bed);
        assert_ended(&probe, RPC_UNAVAILABLE, "shut down");
        assert_null(bed.on_done);
        bed_advance(&bed, 200000);
        assert_int_equal(bed.attempts, how > 0);
    }
}

static void
a_channel_may_be_freed_by_each_callback(void **state)
{
    static const enum rpc_channel_state states[] = {
        RPC_CHANNEL_CONNECTING, RPC_CHANNEL_READY, RPC_CHANNEL_TRANSIENT_FAILURE,
        RPC_CHANNEL_IDLE, RPC_CHANNEL_SHUTDOWN};

    (void)state;
    for (size_t how = 0; how < VMT_ARRAY_SIZE(states) + 2; how++) {
        VMT_CLEANUP(bed_done) struct bed bed;
        struct probe a = {0}, b = {0}, hangs = {0};

        bed_init(&bed, NULL);
        if (how < VMT_ARRAY_SIZE(states)) {
            bed.free_on_that_state = true;
            bed.free_on_state = states[how];
        }
        a.free_on_done = how == 5 || how == 6;
        assert_int_equal(bed_start(&bed, &a, ECHO, 1, 10), 0);
        assert_int_equal(bed_start(&bed, &b, ECHO, 1, 0), 0);
        bed_run(&bed);
        if (how == 2 || how == 5)
            bed_refuse(&bed, ECONNREFUSED, "no");
        else if (how > 0)
            bed_serve(&bed);
        if (bed.channel && (how == 3 || how == 4)) {
            assert_int_equal(bed_start(&bed, &hangs, HANG, 1, 0), 0);
            if (how == 4)
                assert_int_equal(rpc_channel_shutdown(bed.channel), 0);
            else
                fake_stream_break(bed.ours, -EPIPE);
            bed_run(&bed);
        }
        assert_null(bed.channel);
        bed_advance(&bed, 200000);
        assert_int_equal(bed.attempts, 1);
        assert_true(a.dones <= 1 && b.dones <= 1);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_shutdown_lets_sent_calls_end),
        cmocka_unit_test(a_shutdown_ends_what_waits),
        cmocka_unit_test(a_channel_may_be_freed_by_each_callback),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
