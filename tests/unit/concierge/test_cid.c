/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/vm/cid.h"

#include <errno.h>

#include "core/base/limits.h"
#include "tests/unit/test.h"

struct taken {
    uint32_t cids[8];
    size_t n;
};

static bool
is_taken(void *arg, uint32_t cid)
{
    const struct taken *t = arg;

    for (size_t i = 0; i < t->n; i++)
        if (t->cids[i] == cid)
            return true;
    return false;
}

static bool
all_are_taken(void *arg, uint32_t cid)
{
    unsigned *asked = arg;

    (void)cid;
    ++*asked;
    return true;
}

static void
cids_count_up_from_32_and_are_not_reused_at_once(void **state)
{
    struct taken none = {.n = 0};
    uint32_t next = 0, cid = 0;

    (void)state;
    for (uint32_t want = VMT_CID_FIRST; want < VMT_CID_FIRST + 40; want++) {
        assert_int_equal(vm_cid_alloc(&next, is_taken, &none, &cid), 0);
        assert_int_equal(cid, want);
    }
}

static void
cids_in_use_are_skipped(void **state)
{
    struct taken t = {{32, 33, 35}, 3};
    uint32_t next = 32, cid = 0;

    (void)state;
    assert_int_equal(vm_cid_alloc(&next, is_taken, &t, &cid), 0);
    assert_int_equal(cid, 34);
    assert_int_equal(vm_cid_alloc(&next, is_taken, &t, &cid), 0);
    assert_int_equal(cid, 36);
}

static void
the_counter_wraps_before_the_reserved_value(void **state)
{
    struct taken t = {{32}, 1};
    uint32_t next = UINT32_MAX - 1, cid = 0;

    (void)state;
    assert_int_equal(vm_cid_alloc(&next, is_taken, &t, &cid), 0);
    assert_true(cid == UINT32_MAX - 1);
    assert_int_equal(vm_cid_alloc(&next, is_taken, &t, &cid), 0);
    assert_int_equal(cid, 33);
}

static void
values_out_of_range_start_anew(void **state)
{
    struct taken none = {.n = 0};
    const uint32_t bad[] = {0, 2, 31, UINT32_MAX};

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        uint32_t next = bad[i], cid = 0;

        assert_int_equal(vm_cid_alloc(&next, is_taken, &none, &cid), 0);
        assert_int_equal(cid, VMT_CID_FIRST);
    }
}

static void
a_full_range_fails_after_a_bounded_search(void **state)
{
    uint32_t next = 77, cid = 5;
    unsigned asked = 0;

    (void)state;
    assert_int_equal(vm_cid_alloc(&next, all_are_taken, &asked, &cid), -ENOSPC);
    assert_int_equal(asked, VM_CID_TRIES);
    assert_int_equal(next, 77);
    assert_int_equal(cid, 5);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cids_count_up_from_32_and_are_not_reused_at_once),
        cmocka_unit_test(cids_in_use_are_skipped),
        cmocka_unit_test(the_counter_wraps_before_the_reserved_value),
        cmocka_unit_test(values_out_of_range_start_anew),
        cmocka_unit_test(a_full_range_fails_after_a_bounded_search),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
