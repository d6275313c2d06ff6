/* SPDX-License-Identifier: BSD-3-Clause */
/* Calls of several commands against a scripted QEMU: what it hears, in which order, and
 * what becomes of a call when it refuses, lets go late, or hangs. */
#include "hypervisor/qemu/job_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <event2/event.h>

#include "core/adapter/spawn.h"
#include "core/base/cleanup.h"
#include "hypervisor/qemu/qemu.h"
#include "hypervisor/qemu/qmp_internal.h"
#include "tests/fake/fake_clock.h"
#include "tests/fake/fake_spawn.h"
#include "tests/unit/test.h"

#define SLOTS "{\"name\":\"rp1\"},{\"name\":\"rp2\"}"
#define EMPTY "[" SLOTS "]"

struct fixture {
    struct event_base *base;
    struct fake_clock *clock;
    struct spawn *spawn;
    struct hypervisor *hv;
    struct hypervisor_vm *vm;
    char dir[64], path[96];
    int listen_fd, peer;
    int fd;        /* a device */
    long long id;  /* of the last command that was heard */
    char log[512]; /* answers of calls, in order */
    unsigned controls, vsock_gone;
};

static void
on_control(void *arg)
{
    ((struct fixture *)arg)->controls++;
}

static void
on_panic(void *arg)
{
    (void)arg;
}

static void
on_exit_event(void *arg, const struct hypervisor_exit_info *info)
{
    (void)arg;
    (void)info;
}

static void
on_vsock_gone(void *arg)
{
    ((struct fixture *)arg)->vsock_gone++;
}

static const struct hypervisor_events events = {.on_control = on_control,
                                                .on_panic = on_panic,
                                                .on_vsock_gone = on_vsock_gone,
                                                .on_exit = on_exit_event};

static void
note(struct fixture *f, const char *what, int result)
{
    size_t used = strlen(f->log);

    (void)snprintf(f->log + used, sizeof(f->log) - used, "%s(%d) ", what, result);
}

static void
on_done(void *arg, int result, const struct vmt_err *err)
{
    assert_int_equal(result < 0, err != NULL);
    note(arg, "done", result);
}

static void
on_memory(void *arg, int result, const struct hypervisor_memory *memory)
{
    note(arg, "memory", result);
    if (!memory)
        return;
    assert_int_equal(memory->total, 150 << 20);
    assert_int_equal(memory->balloon, 50 << 20);
    assert_int_equal(memory->free, 7 << 20);
}

static void
turn(struct fixture *f)
{
    for (int i = 0; i < 4; i++)
        (void)event_base_loop(f->base, EVLOOP_NONBLOCK);
}

static void
say(struct fixture *f, const char *text)
{
    assert_int_equal(send(f->peer, text, strlen(text), MSG_NOSIGNAL), strlen(text));
    turn(f);
}

/* The next line has to hold words; its id is remembered. Descriptors are dropped. */
static void
expect(struct fixture *f, const char *words)
{
    char line[1024];
    const char *id;
    size_t n = 0;

    turn(f);
    while (n < sizeof(line) - 1 && recv(f->peer, line + n, 1, MSG_DONTWAIT) == 1 &&
           line[n++] != '\n')
        ;
    line[n] = '\0';
    if (!strstr(line, words))
        fail_msg("\"%s\" does not hold \"%s\"", line, words);
    id = strstr(line, "\"id\":");
    /* The last one of the line is the command's own. */
    for (const char *next = id; next; next = strstr(next + 1, "\"id\":"))
        id = next;
    f->id = id ? atoll(id + 5) : 0;
}

static void
expect_silence(struct fixture *f)
{
    char byte;

    turn(f);
    assert_int_equal(recv(f->peer, &byte, 1, MSG_DONTWAIT | MSG_PEEK), -1);
}

static void
give(struct fixture *f, const char *json)
{
    char line[1024];

    (void)snprintf(line, sizeof(line), "{\"return\":%s,\"id\":%lld}\n", json, f->id);
    say(f, line);
}

static void
refuse(struct fixture *f)
{
    char line[256];

    (void)snprintf(
        line, sizeof(line),
        "{\"error\":{\"class\":\"GenericError\",\"desc\":\"no\"},\"id\":%lld}\n", f->id);
    say(f, line);
}

static void
deleted(struct fixture *f, const char *device)
{
    char line[256];

    (void)snprintf(line, sizeof(line),
                   "{\"event\":\"DEVICE_DELETED\",\"data\":{\"path\":\"/x\"}}\n"
                   "{\"event\":\"DEVICE_DELETED\",\"data\":{\"device\":\"%s\"}}\n",
                   device);
    say(f, line);
}

/* What every plugging begins with, answered. */
static void
expect_tidying(struct fixture *f)
{
    expect(f, "netdev_del");
    refuse(f);
    expect(f, "blockdev-del");
    refuse(f);
    expect(f, "remove-fd");
    refuse(f);
}

static int
setup(void **state)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    struct fixture *f = calloc(1, sizeof(*f));
    struct qemu_config config = {0};
    struct spawn_id id;

    *state = f;
    f->base = config.base = event_base_new();
    f->clock = fake_clock_new();
    config.clock = fake_clock_base(f->clock);
    f->spawn = config.spawn = fake_spawn_new(config.clock);
    (void)snprintf(f->dir, sizeof(f->dir), "/tmp/vmt-job-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    (void)snprintf(f->path, sizeof(f->path), "%s/qmp.sock", f->dir);
    memcpy(addr.sun_path, f->path, strlen(f->path));
    f->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(f->listen_fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
    assert_int_equal(listen(f->listen_fd, 1), 0);
    assert_int_equal(fake_spawn_plant(f->spawn, &id), 0);
    assert_int_equal(qemu_new(&config, &f->hv, NULL), 0);
    assert_int_equal(f->hv->ops->adopt(f->hv, f->dir, &id, &events, f, &f->vm, NULL), 0);
    f->peer = accept(f->listen_fd, NULL, NULL);
    assert_true(f->peer >= 0);
    f->fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    say(f, "{\"QMP\": {}}\n");
    expect(f, "qmp_capabilities");
    give(f, "{}");
    expect(f, "query-status"); /* an heir asks whether the guest is whole */
    give(f, "{\"status\":\"running\",\"running\":true}");
    expect(f, "guest-stats-polling-interval");
    give(f, "{}");
    assert_int_equal(f->controls, 1);
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;

    f->hv->ops->vm_free(f->vm);
    f->hv->ops->free(f->hv);
    assert_int_equal(fake_clock_pending(f->clock), 0);
    fake_spawn_free(f->spawn);
    fake_clock_free(f->clock);
    close(f->peer);
    close(f->listen_fd);
    close(f->fd);
    unlink(f->path);
    rmdir(f->dir);
    event_base_free(f->base);
    free(f);
    return 0;
}

static void
add_disk(struct fixture *f, const char *serial)
{
    const struct hypervisor_disk disk = {.fd = f->fd, .serial = serial};

    assert_int_equal(f->hv->ops->disk_add(f->vm, &disk, on_done, f), 0);
}

static void
a_disk_goes_through_its_steps(void **state)
{
    struct fixture *f = *state;

    add_disk(f, "a");
    expect(f, "qom-list");
    give(f, EMPTY);
    expect_tidying(f);
    expect(f, "\"add-fd\",\"arguments\":{\"fdset-id\":101}");
    give(f, "{}");
    expect(f, "\"node-name\":\"slot1\"");
    give(f, "{}");
    expect(f, "\"id\":\"slot1-disk-61\",\"bus\":\"rp1\",\"drive\":\"slot1\"");
    assert_string_equal(f->log, "");
    give(f, "{}");
    assert_string_equal(f->log, "done(0) ");
    expect_silence(f);
}

static void
a_refused_device_is_undone(void **state)
{
    struct fixture *f = *state;

    add_disk(f, "a");
    expect(f, "qom-list");
    give(f, EMPTY);
    expect_tidying(f);
    expect(f, "add-fd");
    give(f, "{}");
    expect(f, "blockdev-add");
    give(f, "{}");
    expect(f, "device_add");
    refuse(f);
    assert_string_equal(f->log, "");
    expect_tidying(f);
    assert_string_equal(f->log, "done(-5) ");
    expect_silence(f);
}

static void
calls_at_once_get_different_slots(void **state)
{
    struct fixture *f = *state;
    long long ids[3];

    add_disk(f, "a");
    expect(f, "qom-list");
    add_disk(f, "b");
    add_disk(f, "a");
    add_disk(f, "c");
    give(f, EMPTY); /* a takes slot 1 */
    for (int i = 0; i < 3; i++) {
        expect(f, "qom-list");
        ids[i] = f->id;
    }
    f->id = ids[2];
    give(f, EMPTY); /* c takes slot 2, although the list shows slot 1 free */
    assert_string_equal(f->log, "");
    f->id = ids[0];
    give(f, EMPTY);
    assert_string_equal(f->log, "done(-28) ");
    f->id = ids[1];
    give(f, EMPTY);
    assert_string_equal(f->log, "done(-28) done(-16) "); /* a is on its way already */
}

static void
begin_removal(struct fixture *f)
{
    assert_int_equal(f->hv->ops->disk_remove(f->vm, "a", on_done, f), 0);
    expect(f, "qom-list");
    give(f, "[" SLOTS ",{\"name\":\"slot2-disk-61\"}]");
    expect(f, "\"device_del\",\"arguments\":{\"id\":\"slot2-disk-61\"}");
}

static void
removal_waits_for_the_guest(void **state)
{
    struct fixture *f = *state;

    begin_removal(f);
    give(f, "{}");
    expect_silence(f);
    deleted(f, "slot1-disk-61"); /* another one, which is tidied up */
    expect_tidying(f);
    deleted(f, "slot2-disk-61");
    expect(f, "netdev_del");
    refuse(f);
    expect(f, "\"blockdev-del\",\"arguments\":{\"node-name\":\"slot2\"}");
    give(f, "{}");
    expect(f, "\"remove-fd\",\"arguments\":{\"fdset-id\":102}");
    give(f, "{}");
    assert_string_equal(f->log, "done(0) ");
}

static void
a_guest_may_be_faster_than_the_answer(void **state)
{
    struct fixture *f = *state;

    begin_removal(f);
    deleted(f, "slot2-disk-61");
    assert_string_equal(f->log, "");
    give(f, "{}");
    expect_tidying(f);
    assert_string_equal(f->log, "done(0) ");
}

static void
a_guest_that_keeps_it_ends_the_call_and_may_let_go_later(void **state)
{
    struct fixture *f = *state;

    begin_removal(f);
    give(f, "{}");
    fake_clock_advance(f->clock, QEMU_UNPLUG_DEADLINE_MS - 1);
    assert_string_equal(f->log, "");
    fake_clock_advance(f->clock, 1);
    assert_string_equal(f->log, "done(-110) ");
    expect_silence(f);
    deleted(f, "slot2-disk-61");
    expect_tidying(f);
    expect_silence(f);
}

static void
a_vsock_device_that_goes_late_is_told(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(f->hv->ops->vsock_remove(f->vm, on_done, f), 0);
    expect(f, "qom-list");
    give(f, "[{\"name\":\"rpvsock\"},{\"name\":\"" QEMU_VSOCK_ID "\"}]");
    expect(f, "device_del");
    give(f, "{}");
    fake_clock_advance(f->clock, QEMU_UNPLUG_DEADLINE_MS);
    assert_string_equal(f->log, "done(-110) ");
    assert_int_equal(f->vsock_gone, 0);
    deleted(f, QEMU_VSOCK_ID);
    assert_int_equal(f->vsock_gone, 1);
    expect_silence(f);
}

static void
a_guest_that_refuses_says_so(void **state)
{
    struct fixture *f = *state;

    begin_removal(f);
    give(f, "{}");
    say(f, "{\"event\":\"DEVICE_UNPLUG_GUEST_ERROR\",\"data\":{\"device\":"
           "\"slot2-disk-61\",\"path\":\"/x\"}}\n");
    assert_string_equal(f->log, "done(-13) ");
}

static void
a_hung_qemu_ends_a_call_once(void **state)
{
    struct fixture *f = *state;

    add_disk(f, "a");
    expect(f, "qom-list");
    fake_clock_advance(f->clock, QMP_COMMAND_DEADLINE_MS);
    assert_string_equal(f->log, "done(-110) ");
    give(f, EMPTY);
    expect_silence(f);
    assert_string_equal(f->log, "done(-110) ");
}

static void
the_end_of_the_channel_fails_who_waits(void **state)
{
    struct fixture *f = *state;

    begin_removal(f);
    give(f, "{}");
    add_disk(f, "b");
    close(f->peer);
    f->peer = -1;
    turn(f);
    assert_string_equal(f->log, "done(-107) done(-107) ");
    assert_int_equal(f->hv->ops->disk_remove(f->vm, "a", on_done, f), -ENOTCONN);
}

static void
a_channel_that_broke_is_made_anew(void **state)
{
    struct fixture *f = *state;

    close(f->peer);
    f->peer = -1;
    turn(f);
    fake_clock_advance(f->clock, 1000);
    f->peer = accept(f->listen_fd, NULL, NULL);
    assert_true(f->peer >= 0);
    assert_int_equal(f->hv->ops->disk_remove(f->vm, "a", on_done, f), -ENOTCONN);
    close(f->peer); /* once more, before its greeting */
    turn(f);
    fake_clock_advance(f->clock, 2000);
    f->peer = accept(f->listen_fd, NULL, NULL);
    assert_true(f->peer >= 0);
    say(f, "{\"QMP\": {}}\n");
    expect(f, "qmp_capabilities");
    give(f, "{}");
    expect(f, "query-status");
    give(f, "{\"status\":\"running\",\"running\":true}");
    expect(f, "guest-stats-polling-interval");
    give(f, "{}");
    assert_int_equal(f->controls, 1); /* it was told of it before */
    add_disk(f, "a");
    expect(f, "qom-list");
}

static void
a_hung_qemu_is_asked_for_its_greeting_again(void **state)
{
    struct fixture *f = *state;
    struct spawn_id id;
    int first;

    f->hv->ops->vm_free(f->vm);
    close(f->peer);
    f->controls = 0;
    assert_int_equal(fake_spawn_plant(f->spawn, &id), 0);
    assert_int_equal(f->hv->ops->adopt(f->hv, f->dir, &id, &events, f, &f->vm, NULL), 0);
    first = accept(f->listen_fd, NULL, NULL);
    assert_true(first >= 0);
    fake_clock_advance(f->clock, QMP_GREETING_DEADLINE_MS);
    fake_clock_advance(f->clock, 1000);
    f->peer = accept(f->listen_fd, NULL, NULL);
    assert_true(f->peer >= 0);
    assert_int_equal(close(first), 0);
    say(f, "{\"QMP\": {}}\n");
    expect(f, "qmp_capabilities");
    give(f, "{}");
    expect(f, "query-status");
    give(f, "{\"status\":\"running\",\"running\":true}");
    assert_int_equal(f->controls, 1);
}

static void
a_freed_vm_answers_nobody(void **state)
{
    struct fixture *f = *state;

    begin_removal(f);
    give(f, "{}");
    add_disk(f, "b");
    f->hv->ops->vm_free(f->vm);
    f->vm = NULL;
    turn(f);
    assert_string_equal(f->log, "");
}

static void
usb_brings_its_controller_once(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(f->hv->ops->usb_attach(f->vm, 3, f->fd, on_done, f), 0);
    expect(f, "qom-list");
    give(f, EMPTY);
    expect(f, "remove-fd");
    refuse(f);
    expect(f, "\"add-fd\",\"arguments\":{\"fdset-id\":203}");
    give(f, "{}");
    expect(f, "\"driver\":\"qemu-xhci\",\"id\":\"slot1-usb0\",\"bus\":\"rp1\"");
    give(f, "{}");
    expect(f, "\"driver\":\"usb-host\",\"id\":\"usb3\",\"bus\":\"slot1-usb0.0\",\"port\":"
              "\"3\",\"hostdevice\":\"/dev/fdset/203\"");
    give(f, "{}");
    assert_string_equal(f->log, "done(0) ");
    assert_int_equal(f->hv->ops->usb_attach(f->vm, 16, f->fd, on_done, f), 0);
    expect(f, "qom-list");
    give(f, "[" SLOTS ",{\"name\":\"slot1-usb0\"},{\"name\":\"usb3\"}]");
    expect(f, "remove-fd");
    refuse(f);
    expect(f, "add-fd");
    give(f, "{}");
    /* A controller has 15 ports. */
    expect(f, "\"id\":\"slot2-usb1\",\"bus\":\"rp2\"");
    give(f, "{}");
    expect(f, "\"bus\":\"slot2-usb1.0\",\"port\":\"1\"");
    give(f, "{}");
    assert_int_equal(f->hv->ops->usb_attach(f->vm, 4, f->fd, on_done, f), 0);
    expect(f, "qom-list");
    give(f, "[" SLOTS ",{\"name\":\"slot1-usb0\"},{\"name\":\"usb3\"}]");
    expect(f, "remove-fd");
    refuse(f);
    expect(f, "add-fd");
    give(f, "{}");
    expect(f, "usb-host");
    refuse(f); /* "failed to open" */
    expect(f, "remove-fd");
    give(f, "{}");
    assert_string_equal(f->log, "done(0) done(0) done(-5) ");
}

static void
usb_leaves_without_asking_the_guest(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(f->hv->ops->usb_detach(f->vm, 3, on_done, f), 0);
    expect(f, "qom-list");
    give(f, "[" SLOTS ",{\"name\":\"slot1-usb0\"},{\"name\":\"usb3\"}]");
    expect(f, "device_del");
    deleted(f, "usb3");
    give(f, "{}");
    expect(f, "\"remove-fd\",\"arguments\":{\"fdset-id\":203}");
    give(f, "{}");
    assert_string_equal(f->log, "done(0) ");
}

static void
memory_is_put_together_from_three_answers(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(f->hv->ops->memory(f->vm, on_memory, f), 0);
    expect(f, "query-memory-size-summary");
    give(f, "{\"base-memory\":268435456}");
    expect(f, "query-balloon");
    give(f, "{\"actual\":216006656}");
    expect(f, "guest-stats");
    give(f, "{\"last-update\":5,\"stats\":{\"stat-total-memory\":209715200,"
            "\"stat-free-memory\":7340032,\"stat-swap-in\":18446744073709551615}}");
    assert_string_equal(f->log, "memory(0) ");
    assert_int_equal(f->hv->ops->memory(f->vm, on_memory, f), 0);
    expect(f, "query-memory-size-summary");
    give(f, "{\"base-memory\":268435456}");
    expect(f, "query-balloon");
    give(f, "{\"actual\":268435456}");
    expect(f, "guest-stats");
    give(f, "{\"last-update\":0,\"stats\":{}}");
    assert_string_equal(f->log, "memory(0) memory(-11) ");
}

static void
answers_without_sense_are_errors(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(f->hv->ops->memory(f->vm, on_memory, f), 0);
    expect(f, "query-memory-size-summary");
    give(f, "[]");
    assert_int_equal(f->hv->ops->memory(f->vm, on_memory, f), 0);
    expect(f, "query-memory-size-summary");
    give(f, "{\"base-memory\":4096}");
    expect(f, "query-balloon");
    give(f, "{\"actual\":8192}");
    assert_int_equal(f->hv->ops->balloon_set(f->vm, 1, on_done, f), 0);
    expect(f, "query-memory-size-summary");
    give(f, "{\"base-memory\":\"x\"}");
    add_disk(f, "a");
    expect(f, "qom-list");
    give(f, "3");
    assert_string_equal(f->log, "memory(-5) memory(-5) done(-5) done(-28) ");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_disk_goes_through_its_steps),
        TEST(a_refused_device_is_undone),
        TEST(calls_at_once_get_different_slots),
        TEST(removal_waits_for_the_guest),
        TEST(a_guest_may_be_faster_than_the_answer),
        TEST(a_guest_that_keeps_it_ends_the_call_and_may_let_go_later),
        TEST(a_vsock_device_that_goes_late_is_told),
        TEST(a_guest_that_refuses_says_so),
        TEST(a_hung_qemu_ends_a_call_once),
        TEST(the_end_of_the_channel_fails_who_waits),
        TEST(a_channel_that_broke_is_made_anew),
        TEST(a_hung_qemu_is_asked_for_its_greeting_again),
        TEST(a_freed_vm_answers_nobody),
        TEST(usb_brings_its_controller_once),
        TEST(usb_leaves_without_asking_the_guest),
        TEST(memory_is_put_together_from_three_answers),
        TEST(answers_without_sense_are_errors),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
