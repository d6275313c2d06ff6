/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/concierge/cmdline_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "tests/unit/test.h"

static void
expect(const struct cmdline_input *in, const char *want)
{
    VMT_CLEANUP(vmt_freep) char *line = NULL;

    assert_int_equal(cmdline_make(in, &line, NULL), 0);
    assert_string_equal(line, want);
}

static void
defaults_make_a_guest_that_shows_its_end(void **state)
{
    const struct cmdline_input in = {.has_root = true};
    const struct cmdline_input writable = {.has_root = true, .writable_root = true};
    const struct cmdline_input bare = {.nparams = 0};

    (void)state;
    expect(&in,
           "console=ttyS0 panic=-1 no_timer_check quiet net.ifnames=0 root=/dev/vda ro "
           "printk.devkmsg=on");
    expect(&writable,
           "console=ttyS0 panic=-1 no_timer_check quiet net.ifnames=0 root=/dev/vda rw "
           "printk.devkmsg=on");
    expect(&bare,
           "console=ttyS0 panic=-1 no_timer_check quiet net.ifnames=0 printk.devkmsg=on");
}

static void
what_the_caller_decides_is_not_decided_again(void **state)
{
    const char *const params[] = {"console=hvc0 panic=5", "root=/dev/vdb", "rw",
                                  "loglevel=7", "net.ifnames=1"};
    const struct cmdline_input in = {
        .params = params, .nparams = VMT_ARRAY_SIZE(params), .has_root = true};

    (void)state;
    expect(
        &in,
        "console=hvc0 panic=5 root=/dev/vdb rw loglevel=7 net.ifnames=1 no_timer_check "
        "printk.devkmsg=on");
}

static void
a_parameter_that_only_begins_alike_decides_nothing(void **state)
{
    const char *const params[] = {"panic_on_warn=1", "rootflags=x"};
    const struct cmdline_input in = {
        .params = params, .nparams = VMT_ARRAY_SIZE(params), .has_root = true};

    (void)state;
    expect(&in, "panic_on_warn=1 rootflags=x console=ttyS0 panic=-1 no_timer_check quiet "
                "net.ifnames=0 "
                "root=/dev/vda ro printk.devkmsg=on");
}

static void
baguette_boots_from_its_stateful_disk(void **state)
{
    const struct cmdline_input in = {.has_root = true, .baguette = true};

    (void)state;
    expect(&in,
           "console=ttyS0 panic=-1 no_timer_check quiet root=/dev/vdb rw net.ifnames=0 "
           "systemd.log_color=0 printk.devkmsg=on");
}

static void
too_long_a_line_is_refused(void **state)
{
    static char big[CMDLINE_MAX];
    const char *params[] = {big};
    const struct cmdline_input in = {.params = params, .nparams = 1};
    struct vmt_err err = {0};
    char *line = NULL;

    (void)state;
    memset(big, 'x', sizeof(big) - 1);
    assert_int_equal(cmdline_make(&in, &line, &err), -EINVAL);
    assert_non_null(strstr(err.msg, "2047"));
    assert_null(line);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_make_a_guest_that_shows_its_end),
        cmocka_unit_test(what_the_caller_decides_is_not_decided_again),
        cmocka_unit_test(a_parameter_that_only_begins_alike_decides_nothing),
        cmocka_unit_test(baguette_boots_from_its_stateful_disk),
        cmocka_unit_test(too_long_a_line_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
