/* SPDX-License-Identifier: BSD-3-Clause */
/* core/concierge/hotplug_usb.c - AttachUsbDevice, DetachUsbDevice, ListUsbDevices. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "concierge_service.pb-c.h"
#include "core/adapter/host.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/concierge/concierge_internal.h"
#include "core/concierge/handlers_internal.h"
#include "core/ipc/ipc.h"

typedef VmTools__Concierge__AttachUsbDeviceRequest attach_t;
typedef VmTools__Concierge__DetachUsbDeviceRequest detach_t;
typedef VmTools__Concierge__ListUsbDeviceRequest list_t;

/* Limits of the numbers, spec 10.1. */
#define NUMBER_MAX 255u
#define ID_MAX 65535u

static void
reply_attach(struct ipc_call *call, uint32_t port, const char *why)
{
    VmTools__Concierge__AttachUsbDeviceResponse response =
        VM_TOOLS__CONCIERGE__ATTACH_USB_DEVICE_RESPONSE__INIT;

    response.success = !why;
    response.guest_port = why ? 0 : port;
    response.reason = (char *)(uintptr_t)(why ? why : "");
    ipc_call_reply(call, &response.base, NULL, 0);
}

static void
answer_attach(struct hotplug_call *hc, const char *why)
{
    reply_attach(hc->call, (uint32_t)hc->index, why);
}

static int
check_numbers(const attach_t *rq, struct vmt_err *err)
{
    const struct {
        const char *name;
        uint32_t value, max;
    } numbers[] = {
        {"bus_number", rq->bus_number, NUMBER_MAX},
        {"port_number", rq->port_number, NUMBER_MAX},
        {"vendor_id", rq->vendor_id, ID_MAX},
        {"product_id", rq->product_id, ID_MAX},
    };

    for (size_t i = 0; i < VMT_ARRAY_SIZE(numbers); i++)
        if (numbers[i].value > numbers[i].max)
            return vmt_err_setx(err, EINVAL, "%s %u is greater than %u", numbers[i].name,
                                numbers[i].value, numbers[i].max);
    return 0;
}

/* The device itself says what it is; a caller who says something else means another. */
static int
check_device(struct concierge *c, const attach_t *rq, int fd, struct host_usb *ret_usb,
             struct vmt_err *err)
{
    struct host *host = c->config.host;
    int r = host->devices->usb_check(host, fd, ret_usb, err);

    if (r < 0)
        return r;
    if ((rq->vendor_id || rq->product_id) &&
        (rq->vendor_id != ret_usb->vendor || rq->product_id != ret_usb->product))
        return vmt_err_setx(err, EINVAL, "the device is %04x:%04x, not %04x:%04x",
                            ret_usb->vendor, ret_usb->product, rq->vendor_id,
                            rq->product_id);
    return 0;
}

/* The lowest free port; 0: none. */
static size_t
free_port(const struct vm_hotplug *h)
{
    for (size_t i = 1; i <= HYPERVISOR_USB_PORT_MAX; i++)
        if (!h->usb[i].at.used)
            return i;
    return 0;
}

static struct hotplug_call *
prepare_attach(struct concierge_vm *vm, struct ipc_call *call, const attach_t *rq,
               const struct host_usb *device, struct vmt_err *err)
{
    size_t port = free_port(vm->hotplug);

    if (port == 0) {
        (void)vmt_err_setx(err, ENOSPC, "all %u ports of the VM are in use",
                           HYPERVISOR_USB_PORT_MAX);
        return NULL;
    }
    vm->hotplug->usb_controller = true;
    vm->hotplug->usb[port] = (struct plugged_usb){.bus = rq->bus_number,
                                                  .port = rq->port_number,
                                                  .vendor = device->vendor,
                                                  .product = device->product};
    return hotplug_attach(vm, call, &vm->hotplug->usb[port].at, port, err);
}

static void
attach(struct concierge *c, struct ipc_call *call, const attach_t *rq, int fd)
{
    const struct hypervisor_ops *ops = c->config.hypervisor->ops;
    struct concierge_vm *vm = NULL;
    struct hotplug_call *hc = NULL;
    struct host_usb device = {0};
    struct vmt_err err = {0};
    int r = hotplug_find(c, rq->owner_id, rq->vm_name, HYPERVISOR_CAP_USB, "USB devices",
                         &vm, &err);

    if (r == 0)
        r = check_numbers(rq, &err);
    if (r == 0)
        r = check_device(c, rq, fd, &device, &err);
    if (r == 0)
        hc = prepare_attach(vm, call, rq, &device, &err);
    if (!hc) {
        reply_attach(call, 0, err.msg);
        return;
    }
    hc->answer = answer_attach;
    r = ops->usb_attach(vm->hv, (unsigned)hc->index, fd, hotplug_on_done, hc);
    hotplug_asked(hc, r);
}

void
concierge_handle_attach_usb_device(void *ctx, struct ipc_call *call,
                                   const ProtobufCMessage *message)
{
    struct concierge *c = ctx;
    struct host *host = c->config.host;
    int fd = -1;

    (void)ipc_call_take_fds(call, &fd, 1);
    attach(c, call, (const attach_t *)message, fd);
    host->files->close(host, fd);
}

/* The device in a port, or NULL with words. */
static struct plugged_usb *
find(struct concierge_vm *vm, uint32_t port, struct vmt_err *err)
{
    struct plugged_usb *usb =
        port <= HYPERVISOR_USB_PORT_MAX ? &vm->hotplug->usb[port] : NULL;

    if (port > NUMBER_MAX)
        (void)vmt_err_setx(err, EINVAL, "guest_port %u is greater than %u", port,
                           NUMBER_MAX);
    else if (!usb || !usb->at.used)
        (void)vmt_err_setx(err, ENOENT, "port %u of the VM is empty", port);
    else if (usb->at.busy)
        (void)vmt_err_setx(err, EBUSY, "port %u of the VM is being changed", port);
    else
        return usb;
    return NULL;
}

void
concierge_handle_detach_usb_device(void *ctx, struct ipc_call *call,
                                   const ProtobufCMessage *message)
{
    const detach_t *rq = (const detach_t *)message;
    struct concierge *c = ctx;
    struct concierge_vm *vm = NULL;
    struct hotplug_call *hc = NULL;
    struct plugged_usb *usb = NULL;
    struct vmt_err err = {0};
    int r = hotplug_find(c, rq->owner_id, rq->vm_name, HYPERVISOR_CAP_USB, "USB devices",
                         &vm, &err);

    if (r == 0)
        usb = find(vm, rq->guest_port, &err);
    if (usb)
        hc = hotplug_detach(vm, call, &usb->at, rq->guest_port, &err);
    if (!hc) {
        reply_success(call, err.msg);
        return;
    }
    r = c->config.hypervisor->ops->usb_detach(vm->hv, rq->guest_port, hotplug_on_done,
                                              hc);
    hotplug_asked(hc, r);
}

/* spec 10.1: device_name is never filled. */
void
concierge_handle_list_usb_devices(void *ctx, struct ipc_call *call,
                                  const ProtobufCMessage *message)
{
    const list_t *rq = (const list_t *)message;
    VmTools__Concierge__ListUsbDeviceResponse response =
        VM_TOOLS__CONCIERGE__LIST_USB_DEVICE_RESPONSE__INIT;
    VmTools__Concierge__UsbDeviceMessage devices[HYPERVISOR_USB_PORT_MAX];
    VmTools__Concierge__UsbDeviceMessage *list[HYPERVISOR_USB_PORT_MAX];
    const struct concierge_vm *vm = vm_find(ctx, rq->owner_id, rq->vm_name);
    const struct vm_hotplug *h = vm ? vm->hotplug : NULL;

    response.success = vm != NULL;
    response.usb_devices = list;
    for (uint32_t i = 1; h && i <= HYPERVISOR_USB_PORT_MAX; i++) {
        VmTools__Concierge__UsbDeviceMessage *d = &devices[response.n_usb_devices];

        if (!h->usb[i].at.used)
            continue;
        vm_tools__concierge__usb_device_message__init(d);
        d->guest_port = i;
        d->vendor_id = h->usb[i].vendor;
        d->product_id = h->usb[i].product;
        list[response.n_usb_devices++] = d;
    }
    ipc_call_reply(call, &response.base, NULL, 0);
}
