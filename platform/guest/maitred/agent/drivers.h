/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/guest/maitred/agent/drivers.h - find out which plugged devices want a module.
 *
 * The kernel announces a device before it looks for a driver among those it has, and most
 * devices of a VM find theirs at once. A module loader for each of them would cost a
 * restored guest, which meets all its devices anew, more time than all else that it does;
 * so a device gets a moment first. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct drivers;
struct vmt_clock;

/* How long a device may be without a driver, in milliseconds. */
#define DRIVERS_PATIENCE_MS 300u

/* Does for a device with this modalias what it takes; runs from the loop. */
typedef void drivers_load_fn(void *arg, const char *modalias);

struct drivers_config {
    struct vmt_clock *clock; /* borrowed */
    const char *sys;         /* borrowed: "/sys" */
    drivers_load_fn *load;
    void *arg; /* borrowed */
};

/* Returns 0 or -ENOMEM. */
int drivers_new(const struct drivers_config *config, struct drivers **ret_drivers);
void drivers_free(struct drivers *drivers);

/* Take note of an event of the kernel, of len bytes with its NUL: of a device that came,
 * asks for a module by MODALIAS and has no driver by then, load is told. Of more devices
 * at a time than are kept track of, load is told at once. */
void drivers_event(struct drivers *drivers, const char *event, size_t len);
