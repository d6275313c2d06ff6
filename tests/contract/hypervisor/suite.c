/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/contract/hypervisor/suite.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/adapter/clock.h"
#include "core/base/err.h"
#include "platform/linux/os/loop.h"
#include "platform/linux/os/process.h"
#include "tests/unit/test.h"

static void
control_answers_after_start_and_quit_ends_it(void **state)
{
    struct suite *s = *state;
    struct spawn_id id;

    suite_start_and_control(s, "quiet");
    s->hv->ops->id(s->vm, &id);
    assert_true(id.pid > 1);
    assert_true(id.start_time > 0);
    suite_quit_and_exit(s);
    suite_settle(s);
    assert_string_equal(s->log, "control exit");
    assert_int_equal(s->exit.process.kind, SPAWN_EXIT_CODE);
    assert_int_equal(s->exit.process.code, 0);
}

static void
calls_before_control_are_not_connected(void **state)
{
    struct suite *s = *state;
    struct vm_spec spec = suite_spec(s, "quiet");

    suite_start(s, &spec);
    assert_int_equal(s->hv->ops->quit(s->vm), -ENOTCONN);
    assert_int_equal(s->hv->ops->pause(s->vm, true, suite_on_done, s), -ENOTCONN);
    assert_int_equal(s->hv->ops->power_button(s->vm, suite_on_done, s), -ENOTCONN);
    assert_int_equal(s->hv->ops->kill(s->vm, SIGKILL), 0);
    suite_wait(s, &s->exits);
    assert_int_equal(s->exit.reason, HYPERVISOR_EXIT_REQUEST);
    assert_int_equal(s->dones, 0);
}

static void
pause_resume_and_power_button_are_answered(void **state)
{
    struct suite *s = *state;

    suite_start_and_control(s, "quiet");
    for (int i = 0; i < 2; i++) {
        s->dones = 0;
        s->inside = true;
        assert_int_equal(s->hv->ops->pause(s->vm, i == 0, suite_on_done, s), 0);
        s->inside = false;
        suite_wait(s, &s->dones);
        assert_int_equal(s->done_result, 0);
    }
    s->dones = 0;
    assert_int_equal(s->hv->ops->power_button(s->vm, suite_on_done, s), 0);
    suite_wait(s, &s->dones);
    assert_int_equal(s->done_result, 0);
    suite_quit_and_exit(s);
    assert_string_equal(s->log, "control done done done exit");
}

static void
a_call_in_flight_fails_before_the_exit(void **state)
{
    struct suite *s = *state;

    suite_start_and_control(s, "quiet");
    suite_under_test->freeze(s);
    assert_int_equal(s->hv->ops->pause(s->vm, true, suite_on_done, s), 0);
    assert_int_equal(s->hv->ops->kill(s->vm, SIGKILL), 0);
    suite_wait(s, &s->exits);
    assert_int_equal(s->done_result, -ENOTCONN);
    assert_string_equal(s->log, "control done exit");
}

static void
expect_end(struct suite *s, const char *act, enum hypervisor_exit reason)
{
    char cmdline[128];

    (void)snprintf(cmdline, sizeof(cmdline), "console=ttyS0 panic=-1 quiet vmt_test=%s",
                   act);
    suite_start_and_control(s, cmdline);
    if (suite_under_test->act)
        suite_under_test->act(s, act);
    suite_wait(s, &s->exits);
    suite_settle(s);
    assert_int_equal(s->exit.reason, reason);
    assert_int_equal(s->exits, 1);
    assert_int_equal(s->exit.process.kind, SPAWN_EXIT_CODE);
}

static void
a_guest_that_powers_off_says_so(void **state)
{
    struct suite *s = *state;
    char text[8192] = "";
    FILE *f;

    expect_end(s, "poweroff", HYPERVISOR_EXIT_POWEROFF);
    assert_int_equal(s->panics, 0);
    if (!suite_under_test->console_text)
        return;
    f = fopen(s->console, "r");
    assert_non_null(f);
    (void)!fread(text, 1, sizeof(text) - 1, f);
    (void)fclose(f);
    assert_non_null(strstr(text, suite_under_test->console_text));
}

static void
a_guest_that_reboots_ends_with_reset(void **state)
{
    expect_end(*state, "reset", HYPERVISOR_EXIT_RESET);
    assert_int_equal(((struct suite *)*state)->panics, 0);
}

static void
a_guest_that_panics_tells_before_its_exit(void **state)
{
    struct suite *s = *state;

    expect_end(s, "panic", HYPERVISOR_EXIT_PANIC);
    assert_string_equal(s->log, "control panic exit");
}

static void
a_signal_from_outside_is_no_request_of_ours(void **state)
{
    struct suite *s = *state;

    suite_start_and_control(s, "quiet");
    suite_under_test->murder(s);
    suite_wait(s, &s->exits);
    assert_int_equal(s->exit.reason, HYPERVISOR_EXIT_KILLED);
    assert_int_equal(s->exit.process.kind, SPAWN_EXIT_SIGNAL);
    assert_int_equal(s->exit.process.code, SIGKILL);
    assert_int_equal(s->hv->ops->quit(s->vm), -ENOTCONN);
    assert_int_equal(s->hv->ops->kill(s->vm, SIGKILL), -ESRCH);
}

static void
sigterm_of_ours_is_a_request(void **state)
{
    struct suite *s = *state;

    suite_start_and_control(s, "quiet");
    assert_int_equal(s->hv->ops->kill(s->vm, SIGTERM), 0);
    suite_wait(s, &s->exits);
    assert_int_equal(s->exit.reason, HYPERVISOR_EXIT_REQUEST);
}

static void
a_refused_file_ends_with_config_and_its_words(void **state)
{
    struct suite *s = *state;
    const struct hypervisor_disk disk = {.path = "/nonexistent,readonly=on", .fd = -1};
    struct vm_spec spec = suite_spec(s, "quiet");

    spec.disks = &disk;
    spec.ndisks = 1;
    suite_start(s, &spec);
    if (suite_under_test->refuse)
        suite_under_test->refuse(s);
    suite_wait(s, &s->exits);
    assert_int_equal(s->exit.reason, HYPERVISOR_EXIT_CONFIG);
    assert_non_null(strstr(s->exit.text, "/nonexistent,readonly=on"));
}

static void
a_spec_that_cannot_run_is_refused_at_once(void **state)
{
    struct suite *s = *state;
    struct vm_spec spec = suite_spec(s, "quiet");
    struct hypervisor_vm *vm = NULL;
    struct vmt_err err = {0};

    spec.cid = 2;
    assert_int_equal(s->hv->ops->start(s->hv, &spec, &suite_events, s, &vm, &err),
                     -EINVAL);
    assert_non_null(strstr(err.msg, "cid 2"));
    spec = suite_spec(s, "quiet");
    spec.kernel_fd = -1;
    assert_int_equal(s->hv->ops->start(s->hv, &spec, &suite_events, s, &vm, &err),
                     -EINVAL);
    spec = suite_spec(s, "quiet");
    spec.accel = HYPERVISOR_ACCEL_AUTO;
    assert_int_equal(s->hv->ops->start(s->hv, &spec, &suite_events, s, &vm, NULL),
                     -EINVAL);
    assert_null(vm);
    suite_settle(s);
    assert_string_equal(s->log, "");
}

static void
every_part_of_a_spec_is_accepted(void **state)
{
    struct suite *s = *state;
    const char *const oem[] = {"vmt:a,b=c", "two", NULL};
    int writable = suite_disk(), other = suite_disk();
    char path[64];
    struct hypervisor_disk disks[] = {
        {.fd = writable, .serial = "state", .block_size = 4096},
        {.fd = -1, .read_only = true},
        {.path = s->console, .fd = -1, .read_only = true, .serial = "a,b\"c"},
    };
    struct vm_spec spec = suite_spec(s, "quiet vmt=\"a b\",c");

    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", other);
    disks[1].fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_int_equal(ftruncate(s->console_fd, 4096), 0);
    spec.name = "a,b c";
    spec.vcpus = 2;
    spec.disks = disks;
    spec.ndisks = sizeof(disks) / sizeof(disks[0]);
    spec.oem_strings = oem;
    suite_start(s, &spec);
    close(disks[1].fd);
    close(writable);
    close(other);
    while (s->controls == 0 && s->exits == 0)
        (void)os_loop_run(s->loop);
    if (s->exits > 0)
        fail_msg("%s", s->exit_text);
    suite_quit_and_exit(s);
}

static void
a_freed_vm_runs_on_and_can_be_adopted(void **state)
{
    struct suite *s = *state;
    struct spawn_id id, again;
    struct vmt_err err = {0};

    suite_start_and_control(s, "quiet");
    s->hv->ops->id(s->vm, &id);
    s->hv->ops->vm_free(s->vm);
    s->vm = NULL;
    suite_settle(s);
    s->controls = 0;
    if (s->hv->ops->adopt(s->hv, s->dir, &id, &suite_events, s, &s->vm, &err) < 0)
        fail_msg("adopt: %s", err.msg);
    suite_wait(s, &s->controls);
    s->hv->ops->id(s->vm, &again);
    assert_int_equal(again.pid, id.pid);
    assert_int_equal(again.start_time, id.start_time);
    assert_int_equal(s->hv->ops->pause(s->vm, true, suite_on_done, s), 0);
    suite_wait(s, &s->dones);
    assert_int_equal(s->done_result, 0);
    suite_quit_and_exit(s);
    assert_string_equal(s->log, "control control done exit");
}

static void
a_process_that_is_gone_cannot_be_adopted(void **state)
{
    struct suite *s = *state;
    struct spawn_id id;
    struct hypervisor_vm *vm = NULL;

    suite_start_and_control(s, "quiet");
    s->hv->ops->id(s->vm, &id);
    suite_quit_and_exit(s);
    assert_int_equal(s->hv->ops->adopt(s->hv, s->dir, &id, &suite_events, s, &vm, NULL),
                     -ESRCH);
    assert_null(vm);
}

static void
a_vm_may_be_freed_inside_its_callbacks(void **state)
{
    struct suite *s = *state;
    const struct vm_spec spec = suite_spec(s, "quiet");
    struct spawn_id id;

    suite_start_and_control(s, "quiet");
    s->free_on_event = true;
    assert_int_equal(s->hv->ops->kill(s->vm, SIGKILL), 0);
    suite_wait(s, &s->exits);
    assert_null(s->vm);

    s->controls = s->exits = 0;
    s->free_on_event = true;
    suite_start(s, &spec);
    s->hv->ops->id(s->vm, &id);
    suite_wait(s, &s->controls);
    assert_null(s->vm);
    assert_int_equal(
        s->hv->ops->adopt(s->hv, s->dir, &id, &suite_events, s, &s->vm, NULL), 0);
    assert_int_equal(s->hv->ops->kill(s->vm, SIGKILL), 0);
    suite_wait(s, &s->exits);
}

static void
start_probe(struct suite *s)
{
    const struct hypervisor_probe_request req = {.kernel_fd = suite_under_test->kernel_fd,
                                                 .initrd_fd = suite_under_test->initrd_fd,
                                                 .force = true,
                                                 .on_done = suite_on_probe,
                                                 .arg = s};
    struct vmt_err err = {0};

    s->inside = true;
    if (s->hv->ops->probe(s->hv, &req, &s->probe, &err) < 0)
        fail_msg("probe: %s", err.msg);
    s->inside = false;
}

static void
a_probe_answers_once_with_a_reason(void **state)
{
    struct suite *s = *state;

    start_probe(s);
    suite_wait(s, &s->probes);
    suite_settle(s);
    assert_string_equal(s->log, "probe");
    assert_int_equal(s->accel, suite_under_test->probed);
    assert_string_not_equal(s->reason, "");
}

static void
a_cancelled_probe_says_nothing(void **state)
{
    struct suite *s = *state;

    start_probe(s);
    s->hv->ops->probe_cancel(s->probe);
    /* Its process is reaped by the spawner, which needs no more than time. */
    while (waitpid(-1, NULL, 0) > 0)
        ;
    suite_settle(s);
    assert_string_equal(s->log, "");
}

int
suite_run(const struct suite_backend *under_test)
{
    const struct CMUnitTest tests[] = {
        SUITE_TEST(control_answers_after_start_and_quit_ends_it),
        SUITE_TEST(calls_before_control_are_not_connected),
        SUITE_TEST(pause_resume_and_power_button_are_answered),
        SUITE_TEST(a_call_in_flight_fails_before_the_exit),
        SUITE_TEST(a_guest_that_powers_off_says_so),
        SUITE_TEST(a_guest_that_reboots_ends_with_reset),
        SUITE_TEST(a_guest_that_panics_tells_before_its_exit),
        SUITE_TEST(a_signal_from_outside_is_no_request_of_ours),
        SUITE_TEST(sigterm_of_ours_is_a_request),
        SUITE_TEST(a_refused_file_ends_with_config_and_its_words),
        SUITE_TEST(a_spec_that_cannot_run_is_refused_at_once),
        SUITE_TEST(every_part_of_a_spec_is_accepted),
        SUITE_TEST(a_freed_vm_runs_on_and_can_be_adopted),
        SUITE_TEST(a_process_that_is_gone_cannot_be_adopted),
        SUITE_TEST(a_vm_may_be_freed_inside_its_callbacks),
        SUITE_TEST(a_probe_answers_once_with_a_reason),
        SUITE_TEST(a_cancelled_probe_says_nothing),
    };

    int failed;

    suite_under_test = under_test;
    os_process_init();
    failed = cmocka_run_group_tests_name("processes", tests, NULL, NULL);
    failed += suite_devices_run();
    return failed + suite_state_run();
}
