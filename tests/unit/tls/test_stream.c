/* SPDX-License-Identifier: BSD-3-Clause */
/* The rules of core/adapter/stream.h, over TLS. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "core/base/limits.h"
#include "tests/unit/test.h"
#include "tests/unit/tls/world.h"

#define MIB (1024u * 1024)

static struct stream_peer
peer_of(const struct tls_side *side)
{
    struct stream_peer peer = {0};

    side->s->ops->peer(side->s, &peer);
    return peer;
}

static void
expect(struct tls_side *side, const char *text)
{
    tls_world_run(side->w);
    assert_int_equal(side->got.len, strlen(text));
    assert_memory_equal(side->got.data, text, side->got.len);
    vmt_buf_consume(&side->got, side->got.len);
}

static void
both_ends_know_each_other_and_talk(void **state)
{
    struct tls_world *w = *state;

    tls_world_connect(w);
    assert_int_equal(peer_of(&w->s).kind, STREAM_PEER_TLS);
    assert_int_equal(peer_of(&w->s).identity_kind, STREAM_IDENTITY_URI);
    assert_string_equal(peer_of(&w->s).identity, "spiffe://test/client");
    assert_string_equal(peer_of(&w->c).identity, "spiffe://test/server");
    tls_side_send(&w->c, "question", 8);
    expect(&w->s, "question");
    tls_side_send(&w->s, "answer", 6);
    expect(&w->c, "answer");
}

static void
one_byte_at_a_time_is_as_good_as_all_at_once(void **state)
{
    struct tls_world *w = *state;

    tls_world_wire(w);
    fake_stream_set_chunk(w->c.raw, 1);
    fake_stream_set_chunk(w->s.raw, 1);
    tls_world_connect(w);
    tls_side_send(&w->c, "slowly", 6);
    expect(&w->s, "slowly");
    w->c.s->ops->shutdown_send(w->c.s);
    tls_world_run(w);
    assert_true(w->s.ended);
    assert_int_equal(w->s.status, 0);
}

static void
half_close_leaves_the_other_way_open(void **state)
{
    struct tls_world *w = *state;

    tls_world_connect(w);
    tls_side_send(&w->c, "last words", 10);
    w->c.s->ops->shutdown_send(w->c.s);
    w->c.s->ops->shutdown_send(w->c.s); /* a second time does nothing */
    assert_int_equal(w->c.s->ops->send(w->c.s, "x", 1, NULL, 0), -EPIPE);
    expect(&w->s, "last words");
    assert_true(w->s.ended);
    assert_int_equal(w->s.status, 0);
    tls_side_send(&w->s, "goodbye", 7);
    expect(&w->c, "goodbye");
    assert_false(w->c.ended);
    w->s.s->ops->shutdown_send(w->s.s);
    tls_world_run(w);
    assert_true(w->c.ended);
    assert_int_equal(w->c.status, 0);
}

static void
close_is_an_end_to_the_other_side(void **state)
{
    struct tls_world *w = *state;

    tls_world_connect(w);
    tls_side_send(&w->c, "bye", 3);
    stream_close(vmt_take_ptr(&w->c.s));
    expect(&w->s, "bye");
    assert_true(w->s.ended);
    assert_int_equal(w->s.status, 0);
}

#define STREAM_TEST(f)                                                                   \
    cmocka_unit_test_setup_teardown(f, tls_world_setup, tls_world_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        STREAM_TEST(both_ends_know_each_other_and_talk),
        STREAM_TEST(one_byte_at_a_time_is_as_good_as_all_at_once),
        STREAM_TEST(half_close_leaves_the_other_way_open),
        STREAM_TEST(close_is_an_end_to_the_other_side),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
