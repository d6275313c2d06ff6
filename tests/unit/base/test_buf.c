/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/base/buf.h"

#include <errno.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "tests/unit/test.h"

static void
bytes_come_out_as_they_went_in_for_any_mix_of_sizes(void **state)
{
    VMT_CLEANUP(vmt_buf_done) struct vmt_buf buf = {0};
    uint8_t put = 0, got = 0;
    unsigned seed = 1;

    (void)state;
    for (int round = 0; round < 20000; round++) {
        uint8_t chunk[97];
        size_t n;

        seed = seed * 1103515245u + 12345u;
        n = (seed >> 16) % sizeof(chunk);
        for (size_t i = 0; i < n; i++)
            chunk[i] = put++;
        assert_int_equal(vmt_buf_append(&buf, chunk, n), 0);
        seed = seed * 1103515245u + 12345u;
        n = (seed >> 16) % (buf.len + 1);
        for (size_t i = 0; i < n; i++)
            assert_int_equal(buf.data[i], got++);
        vmt_buf_consume(&buf, n);
    }
}

static void
an_impossible_size_is_refused_and_changes_nothing(void **state)
{
    VMT_CLEANUP(vmt_buf_done) struct vmt_buf buf = {0};

    (void)state;
    assert_int_equal(vmt_buf_append(&buf, "abc", 3), 0);
    assert_int_equal(vmt_buf_reserve(&buf, SIZE_MAX), -ENOMEM);
    assert_int_equal(buf.len, 3);
    assert_memory_equal(buf.data, "abc", 3);
}

static void
reserve_and_commit_make_room_in_place(void **state)
{
    VMT_CLEANUP(vmt_buf_done) struct vmt_buf buf = {0};

    (void)state;
    assert_int_equal(vmt_buf_reserve(&buf, 10), 0);
    memcpy(vmt_buf_tail(&buf), "0123456789", 10);
    vmt_buf_commit(&buf, 10);
    vmt_buf_consume(&buf, 4);
    assert_int_equal(buf.len, 6);
    assert_memory_equal(buf.data, "456789", 6);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_come_out_as_they_went_in_for_any_mix_of_sizes),
        cmocka_unit_test(an_impossible_size_is_refused_and_changes_nothing),
        cmocka_unit_test(reserve_and_commit_make_room_in_place),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
