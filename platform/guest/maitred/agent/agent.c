/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/guest/maitred/agent/agent.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "core/adapter/clock.h"
#include "core/adapter/stream.h"
#include "core/adapter/transport.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/limits.h"
#include "core/base/log.h"
#include "core/rpc/health.h"
#include "core/rpc/server.h"
#include "platform/guest/maitred/agent/application.h"
#include "platform/guest/maitred/agent/daemons.h"
#include "platform/guest/maitred/agent/devices.h"
#include "platform/guest/maitred/agent/events.h"
#include "platform/guest/maitred/agent/failures.h"
#include "platform/guest/maitred/agent/freezer.h"
#include "platform/guest/maitred/agent/jobs.h"
#include "platform/guest/maitred/agent/late.h"
#include "platform/guest/maitred/agent/link_watch.h"
#include "platform/guest/maitred/agent/memory_watch.h"
#include "platform/guest/maitred/agent/power_button.h"
#include "platform/guest/maitred/agent/ready.h"
#include "platform/guest/maitred/agent/shutdown.h"
#include "platform/guest/maitred/agent/template.h"
#include "platform/guest/maitred/agent/watchdog.h"
#include "platform/guest/maitred/init/cgroup.h"
#include "platform/guest/maitred/init/console.h"
#include "platform/guest/maitred/proc/group.h"
#include "platform/guest/maitred/proc/worker.h"
#include "platform/guest/maitred/rpc/handlers.h"
#include "platform/guest/maitred/rpc/net.h"
#include "platform/linux/os/loop.h"
#include "platform/linux/os/transports.h"
#include "platform/linux/os/unix_socket.h"

/* Startup jobs together may hold ready back for so long: the host waits 60 s. */
#define JOBS_HOLD_MS 40000u
/* A host that does not answer must not keep the rest of the boot away for ever. */
#define LATE_ANYWAY_MS 3000u
/* After VmReady the host sets us up, in less than this under emulation. A module that is
 * loaded meanwhile makes it, and whoever started the VM, wait. */
#define LATE_AFTER_READY_MS 150u
#define CONNECTIONS_MAX 32 /* the host's daemons need one each */
#define LINE_BYTES 512
#define MODULES_MS 20000u /* those of maitred.modules= */
/* From the hard deadline of the shutdown to the reset by a watchdog. */
#define WATCHDOG_GRACE_S 10
/* Of programs that nobody wants to limit. */
#define COMMON_GROUP "programs"

static const int shutdown_signals[] = {SIGTERM, SIGINT, SIGPWR};

static void
on_clean(void *arg)
{
    struct agent *agent = arg;

    for (size_t i = 0; i < agent->nwaiting; i++)
        rpc_reply_empty(agent->waiting[i]);
    agent->nwaiting = 0;
}

int
agent_shut_down(struct agent *agent, struct vmt_err *err)
{
    const struct shutdown_config config = {
        .loop = agent->loop,
        .procs = &agent->procs,
        .poweroff = agent->boot.cmdline.poweroff,
        .on_clean = on_clean,
        .arg = agent,
    };
    int r;

    if (agent->shutdown)
        return 0;
    vmt_log_notice("shutdown begins");
    agent_thaw(agent); /* who is frozen cannot end */
    watchdog_last_time(agent->watchdog, SHUTDOWN_HARD_MS / 1000 + WATCHDOG_GRACE_S);
    if (agent->server) /* PID 1 goes on without one */
        rpc_health_shutdown(agent->server);
    r = shutdown_start(&config, &agent->shutdown);
    return r < 0 ? vmt_err_set(err, -r, "begin shutdown") : 0;
}

static void
shut_down_anyhow(void *arg)
{
    struct vmt_err err;

    if (agent_shut_down(arg, &err) < 0)
        vmt_log_error("%s", err.msg);
}

static void
on_shutdown_signal(void *arg, int sig)
{
    vmt_log_notice("asked to go down by signal %d", sig);
    shut_down_anyhow(arg);
}

static void
on_sigchld(void *arg, int sig)
{
    struct agent *agent = arg;

    (void)sig;
    proc_table_reap(&agent->procs);
}

static void
on_failed(void *arg, const char *program)
{
    struct agent *agent = arg;

    failures_report(agent->failures, program);
}

static void
on_given_up(void *arg, const char *program)
{
    struct agent *agent = arg;

    report_degraded(&agent->boot.report, "%s does not stay up", program);
}

static void
on_unlimited(void *arg, const char *program, const char *why)
{
    struct agent *agent = arg;

    report_degraded(&agent->boot.report, "%s: %s", program, why);
}

static void begin_late(struct agent *agent, uint64_t delay_ms);
static void on_link_changed(void *arg, uint32_t cid);

/* Programs are one level below the guest's group: a group that hands controllers down may
 * have no process of its own. */
static void
open_groups(struct agent *agent)
{
    struct vmt_err err;

    agent->procs.cgroups = cgroup_open_guest(&agent->boot.report);
    if (agent->procs.cgroups >= 0 &&
        group_open(agent->procs.cgroups, COMMON_GROUP, &agent->procs.cgroup, &err) < 0)
        report_degraded(&agent->boot.report, "%s", err.msg);
}

static void
watch_machine(struct agent *agent)
{
    struct vmt_err err;

    if (agent->boot.uevent_fd >= 0 &&
        power_button_new(os_loop_base(agent->loop), agent->boot.uevent_fd,
                         shut_down_anyhow, agent, &agent->button, &err) < 0)
        report_degraded(&agent->boot.report, "%s", err.msg);
    else
        agent->boot.uevent_fd = -1;
    if (link_watch_new(os_loop_base(agent->loop), on_link_changed, agent, &agent->link,
                       &err) < 0)
        report_degraded(&agent->boot.report, "%s", err.msg);
}

/* What nobody needs before the first program of the user, the first word of the host or
 * the acknowledgement of VmReady, whichever comes first: about 60 ms under emulation that
 * VmReady does not wait for. Once; from then on all of it is in place. */
static void
settle(struct agent *agent)
{
    if (!agent->is_init || agent->is_settled)
        return;
    agent->is_settled = true;
    boot_settle(&agent->boot);
    net_link_resolv();
    open_groups(agent);
    watch_machine(agent);
    daemons_start(agent);
}

/* Takes its time, so it is done for startup jobs, or after ready. */
static void
watch_devices(struct agent *agent)
{
    struct vmt_err err;

    if (!agent->devices && devices_new(agent, &agent->devices, &err) < 0)
        report_degraded(&agent->boot.report, "%s", err.msg);
}

static void
say_report(struct agent *agent)
{
    char line[LINE_BYTES];

    console_say("maitred: %s%s", report_format(&agent->boot.report, line, sizeof(line)),
                agent->boot.report.ndegraded ? ", degraded" : "");
}

static void
on_late(void *arg)
{
    struct agent *agent = arg;

    agent->late = NULL;
    settle(agent);
    if (boot_late_step(&agent->boot)) {
        begin_late(agent, 0);
        return;
    }
    watch_devices(agent);
    if (agent->devices)
        devices_booted(agent->devices);
    if (agent->awaits_identity)
        template_settle(agent);
    else
        late_start(agent);
    if (agent->on_started)
        say_report(agent);
}

/* The late part of the boot begins after delay_ms, in place of an earlier plan. */
static void
begin_late(struct agent *agent, uint64_t delay_ms)
{
    agent->clock->ops->timer_cancel(agent->clock, agent->late);
    agent->late = NULL;
    if (agent->clock->ops->timer_start(agent->clock, delay_ms, on_late, agent,
                                       &agent->late) < 0)
        vmt_log_error("no memory for the late part of the boot");
}

static void
on_ready_acked(void *arg)
{
    struct agent *agent = arg;

    ready_free(agent->ready);
    agent->ready = NULL;
    if (agent->was_acked)
        return;
    agent->was_acked = true;
    report_phase(&agent->boot.report, "ready");
    if (!agent->awaits_identity && agent->is_init)
        say_report(agent);
    settle(agent);
    if (!agent->boot.is_complete)
        begin_late(agent, LATE_AFTER_READY_MS);
}

void
agent_tell_ready(struct agent *agent)
{
    const struct ready_config config = {
        .clock = agent->clock,
        .transport = agent->transport,
        .host_port = agent->boot.cmdline.host_port,
        /* A service may have been restarted. */
        .again = agent->was_acked || !agent->is_init,
        .on_acked = on_ready_acked,
        .arg = agent,
    };

    agent->is_up = true;
    ready_free(agent->ready);
    agent->ready = NULL;
    if (!agent->transport || ready_start(&config, &agent->ready) < 0)
        report_degraded(&agent->boot.report, "the host cannot be told that we are ready");
}

/* A new device is a new host, or the same one under which we woke up as a copy: it knows
 * us again by VmReady from our context id. Without one nobody can be told. */
static void
on_link_changed(void *arg, uint32_t cid)
{
    struct agent *agent = arg;

    if (cid == LINK_NO_CID) {
        ready_free(agent->ready);
        agent->ready = NULL;
    } else if (agent->is_up) {
        agent_tell_ready(agent);
    }
}

static void
on_jobs_done(void *arg)
{
    struct agent *agent = arg;

    report_phase(&agent->boot.report, "jobs");
    if (agent->on_started) {
        agent->on_started(agent);
        begin_late(agent, LATE_AFTER_READY_MS);
        return;
    }
    begin_late(agent, LATE_ANYWAY_MS);
    agent_tell_ready(agent);
}

static void
on_accept(void *arg, struct stream *s, const struct stream_peer *peer)
{
    struct agent *agent = arg;

    settle(agent); /* also a host that did not take VmReady finds all in place */
    rpc_server_accept(agent->server, s, peer);
}

static int
make_server(struct agent *agent, struct vmt_err *err)
{
    static const struct rpc_server_config config = {.connections_max = CONNECTIONS_MAX};
    int r = rpc_server_new(agent->clock, &config, &agent->server, err);

    if (r == 0)
        r = rpc_server_add(agent->server, &maitred_service, agent, err);
    if (r == 0)
        r = rpc_server_add(agent->server, &agent_service, agent, err);
    if (r == 0)
        r = rpc_server_add_standard(agent->server, err);
    return r;
}

/* Only the host is added to the transport, so only the host gets in. */
static int
listen_vsock(struct agent *agent, struct vmt_err *err)
{
    struct transport_listener *listener;
    struct transport *t;
    int r = transport_vsock_new(agent->loop, &agent->transport, err);

    if (r < 0)
        return r;
    t = agent->transport;
    if (failures_new(agent->clock, t, &agent->failures) < 0 ||
        events_new(agent->clock, t, agent->boot.cmdline.host_port, &agent->events) < 0)
        return vmt_err_set(err, ENOMEM, "listen for the host");
    r = t->ops->vm_add(t, VMT_CID_HOST, NULL, err);
    if (r == 0)
        r = t->ops->listen(t, agent->boot.cmdline.port, on_accept, agent, &listener, err);
    return r < 0 ? vmt_err_wrap(err, r, "listen for the host") : 0;
}

/* The kernel says who connects: only we ourselves. */
static void
on_unix_accept(void *arg, struct stream *s, const struct stream_peer *peer)
{
    if (peer->kind == STREAM_PEER_UNIX && peer->uid == geteuid())
        on_accept(arg, s, peer);
    else
        stream_close(s);
}

static int
listen_unix(struct agent *agent, const char *path, struct vmt_err *err)
{
    VMT_CLEANUP(vmt_closep) int fd = -1;
    int r = os_unix_listen(path, 0600, CONNECTIONS_MAX, &fd, err);

    if (r == 0)
        r = os_listener_new(agent->loop, fd, NULL, on_unix_accept, agent,
                            &agent->unix_listener, err);
    if (r < 0)
        return r;
    (void)vmt_take_fd(&fd);
    return 0;
}

static void
on_first_job(void *arg)
{
    struct agent *agent = arg;

    settle(agent);
    boot_sysctl(&agent->boot);
    watch_devices(agent);
}

static void
on_application(void *arg, const char *program, const struct proc_exit *how)
{
    application_ended(arg, program, how);
}

static void start_jobs(struct agent *agent);

static void
on_modules_loaded(void *arg, int status, const struct vmt_err *err)
{
    struct agent *agent = arg;

    if (status < 0)
        report_degraded(&agent->boot.report, "%s", vmt_err_text(err));
    report_phase(&agent->boot.report, "wanted modules");
    start_jobs(agent);
}

/* Jobs may need what the command line names. */
static void
start_modules(struct agent *agent)
{
    const struct worker_spec spec = {
        .fn = modules_load_wanted,
        .fn_arg = agent->boot.cmdline.modules,
        .timeout_ms = MODULES_MS,
        .on_done = on_modules_loaded,
        .arg = agent,
    };
    struct vmt_err err;

    if (!agent->boot.cmdline.modules[0]) {
        start_jobs(agent);
        return;
    }
    settle(agent);
    if (worker_start(&agent->procs, &spec, &err) < 0)
        on_modules_loaded(agent, -ENOMEM, &err);
}

static void
start_jobs(struct agent *agent)
{
    const struct jobs_config config = {
        .procs = &agent->procs,
        .report = &agent->boot.report,
        .dir = JOBS_DIR,
        .skip = agent->boot.cmdline.skip_jobs,
        .timeout_ms = agent->boot.cmdline.job_timeout_s * 1000,
        .hold_ms = JOBS_HOLD_MS,
        .provision = agent->boot.cmdline.provision_stateful,
        .on_first = on_first_job,
        .on_application = on_application,
        .on_done = on_jobs_done,
        .arg = agent,
    };

    if (agent->boot.cmdline.no_startup_processes)
        on_jobs_done(agent);
    else if (jobs_start(&config, &agent->jobs) < 0) {
        report_degraded(&agent->boot.report, "startup jobs: no memory");
        on_jobs_done(agent);
    }
}

void
agent_start_programs(struct agent *agent, void (*on_started)(void *arg))
{
    if (agent->awaits_identity)
        template_hold(agent, false);
    agent->awaits_identity = false;
    agent->on_started = on_started;
    if (agent->boot.cmdline.shell) {
        settle(agent);
        daemons_start_shell(agent);
    }
    report_phase(&agent->boot.report, "agent");
    start_modules(agent);
}

static void
start_init(struct agent *agent)
{
    struct vmt_err err;

    for (size_t i = 0; i < VMT_ARRAY_SIZE(shutdown_signals); i++) {
        if (os_loop_on_signal(agent->loop, shutdown_signals[i], on_shutdown_signal, agent,
                              &err) < 0)
            report_degraded(&agent->boot.report, "%s", err.msg);
    }
    if (!agent->awaits_identity) {
        agent_start_programs(agent, NULL);
        return;
    }
    settle(agent); /* the daemons are for all copies, held before the first one */
    begin_late(agent, 0);
}

/* Another init has booted the machine; the host that started it waits for us all the
 * same. */
static void
start_service(struct agent *agent)
{
    struct vmt_err err;

    if (link_watch_new(os_loop_base(agent->loop), on_link_changed, agent, &agent->link,
                       &err) < 0)
        vmt_log_warning("%s", err.msg);
    agent_tell_ready(agent);
}

int
agent_start(struct agent *agent, struct os_loop *loop, const struct boot *boot,
            const char *unix_path, struct vmt_err *err)
{
    int r;

    *agent = (struct agent){
        .loop = loop,
        .clock = os_loop_clock(loop),
        .boot = *boot,
        .is_init = getpid() == 1,
        .awaits_identity = getpid() == 1 && boot->cmdline.template,
    };
    proc_table_init(&agent->procs, agent->clock, os_loop_base(loop));
    agent->procs.on_failed = on_failed;
    agent->procs.on_given_up = on_given_up;
    agent->procs.on_degraded = on_unlimited;
    agent->procs.arg = agent;
    (void)prctl(PR_SET_CHILD_SUBREAPER,
                1); /* orphans of ours come to us as a service too */
    r = os_loop_on_signal(loop, SIGCHLD, on_sigchld, agent, err);
    if (r == 0)
        r = make_server(agent, err);
    if (r == 0)
        r = unix_path ? listen_unix(agent, unix_path, err) : listen_vsock(agent, err);
    if (!agent->is_init) {
        if (r == 0 && !unix_path)
            start_service(agent);
        return r;
    }
    if (r < 0)
        report_degraded(&agent->boot.report, "%s", vmt_err_text(err));
    start_init(agent);
    return 0;
}

void
agent_done(struct agent *agent)
{
    if (agent->late)
        agent->clock->ops->timer_cancel(agent->clock, agent->late);
    agent->clock->ops->timer_cancel(agent->clock, agent->abandoned);
    naming_cancel(agent);
    freezer_free(agent->freezer);
    link_watch_free(agent->link);
    devices_free(agent->devices);
    memory_watch_free(agent->memory);
    watchdog_free(agent->watchdog);
    failures_free(agent->failures);
    events_free(agent->events);
    application_free(agent->application);
    ready_free(agent->ready);
    jobs_free(agent->jobs);
    power_button_free(agent->button);
    os_listener_free(agent->unix_listener);
    rpc_server_free(agent->server);
    if (agent->transport)
        agent->transport->ops->free(agent->transport);
    proc_table_done(&agent->procs);
    vmt_closep(&agent->procs.cgroup);
    vmt_closep(&agent->procs.cgroups);
    cmdline_done(&agent->boot.cmdline);
}
