/* SPDX-License-Identifier: BSD-3-Clause */
/* The client against a scripted QEMU at the other end of a unix socket. Both ends live in
 * this thread: what the script sends is there before the loop turns. */
#include "hypervisor/qemu/qmp_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <event2/event.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "tests/fake/fake_clock.h"
#include "tests/unit/test.h"

#define GREETING "{\"QMP\": {\"version\": {}, \"capabilities\": []}}\r\n"
#define READY GREETING "{\"return\": {}, \"id\": 1}\r\n"

struct fixture {
    struct event_base *base;
    struct fake_clock *clock;
    char dir[64], path[96];
    int listen_fd, peer; /* the script's ends */
    struct qmp *qmp;
    char log[512]; /* what the handlers saw, in order */
    bool close_in_callback;
    unsigned flood; /* events that each event makes the peer send once more */
};

static void
note(struct fixture *f, const char *what, int result)
{
    size_t used = strlen(f->log);

    (void)snprintf(f->log + used, sizeof(f->log) - used, "%s(%d) ", what, result);
    if (f->close_in_callback) {
        qmp_close(f->qmp);
        f->qmp = NULL;
    }
}

static void
on_ready(void *arg)
{
    note(arg, "ready", 0);
}

static void
on_event(void *arg, const char *name, const json_t *data)
{
    static const char again[] = "{\"event\": \"AGAIN\"}\n";
    struct fixture *f = arg;

    if (f->flood > 0) {
        f->flood--;
        assert_int_equal(send(f->peer, again, strlen(again), MSG_NOSIGNAL),
                         strlen(again));
        return;
    }
    note(arg, name, data ? 1 : 0);
}

static void
on_end(void *arg, int status)
{
    note(arg, "end", status);
}

static void
on_reply(void *arg, int result, const struct vmt_err *err)
{
    note(arg, err ? "failed" : "done", result);
}

static const struct qmp_handler handler = {on_ready, on_event, on_end};

static int
setup(void **state)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    struct fixture *f = calloc(1, sizeof(*f));
    struct qmp_config config = {.handler = &handler, .arg = f};

    *state = f;
    f->base = config.base = event_base_new();
    f->clock = fake_clock_new();
    assert_non_null(f->clock);
    config.clock = fake_clock_base(f->clock);
    (void)snprintf(f->dir, sizeof(f->dir), "/tmp/vmt-qmp-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    (void)snprintf(f->path, sizeof(f->path), "%s/s", f->dir);
    memcpy(addr.sun_path, f->path, strlen(f->path));
    f->listen_fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(f->listen_fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
    assert_int_equal(listen(f->listen_fd, 1), 0);
    assert_int_equal(qmp_open(&config, f->path, &f->qmp, NULL), 0);
    f->peer = accept(f->listen_fd, NULL, NULL);
    assert_true(f->peer >= 0);
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;

    qmp_close(f->qmp);
    assert_int_equal(fake_clock_pending(f->clock), 0); /* nothing fires into the closed */
    fake_clock_free(f->clock);
    if (f->peer >= 0)
        close(f->peer);
    close(f->listen_fd);
    unlink(f->path);
    rmdir(f->dir);
    event_base_free(f->base);
    free(f);
    return 0;
}

static void
turn(struct fixture *f)
{
    for (int i = 0; i < 4; i++)
        (void)event_base_loop(f->base, EVLOOP_NONBLOCK);
}

static void
say(struct fixture *f, const char *text)
{
    assert_int_equal(send(f->peer, text, strlen(text), MSG_NOSIGNAL), strlen(text));
    turn(f);
}

static void
expect_heard(struct fixture *f, const char *text)
{
    char got[512] = "";
    ssize_t n = recv(f->peer, got, sizeof(got) - 1, MSG_DONTWAIT);

    (void)n;
    assert_string_equal(got, text);
}

static void
commands_wait_for_negotiation(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(qmp_execute(f->qmp, "stop", NULL, NULL), -ENOTCONN);
    say(f, GREETING);
    expect_heard(f, "{\"execute\":\"qmp_capabilities\",\"id\":1}\r\n");
    assert_int_equal(qmp_execute(f->qmp, "stop", NULL, NULL), -ENOTCONN);
    say(f, "{\"return\": {}, \"id\": 1}\r\n");
    assert_string_equal(f->log, "ready(0) ");
    assert_int_equal(qmp_execute(f->qmp, "stop", NULL, NULL), 0);
    expect_heard(f, "{\"execute\":\"stop\",\"id\":2}\r\n");
}

static void
a_greeting_that_never_comes_ends_the_connection(void **state)
{
    struct fixture *f = *state;

    fake_clock_advance(f->clock, QMP_GREETING_DEADLINE_MS - 1);
    assert_string_equal(f->log, "");
    fake_clock_advance(f->clock, 1);
    assert_string_equal(f->log, "end(-110) ");
}

static void
a_second_greeting_changes_nothing(void **state)
{
    struct fixture *f = *state;

    say(f, READY GREETING);
    assert_string_equal(f->log, "ready(0) ");
    expect_heard(f, "{\"execute\":\"qmp_capabilities\",\"id\":1}\r\n");
}

static void
a_refused_negotiation_ends_the_connection(void **state)
{
    struct fixture *f = *state;

    say(f, GREETING "{\"error\": {\"class\": \"X\", \"desc\": \"no\"}, \"id\": 1}\r\n");
    assert_string_equal(f->log, "end(-71) ");
}

static void
replies_find_their_commands_between_events(void **state)
{
    struct fixture *f = *state;

    say(f, READY);
    assert_int_equal(qmp_execute(f->qmp, "a", on_reply, f), 0);
    assert_int_equal(qmp_execute(f->qmp, "b", on_reply, f), 0);
    say(f,
        "{\"event\": \"STOP\", \"data\": {}}\n{\"error\": {\"class\": \"C\", \"desc\": "
        "\"d\"}, \"id\": 3}\n{\"event\": \"RESUME\"}\n{\"return\": {}, \"id\": 99}\n"
        "{\"return\": {}, \"id\": 2}\n{\"return\": {}, \"id\": 2}\n");
    assert_string_equal(f->log, "ready(0) STOP(1) failed(-5) RESUME(0) done(0) ");
}

static void
a_command_without_answer_times_out_once(void **state)
{
    struct fixture *f = *state;

    say(f, READY);
    assert_int_equal(qmp_execute(f->qmp, "a", on_reply, f), 0);
    fake_clock_advance(f->clock, QMP_COMMAND_DEADLINE_MS);
    say(f, "{\"return\": {}, \"id\": 2}\n");
    assert_string_equal(f->log, "ready(0) failed(-110) ");
}

static void
on_answer(void *arg, const struct qmp_answer *answer)
{
    struct fixture *f = arg;

    if (answer->error_class)
        note(f, answer->error_class, answer->result);
    else
        note(f, json_is_object(answer->data) ? "object" : "nothing", answer->result);
}

/* Receive one byte; *fd becomes what came with it. */
static bool
hear_byte(struct fixture *f, char *byte, int *fd)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(4 * sizeof(int))];
    } control;
    struct iovec iov = {byte, 1};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control.bytes,
                         .msg_controllen = sizeof(control.bytes)};
    ssize_t n = recvmsg(f->peer, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    struct cmsghdr *c = n > 0 ? CMSG_FIRSTHDR(&msg) : NULL;

    if (c) {
        assert_int_equal(c->cmsg_len, CMSG_LEN(sizeof(*fd)));
        assert_int_equal(*fd, -1);
        memcpy(fd, CMSG_DATA(c), sizeof(*fd));
    }
    return n > 0;
}

/* Receive one line as QEMU does, byte by byte; returns the descriptor of its first byte
 * or -1. */
static int
hear_line(struct fixture *f, char *text, size_t cap)
{
    size_t len = 0;
    int fd = -1, first = -1;

    do {
        while (!hear_byte(f, &text[len], &fd))
            turn(f);
        if (len == 0)
            first = fd;
    } while (text[len++] != '\n' && len < cap - 1);
    text[len] = '\0';
    assert_int_equal(fd, first);
    return fd;
}

static void
arguments_go_out_as_json_and_data_comes_back(void **state)
{
    struct fixture *f = *state;
    json_t *arguments = json_pack("{s:s,s:i}", "a", "x\"\r\ny", "b", 2);
    const struct qmp_request req = {"c", arguments, -1, on_answer, f};

    say(f, READY);
    expect_heard(f, "{\"execute\":\"qmp_capabilities\",\"id\":1}\r\n");
    for (int i = 0; i < 3; i++)
        assert_int_equal(qmp_request(f->qmp, &req), 0);
    json_decref(arguments);
    expect_heard(f, "{\"execute\":\"c\",\"arguments\":{\"a\":\"x\\\"\\r\\ny\",\"b\":2},"
                    "\"id\":2}\r\n"
                    "{\"execute\":\"c\",\"arguments\":{\"a\":\"x\\\"\\r\\ny\",\"b\":2},"
                    "\"id\":3}\r\n"
                    "{\"execute\":\"c\",\"arguments\":{\"a\":\"x\\\"\\r\\ny\",\"b\":2},"
                    "\"id\":4}\r\n");
    say(f, "{\"return\": {\"r\": 1}, \"id\": 2}\n{\"error\": {\"class\": \"Gone\", "
           "\"desc\": \"d\"}, \"id\": 3}\n");
    fake_clock_advance(f->clock, QMP_COMMAND_DEADLINE_MS);
    assert_string_equal(f->log, "ready(0) object(0) Gone(-5) nothing(-110) ");
}

static void
each_descriptor_arrives_with_its_own_command(void **state)
{
    struct fixture *f = *state;
    int ends[2], got;
    char text[256];
    struct qmp_request req = {"getfd", NULL, -1, NULL, NULL};

    say(f, READY);
    assert_int_equal(hear_line(f, text, sizeof(text)), -1);
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    assert_int_equal(qmp_execute(f->qmp, "plain", NULL, NULL), 0);
    for (int i = 0; i < 2; i++) {
        req.fd = ends[i];
        assert_int_equal(qmp_request(f->qmp, &req), 0);
        close(ends[i]); /* borrowed for the call only */
    }
    assert_int_equal(hear_line(f, text, sizeof(text)), -1);
    assert_string_equal(text, "{\"execute\":\"plain\",\"id\":2}\r\n");
    got = hear_line(f, text, sizeof(text));
    assert_string_equal(text, "{\"execute\":\"getfd\",\"id\":3}\r\n");
    assert_int_equal(fcntl(got, F_GETFL) & O_ACCMODE, O_RDONLY);
    close(got);
    got = hear_line(f, text, sizeof(text));
    assert_string_equal(text, "{\"execute\":\"getfd\",\"id\":4}\r\n");
    assert_int_equal(fcntl(got, F_GETFL) & O_ACCMODE, O_WRONLY);
    close(got);
}

/* More than a socket takes at once, descriptors between. */
static void
descriptors_wait_with_their_bytes_for_a_slow_peer(void **state)
{
    struct fixture *f = *state;
    static char big[20000], text[2 * sizeof(big)];
    struct qmp_request req = {"add-fd", NULL, STDIN_FILENO, NULL, NULL};

    memset(big, 'a', sizeof(big) - 1);
    req.arguments = json_pack("{s:s}", "a", big);
    say(f, READY);
    assert_int_equal(hear_line(f, text, sizeof(text)), -1);
    for (int i = 0; i < 20; i++)
        assert_int_equal(qmp_request(f->qmp, &req), 0);
    json_decref(req.arguments);
    for (int i = 0; i < 20; i++) {
        int fd = hear_line(f, text, sizeof(text));

        assert_true(fd >= 0);
        assert_int_equal(strncmp(text, "{\"execute\":", 11), 0);
        close(fd);
    }
}

static void
a_bad_descriptor_refuses_the_command(void **state)
{
    struct fixture *f = *state;
    const struct qmp_request req = {"getfd", NULL, 9999, on_answer, f};

    say(f, READY);
    expect_heard(f, "{\"execute\":\"qmp_capabilities\",\"id\":1}\r\n");
    assert_int_equal(qmp_request(f->qmp, &req), -EBADF);
    expect_heard(f, "");
    assert_string_equal(f->log, "ready(0) ");
}

static void
too_many_commands_in_flight_are_refused(void **state)
{
    struct fixture *f = *state;

    say(f, READY);
    for (unsigned i = 0; i < QMP_PENDING_MAX; i++)
        assert_int_equal(qmp_execute(f->qmp, "a", NULL, NULL), 0);
    assert_int_equal(qmp_execute(f->qmp, "a", NULL, NULL), -EBUSY);
}

static void
the_end_fails_what_is_pending_first(void **state)
{
    struct fixture *f = *state;

    say(f, READY);
    assert_int_equal(qmp_execute(f->qmp, "a", on_reply, f), 0);
    close(f->peer);
    f->peer = -1;
    turn(f);
    assert_int_equal(strncmp(f->log, "ready(0) failed(-107) end(", 26), 0);
    assert_int_equal(qmp_execute(f->qmp, "a", NULL, NULL), -ENOTCONN);
}

static void
finish_takes_in_what_the_dead_peer_left(void **state)
{
    struct fixture *f = *state;
    const char *last = "{\"event\": \"SHUTDOWN\", \"data\": {}}\n";

    say(f, READY);
    assert_int_equal(send(f->peer, last, strlen(last), 0), strlen(last));
    qmp_finish(f->qmp);
    assert_string_equal(f->log, "ready(0) SHUTDOWN(1) end(0) ");
    turn(f);
    assert_string_equal(f->log, "ready(0) SHUTDOWN(1) end(0) ");
}

static void
finish_takes_in_all_that_a_socket_holds(void **state)
{
    static char lines[128 * 1024];
    struct fixture *f = *state;
    const char *last = "{\"event\": \"SHUTDOWN\"}\n";

    say(f, READY);
    memset(lines, ' ', sizeof(lines));
    for (size_t i = 63; i < sizeof(lines); i += 64)
        memcpy(lines + i - 2, "{}\n", 3);
    assert_int_equal(send(f->peer, lines, sizeof(lines), MSG_DONTWAIT), sizeof(lines));
    assert_int_equal(send(f->peer, last, strlen(last), MSG_DONTWAIT), strlen(last));
    qmp_finish(f->qmp);
    assert_string_equal(f->log, "ready(0) SHUTDOWN(0) end(0) ");
}

/* A copy of the dead QEMU's end is in other hands, and each byte that we read makes room
 * for the next. */
static void
finish_ends_although_the_peer_never_stops(void **state)
{
    struct fixture *f = *state;
    const char *first = "{\"event\": \"FIRST\"}\n";

    say(f, READY);
    f->flood = 10 * QMP_FINISH_ROUNDS;
    assert_int_equal(send(f->peer, first, strlen(first), 0), strlen(first));
    qmp_finish(f->qmp);
    assert_int_equal(f->flood, 9 * QMP_FINISH_ROUNDS);
    assert_string_equal(f->log, "ready(0) end(0) ");
}

static void
garbage_ends_the_connection(void **state)
{
    struct fixture *f = *state;

    say(f, READY "garbage\n{\"event\": \"STOP\"}\n");
    assert_string_equal(f->log, "ready(0) end(-71) ");
}

static void
closing_inside_a_callback_silences_the_rest(void **state)
{
    struct fixture *f = *state;

    f->close_in_callback = true;
    say(f, READY "{\"event\": \"STOP\"}\n");
    assert_string_equal(f->log, "ready(0) ");
}

static void
a_path_that_nobody_serves_is_an_error(void **state)
{
    struct fixture *f = *state;
    struct qmp_config config = {f->base, fake_clock_base(f->clock), &handler, f};
    struct vmt_err err = {0};
    struct qmp *qmp = NULL;
    char path[300];

    assert_int_equal(qmp_open(&config, "/nonexistent/qmp.sock", &qmp, &err), -ENOENT);
    assert_non_null(strstr(err.msg, "/nonexistent/qmp.sock"));
    memset(path, 'a', sizeof(path) - 1);
    path[sizeof(path) - 1] = '\0';
    assert_int_equal(qmp_open(&config, path, &qmp, &err), -ENAMETOOLONG);
    assert_null(qmp);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(commands_wait_for_negotiation),
        TEST(a_greeting_that_never_comes_ends_the_connection),
        TEST(a_second_greeting_changes_nothing),
        TEST(a_refused_negotiation_ends_the_connection),
        TEST(replies_find_their_commands_between_events),
        TEST(a_command_without_answer_times_out_once),
        TEST(arguments_go_out_as_json_and_data_comes_back),
        TEST(each_descriptor_arrives_with_its_own_command),
        TEST(descriptors_wait_with_their_bytes_for_a_slow_peer),
        TEST(a_bad_descriptor_refuses_the_command),
        TEST(too_many_commands_in_flight_are_refused),
        TEST(the_end_fails_what_is_pending_first),
        TEST(finish_takes_in_what_the_dead_peer_left),
        TEST(finish_takes_in_all_that_a_socket_holds),
        TEST(finish_ends_although_the_peer_never_stops),
        TEST(garbage_ends_the_connection),
        TEST(closing_inside_a_callback_silences_the_rest),
        TEST(a_path_that_nobody_serves_is_an_error),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
