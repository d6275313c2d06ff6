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
        cmocka_unit_test(files_run_in_byte_order_of_their_path),
        cmocka_unit_test(no_folder_means_no_jobs),
        cmocka_unit_test(a_folder_without_end_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
