/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/guest/maitred/init/coldplug.h - modules for devices that nothing drives yet.
 */
#pragma once

#include <stddef.h>

struct vmt_err;

#define COLDPLUG_NAME_MAX 64

/* The module that drives modalias ("pci:v00008086d..."), by the text of modules.alias.
 * name has COLDPLUG_NAME_MAX bytes. Returns 0 or -ENODEV. Source: modules.alias of
 * depmod(8): "alias PATTERN MODULE", a pattern of fnmatch(3). */
int coldplug_match(const char *text, size_t len, const char *modalias, char *name);

/* Load what the devices on the PCI and virtio buses want of the root's modules. Bridges
 * and SMBus controllers, which a VM works without, are left alone. This takes time: a
 * worker_fn, arg is not used. Returns 0: also what has no module is fine. */
int coldplug_run(void *arg, struct vmt_err *err);
