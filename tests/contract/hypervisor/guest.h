/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/contract/hypervisor/guest.h - what the files of the test guest share. */
#pragma once

#include <stdbool.h>

/* Write to the console. */
void say(const char *text);

/* Load the drivers of the initrd and tell of devices for ever. */
void watch_devices(void);
