/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/guest/maitred/init/cmdline.h"

#include <stdio.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "tests/unit/test.h"

static void
append_option(void *arg, const char *key, const char *value)
{
    char *out = arg;

    (void)sprintf(out + strlen(out), "[%s%s%s]", key, value ? "|" : "",
                  value ? value : "");
}

static void
assert_options(const char *text, const char *expected)
{
    char copy[256], out[512] = "";

    (void)snprintf(copy, sizeof(copy), "%s", text);
    cmdline_each(copy, append_option, out);
    assert_string_equal(out, expected);
}

static void
options_are_cut_as_the_kernel_cuts_them(void **state)
{
    (void)state;
    assert_options("", "");
    assert_options("  \n", "");
    assert_options("quiet ro", "[quiet][ro]");
    assert_options("a=1  b=x=y\tc=\n", "[a|1][b|x=y][c|]");
    assert_options("a=\"one two\" b", "[a|one two][b]");
    assert_options("\"a=one two\" b", "[a|one two][b]");
    assert_options("\"a b\"", "[a b]");
    assert_options("a=\"open end", "[a|open end]");
    assert_options("a=\"\" =v \"\"", "[a|][|v][]");
    assert_options("a -- b c=1", "[a]");
}

static struct cmdline
parse(const char *text)
{
    char copy[1024];
    struct cmdline c;

    (void)snprintf(copy, sizeof(copy), "%s", text);
    cmdline_parse(copy, &c);
    return c;
}

static void
nothing_said_means_defaults(void **state)
{
    VMT_CLEANUP(cmdline_done) struct cmdline c = parse("console=ttyS0 quiet");

    (void)state;
    assert_int_equal(c.host_port, 7777);
    assert_int_equal(c.port, 8888);
    assert_true(c.root_overlay && !c.root_rw && !c.probe && !c.shell && !c.template);
    assert_int_equal(c.thaw_timeout_s, 30);
    assert_int_equal(c.watchdog_s, 60);
    assert_int_equal(c.fault, CMDLINE_POWEROFF_REBOOT);
    assert_true(c.coldplug);
    assert_string_equal(c.crash_collector, "/usr/lib/vm_tools/crash_collector");
    assert_string_equal(c.modules, "");
    assert_string_equal(c.skip_jobs, "");
    assert_string_equal(c.root, "");
    assert_int_equal(c.refused.n, 0);
}

static void
the_last_of_several_wins(void **state)
{
    VMT_CLEANUP(cmdline_done)
    struct cmdline c =
        parse("root=/dev/vda rw ro maitred.listen_port=1 maitred.host_port=42 "
              "rootfstype=squashfs rootflags=\"a,b c\" maitred.overlay=none "
              "maitred.skip_jobs=10-a,b maitred.watchdog=9 maitred.fault=off "
              "maitred.modules=\"x,y\" maitred.coldplug=0 maitred.crash_collector=/c "
              "maitred.poweroff=halt maitred.probe maitred.job_timeout=3 "
              "maitred.template maitred.thaw_timeout=7");

    (void)state;
    assert_string_equal(c.root, "/dev/vda");
    assert_string_equal(c.rootfstype, "squashfs");
    assert_string_equal(c.rootflags, "a,b c");
    assert_true(!c.root_rw && !c.root_overlay && c.probe);
    assert_int_equal(c.host_port, 42);
    assert_int_equal(c.job_timeout_s, 3);
    assert_true(c.template);
    assert_int_equal(c.thaw_timeout_s, 7);
    assert_int_equal(c.poweroff, CMDLINE_POWEROFF_HALT);
    assert_string_equal(c.skip_jobs, "10-a,b");
    assert_int_equal(c.watchdog_s, 9);
    assert_int_equal(c.fault, CMDLINE_POWEROFF_OFF);
    assert_string_equal(c.modules, "x,y");
    assert_false(c.coldplug);
    assert_string_equal(c.crash_collector, "/c");
    assert_int_equal(c.refused.n, 0);
}

static void
bad_values_change_nothing_and_are_kept_for_the_log(void **state)
{
    VMT_CLEANUP(cmdline_done)
    struct cmdline c = parse(
        "maitred.listen_port=-1 maitred.port=0 maitred.port=4294967295 "
        "maitred.listen_port=12x maitred.poweroff=now maitred.nonsense=1 maitred.port "
        "maitred.probe=perhaps other.nonsense=1");

    (void)state;
    assert_int_equal(c.host_port, 7777);
    assert_int_equal(c.port, 8888);
    assert_int_equal(c.poweroff, CMDLINE_POWEROFF_AUTO);
    assert_false(c.probe);
    assert_int_equal(c.refused.n, 8);
    assert_string_equal(c.refused.v[0], "maitred.listen_port=-1");
    assert_string_equal(c.refused.v[5], "maitred.nonsense");
}

static void
a_value_that_is_too_long_is_refused(void **state)
{
    char text[CMDLINE_VALUE_MAX + 16] = "root=";
    struct cmdline c;

    (void)state;
    memset(text + 5, 'x', CMDLINE_VALUE_MAX);
    cmdline_parse(text, &c);
    assert_string_equal(c.root, "");
    assert_int_equal(c.refused.n, 1);
    cmdline_done(&c);
}

static void
text_cut_anywhere_does_no_harm(void **state)
{
    static const char whole[] = "a=\"b c\" \"maitred.port=5 6\" maitred.shell -- x";

    (void)state;
    for (size_t n = 0; n < sizeof(whole); n++) {
        char *exact = strndup(whole, n);
        struct cmdline c;

        assert_non_null(exact);
        cmdline_parse(exact, &c);
        cmdline_done(&c);
        free(exact);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_are_cut_as_the_kernel_cuts_them),
        cmocka_unit_test(nothing_said_means_defaults),
        cmocka_unit_test(the_last_of_several_wins),
        cmocka_unit_test(bad_values_change_nothing_and_are_kept_for_the_log),
        cmocka_unit_test(a_value_that_is_too_long_is_refused),
        cmocka_unit_test(text_cut_anywhere_does_no_harm),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
