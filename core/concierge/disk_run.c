/* SPDX-License-Identifier: BSD-3-Clause */
/* core/concierge/disk_run.c - the worker process of a disk operation. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/adapter/clock.h"
#include "core/adapter/host.h"
#include "core/base/argv.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/log.h"
#include "core/concierge/concierge_internal.h"
#include "core/disk/progress.h"
#include "core/ipc/ipc.h"

/* Enough for the last progress and result lines. */
#define LOG_TAIL_BYTES 4096u
/* Ten lines a second for hours would grow beyond every use. */
#define LOG_BYTES_MAX (256u * 1024)
#define FDS_MAX 4

static void on_tick(void *arg);

static int
arm(struct disk_job *job, uint64_t ms)
{
    struct vmt_clock *clock = job->c->config.clock;

    clock->ops->timer_cancel(clock, vmt_take_ptr(&job->tick));
    return clock->ops->timer_start(clock, ms, on_tick, job, &job->tick);
}

static void
read_log(struct disk_job *job, struct disk_progress *ret)
{
    struct host *host = job->c->config.host;
    VMT_CLEANUP(vmt_freep) char *path = NULL;
    VMT_CLEANUP(vmt_freep) char *data = NULL;
    size_t len = 0;

    *ret = (struct disk_progress){.percent = 0};
    if (host->disks->progress_path(host, job->op.uuid, &path, NULL) < 0 ||
        host->logs->tail(host, path, LOG_TAIL_BYTES, &data, &len, NULL) < 0)
        return;
    disk_progress_parse(data, len, ret);
    (void)host->logs->trim(host, path, LOG_BYTES_MAX, NULL);
}

void
disk_job_look(struct disk_job *job)
{
    struct disk_progress progress;

    if (!job->worker.pid)
        return;
    read_log(job, &progress);
    disk_job_advance(job, progress.percent);
}

static void
on_tick(void *arg)
{
    struct disk_job *job = arg;

    job->tick = NULL;
    if (job->killing && job->child) {
        vmt_log_warning("a disk worker does not end, killing it pid=%d", job->worker.pid);
        (void)job->c->config.spawn->ops->kill(job->child, SIGKILL);
    }
    disk_job_look(job);
    if (arm(job, DISK_TICK_MS) < 0)
        vmt_log_warning("no memory to follow a disk operation operation=%s",
                        job->op.uuid);
}

static void
describe_death(const struct spawn_exit *how, char *buf, size_t cap)
{
    if (how && how->kind == SPAWN_EXIT_SIGNAL)
        (void)snprintf(buf, cap, "its worker was killed by signal %d", how->code);
    else if (how && how->kind == SPAWN_EXIT_CODE)
        (void)snprintf(buf, cap, "its worker ended with code %d without a result",
                       how->code);
    else
        (void)snprintf(buf, cap, "its worker is gone without a result");
}

/* What the worker wrote counts, not how it ended: of an adopted one nobody knows that. */
static void
conclude(struct disk_job *job, const struct spawn_exit *how)
{
    struct disk_progress progress;
    char text[128];

    read_log(job, &progress);
    if (job->op.cancelled && !(progress.done && progress.result == DISK_RESULT_OK)) {
        disk_job_end(job, DISK_RESULT_FAILED, "it was cancelled");
        return;
    }
    if (progress.done) {
        disk_job_end(job, progress.result, progress.text);
        return;
    }
    describe_death(how, text, sizeof(text));
    disk_job_end(job, DISK_RESULT_FAILED, text);
}

static void
on_exit(void *arg, const struct spawn_exit *how)
{
    struct disk_job *job = arg;

    job->child = NULL;
    conclude(job, how);
}

static int
make_argv(struct disk_job *job, const struct vmt_argv *args, struct vmt_argv *argv,
          struct vmt_err *err)
{
    vmt_argv_add(argv, job->c->config.vm_disk);
    for (size_t i = 0; i < args->n; i++)
        vmt_argv_add(argv, args->v[i]);
    vmt_argv_addf(argv, "--progress-fd=%d", DISK_CHILD_PROGRESS_FD);
    return vmt_argv_finish(argv, err);
}

static int
start(struct disk_job *job, const struct vmt_argv *argv, const struct spawn_fd *map,
      size_t n, struct vmt_err *err)
{
    struct spawn *spawn = job->c->config.spawn;
    const struct spawn_spec spec = {
        .argv = (const char *const *)argv->v,
        .fds = map,
        .nfds = n,
        .new_session = true,
        .on_exit = on_exit,
        .arg = job,
    };
    int r = spawn->ops->start(spawn, &spec, &job->child, err);

    if (r < 0)
        return vmt_err_wrap(err, r, "start %s", job->c->config.vm_disk);
    spawn->ops->id(job->child, &job->worker);
    return 0;
}

/* The record comes first: a worker that no record names would work for nobody. The log
 * names the worker to a daemon that finds a record without a process. */
int
disk_job_run(struct disk_job *job, const struct vmt_argv *args, const struct disk_fd *fds,
             size_t nfds, struct vmt_err *err)
{
    struct host *host = job->c->config.host;
    VMT_CLEANUP(vmt_argv_done) struct vmt_argv argv = {0};
    VMT_CLEANUP(vmt_freep) char *path = NULL;
    struct spawn_fd map[FDS_MAX] = {{.to = DISK_CHILD_PROGRESS_FD}};
    struct vmt_err why = {0};
    size_t n = 1;
    int log = -1;
    int r = make_argv(job, args, &argv, err);

    for (size_t i = 0; i < nfds; i++)
        if (fds[i].fd >= 0)
            map[n++] = (struct spawn_fd){fds[i].fd, fds[i].to};
    if (r == 0)
        r = disk_record_save(job, err);
    if (r == 0)
        r = host->disks->progress_path(host, job->op.uuid, &path, err);
    if (r == 0)
        r = host->logs->open(host, path, &log, err);
    map[0].from = log;
    if (r == 0)
        r = start(job, &argv, map, n, err);
    host->files->close(host, log);
    if (r < 0)
        return r;
    if (disk_record_save(job, &why) < 0)
        vmt_log_warning("a disk worker is not remembered: %s pid=%d", why.msg,
                        job->worker.pid);
    if (arm(job, DISK_TICK_MS) < 0)
        vmt_log_warning("no memory to follow a disk operation operation=%s",
                        job->op.uuid);
    disk_job_advance(job, 0);
    return 0;
}

void
disk_job_cancel(struct disk_job *job, struct ipc_call *call)
{
    struct vmt_err err = {0};

    job->cancel_call = call;
    if (job->op.cancelled)
        return;
    job->op.cancelled = true;
    job->killing = true;
    if (disk_record_save(job, &err) < 0)
        vmt_log_warning("a cancel is not remembered: %s", err.msg);
    if (job->child)
        (void)job->c->config.spawn->ops->kill(job->child, SIGTERM);
    if (arm(job, DISK_CANCEL_MS) < 0 && job->child)
        (void)job->c->config.spawn->ops->kill(job->child, SIGKILL);
}

void
disk_job_resume(struct disk_job *job)
{
    struct spawn *spawn = job->c->config.spawn;
    struct host *host = job->c->config.host;

    if (!job->worker.pid)
        (void)host->disks->progress_writer(host, job->op.uuid, &job->worker);
    if (!job->worker.pid ||
        spawn->ops->adopt(spawn, &job->worker, on_exit, job, &job->child, NULL) < 0) {
        conclude(job, NULL);
        return;
    }
    vmt_log_notice("disk operation taken over: %s pid=%d operation=%s",
                   disk_op_kind_name(job->op.kind), job->worker.pid, job->op.uuid);
    if (job->op.cancelled) {
        job->op.cancelled = false; /* so that it is done again */
        disk_job_cancel(job, NULL);
    } else if (arm(job, DISK_TICK_MS) < 0) {
        vmt_log_warning("no memory to follow a disk operation operation=%s",
                        job->op.uuid);
    }
}
