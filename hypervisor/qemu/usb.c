/* SPDX-License-Identifier: BSD-3-Clause */
/* hypervisor/qemu/usb.c - devices of the host in ports of an emulated xHCI controller,
 * which is plugged with the first of them: a VM that never has one pays nothing.
 *
 * Source: QEMU 7.2, hw/usb/host-libusb.c: usb-host with hostdevice=PATH opens the path,
 * also one of an fd set, and hands the descriptor to libusb; it fails at once when that
 * is no device of usbfs. hw/usb/hcd-xhci.h: at most 15 ports of each speed, so the 16th
 * needs a second controller. */
#include <errno.h>
#include <stdio.h>

#include "core/base/cleanup.h"
#include "hypervisor/qemu/blockdev_internal.h"
#include "hypervisor/qemu/job_internal.h"
#include "hypervisor/qemu/qemu_internal.h"
#include "hypervisor/qemu/vm_internal.h"

#define XHCI_PORTS 15u

static unsigned
controller_of(unsigned port)
{
    return (port - 1) / XHCI_PORTS;
}

static json_t *
fdset_id(const struct qemu_job *job)
{
    return json_pack("{s:I}", "fdset-id", (json_int_t)(QEMU_FDSET_USB + job->port));
}

static json_t *
device_id(const struct qemu_job *job)
{
    return json_pack("{s:s}", "id", job->device);
}

static json_t *
controller_device(const struct qemu_job *job)
{
    char id[32], bus[16];

    (void)snprintf(id, sizeof(id), "slot%u-usb%u", job->slot, controller_of(job->port));
    (void)snprintf(bus, sizeof(bus), "rp%u", job->slot);
    return json_pack("{s:s,s:s,s:s,s:i,s:i}", "driver", "qemu-xhci", "id", id, "bus", bus,
                     "p2", (int)XHCI_PORTS, "p3", (int)XHCI_PORTS);
}

static json_t *
host_device(const struct qemu_job *job)
{
    char bus[32], port[16], path[32];

    (void)snprintf(bus, sizeof(bus), "slot%u-usb%u.0", job->slot,
                   controller_of(job->port));
    (void)snprintf(port, sizeof(port), "%u", (job->port - 1) % XHCI_PORTS + 1);
    (void)snprintf(path, sizeof(path), "/dev/fdset/%u", QEMU_FDSET_USB + job->port);
    return json_pack("{s:s,s:s,s:s,s:s,s:s}", "driver", "usb-host", "id", job->device,
                     "bus", bus, "port", port, "hostdevice", path);
}

static bool
needs_controller(const struct qemu_job *job)
{
    return job->peripheral.usb_slot[controller_of(job->port)] == 0;
}

static int
check_port(const struct qemu_job *job, struct vmt_err *err)
{
    if (job->port < 1 || job->port > HYPERVISOR_USB_PORT_MAX)
        return vmt_err_setx(err, EINVAL, "there is no port %u", job->port);
    if (qemu_job_is_repeated(job))
        return vmt_err_setx(err, EBUSY, "another device is being plugged or unplugged");
    return 0;
}

static int
plan_attach(struct qemu_job *job, struct vmt_err *err)
{
    int r = check_port(job, err), slot;

    if (r < 0)
        return r;
    if (job->peripheral.usb_ports & 1u << job->port)
        return vmt_err_setx(err, EEXIST, "port %u is in use", job->port);
    slot = (int)job->peripheral.usb_slot[controller_of(job->port)];
    if (slot == 0)
        slot = qemu_peripheral_choose(&job->peripheral, 0, qemu_job_reserved(job));
    if (slot < 0)
        return vmt_err_setx(err, -slot, "no slot is free for the USB controller");
    job->slot = (unsigned)slot;
    (void)snprintf(job->device, sizeof(job->device), "usb%u", job->port);
    return 0;
}

static int
plan_detach(struct qemu_job *job, struct vmt_err *err)
{
    int r = check_port(job, err);

    if (r < 0)
        return r;
    if (!(job->peripheral.usb_ports & 1u << job->port))
        return vmt_err_setx(err, ENOENT, "port %u is empty", job->port);
    (void)snprintf(job->device, sizeof(job->device), "usb%u", job->port);
    return 0;
}

static const struct qemu_job_step tidy_steps[] = {
    {.command = "remove-fd", .arguments = fdset_id, .optional = true},
    QEMU_JOB_END,
};

static const struct qemu_job_step attach_steps[] = {
    {.command = "remove-fd", .arguments = fdset_id, .optional = true},
    {.command = "add-fd", .arguments = fdset_id, .with_fd = true},
    {.command = "device_add", .arguments = controller_device, .needed = needs_controller},
    {.command = "device_add", .arguments = host_device},
    QEMU_JOB_END,
};

static const struct qemu_job_step detach_steps[] = {
    {.command = "device_del", .arguments = device_id},
    {.needed = qemu_job_waits},
    {.command = "remove-fd", .arguments = fdset_id, .optional = true},
    QEMU_JOB_END,
};

static const struct qemu_job_kind attach_kind = {
    .what = "attach a USB device",
    .plan = plan_attach,
    .steps = attach_steps,
    .undo = tidy_steps,
};
static const struct qemu_job_kind detach_kind = {
    .what = "detach a USB device", .plan = plan_detach, .steps = detach_steps};

/* One at a time: two first ones would bring two controllers. */
static void
set_subject(struct qemu_job *job)
{
    (void)snprintf(job->subject, sizeof(job->subject), "usb");
}

int
qemu_vm_usb_attach(struct hypervisor_vm *vm, unsigned port, int fd,
                   hypervisor_done_fn *done, void *arg)
{
    VMT_CLEANUP(qemu_job_freep) struct qemu_job *job = qemu_job_new(vm, &attach_kind);
    int r;

    if (!job)
        return -ENOMEM;
    set_subject(job);
    job->port = port;
    job->done = done;
    job->arg = arg;
    r = qemu_job_fd(job, fd);
    return r < 0 ? r : qemu_job_start(vmt_take_ptr(&job));
}

int
qemu_vm_usb_detach(struct hypervisor_vm *vm, unsigned port, hypervisor_done_fn *done,
                   void *arg)
{
    struct qemu_job *job = qemu_job_new(vm, &detach_kind);

    if (!job)
        return -ENOMEM;
    set_subject(job);
    job->port = port;
    job->done = done;
    job->arg = arg;
    return qemu_job_start(job);
}
