/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "platform/linux/host/host_internal.h"
#include "tests/unit/host/place.h"
#include "tests/unit/test.h"

static void
put(int fd, const char *text)
{
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
}

static void
expect_tail(struct place *p, const char *path, size_t max, const char *want)
{
    VMT_CLEANUP(vmt_freep) char *data = NULL;
    size_t len = 0;

    assert_int_equal(p->host->logs->tail(p->host, path, max, &data, &len, NULL), 0);
    assert_int_equal(len, strlen(want));
    assert_string_equal(data, want);
}

static void
a_log_is_cut_in_place_and_its_writer_goes_on(void **state)
{
    struct place *p = *state;
    const struct host_log_ops *logs = p->host->logs;
    char path[256];
    int fd;

    (void)strncpy(path, place_path(p, "log"), sizeof(path) - 1);
    path[sizeof(path) - 1] = '\0';
    assert_int_equal(logs->size(p->host, path), 0);
    assert_int_equal(logs->open(p->host, path, &fd, NULL), 0);
    put(fd, "0123456789");
    assert_int_equal(logs->size(p->host, path), 10);
    assert_int_equal(logs->trim(p->host, path, 10, NULL), 0);
    put(fd, "abc");
    assert_int_equal(logs->trim(p->host, path, 10, NULL), 1);
    assert_int_equal(logs->size(p->host, path), 0);
    expect_tail(p, path, 100, "3456789abc");
    put(fd, "new");
    assert_int_equal(logs->size(p->host, path), 3); /* no hole */
    expect_tail(p, path, 100, "3456789abcnew");
    expect_tail(p, path, 4, "cnew");
    expect_tail(p, path, 2, "ew");
    p->host->files->close(p->host, fd);
}

/* spec 17, row 24: oldest first, cut at the oldest end, and not across a gap. */
static void
several_parts_are_kept_and_read_in_order(void **state)
{
    struct place *p = *state;
    const struct host_log_ops *logs = p->host->logs;
    char path[256], part[16];
    struct stat st;
    int fd;

    (void)strncpy(path, place_path(p, "log"), sizeof(path) - 1);
    path[sizeof(path) - 1] = '\0';
    assert_int_equal(logs->open(p->host, path, &fd, NULL), 0);
    for (int i = 0; i < 7; i++) {
        (void)snprintf(part, sizeof(part), "part %d;", i);
        put(fd, part);
        assert_int_equal(logs->trim(p->host, path, 6, NULL), 1);
    }
    put(fd, "end");
    expect_tail(p, path, 100, "art 2;art 3;art 4;art 5;art 6;end");
    expect_tail(p, path, 11, "5;art 6;end");
    assert_int_equal(stat(place_path(p, "log.6"), &st), -1);
    assert_int_equal(unlink(place_path(p, "log.3")), 0);
    expect_tail(p, path, 100, "art 5;art 6;end");
    p->host->files->close(p->host, fd);
    assert_int_equal(logs->open(p->host, path, &fd, NULL), 0);
    expect_tail(p, path, 100, "");
    p->host->files->close(p->host, fd);
}

static void
a_new_log_begins_empty(void **state)
{
    struct place *p = *state;
    const struct host_log_ops *logs = p->host->logs;
    struct stat st;
    char path[256];
    int fd;

    place_write(p, "log", "old");
    place_write(p, "log.1", "older");
    (void)strncpy(path, place_path(p, "log"), sizeof(path) - 1);
    path[sizeof(path) - 1] = '\0';
    assert_int_equal(logs->open(p->host, path, &fd, NULL), 0);
    expect_tail(p, path, 100, "");
    assert_int_equal(stat(place_path(p, "log.1"), &st), -1);
    p->host->files->close(p->host, fd);
}

static void
a_missing_log_and_a_link_are_told(void **state)
{
    struct place *p = *state;
    const struct host_log_ops *logs = p->host->logs;
    char *data;
    size_t len;
    int fd;

    assert_int_equal(logs->tail(p->host, place_path(p, "none"), 10, &data, &len, NULL),
                     -ENOENT);
    assert_int_equal(symlink("/etc/passwd", place_path(p, "link")), 0);
    assert_int_equal(logs->open(p->host, place_path(p, "link"), &fd, NULL), -ELOOP);
    assert_int_equal(logs->tail(p->host, place_path(p, "link"), 10, &data, &len, NULL),
                     -ELOOP);
}

static void
only_the_newest_logs_are_kept(void **state)
{
    struct place *p = *state;
    const char *const names[] = {"old", "older", "new", "newer"};
    const time_t ages[] = {2000, 1000, 3000, 4000};
    char dir[256];
    struct stat st;

    (void)snprintf(dir, sizeof(dir), "%s", place_path(p, "logs"));
    for (size_t i = 0; i < VMT_ARRAY_SIZE(names); i++) {
        char name[32];
        struct timespec times[2] = {{.tv_sec = ages[i]}, {.tv_sec = ages[i]}};

        (void)snprintf(name, sizeof(name), "logs/%s", names[i]);
        place_write(p, name, "x");
        assert_int_equal(utimensat(AT_FDCWD, place_path(p, name), times, 0), 0);
    }
    assert_int_equal(mkdir(place_path(p, "logs/dir"), 0700), 0);
    linux_host_prune_logs(dir, 4);
    assert_int_equal(stat(place_path(p, "logs/older"), &st), 0);
    linux_host_prune_logs(dir, 2);
    assert_int_equal(stat(place_path(p, "logs/old"), &st), -1);
    assert_int_equal(stat(place_path(p, "logs/older"), &st), -1);
    assert_int_equal(stat(place_path(p, "logs/new"), &st), 0);
    assert_int_equal(stat(place_path(p, "logs/newer"), &st), 0);
    assert_int_equal(stat(place_path(p, "logs/dir"), &st), 0);
}

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, place_setup, place_teardown)
    const struct CMUnitTest tests[] = {
        T(a_log_is_cut_in_place_and_its_writer_goes_on),
        T(several_parts_are_kept_and_read_in_order),
        T(a_new_log_begins_empty),
        T(only_the_newest_logs_are_kept),
        T(a_missing_log_and_a_link_are_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
