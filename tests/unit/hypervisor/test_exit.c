/* SPDX-License-Identifier: BSD-3-Clause */
#include "hypervisor/qemu/exit_internal.h"

#include "core/base/cleanup.h"
#include "tests/unit/test.h"

#define MSR_ABORT                                                                        \
    "error: failed to set MSR 0x10a to 0x2000000; kvm_buf_set_msrs: Assertion"

static const struct {
    const char *what;
    const char *shutdown; /* reason of the SHUTDOWN event, or NULL */
    struct qemu_exit_facts facts;
    enum hypervisor_exit expected;
} cases[] = {
    {"guest powers off",
     "guest-shutdown",
     {.control = true, .process = {SPAWN_EXIT_CODE, 0}},
     HYPERVISOR_EXIT_POWEROFF},
    {"guest reboots",
     "guest-reset",
     {.control = true, .process = {SPAWN_EXIT_CODE, 0}},
     HYPERVISOR_EXIT_RESET},
    {"guest panics",
     "guest-panic",
     {.control = true, .panicked = true, .process = {SPAWN_EXIT_CODE, 0}},
     HYPERVISOR_EXIT_PANIC},
    {"guest panics, then resets",
     "guest-reset",
     {.control = true, .panicked = true, .process = {SPAWN_EXIT_CODE, 0}},
     HYPERVISOR_EXIT_PANIC},
    {"panic by its reason only",
     "guest-panic",
     {.control = true, .process = {SPAWN_EXIT_CODE, 0}},
     HYPERVISOR_EXIT_PANIC},
    {"we quit it",
     "host-qmp-quit",
     {.control = true, .asked = true, .process = {SPAWN_EXIT_CODE, 0}},
     HYPERVISOR_EXIT_REQUEST},
    {"another client quits it",
     "host-qmp-quit",
     {.control = true, .process = {SPAWN_EXIT_CODE, 0}},
     HYPERVISOR_EXIT_REQUEST},
    {"our SIGTERM",
     "host-signal",
     {.control = true, .asked = true, .process = {SPAWN_EXIT_CODE, 0}},
     HYPERVISOR_EXIT_REQUEST},
    {"a foreign SIGTERM",
     "host-signal",
     {.control = true, .process = {SPAWN_EXIT_CODE, 0}},
     HYPERVISOR_EXIT_KILLED},
    {"its state is of no use",
     NULL,
     {.unrestored = true, .process = {SPAWN_EXIT_SIGNAL, 9}},
     HYPERVISOR_EXIT_CONFIG},
    {"our SIGKILL",
     NULL,
     {.control = true, .asked = true, .process = {SPAWN_EXIT_SIGNAL, 9}},
     HYPERVISOR_EXIT_REQUEST},
    {"our SIGKILL after a power-off",
     "guest-shutdown",
     {.control = true, .asked = true, .process = {SPAWN_EXIT_SIGNAL, 9}},
     HYPERVISOR_EXIT_POWEROFF},
    {"a foreign SIGKILL",
     NULL,
     {.control = true, .process = {SPAWN_EXIT_SIGNAL, 9}},
     HYPERVISOR_EXIT_KILLED},
    {"a crash of QEMU",
     NULL,
     {.control = true, .process = {SPAWN_EXIT_SIGNAL, 11}},
     HYPERVISOR_EXIT_KILLED},
    {"an error at run time",
     NULL,
     {.control = true, .process = {SPAWN_EXIT_CODE, 1}, .text = "vhost lost"},
     HYPERVISOR_EXIT_KILLED},
    {"a refused option",
     NULL,
     {.process = {SPAWN_EXIT_CODE, 1}, .text = "-device nope: not a valid device"},
     HYPERVISOR_EXIT_CONFIG},
    {"a refused option of KVM's name under TCG",
     NULL,
     {.process = {SPAWN_EXIT_CODE, 1}, .text = "file kvm.img: no such file"},
     HYPERVISOR_EXIT_CONFIG},
    {"no /dev/kvm",
     NULL,
     {.kvm = true,
      .process = {SPAWN_EXIT_CODE, 1},
      .text = "Could not access KVM kernel module: Permission denied"},
     HYPERVISOR_EXIT_ACCEL},
    {"an MSR that cannot be set",
     NULL,
     {.kvm = true, .process = {SPAWN_EXIT_SIGNAL, 6}, .text = MSR_ABORT},
     HYPERVISOR_EXIT_ACCEL},
    {"adopted and gone",
     NULL,
     {.process = {SPAWN_EXIT_UNKNOWN, 0}},
     HYPERVISOR_EXIT_UNKNOWN},
    {"adopted, quit by us",
     NULL,
     {.asked = true, .process = {SPAWN_EXIT_UNKNOWN, 0}},
     HYPERVISOR_EXIT_REQUEST},
    {"adopted, guest off",
     "guest-shutdown",
     {.control = true, .process = {SPAWN_EXIT_UNKNOWN, 0}},
     HYPERVISOR_EXIT_POWEROFF},
    {"a reason of the future",
     "host-new-thing",
     {.control = true, .process = {SPAWN_EXIT_CODE, 0}},
     HYPERVISOR_EXIT_UNKNOWN},
};

static void
every_end_has_its_reason(void **state)
{
    (void)state;
    for (size_t i = 0; i < VMT_ARRAY_SIZE(cases); i++) {
        struct qemu_exit_facts facts = cases[i].facts;
        enum hypervisor_exit got;

        if (!facts.text)
            facts.text = "";
        if (cases[i].shutdown)
            facts.shutdown = qemu_exit_of_shutdown(cases[i].shutdown);
        got = qemu_exit_classify(&facts);
        if (got != cases[i].expected)
            fail_msg("%s: %d, not %d", cases[i].what, got, cases[i].expected);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_end_has_its_reason),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
