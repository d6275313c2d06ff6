/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/base/log.h"

#include <stdio.h>
#include <string.h>

#include "tests/unit/test.h"

static char last_line[2048];
static int lines;

static void
keep_line(void *arg, enum vmt_log_level level, const char *line)
{
    (void)arg;
    (void)level;
    lines++;
    (void)snprintf(last_line, sizeof(last_line), "%s", line);
}

static void
lines_above_the_level_are_dropped(void **state)
{
    (void)state;
    lines = 0;
    vmt_log_init("test", keep_line, NULL);
    vmt_log_debug("not seen");
    assert_int_equal(lines, 0);
    vmt_log_set_level(VMT_LOG_DEBUG);
    vmt_log_debug("seen vm=%s", "a");
    assert_int_equal(lines, 1);
    assert_string_equal(last_line, "seen vm=a");
    vmt_log_set_level(VMT_LOG_INFO);
}

static void
guest_text_cannot_forge_lines_or_escapes(void **state)
{
    char buf[64];

    (void)state;
    assert_string_equal(vmt_log_escape(buf, sizeof(buf), "a\nb\033[1m\\", 8),
                        "a\\x0ab\\x1b[1m\\\\");
    assert_string_equal(vmt_log_escape(buf, 12, "0123456789abcdef", 16), "01234567...");
    assert_string_equal(vmt_log_escape(buf, 4, "abc", 3), "...");
    assert_string_equal(vmt_log_escape(buf, sizeof(buf), "", 0), "");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_above_the_level_are_dropped),
        cmocka_unit_test(guest_text_cannot_forge_lines_or_escapes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
