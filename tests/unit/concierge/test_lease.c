/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/vm/lease.h"

#include "tests/unit/test.h"

static struct vm_lease
lease(uint64_t hash, uint32_t subnet)
{
    return (struct vm_lease){
        .hash = hash, .subnet = subnet, .mac = {2, 0, (uint8_t)hash}};
}

static void
what_was_put_is_found(void **state)
{
    struct vm_leases leases = {.n = 0};
    struct vm_lease a = lease(1, 4), b = lease(2, 8);

    (void)state;
    vm_leases_put(&leases, &a);
    vm_leases_put(&leases, &b);
    assert_int_equal(vm_leases_find(&leases, 1)->subnet, 4);
    assert_int_equal(vm_leases_find_subnet(&leases, 8)->hash, 2);
    assert_int_equal(vm_leases_find_mac(&leases, b.mac)->hash, 2);
    assert_null(vm_leases_find(&leases, 3));
    assert_null(vm_leases_find_subnet(&leases, 12));
    assert_null(vm_leases_find_subnet(&leases, 0));
}

static void
a_vm_has_one_lease(void **state)
{
    struct vm_leases leases = {.n = 0};
    struct vm_lease a = lease(1, 4), again = lease(1, 8);

    (void)state;
    vm_leases_put(&leases, &a);
    vm_leases_put(&leases, &again);
    assert_int_equal(leases.n, 1);
    assert_int_equal(vm_leases_find(&leases, 1)->subnet, 8);
    assert_int_equal(vm_leases_find(&leases, 1)->used, 2);
}

static void
a_subnet_has_one_lease(void **state)
{
    struct vm_leases leases = {.n = 0};
    struct vm_lease a = lease(1, 4), b = lease(2, 4);

    (void)state;
    vm_leases_put(&leases, &a);
    vm_leases_put(&leases, &b);
    assert_int_equal(vm_leases_find(&leases, 1)->subnet, 0);
    assert_int_equal(vm_leases_find_subnet(&leases, 4)->hash, 2);
}

static void
a_full_table_forgets_the_oldest(void **state)
{
    struct vm_leases leases = {.n = 0};
    struct vm_lease l;

    (void)state;
    for (uint64_t i = 1; i <= VM_LEASES_MAX; i++) {
        l = lease(i, (uint32_t)i * 4);
        vm_leases_put(&leases, &l);
    }
    l = lease(1, 4); /* used once more: now 2 is the oldest */
    vm_leases_put(&leases, &l);
    l = lease(100000, 400000);
    vm_leases_put(&leases, &l);
    assert_int_equal(leases.n, VM_LEASES_MAX);
    assert_non_null(vm_leases_find(&leases, 1));
    assert_null(vm_leases_find(&leases, 2));
    assert_non_null(vm_leases_find(&leases, 100000));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_put_is_found),
        cmocka_unit_test(a_vm_has_one_lease),
        cmocka_unit_test(a_subnet_has_one_lease),
        cmocka_unit_test(a_full_table_forgets_the_oldest),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
