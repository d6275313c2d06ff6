/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/guest/maitred/init/modules.h"

#include <string.h>

#include "platform/guest/maitred/init/report.h"
#include "tests/unit/test.h"

static void
a_signature_is_found_at_the_end_only(void **state)
{
#define MAGIC "~Module signature appended~\n"
    static const char whole[] = "ELF data"
                                "signature"
                                "\0\0\2\0\0\0\0\0"
                                "\0\0\0\x09" MAGIC;
    static const char liar[] = "\0\0\2\0\0\0\0\0\0\0\0\1" MAGIC;
    static const char huge[] = "abc\0\0\2\0\0\0\0\0\xff\xff\xff\xff" MAGIC;
    size_t len = sizeof(whole) - 1;

    (void)state;
    assert_int_equal(modules_unsigned_len((const uint8_t *)whole, len), 8);
    for (size_t n = 0; n < len; n++) {
        assert_int_equal(modules_unsigned_len((const uint8_t *)whole, n), n);
        assert_int_equal(modules_unsigned_len((const uint8_t *)whole + len - n, n),
                         n > 48 ? n - 49 : n);
    }
    assert_int_equal(modules_unsigned_len((const uint8_t *)liar, sizeof(liar) - 1),
                     sizeof(liar) - 1);
    assert_int_equal(modules_unsigned_len((const uint8_t *)huge, sizeof(huge) - 1),
                     sizeof(huge) - 1);
}

static void
the_late_list_is_loaded_up_to_a_name(void **state)
{
    /* Nothing is open, so each load fails, is reported, and the next one is tried. */
    struct modules m = {
        .late = {{"failover", -1}, {"virtio_net", -1}, {"evdev", -1}},
        .n = 3,
    };
    static struct report report;

    (void)state;
    modules_load_through(&m, "virtio_blk", &report);
    assert_int_equal(m.next, 0);
    modules_load_through(&m, "virtio_net", &report);
    assert_int_equal(m.next, 2);
    assert_int_equal(report.ndegraded, 2);
    modules_load_through(&m, "virtio_net", &report);
    modules_load_through(&m, "failover", &report);
    assert_int_equal(m.next, 2);
    assert_true(modules_left(&m));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_signature_is_found_at_the_end_only),
        cmocka_unit_test(the_late_list_is_loaded_up_to_a_name),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
