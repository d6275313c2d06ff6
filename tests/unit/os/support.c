/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/os/support.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <event2/event.h>

#include "platform/linux/os/loop.h"
#include "platform/linux/os/stream_fd.h"

static size_t fds_before;

size_t
test_count_fds(void)
{
    DIR *dir = opendir("/proc/self/fd");
    size_t n = 0;

    assert_non_null(dir);
    while (readdir(dir))
        n++;
    (void)closedir(dir);
    return n;
}

int
test_loop_setup(void **state)
{
    struct os_loop *loop;

    os_process_init();
    fds_before = test_count_fds();
    if (os_loop_new(&loop, NULL) < 0)
        return -1;
    *state = loop;
    return 0;
}

int
test_loop_teardown(void **state)
{
    os_loop_free(*state);
    if (test_count_fds() == fds_before)
        return 0;
    print_error("descriptors leaked: %zu, before %zu\n", test_count_fds(), fds_before);
    return -1;
}

static void
on_deadline(void *arg)
{
    bool *late = arg;

    *late = true;
}

void
test_run_until(struct os_loop *loop, const bool *done)
{
    struct vmt_clock *clock = os_loop_clock(loop);
    struct vmt_timer *timer;
    bool late = false;

    assert_int_equal(
        clock->ops->timer_start(clock, TEST_DEADLINE_MS, on_deadline, &late, &timer), 0);
    while (!*done && !late)
        assert_int_equal(event_base_loop(os_loop_base(loop), EVLOOP_ONCE), 0);
    assert_false(late);
    clock->ops->timer_cancel(clock, timer);
}

void
test_run_turns(struct os_loop *loop, int turns)
{
    while (turns-- > 0)
        (void)event_base_loop(os_loop_base(loop), EVLOOP_NONBLOCK);
}

static void
sink_on_data(void *arg, const uint8_t *data, size_t len)
{
    struct test_sink *sink = arg;

    sink->calls++;
    sink->total += len;
    if (!sink->discard)
        assert_int_equal(vmt_buf_append(&sink->got, data, len), 0);
    if (sink->want && sink->total >= sink->want)
        sink->reached = true;
    if (sink->close_in_data)
        stream_close(vmt_take_ptr(&sink->s));
}

static void
sink_on_drain(void *arg)
{
    struct test_sink *sink = arg;

    sink->drained = true;
    if (sink->close_in_drain)
        stream_close(vmt_take_ptr(&sink->s));
}

static void
sink_on_end(void *arg, int status)
{
    struct test_sink *sink = arg;

    assert_false(sink->ended);
    sink->ended = true;
    sink->status = status;
    if (sink->close_in_end)
        stream_close(vmt_take_ptr(&sink->s));
}

const struct stream_handler test_sink_handler = {sink_on_data, sink_on_drain,
                                                 sink_on_end};

void
test_sink_attach(struct test_sink *sink, struct os_loop *loop, struct stream *s)
{
    sink->s = s;
    sink->loop = loop;
    s->ops->set_handler(s, &test_sink_handler, sink);
}

void
test_send_text(struct stream *s, const char *text)
{
    assert_int_equal(s->ops->send(s, text, strlen(text), NULL, 0), 0);
}

void
test_sink_done(struct test_sink *sink)
{
    stream_close(sink->s);
    vmt_buf_done(&sink->got);
}

struct stream *
test_stream_and_raw(struct os_loop *loop, int *ret_raw)
{
    struct stream *s;
    int fds[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    assert_int_equal(os_stream_new(loop, fds[0], NULL, &s, NULL), 0);
    *ret_raw = fds[1];
    return s;
}

char *
test_temp_dir(void)
{
    char *dir = strdup("/tmp/vmt_test_os.XXXXXX");

    assert_non_null(dir);
    assert_non_null(mkdtemp(dir));
    return dir;
}
