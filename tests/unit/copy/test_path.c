/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/test.h"

#include "core/base/cleanup.h"
#include "core/copy/path.h"

static void
a_path_that_could_lead_out_is_refused(void **state)
{
    static const char *const bad[] = {
        "",    "/",   "/etc", "..", "../x", "a/..", "a/../b",       ".",
        "./a", "a/.", "a//b", "a/", "//",   "/..",  ".vm_copy.1.0", "a/.vm_copy.9",
    };
    static const char *const good[] = {"a",     "a/b",     "...", "..a",
                                       "a/..b", ".hidden", "a b", "-"};
    char longest[COPY_PATH_MAX + 2], part[257];

    (void)state;
    for (size_t i = 0; i < VMT_ARRAY_SIZE(bad); i++)
        assert_false(copy_path_ok(bad[i]));
    for (size_t i = 0; i < VMT_ARRAY_SIZE(good); i++)
        assert_true(copy_path_ok(good[i]));
    for (size_t i = 0; i < sizeof(longest); i++)
        longest[i] = i % 2 ? '/' : 'a';
    longest[COPY_PATH_MAX] = '\0';
    assert_true(copy_path_ok(longest));
    memset(part, 'a', sizeof(part));
    part[256] = '\0';
    assert_false(copy_path_ok(part));
    part[255] = '\0';
    assert_true(copy_path_ok(part));
}

static void
a_name_covers_itself_and_what_is_below(void **state)
{
    (void)state;
    assert_true(copy_path_below("a", "a"));
    assert_true(copy_path_below("a/b", "a"));
    assert_false(copy_path_below("ab", "a"));
    assert_false(copy_path_below("b/a", "a"));
}

static void
the_name_of_a_copy_is_the_last_part(void **state)
{
    static const struct {
        const char *path, *name;
    } rows[] = {
        {"a", "a"},  {"a/b", "b"},   {"/a/b//", "b"}, {"a/", "a"},
        {"", NULL},  {"/", NULL},    {"..", NULL},    {"a/..", NULL},
        {".", NULL}, {"a/./", NULL}, {"...", "..."},
    };

    (void)state;
    for (size_t i = 0; i < VMT_ARRAY_SIZE(rows); i++) {
        VMT_CLEANUP(vmt_freep) char *name = NULL;
        int r = copy_path_name(rows[i].path, &name);

        assert_int_equal(r, rows[i].name ? 0 : -EINVAL);
        if (rows[i].name)
            assert_string_equal(name, rows[i].name);
    }
}

static void
a_colon_before_any_slash_names_a_vm(void **state)
{
    (void)state;
    assert_string_equal(copy_path_colon("vm:/a:b"), ":/a:b");
    assert_string_equal(copy_path_colon("vm:"), ":");
    assert_null(copy_path_colon("./vm:a"));
    assert_null(copy_path_colon("/vm:a"));
    assert_null(copy_path_colon("a"));
    assert_null(copy_path_colon(":a"));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_path_that_could_lead_out_is_refused),
        cmocka_unit_test(a_name_covers_itself_and_what_is_below),
        cmocka_unit_test(the_name_of_a_copy_is_the_last_part),
        cmocka_unit_test(a_colon_before_any_slash_names_a_vm),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
