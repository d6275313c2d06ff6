/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/vsh/frame.h"

#include <errno.h>
#include <string.h>

#include "vsh.pb-c.h"

#include "core/base/cleanup.h"
#include "core/vsh/message.h"
#include "tests/unit/test.h"
#include "tests/unit/vsh/hex.h"

static void
a_frame_is_found_however_it_is_cut(void **state)
{
    uint8_t raw[64];
    size_t total = hex_bytes(HEX_STDOUT_OK, raw);

    (void)state;
    for (size_t cut = 0; cut <= total; cut++) {
        VMT_CLEANUP(vsh_decoder_done) struct vsh_decoder decoder = {0};
        const uint8_t *data = raw, *body = NULL;
        size_t first = cut, rest = total - cut, n = 0;
        int r = vsh_decoder_feed(&decoder, &data, &first, &body, &n);

        assert_int_equal(first, 0);
        if (cut < total) {
            assert_int_equal(r, 0);
            r = vsh_decoder_feed(&decoder, &data, &rest, &body, &n);
        }
        assert_int_equal(r, 1);
        assert_int_equal(n, total - 4);
        assert_memory_equal(body, raw + 4, n);
    }
}

static void
frames_come_out_one_by_one_from_single_bytes(void **state)
{
    uint8_t raw[64];
    size_t total = hex_bytes(HEX_SIGINT HEX_SIGTERM, raw);
    VMT_CLEANUP(vsh_decoder_done) struct vsh_decoder decoder = {0};
    unsigned found = 0;

    (void)state;
    for (size_t i = 0; i < total; i++) {
        const uint8_t *data = raw + i, *body;
        size_t len = 1, n;
        int r = vsh_decoder_feed(&decoder, &data, &len, &body, &n);

        assert_int_equal(len, 0);
        assert_int_equal(r, i % 6 == 5);
        if (r == 1) {
            assert_int_equal(n, 2);
            assert_int_equal(body[1], found == 0 ? 2 : 15);
            found++;
        }
    }
    assert_int_equal(found, 2);
}

static void
a_zero_length_is_a_frame_of_its_own(void **state)
{
    static const uint8_t raw[8] = {0};
    VMT_CLEANUP(vsh_decoder_done) struct vsh_decoder decoder = {0};
    const uint8_t *data = raw, *body;
    size_t len = sizeof(raw), n = 9;

    (void)state;
    assert_int_equal(vsh_decoder_feed(&decoder, &data, &len, &body, &n), 1);
    assert_int_equal(n, 0);
    assert_int_equal(len, 4);
    assert_int_equal(vsh_decoder_feed(&decoder, &data, &len, &body, &n), 1);
    assert_int_equal(vsh_decoder_feed(&decoder, &data, &len, &body, &n), 0);
}

static void
the_longest_payload_passes(void **state)
{
    static uint8_t raw[VSH_FRAME_MAX] = {0x00, 0x10, 0, 0};
    VMT_CLEANUP(vsh_decoder_done) struct vsh_decoder decoder = {0};
    const uint8_t *data = raw, *body;
    size_t len = sizeof(raw), n;

    (void)state;
    assert_int_equal(vsh_decoder_feed(&decoder, &data, &len, &body, &n), 1);
    assert_int_equal(n, VSH_BODY_MAX);
}

static void
an_oversized_length_breaks_the_stream_for_good(void **state)
{
    static const uint8_t too_long[][4] = {{0x01, 0x10, 0, 0}, {0xff, 0xff, 0xff, 0xff}};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        VMT_CLEANUP(vsh_decoder_done) struct vsh_decoder decoder = {0};
        const uint8_t *data = too_long[i], *body;
        uint8_t fine[16];
        size_t len = 4, n;

        assert_int_equal(vsh_decoder_feed(&decoder, &data, &len, &body, &n), -EMSGSIZE);
        len = hex_bytes(HEX_SIGINT, fine);
        data = fine;
        assert_int_equal(vsh_decoder_feed(&decoder, &data, &len, &body, &n), -EMSGSIZE);
    }
}

static void
a_message_that_does_not_fit_is_refused(void **state)
{
    VmTools__Vsh__DataMessage m = VM_TOOLS__VSH__DATA_MESSAGE__INIT;
    static uint8_t bytes[VSH_BODY_MAX];
    uint8_t out[VSH_FRAME_MAX];

    (void)state;
    m.data.data = bytes;
    m.data.len = VSH_BODY_MAX - 3; /* tag and a length of two bytes */
    assert_int_equal(vsh_frame_encode(&m.base, out), VSH_FRAME_MAX);
    m.data.len++;
    assert_int_equal(vsh_frame_encode(&m.base, out), -EMSGSIZE);
}

static void
large_frames_pass_once_both_agreed(void **state)
{
    static uint8_t raw[4 + VSH_LARGE_BODY_MAX] = {VSH_LARGE_BODY_MAX & 0xff,
                                                  VSH_LARGE_BODY_MAX >> 8 & 0xff,
                                                  VSH_LARGE_BODY_MAX >> 16, 0};
    static const uint8_t over[4] = {(VSH_LARGE_BODY_MAX + 1) & 0xff,
                                    (VSH_LARGE_BODY_MAX + 1) >> 8 & 0xff,
                                    (VSH_LARGE_BODY_MAX + 1) >> 16, 0};

    (void)state;
    for (size_t piece = 1; piece < sizeof(raw); piece = piece * 7 + 1) {
        VMT_CLEANUP(vsh_decoder_done) struct vsh_decoder decoder = {.large = true};
        const uint8_t *data, *body;
        size_t n = 0, len;
        int r = 0;

        for (size_t at = 0; at < sizeof(raw); at += piece) {
            data = raw + at;
            len = sizeof(raw) - at < piece ? sizeof(raw) - at : piece;
            r = vsh_decoder_feed(&decoder, &data, &len, &body, &n);
        }
        assert_int_equal(r, 1);
        assert_int_equal(n, VSH_LARGE_BODY_MAX);
        data = over;
        len = sizeof(over);
        assert_int_equal(vsh_decoder_feed(&decoder, &data, &len, &body, &n), -EMSGSIZE);
    }
}

static void
a_frame_made_in_place_is_what_protobuf_makes(void **state)
{
    static const size_t sizes[] = {1, 2, 119, 120, 127, 128, 3999, VSH_DATA_MAX};
    static uint8_t room[VSH_DATA_HEAD + VSH_DATA_MAX];
    uint8_t *bytes = room + VSH_DATA_HEAD, want[VSH_FRAME_MAX];

    (void)state;
    memset(bytes, 'x', VSH_DATA_MAX);
    for (size_t i = 0; i < VMT_ARRAY_SIZE(sizes); i++) {
        struct vsh_message m = {.kind = VSH_KIND_DATA,
                                .stream = VSH_STREAM_STDERR,
                                .data = bytes,
                                .len = sizes[i]};
        ssize_t n = vsh_host_encode(&m, want);
        const uint8_t *frame = vsh_frame_data(bytes, sizes[i], VSH_STREAM_STDERR);
        const uint8_t *data;
        size_t len;
        int stream;

        assert_int_equal(bytes + sizes[i] - frame, n);
        assert_memory_equal(frame, want, (size_t)n);
        assert_true(vsh_frame_data_parse(frame + 4, (size_t)n - 4, &stream, &data, &len));
        assert_int_equal(stream, VSH_STREAM_STDERR);
        assert_ptr_equal(data, bytes);
        assert_int_equal(len, sizes[i]);
    }
}

static void
what_is_no_plain_data_takes_the_long_way(void **state)
{
    static const char *const bodies[] = {
        "",
        "0a",
        "0a02 0801",              /* end of stdin: no data field */
        "0a06 0801 1202 68",      /* cut */
        "0a07 0801 1203 6869",    /* a length beyond the end */
        "0a06 0801 1202 6869 00", /* more behind it */
        "0a06 1202 6869 0801",    /* other order */
        "0a07 088101 1202 6869",  /* long stream number */
        "0affffffffff 0801 1202 6869",
        "1202 0802",
    };

    (void)state;
    for (size_t i = 0; i < VMT_ARRAY_SIZE(bodies); i++) {
        uint8_t raw[32];
        const uint8_t *data;
        size_t len;
        int stream;

        assert_false(
            vsh_frame_data_parse(raw, hex_bytes(bodies[i], raw), &stream, &data, &len));
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_frame_is_found_however_it_is_cut),
        cmocka_unit_test(frames_come_out_one_by_one_from_single_bytes),
        cmocka_unit_test(a_zero_length_is_a_frame_of_its_own),
        cmocka_unit_test(the_longest_payload_passes),
        cmocka_unit_test(an_oversized_length_breaks_the_stream_for_good),
        cmocka_unit_test(a_message_that_does_not_fit_is_refused),
        cmocka_unit_test(large_frames_pass_once_both_agreed),
        cmocka_unit_test(a_frame_made_in_place_is_what_protobuf_makes),
        cmocka_unit_test(what_is_no_plain_data_takes_the_long_way),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
