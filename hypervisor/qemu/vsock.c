/* SPDX-License-Identifier: BSD-3-Clause */
/* hypervisor/qemu/vsock.c - the vsock device, which comes and goes: QEMU 7.2 saves no VM
 * that has one ("non-migratable device"), and a copy needs another context id. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

#include "core/base/cleanup.h"
#include "hypervisor/qemu/cmdline_internal.h"
#include "hypervisor/qemu/job_internal.h"
#include "hypervisor/qemu/peripheral_internal.h"
#include "hypervisor/qemu/qemu_internal.h"
#include "hypervisor/qemu/vm_internal.h"

/* As on the command line. */
#define VSOCK_CHARDEV "vsock0"

static json_t *
chardev(const struct qemu_job *job)
{
    return json_pack("{s:s,s:{s:s,s:{s:{s:s,s:{s:s}},s:b}}}", "id", VSOCK_CHARDEV,
                     "backend", "type", "socket", "data", "addr", "type", "unix", "data",
                     "path", job->path, "server", false);
}

static json_t *
chardev_id(const struct qemu_job *job)
{
    (void)job;
    return json_pack("{s:s}", "id", VSOCK_CHARDEV);
}

static json_t *
device(const struct qemu_job *job)
{
    return json_pack("{s:s,s:s,s:s,s:s}", "driver", "vhost-user-vsock-pci", "id",
                     job->device, "chardev", VSOCK_CHARDEV, "bus", QEMU_VSOCK_PORT);
}

static json_t *
device_id(const struct qemu_job *job)
{
    return json_pack("{s:s}", "id", job->device);
}

/* A device that the guest let go of too late has left its channel, which cannot be
 * removed while a device uses it. */
static const struct qemu_job_step add_steps[] = {
    {.command = "chardev-remove", .arguments = chardev_id, .optional = true},
    {.command = "chardev-add", .arguments = chardev},
    {.command = "device_add", .arguments = device},
    QEMU_JOB_END,
};

static const struct qemu_job_step tidy_steps[] = {
    {.command = "chardev-remove", .arguments = chardev_id, .optional = true},
    QEMU_JOB_END,
};

static const struct qemu_job_step remove_steps[] = {
    {.command = "device_del", .arguments = device_id},
    {.needed = qemu_job_waits},
    {.command = "chardev-remove", .arguments = chardev_id, .optional = true},
    QEMU_JOB_END,
};

static int
plan_add(struct qemu_job *job, struct vmt_err *err)
{
    if (job->peripheral.has_vsock)
        return vmt_err_setx(err, EEXIST, "the vm has a vsock device");
    if (!job->peripheral.has_vsock_port)
        return vmt_err_setx(err, ENOSPC, "the vm was started without spare slots");
    if (qemu_job_is_repeated(job))
        return vmt_err_setx(err, EBUSY, "it is being plugged or unplugged");
    if (strlen(job->path) >= sizeof(((struct sockaddr_un *)0)->sun_path))
        return vmt_err_setx(err, EINVAL, "its path is too long");
    return 0;
}

static int
plan_remove(struct qemu_job *job, struct vmt_err *err)
{
    if (!job->peripheral.has_vsock)
        return vmt_err_setx(err, ENOENT, "the vm has no vsock device");
    if (!job->peripheral.has_vsock_port)
        return vmt_err_setx(err, EPERM, "the vm was started without spare slots");
    if (qemu_job_is_repeated(job))
        return vmt_err_setx(err, EBUSY, "it is being plugged or unplugged");
    return 0;
}

static const struct qemu_job_kind add_kind = {
    .what = "plug the vsock device",
    .plan = plan_add,
    .steps = add_steps,
    .undo = tidy_steps,
};
static const struct qemu_job_kind remove_kind = {
    .what = "unplug the vsock device", .plan = plan_remove, .steps = remove_steps};

static struct qemu_job *
vsock_job(struct hypervisor_vm *vm, const struct qemu_job_kind *kind,
          hypervisor_done_fn *done, void *arg)
{
    struct qemu_job *job = qemu_job_new(vm, kind);

    if (!job)
        return NULL;
    (void)snprintf(job->subject, sizeof(job->subject), "vsock");
    (void)snprintf(job->device, sizeof(job->device), QEMU_VSOCK_ID);
    job->done = done;
    job->arg = arg;
    return job;
}

int
qemu_vm_vsock_add(struct hypervisor_vm *vm, const char *socket, hypervisor_done_fn *done,
                  void *arg)
{
    VMT_CLEANUP(qemu_job_freep)
    struct qemu_job *job = vsock_job(vm, &add_kind, done, arg);

    if (!job)
        return -ENOMEM;
    job->path = strdup(socket);
    return job->path ? qemu_job_start(vmt_take_ptr(&job)) : -ENOMEM;
}

int
qemu_vm_vsock_remove(struct hypervisor_vm *vm, hypervisor_done_fn *done, void *arg)
{
    struct qemu_job *job = vsock_job(vm, &remove_kind, done, arg);

    return job ? qemu_job_start(job) : -ENOMEM;
}
