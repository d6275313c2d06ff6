/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/guest/maitred/init/modules.h"

#include <string.h>

#include "tests/unit/test.h"

static const char dep[] =
    "kernel/fs/ext4/ext4.ko: kernel/lib/crc16.ko kernel/fs/mbcache.ko\n"
    "kernel/drivers/misc/pvpanic/pvpanic-pci.ko: kernel/a.ko\n"
    "extra.ko:\n"
    "no colon ext\n"
    "kernel/lib/crc16.ko.xz:\n"
    "kernel/last.ko:";

static void
assert_found(const char *name, const char *line)
{
    const char *at = NULL;
    size_t n = modules_dep_find(dep, strlen(dep), name, &at);

    assert_int_equal(n, strlen(line));
    assert_memory_equal(at, line, n);
}

static void
modules_are_found_by_name(void **state)
{
    (void)state;
    assert_found("ext4",
                 "kernel/fs/ext4/ext4.ko: kernel/lib/crc16.ko kernel/fs/mbcache.ko");
    assert_found("pvpanic_pci",
                 "kernel/drivers/misc/pvpanic/pvpanic-pci.ko: kernel/a.ko");
    assert_found("pvpanic-pci",
                 "kernel/drivers/misc/pvpanic/pvpanic-pci.ko: kernel/a.ko");
    assert_found("extra", "extra.ko:");
    assert_found("crc16", "kernel/lib/crc16.ko.xz:");
    assert_found("last", "kernel/last.ko:");
}

static void
parts_of_a_name_are_not_the_name(void **state)
{
    const char *at;

    (void)state;
    assert_int_equal(modules_dep_find(dep, strlen(dep), "ext", &at), 0);
    assert_int_equal(modules_dep_find(dep, strlen(dep), "ext44", &at), 0);
    assert_int_equal(modules_dep_find(dep, strlen(dep), "", &at), 0);
    assert_int_equal(modules_dep_find(dep, strlen(dep), "kernel/last", &at), 0);
    assert_int_equal(modules_dep_find("", 0, "ext4", &at), 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(modules_are_found_by_name),
        cmocka_unit_test(parts_of_a_name_are_not_the_name),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
