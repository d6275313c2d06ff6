/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/disk/request.h"
#include "tests/unit/test.h"

static void
allocation_follows_the_request(void **state)
{
    static const struct {
        uint64_t size;
        enum disk_allocation allocation;
        bool ballooning;
        int result;
        bool sparse;
    } rows[] = {
        {0, DISK_ALLOCATION_AUTO, false, 0, true},
        {1u << 30, DISK_ALLOCATION_AUTO, false, 0, false},
        {1u << 30, DISK_ALLOCATION_SPARSE, false, 0, true},
        {0, DISK_ALLOCATION_SPARSE, true, 0, true},
        {1u << 30, DISK_ALLOCATION_FULL, false, 0, false},
        {0, DISK_ALLOCATION_FULL, false, -EINVAL, false},
        {1u << 30, DISK_ALLOCATION_FULL, true, -EINVAL, false},
        {1u << 30, DISK_ALLOCATION_AUTO, true, -EINVAL, false},
        {4096, DISK_ALLOCATION_SPARSE, false, -EINVAL, false},
    };

    (void)state;
    for (size_t i = 0; i < VMT_ARRAY_SIZE(rows); i++) {
        struct vmt_err err;
        bool sparse = false;

        assert_int_equal(disk_request_check(rows[i].size, rows[i].allocation,
                                            rows[i].ballooning, &sparse, &err),
                         rows[i].result);
        assert_int_equal(sparse, rows[i].sparse);
    }
}

static void
sizes_are_rounded_down_and_bounded(void **state)
{
    uint64_t size = 7;
    struct vmt_err err;

    (void)state;
    assert_int_equal(disk_request_size((1u << 30) + 4095, &size, &err), 0);
    assert_int_equal(size, 1u << 30);
    size = 7;
    assert_int_equal(disk_request_size(DISK_REQUEST_MIN - 1, &size, &err), -EINVAL);
    assert_int_equal(disk_request_size(DISK_REQUEST_MAX + 1, &size, &err), -EINVAL);
    assert_int_equal(disk_request_size(UINT64_MAX, &size, &err), -EINVAL);
    assert_int_equal(size, 7);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(allocation_follows_the_request),
        cmocka_unit_test(sizes_are_rounded_down_and_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
