/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/guest/maitred/agent/jobs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <vm_guest.pb-c.h>

#include "core/adapter/clock.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/log.h"
#include "core/text/text.h"
#include "platform/guest/maitred/init/file.h"
#include "platform/guest/maitred/init/report.h"
#include "platform/guest/maitred/proc/table.h"
#include "platform/linux/os/dir.h"

#define JOB_FILE_MAX 65536
#define PROVISION_PROGRAM "/etc/init.d/mount-stateful"

struct jobs {
    struct jobs_config config;
    struct vmt_argv paths; /* owned */
    size_t next;
    struct proc *waiting;    /* borrowed from the table; NULL while none holds us */
    struct vmt_timer *timer; /* owned by the clock: the waiting job, or the next turn */
    struct vmt_timer *hold;  /* owned by the clock */
    bool is_told;            /* on_done ran */
};

void
job_done(struct job *job)
{
    vmt_argv_done(&job->argv);
    vmt_argv_done(&job->env);
}

static void
message_freep(ProtobufCMessage **message)
{
    protobuf_c_message_free_unpacked(*message, NULL);
}

static int
check_request(const VmTools__LaunchProcessRequest *request, struct vmt_err *err)
{
    if (request->n_argv == 0 || !request->argv[0][0])
        return vmt_err_setx(err, EINVAL, "no argv");
    if (request->respawn && request->wait_for_exit)
        return vmt_err_setx(err, EINVAL, "respawn and wait_for_exit exclude each other");
    return 0;
}

int
job_parse(const char *text, size_t len, struct job *ret_job, struct vmt_err *err)
{
    VMT_CLEANUP(message_freep) ProtobufCMessage *message = NULL;
    const VmTools__LaunchProcessRequest *request;
    struct job job = {0};
    int r = text_parse(&vm_tools__launch_process_request__descriptor, text, len, &message,
                       err);

    if (r < 0)
        return r;
    request = (const VmTools__LaunchProcessRequest *)message;
    r = check_request(request, err);
    if (r < 0)
        return r;
    for (size_t i = 0; i < request->n_argv; i++)
        vmt_argv_add(&job.argv, request->argv[i]);
    for (size_t i = 0; i < request->n_env; i++)
        vmt_argv_addf(&job.env, "%s=%s", request->env[i]->key, request->env[i]->value);
    r = vmt_argv_finish(&job.argv, err);
    if (r == 0)
        r = vmt_argv_finish(&job.env, err);
    if (r < 0) {
        job_done(&job);
        return r;
    }
    job.respawn = request->respawn;
    job.use_console = request->use_console;
    job.wait_for_exit = request->wait_for_exit;
    *ret_job = job;
    return 0;
}

static int
list_dir(const char *dir, unsigned depth, struct vmt_argv *paths, struct vmt_err *err)
{
    VMT_CLEANUP(os_closedirp) DIR *d = opendir(dir);
    struct dirent *entry;

    if (!d)
        return errno == ENOENT && depth == 0 ? 0
                                             : vmt_err_set(err, errno, "read %s", dir);
    while ((entry = readdir(d))) {
        char path[PATH_MAX];
        struct stat st;

        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if (snprintf(path, sizeof(path), "%s/%s", dir, entry->d_name) >= PATH_MAX ||
            lstat(path, &st) < 0)
            continue;
        if (paths->n == JOBS_FILES_MAX ||
            (S_ISDIR(st.st_mode) && depth == JOBS_DEPTH_MAX))
            return vmt_err_setx(err, E2BIG, "too many or too deep files in %s", dir);
        if (S_ISREG(st.st_mode))
            vmt_argv_add(paths, path);
        if (S_ISDIR(st.st_mode)) {
            int r = list_dir(path, depth + 1, paths, err);

            if (r < 0)
                return r;
        }
    }
    return 0;
}

static int
compare_paths(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

int
jobs_list(const char *dir, struct vmt_argv *ret_paths, struct vmt_err *err)
{
    struct vmt_argv paths = {0};
    int r = list_dir(dir, 0, &paths, err);

    if (r == 0)
        r = vmt_argv_finish(&paths, err);
    if (r < 0) {
        vmt_argv_done(&paths);
        return r;
    }
    if (paths.n)
        qsort(paths.v, paths.n, sizeof(paths.v[0]), compare_paths);
    *ret_paths = paths;
    return 0;
}

static void jobs_run(struct jobs *jobs);

static void
tell_done(struct jobs *jobs)
{
    if (jobs->is_told)
        return;
    jobs->is_told = true;
    jobs->config.procs->clock->ops->timer_cancel(jobs->config.procs->clock, jobs->hold);
    jobs->hold = NULL;
    jobs->config.on_done(jobs->config.arg);
}

static void
on_next(void *arg)
{
    struct jobs *jobs = arg;

    jobs->timer = NULL;
    jobs_run(jobs);
}

static void
on_hold(void *arg)
{
    struct jobs *jobs = arg;

    jobs->hold = NULL;
    report_degraded(jobs->config.report, "startup jobs are slow: ready before %s",
                    jobs->next ? jobs->paths.v[jobs->next - 1] : "the first");
    tell_done(jobs);
}

static void
on_job_exit(void *arg, const struct proc_exit *how)
{
    struct jobs *jobs = arg;
    struct vmt_clock *clock = jobs->config.procs->clock;

    jobs->waiting = NULL;
    clock->ops->timer_cancel(clock, jobs->timer);
    jobs->timer = NULL;
    if (how->kind == PROC_SIGNALED || how->code != 0)
        report_degraded(jobs->config.report, "startup job %s: %s %d",
                        jobs->paths.v[jobs->next - 1],
                        how->kind == PROC_EXITED ? "status" : "signal", how->code);
    jobs_run(jobs);
}

static void
on_job_timeout(void *arg)
{
    struct jobs *jobs = arg;

    jobs->timer = NULL;
    proc_forget(jobs->waiting);
    jobs->waiting = NULL;
    report_degraded(jobs->config.report, "startup job %s did not end within %u ms",
                    jobs->paths.v[jobs->next - 1], jobs->config.timeout_ms);
    jobs_run(jobs);
}

static int
load_job(const struct jobs *jobs, const char *path, struct job *ret_job,
         struct vmt_err *err)
{
    VMT_CLEANUP(vmt_freep) char *text = NULL;
    long n = file_read(path, JOB_FILE_MAX, &text);
    int r;

    if (n < 0)
        return vmt_err_set(err, (int)-n, "read");
    r = job_parse(text, (size_t)n, ret_job, err);
    if (r == 0 && jobs->config.provision && ret_job->argv.v &&
        strcmp(ret_job->argv.v[0], PROVISION_PROGRAM) == 0)
        vmt_argv_add(&ret_job->argv, "provision");
    return r;
}

/* Start the job of a file. *ret_waits: the next one has to wait for it. */
static int
start_job(struct jobs *jobs, const char *path, bool *ret_waits, struct vmt_err *err)
{
    VMT_CLEANUP(job_done) struct job job = {0};
    struct vmt_clock *clock = jobs->config.procs->clock;
    struct proc_spec spec;
    int r = load_job(jobs, path, &job, err);

    if (r < 0)
        return r;
    spec = (struct proc_spec){
        .argv = job.argv.v,
        .env = job.env.v,
        .respawn = job.respawn,
        .use_console = job.use_console,
        .on_exit = job.wait_for_exit ? on_job_exit : NULL,
        .arg = jobs,
    };
    r = proc_start(jobs->config.procs, &spec, job.wait_for_exit ? &jobs->waiting : NULL,
                   err);
    if (r < 0 || !job.wait_for_exit)
        return r;
    *ret_waits = true;
    r = clock->ops->timer_start(clock, jobs->config.timeout_ms, on_job_timeout, jobs,
                                &jobs->timer);
    if (r < 0) {
        proc_forget(jobs->waiting);
        jobs->waiting = NULL;
        *ret_waits = false;
    }
    return r;
}

static void
jobs_run(struct jobs *jobs)
{
    while (jobs->next < jobs->paths.n) {
        const char *path = jobs->paths.v[jobs->next++];
        bool waits = false;
        struct vmt_err err;

        if (jobs->next == 1)
            jobs->config.on_first(jobs->config.arg);
        if (start_job(jobs, path, &waits, &err) < 0)
            report_degraded(jobs->config.report, "startup job %s: %s", path, err.msg);
        if (waits)
            return;
    }
    tell_done(jobs);
}

int
jobs_start(const struct jobs_config *config, struct jobs **ret_jobs)
{
    struct vmt_clock *clock = config->procs->clock;
    struct jobs *jobs = calloc(1, sizeof(*jobs));
    struct vmt_err err;

    if (!jobs)
        return -ENOMEM;
    jobs->config = *config;
    if (jobs_list(config->dir, &jobs->paths, &err) < 0)
        report_degraded(config->report, "startup jobs: %s", err.msg);
    if (clock->ops->timer_start(clock, 0, on_next, jobs, &jobs->timer) < 0 ||
        clock->ops->timer_start(clock, config->hold_ms, on_hold, jobs, &jobs->hold) < 0) {
        jobs_free(jobs);
        return -ENOMEM;
    }
    *ret_jobs = jobs;
    return 0;
}

void
jobs_free(struct jobs *jobs)
{
    struct vmt_clock *clock;

    if (!jobs)
        return;
    clock = jobs->config.procs->clock;
    proc_forget(jobs->waiting);
    clock->ops->timer_cancel(clock, jobs->timer);
    clock->ops->timer_cancel(clock, jobs->hold);
    vmt_argv_done(&jobs->paths);
    free(jobs);
}
