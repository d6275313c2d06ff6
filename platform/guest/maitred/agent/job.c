/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/guest/maitred/agent/job.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <vm_guest.pb-c.h>
#include <vmt_job.pb-c.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/text/text.h"
#include "platform/guest/maitred/proc/extra.h"

#define OOM_SCORE_ADJ_MAX 1000 /* proc(5), oom_score_adj */
#define CPU_WEIGHT_MAX 10000u  /* cgroup-v2.rst, cpu.weight */

typedef VmTools__LaunchProcessRequest request_t;

void
job_done(struct job *job)
{
    vmt_argv_done(&job->argv);
    vmt_argv_done(&job->env);
    proc_extra_free(job->extra);
    job->extra = NULL;
}

static int
check_program(const request_t *rq, struct vmt_err *err)
{
    if (rq->n_argv == 0 || !rq->argv[0][0])
        return vmt_err_setx(err, EINVAL, "no argv");
    if ((rq->respawn || rq->respawn_on_failure) && rq->wait_for_exit)
        return vmt_err_setx(err, EINVAL, "respawn and wait_for_exit exclude each other");
    if ((rq->respawn || rq->respawn_on_failure) && rq->poweroff_on_exit)
        return vmt_err_setx(err, EINVAL,
                            "respawn and poweroff_on_exit exclude each other");
    if (rq->kill_children && !rq->respawn && !rq->respawn_on_failure)
        return vmt_err_setx(err, EINVAL, "kill_children is for what is respawned");
    if (rq->timeout_s > JOB_TIMEOUT_S_MAX || (rq->timeout_s && !rq->wait_for_exit))
        return vmt_err_setx(err, EINVAL, "timeout_s is for wait_for_exit, and at most %u",
                            JOB_TIMEOUT_S_MAX);
    for (size_t i = 0; i < rq->n_env; i++)
        if (!rq->env[i]->key[0] || strchr(rq->env[i]->key, '='))
            return vmt_err_setx(err, EINVAL, "a name in env is empty or has a '='");
    return 0;
}

static int
check_extra(const request_t *rq, struct vmt_err *err)
{
    if (*rq->cwd && *rq->cwd != '/')
        return vmt_err_setx(err, EINVAL, "cwd has to be an absolute path");
    if (rq->oom_score_adj < -OOM_SCORE_ADJ_MAX || rq->oom_score_adj > OOM_SCORE_ADJ_MAX)
        return vmt_err_setx(err, EINVAL, "oom_score_adj is from -1000 to 1000");
    if (rq->limits && rq->limits->cpu_weight > CPU_WEIGHT_MAX)
        return vmt_err_setx(err, EINVAL, "cpu_weight is from 1 to 10000");
    if (rq->n_rlimits > PROC_RLIMITS_MAX)
        return vmt_err_setx(err, EINVAL, "more than %d rlimits", PROC_RLIMITS_MAX);
    return 0;
}

static int
copy_rlimits(const request_t *rq, struct proc_extra *x, struct vmt_err *err)
{
    for (size_t i = 0; i < rq->n_rlimits; i++) {
        const Vmt__ResourceLimit *from = rq->rlimits[i];
        struct exec_rlimit *to = &x->rlimits[x->nrlimits];

        to->resource = proc_rlimit_find(from->name);
        if (to->resource < 0)
            return vmt_err_setx(err, EINVAL, "there is no resource limit \"%.32s\"",
                                from->name);
        to->limit.rlim_cur = from->unlimited ? RLIM_INFINITY : (rlim_t)from->soft;
        to->limit.rlim_max = from->hard ? (rlim_t)from->hard : to->limit.rlim_cur;
        if (to->limit.rlim_cur > to->limit.rlim_max)
            return vmt_err_setx(err, EINVAL, "rlimit %.32s: soft is above hard",
                                from->name);
        x->nrlimits++;
    }
    return 0;
}

static int
copy_text(const char *from, char **ret)
{
    if (!*from)
        return 0;
    *ret = strdup(from);
    return *ret ? 0 : -ENOMEM;
}

static int
copy_extra(const request_t *rq, struct job *job, struct vmt_err *err)
{
    struct proc_extra *x = proc_extra_new();
    int r = check_extra(rq, err);

    job->extra = x;
    if (r < 0)
        return r;
    if (!x || copy_text(rq->cwd, &x->cwd) < 0 || copy_text(rq->user, &x->user) < 0 ||
        copy_text(rq->group, &x->group) < 0)
        return vmt_err_set(err, ENOMEM, "read the job");
    x->oom_score_adj = rq->oom_score_adj;
    x->kill_children = rq->kill_children;
    x->respawn_on_failure = rq->respawn_on_failure && !rq->respawn;
    if (rq->limits)
        x->limits = (struct group_limits){
            .memory_max = rq->limits->memory_max,
            .memory_high = rq->limits->memory_high,
            .pids_max = rq->limits->pids_max,
            .cpu_weight = rq->limits->cpu_weight,
            .oom_group = rq->limits->oom_group,
        };
    job->has_limits = rq->limits != NULL;
    return copy_rlimits(rq, x, err);
}

static int
copy_program(const request_t *rq, struct job *job, struct vmt_err *err)
{
    int r;

    for (size_t i = 0; i < rq->n_argv; i++)
        vmt_argv_add(&job->argv, rq->argv[i]);
    for (size_t i = 0; i < rq->n_env; i++)
        vmt_argv_addf(&job->env, "%s=%s", rq->env[i]->key, rq->env[i]->value);
    r = vmt_argv_finish(&job->argv, err);
    if (r == 0)
        r = vmt_argv_finish(&job->env, err);
    job->respawn = rq->respawn || rq->respawn_on_failure;
    job->use_console = rq->use_console;
    job->wait_for_exit = rq->wait_for_exit;
    job->poweroff_on_exit = rq->poweroff_on_exit;
    job->skip = rq->skip;
    job->timeout_s = rq->timeout_s;
    return r;
}

int
job_from_request(const request_t *request, struct job *ret_job, struct vmt_err *err)
{
    VMT_CLEANUP(job_done) struct job job = {0};
    int r = check_program(request, err);

    if (r == 0)
        r = copy_program(request, &job, err);
    if (r == 0)
        r = copy_extra(request, &job, err);
    if (r < 0)
        return r;
    *ret_job = job;
    job = (struct job){0};
    return 0;
}

static void
message_freep(ProtobufCMessage **message)
{
    protobuf_c_message_free_unpacked(*message, NULL);
}

int
job_parse(const char *text, size_t len, struct job *ret_job, struct vmt_err *err)
{
    VMT_CLEANUP(message_freep) ProtobufCMessage *message = NULL;
    int r = text_parse(&vm_tools__launch_process_request__descriptor, text, len, &message,
                       err);

    return r < 0 ? r : job_from_request((const request_t *)message, ret_job, err);
}
