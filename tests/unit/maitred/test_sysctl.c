/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/guest/maitred/init/sysctl.h"

#include <stdio.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "tests/unit/test.h"

static void
lines_are_names_and_values(void **state)
{
    static const struct {
        const char *line, *path, *value;
        bool may_fail;
    } rows[] = {
        {"net.ipv4.ip_forward=1", "/proc/sys/net/ipv4/ip_forward", "1", false},
        {"  vm.swappiness =  10 20\t\r", "/proc/sys/vm/swappiness", "10 20", false},
        {"-kernel.sysrq = 0", "/proc/sys/kernel/sysrq", "0", true},
        {"net/ipv4/conf/eth0.1/forwarding=1", "/proc/sys/net/ipv4/conf/eth0.1/forwarding",
         "1", false},
        {"net.ipv4.conf.eth0/1.forwarding=1", "/proc/sys/net/ipv4/conf/eth0.1/forwarding",
         "1", false},
        {"kernel.core_pattern=|/x a=b", "/proc/sys/kernel/core_pattern", "|/x a=b",
         false},
        {"kernel.empty=", "/proc/sys/kernel/empty", "", false},
    };

    (void)state;
    for (size_t i = 0; i < VMT_ARRAY_SIZE(rows); i++) {
        struct sysctl_line knob;
        char line[128];

        (void)snprintf(line, sizeof(line), "%s", rows[i].line);
        assert_true(sysctl_parse(line, &knob));
        assert_string_equal(knob.path, rows[i].path);
        assert_string_equal(knob.value, rows[i].value);
        assert_int_equal(knob.may_fail, rows[i].may_fail);
    }
}

static void
what_is_none_is_left_out(void **state)
{
    static const char *const lines[] = {
        "",         "  ",   "# a=b",    "; a=b",     "word",
        "=1",       "-",    "a b=1",    "net.*.x=1", "../../etc/passwd=x",
        "a/../b=1", "..=1", "a.//.b=1",
    };

    (void)state;
    for (size_t i = 0; i < VMT_ARRAY_SIZE(lines); i++) {
        struct sysctl_line knob;
        char line[128];

        (void)snprintf(line, sizeof(line), "%s", lines[i]);
        if (sysctl_parse(line, &knob))
            fail_msg("\"%s\" was taken", lines[i]);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_are_names_and_values),
        cmocka_unit_test(what_is_none_is_left_out),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
