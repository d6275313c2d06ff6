/* SPDX-License-Identifier: BSD-3-Clause */
/* Our server against clients that do what no gRPC client does. */
#include <string.h>

#include "core/base/limits.h"
#include "tests/unit/rpc/server_bed.h"
#include "tests/unit/test.h"

#define ECHO RPCTEST_PATH("Echo")
#define BYTES(literal) (literal), (sizeof(literal) - 1)

/* Send one whole request and give the answer's stream. */
static struct raw_stream *
bed_ask(struct bed *bed, const char *const *fields, const void *body, size_t len)
{
    int32_t id = raw_request(&bed->raw, fields, body, len, true);

    bed_settle(bed);
    assert_true(raw_stream(&bed->raw, id)->end_stream);
    return raw_stream(&bed->raw, id);
}

static void
assert_line(const struct raw_stream *s, const char *line)
{
    if (!strstr(s->headers, line))
        fail_msg("no \"%s\" in:\n%s", line, s->headers);
}

static void
a_reply_has_the_shape_of_grpc(void **state)
{
    static const char *const fields[] = {RAW_FIELDS(ECHO), NULL};
    VMT_CLEANUP(bed_done) struct bed bed;
    struct raw_stream *s;

    (void)state;
    bed_init(&bed, NULL);
    s = bed_ask(&bed, fields, BYTES("\0\0\0\0\2\x18\7"));
    assert_string_equal(s->headers, ":status: 200\ncontent-type: application/grpc\n"
                                    "grpc-accept-encoding: identity,gzip\n"
                                    "grpc-status: 0\n");
    assert_int_equal(s->body.len, 7);
    assert_memory_equal(s->body.data, "\0\0\0\0\2\x18\7", 7);
    assert_true(s->closed);
    assert_int_equal(s->error, 0);
}

static void
what_is_no_grpc_gets_an_http_error(void **state)
{
    static const char *const get[] = {":method", "GET",        ":scheme", "http", ":path",
                                      ECHO,      ":authority", "a",       NULL};
    static const char *const json[] = {
        ":method", "POST",       ":scheme", "http",         ":path",
        ECHO,      ":authority", "a",       "content-type", "application/json",
        NULL};
    static const char *const none[] = {
        ":method", "POST", ":scheme", "http", ":path", ECHO, ":authority", "a", NULL};
    static const char *const head[] = {
        ":method", "HEAD", ":scheme", "http", ":path", ECHO, ":authority", "a", NULL};
    const char unsupported[] = ":status: 415\ncontent-type: text/plain\n";
    const char not_allowed[] = ":status: 405\ncontent-type: text/plain\nallow: POST\n";
    VMT_CLEANUP(bed_done) struct bed bed;
    struct raw_stream *s;

    (void)state;
    bed_init(&bed, NULL);
    s = bed_ask(&bed, get, NULL, 0);
    assert_string_equal(s->headers, not_allowed);
    assert_int_equal(s->body.len, 26);
    assert_memory_equal(s->body.data, "gRPC only", 9);
    assert_true(s->closed);
    s = bed_ask(&bed, head, NULL, 0);
    assert_string_equal(s->headers, not_allowed);
    assert_int_equal(s->body.len, 0);
    assert_true(s->closed);
    assert_string_equal(bed_ask(&bed, json, BYTES("{}"))->headers, unsupported);
    assert_string_equal(bed_ask(&bed, none, NULL, 0)->headers, unsupported);
    assert_int_equal(bed.test.requests, 0);
}

static void
a_bad_request_gets_the_code_that_fits(void **state)
{
    static const struct {
        const char *name, *value; /* one more field */
        const char *body;
        size_t len;
        const char *status;
    } cases[] = {
        {"x-y", "z", BYTES("\0\0\0\0\2\x0a\x7f"), "grpc-status: 3\n"},
        {"x-y", "z", BYTES("\1\0\0\0\0"), "grpc-status: 13\n"},
        {"grpc-encoding", "identity", BYTES("\1\0\0\0\0"), "grpc-status: 13\n"},
        {"grpc-encoding", "br", BYTES("\1\0\0\0\0"), "grpc-status: 12\n"},
        {"grpc-encoding", "gzip", BYTES("\0\0\0\0\0"), "grpc-status: 0\n"},
        {"grpc-encoding", "gzip", BYTES("\1\0\0\0\0"), "grpc-status: 0\n"},
        {"grpc-encoding", "br", BYTES("\0\0\0\0\0"), "grpc-status: 0\n"},
        {"x-y", "z", BYTES("\2\0\0\0\0"), "grpc-status: 13\n"},
        {"x-y", "z", BYTES("\0\0\x40\0\1"), "grpc-status: 8\n"},
        {"x-y", "z", BYTES("\0\0\0\0\2\x18"), "grpc-status: 13\n"},
        {"x-y", "z", BYTES("\0\0\0"), "grpc-status: 13\n"},
        {"x-y", "z", BYTES(""), "grpc-status: 12\n"},
        {"x-y", "z", BYTES("\0\0\0\0\0\0\0\0\0\0"), "grpc-status: 12\n"},
        {"grpc-timeout", "5x", BYTES("\0\0\0\0\0"), "grpc-status: 13\n"},
        {"grpc-timeout", "0m", BYTES("\0\0\0\0\0"), "grpc-status: 4\n"},
        {"grpc-timeout", "1H", BYTES("\0\0\0\0\0"), "grpc-status: 0\n"},
        {"vmt-fds", "1", BYTES("\0\0\0\0\0"), "grpc-status: 3\n"},
        {"vmt-fds", "x", BYTES("\0\0\0\0\0"), "grpc-status: 3\n"},
        {"vmt-fds", "0", BYTES("\0\0\0\0\0"), "grpc-status: 0\n"},
    };
    VMT_CLEANUP(bed_done) struct bed bed;

    (void)state;
    bed_init(&bed, NULL);
    for (size_t i = 0; i < VMT_ARRAY_SIZE(cases); i++) {
        const char *const fields[] = {RAW_FIELDS(ECHO), cases[i].name, cases[i].value,
                                      NULL};

        assert_line(bed_ask(&bed, fields, cases[i].body, cases[i].len), cases[i].status);
    }
}

/* How: 0 the client ends its request, 1 it says nothing, 2 it sends on and on. */
static void
the_rest_of_a_request_that_was_answered_is_dropped(void **state)
{
    static const char *const fields[] = {RAW_FIELDS("/no/Such"), NULL};
    static uint8_t more[20000];

    (void)state;
    for (int how = 0; how < 3; how++) {
        VMT_CLEANUP(bed_done) struct bed bed;
        struct raw_stream *s;
        int32_t id;

        bed_init(&bed, NULL);
        id = raw_request(&bed.raw, fields, BYTES("\0\0\0\1\0start"), false);
        bed_settle(&bed);
        s = raw_stream(&bed.raw, id);
        assert_line(s, "grpc-status: 12\n");
        assert_true(s->end_stream);
        assert_false(s->closed); /* a reset now would look like a failure */
        if (how == 0)
            raw_more(&bed.raw, id, "x", 1, true);
        if (how == 2)
            raw_more(&bed.raw, id, more, sizeof(more), false);
        wire_advance(&bed.clock, &bed.wire, how == 1 ? 1000 : 0);
        assert_true(s->closed);
        assert_int_equal(s->error, NGHTTP2_NO_ERROR);
        assert_int_equal(bed.clock.ntimers, 1); /* the connection's own */
    }
}

static void
headers_are_bounded(void **state)
{
    static char big[5000];
    const char *fields[2 * 40 + 1] = {RAW_FIELDS(ECHO)};
    size_t n = 12;
    VMT_CLEANUP(bed_done) struct bed bed;
    struct raw_stream *s;
    int32_t id;

    (void)state;
    bed_init(&bed, NULL);
    memset(big, 'y', sizeof(big) - 1);
    for (int i = 0; i < 4; i++, n += 2) {
        fields[n] = "x";
        fields[n + 1] = big;
    }
    s = bed_ask(&bed, fields, BYTES("\0\0\0\0\0"));
    assert_line(s, "grpc-status: 8\n");
    for (int i = 0; i < 10; i++, n += 2) {
        fields[n] = "x";
        fields[n + 1] = big;
    }
    id = raw_request(&bed.raw, fields, NULL, 0, true);
    bed_settle(&bed);
    assert_true(raw_stream(&bed.raw, id)->closed);
    assert_int_not_equal(raw_stream(&bed.raw, id)->error, NGHTTP2_NO_ERROR);
    assert_int_equal(bed.test.requests, 0);
}

static void
streams_above_the_limit_are_refused(void **state)
{
    static const char *const fields[] = {RAW_FIELDS(RPCTEST_PATH("Hang")), NULL};
    const struct rpc_server_config config = {.streams_max = 2};
    VMT_CLEANUP(bed_done) struct bed bed;
    int32_t ids[3];

    (void)state;
    bed_init(&bed, &config);
    for (size_t i = 0; i < 3; i++) /* before SETTINGS came */
        ids[i] = raw_request(&bed.raw, fields, BYTES("\0\0\0\0\0"), true);
    bed_settle(&bed);
    assert_int_equal(bed.test.requests, 2);
    assert_false(raw_stream(&bed.raw, ids[1])->closed);
    assert_true(raw_stream(&bed.raw, ids[2])->closed);
    assert_int_equal(raw_stream(&bed.raw, ids[2])->error, NGHTTP2_REFUSED_STREAM);
}

static void
connections_above_the_limit_are_closed(void **state)
{
    const struct rpc_server_config config = {.connections_max = 1};
    VMT_CLEANUP(bed_done) struct bed bed;
    struct wire other;

    (void)state;
    bed_init(&bed, &config);
    wire_init(&other);
    rpc_server_accept(bed.server, &other.ends[1].base, NULL);
    assert_true(other.ends[1].closed);
    wire_done(&other);
}

static void
pings_are_answered(void **state)
{
    VMT_CLEANUP(bed_done) struct bed bed;

    (void)state;
    bed_init(&bed, NULL);
    for (int i = 0; i < 3; i++)
        assert_int_equal(nghttp2_submit_ping(bed.raw.session, 0, NULL), 0);
    raw_flush(&bed.raw);
    bed_settle(&bed);
    assert_int_equal(bed.raw.pings_acked, 3);
}

/* A client that never acknowledges SETTINGS makes each stream above the limit an answer
 * of its own. */
static void
endless_refusals_that_nobody_reads_end_the_connection(void **state)
{
    /* :method POST, :scheme http, :path / by their places in the static table, :authority
     * a */
    uint8_t frame[15] = {0,    0, 6,  NGHTTP2_HEADERS, 5, 0, 0, 0, 0, 0x83, 0x86, 0x84,
                         0x01, 1, 'a'};
    static const uint8_t settings[9] = {0, 0, 0, NGHTTP2_SETTINGS};
    VMT_CLEANUP(bed_done) struct bed bed;
    struct stream *s;
    struct wire other;
    int opened = 0;

    (void)state;
    bed_init(&bed, NULL);
    wire_init(&other);
    rpc_server_accept(bed.server, &other.ends[1].base, NULL);
    s = &other.ends[0].base;
    other.stall[1] = true;
    assert_int_equal(s->ops->send(s, BYTES(NGHTTP2_CLIENT_MAGIC), NULL, 0), 0);
    assert_int_equal(s->ops->send(s, settings, sizeof(settings), NULL, 0), 0);
    for (uint32_t id = 1; !other.ends[1].closed && opened < 100000; id += 2, opened++) {
        frame[6] = (uint8_t)(id >> 16);
        frame[7] = (uint8_t)(id >> 8);
        frame[8] = (uint8_t)id;
        assert_int_equal(s->ops->send(s, frame, sizeof(frame), NULL, 0), 0);
        wire_settle(&bed.clock, &other);
    }
    assert_true(other.ends[1].closed);
    assert_true(opened > 1000);
    wire_done(&other);
}

/* A request for Count: data of 20000 bytes, number 100. */
static void
count_body(uint8_t body[9 + 20000 + 2])
{
    memcpy(body, "\0\0\0\x4e\x26\x12\xa0\x9c\x01", 9);
    memcpy(body + 9 + 20000, "\x18\x64", 2);
}

static void
replies_wait_for_a_client_that_does_not_read(void **state)
{
    static const char *const fields[] = {RAW_FIELDS(RPCTEST_PATH("Count")), NULL};
    const nghttp2_settings_entry wide = {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 1 << 30};
    static uint8_t body[9 + 20000 + 2];
    VMT_CLEANUP(bed_done) struct bed bed;
    int32_t id;

    (void)state;
    bed_init(&bed, NULL);
    assert_int_equal(nghttp2_submit_settings(bed.raw.session, 0, &wide, 1), 0);
    assert_int_equal(
        nghttp2_session_set_local_window_size(bed.raw.session, 0, 0, 1 << 30), 0);
    count_body(body);
    bed_settle(&bed);
    bed.wire.stall[1] = true;
    id = raw_request(&bed.raw, fields, body, sizeof(body), true);
    bed_settle(&bed);
    assert_true(bed.wire.ends[1].out.len > VMT_STREAM_HIGH_MARK);
    assert_true(bed.wire.ends[1].out.len < VMT_STREAM_HIGH_MARK + 100000);
    bed.wire.stall[1] = false;
    bed_settle(&bed);
    assert_line(raw_stream(&bed.raw, id), "grpc-status: 0\n");
    assert_true(raw_stream(&bed.raw, id)->body.len > 100 * 20000);
}

static void
half_received_messages_are_bounded_and_all_arrive(void **state)
{
    static const char *const fields[] = {RAW_FIELDS(ECHO), NULL};
    enum { CALLS = 8, LEN = 3 * 1024 * 1024 };
    static uint8_t body[5 + LEN] = {0, 0, 0x30, 0, 0, 0x12, 0xfb, 0xff, 0xbf, 0x01};
    VMT_CLEANUP(bed_done) struct bed bed;
    size_t waiting = 0;
    int32_t ids[CALLS];

    (void)state;
    bed_init(&bed, NULL);
    for (size_t i = 0; i < CALLS; i++)
        ids[i] = raw_request(&bed.raw, fields, body, sizeof(body) - 1, false);
    bed_settle(&bed);
    for (size_t i = 0; i < CALLS; i++)
        waiting += raw_stream(&bed.raw, ids[i])->send.len;
    /* 8 MiB, one message more, and the windows of the streams. */
    assert_true(CALLS * sizeof(body) - waiting <=
                8 * 1024 * 1024 + LEN + CALLS * 65536 + 65536);
    assert_int_equal(bed.test.requests, 0);
    for (size_t i = 0; i < CALLS; i++)
        raw_more(&bed.raw, ids[i], "", 1, true);
    bed_settle(&bed);
    for (size_t i = 0; i < CALLS; i++)
        assert_line(raw_stream(&bed.raw, ids[i]), "grpc-status: 0\n");
}

/* A request that is complete but for its end is parsed already, and small on the wire:
 * two bytes for each empty message. */
static void
parsed_requests_are_bounded_and_their_room_comes_back(void **state)
{
    static const char *const fields[] = {RAW_FIELDS(ECHO), NULL};
    enum { CALLS = 60, LEN = 20000 };
    static uint8_t body[5 + LEN] = {0, 0, 0, 0x4e, 0x20};
    VMT_CLEANUP(bed_done) struct bed bed;
    size_t refused = 0;
    int32_t ids[CALLS];

    (void)state;
    for (size_t i = 5; i < sizeof(body); i += 2)
        body[i] = 0x22;
    bed_init(&bed, NULL);
    for (size_t i = 0; i < CALLS; i++) {
        ids[i] = raw_request(&bed.raw, fields, body, sizeof(body), false);
        bed_settle(&bed);
        refused += raw_has(&bed.raw, ids[i], "grpc-status: 8\n");
    }
    assert_true(refused > CALLS / 2);
    assert_true(refused < CALLS);
    for (size_t i = 0; i < CALLS; i++)
        if (!raw_stream(&bed.raw, ids[i])->closed)
            raw_more(&bed.raw, ids[i], "", 0, true);
    bed_settle(&bed);
    assert_int_equal(bed.test.requests, CALLS - refused);
    assert_line(bed_ask(&bed, fields, body, sizeof(body)), "grpc-status: 0\n");
}

static void
an_idle_connection_is_ended_with_goaway(void **state)
{
    static const char *const fields[] = {RAW_FIELDS(RPCTEST_PATH("Hang")), NULL};
    const struct rpc_server_config config = {.idle_ms = 1000};
    VMT_CLEANUP(bed_done) struct bed bed;

    (void)state;
    bed_init(&bed, &config);
    wire_advance(&bed.clock, &bed.wire, 600);
    (void)raw_request(&bed.raw, fields, BYTES("\0\0\0\0\0"), true);
    bed_settle(&bed);
    for (int i = 0; i < 5; i++)
        wire_advance(&bed.clock, &bed.wire, 1000);
    assert_false(bed.wire.ends[1].closed); /* the call holds it open */
    rpc_server_call_fail(bed.test.hung, RPC_ABORTED, "enough");
    bed_settle(&bed);
    wire_advance(&bed.clock, &bed.wire, 999);
    assert_int_equal(bed.raw.goaways, 0);
    wire_advance(&bed.clock, &bed.wire, 1);
    assert_int_equal(bed.raw.goaways, 1);
    /* Without a stream nghttp2 neither answers nor reads after that. */
    wire_advance(&bed.clock, &bed.wire, 5000);
    assert_false(bed.wire.ends[1].closed);
    wire_advance(&bed.clock, &bed.wire, 1000);
    assert_true(bed.wire.ends[1].closed);
    assert_int_equal(bed.raw.goaway_error, NGHTTP2_NO_ERROR);
}

/* Bytes that wait hold the GOAWAY back. */
static void
an_idle_peer_that_does_not_read_is_cut_off(void **state)
{
    static const char *const fields[] = {RAW_FIELDS(RPCTEST_PATH("Count")), NULL};
    const nghttp2_settings_entry wide = {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 1 << 30};
    const struct rpc_server_config config = {.idle_ms = 1000};
    static uint8_t body[9 + 20000 + 2];
    VMT_CLEANUP(bed_done) struct bed bed;
    int32_t id;

    (void)state;
    count_body(body);
    bed_init(&bed, &config);
    assert_int_equal(nghttp2_submit_settings(bed.raw.session, 0, &wide, 1), 0);
    assert_int_equal(
        nghttp2_session_set_local_window_size(bed.raw.session, 0, 0, 1 << 30), 0);
    raw_flush(&bed.raw);
    bed_settle(&bed);
    bed.wire.stall[1] = true;
    id = raw_request(&bed.raw, fields, body, sizeof(body), true);
    bed_settle(&bed);
    assert_true(bed.wire.ends[1].out.len > VMT_STREAM_HIGH_MARK);
    assert_int_equal(nghttp2_submit_rst_stream(bed.raw.session, 0, id, NGHTTP2_CANCEL),
                     0);
    raw_flush(&bed.raw);
    for (int i = 0; i < 20; i++)
        wire_advance(&bed.clock, &bed.wire, 1000);
    assert_true(bed.wire.ends[1].closed);
    assert_int_equal(bed.raw.goaways, 0);
}

/* CVE-2025-8671: the server is made to reset, so that no RST_STREAM of the client's is
 * there to be counted. */
static void
endless_faults_that_reset_streams_end_the_connection(void **state)
{
    /* :method POST, :scheme http, :path / by their places in the static table, :authority
     * a; and more window than there can be */
    uint8_t frames[15 + 13] = {
        0, 0, 6, NGHTTP2_HEADERS,       4, 0, 0, 0, 0, 0x83, 0x86, 0x84, 0x01, 1, 'a',
        0, 0, 4, NGHTTP2_WINDOW_UPDATE, 0, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff};
    static const uint8_t settings[9] = {0, 0, 0, NGHTTP2_SETTINGS};
    VMT_CLEANUP(bed_done) struct bed bed;
    struct stream *s;
    struct wire other;
    int opened = 0;

    (void)state;
    bed_init(&bed, NULL);
    wire_init(&other);
    rpc_server_accept(bed.server, &other.ends[1].base, NULL);
    s = &other.ends[0].base;
    assert_int_equal(s->ops->send(s, BYTES(NGHTTP2_CLIENT_MAGIC), NULL, 0), 0);
    assert_int_equal(s->ops->send(s, settings, sizeof(settings), NULL, 0), 0);
    for (uint32_t id = 1; !other.ends[1].shut && opened < 2000; id += 2, opened++) {
        frames[7] = frames[15 + 7] = (uint8_t)(id >> 8);
        frames[8] = frames[15 + 8] = (uint8_t)id;
        assert_int_equal(s->ops->send(s, frames, sizeof(frames), NULL, 0), 0);
        wire_settle(&bed.clock, &other);
    }
    wire_advance(&bed.clock, &other, 1000);
    assert_true(other.ends[1].closed);
    assert_true(opened > 100 && opened < 1000);
    wire_done(&other);
}

static void
an_aborted_call_is_reset_and_gone(void **state)
{
    static const char *const fields[] = {RAW_FIELDS(RPCTEST_PATH("Hang")), NULL};
    VMT_CLEANUP(bed_done) struct bed bed;
    int32_t id;

    (void)state;
    bed_init(&bed, NULL);
    id = raw_request(&bed.raw, fields, BYTES("\0\0\0\0\0"), true);
    bed_settle(&bed);
    rpc_server_call_abort(bed.test.hung);
    bed_settle(&bed);
    assert_int_equal(raw_stream(&bed.raw, id)->error, NGHTTP2_ENHANCE_YOUR_CALM);
    assert_int_equal(bed.test.cancels, 0);
    bed.test.keep_on_cancel = true;
    id = raw_request(&bed.raw, fields, BYTES("\0\0\0\0\0"), true);
    assert_int_equal(nghttp2_submit_rst_stream(bed.raw.session, 0, id, NGHTTP2_CANCEL),
                     0);
    raw_flush(&bed.raw);
    bed_settle(&bed);
    rpc_server_call_abort(bed.test.hung); /* its client is gone */
}

static void
what_is_no_http2_ends_the_connection(void **state)
{
    VMT_CLEANUP(bed_done) struct bed bed;
    struct wire other;

    (void)state;
    bed_init(&bed, NULL);
    wire_init(&other);
    rpc_server_accept(bed.server, &other.ends[1].base, NULL);
    assert_int_equal(other.ends[0].base.ops->send(&other.ends[0].base,
                                                  "GET / HTTP/1.1\r\n\r\n        ", 26,
                                                  NULL, 0),
                     0);
    wire_settle(&bed.clock, &other);
    assert_true(other.ends[1].closed);
    wire_done(&other);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_reply_has_the_shape_of_grpc),
        cmocka_unit_test(what_is_no_grpc_gets_an_http_error),
        cmocka_unit_test(a_bad_request_gets_the_code_that_fits),
        cmocka_unit_test(the_rest_of_a_request_that_was_answered_is_dropped),
        cmocka_unit_test(headers_are_bounded),
        cmocka_unit_test(streams_above_the_limit_are_refused),
        cmocka_unit_test(connections_above_the_limit_are_closed),
        cmocka_unit_test(pings_are_answered),
        cmocka_unit_test(endless_refusals_that_nobody_reads_end_the_connection),
        cmocka_unit_test(replies_wait_for_a_client_that_does_not_read),
        cmocka_unit_test(half_received_messages_are_bounded_and_all_arrive),
        cmocka_unit_test(parsed_requests_are_bounded_and_their_room_comes_back),
        cmocka_unit_test(an_idle_connection_is_ended_with_goaway),
        cmocka_unit_test(an_idle_peer_that_does_not_read_is_cut_off),
        cmocka_unit_test(endless_faults_that_reset_streams_end_the_connection),
        cmocka_unit_test(an_aborted_call_is_reset_and_gone),
        cmocka_unit_test(what_is_no_http2_ends_the_connection),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
