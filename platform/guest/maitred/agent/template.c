/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/guest/maitred/agent/template.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "core/adapter/clock.h"
#include "core/base/cleanup.h"
#include "core/base/log.h"
#include "platform/guest/maitred/agent/agent.h"
#include "platform/guest/maitred/agent/link_watch.h"
#include "platform/guest/maitred/init/console.h"
#include "platform/guest/maitred/init/file.h"
#include "platform/linux/os/paths.h"

/* The balloon driver tells the host of free memory two seconds after it was freed: Linux
 * v6.1, mm/page_reporting.c, PAGE_REPORTING_DELAY. Twice, because what was freed
 * meanwhile takes another round. */
#define REPORTING_MS 4500u

/* Programs that are started with an identity or by the first shell, and the files that an
 * identity changes. A few megabytes, which every copy would read. */
static const char *const needed[] = {
    "/usr/lib/vm_tools/*",     "/bin/sh",          "/bin/bash",
    "/lib*/ld-linux*.so.*",    "/lib/*/libc.so.6", "/lib/*/libtinfo.so.6",
    "/etc/ld.so.cache",        "/etc/passwd",      "/etc/group",
    "/etc/nsswitch.conf",      "/etc/profile",     "/etc/machine-id",
    "/etc/hostname",           "/etc/timezone",    "/etc/localtime",
    "/usr/share/zoneinfo/UTC",
};
#define READ_MAX (8u << 20) /* of one file */
#define REHEARSAL "/etc/.maitred.rehearsal"

static void
signal_one(void *arg, struct proc *proc, const struct proc_info *info)
{
    const int *sig = arg;

    (void)proc;
    if (info->pid > 0)
        (void)kill(info->pid, *sig);
}

void
template_hold(struct agent *agent, bool held)
{
    int sig = held ? SIGSTOP : SIGCONT;

    proc_table_each(&agent->procs, signal_one, &sig);
}

static void
announce(void *arg)
{
    struct agent *agent = arg;

    agent->late = NULL;
    if (agent->awaits_identity)
        template_hold(agent, true);
    report_phase(&agent->boot.report, "template");
    console_say(TEMPLATE_WORDS);
    agent->is_up = true;
    if (link_cid() != LINK_NO_CID)
        agent_tell_ready(agent);
}

/* Have a file, and the way to it, in memory. */
static void
read_ahead(const char *path)
{
    VMT_CLEANUP(vmt_closep) int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    char piece[65536];
    ssize_t n = fd < 0 ? 0 : 1;

    for (size_t total = 0; n > 0 && total < READ_MAX; total += (size_t)n)
        n = read(fd, piece, sizeof(piece));
}

/* What every copy does first would else be read from the disk by every copy, and a
 * compressed file system is slow under emulation. */
static void
rehearse(void)
{
    for (size_t i = 0; i < VMT_ARRAY_SIZE(needed); i++) {
        glob_t found = {0};

        if (glob(needed[i], 0, NULL, &found) == 0)
            for (size_t k = 0; k < found.gl_pathc; k++)
                read_ahead(found.gl_pathv[k]);
        globfree(&found);
    }
    if (os_write_file_lazy(REHEARSAL, "", 0, 0644, NULL) == 0)
        (void)unlink(REHEARSAL);
}

void
template_settle(struct agent *agent)
{
    rehearse();
    /* Free memory in large pieces, because only those are reported. Source: Linux v6.1,
     * Documentation/admin-guide/sysctl/vm.rst. */
    (void)file_write("/proc/sys/vm/compact_memory", "1");
    if (agent->clock->ops->timer_start(agent->clock, REPORTING_MS, announce, agent,
                                       &agent->late) < 0)
        announce(agent);
}
