/* SPDX-License-Identifier: BSD-3-Clause */
#include <string.h>

#include "core/base/cleanup.h"
#include "core/disk/name.h"
#include "tests/unit/test.h"

static void
names_become_files_and_come_back(void **state)
{
    static const struct {
        const char *name, *file;
        enum disk_kind kind;
    } rows[] = {
        {"termina", "dGVybWluYQ==.img", DISK_KIND_RAW}, /* the original's example */
        {"a", "YQ==.qcow2", DISK_KIND_QCOW2},
        {"ab", "YWI=.pflash", DISK_KIND_PFLASH},
        {"abc", "YWJj.img", DISK_KIND_RAW},
        {"../x", "Li4veA==.img", DISK_KIND_RAW},
        {"\xff\xfe\xfb", "__77.img", DISK_KIND_RAW},
    };
    char file[DISK_FILE_MAX], name[VMT_VM_NAME_MAX + 1];
    enum disk_kind kind;

    (void)state;
    for (size_t i = 0; i < VMT_ARRAY_SIZE(rows); i++) {
        assert_string_equal(disk_file_name(rows[i].name, rows[i].kind, file),
                            rows[i].file);
        assert_true(disk_file_parse(file, name, &kind));
        assert_string_equal(name, rows[i].name);
        assert_int_equal(kind, rows[i].kind);
    }
    assert_true(disk_file_parse("YQ.img", name, &kind)); /* padding may be missing */
    assert_string_equal(name, "a");
}

static void
the_longest_name_fits(void **state)
{
    char long_name[VMT_VM_NAME_MAX + 1], file[DISK_FILE_MAX], name[VMT_VM_NAME_MAX + 1];
    enum disk_kind kind;

    (void)state;
    memset(long_name, 'x', VMT_VM_NAME_MAX);
    long_name[VMT_VM_NAME_MAX] = '\0';
    for (int k = 0; k < DISK_KIND_COUNT; k++) {
        disk_file_name(long_name, (enum disk_kind)k, file);
        assert_true(strlen(file) < DISK_FILE_MAX);
        assert_true(disk_file_parse(file, name, &kind));
        assert_string_equal(name, long_name);
    }
}

static void
other_files_are_none_of_ours(void **state)
{
    static const char *const files[] = {
        "",
        ".img",
        "YQ==",
        "YQ==.raw",
        "YQ==.img.tmp",
        "Y!==.img",
        "===.img",
        "AA==.img",
        "YQBi.img", /* NULs */
        "Y.img",
        "YQ==.IMG",
        "log",
        "YQ==/x.img",
        /* 63 bytes */
        ("YWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWF"
         "hYWFh.img"),
    };
    char name[VMT_VM_NAME_MAX + 1];
    enum disk_kind kind;

    (void)state;
    for (size_t i = 0; i < VMT_ARRAY_SIZE(files); i++)
        if (disk_file_parse(files[i], name, &kind))
            fail_msg("%s was taken for an image", files[i]);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_become_files_and_come_back),
        cmocka_unit_test(the_longest_name_fits),
        cmocka_unit_test(other_files_are_none_of_ours),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
