/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/guest/maitred/proc/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "platform/guest/maitred/proc/table.h"
#include "tests/fake/fake_clock.h"
#include "tests/unit/test.h"

struct room {
    struct fake_clock *clock;
    struct proc_table table;
    int status;
    char msg[VMT_ERR_MSG_MAX];
    unsigned done;
};

static int
set_up(void **state)
{
    static struct room room;

    room = (struct room){.clock = fake_clock_new()};
    proc_table_init(&room.table, fake_clock_base(room.clock), NULL);
    *state = &room;
    return 0;
}

static int
tear_down(void **state)
{
    struct room *room = *state;

    proc_table_done(&room->table);
    fake_clock_free(room->clock);
    return 0;
}

static void
on_done(void *arg, int status, const struct vmt_err *err)
{
    struct room *room = arg;

    room->status = status;
    room->done++;
    if (status < 0)
        (void)strcpy(room->msg, err->msg);
}

static void
start(struct room *room, worker_fn *fn, void *arg)
{
    const struct worker_spec spec = {
        .fn = fn, .fn_arg = arg, .timeout_ms = 1000, .on_done = on_done, .arg = room};

    assert_int_equal(worker_start(&room->table, &spec, NULL), 0);
    assert_int_equal(room->done, 0);
}

static void
reap(struct room *room)
{
    siginfo_t info;

    assert_int_equal(waitid(P_ALL, 0, &info, WEXITED | WNOWAIT), 0);
    proc_table_reap(&room->table);
}

/* Fails with words when any descriptor but 0 to 2 is open. */
static int
check_descriptors(void *arg, struct vmt_err *err)
{
    (void)arg;
    for (int fd = 3; fd < 100; fd++) {
        if (fcntl(fd, F_GETFD) >= 0)
            return vmt_err_setx(err, EBADF, "descriptor %d is open", fd);
    }
    return 0;
}

static int
fail_with_words(void *arg, struct vmt_err *err)
{
    return vmt_err_set(err, ENOSPC, "write %s", (const char *)arg);
}

static int
die(void *arg, struct vmt_err *err)
{
    (void)arg;
    (void)err;
    (void)raise(SIGKILL);
    return 0;
}

static int
hang(void *arg, struct vmt_err *err)
{
    (void)arg;
    (void)err;
    while (true)
        (void)pause();
    return 0;
}

static void
status_and_words_come_back(void **state)
{
    struct room *room = *state;

    start(room, check_descriptors, NULL);
    reap(room);
    assert_int_equal(room->done, 1);
    assert_int_equal(room->status, 0);
    room->done = 0;
    start(room, fail_with_words, "disk");
    reap(room);
    assert_int_equal(room->status, -ENOSPC);
    assert_string_equal(room->msg, "write disk: No space left on device");
    assert_int_equal(fake_clock_pending(room->clock), 0);
}

static void
a_worker_that_dies_is_an_error(void **state)
{
    struct room *room = *state;

    start(room, die, NULL);
    reap(room);
    assert_int_equal(room->status, -EIO);
    assert_non_null(strstr(room->msg, "signal 9"));
}

static void
a_worker_that_hangs_is_killed_and_not_waited_for(void **state)
{
    struct room *room = *state;

    start(room, hang, NULL);
    fake_clock_advance(room->clock, 999);
    assert_int_equal(room->done, 0);
    fake_clock_advance(room->clock, 1);
    assert_int_equal(room->done, 1);
    assert_int_equal(room->status, -ETIMEDOUT);
    reap(room);
    assert_int_equal(room->done, 1);
    assert_int_equal(room->table.n, 0);
}

static int
double_it(void *arg, struct vmt_err *err)
{
    int *n = arg;

    *n *= 2;
    return *n < 100 ? 0 : vmt_err_setx(err, ERANGE, "%d is too much", *n);
}

static void
what_it_finds_out_comes_back(void **state)
{
    struct room *room = *state;
    int n = 21;
    struct worker_spec spec = {.fn = double_it,
                               .fn_arg = &n,
                               .timeout_ms = 1000,
                               .on_done = on_done,
                               .arg = room,
                               .result = &n,
                               .result_bytes = sizeof(n)};

    assert_int_equal(worker_start(&room->table, &spec, NULL), 0);
    assert_int_equal(n, 21);
    reap(room);
    assert_int_equal(room->status, 0);
    assert_int_equal(n, 42);
    n = 60;
    assert_int_equal(worker_start(&room->table, &spec, NULL), 0);
    reap(room);
    assert_int_equal(room->status, -ERANGE);
    assert_int_equal(n, 120);
    spec.fn = die;
    assert_int_equal(worker_start(&room->table, &spec, NULL), 0);
    reap(room);
    assert_int_equal(n, 120);
}

/* Killed ones are not reaped here, as if a disk held them. */
static void
only_so_many_may_hang(void **state)
{
    struct room *room = *state;
    const struct worker_spec spec = {
        .fn = hang, .timeout_ms = 1000, .on_done = on_done, .arg = room};
    struct vmt_err err;

    for (int i = 0; i < WORKER_HANGING_MAX; i++) {
        start(room, hang, NULL);
        fake_clock_advance(room->clock, 1000);
        room->done = 0;
    }
    assert_int_equal(room->table.abandoned, WORKER_HANGING_MAX);
    assert_int_equal(worker_start(&room->table, &spec, &err), -EAGAIN);
    assert_non_null(strstr(err.msg, "hang"));
    proc_table_stop(&room->table); /* the last one is always started */
    assert_int_equal(worker_start(&room->table, &spec, NULL), 0);
    fake_clock_advance(room->clock, 1000);
    while (room->table.n > 0)
        reap(room);
    assert_int_equal(room->table.abandoned, 0);
}

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(status_and_words_come_back),
        T(a_worker_that_dies_is_an_error),
        T(a_worker_that_hangs_is_killed_and_not_waited_for),
        T(what_it_finds_out_comes_back),
        T(only_so_many_may_hang),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
