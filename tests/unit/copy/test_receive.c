/* SPDX-License-Identifier: BSD-3-Clause */
/* A hostile sender: what it sends must not touch anything outside of the destination. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/test.h"

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/copy/stream.h"
#include "platform/linux/copy/copy.h"

/* A folder with "in" for the copy and "out" next to it, and a stream in a pipe. */
struct world {
    char root[64];
    int dir;
    int pipe[2];
};

static int
world_open(void **state)
{
    struct world *w = calloc(1, sizeof(*w));

    assert_non_null(w);
    (void)snprintf(w->root, sizeof(w->root), "/tmp/vmt-copy.XXXXXX");
    assert_non_null(mkdtemp(w->root));
    w->dir = open(w->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(w->dir >= 0);
    assert_int_equal(mkdirat(w->dir, "in", 0700), 0);
    assert_int_equal(mkdirat(w->dir, "out", 0700), 0);
    assert_int_equal(pipe2(w->pipe, O_CLOEXEC), 0);
    *state = w;
    return 0;
}

static int
world_close(void **state)
{
    struct world *w = *state;
    char command[128];

    (void)close(w->dir);
    (void)close(w->pipe[0]);
    (void)snprintf(command, sizeof(command), "rm -rf %s", w->root);
    assert_int_equal(system(command), 0); /* NOLINT(cert-env33-c): a path of our own */
    free(w);
    return 0;
}

static void
put(struct world *w, const uint8_t *record, size_t n)
{
    assert_int_equal(write(w->pipe[1], record, n), n);
}

static void
put_start(struct world *w)
{
    uint8_t record[COPY_RECORD_MAX];

    put(w, record, copy_start_encode(0, record));
}

static void
put_entry_mode(struct world *w, enum copy_type type, const char *path, const char *target,
               uint32_t mode)
{
    struct copy_entry entry = {.type = type,
                               .mode = mode,
                               .path = path,
                               .target = target,
                               .size = type == COPY_FILE ? 4 : 0};
    uint8_t record[COPY_RECORD_MAX];

    put(w, record, (size_t)copy_entry_encode(&entry, record));
}

static void
put_entry(struct world *w, enum copy_type type, const char *path, const char *target)
{
    put_entry_mode(w, type, path, target, 0700);
}

static void
put_data(struct world *w, uint64_t offset, const char *text)
{
    uint8_t record[COPY_RECORD_MAX];

    put(w, record, copy_data_encode(offset, strlen(text), record));
    put(w, (const uint8_t *)text, strlen(text));
}

static void
put_done(struct world *w, bool whole)
{
    uint8_t record[COPY_RECORD_MAX];

    put(w, record, copy_done_encode(whole, record));
}

static void
put_file(struct world *w, const char *path)
{
    put_entry(w, COPY_FILE, path, "");
    put_data(w, 0, "evil");
    put_done(w, true);
}

static void
put_end(struct world *w)
{
    uint8_t record[COPY_RECORD_MAX];

    put(w, record, copy_end_encode(record));
}

/* Receive all that was put, as the host does that asked for "a". */
static int
receive_as(struct world *w, const char *destination, bool keep, size_t *ret_complaints)
{
    static const char *const names[] = {"a"};
    char path[128];
    struct copy_receive receive = {
        .side = {.program = "test", .label = ""},
        .in = w->pipe[0],
        .destination = path,
        .keep = keep,
        .names = names,
        .nnames = 1,
        .content = -1,
    };
    struct vmt_err err;
    int r;

    (void)snprintf(path, sizeof(path), "%s/%s", w->root, destination);
    (void)close(w->pipe[1]);
    r = copy_receive(&receive, &err);
    *ret_complaints = receive.side.complaints;
    return r;
}

static bool
is_there(const struct world *w, const char *path)
{
    struct stat st;

    return fstatat(w->dir, path, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

static void
expect_content(const struct world *w, const char *path, const char *want)
{
    VMT_CLEANUP(vmt_closep) int fd = openat(w->dir, path, O_RDONLY | O_CLOEXEC);
    char got[64] = "";

    assert_true(fd >= 0);
    assert_true(read(fd, got, sizeof(got) - 1) >= 0);
    assert_string_equal(got, want);
}

static void
make_file(const struct world *w, const char *path, const char *text)
{
    VMT_CLEANUP(vmt_closep)
    int fd = openat(w->dir, path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
}

static void
expect_empty(const struct world *w, const char *path)
{
    char command[160];

    (void)snprintf(command, sizeof(command), "test -z \"$(ls -A %s/%s)\"", w->root, path);
    assert_int_equal(system(command), 0); /* NOLINT(cert-env33-c) */
}

static void
a_file_that_was_asked_for_arrives(void **state)
{
    struct world *w = *state;
    size_t complaints;

    put_start(w);
    put_file(w, "a");
    put_end(w);
    assert_int_equal(receive_as(w, "in", false, &complaints), 0);
    assert_int_equal(complaints, 0);
    expect_content(w, "in/a", "evil");
}

static void
a_file_that_nobody_asked_for_ends_the_copy(void **state)
{
    struct world *w = *state;
    size_t complaints;

    put_start(w);
    put_file(w, "a");
    put_file(w, ".bashrc");
    put_end(w);
    assert_int_equal(receive_as(w, "in", false, &complaints), -EBADMSG);
    assert_false(is_there(w, "in/.bashrc"));
}

static void
nothing_is_written_through_a_link_that_came_before(void **state)
{
    struct world *w = *state;
    size_t complaints;

    put_start(w);
    put_entry(w, COPY_FOLDER, "a", "");
    put_entry(w, COPY_SYMLINK, "a/door", "../../out");
    put_file(w, "a/door/stolen");
    put_entry(w, COPY_FOLDER, "a/door/folder", "");
    put_entry(w, COPY_FOLDER_END, "a/door", "");
    put_entry(w, COPY_SYMLINK, "a/door/link", "x");
    put_entry(w, COPY_HARDLINK, "a/door/hard", "a/door");
    put_end(w);
    assert_int_equal(receive_as(w, "in", false, &complaints), 0);
    assert_int_equal(complaints, 5);
    expect_empty(w, "out");
}

static void
a_link_in_place_of_the_file_is_replaced_not_followed(void **state)
{
    struct world *w = *state;
    size_t complaints;

    make_file(w, "out/precious", "good");
    assert_int_equal(symlinkat("../out/precious", w->dir, "in/a"), 0);
    put_start(w);
    put_file(w, "a");
    put_end(w);
    assert_int_equal(receive_as(w, "in", false, &complaints), 0);
    expect_content(w, "out/precious", "good");
    expect_content(w, "in/a", "evil");
}

static void
another_name_of_a_file_reaches_nothing_outside(void **state)
{
    struct world *w = *state;
    size_t complaints;

    make_file(w, "out/precious", "good");
    put_start(w);
    put_entry(w, COPY_FOLDER, "a", "");
    put_entry(w, COPY_SYMLINK, "a/door", "../../out/precious");
    put_entry(w, COPY_HARDLINK, "a/hard", "a/door"); /* of the link, not of the file */
    put_file(w, "a/hard");
    put_end(w);
    assert_int_equal(receive_as(w, "in", false, &complaints), 0);
    expect_content(w, "out/precious", "good");
}

static void
a_file_beside_the_copy_does_not_become_part_of_it(void **state)
{
    struct world *w = *state;
    size_t complaints;

    make_file(w, "in/precious", "good");
    put_start(w);
    put_entry(w, COPY_HARDLINK, "a", "precious");
    put_end(w);
    assert_int_equal(receive_as(w, "in", false, &complaints), -EBADMSG);
    assert_false(is_there(w, "in/a"));
}

static void
a_file_larger_than_it_said_ends_the_copy(void **state)
{
    struct world *w = *state;
    size_t complaints;

    put_start(w);
    put_entry(w, COPY_FILE, "a", "");
    put_data(w, 2, "evil");
    assert_int_equal(receive_as(w, "in", false, &complaints), -EBADMSG);
    expect_empty(w, "in");
}

static void
of_a_copy_that_breaks_off_no_partial_file_is_left(void **state)
{
    struct world *w = *state;
    size_t complaints;

    make_file(w, "in/a", "good");
    put_start(w);
    put_entry(w, COPY_FILE, "a", "");
    put_data(w, 0, "ev");
    assert_int_equal(receive_as(w, "in", false, &complaints), -EPIPE);
    expect_content(w, "in/a", "good");
    assert_int_equal(unlinkat(w->dir, "in/a", 0), 0);
    expect_empty(w, "in");
}

static void
a_file_that_could_not_be_read_to_its_end_is_not_kept(void **state)
{
    struct world *w = *state;
    size_t complaints;

    put_start(w);
    put_entry(w, COPY_FILE, "a", "");
    put_data(w, 0, "ev");
    put_done(w, false);
    put_end(w);
    assert_int_equal(receive_as(w, "in", false, &complaints), 0);
    assert_int_equal(complaints, 1);
    expect_empty(w, "in");
}

static void
what_is_there_is_kept_when_asked_to(void **state)
{
    struct world *w = *state;
    size_t complaints;

    make_file(w, "in/a", "good");
    put_start(w);
    put_file(w, "a");
    put_end(w);
    assert_int_equal(receive_as(w, "in", true, &complaints), 0);
    assert_int_equal(complaints, 1);
    expect_content(w, "in/a", "good");
}

static void
a_copy_gets_the_name_of_a_destination_that_is_no_folder(void **state)
{
    struct world *w = *state;
    size_t complaints;

    put_start(w);
    put_entry(w, COPY_FOLDER, "a", "");
    put_file(w, "a/x");
    put_entry(w, COPY_FOLDER_END, "a", "");
    put_end(w);
    assert_int_equal(receive_as(w, "in/new", false, &complaints), 0);
    expect_content(w, "in/new/x", "evil");
    assert_false(is_there(w, "in/a"));
}

static void
neither_pipes_nor_folders_are_replaced(void **state)
{
    struct world *w = *state;
    struct stat st;
    size_t complaints;

    assert_int_equal(mkdirat(w->dir, "in/a", 0700), 0);
    assert_int_equal(mkfifoat(w->dir, "in/a/pipe", 0600), 0);
    assert_int_equal(mkdirat(w->dir, "in/a/folder", 0700), 0);
    put_start(w);
    put_file(w, "a/pipe");
    put_file(w, "a/folder");
    put_end(w);
    assert_int_equal(receive_as(w, "in", false, &complaints), 0);
    assert_int_equal(complaints, 2);
    assert_int_equal(fstatat(w->dir, "in/a/pipe", &st, 0), 0);
    assert_true(S_ISFIFO(st.st_mode));
}

static void
expect_mode(const struct world *w, const char *path, mode_t want)
{
    struct stat st;

    assert_int_equal(fstatat(w->dir, path, &st, AT_SYMLINK_NOFOLLOW), 0);
    assert_int_equal(st.st_mode & 07777, want);
}

static void
nothing_new_is_open_to_more_than_the_umask_lets(void **state)
{
    struct world *w = *state;
    mode_t before = umask(027);
    size_t complaints;

    put_start(w);
    put_entry_mode(w, COPY_FOLDER, "a", "", 0777);
    put_entry_mode(w, COPY_FILE, "a/x", "", 0666);
    put_data(w, 0, "evil");
    put_done(w, true);
    put_entry_mode(w, COPY_FOLDER, "a/sub", "", 0777);
    put_entry_mode(w, COPY_FOLDER_END, "a/sub", "", 0777);
    put_entry_mode(w, COPY_FOLDER_END, "a", "", 0777);
    put_end(w);
    assert_int_equal(receive_as(w, "in", false, &complaints), 0);
    (void)umask(before);
    assert_int_equal(complaints, 0);
    expect_mode(w, "in/a", 0750);
    expect_mode(w, "in/a/x", 0640);
    expect_mode(w, "in/a/sub", 0750);
}

static void
folders_that_were_there_keep_their_permissions(void **state)
{
    struct world *w = *state;
    size_t complaints;

    assert_int_equal(mkdirat(w->dir, "in/a", 0700), 0);
    assert_int_equal(mkdirat(w->dir, "in/a/secret", 0700), 0);
    assert_int_equal(mkdirat(w->dir, "in/a/other", 0700), 0);
    put_start(w);
    put_entry_mode(w, COPY_FOLDER, "a", "", 0755);
    put_entry_mode(w, COPY_FOLDER, "a/secret", "", 0755);
    put_entry_mode(w, COPY_FOLDER_END, "a/secret", "", 0755);
    /* Nor does one that is new stand in for one that is not. */
    put_entry_mode(w, COPY_FOLDER, "a/new", "", 0755);
    put_entry_mode(w, COPY_FOLDER_END, "a/other", "", 0755);
    put_entry_mode(w, COPY_FOLDER_END, "a/new", "", 0755);
    put_entry_mode(w, COPY_FOLDER_END, "a", "", 0755);
    put_end(w);
    assert_int_equal(receive_as(w, "in", false, &complaints), 0);
    assert_int_equal(complaints, 0);
    expect_mode(w, "in/a", 0700);
    expect_mode(w, "in/a/secret", 0700);
    expect_mode(w, "in/a/other", 0700);
    expect_mode(w, "in/a/new", 0755);
}

static void
an_unfinished_file_of_somebody_else_is_left_alone(void **state)
{
    struct world *w = *state;
    size_t complaints;
    char name[64];
    int fd;

    /* As another process of this number would have, in a container beside this one. */
    (void)snprintf(name, sizeof(name), "in/" COPY_TEMPORARY "%d.0", (int)getpid());
    fd = openat(w->dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    (void)close(fd);
    put_start(w);
    put_file(w, "a");
    put_end(w);
    assert_int_equal(receive_as(w, "in", false, &complaints), 0);
    assert_int_equal(complaints, 1);
    assert_true(is_there(w, name));
}

static void
bytes_of_something_else_end_the_copy(void **state)
{
    struct world *w = *state;
    size_t complaints;

    put(w, (const uint8_t *)"Welcome to Debian!", 18);
    assert_int_equal(receive_as(w, "in", false, &complaints), -EBADMSG);
}

int
main(void)
{
#define ROW(test) cmocka_unit_test_setup_teardown(test, world_open, world_close)
    const struct CMUnitTest tests[] = {
        ROW(a_file_that_was_asked_for_arrives),
        ROW(a_file_that_nobody_asked_for_ends_the_copy),
        ROW(nothing_is_written_through_a_link_that_came_before),
        ROW(a_link_in_place_of_the_file_is_replaced_not_followed),
        ROW(another_name_of_a_file_reaches_nothing_outside),
        ROW(a_file_beside_the_copy_does_not_become_part_of_it),
        ROW(a_file_larger_than_it_said_ends_the_copy),
        ROW(of_a_copy_that_breaks_off_no_partial_file_is_left),
        ROW(a_file_that_could_not_be_read_to_its_end_is_not_kept),
        ROW(what_is_there_is_kept_when_asked_to),
        ROW(a_copy_gets_the_name_of_a_destination_that_is_no_folder),
        ROW(neither_pipes_nor_folders_are_replaced),
        ROW(nothing_new_is_open_to_more_than_the_umask_lets),
        ROW(folders_that_were_there_keep_their_permissions),
        ROW(an_unfinished_file_of_somebody_else_is_left_alone),
        ROW(bytes_of_something_else_end_the_copy),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
