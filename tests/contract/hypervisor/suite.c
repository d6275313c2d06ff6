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

/* An emulated guest boots in 2 s on an idle machine. */
#define SUITE_PATIENCE_MS 240000

static const struct suite_backend *backend;

static void
note(struct suite *s, const char *what)
{
    size_t used = strlen(s->log);

    assert_false(s->inside); /* never from inside a call */
    (void)snprintf(s->log + used, sizeof(s->log) - used, "%s%s", used ? " " : "", what);
    if (s->free_on_event) {
        s->free_on_event = false;
        s->hv->ops->vm_free(s->vm);
        s->vm = NULL;
    }
    os_loop_stop(s->loop, 0);
}

static void
on_control(void *arg)
{
    ((struct suite *)arg)->controls++;
    note(arg, "control");
}

static void
on_panic(void *arg)
{
    ((struct suite *)arg)->panics++;
    note(arg, "panic");
}

static void
on_exit_event(void *arg, const struct hypervisor_exit_info *info)
{
    struct suite *s = arg;

    s->exits++;
    s->exit = *info;
    (void)snprintf(s->exit_text, sizeof(s->exit_text), "%s", info->text);
    s->exit.text = s->exit_text;
    note(s, "exit");
}

static void
on_done(void *arg, int result, const struct vmt_err *err)
{
    struct suite *s = arg;

    assert_int_equal(result == 0, err == NULL);
    s->dones++;
    s->done_result = result;
    note(s, "done");
}

static void
on_probe(void *arg, enum hypervisor_accel accel, const char *reason, bool from_cache)
{
    struct suite *s = arg;

    assert_false(from_cache);
    s->probes++;
    s->probe = NULL;
    s->accel = accel;
    (void)snprintf(s->reason, sizeof(s->reason), "%s", reason);
    note(s, "probe");
}

static const struct hypervisor_events events = {on_control, on_panic, on_exit_event};

static void
on_watchdog(void *arg)
{
    struct suite *s = arg;

    s->watchdog = NULL;
    os_loop_stop(s->loop, 1);
}

/* Turn the loop until *counter reaches at least 1. */
static void
wait_for(struct suite *s, const unsigned *counter)
{
    assert_int_equal(s->clock->ops->timer_start(s->clock, SUITE_PATIENCE_MS, on_watchdog,
                                                s, &s->watchdog),
                     0);
    while (*counter == 0)
        if (os_loop_run(s->loop) != 0)
            fail_msg("nothing more came after \"%s\"", s->log);
    s->clock->ops->timer_cancel(s->clock, s->watchdog);
    s->watchdog = NULL;
}

static void
stop_loop(void *arg)
{
    os_loop_stop(arg, 0);
}

/* Let everything that is due happen. */
static void
settle(struct suite *s)
{
    struct vmt_timer *timer;

    for (int i = 0; i < 3; i++) {
        assert_int_equal(
            s->clock->ops->timer_start(s->clock, 0, stop_loop, s->loop, &timer), 0);
        (void)os_loop_run(s->loop);
    }
}

static struct vm_spec
spec_for(struct suite *s, const char *cmdline)
{
    return (struct vm_spec){
        .name = "contract",
        .run_dir = s->dir,
        .kernel_fd = backend->kernel_fd,
        .initrd_fd = backend->initrd_fd,
        .cmdline = cmdline,
        .console_fd = s->console_fd,
        .cid = 33,
        .mem_mib = 256,
        .vcpus = 1,
        .accel = HYPERVISOR_ACCEL_TCG,
        .net = HYPERVISOR_NET_USER,
    };
}

static void
start(struct suite *s, const struct vm_spec *spec)
{
    struct vmt_err err = {0};
    int r;

    s->inside = true;
    r = s->hv->ops->start(s->hv, spec, &events, s, &s->vm, &err);
    s->inside = false;
    if (r < 0)
        fail_msg("start: %s", err.msg);
}

static void
start_and_control(struct suite *s, const char *cmdline)
{
    struct vm_spec spec = spec_for(s, cmdline);

    start(s, &spec);
    assert_string_equal(s->log, "");
    wait_for(s, &s->controls);
}

static void
quit_and_exit(struct suite *s)
{
    s->inside = true;
    assert_int_equal(s->hv->ops->quit(s->vm), 0);
    s->inside = false;
    wait_for(s, &s->exits);
    assert_int_equal(s->exit.reason, HYPERVISOR_EXIT_REQUEST);
}

static int
setup(void **state)
{
    struct suite *s = calloc(1, sizeof(*s));

    *state = s;
    s->backend = backend;
    assert_int_equal(os_loop_new(&s->loop, NULL), 0);
    assert_int_equal(os_spawn_new(s->loop, &s->spawn, NULL), 0);
    s->clock = os_loop_clock(s->loop);
    (void)snprintf(s->dir, sizeof(s->dir), "/tmp/vmt-contract-XXXXXX");
    assert_non_null(mkdtemp(s->dir));
    (void)snprintf(s->console, sizeof(s->console), "%s.console", s->dir);
    s->console_fd = open(s->console, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    assert_true(s->console_fd >= 0);
    s->hv = backend->open(s);
    assert_non_null(s->hv);
    return 0;
}

/* Nothing may be left: no file in run_dir, no process. */
static int
teardown(void **state)
{
    struct suite *s = *state;
    int clean, child;

    s->hv->ops->vm_free(s->vm);
    settle(s);
    if (backend->close)
        backend->close(s);
    s->hv->ops->free(s->hv);
    child = waitpid(-1, NULL, WNOHANG) < 0 ? errno : 0;
    clean = rmdir(s->dir) == 0;
    (void)unlink(s->console);
    (void)close(s->console_fd);
    os_spawn_free(s->spawn);
    os_loop_free(s->loop);
    free(s);
    if (!clean)
        print_error("run_dir is not empty\n");
    if (child != ECHILD)
        print_error("a child process is left\n");
    return clean && child == ECHILD ? 0 : -1;
}

static void
control_answers_after_start_and_quit_ends_it(void **state)
{
    struct suite *s = *state;
    struct spawn_id id;

    start_and_control(s, "quiet");
    s->hv->ops->id(s->vm, &id);
    assert_true(id.pid > 1);
    assert_true(id.start_time > 0);
    quit_and_exit(s);
    settle(s);
    assert_string_equal(s->log, "control exit");
    assert_int_equal(s->exit.process.kind, SPAWN_EXIT_CODE);
    assert_int_equal(s->exit.process.code, 0);
}

static void
calls_before_control_are_not_connected(void **state)
{
    struct suite *s = *state;
    struct vm_spec spec = spec_for(s, "quiet");

    start(s, &spec);
    assert_int_equal(s->hv->ops->quit(s->vm), -ENOTCONN);
    assert_int_equal(s->hv->ops->pause(s->vm, true, on_done, s), -ENOTCONN);
    assert_int_equal(s->hv->ops->power_button(s->vm, on_done, s), -ENOTCONN);
    assert_int_equal(s->hv->ops->kill(s->vm, SIGKILL), 0);
    wait_for(s, &s->exits);
    assert_int_equal(s->exit.reason, HYPERVISOR_EXIT_REQUEST);
    assert_int_equal(s->dones, 0);
}

static void
pause_resume_and_power_button_are_answered(void **state)
{
    struct suite *s = *state;

    start_and_control(s, "quiet");
    for (int i = 0; i < 2; i++) {
        s->dones = 0;
        s->inside = true;
        assert_int_equal(s->hv->ops->pause(s->vm, i == 0, on_done, s), 0);
        s->inside = false;
        wait_for(s, &s->dones);
        assert_int_equal(s->done_result, 0);
    }
    s->dones = 0;
    assert_int_equal(s->hv->ops->power_button(s->vm, on_done, s), 0);
    wait_for(s, &s->dones);
    assert_int_equal(s->done_result, 0);
    quit_and_exit(s);
    assert_string_equal(s->log, "control done done done exit");
}

static void
a_call_in_flight_fails_before_the_exit(void **state)
{
    struct suite *s = *state;

    start_and_control(s, "quiet");
    backend->freeze(s);
    assert_int_equal(s->hv->ops->pause(s->vm, true, on_done, s), 0);
    assert_int_equal(s->hv->ops->kill(s->vm, SIGKILL), 0);
    wait_for(s, &s->exits);
    assert_int_equal(s->done_result, -ENOTCONN);
    assert_string_equal(s->log, "control done exit");
}

static void
expect_end(struct suite *s, const char *act, enum hypervisor_exit reason)
{
    char cmdline[128];

    (void)snprintf(cmdline, sizeof(cmdline), "console=ttyS0 panic=-1 quiet vmt_test=%s",
                   act);
    start_and_control(s, cmdline);
    if (backend->act)
        backend->act(s, act);
    wait_for(s, &s->exits);
    settle(s);
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
    if (!backend->console_text)
        return;
    f = fopen(s->console, "r");
    assert_non_null(f);
    (void)!fread(text, 1, sizeof(text) - 1, f);
    (void)fclose(f);
    assert_non_null(strstr(text, backend->console_text));
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

    start_and_control(s, "quiet");
    backend->murder(s);
    wait_for(s, &s->exits);
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

    start_and_control(s, "quiet");
    assert_int_equal(s->hv->ops->kill(s->vm, SIGTERM), 0);
    wait_for(s, &s->exits);
    assert_int_equal(s->exit.reason, HYPERVISOR_EXIT_REQUEST);
}

static void
a_refused_file_ends_with_config_and_its_words(void **state)
{
    struct suite *s = *state;
    const struct hypervisor_disk disk = {.path = "/nonexistent,readonly=on", .fd = -1};
    struct vm_spec spec = spec_for(s, "quiet");

    spec.disks = &disk;
    spec.ndisks = 1;
    start(s, &spec);
    if (backend->refuse)
        backend->refuse(s);
    wait_for(s, &s->exits);
    assert_int_equal(s->exit.reason, HYPERVISOR_EXIT_CONFIG);
    assert_non_null(strstr(s->exit.text, "/nonexistent,readonly=on"));
}

static void
a_spec_that_cannot_run_is_refused_at_once(void **state)
{
    struct suite *s = *state;
    struct vm_spec spec = spec_for(s, "quiet");
    struct hypervisor_vm *vm = NULL;
    struct vmt_err err = {0};

    spec.cid = 2;
    assert_int_equal(s->hv->ops->start(s->hv, &spec, &events, s, &vm, &err), -EINVAL);
    assert_non_null(strstr(err.msg, "cid 2"));
    spec = spec_for(s, "quiet");
    spec.kernel_fd = -1;
    assert_int_equal(s->hv->ops->start(s->hv, &spec, &events, s, &vm, &err), -EINVAL);
    spec = spec_for(s, "quiet");
    spec.accel = HYPERVISOR_ACCEL_AUTO;
    assert_int_equal(s->hv->ops->start(s->hv, &spec, &events, s, &vm, NULL), -EINVAL);
    assert_null(vm);
    settle(s);
    assert_string_equal(s->log, "");
}

static int
make_disk(void)
{
    int fd = memfd_create("disk", MFD_CLOEXEC);

    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, 1 << 20), 0);
    return fd;
}

static void
every_part_of_a_spec_is_accepted(void **state)
{
    struct suite *s = *state;
    const char *const oem[] = {"vmt:a,b=c", "two", NULL};
    int writable = make_disk(), other = make_disk();
    char path[64];
    struct hypervisor_disk disks[] = {
        {.fd = writable, .serial = "state", .block_size = 4096},
        {.fd = -1, .read_only = true},
        {.path = s->console, .fd = -1, .read_only = true, .serial = "a,b\"c"},
    };
    struct vm_spec spec = spec_for(s, "quiet vmt=\"a b\",c");

    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", other);
    disks[1].fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_int_equal(ftruncate(s->console_fd, 4096), 0);
    spec.name = "a,b c";
    spec.vcpus = 2;
    spec.disks = disks;
    spec.ndisks = sizeof(disks) / sizeof(disks[0]);
    spec.oem_strings = oem;
    start(s, &spec);
    close(disks[1].fd);
    close(writable);
    close(other);
    while (s->controls == 0 && s->exits == 0)
        (void)os_loop_run(s->loop);
    if (s->exits > 0)
        fail_msg("%s", s->exit_text);
    quit_and_exit(s);
}

static void
a_freed_vm_runs_on_and_can_be_adopted(void **state)
{
    struct suite *s = *state;
    struct spawn_id id, again;
    struct vmt_err err = {0};

    start_and_control(s, "quiet");
    s->hv->ops->id(s->vm, &id);
    s->hv->ops->vm_free(s->vm);
    s->vm = NULL;
    settle(s);
    s->controls = 0;
    if (s->hv->ops->adopt(s->hv, s->dir, &id, &events, s, &s->vm, &err) < 0)
        fail_msg("adopt: %s", err.msg);
    wait_for(s, &s->controls);
    s->hv->ops->id(s->vm, &again);
    assert_int_equal(again.pid, id.pid);
    assert_int_equal(again.start_time, id.start_time);
    assert_int_equal(s->hv->ops->pause(s->vm, true, on_done, s), 0);
    wait_for(s, &s->dones);
    assert_int_equal(s->done_result, 0);
    quit_and_exit(s);
    assert_string_equal(s->log, "control control done exit");
}

static void
a_process_that_is_gone_cannot_be_adopted(void **state)
{
    struct suite *s = *state;
    struct spawn_id id;
    struct hypervisor_vm *vm = NULL;

    start_and_control(s, "quiet");
    s->hv->ops->id(s->vm, &id);
    quit_and_exit(s);
    assert_int_equal(s->hv->ops->adopt(s->hv, s->dir, &id, &events, s, &vm, NULL),
                     -ESRCH);
    assert_null(vm);
}

static void
a_vm_may_be_freed_inside_its_callbacks(void **state)
{
    struct suite *s = *state;
    const struct vm_spec spec = spec_for(s, "quiet");
    struct spawn_id id;

    start_and_control(s, "quiet");
    s->free_on_event = true;
    assert_int_equal(s->hv->ops->kill(s->vm, SIGKILL), 0);
    wait_for(s, &s->exits);
    assert_null(s->vm);

    s->controls = s->exits = 0;
    s->free_on_event = true;
    start(s, &spec);
    s->hv->ops->id(s->vm, &id);
    wait_for(s, &s->controls);
    assert_null(s->vm);
    assert_int_equal(s->hv->ops->adopt(s->hv, s->dir, &id, &events, s, &s->vm, NULL), 0);
    assert_int_equal(s->hv->ops->kill(s->vm, SIGKILL), 0);
    wait_for(s, &s->exits);
}

static void
start_probe(struct suite *s)
{
    const struct hypervisor_probe_request req = {.kernel_fd = backend->kernel_fd,
                                                 .initrd_fd = backend->initrd_fd,
                                                 .force = true,
                                                 .on_done = on_probe,
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
    wait_for(s, &s->probes);
    settle(s);
    assert_string_equal(s->log, "probe");
    assert_int_equal(s->accel, backend->probed);
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
    settle(s);
    assert_string_equal(s->log, "");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
suite_run(const struct suite_backend *under_test)
{
    const struct CMUnitTest tests[] = {
        TEST(control_answers_after_start_and_quit_ends_it),
        TEST(calls_before_control_are_not_connected),
        TEST(pause_resume_and_power_button_are_answered),
        TEST(a_call_in_flight_fails_before_the_exit),
        TEST(a_guest_that_powers_off_says_so),
        TEST(a_guest_that_reboots_ends_with_reset),
        TEST(a_guest_that_panics_tells_before_its_exit),
        TEST(a_signal_from_outside_is_no_request_of_ours),
        TEST(sigterm_of_ours_is_a_request),
        TEST(a_refused_file_ends_with_config_and_its_words),
        TEST(a_spec_that_cannot_run_is_refused_at_once),
        TEST(every_part_of_a_spec_is_accepted),
        TEST(a_freed_vm_runs_on_and_can_be_adopted),
        TEST(a_process_that_is_gone_cannot_be_adopted),
        TEST(a_vm_may_be_freed_inside_its_callbacks),
        TEST(a_probe_answers_once_with_a_reason),
        TEST(a_cancelled_probe_says_nothing),
    };

    backend = under_test;
    os_process_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
