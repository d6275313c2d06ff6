/* SPDX-License-Identifier: BSD-3-Clause */
/* Times that differ by chance. */
#include "core/rpc/jitter_internal.h"
#include "tests/unit/test.h"

static void
jitter_reaches_both_ends_and_goes_beyond_none(void **state)
{
    uint64_t random = 0, least = UINT64_MAX, most = 0;

    (void)state;
    for (int i = 0; i < 5000; i++) {
        uint64_t ms = rpc_jitter(&random, 1000, 20);

        least = ms < least ? ms : least;
        most = ms > most ? ms : most;
    }
    assert_int_equal(least, 800);
    assert_int_equal(most, 1200);
}

static void
without_room_there_is_no_jitter(void **state)
{
    uint64_t random = 7;

    (void)state;
    for (uint64_t ms = 0; ms < 10; ms++) {
        assert_int_equal(rpc_jitter(&random, ms, 10), ms);
        assert_int_equal(rpc_jitter(&random, 1000 * ms, 0), 1000 * ms);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(jitter_reaches_both_ends_and_goes_beyond_none),
        cmocka_unit_test(without_room_there_is_no_jitter),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
