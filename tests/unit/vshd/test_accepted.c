/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/guest/vshd/accepted.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "core/adapter/stream.h"
#include "core/base/cleanup.h"
#include "tests/fake/fake_clock.h"
#include "tests/fake/fake_stream.h"
#include "tests/unit/test.h"

#define WAIT_MS 30000u
#define OWNER_MAX 64u
#define OWNERS 8u /* that fill the pool */

struct world {
    struct fake_clock *clock;
    struct accepted_pool *pool;
};

static void
world_open(struct world *w)
{
    w->clock = fake_clock_new();
    assert_non_null(w->clock);
    assert_int_equal(accepted_pool_new(fake_clock_base(w->clock), &w->pool), 0);
}

static void
world_close(struct world *w)
{
    accepted_pool_free(w->pool);
    fake_clock_free(w->clock);
}

static void
mark_ended(void *arg, int status)
{
    (void)status;
    *(bool *)arg = true;
}

static void
ignore_data(void *arg, const uint8_t *data, size_t len)
{
    (void)arg;
    (void)data;
    (void)len;
}

/* Put one end of a connection into the pool. ret_ended becomes true when it is closed.
 * Returns the other end, which the caller owns. */
static struct stream *
put(struct world *w, const void *owner, uint8_t *ret_token, bool *ret_ended)
{
    static const struct stream_handler handler = {.on_data = ignore_data,
                                                  .on_end = mark_ended};
    struct stream *pair[2];

    assert_int_equal(fake_stream_pair(fake_clock_base(w->clock), pair), 0);
    pair[0]->ops->set_handler(pair[0], &handler, ret_ended);
    *ret_ended = false;
    assert_int_equal(accepted_pool_put(w->pool, owner, pair[1], ret_token), 0);
    return pair[0];
}

static void
a_token_is_good_once(void **state)
{
    VMT_CLEANUP(world_close) struct world w = {.pool = NULL};
    uint8_t token[VSH_TOKEN_BYTES], other[VSH_TOKEN_BYTES];
    struct stream *first, *second, *taken;
    bool ended, other_ended;

    (void)state;
    world_open(&w);
    first = put(&w, &w, token, &ended);
    second = put(&w, &w, other, &other_ended);
    assert_memory_not_equal(token, other, sizeof(token));
    taken = accepted_pool_take(w.pool, token);
    assert_non_null(taken);
    assert_null(accepted_pool_take(w.pool, token));
    other[0] ^= 1;
    assert_null(accepted_pool_take(w.pool, other));
    fake_clock_advance(w.clock, WAIT_MS - 1);
    assert_true(!ended && !other_ended);
    fake_clock_advance(w.clock, 2); /* nobody came for the second one */
    assert_true(!ended && other_ended);
    stream_close(taken);
    stream_close(first);
    stream_close(second);
}

static void
an_owner_takes_its_own_along(void **state)
{
    VMT_CLEANUP(world_close) struct world w = {.pool = NULL};
    uint8_t token[VSH_TOKEN_BYTES];
    struct stream *ends[3];
    bool ended[3];
    int owners[2];

    (void)state;
    world_open(&w);
    for (size_t i = 0; i < 3; i++)
        ends[i] = put(&w, &owners[i == 1], token, &ended[i]);
    accepted_pool_drop(w.pool, &owners[0]);
    fake_clock_advance(w.clock, 1);
    assert_true(ended[0] && !ended[1] && ended[2]);
    for (size_t i = 0; i < 3; i++)
        stream_close(ends[i]);
}

static void
expect_refused(struct world *w, const void *owner)
{
    struct stream *pair[2];
    uint8_t token[VSH_TOKEN_BYTES];

    assert_int_equal(fake_stream_pair(fake_clock_base(w->clock), pair), 0);
    assert_int_equal(accepted_pool_put(w->pool, owner, pair[1], token), -ENOBUFS);
    stream_close(pair[0]);
}

static void
too_many_of_one_owner_leave_room_for_others(void **state)
{
    VMT_CLEANUP(world_close) struct world w = {.pool = NULL};
    struct stream *ends[OWNERS * OWNER_MAX];
    bool ended[OWNERS * OWNER_MAX];
    uint8_t token[VSH_TOKEN_BYTES];
    int owners[OWNERS + 1];

    (void)state;
    world_open(&w);
    for (size_t i = 0; i < OWNERS * OWNER_MAX; i++) {
        ends[i] = put(&w, &owners[i / OWNER_MAX], token, &ended[i]);
        if (i % OWNER_MAX == OWNER_MAX - 1)
            expect_refused(&w, &owners[i / OWNER_MAX]);
    }
    expect_refused(&w, &owners[OWNERS]); /* there is an end to all, too */
    for (size_t i = 0; i < OWNERS * OWNER_MAX; i++)
        stream_close(ends[i]);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_token_is_good_once),
        cmocka_unit_test(an_owner_takes_its_own_along),
        cmocka_unit_test(too_many_of_one_owner_leave_room_for_others),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
