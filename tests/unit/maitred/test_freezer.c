/* SPDX-License-Identifier: BSD-3-Clause */
/* Control groups of plain files: the test plays the kernel. */
#include "platform/guest/maitred/agent/freezer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/log.h"
#include "tests/fake/fake_clock.h"
#include "tests/unit/test.h"

struct room {
    struct fake_clock *clock;
    struct freezer *freezer;
    char root[64];
    unsigned dones;
    int status;
    char text[512];
};

static void
put(const struct room *r, const char *group, const char *file, const char *text)
{
    char path[256];
    int fd;

    (void)snprintf(path, sizeof(path), "%s/%s/%s", r->root, group, file);
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    (void)close(fd);
}

static char
state_of(const struct room *r, const char *group)
{
    char path[256], byte = '?';
    int fd;

    (void)snprintf(path, sizeof(path), "%s/%s/cgroup.freeze", r->root, group);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(read(fd, &byte, 1), 1);
    (void)close(fd);
    return byte;
}

static void
add_group(const struct room *r, const char *group, const char *freeze)
{
    char path[256];

    (void)snprintf(path, sizeof(path), "%s/%s", r->root, group);
    assert_int_equal(mkdir(path, 0700), 0);
    put(r, group, "cgroup.freeze", freeze);
    put(r, group, "cgroup.events", "populated 1\nfrozen 0\n");
}

static void
swallow(void *arg, enum vmt_log_level level, const char *line)
{
    (void)arg;
    (void)level;
    (void)line;
}

static int
set_up(void **state)
{
    static struct room r;

    vmt_log_init("test", swallow, NULL);
    r = (struct room){.clock = fake_clock_new()};
    (void)snprintf(r.root, sizeof(r.root), "/tmp/vmt-freezer-XXXXXX");
    assert_non_null(mkdtemp(r.root));
    put(&r, "", "cgroup.procs", "");
    add_group(&r, "guest", "0\n");
    add_group(&r, "lxc", "0\n");
    add_group(&r, "paused", "1\n");
    assert_int_equal(freezer_new(fake_clock_base(r.clock), r.root, &r.freezer), 0);
    *state = &r;
    return 0;
}

static int
tear_down(void **state)
{
    struct room *r = *state;
    char command[128];

    freezer_free(r->freezer);
    assert_int_equal(fake_clock_pending(r->clock), 0);
    fake_clock_free(r->clock);
    (void)snprintf(command, sizeof(command), "rm -r %s", r->root);
    return system(command);
}

static void
on_done(void *arg, int status, const struct vmt_err *err)
{
    struct room *r = arg;

    assert_int_equal(status < 0, err != NULL);
    r->dones++;
    r->status = status;
    (void)snprintf(r->text, sizeof(r->text), "%s", err ? err->msg : "");
}

static int
freeze(struct room *r)
{
    char home[128];

    (void)snprintf(home, sizeof(home), "%s/guest", r->root);
    return freezer_freeze(r->freezer, home, 1000, on_done, r, NULL);
}

static void
all_groups_are_frozen_and_only_these_thaw(void **state)
{
    struct room *r = *state;

    assert_int_equal(freeze(r), 0);
    assert_int_equal(r->dones, 0); /* never from inside */
    assert_int_equal(freeze(r), -EALREADY);
    assert_int_equal(state_of(r, "guest"), '1');
    assert_int_equal(state_of(r, "lxc"), '1');
    put(r, "guest", "cgroup.events", "populated 1\nfrozen 1\n");
    fake_clock_advance(r->clock, 100);
    assert_int_equal(r->dones, 0);
    put(r, "lxc", "cgroup.events", "populated 0\nfrozen 1\n");
    fake_clock_advance(r->clock, 100);
    assert_int_equal(r->dones, 1);
    assert_int_equal(r->status, 0);
    assert_int_equal(freezer_count(r->freezer), 2);
    assert_true(freezer_is_on(r->freezer));
    freezer_thaw(r->freezer);
    assert_false(freezer_is_on(r->freezer));
    assert_int_equal(state_of(r, "guest"), '0');
    assert_int_equal(state_of(r, "lxc"), '0');
    assert_int_equal(state_of(r, "paused"), '1');
    assert_int_equal(r->dones, 1);
}

static void
what_does_not_freeze_in_time_lets_all_run_again(void **state)
{
    struct room *r = *state;

    assert_int_equal(freeze(r), 0);
    put(r, "guest", "cgroup.events", "populated 1\nfrozen 1\n");
    fake_clock_advance(r->clock, 2000);
    assert_int_equal(r->dones, 1);
    assert_int_equal(r->status, -ETIMEDOUT);
    assert_non_null(strstr(r->text, "control group lxc"));
    assert_int_equal(state_of(r, "guest"), '0');
    assert_int_equal(state_of(r, "lxc"), '0');
    assert_false(freezer_is_on(r->freezer));
}

static void
a_thaw_ends_a_freeze_that_waits(void **state)
{
    struct room *r = *state;

    assert_int_equal(freeze(r), 0);
    freezer_thaw(r->freezer);
    assert_int_equal(r->dones, 1);
    assert_int_equal(r->status, -ECANCELED);
    assert_int_equal(state_of(r, "guest"), '0');
    fake_clock_advance(r->clock, 2000);
    assert_int_equal(r->dones, 1);
    freezer_thaw(r->freezer); /* nothing to do */
}

static void
a_group_that_goes_away_is_not_waited_for(void **state)
{
    struct room *r = *state;
    char command[160];

    put(r, "guest", "cgroup.events", "populated 1\nfrozen 1\n");
    assert_int_equal(freeze(r), 0);
    (void)snprintf(command, sizeof(command), "rm -r %s/lxc", r->root);
    assert_int_equal(system(command), 0);
    fake_clock_advance(r->clock, 10);
    assert_int_equal(r->dones, 1);
    assert_int_equal(r->status, 0);
    freezer_thaw(r->freezer);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(all_groups_are_frozen_and_only_these_thaw, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(what_does_not_freeze_in_time_lets_all_run_again,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_thaw_ends_a_freeze_that_waits, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_group_that_goes_away_is_not_waited_for, set_up,
                                        tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
