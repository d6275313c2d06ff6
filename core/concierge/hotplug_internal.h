/* SPDX-License-Identifier: BSD-3-Clause */
/* core/concierge/hotplug_internal.h - what is plugged into a VM while it runs: USB
 * devices, network devices and disks. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/adapter/host_device.h"
#include "core/adapter/hypervisor.h"
#include "core/base/list.h"

struct concierge;
struct concierge_vm;
struct ipc_call;
struct vmt_err;
typedef struct Vmt__VmRecord Vmt__VmRecord;

/* More than a VM has slots for. */
#define HOTPLUG_NICS_MAX 8u
#define HOTPLUG_DISKS_MAX 8u
#define HOTPLUG_SERIAL_MAX 21 /* 20 bytes (virtio) and a NUL */

/* What all of them have. */
struct plugged {
    bool used;
    bool busy; /* on its way in or out */
};

struct plugged_usb {
    struct plugged at;
    uint32_t bus, port; /* of the host, as its caller says */
    uint32_t vendor, product;
};

struct plugged_nic {
    struct plugged at;
    char tap[HOST_DEVICE_NAME_MAX];
};

struct plugged_disk {
    struct plugged at;
    char serial[HOTPLUG_SERIAL_MAX];
};

/* Made with the first device of a VM. Numbers that callers see are indices; 0 is no port
 * and no bus. */
struct vm_hotplug {
    struct vmt_list calls; /* struct hotplug_call, owned: not answered yet */
    struct plugged_usb usb[HYPERVISOR_USB_PORT_MAX + 1];
    bool usb_controller; /* came with the first USB device, and stays */
    struct plugged_nic nics[HOTPLUG_NICS_MAX + 1];
    struct plugged_disk disks[HOTPLUG_DISKS_MAX];
};

struct hotplug_call;
/* Answer; why is NULL for success. */
typedef void hotplug_answer_fn(struct hotplug_call *hc, const char *why);

/* Who waits for the hypervisor. */
struct hotplug_call {
    struct vmt_list node;
    struct concierge_vm *vm; /* borrowed */
    struct ipc_call *call;   /* owned until answered */
    struct plugged *device;  /* borrowed, of vm's table */
    size_t index;            /* of the device */
    bool attach;             /* else it goes */
    hotplug_answer_fn *answer;
};

/* Give vm its table, unless it has one. Returns 0 or -ENOMEM. */
int hotplug_make(struct concierge_vm *vm);

/* Find a VM that runs and has what hotplug needs; cap is a bit that the hypervisor must
 * have, what its name in words. Returns 0 with *ret_vm, -ENOENT, -EINVAL, -ENOTSUP,
 * -ENOMEM. */
int hotplug_find(struct concierge *c, const char *owner, const char *name,
                 enum hypervisor_cap cap, const char *what, struct concierge_vm **ret_vm,
                 struct vmt_err *err);

/* Let call wait until device, number index of its kind, is in vm: put it into the table
 * and the record, which an heir reads, before it is done. Returns what the hypervisor is
 * asked with, or NULL with words: then call is still the caller's, and the place free. */
struct hotplug_call *hotplug_attach(struct concierge_vm *vm, struct ipc_call *call,
                                    struct plugged *device, size_t index,
                                    struct vmt_err *err);
/* The same for a device that goes; answers as reply_success does. */
struct hotplug_call *hotplug_detach(struct concierge_vm *vm, struct ipc_call *call,
                                    struct plugged *device, size_t index,
                                    struct vmt_err *err);
/* After the hypervisor was asked: result is what it answered at once. */
void hotplug_asked(struct hotplug_call *hc, int result);
/* For the hypervisor: settle, remember, answer; arg is a struct hotplug_call. */
void hotplug_on_done(void *arg, int result, const struct vmt_err *err);

/* Has anything been plugged that a saved state would miss? */
bool vm_hotplug_any(const struct concierge_vm *vm);

/* Answer those who wait and forget all; for vm_free. */
void vm_hotplug_free(struct concierge_vm *vm);

/* record_hotplug.c: fill record, whose arrays are malloc'ed and freed by the second.
 * Returns 0 or -ENOMEM. */
int hotplug_record_fill(const struct concierge_vm *vm, Vmt__VmRecord *record);
void hotplug_record_done(Vmt__VmRecord *record);
int hotplug_record_read(struct concierge_vm *vm, const Vmt__VmRecord *record);
