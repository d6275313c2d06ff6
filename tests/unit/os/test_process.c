/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/linux/os/process.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base/err.h"
#include "platform/linux/os/loop.h"
#include "platform/linux/os/paths.h"
#include "tests/unit/os/support.h"

struct world {
    struct os_loop *loop;
    struct spawn *sp;
};
struct ending {
    struct spawn_exit how;
    bool exited;
    unsigned times;
};

static int
setup(void **state)
{
    static struct world w;
    void *loop;

    if (test_loop_setup(&loop) < 0 || os_spawn_new(loop, &w.sp, NULL) < 0)
        return -1;
    w.loop = loop;
    *state = &w;
    return 0;
}

/* No child may be left, neither running nor as a zombie. */
static int
teardown(void **state)
{
    struct world *w = *state;
    void *loop = w->loop;

    os_spawn_free(w->sp);
    if (waitpid(-1, NULL, WNOHANG) >= 0 || errno != ECHILD)
        return -1;
    return test_loop_teardown(&loop);
}

static void
on_exit_of(void *arg, const struct spawn_exit *how)
{
    struct ending *e = arg;

    e->how = *how;
    e->exited = true;
    assert_int_equal(++e->times, 1);
}

static void
run_shell(struct world *w, const char *script, struct spawn_spec *spec, struct ending *e)
{
    const char *const argv[] = {"sh", "-c", script, NULL};
    struct spawn_child *child;

    spec->argv = argv;
    spec->on_exit = on_exit_of;
    spec->arg = e;
    assert_int_equal(w->sp->ops->start(w->sp, spec, &child, NULL), 0);
    assert_false(e->exited);
    test_run_until(w->loop, &e->exited);
}

/* What a shell script writes to descriptor to. */
static void
shell_says(struct world *w, const char *script, struct spawn_spec *spec, char *said,
           size_t cap)
{
    struct ending e = {0};
    int fds[2];
    struct spawn_fd out = {.to = 1};
    ssize_t n;

    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    out.from = fds[1];
    if (!spec->fds) {
        spec->fds = &out;
        spec->nfds = 1;
    }
    run_shell(w, script, spec, &e);
    assert_int_equal(e.how.kind, SPAWN_EXIT_CODE);
    (void)close(fds[1]);
    n = read(fds[0], said, cap - 1);
    assert_true(n >= 0);
    said[n] = '\0';
    (void)close(fds[0]);
}

static void
an_exit_code_is_told(void **state)
{
    struct spawn_spec spec = {0};
    struct ending e = {0};

    run_shell(*state, "exit 7", &spec, &e);
    assert_int_equal(e.how.kind, SPAWN_EXIT_CODE);
    assert_int_equal(e.how.code, 7);
}

static void
a_fatal_signal_is_told(void **state)
{
    struct world *w = *state;
    const char *const argv[] = {"sleep", "1000", NULL};
    struct ending e = {0};
    struct spawn_spec spec = {.argv = argv, .on_exit = on_exit_of, .arg = &e};
    struct spawn_child *child;

    assert_int_equal(w->sp->ops->start(w->sp, &spec, &child, NULL), 0);
    assert_int_equal(w->sp->ops->kill(child, 0), 0);
    assert_int_equal(w->sp->ops->kill(child, SIGTERM), 0);
    test_run_until(w->loop, &e.exited);
    assert_int_equal(e.how.kind, SPAWN_EXIT_SIGNAL);
    assert_int_equal(e.how.code, SIGTERM);
}

static void
what_cannot_be_executed_fails_at_once_by_name(void **state)
{
    VMT_CLEANUP(vmt_freep) char *dir = test_temp_dir();
    VMT_CLEANUP(vmt_freep) char *file = NULL;
    struct world *w = *state;
    const char *argv[] = {"no-such-program-here", NULL};
    struct spawn_spec spec = {.argv = argv, .on_exit = on_exit_of};
    struct spawn_child *child = NULL;
    struct vmt_err err;

    assert_int_equal(w->sp->ops->start(w->sp, &spec, &child, &err), -ENOENT);
    assert_non_null(strstr(err.msg, "no-such-program-here"));
    argv[0] = "/no/such/program";
    assert_int_equal(w->sp->ops->start(w->sp, &spec, &child, &err), -ENOENT);
    assert_non_null(strstr(err.msg, "/no/such/program"));
    assert_true(asprintf(&file, "%s/data", dir) > 0);
    assert_int_equal(os_write_file_atomic(file, "data", 4, 0600, NULL), 0);
    argv[0] = file;
    assert_int_equal(w->sp->ops->start(w->sp, &spec, &child, &err), -EACCES);
    assert_int_equal(chmod(file, 0700), 0);
    assert_int_equal(w->sp->ops->start(w->sp, &spec, &child, &err), -ENOEXEC);
    assert_null(child);
    assert_int_equal(os_remove_tree(dir, NULL), 0);
}

static void
descriptors_are_mapped_even_when_their_numbers_cross(void **state)
{
    struct world *w = *state;
    int a[2], b[2];
    char said[8];
    struct ending e = {0};
    struct spawn_spec spec = {0};

    assert_int_equal(pipe2(a, O_CLOEXEC), 0);
    assert_int_equal(pipe2(b, O_CLOEXEC), 0);
    /* Swapped: the number of one is the target of the other. The shell knows single
     * digits only, so the test gives way when the numbers are larger. */
    struct spawn_fd fds[] = {{a[1], b[1]}, {b[1], a[1]}, {a[1], 5}, {b[1], 3}};
    char script[128];

    (void)snprintf(script, sizeof(script), "printf A >/dev/fd/%d; printf B >/dev/fd/%d",
                   b[1], a[1]);
    spec.fds = fds;
    spec.nfds = a[1] > 5 && b[1] > 5 ? 4 : 2;
    run_shell(w, script, &spec, &e);
    assert_int_equal(e.how.code, 0);
    (void)close(a[1]);
    (void)close(b[1]);
    assert_int_equal(read(a[0], said, sizeof(said)), 1);
    assert_int_equal(said[0], 'A');
    assert_int_equal(read(b[0], said, sizeof(said)), 1);
    assert_int_equal(said[0], 'B');
    (void)close(a[0]);
    (void)close(b[0]);
}

static void
no_other_descriptor_leaks_and_the_standard_ones_are_null(void **state)
{
    char said[256];
    struct spawn_spec spec = {0};
    int leak = fcntl(0, F_DUPFD, 50), low = dup(0); /* not close-on-exec */

    shell_says(*state,
               "i=0; while [ $i -lt 99 ]; do [ ! -e /proc/$$/fd/$i ] || echo $i; "
               "i=$((i+1)); done; readlink /proc/$$/fd/0 /proc/$$/fd/2",
               &spec, said, sizeof(said));
    assert_string_equal(said, "0\n1\n2\n/dev/null\n/dev/null\n");
    (void)close(leak);
    (void)close(low);
}

static void
two_sources_for_one_number_are_refused(void **state)
{
    struct world *w = *state;
    const char *const argv[] = {"true", NULL};
    struct spawn_fd fds[] = {{0, 5}, {1, 5}};
    struct spawn_spec spec = {.argv = argv, .fds = fds, .nfds = 2};
    struct spawn_child *child;

    assert_int_equal(w->sp->ops->start(w->sp, &spec, &child, NULL), -EINVAL);
    fds[1] = (struct spawn_fd){-1, 6};
    assert_int_equal(w->sp->ops->start(w->sp, &spec, &child, NULL), -EBADF);
}

static void
signals_and_environment_are_clean(void **state)
{
    char said[256];
    const char *const env[] = {"ONLY=this", NULL};
    struct spawn_spec spec = {.env = env};
    sigset_t set, before;
    char *ignored, *blocked;

    assert_int_equal(sigemptyset(&set), 0);
    assert_int_equal(sigaddset(&set, SIGTERM), 0);
    assert_int_equal(sigprocmask(SIG_BLOCK, &set, &before), 0);
    shell_says(
        *state,
        "while read -r k v; do case $k in SigBlk:|SigIgn:) echo $k $v;; esac; done "
        "</proc/self/status; echo $ONLY $HOME",
        &spec, said, sizeof(said));
    assert_int_equal(sigprocmask(SIG_SETMASK, NULL, &set), 0);
    assert_true(sigismember(&set, SIGTERM)); /* ours is as before */
    assert_int_equal(sigprocmask(SIG_SETMASK, &before, NULL), 0);
    blocked = strstr(said, "SigBlk: 0000000000000000\n");
    ignored = strstr(said, "SigIgn: 0000000000000000\n");
    assert_non_null(blocked);
    assert_non_null(ignored);
    assert_non_null(strstr(said, "\nthis\n"));
}

static void
a_new_session_is_made_when_asked(void **state)
{
    char said[256];
    int pid, session;
    struct spawn_spec spec = {.new_session = true};

    shell_says(*state, "read -r p c s pp pg sid rest </proc/self/stat; echo $p $sid",
               &spec, said, sizeof(said));
    assert_int_equal(sscanf(said, "%d %d", &pid, &session), 2);
    assert_int_equal(pid, session);
}

/* Its child has end until it ends itself. */
static void __attribute__((noreturn)) start_and_be_killed(int end)
{
    const char *const argv[] = {"sleep", "1000", NULL};
    const struct spawn_fd fd = {.from = end, .to = 3};
    const struct spawn_spec spec = {
        .argv = argv, .fds = &fd, .nfds = 1, .new_session = true, .ends_with_us = true};
    struct spawn_child *child;
    struct os_loop *loop;
    struct spawn *sp;

    if (os_loop_new(&loop, NULL) == 0 && os_spawn_new(loop, &sp, NULL) == 0 &&
        sp->ops->start(sp, &spec, &child, NULL) == 0)
        (void)raise(SIGKILL);
    _exit(1);
}

static void
a_child_ends_with_us_when_asked(void **state)
{
    struct pollfd end = {.events = POLLIN};
    int fds[2], status;
    pid_t pid;

    (void)state;
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        start_and_be_killed(fds[1]);
    (void)close(fds[1]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    end.fd = fds[0];
    assert_int_equal(poll(&end, 1, 10000), 1);
    assert_true(end.revents & POLLHUP);
    (void)close(fds[0]);
}

static int
count_descriptors(void *arg)
{
    return *(int *)arg + (fcntl(0, F_GETFD) >= 0) + (fcntl(3, F_GETFD) >= 0);
}

static void
a_copy_of_ourselves_runs_a_function_and_tells_its_result(void **state)
{
    struct world *w = *state;
    struct ending e = {.exited = false};
    int base = 40;
    const struct spawn_spec spec = {
        .call = count_descriptors, .call_arg = &base, .on_exit = on_exit_of, .arg = &e};
    struct spawn_child *child = NULL;

    assert_int_equal(w->sp->ops->start(w->sp, &spec, &child, NULL), 0);
    test_run_until(w->loop, &e.exited);
    assert_int_equal(e.how.kind, SPAWN_EXIT_CODE);
    assert_int_equal(e.how.code, 40); /* and it had no descriptor */
}

/* Of the kernel's file anything will do: the child writes before it runs the program. */
static void
a_child_joins_its_group_before_it_runs(void **state)
{
    struct spawn_spec spec = {0};
    char path[] = "/tmp/vmt-procs-XXXXXX", said[64], wrote[8] = "";
    VMT_CLEANUP(vmt_closep) int fd = mkstemp(path);

    assert_true(fd > 0);
    spec.cgroup_fd = fd;
    shell_says(*state, "echo ran", &spec, said, sizeof(said));
    assert_string_equal(said, "ran\n");
    assert_int_equal(pread(fd, wrote, sizeof(wrote) - 1, 0), 1);
    assert_string_equal(wrote, "0");
    (void)unlink(path);
}

static void
a_child_that_may_not_join_its_group_does_not_run(void **state)
{
    struct world *w = *state;
    const char *const argv[] = {"true", NULL};
    VMT_CLEANUP(vmt_closep) int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    struct spawn_spec spec = {.argv = argv, .cgroup_fd = fd};
    struct spawn_child *child = NULL;
    struct vmt_err err = {0};

    assert_int_equal(w->sp->ops->start(w->sp, &spec, &child, &err), -EBADF);
    assert_non_null(strstr(err.msg, "cgroup"));
}

static void
a_released_child_is_still_reaped(void **state)
{
    struct world *w = *state;
    const char *const argv[] = {"cat", NULL};
    struct ending e = {0};
    int fds[2];
    struct spawn_fd in = {.to = 0};
    struct spawn_spec spec = {
        .argv = argv, .fds = &in, .nfds = 1, .on_exit = on_exit_of, .arg = &e};
    struct spawn_child *child;

    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    in.from = fds[0];
    assert_int_equal(w->sp->ops->start(w->sp, &spec, &child, NULL), 0);
    w->sp->ops->release(child);
    w->sp->ops->release(NULL);
    (void)close(fds[0]);
    (void)close(fds[1]); /* cat ends now */
    assert_int_equal(os_loop_run(w->loop), 0);
    assert_int_equal(e.times, 0);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    assert_int_equal(errno, ECHILD);
}

/* A grandchild: not ours to reap. Its id comes back, it ends when *ret_fd is closed. */
static pid_t
start_grandchild(int *ret_fd)
{
    int in[2], out[2];
    pid_t middle, pid = 0;

    assert_int_equal(pipe2(in, O_CLOEXEC), 0);
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    middle = fork();
    assert_true(middle >= 0);
    if (middle == 0) {
        pid = fork();
        if (pid == 0) {
            (void)close(in[1]);
            (void)!read(in[0], &(char){0}, 1);
            _exit(3);
        }
        (void)!write(out[1], &pid, sizeof(pid));
        _exit(0);
    }
    assert_int_equal(read(out[0], &pid, sizeof(pid)), sizeof(pid));
    assert_int_equal(waitpid(middle, NULL, 0), middle);
    (void)close(in[0]);
    (void)close(out[0]);
    (void)close(out[1]);
    *ret_fd = in[1];
    return pid;
}

static void
an_adopted_process_is_watched_but_its_code_is_unknown(void **state)
{
    struct world *w = *state;
    struct ending e = {0};
    int fd;
    struct spawn_id id = {.pid = start_grandchild(&fd)}, got;
    struct spawn_child *child;

    assert_int_equal(os_process_start_time(id.pid, &id.start_time), 0);
    assert_int_equal(w->sp->ops->adopt(w->sp, &id, on_exit_of, &e, &child, NULL), 0);
    w->sp->ops->id(child, &got);
    assert_int_equal(got.pid, id.pid);
    assert_int_equal(got.start_time, id.start_time);
    test_run_turns(w->loop, 3);
    assert_false(e.exited);
    (void)close(fd);
    test_run_until(w->loop, &e.exited);
    assert_int_equal(e.how.kind, SPAWN_EXIT_UNKNOWN);
}

static void
a_pid_of_another_start_time_is_not_adopted(void **state)
{
    struct world *w = *state;
    struct spawn_id id = {.pid = getpid()};
    struct spawn_child *child;

    assert_int_equal(os_process_start_time(id.pid, &id.start_time), 0);
    id.start_time++;
    assert_int_equal(w->sp->ops->adopt(w->sp, &id, on_exit_of, NULL, &child, NULL),
                     -ESRCH);
    id.pid = 0;
    assert_int_equal(w->sp->ops->adopt(w->sp, &id, on_exit_of, NULL, &child, NULL),
                     -ESRCH);
    assert_int_equal(os_process_start_time(0x7ffffff0, &id.start_time), -ESRCH);
}

static void
an_id_taken_from_a_start_adopts_the_same_process(void **state)
{
    struct world *w = *state;
    const char *const argv[] = {"sleep", "1000", NULL};
    struct ending e = {0};
    struct spawn_spec spec = {.argv = argv};
    struct spawn_child *child;
    struct spawn_id id;

    assert_int_equal(w->sp->ops->start(w->sp, &spec, &child, NULL), 0);
    w->sp->ops->id(child, &id);
    w->sp->ops->release(child);
    assert_int_equal(w->sp->ops->adopt(w->sp, &id, on_exit_of, &e, &child, NULL), 0);
    assert_int_equal(w->sp->ops->kill(child, SIGKILL), 0);
    test_run_until(w->loop, &e.exited);
    test_run_turns(w->loop, 3);
    assert_int_equal(kill(id.pid, 0), -1);
}

#define PROCESS_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        PROCESS_TEST(an_exit_code_is_told),
        PROCESS_TEST(a_fatal_signal_is_told),
        PROCESS_TEST(what_cannot_be_executed_fails_at_once_by_name),
        PROCESS_TEST(descriptors_are_mapped_even_when_their_numbers_cross),
        PROCESS_TEST(no_other_descriptor_leaks_and_the_standard_ones_are_null),
        PROCESS_TEST(two_sources_for_one_number_are_refused),
        PROCESS_TEST(signals_and_environment_are_clean),
        PROCESS_TEST(a_new_session_is_made_when_asked),
        PROCESS_TEST(a_child_ends_with_us_when_asked),
        PROCESS_TEST(a_copy_of_ourselves_runs_a_function_and_tells_its_result),
        PROCESS_TEST(a_child_joins_its_group_before_it_runs),
        PROCESS_TEST(a_child_that_may_not_join_its_group_does_not_run),
        PROCESS_TEST(a_released_child_is_still_reaped),
        PROCESS_TEST(an_adopted_process_is_watched_but_its_code_is_unknown),
        PROCESS_TEST(a_pid_of_another_start_time_is_not_adopted),
        PROCESS_TEST(an_id_taken_from_a_start_adopts_the_same_process),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
