/* SPDX-License-Identifier: BSD-3-Clause */
/* The probe against shell scripts that behave like some QEMU: descriptor 4 is the serial
 * console. The accelerator is set to TCG, which leaves out /dev/kvm. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/adapter/clock.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "hypervisor/qemu/qemu.h"
#include "platform/linux/os/loop.h"
#include "platform/linux/os/process.h"
#include "tests/unit/test.h"

/* The real clock, but a wait of at least a minute is over at once: these are the
 * probe's deadline for an emulated boot and nothing else. */
struct fixture {
    struct vmt_clock clock;
    struct os_loop *loop;
    struct spawn *spawn;
    struct hypervisor *hv;
    struct hypervisor_probe *probe;
    char dir[64], script[96], cache[96], file[128], tries[96];
    int kernel_fd;
    unsigned answers;
    enum hypervisor_accel accel;
    char reason[256];
    bool from_cache;
    bool impatient;
};

static struct vmt_clock *
real(struct vmt_clock *clock)
{
    return os_loop_clock(VMT_CONTAINER_OF(clock, struct fixture, clock)->loop);
}

static void
clock_wall(struct vmt_clock *clock, int64_t *ret_sec, int32_t *ret_nsec)
{
    real(clock)->ops->wall(real(clock), ret_sec, ret_nsec);
}

static int
clock_start(struct vmt_clock *clock, uint64_t delay_ms, vmt_timer_fn *fn, void *arg,
            struct vmt_timer **ret_timer)
{
    struct fixture *f = VMT_CONTAINER_OF(clock, struct fixture, clock);

    if (f->impatient && delay_ms >= 60000)
        delay_ms = 0;
    return real(clock)->ops->timer_start(real(clock), delay_ms, fn, arg, ret_timer);
}

static void
clock_cancel(struct vmt_clock *clock, struct vmt_timer *timer)
{
    real(clock)->ops->timer_cancel(real(clock), timer);
}

static const struct vmt_clock_ops clock_ops = {
    .wall = clock_wall, .timer_start = clock_start, .timer_cancel = clock_cancel};

static int
setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    struct qemu_config config = {.binary = f->script,
                                 .no_sandbox = true, /* scripts write a file */
                                 .cache_dir = f->cache,
                                 .clock = &f->clock,
                                 .probe_accel = HYPERVISOR_ACCEL_TCG};

    *state = f;
    f->clock.ops = &clock_ops;
    (void)snprintf(f->dir, sizeof(f->dir), "/tmp/vmt-probe-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    (void)snprintf(f->script, sizeof(f->script), "%s/qemu", f->dir);
    (void)snprintf(f->tries, sizeof(f->tries), "%s/tries", f->dir);
    (void)snprintf(f->cache, sizeof(f->cache), "%s/cache", f->dir);
    (void)snprintf(f->file, sizeof(f->file), "%s/accel.json", f->cache);
    f->kernel_fd = open(f->dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    assert_true(f->kernel_fd >= 0);
    assert_int_equal(os_loop_new(&f->loop, NULL), 0);
    assert_int_equal(os_spawn_new(f->loop, &f->spawn, NULL), 0);
    config.base = os_loop_base(f->loop);
    config.spawn = f->spawn;
    assert_int_equal(qemu_new(&config, &f->hv, NULL), 0);
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;
    int clean;

    f->hv->ops->probe_cancel(f->probe);
    f->hv->ops->free(f->hv);
    os_spawn_free(f->spawn);
    os_loop_free(f->loop);
    close(f->kernel_fd);
    unlink(f->script);
    unlink(f->tries);
    unlink(f->file);
    (void)rmdir(f->cache);
    clean = rmdir(f->dir);
    free(f);
    return clean;
}

static void
on_done(void *arg, enum hypervisor_accel accel, const char *reason, bool from_cache)
{
    struct fixture *f = arg;

    f->answers++;
    f->probe = NULL;
    f->accel = accel;
    f->from_cache = from_cache;
    (void)snprintf(f->reason, sizeof(f->reason), "%s", reason);
    os_loop_stop(f->loop, 0);
}

static void
write_script(struct fixture *f, const char *body)
{
    FILE *out = fopen(f->script, "w");

    assert_non_null(out);
    assert_true(fprintf(out, "#!/bin/sh\necho try >> %s\n%s\n", f->tries, body) > 0);
    assert_int_equal(fchmod(fileno(out), 0700), 0);
    assert_int_equal(fclose(out), 0);
}

/* How often the script ran. */
static unsigned
tries(struct fixture *f)
{
    struct stat st;

    return stat(f->tries, &st) == 0 ? (unsigned)st.st_size / 4 : 0;
}

static int
start(struct fixture *f, bool force, struct vmt_err *err)
{
    const struct hypervisor_probe_request req = {.kernel_fd = f->kernel_fd,
                                                 .initrd_fd = -1,
                                                 .force = force,
                                                 .on_done = on_done,
                                                 .arg = f};

    return f->hv->ops->probe(f->hv, &req, &f->probe, err);
}

static void
probe(struct fixture *f, bool force)
{
    f->answers = 0;
    assert_int_equal(start(f, force, NULL), 0);
    assert_int_equal(f->answers, 0);
    (void)os_loop_run(f->loop);
    assert_int_equal(f->answers, 1);
    /* Whatever the script became is gone by now. */
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    assert_int_equal(errno, ECHILD);
}

static void
the_marker_is_a_yes_that_is_remembered(void **state)
{
    struct fixture *f = *state;

    write_script(f, "printf 'booting\\nvm_tools-pro' >&4; printf 'be-ok\\r\\n' >&4\n"
                    "exec sleep 1000");
    probe(f, false);
    assert_int_equal(f->accel, HYPERVISOR_ACCEL_KVM);
    assert_false(f->from_cache);
    probe(f, false);
    assert_int_equal(f->accel, HYPERVISOR_ACCEL_KVM);
    assert_true(f->from_cache);
    assert_int_equal(tries(f), 1);
    probe(f, true);
    assert_false(f->from_cache);
    assert_int_equal(tries(f), 2);
}

static void
the_marker_counts_when_the_guest_is_gone_already(void **state)
{
    struct fixture *f = *state;

    write_script(f, "echo vm_tools-probe-ok >&4");
    probe(f, false);
    assert_int_equal(f->accel, HYPERVISOR_ACCEL_KVM);
}

static void
a_marker_inside_a_line_does_not_count(void **state)
{
    struct fixture *f = *state;

    write_script(f, "echo 'init=vm_tools-probe-ok.sh' >&4");
    probe(f, false);
    assert_int_equal(f->accel, HYPERVISOR_ACCEL_TCG);
}

static void
silence_is_a_no_that_is_remembered(void **state)
{
    struct fixture *f = *state;

    write_script(f, "exec sleep 1000");
    f->impatient = true;
    probe(f, false);
    assert_int_equal(f->accel, HYPERVISOR_ACCEL_TCG);
    assert_non_null(strstr(f->reason, "did not come up"));
    probe(f, false);
    assert_true(f->from_cache);
    assert_non_null(strstr(f->reason, "did not come up"));
}

static void
an_abort_on_an_msr_is_tried_once_more_without_it(void **state)
{
    struct fixture *f = *state;

    write_script(f, "[ $(wc -l < ${0%qemu}tries) = 1 ] || {\n"
                    "echo vm_tools-probe-ok >&4; exec sleep 1000; }\n"
                    "echo 'error: failed to set MSR 0x10a to 0x0' >&2; kill -ABRT $$");
    probe(f, false);
    assert_int_equal(tries(f), 2);
    assert_int_equal(f->accel, HYPERVISOR_ACCEL_KVM);
    assert_non_null(strstr(f->reason, "-cpu host,-arch-capabilities"));
}

static void
an_abort_that_stays_is_told_with_its_words(void **state)
{
    struct fixture *f = *state;

    write_script(f, "echo 'error: failed to set MSR 0x345' >&2; kill -ABRT $$");
    probe(f, false);
    assert_int_equal(tries(f), 2);
    assert_int_equal(f->accel, HYPERVISOR_ACCEL_TCG);
    assert_non_null(strstr(f->reason, "failed to set MSR 0x345"));
}

static void
a_qemu_that_fails_otherwise_is_not_remembered(void **state)
{
    struct fixture *f = *state;

    write_script(f, "echo 'no such option' >&2; exit 1");
    probe(f, false);
    assert_int_equal(f->accel, HYPERVISOR_ACCEL_TCG);
    assert_non_null(strstr(f->reason, "no such option"));
    write_script(f, "exit 0");
    probe(f, false);
    assert_false(f->from_cache);
    assert_non_null(strstr(f->reason, "the guest ended before"));
    assert_int_equal(access(f->file, F_OK), -1);
}

static void
a_missing_qemu_is_an_error_at_once(void **state)
{
    struct fixture *f = *state;
    struct vmt_err err = {0};

    assert_int_equal(start(f, false, &err), -ENOENT);
    assert_non_null(strstr(err.msg, "is not installed"));
    assert_null(f->probe);
}

static void
a_cancelled_probe_kills_its_qemu_and_says_nothing(void **state)
{
    struct fixture *f = *state;
    int status;

    write_script(f, "exec sleep 1000");
    assert_int_equal(start(f, false, NULL), 0);
    f->hv->ops->probe_cancel(f->probe);
    f->probe = NULL;
    assert_true(waitpid(-1, &status, 0) > 0);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(f->answers, 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_marker_is_a_yes_that_is_remembered),
        TEST(the_marker_counts_when_the_guest_is_gone_already),
        TEST(a_marker_inside_a_line_does_not_count),
        TEST(silence_is_a_no_that_is_remembered),
        TEST(an_abort_on_an_msr_is_tried_once_more_without_it),
        TEST(an_abort_that_stays_is_told_with_its_words),
        TEST(a_qemu_that_fails_otherwise_is_not_remembered),
        TEST(a_missing_qemu_is_an_error_at_once),
        TEST(a_cancelled_probe_kills_its_qemu_and_says_nothing),
    };

    os_process_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
