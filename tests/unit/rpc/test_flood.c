/* SPDX-License-Identifier: BSD-3-Clause */
/* Peers that send what gets them nothing: they are told so and closed, and what honest
 * peers send of it is let through. */
#include <stdio.h>
#include <string.h>

#include "core/rpc/client.h"
#include "core/rpc/server.h"
#include "tests/unit/rpc/raw.h"
#include "tests/unit/rpc/service.h"
#include "tests/unit/test.h"

#define BYTES(literal) (literal), (sizeof(literal) - 1)
#define HEAD(len, type, flags, id) 0, 0, (len), (type), (flags), 0, 0, 0, (id)
#define UNKNOWN_TYPE 0x42

static const struct flood {
    const char *word; /* of GOAWAY */
    uint8_t frame[32];
    size_t len;
    size_t fine; /* so many at once are let through */
    bool server_only;
} floods[] = {
    {"too_many_settings", {HEAD(0, NGHTTP2_SETTINGS, 0, 0)}, 9, 50, false},
    {"too_many_settings",
     {HEAD(6, NGHTTP2_SETTINGS, 0, 0), 0, 4, 0, 0, 0xff, 0xff},
     15,
     50,
     false},
    {"too_many_pings", {HEAD(8, NGHTTP2_PING, 0, 0)}, 17, 100, false},
    {"too_many_frames", {HEAD(8, NGHTTP2_PING, NGHTTP2_FLAG_ACK, 0)}, 17, 500, false},
    {"too_many_resets", {HEAD(4, NGHTTP2_RST_STREAM, 0, 1), 0, 0, 0, 8}, 13, 15000, true},
    {"too_many_window_updates",
     {HEAD(4, NGHTTP2_WINDOW_UPDATE, 0, 0), 0, 0, 0, 1},
     13,
     4000,
     false},
    {"too_many_window_updates",
     {HEAD(4, NGHTTP2_WINDOW_UPDATE, 0, 1), 0, 0, 0, 1},
     13,
     4000,
     false},
    {"too_many_priorities",
     {HEAD(5, NGHTTP2_PRIORITY, 0, 1), 0, 0, 0, 0, 9},
     14,
     900,
     false},
    {"too_many_empty_frames", {HEAD(0, NGHTTP2_DATA, 0, 1)}, 9, 150, false},
    {"too_many_empty_frames",
     {HEAD(4, NGHTTP2_DATA, NGHTTP2_FLAG_PADDED, 1), 3, 0, 0, 0},
     13,
     150,
     false},
    {"too_many_frames", {HEAD(2, UNKNOWN_TYPE, 0xff, 1), 'a', 'b'}, 11, 900, false},
};

/* A server or a client of ours and a raw peer. */
struct bed {
    struct wire_clock clock;
    struct wire wire;
    struct rpc_server *server;
    struct rpc_client *client;
    struct rpctest test;
    struct raw raw;
    size_t dones;
    enum rpc_code code;
    struct vmt_buf got; /* instead of raw, once it listens no more */
};

static void
bed_on_data(void *arg, const uint8_t *data, size_t len)
{
    assert_int_equal(vmt_buf_append(&((struct bed *)arg)->got, data, len), 0);
}

static void
bed_on_end(void *arg, int status)
{
    (void)status;
    ((struct bed *)arg)->raw.ended = true;
}

/* A session takes offence at answers to what it has not sent itself. */
static void
bed_listen(struct bed *bed)
{
    static const struct stream_handler handler = {.on_data = bed_on_data,
                                                  .on_end = bed_on_end};

    bed->raw.stream->ops->set_handler(bed->raw.stream, &handler, bed);
}

/* Take frames off what came. */
static void
bed_read(struct bed *bed)
{
    while (bed->got.len >= 9) {
        const uint8_t *p = bed->got.data;
        size_t len = (size_t)p[0] << 16 | (size_t)p[1] << 8 | p[2];

        if (bed->got.len < 9 + len)
            return;
        if (p[3] == NGHTTP2_GOAWAY) {
            bed->raw.goaways++;
            bed->raw.goaway_error = p[16];
            (void)snprintf(bed->raw.goaway_word, sizeof(bed->raw.goaway_word), "%.*s",
                           (int)(len - 8), (const char *)p + 17);
        }
        vmt_buf_consume(&bed->got, 9 + len);
    }
}

static void
bed_settle(struct bed *bed)
{
    raw_flush(&bed->raw);
    wire_settle(&bed->clock, &bed->wire);
}

static void
bed_init_server(struct bed *bed)
{
    static const char *const fields[] = {RAW_FIELDS(RPCTEST_PATH("Chat")), NULL};
    /* Judging PINGs is another matter, see test_life.c. */
    const struct rpc_server_config config = {.ping_strikes = UINT32_MAX};

    memset(bed, 0, sizeof(*bed));
    wire_clock_init(&bed->clock);
    wire_init(&bed->wire);
    assert_int_equal(rpc_server_new(&bed->clock.base, &config, &bed->server, NULL), 0);
    assert_int_equal(rpc_server_add(bed->server, &rpctest_service, &bed->test, NULL), 0);
    rpc_server_accept(bed->server, &bed->wire.ends[1].base, NULL);
    raw_init(&bed->raw, &bed->wire.ends[0].base, false);
    assert_int_equal(raw_request(&bed->raw, fields, BYTES("\0\0\0\0\0"), false), 1);
    bed_settle(bed);
}

static void
on_done(void *arg, const struct rpc_status *status)
{
    struct bed *bed = arg;

    bed->dones++;
    bed->code = status->code;
}

static void
bed_init_client(struct bed *bed)
{
    static const char *const fields[] = {":status", "200", "content-type",
                                         "application/grpc", NULL};
    static const struct rpc_client_handler handler = {.on_done = on_done};
    const struct rpc_client_request request = {.path = RPCTEST_PATH("Chat"),
                                               .reply = &vmt__rpctest__reply__descriptor,
                                               .handler = &handler,
                                               .arg = bed,
                                               .server_streams = true,
                                               .client_streams = true};

    memset(bed, 0, sizeof(*bed));
    wire_clock_init(&bed->clock);
    wire_init(&bed->wire);
    raw_init(&bed->raw, &bed->wire.ends[1].base, true);
    assert_int_equal(rpc_client_new(&bed->clock.base, &bed->wire.ends[0].base, NULL,
                                    &bed->client, NULL),
                     0);
    assert_int_equal(rpc_client_start(bed->client, &request, NULL, NULL, NULL), 0);
    bed_settle(bed);
    raw_stream(&bed->raw, 1)->hold = true;
    raw_respond(&bed->raw, 1, fields, BYTES("\0\0\0\0\0"), NULL);
    bed_settle(bed);
}

static void
bed_done(struct bed *bed)
{
    rpc_client_free(bed->client);
    raw_done(&bed->raw);
    rpc_server_free(bed->server);
    wire_done(&bed->wire);
    vmt_buf_done(&bed->got);
    assert_int_equal(bed->clock.ntimers, 0);
}

static void
bed_send(struct bed *bed, const void *data, size_t len)
{
    if (!bed->raw.ended)
        assert_int_equal(bed->raw.stream->ops->send(bed->raw.stream, data, len, NULL, 0),
                         0);
    bed_settle(bed);
    bed_read(bed);
}

static void
check_flood(struct bed *bed, const struct flood *f)
{
    size_t n = 0;

    bed_listen(bed);
    for (; n < f->fine; n++)
        bed_send(bed, f->frame, f->len);
    if (bed->raw.goaways > 0)
        fail_msg("%s: GOAWAY %u %s", f->word, bed->raw.goaway_error,
                 bed->raw.goaway_word);
    for (; n < 30000 && bed->raw.goaways == 0; n++)
        bed_send(bed, f->frame, f->len);
    if (bed->raw.goaways != 1 || strcmp(bed->raw.goaway_word, f->word) != 0)
        fail_msg("%zu times %s: GOAWAY %u %s", n, f->word, bed->raw.goaway_error,
                 bed->raw.goaway_word);
    assert_int_equal(bed->raw.goaway_error, NGHTTP2_ENHANCE_YOUR_CALM);
    assert_true(bed->raw.ended);
    /* It goes on meanwhile; nobody listens. */
    bed_send(bed, f->frame, f->len);
    wire_advance(&bed->clock, &bed->wire, 1000);
    assert_true(bed->wire.ends[bed->server ? 1 : 0].closed);
}

static void
a_flood_from_a_client_ends_with_its_name(void **state)
{
    (void)state;
    for (size_t i = 0; i < VMT_ARRAY_SIZE(floods); i++) {
        VMT_CLEANUP(bed_done) struct bed bed;

        bed_init_server(&bed);
        check_flood(&bed, &floods[i]);
    }
}

static void
a_flood_from_a_server_ends_with_its_name(void **state)
{
    (void)state;
    for (size_t i = 0; i < VMT_ARRAY_SIZE(floods); i++) {
        VMT_CLEANUP(bed_done) struct bed bed;

        bed_init_client(&bed);
        if (floods[i].server_only)
            continue;
        check_flood(&bed, &floods[i]);
        assert_int_equal(bed.dones, 1);
        assert_int_equal(bed.code, RPC_UNAVAILABLE);
    }
}

/* As fast as an honest peer would, for ever. */
static void
what_comes_slowly_is_no_flood(void **state)
{
    (void)state;
    for (size_t i = 0; i < VMT_ARRAY_SIZE(floods); i++) {
        VMT_CLEANUP(bed_done) struct bed bed;

        bed_init_server(&bed);
        bed_listen(&bed);
        for (int n = 0; n < 2000; n++) {
            bed_send(&bed, floods[i].frame, floods[i].len);
            wire_advance(&bed.clock, &bed.wire, 110);
        }
        if (bed.raw.goaways > 0 || bed.wire.ends[1].shut)
            fail_msg("%s: GOAWAY %u %s", floods[i].word, bed.raw.goaway_error,
                     bed.raw.goaway_word);
    }
}

/* Messages go both ways, and with each come windows and a PING. */
static void
what_comes_with_data_is_no_flood(void **state)
{
    static const uint8_t mix[] = {HEAD(8, NGHTTP2_PING, 0, 0),
                                  0,
                                  0,
                                  0,
                                  0,
                                  0,
                                  0,
                                  0,
                                  0,
                                  HEAD(4, NGHTTP2_WINDOW_UPDATE, 0, 0),
                                  0,
                                  0,
                                  0,
                                  1,
                                  HEAD(4, NGHTTP2_WINDOW_UPDATE, 0, 1),
                                  0,
                                  0,
                                  0,
                                  1,
                                  HEAD(4, NGHTTP2_WINDOW_UPDATE, 0, 1),
                                  0,
                                  0,
                                  0,
                                  1};
    VMT_CLEANUP(bed_done) struct bed bed;

    (void)state;
    bed_init_server(&bed);
    for (int n = 0; n < 8000; n++) {
        raw_more(&bed.raw, 1, BYTES("\0\0\0\0\0"), false);
        bed_send(&bed, mix, sizeof(mix));
    }
    assert_int_equal(bed.raw.goaways, 0);
    assert_int_equal(raw_stream(&bed.raw, 1)->body.len, 8001 * 5);
}

/* HEADERS of stream 3, :method POST, without END_HEADERS; what may follow: nothing at
 * all, again and again, and then :scheme http, :path /, :authority a. */
static const uint8_t begun[] = {HEAD(1, NGHTTP2_HEADERS, NGHTTP2_FLAG_END_STREAM, 3),
                                0x83};
static const uint8_t nothing[] = {HEAD(0, NGHTTP2_CONTINUATION, 0, 3)};
static const uint8_t ended[] = {
    HEAD(5, NGHTTP2_CONTINUATION, NGHTTP2_FLAG_END_HEADERS, 3), 0x86, 0x84, 0x01, 1, 'a'};

static void
a_header_block_without_end_is_a_flood(void **state)
{
    (void)state;
    for (int n = 3; n < 100; n += 90) {
        VMT_CLEANUP(bed_done) struct bed bed;

        bed_init_server(&bed);
        bed_send(&bed, begun, sizeof(begun));
        for (int i = 0; i < n && bed.raw.goaways == 0; i++)
            bed_send(&bed, nothing, sizeof(nothing));
        if (n == 3) {
            bed_send(&bed, ended, sizeof(ended));
            assert_int_equal(bed.raw.goaways, 0);
            assert_false(bed.wire.ends[1].shut);
            continue;
        }
        assert_int_equal(bed.raw.goaway_error, NGHTTP2_ENHANCE_YOUR_CALM);
        assert_string_equal(bed.raw.goaway_word, "too_many_continuations");
    }
}

/* How: 0 the block is cut inside HEADERS, 1 after it, 2 inside CONTINUATION. */
static void
a_header_block_that_drags_on_ends_the_connection(void **state)
{
    (void)state;
    for (int how = 0; how < 3; how++) {
        VMT_CLEANUP(bed_done) struct bed bed;

        bed_init_server(&bed);
        bed_send(&bed, begun, sizeof(begun) - (how == 0));
        wire_advance(&bed.clock, &bed.wire, 10000);
        if (how == 2)
            bed_send(&bed, ended, sizeof(ended) - 1);
        wire_advance(&bed.clock, &bed.wire, 9999);
        assert_int_equal(bed.raw.goaways, 0);
        wire_advance(&bed.clock, &bed.wire, 1);
        assert_int_equal(bed.raw.goaways, 1);
        assert_string_equal(bed.raw.goaway_word, "slow_headers");
        wire_advance(&bed.clock, &bed.wire, 1000);
        assert_true(bed.wire.ends[1].closed);
    }
}

static void
each_header_block_has_its_own_time(void **state)
{
    uint8_t frames[sizeof(ended) + sizeof(begun)];
    VMT_CLEANUP(bed_done) struct bed bed;

    (void)state;
    bed_init_server(&bed);
    bed_send(&bed, begun, sizeof(begun));
    for (uint8_t id = 5; id < 41; id += 2) { /* the one ends where the next begins */
        memcpy(frames, ended, sizeof(ended));
        memcpy(frames + sizeof(ended), begun, sizeof(begun));
        frames[8] = (uint8_t)(id - 2);
        frames[sizeof(ended) + 8] = id;
        wire_advance(&bed.clock, &bed.wire, 19000);
        bed_send(&bed, frames, sizeof(frames));
    }
    assert_int_equal(bed.raw.goaways, 0);
    memcpy(frames, ended, sizeof(ended));
    frames[8] = 39;
    bed_send(&bed, frames, sizeof(ended));
    for (int i = 0; i < 10; i++)
        wire_advance(&bed.clock, &bed.wire, 19000);
    assert_int_equal(bed.raw.goaways, 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_flood_from_a_client_ends_with_its_name),
        cmocka_unit_test(a_flood_from_a_server_ends_with_its_name),
        cmocka_unit_test(what_comes_slowly_is_no_flood),
        cmocka_unit_test(what_comes_with_data_is_no_flood),
        cmocka_unit_test(a_header_block_without_end_is_a_flood),
        cmocka_unit_test(a_header_block_that_drags_on_ends_the_connection),
        cmocka_unit_test(each_header_block_has_its_own_time),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
