/* SPDX-License-Identifier: BSD-3-Clause */
/* Connectors: a peer that is not there, that comes, and that never answers. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/base/err.h"
#include "platform/linux/os/connectors.h"
#include "platform/linux/os/loop.h"
#include "platform/linux/os/unix_socket.h"
#include "tests/unit/os/support.h"

/* The end of one attempt. */
struct outcome {
    struct connector *connector;
    struct stream *s;
    struct stream_peer peer;
    struct vmt_err err;
    size_t calls;
    bool done, free_inside;
};

static void
on_done(void *arg, struct stream *s, const struct vmt_err *err)
{
    struct outcome *o = arg;

    o->calls++;
    o->done = true;
    o->s = s;
    if (err)
        o->err = *err;
    if (s)
        s->ops->peer(s, &o->peer);
    if (o->free_inside)
        connector_free(o->connector);
}

static void
attempt(struct os_loop *loop, struct connector *c, struct outcome *o)
{
    *o = (struct outcome){.connector = c, .free_inside = o->free_inside};
    assert_int_equal(c->ops->connect(c, TEST_DEADLINE_MS, on_done, o, NULL), 0);
    assert_false(o->done);
    test_run_until(loop, &o->done);
}

static void
a_unix_socket_may_come_after_the_connector(void **state)
{
    char *dir = test_temp_dir();
    struct outcome o = {0};
    struct connector *c;
    char path[128];
    int fd;

    (void)snprintf(path, sizeof(path), "%s/socket", dir);
    assert_int_equal(connector_unix_new(*state, path, &c, NULL), 0);
    attempt(*state, c, &o);
    assert_null(o.s);
    assert_int_equal(o.err.code, ENOENT);
    assert_non_null(strstr(o.err.msg, path));
    assert_null(strstr(o.err.msg, "vm 0"));
    assert_int_equal(os_unix_listen(path, 0600, 1, &fd, NULL), 0);
    attempt(*state, c, &o);
    assert_non_null(o.s);
    assert_int_equal(o.peer.kind, STREAM_PEER_UNIX);
    assert_int_equal(o.peer.uid, getuid());
    stream_close(o.s);
    (void)close(fd);
    attempt(*state, c, &o); /* the path is there, but nobody listens */
    assert_int_equal(o.err.code, ECONNREFUSED);
    connector_free(c);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(dir), 0);
    free(dir);
}

static int
listen_tcp(uint16_t *ret_port)
{
    struct sockaddr_in in = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(in);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)(void *)&in, sizeof(in)), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)(void *)&in, &len), 0);
    assert_int_equal(listen(fd, 8), 0);
    *ret_port = ntohs(in.sin_port);
    return fd;
}

static void
tcp_reaches_an_address_and_a_port(void **state)
{
    struct outcome o = {0};
    struct connector *c;
    uint16_t port;
    int fd = listen_tcp(&port);
    char words[64];

    assert_int_equal(connector_tcp_new(*state, "127.0.0.1", port, &c, NULL), 0);
    attempt(*state, c, &o);
    assert_non_null(o.s);
    assert_int_equal(o.peer.kind, STREAM_PEER_TCP);
    stream_close(o.s);
    (void)close(fd);
    attempt(*state, c, &o);
    assert_null(o.s);
    assert_int_equal(o.err.code, ECONNREFUSED);
    (void)snprintf(words, sizeof(words), "connect to 127.0.0.1 port %u: ", port);
    assert_non_null(strstr(o.err.msg, words));
    connector_free(c);
}

static void
names_are_not_looked_up(void **state)
{
    struct connector *c;
    struct vmt_err err;

    assert_int_equal(connector_tcp_new(*state, "localhost", 1, &c, &err), -EINVAL);
    assert_non_null(strstr(err.msg, "localhost"));
}

static void
an_attempt_that_is_given_up_says_nothing(void **state)
{
    struct outcome o = {0};
    struct connector *c;
    uint16_t port;
    int fd = listen_tcp(&port);

    assert_int_equal(connector_tcp_new(*state, "127.0.0.1", port, &c, NULL), 0);
    c->ops->cancel(c); /* of nothing */
    assert_int_equal(c->ops->connect(c, TEST_DEADLINE_MS, on_done, &o, NULL), 0);
    c->ops->cancel(c);
    test_run_turns(*state, 3);
    assert_int_equal(o.calls, 0);
    assert_int_equal(c->ops->connect(c, TEST_DEADLINE_MS, on_done, &o, NULL), 0);
    connector_free(c);
    test_run_turns(*state, 3);
    assert_int_equal(o.calls, 0);
    connector_free(NULL);
    (void)close(fd);
}

static void
a_connector_may_be_freed_by_its_callback(void **state)
{
    struct outcome o = {.free_inside = true};
    struct connector *c;
    uint16_t port;
    int fd = listen_tcp(&port);

    assert_int_equal(connector_tcp_new(*state, "127.0.0.1", port, &c, NULL), 0);
    attempt(*state, c, &o);
    stream_close(o.s);
    (void)close(fd);
    assert_int_equal(connector_tcp_new(*state, "127.0.0.1", port, &c, NULL), 0);
    attempt(*state, c, &o);
    assert_null(o.s);
}

/* The backlog is full, so connecting gets no answer. */
static void
an_attempt_ends_at_its_deadline(void **state)
{
    char *dir = test_temp_dir();
    struct outcome first = {0}, o = {0};
    struct connector *c;
    char path[128];
    int fd;

    (void)snprintf(path, sizeof(path), "%s/socket", dir);
    assert_int_equal(os_unix_listen(path, 0600, 0, &fd, NULL), 0);
    assert_int_equal(connector_unix_new(*state, path, &c, NULL), 0);
    attempt(*state, c, &first);
    assert_non_null(first.s);
    assert_int_equal(c->ops->connect(c, 30, on_done, &o, NULL), 0);
    test_run_until(*state, &o.done);
    assert_null(o.s);
    assert_int_equal(o.err.code, ETIMEDOUT);
    stream_close(first.s);
    connector_free(c);
    (void)close(fd);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(dir), 0);
    free(dir);
}

int
main(void)
{
#define TEST(name)                                                                       \
    cmocka_unit_test_setup_teardown(name, test_loop_setup, test_loop_teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_unix_socket_may_come_after_the_connector),
        TEST(tcp_reaches_an_address_and_a_port),
        TEST(names_are_not_looked_up),
        TEST(an_attempt_that_is_given_up_says_nothing),
        TEST(a_connector_may_be_freed_by_its_callback),
        TEST(an_attempt_ends_at_its_deadline),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
