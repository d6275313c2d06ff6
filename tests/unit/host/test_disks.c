/* SPDX-License-Identifier: BSD-3-Clause */
/* Images of owners: nothing outside of the owner's folder, and descriptors of callers. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/adapter/spawn.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "tests/unit/host/place.h"
#include "tests/unit/test.h"

#define OWNER "aa"

static const struct host_disk_ops *
ops_of(struct place *p)
{
    assert_int_equal(p->host->disks->prepare(p->host, OWNER, NULL), 0);
    return p->host->disks;
}

static void
an_image_is_told_opened_renamed_and_removed(void **state)
{
    struct place *p = *state;
    const struct host_disk_ops *ops = ops_of(p);
    struct host_disk d;
    int fd = -1;

    place_write(p, "disks/" OWNER "/a.img", "hello");
    assert_int_equal(ops->stat(p->host, OWNER, "a.img", &d, NULL), 0);
    assert_int_equal(d.bytes, 5);
    assert_false(d.user_chosen_size);
    assert_int_equal(d.vm_type, -1);
    assert_int_equal(ops->set_user_chosen(p->host, OWNER, "a.img", NULL), 0);
    assert_int_equal(ops->stat(p->host, OWNER, "a.img", &d, NULL), 0);
    assert_true(d.user_chosen_size);
    assert_int_equal(ops->rename(p->host, OWNER, "a.img", "b.img", NULL), 0);
    assert_int_equal(ops->stat(p->host, OWNER, "a.img", &d, NULL), -ENOENT);
    assert_int_equal(ops->stat(p->host, OWNER, "b.img", &d, NULL), 0);
    assert_true(d.user_chosen_size);
    place_write(p, "disks/" OWNER "/c.img", "x");
    assert_int_equal(ops->rename(p->host, OWNER, "b.img", "c.img", NULL), -EEXIST);
    assert_int_equal(ops->open(p->host, OWNER, "b.img", true, &fd, NULL), 0);
    p->host->files->close(p->host, fd);
    assert_int_equal(ops->remove(p->host, OWNER, "b.img", NULL), 0);
    assert_int_equal(ops->remove(p->host, OWNER, "b.img", NULL), -ENOENT);
}

static void
tricks_with_paths_lead_nowhere(void **state)
{
    static const char *const files[] = {"../secret", "..", ".", "", "/etc/passwd", "d/x"};
    struct place *p = *state;
    const struct host_disk_ops *ops = ops_of(p);
    const char *inside;
    char path[256];
    struct host_disk d;
    int fd = -1;

    place_write(p, "secret", "x");
    for (size_t i = 0; i < VMT_ARRAY_SIZE(files); i++) {
        assert_true(ops->stat(p->host, OWNER, files[i], &d, NULL) < 0);
        assert_true(ops->open(p->host, OWNER, files[i], true, &fd, NULL) < 0);
        assert_true(ops->remove(p->host, OWNER, files[i], NULL) < 0);
    }
    assert_true(ops->stat(p->host, "..", "secret", &d, NULL) < 0);
    (void)snprintf(path, sizeof(path), "%s/disks/" OWNER "/../aa/x.img", p->root);
    assert_false(ops->is_inside(p->host, OWNER, path, &inside));
    (void)snprintf(path, sizeof(path), "%s/disks/" OWNER "/x.img", p->root);
    assert_true(ops->is_inside(p->host, OWNER, path, &inside));
    assert_string_equal(inside, "x.img");
    assert_false(ops->is_inside(p->host, "bb", path, &inside));
    assert_int_equal(access(place_path(p, "secret"), F_OK), 0);
}

static void
links_and_pipes_are_no_images(void **state)
{
    struct place *p = *state;
    const struct host_disk_ops *ops = ops_of(p);
    char target[128];
    struct host_disk d;
    int fd = -1;

    place_write(p, "secret", "x");
    (void)snprintf(target, sizeof(target), "%s/secret", p->root);
    assert_int_equal(symlink(target, place_path(p, "disks/" OWNER "/l.img")), 0);
    assert_int_equal(mkfifo(place_path(p, "disks/" OWNER "/f.img"), 0600), 0);
    assert_int_equal(mkdir(place_path(p, "disks/" OWNER "/d.img"), 0700), 0);
    assert_int_equal(ops->stat(p->host, OWNER, "l.img", &d, NULL), -ELOOP);
    assert_int_equal(ops->open(p->host, OWNER, "l.img", true, &fd, NULL), -ELOOP);
    assert_int_equal(ops->stat(p->host, OWNER, "f.img", &d, NULL), -EINVAL);
    assert_int_equal(ops->stat(p->host, OWNER, "d.img", &d, NULL), -EINVAL);
    assert_int_equal(ops->remove(p->host, OWNER, "l.img", NULL), -ELOOP);
    /* An owner's folder is none when it is a link. */
    assert_int_equal(symlink(p->root, place_path(p, "disks/bb")), 0);
    assert_true(ops->stat(p->host, "bb", "secret", &d, NULL) < 0);
    assert_true(ops->prepare(p->host, "bb", NULL) < 0);
}

static void
a_lock_lives_as_long_as_any_copy_of_the_descriptor(void **state)
{
    struct place *p = *state;
    const struct host_disk_ops *ops = ops_of(p);
    int fd = -1, copy, other = -1;

    place_write(p, "disks/" OWNER "/a.img", "x");
    assert_int_equal(ops->open(p->host, OWNER, "a.img", true, &fd, NULL), 0);
    copy = dup(fd); /* as a hypervisor inherits it */
    p->host->files->close(p->host, fd);
    assert_int_equal(ops->open(p->host, OWNER, "a.img", true, &other, NULL), -EBUSY);
    assert_int_equal(ops->open(p->host, OWNER, "a.img", false, &other, NULL), -EBUSY);
    (void)close(copy);
    assert_int_equal(ops->open(p->host, OWNER, "a.img", false, &fd, NULL), 0);
    assert_int_equal(ops->open(p->host, OWNER, "a.img", false, &other, NULL), 0);
    p->host->files->close(p->host, fd);
    p->host->files->close(p->host, other);
}

static void
descriptors_of_callers_are_looked_at(void **state)
{
    struct place *p = *state;
    const struct host_disk_ops *ops = ops_of(p);
    int pipes[2], sockets[2], file, directory, path_only;

    place_write(p, "file", "x");
    assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets), 0);
    file = open(place_path(p, "file"), O_RDWR | O_CLOEXEC);
    directory = open(p->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    path_only = open(place_path(p, "file"), O_PATH | O_CLOEXEC);
    assert_int_equal(ops->source_check(p->host, file, NULL), 0);
    assert_int_equal(ops->target_check(p->host, file, NULL), 0);
    assert_int_equal(ops->source_check(p->host, pipes[0], NULL), 0);
    assert_int_equal(ops->target_check(p->host, pipes[0], NULL), -EINVAL);
    assert_int_equal(ops->target_check(p->host, pipes[1], NULL), 0);
    assert_int_equal(ops->source_check(p->host, pipes[1], NULL), -EINVAL);
    assert_int_equal(ops->source_check(p->host, sockets[0], NULL), 0);
    assert_int_equal(ops->target_check(p->host, sockets[0], NULL), 0);
    assert_int_equal(ops->source_check(p->host, directory, NULL), -EINVAL);
    assert_int_equal(ops->target_check(p->host, directory, NULL), -EINVAL);
    assert_int_equal(ops->source_check(p->host, path_only, NULL), -EINVAL);
    assert_int_equal(ops->target_check(p->host, path_only, NULL), -EINVAL);
    assert_int_equal(ops->source_check(p->host, -1, NULL), -EINVAL);
    (void)close(file);
    assert_int_equal(ops->source_check(p->host, file, NULL), -EINVAL);
    (void)close(pipes[0]);
    (void)close(pipes[1]);
    (void)close(sockets[0]);
    (void)close(sockets[1]);
    (void)close(directory);
    (void)close(path_only);
}

static void
count(void *arg, const char *name)
{
    (void)name;
    ++*(int *)arg;
}

static void
files_are_listed_without_what_is_hidden(void **state)
{
    struct place *p = *state;
    const struct host_disk_ops *ops = ops_of(p);
    int n = 0;

    place_write(p, "disks/" OWNER "/a.img", "x");
    place_write(p, "disks/" OWNER "/.a.img.attrs", "x");
    assert_int_equal(ops->each(p->host, OWNER, count, &n, NULL), 0);
    assert_int_equal(n, 1);
    n = 0;
    assert_int_equal(ops->each(p->host, "cc", count, &n, NULL), 0);
    assert_int_equal(n, 0);
}

/* As vm_disk leaves it where there are no extended attributes; vm_disk(8), FILES. */
static void
attributes_may_stand_beside_the_image(void **state)
{
    struct place *p = *state;
    const struct host_disk_ops *ops = ops_of(p);
    struct host_disk d;

    place_write(p, "disks/" OWNER "/a.img", "x");
    place_write(p, "disks/" OWNER "/.a.img.attrs",
                "user.crostini.vm_type=6\nuser.crostini.user_chosen_size=1\nnonsense\n");
    assert_int_equal(ops->stat(p->host, OWNER, "a.img", &d, NULL), 0);
    assert_int_equal(d.vm_type, 6);
    assert_true(d.user_chosen_size);
    assert_int_equal(ops->remove(p->host, OWNER, "a.img", NULL), 0);
    assert_int_equal(access(place_path(p, "disks/" OWNER "/.a.img.attrs"), F_OK), -1);
}

static void
the_writer_of_a_log_is_found(void **state)
{
    struct place *p = *state;
    const struct host_disk_ops *ops = ops_of(p);
    struct spawn_id id = {0};
    VMT_CLEANUP(vmt_freep) char *path = NULL;
    int fd = -1, n = 0;

    assert_int_equal(ops->progress_path(p->host, "x", &path, NULL), 0);
    assert_int_equal(p->host->logs->open(p->host, path, &fd, NULL), 0);
    p->host->files->close(p->host, fd);
    assert_int_equal(ops->progress_writer(p->host, "x", &id), -ESRCH);
    assert_true(ops->progress_path(p->host, "../x", &path, NULL) < 0);
    assert_int_equal(ops->progress_each(p->host, count, &n, NULL), 0);
    assert_int_equal(n, 1);
    ops->progress_remove(p->host, "x");
    n = 0;
    assert_int_equal(ops->progress_each(p->host, count, &n, NULL), 0);
    assert_int_equal(n, 0);
}

#define T(name) cmocka_unit_test_setup_teardown(name, place_setup, place_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        T(an_image_is_told_opened_renamed_and_removed),
        T(tricks_with_paths_lead_nowhere),
        T(links_and_pipes_are_no_images),
        T(a_lock_lives_as_long_as_any_copy_of_the_descriptor),
        T(descriptors_of_callers_are_looked_at),
        T(files_are_listed_without_what_is_hidden),
        T(attributes_may_stand_beside_the_image),
        T(the_writer_of_a_log_is_found),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
