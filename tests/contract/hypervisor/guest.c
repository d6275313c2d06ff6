/* SPDX-License-Identifier: BSD-3-Clause */
/* Process 1 of a test guest. The kernel hands unknown parameters of its command line to
 * it as environment, but not those with a dot in their names. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/io.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/contract/hypervisor/guest.h"

/* Source: QEMU 7.2, docs/specs/pvpanic.txt: ISA port 0x505, bit 0 is "panicked". */
#define PVPANIC_PORT 0x505

void
say(const char *text)
{
    if (write(STDOUT_FILENO, text, strlen(text)) < 0)
        abort();
}

static bool
is_probe(void)
{
    char line[4096] = "";
    FILE *f;

    (void)mkdir("/proc", 0555);
    (void)mount("proc", "/proc", "proc", 0, NULL);
    f = fopen("/proc/cmdline", "r");
    return f && fgets(line, sizeof(line), f) && strstr(line, "maitred.probe");
}

int
main(void)
{
    const char *act = is_probe() ? "probe" : getenv("vmt_test");

    say("guest is up\n");
    if (act && strcmp(act, "probe") == 0)
        say("vm_tools-probe-ok\n");
    if (!act)
        act = "";
    if (strcmp(act, "reset") == 0)
        (void)reboot(RB_AUTOBOOT);
    /* The kernel's driver is a module; this says the same to the device. */
    if (strcmp(act, "panic") == 0 && ioperm(PVPANIC_PORT, 1, 1) == 0)
        outb(1, PVPANIC_PORT);
    if (strcmp(act, "poweroff") == 0 || strcmp(act, "probe") == 0)
        (void)reboot(RB_POWER_OFF);
    if (strcmp(act, "devices") == 0)
        watch_devices();
    for (;;)
        (void)pause();
}
