/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/guest/vshd/syslog.h - where the log of a guest daemon goes. */
#pragma once

#include <stdbool.h>

/* Send the log to the kernel log as "<level>vshd: text", or to syslog when kmsg is false
 * or the kernel log cannot be written. Call once. */
void guest_log_init(bool kmsg);
