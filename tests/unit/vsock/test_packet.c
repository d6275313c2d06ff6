/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/vsock/packet.h"

#include <errno.h>
#include <string.h>

#include "tests/unit/test.h"

/* A connection request of guest 3, port 1024, to port 7777 of the host, written out by
 * hand from the table in the specification: src_cid, dst_cid, src_port, dst_port, len,
 * type, op, flags, buf_alloc, fwd_cnt. */
static const uint8_t request_bytes[VSOCK_HDR_BYTES] = {
    0x03, 0,    0,    0, 0, 0,    0,    0,    0x02, 0,    0,    0,    0,    0,   0,
    0,    0x00, 0x04, 0, 0, 0x61, 0x1e, 0,    0,    0,    0,    0,    0,    1,   0,
    1,    0,    0,    0, 0, 0,    0x00, 0x00, 0x04, 0x00, 0x78, 0x56, 0x34, 0x12};

static void
a_header_decodes_field_by_field(void **state)
{
    struct vsock_hdr hdr;

    (void)state;
    assert_int_equal(vsock_hdr_decode(request_bytes, sizeof(request_bytes), &hdr), 0);
    assert_int_equal(hdr.src_cid, 3);
    assert_int_equal(hdr.dst_cid, 2);
    assert_int_equal(hdr.src_port, 1024);
    assert_int_equal(hdr.dst_port, 7777);
    assert_int_equal(hdr.len, 0);
    assert_int_equal(hdr.type, VSOCK_TYPE_STREAM);
    assert_int_equal(hdr.op, VSOCK_OP_REQUEST);
    assert_int_equal(hdr.flags, 0);
    assert_int_equal(hdr.buf_alloc, 256 * 1024);
    assert_int_equal(hdr.fwd_cnt, 0x12345678);
}

static void
every_bit_of_every_byte_survives_both_ways(void **state)
{
    (void)state;
    for (unsigned bit = 0; bit < VSOCK_HDR_BYTES * 8; bit++) {
        uint8_t in[VSOCK_HDR_BYTES] = {0}, out[VSOCK_HDR_BYTES];
        struct vsock_hdr hdr;

        in[bit / 8] = (uint8_t)(1u << bit % 8);
        assert_int_equal(vsock_hdr_decode(in, sizeof(in), &hdr), 0);
        vsock_hdr_encode(&hdr, out);
        assert_memory_equal(out, in, sizeof(out));
    }
}

static void
a_header_cut_at_any_byte_is_refused_and_nothing_written(void **state)
{
    (void)state;
    for (size_t len = 0; len < VSOCK_HDR_BYTES; len++) {
        struct vsock_hdr hdr, before;

        memset(&hdr, 0xa5, sizeof(hdr));
        memcpy(&before, &hdr, sizeof(hdr));
        assert_int_equal(vsock_hdr_decode(request_bytes, len, &hdr), -EMSGSIZE);
        assert_memory_equal(&hdr, &before, sizeof(hdr));
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_header_decodes_field_by_field),
        cmocka_unit_test(every_bit_of_every_byte_survives_both_ways),
        cmocka_unit_test(a_header_cut_at_any_byte_is_refused_and_nothing_written),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
