/* SPDX-License-Identifier: BSD-3-Clause */
/* Devices that come and go while a VM runs. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "tests/fake/fake_disks.h"
#include "tests/fake/fake_host_devices.h"
#include "tests/unit/concierge/guest.h"
#include "tests/unit/test.h"
#include "vmt_hotplug.pb-c.h"
#include "vmt_snapshot.pb-c.h"

typedef VmTools__Concierge__AttachUsbDeviceRequest usb_request;
typedef VmTools__Concierge__AttachUsbDeviceResponse usb_response;
typedef VmTools__Concierge__ListUsbDeviceResponse usb_list;
typedef VmTools__Concierge__AttachNetDeviceResponse net_response;

struct fixture {
    struct world w;
    struct guest *g;
};

static int
setup(void **state)
{
    static struct fixture f;

    memset(&f, 0, sizeof(f));
    *state = &f;
    fake_host_set_usb(0, 0x18d1, 0x4ee7);
    world_init(&f.w);
    f.g = world_run_vm(&f.w, "demo");
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;
    struct client_call call;

    client_stop(&f->w, "demo", &call);
    world_run(&f->w, 200000);
    assert_true(stop_reply(&call)->success);
    client_call_done(&call);
    guest_free(f->g);
    world_done(&f->w);
    return 0;
}

static char *
text(const char *s)
{
    return (char *)(uintptr_t)s;
}

static struct fake_process *
process(struct fixture *f)
{
    return fake_hypervisor_find(f->w.hv, "demo");
}

static usb_request
usb_for(const char *name)
{
    usb_request rq;

    vm_tools__concierge__attach_usb_device_request__init(&rq);
    rq.vm_name = text(name);
    rq.owner_id = text(WORLD_OWNER);
    rq.bus_number = 1;
    rq.port_number = 2;
    rq.vendor_id = 0x18d1;
    rq.product_id = 0x4ee7;
    return rq;
}

/* The call may still wait afterwards. */
static void
begin_attach_usb(struct fixture *f, const usb_request *rq, struct client_call *call)
{
    int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

    client_call(&f->w, "AttachUsbDevice", WORLD_UID, &rq->base, &fd, 1, call);
}

/* Returns the guest's port; words of the failure have to hold why otherwise. */
static uint32_t
attach_usb(struct fixture *f, const usb_request *rq, const char *why)
{
    const usb_response *reply;
    struct client_call call;
    uint32_t port;

    begin_attach_usb(f, rq, &call);
    world_run(&f->w, 100);
    assert_int_equal(call.answers, 1);
    reply = (const usb_response *)call.reply;
    assert_int_equal(reply->success, why == NULL);
    if (why && !strstr(reply->reason, why))
        fail_msg("\"%s\" does not say \"%s\"", reply->reason, why);
    port = reply->guest_port;
    client_call_done(&call);
    return port;
}

static void
expect_stop_reply(struct fixture *f, struct client_call *call, const char *why)
{
    world_run(&f->w, 100);
    assert_int_equal(call->answers, 1);
    assert_int_equal(stop_reply(call)->success, why == NULL);
    if (why && !strstr(stop_reply(call)->failure_reason, why))
        fail_msg("\"%s\" does not say \"%s\"", stop_reply(call)->failure_reason, why);
    client_call_done(call);
}

static void
detach_usb(struct fixture *f, uint32_t port, const char *why)
{
    VmTools__Concierge__DetachUsbDeviceRequest rq;
    struct client_call call;

    vm_tools__concierge__detach_usb_device_request__init(&rq);
    rq.vm_name = text("demo");
    rq.owner_id = text(WORLD_OWNER);
    rq.guest_port = port;
    client_call(&f->w, "DetachUsbDevice", WORLD_UID, &rq.base, NULL, 0, &call);
    expect_stop_reply(f, &call, why);
}

/* Ports in use, "1 2 "; the ids of every device are those of the fake. */
static void
expect_ports(struct fixture *f, const char *ports)
{
    VmTools__Concierge__ListUsbDeviceRequest rq;
    const usb_list *list;
    struct client_call call;
    char got[128] = "";

    vm_tools__concierge__list_usb_device_request__init(&rq);
    rq.vm_name = text("demo");
    rq.owner_id = text(WORLD_OWNER);
    client_call(&f->w, "ListUsbDevices", WORLD_UID, &rq.base, NULL, 0, &call);
    list = (const usb_list *)call.reply;
    assert_true(list->success);
    for (size_t i = 0; i < list->n_usb_devices; i++) {
        size_t used = strlen(got);

        (void)snprintf(got + used, sizeof(got) - used, "%u ",
                       list->usb_devices[i]->guest_port);
        assert_int_equal(list->usb_devices[i]->vendor_id, 0x18d1);
        assert_int_equal(list->usb_devices[i]->product_id, 0x4ee7);
    }
    assert_string_equal(got, ports);
    client_call_done(&call);
}

static void
a_usb_device_takes_the_lowest_port_and_leaves_it(void **state)
{
    struct fixture *f = *state;
    const usb_request rq = usb_for("demo");

    expect_ports(f, "");
    assert_int_equal(attach_usb(f, &rq, NULL), 1);
    assert_int_equal(attach_usb(f, &rq, NULL), 2);
    assert_true(fake_process_usb(process(f), 2) >= 0);
    expect_ports(f, "1 2 ");
    detach_usb(f, 1, NULL);
    assert_int_equal(fake_process_usb(process(f), 1), -1);
    detach_usb(f, 1, "port 1 of the VM is empty");
    expect_ports(f, "2 ");
    assert_int_equal(attach_usb(f, &rq, NULL), 1);
}

static void
the_seventeenth_device_finds_no_port(void **state)
{
    struct fixture *f = *state;
    const usb_request rq = usb_for("demo");

    for (uint32_t i = 1; i <= 16; i++)
        assert_int_equal(attach_usb(f, &rq, NULL), i);
    (void)attach_usb(f, &rq, "all 16 ports");
    expect_ports(f, "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 ");
}

static void
numbers_are_checked_after_the_vm(void **state)
{
    struct fixture *f = *state;
    usb_request rq = usb_for("nobody");

    rq.bus_number = 256;
    (void)attach_usb(f, &rq, "no such VM");
    rq.vm_name = text("demo");
    (void)attach_usb(f, &rq, "bus_number 256");
    rq = usb_for("demo");
    rq.port_number = 256;
    (void)attach_usb(f, &rq, "port_number 256");
    rq = usb_for("demo");
    rq.vendor_id = 65536;
    (void)attach_usb(f, &rq, "vendor_id 65536");
    rq = usb_for("demo");
    rq.product_id = 65536;
    (void)attach_usb(f, &rq, "product_id 65536");
    rq = usb_for("demo");
    rq.product_id = 1;
    (void)attach_usb(f, &rq, "the device is 18d1:4ee7, not 18d1:0001");
    detach_usb(f, 256, "guest_port 256");
    detach_usb(f, 17, "empty");
    detach_usb(f, 0, "empty");
    expect_ports(f, "");
}

static void
what_is_no_usb_device_goes_to_no_vm(void **state)
{
    struct fixture *f = *state;
    const usb_request rq = usb_for("demo");

    fake_host_set_usb(EINVAL, 0, 0);
    (void)attach_usb(f, &rq, "no USB device");
    assert_int_equal(fake_hypervisor_calls(f->w.hv)->ops[FAKE_OP_USB_ATTACH], 0);
    expect_ports(f, "");
}

static void
a_refusal_of_the_hypervisor_leaves_the_port_free(void **state)
{
    struct fixture *f = *state;
    const usb_request rq = usb_for("demo");

    fake_hypervisor_behaviour(f->w.hv)->fail[FAKE_OP_USB_ATTACH] = EIO;
    (void)attach_usb(f, &rq, "scripted failure");
    fake_hypervisor_behaviour(f->w.hv)->fail[FAKE_OP_USB_ATTACH] = 0;
    fake_hypervisor_behaviour(f->w.hv)->refuse[FAKE_OP_USB_ATTACH] = EBUSY;
    (void)attach_usb(f, &rq, "busy");
    fake_hypervisor_behaviour(f->w.hv)->refuse[FAKE_OP_USB_ATTACH] = 0;
    expect_ports(f, "");
    assert_int_equal(attach_usb(f, &rq, NULL), 1);
    fake_hypervisor_behaviour(f->w.hv)->fail[FAKE_OP_USB_DETACH] = EIO;
    detach_usb(f, 1, "scripted failure");
    expect_ports(f, "1 ");
}

static void
a_hung_hypervisor_keeps_only_its_own_callers_waiting(void **state)
{
    struct fixture *f = *state;
    const usb_request rq = usb_for("demo");
    struct client_call call;

    fake_process_freeze(process(f));
    begin_attach_usb(f, &rq, &call);
    world_run(&f->w, 1000);
    assert_int_equal(call.answers, 0);
    assert_int_equal(client_status(&f->w, "demo"),
                     VM_TOOLS__CONCIERGE__VM_STATUS__VM_STATUS_RUNNING);
    detach_usb(f, 1, "being changed");
    fake_process_thaw(process(f));
    world_run(&f->w, 100);
    assert_int_equal(call.answers, 1);
    assert_true(((const usb_response *)call.reply)->success);
    client_call_done(&call);
}

static void
an_end_of_the_vm_answers_who_waits(void **state)
{
    struct fixture *f = *state;
    const usb_request rq = usb_for("demo");
    struct client_call call;

    fake_process_freeze(process(f));
    begin_attach_usb(f, &rq, &call);
    fake_process_exit(process(f), HYPERVISOR_EXIT_KILLED, "");
    world_run(&f->w, 30000);
    assert_int_equal(call.answers, 1);
    assert_false(((const usb_response *)call.reply)->success);
    client_call_done(&call);
    guest_free(f->g);
    f->g = world_run_vm(&f->w, "demo");
}

static void
plugged_devices_survive_the_daemon(void **state)
{
    struct fixture *f = *state;
    const usb_request rq = usb_for("demo");

    assert_int_equal(attach_usb(f, &rq, NULL), 1);
    assert_int_equal(attach_usb(f, &rq, NULL), 2);
    detach_usb(f, 1, NULL);
    world_kill_daemon(&f->w);
    world_start_daemon(&f->w);
    world_run(&f->w, 1000);
    expect_ports(f, "2 ");
    assert_int_equal(attach_usb(f, &rq, NULL), 1);
    detach_usb(f, 2, NULL);
    expect_ports(f, "1 ");
}

static void
begin_attach_disk(struct fixture *f, const Vmt__AttachDiskRequest *rq, int fd,
                  struct client_call *call)
{
    client_call(&f->w, "AttachDisk", WORLD_UID, &rq->base, &fd, fd >= 0, call);
}

static Vmt__AttachDiskRequest
disk_for(const char *path)
{
    Vmt__AttachDiskRequest rq;

    vmt__attach_disk_request__init(&rq);
    rq.name = text("demo");
    rq.owner_id = text(WORLD_OWNER);
    rq.path = text(path);
    return rq;
}

/* The serial that it got, or words of why. */
static void
attach_disk(struct fixture *f, const Vmt__AttachDiskRequest *rq, int fd,
            const char *serial, const char *why)
{
    const Vmt__AttachDiskResponse *reply;
    struct client_call call;

    begin_attach_disk(f, rq, fd, &call);
    world_run(&f->w, 100);
    assert_int_equal(call.answers, 1);
    reply = (const Vmt__AttachDiskResponse *)call.reply;
    if (why && !strstr(reply->failure_reason, why))
        fail_msg("\"%s\" does not say \"%s\"", reply->failure_reason, why);
    if (!why)
        assert_string_equal(reply->failure_reason, "");
    assert_int_equal(reply->success, why == NULL);
    assert_string_equal(reply->serial, serial);
    client_call_done(&call);
}

static void
detach_disk(struct fixture *f, const char *serial, const char *why)
{
    Vmt__DetachDiskRequest rq;
    struct client_call call;

    vmt__detach_disk_request__init(&rq);
    rq.name = text("demo");
    rq.owner_id = text(WORLD_OWNER);
    rq.serial = text(serial);
    client_call(&f->w, "DetachDisk", WORLD_UID, &rq.base, NULL, 0, &call);
    expect_stop_reply(f, &call, why);
}

static void
a_disk_by_path_is_known_by_its_serial(void **state)
{
    struct fixture *f = *state;
    Vmt__AttachDiskRequest rq = disk_for("/img/a");

    fake_host_add_image(f->w.host, "/img/a");
    attach_disk(f, &rq, -1, "plug1", NULL);
    assert_true(fake_process_disk(process(f), "plug1")->read_only);
    rq.writable = rq.qcow2 = true;
    attach_disk(f, &rq, -1, "plug2", NULL);
    assert_false(fake_process_disk(process(f), "plug2")->read_only);
    assert_true(fake_process_disk(process(f), "plug2")->qcow2);
    rq.serial = text("mine");
    attach_disk(f, &rq, -1, "mine", NULL);
    attach_disk(f, &rq, -1, "", "has a disk of this serial");
    detach_disk(f, "plug1", NULL);
    assert_null(fake_process_disk(process(f), "plug1"));
    detach_disk(f, "plug1", "no disk of this serial");
    rq.serial = text("");
    attach_disk(f, &rq, -1, "plug1", NULL);
}

/* Its format follows from its name, and it has one user. */
static void
an_image_of_the_owners_folder_is_locked_for_the_vm(void **state)
{
    static const char path[] = "/data/vms/" WORLD_OWNER "/YQ==.qcow2";
    struct fixture *f = *state;
    Vmt__AttachDiskRequest rq = disk_for(path);

    rq.writable = true;
    attach_disk(f, &rq, -1, "", "YQ==.qcow2");
    (void)fake_disks_put(f->w.host, WORLD_OWNER, "YQ==.qcow2", 4096);
    fake_disks_lock(f->w.host, WORLD_OWNER, "YQ==.qcow2", true);
    attach_disk(f, &rq, -1, "", "in use");
    fake_disks_lock(f->w.host, WORLD_OWNER, "YQ==.qcow2", false);
    attach_disk(f, &rq, -1, "plug1", NULL);
    assert_true(fake_process_disk(process(f), "plug1")->qcow2);
    rq.path = text("/data/vms/" WORLD_OWNER "/YQ==.pflash");
    attach_disk(f, &rq, -1, "", "no disk image");
}

static void
bad_disks_are_refused(void **state)
{
    struct fixture *f = *state;
    Vmt__AttachDiskRequest rq = disk_for("/nothing");
    int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

    fake_host_add_image(f->w.host, "/img/a");
    attach_disk(f, &rq, -1, "", "/nothing");
    attach_disk(f, &rq, fd, "", "either the path");
    rq.path = text("");
    attach_disk(f, &rq, -1, "", "either the path");
    rq.path = text("/img/a");
    rq.serial = text("123456789012345678901");
    attach_disk(f, &rq, -1, "", "more than 20 characters");
    rq.serial = text("a\nb");
    attach_disk(f, &rq, -1, "", "not printable");
    rq.serial = text("rootfs");
    attach_disk(f, &rq, -1, "", "has a disk of this serial");
    rq = disk_for("/img/a");
    rq.name = text("nobody");
    attach_disk(f, &rq, -1, "", "no such VM");
}

static void
what_came_too_late_can_be_taken_out(void **state)
{
    struct fixture *f = *state;
    Vmt__AttachDiskRequest rq = disk_for("/img/a");

    fake_host_add_image(f->w.host, "/img/a");
    fake_hypervisor_behaviour(f->w.hv)->fail[FAKE_OP_DISK_ADD] = ETIMEDOUT;
    attach_disk(f, &rq, -1, "", "scripted failure");
    fake_hypervisor_behaviour(f->w.hv)->fail[FAKE_OP_DISK_ADD] = 0;
    attach_disk(f, &rq, -1, "plug2", NULL);      /* plug1 may be there */
    detach_disk(f, "plug1", "scripted failure"); /* it is not */
    detach_disk(f, "plug1", "no disk of this serial");
    attach_disk(f, &rq, -1, "plug1", NULL);
}

/* Also one that the guest was started with. */
static void
only_attached_disks_are_detached_and_only_with_consent(void **state)
{
    struct fixture *f = *state;
    Vmt__AttachDiskRequest rq = disk_for("/img/a");

    fake_host_add_image(f->w.host, "/img/a");
    detach_disk(f, "rootfs", "no disk of this serial");
    attach_disk(f, &rq, -1, "plug1", NULL);
    fake_process_set_consent(process(f), false);
    detach_disk(f, "plug1", "scripted failure");
    assert_non_null(fake_process_disk(process(f), "plug1"));
    fake_process_set_consent(process(f), true);
    world_kill_daemon(&f->w);
    world_start_daemon(&f->w);
    world_run(&f->w, 1000);
    detach_disk(f, "plug1", NULL);
}

static uint32_t
attach_net(struct fixture *f, uint32_t uid, const char *tap, const char *why)
{
    VmTools__Concierge__AttachNetDeviceRequest rq;
    const net_response *reply;
    struct client_call call;
    uint32_t bus;

    vm_tools__concierge__attach_net_device_request__init(&rq);
    rq.vm_name = text("demo");
    rq.owner_id = text(WORLD_OWNER);
    rq.tap_name = text(tap);
    client_call(&f->w, "AttachNetDevice", uid, &rq.base, NULL, 0, &call);
    world_run(&f->w, 100);
    reply = (const net_response *)call.reply;
    assert_int_equal(reply->success, why == NULL);
    if (why && !strstr(reply->failure_reason, why))
        fail_msg("\"%s\" does not say \"%s\"", reply->failure_reason, why);
    bus = reply->guest_bus;
    client_call_done(&call);
    return bus;
}

static void
detach_net(struct fixture *f, uint32_t bus, const char *why)
{
    VmTools__Concierge__DetachNetDeviceRequest rq;
    struct client_call call;

    vm_tools__concierge__detach_net_device_request__init(&rq);
    rq.vm_name = text("demo");
    rq.owner_id = text(WORLD_OWNER);
    rq.guest_bus = bus;
    client_call(&f->w, "DetachNetDevice", WORLD_UID, &rq.base, NULL, 0, &call);
    expect_stop_reply(f, &call, why);
}

static void
a_tap_comes_and_goes_by_its_number(void **state)
{
    struct fixture *f = *state;
    const struct fake_nic *nic;

    (void)attach_net(f, WORLD_UID, "eth0", "there is no tap eth0");
    assert_int_equal(attach_net(f, WORLD_UID, FAKE_TAP, NULL), 1);
    nic = fake_process_nic(process(f), "nic1");
    assert_non_null(nic);
    assert_int_equal(nic->mac[0], 0x52);
    detach_net(f, 2, "nothing was attached as 2");
    detach_net(f, 0, "not 1 to 255");
    detach_net(f, 256, "not 1 to 255");
    detach_net(f, 1, NULL);
    assert_null(fake_process_nic(process(f), "nic1"));
    assert_int_equal(attach_net(f, WORLD_UID, FAKE_TAP, NULL), 1);
}

static void
expect_no_snapshot(struct fixture *f, const char *why)
{
    Vmt__CreateSnapshotRequest rq;
    const Vmt__CreateSnapshotResponse *reply;
    struct client_call call;

    vmt__create_snapshot_request__init(&rq);
    rq.owner_id = text(WORLD_OWNER);
    rq.vm_name = text("demo");
    rq.snapshot_name = text("one");
    client_call(&f->w, "CreateSnapshot", WORLD_UID, &rq.base, NULL, 0, &call);
    assert_int_equal(call.answers, 1);
    reply = (const Vmt__CreateSnapshotResponse *)call.reply;
    assert_false(reply->success);
    if (!strstr(reply->failure_reason, why))
        fail_msg("\"%s\" does not say \"%s\"", reply->failure_reason, why);
    client_call_done(&call);
}

/* Its state would not fit a VM that is started without them. */
static void
a_vm_with_plugged_devices_has_no_snapshots(void **state)
{
    struct fixture *f = *state;
    Vmt__AttachDiskRequest rq = disk_for("/img/a");
    const usb_request usb = usb_for("demo");

    fake_host_add_image(f->w.host, "/img/a");
    attach_disk(f, &rq, -1, "plug1", NULL);
    expect_no_snapshot(f, "detach them");
    detach_disk(f, "plug1", NULL);
    assert_int_equal(attach_usb(f, &usb, NULL), 1);
    detach_usb(f, 1, NULL);
    /* The controller is there for good, also for an heir. */
    world_kill_daemon(&f->w);
    world_start_daemon(&f->w);
    world_run(&f->w, 1000);
    expect_no_snapshot(f, "only a new start helps");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_usb_device_takes_the_lowest_port_and_leaves_it),
        TEST(the_seventeenth_device_finds_no_port),
        TEST(numbers_are_checked_after_the_vm),
        TEST(what_is_no_usb_device_goes_to_no_vm),
        TEST(a_refusal_of_the_hypervisor_leaves_the_port_free),
        TEST(a_hung_hypervisor_keeps_only_its_own_callers_waiting),
        TEST(an_end_of_the_vm_answers_who_waits),
        TEST(plugged_devices_survive_the_daemon),
        TEST(a_disk_by_path_is_known_by_its_serial),
        TEST(an_image_of_the_owners_folder_is_locked_for_the_vm),
        TEST(bad_disks_are_refused),
        TEST(what_came_too_late_can_be_taken_out),
        TEST(only_attached_disks_are_detached_and_only_with_consent),
        TEST(a_tap_comes_and_goes_by_its_number),
        TEST(a_vm_with_plugged_devices_has_no_snapshots),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
