/* SPDX-License-Identifier: BSD-3-Clause */
/* Memory runs out at every step: each handshake is answered once, nothing leaks (the
 * sanitizer says so), and no byte arrives that was not sent. */
#include <errno.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "platform/linux/tls/tls_internal.h"
#include "tests/unit/rpc/alloc.h"
#include "tests/unit/test.h"
#include "tests/unit/tls/world.h"

static void
a_context_without_memory_is_none(void **state)
{
    struct tls_world *w = *state;
    const struct tls_config config = {.server = true,
                                      .chain.pem = w->server_cert.pem,
                                      .key.pem = w->server_cert.text,
                                      .roots.pem = w->ca.pem};
    size_t n = 0;
    int r;

    for (bool failed = true; failed; n++) {
        struct tls_context *context = NULL;

        alloc_fail_after(n);
        r = tls_context_new(fake_clock_base(w->clock), &config, &context, NULL);
        failed = alloc_fail_over();
        assert_int_equal(r, failed ? -ENOMEM : 0);
        tls_context_free(context);
    }
    assert_true(n > 3);
}

static void
say_something(struct tls_side *side)
{
    static const uint8_t bulk[5000];

    for (int i = 0; side->s && i < 3; i++)
        (void)side->s->ops->send(side->s, bulk, sizeof(bulk), NULL, 0);
    if (side->s)
        side->s->ops->shutdown_send(side->s);
}

/* Returns whether an allocation failed. */
static bool
talk_with_failure(struct tls_world *w, size_t n)
{
    bool failed;

    tls_world_wire(w);
    alloc_fail_after(n);
    if (tls_side_try(&w->s, w->server, NULL, NULL) == 0 &&
        tls_side_try(&w->c, w->client, "vm.example", NULL) == 0) {
        w->s.discard = w->c.discard = true;
        tls_world_run(w);
        say_something(&w->c);
        tls_world_run(w);
    }
    failed = alloc_fail_over();
    /* Whoever waits in vain for the other is freed by the deadline. */
    fake_clock_advance(w->clock, 20000);
    assert_int_equal(w->s.times, w->s.below ? 1 : 0);
    assert_int_equal(w->c.times, w->c.below ? 1 : 0);
    if (w->s.ended && w->s.status == 0)
        assert_int_equal(w->s.total, 15000);
    assert_true(failed || (w->s.ended && w->s.status == 0));
    tls_world_reset(w);
    tls_world_run(w);
    return failed;
}

static void
a_connection_without_memory_ends_and_tells_no_lies(void **state)
{
    size_t n = 0;

    while (talk_with_failure(*state, n))
        n++;
    assert_true(n > 15);
}

/* --- no timer for the next turn --- */

static struct {
    const struct vmt_clock_ops *real;
    const void *of; /* who gets no timer; NULL: everybody does */
    unsigned refused;
} miser;

static int
miser_timer_start(struct vmt_clock *clock, uint64_t delay_ms, vmt_timer_fn *fn, void *arg,
                  struct vmt_timer **ret_timer)
{
    if (arg != miser.of)
        return miser.real->timer_start(clock, delay_ms, fn, arg, ret_timer);
    miser.refused++;
    return -ENOMEM;
}

/* The clock has no timers for this side from now on. */
static void
grant_nothing_to(struct tls_side *side)
{
    static struct vmt_clock_ops ops;
    struct vmt_clock *clock = fake_clock_base(side->w->clock);

    if (clock->ops != &ops)
        miser.real = clock->ops;
    ops = *miser.real;
    ops.timer_start = miser_timer_start;
    clock->ops = &ops;
    miser.of = VMT_CONTAINER_OF(side->s, struct tls_stream, base);
    miser.refused = 0;
}

/* Returns how often the clock refused. */
static unsigned
grant_again(void)
{
    miser.of = NULL;
    return miser.refused;
}

static void
a_stream_that_got_no_turn_after_its_pause_goes_on_later(void **state)
{
    struct tls_world *w = *state;

    tls_world_connect(w);
    w->s.pause_in_data = true;
    for (int i = 0; i < 3; i++)
        tls_side_send(&w->c, "record", 6);
    tls_world_run(w);
    assert_int_equal(w->s.total, 6);
    w->s.pause_in_data = false;
    grant_nothing_to(&w->s);
    w->s.s->ops->pause(w->s.s, false);
    assert_int_equal(grant_again(), 1);
    tls_world_run(w);
    assert_int_equal(w->s.total, 6);
    fake_clock_advance(w->clock, TLS_WATCH_MS);
    assert_int_equal(w->s.total, 18);
    assert_false(w->s.ended);
}

/* With more than any buffer of the stream has room for already. */
static void
fail_to_send(struct tls_side *side)
{
    static const uint8_t bulk[256 * 1024];

    alloc_fail_after(0);
    assert_int_equal(side->s->ops->send(side->s, bulk, sizeof(bulk), NULL, 0), -EPIPE);
    assert_true(alloc_fail_over());
}

static void
a_send_that_failed_is_told_even_without_a_turn(void **state)
{
    struct tls_world *w = *state;

    tls_world_connect(w);
    grant_nothing_to(&w->c);
    fail_to_send(&w->c);
    assert_int_equal(grant_again(), 1);
    tls_world_run(w);
    assert_false(w->c.ended);
    fake_clock_advance(w->clock, TLS_WATCH_MS);
    assert_true(w->c.ended);
    assert_int_equal(w->c.status, -EPIPE);
}

/* Another use of what is broken tries again, at once. */
static void
the_next_send_after_a_failed_one_gets_the_end_told(void **state)
{
    struct tls_world *w = *state;

    tls_world_connect(w);
    grant_nothing_to(&w->c);
    fail_to_send(&w->c);
    assert_int_equal(grant_again(), 1);
    assert_int_equal(w->c.s->ops->send(w->c.s, "x", 1, NULL, 0), -EPIPE);
    tls_world_run(w);
    assert_true(w->c.ended);
    assert_int_equal(w->c.status, -EPIPE);
}

static void
a_stream_that_cannot_be_watched_ends(void **state)
{
    struct tls_world *w = *state;

    tls_world_connect(w);
    fake_clock_advance(w->clock, 10 * TLS_WATCH_MS);
    tls_side_send(&w->c, "still here", 10);
    tls_world_run(w);
    assert_int_equal(w->s.total, 10);
    grant_nothing_to(&w->s);
    fake_clock_advance(w->clock, TLS_WATCH_MS);
    assert_true(grant_again() > 0);
    assert_true(w->s.ended);
    assert_int_equal(w->s.status, -ENOMEM);
    assert_int_equal(w->s.s->ops->send(w->s.s, "x", 1, NULL, 0), -EPIPE);
}

#define FAULT_TEST(f)                                                                    \
    cmocka_unit_test_setup_teardown(f, tls_world_setup, tls_world_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        FAULT_TEST(a_context_without_memory_is_none),
        FAULT_TEST(a_connection_without_memory_ends_and_tells_no_lies),
        FAULT_TEST(a_stream_that_got_no_turn_after_its_pause_goes_on_later),
        FAULT_TEST(a_send_that_failed_is_told_even_without_a_turn),
        FAULT_TEST(the_next_send_after_a_failed_one_gets_the_end_told),
        FAULT_TEST(a_stream_that_cannot_be_watched_ends),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
