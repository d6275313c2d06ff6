/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/fake/fake_spawn.h"

#include <errno.h>
#include <signal.h>

#include "tests/fake/fake_clock.h"
#include "tests/unit/test.h"

struct world {
    struct fake_clock *clock;
    struct spawn *sp;
    struct spawn_exit how;
    unsigned exits;
    int refuse;
};

static int
setup(void **state)
{
    static struct world w;

    w = (struct world){.clock = fake_clock_new()};
    w.sp = fake_spawn_new(fake_clock_base(w.clock));
    *state = &w;
    return 0;
}

static int
teardown(void **state)
{
    struct world *w = *state;

    fake_spawn_free(w->sp);
    fake_clock_free(w->clock);
    return 0;
}

static void
on_exit_of(void *arg, const struct spawn_exit *how)
{
    struct world *w = arg;

    w->how = *how;
    w->exits++;
}

static int
on_start_of(void *arg, const struct spawn_spec *spec, int32_t pid)
{
    struct world *w = arg;

    assert_string_equal(spec->argv[0], "vmm");
    assert_true(pid >= 1000);
    return w->refuse;
}

static struct spawn_child *
start(struct world *w)
{
    static const char *const argv[] = {"vmm", NULL};
    struct spawn_spec spec = {.argv = argv, .on_exit = on_exit_of, .arg = w};
    struct spawn_child *child = NULL;

    (void)w->sp->ops->start(w->sp, &spec, &child, NULL);
    return child;
}

static void
an_exit_is_told_once_and_later(void **state)
{
    struct world *w = *state;
    struct spawn_child *child = start(w);
    struct spawn_id id;

    w->sp->ops->id(child, &id);
    assert_int_equal(fake_spawn_running(w->sp), 1);
    assert_int_equal(fake_spawn_exit(w->sp, id.pid, SPAWN_EXIT_CODE, 3), 0);
    assert_int_equal(fake_spawn_exit(w->sp, id.pid, SPAWN_EXIT_CODE, 3), -ESRCH);
    assert_int_equal(w->exits, 0);
    fake_clock_advance(w->clock, 0);
    assert_int_equal(w->exits, 1);
    assert_int_equal(w->how.code, 3);
    assert_int_equal(fake_spawn_running(w->sp), 0);
}

static void
sigkill_ends_and_other_signals_are_remembered(void **state)
{
    struct world *w = *state;
    struct spawn_child *child = start(w);
    struct spawn_id id;

    w->sp->ops->id(child, &id);
    assert_int_equal(fake_spawn_last_signal(w->sp, id.pid), 0);
    assert_int_equal(w->sp->ops->kill(child, SIGTERM), 0);
    fake_clock_advance(w->clock, 1000);
    assert_int_equal(w->exits, 0);
    assert_int_equal(fake_spawn_last_signal(w->sp, id.pid), SIGTERM);
    assert_int_equal(w->sp->ops->kill(child, SIGKILL), 0);
    assert_int_equal(w->sp->ops->kill(child, SIGKILL), -ESRCH);
    fake_clock_advance(w->clock, 0);
    assert_int_equal(w->how.kind, SPAWN_EXIT_SIGNAL);
    assert_int_equal(fake_spawn_last_signal(w->sp, id.pid), -ESRCH);
}

static void
a_start_may_be_refused(void **state)
{
    struct world *w = *state;

    fake_spawn_on_start(w->sp, on_start_of, w);
    w->refuse = -ENOENT;
    assert_null(start(w));
    assert_int_equal(fake_spawn_running(w->sp), 0);
    w->refuse = 0;
    assert_non_null(start(w));
}

static void
a_planted_process_can_be_adopted_by_its_whole_id(void **state)
{
    struct world *w = *state;
    struct spawn_child *child;
    struct spawn_id id, wrong;

    assert_int_equal(fake_spawn_plant(w->sp, &id), 0);
    wrong = id;
    wrong.start_time++;
    assert_int_equal(w->sp->ops->adopt(w->sp, &wrong, on_exit_of, w, &child, NULL),
                     -ESRCH);
    assert_int_equal(w->sp->ops->adopt(w->sp, &id, on_exit_of, w, &child, NULL), 0);
    assert_int_equal(fake_spawn_exit(w->sp, id.pid, SPAWN_EXIT_CODE, 3), 0);
    fake_clock_advance(w->clock, 0);
    assert_int_equal(w->how.kind, SPAWN_EXIT_UNKNOWN);
}

static void
a_released_process_runs_on_unheard(void **state)
{
    struct world *w = *state;
    struct spawn_child *child = start(w);
    struct spawn_id id;

    w->sp->ops->id(child, &id);
    w->sp->ops->release(child);
    assert_int_equal(fake_spawn_running(w->sp), 1);
    assert_int_equal(fake_spawn_exit(w->sp, id.pid, SPAWN_EXIT_CODE, 0), 0);
    fake_clock_advance(w->clock, 0);
    assert_int_equal(w->exits, 0);
    assert_int_equal(fake_spawn_running(w->sp), 0);
}

#define SPAWN_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        SPAWN_TEST(an_exit_is_told_once_and_later),
        SPAWN_TEST(sigkill_ends_and_other_signals_are_remembered),
        SPAWN_TEST(a_start_may_be_refused),
        SPAWN_TEST(a_planted_process_can_be_adopted_by_its_whole_id),
        SPAWN_TEST(a_released_process_runs_on_unheard),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
