/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/guest/maitred/agent/job.h"

#include <errno.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "platform/guest/maitred/proc/extra.h"
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
    assert_false(job.skip || job.poweroff_on_exit || job.has_limits);
    assert_null(job.extra->user);
}

static void
a_job_says_as_whom_and_within_which_limits(void **state)
{
    static const char text[] =
        "argv: 'server' cwd: '/srv' user: 'www' group: '33' respawn_on_failure: true\n"
        "limits { memory_max: 1048576 memory_high: 1000000 pids_max: 20 cpu_weight: 50\n"
        "         oom_group: true }\n"
        "rlimits { name: 'nofile' soft: 64 hard: 128 }\n"
        "rlimits { name: 'CORE' unlimited: true } rlimits { name: 'nproc' soft: 9 }\n"
        "oom_score_adj: -500 kill_children: true skip: true";
    VMT_CLEANUP(job_done) struct job job = {0};
    const struct proc_extra *x;

    (void)state;
    assert_int_equal(job_parse(text, strlen(text), &job, NULL), 0);
    x = job.extra;
    assert_string_equal(x->cwd, "/srv");
    assert_string_equal(x->user, "www");
    assert_string_equal(x->group, "33");
    assert_true(job.respawn && x->respawn_on_failure && x->kill_children && job.skip);
    assert_true(job.has_limits);
    assert_int_equal(x->limits.memory_max, 1048576);
    assert_int_equal(x->limits.memory_high, 1000000);
    assert_int_equal(x->limits.pids_max, 20);
    assert_int_equal(x->limits.cpu_weight, 50);
    assert_true(x->limits.oom_group);
    assert_int_equal(x->nrlimits, 3);
    assert_int_equal(x->rlimits[0].resource, RLIMIT_NOFILE);
    assert_int_equal(x->rlimits[0].limit.rlim_cur, 64);
    assert_int_equal(x->rlimits[0].limit.rlim_max, 128);
    assert_int_equal(x->rlimits[1].resource, RLIMIT_CORE);
    assert_true(x->rlimits[1].limit.rlim_max == RLIM_INFINITY);
    assert_int_equal(x->rlimits[2].limit.rlim_max, 9);
    assert_int_equal(x->oom_score_adj, -500);
}

static void
assert_refused(const char *text, const char *words)
{
    struct vmt_err err = {0};
    struct job job;

    assert_int_equal(job_parse(text, strlen(text), &job, &err), -EINVAL);
    if (!strstr(err.msg, words))
        fail_msg("\"%s\" is not in \"%s\"", words, err.msg);
}

static void
jobs_that_make_no_sense_are_refused(void **state)
{
    (void)state;
    assert_refused("", "no argv");
    assert_refused("argv: ''", "no argv");
    assert_refused("argv: 'x' respawn: true wait_for_exit: true", "exclude");
    assert_refused("argv: 'x' respawn_on_failure: true wait_for_exit: true", "exclude");
    assert_refused("argv: 'x' respawn: true poweroff_on_exit: true", "exclude");
    assert_refused("argv: 'x' respawn_on_failure: true poweroff_on_exit: true",
                   "exclude");
    assert_refused("argv: 'x' kill_children: true", "respawned");
    assert_refused("argv: 'x' timeout_s: 5", "wait_for_exit");
    assert_refused("argv: 'x' wait_for_exit: true timeout_s: 86401", "at most");
    assert_refused("argv: 'x' env { key: 'A=' value: 'b' }", "env");
    assert_refused("argv: 'x' cwd: 'srv'", "absolute");
    assert_refused("argv: 'x' oom_score_adj: 1001", "1000");
    assert_refused("argv: 'x' limits { cpu_weight: 10001 }", "10000");
    assert_refused("argv: 'x' rlimits { name: 'fish' soft: 1 }", "fish");
    assert_refused("argv: 'x' rlimits { name: 'cpu' soft: 2 hard: 1 }", "above");
    assert_refused("argv: 'x' chdir: '/'", "line 1, column 11");
}

static void
group_names_are_file_names(void **state)
{
    char name[GROUP_NAME_MAX], text[2 * GROUP_NAME_MAX];

    (void)state;
    group_name(name, "job-", "10-a.b/c d\n\xc3\xa4");
    assert_string_equal(name, "job-10-a.b_c_d___");
    group_name(name, "", "..");
    assert_string_equal(name, "_.");
    (void)memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    group_name(name, "job-", text);
    assert_int_equal(strlen(name), GROUP_NAME_MAX - 1);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_job_is_a_launch_request_in_text),
        cmocka_unit_test(a_job_says_as_whom_and_within_which_limits),
        cmocka_unit_test(jobs_that_make_no_sense_are_refused),
        cmocka_unit_test(group_names_are_file_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
