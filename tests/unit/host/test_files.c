/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/adapter/spawn.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "tests/unit/host/place.h"
#include "tests/unit/test.h"

static int
open_image(struct place *p, const char *path, bool writable, uint32_t uid,
           struct vmt_err *err)
{
    int fd = -1;
    int r = p->host->files->image_open(p->host, path, writable, uid, &fd, err);

    if (r < 0)
        return r;
    assert_int_equal(fcntl(fd, F_GETFL) & O_ACCMODE, writable ? O_RDWR : O_RDONLY);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    p->host->files->close(p->host, fd);
    return 0;
}

static void
an_image_is_opened_as_asked(void **state)
{
    struct place *p = *state;

    place_write(p, "disk", "x");
    assert_int_equal(open_image(p, place_path(p, "disk"), false, getuid(), NULL), 0);
    assert_int_equal(open_image(p, place_path(p, "disk"), true, getuid(), NULL), 0);
    assert_int_equal(open_image(p, place_path(p, "nothing"), true, 0, NULL), -ENOENT);
    assert_int_equal(open_image(p, "relative", true, 0, NULL), -EINVAL);
}

static void
what_is_no_image_is_refused_without_opening_it(void **state)
{
    struct place *p = *state;
    struct vmt_err err = {0};
    char target[256];

    place_write(p, "disk", "x");
    (void)snprintf(target, sizeof(target), "%s/disk", p->root);
    assert_int_equal(symlink(target, place_path(p, "link")), 0);
    assert_int_equal(open_image(p, place_path(p, "link"), false, 0, &err), -ELOOP);
    assert_int_equal(mkfifo(place_path(p, "pipe"), 0600), 0); /* would block */
    assert_int_equal(open_image(p, place_path(p, "pipe"), false, 0, &err), -EINVAL);
    assert_int_equal(open_image(p, p->root, false, 0, &err), -EINVAL);
    assert_int_equal(open_image(p, "/dev/null", false, 0, &err), -EINVAL);
    assert_non_null(strstr(err.msg, "neither a regular file nor a block device"));
}

static void
a_file_of_somebody_else_is_not_lent(void **state)
{
    struct place *p = *state;
    struct vmt_err err = {0};

    place_write(p, "disk", "x");
    assert_int_equal(open_image(p, place_path(p, "disk"), false, getuid() + 1000, &err),
                     -EACCES);
    assert_non_null(strstr(err.msg, "not a file of yours"));
}

/* Its owner puts a link to somebody else's folder in the place of his own: who has the
 * folder open does not follow. */
static void
the_folder_of_an_image_stays_the_one_that_was_looked_at(void **state)
{
    struct place *p = *state;
    const struct host_file_ops *files = p->host->files;
    char theirs[256], mine[256], moved[256], path[300], text[8] = "";
    int folder = -1, fd;

    (void)snprintf(theirs, sizeof(theirs), "%s/theirs", p->root);
    (void)snprintf(mine, sizeof(mine), "%s/mine", p->root);
    (void)snprintf(moved, sizeof(moved), "%s/moved", p->root);
    assert_int_equal(mkdir(theirs, 0700), 0);
    assert_int_equal(mkdir(mine, 0700), 0);
    place_write(p, "theirs/disk", "theirs");
    place_write(p, "mine/disk", "mine");
    (void)snprintf(path, sizeof(path), "%s/disk", mine);
    assert_int_equal(files->image_folder(p->host, path, getuid() + 1000, &folder, NULL),
                     -EACCES);
    assert_int_equal(files->image_folder(p->host, mine, getuid(), &folder, NULL),
                     -EINVAL); /* a folder is no image */
    assert_int_equal(files->image_folder(p->host, "disk", 0, &folder, NULL), -EINVAL);
    assert_int_equal(files->image_folder(p->host, path, getuid(), &folder, NULL), 0);
    assert_int_equal(rename(mine, moved), 0);
    assert_int_equal(symlink(theirs, mine), 0);
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d/./disk", folder);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_int_equal(read(fd, text, sizeof(text) - 1), 4);
    assert_string_equal(text, "mine");
    files->close(p->host, fd);
    files->close(p->host, folder);
}

static void
descriptors_are_looked_at(void **state)
{
    struct place *p = *state;
    const struct host_file_ops *files = p->host->files;
    int pair[2], fd, copy;
    bool writable = true;

    place_write(p, "disk", "x");
    fd = open(place_path(p, "disk"), O_RDONLY | O_CLOEXEC);
    assert_int_equal(files->image_check(p->host, fd, &writable, NULL), 0);
    assert_false(writable);
    files->close(p->host, fd);
    fd = open(place_path(p, "disk"), O_RDWR | O_CLOEXEC);
    assert_int_equal(files->image_check(p->host, fd, &writable, NULL), 0);
    assert_true(writable);
    assert_int_equal(files->image_reopen(p->host, fd, &copy, NULL), 0);
    assert_int_equal(fcntl(copy, F_GETFL) & O_ACCMODE, O_RDONLY);
    files->close(p->host, copy);
    files->close(p->host, fd);
    fd = open(place_path(p, "disk"), O_PATH | O_CLOEXEC);
    assert_int_equal(files->image_check(p->host, fd, &writable, NULL), -EINVAL);
    files->close(p->host, fd);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    assert_int_equal(files->image_check(p->host, pair[0], &writable, NULL), -EINVAL);
    files->close(p->host, pair[0]);
    files->close(p->host, pair[1]);
    files->close(p->host, -1);
}

static void
count_dir(void *arg, const char *path)
{
    (void)path;
    ++*(int *)arg;
}

static void
directories_come_and_go_with_all_in_them(void **state)
{
    struct place *p = *state;
    const struct host_file_ops *files = p->host->files;
    VMT_CLEANUP(vmt_freep) char *a = NULL;
    VMT_CLEANUP(vmt_freep) char *b = NULL;
    char path[256];
    struct stat st;
    int fd, n = 0;

    assert_int_equal(files->dir_make(p->host, &a, NULL), 0);
    assert_int_equal(files->dir_make(p->host, &b, NULL), 0);
    assert_string_not_equal(a, b);
    assert_int_equal(stat(a, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
    (void)snprintf(path, sizeof(path), "%s/vsock", a);
    assert_int_equal(files->listen(p->host, path, &fd, NULL), 0);
    files->close(p->host, fd);
    assert_int_equal(files->dir_each(p->host, count_dir, &n, NULL), 0);
    assert_int_equal(n, 2);
    assert_int_equal(files->dir_remove(p->host, a, NULL), 0);
    assert_int_equal(stat(a, &st), -1);
    assert_int_equal(files->dir_remove(p->host, a, NULL), 0);
    assert_int_equal(files->dir_remove(p->host, b, NULL), 0);
}

/* The path comes from a record, which may be damaged. */
static void
nothing_else_is_ever_removed(void **state)
{
    struct place *p = *state;
    const struct host_file_ops *files = p->host->files;
    static const char *const names[] = {"", "/", "/records", "/vm.1/../records", "/vmx"};
    char path[256];
    struct stat st;

    for (size_t i = 0; i < VMT_ARRAY_SIZE(names); i++) {
        (void)snprintf(path, sizeof(path), "%s%s", p->root, names[i]);
        assert_int_equal(files->dir_remove(p->host, path, NULL), -EINVAL);
    }
    assert_int_equal(files->dir_remove(p->host, "/tmp/vm.123456", NULL), -EINVAL);
    assert_int_equal(stat(place_path(p, "records"), &st), 0);
}

static void
processes_are_found_by_the_directory_in_their_command_line(void **state)
{
    struct place *p = *state;
    VMT_CLEANUP(vmt_freep) char *dir = NULL;
    struct spawn_id ids[4];
    int ready[2], hold[2]; /* the child waits on hold until it is killed */
    char byte;
    pid_t pid;

    assert_int_equal(p->host->files->dir_make(p->host, &dir, NULL), 0);
    assert_int_equal(p->host->files->dir_users(p->host, dir, NULL, ids, 4), 0);
    assert_int_equal(pipe(ready), 0);
    assert_int_equal(pipe(hold), 0);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        (void)dup2(hold[0], 0);
        (void)dup2(ready[1], 1);
        (void)close(hold[1]);
        (void)close(ready[0]);
        (void)execl("/bin/sh", "sh", "-c", "echo; read x", dir, (char *)NULL);
        _exit(127);
    }
    (void)close(ready[1]);
    assert_int_equal(read(ready[0], &byte, 1), 1); /* it is what it was asked to be */
    assert_int_equal(p->host->files->dir_users(p->host, dir, NULL, ids, 4), 1);
    assert_int_equal(p->host->files->dir_users(p->host, dir, "ech", ids, 4), 1);
    assert_int_equal(p->host->files->dir_users(p->host, dir, "cho", ids, 4), 0);
    assert_int_equal(ids[0].pid, pid);
    assert_true(ids[0].start_time > 0);
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    (void)close(ready[0]);
    (void)close(hold[0]);
    (void)close(hold[1]);
    assert_int_equal(p->host->files->dir_remove(p->host, dir, NULL), 0);
}

/* A restart has to find the very file again, and must not take another for it. */
static void
the_place_of_a_file_is_its_path_and_its_identity(void **state)
{
    struct place *p = *state;
    const struct host_file_ops *files = p->host->files;
    struct host_place at, moved;
    char path[256];
    int fd;

    place_write(p, "image", "x");
    (void)snprintf(path, sizeof(path), "%s", place_path(p, "image"));
    fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    files->image_place(p->host, fd, &at);
    assert_string_equal(at.path, path);
    assert_int_equal(rename(path, place_path(p, "image2")), 0);
    files->image_place(p->host, fd, &moved);
    assert_string_equal(moved.path, place_path(p, "image2"));
    assert_int_equal(moved.inode, at.inode);
    assert_int_equal(unlink(place_path(p, "image2")), 0);
    files->image_place(p->host, fd, &moved);
    assert_string_equal(moved.path, "");
    files->close(p->host, fd);
}

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, place_setup, place_teardown)
    const struct CMUnitTest tests[] = {
        T(the_place_of_a_file_is_its_path_and_its_identity),
        T(an_image_is_opened_as_asked),
        T(what_is_no_image_is_refused_without_opening_it),
        T(a_file_of_somebody_else_is_not_lent),
        T(the_folder_of_an_image_stays_the_one_that_was_looked_at),
        T(descriptors_are_looked_at),
        T(directories_come_and_go_with_all_in_them),
        T(nothing_else_is_ever_removed),
        T(processes_are_found_by_the_directory_in_their_command_line),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
