/* SPDX-License-Identifier: BSD-3-Clause */
/* Programs that are started in control groups; needs the right to make some. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "platform/guest/maitred/init/file.h"
#include "platform/guest/maitred/proc/exec.h"

#define GIVE_UP_S 60u /* a start that hangs ends the test */

struct groups {
    char outer[PATH_MAX / 8], middle[PATH_MAX / 4], inner[PATH_MAX / 2];
    int inner_fd;
};

static void
freeze(const char *group, const char *value)
{
    char path[PATH_MAX];

    (void)snprintf(path, sizeof(path), "%s/cgroup.freeze", group);
    assert_int_equal(file_write(path, value), 0);
}

static int
setup(void **state)
{
    static const char *const roots[] = {"/sys/fs/cgroup", "/sys/fs/cgroup/unified"};
    struct groups *g = calloc(1, sizeof(*g));
    char path[PATH_MAX];

    assert_non_null(g);
    g->inner_fd = -1;
    *state = g;
    for (size_t i = 0; i < sizeof(roots) / sizeof(*roots); i++) {
        (void)snprintf(path, sizeof(path), "%s/cgroup.controllers", roots[i]);
        if (access(path, F_OK) < 0)
            continue;
        (void)snprintf(g->outer, sizeof(g->outer), "%s/vmt_exec.%d", roots[i], getpid());
        (void)snprintf(g->middle, sizeof(g->middle), "%s/middle", g->outer);
        (void)snprintf(g->inner, sizeof(g->inner), "%s/inner", g->middle);
        if (mkdir(g->outer, 0755) == 0 && mkdir(g->middle, 0755) == 0 &&
            mkdir(g->inner, 0755) == 0)
            g->inner_fd = open(g->inner, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    }
    (void)alarm(GIVE_UP_S);
    return 0;
}

static int
teardown(void **state)
{
    struct groups *g = *state;

    (void)alarm(0);
    if (g->inner_fd >= 0)
        (void)close(g->inner_fd);
    (void)rmdir(g->inner);
    (void)rmdir(g->middle);
    (void)rmdir(g->outer);
    free(g);
    return 0;
}

static int
start(const struct groups *g, char *program, pid_t *ret_pid)
{
    char *argv[] = {program, NULL}, *env[] = {NULL};
    const struct exec_spec spec = {.argv = argv, .env = env, .cgroup = g->inner_fd};
    struct vmt_err err;

    if (g->inner_fd < 0)
        skip(); /* no right to make control groups */
    return exec_start_and_wait(&spec, ret_pid, &err);
}

static void
assert_ends_well(pid_t pid)
{
    int status = -1;

    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void
a_program_starts_in_its_group(void **state)
{
    pid_t pid = -1;

    assert_int_equal(start(*state, "/bin/true", &pid), 0);
    assert_ends_well(pid);
}

static void
a_failing_exec_in_a_group_is_told(void **state)
{
    pid_t pid = -1;

    assert_int_equal(start(*state, "/dev/null", &pid), -EACCES);
    assert_true(waitpid(-1, NULL, 0) > 0);
}

static void
a_frozen_group_does_not_keep_a_program_from_running(void **state)
{
    struct groups *g = *state;
    pid_t pid = -1;

    if (g->inner_fd < 0)
        skip();
    freeze(g->inner, "1");
    assert_int_equal(start(g, "/bin/true", &pid), 0);
    assert_ends_well(pid);
}

/* All groups of programs are frozen by the one above them. */
static void
a_frozen_group_above_does_not_keep_a_program_from_running(void **state)
{
    struct groups *g = *state;
    pid_t pid = -1;

    if (g->inner_fd < 0)
        skip();
    freeze(g->middle, "1");
    assert_int_equal(start(g, "/bin/true", &pid), 0);
    assert_ends_well(pid);
}

/* As when somebody freezes it between our look and the start. */
static void
a_program_born_frozen_holds_nobody_and_runs_when_thawed(void **state)
{
    struct groups *g = *state;
    char program[] = "/bin/true";
    char *argv[] = {program, NULL};
    const struct exec_spec spec = {.argv = argv, .cgroup = g->inner_fd};
    struct exec_child child;
    struct pollfd decided = {.events = POLLIN};

    if (g->inner_fd < 0)
        skip();
    freeze(g->outer, "1");
    assert_int_equal(exec_start(&spec, &child, NULL), 0);
    decided.fd = child.fd;
    assert_int_equal(poll(&decided, 1, 0), 0);
    assert_int_equal(waitpid(child.pid, NULL, WNOHANG), 0);
    freeze(g->outer, "0");
    assert_int_equal(poll(&decided, 1, -1), 1);
    assert_int_equal(exec_result(&child, program, NULL), 0);
    exec_child_done(&child);
    assert_ends_well(child.pid);
}

static void
a_program_that_is_not_found_is_told_later(void **state)
{
    char dir[] = "/tmp/vmt-exec-XXXXXX", path[64], program[] = "not-in-there";
    char *argv[] = {program, NULL}, *env[] = {path, NULL};
    const struct exec_spec spec = {.argv = argv, .env = env, .cgroup = -1};
    struct exec_child child;
    struct pollfd decided = {.events = POLLIN};
    struct vmt_err err;

    (void)state;
    assert_non_null(mkdtemp(dir));
    (void)snprintf(path, sizeof(path), "PATH=%s", dir);
    assert_int_equal(exec_start(&spec, &child, &err), 0);
    decided.fd = child.fd;
    assert_int_equal(poll(&decided, 1, -1), 1);
    assert_int_equal(exec_result(&child, program, &err), -ENOENT);
    assert_string_equal(err.msg, "start not-in-there: find it in PATH: No such file or "
                                 "directory");
    assert_int_equal(waitpid(child.pid, NULL, 0), child.pid);
    exec_child_done(&child);
    assert_int_equal(rmdir(dir), 0);
}

static void
a_program_runs_as_whom_and_where_it_was_told(void **state)
{
    const struct exec_rlimit rlimits[] = {
        {.resource = RLIMIT_NOFILE, .limit = {.rlim_cur = 77, .rlim_max = 88}}};
    char sh[] = "/bin/sh", flag[] = "-c";
    char script[] =
        "[ \"$(id -u):$(id -G)\" = '1234:5678' ] || exit 1\n"
        "[ \"$(pwd)\" = /usr ] || exit 2\n"
        "[ \"$(ulimit -n) $(ulimit -Hn)\" = '77 88' ] || exit 3\n"
        "[ \"$(cat /proc/self/oom_score_adj)\" = 345 ] || exit 4\n"
        "[ \"$(grep CapEff /proc/self/status | tr -d '0\\t')\" = CapEff: ] || "
        "exit 5";
    char path[] = "PATH=/usr/bin:/bin";
    char *argv[] = {sh, flag, script, NULL}, *env[] = {path, NULL};
    const struct exec_spec spec = {
        .argv = argv,
        .env = env,
        .cgroup = -1,
        .as = {.user = "1234",
               .group = "5678",
               .cwd = "/usr",
               .rlimits = rlimits,
               .nrlimits = 1,
               .oom_score_adj = 345},
    };
    struct vmt_err err;
    pid_t pid = -1;
    int status = -1;

    (void)state;
    if (geteuid() != 0)
        skip();
    assert_int_equal(exec_start_and_wait(&spec, &pid, &err), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static void
what_the_kernel_refuses_is_told(void **state)
{
    char program[] = "/bin/true";
    char *argv[] = {program, NULL}, *env[] = {NULL};
    const struct exec_spec spec = {
        .argv = argv, .env = env, .cgroup = -1, .as = {.cwd = "/not/there"}};
    struct vmt_err err;
    pid_t pid = -1;

    (void)state;
    assert_int_equal(exec_start_and_wait(&spec, &pid, &err), -ENOENT);
    assert_non_null(strstr(err.msg, "chdir"));
    assert_true(waitpid(-1, NULL, 0) > 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_program_starts_in_its_group, setup, teardown),
        cmocka_unit_test_setup_teardown(a_failing_exec_in_a_group_is_told, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(
            a_frozen_group_does_not_keep_a_program_from_running, setup, teardown),
        cmocka_unit_test_setup_teardown(
            a_frozen_group_above_does_not_keep_a_program_from_running, setup, teardown),
        cmocka_unit_test_setup_teardown(
            a_program_born_frozen_holds_nobody_and_runs_when_thawed, setup, teardown),
        cmocka_unit_test(a_program_that_is_not_found_is_told_later),
        cmocka_unit_test(a_program_runs_as_whom_and_where_it_was_told),
        cmocka_unit_test(what_the_kernel_refuses_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
