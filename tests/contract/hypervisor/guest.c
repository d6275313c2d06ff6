/* SPDX-License-Identifier: BSD-3-Clause */
/* Process 1 of a test guest. The kernel hands unknown parameters of its command line to
 * it: name=value as environment, words as arguments. */
#include <stdlib.h>
#include <string.h>
#include <sys/io.h>
#include <sys/reboot.h>
#include <unistd.h>

/* Source: QEMU 7.2, docs/specs/pvpanic.txt: ISA port 0x505, bit 0 is "panicked". */
#define PVPANIC_PORT 0x505

static void
say(const char *text)
{
    if (write(STDOUT_FILENO, text, strlen(text)) < 0)
        abort();
}

int
main(int argc, char **argv)
{
    const char *act = getenv("vmt_test");

    for (int i = 0; i < argc; i++)
        if (strcmp(argv[i], "maitred.probe") == 0)
            act = "probe";
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
    for (;;)
        (void)pause();
}
