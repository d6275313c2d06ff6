/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/guest/maitred/init/boot.h - from power-on to a system that can run programs.
 */
#pragma once

#include "platform/guest/maitred/init/cmdline.h"
#include "platform/guest/maitred/init/modules.h"
#include "platform/guest/maitred/init/report.h"

/* What the early life of PID 1 leaves behind. */
struct boot {
    struct cmdline cmdline;
    struct report report;
    struct modules modules;
    int uevent_fd;    /* owned; -1 if the kernel refused */
    int old_root;     /* owned: the initramfs; -1 if it is still the root */
    bool has_lo;      /* the loopback interface is up */
    bool has_sysctl;  /* boot_sysctl ran */
    bool is_complete; /* boot_late_step has nothing left to do */
};

/* Run as PID 1, straight down: nothing else runs yet, so this may wait for a device. Does
 * not fail: what did not work stands in the report. Does not return after
 * maitred.probe. */
void boot_run(struct boot *boot);

/* Bring the loopback interface up, once: it takes the kernel 20 ms under emulation. */
void boot_loopback(struct boot *boot);

/* What programs and calls of the host find in place, VmReady does not need: once, before
 * the first of them. */
void boot_settle(struct boot *boot);

/* Set the knobs that the image wants set, once: before the startup jobs. */
void boot_sysctl(struct boot *boot);

/* What can wait until the host knows that we are ready. One piece for each call, so that
 * calls of the host are served in between. False when all is done. */
bool boot_late_step(struct boot *boot);
