/* SPDX-License-Identifier: BSD-3-Clause */
/* hypervisor/qemu/peripheral_internal.h - which device is where, told by QEMU's own list
 * of names. The names carry all that we must know of a device, so a restarted daemon asks
 * QEMU, and nothing that was remembered can be wrong.
 *
 *   rp<n>             root port: spare slot n, 1 .. QEMU_SLOTS_MAX
 *   rpvsock           root port of the vsock device, vhost-vsock0
 *   vblk<i>[-<hex>]   disk i of the start; hex: its serial in hexadecimal digits
 *   slot<n>-disk-<hex>, slot<n>-nic-<id>, slot<n>-usb<c>
 *                     what is plugged into slot n; usb<c> is USB controller c, 0 or 1
 *   usb<p>            device of the host in port p, 1 .. HYPERVISOR_USB_PORT_MAX
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "core/adapter/hypervisor.h"

/* 30 PCI slots are free on a q35: 16 for disks, 3 for network, random numbers and
 * balloon, one for the port of the vsock device. */
#define QEMU_SLOTS_MAX 8u

/* Names end before this: "slot8-disk-" and 20 bytes of serial. */
#define QEMU_VSOCK_ID "vhost-vsock0"
#define QEMU_DEVICE_ID_MAX 64
#define QEMU_NIC_ID_MAX 32

#define QEMU_USB_CONTROLLERS 2

/* Where QEMU keeps the devices that have names. */
#define QEMU_PERIPHERAL_PATH "/machine/peripheral"

struct qemu_peripheral {
    uint32_t slots, used;                    /* bit n: slot n exists, has something */
    bool found;                              /* what was looked for is there */
    unsigned slot;                           /* its slot; 0: none */
    unsigned index;                          /* of a disk without slot */
    char id[QEMU_DEVICE_ID_MAX];             /* of what was found */
    unsigned usb_slot[QEMU_USB_CONTROLLERS]; /* of each controller, 0: none */
    bool has_vsock, has_vsock_port;          /* the device and its own root port */
    uint32_t usb_ports;                      /* bit p: port p has a device */
};

/* Write "disk-<hex>" for a serial of at most 20 bytes. */
void qemu_peripheral_disk(const char *serial, char kind[QEMU_DEVICE_ID_MAX]);

/* Read what qom-list said of QEMU_PERIPHERAL_PATH and look for kind: "disk-<hex>" or
 * "nic-<id>", or NULL. list may be anything. */
void qemu_peripheral_read(const json_t *list, const char *kind,
                          struct qemu_peripheral *ret_peripheral);

/* Choose a free slot; wanted 0: the lowest. Returns it, -ENOSPC or -EBUSY. */
int qemu_peripheral_choose(const struct qemu_peripheral *peripheral, unsigned wanted,
                           uint32_t reserved);
