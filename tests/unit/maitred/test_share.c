/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/guest/maitred/rpc/share.h"

#include <errno.h>
#include <string.h>

#include "tests/unit/test.h"

#define PLAIN                                                                            \
    "trans=fd,rfdno=7,wfdno=7,cache=none,access=any,version=9p2000.L,msize=262144"

static const struct share_setup nothing = {.aname = "", .uname = "", .access = ""};

static void
a_share_without_wishes_has_the_options_of_the_original_and_an_msize(void **state)
{
    char out[SHARE_OPTIONS_MAX];

    (void)state;
    assert_int_equal(share_format(&nothing, 7, out, NULL), 0);
    assert_string_equal(out, PLAIN);
}

static void
each_wish_becomes_an_option(void **state)
{
    const struct share_setup setup = {.aname = "/srv/a b",
                                      .uname = "chronos",
                                      .access = "client",
                                      .msize = 65536,
                                      .uid = 0,
                                      .gid = 1000,
                                      .has_uid = true,
                                      .has_gid = true};
    char out[SHARE_OPTIONS_MAX];

    (void)state;
    assert_int_equal(share_format(&setup, 3, out, NULL), 0);
    assert_string_equal(out, "trans=fd,rfdno=3,wfdno=3,cache=none,access=client,"
                             "version=9p2000.L,msize=65536,dfltuid=0,dfltgid=1000,"
                             "aname=/srv/a b,uname=chronos");
}

static int
try(struct share_setup setup)
{
    char out[SHARE_OPTIONS_MAX];

    return share_format(&setup, 7, out, NULL);
}

static void
what_would_be_another_option_is_refused(void **state)
{
    struct share_setup setup = nothing;
    char longest[102];

    (void)state;
    memset(longest, 'a', sizeof(longest));
    longest[sizeof(longest) - 1] = '\0';
    setup.aname = "a,access=0";
    assert_int_equal(try(setup), -EINVAL);
    setup.aname = "a\nb";
    assert_int_equal(try(setup), -EINVAL);
    setup.aname = longest;
    assert_int_equal(try(setup), -EINVAL);
    setup.aname = longest + 1;
    assert_int_equal(try(setup), 0);
    setup.uname = "root,msize=1";
    assert_int_equal(try(setup), -EINVAL);
}

static void
access_and_msize_have_bounds(void **state)
{
    struct share_setup setup = nothing;

    (void)state;
    setup.access = "1000";
    assert_int_equal(try(setup), 0);
    setup.access = "12345678901";
    assert_int_equal(try(setup), -EINVAL);
    setup.access = "any,uname=root";
    assert_int_equal(try(setup), -EINVAL);
    setup.access = "";
    setup.msize = 4095;
    assert_int_equal(try(setup), -EINVAL);
    setup.msize = 1048577;
    assert_int_equal(try(setup), -EINVAL);
    setup.msize = 4096;
    assert_int_equal(try(setup), 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(
            a_share_without_wishes_has_the_options_of_the_original_and_an_msize),
        cmocka_unit_test(each_wish_becomes_an_option),
        cmocka_unit_test(what_would_be_another_option_is_refused),
        cmocka_unit_test(access_and_msize_have_bounds),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
