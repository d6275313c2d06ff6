/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/base/err.h"

#include <errno.h>
#include <string.h>

#include "tests/unit/test.h"

static void
callers_put_their_words_before_the_cause(void **state)
{
    struct vmt_err err = {0};
    int r;

    (void)state;
    r = vmt_err_set(&err, EAGAIN, "lock disk image %s", "b");
    r = vmt_err_wrap(&err, r, "start vm %s", "a");
    assert_int_equal(r, -EAGAIN);
    assert_int_equal(err.code, EAGAIN);
    assert_string_equal(
        err.msg, "start vm a: lock disk image b: Resource temporarily unavailable");
}

static void
a_failure_stays_a_failure_without_an_error_object(void **state)
{
    (void)state;
    assert_int_equal(vmt_err_set(NULL, ENOENT, "x"), -ENOENT);
    assert_int_equal(vmt_err_set(NULL, 0, "x"), -EINVAL);
    assert_int_equal(vmt_err_wrap(NULL, -EPERM, "x"), -EPERM);
    assert_int_equal(vmt_err_wrap(NULL, 0, "x"), -EINVAL);
    assert_string_equal(vmt_err_text(NULL), "unknown error");
}

static void
long_messages_are_cut_and_terminated(void **state)
{
    struct vmt_err err = {0};
    char long_text[2 * VMT_ERR_MSG_MAX];

    (void)state;
    memset(long_text, 'x', sizeof(long_text) - 1);
    long_text[sizeof(long_text) - 1] = '\0';
    (void)vmt_err_setx(&err, EIO, "%s", long_text);
    assert_int_equal(strlen(err.msg), VMT_ERR_MSG_MAX - 1);
    (void)vmt_err_wrap(&err, -EIO, "outer");
    assert_int_equal(strlen(err.msg), VMT_ERR_MSG_MAX - 1);
    assert_memory_equal(err.msg, "outer: xxx", 10);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(callers_put_their_words_before_the_cause),
        cmocka_unit_test(a_failure_stays_a_failure_without_an_error_object),
        cmocka_unit_test(long_messages_are_cut_and_terminated),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
