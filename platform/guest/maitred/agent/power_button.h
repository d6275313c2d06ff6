/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/guest/maitred/agent/power_button.h - the power button: how a hypervisor asks a
 * machine to go down. */
#pragma once

struct event_base;
struct power_button;
struct vmt_err;

/* Watch the input devices that have a power key, those that are there and those that
 * come; uevent_fd, which tells of them, is taken over. on_press runs from the loop. */
int power_button_new(struct event_base *base, int uevent_fd, void (*on_press)(void *arg),
                     void *arg, struct power_button **ret_button, struct vmt_err *err);
void power_button_free(struct power_button *button);
