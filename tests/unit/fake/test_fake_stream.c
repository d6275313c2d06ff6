/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/fake/fake_stream.h"

#include <errno.h>
#include <string.h>

#include "core/base/buf.h"
#include "core/base/cleanup.h"
#include "core/base/limits.h"
#include "tests/fake/fake_clock.h"
#include "tests/unit/test.h"

struct sink {
    struct stream *s; /* owned */
    struct vmt_buf got;
    unsigned calls, drains;
    bool ended, close_in_data;
    int status;
};
struct world {
    struct fake_clock *clock;
    struct sink a, b;
};

static void
on_data(void *arg, const uint8_t *data, size_t len)
{
    struct sink *sink = arg;

    sink->calls++;
    assert_int_equal(vmt_buf_append(&sink->got, data, len), 0);
    if (sink->close_in_data)
        stream_close(vmt_take_ptr(&sink->s));
}

static void
on_drain(void *arg)
{
    ((struct sink *)arg)->drains++;
}

static void
on_end(void *arg, int status)
{
    struct sink *sink = arg;

    assert_false(sink->ended);
    sink->ended = true;
    sink->status = status;
}

static const struct stream_handler handler = {on_data, on_drain, on_end};

static int
setup(void **state)
{
    static struct world w;
    struct stream *s[2];

    w = (struct world){.clock = fake_clock_new()};
    assert_int_equal(fake_stream_pair(fake_clock_base(w.clock), s), 0);
    w.a.s = s[0];
    w.b.s = s[1];
    s[0]->ops->set_handler(s[0], &handler, &w.a);
    s[1]->ops->set_handler(s[1], &handler, &w.b);
    *state = &w;
    return 0;
}

static int
teardown(void **state)
{
    struct world *w = *state;

    stream_close(w->a.s);
    stream_close(w->b.s);
    vmt_buf_done(&w->a.got);
    vmt_buf_done(&w->b.got);
    assert_int_equal(fake_clock_pending(w->clock), 0);
    fake_clock_free(w->clock);
    return 0;
}

static void
nothing_moves_before_the_clock_does(void **state)
{
    struct world *w = *state;

    assert_int_equal(w->a.s->ops->send(w->a.s, "hello", 5, NULL, 0), 0);
    assert_int_equal(w->b.calls, 0);
    fake_clock_advance(w->clock, 0);
    assert_int_equal(w->b.calls, 1);
    assert_memory_equal(w->b.got.data, "hello", 5);
}

static void
chunks_cut_what_arrives(void **state)
{
    struct world *w = *state;

    fake_stream_set_chunk(w->b.s, 1);
    assert_int_equal(w->a.s->ops->send(w->a.s, "hello", 5, NULL, 0), 0);
    w->a.s->ops->shutdown_send(w->a.s);
    fake_clock_advance(w->clock, 0);
    assert_int_equal(w->b.calls, 5);
    assert_true(w->b.ended);
    assert_int_equal(w->b.status, 0);
    assert_int_equal(w->b.s->ops->send(w->b.s, "back", 4, NULL, 0), 0);
    fake_clock_advance(w->clock, 0);
    assert_int_equal(w->a.got.len, 4);
    assert_int_equal(w->a.s->ops->send(w->a.s, "x", 1, NULL, 0), -EPIPE);
}

static void
a_slow_reader_makes_the_queue_grow_and_drain(void **state)
{
    static uint8_t big[VMT_STREAM_HIGH_MARK + 2000];
    struct world *w = *state;

    fake_stream_set_window(w->b.s, 1000);
    w->b.s->ops->pause(w->b.s, true);
    assert_int_equal(w->a.s->ops->send(w->a.s, big, sizeof(big), NULL, 0), 0);
    fake_clock_advance(w->clock, 10);
    assert_int_equal(w->a.s->ops->queued(w->a.s), sizeof(big) - 1000);
    assert_int_equal(w->a.drains, 0);
    w->b.s->ops->pause(w->b.s, false);
    fake_clock_advance(w->clock, 0);
    assert_int_equal(w->b.got.len, sizeof(big));
    assert_int_equal(w->a.drains, 1);
    assert_int_equal(w->a.s->ops->queued(w->a.s), 0);
}

static void
close_ends_the_other_after_what_was_under_way(void **state)
{
    struct world *w = *state;

    assert_int_equal(w->a.s->ops->send(w->a.s, "bye", 3, NULL, 0), 0);
    stream_close(vmt_take_ptr(&w->a.s));
    fake_clock_advance(w->clock, 0);
    assert_int_equal(w->b.got.len, 3);
    assert_true(w->b.ended);
    assert_int_equal(w->b.status, 0);
    assert_int_equal(w->b.s->ops->send(w->b.s, "x", 1, NULL, 0), -EPIPE);
}

static void
close_from_inside_a_callback_is_safe(void **state)
{
    struct world *w = *state;

    w->b.close_in_data = true;
    fake_stream_set_chunk(w->b.s, 1);
    assert_int_equal(w->a.s->ops->send(w->a.s, "bye", 3, NULL, 0), 0);
    fake_clock_advance(w->clock, 0);
    assert_int_equal(w->b.calls, 1);
    assert_true(w->a.ended);
}

static void
a_break_reaches_both(void **state)
{
    struct world *w = *state;

    assert_int_equal(w->a.s->ops->send(w->a.s, "lost", 4, NULL, 0), 0);
    fake_stream_break(w->a.s, -ECONNRESET);
    assert_false(w->a.ended);
    fake_clock_advance(w->clock, 0);
    assert_int_equal(w->a.status, -ECONNRESET);
    assert_int_equal(w->b.status, -ECONNRESET);
    assert_int_equal(w->b.calls, 0);
    assert_int_equal(w->b.s->ops->send(w->b.s, "x", 1, NULL, 0), -EPIPE);
}

static void
descriptors_are_refused(void **state)
{
    struct world *w = *state;
    int fd = 0;

    assert_int_equal(w->a.s->ops->send(w->a.s, "x", 1, &fd, 1), -ENOTSUP);
}

#define STREAM_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        STREAM_TEST(nothing_moves_before_the_clock_does),
        STREAM_TEST(chunks_cut_what_arrives),
        STREAM_TEST(a_slow_reader_makes_the_queue_grow_and_drain),
        STREAM_TEST(close_ends_the_other_after_what_was_under_way),
        STREAM_TEST(close_from_inside_a_callback_is_safe),
        STREAM_TEST(a_break_reaches_both),
        STREAM_TEST(descriptors_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
