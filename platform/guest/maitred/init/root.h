/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/guest/maitred/init/root.h - from the initramfs to the root file system. */
#pragma once

struct cmdline;
struct report;
struct vmt_err;

/* Mount what root= names, with a tmpfs overlay if it is read-only, move /dev, /proc and
 * /sys there and make it the root of this process. uevent_fd tells of devices. *ret_old
 * is then the directory of the initramfs, still full, for root_free_initramfs; -1 when
 * there was no root= and nothing changed. On failure we stay where we are, with /dev,
 * /proc and /sys in place. */
int root_switch(const struct cmdline *cmdline, int uevent_fd, int *ret_old,
                struct report *report, struct vmt_err *err);

/* Delete what is in the initramfs: its memory comes free. Takes the descriptor over. */
void root_free_initramfs(int old);
