/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/contract/ipc/test_fds.c - descriptors arrive as they should, and whatever goes
 * wrong, the daemon keeps none. */
#include <protobuf-c/protobuf-c.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "concierge_service.pb-c.h"
#include "core/base/cleanup.h"
#include "core/ipc/ipc.h"
#include "tests/contract/ipc/calls.h"
#include "tests/unit/test.h"
#include "vmt_ipc.pb-c.h"

/* More than a call may have, fewer than a bus lets through. */
#define TOO_MANY (VMT_FDS_MAX + 4)

static int
own_fds(void)
{
    int n = 0;

    for (int fd = 0; fd < 1024; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

static void
descriptors_travel_both_ways_and_none_leaks(void **state)
{
    struct client *c = client_new(*state);
    int before = atoi(ask(c, "CountFds")), own = own_fds();
    Vmt__Signal m;

    signal_init(&m, "fds");
    for (int round = 0; round < 30; round++) {
        struct call_spec spec = {.method = "Join",
                                 .message = &m.base,
                                 .reply = &vmt__signal__descriptor,
                                 .nfds = 3,
                                 .fds_shape = "ah"};
        struct stat sent[3], got;
        struct answer a;
        int pipes[4];

        assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
        pipes[2] = open("/dev/null", O_RDONLY | O_CLOEXEC);
        spec.fds = pipes;
        for (int i = 0; i < 3; i++)
            assert_int_equal(fstat(pipes[i], &sent[i]), 0);
        call(c, &spec, &a);
        assert_true(a.ok);
        assert_int_equal(a.nfds, 3);
        for (int i = 0; i < 3; i++) {
            assert_int_equal(fstat(a.fds[i], &got), 0);
            assert_int_equal(got.st_ino, sent[2 - i].st_ino);
            assert_true(fcntl(a.fds[i], F_GETFD) & FD_CLOEXEC);
            vmt_closep(&pipes[i]);
        }
        answer_done(&a);
    }
    assert_int_equal(atoi(ask(c, "CountFds")), before);
    assert_int_equal(own_fds(), own);
    c->ops->close(c);
}

static void
a_descriptor_that_was_sent_can_be_read(void **state)
{
    struct client *c = client_new(*state);
    struct call_spec spec = {
        .method = "Read", .reply = &vmt__signal__descriptor, .nfds = 1, .fds_shape = "h"};
    const Vmt__Signal *got;
    struct answer a;
    Vmt__Signal m;
    int fds[2];

    signal_init(&m, "");
    spec.message = &m.base;
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    assert_int_equal(write(fds[1], "hello", 5), 5);
    spec.fds = fds;
    call(c, &spec, &a);
    assert_true(a.ok);
    got = (const Vmt__Signal *)a.message;
    assert_int_equal(got->message.len, 5);
    assert_memory_equal(got->message.data, "hello", 5);
    answer_done(&a);
    (void)close(fds[0]);
    (void)close(fds[1]);
    c->ops->close(c);
}

static void
a_wrong_number_of_descriptors_is_refused_and_none_leaks(void **state)
{
    struct client *c = client_new(*state);
    int before = atoi(ask(c, "CountFds"));
    struct call_spec spec = {.reply = &vmt__signal__descriptor};
    struct answer a;
    int fds[2] = {STDIN_FILENO, STDOUT_FILENO};
    Vmt__Signal m;

    signal_init(&m, "");
    spec.message = &m.base;
    spec.method = "Read";
    refused(c, spec, IPC_ERROR_INVALID_ARGS);
    spec.fds = fds;
    spec.nfds = 2;
    spec.fds_shape = "hh";
    refused(c, spec, IPC_ERROR_INVALID_ARGS);
    spec.method = "Echo";
    spec.nfds = 1;
    refused(c, spec, IPC_ERROR_INVALID_ARGS);
    spec.method = "Optional";
    spec.nfds = 0;
    spec.fds_shape = "";
    for (; spec.nfds <= 2; spec.nfds += 2, spec.fds_shape = "ah") {
        call(c, &spec, &a);
        assert_true(a.ok);
        assert_int_equal(atoi(((const Vmt__Signal *)a.message)->name), spec.nfds);
        answer_done(&a);
    }
    assert_int_equal(atoi(ask(c, "CountFds")), before);
    c->ops->close(c);
}

/* A call with two descriptors that must fail with code. */
static void
refused_with_fds(struct client *c, struct call_spec spec, enum ipc_error code)
{
    int fds[2] = {STDIN_FILENO, STDOUT_FILENO};

    spec.fds = fds;
    spec.nfds = 2;
    spec.fds_shape = "ah";
    refused(c, spec, code);
}

static void
descriptors_of_a_refused_call_are_closed(void **state)
{
    struct client *c = client_new(*state);
    int before = atoi(ask(c, "CountFds"));
    struct call_spec bad = {.method = "Join",
                            .reply = &vmt__signal__descriptor,
                            .bytes = (const uint8_t *)"\x08\x01",
                            .len = 2};
    struct call_spec unknown = {.method = "NoSuchMethod",
                                .reply = &vmt__signal__descriptor};
    struct call_spec fails = {.method = "Fail", .reply = &vmt__signal__descriptor};
    Vmt__Signal m;

    signal_init(&m, "");
    unknown.message = fails.message = &m.base;
    for (int round = 0; round < 10; round++) {
        refused_with_fds(c, bad, IPC_ERROR_INVALID_ARGS);
        refused_with_fds(c, unknown, IPC_ERROR_UNKNOWN_METHOD);
        refused_with_fds(c, fails, IPC_ERROR_INVALID_ARGS); /* takes none */
    }
    await_fds(c, before);
    c->ops->close(c);
}

static void
descriptors_of_a_caller_without_the_right_are_closed(void **state)
{
    struct client *c, *stranger;
    struct call_spec spec = {.method = "Owned"};
    VmTools__Concierge__ListVmsRequest m;
    char owner[IPC_OWNER_MAX];
    int before;

    if (getuid() != 0) /* needs a second uid */
        skip();
    c = client_new(*state);
    stranger = client_new_as(*state, NOBODY);
    (void)ask(stranger, "CountFds");
    before = atoi(ask(c, "CountFds"));
    vm_tools__concierge__list_vms_request__init(&m);
    ipc_owner_for_uid(0, owner);
    m.owner_id = owner;
    spec.message = &m.base;
    for (int round = 0; round < 10; round++)
        refused_with_fds(stranger, spec, IPC_ERROR_ACCESS_DENIED);
    await_fds(c, before);
    stranger->ops->close(stranger);
    c->ops->close(c);
}

/* Bytes on the socket of the unix backend, with n descriptors; a client of ours would not
 * send them. */
static int
send_raw(const struct world *w, const void *bytes, size_t len, size_t n)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    union {
        char buf[CMSG_SPACE(sizeof(int) * TOO_MANY)];
        struct cmsghdr align;
    } control = {{0}};
    struct iovec iov = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = len};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = &control,
                         .msg_controllen = CMSG_SPACE(sizeof(int) * n)};
    struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
    int fds[TOO_MANY] = {0}; /* standard input, many times */
    int s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(s >= 0);
    (void)snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", w->address);
    assert_int_equal(connect(s, (const struct sockaddr *)&sa, sizeof(sa)), 0);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int) * n);
    memcpy(CMSG_DATA(c), fds, sizeof(int) * n);
    assert_int_equal(sendmsg(s, &msg, MSG_NOSIGNAL), len);
    return s;
}

static void
too_many_on_a_socket(struct world *w)
{
    static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    char c;

    for (int round = 0; round < 5; round++) {
        int s = send_raw(w, preface, sizeof(preface) - 1, TOO_MANY);

        while (recv(s, &c, 1, 0) > 0) /* its end: the connection is closed */
            ;
        (void)close(s);
        s = send_raw(w, preface, 7,
                     VMT_FDS_MAX); /* and dies before it has said anything */
        (void)close(s);
    }
}

static void
too_many_on_a_bus(struct client *c)
{
    struct call_spec spec = {.method = "Join",
                             .reply = &vmt__signal__descriptor,
                             .nfds = TOO_MANY,
                             .fds_shape = "ah"};
    int fds[TOO_MANY] = {0};
    Vmt__Signal m;

    signal_init(&m, "");
    spec.message = &m.base;
    spec.fds = fds;
    for (int round = 0; round < 5; round++)
        refused(c, spec, IPC_ERROR_INVALID_ARGS);
}

static void
more_descriptors_than_a_call_may_have_are_refused_and_closed(void **state)
{
    struct world *w = *state;
    struct client *c = client_new(w);
    int before = atoi(ask(c, "CountFds"));

    if (w->bus)
        too_many_on_a_bus(c);
    else
        too_many_on_a_socket(w);
    await_fds(c, before);
    c->ops->close(c);
}

/* A bus connection does not survive that: libdbus gives up when descriptors are lost. */
static void
a_daemon_that_has_no_descriptors_left_recovers(void **state)
{
    struct world *w = *state;
    struct client *c = client_new(w);
    int before = atoi(ask(c, "CountFds"));
    time_t end = now_s() + DEADLINE_S;
    int fds[3] = {STDIN_FILENO, STDIN_FILENO, STDIN_FILENO};
    struct call_spec spec = {.method = "Join",
                             .reply = &vmt__signal__descriptor,
                             .fds = fds,
                             .nfds = 3,
                             .fds_shape = "ah"};
    struct rlimit old, none;
    struct answer a;
    Vmt__Signal m;

    signal_init(&m, "");
    spec.message = &m.base;
    assert_int_equal(prlimit(w->daemon, RLIMIT_NOFILE, NULL, &old), 0);
    none = (struct rlimit){.rlim_cur = 3, .rlim_max = old.rlim_max};
    assert_int_equal(prlimit(w->daemon, RLIMIT_NOFILE, &none, NULL), 0);
    call(c, &spec, &a);
    assert_false(a.ok);
    answer_done(&a);
    assert_int_equal(prlimit(w->daemon, RLIMIT_NOFILE, &old, NULL), 0);
    c->ops->close(c);
    c = client_new(w);
    while (!c->ops->served(c))
        assert_true(now_s() < end);
    await_fds(c, before);
    c->ops->close(c);
}

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(descriptors_travel_both_ways_and_none_leaks),
        TEST(a_descriptor_that_was_sent_can_be_read),
        TEST(a_wrong_number_of_descriptors_is_refused_and_none_leaks),
        TEST(descriptors_of_a_refused_call_are_closed),
        TEST(descriptors_of_a_caller_without_the_right_are_closed),
        TEST(more_descriptors_than_a_call_may_have_are_refused_and_closed),
        TEST(a_daemon_that_has_no_descriptors_left_recovers),
    };

    if (!suite_args(argc, argv))
        return 2;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
