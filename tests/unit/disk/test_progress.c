/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdlib.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "core/disk/progress.h"
#include "tests/unit/test.h"

static void
the_last_whole_lines_count(void **state)
{
    static const struct {
        const char *text;
        unsigned percent;
        bool done;
        enum disk_result result;
        const char *words;
    } rows[] = {
        {"", 0, false, DISK_RESULT_NONE, ""},
        {"progress 1 4\n", 25, false, DISK_RESULT_NONE, ""},
        {"progress 1 4\nprogress 2 4\nprogress 4", 50, false, DISK_RESULT_NONE, ""},
        {"progress 5 0\n", 0, false, DISK_RESULT_NONE, ""},
        {"progress 9 4\n", 99, false, DISK_RESULT_NONE, ""},
        {"progress 4 4\nresult ok size=1\n", 99, true, DISK_RESULT_OK, "size=1"},
        {"gress 1 4\nprogress 1 4\n", 25, false, DISK_RESULT_NONE, ""},
        {"result nospace no room\n", 0, true, DISK_RESULT_NO_SPACE, "no room"},
        {"result badimage\n", 0, true, DISK_RESULT_BAD_IMAGE, ""},
        {"result exists x\n", 0, true, DISK_RESULT_EXISTS, "x"},
        {"result busy x\n", 0, true, DISK_RESULT_BUSY, "x"},
        {"result cancelled x\n", 0, true, DISK_RESULT_FAILED, "x"},
        {"result ", 0, false, DISK_RESULT_NONE, ""},
        {"progress -1 4\nprogress 1 4x\nprogress\nprogress 1\n", 0, false,
         DISK_RESULT_NONE, ""},
        {"progress 99999999999999999999999 1\n", 0, false, DISK_RESULT_NONE, ""},
        {"result failed a\001b\n", 0, true, DISK_RESULT_FAILED, "a\\x01b"},
    };

    (void)state;
    for (size_t i = 0; i < VMT_ARRAY_SIZE(rows); i++) {
        struct disk_progress p;

        disk_progress_parse(rows[i].text, strlen(rows[i].text), &p);
        assert_int_equal(p.percent, rows[i].percent);
        assert_int_equal(p.done, rows[i].done);
        assert_int_equal(p.result, rows[i].result);
        assert_string_equal(p.text, rows[i].words);
    }
}

static void
no_bytes_do_harm(void **state)
{
    static char text[70000];
    struct disk_progress p;
    unsigned seed = 1;

    (void)state;
    memset(text, 'x', sizeof(text));
    memcpy(text, "result failed ", 14);
    text[sizeof(text) - 1] = '\n';
    disk_progress_parse(text, sizeof(text), &p);
    assert_true(p.done && strlen(p.text) < sizeof(p.text));
    for (int round = 0; round < 200; round++) {
        size_t len = (size_t)(round * 7);

        for (size_t i = 0; i < len; i++) {
            seed = seed * 1103515245 + 12345;
            text[i] = (char)(seed >> 16);
        }
        disk_progress_parse(text, len, &p);
        assert_true(p.percent <= 99);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_last_whole_lines_count),
        cmocka_unit_test(no_bytes_do_harm),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
