/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/snapshot/frame.h"

#include <errno.h>
#include <string.h>

#include "tests/unit/test.h"

#define BODY 9u

static size_t
make(uint8_t *out)
{
    static const uint8_t body[BODY] = "123456789";

    snapshot_frame_head(body, BODY, out);
    memcpy(out + SNAPSHOT_FRAME_HEAD, body, BODY);
    return SNAPSHOT_FRAME_HEAD + BODY;
}

/* Source: the check value of CRC-32/ISO-HDLC in the catalogue of CRC algorithms. */
static void
the_checksum_is_the_usual_one(void **state)
{
    (void)state;
    assert_int_equal(snapshot_crc32((const uint8_t *)"123456789", 9), 0xcbf43926u);
}

static void
what_was_framed_comes_back(void **state)
{
    uint8_t data[SNAPSHOT_FRAME_HEAD + BODY];
    const uint8_t *body = NULL;
    size_t n = make(data), len = 0;

    (void)state;
    assert_int_equal(snapshot_frame_open(data, n, &body, &len, NULL), 0);
    assert_ptr_equal(body, data + SNAPSHOT_FRAME_HEAD);
    assert_int_equal(len, BODY);
}

static void
every_cut_and_every_changed_bit_is_found(void **state)
{
    uint8_t data[SNAPSHOT_FRAME_HEAD + BODY];
    const uint8_t *body = NULL;
    size_t n = make(data), len = 0;

    (void)state;
    for (size_t cut = 0; cut < n; cut++)
        assert_int_equal(snapshot_frame_open(data, cut, &body, &len, NULL), -EBADMSG);
    for (size_t bit = 0; bit < n * 8; bit++) {
        data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_equal(snapshot_frame_open(data, n, &body, &len, NULL), -EBADMSG);
        data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    assert_null(body);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_checksum_is_the_usual_one),
        cmocka_unit_test(what_was_framed_comes_back),
        cmocka_unit_test(every_cut_and_every_changed_bit_is_found),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
