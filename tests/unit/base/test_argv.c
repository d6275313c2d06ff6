/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/base/argv.h"

#include <errno.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "tests/unit/test.h"

static void
arguments_stand_in_order_and_end_in_null(void **state)
{
    VMT_CLEANUP(vmt_argv_done) struct vmt_argv argv = {0};

    (void)state;
    vmt_argv_add(&argv, "one");
    for (int i = 0; i < 100; i++)
        vmt_argv_addf(&argv, "--n=%d", i);
    assert_int_equal(vmt_argv_finish(&argv, NULL), 0);
    assert_int_equal(argv.n, 101);
    assert_string_equal(argv.v[0], "one");
    assert_string_equal(argv.v[100], "--n=99");
    assert_null(argv.v[101]);
}

static void
a_failed_add_sticks_and_leaves_nothing(void **state)
{
    struct vmt_argv argv = {0};
    struct vmt_err err = {0};

    (void)state;
    vmt_argv_add(&argv, "one");
    argv.status = -ENOMEM;
    vmt_argv_add(&argv, "two");
    assert_int_equal(vmt_argv_finish(&argv, &err), -ENOMEM);
    assert_int_equal(argv.n, 0);
    assert_null(argv.v);
    assert_int_equal(err.code, ENOMEM);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arguments_stand_in_order_and_end_in_null),
        cmocka_unit_test(a_failed_add_sticks_and_leaves_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
