/* SPDX-License-Identifier: BSD-3-Clause */
#include "hypervisor/qemu/job_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/adapter/clock.h"
#include "core/base/cleanup.h"
#include "core/base/log.h"
#include "hypervisor/qemu/peripheral_internal.h"
#include "hypervisor/qemu/qemu_internal.h"
#include "hypervisor/qemu/vm_internal.h"

static void job_next(struct qemu_job *job);

struct qemu_job *
qemu_job_new(struct hypervisor_vm *vm, const struct qemu_job_kind *kind)
{
    struct qemu_job *job = calloc(1, sizeof(*job));

    if (!job)
        return NULL;
    job->vm = vm;
    job->kind = kind;
    job->fd = -1;
    return job;
}

static void
job_stop_waiting(struct qemu_job *job)
{
    struct vmt_clock *clock = job->vm->hv->clock;

    clock->ops->timer_cancel(clock, job->deadline);
    job->deadline = NULL;
}

void
qemu_job_free(struct qemu_job *job)
{
    if (!job)
        return;
    job_stop_waiting(job);
    vmt_list_remove(&job->node);
    vmt_closep(&job->fd);
    free(job->path);
    free(job);
}

int
qemu_job_fd(struct qemu_job *job, int fd)
{
    int copy = vmt_dup_fd(fd);

    if (copy < 0)
        return copy;
    job->fd = copy;
    return 0;
}

/* Answer and forget it. The vm may be gone afterwards. */
static void
job_finish(struct qemu_job *job, int result)
{
    hypervisor_done_fn *done = job->done;
    hypervisor_memory_fn *memory_done = job->memory_done;
    struct hypervisor_memory memory = job->memory;
    struct vmt_err err = job->err;
    void *arg = job->arg;

    if (result < 0)
        vmt_log_debug("%s failed: %s pid=%d", job->kind->what, err.msg,
                      (int)job->vm->id.pid);
    qemu_job_free(job);
    if (done)
        done(arg, result, result < 0 ? &err : NULL);
    if (memory_done)
        memory_done(arg, result, result < 0 ? NULL : &memory);
}

/* job->err has the words. */
static void
job_fail(struct qemu_job *job, int result)
{
    job_stop_waiting(job);
    if (job->undoing) {
        job_finish(job, job->result);
        return;
    }
    job->result = vmt_err_wrap(&job->err, result, "%s", job->kind->what);
    job->undoing = true;
    job->step = job->kind->undo;
    /* Who does not answer, or is gone, cannot be tidied up; the next job for the slot
     * does that. */
    if (!job->step || result == -ENOTCONN || result == -ETIMEDOUT)
        job_finish(job, job->result);
    else
        job_next(job);
}

static void
job_on_answer(void *arg, const struct qmp_answer *answer)
{
    struct qemu_job *job = arg;
    int r = answer->result;

    if (r == -EIO && job->step->optional)
        r = 0;
    else if (r < 0)
        job->err = *answer->err;
    else if (job->kind->on_data && !job->undoing) {
        r = job->kind->on_data(job, (unsigned)(job->step - job->kind->steps),
                               answer->data);
    }
    if (r < 0) {
        job_fail(job, r);
        return;
    }
    job->step++;
    job_next(job);
}

static void
job_on_deadline(void *arg)
{
    struct qemu_job *job = arg;

    job->deadline = NULL;
    job_fail(job, vmt_err_setx(&job->err, ETIMEDOUT,
                               "the guest did not let go of it within %u s",
                               QEMU_UNPLUG_DEADLINE_MS / 1000));
}

/* Returns 0, or -errno with words in job->err. */
static int
job_send(struct qemu_job *job)
{
    struct qmp_request req = {
        .command = job->step->command,
        .fd = job->step->with_fd ? job->fd : -1,
        .answer = job_on_answer,
        .arg = job,
    };
    int r = job->vm->qmp ? 0 : -ENOTCONN;

    if (r == 0 && job->step->arguments) {
        req.arguments = job->step->arguments(job);
        r = req.arguments ? 0 : -ENOMEM;
    }
    if (r == 0)
        r = qmp_request(job->vm->qmp, &req);
    json_decref(req.arguments);
    return r < 0 ? vmt_err_set(&job->err, -r, "send %s to QEMU", req.command) : 0;
}

static int
job_wait(struct qemu_job *job)
{
    struct vmt_clock *clock = job->vm->hv->clock;
    int r = clock->ops->timer_start(clock, QEMU_UNPLUG_DEADLINE_MS, job_on_deadline, job,
                                    &job->deadline);

    return r < 0 ? vmt_err_set(&job->err, -r, "wait for the guest") : 0;
}

static bool
step_is_end(const struct qemu_job_step *step)
{
    return !step->command && !step->needed;
}

bool
qemu_job_waits(const struct qemu_job *job)
{
    return !job->deleted;
}

/* Go on with job->step. */
static void
job_next(struct qemu_job *job)
{
    int r = 0;

    while (!step_is_end(job->step) && job->step->needed && !job->step->needed(job))
        job->step++;
    if (step_is_end(job->step)) {
        job_finish(job, job->undoing ? job->result : 0);
        return;
    }
    r = job->step->command ? job_send(job) : job_wait(job);
    if (r < 0)
        job_fail(job, r);
}

static void
job_on_list(void *arg, const struct qmp_answer *answer)
{
    struct qemu_job *job = arg;
    int r = answer->result;

    if (r < 0) {
        job->err = *answer->err;
        job_fail(job, r);
        return;
    }
    qemu_peripheral_read(answer->data, job->subject, &job->peripheral);
    r = job->kind->plan(job, &job->err);
    if (r < 0) {
        /* Nothing has been done that could be undone. */
        job_finish(job, vmt_err_wrap(&job->err, r, "%s", job->kind->what));
        return;
    }
    job_next(job);
}

static int
job_ask_list(struct qemu_job *job)
{
    json_t *arguments = json_pack("{s:s}", "path", QEMU_PERIPHERAL_PATH);
    const struct qmp_request req = {"qom-list", arguments, -1, job_on_list, job};
    int r = arguments ? qmp_request(job->vm->qmp, &req) : -ENOMEM;

    json_decref(arguments);
    return r;
}

int
qemu_job_start(struct qemu_job *job)
{
    int r = job->vm->qmp && job->vm->facts.control ? 0 : -ENOTCONN;

    vmt_list_append(&job->vm->jobs, &job->node);
    job->step = job->kind->steps;
    if (r == 0)
        r = job->kind->plan ? job_ask_list(job) : job_send(job);
    if (r < 0)
        qemu_job_free(job);
    return r;
}

uint32_t
qemu_job_reserved(const struct qemu_job *job)
{
    uint32_t reserved = 0;

    VMT_LIST_FOREACH(node, next, &job->vm->jobs)
    {
        const struct qemu_job *other = VMT_CONTAINER_OF(node, struct qemu_job, node);

        if (other != job && other->device[0] && other->slot > 0)
            reserved |= 1u << other->slot;
    }
    return reserved;
}

bool
qemu_job_is_repeated(const struct qemu_job *job)
{
    VMT_LIST_FOREACH(node, next, &job->vm->jobs)
    {
        const struct qemu_job *other = VMT_CONTAINER_OF(node, struct qemu_job, node);

        if (other == job)
            return false; /* the list is in order of arrival */
        if (job->subject[0] && strcmp(other->subject, job->subject) == 0)
            return true;
    }
    return false;
}

/* The job that takes this device away, or NULL. */
static struct qemu_job *
job_of_device(struct hypervisor_vm *vm, const char *device)
{
    VMT_LIST_FOREACH(node, next, &vm->jobs)
    {
        struct qemu_job *job = VMT_CONTAINER_OF(node, struct qemu_job, node);

        if (device && strcmp(job->device, device) == 0 && !job->deleted && !job->undoing)
            return job;
    }
    return NULL;
}

void
qemu_jobs_on_deleted(struct hypervisor_vm *vm, const char *device)
{
    struct qemu_job *job = job_of_device(vm, device);

    if (!job) {
        if (strcmp(device, QEMU_VSOCK_ID) == 0 && vm->events->on_vsock_gone)
            vm->events->on_vsock_gone(vm->arg);
        else
            qemu_plug_tidy(vm, device);
        return;
    }
    job->deleted = true;
    if (!job->deadline)
        return; /* the answer to device_del follows */
    job_stop_waiting(job);
    job->step++;
    job_next(job);
}

void
qemu_jobs_on_refused(struct hypervisor_vm *vm, const char *device)
{
    struct qemu_job *job = job_of_device(vm, device);

    if (job && job->deadline)
        job_fail(job, vmt_err_setx(&job->err, EACCES, "the guest refused"));
}

void
qemu_jobs_fail(struct hypervisor_vm *vm)
{
    while (!vm->freed && !vmt_list_empty(&vm->jobs)) {
        struct qemu_job *job = VMT_CONTAINER_OF(vm->jobs.next, struct qemu_job, node);

        job_fail(job,
                 vmt_err_setx(&job->err, ENOTCONN, "QEMU's control channel is closed"));
    }
}

void
qemu_jobs_drop(struct hypervisor_vm *vm)
{
    while (!vmt_list_empty(&vm->jobs))
        qemu_job_free(VMT_CONTAINER_OF(vm->jobs.next, struct qemu_job, node));
}
