/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/guest/maitred/rpc/poweroff.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/reboot.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/log.h"
#include "platform/guest/maitred/agent/agent.h"
#include "platform/guest/maitred/proc/worker.h"
#include "platform/guest/maitred/rpc/handlers.h"

#define KERNEL_TIMEOUT_MS 15000u
#define WAY_WORDS_MAX 10

/* logind lets inhibitors have their say and tells users; root needs nobody's leave.
 * Source: org.freedesktop.login1(5). */
static const char *const ways[][WAY_WORDS_MAX] = {
    {"busctl", "--timeout=5", "call", "org.freedesktop.login1", "/org/freedesktop/login1",
     "org.freedesktop.login1.Manager", "PowerOff", "b", "false", NULL},
    {"systemctl", "poweroff", NULL},
    {"poweroff", NULL},
};

struct poweroff {
    struct agent *agent;          /* borrowed */
    struct rpc_server_call *call; /* finished by us */
    size_t way;                   /* the next one */
};

static void try_next(struct poweroff *p);

static void
on_way_begun(void *arg, int r, const struct vmt_err *err)
{
    struct poweroff *p = arg;

    if (r == 0)
        return;
    vmt_log_info("not shut down by %s: %s", ways[p->way - 1][0], vmt_err_text(err));
    try_next(p);
}

static void
on_way_ended(void *arg, const struct proc_exit *how)
{
    struct poweroff *p = arg;

    if (how->kind != PROC_EXITED || how->code != 0) {
        try_next(p);
        return;
    }
    if (p->call)
        rpc_reply_empty(p->call);
    free(p);
}

/* A worker_fn. */
static int
do_power_off(void *arg, struct vmt_err *err)
{
    (void)arg;
    sync();
    (void)reboot(RB_POWER_OFF);
    return vmt_err_set(err, errno, "power off");
}

/* A worker_done_fn. */
static void
on_refused(void *arg, int status, const struct vmt_err *err)
{
    VMT_CLEANUP(vmt_freep) struct poweroff *p = arg;

    (void)status;
    vmt_log_error("nothing here powers off: %s", vmt_err_text(err));
    if (p->call)
        rpc_server_call_fail(p->call, RPC_INTERNAL, "nothing here powers off: %s",
                             vmt_err_text(err));
}

static void
ask_kernel(struct poweroff *p)
{
    const struct worker_spec spec = {.fn = do_power_off,
                                     .timeout_ms = KERNEL_TIMEOUT_MS,
                                     .on_done = on_refused,
                                     .arg = p};
    struct vmt_err err;

    if (worker_start(&p->agent->procs, &spec, &err) < 0)
        on_refused(p, -EIO, &err);
}

static void
try_next(struct poweroff *p)
{
    while (p->way < VMT_ARRAY_SIZE(ways)) {
        const char *const *words = ways[p->way++];
        const struct proc_spec spec = {.argv = (char *const *)(uintptr_t)words,
                                       .on_start = on_way_begun,
                                       .on_exit = on_way_ended,
                                       .arg = p};
        struct vmt_err err;

        if (proc_start(&p->agent->procs, &spec, NULL, &err) == 0)
            return;
        vmt_log_info("not shut down by %s: %s", words[0], err.msg);
    }
    ask_kernel(p);
}

void
poweroff_ask(struct agent *agent, struct rpc_server_call *call)
{
    struct poweroff *p = malloc(sizeof(*p));

    if (!p) {
        if (call)
            rpc_server_call_fail(call, RPC_RESOURCE_EXHAUSTED, "no memory");
        return;
    }
    *p = (struct poweroff){.agent = agent, .call = call};
    try_next(p);
}
