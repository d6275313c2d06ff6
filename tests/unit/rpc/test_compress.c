/* SPDX-License-Identifier: BSD-3-Clause */
/* Compressed messages: gzip itself, what each side refuses, and what it sends. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/rpc/compress_internal.h"
#include "tests/unit/rpc/pair.h"
#include "tests/unit/rpc/server_bed.h"
#include "tests/unit/test.h"

#define BYTES(literal) (literal), (sizeof(literal) - 1)
#define BIG (100u * 1024)

/* The linker puts these in front of the allocator for our own rooms. */
void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t size);

static const char echo_path[] = RPCTEST_PATH("Echo");
static const char chat_path[] = RPCTEST_PATH("Chat");

static size_t largest;                   /* allocation since it was set to 0 */
static size_t alloc_left = SIZE_MAX - 1; /* this many succeed, then one fails */

static bool
alloc_fails(size_t size)
{
    if (size > largest)
        largest = size;
    return alloc_left-- == 0;
}

void *
__wrap_malloc(size_t size)
{
    return alloc_fails(size) ? NULL : __real_malloc(size);
}

void *
__wrap_calloc(size_t n, size_t size)
{
    return alloc_fails(n * size) ? NULL : __real_calloc(n, size);
}

void *
__wrap_realloc(void *p, size_t size)
{
    return alloc_fails(size) ? NULL : __real_realloc(p, size);
}

/* What one call of rpc_gunzip gives; data is owned. */
struct plain {
    uint8_t *data;
    size_t len;
};

static void
plain_done(struct plain *plain)
{
    free(plain->data);
}

static int
gunzip(const void *data, size_t len, size_t max, struct plain *plain)
{
    int r;

    /* A copy of its own, so that the sanitizer sees reads beyond. */
    VMT_CLEANUP(vmt_freep) uint8_t *copy = malloc(len + !len);

    assert_non_null(copy);
    if (len > 0)
        memcpy(copy, data, len);
    free(plain->data);
    plain->data = NULL;
    r = rpc_gunzip(copy, len, max, &plain->data, &plain->len);
    assert_int_equal(r == 0, plain->data != NULL);
    return r;
}

static void
fill(uint8_t *data, size_t len, unsigned spread)
{
    uint32_t x = 1;

    for (size_t i = 0; i < len; i++) {
        x = x * 1664525 + 1013904223;
        data[i] = (uint8_t)((x >> 24) % spread);
    }
}

static void
what_is_compressed_comes_back(void **state)
{
    static const size_t sizes[] = {100, 511, 512, 513, 40000, 70000, 1 << 20};
    VMT_CLEANUP(plain_done) struct plain plain = {0};
    static uint8_t data[1 << 20], out[1 << 20];

    (void)state;
    fill(data, sizeof(data), 4);
    for (size_t i = 0; i < VMT_ARRAY_SIZE(sizes); i++) {
        ssize_t n = rpc_gzip(data, sizes[i], out, sizes[i] - 1);

        assert_true(n > 0 && (size_t)n < sizes[i]);
        assert_int_equal(gunzip(out, (size_t)n, sizes[i], &plain), 0);
        assert_int_equal(plain.len, sizes[i]);
        assert_memory_equal(plain.data, data, sizes[i]);
        assert_int_equal(gunzip(out, (size_t)n, sizes[i] - 1, &plain), -EMSGSIZE);
    }
}

static void
what_does_not_get_smaller_is_left(void **state)
{
    static uint8_t data[5000], out[5000];

    (void)state;
    fill(data, sizeof(data), 256);
    assert_int_equal(rpc_gzip(data, sizeof(data), out, sizeof(data) - 1), 0);
    assert_int_equal(rpc_gzip(data, 1, out, 0), 0);
    assert_int_equal(rpc_gzip((const uint8_t *)"aaaaaaaaaa", 10, out, 9), 0);
}

static void
a_cut_or_damaged_member_is_refused(void **state)
{
    VMT_CLEANUP(plain_done) struct plain plain = {0};
    uint8_t data[300], out[300];
    ssize_t n;

    (void)state;
    fill(data, sizeof(data), 3);
    n = rpc_gzip(data, sizeof(data), out, sizeof(out));
    assert_true(n > 20);
    for (size_t cut = 1; cut < (size_t)n; cut++)
        assert_int_equal(gunzip(out, cut, 1000, &plain), -EILSEQ);
    assert_int_equal(gunzip(out, 0, 1000, &plain), 0);
    assert_int_equal(plain.len, 0);
    for (size_t i = 0; i < (size_t)n; i++) {
        int r;

        if (i >= 4 && i <= 9) /* time, level and system: anything goes */
            continue;
        out[i] ^= 0x55;
        r = gunzip(out, (size_t)n, 1000, &plain);
        assert_true(r == -EILSEQ || r == -EMSGSIZE);
        out[i] ^= 0x55;
    }
    assert_int_equal(gunzip(out, (size_t)n, 1000, &plain), 0);
}

/* The sanitizer says whether anything is computed from the pointer. */
static void
what_is_shorter_than_a_trailer_has_none(void **state)
{
    VMT_CLEANUP(vmt_freep) uint8_t *data = NULL;
    size_t len = 1;

    (void)state;
    assert_int_equal(rpc_gunzip(NULL, 0, 1000, &data, &len), 0);
    assert_non_null(data);
    assert_int_equal(len, 0);
}

static void
members_follow_each_other_and_nothing_else_does(void **state)
{
    VMT_CLEANUP(plain_done) struct plain plain = {0};
    static const char *const tails[] = {"x", "\x1f", "\x1f\x8b", "\x1f\x8b\x08"};
    uint8_t data[100], out[1000];
    size_t used = 0;

    (void)state;
    memset(data, 'a', sizeof(data));
    for (size_t i = 1; i <= 5; i++) {
        ssize_t n = rpc_gzip(data, sizeof(data), out + used, sizeof(out) - used);

        assert_true(n > 0);
        used += (size_t)n;
        assert_int_equal(gunzip(out, used, 500, &plain), 0);
        assert_int_equal(plain.len, i * sizeof(data));
        assert_int_equal(gunzip(out, used, i * sizeof(data) - 1, &plain), -EMSGSIZE);
    }
    for (size_t i = 0; i < VMT_ARRAY_SIZE(tails); i++) {
        memcpy(out + used, tails[i], strlen(tails[i]));
        assert_int_equal(gunzip(out, used + strlen(tails[i]), 500, &plain), -EILSEQ);
    }
    out[used] = 0;
    assert_int_equal(gunzip(out, used + 1, 500, &plain), -EILSEQ);
}

/* 32 MiB of zeroes in 32 KiB, with a trailer that says so or lies. */
static void
a_bomb_costs_no_more_than_the_limit(void **state)
{
    enum { SIZE = 32 << 20, MAX = 1 << 20 };
    VMT_CLEANUP(plain_done) struct plain plain = {0};
    VMT_CLEANUP(vmt_freep) uint8_t *zeroes = calloc(1, SIZE);
    VMT_CLEANUP(vmt_freep) uint8_t *bomb = malloc(SIZE / 500);
    static const uint8_t claims[] = {0x00, 0xff};
    ssize_t n;

    (void)state;
    assert_true(zeroes && bomb);
    n = rpc_gzip(zeroes, SIZE, bomb, SIZE / 500);
    assert_true(n > 0);
    for (int i = 0; i < 3; i++) {
        if (i > 0)
            memset(bomb + n - 4, claims[i - 1], 4);
        largest = 0;
        assert_int_equal(gunzip(bomb, (size_t)n, MAX, &plain), -EMSGSIZE);
        assert_true(largest <= MAX + 1);
        assert_int_equal(plain.len, MAX + 1);
    }
}

static void
without_memory_nothing_is_lost(void **state)
{
    VMT_CLEANUP(plain_done) struct plain plain = {0};
    static uint8_t data[20000], out[20000];
    ssize_t n = -ENOMEM;
    size_t tries;
    int r = -ENOMEM;

    (void)state;
    memset(data, 'a', sizeof(data));
    for (tries = 0; n == -ENOMEM; tries++) {
        alloc_left = tries;
        n = rpc_gzip(data, sizeof(data), out, sizeof(out));
    }
    assert_true(n > 0 && tries > 4);
    memset(out + n - 4, 0, 4); /* so that the output must grow */
    for (tries = 0; r == -ENOMEM; tries++) {
        alloc_left = tries;
        r = rpc_gunzip(out, (size_t)n, sizeof(data), &plain.data, &plain.len);
    }
    alloc_left = SIZE_MAX - 1;
    assert_int_equal(r, -EILSEQ); /* the length is wrong, as it should be */
    assert_true(tries > 4);
}

static void
encodings_are_known_by_their_names(void **state)
{
    static const struct {
        const char *value;
        bool offers;
    } lists[] = {{"gzip", true},      {"identity, deflate, gzip", true},
                 {"gzip,br", true},   {" gzip ,", true},
                 {"", false},         {",", false},
                 {"identity", false}, {"xgzip", false},
                 {"gzip2", false},    {"g,zip", false}};

    (void)state;
    assert_int_equal(rpc_encoding_parse((const uint8_t *)"gzip", 4), RPC_GZIP);
    assert_int_equal(rpc_encoding_parse((const uint8_t *)"identity", 8), RPC_IDENTITY);
    assert_int_equal(rpc_encoding_parse((const uint8_t *)"deflate", 7),
                     RPC_ENCODING_COUNT);
    assert_int_equal(rpc_encoding_parse((const uint8_t *)"", 0), RPC_ENCODING_COUNT);
    for (size_t i = 0; i < VMT_ARRAY_SIZE(lists); i++)
        assert_int_equal(rpc_encoding_offers_gzip((const uint8_t *)lists[i].value,
                                                  strlen(lists[i].value)),
                         lists[i].offers);
}

static void
both_directions_are_compressed_in_any_pieces(void **state)
{
    static uint8_t data[3000];

    (void)state;
    for (size_t chunk = 0; chunk < 30; chunk++) {
        VMT_CLEANUP(pair_done) struct pair pair;
        Vmt__Rpctest__Request request = rpctest_request();
        struct pair_call call = {0};

        pair_init(&pair, NULL);
        pair.wire.chunk = chunk;
        pair.encoding = pair.test.encoding = RPC_GZIP;
        request.data.data = data;
        request.data.len = sizeof(data);
        request.number = 7;
        pair_run(&pair, &call, echo_path, &request);
        assert_int_equal(call.status.code, RPC_OK);
        assert_int_equal(call.number, 7);
        assert_int_equal(call.bytes, sizeof(data));
        assert_int_equal(pair.test.compressed, 1);
        assert_int_equal(call.compressed, 1);
        assert_true(pair.wire.ends[0].sent_total < 1000);
        assert_true(pair.wire.ends[1].sent_total < 1000);
    }
}

/* By default nothing is compressed; a message that would not get smaller is not. */
static void
only_what_is_asked_and_helps_is_compressed(void **state)
{
    static uint8_t data[3000];

    (void)state;
    for (int how = 0; how < 4; how++) {
        VMT_CLEANUP(pair_done) struct pair pair;
        Vmt__Rpctest__Request request = rpctest_request();
        struct pair_call call = {0};

        pair_init(&pair, NULL);
        fill(data, sizeof(data), how == 3 ? 256 : 2);
        pair.encoding = how & 1 ? RPC_GZIP : RPC_IDENTITY;
        pair.test.encoding = how & 2 ? RPC_GZIP : RPC_IDENTITY;
        request.data.data = data;
        request.data.len = sizeof(data);
        pair_run(&pair, &call, echo_path, &request);
        assert_int_equal(call.status.code, RPC_OK);
        assert_int_equal(pair.test.compressed, how == 1);
        assert_int_equal(call.compressed, how == 2);
    }
}

static int
chat_one(struct pair_call *call, bool compress)
{
    Vmt__Rpctest__Request request = rpctest_request();
    static uint8_t data[BIG];

    request.data.data = data;
    request.data.len = sizeof(data);
    rpc_client_compress(call->call, compress);
    return rpc_client_send(call->call, &request.base);
}

static void
each_message_of_a_stream_is_as_asked(void **state)
{
    VMT_CLEANUP(pair_done) struct pair pair;
    struct pair_call call = {0};

    (void)state;
    pair_init(&pair, NULL);
    pair.encoding = pair.test.encoding = RPC_GZIP;
    assert_int_equal(pair_open(&pair, &call, chat_path, 0), 0);
    for (size_t i = 1; i <= 10; i++) {
        assert_int_equal(chat_one(&call, i % 2 == 0), 0);
        wire_settle(&pair.clock, &pair.wire);
        assert_int_equal(call.messages, i);
        assert_int_equal(call.data_len, BIG);
        assert_int_equal(pair.test.compressed, i / 2);
        assert_int_equal(call.compressed, i / 2);
    }
    assert_int_equal(rpc_server_call_set_encoding(pair.test.stream, RPC_IDENTITY),
                     -EALREADY);
    rpc_client_half_close(call.call);
    wire_settle(&pair.clock, &pair.wire);
    assert_int_equal(call.status.code, RPC_OK);
}

/* What comes may have a thousand bytes. */
static void
bed_init_small(struct bed *bed)
{
    const struct rpc_server_config config = {.message_max = 1000};

    bed_init(bed, &config);
}

/* The prefix of n compressed bytes that are at out + 5. */
static void
make_frame(uint8_t *out, ssize_t n)
{
    assert_true(n > 0 && n < 65536);
    out[0] = 1;
    out[1] = out[2] = 0;
    out[3] = (uint8_t)(n >> 8);
    out[4] = (uint8_t)n;
}

/* gzip of a message with data of size zeroes and number 7, behind its prefix; then what
 * is at tail. Returns how many bytes. */
static size_t
make_message(uint8_t *out, size_t size, const char *tail, size_t tail_len)
{
    static uint8_t data[4000], packed[5000];
    Vmt__Rpctest__Request request = rpctest_request();
    ssize_t n;

    request.data.data = data;
    request.data.len = size;
    request.number = 7;
    n = rpc_gzip(packed, protobuf_c_message_pack(&request.base, packed), out + 5, 400);
    assert_true(n > 0);
    memcpy(out + 5 + n, tail, tail_len);
    n += (ssize_t)tail_len;
    make_frame(out, n);
    return (size_t)n + 5;
}

static const struct {
    const char *encoding; /* NULL: none */
    size_t size;
    const char *tail;
    size_t tail_len;
    enum rpc_code server, client;
} cases[] = {
    {"gzip", 900, BYTES(""), RPC_OK, RPC_OK},
    {"gzip", 4000, BYTES(""), RPC_RESOURCE_EXHAUSTED, RPC_OK},
    {"gzip", 900, BYTES("x"), RPC_INTERNAL, RPC_INTERNAL},
    {"gzip", 900, BYTES("\0\0\0\0"), RPC_INTERNAL, RPC_INTERNAL},
    {"identity", 900, BYTES(""), RPC_INTERNAL, RPC_INTERNAL},
    {NULL, 900, BYTES(""), RPC_INTERNAL, RPC_INTERNAL},
    {"br", 900, BYTES(""), RPC_UNIMPLEMENTED, RPC_INTERNAL},
    {"", 900, BYTES(""), RPC_UNIMPLEMENTED, RPC_INTERNAL},
};

static void
a_server_answers_each_fault_as_the_protocol_says(void **state)
{
    VMT_CLEANUP(bed_done) struct bed bed;

    (void)state;
    bed_init_small(&bed);
    for (size_t i = 0; i < 2 * VMT_ARRAY_SIZE(cases); i++) {
        const char *encoding = cases[i / 2].encoding;
        const char *fields[] = {RAW_FIELDS(echo_path), encoding ? "grpc-encoding" : "x",
                                encoding ? encoding : "y", NULL};
        uint8_t body[1000];
        size_t len = make_message(body, cases[i / 2].size, cases[i / 2].tail,
                                  cases[i / 2].tail_len);
        char line[32];
        int32_t id;

        if (i % 2) /* the same in a stream */
            fields[5] = chat_path;
        id = raw_request(&bed.raw, fields, body, len, true);
        wire_settle(&bed.clock, &bed.wire);
        (void)snprintf(line, sizeof(line), "grpc-status: %d\n", (int)cases[i / 2].server);
        if (!raw_has(&bed.raw, id, line) ||
            !raw_has(&bed.raw, id, "grpc-accept-encoding: identity,gzip\n"))
            fail_msg("case %zu: %s", i, raw_stream(&bed.raw, id)->headers);
    }
    assert_int_equal(bed.test.stream_cancels, VMT_ARRAY_SIZE(cases) - 1);
}

static void
a_server_compresses_only_for_who_offers(void **state)
{
    static const char *const offers[] = {"", "identity", "identity, deflate, gzip"};
    VMT_CLEANUP(bed_done) struct bed bed;
    uint8_t body[1000];
    size_t len = make_message(body, 900, "", 0);

    (void)state;
    bed_init_small(&bed);
    bed.test.encoding = RPC_GZIP;
    for (size_t i = 0; i < VMT_ARRAY_SIZE(offers); i++) {
        const char *fields[] = {RAW_FIELDS(echo_path),  "grpc-encoding", "gzip",
                                "grpc-accept-encoding", offers[i],       NULL};
        int32_t id = raw_request(&bed.raw, fields, body, len, true);
        const struct raw_stream *s = raw_stream(&bed.raw, id);

        wire_settle(&bed.clock, &bed.wire);
        assert_true(raw_has(&bed.raw, id, "grpc-status: 0\n"));
        assert_int_equal(raw_has(&bed.raw, id, "\ngrpc-encoding: gzip\n"), i == 2);
        assert_int_equal(s->body.data[0], i == 2);
        assert_int_equal(s->body.len < 100, i == 2);
    }
}

static void
answer_on_done(void *arg, const struct rpc_status *status)
{
    ((struct pair_call *)arg)->dones++;
    ((struct pair_call *)arg)->status = *status;
}

static void
answer_on_message(void *arg, const struct ProtobufCMessage *reply, const int *fds,
                  size_t nfds)
{
    struct pair_call *call = arg;

    (void)reply, (void)fds, (void)nfds;
    call->messages++;
    call->compressed += rpc_client_compressed(call->call);
}

/* One call that a raw server answers with case i. */
static void
check_client(size_t i, bool streams)
{
    static const char *const trailers[] = {"grpc-status", "0", NULL};
    static const struct rpc_client_handler handler = {.on_message = answer_on_message,
                                                      .on_done = answer_on_done};
    const char *encoding = cases[i].encoding;
    const char *fields[] = {":status",
                            "200",
                            "content-type",
                            "application/grpc",
                            encoding ? "grpc-encoding" : "x",
                            encoding ? encoding : "y",
                            NULL};
    const Vmt__Rpctest__Request message = rpctest_request();
    struct pair_call call = {0};
    const struct rpc_client_request request = {.path = echo_path,
                                               .reply = &vmt__rpctest__reply__descriptor,
                                               .handler = &handler,
                                               .server_streams = streams,
                                               .arg = &call};
    struct rpc_client *client;
    struct wire_clock clock;
    struct wire wire;
    struct raw raw;
    uint8_t body[1000];
    size_t len = make_message(body, cases[i].size, cases[i].tail, cases[i].tail_len);

    wire_clock_init(&clock);
    wire_init(&wire);
    memset(&raw, 0, sizeof(raw));
    raw_init(&raw, &wire.ends[1].base, true);
    assert_int_equal(rpc_client_new(&clock.base, &wire.ends[0].base, NULL, &client, NULL),
                     0);
    assert_int_equal(rpc_client_start(client, &request, &message.base, &call.call, NULL),
                     0);
    wire_settle(&clock, &wire);
    assert_true(raw_has(&raw, 1, "grpc-accept-encoding: identity,gzip\n"));
    raw_respond(&raw, 1, fields, body, len, trailers);
    wire_settle(&clock, &wire);
    if (call.dones != 1 || call.status.code != cases[i].client)
        fail_msg("case %zu: %d %s", i, (int)call.status.code, call.status.text);
    assert_int_equal(call.messages, call.status.code == RPC_OK);
    assert_int_equal(call.compressed, call.messages);
    rpc_client_free(client);
    raw_done(&raw);
    wire_done(&wire);
}

static void
a_client_ends_on_each_fault_as_the_protocol_says(void **state)
{
    (void)state;
    for (size_t i = 0; i < VMT_ARRAY_SIZE(cases); i++) {
        check_client(i, false);
        check_client(i, true);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_compressed_comes_back),
        cmocka_unit_test(what_does_not_get_smaller_is_left),
        cmocka_unit_test(a_cut_or_damaged_member_is_refused),
        cmocka_unit_test(what_is_shorter_than_a_trailer_has_none),
        cmocka_unit_test(members_follow_each_other_and_nothing_else_does),
        cmocka_unit_test(a_bomb_costs_no_more_than_the_limit),
        cmocka_unit_test(without_memory_nothing_is_lost),
        cmocka_unit_test(encodings_are_known_by_their_names),
        cmocka_unit_test(both_directions_are_compressed_in_any_pieces),
        cmocka_unit_test(only_what_is_asked_and_helps_is_compressed),
        cmocka_unit_test(each_message_of_a_stream_is_as_asked),
        cmocka_unit_test(a_server_answers_each_fault_as_the_protocol_says),
        cmocka_unit_test(a_server_compresses_only_for_who_offers),
        cmocka_unit_test(a_client_ends_on_each_fault_as_the_protocol_says),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
