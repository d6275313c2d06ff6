/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/linux/os/loop.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/adapter/stream.h"
#include "platform/linux/os/stream_fd.h"
#include "tests/unit/os/support.h"

struct note {
    char text[32];
    size_t n;
};
struct mark {
    struct note *note;
    struct os_loop *loop;
    struct vmt_timer *timer, *victim;
    char letter;
    int again; /* start this many more at once */
};

static void mark_fire(void *arg);

static void
mark_start(struct mark *m, uint64_t delay_ms)
{
    struct vmt_clock *clock = os_loop_clock(m->loop);

    assert_int_equal(clock->ops->timer_start(clock, delay_ms, mark_fire, m, &m->timer),
                     0);
}

static void
mark_fire(void *arg)
{
    struct mark *m = arg;
    struct vmt_clock *clock = os_loop_clock(m->loop);

    m->timer = NULL;
    m->note->text[m->note->n++] = m->letter;
    clock->ops->timer_cancel(clock, vmt_take_ptr(&m->victim));
    if (m->again-- > 0)
        mark_start(m, 0);
}

static void
timers_run_in_the_order_of_their_time_then_of_their_start(void **state)
{
    struct note note = {0};
    static const unsigned delay[] = {20, 0, 10, 0, 10, 30};
    struct mark m[6] = {0};

    for (int i = 0; i < 6; i++) {
        m[i] = (struct mark){.note = &note, .loop = *state, .letter = (char)('a' + i)};
        mark_start(&m[i], delay[i]);
        assert_int_equal(note.n, 0); /* never from inside the start */
    }
    assert_int_equal(os_loop_run(*state), 0); /* ends: nothing is left to wait for */
    assert_string_equal(note.text, "bdceaf");
}

static void
a_cancelled_timer_never_runs_even_from_another_timer_of_the_same_turn(void **state)
{
    struct note note = {0};
    struct mark a = {.note = &note, .loop = *state, .letter = 'a'}, b = a, c = a;
    struct vmt_clock *clock = os_loop_clock(*state);

    b.letter = 'b';
    c.letter = 'c';
    mark_start(&a, 0);
    mark_start(&b, 0);
    mark_start(&c, 5);
    a.victim = b.timer;
    clock->ops->timer_cancel(clock, c.timer);
    clock->ops->timer_cancel(clock, NULL);
    assert_int_equal(os_loop_run(*state), 0);
    assert_string_equal(note.text, "a");
}

static void
a_timer_that_starts_itself_anew_leaves_room_for_others(void **state)
{
    struct note note = {0};
    struct mark a = {.note = &note, .loop = *state, .letter = 'a', .again = 2}, b = a;

    b.letter = 'b';
    b.again = 0;
    mark_start(&a, 0);
    mark_start(&b, 0);
    assert_int_equal(os_loop_run(*state), 0);
    assert_string_equal(note.text, "abaa");
}

static void
many_timers_cancelled_in_any_order_keep_the_heap_right(void **state)
{
    enum { COUNT = 500 };
    static struct mark m[COUNT];
    struct note note = {0};
    struct vmt_clock *clock = os_loop_clock(*state);
    unsigned seed = 7;

    for (int i = 0; i < COUNT; i++) {
        m[i] = (struct mark){.note = &note, .loop = *state, .letter = 'x'};
        seed = seed * 1103515245u + 12345u;
        mark_start(&m[i], 1000000 + (seed >> 16) % 1000);
    }
    for (int i = 0; i < COUNT; i++) /* 7 and COUNT have no common factor */
        clock->ops->timer_cancel(clock, vmt_take_ptr(&m[i * 7 % COUNT].timer));
    assert_int_equal(os_loop_run(*state), 0); /* or it would wait for 1000 s */
    assert_int_equal(note.n, 0);
}

static void
timers_left_over_are_released_with_the_loop(void **state)
{
    struct note note = {0};
    static struct mark m;

    m = (struct mark){.note = &note, .loop = *state};
    mark_start(&m, 1000000); /* the leak checker says whether it is */
}

static void
the_clock_goes_forward(void **state)
{
    struct vmt_clock *clock = os_loop_clock(*state);
    uint64_t us = clock->ops->now_us(clock), ms = clock->ops->now_ms(clock);
    int64_t sec = 0;
    int32_t nsec = -1;

    assert_true(ms >= us / 1000);
    assert_true(clock->ops->now_us(clock) >= us);
    clock->ops->wall(clock, &sec, &nsec);
    assert_true(sec > 1700000000);
    assert_in_range(nsec, 0, 999999999);
}

static void
stop_from_timer(void *arg)
{
    os_loop_stop(arg, 42);
}

static void
stop_gives_run_its_code_and_a_later_run_is_possible(void **state)
{
    struct vmt_clock *clock = os_loop_clock(*state);
    struct vmt_timer *timer;

    os_loop_stop(*state, 7);
    assert_int_equal(os_loop_run(*state), 7); /* a stop before the run counts */
    assert_int_equal(clock->ops->timer_start(clock, 0, stop_from_timer, *state, &timer),
                     0);
    assert_int_equal(os_loop_run(*state), 42);
    assert_int_equal(os_loop_run(*state), 0);
}

struct caught {
    struct os_loop *loop;
    int first, last;
};

static void
catch_first(void *arg, int sig)
{
    struct caught *c = arg;

    c->first = sig;
}

static void
catch_last(void *arg, int sig)
{
    struct caught *c = arg;

    c->last = sig;
    os_loop_stop(c->loop, 0);
}

static void
the_last_handler_of_a_signal_wins(void **state)
{
    struct caught c = {.loop = *state};

    assert_int_equal(os_loop_on_signal(*state, SIGUSR1, catch_first, &c, NULL), 0);
    assert_int_equal(os_loop_on_signal(*state, SIGUSR1, catch_last, &c, NULL), 0);
    assert_int_equal(raise(SIGUSR1), 0);
    assert_int_equal(c.last, 0); /* from the loop, not from the signal */
    assert_int_equal(os_loop_run(*state), 0);
    assert_int_equal(c.first, 0);
    assert_int_equal(c.last, SIGUSR1);
}

static void
process_init_fills_the_standard_descriptors(void **state)
{
    int saved = dup(0);

    (void)state;
    assert_true(saved > 2);
    assert_int_equal(close(0), 0);
    os_process_init();
    assert_true(fcntl(0, F_GETFD) >= 0);
    assert_int_equal(dup2(saved, 0), 0);
    assert_int_equal(close(saved), 0);
}

static void
close_from_closes_all_above(void **state)
{
    int status;
    pid_t pid = fork(); /* the test runner may have left us descriptors of its own */

    (void)state;
    assert_true(pid >= 0);
    if (pid == 0) {
        int high = fcntl(0, F_DUPFD, 200), higher = fcntl(0, F_DUPFD, high + 100);

        os_close_from(high);
        _exit(fcntl(high, F_GETFD) == -1 && fcntl(higher, F_GETFD) == -1 &&
                      fcntl(0, F_GETFD) >= 0
                  ? 0
                  : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

/* A byte that goes to and fro between two streams. */
struct rally {
    struct os_loop *loop;
    struct stream *s[2];
    unsigned turns;
    bool timer_ran;
};

struct racket {
    struct rally *rally;
    int side;
};

static void
racket_on_data(void *arg, const uint8_t *data, size_t len)
{
    struct racket *r = arg;
    struct rally *rally = r->rally;

    if (++rally->turns > 1000 && rally->timer_ran)
        os_loop_stop(rally->loop, 7);
    else
        (void)rally->s[r->side]->ops->send(rally->s[r->side], data, len, NULL, 0);
}

static void
racket_on_end(void *arg, int status)
{
    (void)arg, (void)status;
    fail_msg("the rally broke");
}

static void
rally_on_timer(void *arg)
{
    ((struct rally *)arg)->timer_ran = true;
}

/* So many events in quick succession that the loop polls: timers run all the same, a stop
 * stops it, and without anything to wait for it ends. */
static void
a_loop_that_polls_does_all_else_too(void **state)
{
    static const struct stream_handler handler = {.on_data = racket_on_data,
                                                  .on_end = racket_on_end};
    struct rally rally = {.loop = *state};
    struct racket rackets[2] = {{&rally, 0}, {&rally, 1}};
    struct vmt_clock *clock = os_loop_clock(*state);
    struct vmt_timer *timer;

    assert_int_equal(os_stream_pair(*state, rally.s, NULL), 0);
    for (int i = 0; i < 2; i++)
        rally.s[i]->ops->set_handler(rally.s[i], &handler, &rackets[i]);
    assert_int_equal(clock->ops->timer_start(clock, 5, rally_on_timer, &rally, &timer),
                     0);
    assert_int_equal(rally.s[0]->ops->send(rally.s[0], "x", 1, NULL, 0), 0);
    assert_int_equal(os_loop_run(*state), 7);
    assert_true(rally.timer_ran);
    for (int i = 0; i < 2; i++)
        stream_close(rally.s[i]);
    assert_int_equal(os_loop_run(*state), 0);
}

#define LOOP_TEST(f)                                                                     \
    cmocka_unit_test_setup_teardown(f, test_loop_setup, test_loop_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        LOOP_TEST(timers_run_in_the_order_of_their_time_then_of_their_start),
        LOOP_TEST(a_cancelled_timer_never_runs_even_from_another_timer_of_the_same_turn),
        LOOP_TEST(a_timer_that_starts_itself_anew_leaves_room_for_others),
        LOOP_TEST(many_timers_cancelled_in_any_order_keep_the_heap_right),
        LOOP_TEST(timers_left_over_are_released_with_the_loop),
        LOOP_TEST(the_clock_goes_forward),
        LOOP_TEST(stop_gives_run_its_code_and_a_later_run_is_possible),
        LOOP_TEST(a_loop_that_polls_does_all_else_too),
        LOOP_TEST(the_last_handler_of_a_signal_wins),
        LOOP_TEST(process_init_fills_the_standard_descriptors),
        LOOP_TEST(close_from_closes_all_above),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
