/* SPDX-License-Identifier: BSD-3-Clause */
#include "hypervisor/qemu/exit_internal.h"

#include <string.h>

#include "core/base/cleanup.h"

static const struct {
    const char *reason;
    enum hypervisor_exit exit;
} shutdown_reasons[] = {
    {"guest-shutdown", HYPERVISOR_EXIT_POWEROFF},
    {"guest-reset", HYPERVISOR_EXIT_RESET},
    {"guest-panic", HYPERVISOR_EXIT_PANIC},
    {"host-qmp-quit", HYPERVISOR_EXIT_REQUEST},
    {"host-qmp-system-reset", HYPERVISOR_EXIT_REQUEST},
    {"host-ui", HYPERVISOR_EXIT_REQUEST},
    {"host-signal", HYPERVISOR_EXIT_KILLED}, /* unless we sent it */
};

enum hypervisor_exit
qemu_exit_of_shutdown(const char *reason)
{
    for (size_t i = 0; i < VMT_ARRAY_SIZE(shutdown_reasons); i++)
        if (strcmp(shutdown_reasons[i].reason, reason) == 0)
            return shutdown_reasons[i].exit;
    return HYPERVISOR_EXIT_UNKNOWN;
}

/* KVM's own words: a failed ioctl, a missing device, the assertion on an MSR that the
 * host's kernel does not let be set. */
static bool
speaks_of_kvm(const char *text)
{
    return strcasestr(text, "kvm") || strstr(text, "MSR");
}

enum hypervisor_exit
qemu_exit_classify(const struct qemu_exit_facts *facts)
{
    bool failed = facts->process.kind == SPAWN_EXIT_SIGNAL ||
                  (facts->process.kind == SPAWN_EXIT_CODE && facts->process.code != 0);

    if (facts->panicked)
        return HYPERVISOR_EXIT_PANIC;
    if (facts->unrestored)
        return HYPERVISOR_EXIT_CONFIG;
    if (facts->shutdown == HYPERVISOR_EXIT_KILLED && facts->asked)
        return HYPERVISOR_EXIT_REQUEST;
    if (facts->shutdown != HYPERVISOR_EXIT_UNKNOWN)
        return facts->shutdown;
    if (facts->asked)
        return HYPERVISOR_EXIT_REQUEST;
    if (failed && facts->kvm && speaks_of_kvm(facts->text))
        return HYPERVISOR_EXIT_ACCEL;
    /* QEMU answers on its control channel only after it has taken all its options. */
    if (facts->process.kind == SPAWN_EXIT_CODE && failed && !facts->control)
        return HYPERVISOR_EXIT_CONFIG;
    return failed ? HYPERVISOR_EXIT_KILLED : HYPERVISOR_EXIT_UNKNOWN;
}
