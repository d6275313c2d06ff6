/* SPDX-License-Identifier: BSD-3-Clause */
/* Disk images: create, list, destroy, export, import, status, cancel. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "core/disk/op.h"
#include "tests/fake/fake_disks.h"
#include "tests/unit/concierge/disk_calls.h"
#include "tests/unit/concierge/guest.h"
#include "tests/unit/test.h"

static void
a_disk_is_made_by_a_worker_and_told_with_its_path(void **state)
{
    struct world w;
    struct client_call call;

    (void)state;
    world_init(&w);
    w.workers.hang = true;
    disk_create(&w, "a", 1u << 30, &call);
    world_run(&w, 1000);
    assert_int_equal(call.answers, 0);
    assert_string_equal(workers_last(&w)->args,
                        "create --image=/data/vms/" WORLD_OWNER "/YQ==.img --format=raw "
                        "--size=1073741824 --allocation=full --vm-type=4 "
                        "--progress-fd=3");
    w.workers.hang = false;
    world_run(&w, 100);
    assert_int_equal(create_reply(&call)->status, DISK_STATUS(CREATED));
    assert_string_equal(create_reply(&call)->disk_path,
                        "/data/vms/" WORLD_OWNER "/YQ==.img");
    client_call_done(&call);
    world_expect_signals(&w, ""); /* nobody was told a uuid */
    world_done(&w);
}

static void
options_of_a_disk_reach_the_worker(void **state)
{
    static char extra[] = "-Ocasefold", tune[] = "-c0", btrfs[] = "btrfs";
    char *mkfs[] = {extra}, *tune2fs[] = {tune};
    VmTools__Concierge__CreateDiskImageRequest rq;
    struct client_call call;
    struct world w;

    (void)state;
    world_init(&w);
    create_request(&rq, "a", 0);
    rq.filesystem_type = VM_TOOLS__CONCIERGE__FILESYSTEM_TYPE__EXT4;
    rq.storage_ballooning = true;
    rq.mkfs_opts = mkfs;
    rq.n_mkfs_opts = 1;
    rq.tune2fs_opts = tune2fs;
    rq.n_tune2fs_opts = 1;
    rq.vm_type = VM_TOOLS__CONCIERGE__VM_INFO__VM_TYPE__BAGUETTE;
    client_call(&w, "CreateDiskImage", WORLD_UID, &rq.base, NULL, 0, &call);
    world_run(&w, 100);
    client_call_done(&call);
    assert_non_null(strstr(workers_last(&w)->args,
                           "--size=0 --allocation=sparse --vm-type=6 --storage-balloon "
                           "--fs=ext4 --fs-option=-Ocasefold --tune-option=-c0"));
    create_request(&rq, "b", 1u << 30);
    rq.image_type = VM_TOOLS__CONCIERGE__DISK_IMAGE_TYPE__DISK_IMAGE_QCOW2;
    rq.filesystem = btrfs;
    client_call(&w, "CreateDiskImage", WORLD_UID, &rq.base, NULL, 0, &call);
    world_run(&w, 100);
    client_call_done(&call);
    assert_non_null(strstr(workers_last(&w)->args, "Yg==.qcow2 --format=qcow2"));
    assert_non_null(strstr(workers_last(&w)->args, "--allocation=sparse"));
    assert_non_null(strstr(workers_last(&w)->args, "--fs=btrfs"));
    world_done(&w);
}

/* Row 14 of the spec's test ideas. */
static void
senseless_creations_are_refused(void **state)
{
    VmTools__Concierge__CreateDiskImageRequest rq;
    struct world w;

    (void)state;
    world_init(&w);
    create_request(&rq, "a", 1u << 30);
    rq.storage_ballooning = true;
    expect_create(&w, &rq, DISK_STATUS(UNKNOWN), "ballooning");
    create_request(&rq, "a", 0);
    rq.allocation_type =
        VM_TOOLS__CONCIERGE__DISK_IMAGE_ALLOCATION_TYPE__DISK_ALLOCATION_TYPE_PREALLOCATE;
    expect_create(&w, &rq, DISK_STATUS(UNKNOWN), "needs a size");
    create_request(&rq, "a", 1);
    expect_create(&w, &rq, DISK_STATUS(UNKNOWN), "at least");
    create_request(&rq, "a", 0);
    rq.image_type = VM_TOOLS__CONCIERGE__DISK_IMAGE_TYPE__DISK_IMAGE_PLUGINVM;
    expect_create(&w, &rq, DISK_STATUS(UNKNOWN), "plugin");
    create_request(&rq, "a", 0);
    rq.copy_baguette_image = true;
    expect_create(&w, &rq, DISK_STATUS(FAILED), "needs a descriptor");
    create_request(&rq, "", 0);
    expect_create(&w, &rq, DISK_STATUS(FAILED), "name is empty");
    assert_int_equal(w.workers.n, 0);
    (void)fake_disks_put(w.host, WORLD_OWNER, "YQ==.img", 4096);
    create_request(&rq, "a", 0);
    expect_create(&w, &rq, DISK_STATUS(EXISTS), "exists");
    (void)fake_disks_put(w.host, WORLD_OWNER, "Yg==.qcow2", 4096);
    create_request(&rq, "b", 0);
    expect_create(&w, &rq, DISK_STATUS(EXISTS), "exists");
    world_done(&w);
}

/* Row 15. */
static void
names_come_back_from_their_files(void **state)
{
    static const char *const names[] = {
        "a/b", "..", "\xc3\xa4\xe2\x82\xac",
        "123456789012345678901234567890123456789012345678901234567890"};
    struct world w;

    (void)state;
    world_init(&w);
    for (size_t i = 0; i < VMT_ARRAY_SIZE(names); i++)
        disk_make(&w, names[i]);
    (void)fake_disks_put(w.host, WORLD_OWNER, "!!.img", 4096);
    (void)fake_disks_put(w.host, WORLD_OWNER, ".img", 4096);
    (void)fake_disks_put(w.host, WORLD_OWNER, "YQ==.pflash", 4096);
    (void)fake_disks_put(w.host, WORLD_OWNER, "YQ==.img.meta", 4096);
    (void)fake_disks_put(w.host, WORLD_OWNER, "gA==.img", 4096); /* no UTF-8 */
    (void)fake_disks_put(w.host, "aa", "YQ==.img", 4096);
    expect_disks(&w, names, VMT_ARRAY_SIZE(names));
    world_done(&w);
}

static void
a_running_guest_tells_the_space_of_its_disk(void **state)
{
    VmTools__Concierge__ListVmDisksRequest rq;
    const VmTools__Concierge__ListVmDisksResponse *list;
    struct client_call call;
    struct guest *g;
    struct world w;

    (void)state;
    world_init(&w);
    disk_make(&w, "a");
    g = disk_run_vm(&w, "a", "YQ==.img");
    guest_set_space(g, 1000, 500);
    list_request(&rq, "");
    client_call(&w, "ListVmDisks", WORLD_UID, &rq.base, NULL, 0, &call);
    world_run(&w, 1000);
    list = list_reply(&call);
    assert_int_equal(list->n_images, 1);
    assert_int_equal(list->images[0]->available_space, 1000);
    assert_int_equal(list->images[0]->min_size, 500);
    client_call_done(&call);
    guest_set(g, "GetDiskSpace", GUEST_IGNORES);
    client_call(&w, "ListVmDisks", WORLD_UID, &rq.base, NULL, 0, &call);
    world_run(&w, 4000);
    assert_int_equal(call.answers, 0);
    world_run(&w, 2000); /* a guest that hangs leaves its row as it is */
    list = list_reply(&call);
    assert_int_equal(list->n_images, 1);
    assert_int_equal(list->images[0]->available_space, 0);
    client_call_done(&call);
    disk_stop_vm(&w, "a", g);
    world_done(&w);
}

static void
destroying_a_disk_stops_its_vm_and_removes_all(void **state)
{
    struct client_call call;
    struct guest *g;
    struct world w;

    (void)state;
    world_init(&w);
    disk_make(&w, "a");
    (void)fake_disks_put(w.host, WORLD_OWNER, "YQ==.pflash", 4096);
    g = disk_run_vm(&w, "b", "YQ==.img"); /* under another name */
    w.journal[0] = '\0';
    disk_destroy(&w, "a", &call);
    assert_int_equal(call.answers, 0);
    world_run(&w, 1000);
    assert_int_equal(destroy_reply(&call)->status, DISK_STATUS(DESTROYED));
    client_call_done(&call);
    world_expect_signals(&w, "VmStopping b 32\nVmStopped b 32 reason 3 left 0\n");
    assert_false(fake_disks_has(w.host, WORLD_OWNER, "YQ==.img"));
    assert_false(fake_disks_has(w.host, WORLD_OWNER, "YQ==.pflash"));
    disk_destroy(&w, "a", &call);
    assert_int_equal(destroy_reply(&call)->status, DISK_STATUS(DOES_NOT_EXIST));
    client_call_done(&call);
    guest_free(g);
    world_done(&w);
}

static void
a_disk_in_somebody_elses_hands_is_not_destroyed(void **state)
{
    struct client_call call;
    struct world w;

    (void)state;
    world_init(&w);
    disk_make(&w, "a");
    fake_disks_lock(w.host, WORLD_OWNER, "YQ==.img", true);
    disk_destroy(&w, "a", &call);
    world_run(&w, 100);
    assert_int_equal(destroy_reply(&call)->status, DISK_STATUS(FAILED));
    assert_non_null(strstr(destroy_reply(&call)->failure_reason, "in use"));
    client_call_done(&call);
    assert_true(fake_disks_has(w.host, WORLD_OWNER, "YQ==.img"));
    world_done(&w);
}

/* Rows 16 and 20: first signal, at most one a second, and the last. */
static void
an_export_tells_its_progress(void **state)
{
    char uuid[DISK_UUID_MAX];
    struct client_call call;
    struct world w;

    (void)state;
    world_init(&w);
    disk_make(&w, "a");
    w.workers.hang = true;
    disk_export(&w, "a", false, uuid);
    assert_string_equal(workers_last(&w)->args,
                        "export --image=/data/vms/" WORLD_OWNER "/YQ==.img --format=raw "
                        "--data-fd=4 --progress-fd=3");
    world_expect_signals(&w, "DiskImageProgress status 6 progress 0\n");
    worker_say(&w, workers_last(&w), "progress 10 100");
    disk_status(&w, uuid, &call);
    assert_int_equal(status_reply(&call)->status, DISK_STATUS(IN_PROGRESS));
    assert_int_equal(status_reply(&call)->progress, 10);
    client_call_done(&call);
    worker_say(&w, workers_last(&w), "progress 50 100\nprogress 40 100\nprogress 1 x");
    world_expect_signals(&w, "");
    world_run(&w, 1000);
    world_expect_signals(&w, "DiskImageProgress status 6 progress 40\n");
    worker_say(&w, workers_last(&w), "progress 20 100"); /* never falls */
    world_run(&w, 1000);
    world_expect_signals(&w, "DiskImageProgress status 6 progress 40\n");
    w.workers.hang = false;
    world_run(&w, 200);
    world_expect_signals(&w, "DiskImageProgress status 1 progress 100\n");
    disk_status(&w, uuid, &call);
    assert_int_equal(status_reply(&call)->status, DISK_STATUS(CREATED));
    assert_int_equal(status_reply(&call)->progress, 100);
    client_call_done(&call);
    disk_status(&w, uuid, &call); /* told once */
    assert_int_equal(status_reply(&call)->status, DISK_STATUS(FAILED));
    client_call_done(&call);
    world_done(&w);
}

/* Row 17. */
static void
the_disk_of_a_running_vm_is_exported_by_force_only(void **state)
{
    VmTools__Concierge__ExportDiskImageRequest rq;
    char uuid[DISK_UUID_MAX];
    struct client_call call;
    struct guest *g;
    struct world w;
    int fd;

    (void)state;
    world_init(&w);
    disk_make(&w, "a");
    g = disk_run_vm(&w, "a", "YQ==.img");
    export_request(&rq, "a");
    fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    client_call(&w, "ExportDiskImage", WORLD_UID, &rq.base, &fd, 1, &call);
    assert_int_equal(export_reply(&call)->status, DISK_STATUS(FAILED));
    assert_non_null(strstr(export_reply(&call)->failure_reason, "runs"));
    client_call_done(&call);
    disk_export(&w, "a", true, uuid);
    assert_non_null(strstr(workers_last(&w)->args, "--force"));
    world_run(&w, 100);
    disk_stop_vm(&w, "a", g);
    world_done(&w);
}

static void
bad_descriptors_are_refused(void **state)
{
    VmTools__Concierge__ExportDiskImageRequest export;
    VmTools__Concierge__ImportDiskImageRequest import;
    struct client_call call;
    struct world w;
    int fd;

    (void)state;
    world_init(&w);
    disk_make(&w, "a");
    export_request(&export, "a");
    fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    client_call(&w, "ExportDiskImage", WORLD_UID, &export.base, &fd, 1, &call);
    assert_int_equal(export_reply(&call)->status, DISK_STATUS(FAILED));
    client_call_done(&call);
    export.generate_sha256_digest = true; /* without a place for it */
    fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    client_call(&w, "ExportDiskImage", WORLD_UID, &export.base, &fd, 1, &call);
    assert_int_equal(export_reply(&call)->status, DISK_STATUS(FAILED));
    assert_non_null(strstr(export_reply(&call)->failure_reason, "digest"));
    client_call_done(&call);
    export_request(&export, "none");
    fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    client_call(&w, "ExportDiskImage", WORLD_UID, &export.base, &fd, 1, &call);
    assert_int_equal(export_reply(&call)->status, DISK_STATUS(DOES_NOT_EXIST));
    client_call_done(&call);
    import_request(&import, "b");
    fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
    client_call(&w, "ImportDiskImage", WORLD_UID, &import.base, &fd, 1, &call);
    assert_int_equal(import_reply(&call)->status, DISK_STATUS(BAD_IMAGE));
    client_call_done(&call);
    fd = open("/", O_RDONLY | O_CLOEXEC);
    client_call(&w, "ImportDiskImage", WORLD_UID, &import.base, &fd, 1, &call);
    assert_int_equal(import_reply(&call)->status, DISK_STATUS(BAD_IMAGE));
    client_call_done(&call);
    world_done(&w);
}

static void
the_disk_of_a_running_vm_is_not_imported_over(void **state)
{
    VmTools__Concierge__ImportDiskImageRequest rq;
    struct client_call call;
    struct guest *g;
    struct world w;
    int fd;

    (void)state;
    world_init(&w);
    disk_make(&w, "a");
    g = disk_run_vm(&w, "b", "YQ==.img");
    import_request(&rq, "a");
    fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    client_call(&w, "ImportDiskImage", WORLD_UID, &rq.base, &fd, 1, &call);
    assert_int_equal(import_reply(&call)->status, DISK_STATUS(EXISTS));
    client_call_done(&call);
    disk_start(&w, "c", "none.img", &call); /* no image at all */
    assert_false(start_reply(&call)->success);
    client_call_done(&call);
    disk_stop_vm(&w, "b", g);
    world_done(&w);
}

static void
a_stopped_vm_is_renamed(void **state)
{
    static char to[] = "b", other[] = "c";
    char *params[] = {to};
    VmTools__Concierge__AdjustVmRequest rq;
    struct client_call call;
    struct guest *g;
    struct world w;

    (void)state;
    world_init(&w);
    disk_make(&w, "a");
    disk_make(&w, "c");
    (void)fake_disks_put(w.host, WORLD_OWNER, "YQ==.pflash", 4096);
    adjust_request(&rq, "a", params);
    expect_adjust(&w, &rq, NULL);
    assert_true(fake_disks_has(w.host, WORLD_OWNER, "Yg==.img"));
    assert_true(fake_disks_has(w.host, WORLD_OWNER, "Yg==.pflash"));
    assert_false(fake_disks_has(w.host, WORLD_OWNER, "YQ==.img"));
    expect_adjust(&w, &rq, "no disk");
    params[0] = other;
    adjust_request(&rq, "b", params);
    expect_adjust(&w, &rq, "taken");
    rq.operation = (char *)(uintptr_t) "memsize";
    expect_adjust(&w, &rq, "no such operation");
    params[0] = to;
    adjust_request(&rq, "c", params);
    g = disk_run_vm(&w, "c", "Yw==.img");
    expect_adjust(&w, &rq, "runs");
    client_call(&w, "AdjustVm", WORLD_UID, &rq.base, NULL, 0, &call);
    client_call_done(&call);
    disk_stop_vm(&w, "c", g);
    world_done(&w);
}

static void
a_disk_that_somebody_has_is_named_as_people_know_it(void **state)
{
    struct client_call call;
    struct world w;

    (void)state;
    world_init(&w);
    (void)fake_disks_put(w.host, WORLD_OWNER, "ZGF0YQ==.img", 4096);
    fake_disks_lock(w.host, WORLD_OWNER, "ZGF0YQ==.img", true);
    disk_start(&w, "a", "ZGF0YQ==.img", &call);
    expect_start_refused(&call, "disk data is in use");
    client_call_done(&call);
    world_done(&w);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_disk_that_somebody_has_is_named_as_people_know_it),
        cmocka_unit_test(a_disk_is_made_by_a_worker_and_told_with_its_path),
        cmocka_unit_test(options_of_a_disk_reach_the_worker),
        cmocka_unit_test(senseless_creations_are_refused),
        cmocka_unit_test(names_come_back_from_their_files),
        cmocka_unit_test(a_running_guest_tells_the_space_of_its_disk),
        cmocka_unit_test(destroying_a_disk_stops_its_vm_and_removes_all),
        cmocka_unit_test(a_disk_in_somebody_elses_hands_is_not_destroyed),
        cmocka_unit_test(an_export_tells_its_progress),
        cmocka_unit_test(the_disk_of_a_running_vm_is_exported_by_force_only),
        cmocka_unit_test(bad_descriptors_are_refused),
        cmocka_unit_test(the_disk_of_a_running_vm_is_not_imported_over),
        cmocka_unit_test(a_stopped_vm_is_renamed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
