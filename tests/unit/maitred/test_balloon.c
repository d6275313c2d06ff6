/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/guest/maitred/rpc/balloon.h"

#include "tests/unit/test.h"

#define GIB (INT64_C(1) << 30)
#define BASE BALLOON_BASE_CLUSTERS

static uint64_t
clusters(uint64_t value, uint64_t available, uint64_t block_size, int64_t host_free,
         bool empty)
{
    const struct balloon_space space = {BASE, value, available, block_size};

    return balloon_clusters(&space, host_free, empty);
}

static void
the_guest_has_what_the_host_has_beyond_1_gib(void **state)
{
    const uint64_t gib = GIB / 4096; /* in blocks */

    (void)state;
    /* 8 GiB are free in the guest, 5 on the host: 4 stay usable. */
    assert_int_equal(clusters(BASE, 8 * gib, 4096, 5 * GIB, false), BASE + 4 * gib);
    /* With that reserved 4 are free, and the host has 2 left: 1 stays. */
    assert_int_equal(clusters(BASE + 4 * gib, 4 * gib, 4096, 2 * GIB, false),
                     BASE + 7 * gib);
    assert_int_equal(clusters(BASE + 7 * gib, gib, 4096, 20 * GIB, false), BASE);
    assert_int_equal(clusters(BASE, 8 * gib, 4096, GIB / 2, false), BASE + 8 * gib);
}

static void
a_balloon_that_nobody_wants_is_empty(void **state)
{
    (void)state;
    assert_int_equal(clusters(BASE + 1000, 5, 4096, 0, true), BASE);
    assert_int_equal(clusters(0, 10, 4096, 100 * GIB, false), BASE);
    assert_int_equal(clusters(BASE, 10, 0, 0, false), BASE);
    assert_int_equal(clusters(BASE, 10, 4096, -1, false), BASE + 10);
}

static void
a_file_takes_what_the_host_has_not(void **state)
{
    const uint64_t mib = UINT64_C(1) << 20, spares = BALLOON_FILE_SPARES;

    (void)state;
    assert_int_equal(balloon_file_bytes(0, 8 * GIB, 5 * GIB, false), 4 * GIB - spares);
    assert_int_equal(balloon_file_bytes(4 * GIB, 4 * GIB, 2 * GIB, false),
                     7 * GIB - spares);
    assert_int_equal(balloon_file_bytes(7 * GIB, GIB, 20 * GIB, false), 0);
    assert_int_equal(balloon_file_bytes(0, 8 * GIB, 0, false), 8 * GIB - spares);
    assert_int_equal(balloon_file_bytes(0, spares, 0, false), 0);
    assert_int_equal(balloon_file_bytes(0, spares + mib + 5, -1, false), mib);
    assert_int_equal(balloon_file_bytes(GIB, GIB, 0, true), 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_takes_what_the_host_has_not),
        cmocka_unit_test(the_guest_has_what_the_host_has_beyond_1_gib),
        cmocka_unit_test(a_balloon_that_nobody_wants_is_empty),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
