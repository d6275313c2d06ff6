/* SPDX-License-Identifier: BSD-3-Clause */
/* The rules of core/adapter/stream.h, over TLS. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "core/base/limits.h"
#include "platform/linux/tls/tls_internal.h"
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

/* --- what the wire does --- */

/* All that one side's wire carries goes by here. */
struct relay {
    struct stream *from, *to; /* owned by their pairs' owners */
};

static void
relay_on_data(void *arg, const uint8_t *data, size_t len)
{
    struct relay *relay = arg;

    (void)relay->to->ops->send(relay->to, data, len, NULL, 0);
}

static void
relay_on_end(void *arg, int status)
{
    (void)arg;
    (void)status;
}

static const struct stream_handler relay_handler = {relay_on_data, NULL, relay_on_end};

/* Connected through two relays; up carries what the client says. */
static void
connect_by_relay(struct tls_world *w, struct relay *up, struct relay *down)
{
    struct vmt_clock *clock = fake_clock_base(w->clock);
    struct stream *a[2], *b[2];

    tls_world_reset(w);
    assert_int_equal(fake_stream_pair(clock, a), 0);
    assert_int_equal(fake_stream_pair(clock, b), 0);
    w->c.raw = a[0];
    w->s.raw = b[0];
    *up = (struct relay){a[1], b[1]};
    *down = (struct relay){b[1], a[1]};
    a[1]->ops->set_handler(a[1], &relay_handler, up);
    b[1]->ops->set_handler(b[1], &relay_handler, down);
    tls_world_connect(w);
}

static void
a_connection_that_is_cut_off_is_no_regular_end(void **state)
{
    struct tls_world *w = *state;
    struct relay up, down;

    connect_by_relay(w, &up, &down);
    tls_side_send(&w->c, "half a sent", 11);
    tls_world_run(w);
    up.to->ops->shutdown_send(up.to); /* as who cuts a cable and forges a FIN */
    tls_world_run(w);
    assert_int_equal(w->s.got.len, 11);
    assert_true(w->s.ended);
    assert_int_equal(w->s.status, -ECONNRESET);
    assert_int_equal(w->s.s->ops->send(w->s.s, "x", 1, NULL, 0), -EPIPE);
    stream_close(up.from);
    stream_close(down.from);
}

static void
bytes_that_nobody_encrypted_end_the_stream(void **state)
{
    struct tls_world *w = *state;
    struct relay up, down;

    connect_by_relay(w, &up, &down);
    assert_int_equal(up.to->ops->send(up.to, "\x17\x03\x03\x00\x20 forged", 12, NULL, 0),
                     0);
    assert_int_equal(
        up.to->ops->send(up.to, "0123456789012345678901234567890123456789", 40, NULL, 0),
        0);
    tls_world_run(w);
    assert_true(w->s.ended);
    assert_int_equal(w->s.status, -EPROTO);
    assert_int_equal(w->s.got.len, 0);
    /* The other side is told why. */
    assert_true(w->c.ended);
    assert_int_equal(w->c.status, -EPROTO);
    stream_close(up.from);
    stream_close(down.from);
}

static void
a_broken_wire_is_told_as_it_is(void **state)
{
    struct tls_world *w = *state;

    tls_world_connect(w);
    fake_stream_break(w->c.below, -EIO);
    tls_world_run(w);
    assert_int_equal(w->c.status, -EIO);
    assert_int_equal(w->s.status, -EIO);
    assert_int_equal(w->c.s->ops->send(w->c.s, "x", 1, NULL, 0), -EPIPE);
}

/* --- back-pressure --- */

static const struct tls_stream *
inside(const struct tls_side *side)
{
    return VMT_CONTAINER_OF((struct stream *)side->s, struct tls_stream, base);
}

static void
sixteen_mib_go_through_whole_with_pauses(void **state)
{
    struct tls_world *w = *state;
    VMT_CLEANUP(vmt_freep) uint8_t *bulk = malloc(MIB);
    uint32_t seed = 1;

    for (size_t i = 0; i < MIB; i++) {
        seed = seed * 1664525u + 1013904223u;
        bulk[i] = (uint8_t)(seed >> 24);
    }
    tls_world_connect(w);
    for (size_t sent = 0; sent < 16; sent++) {
        w->s.s->ops->pause(w->s.s, true);
        tls_side_send(&w->c, bulk, MIB);
        tls_world_run(w);
        assert_true(w->c.s->ops->queued(w->c.s) > VMT_STREAM_HIGH_MARK);
        assert_int_equal(w->s.total, sent * MIB);
        assert_true(inside(&w->s)->in.len <= 64u * 1024);
        w->s.s->ops->pause(w->s.s, false);
        assert_int_equal(w->s.total, sent * MIB); /* never from inside the call */
        tls_world_run(w);
        assert_int_equal(w->c.s->ops->queued(w->c.s), 0);
        assert_int_equal(w->c.drains, sent + 1);
        assert_int_equal(w->s.got.len, MIB);
        assert_memory_equal(w->s.got.data, bulk, MIB);
        vmt_buf_consume(&w->s.got, MIB);
    }
}

/* What came in one piece is kept over a pause that begins in its midst. */
static void
a_pause_from_inside_on_data_takes_effect_at_once(void **state)
{
    struct tls_world *w = *state;

    tls_world_connect(w);
    w->s.pause_in_data = true;
    for (int i = 0; i < 5; i++)
        tls_side_send(&w->c, "record", 6);
    tls_world_run(w);
    for (size_t i = 1; i <= 5; i++) {
        assert_int_equal(w->s.total, 6 * i);
        w->s.s->ops->pause(w->s.s, false);
        tls_world_run(w);
    }
    assert_int_equal(w->s.total, 30);
}

static void
nothing_is_read_before_there_is_a_handler(void **state)
{
    struct tls_world *w = *state;
    struct tls_side *s = &w->s;
    struct relay sink = {0};

    tls_world_wire(w);
    s->no_handler = true;
    tls_world_connect(w);
    tls_side_send(&w->c, "early", 5);
    w->c.s->ops->shutdown_send(w->c.s);
    tls_world_run(w);
    sink.to = s->s; /* send it back */
    s->s->ops->set_handler(s->s, &relay_handler, &sink);
    assert_int_equal(w->c.total, 0);
    expect(&w->c, "early");
}

/* --- closing from inside --- */

static void
close_from_inside_any_callback_is_safe(void **state)
{
    struct tls_world *w = *state;
    VMT_CLEANUP(vmt_freep) uint8_t *bulk = calloc(1, MIB);

    tls_world_connect(w);
    w->s.close_in_data = true;
    tls_side_send(&w->c, "a", 1);
    tls_side_send(&w->c, "b", 1);
    tls_world_run(w);
    assert_null(w->s.s);
    assert_int_equal(w->s.total, 1);
    assert_true(w->c.ended);

    tls_world_wire(w);
    tls_world_connect(w);
    w->s.close_in_end = true;
    w->c.s->ops->shutdown_send(w->c.s);
    tls_world_run(w);
    assert_null(w->s.s);
    assert_true(w->c.ended);

    tls_world_wire(w);
    tls_world_connect(w);
    w->c.close_in_drain = true;
    tls_side_send(&w->c, bulk, MIB);
    tls_world_run(w);
    assert_null(w->c.s);
    assert_true(w->s.ended);
}

/* Bytes are missing then, so the peer must not take it for the end. */
static void
close_with_bytes_unsent_is_no_regular_end(void **state)
{
    struct tls_world *w = *state;
    VMT_CLEANUP(vmt_freep) uint8_t *bulk = calloc(1, MIB);

    tls_world_connect(w);
    w->s.discard = true;
    tls_side_send(&w->c, bulk, MIB);
    stream_close(vmt_take_ptr(&w->c.s));
    tls_world_run(w);
    assert_true(w->s.ended);
    assert_true(w->s.status < 0);
    assert_true(w->s.total < MIB);
}

static void
descriptors_do_not_travel(void **state)
{
    struct tls_world *w = *state;
    int fd = 0;

    tls_world_connect(w);
    assert_int_equal(w->c.s->ops->send(w->c.s, "x", 1, &fd, 1), -ENOTSUP);
    assert_int_equal(w->c.s->ops->send(w->c.s, "", 0, NULL, 0), 0);
    assert_int_equal(w->c.s->ops->take_fds(w->c.s, &fd, 1), 0);
    tls_world_run(w);
    assert_int_equal(w->s.total, 0);
}

/* --- keys --- */

static void
keys_change_when_either_side_wants(void **state)
{
    struct tls_world *w = *state;

    tls_world_connect(w);
    assert_int_equal(SSL_key_update(inside(&w->c)->ssl, SSL_KEY_UPDATE_REQUESTED), 1);
    tls_side_send(&w->c, "new key", 7);
    expect(&w->s, "new key");
    tls_side_send(&w->s, "mine too", 8);
    expect(&w->c, "mine too");
}

static void
a_key_is_not_used_for_ever(void **state)
{
    struct tls_world *w = *state;
    struct tls_stream *c;
    VMT_CLEANUP(vmt_freep) uint8_t *bulk = calloc(1, MIB);

    tls_world_connect(w);
    c = (struct tls_stream *)(uintptr_t)inside(&w->c);
    w->s.discard = true;
    c->records = TLS_RECORDS_PER_KEY - 2;
    tls_side_send(&w->c, "x", 1);
    assert_int_equal(c->records, TLS_RECORDS_PER_KEY - 1);
    tls_side_send(&w->c, bulk, MIB);
    assert_int_equal(c->records, 0);
    tls_world_run(w);
    assert_int_equal(w->s.total, MIB + 1);
}

/* Connected, with a client that reads nothing at all: whatever the server says stays in
 * its queue. */
static void
connect_a_deaf_client(struct tls_world *w)
{
    tls_world_connect(w);
    w->c.s->ops->pause(w->c.s, true);
    fake_stream_set_window(w->c.below, 0);
}

static void
a_flood_of_key_updates_ends_the_stream(void **state)
{
    struct tls_world *w = *state;

    connect_a_deaf_client(w);
    for (int i = 0; i < 20000; i++) {
        assert_true(tls_stream_ask_for_key(w->c.s));
        tls_world_run(w);
        assert_true(w->s.s->ops->queued(w->s.s) < 1024);
    }
    assert_true(w->s.ended);
    assert_int_equal(w->s.status, -EPROTO);
}

/* Here all of them come in one piece, and are read by one call. */
static void
a_flood_that_comes_at_once_ends_the_stream(void **state)
{
    struct tls_world *w = *state;

    connect_a_deaf_client(w);
    for (int i = 0; i < 2000; i++)
        assert_true(tls_stream_ask_for_key(w->c.s));
    tls_world_run(w);
    assert_true(w->s.ended);
    assert_int_equal(w->s.status, -EPROTO);
    assert_true(w->s.s->ops->queued(w->s.s) < 1024);
}

static void
answers_that_nobody_reads_do_not_pile_up(void **state)
{
    struct tls_world *w = *state;

    connect_a_deaf_client(w);
    for (int i = 0; i < 20000; i++) {
        assert_true(tls_stream_ask_for_key(w->c.s));
        tls_side_send(&w->c, "x", 1);
        tls_world_run(w);
        assert_true(w->s.s->ops->queued(w->s.s) <= 2 * TLS_ANSWERS_MAX);
    }
    assert_true(w->s.ended);
    assert_int_equal(w->s.status, -EPROTO);
}

/* Neither limit is for peers that read and have something to say. */
static void
who_reads_may_ask_for_any_number_of_keys(void **state)
{
    struct tls_world *w = *state;

    tls_world_connect(w);
    for (int i = 0; i < 20000; i++) {
        assert_true(tls_stream_ask_for_key(w->c.s));
        tls_side_send(&w->c, "x", 1);
        if (i % 16 == 0)
            tls_side_send(&w->s, "y", 1);
        tls_world_run(w);
    }
    assert_false(w->s.ended || w->c.ended);
    assert_int_equal(w->s.total, 20000);
    assert_int_equal(w->c.total, 20000 / 16);
}

/* Who stopped to read because much waits to be sent would wait for ever here. */
static void
full_queues_on_both_sides_and_new_keys_block_nobody(void **state)
{
    struct tls_world *w = *state;
    VMT_CLEANUP(vmt_freep) uint8_t *bulk = calloc(1, MIB);

    tls_world_connect(w);
    w->c.discard = w->s.discard = true;
    w->c.s->ops->pause(w->c.s, true);
    w->s.s->ops->pause(w->s.s, true);
    tls_side_send(&w->s, bulk, MIB);
    for (int i = 0; i < 30; i++) {
        assert_true(tls_stream_ask_for_key(w->c.s));
        tls_side_send(&w->c, bulk, MIB / 32);
    }
    tls_world_run(w);
    assert_true(w->c.s->ops->queued(w->c.s) > VMT_STREAM_HIGH_MARK);
    assert_true(w->s.s->ops->queued(w->s.s) > VMT_STREAM_HIGH_MARK);
    w->s.s->ops->pause(w->s.s, false);
    tls_world_run(w);
    assert_int_equal(w->s.total, 30 * (MIB / 32));
    w->c.s->ops->pause(w->c.s, false);
    tls_world_run(w);
    assert_int_equal(w->c.total, MIB);
    assert_false(w->s.ended || w->c.ended);
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
        STREAM_TEST(a_connection_that_is_cut_off_is_no_regular_end),
        STREAM_TEST(bytes_that_nobody_encrypted_end_the_stream),
        STREAM_TEST(a_broken_wire_is_told_as_it_is),
        STREAM_TEST(sixteen_mib_go_through_whole_with_pauses),
        STREAM_TEST(a_pause_from_inside_on_data_takes_effect_at_once),
        STREAM_TEST(nothing_is_read_before_there_is_a_handler),
        STREAM_TEST(close_from_inside_any_callback_is_safe),
        STREAM_TEST(close_with_bytes_unsent_is_no_regular_end),
        STREAM_TEST(descriptors_do_not_travel),
        STREAM_TEST(keys_change_when_either_side_wants),
        STREAM_TEST(a_key_is_not_used_for_ever),
        STREAM_TEST(a_flood_of_key_updates_ends_the_stream),
        STREAM_TEST(a_flood_that_comes_at_once_ends_the_stream),
        STREAM_TEST(answers_that_nobody_reads_do_not_pile_up),
        STREAM_TEST(who_reads_may_ask_for_any_number_of_keys),
        STREAM_TEST(full_queues_on_both_sides_and_new_keys_block_nobody),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
