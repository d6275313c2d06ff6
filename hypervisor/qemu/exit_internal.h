/* SPDX-License-Identifier: BSD-3-Clause */
/* hypervisor/qemu/exit_internal.h - why a QEMU process ended. */
#pragma once

#include <stdbool.h>

#include "core/adapter/hypervisor.h"

/* What was seen during the life of the process. */
struct qemu_exit_facts {
    bool control;                  /* the control channel answered at some time */
    bool kvm;                      /* it ran with KVM */
    bool panicked;                 /* GUEST_PANICKED came */
    bool unrestored;               /* we ended it, because its state was of no use */
    bool asked;                    /* we sent quit or a signal */
    enum hypervisor_exit shutdown; /* by qemu_exit_of_shutdown; UNKNOWN: no event came */
    struct spawn_exit process;
    const char *text; /* stderr; borrowed, never NULL */
};

/* What the reason of a SHUTDOWN event stands for; UNKNOWN for a name that we do not know.
 * Source: QEMU 7.2, qapi/run-state.json, ShutdownCause. */
enum hypervisor_exit qemu_exit_of_shutdown(const char *reason);

/* The exit code alone says almost nothing: 0 is a power-off, a reset, a panic and a
 * quit. */
enum hypervisor_exit qemu_exit_classify(const struct qemu_exit_facts *facts);
