/* SPDX-License-Identifier: BSD-3-Clause */
/* Operations on disks that take a while: their workers, and how they end. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "core/disk/op.h"
#include "tests/unit/concierge/disk_calls.h"
#include "tests/unit/concierge/guest.h"
#include "tests/unit/test.h"

static void
a_vm_does_not_start_while_its_disk_is_worked_on(void **state)
{
    char uuid[DISK_UUID_MAX];
    struct client_call call;
    struct world w;

    (void)state;
    world_init(&w);
    disk_make(&w, "a");
    w.workers.hang = true;
    disk_export(&w, "a", false, uuid);
    client_start_name(&w, "a", &call); /* of its name */
    assert_false(start_reply(&call)->success);
    assert_int_equal(start_reply(&call)->status,
                     VM_TOOLS__CONCIERGE__VM_STATUS__VM_STATUS_DISK_OP_IN_PROGRESS);
    client_call_done(&call);
    disk_start(&w, "b", "YQ==.img", &call); /* with the disk */
    assert_int_equal(start_reply(&call)->status,
                     VM_TOOLS__CONCIERGE__VM_STATUS__VM_STATUS_DISK_OP_IN_PROGRESS);
    client_call_done(&call);
    disk_destroy(&w, "a", &call);
    assert_int_equal(destroy_reply(&call)->status, DISK_STATUS(FAILED));
    assert_non_null(strstr(destroy_reply(&call)->failure_reason, "an export"));
    client_call_done(&call);
    w.workers.hang = false;
    world_run(&w, 1000);
    world_done(&w);
}

/* Row 19. */
static void
a_cancelled_operation_is_gone_with_one_last_signal(void **state)
{
    char uuid[DISK_UUID_MAX];
    struct client_call call;
    struct world w;

    (void)state;
    world_init(&w);
    disk_make(&w, "a");
    w.workers.hang = true;
    disk_export(&w, "a", false, uuid);
    w.journal[0] = '\0';
    disk_cancel(&w, uuid, WORLD_UID, &call);
    assert_int_equal(call.answers, 0); /* not before it is gone */
    world_run(&w, 200);
    assert_true(stop_reply(&call)->success);
    client_call_done(&call);
    world_expect_signals(&w, "DiskImageProgress status 3 progress 100\n");
    disk_status(&w, uuid, &call);
    assert_int_equal(status_reply(&call)->status, DISK_STATUS(FAILED));
    assert_non_null(strstr(status_reply(&call)->failure_reason, "no disk operation"));
    client_call_done(&call);
    disk_export(&w, "a", false, uuid);
    w.workers.hang = false;
    world_run(&w, 200);
    disk_cancel(&w, uuid, WORLD_UID, &call);
    assert_false(stop_reply(&call)->success);
    client_call_done(&call);
    world_done(&w);
}

static void
a_worker_that_ignores_the_cancel_is_killed(void **state)
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
    world_run(&w, 4000);
    assert_int_equal(call.answers, 0);
    world_run(&w, 2000);
    assert_true(stop_reply(&call)->success);
    client_call_done(&call);
    assert_int_equal(fake_spawn_running(w.spawn), 0);
    world_done(&w);
}

/* Row 26: a uuid alone opens nothing. */
static void
only_the_owner_may_ask_for_an_operation(void **state)
{
    VmTools__Concierge__DiskImageStatusRequest rq;
    char uuid[DISK_UUID_MAX];
    struct client_call call;
    struct world w;

    (void)state;
    world_init(&w);
    disk_make(&w, "a");
    w.workers.hang = true;
    disk_export(&w, "a", false, uuid);
    vm_tools__concierge__disk_image_status_request__init(&rq);
    rq.command_uuid = uuid;
    client_call(&w, "DiskImageStatus", WORLD_UID + 1, &rq.base, NULL, 0, &call);
    assert_int_equal(status_reply(&call)->status, DISK_STATUS(FAILED));
    client_call_done(&call);
    disk_cancel(&w, uuid, WORLD_UID + 1, &call);
    assert_false(stop_reply(&call)->success);
    client_call_done(&call);
    disk_status(&w, uuid, &call);
    assert_int_equal(status_reply(&call)->status, DISK_STATUS(IN_PROGRESS));
    client_call_done(&call);
    w.workers.hang = false;
    world_run(&w, 200);
    world_done(&w);
}

/* Row 18, as far as it is not the worker's: what it says is what the client hears. */
static void
results_of_the_worker_become_statuses(void **state)
{
    static const struct {
        const char *result;
        int status;
        const char *words;
    } rows[] = {
        {"result ok size=4096", DISK_STATUS(CREATED), ""},
        {"result nospace the disk is full", DISK_STATUS(NOT_ENOUGH_SPACE), "is full"},
        {"result badimage", DISK_STATUS(BAD_IMAGE), "no disk image"},
        {"result exists", DISK_STATUS(EXISTS), "exists"},
        {"result busy a VM has it", DISK_STATUS(FAILED), "a VM has it"},
        {"result failed entry \033[31mfoo", DISK_STATUS(FAILED), "\\x1b[31mfoo"},
        {"result missing x", DISK_STATUS(FAILED), ""},
        {"nonsense", DISK_STATUS(FAILED), "without a result"},
    };
    struct world w;

    (void)state;
    world_init(&w);
    for (size_t i = 0; i < VMT_ARRAY_SIZE(rows); i++) {
        char uuid[DISK_UUID_MAX];
        struct client_call call;

        w.workers.result = rows[i].result;
        disk_import(&w, "a", uuid);
        world_run(&w, 200);
        disk_status(&w, uuid, &call);
        assert_int_equal(status_reply(&call)->status, rows[i].status);
        assert_non_null(strstr(status_reply(&call)->failure_reason, rows[i].words));
        client_call_done(&call);
    }
    world_done(&w);
}

static void
a_killed_worker_is_a_failed_operation(void **state)
{
    char uuid[DISK_UUID_MAX];
    struct client_call call;
    struct world w;

    (void)state;
    world_init(&w);
    w.workers.hang = true;
    disk_import(&w, "a", uuid);
    worker_kill(&w, workers_last(&w), SIGKILL);
    world_run(&w, 100);
    disk_status(&w, uuid, &call);
    assert_int_equal(status_reply(&call)->status, DISK_STATUS(FAILED));
    assert_non_null(strstr(status_reply(&call)->failure_reason, "signal 9"));
    client_call_done(&call);
    w.workers.start_error = ENOENT;
    disk_create(&w, "a", 0, &call);
    assert_int_equal(create_reply(&call)->status, DISK_STATUS(FAILED));
    assert_non_null(strstr(create_reply(&call)->failure_reason, "vm_disk"));
    client_call_done(&call);
    world_done(&w);
}

static void
operations_of_one_owner_are_bounded(void **state)
{
    char uuid[DISK_UUID_MAX], name[8];
    VmTools__Concierge__ImportDiskImageRequest rq;
    struct client_call call;
    struct world w;
    int fd;

    (void)state;
    world_init(&w);
    w.workers.hang = true;
    for (int i = 0; i < DISK_OPS_RUNNING_PER_OWNER_MAX; i++) {
        (void)snprintf(name, sizeof(name), "v%d", i);
        disk_import(&w, name, uuid);
    }
    import_request(&rq, "more");
    fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    client_call(&w, "ImportDiskImage", WORLD_UID, &rq.base, &fd, 1, &call);
    assert_int_equal(import_reply(&call)->status, DISK_STATUS(FAILED));
    assert_non_null(strstr(import_reply(&call)->failure_reason, "too many"));
    client_call_done(&call);
    w.workers.hang = false;
    world_run(&w, 200);
    for (int i = 0; i < 2 * DISK_OPS_KEPT_PER_OWNER_MAX; i++) { /* nobody polls */
        disk_import(&w, "a", uuid);
        world_run(&w, 200);
    }
    assert_true(fake_host_records(w.host) <= DISK_OPS_KEPT_PER_OWNER_MAX + 1);
    world_done(&w);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_vm_does_not_start_while_its_disk_is_worked_on),
        cmocka_unit_test(a_cancelled_operation_is_gone_with_one_last_signal),
        cmocka_unit_test(a_worker_that_ignores_the_cancel_is_killed),
        cmocka_unit_test(only_the_owner_may_ask_for_an_operation),
        cmocka_unit_test(results_of_the_worker_become_statuses),
        cmocka_unit_test(a_killed_worker_is_a_failed_operation),
        cmocka_unit_test(operations_of_one_owner_are_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
