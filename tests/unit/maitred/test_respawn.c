/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/guest/maitred/proc/respawn.h"

#include "core/base/cleanup.h"
#include "tests/unit/test.h"

static void
a_program_that_cannot_stay_up_gets_ten_starts(void **state)
{
    static const uint64_t delays[] = {0, 100, 200, 400, 800, 1600, 3200, 3200, 3200};
    struct respawn r = {0};
    uint64_t now_ms = 5000, delay_ms;

    (void)state;
    respawn_started(&r, now_ms);
    for (size_t i = 0; i < VMT_ARRAY_SIZE(delays); i++) {
        assert_true(respawn_next(&r, now_ms, &delay_ms));
        assert_int_equal(delay_ms, delays[i]);
        now_ms += delay_ms;
        respawn_started(&r, now_ms);
    }
    assert_false(respawn_next(&r, now_ms, &delay_ms));
    assert_true(now_ms - 5000 < RESPAWN_WINDOW_MS); /* all ten fit in the window */
}

static void
starts_outside_the_window_are_forgotten(void **state)
{
    struct respawn r = {0};
    uint64_t delay_ms;

    (void)state;
    for (uint64_t i = 0; i < RESPAWN_STARTS_MAX; i++)
        respawn_started(&r, i);
    assert_false(respawn_next(&r, RESPAWN_WINDOW_MS - 1, &delay_ms));
    assert_true(
        respawn_next(&r, RESPAWN_WINDOW_MS, &delay_ms)); /* the first is too old */
    assert_int_equal(r.n, RESPAWN_STARTS_MAX - 1);
    assert_true(respawn_next(&r, 10 * RESPAWN_WINDOW_MS, &delay_ms));
    assert_int_equal(delay_ms, 0);
    assert_int_equal(r.n, 0);
}

static void
a_program_that_ends_seldom_is_started_at_once_for_ever(void **state)
{
    struct respawn r = {0};
    uint64_t delay_ms;

    (void)state;
    for (uint64_t i = 0; i < 100; i++) {
        respawn_started(&r, i * RESPAWN_WINDOW_MS);
        assert_true(respawn_next(&r, (i + 1) * RESPAWN_WINDOW_MS, &delay_ms));
        assert_int_equal(delay_ms, 0);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_program_that_cannot_stay_up_gets_ten_starts),
        cmocka_unit_test(starts_outside_the_window_are_forgotten),
        cmocka_unit_test(a_program_that_ends_seldom_is_started_at_once_for_ever),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
