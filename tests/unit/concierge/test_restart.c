/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/vm/restart.h"

#include "core/base/cleanup.h"
#include "tests/unit/test.h"

static void
every_policy_decides_as_its_name_says(void **state)
{
    static const struct {
        enum restart_mode mode;
        struct restart_end end;
        bool again;
    } rows[] = {
        {RESTART_NEVER, {.failed = true}, false},
        {RESTART_ON_FAILURE, {.failed = true}, true},
        {RESTART_ON_FAILURE, {.failed = false}, false},
        {RESTART_ON_FAILURE, {.reboot = true}, false},
        {RESTART_ON_FAILURE, {.failed = true, .asked = true}, false},
        {RESTART_ALWAYS, {.failed = false}, true},
        {RESTART_ALWAYS, {.reboot = true}, true},
        {RESTART_ALWAYS, {.asked = true}, false},
    };

    (void)state;
    for (size_t i = 0; i < VMT_ARRAY_SIZE(rows); i++) {
        const struct restart_policy policy = {rows[i].mode, 0, 1000, 60000};
        uint32_t delay_ms = 0;
        unsigned restarts = 0;

        if (restart_decide(&policy, &rows[i].end, &delay_ms, &restarts) != rows[i].again)
            fail_msg("row %zu", i);
    }
}

static void
the_wait_doubles_up_to_its_bound(void **state)
{
    const struct restart_policy policy = {RESTART_ALWAYS, 0, 1000, 5000};
    static const uint32_t expected[] = {1000, 2000, 4000, 5000, 5000};
    struct restart_end end = {.failed = true};
    uint32_t delay_ms;

    (void)state;
    for (size_t i = 0; i < VMT_ARRAY_SIZE(expected); i++) {
        assert_true(restart_decide(&policy, &end, &delay_ms, &end.restarts));
        assert_int_equal(delay_ms, expected[i]);
        assert_int_equal(end.restarts, i + 1);
    }
    end.restarts = UINT32_MAX - 1; /* for ever is long */
    assert_true(restart_decide(&policy, &end, &delay_ms, &end.restarts));
    assert_int_equal(delay_ms, 5000);
}

static void
a_steady_life_begins_the_count_anew(void **state)
{
    const struct restart_policy policy = {RESTART_ALWAYS, 2, 1000, 60000};
    struct restart_end end = {.failed = true, .restarts = 2};
    unsigned restarts = 0;
    uint32_t delay_ms = 0;

    (void)state;
    assert_false(restart_decide(&policy, &end, &delay_ms, &restarts));
    end.uptime_ms = RESTART_STEADY_MS;
    assert_true(restart_decide(&policy, &end, &delay_ms, &restarts));
    assert_int_equal(restarts, 1);
    assert_int_equal(delay_ms, 1000);
    end.failed = false;
    end.reboot = true; /* somebody waits for it */
    assert_true(restart_decide(&policy, &end, &delay_ms, &restarts));
    assert_int_equal(delay_ms, 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_policy_decides_as_its_name_says),
        cmocka_unit_test(the_wait_doubles_up_to_its_bound),
        cmocka_unit_test(a_steady_life_begins_the_count_anew),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
