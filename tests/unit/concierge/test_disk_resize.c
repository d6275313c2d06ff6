/* SPDX-License-Identifier: BSD-3-Clause */
/* ResizeDiskImage: of a stopped VM, of a running one, and what goes wrong. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "core/disk/op.h"
#include "tests/fake/fake_disks.h"
#include "tests/unit/concierge/disk_calls.h"
#include "tests/unit/concierge/guest.h"
#include "tests/unit/test.h"

#define GIB (1ull << 30)
#define FILE_A "YQ==.img"

/* A VM that runs with the disk "a" of 1 GiB; w is ready for what comes. */
static struct guest *
setup(struct world *w)
{
    struct guest *g;

    world_init(w);
    disk_make(w, "a");
    g = disk_run_vm(w, "a", FILE_A);
    guest_resize(g)->current = GIB;
    w->journal[0] = '\0';
    return g;
}

static void
teardown(struct world *w, struct guest *g)
{
    disk_stop_vm(w, "a", g);
    world_done(w);
}

static void
begin(struct world *w, uint64_t size, char *uuid)
{
    struct client_call call;

    disk_resize(w, "a", size, &call);
    assert_string_equal(resize_reply(&call)->failure_reason, "");
    assert_int_equal(resize_reply(&call)->status, DISK_STATUS(IN_PROGRESS));
    memcpy(uuid, resize_reply(&call)->command_uuid, DISK_UUID_MAX);
    client_call_done(&call);
}

static void
expect_end(struct world *w, const char *uuid, int status, const char *words)
{
    struct client_call call;

    disk_status(w, uuid, &call);
    if (!strstr(status_reply(&call)->failure_reason, words))
        fail_msg("\"%s\" does not say \"%s\"", status_reply(&call)->failure_reason,
                 words);
    assert_int_equal(status_reply(&call)->status, status);
    client_call_done(&call);
}

/* The size that the hypervisor was told last, 0 for none. */
static uint64_t
disk_size(struct world *w)
{
    return fake_process_disk(fake_hypervisor_find(w->hv, "a"), "disk1")->size;
}

static void
fs_done(struct guest *g)
{
    guest_resize(g)->current = guest_resize(g)->asked;
    guest_resize(g)->in_progress = false;
}

static void
a_running_disk_grows_before_its_file_system(void **state)
{
    char uuid[DISK_UUID_MAX];
    struct guest *g;
    struct world w;

    (void)state;
    g = setup(&w);
    begin(&w, 2 * GIB, uuid);
    world_run(&w, 500);
    assert_int_equal(disk_size(&w), 2 * GIB);
    assert_int_equal(guest_resize(g)->asked, 2 * GIB);
    assert_string_equal(guest_resize(g)->serial, "disk1");
    world_run(&w, 5000);
    expect_end(&w, uuid, DISK_STATUS(IN_PROGRESS), "");
    fs_done(g);
    world_run(&w, 2000);
    expect_end(&w, uuid, DISK_STATUS(RESIZED), "");
    teardown(&w, g);
}

static void
a_running_disk_shrinks_after_its_file_system(void **state)
{
    char uuid[DISK_UUID_MAX];
    struct guest *g;
    struct world w;

    (void)state;
    g = setup(&w);
    begin(&w, GIB / 2 + 100, uuid); /* rounded down */
    world_run(&w, 3000);
    assert_int_equal(guest_resize(g)->asked, GIB / 2);
    assert_int_equal(disk_size(&w), 0); /* not yet */
    fs_done(g);
    world_run(&w, 2000);
    assert_int_equal(disk_size(&w), GIB / 2);
    expect_end(&w, uuid, DISK_STATUS(RESIZED), "");
    teardown(&w, g);
}

static void
a_guest_that_cannot_grow_gets_its_old_disk_back(void **state)
{
    char uuid[DISK_UUID_MAX];
    struct guest *g;
    struct world w;

    (void)state;
    g = setup(&w);
    guest_set(g, "ResizeFilesystem", GUEST_FAILS);
    begin(&w, 2 * GIB, uuid);
    world_run(&w, 2000);
    assert_int_equal(disk_size(&w), GIB);
    expect_end(&w, uuid, DISK_STATUS(FAILED), "no luck");
    teardown(&w, g);
}

static void
a_file_system_of_another_size_is_a_failure(void **state)
{
    char uuid[DISK_UUID_MAX];
    struct guest *g;
    struct world w;

    (void)state;
    g = setup(&w);
    begin(&w, 2 * GIB, uuid);
    world_run(&w, 2000);
    guest_resize(g)->in_progress = false; /* and the size is as before */
    world_run(&w, 2000);
    assert_int_equal(disk_size(&w), GIB);
    expect_end(&w, uuid, DISK_STATUS(FAILED), "another size");
    teardown(&w, g);
}

/* The disk is not cut below it. */
static void
a_file_system_that_grew_in_part_keeps_its_disk(void **state)
{
    char uuid[DISK_UUID_MAX];
    struct guest *g;
    struct world w;

    (void)state;
    g = setup(&w);
    begin(&w, 2 * GIB, uuid);
    world_run(&w, 2000);
    guest_resize(g)->current = GIB + GIB / 2;
    guest_resize(g)->in_progress = false;
    world_run(&w, 2000);
    assert_int_equal(disk_size(&w), 2 * GIB);
    expect_end(&w, uuid, DISK_STATUS(FAILED), "another size");
    teardown(&w, g);
}

/* spec 15.12: the original says "resize in progress" for ever after that. */
static void
a_shrink_that_the_hypervisor_refuses_is_undone(void **state)
{
    char uuid[DISK_UUID_MAX];
    struct guest *g;
    struct world w;

    (void)state;
    g = setup(&w);
    begin(&w, GIB / 2, uuid);
    world_run(&w, 2000);
    fake_hypervisor_behaviour(w.hv)->fail[FAKE_OP_DISK_RESIZE] = EIO;
    fs_done(g);
    world_run(&w, 2000);
    assert_int_equal(guest_resize(g)->asked, GIB);
    expect_end(&w, uuid, DISK_STATUS(FAILED), "hypervisor");
    fake_hypervisor_behaviour(w.hv)->fail[FAKE_OP_DISK_RESIZE] = 0;
    begin(&w, 2 * GIB, uuid); /* it is not stuck */
    world_run(&w, 1000);
    fs_done(g);
    world_run(&w, 3000);
    expect_end(&w, uuid, DISK_STATUS(RESIZED), "");
    teardown(&w, g);
}

static void
a_silent_guest_is_given_up(void **state)
{
    char uuid[DISK_UUID_MAX];
    struct guest *g;
    struct world w;

    (void)state;
    g = setup(&w);
    guest_set(g, "GetResizeStatus", GUEST_IGNORES);
    begin(&w, 2 * GIB, uuid);
    world_run(&w, 30000);
    expect_end(&w, uuid, DISK_STATUS(IN_PROGRESS), "");
    world_run(&w, 90000);
    assert_int_equal(disk_size(&w), 2 * GIB); /* its file system may have grown */
    expect_end(&w, uuid, DISK_STATUS(FAILED), "does not answer");
    teardown(&w, g);
}

static void
a_vm_that_ends_ends_its_resize(void **state)
{
    char uuid[DISK_UUID_MAX];
    struct guest *g;
    struct world w;

    (void)state;
    g = setup(&w);
    begin(&w, GIB / 2, uuid);
    world_run(&w, 2000);
    fake_process_exit(fake_hypervisor_find(w.hv, "a"), HYPERVISOR_EXIT_KILLED, "");
    guest_free(g);
    world_run(&w, 130000);
    expect_end(&w, uuid, DISK_STATUS(FAILED), "");
    world_done(&w);
}

/* Row 21. */
static void
what_is_no_resize_is_answered_at_once(void **state)
{
    char uuid[DISK_UUID_MAX];
    struct client_call call;
    struct guest *g;
    struct world w;

    (void)state;
    g = setup(&w);
    disk_resize(&w, "a", GIB + 4095, &call); /* the same, rounded */
    assert_int_equal(resize_reply(&call)->status, DISK_STATUS(RESIZED));
    client_call_done(&call);
    disk_resize(&w, "none", GIB, &call);
    assert_int_equal(resize_reply(&call)->status, DISK_STATUS(DOES_NOT_EXIST));
    client_call_done(&call);
    disk_resize(&w, "a", 0, &call);
    assert_int_equal(resize_reply(&call)->status, DISK_STATUS(FAILED));
    client_call_done(&call);
    begin(&w, 2 * GIB, uuid);
    disk_resize(&w, "a", 3 * GIB, &call);
    assert_int_equal(resize_reply(&call)->status, DISK_STATUS(FAILED));
    assert_non_null(strstr(resize_reply(&call)->failure_reason, "a resize"));
    client_call_done(&call);
    disk_cancel(&w, uuid, WORLD_UID, &call);
    assert_false(stop_reply(&call)->success);
    client_call_done(&call);
    world_run(&w, 1000);
    fs_done(g);
    world_run(&w, 2000);
    expect_end(&w, uuid, DISK_STATUS(RESIZED), "");
    teardown(&w, g);
}

static void
the_disk_of_a_stopped_vm_is_resized_by_a_worker(void **state)
{
    char uuid[DISK_UUID_MAX];
    struct world w;

    (void)state;
    world_init(&w);
    disk_make(&w, "a");
    begin(&w, 2 * GIB, uuid);
    assert_non_null(strstr(workers_last(&w)->args, "resize --image="));
    assert_non_null(
        strstr(workers_last(&w)->args, "--size=2147483648 --grow-fs --user-chosen-size"));
    world_run(&w, 200);
    expect_end(&w, uuid, DISK_STATUS(RESIZED), "");
    begin(&w, GIB, uuid);
    assert_non_null(strstr(workers_last(&w)->args, "--shrink-fs"));
    world_run(&w, 200);
    expect_end(&w, uuid, DISK_STATUS(RESIZED), "");
    world_done(&w);
}

static void
a_new_daemon_goes_on_with_a_resize(void **state)
{
    char uuid[DISK_UUID_MAX];
    struct guest *g;
    struct world w;

    (void)state;
    g = setup(&w);
    begin(&w, 2 * GIB, uuid);
    world_run(&w, 2000);
    world_kill_daemon(&w);
    world_run(&w, 1000);
    world_start_daemon(&w);
    world_run(&w, 3000);
    expect_end(&w, uuid, DISK_STATUS(IN_PROGRESS), "");
    fs_done(g);
    world_run(&w, 3000);
    expect_end(&w, uuid, DISK_STATUS(RESIZED), "");
    teardown(&w, g);
}

static void
a_new_daemon_takes_over_what_workers_do(void **state)
{
    char uuid[DISK_UUID_MAX], ended[DISK_UUID_MAX], lost[DISK_UUID_MAX];
    struct client_call call;
    struct world w;

    (void)state;
    world_init(&w);
    disk_make(&w, "a");
    disk_make(&w, "b");
    disk_export(&w, "b", false, ended);
    world_run(&w, 200); /* over, and nobody asked */
    w.workers.hang = true;
    disk_export(&w, "a", false, uuid);
    worker_say(&w, workers_last(&w), "progress 30 100");
    disk_import(&w, "c", lost);
    world_kill_daemon(&w);
    worker_kill(&w, workers_last(&w), 9); /* and nobody is there to see it */
    world_run(&w, 1000);
    world_start_daemon(&w);
    expect_end(&w, ended, DISK_STATUS(CREATED), "");
    expect_end(&w, lost, DISK_STATUS(FAILED), "gone without a result");
    disk_status(&w, uuid, &call);
    assert_int_equal(status_reply(&call)->status, DISK_STATUS(IN_PROGRESS));
    assert_int_equal(status_reply(&call)->progress, 30);
    client_call_done(&call);
    disk_destroy(&w, "a", &call); /* the lock is there, too */
    assert_int_equal(destroy_reply(&call)->status, DISK_STATUS(FAILED));
    client_call_done(&call);
    w.workers.hang = false;
    world_run(&w, 500);
    expect_end(&w, uuid, DISK_STATUS(CREATED), "");
    world_done(&w);
}

static void
a_cancel_survives_the_daemon(void **state)
{
    char uuid[DISK_UUID_MAX];
    struct client_call call;
    struct world w;

    (void)state;
    world_init(&w);
    disk_make(&w, "a");
    w.workers.hang = w.workers.ignore_term = true;
    disk_export(&w, "a", false, uuid);
    disk_cancel(&w, uuid, WORLD_UID, &call);
    world_kill_daemon(&w);
    client_call_done(&call);
    world_start_daemon(&w);
    world_run(&w, 7000); /* the new one kills it */
    assert_int_equal(fake_spawn_running(w.spawn), 0);
    world_done(&w);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_running_disk_grows_before_its_file_system),
        cmocka_unit_test(a_running_disk_shrinks_after_its_file_system),
        cmocka_unit_test(a_guest_that_cannot_grow_gets_its_old_disk_back),
        cmocka_unit_test(a_file_system_of_another_size_is_a_failure),
        cmocka_unit_test(a_file_system_that_grew_in_part_keeps_its_disk),
        cmocka_unit_test(a_shrink_that_the_hypervisor_refuses_is_undone),
        cmocka_unit_test(a_silent_guest_is_given_up),
        cmocka_unit_test(a_vm_that_ends_ends_its_resize),
        cmocka_unit_test(what_is_no_resize_is_answered_at_once),
        cmocka_unit_test(the_disk_of_a_stopped_vm_is_resized_by_a_worker),
        cmocka_unit_test(a_new_daemon_goes_on_with_a_resize),
        cmocka_unit_test(a_new_daemon_takes_over_what_workers_do),
        cmocka_unit_test(a_cancel_survives_the_daemon),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
