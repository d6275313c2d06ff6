/* SPDX-License-Identifier: BSD-3-Clause */
/* Files that are named by path, on file systems that are silent: who named them waits,
 * and nobody else. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "core/adapter/ipc.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/concierge/opening_internal.h"
#include "tests/unit/concierge/guest.h"
#include "tests/unit/test.h"
#include "vmt_hotplug.pb-c.h"
#include "vmt_life.pb-c.h"

#define STARTING VM_TOOLS__CONCIERGE__VM_STATUS__VM_STATUS_STARTING
#define LATE_MS (OPENING_MS + 1000)

static void
start_with(struct world *w, const char *name, const char *path, struct client_call *call)
{
    VmTools__Concierge__DiskImage disk, *disks[1] = {&disk};
    struct start_args args;

    vm_tools__concierge__disk_image__init(&disk);
    disk.path = (char *)(uintptr_t)path;
    start_args_init(&args, name);
    vmt_closep(&args.fds[1]); /* a root that is taken as it is */
    args.fds[1] = open("/dev/null", O_RDONLY | O_CLOEXEC);
    args.request.diskless = false;
    args.request.disks = disks;
    args.request.n_disks = 1;
    client_start(w, &args, call);
}

static void
a_start_on_a_silent_file_system_fails_alone(void **state)
{
    struct world w;
    struct client_call call;
    struct guest *other;

    (void)state;
    world_init(&w);
    w.files_silent = true;
    start_with(&w, "demo", "/far/disk", &call);
    w.files_silent = false;
    world_run(&w, 1000);
    assert_int_equal(call.answers, 0);
    assert_int_equal(client_status(&w, "demo"),
                     STARTING); /* it can be seen and stopped */
    other = world_run_vm(&w, "other");
    world_run(&w, LATE_MS);
    expect_start_refused(&call, "/far/disk could not be opened in 20 s");
    assert_int_equal(client_status(&w, "demo"), -1);
    client_call_done(&call);
    world_stop_vm(&w, "other", other);
    world_done(&w); /* the child is gone, too */
}

static void
a_stop_ends_a_start_that_waits_for_a_file(void **state)
{
    struct world w;
    struct client_call start, stop;

    (void)state;
    world_init(&w);
    w.files_silent = true;
    start_with(&w, "demo", "/far/disk", &start);
    client_stop(&w, "demo", &stop);
    world_run(&w, 10);
    assert_true(stop_reply(&stop)->success);
    assert_int_equal(start.answers, 1);
    world_expect_signals(&w, ""); /* nobody had heard of it */
    client_call_done(&start);
    client_call_done(&stop);
    world_done(&w);
}

static void
the_death_of_the_daemon_leaves_no_opening_behind(void **state)
{
    struct world w;
    struct client_call call;

    (void)state;
    world_init(&w);
    w.files_silent = true;
    start_with(&w, "demo", "/far/disk", &call);
    world_kill_daemon(&w);
    assert_int_equal(call.answers, 1);
    assert_true(call.failed);
    client_call_done(&call);
    world_start_daemon(&w);
    world_done(&w);
}

static void
on_opened(void *arg, int *fds, const struct vmt_err *err)
{
    assert_null(fds);
    assert_int_equal(err->code, ETIMEDOUT);
    (*(unsigned *)arg)++;
}

static void
a_caller_can_hold_only_so_many(void **state)
{
    const struct opening_file file = {.kind = OPENING_IMAGE, .name = "/far/disk"};
    const struct ipc_caller caller = {.uid = 7}, other = {.uid = 8};
    struct opening_request request = {
        .owner = WORLD_OWNER, .caller = &caller, .files = &file, .n = 1};
    struct opening *opening;
    struct world w;
    unsigned late = 0;

    (void)state;
    world_init(&w);
    w.files_silent = true;
    for (size_t i = 0; i < OPENINGS_PER_CALLER_MAX; i++)
        assert_int_equal(opening_start(w.c, &request, on_opened, &late, &opening, NULL),
                         0);
    assert_int_equal(opening_start(w.c, &request, on_opened, &late, &opening, NULL),
                     -EAGAIN);
    request.caller = &other;
    assert_int_equal(opening_start(w.c, &request, on_opened, &late, &opening, NULL), 0);
    world_run(&w, LATE_MS);
    assert_int_equal(late, OPENINGS_PER_CALLER_MAX + 1);
    request.caller = &caller; /* there is room again */
    assert_int_equal(opening_start(w.c, &request, on_opened, &late, &opening, NULL), 0);
    opening_cancel(opening);
    world_run(&w, LATE_MS);
    assert_int_equal(late, OPENINGS_PER_CALLER_MAX + 1);
    world_done(&w);
}

static void
attach(struct world *w, struct client_call *call)
{
    Vmt__AttachDiskRequest rq;

    vmt__attach_disk_request__init(&rq);
    rq.name = (char *)(uintptr_t) "demo";
    rq.owner_id = (char *)(uintptr_t)WORLD_OWNER;
    rq.path = (char *)(uintptr_t) "/far/disk";
    client_call(w, "AttachDisk", WORLD_UID, &rq.base, NULL, 0, call);
}

static void
expect_not_attached(const struct client_call *call, const char *why)
{
    const Vmt__AttachDiskResponse *reply = (const Vmt__AttachDiskResponse *)call->reply;

    assert_int_equal(call->answers, 1);
    assert_false(reply->success);
    assert_non_null(strstr(reply->failure_reason, why));
}

static void
a_silent_disk_is_not_attached(void **state)
{
    struct world w;
    struct client_call late, ended;
    struct guest *g;

    (void)state;
    world_init(&w);
    g = world_run_vm(&w, "demo");
    w.files_silent = true;
    attach(&w, &late);
    world_run(&w, LATE_MS);
    expect_not_attached(&late, "does not answer");
    attach(&w, &ended);
    world_stop_vm(&w, "demo", g);
    world_run(&w, LATE_MS);
    expect_not_attached(&ended, "does not answer");
    client_call_done(&late);
    client_call_done(&ended);
    world_done(&w);
}

/* An heir has no descriptors of what it starts again. */
static void
a_restart_on_a_silent_file_system_is_tried_again(void **state)
{
    Vmt__RestartPolicy policy = VMT__RESTART_POLICY__INIT;
    struct world w;
    struct start_args args;
    struct client_call call;
    struct guest *g;

    (void)state;
    world_init(&w);
    fake_host_add_image(w.host, "/dev/null"); /* what the fake images are */
    policy.mode = VMT__RESTART_POLICY__MODE__ALWAYS;
    start_args_init(&args, "demo");
    args.request.restart = &policy;
    client_start(&w, &args, &call);
    g = guest_new(&w, 32);
    world_become_ready(&w, g);
    client_call_done(&call);
    world_kill_daemon(&w);
    world_start_daemon(&w);
    world_run(&w, 500);
    w.files_silent = true;
    fake_process_exit(fake_hypervisor_find(w.hv, "demo"), HYPERVISOR_EXIT_KILLED, "");
    guest_free(g);
    world_run(&w, 5000);
    assert_int_equal(client_status(&w, "demo"), -1);
    w.files_silent = false;
    world_run(&w, 2 * LATE_MS);
    assert_int_equal(client_status(&w, "demo"), STARTING);
    client_stop(&w, "demo", &call);
    world_run(&w, 60000);
    assert_true(stop_reply(&call)->success);
    client_call_done(&call);
    world_done(&w);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_start_on_a_silent_file_system_fails_alone),
        cmocka_unit_test(a_stop_ends_a_start_that_waits_for_a_file),
        cmocka_unit_test(the_death_of_the_daemon_leaves_no_opening_behind),
        cmocka_unit_test(a_caller_can_hold_only_so_many),
        cmocka_unit_test(a_silent_disk_is_not_attached),
        cmocka_unit_test(a_restart_on_a_silent_file_system_is_tried_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
