/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/base/str.h"

#include <errno.h>

#include "tests/unit/test.h"

static void
numbers_fill_the_text_and_stay_below_the_maximum(void **state)
{
    uint64_t v = 7;

    (void)state;
    assert_int_equal(vmt_parse_u64("", 9, &v), -EINVAL);
    assert_int_equal(vmt_parse_u64("1x", 99, &v), -EINVAL);
    assert_int_equal(vmt_parse_u64("-1", 99, &v), -EINVAL);
    assert_int_equal(vmt_parse_u64("100", 99, &v), -ERANGE);
    assert_int_equal(vmt_parse_u64("18446744073709551616", UINT64_MAX, &v), -ERANGE);
    assert_int_equal(v, 7);
    assert_int_equal(vmt_parse_u64("18446744073709551615", UINT64_MAX, &v), 0);
    assert_true(v == UINT64_MAX);
}

static void
prefix_and_hex(void **state)
{
    char out[5];

    (void)state;
    assert_true(vmt_str_has_prefix("hybrid:/x", "hybrid:"));
    assert_false(vmt_str_has_prefix("hy", "hybrid:"));
    vmt_hex_encode(out, (const uint8_t[]){0x0f, 0xa0}, 2);
    assert_string_equal(out, "0fa0");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_fill_the_text_and_stay_below_the_maximum),
        cmocka_unit_test(prefix_and_hex),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
