/* SPDX-License-Identifier: BSD-3-Clause */
/* hypervisor/qemu/memory.c - the balloon, what the guest tells of its memory, and disks
 * that grow.
 *
 * Source: QEMU 7.2, qemu-qmp-ref(7): balloon takes what is LEFT to the guest; virtio 1.2,
 * 5.5.6.4 names the statistics; docs/virtio-balloon-stats.txt tells how to ask for them.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "hypervisor/qemu/job_internal.h"
#include "hypervisor/qemu/qemu_internal.h"
#include "hypervisor/qemu/vm_internal.h"

#define BALLOON_PATH QEMU_PERIPHERAL_PATH "/balloon0"

/* Seconds between two reports of the guest: fresh enough for a policy that looks every
 * few seconds, and nothing to feel in the guest. */
#define STATS_INTERVAL_S 2

/* The number of this name; what a guest does not report is 2^64-1, which does not fit an
 * integer of JSON and comes as a real. */
static uint64_t
number_of(const json_t *object, const char *name)
{
    double value = json_number_value(json_object_get(object, name));

    return value > 0 && value < 9.2e18 ? (uint64_t)value : 0;
}

static int
nonsense(struct qemu_job *job, const char *command)
{
    return vmt_err_setx(&job->err, EIO, "QEMU's answer to %s makes no sense", command);
}

static json_t *
no_arguments(const struct qemu_job *job)
{
    (void)job;
    return json_object();
}

static json_t *
balloon_value(const struct qemu_job *job)
{
    return json_pack("{s:I}", "value", (json_int_t)(job->memory.total - job->number));
}

static json_t *
stats_path(const struct qemu_job *job)
{
    (void)job;
    return json_pack("{s:s,s:s}", "path", BALLOON_PATH, "property", "guest-stats");
}

static const struct qemu_job_step balloon_steps[] = {
    {.command = "query-memory-size-summary", .arguments = no_arguments},
    {.command = "balloon", .arguments = balloon_value},
    QEMU_JOB_END,
};

static int
balloon_on_data(struct qemu_job *job, unsigned step, const json_t *data)
{
    if (step != 0)
        return 0;
    job->memory.total = number_of(data, "base-memory");
    if (job->memory.total == 0)
        return nonsense(job, "query-memory-size-summary");
    if (job->number >= job->memory.total)
        return vmt_err_setx(&job->err, EINVAL, "the guest would have nothing left");
    return 0;
}

static const struct qemu_job_kind balloon_kind = {
    .what = "set the balloon", .steps = balloon_steps, .on_data = balloon_on_data};

static const struct qemu_job_step memory_steps[] = {
    {.command = "query-memory-size-summary", .arguments = no_arguments},
    {.command = "query-balloon", .arguments = no_arguments},
    {.command = "qom-get", .arguments = stats_path},
    QEMU_JOB_END,
};

/* With deflate-on-oom Linux counts what the balloon holds as memory that it has
 * (drivers/virtio/virtio_balloon.c of 6.1), so it is taken off here. */
static int
read_stats(struct qemu_job *job, const json_t *data)
{
    struct hypervisor_memory *m = &job->memory;
    const json_t *stats = json_object_get(data, "stats");
    uint64_t total = number_of(stats, "stat-total-memory");

    if (number_of(data, "last-update") == 0 || total == 0)
        return vmt_err_setx(&job->err, EAGAIN, "the guest has reported nothing yet");
    m->total = total > m->balloon ? total - m->balloon : 0;
    m->free = number_of(stats, "stat-free-memory");
    m->available = number_of(stats, "stat-available-memory");
    m->caches = number_of(stats, "stat-disk-caches");
    return 0;
}

static int
memory_on_data(struct qemu_job *job, unsigned step, const json_t *data)
{
    uint64_t actual;

    if (step == 0)
        job->memory.total = number_of(data, "base-memory");
    if (step == 2)
        return read_stats(job, data);
    if (step == 0)
        return job->memory.total ? 0 : nonsense(job, "query-memory-size-summary");
    actual = number_of(data, "actual");
    if (actual == 0 || actual > job->memory.total)
        return nonsense(job, "query-balloon");
    job->memory.balloon = job->memory.total - actual;
    return 0;
}

static const struct qemu_job_kind memory_kind = {
    .what = "look at memory", .steps = memory_steps, .on_data = memory_on_data};

static int
plan_resize(struct qemu_job *job, struct vmt_err *err)
{
    return job->peripheral.found
               ? 0
               : vmt_err_setx(err, ENOENT, "the vm has no disk of this name");
}

static json_t *
resize_node(const struct qemu_job *job)
{
    const struct qemu_peripheral *p = &job->peripheral;
    char node[16];

    (void)snprintf(node, sizeof(node), "%s%u", p->slot ? "slot" : "disk",
                   p->slot ? p->slot : p->index);
    return json_pack("{s:s,s:I}", "node-name", node, "size", (json_int_t)job->number);
}

static const struct qemu_job_step resize_steps[] = {
    {.command = "block_resize", .arguments = resize_node},
    QEMU_JOB_END,
};
static const struct qemu_job_kind resize_kind = {
    .what = "resize a disk", .plan = plan_resize, .steps = resize_steps};

int
qemu_vm_balloon_set(struct hypervisor_vm *vm, uint64_t bytes, hypervisor_done_fn *done,
                    void *arg)
{
    struct qemu_job *job = qemu_job_new(vm, &balloon_kind);

    if (!job)
        return -ENOMEM;
    job->number = bytes;
    job->done = done;
    job->arg = arg;
    return qemu_job_start(job);
}

int
qemu_vm_memory(struct hypervisor_vm *vm, hypervisor_memory_fn *done, void *arg)
{
    struct qemu_job *job = qemu_job_new(vm, &memory_kind);

    if (!job)
        return -ENOMEM;
    job->memory_done = done;
    job->arg = arg;
    return qemu_job_start(job);
}

int
qemu_vm_disk_resize(struct hypervisor_vm *vm, const char *serial, uint64_t size,
                    hypervisor_done_fn *done, void *arg)
{
    struct qemu_job *job = qemu_job_new(vm, &resize_kind);

    if (!job)
        return -ENOMEM;
    qemu_peripheral_disk(serial, job->subject);
    job->number = size <= INT64_MAX ? size : INT64_MAX;
    job->done = done;
    job->arg = arg;
    return qemu_job_start(job);
}

void
qemu_memory_watch(struct qmp *qmp)
{
    json_t *arguments =
        json_pack("{s:s,s:s,s:i}", "path", BALLOON_PATH, "property",
                  "guest-stats-polling-interval", "value", STATS_INTERVAL_S);
    const struct qmp_request req = {
        .command = "qom-set", .arguments = arguments, -1, NULL, NULL};

    /* Without it the guest never reports, which memory then says. */
    if (arguments)
        (void)qmp_request(qmp, &req);
    json_decref(arguments);
}
