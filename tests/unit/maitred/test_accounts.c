/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/guest/maitred/rpc/accounts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "tests/unit/test.h"

static char passwd[] =
    "root:x:0:0:root:/root:/bin/bash\nother:x:1001:1001::/home/other:/bin/sh";
static char group[] = "root:x:0:\nsudo:x:27:other\naudio:x:29:\nother:x:1001:\n";
static char shadow[] = "root:*:19000:0:99999:7:::\n";
static char gshadow[] = "root:*::\nsudo:!::other\naudio:*::\n";

static const struct account_files debian = {{[ACCOUNT_SHADOW] = shadow,
                                             [ACCOUNT_GSHADOW] = gshadow,
                                             [ACCOUNT_GROUP] = group,
                                             [ACCOUNT_PASSWD] = passwd}};

static void
names_are_checked(void **state)
{
    static const char *const good[] = {"a", "user", "a-b_c9", "machine$",
                                       "abcdefghijklmnopqrstuvwxyz012345"};
    static const char *const bad[] = {
        "",     "Root", "a b", "-x",  "9a",  "a:b",
        "a\nb", "a$b",  "$",   "a.b", "a/b", "abcdefghijklmnopqrstuvwxyz0123456"};

    (void)state;
    for (size_t i = 0; i < VMT_ARRAY_SIZE(good); i++)
        assert_true(account_name_is_valid(good[i]));
    for (size_t i = 0; i < VMT_ARRAY_SIZE(bad); i++)
        assert_false(account_name_is_valid(bad[i]));
}

static void
a_new_account_is_in_all_files_and_its_groups(void **state)
{
    static const char *const groups[] = {"audio", "sudo"};
    const struct account_request rq = {"user", 1000, groups, 2, 20000};
    struct account_result result;

    (void)state;
    assert_int_equal(accounts_plan(&debian, &rq, &result, NULL), 0);
    assert_int_equal(result.outcome, ACCOUNT_NEW);
    assert_int_equal(result.gid, 1000);
    assert_string_equal(result.files.text[ACCOUNT_PASSWD],
                        "root:x:0:0:root:/root:/bin/bash\n"
                        "other:x:1001:1001::/home/other:/bin/sh\n"
                        "user:x:1000:1000::/home/user:/bin/bash\n");
    assert_string_equal(result.files.text[ACCOUNT_GROUP],
                        "root:x:0:\nsudo:x:27:other,user\naudio:x:29:user\n"
                        "other:x:1001:\nuser:x:1000:\n");
    assert_string_equal(result.files.text[ACCOUNT_SHADOW],
                        "root:*:19000:0:99999:7:::\nuser:!:20000:0:99999:7:::\n");
    assert_string_equal(result.files.text[ACCOUNT_GSHADOW],
                        "root:*::\nsudo:!::other,user\naudio:*::user\nuser:!::\n");
    account_files_done(&result.files);
}

static void
an_account_that_is_there_only_joins_groups(void **state)
{
    static const char *const groups[] = {"sudo", "audio"};
    struct account_request rq = {"other", 1001, groups, 2, 20000};
    struct account_result result;

    (void)state;
    assert_int_equal(accounts_plan(&debian, &rq, &result, NULL), 0);
    assert_int_equal(result.outcome, ACCOUNT_THERE);
    assert_null(result.files.text[ACCOUNT_PASSWD]);
    assert_null(result.files.text[ACCOUNT_SHADOW]);
    assert_string_equal(result.files.text[ACCOUNT_GROUP],
                        "root:x:0:\nsudo:x:27:other\naudio:x:29:other\nother:x:1001:\n");
    account_files_done(&result.files);
    rq.ngroups = 0;
    assert_int_equal(accounts_plan(&debian, &rq, &result, NULL), 0);
    assert_int_equal(result.outcome, ACCOUNT_THERE);
    assert_null(result.files.text[ACCOUNT_GROUP]);
}

static void
what_is_taken_is_told(void **state)
{
    struct account_request rq = {"user", 1001, NULL, 0, 20000};
    struct account_result result;

    (void)state;
    assert_int_equal(accounts_plan(&debian, &rq, &result, NULL), 0);
    assert_int_equal(result.outcome, ACCOUNT_UID_TAKEN);
    assert_string_equal(result.owner, "other");
    rq.name = "other";
    rq.uid = 1002;
    assert_int_equal(accounts_plan(&debian, &rq, &result, NULL), 0);
    assert_int_equal(result.outcome, ACCOUNT_NAME_TAKEN);
}

static void
an_unknown_group_changes_nothing(void **state)
{
    static const char *const groups[] = {"audio", "wheel"};
    const struct account_request rq = {"user", 1000, groups, 2, 20000};
    struct account_result result = {.gid = 7};
    struct vmt_err err = {0};

    (void)state;
    assert_int_equal(accounts_plan(&debian, &rq, &result, &err), -ENOENT);
    assert_non_null(strstr(err.msg, "wheel"));
    assert_int_equal(result.gid, 7);
}

static void
a_taken_group_number_is_avoided_and_missing_files_stay_so(void **state)
{
    static char with_1000[] = "staff:x:1000:\nodd:x:1001:\n";
    static char none[] = "";
    const struct account_files files = {
        {[ACCOUNT_GROUP] = with_1000, [ACCOUNT_PASSWD] = none}};
    const struct account_request rq = {"user", 1000, NULL, 0, 20000};
    struct account_result result;

    (void)state;
    assert_int_equal(accounts_plan(&files, &rq, &result, NULL), 0);
    assert_int_equal(result.gid, 1002);
    assert_string_equal(result.files.text[ACCOUNT_PASSWD],
                        "user:x:1000:1002::/home/user:/bin/bash\n");
    assert_null(result.files.text[ACCOUNT_SHADOW]);
    assert_null(result.files.text[ACCOUNT_GSHADOW]);
    account_files_done(&result.files);
}

/* Files that somebody broke: short lines, no numbers, no end. */
static void
broken_lines_are_kept_as_they_are(void **state)
{
    static char odd_group[] = "::::\n\nnothing\nsudo:x\naudio:x:29:a,,b\n:";
    static char odd_passwd[] = "x\n:::\nabc:x:99999999999999:1\n";
    static const char *const groups[] = {"audio", "sudo"};
    const struct account_files files = {
        {[ACCOUNT_GROUP] = odd_group, [ACCOUNT_PASSWD] = odd_passwd}};
    const struct account_request rq = {"user", 1000, groups, 2, 20000};
    struct account_result result;

    (void)state;
    assert_int_equal(accounts_plan(&files, &rq, &result, NULL), 0);
    assert_non_null(strstr(result.files.text[ACCOUNT_GROUP], "audio:x:29:a,,b,user\n"));
    assert_non_null(
        strstr(result.files.text[ACCOUNT_GROUP], "::::\n\nnothing\nsudo:x\n"));
    assert_non_null(strstr(result.files.text[ACCOUNT_PASSWD], "x\n:::\nabc:x:9999"));
    account_files_done(&result.files);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_checked),
        cmocka_unit_test(a_new_account_is_in_all_files_and_its_groups),
        cmocka_unit_test(an_account_that_is_there_only_joins_groups),
        cmocka_unit_test(what_is_taken_is_told),
        cmocka_unit_test(an_unknown_group_changes_nothing),
        cmocka_unit_test(a_taken_group_number_is_avoided_and_missing_files_stay_so),
        cmocka_unit_test(broken_lines_are_kept_as_they_are),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
