/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/vsh/relay.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "core/adapter/stream.h"
#include "core/base/buf.h"
#include "core/base/cleanup.h"
#include "core/base/limits.h"
#include "tests/fake/fake_clock.h"
#include "tests/fake/fake_stream.h"
#include "tests/unit/test.h"

/* One peer of the relay: what it got. */
struct peer {
    struct stream *stream;
    struct vmt_buf got;
    bool ended;
    int status;
};

/* Two peers with a relay between them. */
struct world {
    struct fake_clock *clock;
    struct peer peers[2];
    struct stream *inner[2];
    struct vsh_relay *relay;
    unsigned done;
};

static void
peer_on_data(void *arg, const uint8_t *data, size_t len)
{
    struct peer *peer = arg;

    assert_int_equal(vmt_buf_append(&peer->got, data, len), 0);
}

static void
peer_on_end(void *arg, int status)
{
    struct peer *peer = arg;

    peer->ended = true;
    peer->status = status;
}

static const struct stream_handler peer_handler = {.on_data = peer_on_data,
                                                   .on_end = peer_on_end};

static void
world_on_done(void *arg)
{
    struct world *w = arg;

    w->done++;
    vsh_relay_free(w->relay);
    w->relay = NULL;
}

static void
world_open(struct world *w)
{
    w->clock = fake_clock_new();
    assert_non_null(w->clock);
    for (size_t i = 0; i < 2; i++) {
        struct stream *pair[2];

        assert_int_equal(fake_stream_pair(fake_clock_base(w->clock), pair), 0);
        w->peers[i].stream = pair[0];
        w->inner[i] = pair[1];
        pair[0]->ops->set_handler(pair[0], &peer_handler, &w->peers[i]);
    }
    assert_int_equal(
        vsh_relay_new(fake_clock_base(w->clock), w->inner, world_on_done, w, &w->relay),
        0);
}

static void
world_close(struct world *w)
{
    vsh_relay_free(w->relay);
    for (size_t i = 0; i < 2; i++) {
        stream_close(w->peers[i].stream);
        vmt_buf_done(&w->peers[i].got);
    }
    fake_clock_free(w->clock);
}

static void
say(struct world *w, size_t who, const char *text)
{
    struct stream *s = w->peers[who].stream;

    assert_int_equal(s->ops->send(s, text, strlen(text), NULL, 0), 0);
}

static bool
heard(const struct world *w, size_t who, const char *text)
{
    const struct vmt_buf *got = &w->peers[who].got;

    return got->len == strlen(text) && memcmp(got->data, text, got->len) == 0;
}

static void
bytes_and_ends_pass_both_ways(void **state)
{
    VMT_CLEANUP(world_close) struct world w = {.done = 0};

    (void)state;
    world_open(&w);
    say(&w, 0, "there");
    say(&w, 1, "back");
    w.peers[0].stream->ops->shutdown_send(w.peers[0].stream);
    fake_clock_advance(w.clock, 1);
    assert_true(heard(&w, 1, "there") && heard(&w, 0, "back"));
    /* One direction has ended, the other one goes on. */
    assert_true(w.peers[1].ended && !w.peers[0].ended);
    say(&w, 1, " again");
    fake_clock_advance(w.clock, 1000);
    assert_true(heard(&w, 0, "back again"));
    assert_int_equal(w.done, 0);
    w.peers[1].stream->ops->shutdown_send(w.peers[1].stream);
    fake_clock_advance(w.clock, 1000);
    assert_true(w.peers[0].ended);
    assert_int_equal(w.peers[0].status, 0);
    assert_int_equal(w.done, 1);
}

static void
what_was_read_before_comes_first(void **state)
{
    VMT_CLEANUP(world_close) struct world w = {.done = 0};

    (void)state;
    world_open(&w);
    say(&w, 0, "later");
    vsh_relay_prepend(w.relay, (const uint8_t *)"early ", 6);
    vsh_relay_prepend(w.relay, NULL, 0);
    fake_clock_advance(w.clock, 1);
    assert_true(heard(&w, 1, "early later"));
}

static void
a_slow_reader_holds_its_writer_back(void **state)
{
    static char block[64 * 1024];
    VMT_CLEANUP(world_close) struct world w = {.done = 0};
    struct stream *writer, *reader;
    size_t sent = 0;

    (void)state;
    memset(block, 'x', sizeof(block));
    world_open(&w);
    writer = w.peers[0].stream;
    reader = w.peers[1].stream;
    reader->ops->pause(reader, true);
    for (int i = 0; i < 64; i++, sent += sizeof(block)) {
        assert_int_equal(writer->ops->send(writer, block, sizeof(block), NULL, 0), 0);
        fake_clock_advance(w.clock, 1);
    }
    /* Some is in the relay, the rest waits at the writer. */
    assert_in_range(w.inner[1]->ops->queued(w.inner[1]), VMT_STREAM_HIGH_MARK,
                    2 * VMT_STREAM_HIGH_MARK);
    assert_true(writer->ops->queued(writer) > sent / 2);
    reader->ops->pause(reader, false);
    writer->ops->shutdown_send(writer);
    fake_clock_advance(w.clock, 60000);
    assert_int_equal(w.peers[1].got.len, sent);
    assert_true(w.peers[1].ended);
}

static void
all_is_delivered_before_the_end(void **state)
{
    static char block[256 * 1024];
    VMT_CLEANUP(world_close) struct world w = {.done = 0};
    struct stream *writer, *reader;

    (void)state;
    world_open(&w);
    writer = w.peers[0].stream;
    reader = w.peers[1].stream;
    reader->ops->pause(reader, true);
    assert_int_equal(writer->ops->send(writer, block, sizeof(block), NULL, 0), 0);
    writer->ops->shutdown_send(writer);
    reader->ops->shutdown_send(reader);
    fake_clock_advance(w.clock, 5000);
    assert_int_equal(w.done, 0);
    reader->ops->pause(reader, false);
    fake_clock_advance(w.clock, 5000);
    assert_int_equal(w.peers[1].got.len, sizeof(block));
    assert_int_equal(w.done, 1);
}

static void
a_reader_that_never_reads_is_given_up(void **state)
{
    static char block[256 * 1024];
    VMT_CLEANUP(world_close) struct world w = {.done = 0};
    struct stream *writer, *reader;

    (void)state;
    world_open(&w);
    writer = w.peers[0].stream;
    reader = w.peers[1].stream;
    reader->ops->pause(reader, true);
    assert_int_equal(writer->ops->send(writer, block, sizeof(block), NULL, 0), 0);
    writer->ops->shutdown_send(writer);
    reader->ops->shutdown_send(reader);
    fake_clock_advance(w.clock, 120000);
    assert_int_equal(w.done, 1);
}

static void
an_end_that_is_gone_does_not_wait_for_the_other(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        VMT_CLEANUP(world_close) struct world w = {.done = 0};

        world_open(&w);
        say(&w, i, "last words");
        fake_clock_advance(w.clock, 1);
        stream_close(w.peers[i].stream);
        w.peers[i].stream = NULL;
        fake_clock_advance(w.clock, 1);
        assert_true(heard(&w, 1 - i, "last words"));
        assert_true(w.peers[1 - i].ended);
        fake_clock_advance(w.clock, 30000);
        assert_int_equal(w.done, 1);
    }
}

static void
an_end_that_still_listens_is_waited_for(void **state)
{
    VMT_CLEANUP(world_close) struct world w = {.done = 0};

    (void)state;
    world_open(&w);
    w.peers[0].stream->ops->shutdown_send(w.peers[0].stream);
    fake_clock_advance(w.clock, 3600 * 1000);
    assert_int_equal(w.done, 0);
    say(&w, 1, "at last");
    w.peers[1].stream->ops->shutdown_send(w.peers[1].stream);
    fake_clock_advance(w.clock, 1000);
    assert_true(heard(&w, 0, "at last"));
    assert_int_equal(w.done, 1);
}

static void
a_broken_end_ends_the_other(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        VMT_CLEANUP(world_close) struct world w = {.done = 0};

        world_open(&w);
        fake_stream_break(w.peers[i].stream, -ECONNRESET);
        fake_clock_advance(w.clock, 1);
        assert_int_equal(w.done, 1);
        fake_clock_advance(w.clock, 1);
        assert_true(w.peers[1 - i].ended);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_and_ends_pass_both_ways),
        cmocka_unit_test(what_was_read_before_comes_first),
        cmocka_unit_test(a_slow_reader_holds_its_writer_back),
        cmocka_unit_test(all_is_delivered_before_the_end),
        cmocka_unit_test(a_reader_that_never_reads_is_given_up),
        cmocka_unit_test(an_end_that_is_gone_does_not_wait_for_the_other),
        cmocka_unit_test(an_end_that_still_listens_is_waited_for),
        cmocka_unit_test(a_broken_end_ends_the_other),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
