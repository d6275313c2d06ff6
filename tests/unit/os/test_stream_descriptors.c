/* SPDX-License-Identifier: BSD-3-Clause */
/* Descriptors that travel with the bytes of a stream. */
#include "platform/linux/os/stream_fd.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/base/limits.h"
#include "platform/linux/os/loop.h"
#include "tests/unit/os/support.h"

/* Send n descriptors with text, raw, as a hostile peer may. */
static void
raw_send_fds(int raw, const char *text, int fd, size_t n)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(64 * sizeof(int))];
    } control = {0};
    struct iovec iov = {(void *)(uintptr_t)text, strlen(text)};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control};
    struct cmsghdr *c;

    assert_in_range(n, 1, 64);
    msg.msg_controllen = CMSG_SPACE(n * sizeof(int));
    c = CMSG_FIRSTHDR(&msg);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(n * sizeof(int));
    for (size_t i = 0; i < n; i++)
        memcpy(CMSG_DATA(c) + i * sizeof(int), &fd, sizeof(fd));
    assert_int_equal(sendmsg(raw, &msg, 0), (ssize_t)iov.iov_len);
}

static void
descriptors_arrive_in_order_with_their_bytes(void **state)
{
    struct stream *s[2];
    struct test_sink b = {.want = 2};
    int pipe_fds[2], got[4];

    assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
    assert_int_equal(os_stream_pair(*state, s, NULL), 0);
    test_sink_attach(&b, *state, s[1]);
    assert_int_equal(s[0]->ops->send(s[0], "r", 1, &pipe_fds[0], 1), 0);
    assert_int_equal(s[0]->ops->send(s[0], "w", 1, &pipe_fds[1], 1), 0);
    (void)close(pipe_fds[0]);
    (void)close(pipe_fds[1]);
    test_run_until(*state, &b.reached);
    assert_int_equal(s[1]->ops->take_fds(s[1], got, 1), 1);
    assert_int_equal(s[1]->ops->take_fds(s[1], got + 1, 3), 1);
    assert_int_equal(s[1]->ops->take_fds(s[1], got, 0), 0);
    assert_true(fcntl(got[0], F_GETFD) & FD_CLOEXEC);
    assert_int_equal(write(got[1], "!", 1), 1);
    assert_int_equal(read(got[0], &(char){0}, 1), 1);
    (void)close(got[0]);
    (void)close(got[1]);
    stream_close(s[0]);
    test_sink_done(&b);
}

static void
queued_descriptors_travel_with_their_own_byte(void **state)
{
    enum { BIG = 1 << 20 };
    struct stream *s[2];
    struct test_sink b = {.discard = true, .want = BIG};
    static uint8_t big[BIG];
    int null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC), got[VMT_FDS_MAX];
    size_t n = 0;

    assert_int_equal(os_stream_pair(*state, s, NULL), 0);
    assert_int_equal(s[0]->ops->send(s[0], big, BIG, NULL, 0), 0);
    assert_int_equal(s[0]->ops->send(s[0], "a", 1, &null_fd, 1), 0);
    assert_int_equal(s[0]->ops->send(s[0], big, BIG, NULL, 0), 0);
    assert_int_equal(s[0]->ops->send(s[0], "bc", 2, (int[]){null_fd, null_fd}, 2), 0);
    (void)close(null_fd); /* they were duplicated */
    test_sink_attach(&b, *state, s[1]);
    while (b.total < 2 * BIG + 3) {
        test_run_turns(*state, 1);
        if (n == 0 && b.total <= BIG)
            assert_int_equal(s[1]->ops->take_fds(s[1], got, VMT_FDS_MAX), 0);
        else
            n += s[1]->ops->take_fds(s[1], got + n, VMT_FDS_MAX - n);
        if (b.total <= 2 * BIG + 1)
            assert_in_range(n, 0, 1);
    }
    assert_int_equal(n, 3);
    while (n > 0)
        assert_int_equal(close(got[--n]), 0);
    stream_close(s[0]);
    test_sink_done(&b);
}

static void
descriptors_nobody_takes_or_sends_are_closed(void **state)
{
    struct stream *s[2];
    struct test_sink b = {.want = 1};
    static uint8_t big[1 << 20];
    int fd = STDERR_FILENO;

    assert_int_equal(os_stream_pair(*state, s, NULL), 0);
    test_sink_attach(&b, *state, s[1]);
    assert_int_equal(s[0]->ops->send(s[0], "x", 1, &fd, 1), 0);
    test_run_until(*state, &b.reached);
    assert_int_equal(s[1]->ops->send(s[1], big, sizeof(big), NULL, 0), 0);
    assert_int_equal(s[1]->ops->send(s[1], "x", 1, &fd, 1), 0); /* waits in the queue */
    stream_close(s[0]);
    test_sink_done(&b); /* the teardown counts */
}

static void
more_descriptors_than_one_message_may_have_break_the_stream(void **state)
{
    int raw;
    struct stream *s = test_stream_and_raw(*state, &raw);
    struct test_sink a = {0};

    test_sink_attach(&a, *state, s);
    raw_send_fds(raw, "x", STDERR_FILENO, VMT_FDS_MAX + 1);
    test_run_until(*state, &a.ended);
    assert_int_equal(a.status, -EMSGSIZE);
    assert_int_equal(a.calls, 0);
    (void)close(raw);
    test_sink_done(&a);
}

static void
more_descriptors_than_may_wait_break_the_stream(void **state)
{
    int raw;
    struct stream *s = test_stream_and_raw(*state, &raw);
    struct test_sink a = {0};

    test_sink_attach(&a, *state, s);
    raw_send_fds(raw, "x", STDERR_FILENO, VMT_FDS_MAX);
    raw_send_fds(raw, "y", STDERR_FILENO, 1);
    test_run_until(*state, &a.ended);
    assert_int_equal(a.status, -EMSGSIZE);
    assert_int_equal(a.got.len, 1);
    (void)close(raw);
    test_sink_done(&a);
}

static void
descriptors_over_a_pipe_are_refused(void **state)
{
    struct stream *s;
    int fds[2], fd = STDERR_FILENO;

    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    assert_int_equal(os_stream_new_pair(*state, fds[0], fds[1], &s, NULL), 0);
    assert_int_equal(s->ops->send(s, "x", 1, &fd, 1), -ENOTSUP);
    stream_close(s);
}

#define LOOP_TEST(f)                                                                     \
    cmocka_unit_test_setup_teardown(f, test_loop_setup, test_loop_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        LOOP_TEST(descriptors_arrive_in_order_with_their_bytes),
        LOOP_TEST(queued_descriptors_travel_with_their_own_byte),
        LOOP_TEST(descriptors_nobody_takes_or_sends_are_closed),
        LOOP_TEST(more_descriptors_than_one_message_may_have_break_the_stream),
        LOOP_TEST(more_descriptors_than_may_wait_break_the_stream),
        LOOP_TEST(descriptors_over_a_pipe_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
