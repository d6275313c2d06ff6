/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/vm/subnet.h"

#include <errno.h>

#include "tests/unit/test.h"

#define BASE 0x64735c00u /* 100.115.92.0 */

static const struct vm_subnet_pool pool = {
    .range = {BASE, 24}, .prefix = VM_SUBNET_PREFIX, .first_reserved = true};

/* When each of 64 subnets was used last. */
static uint64_t
used_at(void *arg, const struct vm_range *subnet)
{
    assert_int_equal(subnet->prefix, 30);
    assert_int_equal(subnet->address & 3, 0);
    return ((const uint64_t *)arg)[(subnet->address - BASE) / 4];
}

static void
ranges_are_read_and_written(void **state)
{
    static const struct {
        const char *text;
        uint32_t address;
        unsigned prefix;
    } good[] = {{"100.115.92.0/24", BASE, 24},
                {"0.0.0.0/0", 0, 0},
                {"255.255.255.255/32", UINT32_MAX, 32},
                {"10.0.0.0/8", 0x0a000000, 8}};
    char text[VM_RANGE_TEXT_MAX];
    struct vm_range range;

    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        assert_int_equal(vm_range_parse(good[i].text, &range), 0);
        assert_true(range.address == good[i].address);
        assert_int_equal(range.prefix, good[i].prefix);
        assert_string_equal(vm_range_format(&range, text), good[i].text);
    }
}

static void
what_is_no_range_is_refused(void **state)
{
    static const char *const bad[] = {"",
                                      "1.2.3.4",
                                      "1.2.3.4/",
                                      "1.2.3.4/33",
                                      "256.0.0.0/8",
                                      "1.2.3.4/24",
                                      "10.0.0/8",
                                      "010.0.0.0/8",
                                      "10.0.0.0/8 ",
                                      " 10.0.0.0/8",
                                      "-1.0.0.0/8",
                                      "10.0.0.0.0/8",
                                      "10.0.0.0/08",
                                      "10..0.0/8",
                                      "9999.0.0.0/8",
                                      "10.0.0.0/8/8"};
    struct vm_range range = {7, 7};

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(vm_range_parse(bad[i], &range), -EINVAL);
    assert_int_equal(range.prefix, 7);
}

static void
ranges_overlap_when_one_holds_the_other(void **state)
{
    static const struct {
        struct vm_range a, b;
        bool want;
    } rows[] = {{{BASE, 24}, {BASE + 4, 30}, true},
                {{BASE + 4, 30}, {BASE, 24}, true},
                {{BASE + 4, 30}, {BASE + 8, 30}, false},
                {{BASE, 24}, {BASE + 256, 24}, false},
                {{0, 0}, {BASE, 24}, true},
                {{BASE, 32}, {BASE, 32}, true},
                {{BASE, 32}, {BASE + 1, 32}, false}};

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        assert_int_equal(vm_range_overlaps(&rows[i].a, &rows[i].b), rows[i].want);
}

static void
each_vm_gets_its_own_and_nobody_the_first(void **state)
{
    uint64_t used[64] = {0};
    struct vm_range subnet;

    (void)state;
    for (int i = 0; i < 63; i++) {
        assert_int_equal(vm_subnet_alloc(&pool, (uint64_t)i * 7, used_at, used, &subnet),
                         0);
        assert_true(subnet.address != BASE);
        assert_true(used[(subnet.address - BASE) / 4] == 0);
        used[(subnet.address - BASE) / 4] = VM_SUBNET_TAKEN;
    }
    subnet.address = 1;
    assert_int_equal(vm_subnet_alloc(&pool, 5, used_at, used, &subnet), -ENOSPC);
    assert_int_equal(subnet.address, 1);
}

static void
the_same_hash_gets_the_same_subnet(void **state)
{
    uint64_t used[64] = {0};
    struct vm_range a, b;

    (void)state;
    assert_int_equal(vm_subnet_alloc(&pool, UINT64_MAX, used_at, used, &a), 0);
    assert_int_equal(vm_subnet_alloc(&pool, UINT64_MAX, used_at, used, &b), 0);
    assert_int_equal(a.address, b.address);
}

static void
a_subnet_comes_back_as_late_as_possible(void **state)
{
    uint64_t used[64];
    struct vm_range subnet;

    (void)state;
    for (uint64_t i = 0; i < 64; i++)
        used[i] = 1000 - i;
    used[40] = VM_SUBNET_FREE;
    assert_int_equal(vm_subnet_alloc(&pool, 3, used_at, used, &subnet), 0);
    assert_int_equal(subnet.address, BASE + 40 * 4);
    used[40] = VM_SUBNET_TAKEN;
    assert_int_equal(vm_subnet_alloc(&pool, 3, used_at, used, &subnet), 0);
    assert_int_equal(subnet.address, BASE + 63 * 4);
    used[63] = VM_SUBNET_TAKEN;
    assert_int_equal(vm_subnet_alloc(&pool, 3, used_at, used, &subnet), 0);
    assert_int_equal(subnet.address, BASE + 62 * 4);
}

static void
a_pool_of_one_subnet_works(void **state)
{
    static const struct vm_subnet_pool one = {.range = {BASE, 30}, .prefix = 30};
    static const struct vm_subnet_pool none = {
        .range = {BASE, 30}, .prefix = 30, .first_reserved = true};
    uint64_t used[64] = {0};
    struct vm_range subnet;

    (void)state;
    assert_int_equal(vm_subnet_alloc(&one, 9, used_at, used, &subnet), 0);
    assert_int_equal(subnet.address, BASE);
    assert_int_equal(vm_subnet_alloc(&none, 9, used_at, used, &subnet), -ENOSPC);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranges_are_read_and_written),
        cmocka_unit_test(what_is_no_range_is_refused),
        cmocka_unit_test(ranges_overlap_when_one_holds_the_other),
        cmocka_unit_test(each_vm_gets_its_own_and_nobody_the_first),
        cmocka_unit_test(the_same_hash_gets_the_same_subnet),
        cmocka_unit_test(a_subnet_comes_back_as_late_as_possible),
        cmocka_unit_test(a_pool_of_one_subnet_works),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
