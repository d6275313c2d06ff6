/* SPDX-License-Identifier: BSD-3-Clause */
/* hypervisor/qemu/plug.c - disks and network devices that come and go.
 *
 * Source: QEMU 7.2, qemu-qmp-ref(7): blockdev-add, device_add, device_del (which only
 * asks; DEVICE_DELETED tells), netdev_add, add-fd and getfd. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "hypervisor/qemu/blockdev_internal.h"
#include "hypervisor/qemu/cmdline_internal.h"
#include "hypervisor/qemu/job_internal.h"
#include "hypervisor/qemu/qemu_internal.h"
#include "hypervisor/qemu/vm_internal.h"

/* "slot<n>", which is the name of its node and of its netdev. */
static const char *
slot_name(const struct qemu_job *job, char name[16])
{
    (void)snprintf(name, 16, "slot%u", job->slot);
    return name;
}

static json_t *
node_name(const struct qemu_job *job)
{
    char name[16];

    return json_pack("{s:s}", "node-name", slot_name(job, name));
}

static json_t *
netdev_id(const struct qemu_job *job)
{
    char name[16];

    return json_pack("{s:s}", "id", slot_name(job, name));
}

static json_t *
fd_name(const struct qemu_job *job)
{
    char name[16];

    return json_pack("{s:s}", "fdname", slot_name(job, name));
}

static json_t *
fdset_id(const struct qemu_job *job)
{
    return json_pack("{s:I}", "fdset-id", (json_int_t)(QEMU_FDSET_SLOT + job->slot));
}

static json_t *
device_id(const struct qemu_job *job)
{
    return json_pack("{s:s}", "id", job->device);
}

static json_t *
disk_node(const struct qemu_job *job)
{
    struct hypervisor_disk disk = job->disk;

    disk.path = job->path;
    return qemu_blockdev_node(&disk, job->slot);
}

static json_t *
disk_device(const struct qemu_job *job)
{
    struct hypervisor_disk disk = job->disk;

    disk.serial = job->serial;
    return qemu_blockdev_device(&disk, job->slot, job->device);
}

static json_t *
tap_netdev(const struct qemu_job *job)
{
    char name[16];

    slot_name(job, name);
    return json_pack("{s:s,s:s,s:s,s:b}", "type", "tap", "id", name, "fd", name, "vhost",
                     false);
}

static json_t *
nic_device(const struct qemu_job *job)
{
    char netdev[16], bus[16], mac[3 * HYPERVISOR_MAC_LEN];
    const uint8_t *m = job->mac;

    (void)snprintf(bus, sizeof(bus), "rp%u", job->slot);
    (void)snprintf(mac, sizeof(mac), "%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2],
                   m[3], m[4], m[5]);
    return json_pack("{s:s,s:s,s:s,s:s,s:s,s:s}", "driver", "virtio-net-pci", "id",
                     job->device, "bus", bus, "netdev", slot_name(job, netdev), "mac",
                     mac, "romfile", "");
}

static bool
has_fd(const struct qemu_job *job)
{
    return job->fd >= 0;
}

/* Find a place for a device that must be new. */
static int
plan_new(struct qemu_job *job, struct vmt_err *err)
{
    int slot, n;

    if (job->peripheral.found)
        return vmt_err_setx(err, EEXIST, "the vm has one of this name");
    if (qemu_job_is_repeated(job))
        return vmt_err_setx(err, EBUSY, "it is being plugged or unplugged");
    slot = qemu_peripheral_choose(&job->peripheral, job->slot, qemu_job_reserved(job));
    if (slot < 0)
        return vmt_err_setx(err, -slot, "%s",
                            slot == -EBUSY ? "the slot is in use" : "no slot is free");
    job->slot = (unsigned)slot;
    n = snprintf(job->device, sizeof(job->device), "slot%d-%s", slot, job->subject);
    if (n < 0 || (size_t)n >= sizeof(job->device))
        return vmt_err_setx(err, EINVAL, "its name is too long");
    return 0;
}

static int
plan_disk(struct qemu_job *job, struct vmt_err *err)
{
    struct hypervisor_disk disk = job->disk;
    int r;

    disk.path = job->path;
    disk.fd = job->fd;
    disk.serial = job->serial;
    r = qemu_cmdline_check_disk(&disk, err);
    if (r == 0 && !job->serial[0])
        r = vmt_err_setx(err, EINVAL, "it needs a serial");
    if (r == 0)
        r = qemu_blockdev_check(&disk, err);
    return r < 0 ? r : plan_new(job, err);
}

static int
plan_gone(struct qemu_job *job, struct vmt_err *err)
{
    if (!job->peripheral.found)
        return vmt_err_setx(err, ENOENT, "the vm has none of this name");
    if (job->peripheral.slot == 0)
        return vmt_err_setx(err, EPERM, "it was there when the vm started");
    if (qemu_job_is_repeated(job))
        return vmt_err_setx(err, EBUSY, "it is being plugged or unplugged");
    job->slot = job->peripheral.slot;
    (void)snprintf(job->device, sizeof(job->device), "%s", job->peripheral.id);
    return 0;
}

/* What an earlier user of the slot left, because the guest let go of it only after our
 * patience or an earlier daemon had ended. */
#define LEFT_OVERS                                                                       \
    {.command = "netdev_del", .arguments = netdev_id, .optional = true},                 \
        {.command = "blockdev-del", .arguments = node_name, .optional = true},           \
    {                                                                                    \
        "remove-fd", fdset_id, .optional = true                                          \
    }

static const struct qemu_job_step tidy_steps[] = {LEFT_OVERS, QEMU_JOB_END};

static const struct qemu_job_step disk_add_steps[] = {
    LEFT_OVERS,
    {.command = "add-fd", .arguments = fdset_id, .with_fd = true, .needed = has_fd},
    {.command = "blockdev-add", .arguments = disk_node},
    {.command = "device_add", .arguments = disk_device},
    QEMU_JOB_END,
};

static const struct qemu_job_step nic_add_steps[] = {
    LEFT_OVERS,
    {.command = "getfd", .arguments = fd_name, .with_fd = true},
    {.command = "netdev_add", .arguments = tap_netdev},
    {.command = "device_add", .arguments = nic_device},
    QEMU_JOB_END,
};

static const struct qemu_job_step nic_undo_steps[] = {
    {.command = "netdev_del", .arguments = netdev_id, .optional = true},
    {.command = "closefd", .arguments = fd_name, .optional = true},
    QEMU_JOB_END,
};

static const struct qemu_job_step remove_steps[] = {
    {.command = "device_del", .arguments = device_id},
    {.needed = qemu_job_waits},
    LEFT_OVERS,
    QEMU_JOB_END,
};

static const struct qemu_job_kind disk_add_kind = {
    .what = "plug a disk",
    .plan = plan_disk,
    .steps = disk_add_steps,
    .undo = tidy_steps,
};
static const struct qemu_job_kind nic_add_kind = {
    .what = "plug a network device",
    .plan = plan_new,
    .steps = nic_add_steps,
    .undo = nic_undo_steps,
};
static const struct qemu_job_kind disk_remove_kind = {
    .what = "unplug a disk", .plan = plan_gone, .steps = remove_steps};
static const struct qemu_job_kind nic_remove_kind = {
    .what = "unplug a network device", .plan = plan_gone, .steps = remove_steps};
static const struct qemu_job_kind tidy_kind = {.what = "tidy a slot up",
                                               .steps = tidy_steps};

static void
set_disk_subject(struct qemu_job *job, const char *serial)
{
    qemu_peripheral_disk(serial, job->subject);
}

int
qemu_vm_disk_add(struct hypervisor_vm *vm, const struct hypervisor_disk *disk,
                 hypervisor_done_fn *done, void *arg)
{
    VMT_CLEANUP(qemu_job_freep) struct qemu_job *job = qemu_job_new(vm, &disk_add_kind);
    int r = 0;

    if (!job)
        return -ENOMEM;
    job->disk = *disk;
    job->disk.path = job->disk.serial = NULL;
    job->slot = disk->slot;
    job->done = done;
    job->arg = arg;
    /* One byte more than is allowed shows that there are too many. */
    (void)snprintf(job->serial, QEMU_DISK_SERIAL_MAX + 2, "%s",
                   disk->serial ? disk->serial : "");
    set_disk_subject(job, job->serial);
    if (disk->path) {
        job->path = strdup(disk->path);
        r = job->path ? 0 : -ENOMEM;
    } else {
        r = qemu_job_fd(job, disk->fd);
    }
    return r < 0 ? r : qemu_job_start(vmt_take_ptr(&job));
}

int
qemu_vm_nic_add(struct hypervisor_vm *vm, const struct hypervisor_nic *nic,
                hypervisor_done_fn *done, void *arg)
{
    VMT_CLEANUP(qemu_job_freep) struct qemu_job *job = qemu_job_new(vm, &nic_add_kind);
    int r;

    if (!job)
        return -ENOMEM;
    (void)snprintf(job->subject, sizeof(job->subject), "nic-%.*s", QEMU_NIC_ID_MAX,
                   nic->id);
    memcpy(job->mac, nic->mac, sizeof(job->mac));
    job->done = done;
    job->arg = arg;
    r = qemu_job_fd(job, nic->tap_fd);
    return r < 0 ? r : qemu_job_start(vmt_take_ptr(&job));
}

int
qemu_vm_disk_remove(struct hypervisor_vm *vm, const char *serial,
                    hypervisor_done_fn *done, void *arg)
{
    struct qemu_job *job = qemu_job_new(vm, &disk_remove_kind);

    if (!job)
        return -ENOMEM;
    set_disk_subject(job, serial);
    job->done = done;
    job->arg = arg;
    return qemu_job_start(job);
}

int
qemu_vm_nic_remove(struct hypervisor_vm *vm, const char *id, hypervisor_done_fn *done,
                   void *arg)
{
    struct qemu_job *job = qemu_job_new(vm, &nic_remove_kind);

    if (!job)
        return -ENOMEM;
    (void)snprintf(job->subject, sizeof(job->subject), "nic-%.*s", QEMU_NIC_ID_MAX, id);
    job->done = done;
    job->arg = arg;
    return qemu_job_start(job);
}

/* A device left that nobody waits for any more. */
void
qemu_plug_tidy(struct hypervisor_vm *vm, const char *device)
{
    unsigned slot = 0;
    struct qemu_job *job;

    if (sscanf(device, "slot%2u-", &slot) != 1 || slot == 0 || slot > QEMU_SLOTS_MAX)
        return;
    job = qemu_job_new(vm, &tidy_kind);
    if (!job)
        return;
    job->slot = slot;
    /* It is reserved meanwhile. */
    (void)snprintf(job->device, sizeof(job->device), "tidy");
    (void)qemu_job_start(job);
}
