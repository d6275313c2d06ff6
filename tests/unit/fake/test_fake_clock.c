/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/fake/fake_clock.h"

#include "core/base/cleanup.h"
#include "tests/unit/test.h"

struct note {
    struct vmt_clock *clock;
    char text[16];
    uint64_t at[16];
    size_t n;
};
struct mark {
    struct note *note;
    char letter;
    int again;
    uint64_t every_ms;
};

static void
mark_fire(void *arg)
{
    struct mark *m = arg;
    struct note *note = m->note;
    struct vmt_timer *timer;

    note->at[note->n] = note->clock->ops->now_ms(note->clock);
    note->text[note->n++] = m->letter;
    if (m->again-- > 0)
        assert_int_equal(
            note->clock->ops->timer_start(note->clock, m->every_ms, mark_fire, m, &timer),
            0);
}

VMT_DEFINE_FREEP(struct fake_clock, fake_clock_free)

static void
timers_run_in_order_each_at_its_own_time(void **state)
{
    VMT_CLEANUP(fake_clock_freep) struct fake_clock *fake = fake_clock_new();
    struct vmt_clock *clock = fake_clock_base(fake);
    struct note note = {.clock = clock};
    struct mark a = {&note, 'a', 0, 0}, b = {&note, 'b', 2, 10}, c = {&note, 'c', 0, 0};
    struct vmt_timer *timer;
    uint64_t begin = clock->ops->now_ms(clock);

    (void)state;
    assert_int_equal(clock->ops->timer_start(clock, 15, mark_fire, &a, &timer), 0);
    assert_int_equal(clock->ops->timer_start(clock, 0, mark_fire, &b, &timer), 0);
    assert_int_equal(clock->ops->timer_start(clock, 15, mark_fire, &c, &timer), 0);
    assert_int_equal(note.n, 0);
    assert_int_equal(fake_clock_next_ms(fake), 0);
    fake_clock_advance(fake, 0);
    assert_string_equal(note.text, "b");
    fake_clock_advance(fake, 100);
    assert_string_equal(note.text, "bbacb");
    assert_int_equal(note.at[1] - begin, 10);
    assert_int_equal(note.at[2] - begin, 15);
    assert_int_equal(note.at[4] - begin, 20);
    assert_int_equal(clock->ops->now_ms(clock) - begin, 100);
    assert_int_equal(fake_clock_pending(fake), 0);
    assert_true(fake_clock_next_ms(fake) == UINT64_MAX);
}

static void
a_cancelled_timer_is_gone_and_the_rest_is_released(void **state)
{
    VMT_CLEANUP(fake_clock_freep) struct fake_clock *fake = fake_clock_new();
    struct vmt_clock *clock = fake_clock_base(fake);
    struct note note = {.clock = clock};
    struct mark a = {&note, 'a', 0, 0};
    struct vmt_timer *timer, *left;

    (void)state;
    assert_int_equal(clock->ops->timer_start(clock, 5, mark_fire, &a, &timer), 0);
    assert_int_equal(clock->ops->timer_start(clock, 500, mark_fire, &a, &left), 0);
    clock->ops->timer_cancel(clock, timer);
    clock->ops->timer_cancel(clock, NULL);
    fake_clock_advance(fake, 100);
    assert_int_equal(note.n, 0);
    assert_int_equal(fake_clock_pending(fake), 1);
}

static void
the_wall_moves_with_the_clock(void **state)
{
    VMT_CLEANUP(fake_clock_freep) struct fake_clock *fake = fake_clock_new();
    struct vmt_clock *clock = fake_clock_base(fake);
    int64_t sec;
    int32_t nsec;

    (void)state;
    fake_clock_set_wall(fake, 1000);
    fake_clock_advance(fake, 1500);
    clock->ops->wall(clock, &sec, &nsec);
    assert_int_equal(sec, 1001);
    assert_int_equal(nsec, 500000000);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(timers_run_in_order_each_at_its_own_time),
        cmocka_unit_test(a_cancelled_timer_is_gone_and_the_rest_is_released),
        cmocka_unit_test(the_wall_moves_with_the_clock),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
