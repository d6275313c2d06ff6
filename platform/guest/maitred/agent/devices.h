/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/guest/maitred/agent/devices.h - what PID 1 does for devices, in a guest that
 * has no udev: names for disks, and work for what the host plugs in. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct agent;
struct devices;
struct vmt_err;

#define DEVICES_BY_ID "/dev/disk/by-id"
#define DEVICES_NAME_MAX 128

/* Begin: disks and their partitions get links in DEVICES_BY_ID, now and whenever one
 * comes or goes; processors, memory and network interfaces that are plugged in are
 * brought up; modules are loaded for devices that ask for one. Disks are looked at by a
 * worker. */
int devices_new(struct agent *agent, struct devices **ret_devices, struct vmt_err *err);
/* The boot is complete: what comes from now on is plugged in. Before, the cards that are
 * there have their drivers from the boot, and the host configures them. */
void devices_booted(struct devices *devices);
void devices_free(struct devices *devices);

/* The name of a disk's link, as udev has it: "virtio-" and the serial, in which what a
 * file name should not have is '_', then "-part" and the partition (0: none). False: too
 * long, or there is no serial.
 * Source: systemd 252, rules.d/60-persistent-storage.rules, util-libudev replace_chars.
 */
bool devices_link_name(const char *serial, unsigned partition,
                       char name[DEVICES_NAME_MAX]);

/* Make the links for the disks below sys_block ("/sys/block") in dir, and remove those of
 * disks that are gone. Returns 0 or -errno. */
int devices_link_disks(const char *sys_block, const char *dir, struct vmt_err *err);

/* "eth1" of an event that a network card came with; NULL for all others, as those that
 * containers make. */
const char *devices_new_card(const char *event, size_t len);
