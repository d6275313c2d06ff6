/* SPDX-License-Identifier: BSD-3-Clause */
/* core/concierge/record_hotplug.c - what survives the daemon about plugged devices. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "core/concierge/concierge_internal.h"
#include "vmt_state.pb-c.h"

/* All of one VM, in one allocation: the first array is what is freed. */
#define ROOM_MAX (1 + HYPERVISOR_USB_PORT_MAX + HOTPLUG_NICS_MAX + HOTPLUG_DISKS_MAX)
struct room {
    Vmt__PluggedRecord *list[ROOM_MAX];
    Vmt__PluggedRecord records[ROOM_MAX];
};

static Vmt__PluggedRecord *
add(Vmt__VmRecord *record, struct room *room, Vmt__PluggedRecord__Kind kind,
    size_t number)
{
    Vmt__PluggedRecord *p = &room->records[record->n_hotplugged];

    vmt__plugged_record__init(p);
    p->kind = kind;
    p->number = (uint32_t)number;
    room->list[record->n_hotplugged++] = p;
    return p;
}

static void
fill(struct vm_hotplug *h, Vmt__VmRecord *record, struct room *room)
{
    if (h->usb_controller)
        (void)add(record, room, VMT__PLUGGED_RECORD__KIND__USB, 0);
    for (size_t i = 1; i < VMT_ARRAY_SIZE(h->usb); i++) {
        Vmt__PluggedRecord *p;

        if (!h->usb[i].at.used)
            continue;
        p = add(record, room, VMT__PLUGGED_RECORD__KIND__USB, i);
        p->bus = h->usb[i].bus;
        p->port = h->usb[i].port;
        p->vendor = h->usb[i].vendor;
        p->product = h->usb[i].product;
    }
    for (size_t i = 1; i < VMT_ARRAY_SIZE(h->nics); i++)
        if (h->nics[i].at.used)
            add(record, room, VMT__PLUGGED_RECORD__KIND__NIC, i)->name = h->nics[i].tap;
    for (size_t i = 0; i < VMT_ARRAY_SIZE(h->disks); i++)
        if (h->disks[i].at.used)
            add(record, room, VMT__PLUGGED_RECORD__KIND__DISK, i)->name =
                h->disks[i].serial;
}

int
hotplug_record_fill(const struct concierge_vm *vm, Vmt__VmRecord *record)
{
    struct room *room;

    if (!vm->hotplug)
        return 0;
    room = calloc(1, sizeof(*room));
    if (!room)
        return -ENOMEM;
    record->hotplugged = room->list;
    fill(vm->hotplug, record, room);
    return 0;
}

void
hotplug_record_done(Vmt__VmRecord *record)
{
    free(record->hotplugged);
    record->hotplugged = NULL;
    record->n_hotplugged = 0;
}

static void
read_one(struct vm_hotplug *h, const Vmt__PluggedRecord *p)
{
    size_t n = p->number;

    if (p->kind == VMT__PLUGGED_RECORD__KIND__USB)
        h->usb_controller = true;
    if (p->kind == VMT__PLUGGED_RECORD__KIND__USB && n >= 1 &&
        n < VMT_ARRAY_SIZE(h->usb)) {
        h->usb[n] = (struct plugged_usb){.at.used = true,
                                         .bus = p->bus,
                                         .port = p->port,
                                         .vendor = p->vendor,
                                         .product = p->product};
    } else if (p->kind == VMT__PLUGGED_RECORD__KIND__NIC && n >= 1 &&
               n < VMT_ARRAY_SIZE(h->nics)) {
        h->nics[n].at.used = true;
        (void)snprintf(h->nics[n].tap, sizeof(h->nics[n].tap), "%s", p->name);
    } else if (p->kind == VMT__PLUGGED_RECORD__KIND__DISK &&
               n < VMT_ARRAY_SIZE(h->disks)) {
        h->disks[n].at.used = true;
        (void)snprintf(h->disks[n].serial, sizeof(h->disks[n].serial), "%s", p->name);
    }
}

int
hotplug_record_read(struct concierge_vm *vm, const Vmt__VmRecord *record)
{
    if (record->n_hotplugged == 0)
        return 0;
    if (hotplug_make(vm) < 0)
        return -ENOMEM;
    for (size_t i = 0; i < record->n_hotplugged; i++)
        read_one(vm->hotplug, record->hotplugged[i]);
    return 0;
}
