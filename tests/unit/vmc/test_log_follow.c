/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/linux/vmc/log_follow.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "tests/unit/test.h"

static void
what_was_appended_is_new(void **state)
{
    (void)state;
    assert_string_equal(log_follow_new("", "a\n"), "a\n");
    assert_string_equal(log_follow_new("a\n", "a\nb\n"), "b\n");
    assert_string_equal(log_follow_new("a\n", "a\n"), "");
}

static void
a_log_that_lost_its_begin_is_followed_by_its_end(void **state)
{
    VMT_CLEANUP(vmt_freep) char *before = malloc(10001);
    VMT_CLEANUP(vmt_freep) char *now = malloc(10001);

    (void)state;
    assert_non_null(before);
    assert_non_null(now);
    for (size_t i = 0; i < 10000; i++)
        before[i] = (char)('a' + (int)(i * i / 7 % 26));
    before[10000] = '\0';
    memcpy(now, before + 5000, 5000);
    memcpy(now + 5000, "news\n", sizeof("news\n"));
    assert_string_equal(log_follow_new(before, now), "news\n");
}

static void
a_log_that_began_anew_is_new_from_its_begin(void **state)
{
    (void)state;
    assert_string_equal(log_follow_new("the old boot\n", "a new boot\n"), "a new boot\n");
    assert_string_equal(log_follow_new("longer than now\n", ""), "");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_appended_is_new),
        cmocka_unit_test(a_log_that_lost_its_begin_is_followed_by_its_end),
        cmocka_unit_test(a_log_that_began_anew_is_new_from_its_begin),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
