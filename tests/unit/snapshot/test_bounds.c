/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/snapshot/bounds.h"

#include "core/base/cleanup.h"
#include "tests/unit/test.h"

static const struct snapshot_bounds bounds = {.per_group = 2, .bytes = 100};

static void
what_fits_stays(void **state)
{
    struct snapshot_entry e[] = {{"a", 40, 1, false}, {"b", 40, 2, false}};

    (void)state;
    assert_true(snapshot_bounds_apply(&bounds, e, 2, "a", 20));
    assert_false(e[0].evict || e[1].evict);
}

static void
the_least_recently_used_of_the_group_makes_room(void **state)
{
    struct snapshot_entry e[] = {
        {"b", 1, 1, false}, {"a", 1, 5, false}, {"a", 1, 3, false}};

    (void)state;
    assert_true(snapshot_bounds_apply(&bounds, e, 3, "a", 1));
    assert_false(e[0].evict);
    assert_false(e[1].evict);
    assert_true(e[2].evict);
}

static void
bytes_are_freed_over_all_groups_oldest_first(void **state)
{
    struct snapshot_entry e[] = {
        {"a", 50, 3, false}, {"b", 30, 1, false}, {"c", 20, 2, false}};

    (void)state;
    assert_true(snapshot_bounds_apply(&bounds, e, 3, "a", 40));
    assert_true(e[1].evict && e[2].evict);
    assert_false(e[0].evict);
}

static void
what_is_larger_than_all_room_is_refused_and_evicts_nothing(void **state)
{
    struct snapshot_entry e[] = {{"a", 50, 3, false}};
    const struct snapshot_bounds none = {.per_group = 0, .bytes = 100};

    (void)state;
    assert_false(snapshot_bounds_apply(&bounds, e, 1, "a", 101));
    assert_false(snapshot_bounds_apply(&none, e, 1, "a", 1));
    assert_false(e[0].evict);
}

static void
lower_bounds_evict_without_anything_new(void **state)
{
    const struct snapshot_bounds low = {.per_group = 1, .bytes = 10};
    struct snapshot_entry e[] = {
        {"a", 5, 2, false}, {"a", 5, 1, false}, {"b", 9, 3, false}};

    (void)state;
    assert_true(snapshot_bounds_apply(&low, e, 3, NULL, 0));
    assert_true(e[0].evict && e[1].evict);
    assert_false(e[2].evict);
}

static void
marked_entries_count_as_gone(void **state)
{
    struct snapshot_entry e[] = {{"a", 90, 1, true}, {"a", 50, 2, false}};

    (void)state;
    assert_true(snapshot_bounds_apply(&bounds, e, 2, "a", 50));
    assert_false(e[1].evict);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_fits_stays),
        cmocka_unit_test(the_least_recently_used_of_the_group_makes_room),
        cmocka_unit_test(bytes_are_freed_over_all_groups_oldest_first),
        cmocka_unit_test(what_is_larger_than_all_room_is_refused_and_evicts_nothing),
        cmocka_unit_test(lower_bounds_evict_without_anything_new),
        cmocka_unit_test(marked_entries_count_as_gone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
