/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/guest/maitred/agent/jobs.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "platform/linux/os/paths.h"
#include "tests/unit/test.h"

static void
a_job_is_a_launch_request_in_text(void **state)
{
    static const char text[] = "argv: \"agetty\" argv: '115200' # comment\n"
                               "respawn: true use_console: true\n"
                               "env { key: 'A' value: 'b c' }";
    VMT_CLEANUP(job_done) struct job job = {0};

    (void)state;
    assert_int_equal(job_parse(text, strlen(text), &job, NULL), 0);
    assert_int_equal(job.argv.n, 2);
    assert_string_equal(job.argv.v[1], "115200");
    assert_string_equal(job.env.v[0], "A=b c");
    assert_true(job.respawn && job.use_console && !job.wait_for_exit);
}

static void
assert_refused(const char *text, const char *words)
{
    struct vmt_err err = {0};
    struct job job;

    assert_int_equal(job_parse(text, strlen(text), &job, &err), -EINVAL);
    assert_non_null(strstr(err.msg, words));
}

static void
jobs_that_make_no_sense_are_refused(void **state)
{
    (void)state;
    assert_refused("", "no argv");
    assert_refused("argv: ''", "no argv");
    assert_refused("argv: 'x' respawn: true wait_for_exit: true", "exclude");
    assert_refused("argv: 'x' cwd: '/'", "line 1, column 11");
}

static void
touch(const char *dir, const char *name)
{
    char path[256];
    FILE *f;

    (void)snprintf(path, sizeof(path), "%s/%s", dir, name);
    f = fopen(path, "w");
    assert_non_null(f);
    (void)fclose(f);
}

static void
files_run_in_byte_order_of_their_path(void **state)
{
    static const char *const expected[] = {"/00-a", "/10.d/z", "/100-x", "/20/b", "/90"};
    VMT_CLEANUP(vmt_argv_done) struct vmt_argv paths = {0};
    char dir[] = "/tmp/vmt-jobs-XXXXXX", sub[64];

    (void)state;
    assert_non_null(mkdtemp(dir));
    (void)snprintf(sub, sizeof(sub), "%s/10.d", dir);
    assert_int_equal(mkdir(sub, 0700), 0);
    (void)snprintf(sub, sizeof(sub), "%s/20", dir);
    assert_int_equal(mkdir(sub, 0700), 0);
    touch(dir, "90");
    touch(dir, "100-x");
    touch(dir, "00-a");
    touch(dir, "10.d/z");
    touch(dir, "20/b");
    (void)snprintf(sub, sizeof(sub), "%s/link", dir);
    assert_int_equal(symlink("90", sub), 0); /* links are not followed */
    assert_int_equal(jobs_list(dir, &paths, NULL), 0);
    assert_int_equal(paths.n, VMT_ARRAY_SIZE(expected));
    for (size_t i = 0; i < paths.n; i++)
        assert_string_equal(paths.v[i] + strlen(dir), expected[i]);
    assert_int_equal(os_remove_tree(dir, NULL), 0);
}

static void
no_folder_means_no_jobs(void **state)
{
    VMT_CLEANUP(vmt_argv_done) struct vmt_argv paths = {0};

    (void)state;
    assert_int_equal(jobs_list("/nonexistent/maitred", &paths, NULL), 0);
    assert_int_equal(paths.n, 0);
}

static void
a_folder_without_end_is_refused(void **state)
{
    VMT_CLEANUP(vmt_argv_done) struct vmt_argv paths = {0};
    char dir[] = "/tmp/vmt-jobs-XXXXXX", path[256];

    (void)state;
    assert_non_null(mkdtemp(dir));
    (void)snprintf(path, sizeof(path), "%s/1/2/3/4/5/6/7/8/9/10", dir);
    assert_int_equal(os_mkdir_p(path, 0700, NULL), 0);
    assert_int_equal(jobs_list(dir, &paths, NULL), -E2BIG);
    assert_int_equal(paths.n, 0);
    assert_int_equal(os_remove_tree(dir, NULL), 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_job_is_a_launch_request_in_text),
        cmocka_unit_test(jobs_that_make_no_sense_are_refused),
        cmocka_unit_test(files_run_in_byte_order_of_their_path),
        cmocka_unit_test(no_folder_means_no_jobs),
        cmocka_unit_test(a_folder_without_end_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
