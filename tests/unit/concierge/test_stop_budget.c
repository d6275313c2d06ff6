/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/vm/stop_budget.h"

#include "core/base/cleanup.h"
#include "tests/unit/test.h"

static const enum vm_state order[] = {VM_ASKING,      VM_WAITING, VM_QUITTING,
                                      VM_TERMINATING, VM_KILLING, VM_RELEASING};

static void
without_a_limit_every_step_has_its_own_time(void **state)
{
    (void)state;
    assert_int_equal(stop_budget_ms(VM_ASKING, STOP_NO_LIMIT), 30000);
    assert_int_equal(stop_budget_ms(VM_KILLING, STOP_NO_LIMIT), 10000);
    assert_int_equal(stop_budget_ms(VM_RELEASING, STOP_NO_LIMIT), 2000);
    assert_int_equal(stop_budget_ms(VM_RUNNING, STOP_NO_LIMIT), 0);
}

/* Wherever a VM stands when the limit begins to count, all steps that are left end within
 * it, and each has something. */
static void
steps_share_what_is_left(void **state)
{
    static const uint64_t limits[] = {1000, 10000, 30000, 74000, 100000};

    (void)state;
    for (size_t first = 0; first < VMT_ARRAY_SIZE(order); first++)
        for (size_t l = 0; l < VMT_ARRAY_SIZE(limits); l++) {
            uint64_t left = limits[l];

            for (size_t i = first; i < VMT_ARRAY_SIZE(order); i++) {
                unsigned tries = order[i] == VM_RELEASING ? 2 : 1;

                for (unsigned t = 0; t < tries; t++) {
                    uint32_t ms = stop_budget_ms(order[i], left);

                    assert_true(ms > 0 && ms <= left);
                    left -= ms;
                }
            }
        }
    assert_int_equal(stop_budget_ms(VM_KILLING, 0), 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_limit_every_step_has_its_own_time),
        cmocka_unit_test(steps_share_what_is_left),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
