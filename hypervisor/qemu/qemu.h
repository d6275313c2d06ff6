/* SPDX-License-Identifier: BSD-3-Clause */
/* hypervisor/qemu/qemu.h - QEMU as a hypervisor: a command line, QMP and a real-boot
 * probe. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "core/adapter/hypervisor.h"

struct event_base;
struct spawn;
struct vmt_clock;
struct vmt_err;

struct qemu_config {
    struct event_base
        *base; /* borrowed, as clock and spawn, for the life of the backend */
    struct vmt_clock *clock;
    struct spawn *spawn;
    const char *binary;    /* copied; NULL: qemu-system-<this machine>, found in PATH */
    const char *cache_dir; /* copied; remembers verdicts of probes; NULL: nowhere */
    bool no_sandbox;       /* let QEMU open what its user may */
    /* For tests on hosts without KVM: boot the probe with this accelerator instead, and
     * leave out what only concerns /dev/kvm. AUTO: KVM, the real thing. */
    enum hypervisor_accel probe_accel;
};

/* Make a QEMU backend; no QEMU is run yet. *ret_hv is freed by its ops->free, after all
 * of its VMs and probes. Returns 0, -ENOMEM. */
int qemu_new(const struct qemu_config *config, struct hypervisor **ret_hv,
             struct vmt_err *err);
