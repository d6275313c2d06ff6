/* SPDX-License-Identifier: BSD-3-Clause */
#include "hypervisor/qemu/confine_internal.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/adapter/hypervisor.h"
#include "core/adapter/spawn.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "platform/linux/os/loop.h"
#include "platform/linux/os/process.h"
#include "tests/unit/test.h"

#define KERNEL_AT 5 /* the number of the kernel's descriptor in the child */

struct world {
    struct os_loop *loop;
    struct spawn *sp;
    char dir[32], kernel[64], other[64], program[64];
    int kernel_fd;
    struct spawn_exit how;
};

static void
write_program(const char *path)
{
    static const char text[] = "#!/bin/sh\nexit 7\n";
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0700);

    assert_int_equal(write(fd, text, sizeof(text) - 1), sizeof(text) - 1);
    assert_int_equal(close(fd), 0);
}

static int
set_up(void **state)
{
    static struct world w;

    w = (struct world){.dir = "/tmp/vmt-confine-XXXXXX"};
    assert_int_equal(os_loop_new(&w.loop, NULL), 0);
    assert_int_equal(os_spawn_new(w.loop, &w.sp, NULL), 0);
    assert_non_null(mkdtemp(w.dir));
    (void)snprintf(w.kernel, sizeof(w.kernel), "%s/kernel", w.dir);
    (void)snprintf(w.other, sizeof(w.other), "%s/other", w.dir);
    w.kernel_fd = open(w.kernel, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_true(w.kernel_fd >= 0);
    assert_int_equal(close(open(w.other, O_RDWR | O_CREAT | O_CLOEXEC, 0600)), 0);
    (void)snprintf(w.program, sizeof(w.program), "%s/program", w.dir);
    write_program(w.program);
    *state = &w;
    return 0;
}

static int
tear_down(void **state)
{
    struct world *w = *state;

    (void)close(w->kernel_fd);
    (void)unlink(w->kernel);
    (void)unlink(w->other);
    (void)unlink(w->program);
    assert_int_equal(rmdir(w->dir), 0);
    os_spawn_free(w->sp);
    os_loop_free(w->loop);
    return 0;
}

static void
on_exit_stop(void *arg, const struct spawn_exit *how)
{
    struct world *w = arg;

    w->how = *how;
    os_loop_stop(w->loop, 0);
}

/* The exit code of this program in place of QEMU. */
static int
run(struct world *w, const char *const *argv)
{
    const struct spawn_fd fds[] = {{w->kernel_fd, KERNEL_AT}};
    const struct vm_spec spec = {.kernel_fd = w->kernel_fd, .initrd_fd = -1};
    VMT_CLEANUP(vmt_closep) int confine_fd = -1;
    struct spawn_spec child = {
        .argv = argv, .fds = fds, .nfds = 1, .on_exit = on_exit_stop, .arg = w};
    struct spawn_child *started = NULL;

    assert_int_equal(qemu_confine(argv[0], &spec, &confine_fd, NULL), 0);
    child.confine_fd = confine_fd;
    assert_int_equal(w->sp->ops->start(w->sp, &child, &started, NULL), 0);
    assert_int_equal(os_loop_run(w->loop), 0);
    assert_int_equal(w->how.kind, SPAWN_EXIT_CODE);
    return w->how.code;
}

/* That of a shell; $1 is the folder, $2 our process. */
static int
shell(struct world *w, const char *script)
{
    char pid[16];
    const char *const argv[] = {"sh", "-c", script, "sh", w->dir, pid, NULL};

    (void)snprintf(pid, sizeof(pid), "%d", (int)getpid());
    return run(w, argv);
}

static void
what_it_needs_can_be_opened(void **state)
{
    assert_int_equal(shell(*state, "cat /etc/passwd /usr/bin/env /proc/self/stat "
                                   "/proc/self/fd/5 >/dev/null"),
                     0);
}

static void
other_files_cannot_be_opened_or_made(void **state)
{
    struct world *w = *state;

    assert_int_equal(shell(w, "echo word >&5"), 0); /* an open one is as it was */
    assert_int_not_equal(shell(w, "cat $1/other"), 0);
    assert_int_not_equal(shell(w, "ls $1"), 0);
    assert_int_not_equal(shell(w, "rm $1/other"), 0);
    assert_int_not_equal(shell(w, "mkdir $1/new"), 0);
    assert_int_not_equal(shell(w, "echo > /proc/self/fd/5"), 0); /* for reading only */
}

static void
other_processes_get_no_signal(void **state)
{
    if (syscall(SYS_landlock_create_ruleset, NULL, 0, 1) < 6)
        skip(); /* of the kernel before 6.12 */
    assert_int_equal(shell(*state, "kill -0 $$"), 0);
    assert_int_not_equal(shell(*state, "kill -0 $2"), 0);
}

static void
a_program_may_be_anywhere(void **state)
{
    struct world *w = *state;
    const char *const named[] = {w->program, NULL};
    const char *const found[] = {"program", NULL};
    const char *before = getenv("PATH");
    char path[512];

    assert_int_equal(run(w, named), 7);
    (void)snprintf(path, sizeof(path), "/nowhere:%s:%s", w->dir, before ? before : "");
    assert_int_equal(setenv("PATH", path, 1), 0);
    assert_int_equal(run(w, found), 7);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_it_needs_can_be_opened, set_up, tear_down),
        cmocka_unit_test_setup_teardown(other_files_cannot_be_opened_or_made, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(other_processes_get_no_signal, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_program_may_be_anywhere, set_up, tear_down),
    };

    if (syscall(SYS_landlock_create_ruleset, NULL, 0, 1) < 1) {
        (void)fprintf(stderr, "skipped: this kernel has no Landlock\n");
        return 77;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
