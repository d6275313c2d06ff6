/* SPDX-License-Identifier: BSD-3-Clause */
/* Real processes, a fake clock. The kernel says when one ended: nothing here sleeps. */
#include "platform/guest/maitred/proc/table.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <event2/event.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/log.h"
#include "platform/guest/maitred/proc/extra.h"
#include "tests/fake/fake_clock.h"
#include "tests/unit/test.h"

struct room {
    struct fake_clock *clock;
    struct event_base *base;
    struct proc_table table;
    struct proc_exit last;
    unsigned exits, given_up, starts, degraded;
    int start_result; /* of the last start that was told */
    char start_words[VMT_ERR_MSG_MAX];
};

static void
on_given_up(void *arg, const char *program)
{
    struct room *room = arg;

    assert_string_equal(program, "false");
    room->given_up++;
}

static void
on_degraded(void *arg, const char *program, const char *why)
{
    struct room *room = arg;

    assert_string_equal(program, "true");
    assert_non_null(strstr(why, "without its limits"));
    room->degraded++;
}

static void
swallow(void *arg, enum vmt_log_level level, const char *line)
{
    (void)arg;
    (void)level;
    (void)line;
}

static int
set_up(void **state)
{
    static struct room room;

    vmt_log_init("test", swallow, NULL);
    room = (struct room){.clock = fake_clock_new(), .base = event_base_new()};
    assert_non_null(room.base);
    proc_table_init(&room.table, fake_clock_base(room.clock), room.base);
    room.table.on_given_up = on_given_up;
    room.table.on_degraded = on_degraded;
    room.table.arg = &room;
    *state = &room;
    return 0;
}

static int
tear_down(void **state)
{
    struct room *room = *state;

    proc_table_done(&room->table);
    event_base_free(room->base);
    fake_clock_free(room->clock);
    return 0;
}

static void
on_start_of_child(void *arg, int r, const struct vmt_err *err)
{
    struct room *room = arg;

    room->start_result = r;
    (void)snprintf(room->start_words, sizeof(room->start_words), "%s",
                   r < 0 ? err->msg : "");
    room->starts++;
}

static void
on_exit_of_child(void *arg, const struct proc_exit *how)
{
    struct room *room = arg;

    room->last = *how;
    room->exits++;
}

/* Block until some child ended, then reap as the loop would at SIGCHLD. */
static void
reap(struct room *room)
{
    siginfo_t info;

    assert_int_equal(waitid(P_ALL, 0, &info, WEXITED | WNOWAIT), 0);
    proc_table_reap(&room->table);
}

static int
start(struct room *room, char *const *argv, bool respawn, struct vmt_err *err)
{
    const struct proc_spec spec = {
        .argv = argv,
        .respawn = respawn,
        .on_start = on_start_of_child,
        .on_exit = respawn ? NULL : on_exit_of_child,
        .arg = room,
    };

    return proc_start(&room->table, &spec, NULL, err);
}

static void
the_end_of_a_process_is_told(void **state)
{
    struct room *room = *state;
    char *code[] = {"sh", "-c", "exit 42", NULL};
    char *sig[] = {"sh", "-c", "kill -9 $$", NULL};

    assert_int_equal(start(room, code, false, NULL), 0);
    assert_int_equal(room->exits, 0);
    reap(room);
    assert_int_equal(room->last.kind, PROC_EXITED);
    assert_int_equal(room->last.code, 42);
    assert_int_equal(start(room, sig, false, NULL), 0);
    reap(room);
    assert_int_equal(room->last.kind, PROC_SIGNALED);
    assert_int_equal(room->last.code, 9);
    assert_int_equal(room->exits, 2);
    assert_int_equal(room->table.n, 0);
}

/* Descriptors, mask, session and umask of the child, seen by itself. */
static void
children_start_clean(void **state)
{
    struct room *room = *state;
    char *argv[] = {"sh", "-c",
                    "[ \"$(ls /proc/self/fd | wc -w)\" = 4 ] || exit 1\n"
                    "[ \"$(umask)\" = 0022 ] || exit 2\n"
                    "grep -q '^SigBlk:.0*$' /proc/self/status || exit 3\n"
                    "grep -q '^SigIgn:.0*$' /proc/self/status || exit 4\n"
                    "[ \"$(ps -o sid= -p $$ | tr -d ' ')\" = $$ ] || exit 5\n"
                    "[ \"$A\" = 'b=c' ] || exit 6\n",
                    NULL};
    char *env[] = {"A=b=c", NULL};
    const struct proc_spec spec = {
        .argv = argv, .env = env, .on_exit = on_exit_of_child, .arg = room};
    sigset_t set, old;

    assert_true(dup(0) >= 3); /* without close-on-exec */
    (void)signal(SIGPIPE, SIG_IGN);
    (void)signal(SIGRTMIN + 3, SIG_IGN);
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGUSR1);
    (void)sigprocmask(SIG_BLOCK, &set, &old);
    assert_int_equal(proc_start(&room->table, &spec, NULL, NULL), 0);
    (void)sigprocmask(SIG_SETMASK, &old, NULL);
    reap(room);
    assert_int_equal(room->last.kind, PROC_EXITED);
    assert_int_equal(room->last.code, 0);
}

static void
a_program_that_is_not_there_leaves_nothing(void **state)
{
    struct room *room = *state;
    char *gone[] = {"no-such-program", NULL}, *path[] = {"/etc/passwd", NULL};
    struct vmt_err err;

    assert_int_equal(start(room, gone, true, &err), 0);
    assert_int_equal(room->starts, 0); /* never from inside */
    reap(room);
    assert_int_equal(room->start_result, -ENOENT);
    assert_non_null(strstr(room->start_words, "no-such-program"));
    assert_int_equal(start(room, path, false, &err), 0);
    reap(room);
    assert_int_equal(room->start_result, -EACCES);
    assert_int_equal(room->starts, 2);
    assert_int_equal(room->exits, 0);
    assert_int_equal(room->table.n, 0);
    assert_int_equal(room->table.starting, 0);
    assert_int_equal(fake_clock_pending(room->clock), 0);
}

static void
that_a_program_runs_is_told_before_its_end(void **state)
{
    struct room *room = *state;
    char *argv[] = {"sleep", "1000", NULL};
    const struct proc_spec spec = {.argv = argv,
                                   .on_start = on_start_of_child,
                                   .on_exit = on_exit_of_child,
                                   .arg = room};
    struct proc *proc = NULL;

    assert_int_equal(proc_start(&room->table, &spec, &proc, NULL), 0);
    assert_int_equal(room->table.starting, 1);
    while (room->starts == 0)
        assert_int_equal(event_base_loop(room->base, EVLOOP_ONCE), 0);
    assert_int_equal(room->start_result, 0);
    assert_int_equal(room->table.starting, 0);
    assert_int_equal(room->exits, 0);
    proc_stop(proc, SIGKILL, false);
    reap(room);
    assert_int_equal(room->starts, 1);
    assert_int_equal(room->last.kind, PROC_SIGNALED);
}

static void
who_forgets_a_program_hears_nothing_of_it(void **state)
{
    struct room *room = *state;
    char *argv[] = {"no-such-program", NULL};
    const struct proc_spec spec = {.argv = argv,
                                   .on_start = on_start_of_child,
                                   .on_exit = on_exit_of_child,
                                   .arg = room};
    struct proc *proc = NULL;

    assert_int_equal(proc_start(&room->table, &spec, &proc, NULL), 0);
    proc_forget(proc);
    reap(room);
    assert_int_equal(room->starts + room->exits, 0);
    assert_int_equal(room->table.n, 0);
}

/* Accounts are read by the child: a file that does not answer holds only that one up. */
static void
an_unknown_user_is_told(void **state)
{
    struct room *room = *state;
    char *argv[] = {"true", NULL};
    const struct proc_spec spec = {.argv = argv,
                                   .on_start = on_start_of_child,
                                   .arg = room,
                                   .extra = proc_extra_new()};

    spec.extra->user = strdup("nobody-knows-him");
    assert_int_equal(proc_start(&room->table, &spec, NULL, NULL), 0);
    reap(room);
    assert_int_equal(room->start_result, -ENOENT);
    assert_string_equal(room->start_words,
                        "start true: there is no user nobody-knows-him");
}

/* As in a service of another init. */
static void
limits_that_cannot_hold_are_told_once(void **state)
{
    struct room *room = *state;
    char *argv[] = {"true", NULL};
    struct proc_spec spec = {.argv = argv, .arg = room, .extra = proc_extra_new()};

    assert_int_equal(proc_start(&room->table, &spec, NULL, NULL), 0);
    reap(room);
    assert_int_equal(room->degraded, 0); /* nothing was asked for */
    spec.extra = proc_extra_new();
    spec.extra->limits.pids_max = 7;
    spec.respawn = true;
    assert_int_equal(proc_start(&room->table, &spec, NULL, NULL), 0);
    for (int i = 0; i < 3; i++) {
        reap(room);
        fake_clock_advance(room->clock, 3200);
    }
    assert_int_equal(room->degraded, 1);
    proc_table_stop(&room->table);
    while (room->table.n > 0)
        reap(room);
}

/* Each turn takes some, so that who makes children without end does not keep us. */
static void
many_orphans_are_reaped_in_turns(void **state)
{
    struct room *room = *state;
    siginfo_t info;
    unsigned turns = 1;

    for (int i = 0; i < 300; i++) {
        pid_t pid = fork();

        assert_true(pid >= 0);
        if (pid == 0)
            _exit(0);
        assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
    }
    proc_table_reap(&room->table);
    assert_int_equal(waitid(P_ALL, 0, &info, WEXITED | WNOWAIT | WNOHANG), 0);
    for (; fake_clock_pending(room->clock) > 0; turns++)
        fake_clock_advance(room->clock, 0);
    assert_int_equal(turns, 2);
    assert_int_equal(waitid(P_ALL, 0, &info, WEXITED | WNOWAIT), -1);
}

static void
a_program_that_cannot_stay_up_is_given_up(void **state)
{
    struct room *room = *state;
    char *argv[] = {"false", NULL};

    assert_int_equal(start(room, argv, true, NULL), 0);
    for (int i = 1; i < 10; i++) {
        reap(room);
        assert_int_equal(room->given_up, 0);
        assert_int_equal(fake_clock_pending(room->clock), 1);
        fake_clock_advance(room->clock, 3200);
    }
    reap(room);
    assert_int_equal(room->given_up, 1);
    assert_int_equal(room->table.n, 0);
    assert_int_equal(fake_clock_pending(room->clock), 0);
}

static void
after_stop_nothing_starts(void **state)
{
    struct room *room = *state;
    char *argv[] = {"false", NULL};
    struct vmt_err err;

    assert_int_equal(start(room, argv, true, NULL), 0);
    assert_int_equal(start(room, argv, true, NULL), 0);
    reap(room); /* at least one waits for its respawn */
    proc_table_stop(&room->table);
    assert_int_equal(start(room, argv, false, &err), -ESHUTDOWN);
    while (room->table.n > 0)
        reap(room);
    assert_int_equal(fake_clock_pending(room->clock), 0);
    assert_int_equal(room->given_up, 0);
}

static void
orphans_are_reaped_and_forgotten_ones_are_silent(void **state)
{
    struct room *room = *state;
    struct proc *proc;
    pid_t pid = fork();

    if (pid == 0)
        _exit(3);
    reap(room); /* nobody knows this one */
    assert_int_equal(waitpid(pid, NULL, WNOHANG), -1);
    pid = fork();
    if (pid == 0)
        _exit(4);
    assert_int_equal(proc_watch(&room->table, pid, on_exit_of_child, room, &proc, NULL),
                     0);
    proc_forget(proc);
    reap(room);
    assert_int_equal(room->exits, 0);
    assert_int_equal(room->table.n, 0);
}

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(the_end_of_a_process_is_told),
        T(children_start_clean),
        T(a_program_that_is_not_there_leaves_nothing),
        T(that_a_program_runs_is_told_before_its_end),
        T(who_forgets_a_program_hears_nothing_of_it),
        T(an_unknown_user_is_told),
        T(limits_that_cannot_hold_are_told_once),
        T(many_orphans_are_reaped_in_turns),
        T(a_program_that_cannot_stay_up_is_given_up),
        T(after_stop_nothing_starts),
        T(orphans_are_reaped_and_forgotten_ones_are_silent),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
