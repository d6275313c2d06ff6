/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/contract/ipc/test_ends.c - clients, daemons and buses that end, and clients that
 * do not read. */
#include <protobuf-c/protobuf-c.h>

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "core/ipc/ipc.h"
#include "tests/contract/ipc/calls.h"
#include "tests/unit/test.h"
#include "vmt_ipc.pb-c.h"

static void
a_client_that_dies_costs_nobody_anything(void **state)
{
    struct client *c = client_new(*state);
    int before = atoi(ask(c, "CountFds"));
    int fds[2] = {STDIN_FILENO, STDOUT_FILENO};
    struct signals_seen seen = {0};
    Vmt__Signal m;

    signal_init(&m, "last words");
    for (int i = 0; i < 10; i++) {
        struct client *dying = client_new(*state);
        struct call_spec later = {
            .method = "Later", .message = &m.base, .reply = &vmt__signal__descriptor};
        struct call_spec join = {.method = "Join",
                                 .message = &m.base,
                                 .reply = &vmt__signal__descriptor,
                                 .fds = fds,
                                 .nfds = 2,
                                 .fds_shape = "ah"};
        static struct answer a[2];

        assert_true(atoi(ask(dying, "CountFds")) > 0);
        dying->ops->subscribe(dying, &seen);
        dying->ops->start(dying, &later, &a[0]);
        dying->ops->start(dying, &join, &a[1]);
        dying->ops->turn(dying);
        dying->ops->close(dying);
        answer_done(&a[0]);
        answer_done(&a[1]);
    }
    (void)ask(c, "Release"); /* answers for the dead go nowhere */
    await_fds(c, before);
    c->ops->close(c);
}

static void
a_client_that_dies_cancels_its_calls(void **state)
{
    struct client *c = client_new(*state), *dying = client_new(*state);
    time_t end = now_s() + DEADLINE_S;
    struct call_spec spec = {.method = "Later", .reply = &vmt__signal__descriptor};
    static struct answer a[5], mine;
    Vmt__Signal m;

    signal_init(&m, "last words");
    spec.message = &m.base;
    for (int i = 0; i < 5; i++)
        dying->ops->start(dying, &spec, &a[i]);
    assert_true(atoi(ask(dying, "CountFds")) > 0); /* the others have arrived, too */
    c->ops->start(c, &spec, &mine);
    assert_string_equal(ask(c, "Cancelled"), "0");
    dying->ops->close(dying);
    while (atoi(ask(c, "Cancelled")) < 5)
        assert_true(now_s() < end);
    assert_string_equal(ask(c, "Release"), "6"); /* a handler goes on as it likes */
    wait_done(c, &mine, 1);
    assert_true(mine.ok); /* who lives is answered */
    assert_string_equal(ask(c, "Cancelled"), "5");
    answer_done(&mine);
    c->ops->close(c);
}

static void
a_daemon_that_ends_leaves_no_call_waiting(void **state)
{
    struct world *w = *state;
    struct client *c = client_new(w);
    struct call_spec spec = {.method = "Later", .reply = &vmt__signal__descriptor};
    struct answer a;
    Vmt__Signal m;

    signal_init(&m, "");
    spec.message = &m.base;
    c->ops->start(c, &spec, &a);
    assert_true(atoi(ask(c, "CountFds")) > 0); /* the first call has arrived, too */
    assert_int_equal(kill(w->daemon, SIGTERM), 0);
    assert_int_equal(world_wait(w->daemon), 0);
    w->daemon = 0;
    wait_done(c, &a, 1);
    assert_false(a.ok);
    c->ops->close(c);
}

static void
a_daemon_that_comes_back_is_seen_and_serves_again(void **state)
{
    struct world *w = *state;
    struct client *c = client_new(w);
    time_t end = now_s() + DEADLINE_S;

    (void)ask(c, "CountFds");
    assert_false(c->ops->lost(c));
    assert_int_equal(kill(w->daemon, SIGKILL), 0);
    assert_int_equal(world_wait(w->daemon), 128 + SIGKILL);
    while (!c->ops->lost(c)) {
        assert_true(now_s() < end);
        c->ops->turn(c);
    }
    assert_int_equal(world_start_daemon(w, daemon_path, &w->daemon), 0);
    if (!w->bus) { /* a connection ends with its daemon, one to a bus does not */
        c->ops->close(c);
        c = client_new(w);
    }
    assert_true(atoi(ask(c, "CountFds")) > 0);
    c->ops->close(c);
}

static void
the_name_belongs_to_one_daemon(void **state)
{
    struct world *w = *state;
    pid_t pid = 0;

    if (strcmp(backend, "dbus") != 0)
        return;
    assert_int_equal(world_start_daemon(w, daemon_path, &pid), 1);
    assert_int_equal(pid, 0);
}

static void
a_daemon_comes_back_to_a_bus_that_comes_back(void **state)
{
    struct world *w = *state;
    time_t end = now_s() + DEADLINE_S;
    struct client *c;
    int fds;

    if (!w->bus)
        skip();
    c = client_new(w);
    fds = atoi(ask(c, "CountFds"));
    for (int round = 0; round < 2; round++) {
        world_stop_bus(w);
        c->ops->close(c);
        world_start_bus(w);
        c = client_new(w);
        while (!c->ops->served(c))
            assert_true(now_s() < end);
        assert_int_equal(atoi(ask(c, "CountFds")), fds);
    }
    assert_true(world_logged(w, "the connection to the bus is lost"));
    c->ops->close(c);
}

static void
a_subscriber_that_does_not_read_is_dropped(void **state)
{
    struct world *w = *state;
    struct client *slow = client_new(w), *c = client_new(w);
    time_t end = now_s() + DEADLINE_S;
    struct signals_seen seen = {0};
    size_t len = 64 * 1024;
    uint8_t *big = calloc(1, len);
    Vmt__Signal m;

    assert_non_null(big);
    signal_init(&m, "");
    m.message.data = big;
    m.message.len = len;
    slow->ops->subscribe(slow, &seen);
    while (!seen.ready) {
        assert_true(now_s() < end);
        slow->ops->turn(slow);
    }
    for (int i = 0; i < 200; i++) { /* 12 MiB */
        struct call_spec spec = {.method = "Raise", .message = &m.base};
        struct answer a;

        call(c, &spec, &a);
        assert_true(a.ok);
    }
    if (!w->bus) { /* a bus keeps signals for its clients, that is its affair */
        while (!slow->ops->lost(slow) && !seen.ended) {
            assert_true(now_s() < end);
            slow->ops->turn(slow);
        }
        assert_true(seen.count < 200);
    }
    free(big);
    slow->ops->close(slow);
    c->ops->close(c);
}

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(a_client_that_dies_costs_nobody_anything),
        TEST(a_client_that_dies_cancels_its_calls),
        TEST(a_daemon_that_ends_leaves_no_call_waiting),
        TEST(a_daemon_that_comes_back_is_seen_and_serves_again),
        TEST(the_name_belongs_to_one_daemon),
        TEST(a_daemon_comes_back_to_a_bus_that_comes_back),
        TEST(a_subscriber_that_does_not_read_is_dropped),
    };

    if (!suite_args(argc, argv))
        return 2;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
