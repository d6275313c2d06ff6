/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/guest/vshd/account.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "tests/unit/test.h"

static const char passwd[] = "root:x:0:0:root:/root:/bin/bash\n"
                             "# a comment\n"
                             "broken:x:12\n"
                             "toomany:x:13:13:a:b:c:d\n"
                             "letters:x:1x:13::/:/bin/sh\n"
                             "none:x:4294967295:1::/:/bin/sh\n"
                             "\n"
                             "bob:x:1000:1001:Bob,,,:/home/bob:/bin/zsh\n"
                             "bare:x:1002:1002:::\n"
                             "last:x:1003:1003::/last:/bin/false";
static const char group[] = "root:x:0:\n"
                            "tty:x:5:\n"
                            "audio:x:29:bob\n"
                            "bobby:x:30:bobby,notbob\n"
                            "video:x:44:alice,bob\n"
                            "bad:x:x:bob\n"
                            "bob:x:1001:bob\n";

static void
a_user_is_found_by_name_with_all_groups(void **state)
{
    VMT_CLEANUP(account_done) struct account a = {0};

    (void)state;
    assert_int_equal(account_parse(passwd, group, "bob", 0, &a, NULL), 0);
    assert_string_equal(a.name, "bob");
    assert_int_equal(a.uid, 1000);
    assert_int_equal(a.gid, 1001);
    assert_string_equal(a.home, "/home/bob");
    assert_string_equal(a.shell, "/bin/zsh");
    assert_int_equal(a.ngroups, 3);
    assert_int_equal(a.groups[0], 1001);
    assert_int_equal(a.groups[1], 29);
    assert_int_equal(a.groups[2], 44);
}

static void
a_user_is_found_by_number(void **state)
{
    VMT_CLEANUP(account_done) struct account a = {0};

    (void)state;
    assert_int_equal(account_parse(passwd, group, NULL, 1003, &a, NULL), 0);
    assert_string_equal(a.name, "last");
    assert_string_equal(a.shell, "/bin/false");
}

static void
empty_fields_get_defaults(void **state)
{
    VMT_CLEANUP(account_done) struct account a = {0};

    (void)state;
    assert_int_equal(account_parse(passwd, group, "bare", 0, &a, NULL), 0);
    assert_string_equal(a.home, "/");
    assert_string_equal(a.shell, "/bin/sh");
}

static void
unknown_and_broken_users_are_refused_by_name(void **state)
{
    static const char *const names[] = {"nobody", "broken", "toomany", "letters",
                                        "none",   "",       "bo",      "bob:x"};

    (void)state;
    for (size_t i = 0; i < VMT_ARRAY_SIZE(names); i++) {
        struct account a = {0};
        struct vmt_err err;

        assert_int_equal(account_parse(passwd, group, names[i], 0, &a, &err), -ENOENT);
        assert_non_null(strstr(err.msg, names[i]));
        assert_null(a.name);
    }
}

static void
a_number_without_a_line_is_still_an_account(void **state)
{
    VMT_CLEANUP(account_done) struct account a = {0};

    (void)state;
    assert_int_equal(account_parse("", "", NULL, 4242, &a, NULL), 0);
    assert_string_equal(a.name, "4242");
    assert_string_equal(a.home, "/");
    assert_int_equal(a.ngroups, 1);
}

static void
groups_are_found_by_name(void **state)
{
    (void)state;
    assert_int_equal(account_group_id(group, "tty"), 5);
    assert_int_equal(account_group_id(group, "tt"), (gid_t)-1);
    assert_int_equal(account_group_id("", "tty"), (gid_t)-1);
}

/* Every prefix of the files must be survived; the sanitizers watch the ends. */
static void
cut_files_are_survived(void **state)
{
    (void)state;
    for (size_t n = 0; n < sizeof(passwd); n++) {
        VMT_CLEANUP(vmt_freep) char *users = strndup(passwd, n);
        VMT_CLEANUP(vmt_freep) char *groups = strndup(group, n);
        VMT_CLEANUP(account_done) struct account a = {0};

        assert_non_null(users);
        assert_non_null(groups);
        (void)account_parse(users, groups, "bob", 0, &a, NULL);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_user_is_found_by_name_with_all_groups),
        cmocka_unit_test(a_user_is_found_by_number),
        cmocka_unit_test(empty_fields_get_defaults),
        cmocka_unit_test(unknown_and_broken_users_are_refused_by_name),
        cmocka_unit_test(a_number_without_a_line_is_still_an_account),
        cmocka_unit_test(groups_are_found_by_name),
        cmocka_unit_test(cut_files_are_survived),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
