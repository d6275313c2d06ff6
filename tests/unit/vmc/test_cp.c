/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include "tests/unit/test.h"

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/copy/stream.h"
#include "platform/linux/vmc/cp.h"

#define MIB (1024.0 * 1024)

static void
progress_tells_share_rate_and_time_left(void **state)
{
    static const struct {
        struct cp_progress p;
        const char *want;
    } rows[] = {
        {{0, 100, 0, "a", 80}, "[                    ]   0%  0 B  0 B/s  -:--"},
        {{(uint64_t)(50 * MIB), (uint64_t)(100 * MIB), 10000, "a", 80},
         "[##########          ]  50%  50.0 MiB  5.0 MiB/s  0:10"},
        {{1, 3601, 1000, "a", 80}, "  0%  1 B  1 B/s  1:00:00"},
        {{100, 100, 1000, "a", 80}, "[####################] 100%  100 B  100 B/s  0:00"},
        {{200, 100, 1000, "a", 80}, "[####################] 100%  200 B  200 B/s  -:--"},
        {{2000, COPY_SIZE_UNKNOWN, 1000, "a", 80},
         "a                     2.0 KiB  2.0 KiB/s  -:--"},
        {{1, UINT64_MAX - 1, 1, "a", 80}, "  0%  1 B  1.0 KiB/s  -:--"},
    };

    (void)state;
    for (size_t i = 0; i < VMT_ARRAY_SIZE(rows); i++) {
        char line[CP_LINE_MAX];

        cp_progress_line(&rows[i].p, line);
        if (!strstr(line, rows[i].want))
            print_error("%s\n", line);
        assert_non_null(strstr(line, rows[i].want));
    }
}

static void
a_long_name_is_cut_to_the_width(void **state)
{
    struct cp_progress p = {
        .bytes = 1,
        .total = 2,
        .elapsed_ms = 1000,
        .cols = 80,
        .name =
            "a-name-that-is-much-longer-than-any-line-of-a-terminal-of-eighty-columns"};
    char line[CP_LINE_MAX];

    (void)state;
    cp_progress_line(&p, line);
    assert_true(strlen(line) < 80);
}

static void
operands_say_which_side_is_which(void **state)
{
    char *const to[] = {"a", "b/", "vm:dir"}, *const from[] = {"vm:/a", "vm:b/c",
                                                               "./x:y"};
    VMT_CLEANUP(cp_done) struct cp there = {0};
    VMT_CLEANUP(cp_done) struct cp back = {0};
    struct vmt_err err;

    (void)state;
    assert_int_equal(cp_operands(&there, to, 3, &err), 0);
    assert_true(there.to_vm);
    assert_string_equal(there.vm_name, "vm");
    assert_string_equal(there.destination, "dir");
    assert_string_equal(there.names[1], "b");
    assert_int_equal(cp_operands(&back, from, 3, &err), 0);
    assert_false(back.to_vm);
    assert_string_equal(back.sources[1], "b/c");
    assert_string_equal(back.names[1], "c");
    assert_string_equal(back.destination, "./x:y");
}

static void
operands_may_be_of_two_vms(void **state)
{
    char *const words[] = {"one:/a", "one:b/c", "two:"};
    VMT_CLEANUP(cp_done) struct cp cp = {0};
    struct vmt_err err;

    (void)state;
    assert_int_equal(cp_operands(&cp, words, 3, &err), 0);
    assert_true(cp.to_vm);
    assert_string_equal(cp.source_vm, "one");
    assert_string_equal(cp.vm_name, "two");
    assert_string_equal(cp.sources[1], "b/c");
    assert_string_equal(cp.names[1], "c");
    assert_string_equal(cp.destination, "");
}

static void
operands_without_sense_are_refused(void **state)
{
    static char *const rows[][3] = {
        {"a", "b", "c"},       {"a", "vm:b", "vm:c"}, {"vm:a", "b", "c"},
        {"vm:a", "no:b", "c"}, {"-", "a", "vm:b"},    {"vm:a", "vm:b", "-"},
        {"a", "..", "vm:b"},   {"vm:a", "b", "vm:c"}, {"one:a", "two:b", "vm:c"},
    };

    (void)state;
    for (size_t i = 0; i < VMT_ARRAY_SIZE(rows); i++) {
        VMT_CLEANUP(cp_done) struct cp cp = {0};
        struct vmt_err err;

        assert_int_equal(cp_operands(&cp, rows[i], 3, &err), -EINVAL);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(progress_tells_share_rate_and_time_left),
        cmocka_unit_test(a_long_name_is_cut_to_the_width),
        cmocka_unit_test(operands_say_which_side_is_which),
        cmocka_unit_test(operands_may_be_of_two_vms),
        cmocka_unit_test(operands_without_sense_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
