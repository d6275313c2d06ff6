/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/linux/os/paths.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/err.h"
#include "tests/unit/os/support.h"

static char dir[64];
static size_t fds_before;

static int
setup(void **state)
{
    (void)state;
    fds_before = test_count_fds();
    (void)snprintf(dir, sizeof(dir), "/tmp/vmt_test_paths.XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int
teardown(void **state)
{
    (void)state;
    if (os_remove_tree(dir, NULL) < 0 || test_count_fds() != fds_before)
        return -1;
    return access(dir, F_OK) < 0 ? 0 : -1;
}

/* A path below the test's folder, valid until the fourth next call. */
static const char *
at(const char *name)
{
    static char ring[4][512];
    static unsigned turn;
    char *path = ring[turn++ % 4];

    (void)snprintf(path, sizeof(ring[0]), "%s/%s", dir, name);
    return path;
}

static void
put(const char *path, const char *text)
{
    assert_int_equal(os_write_file_atomic(path, text, strlen(text), 0600, NULL), 0);
}

static void
mkdir_p_makes_what_is_missing_and_accepts_what_is_there(void **state)
{
    struct stat st;
    struct vmt_err err;

    (void)state;
    assert_int_equal(os_mkdir_p(at("a//b/c/"), 0700, NULL), 0);
    assert_int_equal(stat(at("a/b/c"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    assert_int_equal(os_mkdir_p(at("a/b/c"), 0755, NULL), 0);
    put(at("a/file"), "x");
    assert_int_equal(os_mkdir_p(at("a/file/b"), 0700, &err), -ENOTDIR);
    assert_non_null(strstr(err.msg, "a/file"));
    assert_int_equal(symlink(at("a/b"), at("link")), 0);
    assert_int_equal(os_mkdir_p(at("link/d"), 0700, NULL), 0);
    assert_int_equal(access(at("a/b/d"), F_OK), 0);
    assert_int_equal(os_mkdir_p("/", 0700, NULL), 0);
}

static void
remove_tree_removes_all_but_follows_no_link(void **state)
{
    (void)state;
    assert_int_equal(os_mkdir_p(at("keep/inner"), 0700, NULL), 0);
    put(at("keep/inner/precious"), "x");
    assert_int_equal(os_mkdir_p(at("tree/one/two/three"), 0700, NULL), 0);
    put(at("tree/one/file"), "x");
    assert_int_equal(symlink(at("keep"), at("tree/one/trap")), 0);
    assert_int_equal(symlink(at("keep/inner/precious"), at("tree/trap")), 0);
    assert_int_equal(symlink(at("keep"), at("top")), 0);
    assert_int_equal(mkfifo(at("tree/pipe"), 0600), 0);
    assert_int_equal(os_remove_tree(at("tree"), NULL), 0);
    assert_int_equal(access(at("tree"), F_OK), -1);
    assert_int_equal(os_remove_tree(at("top"), NULL), 0); /* the link alone */
    assert_int_equal(access(at("keep/inner/precious"), F_OK), 0);
    assert_int_equal(os_remove_tree(at("tree"), NULL), 0); /* missing is success */
}

static void
remove_tree_says_when_it_is_too_deep(void **state)
{
    char path[512];
    struct vmt_err err;
    int n = snprintf(path, sizeof(path), "%s", at("deep"));

    (void)state;
    for (int i = 0; i < 70; i++)
        n += snprintf(path + n, sizeof(path) - (size_t)n, "/d");
    assert_int_equal(os_mkdir_p(path, 0700, NULL), 0);
    assert_int_equal(os_remove_tree(at("deep"), &err), -ELOOP);
    assert_int_equal(os_remove_tree(at("deep/d/d/d/d/d/d/d/d"), NULL), 0);
}

static void
a_file_is_replaced_whole_and_keeps_its_mode(void **state)
{
    VMT_CLEANUP(vmt_freep) char *text = NULL;
    unsigned long len;
    struct stat st;
    struct vmt_err err;

    (void)state;
    put(at("file"), "old");
    assert_int_equal(os_write_file_atomic(at("file"), "new\0text", 8, 0640, NULL), 0);
    assert_int_equal(stat(at("file"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0640);
    assert_int_equal(os_read_file(at("file"), 8, &text, &len, NULL), 0);
    assert_int_equal(len, 8);
    assert_memory_equal(text, "new\0text", 9);
    assert_int_equal(os_write_file_atomic(at("none/file"), "x", 1, 0600, &err), -ENOENT);
    assert_non_null(strstr(err.msg, "none/file"));
}

static void
a_lazy_file_is_replaced_whole_too(void **state)
{
    VMT_CLEANUP(vmt_freep) char *text = NULL;
    struct stat st;

    (void)state;
    put(at("file"), "old");
    assert_int_equal(os_write_file_lazy(at("file"), "new", 3, 0640, NULL), 0);
    assert_int_equal(stat(at("file"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0640);
    assert_int_equal(os_read_file(at("file"), 8, &text, NULL, NULL), 0);
    assert_string_equal(text, "new");
    assert_int_equal(os_write_file_lazy(at("none/file"), "x", 1, 0600, NULL), -ENOENT);
}

static void
a_failed_replacement_leaves_the_folder_as_it_was(void **state)
{
    (void)state;
    assert_int_equal(os_mkdir_p(at("sub/busy/x"), 0700, NULL), 0);
    assert_int_equal(os_write_file_atomic(at("sub/busy"), "x", 1, 0600, NULL), -EISDIR);
    assert_int_equal(os_remove_tree(at("sub/busy"), NULL), 0);
    assert_int_equal(rmdir(at("sub")), 0); /* no temporary file is left */
}

static void
a_file_is_read_up_to_its_bound(void **state)
{
    VMT_CLEANUP(vmt_freep) char *text = NULL, *none = NULL, *proc = NULL;
    static char big[10000];
    unsigned long len;

    (void)state;
    memset(big, 'b', sizeof(big));
    assert_int_equal(os_write_file_atomic(at("big"), big, sizeof(big), 0600, NULL), 0);
    assert_int_equal(os_read_file(at("big"), sizeof(big) - 1, &none, &len, NULL), -EFBIG);
    assert_null(none);
    assert_int_equal(os_read_file(at("big"), sizeof(big), &text, &len, NULL), 0);
    assert_int_equal(len, sizeof(big));
    assert_int_equal(strlen(text), sizeof(big));
    assert_int_equal(os_read_file("/proc/self/stat", 4096, &proc, NULL, NULL), 0);
    assert_true(strlen(proc) > 10); /* its size is 0 for stat */
    assert_int_equal(os_read_file(at("gone"), 10, &none, &len, NULL), -ENOENT);
}

static void
user_paths_follow_the_environment(void **state)
{
    VMT_CLEANUP(os_paths_done) struct os_paths p = {0};
    struct stat st;

    (void)state;
    assert_int_equal(os_mkdir_p(at("run"), 0700, NULL), 0);
    (void)setenv("XDG_RUNTIME_DIR", at("run"), 1);
    (void)setenv("XDG_STATE_HOME", at("state"), 1);
    (void)setenv("HOME", at("home"), 1);
    (void)unsetenv("XDG_DATA_HOME");
    (void)setenv("XDG_CACHE_HOME", "relative/counts/as/unset", 1);
    assert_int_equal(os_paths_init(false, &p, NULL), 0);
    assert_string_equal(p.runtime, at("run/vm_tools"));
    assert_string_equal(p.state, at("state/vm_tools"));
    assert_string_equal(p.data, at("home/.local/share/vm_tools"));
    assert_string_equal(p.cache, at("home/.cache/vm_tools"));
    assert_int_equal(stat(p.cache, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
}

static void
a_runtime_directory_that_others_can_enter_is_refused(void **state)
{
    struct os_paths p = {0};
    struct vmt_err err;

    (void)state;
    assert_int_equal(os_mkdir_p(at("open/vm_tools"), 0700, NULL), 0);
    assert_int_equal(chmod(at("open/vm_tools"), 0711), 0);
    (void)setenv("XDG_RUNTIME_DIR", at("open"), 1);
    assert_int_equal(os_paths_init(false, &p, &err), -EPERM);
    assert_non_null(strstr(err.msg, "chmod 0700"));
    assert_null(p.runtime);
    assert_int_equal(os_remove_tree(at("open/vm_tools"), NULL), 0);
    assert_int_equal(symlink("/tmp", at("open/vm_tools")), 0);
    assert_int_equal(os_paths_init(false, &p, &err), -ENOTDIR);
}

static void
a_runtime_directory_of_somebody_else_is_refused(void **state)
{
    struct os_paths p = {0};
    struct vmt_err err;

    (void)state;
    if (geteuid() != 0)
        skip(); /* only root can give a directory away */
    assert_int_equal(os_mkdir_p(at("theirs/vm_tools"), 0700, NULL), 0);
    assert_int_equal(chown(at("theirs/vm_tools"), 12345, 12345), 0);
    (void)setenv("XDG_RUNTIME_DIR", at("theirs"), 1);
    assert_int_equal(os_paths_init(false, &p, &err), -EPERM);
    assert_non_null(strstr(err.msg, "12345"));
}

static void
without_any_variable_the_error_says_what_to_set(void **state)
{
    struct os_paths p = {0};
    struct vmt_err err;

    (void)state;
    (void)setenv("XDG_RUNTIME_DIR", dir, 1);
    (void)unsetenv("XDG_STATE_HOME");
    (void)unsetenv("HOME");
    assert_int_equal(os_paths_init(false, &p, &err), -ENOENT);
    assert_non_null(strstr(err.msg, "HOME"));
}

#define PATHS_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        PATHS_TEST(mkdir_p_makes_what_is_missing_and_accepts_what_is_there),
        PATHS_TEST(remove_tree_removes_all_but_follows_no_link),
        PATHS_TEST(remove_tree_says_when_it_is_too_deep),
        PATHS_TEST(a_file_is_replaced_whole_and_keeps_its_mode),
        PATHS_TEST(a_lazy_file_is_replaced_whole_too),
        PATHS_TEST(a_failed_replacement_leaves_the_folder_as_it_was),
        PATHS_TEST(a_file_is_read_up_to_its_bound),
        PATHS_TEST(user_paths_follow_the_environment),
        PATHS_TEST(a_runtime_directory_that_others_can_enter_is_refused),
        PATHS_TEST(a_runtime_directory_of_somebody_else_is_refused),
        PATHS_TEST(without_any_variable_the_error_says_what_to_set),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
