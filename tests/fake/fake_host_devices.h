/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/fake/fake_host_devices.h - USB devices and taps of the fake host. */
#pragma once

#include "core/adapter/host_device.h"

extern const struct host_device_ops fake_host_devices;

/* What every descriptor is from now on, for the whole process: 0, or the errno that
 * usb_check fails with. At the start a device 18d1:4ee7. */
void fake_host_set_usb(int error, uint16_t vendor, uint16_t product);

/* The only tap that exists, and whose it is. */
#define FAKE_TAP "tap7"
#define FAKE_TAP_UID 1000u
