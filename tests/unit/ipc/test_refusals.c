/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/unit/ipc/test_refusals.c - how much the log hears of calls that are refused. */
#include <string.h>

#include "core/base/cleanup.h"
#include "core/base/log.h"
#include "tests/fake/fake_clock.h"
#include "tests/fake/fake_ipc.h"
#include "tests/unit/test.h"

#define SECOND_MS 1000u
#define MINUTE_MS 60000u

static struct {
    struct fake_clock *clock;
    struct fake_daemon daemon;
    struct ipc *ipc;
    int lines;
    char last[512];
} world;

static void
remember_line(void *arg, enum vmt_log_level level, const char *line)
{
    (void)arg;
    (void)level;
    world.lines++;
    (void)snprintf(world.last, sizeof(world.last), "%s", line);
}

static int
setup(void **state)
{
    struct ipc_identity self = {.uid = FAKE_UID_DAEMON};

    (void)state;
    memset(&world, 0, sizeof(world));
    world.clock = fake_clock_new();
    assert_non_null(world.clock);
    self.clock = fake_clock_base(world.clock);
    assert_int_equal(ipc_new(&fake_service, &world.daemon, &self, &world.ipc, NULL), 0);
    vmt_log_init("test", remember_line, NULL);
    return 0;
}

static int
teardown(void **state)
{
    (void)state;
    vmt_log_init("test", NULL, NULL);
    ipc_free(world.ipc);
    fake_clock_free(world.clock);
    return 0;
}

/* Somebody without a right to it. Returns the lines that it caused. */
static int
denied(uint32_t uid)
{
    struct fake_answer a;
    int before = world.lines;

    fake_call(world.ipc, "StopAllVms", uid, NULL, 0, NULL, 0, &a);
    assert_int_equal(a.failures, 1);
    assert_int_equal(a.code, IPC_ERROR_ACCESS_DENIED);
    return world.lines - before;
}

/* Bytes that are no StartVmRequest. */
static int
garbled(uint32_t uid)
{
    struct fake_answer a;
    int before = world.lines;

    fake_call(world.ipc, "StartVm", uid, (const uint8_t *)"\xff", 1, NULL, 0, &a);
    assert_int_equal(a.failures, 1);
    assert_int_equal(a.code, IPC_ERROR_INVALID_ARGS);
    return world.lines - before;
}

static int (*const kinds[])(uint32_t uid) = {denied, garbled};

/* Two uids of one person, in turns, until a third hears of nothing. */
static int
use_up(int (*refuse)(uint32_t uid))
{
    int lines = 0;

    for (uint32_t i = 0; i < 5000; i++)
        lines += refuse(FAKE_UID_USER + i % 2);
    assert_int_equal(refuse(FAKE_UID_USER + 2), 0);
    return lines;
}

static void
rows_that_were_used_up_are_back_after_a_quiet_minute(void **state)
{
    char uid[16];

    (void)state;
    for (size_t i = 0; i < VMT_ARRAY_SIZE(kinds); i++) {
        assert_in_range(use_up(kinds[i]), 2, 100);
        fake_clock_advance(world.clock, MINUTE_MS);
        for (uint32_t n = 0; n < 5; n++) { /* a line for each, and each with its uid */
            assert_int_equal(kinds[i](FAKE_UID_USER + 2 + n), 1);
            (void)snprintf(uid, sizeof(uid), "uid=%u ", FAKE_UID_USER + 2 + n);
            assert_non_null(strstr(world.last, uid));
            assert_non_null(strstr(world.last, "times=1"));
        }
    }
}

static void
whoever_was_lost_in_the_row_of_another_gets_one_with_the_next(void **state)
{
    (void)state;
    for (size_t i = 0; i < VMT_ARRAY_SIZE(kinds); i++) {
        (void)use_up(kinds[i]);
        fake_clock_advance(world.clock, 10 * SECOND_MS);
        assert_int_equal(kinds[i](FAKE_UID_USER + 2), 1);
        assert_non_null(strstr(world.last, "uid=1002 "));
    }
}

static void
who_goes_on_all_day_long_does_not_fill_the_log(void **state)
{
    enum { MINUTES = 60, EACH = 200 };
    int lines = 0;

    (void)state;
    (void)use_up(denied);
    for (uint32_t i = 0; i < MINUTES * EACH; i++) {
        fake_clock_advance(world.clock, MINUTE_MS / EACH);
        lines += denied(FAKE_UID_USER + i % 2);
    }
    assert_in_range(lines, MINUTES, MINUTES * 6 * 8);
}

static void
a_row_ends_with_a_quiet_minute_and_not_before(void **state)
{
    (void)state;
    for (int i = 0; i < 1000; i++)
        (void)denied(FAKE_UID_USER);
    fake_clock_advance(world.clock, MINUTE_MS - 1);
    assert_int_equal(denied(FAKE_UID_USER), 0);
    fake_clock_advance(world.clock, MINUTE_MS);
    assert_int_equal(denied(FAKE_UID_USER), 1);
    assert_non_null(strstr(world.last, "uid=1000 pid=77 owner= times=1"));
}

static void
rows_do_not_gather_beyond_their_number(void **state)
{
    (void)state;
    fake_clock_advance(world.clock, 1000u * MINUTE_MS);
    assert_in_range(use_up(denied), 2, 100);
}

#define TEST_WORLD(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_WORLD(rows_that_were_used_up_are_back_after_a_quiet_minute),
        TEST_WORLD(whoever_was_lost_in_the_row_of_another_gets_one_with_the_next),
        TEST_WORLD(who_goes_on_all_day_long_does_not_fill_the_log),
        TEST_WORLD(a_row_ends_with_a_quiet_minute_and_not_before),
        TEST_WORLD(rows_do_not_gather_beyond_their_number),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
