/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/guest/maitred/agent/mountinfo.h"

#include <stdio.h>
#include <string.h>

#include "tests/unit/test.h"

static bool
parse(const char *text, char *copy, struct mountinfo *ret)
{
    (void)sprintf(copy, "%s", text);
    return mountinfo_parse(copy, ret);
}

static void
lines_of_the_kernel_are_understood(void **state)
{
    struct mountinfo m;
    char copy[512];

    (void)state;
    assert_true(parse("36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 shared:7 - ext3 "
                      "/dev/root rw,errors=continue",
                      copy, &m));
    assert_string_equal(m.target, "/mnt2");
    assert_string_equal(m.type, "ext3");
    assert_string_equal(m.source, "/dev/root");
    assert_true(parse("21 1 0:20 / / rw - tmpfs none rw", copy, &m)); /* none optional */
    assert_string_equal(m.target, "/");
    assert_true(parse("21 1 0:20 / /a\\040b\\134c\\011 rw - tmpfs x\\012y rw", copy, &m));
    assert_string_equal(m.target, "/a b\\c\t");
    assert_string_equal(m.source, "x\ny");
}

static void
other_lines_are_refused(void **state)
{
    static const char whole[] = "36 35 98:0 /mnt1 /mnt2 rw shared:7 - ext3 /dev/root rw";
    struct mountinfo m;
    char copy[512];

    (void)state;
    assert_false(parse("", copy, &m));
    assert_false(parse("a b c d e f g", copy, &m));
    assert_false(parse("36 35 98:0 / /m rw -", copy, &m));
    for (size_t n = 0; n < strlen("36 35 98:0 /mnt1 /mnt2 rw shared:7 - e"); n++) {
        memcpy(copy, whole, n);
        copy[n] = '\0';
        (void)mountinfo_parse(copy, &m); /* the sanitizers watch */
    }
}

static void
half_an_escape_stays_as_it_is(void **state)
{
    char text[] = "a\\04 \\\\ \\9x\\1";

    (void)state;
    mountinfo_unescape(text);
    assert_string_equal(text, "a\\04 \\\\ \\9x\\1");
}

static void
what_the_last_steps_need_stays_mounted(void **state)
{
    (void)state;
    assert_false(mountinfo_is_removable("/"));
    assert_false(mountinfo_is_removable("/proc"));
    assert_false(mountinfo_is_removable("/sys/fs/cgroup"));
    assert_false(mountinfo_is_removable("/dev/pts"));
    assert_true(mountinfo_is_removable("/development"));
    assert_true(mountinfo_is_removable("/mnt/stateful"));
    assert_true(mountinfo_is_removable("/run"));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_of_the_kernel_are_understood),
        cmocka_unit_test(other_lines_are_refused),
        cmocka_unit_test(half_an_escape_stays_as_it_is),
        cmocka_unit_test(what_the_last_steps_need_stays_mounted),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
