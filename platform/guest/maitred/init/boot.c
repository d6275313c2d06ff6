/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/guest/maitred/init/boot.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/log.h"
#include "platform/guest/maitred/init/cgroup.h"
#include "platform/guest/maitred/init/console.h"
#include "platform/guest/maitred/init/file.h"
#include "platform/guest/maitred/init/limits.h"
#include "platform/guest/maitred/init/mounts.h"
#include "platform/guest/maitred/init/power.h"
#include "platform/guest/maitred/init/root.h"
#include "platform/guest/maitred/init/sysctl.h"
#include "platform/guest/maitred/init/uevent.h"
#include "platform/guest/maitred/rpc/netlink.h"

#define CMDLINE_BYTES_MAX                                                                \
    65536 /* COMMAND_LINE_SIZE is 2048 on x86, up to 4096 elsewhere */
#define NICE_VALUE (-10)
/* The host may set up the network in its first call. */
#define NETWORK_MODULE "virtio_net"
#define MODULES_DIR "/lib/modules"
#define MODPROBE_KNOB "/proc/sys/kernel/modprobe"
/* The words that the accelerator probe of the host waits for. */
#define PROBE_WORDS "vm_tools-probe-ok"

static void
read_cmdline(struct boot *boot)
{
    VMT_CLEANUP(vmt_freep) char *text = NULL;
    char none[] = "";

    if (file_read("/proc/cmdline", CMDLINE_BYTES_MAX, &text) < 0)
        report_degraded(&boot->report, "the kernel command line cannot be read");
    cmdline_parse(text ? text : none, &boot->cmdline);
    if (boot->cmdline.debug)
        vmt_log_set_level(VMT_LOG_DEBUG);
    console_set_fatal(boot->cmdline.fault, boot->cmdline.host_port);
}

static void
answer_probe(void)
{
    console_say(PROBE_WORDS);
    console_drain();
    power_down(CMDLINE_POWEROFF_AUTO);
}

static void
log_refused(const struct cmdline *c)
{
    for (size_t i = 0; i < c->refused.n; i++) {
        char shown[CMDLINE_VALUE_MAX];

        vmt_log_warning("option of the kernel command line not taken: %s",
                        vmt_log_escape(shown, sizeof(shown), c->refused.v[i],
                                       strlen(c->refused.v[i])));
    }
}

/* Ten weights of a usual process: the host is answered soon however busy the guest is,
 * and VmReady does not wait for the daemons that we have just started. What we start
 * begins with the usual one. Source: sched(7), "The reset-on-fork flag". */
static void
raise_priority(struct report *report)
{
    const struct sched_param param = {0};

    if (sched_setscheduler(0, SCHED_OTHER | SCHED_RESET_ON_FORK, &param) < 0 ||
        setpriority(PRIO_PROCESS, 0, NICE_VALUE) < 0)
        report_degraded(report, "raise our priority: %s", strerror(errno));
}

static void
open_events(struct boot *boot)
{
    struct vmt_err err;

    if (boot->uevent_fd < 0 && uevent_open(&boot->uevent_fd, &err) < 0)
        report_degraded(&boot->report, "%s", err.msg);
}

static void
load_modules(struct boot *boot)
{
    /* The check of module signatures makes the kernel ask for /sbin/modprobe, which the
     * initramfs does not have: an empty name saves it the search. */
    (void)file_write(MODPROBE_KNOB, "\n");
    modules_load_listed(MODULES_DIR, &boot->report);
    modules_open_late(&boot->modules, MODULES_DIR, &boot->report);
    report_phase(&boot->report, "modules");
}

static void
switch_root(struct boot *boot)
{
    struct vmt_err err;

    /* Events cost the kernel a message for each device: only to wait for one. */
    if (access(boot->cmdline.root, F_OK) < 0)
        open_events(boot);
    if (root_switch(&boot->cmdline, boot->uevent_fd, &boot->old_root, &boot->report,
                    &err) < 0)
        report_degraded(&boot->report, "no root file system: %s", err.msg);
    (void)file_write(MODPROBE_KNOB, "/sbin/modprobe");
    report_phase(&boot->report, "root");
}

void
boot_run(struct boot *boot)
{
    *boot = (struct boot){.uevent_fd = -1, .old_root = -1};
    report_phase(&boot->report, "kernel");
    (void)umask(022);
    (void)prctl(PR_SET_NAME, "maitred"); /* the kernel called us by our file, init */
    (void)signal(SIGPIPE, SIG_IGN);
    console_catch_fatal();
    mounts_first(&boot->report);
    console_open_stdio();
    console_log_to_kmsg();
    raise_priority(&boot->report);
    read_cmdline(boot);
    if (boot->cmdline.probe)
        answer_probe();
    log_refused(&boot->cmdline);
    (void)reboot(RB_DISABLE_CAD); /* Ctrl-Alt-Del is SIGINT then, not a reset */
    load_modules(boot);
    switch_root(boot);
    mounts_system(&boot->report);
    limits_apply(&boot->report);
    sysctl_core_pattern(boot->cmdline.crash_collector, &boot->report);
    (void)clearenv();
    (void)setenv("PATH", "/usr/bin:/usr/sbin:/bin:/sbin", 1);
    report_phase(&boot->report, "system");
}

void
boot_loopback(struct boot *boot)
{
    struct vmt_err err;

    if (boot->has_lo)
        return;
    boot->has_lo = true;
    if (netlink_loopback_up(&err) < 0)
        report_degraded(&boot->report, "%s", err.msg);
}

void
boot_settle(struct boot *boot)
{
    mounts_programs(&boot->report);
    limits_sysctl(&boot->report);
    limits_hostname(&boot->report);
    open_events(boot);
    modules_load_through(&boot->modules, NETWORK_MODULE, &boot->report);
    boot_loopback(boot);
}

void
boot_sysctl(struct boot *boot)
{
    if (boot->has_sysctl)
        return;
    boot->has_sysctl = true;
    sysctl_apply(&boot->report);
}

bool
boot_late_step(struct boot *boot)
{
    if (boot->is_complete)
        return false;
    if (!boot->has_lo) {
        boot_loopback(boot);
        return true;
    }
    if (!boot->has_sysctl) {
        boot_sysctl(boot);
        return true;
    }
    if (boot->old_root >= 0) {
        root_free_initramfs(vmt_take_fd(&boot->old_root));
        return true;
    }
    if (modules_left(&boot->modules)) {
        modules_load_next(&boot->modules, &boot->report);
        return true;
    }
    mounts_late(&boot->report);
    cgroup_enable(&boot->report);
    boot->is_complete = true;
    report_phase(&boot->report, "late");
    return false;
}
