/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/snapshot/key.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "tests/unit/test.h"

static const struct snapshot_facts base = {
    .owner = "75",
    .hypervisor = "qemu",
    .build_id = "7.2",
    .accel = "tcg",
    .cpus = 1,
    .mem_mib = 256,
    .net = 1,
    .spare_slots = 4,
    .cmdline = "console=ttyS0",
    .kernel = "k",
    .initrd = "i",
    .root = "r",
};

static void
equal_facts_give_equal_keys(void **state)
{
    VMT_CLEANUP(vmt_freep) char *a = NULL;
    VMT_CLEANUP(vmt_freep) char *b = NULL;

    (void)state;
    assert_int_equal(snapshot_key(&base, &a, NULL), 0);
    assert_int_equal(snapshot_key(&base, &b, NULL), 0);
    assert_string_equal(a, b);
}

static void
every_fact_changes_the_key_and_its_name(void **state)
{
    struct snapshot_facts v[13];
    VMT_CLEANUP(vmt_freep) char *key = NULL;
    char name[SNAPSHOT_NAME_MAX], other[SNAPSHOT_NAME_MAX];

    (void)state;
    for (size_t i = 0; i < VMT_ARRAY_SIZE(v); i++)
        v[i] = base;
    v[0].owner = "76";
    v[1].hypervisor = "other";
    v[2].build_id = "7.3";
    v[3].accel = "kvm";
    v[4].cpus = 2;
    v[5].mem_mib = 512;
    v[6].net = 0;
    v[7].spare_slots = 3;
    v[8].cmdline = "console=ttyS0 debug";
    v[9].kernel = "K";
    v[10].initrd = "I";
    v[11].root = "R";
    v[12].hugepages = true;
    assert_int_equal(snapshot_key(&base, &key, NULL), 0);
    (void)snapshot_name(key, name);
    for (size_t i = 0; i < VMT_ARRAY_SIZE(v); i++) {
        VMT_CLEANUP(vmt_freep) char *changed = NULL;

        assert_int_equal(snapshot_key(&v[i], &changed, NULL), 0);
        assert_string_not_equal(key, changed);
        assert_string_not_equal(name, snapshot_name(changed, other));
    }
}

/* Else one fact could pose as two. */
static void
a_newline_in_a_fact_is_refused(void **state)
{
    struct snapshot_facts facts = base;
    char *key = NULL;

    (void)state;
    facts.cmdline = "quiet\nkernel=x";
    assert_int_equal(snapshot_key(&facts, &key, NULL), -EINVAL);
    assert_null(key);
}

static void
a_name_is_32_digits_fit_for_a_file(void **state)
{
    char name[SNAPSHOT_NAME_MAX];

    (void)state;
    assert_int_equal(strlen(snapshot_name("", name)), 32);
    assert_int_equal(strspn(name, "0123456789abcdef"), 32);
    assert_int_equal(strlen(snapshot_name("../../etc/passwd", name)), 32);
    assert_int_equal(strspn(name, "0123456789abcdef"), 32);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_facts_give_equal_keys),
        cmocka_unit_test(every_fact_changes_the_key_and_its_name),
        cmocka_unit_test(a_newline_in_a_fact_is_refused),
        cmocka_unit_test(a_name_is_32_digits_fit_for_a_file),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
