/* SPDX-License-Identifier: BSD-3-Clause */
/* What is peculiar to the tcp transport; tests/contract has what it shares. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/adapter/transport.h"
#include "core/base/err.h"
#include "platform/linux/os/loop.h"
#include "platform/linux/os/transports.h"
#include "tests/unit/os/support.h"

struct caught {
    struct os_loop *loop;
    unsigned accepted;
    struct stream_peer peer;
    bool one;
};

static void
on_accept(void *arg, struct stream *s, const struct stream_peer *peer)
{
    struct caught *c = arg;

    c->accepted++;
    c->one = true;
    c->peer = *peer;
    stream_close(s);
}

static uint32_t
listen_somewhere(struct transport *t, struct caught *c)
{
    struct transport_listener *l;

    srand((unsigned)getpid());
    for (int i = 0; i < 50; i++) {
        uint32_t port = 20000 + (uint32_t)rand() % 20000;

        if (t->ops->listen(t, port, on_accept, c, &l, NULL) == 0)
            return port;
    }
    fail_msg("no free port");
    return 0;
}

/* Connect to 127.0.0.1 from another loopback address. */
static int
connect_from(const char *source, uint32_t port)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    struct sockaddr_in from = {.sin_family = AF_INET};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    assert_int_equal(inet_pton(AF_INET, "127.0.0.1", &to.sin_addr), 1);
    assert_int_equal(inet_pton(AF_INET, source, &from.sin_addr), 1);
    assert_int_equal(bind(fd, (struct sockaddr *)(void *)&from, sizeof(from)), 0);
    assert_int_equal(connect(fd, (struct sockaddr *)(void *)&to, sizeof(to)), 0);
    return fd;
}

static void
the_vm_is_told_by_its_address_and_strangers_are_closed(void **state)
{
    struct caught c = {.loop = *state};
    struct transport *t;
    uint32_t port;
    int stranger, friend, second;

    assert_int_equal(transport_tcp_new(*state, NULL, &t, NULL), 0);
    assert_int_equal(t->ops->vm_add(t, 50, "127.0.0.2", NULL), 0);
    assert_int_equal(t->ops->vm_add(t, 51, "127.0.0.3", NULL), 0);
    port = listen_somewhere(t, &c);
    stranger = connect_from("127.0.0.9", port);
    friend = connect_from("127.0.0.3", port);
    test_run_until(*state, &c.one);
    assert_int_equal(c.accepted, 1);
    assert_int_equal(c.peer.kind, STREAM_PEER_TCP);
    assert_int_equal(c.peer.cid, 51);
    assert_true(recv(stranger, &(char){0}, 1, 0) <= 0); /* closed, not only ignored */
    t->ops->vm_remove(t, 50);
    second = connect_from("127.0.0.2", port);
    test_run_turns(*state, 5);
    assert_true(recv(second, &(char){0}, 1, 0) <= 0);
    assert_int_equal(c.accepted, 1);
    (void)close(stranger);
    (void)close(friend);
    (void)close(second);
    t->ops->free(t);
}

static void
addresses_are_numeric_and_distinct(void **state)
{
    struct transport *t;
    struct transport_op *op;
    struct transport_listener *l;
    struct transport_dial dial = {.cid = 50, .port = 65536};
    struct vmt_err err;

    assert_int_equal(transport_tcp_new(*state, "localhost", &t, &err), -EINVAL);
    assert_non_null(strstr(err.msg, "localhost"));
    assert_int_equal(transport_tcp_new(*state, "::", &t, NULL), 0);
    assert_int_equal(t->ops->vm_add(t, 50, "127.0.0.2", NULL), 0);
    assert_int_equal(t->ops->vm_add(t, 51, "127.0.0.2", NULL), -EEXIST);
    assert_int_equal(t->ops->vm_add(t, 51, "::ffff:127.0.0.2", NULL), -EEXIST);
    assert_int_equal(t->ops->vm_add(t, 51, "::1", NULL), 0);
    assert_int_equal(t->ops->vm_add(t, 52, "guest.example", &err), -EINVAL);
    assert_int_equal(t->ops->vm_add(t, 52, NULL, &err), -EINVAL);
    assert_int_equal(t->ops->connect(t, &dial, &op, &err), -EINVAL);
    assert_int_equal(t->ops->listen(t, 65536, on_accept, NULL, &l, &err), -EINVAL);
    t->ops->free(t);
}

static void
an_ipv4_vm_is_known_to_a_listener_on_both_versions(void **state)
{
    struct caught c = {.loop = *state};
    struct transport *t;
    uint32_t port;
    int fd, probe = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (probe < 0)
        skip(); /* no IPv6 here */
    (void)close(probe);
    assert_int_equal(transport_tcp_new(*state, "::", &t, NULL), 0);
    assert_int_equal(t->ops->vm_add(t, 50, "127.0.0.2", NULL), 0);
    port = listen_somewhere(t, &c);
    fd = connect_from("127.0.0.2", port);
    test_run_until(*state, &c.one);
    assert_int_equal(c.peer.cid, 50);
    (void)close(fd);
    t->ops->free(t);
}

#define LOOP_TEST(f)                                                                     \
    cmocka_unit_test_setup_teardown(f, test_loop_setup, test_loop_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        LOOP_TEST(the_vm_is_told_by_its_address_and_strangers_are_closed),
        LOOP_TEST(addresses_are_numeric_and_distinct),
        LOOP_TEST(an_ipv4_vm_is_known_to_a_listener_on_both_versions),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
