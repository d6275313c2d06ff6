/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/guest/maitred/rpc/blank.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/unit/test.h"

#define MIB (1024L * 1024)

static int
check_with_byte(off_t size, off_t at)
{
    char path[] = "/tmp/vmt-blank-XXXXXX";
    int fd = mkstemp(path), r;

    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, size), 0);
    if (at >= 0)
        assert_int_equal(pwrite(fd, "x", 1, at), 1);
    (void)close(fd);
    r = blank_check(path, NULL);
    assert_int_equal(unlink(path), 0);
    return r;
}

static void
a_disk_with_a_superblock_anywhere_is_not_blank(void **state)
{
    (void)state;
    assert_int_equal(check_with_byte(8 * MIB, -1), 1);
    assert_int_equal(check_with_byte(8 * MIB, 0), 0);
    assert_int_equal(check_with_byte(8 * MIB, 1080), 0);        /* ext4 */
    assert_int_equal(check_with_byte(8 * MIB, 65600), 0);       /* btrfs */
    assert_int_equal(check_with_byte(8 * MIB, 2 * MIB - 1), 0); /* the end of the head */
    assert_int_equal(check_with_byte(8 * MIB, 8 * MIB - 512), 0); /* the second GPT */
    assert_int_equal(check_with_byte(8 * MIB, 8 * MIB - 1), 0);
    /* Without their first superblock: trees of a btrfs, the copy of its superblock. */
    assert_int_equal(check_with_byte(1024 * MIB, -1), 1);
    assert_int_equal(check_with_byte(1024 * MIB, 30408704), 0);
    assert_int_equal(check_with_byte(1024 * MIB, 64 * MIB + 64), 0);
    assert_int_equal(check_with_byte(1024 * MIB, 1024 * MIB - MIB), 0);
}

static void
small_and_odd_sizes_are_read_whole(void **state)
{
    (void)state;
    assert_int_equal(check_with_byte(0, -1), 1);
    assert_int_equal(check_with_byte(513, -1), 1);
    assert_int_equal(check_with_byte(513, 512), 0);
    assert_int_equal(check_with_byte(MIB + 7, MIB + 6), 0);
}

static void
what_cannot_be_read_is_an_error(void **state)
{
    (void)state;
    assert_int_equal(blank_check("/nonexistent/disk", NULL), -ENOENT);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_disk_with_a_superblock_anywhere_is_not_blank),
        cmocka_unit_test(small_and_odd_sizes_are_read_whole),
        cmocka_unit_test(what_cannot_be_read_is_an_error),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
