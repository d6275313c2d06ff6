/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "platform/linux/vmc/cmd_start.h"
#include "tests/unit/test.h"

static int
set(struct start_options *o, const char *name, const char *value, struct vmt_err *err)
{
    for (const struct vmc_option *row = start_option_table; row->name; row++)
        if (strcmp(row->name, name) == 0)
            return row->set(o, value, err);
    fail_msg("no option %s", name);
    return 0;
}

static void
numbers_are_read_and_bounded(void **state)
{
    static const struct {
        const char *name, *value;
    } bad[] = {{"mem", "many"}, {"mem", "0"},     {"mem", "-1"},    {"mem", "1G"},
               {"cpus", ""},    {"cpus", "1025"}, {"timeout", "x"}, {"timeout", "86401"}};
    VMT_CLEANUP(start_options_done) struct start_options o = {0};
    struct vmt_err err;

    (void)state;
    assert_int_equal(set(&o, "mem", "512", &err), 0);
    assert_int_equal(set(&o, "cpus", "1024", &err), 0);
    assert_int_equal(set(&o, "timeout", "7", &err), 0);
    for (size_t i = 0; i < VMT_ARRAY_SIZE(bad); i++) {
        assert_int_equal(set(&o, bad[i].name, bad[i].value, &err), -EINVAL);
        assert_non_null(strstr(err.msg, bad[i].name));
    }
    assert_int_equal(o.mem_mib, 512);
    assert_int_equal(o.cpus, 1024);
    assert_int_equal(o.timeout_s, 7);
}

static void
an_accelerator_is_one_of_three(void **state)
{
    VMT_CLEANUP(start_options_done) struct start_options o = {0};
    struct vmt_err err;

    (void)state;
    assert_int_equal(set(&o, "accel", "tcg", &err), 0);
    assert_string_equal(o.accel, "tcg");
    assert_int_equal(set(&o, "accel", "xen", &err), -EINVAL);
    assert_non_null(strstr(err.msg, "xen"));
}

static void
a_network_is_one_of_three(void **state)
{
    static const char *const good[] = {"user", "tap", "none"};
    VMT_CLEANUP(start_options_done) struct start_options o = {0};
    struct vmt_err err;

    (void)state;
    for (size_t i = 0; i < VMT_ARRAY_SIZE(good); i++) {
        assert_int_equal(set(&o, "network", good[i], &err), 0);
        assert_string_equal(o.network, good[i]);
    }
    assert_int_equal(set(&o, "network", "bridge", &err), -EINVAL);
    assert_non_null(strstr(err.msg, "bridge"));
    assert_false(o.container_network);
    assert_int_equal(set(&o, "container-network", NULL, &err), 0);
    assert_true(o.container_network);
}

static void
a_restart_policy_may_have_a_bound(void **state)
{
    struct start_options o = {0};
    struct vmt_err err;

    (void)state;
    assert_int_equal(set(&o, "restart", "on-failure", &err), 0);
    assert_int_equal(o.restart_mode, 1);
    assert_int_equal(o.restarts, 0);
    assert_int_equal(set(&o, "restart", "always:5", &err), 0);
    assert_int_equal(o.restart_mode, 2);
    assert_int_equal(o.restarts, 5);
    assert_int_equal(set(&o, "restart", "never", &err), 0);
    assert_int_equal(o.restart_mode, 0);
    assert_int_equal(set(&o, "restart", "sometimes", &err), -EINVAL);
    assert_int_equal(set(&o, "restart", "always:", &err), -EINVAL);
    assert_int_equal(set(&o, "restart", "always:0", &err), -EINVAL);
    assert_int_equal(set(&o, "restart", "alwaysx", &err), -EINVAL);
}

static void
disks_are_absolute_and_may_be_read_only(void **state)
{
    VMT_CLEANUP(start_options_done) struct start_options o = {0};
    struct vmt_err err;

    (void)state;
    assert_int_equal(set(&o, "disk", "/dev/../dev/null", &err), 0);
    assert_int_equal(set(&o, "disk", "/dev/null,ro", &err), 0);
    assert_int_equal(o.ndisks, 2);
    assert_string_equal(o.disks[0].path, "/dev/null");
    assert_false(o.disks[0].read_only);
    assert_string_equal(o.disks[1].path, "/dev/null");
    assert_true(o.disks[1].read_only);
    assert_int_equal(set(&o, "disk", "/no/such/disk,ro", &err), -ENOENT);
    assert_non_null(strstr(err.msg, "/no/such/disk"));
}

static void
lists_have_an_end(void **state)
{
    VMT_CLEANUP(start_options_done) struct start_options o = {0};
    struct vmt_err err;

    (void)state;
    for (int i = 0; i < START_DISKS_MAX; i++)
        assert_int_equal(set(&o, "disk", "/dev/null", &err), 0);
    assert_int_equal(set(&o, "disk", "/dev/null", &err), -EINVAL);
    for (int i = 0; i < START_PARAMS_MAX; i++)
        assert_int_equal(set(&o, "kernel-param", "a=b", &err), 0);
    assert_int_equal(set(&o, "kernel-param", "a=b", &err), -EINVAL);
    assert_int_equal(o.nparams, START_PARAMS_MAX);
}

static void
an_empty_path_is_refused(void **state)
{
    static const char *const names[] = {"image", "kernel", "initrd", "rootfs"};
    VMT_CLEANUP(start_options_done) struct start_options o = {0};
    struct vmt_err err;

    (void)state;
    for (size_t i = 0; i < VMT_ARRAY_SIZE(names); i++)
        assert_int_equal(set(&o, names[i], "", &err), -EINVAL);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_are_read_and_bounded),
        cmocka_unit_test(an_accelerator_is_one_of_three),
        cmocka_unit_test(a_network_is_one_of_three),
        cmocka_unit_test(a_restart_policy_may_have_a_bound),
        cmocka_unit_test(disks_are_absolute_and_may_be_read_only),
        cmocka_unit_test(lists_have_an_end),
        cmocka_unit_test(an_empty_path_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
