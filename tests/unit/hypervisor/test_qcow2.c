/* SPDX-License-Identifier: BSD-3-Clause */
#include "hypervisor/qemu/qcow2_internal.h"

#include <errno.h>
#include <string.h>

#include "core/base/err.h"
#include "tests/unit/test.h"

/* The header that "qemu-img create -f qcow2 x 1M" of 7.2 writes. */
static void
make_header(uint8_t *h)
{
    static const uint8_t start[] = {'Q', 'F', 'I', 0xfb, 0, 0, 0, 3};

    memset(h, 0, QCOW2_HEADER_SIZE);
    memcpy(h, start, sizeof(start));
    h[23] = 16;   /* cluster bits */
    h[29] = 0x10; /* size */
    h[103] = 104; /* header length */
}

static void
expect_refusal(const uint8_t *h, size_t len, const char *words)
{
    struct vmt_err err = {0};

    assert_int_equal(qcow2_header_check(h, len, &err), -EINVAL);
    assert_non_null(strstr(err.msg, words));
}

static void
an_image_of_its_own_passes(void **state)
{
    uint8_t h[QCOW2_HEADER_SIZE];

    (void)state;
    make_header(h);
    assert_int_equal(qcow2_header_check(h, sizeof(h), NULL), 0);
    h[79] = 1; /* dirty */
    assert_int_equal(qcow2_header_check(h, sizeof(h), NULL), 0);
    h[7] = 2;
    h[79] = 4; /* version 2 has no features there */
    assert_int_equal(qcow2_header_check(h, sizeof(h), NULL), 0);
}

static void
a_backing_file_is_refused(void **state)
{
    uint8_t h[QCOW2_HEADER_SIZE];

    (void)state;
    for (size_t i = 8; i < 16; i++) {
        make_header(h);
        h[i] = 1;
        expect_refusal(h, sizeof(h), "backing file");
    }
}

static void
an_external_data_file_is_refused(void **state)
{
    uint8_t h[QCOW2_HEADER_SIZE];

    (void)state;
    make_header(h);
    h[79] = 5;
    expect_refusal(h, sizeof(h), "its data in another file");
}

static void
anything_shorter_or_other_is_no_image(void **state)
{
    uint8_t h[QCOW2_HEADER_SIZE];

    (void)state;
    make_header(h);
    for (size_t len = 0; len < sizeof(h); len++)
        expect_refusal(h, len, "no qcow2 image");
    h[3] = 0xfa;
    expect_refusal(h, sizeof(h), "no qcow2 image");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_image_of_its_own_passes),
        cmocka_unit_test(a_backing_file_is_refused),
        cmocka_unit_test(an_external_data_file_is_refused),
        cmocka_unit_test(anything_shorter_or_other_is_no_image),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
