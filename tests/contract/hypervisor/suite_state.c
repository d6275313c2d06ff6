/* SPDX-License-Identifier: BSD-3-Clause */
/* Save the state of a VM and wake up from it; the vsock device that has to go before. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/err.h"
#include "tests/contract/hypervisor/suite.h"
#include "tests/unit/test.h"

#define NEEDS(s, cap)                                                                    \
    do {                                                                                 \
        if (!((s)->hv->ops->caps & (cap)))                                               \
            skip();                                                                      \
    } while (0)

/* The result of one call that was accepted. */
#define RESULT(s, call)                                                                  \
    ((s)->dones = 0, (s)->inside = true, assert_int_equal((call), 0),                    \
     (s)->inside = false, suite_wait((s), &(s)->dones), (s)->done_result)

static int
open_state(void)
{
    char path[] = "/var/tmp/vmt-state-XXXXXX"; /* on a disk: it has holes there, too */
    int fd = mkostemp(path, O_CLOEXEC);

    assert_true(fd >= 0);
    assert_int_equal(unlink(path), 0);
    return fd;
}

/* The descriptor that a daemon would give: read-only, at the begin. */
static int
reopen(int fd)
{
    char path[64];
    int again;

    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    again = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(again >= 0);
    return again;
}

static struct vm_spec
spec_with_slots(struct suite *s)
{
    struct vm_spec spec = suite_spec(s, "console=ttyS0 quiet vmt_test=devices");

    spec.spare_slots = 2;
    spec.generation = "324e6eaf-d1d1-4bf6-bf41-b9bb6c91fb87";
    return spec;
}

static void
start_to_be_saved(struct suite *s)
{
    struct vm_spec spec = spec_with_slots(s);

    suite_start(s, &spec);
    suite_wait(s, &s->controls);
    suite_wait_console(s, "devices are watched");
}

static void
pause_and_save(struct suite *s, int fd)
{
    const struct hypervisor_ops *ops = s->hv->ops;

    assert_int_equal(RESULT(s, ops->pause(s->vm, true, suite_on_done, s)), 0);
    assert_int_equal(RESULT(s, ops->save(s->vm, fd, suite_on_done, s)), 0);
}

static void
forget(struct suite *s)
{
    suite_quit_and_exit(s);
    s->hv->ops->vm_free(s->vm);
    s->vm = NULL;
    s->controls = s->exits = 0;
    s->log[0] = '\0';
}

static void
start_restored(struct suite *s, int state)
{
    struct vm_spec spec = spec_with_slots(s);

    spec.restore_fd = reopen(state);
    spec.name = "another";
    spec.cid++;
    spec.generation = "00112233-4455-6677-8899-aabbccddeeff";
    suite_start(s, &spec);
    close(spec.restore_fd);
    assert_int_equal(s->hv->ops->pause(s->vm, false, suite_on_done, s), -ENOTCONN);
    suite_wait(s, &s->controls);
}

/* The guest told once that it is up, and tells of what comes after it was restored. */
static void
a_saved_vm_wakes_up_again_and_again(void **state)
{
    struct suite *s = *state;
    const struct hypervisor_ops *ops = s->hv->ops;
    struct hypervisor_disk disk = {.fd = suite_disk(), .serial = "plugged"};
    int fd = open_state();

    NEEDS(s, HYPERVISOR_CAP_SNAPSHOT);
    start_to_be_saved(s);
    pause_and_save(s, fd);
    /* The original goes on. */
    assert_int_equal(RESULT(s, ops->pause(s->vm, false, suite_on_done, s)), 0);
    if (ops->caps & HYPERVISOR_CAP_DISK_HOTPLUG)
        assert_int_equal(RESULT(s, ops->disk_add(s->vm, &disk, suite_on_done, s)), 0);
    suite_wait_console(s, "disk plugged 1048576");
    forget(s);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(ftruncate(s->console_fd, 0), 0);
        start_restored(s, fd);
        if (ops->caps & HYPERVISOR_CAP_DISK_HOTPLUG)
            assert_int_equal(RESULT(s, ops->disk_add(s->vm, &disk, suite_on_done, s)), 0);
        assert_int_equal(RESULT(s, ops->pause(s->vm, false, suite_on_done, s)), 0);
        suite_wait_console(s, "disk plugged 1048576");
        forget(s);
    }
    close(disk.fd);
    close(fd);
}

/* Memory that was never used takes no place. */
static void
a_state_is_small(void **state)
{
    struct suite *s = *state;
    struct stat st;
    int fd = open_state();

    NEEDS(s, HYPERVISOR_CAP_SNAPSHOT);
    start_to_be_saved(s);
    pause_and_save(s, fd);
    assert_int_equal(fstat(fd, &st), 0);
    assert_true(st.st_size > 0);
    assert_true((uint64_t)st.st_blocks * 512 < 160ull << 20); /* of 256 MiB */
    forget(s);
    close(fd);
}

static void
a_vm_may_be_saved_more_than_once(void **state)
{
    struct suite *s = *state;
    const struct hypervisor_ops *ops = s->hv->ops;
    int first = open_state(), second = open_state();

    NEEDS(s, HYPERVISOR_CAP_SNAPSHOT);
    start_to_be_saved(s);
    pause_and_save(s, first);
    assert_int_equal(RESULT(s, ops->pause(s->vm, false, suite_on_done, s)), 0);
    pause_and_save(s, second);
    assert_int_equal(RESULT(s, ops->pause(s->vm, false, suite_on_done, s)), 0);
    pause_and_save(s, first); /* over what was there */
    forget(s);
    start_restored(s, first);
    pause_and_save(s, second); /* a copy, too */
    forget(s);
    close(first);
    close(second);
}

static void
a_running_vm_is_not_saved(void **state)
{
    struct suite *s = *state;
    int fd = open_state();

    NEEDS(s, HYPERVISOR_CAP_SNAPSHOT);
    start_to_be_saved(s);
    assert_int_equal(RESULT(s, s->hv->ops->save(s->vm, fd, suite_on_done, s)), -EINVAL);
    pause_and_save(s, fd);
    forget(s);
    close(fd);
}

static void
expect_refusal(struct suite *s, struct vm_spec *spec, int state)
{
    struct vmt_err err = {0};

    spec->restore_fd = reopen(state);
    assert_int_equal(s->hv->ops->start(s->hv, spec, &suite_events, s, &s->vm, &err),
                     -EINVAL);
    assert_null(s->vm);
    assert_string_not_equal(err.msg, "");
    close(spec->restore_fd);
}

/* A fake takes everything for a state. */
static void
what_is_no_state_is_refused_with_words(void **state)
{
    struct suite *s = *state;
    struct vm_spec spec = spec_with_slots(s);
    struct stat st;
    int fd = open_state();

    NEEDS(s, HYPERVISOR_CAP_SNAPSHOT);
    if (!s->backend->console_text)
        skip();
    expect_refusal(s, &spec, fd);
    assert_int_equal(ftruncate(fd, 1 << 20), 0);
    expect_refusal(s, &spec, fd);
    start_to_be_saved(s);
    pause_and_save(s, fd);
    forget(s);
    spec.mem_mib *= 2;
    expect_refusal(s, &spec, fd);
    spec.mem_mib /= 2;
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(ftruncate(fd, st.st_size - 1), 0);
    expect_refusal(s, &spec, fd);
    close(fd);
}

static void
expect_end(struct suite *s, const struct vm_spec *spec)
{
    suite_start(s, spec);
    suite_wait(s, &s->exits);
    assert_int_equal(s->controls, 0);
    assert_int_equal(s->exit.reason, HYPERVISOR_EXIT_CONFIG);
    assert_string_not_equal(s->exit.text, "");
    s->hv->ops->vm_free(s->vm);
    s->vm = NULL;
    s->exits = 0;
    s->log[0] = '\0';
}

static void
what_does_not_fit_ends_with_words(void **state)
{
    struct suite *s = *state;
    struct vm_spec spec = spec_with_slots(s);
    struct stat st;
    int fd = open_state();

    NEEDS(s, HYPERVISOR_CAP_SNAPSHOT);
    if (!s->backend->console_text)
        skip();
    start_to_be_saved(s);
    pause_and_save(s, fd);
    forget(s);
    spec.restore_fd = reopen(fd);
    spec.net = HYPERVISOR_NET_NONE; /* the state is of a VM with a network device */
    expect_end(s, &spec);
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(pwrite(fd, "x", 1, st.st_size - 1000), 1);
    spec = spec_with_slots(s);
    spec.restore_fd = reopen(fd);
    expect_end(s, &spec);
    assert_non_null(strstr(s->exit_text, "damaged"));
    close(fd);
}

static void
a_save_in_flight_fails_before_the_exit(void **state)
{
    struct suite *s = *state;
    const struct hypervisor_ops *ops = s->hv->ops;
    int fd = open_state();

    NEEDS(s, HYPERVISOR_CAP_SNAPSHOT);
    start_to_be_saved(s);
    assert_int_equal(RESULT(s, ops->pause(s->vm, true, suite_on_done, s)), 0);
    s->dones = 0;
    s->log[0] = '\0';
    s->backend->freeze(s);
    assert_int_equal(ops->save(s->vm, fd, suite_on_done, s), 0);
    s->backend->murder(s);
    suite_wait(s, &s->exits);
    assert_int_equal(s->done_result, -ENOTCONN);
    assert_string_equal(s->log, "done exit");
    close(fd);
}

/* Whether a device works shows in tests with a process that serves it. */
static void
a_vsock_device_needs_slots_and_a_server(void **state)
{
    struct suite *s = *state;
    const struct hypervisor_ops *ops = s->hv->ops;

    NEEDS(s, HYPERVISOR_CAP_VSOCK_HOTPLUG);
    start_to_be_saved(s);
    assert_int_equal(RESULT(s, ops->vsock_remove(s->vm, suite_on_done, s)), -ENOENT);
    if (s->backend->console_text) {
        assert_int_equal(
            RESULT(s, ops->vsock_add(s->vm, "/nonexistent/a,b", suite_on_done, s)), -EIO);
        assert_int_equal(RESULT(s, ops->vsock_remove(s->vm, suite_on_done, s)), -ENOENT);
    }
    forget(s);
    suite_start_and_control(s, "quiet");
    assert_int_equal(RESULT(s, ops->vsock_add(s->vm, "/nonexistent", suite_on_done, s)),
                     -ENOSPC);
    suite_quit_and_exit(s);
}

static void
a_build_has_one_line(void **state)
{
    struct suite *s = *state;
    char line[512] = "", again[512] = "", tiny[2];

    NEEDS(s, HYPERVISOR_CAP_SNAPSHOT);
    assert_int_equal(s->hv->ops->build_id(s->hv, line, sizeof(line), NULL), 0);
    assert_int_equal(s->hv->ops->build_id(s->hv, again, sizeof(again), NULL), 0);
    assert_string_equal(line, again);
    assert_string_not_equal(line, "");
    assert_null(strchr(line, '\n'));
    assert_true(s->hv->ops->build_id(s->hv, tiny, sizeof(tiny), NULL) < 0);
}

int
suite_state_run(void)
{
    const struct CMUnitTest tests[] = {
        SUITE_TEST(a_saved_vm_wakes_up_again_and_again),
        SUITE_TEST(a_state_is_small),
        SUITE_TEST(a_vm_may_be_saved_more_than_once),
        SUITE_TEST(a_running_vm_is_not_saved),
        SUITE_TEST(what_is_no_state_is_refused_with_words),
        SUITE_TEST(what_does_not_fit_ends_with_words),
        SUITE_TEST(a_save_in_flight_fails_before_the_exit),
        SUITE_TEST(a_vsock_device_needs_slots_and_a_server),
        SUITE_TEST(a_build_has_one_line),
    };

    return cmocka_run_group_tests_name("states", tests, NULL, NULL);
}
