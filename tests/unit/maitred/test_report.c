/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/guest/maitred/init/report.h"

#include <string.h>

#include "core/base/log.h"
#include "tests/unit/test.h"

static void
drop_line(void *arg, enum vmt_log_level level, const char *line)
{
    (void)level;
    (void)line;
    ++*(unsigned *)arg;
}

static void
phases_are_printed_since_the_one_before(void **state)
{
    const struct report report = {
        .phases = {{"kernel", 1234567}, {"root", 1240000}, {"ready", 1240099}},
        .nphases = 3,
    };
    char line[128], exact[48];

    (void)state;
    assert_string_equal(report_format(&report, line, sizeof(line)),
                        "kernel 1234.5 root +5.4 ready +0.0 ms");
    for (size_t cap = 1; cap < sizeof(exact); cap++)
        assert_true(strlen(report_format(&report, exact, cap)) < cap);
}

static void
both_lists_are_bounded(void **state)
{
    static struct report report;
    unsigned logged = 0;

    (void)state;
    vmt_log_init("test", drop_line, &logged);
    for (unsigned i = 0; i < 100; i++) {
        report_phase(&report, "x");
        report_degraded(&report, "number %u", i);
    }
    vmt_log_init("test", NULL, NULL);
    assert_int_equal(report.nphases, REPORT_PHASES_MAX);
    assert_int_equal(report.ndegraded, 100);
    assert_int_equal(logged, 100);
    assert_string_equal(report.degraded[REPORT_DEGRADED_MAX - 1], "number 31");
}

/* A reply of gRPC must be UTF-8, or no client takes it. */
static void
names_of_any_bytes_become_text(void **state)
{
    static struct report report;
    unsigned logged = 0;

    (void)state;
    vmt_log_init("test", drop_line, &logged);
    report_degraded(&report, "startup job %s: no argv", "/etc/maitred/\xff\n");
    vmt_log_init("test", NULL, NULL);
    assert_string_equal(report.degraded[0],
                        "startup job /etc/maitred/\\xff\\x0a: no argv");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(phases_are_printed_since_the_one_before),
        cmocka_unit_test(both_lists_are_bounded),
        cmocka_unit_test(names_of_any_bytes_become_text),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
