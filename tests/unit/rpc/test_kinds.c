/* SPDX-License-Identifier: BSD-3-Clause */
/* One call of each kind, with metadata, gzip and descriptors, on a connection to which
 * everything happens that can: each is answered exactly once, although none has a
 * deadline, no handler is forgotten, and nothing leaks. nghttp2's memory fails as ours
 * does. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "tests/unit/rpc/alloc.h"
#include "tests/unit/rpc/pair.h"
#include "tests/unit/rpc/raw.h"
#include "tests/unit/test.h"

enum { UNARY, SERVER, CLIENT, BIDI, KINDS };

#define FDS 2
#define DATA 60
#define FD_LOOK_MAX 64

struct script {
    struct pair pair;
    struct pair_call calls[KINDS];
    bool started[KINDS];
    size_t fds_before;
};

static size_t
count_fds(void)
{
    size_t n = 0;

    for (int fd = 0; fd < FD_LOOK_MAX; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

static Vmt__Rpctest__Request
script_request(uint32_t number)
{
    static uint8_t data[DATA];
    Vmt__Rpctest__Request request = rpctest_request();

    request.text = (char *)(uintptr_t) "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    request.number = number;
    request.data.data = data;
    request.data.len = sizeof(data);
    return request;
}

/* Three requests and no more, whatever becomes of them. */
static void
script_stream(struct pair_call *call)
{
    for (uint32_t i = 1; i <= 3 && call->call; i++) {
        Vmt__Rpctest__Request request = script_request(i);

        (void)rpc_client_send(call->call, &request.base);
    }
    if (call->call)
        rpc_client_half_close(call->call);
}

static void
script_start(struct script *s)
{
    VMT_CLEANUP(rpc_metadata_done) struct rpc_metadata metadata = {0};
    Vmt__Rpctest__Request count = script_request(3);
    struct pair_call *calls = s->calls;
    int fds[FDS] = {0, 1};

    (void)rpc_metadata_add(&metadata, "k", "v", 1);
    (void)rpc_metadata_add(&metadata, "b-bin", "\0\xff", 2);
    s->pair.metadata = &metadata;
    s->pair.test.encoding = RPC_GZIP;
    s->started[UNARY] =
        pair_start_fds(&s->pair, &calls[UNARY], RPCTEST_PATH("Echo"), fds, FDS) == 0;
    s->pair.encoding = RPC_GZIP;
    s->started[SERVER] =
        pair_start(&s->pair, &calls[SERVER], RPCTEST_PATH("Count"), &count, 0) == 0;
    s->started[CLIENT] =
        pair_open(&s->pair, &calls[CLIENT], RPCTEST_PATH("Collect"), 0) == 0;
    s->started[BIDI] = pair_open(&s->pair, &calls[BIDI], RPCTEST_PATH("Chat"), 0) == 0;
    if (s->started[CLIENT])
        script_stream(&calls[CLIENT]);
    if (s->started[BIDI])
        script_stream(&calls[BIDI]);
    s->pair.metadata = NULL;
}

static void
script_init(struct script *s)
{
    memset(s, 0, sizeof(*s));
    s->fds_before = count_fds();
    pair_init(&s->pair, NULL);
}

static void
script_settle(struct script *s)
{
    wire_settle(&s->pair.clock, &s->pair.wire);
}

/* what names the fault, at its place. */
static void
script_check(struct script *s, const char *what, size_t at)
{
    for (size_t i = 0; i < KINDS; i++) {
        if (s->calls[i].dones != s->started[i])
            fail_msg("%s %zu: call %zu was answered %zu times", what, at, i,
                     s->calls[i].dones);
        for (size_t n = 0; n < s->calls[i].nfds; n++)
            vmt_closep(&s->calls[i].fds[n]);
    }
    /* A call that its client gave up is no news to the server before the connection ends;
     * all that it held is back then. */
    rpc_client_free(s->pair.client);
    s->pair.client = NULL;
    script_settle(s);
    for (size_t i = 0; i < VMT_ARRAY_SIZE(s->pair.test.streams); i++) {
        if (s->pair.test.streams[i].call)
            fail_msg("%s %zu: a handler was not told", what, at);
    }
    pair_done(&s->pair);
    if (count_fds() != s->fds_before)
        fail_msg("%s %zu: %zu descriptors, %zu before", what, at, count_fds(),
                 s->fds_before);
}

static void
check_answers(const struct script *s, const char *what, size_t at)
{
    static const size_t messages[KINDS] = {1, 3, 1, 3};

    for (size_t i = 0; i < KINDS; i++) {
        if (s->calls[i].status.code != RPC_OK || s->calls[i].messages != messages[i])
            fail_msg("%s %zu: call %zu: %zu messages, %s", what, at, i,
                     s->calls[i].messages, s->calls[i].status.text);
        assert_int_equal(s->calls[i].initials, 1);
        assert_int_equal(s->calls[i].trailings, 1);
    }
    assert_int_equal(s->calls[UNARY].nfds, FDS);
    assert_int_equal(s->calls[CLIENT].number, 6);
    assert_int_equal(s->calls[BIDI].bytes, 3 * DATA);
}

/* Bytes that each side sends when nothing happens. */
static void
script_measure(size_t totals[2])
{
    struct script s;

    script_init(&s);
    script_start(&s);
    script_settle(&s);
    check_answers(&s, "no fault", 0);
    totals[0] = s.pair.wire.ends[0].sent_total;
    totals[1] = s.pair.wire.ends[1].sent_total;
    assert_true(totals[0] > 300 && totals[1] > 300);
    script_check(&s, "no fault", 0);
}

static void
a_split_at_any_byte_changes_nothing(void **state)
{
    size_t totals[2];

    (void)state;
    script_measure(totals);
    for (size_t side = 0; side < 2; side++) {
        for (size_t at = 1; at < totals[side]; at++) {
            struct script s;

            script_init(&s);
            s.pair.wire.split_at[side] = at;
            script_start(&s);
            script_settle(&s);
            check_answers(&s, "split at", at);
            script_check(&s, "split at", at);
        }
    }
}

static void
one_byte_at_a_time_changes_nothing(void **state)
{
    (void)state;
    for (size_t chunk = 1; chunk < 20; chunk++) {
        struct script s;

        script_init(&s);
        s.pair.wire.chunk = chunk;
        script_start(&s);
        script_settle(&s);
        check_answers(&s, "pieces of", chunk);
        script_check(&s, "pieces of", chunk);
    }
}

/* status: how the stream ends. */
static void
check_cuts(int status)
{
    size_t totals[2];

    script_measure(totals);
    for (size_t side = 0; side < 2; side++) {
        for (size_t at = 0; at < totals[side]; at++) {
            struct script s;

            script_init(&s);
            s.pair.wire.stop_after[side] = at;
            s.pair.wire.cut_status = status;
            script_start(&s);
            script_settle(&s);
            script_check(&s, "cut at", at);
        }
    }
}

static void
an_end_at_any_byte_answers_every_call_once(void **state)
{
    (void)state;
    check_cuts(0);
}

static void
a_break_at_any_byte_answers_every_call_once(void **state)
{
    (void)state;
    check_cuts(-ECONNRESET);
}

static void
a_failed_allocation_anywhere_loses_no_call(void **state)
{
    bool reached = true;
    size_t n;

    (void)state;
    for (n = 0; reached; n++) {
        struct script s;

        script_init(&s);
        alloc_fail_after(n);
        script_start(&s);
        script_settle(&s);
        reached = alloc_fail_over();
        script_settle(&s);
        script_check(&s, "allocation", n);
    }
    assert_true(n > 200); /* or nghttp2's are not among them */
}

/* The server is drained in the middle of it all, with a failure at each step. */
static void
on_drained(void *arg)
{
    (*(size_t *)arg)++;
}

static void
a_failed_allocation_in_a_drain_still_ends_it(void **state)
{
    bool reached = true;

    (void)state;
    for (size_t n = 0; reached; n++) {
        size_t drained = 0;
        struct script s;

        script_init(&s);
        script_start(&s);
        while (s.pair.test.requests == 0)
            if (!wire_clock_run(&s.pair.clock))
                assert_true(wire_step(&s.pair.wire));
        alloc_fail_after(n);
        if (rpc_server_drain(s.pair.server, 60000, on_drained, &drained, NULL) < 0)
            drained = 1;
        script_settle(&s);
        for (int i = 0; i < 70; i++)
            wire_advance(&s.pair.clock, &s.pair.wire, 1000);
        reached = alloc_fail_over();
        if (drained != 1)
            fail_msg("allocation %zu: drained %zu times", n, drained);
        script_check(&s, "allocation in a drain", n);
    }
}

/* What ends a connection from the server's side, beside a drain. */
enum { FLOOD, SILENCE, SLOW_HEADERS, AGE, WAYS };

struct ending {
    struct wire_clock clock;
    struct wire wire;
    struct rpc_server *server;
    struct rpctest test;
    struct raw raw;
};

static void
ending_init(struct ending *e)
{
    static const char *const hang[] = {RAW_FIELDS(RPCTEST_PATH("Hang")), NULL};
    const struct rpc_server_config config = {.keepalive_ms = 10000,
                                             .keepalive_timeout_ms = 500,
                                             .setup_ms = 3000,
                                             .age_ms = 30000,
                                             .age_grace_ms = 1000};

    memset(e, 0, sizeof(*e));
    wire_clock_init(&e->clock);
    wire_init(&e->wire);
    assert_int_equal(rpc_server_new(&e->clock.base, &config, &e->server, NULL), 0);
    assert_int_equal(rpc_server_add(e->server, &rpctest_service, &e->test, NULL), 0);
    rpc_server_accept(e->server, &e->wire.ends[1].base, NULL);
    raw_init(&e->raw, &e->wire.ends[0].base, false);
    assert_int_equal(raw_request(&e->raw, hang, "\0\0\0\0\0", 5, true), 1);
    wire_settle(&e->clock, &e->wire);
    assert_non_null(e->test.hung);
}

static void
ending_run(struct ending *e, int way)
{
    static const uint8_t settings[9] = {0, 0, 0, NGHTTP2_SETTINGS};
    static const uint8_t headers[9] = {0, 0, 9, NGHTTP2_HEADERS, 4, 0, 0, 0, 3};
    struct stream *s = &e->wire.ends[0].base;

    e->raw.mute = way != AGE;
    for (int i = 0; i < 130 && way == FLOOD; i++) {
        (void)s->ops->send(s, settings, sizeof(settings), NULL, 0);
        wire_settle(&e->clock, &e->wire);
    }
    if (way == SLOW_HEADERS)
        (void)s->ops->send(s, headers, sizeof(headers), NULL, 0);
    for (int i = 0; i < 80; i++)
        wire_advance(&e->clock, &e->wire, 500);
}

static void
a_failed_allocation_in_a_goodbye_still_ends_the_connection(void **state)
{
    (void)state;
    for (int way = 0; way < WAYS; way++) {
        bool reached = true;

        for (size_t n = 0; reached; n++) {
            struct ending e;

            ending_init(&e);
            alloc_fail_after(n);
            ending_run(&e, way);
            reached = alloc_fail_over();
            if (!e.wire.ends[1].closed || e.test.cancels != 1)
                fail_msg("way %d, allocation %zu: %sclosed, told %zu times", way, n,
                         e.wire.ends[1].closed ? "" : "not ", e.test.cancels);
            raw_done(&e.raw);
            rpc_server_free(e.server);
            wire_done(&e.wire);
            assert_int_equal(e.clock.ntimers, 0);
        }
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_split_at_any_byte_changes_nothing),
        cmocka_unit_test(one_byte_at_a_time_changes_nothing),
        cmocka_unit_test(an_end_at_any_byte_answers_every_call_once),
        cmocka_unit_test(a_break_at_any_byte_answers_every_call_once),
        cmocka_unit_test(a_failed_allocation_anywhere_loses_no_call),
        cmocka_unit_test(a_failed_allocation_in_a_drain_still_ends_it),
        cmocka_unit_test(a_failed_allocation_in_a_goodbye_still_ends_the_connection),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
