/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/guest/maitred/proc/login.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "tests/unit/test.h"

static const char passwd[] = "root:x:0:0:root:/root:/bin/bash\n"
                             "# a comment\n"
                             "broken\n"
                             "www:x:33:33:web:/var/www:/usr/sbin/nologin\n"
                             "user:x:1000:1000::/home/user:\n"
                             "4000:x:7:7::/odd:/bin/sh\n";
static const char groups[] = "root:x:0:\n"
                             "audio:x:29:other,user\n"
                             "www:x:33:\n"
                             "video:x:44:user\n"
                             "users:x:100:superuser\n"
                             "user:x:1000:user\n";

static void
a_user_has_a_group_a_home_and_further_groups(void **state)
{
    struct login l;

    (void)state;
    assert_int_equal(login_parse(passwd, groups, "user", "", &l, NULL), 0);
    assert_int_equal(l.uid, 1000);
    assert_int_equal(l.gid, 1000);
    assert_int_equal(l.ngroups, 2); /* not users, and its own is not told twice */
    assert_int_equal(l.groups[0], 29);
    assert_int_equal(l.groups[1], 44);
    assert_string_equal(l.name, "user");
    assert_string_equal(l.home, "/home/user");
    assert_string_equal(l.shell, "");
}

static void
numbers_and_other_groups_will_do(void **state)
{
    struct login l;

    (void)state;
    assert_int_equal(login_parse(passwd, groups, "33", "", &l, NULL), 0);
    assert_string_equal(l.name, "www");
    assert_int_equal(login_parse(passwd, groups, "www", "audio", &l, NULL), 0);
    assert_int_equal(l.uid, 33);
    assert_int_equal(l.gid, 29);
    assert_int_equal(login_parse(passwd, groups, "", "55", &l, NULL), 0);
    assert_int_equal(l.uid, 0);
    assert_int_equal(l.gid, 55);
    assert_int_equal(login_parse(passwd, groups, "1234", "5678", &l, NULL), 0);
    assert_int_equal(l.uid, 1234);
    assert_int_equal(l.gid, 5678);
    assert_string_equal(l.name, "");
    /* A name that looks like a number is a name first. */
    assert_int_equal(login_parse(passwd, groups, "4000", "", &l, NULL), 0);
    assert_int_equal(l.uid, 7);
    /* Without files root is still there. */
    assert_int_equal(login_parse("", "", "", "", &l, NULL), 0);
    assert_int_equal(l.uid, 0);
}

static void
who_is_not_there_is_named(void **state)
{
    struct vmt_err err;
    struct login l;

    (void)state;
    assert_int_equal(login_parse(passwd, groups, "nobody", "", &l, &err), -ENOENT);
    assert_non_null(strstr(err.msg, "no user nobody"));
    assert_int_equal(login_parse(passwd, groups, "user", "wheel", &l, &err), -ENOENT);
    assert_non_null(strstr(err.msg, "no group wheel"));
    assert_int_equal(login_parse(passwd, groups, "1234", "", &l, &err), -ENOENT);
    assert_non_null(strstr(err.msg, "give a group"));
    /* -1 means "as it is" to the kernel: nobody's number. */
    assert_int_equal(login_parse(passwd, groups, "4294967295", "1", &l, &err), -ENOENT);
}

static void
damaged_files_do_no_harm(void **state)
{
    static char text[20000];
    struct login l;

    (void)state;
    (void)memset(text, 'a', sizeof(text) - 1);
    assert_int_equal(login_parse(text, text, "aaaa", "", &l, NULL), -ENOENT);
    (void)memset(text, ':', sizeof(text) - 1);
    assert_int_equal(login_parse(text, text, "", "", &l, NULL), 0);
    for (size_t cut = 0; cut < sizeof(passwd); cut++) {
        (void)snprintf(text, cut + 1, "%s", passwd);
        (void)login_parse(text, text, "user", "user", &l, NULL);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_user_has_a_group_a_home_and_further_groups),
        cmocka_unit_test(numbers_and_other_groups_will_do),
        cmocka_unit_test(who_is_not_there_is_named),
        cmocka_unit_test(damaged_files_do_no_harm),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
