/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/guest/maitred/agent/daemons.h"

#include <stdio.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "platform/guest/maitred/agent/agent.h"
#include "platform/guest/maitred/proc/extra.h"

#define TOOLS_DIR "/usr/lib/vm_tools/"
/* Less likely to be killed for lack of memory than any program of the user. vshd gives
 * its sessions the usual value again. */
#define DAEMON_OOM_SCORE_ADJ (-900)
#define DAEMON_GROUP "agent"

/* Daemons of ours, in start order. The log daemon is part of larger images only. */
static const struct {
    const char *path;
    bool optional;
} daemons[] = {
    {TOOLS_DIR "vm_syslog", true},
    {TOOLS_DIR "vshd", false},
};

/* What it takes to look after a guest that has no memory left. */
static struct proc_extra *
daemon_extra(void)
{
    struct proc_extra *x = proc_extra_new();

    if (x) {
        x->oom_score_adj = DAEMON_OOM_SCORE_ADJ;
        group_name(x->cgroup, "", DAEMON_GROUP);
    }
    return x;
}

/* A proc_start_fn. */
static void
on_daemon(void *arg, int r, const struct vmt_err *err)
{
    struct agent *agent = arg;

    if (r < 0)
        report_degraded(&agent->boot.report, "%s", vmt_err_text(err));
}

void
daemons_start(struct agent *agent)
{
    for (size_t i = 0; i < VMT_ARRAY_SIZE(daemons); i++) {
        char path[64];
        char *const argv[] = {path, NULL};
        struct proc_spec spec = {
            .argv = argv, .respawn = true, .on_start = on_daemon, .arg = agent};
        struct vmt_err err;

        (void)snprintf(path, sizeof(path), "%s", daemons[i].path);
        if (daemons[i].optional && access(path, X_OK) < 0)
            continue;
        spec.extra = daemon_extra();
        if (proc_start(&agent->procs, &spec, NULL, &err) < 0)
            report_degraded(&agent->boot.report, "%s", err.msg);
    }
}

/* A proc_start_fn. */
static void
on_shell(void *arg, int r, const struct vmt_err *err)
{
    struct agent *agent = arg;

    if (r < 0)
        report_degraded(&agent->boot.report, "shell on the console: %s",
                        vmt_err_text(err));
}

void
daemons_start_shell(struct agent *agent)
{
    char shell[] = "/bin/sh", login[] = "-l";
    char *const argv[] = {shell, login, NULL};
    const struct proc_spec spec = {.argv = argv,
                                   .respawn = true,
                                   .use_console = true,
                                   .own_terminal = true,
                                   .on_start = on_shell,
                                   .arg = agent};
    struct vmt_err err;
    int r = proc_start(&agent->procs, &spec, NULL, &err);

    if (r < 0)
        on_shell(agent, r, &err);
}
