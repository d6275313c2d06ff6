/* SPDX-License-Identifier: BSD-3-Clause */
/* Our client against servers that do what no gRPC server does. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/rpc/client.h"
#include "tests/unit/rpc/raw.h"
#include "tests/unit/rpc/service.h"
#include "tests/unit/test.h"

#define ECHO RPCTEST_PATH("Echo")
#define BYTES(literal) (literal), (sizeof(literal) - 1)
#define OK_FIELDS ":status", "200", "content-type", "application/grpc"

struct bed {
    struct wire_clock clock;
    struct wire wire;
    struct rpc_client *client;
    struct raw raw;
    size_t closed, readies, goaways, pinged;
    bool free_on_ready, free_on_goaway;
};

struct answer {
    size_t messages, dones;
    struct rpc_status status;
    struct rpc_client_call *call;
};

static void
bed_on_closed(void *arg, const char *reason)
{
    assert_non_null(reason);
    ((struct bed *)arg)->closed++;
}

static void
bed_free_client(struct bed *bed)
{
    rpc_client_free(bed->client);
    bed->client = NULL;
}

static void
bed_on_ready(void *arg)
{
    struct bed *bed = arg;

    bed->readies++;
    if (bed->free_on_ready)
        bed_free_client(bed);
}

static void
bed_on_goaway(void *arg, bool too_many_pings)
{
    struct bed *bed = arg;

    assert_int_equal(bed->closed, 0);
    bed->goaways++;
    bed->pinged += too_many_pings;
    if (bed->free_on_goaway)
        bed_free_client(bed);
}

static void
bed_init(struct bed *bed)
{
    const struct rpc_client_config config = {.authority = "vm.example",
                                             .on_closed = bed_on_closed,
                                             .on_ready = bed_on_ready,
                                             .on_goaway = bed_on_goaway,
                                             .arg = bed};

    memset(bed, 0, sizeof(*bed));
    wire_clock_init(&bed->clock);
    wire_init(&bed->wire);
    raw_init(&bed->raw, &bed->wire.ends[1].base, true);
    assert_int_equal(rpc_client_new(&bed->clock.base, &bed->wire.ends[0].base, &config,
                                    &bed->client, NULL),
                     0);
}

static void
bed_done(struct bed *bed)
{
    rpc_client_free(bed->client);
    raw_done(&bed->raw);
    wire_done(&bed->wire);
    assert_int_equal(bed->clock.ntimers, 0);
}

static void
bed_settle(struct bed *bed)
{
    wire_settle(&bed->clock, &bed->wire);
}

static void
answer_on_message(void *arg, const struct ProtobufCMessage *reply, const int *fds,
                  size_t nfds)
{
    (void)reply, (void)fds, (void)nfds;
    ((struct answer *)arg)->messages++;
}

static void
answer_on_done(void *arg, const struct rpc_status *status)
{
    struct answer *answer = arg;

    answer->dones++;
    answer->status = *status;
}

static const struct rpc_client_handler answer_handler = {.on_message = answer_on_message,
                                                         .on_done = answer_on_done};

static int
bed_start(struct bed *bed, struct answer *answer, bool streams, uint32_t timeout_ms)
{
    const Vmt__Rpctest__Request message = rpctest_request();
    const struct rpc_client_request request = {.path = ECHO,
                                               .reply = &vmt__rpctest__reply__descriptor,
                                               .server_streams = streams,
                                               .timeout_ms = timeout_ms,
                                               .handler = &answer_handler,
                                               .arg = answer};

    memset(answer, 0, sizeof(*answer));
    return rpc_client_start(bed->client, &request, &message.base, &answer->call, NULL);
}

static void
a_request_has_the_shape_of_grpc(void **state)
{
    struct answer answer;
    VMT_CLEANUP(bed_done) struct bed bed;

    (void)state;
    bed_init(&bed);
    assert_int_equal(bed_start(&bed, &answer, false, 1500), 0);
    bed_settle(&bed);
    assert_string_equal(raw_stream(&bed.raw, 1)->headers,
                        ":method: POST\n:scheme: http\n:path: /vmt.rpctest.Test/Echo\n"
                        ":authority: vm.example\nte: trailers\n"
                        "content-type: application/grpc\n"
                        "user-agent: grpc-c-vm_tools/0.1\n"
                        "grpc-accept-encoding: identity,gzip\ngrpc-timeout: 1500m\n");
    assert_int_equal(raw_stream(&bed.raw, 1)->body.len, 5);
    assert_true(raw_stream(&bed.raw, 1)->end_stream);
}

/* What a server may answer, and what a unary call makes of it. */
static const struct {
    const char *fields[12];
    const char *body;
    size_t len;
    const char *trailer[3];
    enum rpc_code code;
    size_t messages;
} answers[] = {
    {{OK_FIELDS}, BYTES("\0\0\0\0\0"), {"grpc-status", "0"}, RPC_OK, 1},
    {{OK_FIELDS}, BYTES(""), {"grpc-status", "0"}, RPC_INTERNAL, 0},
    {{OK_FIELDS}, BYTES("\0\0\0\0\0\0\0\0\0\0"), {"grpc-status", "0"}, RPC_INTERNAL, 0},
    {{OK_FIELDS}, BYTES("\0\0\0\0\2\x18"), {"grpc-status", "0"}, RPC_INTERNAL, 0},
    {{OK_FIELDS}, BYTES("\0\0\0\0\2\x0a\x7f"), {"grpc-status", "0"}, RPC_INTERNAL, 0},
    {{OK_FIELDS}, BYTES("\1\0\0\0\0"), {"grpc-status", "0"}, RPC_INTERNAL, 0},
    {{OK_FIELDS, "grpc-encoding", "br"},
     BYTES("\1\0\0\0\0"),
     {"grpc-status", "0"},
     RPC_INTERNAL,
     0},
    {{OK_FIELDS}, BYTES("\0\x7f\0\0\0"), {"grpc-status", "0"}, RPC_RESOURCE_EXHAUSTED, 0},
    {{OK_FIELDS}, BYTES("\0\0\0\0\0"), {"grpc-status", "7"}, RPC_PERMISSION_DENIED, 0},
    {{OK_FIELDS}, BYTES("\0\0\0\0\0"), {"grpc-status", "77"}, RPC_UNKNOWN, 0},
    {{OK_FIELDS}, BYTES("\0\0\0\0\0"), {"x-other", "0"}, RPC_UNKNOWN, 0},
    {{OK_FIELDS}, BYTES("\0\0\0\0\0"), {NULL}, RPC_UNKNOWN, 0},
    {{OK_FIELDS, "grpc-status", "5"}, NULL, 0, {NULL}, RPC_NOT_FOUND, 0},
    {{OK_FIELDS, "grpc-status", "0"}, NULL, 0, {NULL}, RPC_INTERNAL, 0},
    {{":status", "503"}, NULL, 0, {NULL}, RPC_UNAVAILABLE, 0},
    {{":status", "404", "content-type", "text/html"},
     BYTES("<html>"),
     {NULL},
     RPC_UNIMPLEMENTED,
     0},
    {{":status", "200", "content-type", "text/html"},
     BYTES("<html>"),
     {NULL},
     RPC_UNKNOWN,
     0},
    {{OK_FIELDS, "vmt-fds", "1"},
     BYTES("\0\0\0\0\0"),
     {"grpc-status", "0"},
     RPC_INTERNAL,
     0},
};

static void
every_kind_of_answer_gives_one_status(void **state)
{
    VMT_CLEANUP(bed_done) struct bed bed;

    (void)state;
    bed_init(&bed);
    for (size_t i = 0; i < VMT_ARRAY_SIZE(answers); i++) {
        struct answer answer;

        assert_int_equal(bed_start(&bed, &answer, false, 0), 0);
        bed_settle(&bed);
        raw_respond(&bed.raw, (int32_t)(2 * i + 1), answers[i].fields, answers[i].body,
                    answers[i].len, answers[i].trailer[0] ? answers[i].trailer : NULL);
        bed_settle(&bed);
        assert_int_equal(answer.dones, 1);
        if (answer.status.code != answers[i].code)
            fail_msg("case %zu: %s: %s", i, rpc_code_name(answer.status.code),
                     answer.status.text);
        assert_int_equal(answer.messages, answers[i].messages);
    }
    assert_int_equal(bed.closed, 0);
}

static void
resets_are_told_by_their_reason(void **state)
{
    static const struct {
        uint32_t error;
        enum rpc_code code;
    } cases[] = {{NGHTTP2_REFUSED_STREAM, RPC_UNAVAILABLE},
                 {NGHTTP2_CANCEL, RPC_CANCELLED},
                 {NGHTTP2_ENHANCE_YOUR_CALM, RPC_RESOURCE_EXHAUSTED},
                 {NGHTTP2_INADEQUATE_SECURITY, RPC_PERMISSION_DENIED},
                 {NGHTTP2_INTERNAL_ERROR, RPC_INTERNAL}};
    VMT_CLEANUP(bed_done) struct bed bed;

    (void)state;
    bed_init(&bed);
    for (size_t i = 0; i < VMT_ARRAY_SIZE(cases); i++) {
        struct answer answer;

        assert_int_equal(bed_start(&bed, &answer, i % 2, 0), 0);
        bed_settle(&bed);
        assert_int_equal(nghttp2_submit_rst_stream(bed.raw.session, 0,
                                                   (int32_t)(2 * i + 1), cases[i].error),
                         0);
        raw_flush(&bed.raw);
        bed_settle(&bed);
        assert_int_equal(answer.dones, 1);
        assert_int_equal(answer.status.code, cases[i].code);
    }
}

static void
goaway_lets_served_calls_end_and_no_new_ones_begin(void **state)
{
    static const char *const fields[] = {OK_FIELDS, NULL};
    static const char *const trailers[] = {"grpc-status", "0", NULL};
    struct answer served, dropped, late;
    VMT_CLEANUP(bed_done) struct bed bed;

    (void)state;
    bed_init(&bed);
    assert_int_equal(bed_start(&bed, &served, false, 0), 0);
    assert_int_equal(bed_start(&bed, &dropped, false, 0), 0);
    bed_settle(&bed);
    assert_int_equal(
        nghttp2_submit_goaway(bed.raw.session, 0, 1, NGHTTP2_NO_ERROR, NULL, 0), 0);
    raw_flush(&bed.raw);
    bed_settle(&bed);
    assert_int_equal(dropped.dones, 1);
    assert_int_equal(dropped.status.code, RPC_UNAVAILABLE);
    assert_int_equal(served.dones, 0);
    assert_int_equal(bed.closed, 0);
    assert_int_equal(bed_start(&bed, &late, false, 0), -ENOTCONN);
    raw_respond(&bed.raw, 1, fields, BYTES("\0\0\0\0\0"), trailers);
    bed_settle(&bed);
    assert_int_equal(served.dones, 1);
    assert_int_equal(served.status.code, RPC_OK);
    assert_int_equal(bed.closed, 1);
}

static void
goaway_ends_calls_that_wait_for_their_turn(void **state)
{
    const nghttp2_settings_entry one = {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 1};
    struct answer first, second;
    VMT_CLEANUP(bed_done) struct bed bed;

    (void)state;
    bed_init(&bed);
    assert_int_equal(nghttp2_submit_settings(bed.raw.session, 0, &one, 1), 0);
    raw_flush(&bed.raw);
    bed_settle(&bed);
    assert_int_equal(bed_start(&bed, &first, false, 0), 0);
    assert_int_equal(bed_start(&bed, &second, false, 0), 0);
    bed_settle(&bed);
    /* The first of two: it refuses nothing that was sent. */
    assert_int_equal(nghttp2_submit_goaway(bed.raw.session, 0, INT32_MAX,
                                           NGHTTP2_NO_ERROR, (const uint8_t *)"a\nb", 3),
                     0);
    raw_flush(&bed.raw);
    bed_settle(&bed);
    assert_int_equal(first.dones, 0);
    assert_int_equal(nghttp2_submit_rst_stream(bed.raw.session, 0, 1, NGHTTP2_CANCEL), 0);
    raw_flush(&bed.raw);
    bed_settle(&bed);
    assert_int_equal(first.dones, 1);
    assert_int_equal(first.status.code, RPC_CANCELLED);
    assert_int_equal(second.dones, 1);
    assert_int_equal(second.status.code, RPC_UNAVAILABLE);
    assert_string_equal(second.status.text, "the server is going away: a\\x0ab");
    assert_int_equal(bed.closed, 1);
}

static void
goaway_without_calls_closes(void **state)
{
    VMT_CLEANUP(bed_done) struct bed bed;

    (void)state;
    bed_init(&bed);
    bed_settle(&bed);
    assert_int_equal(
        nghttp2_submit_goaway(bed.raw.session, 0, 0, NGHTTP2_NO_ERROR, NULL, 0), 0);
    raw_flush(&bed.raw);
    bed_settle(&bed);
    assert_int_equal(bed.closed, 1);
    assert_int_equal(bed.goaways, 1);
    assert_int_equal(bed.pinged, 0);
}

static void
the_first_settings_say_that_the_server_is_there(void **state)
{
    VMT_CLEANUP(bed_done) struct bed bed;

    (void)state;
    bed_init(&bed);
    bed.wire.stall[1] = true;
    bed_settle(&bed);
    assert_int_equal(bed.readies, 0); /* connected, and that is all */
    bed.wire.stall[1] = false;
    bed_settle(&bed);
    assert_int_equal(bed.readies, 1);
    assert_int_equal(nghttp2_submit_settings(bed.raw.session, 0, NULL, 0), 0);
    raw_flush(&bed.raw);
    bed_settle(&bed);
    assert_int_equal(bed.readies, 1);
}

static void
goaway_tells_of_too_many_pings(void **state)
{
    static const struct {
        uint32_t error;
        const char *debug;
        bool pinged;
    } cases[] = {{NGHTTP2_ENHANCE_YOUR_CALM, "too_many_pings", true},
                 {NGHTTP2_ENHANCE_YOUR_CALM, "too_many_pings!", false},
                 {NGHTTP2_ENHANCE_YOUR_CALM, "", false},
                 {NGHTTP2_NO_ERROR, "too_many_pings", false}};

    (void)state;
    for (size_t i = 0; i < VMT_ARRAY_SIZE(cases); i++) {
        VMT_CLEANUP(bed_done) struct bed bed;

        bed_init(&bed);
        assert_int_equal(nghttp2_submit_goaway(bed.raw.session, 0, 0, cases[i].error,
                                               (const uint8_t *)cases[i].debug,
                                               strlen(cases[i].debug)),
                         0);
        raw_flush(&bed.raw);
        bed_settle(&bed);
        assert_int_equal(bed.goaways, 1);
        assert_int_equal(bed.pinged, cases[i].pinged);
        assert_int_equal(bed.closed, 1);
    }
}

static void
a_client_may_be_freed_when_the_server_comes_or_goes(void **state)
{
    (void)state;
    for (int how = 0; how < 2; how++) {
        VMT_CLEANUP(bed_done) struct bed bed;

        bed_init(&bed);
        bed.free_on_ready = how == 0;
        bed.free_on_goaway = how == 1;
        assert_int_equal(
            nghttp2_submit_goaway(bed.raw.session, 0, 0, NGHTTP2_NO_ERROR, NULL, 0), 0);
        raw_flush(&bed.raw);
        bed_settle(&bed);
        assert_null(bed.client);
        assert_int_equal(bed.closed, 0);
    }
}

static void
a_call_that_waits_for_its_turn_has_its_deadline_too(void **state)
{
    const nghttp2_settings_entry one = {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 1};
    struct answer first, second, third;
    VMT_CLEANUP(bed_done) struct bed bed;

    (void)state;
    bed_init(&bed);
    assert_int_equal(nghttp2_submit_settings(bed.raw.session, 0, &one, 1), 0);
    raw_flush(&bed.raw);
    bed_settle(&bed);
    assert_int_equal(bed_start(&bed, &first, false, 0), 0);
    assert_int_equal(bed_start(&bed, &second, false, 100), 0);
    assert_int_equal(bed_start(&bed, &third, false, 0), 0);
    bed_settle(&bed);
    assert_string_equal(raw_stream(&bed.raw, 3)->headers, "");
    wire_advance(&bed.clock, &bed.wire, 100);
    assert_int_equal(second.dones, 1);
    assert_int_equal(second.status.code, RPC_DEADLINE_EXCEEDED);
    rpc_client_cancel(first.call);
    bed_settle(&bed);
    assert_int_equal(raw_stream(&bed.raw, 1)->error, NGHTTP2_CANCEL);
    assert_string_equal(raw_stream(&bed.raw, 3)->headers, ""); /* never sent */
    assert_true(strlen(raw_stream(&bed.raw, 5)->headers) > 0);
    assert_int_equal(first.dones + third.dones, 0);
}

static void
a_deadline_resets_the_stream(void **state)
{
    struct answer answer;
    VMT_CLEANUP(bed_done) struct bed bed;

    (void)state;
    bed_init(&bed);
    assert_int_equal(bed_start(&bed, &answer, false, 50), 0);
    bed_settle(&bed);
    wire_advance(&bed.clock, &bed.wire, 50);
    assert_int_equal(answer.status.code, RPC_DEADLINE_EXCEEDED);
    assert_true(raw_stream(&bed.raw, 1)->closed);
    assert_int_equal(raw_stream(&bed.raw, 1)->error, NGHTTP2_CANCEL);
}

static void
informational_answers_are_skipped(void **state)
{
    static const char *const trailers[] = {"grpc-status", "0", NULL};
    static const char *const fields[] = {OK_FIELDS, NULL};
    const nghttp2_nv info = {(uint8_t *)(uintptr_t) ":status",
                             (uint8_t *)(uintptr_t) "103", 7, 3, NGHTTP2_NV_FLAG_NONE};
    struct answer answer;
    VMT_CLEANUP(bed_done) struct bed bed;

    (void)state;
    bed_init(&bed);
    assert_int_equal(bed_start(&bed, &answer, false, 0), 0);
    bed_settle(&bed);
    assert_int_equal(nghttp2_submit_headers(bed.raw.session, 0, 1, NULL, &info, 1, NULL),
                     0);
    raw_respond(&bed.raw, 1, fields, BYTES("\0\0\0\0\0"), trailers);
    bed_settle(&bed);
    assert_int_equal(answer.status.code, RPC_OK);
    assert_int_equal(answer.messages, 1);
}

static void
what_is_no_http2_answers_every_call(void **state)
{
    struct wire_clock clock;
    struct wire wire;
    struct answer answer = {0};
    struct bed bed = {0};

    (void)state;
    wire_clock_init(&clock);
    wire_init(&wire);
    assert_int_equal(
        rpc_client_new(&clock.base, &wire.ends[0].base, NULL, &bed.client, NULL), 0);
    assert_int_equal(bed_start(&bed, &answer, false, 0), 0);
    assert_int_equal(wire.ends[1].base.ops->send(&wire.ends[1].base,
                                                 "HTTP/1.1 400 Bad Request\r\n\r\n", 28,
                                                 NULL, 0),
                     0);
    wire_settle(&clock, &wire);
    assert_int_equal(answer.dones, 1);
    assert_int_equal(answer.status.code, RPC_UNAVAILABLE);
    rpc_client_free(bed.client);
    wire_done(&wire);
}

/* The owner looks at its client when it next needs it; until then a guest that goes on
 * sending must not keep the daemon busy. */
static void
a_lost_connection_is_closed_though_its_client_lives(void **state)
{
    VMT_CLEANUP(bed_done) struct bed bed;
    struct rpc_client_request request = {.path = ECHO,
                                         .reply = &vmt__rpctest__reply__descriptor};
    Vmt__Rpctest__Request message = rpctest_request();

    (void)state;
    bed_init(&bed);
    bed_settle(&bed);
    assert_int_equal(bed.raw.stream->ops->send(bed.raw.stream,
                                               BYTES("\0\0\4\3\0\0\0\0\0gggg"), NULL, 0),
                     0); /* RST_STREAM for stream 0 */
    bed_settle(&bed);
    assert_int_equal(bed.closed, 1);
    wire_advance(&bed.clock, &bed.wire, 1000); /* the server had its chance to read why */
    assert_true(bed.wire.ends[0].closed);
    assert_int_equal(rpc_client_start(bed.client, &request, &message.base, NULL, NULL),
                     -ENOTCONN);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_has_the_shape_of_grpc),
        cmocka_unit_test(every_kind_of_answer_gives_one_status),
        cmocka_unit_test(resets_are_told_by_their_reason),
        cmocka_unit_test(goaway_lets_served_calls_end_and_no_new_ones_begin),
        cmocka_unit_test(goaway_ends_calls_that_wait_for_their_turn),
        cmocka_unit_test(goaway_without_calls_closes),
        cmocka_unit_test(the_first_settings_say_that_the_server_is_there),
        cmocka_unit_test(goaway_tells_of_too_many_pings),
        cmocka_unit_test(a_client_may_be_freed_when_the_server_comes_or_goes),
        cmocka_unit_test(a_call_that_waits_for_its_turn_has_its_deadline_too),
        cmocka_unit_test(a_deadline_resets_the_stream),
        cmocka_unit_test(informational_answers_are_skipped),
        cmocka_unit_test(what_is_no_http2_answers_every_call),
        cmocka_unit_test(a_lost_connection_is_closed_though_its_client_lives),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
