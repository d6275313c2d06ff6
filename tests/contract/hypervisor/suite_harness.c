/* SPDX-License-Identifier: BSD-3-Clause */
/* The hypervisor, its VM and what came from them, for one test. */
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
#define SUITE_PATIENCE_MS 120000

const struct suite_backend *suite_under_test;

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

void
suite_on_done(void *arg, int result, const struct vmt_err *err)
{
    struct suite *s = arg;

    assert_int_equal(result == 0, err == NULL);
    s->dones++;
    s->done_result = result;
    note(s, "done");
}

void
suite_on_memory(void *arg, int result, const struct hypervisor_memory *memory)
{
    struct suite *s = arg;

    assert_int_equal(result == 0, memory != NULL);
    if (memory)
        s->memory = *memory;
    s->dones++;
    s->done_result = result;
    note(s, "done");
}

void
suite_on_probe(void *arg, enum hypervisor_accel accel, const char *reason,
               bool from_cache)
{
    struct suite *s = arg;

    assert_false(from_cache);
    s->probes++;
    s->probe = NULL;
    s->accel = accel;
    (void)snprintf(s->reason, sizeof(s->reason), "%s", reason);
    note(s, "probe");
}

const struct hypervisor_events suite_events = {
    .on_control = on_control, .on_panic = on_panic, .on_exit = on_exit_event};

static void
on_watchdog(void *arg)
{
    struct suite *s = arg;

    s->watchdog = NULL;
    os_loop_stop(s->loop, 1);
}

void
suite_wait(struct suite *s, const unsigned *counter)
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

static void
read_console(struct suite *s, char *said, size_t cap)
{
    FILE *f = fopen(s->console, "r");
    size_t n;

    assert_non_null(f);
    n = fread(said, 1, cap - 1, f);
    (void)fclose(f);
    said[n] = '\0';
}

void
suite_pass(struct suite *s, unsigned ms)
{
    struct vmt_timer *timer;

    assert_int_equal(s->clock->ops->timer_start(s->clock, ms, stop_loop, s->loop, &timer),
                     0);
    (void)os_loop_run(s->loop);
}

void
suite_wait_console(struct suite *s, const char *text)
{
    char said[16384];

    if (!suite_under_test->console_text)
        return;
    read_console(s, said, sizeof(said));
    for (unsigned ms = 0; !strstr(said, text); ms += 20) {
        if (ms >= SUITE_PATIENCE_MS || s->exits > 0)
            fail_msg("the guest never said \"%s\" but: %s", text, said);
        suite_pass(s, 20);
        read_console(s, said, sizeof(said));
    }
}

void
suite_settle(struct suite *s)
{
    struct vmt_timer *timer;

    for (int i = 0; i < 3; i++) {
        assert_int_equal(
            s->clock->ops->timer_start(s->clock, 0, stop_loop, s->loop, &timer), 0);
        (void)os_loop_run(s->loop);
    }
}

struct vm_spec
suite_spec(struct suite *s, const char *cmdline)
{
    return (struct vm_spec){
        .name = "contract",
        .run_dir = s->dir,
        .kernel_fd = suite_under_test->kernel_fd,
        .initrd_fd = suite_under_test->initrd_fd,
        .cmdline = cmdline,
        .console_fd = s->console_fd,
        .cid = 33,
        .mem_mib = 256,
        .vcpus = 1,
        .accel = HYPERVISOR_ACCEL_TCG,
        .net = HYPERVISOR_NET_USER,
    };
}

void
suite_start(struct suite *s, const struct vm_spec *spec)
{
    struct vmt_err err = {0};
    int r;

    s->inside = true;
    r = s->hv->ops->start(s->hv, spec, &suite_events, s, &s->vm, &err);
    s->inside = false;
    if (r < 0)
        fail_msg("start: %s", err.msg);
}

void
suite_start_and_control(struct suite *s, const char *cmdline)
{
    struct vm_spec spec = suite_spec(s, cmdline);

    suite_start(s, &spec);
    assert_string_equal(s->log, "");
    suite_wait(s, &s->controls);
}

void
suite_quit_and_exit(struct suite *s)
{
    s->inside = true;
    assert_int_equal(s->hv->ops->quit(s->vm), 0);
    s->inside = false;
    suite_wait(s, &s->exits);
    assert_int_equal(s->exit.reason, HYPERVISOR_EXIT_REQUEST);
}

int
suite_setup(void **state)
{
    struct suite *s = calloc(1, sizeof(*s));

    *state = s;
    s->backend = suite_under_test;
    assert_int_equal(os_loop_new(&s->loop, NULL), 0);
    assert_int_equal(os_spawn_new(s->loop, &s->spawn, NULL), 0);
    s->clock = os_loop_clock(s->loop);
    (void)snprintf(s->dir, sizeof(s->dir), "/tmp/vmt-contract-XXXXXX");
    assert_non_null(mkdtemp(s->dir));
    (void)snprintf(s->console, sizeof(s->console), "%s.console", s->dir);
    s->console_fd = open(s->console, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    assert_true(s->console_fd >= 0);
    s->hv = suite_under_test->open(s);
    assert_non_null(s->hv);
    return 0;
}

/* Nothing may be left: no file in run_dir, no process. */
int
suite_teardown(void **state)
{
    struct suite *s = *state;
    int clean, child;

    if (s->vm && s->exits == 0) { /* the test failed */
        s->free_on_event = false;
        if (s->hv->ops->kill(s->vm, SIGKILL) == 0)
            suite_wait(s, &s->exits);
    }
    s->hv->ops->vm_free(s->vm);
    suite_settle(s);
    if (suite_under_test->close)
        suite_under_test->close(s);
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

int
suite_disk(void)
{
    int fd = memfd_create("disk", MFD_CLOEXEC);

    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, 1 << 20), 0);
    return fd;
}
