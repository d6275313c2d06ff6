/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "hypervisor/qemu/qemu_internal.h"
#include "tests/unit/test.h"

static void
put(const char *dir, const char *name, const char *text)
{
    char path[128];
    FILE *f;

    (void)snprintf(path, sizeof(path), "%s/%s", dir, name);
    f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static void
only_pages_that_nobody_was_promised_count(void **state)
{
    char dir[] = "/tmp/vmt-huge-XXXXXX", path[128];

    (void)state;
    assert_non_null(mkdtemp(dir));
    assert_false(qemu_hugepages_suffice(dir, 2)); /* a kernel without them */
    put(dir, "free_hugepages", "128\n");
    assert_true(qemu_hugepages_suffice(dir, 256));
    assert_false(qemu_hugepages_suffice(dir, 258));
    assert_false(qemu_hugepages_suffice(dir, 255)); /* half a page is none */
    put(dir, "resv_hugepages", "64\n");
    assert_true(qemu_hugepages_suffice(dir, 128));
    assert_false(qemu_hugepages_suffice(dir, 130));
    put(dir, "resv_hugepages", "129\n");
    assert_false(qemu_hugepages_suffice(dir, 2));
    put(dir, "free_hugepages", "garbage");
    assert_false(qemu_hugepages_suffice(dir, 2));
    (void)snprintf(path, sizeof(path), "%s/free_hugepages", dir);
    unlink(path);
    (void)snprintf(path, sizeof(path), "%s/resv_hugepages", dir);
    unlink(path);
    rmdir(dir);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_pages_that_nobody_was_promised_count),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
