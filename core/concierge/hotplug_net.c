/* SPDX-License-Identifier: BSD-3-Clause */
/* core/concierge/hotplug_net.c - AttachNetDevice and DetachNetDevice. guest_bus is the
 * number that names the device in calls; where it sits in the guest is the guest's to
 * say. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "concierge_service.pb-c.h"
#include "core/adapter/host.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/concierge/concierge_internal.h"
#include "core/concierge/handlers_internal.h"
#include "core/ipc/ipc.h"

typedef VmTools__Concierge__AttachNetDeviceRequest attach_t;
typedef VmTools__Concierge__DetachNetDeviceRequest detach_t;

#define WHAT "network devices"
#define NIC_ID_MAX 16

static void
reply_attach(struct ipc_call *call, uint32_t bus, const char *why)
{
    VmTools__Concierge__AttachNetDeviceResponse response =
        VM_TOOLS__CONCIERGE__ATTACH_NET_DEVICE_RESPONSE__INIT;

    response.success = !why;
    response.guest_bus = why ? 0 : bus;
    response.failure_reason = (char *)(uintptr_t)(why ? why : "");
    ipc_call_reply(call, &response.base, NULL, 0);
}

static void
answer_attach(struct hotplug_call *hc, const char *why)
{
    reply_attach(hc->call, (uint32_t)hc->index, why);
}

/* The name of a device for the hypervisor. */
static const char *
nic_id(size_t bus, char id[NIC_ID_MAX])
{
    (void)snprintf(id, NIC_ID_MAX, "nic%zu", bus);
    return id;
}

static size_t
free_bus(const struct vm_hotplug *h)
{
    for (size_t i = 1; i <= HOTPLUG_NICS_MAX; i++)
        if (!h->nics[i].at.used)
            return i;
    return 0;
}

/* A tap that is ours already, or no tap, is refused by the host. */
static struct hotplug_call *
prepare_attach(struct concierge_vm *vm, struct ipc_call *call, const attach_t *rq,
               struct vmt_err *err)
{
    size_t bus = free_bus(vm->hotplug);
    struct plugged_nic *nic = &vm->hotplug->nics[bus];

    if (bus == 0) {
        (void)vmt_err_setx(err, ENOSPC, "the VM has no room for more " WHAT);
        return NULL;
    }
    (void)snprintf(nic->tap, sizeof(nic->tap), "%s", rq->tap_name);
    return hotplug_attach(vm, call, &nic->at, bus, err);
}

/* 52:54:00 is what QEMU's devices are known by: locally administered, not multicast. */
static int
make_nic(struct concierge *c, int tap_fd, struct hypervisor_nic *ret_nic,
         struct vmt_err *err)
{
    struct host *host = c->config.host;

    *ret_nic = (struct hypervisor_nic){.tap_fd = tap_fd, .mac = {0x52, 0x54, 0x00}};
    return host->facts->random(host, ret_nic->mac + 3, 3, err);
}

static void
plug(struct concierge_vm *vm, struct hotplug_call *hc, struct hypervisor_nic *nic)
{
    const struct hypervisor_ops *ops = vm->c->config.hypervisor->ops;
    char id[NIC_ID_MAX];
    int r;

    nic->id = nic_id(hc->index, id);
    hc->answer = answer_attach;
    r = ops->nic_add(vm->hv, nic, hotplug_on_done, hc);
    hotplug_asked(hc, r);
}

void
concierge_handle_attach_net_device(void *ctx, struct ipc_call *call,
                                   const ProtobufCMessage *message)
{
    const attach_t *rq = (const attach_t *)message;
    struct concierge *c = ctx;
    struct host *host = c->config.host;
    struct concierge_vm *vm = NULL;
    struct hotplug_call *hc = NULL;
    struct hypervisor_nic nic;
    struct vmt_err err = {0};
    int fd = -1;
    int r = hotplug_find(c, rq->owner_id, rq->vm_name, HYPERVISOR_CAP_NIC_HOTPLUG, WHAT,
                         &vm, &err);

    if (r == 0)
        r = host->devices->tap_open(host, rq->tap_name, ipc_call_caller(call)->uid, &fd,
                                    &err);
    if (r == 0)
        r = make_nic(c, fd, &nic, &err);
    if (r == 0)
        hc = prepare_attach(vm, call, rq, &err);
    if (hc)
        plug(vm, hc, &nic);
    else
        reply_attach(call, 0, err.msg);
    host->files->close(host, fd);
}

/* The device of a number, or NULL with words. */
static struct plugged_nic *
find(struct concierge_vm *vm, uint32_t bus, struct vmt_err *err)
{
    struct plugged_nic *nic = bus <= HOTPLUG_NICS_MAX ? &vm->hotplug->nics[bus] : NULL;

    if (bus < 1 || bus > 255)
        (void)vmt_err_setx(err, EINVAL, "guest_bus %u is not 1 to 255", bus);
    else if (!nic || !nic->at.used)
        (void)vmt_err_setx(err, ENOENT, "nothing was attached as %u", bus);
    else if (nic->at.busy)
        (void)vmt_err_setx(err, EBUSY, "it is being attached or detached");
    else
        return nic;
    return NULL;
}

void
concierge_handle_detach_net_device(void *ctx, struct ipc_call *call,
                                   const ProtobufCMessage *message)
{
    const detach_t *rq = (const detach_t *)message;
    struct concierge *c = ctx;
    struct concierge_vm *vm = NULL;
    struct hotplug_call *hc = NULL;
    struct plugged_nic *nic = NULL;
    struct vmt_err err = {0};
    char id[NIC_ID_MAX];
    int r = hotplug_find(c, rq->owner_id, rq->vm_name, HYPERVISOR_CAP_NIC_HOTPLUG, WHAT,
                         &vm, &err);

    if (r == 0)
        nic = find(vm, rq->guest_bus, &err);
    if (nic)
        hc = hotplug_detach(vm, call, &nic->at, rq->guest_bus, &err);
    if (!hc) {
        reply_success(call, err.msg);
        return;
    }
    r = c->config.hypervisor->ops->nic_remove(vm->hv, nic_id(hc->index, id),
                                              hotplug_on_done, hc);
    hotplug_asked(hc, r);
}
