/* SPDX-License-Identifier: BSD-3-Clause */
/* Groups, limits and memory on hosts that are directories. The kernel's side of it is
 * played by tests/integration/vm/test_memory.py in a real guest. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "platform/linux/host/host_internal.h"
#include "platform/linux/os/paths.h"
#include "tests/unit/test.h"

#define MIB (UINT64_C(1) << 20)
#define UNIT "/sys/fs/cgroup/system.slice/vm.service"

struct site {
    char root[64];
    struct host *host;
};

/* Write a file below the root, with its directories. */
static void
put(const struct site *s, const char *path, const char *text)
{
    char full[512], *slash;

    (void)snprintf(full, sizeof(full), "%s%s", s->root, path);
    slash = strrchr(full, '/');
    *slash = '\0';
    assert_int_equal(os_mkdir_p(full, 0755, NULL), 0);
    *slash = '/';
    {
        VMT_CLEANUP(vmt_fclosep) FILE *f = fopen(full, "we");

        assert_non_null(f);
        assert_true(fputs(text, f) >= 0);
    }
}

static void
expect_text(const struct site *s, const char *path, const char *want)
{
    char full[512], text[256] = "";

    (void)snprintf(full, sizeof(full), "%s%s", s->root, path);
    {
        VMT_CLEANUP(vmt_fclosep) FILE *f = fopen(full, "re");

        assert_non_null(f);
        assert_true(fread(text, 1, sizeof(text) - 1, f) <= sizeof(text));
    }
    assert_string_equal(text, want);
}

static void
put_group(const struct site *s, const char *group, const char *procs)
{
    static const char *const files[] = {"cgroup.subtree_control", "pids.max",
                                        "cpu.weight"};
    char path[256];

    (void)snprintf(path, sizeof(path), "%s/cgroup.procs", group);
    put(s, path, procs);
    (void)snprintf(path, sizeof(path), "%s/cgroup.controllers", group);
    put(s, path, "cpu memory pids\n");
    for (size_t i = 0; i < VMT_ARRAY_SIZE(files); i++) {
        (void)snprintf(path, sizeof(path), "%s/%s", group, files[i]);
        put(s, path, "");
    }
}

static int
site_setup(void **state)
{
    struct site *s = calloc(1, sizeof(*s));
    char run[128];
    struct linux_host_config config = {.run_root = run,
                                       .record_dir = run,
                                       .log_dir = run,
                                       .state_dir = run,
                                       .disk_dir = run,
                                       .sys_root = s ? s->root : NULL};

    if (!s)
        return -1;
    (void)snprintf(s->root, sizeof(s->root), "/tmp/vmt-cgroup-XXXXXX");
    if (!mkdtemp(s->root))
        return -1;
    (void)snprintf(run, sizeof(run), "%s/run", s->root);
    *state = s;
    return linux_host_new(&config, &s->host, NULL);
}

static int
site_teardown(void **state)
{
    struct site *s = *state;
    int r;

    linux_host_free(s->host);
    r = os_remove_tree(s->root, NULL);
    free(s);
    return r;
}

static void
in_unit(const struct site *s, const char *procs)
{
    put(s, "/sys/fs/cgroup/cgroup.controllers", "cpuset cpu io memory pids\n");
    put(s, "/proc/self/cgroup", "1:name=systemd:/x\n0::/system.slice/vm.service\n");
    put_group(s, UNIT, procs);
    put_group(s, UNIT "/daemon", "");
    put_group(s, UNIT "/vm.abc", "");
}

static void
a_daemon_alone_in_its_group_makes_room_for_vms(void **state)
{
    struct site *s = *state;
    const struct host_cgroup_ops *cgroups = s->host->cgroups;
    struct vmt_err err = {0};
    char pid[32];
    int fd = -1;

    (void)snprintf(pid, sizeof(pid), "%d\n", (int)getpid());
    in_unit(s, pid);
    assert_int_equal(cgroups->prepare(s->host, &err), 0);
    *strchr(pid, '\n') = '\0';
    expect_text(s, UNIT "/daemon/cgroup.procs", pid);
    expect_text(s, UNIT "/cgroup.subtree_control", "+cpu"); /* the last one written */
    assert_int_equal(cgroups->make(s->host, "vm.abc", &fd, &err), 0);
    assert_int_equal(write(fd, "0", 1), 1);
    vmt_closep(&fd);
    expect_text(s, UNIT "/vm.abc/cgroup.procs", "0");
    expect_text(s, UNIT "/vm.abc/pids.max", "4096");
    assert_int_equal(cgroups->set_weight(s->host, "vm.abc", 250, &err), 0);
    expect_text(s, UNIT "/vm.abc/cpu.weight", "250");
}

static void
a_daemon_that_its_manager_put_in_a_child_stays_there(void **state)
{
    struct site *s = *state;

    in_unit(s, "");
    put(s, "/proc/self/cgroup", "0::/system.slice/vm.service/daemon\n");
    assert_int_equal(s->host->cgroups->prepare(s->host, NULL), 0);
    expect_text(s, UNIT "/daemon/cgroup.procs", "");
}

static void
what_is_not_delegated_is_left_alone(void **state)
{
    struct site *s = *state;
    struct vmt_err err = {0};

    in_unit(s, "1\n");
    assert_int_equal(s->host->cgroups->prepare(s->host, &err), -EBUSY);
    assert_non_null(strstr(err.msg, "Delegate=yes"));
    expect_text(s, UNIT "/cgroup.subtree_control", "");
    /* The answer stays, though the reason has gone. */
    put(s, UNIT "/cgroup.procs", "");
    assert_int_equal(s->host->cgroups->prepare(s->host, NULL), -EBUSY);
}

static void
systemd_has_to_say_that_it_delegated(void **state)
{
    struct site *s = *state;

    in_unit(s, "");
    put(s, "/run/systemd/system/x", "");
    assert_int_equal(s->host->cgroups->prepare(s->host, NULL), -EACCES);
}

static void
hosts_without_controllers_or_groups_say_so(void **state)
{
    struct site *s = *state;
    struct vmt_err err = {0};

    put(s, "/sys/fs/cgroup/unified/cgroup.controllers", "hugetlb\n");
    put(s, "/proc/self/cgroup", "3:memory:/a\n0::/\n");
    assert_int_equal(s->host->cgroups->prepare(s->host, &err), -ENOTSUP);
    assert_non_null(strstr(err.msg, "delegated"));
}

static void
a_name_that_is_no_vms_is_refused(void **state)
{
    struct site *s = *state;
    int fd = -1;

    in_unit(s, "");
    assert_int_equal(s->host->cgroups->prepare(s->host, NULL), 0);
    assert_int_equal(s->host->cgroups->make(s->host, "../vm.x", &fd, NULL), -EINVAL);
    assert_int_equal(s->host->cgroups->make(s->host, "vm./..", &fd, NULL), -EINVAL);
    assert_int_equal(s->host->cgroups->set_weight(s->host, "x", 1, NULL), -EINVAL);
}

static void
note_name(void *arg, const char *name)
{
    (void)strncat(arg, name, 32);
}

static void
groups_are_listed_and_removed(void **state)
{
    struct site *s = *state;
    char names[128] = "", path[256];

    in_unit(s, "");
    assert_int_equal(s->host->cgroups->prepare(s->host, NULL), 0);
    (void)snprintf(path, sizeof(path), "%s" UNIT "/vm.empty", s->root);
    assert_int_equal(mkdir(path, 0755), 0);
    s->host->cgroups->each(s->host, note_name, names);
    assert_string_equal(names, "vm.abcvm.empty");
    assert_int_equal(s->host->cgroups->remove(s->host, "vm.empty"), 0);
    assert_int_equal(access(path, F_OK), -1);
    assert_int_equal(s->host->cgroups->remove(s->host, "vm.empty"), 0);
}

static void
a_released_group_has_no_controllers_enabled(void **state)
{
    struct site *s = *state;

    in_unit(s, "");
    put(s, UNIT "/.control/cgroup.procs", "");
    put(s, "/proc/self/cgroup", "0::/system.slice/vm.service/.control\n");
    assert_int_equal(linux_host_release_cgroup(s->root, NULL), 0);
    expect_text(s, UNIT "/cgroup.subtree_control", "-cpu");
    put(s, "/proc/self/cgroup", "0::/\n");
    assert_int_equal(linux_host_release_cgroup(s->root, NULL), -EINVAL);
}

static void
the_tightest_quota_above_us_counts(void **state)
{
    struct site *s = *state;

    in_unit(s, "");
    assert_int_equal(s->host->cgroups->cpu_limit(s->host), 0);
    put(s, UNIT "/cpu.max", "max 100000\n");
    assert_int_equal(s->host->cgroups->cpu_limit(s->host), 0);
    put(s, UNIT "/cpu.max", "550000 100000\n");
    put(s, "/sys/fs/cgroup/system.slice/cpu.max", "150000 100000\n");
    assert_int_equal(s->host->cgroups->cpu_limit(s->host), 2);
}

static void
memory_is_what_the_host_and_its_groups_leave(void **state)
{
    struct site *s = *state;
    struct host_memory memory = {0};

    put(s, "/proc/meminfo",
        "MemTotal:        8388608 kB\nMemFree: 1 kB\nMemAvailable:    4194304 kB\n");
    put(s, "/proc/pressure/memory",
        "some avg10=12.34 avg60=0.00 avg300=0.00 total=5\n"
        "full avg10=0.56 avg60=0.00 avg300=0.00 total=5\n");
    s->host->memory->now(s->host, &memory);
    assert_int_equal(memory.total, 8192 * MIB);
    assert_int_equal(memory.available, 4096 * MIB);
    assert_int_equal(memory.some_stalled, 1234);
    assert_int_equal(memory.all_stalled, 56);
    in_unit(s, "");
    put(s, UNIT "/memory.max", "max\n");
    put(s, "/sys/fs/cgroup/system.slice/memory.max", "2147483648\n");
    put(s, "/sys/fs/cgroup/system.slice/memory.current", "1610612736\n");
    put(s, "/sys/fs/cgroup/system.slice/memory.stat",
        "anon 1\ninactive_file 268435456\nactive_file 268435456\n");
    s->host->memory->now(s->host, &memory);
    assert_int_equal(memory.total, 2048 * MIB);
    assert_int_equal(memory.available, 1024 * MIB);
}

static void
a_host_that_tells_nothing_has_nothing(void **state)
{
    struct site *s = *state;
    struct host_memory memory = {.total = 1, .some_stalled = 1};

    s->host->memory->now(s->host, &memory);
    assert_int_equal(memory.total, 0);
    assert_int_equal(memory.some_stalled, 0);
    assert_int_equal(s->host->cgroups->prepare(s->host, NULL), -ENOTSUP);
    assert_int_equal(s->host->cgroups->cpu_limit(s->host), 0);
    assert_int_equal(s->host->cgroups->remove(s->host, "vm.abc"), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, site_setup, site_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_daemon_alone_in_its_group_makes_room_for_vms),
        TEST(a_daemon_that_its_manager_put_in_a_child_stays_there),
        TEST(what_is_not_delegated_is_left_alone),
        TEST(systemd_has_to_say_that_it_delegated),
        TEST(hosts_without_controllers_or_groups_say_so),
        TEST(a_name_that_is_no_vms_is_refused),
        TEST(groups_are_listed_and_removed),
        TEST(a_released_group_has_no_controllers_enabled),
        TEST(the_tightest_quota_above_us_counts),
        TEST(memory_is_what_the_host_and_its_groups_leave),
        TEST(a_host_that_tells_nothing_has_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
