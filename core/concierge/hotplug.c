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

struct hotplug_call *
hotplug_wait(struct concierge_vm *vm, struct ipc_call *call, size_t index,
             struct vmt_err *err)
{
    struct hotplug_call *hc = calloc(1, sizeof(*hc));

    if (!hc) {
        (void)vmt_err_setx(err, ENOMEM, "out of memory");
        return NULL;
    }
    hc->vm = vm;
    hc->call = call;
    hc->index = index;
    vmt_list_append(&vm->hotplug->calls, &hc->node);
    return hc;
}

static void
finish(struct hotplug_call *hc, int result, const char *why)
{
    struct concierge_vm *vm = hc->vm;
    struct vmt_err err;

    vmt_list_remove(&hc->node);
    hc->settle(hc, result);
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

bool
hotplug_may_be_there(int result)
{
    return result == 0 || result == -ETIMEDOUT || result == -EEXIST;
}

void
hotplug_failed(struct hotplug_call *hc, int result, const struct vmt_err *err)
{
    struct vmt_err words = {0};

    if (err)
        words = *err;
    else
        (void)vmt_err_set(&words, -result, "ask the hypervisor");
    finish(hc, result, words.msg);
}

bool
vm_hotplug_any(const struct concierge_vm *vm)
{
    const struct vm_hotplug *h = vm->hotplug;
    bool any = h && h->usb_controller;

    for (size_t i = 0; h && i < VMT_ARRAY_SIZE(h->usb); i++)
        any = any || h->usb[i].used;
    for (size_t i = 0; h && i < VMT_ARRAY_SIZE(h->nics); i++)
        any = any || h->nics[i].used;
    for (size_t i = 0; h && i < VMT_ARRAY_SIZE(h->disks); i++)
        any = any || h->disks[i].used;
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
