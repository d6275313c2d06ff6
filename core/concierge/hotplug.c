/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/concierge/hotplug_internal.h"

#include <errno.h>
#include <stdlib.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/log.h"
#include "core/concierge/concierge_internal.h"
#include "core/concierge/snapshot_internal.h"
#include "core/ipc/ipc.h"

int
hotplug_make(struct concierge_vm *vm)
{
    if (vm->hotplug)
        return 0;
    vm->hotplug = calloc(1, sizeof(*vm->hotplug));
    if (!vm->hotplug)
        return -ENOMEM;
    vmt_list_init(&vm->hotplug->calls);
    return 0;
}

int
hotplug_find(struct concierge *c, const char *owner, const char *name,
             enum hypervisor_cap cap, const char *what, struct concierge_vm **ret_vm,
             struct vmt_err *err)
{
    const struct hypervisor_ops *ops = c->config.hypervisor->ops;
    struct concierge_vm *vm = vm_find(c, owner, name);

    if (!vm)
        return vmt_err_setx(err, ENOENT, "there is no such VM");
    if (!(ops->caps & cap))
        return vmt_err_setx(err, ENOTSUP, "%s passes no %s", ops->name, what);
    if (vm->state != VM_RUNNING || !vm->hv)
        return vmt_err_setx(err, EINVAL, "the VM does not run now");
    if (vm_snapshot_is_going_on(vm))
        return vmt_err_setx(err, EBUSY, "a snapshot of the VM is being made");
    if (hotplug_make(vm) < 0)
        return vmt_err_setx(err, ENOMEM, "out of memory");
    *ret_vm = vm;
    return 0;
}

static void
answer_detach(struct hotplug_call *hc, const char *why)
{
    reply_success(hc->call, why);
}

static struct hotplug_call *
wait_for(struct concierge_vm *vm, struct ipc_call *call, struct plugged *device,
         size_t index, struct vmt_err *err)
{
    struct hotplug_call *hc = calloc(1, sizeof(*hc));

    if (!hc) {
        (void)vmt_err_setx(err, ENOMEM, "out of memory");
        return NULL;
    }
    hc->vm = vm;
    hc->call = call;
    hc->device = device;
    hc->index = index;
    hc->answer = answer_detach;
    device->busy = true;
    vmt_list_append(&vm->hotplug->calls, &hc->node);
    return hc;
}

struct hotplug_call *
hotplug_attach(struct concierge_vm *vm, struct ipc_call *call, struct plugged *device,
               size_t index, struct vmt_err *err)
{
    struct hotplug_call *hc = NULL;

    device->used = true;
    if (vm_record_save(vm, err) == 0)
        hc = wait_for(vm, call, device, index, err);
    if (hc)
        hc->attach = true;
    else
        device->used = false;
    return hc;
}

struct hotplug_call *
hotplug_detach(struct concierge_vm *vm, struct ipc_call *call, struct plugged *device,
               size_t index, struct vmt_err *err)
{
    return wait_for(vm, call, device, index, err);
}

/* After an attempt to plug with this result: is the device in the VM, or may it be? Then
 * it stays in the table, where detaching finds out: a hypervisor that was too slow may
 * have done it afterwards. */
static bool
may_be_there(int result)
{
    return result == 0 || result == -ETIMEDOUT || result == -EEXIST;
}

/* A place that was empty already is what detaching wanted. */
static bool
is_used_after(const struct hotplug_call *hc, int result)
{
    return hc->attach ? may_be_there(result) : result < 0 && result != -ENOENT;
}

static void
finish(struct hotplug_call *hc, int result, const char *why)
{
    struct concierge_vm *vm = hc->vm;
    struct vmt_err err;

    vmt_list_remove(&hc->node);
    hc->device->busy = false;
    hc->device->used = is_used_after(hc, result);
    /* What an heir would believe in vain does no harm: it finds out when it is asked to
     * take the device away. */
    if (vm_record_save(vm, &err) < 0)
        vmt_log_warning("plugged devices are not remembered: %s vm=%s", err.msg, vm->key);
    hc->answer(hc, why);
    free(hc);
}

void
hotplug_on_done(void *arg, int result, const struct vmt_err *err)
{
    struct hotplug_call *hc = arg;

    if (result < 0)
        vmt_log_notice("device not plugged or unplugged: %s vm=%s", vmt_err_text(err),
                       hc->vm->key);
    finish(hc, result, result < 0 ? vmt_err_text(err) : NULL);
}

void
hotplug_asked(struct hotplug_call *hc, int result)
{
    struct vmt_err err;

    if (result == 0)
        return;
    (void)vmt_err_set(&err, -result, "ask the hypervisor");
    finish(hc, result, err.msg);
}

bool
vm_hotplug_any(const struct concierge_vm *vm)
{
    const struct vm_hotplug *h = vm->hotplug;
    bool any = h && h->usb_controller;

    for (size_t i = 0; h && i < VMT_ARRAY_SIZE(h->usb); i++)
        any = any || h->usb[i].at.used;
    for (size_t i = 0; h && i < VMT_ARRAY_SIZE(h->nics); i++)
        any = any || h->nics[i].at.used;
    for (size_t i = 0; h && i < VMT_ARRAY_SIZE(h->disks); i++)
        any = any || h->disks[i].at.used;
    return any;
}

void
vm_hotplug_free(struct concierge_vm *vm)
{
    struct vm_hotplug *h = vm->hotplug;

    if (!h)
        return;
    while (!vmt_list_empty(&h->calls)) {
        struct hotplug_call *hc =
            VMT_CONTAINER_OF(h->calls.next, struct hotplug_call, node);

        vmt_list_remove(&hc->node);
        hc->answer(hc, "vm_concierge is shutting down");
        free(hc);
    }
    free(h);
    vm->hotplug = NULL;
}
