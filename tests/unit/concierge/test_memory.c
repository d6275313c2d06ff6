/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/vm/memory.h"

#include <stdint.h>

#include "tests/unit/test.h"

/* spec 17, row 28. */
static void
the_only_vm_gets_what_the_formula_says(void **state)
{
    (void)state;
    assert_int_equal(vm_memory_alone(2048), 1536);
    assert_int_equal(vm_memory_alone(3885), 2913);
    assert_int_equal(vm_memory_alone(7915), 6891);
    assert_int_equal(vm_memory_alone(15785), 14761);
    assert_int_equal(vm_memory_alone(UINT64_MAX), UINT32_MAX);
    assert_int_equal(vm_memory_default(7915, 0, 100), 6891);
}

static void
further_vms_get_what_is_not_promised_yet(void **state)
{
    (void)state;
    assert_int_equal(vm_memory_default(16384, 2048, 16000), 13312);
    assert_int_equal(vm_memory_default(16384, 15360, 12000), 3840); /* a quarter */
    assert_int_equal(vm_memory_default(16384, 15360, 4000), 2000);  /* half of what is */
    assert_int_equal(vm_memory_default(16384, 100000, 4000), 2000);
    assert_int_equal(vm_memory_default(16384, 100000, 0), 512);
    assert_int_equal(vm_memory_default(600, 100000, 0), 450); /* the formula's */
    assert_int_equal(vm_memory_default(0, 1, 0), 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_only_vm_gets_what_the_formula_says),
        cmocka_unit_test(further_vms_get_what_is_not_promised_yet),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
