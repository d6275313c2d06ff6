/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/vm/id.h"

#include <errno.h>
#include <string.h>

#include "core/base/err.h"
#include "tests/unit/test.h"

static void
assert_refused(const char *owner, const char *name, const char *words)
{
    struct vm_id id;
    struct vmt_err err = {0};

    memset(&id, 'x', sizeof(id));
    assert_int_equal(vm_id_set(&id, owner, name, &err), -EINVAL);
    if (!strstr(err.msg, words))
        fail_msg("\"%s\" does not say \"%s\"", err.msg, words);
    assert_int_equal(id.owner[0], 'x'); /* untouched */
}

static void
owners_are_hexadecimal(void **state)
{
    char owner[VM_OWNER_MAX + 2];
    struct vm_id id;

    (void)state;
    assert_refused("", "a", "owner id is empty");
    assert_refused("xyz", "a", "hexadecimal");
    assert_refused("12 34", "a", "hexadecimal");
    assert_refused("../..", "a", "hexadecimal");
    memset(owner, 'f', sizeof(owner));
    owner[VM_OWNER_MAX + 1] = '\0';
    assert_refused(owner, "a", "more than 128");
    owner[VM_OWNER_MAX] = '\0';
    assert_int_equal(vm_id_set(&id, owner, "a", NULL), 0);
    assert_int_equal(vm_id_set(&id, "0123456789abcdefABCDEF", "a", NULL), 0);
}

static void
names_have_at_most_60_bytes_of_clean_text(void **state)
{
    char name[VMT_VM_NAME_MAX + 2];
    struct vm_id id;

    (void)state;
    assert_refused("0", "", "name is empty");
    memset(name, 'n', sizeof(name));
    name[VMT_VM_NAME_MAX + 1] = '\0';
    assert_refused("0", name, "61 bytes");
    name[VMT_VM_NAME_MAX] = '\0';
    assert_int_equal(vm_id_set(&id, "0", name, NULL), 0);
    assert_string_equal(id.name, name);
    assert_refused("0", "a\nb", "control character");
    assert_refused("0", "a\x1b[2J", "control character");
    assert_refused("0", "a\x7f", "control character");
    assert_refused("0", "a\xc2\x85", "control character");
    assert_int_equal(vm_id_set(&id, "0", "../a b/\xc3\xa4", NULL), 0);
}

static void
names_that_are_no_utf8_are_refused(void **state)
{
    static const char *const bad[] = {
        "\x80",
        "\xc0\xaf",
        "\xc3",
        "\xe2\x82",
        "\xed\xa0\x80",
        "\xff\xfe",
        "\xf0\x80\x80\x80",
        "\xf4\x90\x80\x80",
        "\xf5\x80\x80\x80",
    };
    struct vm_id id;

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_refused("0", bad[i], "UTF-8");
    assert_int_equal(vm_id_set(&id, "0", "\xe2\x82\xac\xf0\x9f\x90\xa7", NULL), 0);
}

static void
keys_are_file_names_that_differ_when_the_ids_do(void **state)
{
    struct vm_id id;
    char key[VM_KEY_MAX];

    (void)state;
    assert_int_equal(vm_id_set(&id, "75aB", "termina", NULL), 0);
    assert_string_equal(vm_id_key(&id, key), "75aB-dGVybWluYQ");
    assert_int_equal(vm_id_set(&id, "75", "..", NULL), 0);
    assert_string_equal(vm_id_key(&id, key), "75-Li4");
    assert_int_equal(vm_id_set(&id, "75", "a/b", NULL), 0);
    assert_string_equal(vm_id_key(&id, key), "75-YS9i");
    assert_int_equal(vm_id_set(&id, "75", "\xf0\x9f\xbf\xbf~", NULL), 0);
    assert_string_equal(vm_id_key(&id, key), "75-8J-_v34");
}

static void
the_longest_key_fits(void **state)
{
    char owner[VM_OWNER_MAX + 1], name[VMT_VM_NAME_MAX + 1], key[VM_KEY_MAX];
    struct vm_id id;

    (void)state;
    memset(owner, '0', VM_OWNER_MAX);
    owner[VM_OWNER_MAX] = '\0';
    memset(name, 'z', VMT_VM_NAME_MAX);
    name[VMT_VM_NAME_MAX] = '\0';
    assert_int_equal(vm_id_set(&id, owner, name, NULL), 0);
    assert_int_equal(strlen(vm_id_key(&id, key)), VM_OWNER_MAX + 1 + 80);
}

static void
ids_are_ordered_by_owner_then_name(void **state)
{
    struct vm_id id;

    (void)state;
    assert_int_equal(vm_id_set(&id, "b", "m", NULL), 0);
    assert_int_equal(vm_id_compare(&id, "b", "m"), 0);
    assert_true(vm_id_compare(&id, "a", "z") > 0);
    assert_true(vm_id_compare(&id, "c", "a") < 0);
    assert_true(vm_id_compare(&id, "b", "n") < 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(owners_are_hexadecimal),
        cmocka_unit_test(names_have_at_most_60_bytes_of_clean_text),
        cmocka_unit_test(names_that_are_no_utf8_are_refused),
        cmocka_unit_test(keys_are_file_names_that_differ_when_the_ids_do),
        cmocka_unit_test(the_longest_key_fits),
        cmocka_unit_test(ids_are_ordered_by_owner_then_name),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
