/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdio.h>
#include <stdlib.h>

#include "core/concierge/concierge_internal.h"
#include "core/concierge/index_internal.h"
#include "tests/unit/test.h"

#define MANY 3000u /* the table doubles several times */

static struct concierge_vm vms[MANY];

static void
fill(struct vm_index *index)
{
    char owner[8], name[16];

    assert_int_equal(vm_index_init(index), 0);
    for (unsigned i = 0; i < MANY; i++) {
        (void)snprintf(owner, sizeof(owner), "%x", i % 16);
        (void)snprintf(name, sizeof(name), "vm%u", i / 16);
        vms[i] = (struct concierge_vm){.cid = i};
        assert_int_equal(vm_id_set(&vms[i].id, owner, name, NULL), 0);
        vm_index_add(index, &vms[i]);
    }
}

static struct concierge_vm *
find(const struct vm_index *index, unsigned i)
{
    return vm_index_find(index, vms[i].id.owner, vms[i].id.name);
}

static void
every_vm_is_found_by_its_owner_and_name(void **state)
{
    struct vm_index index;

    (void)state;
    fill(&index);
    assert_int_equal(index.n, MANY);
    for (unsigned i = 0; i < MANY; i++)
        assert_ptr_equal(find(&index, i), &vms[i]);
    assert_null(vm_index_find(&index, "0", "nobody"));
    assert_null(vm_index_find(&index, "", ""));
    vm_index_done(&index);
}

static void
a_removed_vm_is_not_found_and_the_others_are(void **state)
{
    struct vm_index index;

    (void)state;
    fill(&index);
    for (unsigned i = 0; i < MANY; i += 2)
        vm_index_remove(&index, &vms[i]);
    assert_int_equal(index.n, MANY / 2);
    for (unsigned i = 0; i < MANY; i++)
        assert_ptr_equal(find(&index, i), i % 2 ? &vms[i] : NULL);
    vm_index_done(&index);
}

static void
removing_twice_is_harmless(void **state)
{
    struct vm_index index;

    (void)state;
    fill(&index);
    vm_index_remove(&index, &vms[7]);
    vm_index_remove(&index, &vms[7]);
    assert_int_equal(index.n, MANY - 1);
    vm_index_done(&index);
}

static void
an_index_has_few_vms_per_chain(void **state)
{
    struct vm_index index;
    unsigned longest = 0;

    (void)state;
    fill(&index);
    assert_true(index.nbuckets * 2 >= MANY);
    for (size_t i = 0; i < index.nbuckets; i++) {
        unsigned n = 0;

        for (struct concierge_vm *vm = index.buckets[i]; vm; vm = vm->index_next)
            n++;
        longest = n > longest ? n : longest;
    }
    assert_in_range(longest, 1, 16);
    vm_index_done(&index);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_vm_is_found_by_its_owner_and_name),
        cmocka_unit_test(a_removed_vm_is_not_found_and_the_others_are),
        cmocka_unit_test(removing_twice_is_harmless),
        cmocka_unit_test(an_index_has_few_vms_per_chain),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
