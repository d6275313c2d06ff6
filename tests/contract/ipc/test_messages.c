/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/contract/ipc/test_messages.c - calls, errors and signals of every backend. */
#include <protobuf-c/protobuf-c.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "core/ipc/ipc.h"
#include "tests/contract/ipc/calls.h"
#include "tests/unit/test.h"
#include "vmt_ipc.pb-c.h"

#define PARALLEL 200
#define IN_FLIGHT_MAX 256 /* of one user; docs/ipc.md */
#define SUBSCRIBERS 100

static void
a_message_comes_back_as_it_was_sent(void **state)
{
    struct client *c = client_new(*state);
    static const size_t sizes[] = {0, 1, 65536, 1024 * 1024};
    uint8_t *big = malloc(sizes[3]);

    assert_non_null(big);
    for (size_t i = 0; i < sizes[3]; i++)
        big[i] = (uint8_t)(i * 7 + (i >> 8));
    for (size_t i = 0; i < VMT_ARRAY_SIZE(sizes); i++) {
        struct call_spec spec = {.method = "Echo", .reply = &vmt__signal__descriptor};
        const Vmt__Signal *got;
        struct answer a;
        Vmt__Signal m;

        signal_init(&m, "n\xc3\xa4me");
        m.message.data = big;
        m.message.len = sizes[i];
        spec.message = &m.base;
        call(c, &spec, &a);
        assert_true(a.ok);
        got = (const Vmt__Signal *)a.message;
        assert_string_equal(got->name, "n\xc3\xa4me");
        assert_int_equal(got->message.len, sizes[i]);
        if (sizes[i])
            assert_memory_equal(got->message.data, big, sizes[i]);
        answer_done(&a);
    }
    free(big);
    c->ops->close(c);
}

static void
a_method_may_have_neither_argument_nor_result(void **state)
{
    struct client *c = client_new(*state);
    struct call_spec spec = {.method = "Nothing"};
    struct answer a;

    call(c, &spec, &a);
    assert_true(a.ok);
    assert_null(a.message);
    c->ops->close(c);
}

static void
an_error_arrives_with_its_kind_and_words(void **state)
{
    struct client *c = client_new(*state);

    for (uint8_t code = IPC_ERROR_FAILED; code <= IPC_ERROR_NO_MEMORY; code++) {
        struct call_spec spec = {.method = "Fail", .reply = &vmt__signal__descriptor};
        struct answer a;
        Vmt__Signal m;

        signal_init(&m, "no such vm: \xc3\xa4%s");
        m.message.data = &code;
        m.message.len = 1;
        spec.message = &m.base;
        call(c, &spec, &a);
        assert_false(a.ok);
        assert_int_equal(a.code, code);
        assert_string_equal(a.text, "no such vm: \xc3\xa4%s");
        signal_init(&m, "no text: \xff"); /* which no bus would carry */
        call(c, &spec, &a);
        assert_false(a.ok);
        assert_non_null(strstr(a.text, "no text"));
    }
    c->ops->close(c);
}

static void
what_is_no_call_of_the_service_is_refused(void **state)
{
    struct world *w = *state;
    struct client *c = client_new(w);
    struct call_spec spec = {.method = "NoSuchMethod", .reply = &vmt__signal__descriptor};
    Vmt__Signal m;

    signal_init(&m, "x");
    spec.message = &m.base;
    refused(c, spec, IPC_ERROR_UNKNOWN_METHOD);
    spec.message = NULL;
    spec.method = "Echo";
    spec.bytes = (const uint8_t *)"\x08\x01"; /* name is no number */
    spec.len = 2;
    refused(c, spec, IPC_ERROR_INVALID_ARGS);
    assert_true(atoi(ask(c, "CountFds")) > 0); /* and the connection lives on */
    refused(c, spec, IPC_ERROR_INVALID_ARGS);
    refused(c, spec, IPC_ERROR_INVALID_ARGS);
    if (w->bus) /* core/rpc refuses what does not parse by itself */
        assert_int_equal(world_logged(w, "method=Echo uid="), 2); /* the 1st and 2nd */
    c->ops->close(c);
}

/* The 1st and 2nd of each kind have a line with words and the caller, the 3rd has not. */
static void
what_the_bus_carries_and_no_method_takes_is_refused_and_logged(void **state)
{
    struct world *w = *state;
    struct client *c;
    struct call_spec shape = {.method = "Echo"}; /* without its argument */
    struct call_spec size = {
        .method = "Join", .fds_shape = "ah", .len = VMT_RPC_MESSAGE_MAX + 1};
    uint8_t *big = calloc(1, size.len);
    char line[128];

    assert_non_null(big);
    size.bytes = big;
    c = client_new(w);
    for (int i = 0; w->bus && i < 3; i++) {
        refused(c, shape, IPC_ERROR_INVALID_ARGS);
        refused(c, size, IPC_ERROR_INVALID_ARGS);
    }
    assert_true(atoi(ask(c, "CountFds")) > 0); /* the connection lives on */
    c->ops->close(c);
    free(big);
    if (!w->bus) /* core/rpc knows no other shape, and has a limit of its own */
        return;
    (void)snprintf(line, sizeof(line), " method=Echo uid=%u pid=%d", getuid(), getpid());
    assert_int_equal(world_logged(w, "bad request: the arguments have another sig"), 2);
    assert_int_equal(world_logged(w, line), 2);
    (void)snprintf(line, sizeof(line), " method=Join uid=%u pid=%d", getuid(), getpid());
    assert_int_equal(world_logged(w, "bad request: the request is too large"), 2);
    assert_int_equal(world_logged(w, line), 2);
}

/* All of them come before the bus has said who calls. */
static void
what_has_to_wait_for_the_callers_name_is_logged_with_it(void **state)
{
    struct world *w = *state;
    struct client *c = client_new(w);
    struct call_spec spec = {
        .method = "Nothing", .bytes = (const uint8_t *)"x", .len = 1};
    struct answer a[8];

    for (size_t i = 0; w->bus && i < VMT_ARRAY_SIZE(a); i++)
        c->ops->start(c, &spec, &a[i]);
    if (w->bus) {
        wait_done(c, a, VMT_ARRAY_SIZE(a));
        for (size_t i = 0; i < VMT_ARRAY_SIZE(a); i++)
            assert_true(!a[i].ok && a[i].code == IPC_ERROR_INVALID_ARGS);
        assert_int_equal(world_logged(w, "method=Nothing uid="), 4); /* 1, 2, 4, 8 */
    }
    c->ops->close(c);
}

/* Calls that are answered only when they are released; answers and names are n. */
static void
start_later(struct client *c, struct answer *answers, char (*names)[16], int n)
{
    for (int i = 0; i < n; i++) {
        struct call_spec spec = {.method = "Later", .reply = &vmt__signal__descriptor};
        Vmt__Signal m;

        (void)snprintf(names[i], sizeof(names[i]), "call %d", i);
        signal_init(&m, names[i]);
        spec.message = &m.base;
        c->ops->start(c, &spec, &answers[i]);
    }
}

static void
call_in_parallel(struct client *c, struct client *other)
{
    static struct answer answers[PARALLEL];
    static char names[PARALLEL][16];
    time_t end = now_s() + DEADLINE_S;

    start_later(c, answers, names, PARALLEL);
    for (int released = 0; released < PARALLEL;) { /* all of them at once */
        c->ops->turn(c);
        if (atoi(ask(other, "Waiting")) == PARALLEL)
            released += atoi(ask(other, "Release"));
        assert_true(now_s() < end);
    }
    wait_done(c, answers, PARALLEL);
    for (int i = 0; i < PARALLEL; i++) {
        assert_true(answers[i].ok);
        assert_string_equal(((const Vmt__Signal *)answers[i].message)->name, names[i]);
        answer_done(&answers[i]);
    }
    other->ops->close(other);
    c->ops->close(c);
}

static void
calls_in_parallel_get_their_own_answers(void **state)
{
    call_in_parallel(client_new(*state), client_new(*state));
}

static void
a_user_without_privilege_may_call_in_parallel_as_much(void **state)
{
    if (getuid() != 0) /* needs another uid than the daemon's */
        skip();
    call_in_parallel(client_new_as(*state, NOBODY), client_new(*state));
}

static size_t
count_done(struct client *c, const struct answer *answers, size_t n)
{
    size_t done = 0;

    c->ops->turn(c);
    for (size_t i = 0; i < n; i++) {
        assert_true(!answers[i].done || answers[i].code == IPC_ERROR_NO_MEMORY);
        done += answers[i].done;
    }
    return done;
}

static void
a_user_with_more_calls_in_flight_is_told_so(void **state)
{
    static struct answer answers[2][PARALLEL];
    static char names[PARALLEL][16];
    struct client *c[2], *other;
    time_t end = now_s() + DEADLINE_S;

    if (getuid() != 0)
        skip();
    other = client_new(*state);
    for (int i = 0; i < 2; i++) { /* the limit is not that of a connection */
        c[i] = client_new_as(*state, NOBODY);
        start_later(c[i], answers[i], names, PARALLEL);
    }
    while (count_done(c[0], answers[0], PARALLEL) +
               count_done(c[1], answers[1], PARALLEL) <
           2 * PARALLEL - IN_FLIGHT_MAX)
        assert_true(now_s() < end);
    assert_int_equal(atoi(ask(other, "Release")), IN_FLIGHT_MAX);
    for (int i = 0; i < 2; i++) {
        wait_done(c[i], answers[i], PARALLEL);
        for (int k = 0; k < PARALLEL; k++)
            answer_done(&answers[i][k]);
        c[i]->ops->close(c[i]);
    }
    other->ops->close(other);
}

static void
signals_reach_every_subscriber_and_nobody_else(void **state)
{
    static struct signals_seen seen[SUBSCRIBERS];
    struct client *c[SUBSCRIBERS], *other = client_new(*state);
    time_t end = now_s() + DEADLINE_S;
    Vmt__Signal m;

    memset(seen, 0, sizeof(seen));
    signal_init(&m, "up");
    for (int i = 0; i < SUBSCRIBERS; i++) {
        c[i] = client_new(*state);
        c[i]->ops->subscribe(c[i], &seen[i]);
        while (!seen[i].ready && now_s() < end)
            c[i]->ops->turn(c[i]);
        assert_true(seen[i].ready);
    }
    for (int i = 0; i < 5; i++) {
        struct call_spec spec = {.method = "Raise", .message = &m.base};
        struct answer a;

        call(i % 2 ? other : c[0], &spec, &a);
        assert_true(a.ok);
    }
    for (int i = 0; i < SUBSCRIBERS; i++) {
        while (seen[i].count < 5 && now_s() < end)
            c[i]->ops->turn(c[i]);
        assert_int_equal(seen[i].count, 5);
        assert_int_equal(seen[i].len, 4);
        assert_memory_equal(seen[i].bytes, "\x0a\x02up", 4);
        c[i]->ops->close(c[i]);
    }
    other->ops->close(other);
}

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(a_message_comes_back_as_it_was_sent),
        TEST(a_method_may_have_neither_argument_nor_result),
        TEST(an_error_arrives_with_its_kind_and_words),
        TEST(what_is_no_call_of_the_service_is_refused),
        TEST(what_the_bus_carries_and_no_method_takes_is_refused_and_logged),
        TEST(what_has_to_wait_for_the_callers_name_is_logged_with_it),
        TEST(calls_in_parallel_get_their_own_answers),
        TEST(a_user_without_privilege_may_call_in_parallel_as_much),
        TEST(a_user_with_more_calls_in_flight_is_told_so),
        TEST(signals_reach_every_subscriber_and_nobody_else),
    };

    if (!suite_args(argc, argv))
        return 2;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
