/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/linux/os/stream_fd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

#include "core/base/limits.h"
#include "platform/linux/os/loop.h"
#include "tests/unit/os/support.h"

static void
bytes_and_half_close_go_both_ways(void **state)
{
    struct stream *s[2];
    struct test_sink a = {.want = 4}, b = {.want = 5};

    assert_int_equal(os_stream_pair(*state, s, NULL), 0);
    test_sink_attach(&a, *state, s[0]);
    test_sink_attach(&b, *state, s[1]);
    test_send_text(s[0], "hello");
    assert_int_equal(b.calls, 0); /* only from the loop */
    s[0]->ops->shutdown_send(s[0]);
    test_run_until(*state, &b.ended);
    assert_int_equal(b.status, 0);
    assert_int_equal(b.got.len, 5);
    assert_memory_equal(b.got.data, "hello", 5);
    test_send_text(s[1], "back"); /* half-closed: the other way still works */
    test_run_until(*state, &a.reached);
    assert_memory_equal(a.got.data, "back", 4);
    assert_int_equal(s[0]->ops->send(s[0], "x", 1, NULL, 0), -EPIPE);
    assert_false(a.ended);
    test_sink_done(&a);
    test_sink_done(&b);
}

static void
eight_mebibytes_pass_a_slow_reader_with_back_pressure(void **state)
{
    enum { TOTAL = 8 << 20, CHUNK = 10000 };
    struct stream *s[2];
    struct test_sink a = {0}, b = {.want = TOTAL};
    size_t sent = 0, most = 0;
    uint8_t chunk[CHUNK];
    bool paused = false;

    assert_int_equal(os_stream_pair(*state, s, NULL), 0);
    test_sink_attach(&a, *state, s[0]);
    test_sink_attach(&b, *state, s[1]);
    while (!b.reached) {
        while (sent < TOTAL && s[0]->ops->queued(s[0]) <= VMT_STREAM_HIGH_MARK) {
            size_t n = TOTAL - sent < CHUNK ? TOTAL - sent : CHUNK;

            for (size_t i = 0; i < n; i++)
                chunk[i] = (uint8_t)((sent + i) * 31 >> 3);
            assert_int_equal(s[0]->ops->send(s[0], chunk, n, NULL, 0), 0);
            sent += n;
        }
        most = s[0]->ops->queued(s[0]) > most ? s[0]->ops->queued(s[0]) : most;
        paused = !paused;
        s[1]->ops->pause(s[1], paused);
        a.drained = a.drained && sent < TOTAL;
        test_run_turns(*state, 1);
    }
    assert_in_range(most, VMT_STREAM_HIGH_MARK, VMT_STREAM_HIGH_MARK + CHUNK);
    assert_int_equal(b.got.len, TOTAL);
    for (size_t i = 0; i < TOTAL; i++) {
        if (b.got.data[i] != (uint8_t)(i * 31 >> 3))
            fail_msg("byte %zu is wrong", i);
    }
    test_sink_done(&a);
    test_sink_done(&b);
}

static void
drain_is_told_once_after_the_queue_was_full(void **state)
{
    int raw;
    struct stream *s = test_stream_and_raw(*state, &raw);
    struct test_sink a = {0};
    static uint8_t big[1 << 20];
    size_t left = sizeof(big) + 6;
    uint8_t buf[65536];

    test_sink_attach(&a, *state, s);
    assert_int_equal(s->ops->send(s, big, sizeof(big), NULL, 0), 0);
    assert_true(s->ops->queued(s) > VMT_STREAM_HIGH_MARK);
    test_run_turns(*state, 3);
    assert_false(a.drained);
    test_send_text(s, "behind");
    while (left > 0) {
        ssize_t n = recv(raw, buf, sizeof(buf), MSG_DONTWAIT);

        assert_true(n > 0 || errno == EAGAIN);
        left -= n > 0 ? (size_t)n : 0;
        test_run_turns(*state, 1);
    }
    assert_true(a.drained);
    assert_int_equal(s->ops->queued(s), 0);
    (void)close(raw);
    test_sink_done(&a);
}

static void
shutdown_waits_for_what_is_queued(void **state)
{
    int raw;
    struct stream *s = test_stream_and_raw(*state, &raw);
    static uint8_t big[1 << 20];
    uint8_t buf[65536];
    size_t got = 0;

    assert_int_equal(s->ops->send(s, big, sizeof(big), NULL, 0), 0);
    s->ops->shutdown_send(s);
    assert_int_equal(s->ops->send(s, "x", 1, NULL, 0), -EPIPE);
    for (;;) {
        ssize_t n = recv(raw, buf, sizeof(buf), MSG_DONTWAIT);

        if (n == 0)
            break;
        assert_true(n > 0 || errno == EAGAIN);
        got += n > 0 ? (size_t)n : 0;
        test_run_turns(*state, 1);
    }
    assert_int_equal(got, sizeof(big));
    (void)close(raw);
    stream_close(s);
}

static void
a_failed_write_is_told_from_the_loop_after_the_last_words(void **state)
{
    int raw;
    struct stream *s = test_stream_and_raw(*state, &raw);
    struct test_sink a = {0};

    test_sink_attach(&a, *state, s);
    assert_int_equal(write(raw, "bye", 3), 3);
    (void)close(raw);
    assert_int_equal(s->ops->send(s, "x", 1, NULL, 0), -EPIPE);
    assert_false(a.ended);
    assert_int_equal(s->ops->send(s, "x", 1, NULL, 0), -EPIPE);
    test_run_until(*state, &a.ended);
    assert_int_equal(a.status, -EPIPE);
    assert_int_equal(a.got.len, 3);
    test_run_turns(*state, 3); /* on_end fails the test when it runs twice */
    test_sink_done(&a);
}

static void
a_failure_before_there_is_a_handler_is_told_to_the_first_one(void **state)
{
    int raw;
    struct stream *s = test_stream_and_raw(*state, &raw);
    struct test_sink a = {0};

    (void)close(raw);
    assert_int_equal(s->ops->send(s, "x", 1, NULL, 0), -EPIPE);
    test_run_turns(*state, 3);
    test_sink_attach(&a, *state, s);
    assert_false(a.ended);
    test_run_until(*state, &a.ended);
    assert_int_equal(a.status, -EPIPE);
    test_sink_done(&a);
}

static void
nothing_sent_tells_a_peer_that_is_gone_from_one_that_listens(void **state)
{
    struct test_sink sink = {0};
    int raw;
    struct stream *s = test_stream_and_raw(*state, &raw);

    test_sink_attach(&sink, *state, s);
    assert_int_equal(shutdown(raw, SHUT_WR), 0);
    test_run_until(*state, &sink.ended);
    assert_int_equal(sink.status, 0);
    assert_int_equal(s->ops->send(s, "", 0, NULL, 0), 0);
    (void)close(raw);
    assert_int_equal(s->ops->send(s, "", 0, NULL, 0), -EPIPE);
    test_sink_done(&sink);
}

static void
a_reset_breaks_the_stream(void **state)
{
    int raw;
    struct stream *s = test_stream_and_raw(*state, &raw);
    struct test_sink a = {0};

    test_send_text(s, "never read");
    (void)close(raw); /* unread data: the kernel answers with a reset */
    test_sink_attach(&a, *state, s);
    test_run_until(*state, &a.ended);
    assert_int_equal(a.status, -ECONNRESET);
    test_sink_done(&a);
}

static void
closing_inside_on_data_is_safe(void **state)
{
    struct stream *s[2];
    struct test_sink a = {.want = 1, .close_in_data = true};

    assert_int_equal(os_stream_pair(*state, s, NULL), 0);
    test_sink_attach(&a, *state, s[0]);
    test_send_text(s[1], "one");
    test_run_until(*state, &a.reached);
    test_run_turns(*state, 3);
    assert_int_equal(a.calls, 1);
    assert_false(a.ended);
    stream_close(s[1]);
    test_sink_done(&a);
}

static void
closing_inside_on_end_is_safe(void **state)
{
    struct stream *s[2];
    struct test_sink a = {.close_in_end = true};

    assert_int_equal(os_stream_pair(*state, s, NULL), 0);
    test_sink_attach(&a, *state, s[0]);
    stream_close(s[1]);
    test_run_until(*state, &a.ended);
    assert_int_equal(a.status, 0);
    assert_null(a.s);
}

static void
closing_inside_on_drain_is_safe(void **state)
{
    struct stream *s[2];
    struct test_sink a = {.close_in_drain = true}, b = {.discard = true};
    static uint8_t big[1 << 20];

    assert_int_equal(os_stream_pair(*state, s, NULL), 0);
    test_sink_attach(&a, *state, s[0]);
    test_sink_attach(&b, *state, s[1]);
    assert_int_equal(s[0]->ops->send(s[0], big, sizeof(big), NULL, 0), 0);
    test_run_until(*state, &a.drained);
    test_run_until(*state, &b.ended);
    assert_null(a.s);
    test_sink_done(&b);
}

static void
a_paused_stream_says_nothing(void **state)
{
    struct stream *s[2];
    struct test_sink a = {.want = 3};

    assert_int_equal(os_stream_pair(*state, s, NULL), 0);
    s[0]->ops->pause(s[0], true);
    test_sink_attach(&a, *state, s[0]);
    test_send_text(s[1], "abc");
    test_run_turns(*state, 5);
    assert_int_equal(a.calls, 0);
    s[0]->ops->pause(s[0], false);
    test_run_until(*state, &a.reached);
    stream_close(s[1]);
    test_sink_done(&a);
}

static void
a_pipe_pair_echoes_and_its_shutdown_is_an_end(void **state)
{
    struct stream *s;
    struct test_sink a = {.want = 4};
    int fds[2];

    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    assert_int_equal(os_stream_new_pair(*state, fds[0], fds[1], &s, NULL), 0);
    test_sink_attach(&a, *state, s);
    test_send_text(s, "echo");
    test_run_until(*state, &a.reached);
    assert_false(a.ended);
    s->ops->shutdown_send(s);
    test_run_until(*state, &a.ended);
    assert_int_equal(a.status, 0);
    test_sink_done(&a);
}

static void
the_writer_of_a_pipe_learns_that_its_reader_is_gone(void **state)
{
    struct stream *s;
    struct test_sink a = {0};
    int fds[2];

    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    assert_int_equal(os_stream_new(*state, fds[1], NULL, &s, NULL), 0);
    test_sink_attach(&a, *state, s);
    test_run_turns(*state, 3);
    assert_false(a.ended);
    (void)close(fds[0]);
    test_run_until(*state, &a.ended);
    assert_int_equal(a.status, -EPIPE);
    test_sink_done(&a);
}

static void
a_terminal_echoes_and_the_end_of_its_slave_is_an_end(void **state)
{
    int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC), slave;
    struct stream *m, *t;
    struct test_sink a = {.want = 5}, b = {.want = 4};
    struct termios raw;
    char name[64];

    assert_true(master >= 0);
    assert_int_equal(grantpt(master), 0);
    assert_int_equal(unlockpt(master), 0);
    assert_int_equal(ptsname_r(master, name, sizeof(name)), 0);
    slave = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
    assert_true(slave >= 0);
    assert_int_equal(tcgetattr(slave, &raw), 0);
    cfmakeraw(&raw);
    assert_int_equal(tcsetattr(slave, TCSANOW, &raw), 0);
    assert_int_equal(os_stream_new(*state, master, NULL, &m, NULL), 0);
    assert_int_equal(os_stream_new(*state, slave, NULL, &t, NULL), 0);
    test_sink_attach(&a, *state, m);
    test_sink_attach(&b, *state, t);
    test_send_text(m, "ping");
    test_run_until(*state, &b.reached);
    test_send_text(t, "pong!");
    test_run_until(*state, &a.reached);
    assert_memory_equal(a.got.data, "pong!", 5);
    test_sink_done(&b);
    test_run_until(*state, &a.ended);
    assert_int_equal(a.status, 0); /* the kernel says EIO */
    test_sink_done(&a);
}

static void
files_and_the_null_device_are_read_to_their_end(void **state)
{
    char name[] = "/tmp/vmt_test_stream.XXXXXX";
    int fd = mkstemp(name), null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    struct stream *file, *null;
    struct test_sink a = {0}, b = {0};
    static uint8_t big[300000];

    assert_true(fd >= 0);
    (void)unlink(name);
    assert_int_equal(write(fd, big, sizeof(big)), sizeof(big));
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    assert_int_equal(os_stream_new(*state, fd, NULL, &file, NULL), 0);
    assert_int_equal(os_stream_new(*state, null_fd, NULL, &null, NULL), 0);
    test_sink_attach(&a, *state, file);
    test_sink_attach(&b, *state, null);
    test_send_text(null, "into the void");
    test_run_until(*state, &a.ended);
    test_run_until(*state, &b.ended);
    assert_int_equal(a.total, sizeof(big));
    assert_int_equal(b.total, 0);
    test_sink_done(&a);
    test_sink_done(&b);
}

static void
a_shared_pipe_gets_its_mode_back(void **state)
{
    int fds[2], keep;
    struct stream *s;

    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    keep = fcntl(fds[0], F_DUPFD_CLOEXEC, 3);
    assert_int_equal(os_stream_new(*state, fds[0], NULL, &s, NULL), 0);
    assert_true(fcntl(keep, F_GETFL) & O_NONBLOCK);
    stream_close(s);
    assert_false(fcntl(keep, F_GETFL) & O_NONBLOCK);
    (void)close(keep);
    (void)close(fds[1]);
}

static void
the_peer_comes_from_the_kernel_or_from_the_caller(void **state)
{
    struct stream_peer told = {.kind = STREAM_PEER_VM, .cid = 7}, peer = {0};
    struct stream *s[2];
    int raw;

    s[0] = test_stream_and_raw(*state, &raw);
    s[0]->ops->peer(s[0], &peer);
    assert_int_equal(peer.kind, STREAM_PEER_UNIX);
    assert_int_equal(peer.uid, geteuid());
    assert_int_equal(peer.pid, getpid());
    assert_int_equal(os_stream_new(*state, raw, &told, &s[1], NULL), 0);
    s[1]->ops->peer(s[1], &peer);
    assert_int_equal(peer.kind, STREAM_PEER_VM);
    assert_int_equal(peer.cid, 7);
    stream_close(s[0]);
    stream_close(s[1]);
}

static void
a_bad_descriptor_is_refused(void **state)
{
    struct stream *s = NULL;

    assert_int_equal(os_stream_new(*state, 12345, NULL, &s, NULL), -EBADF);
    assert_null(s);
}

#define LOOP_TEST(f)                                                                     \
    cmocka_unit_test_setup_teardown(f, test_loop_setup, test_loop_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        LOOP_TEST(bytes_and_half_close_go_both_ways),
        LOOP_TEST(eight_mebibytes_pass_a_slow_reader_with_back_pressure),
        LOOP_TEST(drain_is_told_once_after_the_queue_was_full),
        LOOP_TEST(shutdown_waits_for_what_is_queued),
        LOOP_TEST(a_failed_write_is_told_from_the_loop_after_the_last_words),
        LOOP_TEST(a_failure_before_there_is_a_handler_is_told_to_the_first_one),
        LOOP_TEST(nothing_sent_tells_a_peer_that_is_gone_from_one_that_listens),
        LOOP_TEST(a_reset_breaks_the_stream),
        LOOP_TEST(closing_inside_on_data_is_safe),
        LOOP_TEST(closing_inside_on_end_is_safe),
        LOOP_TEST(closing_inside_on_drain_is_safe),
        LOOP_TEST(a_paused_stream_says_nothing),
        LOOP_TEST(a_pipe_pair_echoes_and_its_shutdown_is_an_end),
        LOOP_TEST(the_writer_of_a_pipe_learns_that_its_reader_is_gone),
        LOOP_TEST(a_terminal_echoes_and_the_end_of_its_slave_is_an_end),
        LOOP_TEST(files_and_the_null_device_are_read_to_their_end),
        LOOP_TEST(a_shared_pipe_gets_its_mode_back),
        LOOP_TEST(the_peer_comes_from_the_kernel_or_from_the_caller),
        LOOP_TEST(a_bad_descriptor_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
