/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/adapter/spawn.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "tests/unit/host/place.h"
#include "tests/unit/test.h"

struct seen {
    char names[256];
    uint64_t bytes;
};

static void
see(void *arg, const struct host_state_entry *entry)
{
    struct seen *seen = arg;
    size_t at = strlen(seen->names);

    (void)snprintf(seen->names + at, sizeof(seen->names) - at, "%s%s ", entry->name,
                   entry->is_dir ? "/" : "");
    seen->bytes += entry->bytes;
}

static const char *
list(struct place *p, const char *dir, struct seen *seen)
{
    memset(seen, 0, sizeof(*seen));
    assert_int_equal(p->host->state->each(p->host, dir, see, seen, NULL), 0);
    return seen->names;
}

static void
a_new_file_is_nowhere_until_it_is_committed(void **state)
{
    struct place *p = *state;
    const struct host_state_ops *ops = p->host->state;
    struct seen seen;
    struct stat st;
    uint64_t bytes = 0;
    int fd = -1;

    assert_int_equal(ops->create(p->host, "templates/a", &fd, NULL), 0);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    assert_int_equal(write(fd, "hello", 5), 5);
    assert_string_equal(list(p, "templates/a", &seen), "");
    assert_int_equal(ops->commit(p->host, fd, "templates/a/one.state", NULL), 0);
    ops->drop(p->host, fd); /* has a name of its own now */
    assert_string_equal(list(p, "templates/a", &seen), "one.state ");
    assert_true(seen.bytes > 0);
    assert_string_equal(list(p, "templates", &seen), "a/ ");
    assert_int_equal(ops->open(p->host, "templates/a/one.state", &fd, &bytes, NULL), 0);
    assert_int_equal(bytes, 5);
    assert_int_equal(fcntl(fd, F_GETFL) & O_ACCMODE, O_RDONLY);
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    p->host->files->close(p->host, fd);
}

static void
a_commit_replaces_what_was_there(void **state)
{
    struct place *p = *state;
    const struct host_state_ops *ops = p->host->state;
    struct seen seen;
    int fd = -1;

    for (int i = 1; i <= 2; i++) {
        assert_int_equal(ops->create(p->host, "t", &fd, NULL), 0);
        assert_int_equal(write(fd, "xx", (size_t)i), i);
        assert_int_equal(ops->commit(p->host, fd, "t/s", NULL), 0);
        ops->drop(p->host, fd);
    }
    assert_string_equal(list(p, "t", &seen), "s ");
}

static void
what_is_dropped_leaves_nothing(void **state)
{
    struct place *p = *state;
    const struct host_state_ops *ops = p->host->state;
    struct seen seen;
    int fd = -1;

    assert_int_equal(ops->create(p->host, "t", &fd, NULL), 0);
    ops->drop(p->host, fd);
    assert_string_equal(list(p, "t", &seen), "");
    assert_int_equal(rmdir(place_path(p, "states/t")), 0); /* wholly empty */
}

static void
leftovers_of_a_crash_are_swept_and_never_listed(void **state)
{
    struct place *p = *state;
    const struct host_state_ops *ops = p->host->state;
    struct seen seen;

    assert_int_equal(ops->save(p->host, "t/record", "r", 1, NULL), 0);
    place_write(p, "states/t/.new.77.0", "half a state");
    assert_string_equal(list(p, "t", &seen), "record ");
    ops->sweep(p->host, "t");
    assert_int_equal(access(place_path(p, "states/t/.new.77.0"), F_OK), -1);
    assert_string_equal(list(p, "t", &seen), "record ");
    ops->sweep(p->host, "missing");
}

static void
paths_stay_within_the_directory(void **state)
{
    static const char *const bad[] = {"",     "/etc/x", "../x",  "a/../x",
                                      ".a",   "a/.b",   "a//b",  "a b",
                                      "a\nb", "a/./b",  "a/..b", "\xc3\xa4"};
    struct place *p = *state;
    const struct host_state_ops *ops = p->host->state;
    void *data = NULL;
    size_t len = 0;
    uint64_t bytes;
    int fd = -1;

    for (size_t i = 0; i < VMT_ARRAY_SIZE(bad); i++) {
        assert_int_equal(ops->create(p->host, bad[i], &fd, NULL), -EINVAL);
        assert_int_equal(ops->open(p->host, bad[i], &fd, &bytes, NULL), -EINVAL);
        assert_int_equal(ops->save(p->host, bad[i], "", 0, NULL), -EINVAL);
        assert_int_equal(ops->load(p->host, bad[i], &data, &len, NULL), -EINVAL);
        ops->remove(p->host, bad[i]);
        ops->touch(p->host, bad[i]);
        ops->sweep(p->host, bad[i]);
    }
}

static void
records_are_saved_loaded_and_removed_with_their_directory(void **state)
{
    struct place *p = *state;
    const struct host_state_ops *ops = p->host->state;
    VMT_CLEANUP(vmt_freep) void *data = NULL;
    void *none = NULL;
    struct seen seen;
    size_t len = 0;

    assert_int_equal(ops->save(p->host, "t/a/r", "abc", 3, NULL), 0);
    assert_int_equal(ops->load(p->host, "t/a/r", &data, &len, NULL), 0);
    assert_int_equal(len, 3);
    assert_memory_equal(data, "abc", 3);
    ops->remove(p->host, "t/a");
    ops->remove(p->host, "t/a");
    assert_int_equal(ops->load(p->host, "t/a/r", &none, &len, NULL), -ENOENT);
    assert_string_equal(list(p, "t", &seen), "");
    assert_string_equal(list(p, "missing", &seen), "");
}

static void
a_link_in_the_place_of_a_state_is_not_followed(void **state)
{
    struct place *p = *state;
    uint64_t bytes;
    int fd = -1;

    assert_int_equal(p->host->state->save(p->host, "t/r", "x", 1, NULL), 0);
    assert_int_equal(symlink("/etc/passwd", place_path(p, "states/t/s")), 0);
    assert_int_equal(p->host->state->open(p->host, "t/s", &fd, &bytes, NULL), -ELOOP);
}

static void
touching_makes_a_file_the_most_recent(void **state)
{
    static const struct timespec old[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
    struct place *p = *state;
    struct stat st;

    assert_int_equal(p->host->state->save(p->host, "t/r", "x", 1, NULL), 0);
    assert_int_equal(utimensat(AT_FDCWD, place_path(p, "states/t/r"), old, 0), 0);
    p->host->state->touch(p->host, "t/r");
    assert_int_equal(stat(place_path(p, "states/t/r"), &st), 0);
    assert_true(st.st_mtim.tv_sec > 1000);
}

static void
identity(struct place *p, int fd, char *buf, size_t cap)
{
    assert_int_equal(p->host->state->identify(p->host, fd, buf, cap, NULL), 0);
}

static void
a_changed_or_replaced_file_has_another_identity(void **state)
{
    struct place *p = *state;
    char before[256], again[256], after[256];
    static const struct timespec past[2] = {{.tv_sec = 1}, {.tv_sec = 1}};
    VMT_CLEANUP(vmt_closep) int fd = -1;
    VMT_CLEANUP(vmt_closep) int copy = -1;
    VMT_CLEANUP(vmt_closep) int null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

    place_write(p, "image", "one");
    fd = open(place_path(p, "image"), O_RDWR | O_CLOEXEC);
    identity(p, fd, before, sizeof(before));
    identity(p, fd, again, sizeof(again));
    assert_string_equal(before, again);
    assert_int_equal(futimens(fd, past), 0);
    identity(p, fd, before, sizeof(before));
    assert_int_equal(pwrite(fd, "two", 3, 0), 3);
    identity(p, fd, after, sizeof(after));
    assert_string_not_equal(before, after);
    place_write(p, "image2", "two");
    copy = open(place_path(p, "image2"), O_RDONLY | O_CLOEXEC);
    identity(p, copy, again, sizeof(again));
    assert_string_not_equal(after, again);
    assert_int_equal(
        p->host->state->identify(p->host, null_fd, again, sizeof(again), NULL), -ENOTSUP);
    assert_int_equal(p->host->state->identify(p->host, fd, again, 4, NULL), -ENOBUFS);
}

static void
a_process_in_the_background_is_nice(void **state)
{
    struct place *p = *state;
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        (void)pause();
        _exit(0);
    }
    p->host->state->background(p->host, &(struct spawn_id){.pid = pid});
    assert_int_equal(getpriority(PRIO_PROCESS, (id_t)pid), 19);
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, place_setup, place_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_new_file_is_nowhere_until_it_is_committed),
        TEST(a_commit_replaces_what_was_there),
        TEST(what_is_dropped_leaves_nothing),
        TEST(leftovers_of_a_crash_are_swept_and_never_listed),
        TEST(paths_stay_within_the_directory),
        TEST(records_are_saved_loaded_and_removed_with_their_directory),
        TEST(a_link_in_the_place_of_a_state_is_not_followed),
        TEST(touching_makes_a_file_the_most_recent),
        TEST(a_changed_or_replaced_file_has_another_identity),
        TEST(a_process_in_the_background_is_nice),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
