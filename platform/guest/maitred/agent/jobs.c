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

#include "core/adapter/clock.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/list.h"
#include "core/base/log.h"
#include "platform/guest/maitred/agent/job.h"
#include "platform/guest/maitred/init/file.h"
#include "platform/guest/maitred/init/report.h"
#include "platform/guest/maitred/proc/extra.h"
#include "platform/guest/maitred/proc/table.h"
#include "platform/linux/os/dir.h"

#define JOB_FILE_MAX 65536
#define PROVISION_PROGRAM "/etc/init.d/mount-stateful"

/* A job that somebody wants to know the start or the end of. */
struct job_run {
    struct vmt_list node;
    struct jobs *jobs; /* borrowed */
    struct proc *proc; /* borrowed from the table */
    const char *path;  /* borrowed from jobs */
    char *program;     /* owned */
    bool is_application;
    bool waits; /* for its end */
};

struct jobs {
    struct jobs_config config;
    struct vmt_argv paths; /* owned */
    size_t dir_len;        /* of the part that all of them begin with */
    size_t next;
    struct vmt_list runs;    /* of job_run */
    struct job_run *waiting; /* one of runs that starts, or has to end; or NULL */
    unsigned timeout_ms;     /* of that one */
    struct vmt_timer *timer; /* owned by the clock: the waiting job, or the next turn */
    struct vmt_timer *hold;  /* owned by the clock */
    bool is_told;            /* on_done ran */
};

static void
run_free(struct job_run *run)
{
    if (!run)
        return;
    if (run->node.next)
        vmt_list_remove(&run->node);
    proc_forget(run->proc);
    free(run->program);
    free(run);
}
VMT_DEFINE_FREEP(struct job_run, run_free)

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

/* The machine is there for a program that cannot be started: shells say 127. */
static void
application_failed(struct jobs *jobs, const char *program)
{
    const struct proc_exit how = {.kind = PROC_EXITED, .code = 127};

    jobs->config.on_application(jobs->config.arg, program, &how);
}

/* Returns whether run held the others back. */
static bool
stop_waiting(struct jobs *jobs, const struct job_run *run)
{
    struct vmt_clock *clock = jobs->config.procs->clock;

    if (run != jobs->waiting)
        return false;
    jobs->waiting = NULL;
    clock->ops->timer_cancel(clock, jobs->timer);
    jobs->timer = NULL;
    return true;
}

/* A proc_start_fn. */
static void
on_job_start(void *arg, int r, const struct vmt_err *err)
{
    struct job_run *run = arg;
    struct jobs *jobs = run->jobs;
    bool was_waited_for;

    if (r == 0 && run->waits)
        return;
    was_waited_for = stop_waiting(jobs, run);
    if (r < 0)
        report_degraded(jobs->config.report, "startup job %s: %s", run->path,
                        vmt_err_text(err));
    if (r < 0 && run->is_application)
        application_failed(jobs, run->program);
    if (r < 0 || !run->is_application) {
        run->proc = NULL;
        run_free(run);
    }
    if (was_waited_for)
        jobs_run(jobs);
}

static void
on_job_exit(void *arg, const struct proc_exit *how)
{
    VMT_CLEANUP(run_freep) struct job_run *run = arg;
    struct jobs *jobs = run->jobs;
    bool was_waited_for = stop_waiting(jobs, run);

    run->proc = NULL;
    if (was_waited_for && (how->kind == PROC_SIGNALED || how->code != 0))
        report_degraded(jobs->config.report, "startup job %s: %s %d", run->path,
                        how->kind == PROC_EXITED ? "status" : "signal", how->code);
    if (run->is_application)
        jobs->config.on_application(jobs->config.arg, run->program, how);
    if (was_waited_for)
        jobs_run(jobs);
}

static void
on_job_timeout(void *arg)
{
    struct jobs *jobs = arg;
    struct job_run *run = jobs->waiting;

    jobs->timer = NULL;
    jobs->waiting = NULL;
    report_degraded(jobs->config.report, "startup job %s did not end within %u ms",
                    run->path, jobs->timeout_ms);
    if (!run->is_application)
        run_free(run);
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

static struct job_run *
run_new(struct jobs *jobs, const char *path, const struct job *job)
{
    VMT_CLEANUP(run_freep) struct job_run *run = calloc(1, sizeof(*run));

    if (!run)
        return NULL;
    run->jobs = jobs;
    run->path = path;
    run->is_application = job->poweroff_on_exit;
    run->waits = job->wait_for_exit;
    run->program = strdup(job->argv.v ? job->argv.v[0] : "");
    if (!run->program)
        return NULL;
    vmt_list_append(&jobs->runs, &run->node);
    return vmt_take_ptr(&run);
}

/* The next one starts when this one runs, or has ended. */
static int
wait_for(struct jobs *jobs, struct job_run *run, const struct job *job)
{
    struct vmt_clock *clock = jobs->config.procs->clock;
    int r;

    jobs->timeout_ms = job->timeout_s ? job->timeout_s * 1000 : jobs->config.timeout_ms;
    r = clock->ops->timer_start(clock, jobs->timeout_ms, on_job_timeout, jobs,
                                &jobs->timer);
    if (r == 0)
        jobs->waiting = run;
    return r;
}

static int
run_job(struct jobs *jobs, const char *path, struct job *job, struct vmt_err *err)
{
    VMT_CLEANUP(run_freep) struct job_run *run = run_new(jobs, path, job);
    struct proc_spec spec = {
        .argv = job->argv.v,
        .env = job->env.v,
        .respawn = job->respawn,
        .use_console = job->use_console,
        .on_start = on_job_start,
        .on_exit = job->wait_for_exit || job->poweroff_on_exit ? on_job_exit : NULL,
        .arg = run,
        .extra = vmt_take_ptr(&job->extra),
    };
    int r;

    if (!run) {
        proc_extra_free(spec.extra);
        return vmt_err_set(err, ENOMEM, "start the job");
    }
    group_name(spec.extra->cgroup, "job-", path + jobs->dir_len);
    r = proc_start(jobs->config.procs, &spec, &run->proc, err);
    if (r == 0)
        r = wait_for(jobs, run, job);
    if (r == 0)
        run = NULL; /* its start or its exit frees it */
    return r;
}

static bool
is_skipped(const struct jobs *jobs, const char *path, const struct job *job)
{
    const char *base = strrchr(path, '/') + 1, *at = jobs->config.skip;
    size_t len = strlen(base);

    for (; at && *at; at += strcspn(at, ","), at += *at == ',')
        if (strcspn(at, ",") == len && strncmp(at, base, len) == 0)
            return true;
    return job->skip;
}

static int
start_job(struct jobs *jobs, const char *path, struct vmt_err *err)
{
    VMT_CLEANUP(job_done) struct job job = {0};
    int r = load_job(jobs, path, &job, err);

    if (r < 0)
        return r;
    if (is_skipped(jobs, path, &job)) {
        vmt_log_info("startup job %s is skipped", path);
        return 0;
    }
    r = run_job(jobs, path, &job, err);
    if (r < 0 && job.poweroff_on_exit)
        application_failed(jobs, job.argv.v[0]);
    return r;
}

static void
jobs_run(struct jobs *jobs)
{
    while (jobs->next < jobs->paths.n) {
        const char *path = jobs->paths.v[jobs->next++];
        struct vmt_err err;

        if (jobs->next == 1)
            jobs->config.on_first(jobs->config.arg);
        if (start_job(jobs, path, &err) < 0)
            report_degraded(jobs->config.report, "startup job %s: %s", path, err.msg);
        if (jobs->waiting)
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
    jobs->dir_len = strlen(config->dir) + 1;
    vmt_list_init(&jobs->runs);
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
    VMT_LIST_FOREACH(at, following, &jobs->runs)
    run_free(VMT_CONTAINER_OF(at, struct job_run, node));
    clock->ops->timer_cancel(clock, jobs->timer);
    clock->ops->timer_cancel(clock, jobs->hold);
    vmt_argv_done(&jobs->paths);
    free(jobs);
}
