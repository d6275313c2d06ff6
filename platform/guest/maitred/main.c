/* SPDX-License-Identifier: BSD-3-Clause */
/* maitred - PID 1 of a VM and its agent. */
#include <signal.h>
#include <stddef.h>
#include <sys/wait.h>

#include "platform/guest/maitred/init/boot.h"
#include "platform/guest/maitred/init/console.h"
#include "platform/guest/maitred/init/power.h"

int
main(void)
{
    struct boot boot;
    char line[256];
    sigset_t all;
    int sig;

    boot_run(&boot);
    while (boot_late_step(&boot))
        ;
    report_phase(&boot.report, "late");
    console_say("maitred: %s", report_format(&boot.report, line, sizeof(line)));
    (void)sigfillset(&all);
    (void)sigprocmask(SIG_SETMASK, &all, NULL);
    while (sigwait(&all, &sig) == 0 && sig == SIGCHLD) {
        while (waitpid(-1, NULL, WNOHANG) > 0)
            ;
    }
    power_down(boot.cmdline.poweroff);
    return 0;
}
