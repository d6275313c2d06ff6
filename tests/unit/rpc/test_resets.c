/* SPDX-License-Identifier: BSD-3-Clause */
/* Streams that their client resets, leaves out or never opens. */
#include <errno.h>
#include <string.h>

#include "tests/unit/rpc/server_bed.h"
#include "tests/unit/test.h"

#define BYTES(literal) (literal), (sizeof(literal) - 1)

/* HEADERS of a call of Hang by the static table, DATA that ends it with an empty message,
 * RST_STREAM: one after the other. */
static const char storm_headers[] = "\0\0\x30\1\4\0\0\0\0"
                                    "\x83\x86\x04\x16/vmt.rpctest.Test/Hang\x01\1a"
                                    "\x0f\x10\x10"
                                    "application/grpc";
static const char storm_data[] = "\0\0\5\0\1\0\0\0\0\0\0\0\0\0";
static const char storm_reset[] = "\0\0\4\3\0\0\0\0\0\0\0\0\x08";
#define RESET_BYTES (sizeof(storm_reset) - 1)

/* Calls that are begun and cancelled at once, up to max; raw has not so many streams.
 * Returns how many, fewer if the server closes the connection. */
static size_t
storm(struct bed *bed, struct wire *wire, size_t max)
{
    static const uint8_t settings[9] = {0, 0, 0, NGHTTP2_SETTINGS};
    const size_t parts[] = {sizeof(storm_headers) - 1, sizeof(storm_data) - 1,
                            sizeof(storm_reset) - 1};
    const char *const frames[] = {storm_headers, storm_data, storm_reset};
    struct stream *s = &wire->ends[0].base;
    size_t n = 0;

    rpc_server_accept(bed->server, &wire->ends[1].base, NULL);
    assert_int_equal(s->ops->send(s, BYTES(NGHTTP2_CLIENT_MAGIC), NULL, 0), 0);
    assert_int_equal(s->ops->send(s, settings, sizeof(settings), NULL, 0), 0);
    for (; n < max && !wire->ends[1].closed && !wire->ends[1].shut; n++) {
        for (size_t i = 0; i < VMT_ARRAY_SIZE(parts); i++) {
            uint32_t id = (uint32_t)(2 * n + 1);
            uint8_t frame[sizeof(storm_headers)];

            memcpy(frame, frames[i], parts[i]);
            frame[6] = (uint8_t)(id >> 16);
            frame[7] = (uint8_t)(id >> 8);
            frame[8] = (uint8_t)id;
            (void)s->ops->send(s, frame, parts[i], NULL, 0);
        }
        wire_settle(&bed->clock, wire);
    }
    return n;
}

/* CVE-2023-44487 on one side, a client with a deadline for all its calls on the other. */
static void
endless_resets_end_the_connection_but_thousands_are_fine(void **state)
{
    VMT_CLEANUP(bed_done) struct bed bed;
    struct wire other;
    size_t n;

    (void)state;
    bed_init(&bed, NULL);
    wire_init(&other);
    n = storm(&bed, &other, 100000);
    assert_true(n > 10000 && n < 50000);
    assert_true(bed.test.cancels > 10000);
    wire_advance(&bed.clock, &other, 1000);
    assert_true(other.ends[1].closed);
    wire_done(&other);
}

/* Each would be one more call at work than the client may have. */
static void
resets_whose_handlers_go_on_are_few(void **state)
{
    VMT_CLEANUP(bed_done) struct bed bed;
    struct wire other;
    size_t n;

    (void)state;
    bed_init(&bed, NULL);
    bed.test.keep_on_cancel = true;
    wire_init(&other);
    n = storm(&bed, &other, 100000);
    assert_true(n > 100 && n < 1000);
    assert_int_equal(bed.test.requests, n);
    wire_advance(&bed.clock, &other, 1000);
    assert_true(other.ends[1].closed);
    wire_done(&other);
}

static void
a_stream_that_was_left_out_is_not_opened_later(void **state)
{
    static const uint8_t settings[9] = {0, 0, 0, NGHTTP2_SETTINGS};
    static const uint32_t order[] = {3, 5, 9, 5, 0x7fffffff, 9, 13};
    VMT_CLEANUP(bed_done) struct bed bed;
    struct wire other;
    struct stream *s;

    (void)state;
    bed_init(&bed, NULL);
    wire_init(&other);
    s = &other.ends[0].base;
    rpc_server_accept(bed.server, &other.ends[1].base, NULL);
    assert_int_equal(s->ops->send(s, BYTES(NGHTTP2_CLIENT_MAGIC), NULL, 0), 0);
    assert_int_equal(s->ops->send(s, settings, sizeof(settings), NULL, 0), 0);
    for (size_t i = 0; i < VMT_ARRAY_SIZE(order); i++) {
        uint8_t frame[sizeof(storm_headers)];

        assert_false(other.ends[1].shut); /* 5 and 9 are late, but they were there */
        memcpy(frame, storm_headers, sizeof(frame));
        frame[4] |= NGHTTP2_FLAG_END_STREAM;
        frame[5] = (uint8_t)(order[i] >> 24);
        frame[6] = (uint8_t)(order[i] >> 16);
        frame[7] = (uint8_t)(order[i] >> 8);
        frame[8] = (uint8_t)order[i];
        assert_int_equal(s->ops->send(s, frame, sizeof(frame) - 1, NULL, 0), 0);
        wire_settle(&bed.clock, &other);
    }
    assert_true(other.ends[1].shut);
    wire_advance(&bed.clock, &other, 1000);
    assert_true(other.ends[1].closed);
    wire_done(&other);
}

/* A client that said hello, and may have begun call 1 of Hang. */
static void
begin(struct bed *bed, struct wire *wire, bool asked)
{
    static const uint8_t settings[9] = {0, 0, 0, NGHTTP2_SETTINGS};
    uint8_t request[sizeof(storm_headers) + sizeof(storm_data) - 2];
    struct stream *s = &wire->ends[0].base;

    bed_init(bed, NULL);
    wire_init(wire);
    rpc_server_accept(bed->server, &wire->ends[1].base, NULL);
    memcpy(request, storm_headers, sizeof(storm_headers) - 1);
    memcpy(request + sizeof(storm_headers) - 1, storm_data, sizeof(storm_data) - 1);
    request[8] = request[sizeof(storm_headers) - 1 + 8] = 1;
    assert_int_equal(s->ops->send(s, BYTES(NGHTTP2_CLIENT_MAGIC), NULL, 0), 0);
    assert_int_equal(s->ops->send(s, settings, sizeof(settings), NULL, 0), 0);
    if (asked)
        assert_int_equal(s->ops->send(s, request, sizeof(request), NULL, 0), 0);
    wire_settle(&bed->clock, wire);
    assert_int_equal(bed->test.requests, asked);
}

/* The first len bytes of a reset of stream id. */
static void
reset(struct bed *bed, struct wire *wire, uint8_t id, size_t len)
{
    struct stream *s = &wire->ends[0].base;
    uint8_t frame[RESET_BYTES];

    memcpy(frame, storm_reset, sizeof(frame));
    frame[8] = id;
    (void)s->ops->send(s, frame, len, NULL, 0);
    wire_settle(&bed->clock, wire);
}

/* asked: after a request that goes on. */
static void
reset_what_is_not_there(bool asked)
{
    VMT_CLEANUP(bed_done) struct bed bed;
    struct wire other;

    begin(&bed, &other, asked);
    reset(&bed, &other, 5, RESET_BYTES);
    assert_int_equal(other.ends[1].shut || other.ends[1].closed, !asked);
    assert_int_equal(bed.test.cancels, 0);
    reset(&bed, &other, 1, RESET_BYTES); /* one that is there is heard */
    assert_int_equal(bed.test.cancels, asked);
    wire_done(&other);
}

/* What gRPC's C core sends for a call that ends before its HEADERS went out. */
static void
a_reset_may_come_instead_of_its_stream(void **state)
{
    (void)state;
    reset_what_is_not_there(true);
}

/* RFC 9113, 5.1 */
static void
a_reset_that_comes_first_is_an_error(void **state)
{
    (void)state;
    reset_what_is_not_there(false);
}

/* Stream 5 is none, 1 is one, and 6 is not for clients to open. In one piece, cut at each
 * byte, and byte by byte. */
static void
resets_may_come_in_pieces(void **state)
{
    static const uint8_t ids[] = {5, 1, 6};

    (void)state;
    for (size_t i = 0; i < VMT_ARRAY_SIZE(ids) * (RESET_BYTES + 1); i++) {
        uint8_t id = ids[i % VMT_ARRAY_SIZE(ids)];
        size_t cut = i / VMT_ARRAY_SIZE(ids);
        VMT_CLEANUP(bed_done) struct bed bed;
        struct wire other;

        begin(&bed, &other, true);
        other.chunk = cut == RESET_BYTES;
        other.split_at[0] = other.ends[0].sent_total + cut;
        reset(&bed, &other, id, RESET_BYTES);
        assert_int_equal(other.ends[1].shut, id == 6);
        assert_int_equal(bed.test.cancels, id != 5);
        reset(&bed, &other, 1, RESET_BYTES); /* what follows is heard */
        assert_int_equal(bed.test.cancels, 1);
        wire_done(&other);
    }
}

static void
resets_in_pieces_are_counted(void **state)
{
    VMT_CLEANUP(bed_done) struct bed bed;
    struct wire other;
    size_t n = 0;

    (void)state;
    begin(&bed, &other, true);
    for (; n < 100000 && !other.ends[1].shut; n++) {
        other.split_at[0] = other.ends[0].sent_total + 1 + n % (RESET_BYTES - 1);
        reset(&bed, &other, 5, RESET_BYTES);
    }
    assert_true(n > 10000 && n < 50000);
    wire_advance(&bed.clock, &other, 1000);
    assert_true(other.ends[1].closed);
    wire_done(&other);
}

/* Ended by the client, or broken. */
static void
a_connection_may_end_inside_a_reset(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2 * RESET_BYTES; i++) {
        VMT_CLEANUP(bed_done) struct bed bed;
        struct wire other;

        begin(&bed, &other, true);
        if (i > 1)
            reset(&bed, &other, 5, i / 2);
        assert_int_equal(bed.test.cancels, 0);
        wire_cut(&other, i % 2 ? -ECONNRESET : 0);
        wire_settle(&bed.clock, &other);
        assert_int_equal(bed.test.cancels, 1);
        assert_true(other.ends[1].closed);
        wire_done(&other);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(endless_resets_end_the_connection_but_thousands_are_fine),
        cmocka_unit_test(resets_whose_handlers_go_on_are_few),
        cmocka_unit_test(a_stream_that_was_left_out_is_not_opened_later),
        cmocka_unit_test(a_reset_may_come_instead_of_its_stream),
        cmocka_unit_test(a_reset_that_comes_first_is_an_error),
        cmocka_unit_test(resets_may_come_in_pieces),
        cmocka_unit_test(resets_in_pieces_are_counted),
        cmocka_unit_test(a_connection_may_end_inside_a_reset),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
